/* SPDX-License-Identifier: MIT */
/*
 * The machine's inside, shared by its files:
 *
 *	explore.c	runs, one after the other; the search; known states
 *	choice.c	recorded choices and their text form
 *	sched.c		threads: who runs next, time, deadlock
 *	coroutine.c	switching stacks
 *	mutex.c		mutex, futex, join
 *	atomic.c	atomic operations, older values of a location
 *	race.c		plain accesses: data races, dead memory
 *	crash.c		runs that crash
 *	heap.c		memory of a run: blocks, names, leaks
 *	snapshot.c	static data as new
 *	trace.c		the steps of a failing run, printed
 *
 * All state is in one mapped block, so that restoring the program's static
 * data leaves it alone.
 *
 * A thread's `history` is a hash of its steps and of all that happened
 * before them; two runs with equal histories have the same steps in the same
 * order of causes, so their threads and memory are in the same state.
 */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "model.h"
#include "model_sync.h"

#include <setjmp.h>
#include <string.h>

/* Limits; each is checked, and going over one is a failure that names it. */
#define MODEL_THREADS	16
#define MODEL_STACK	((size_t)256 * 1024)
#define MODEL_ARENA	((size_t)8 * 1024 * 1024)
#define MODEL_PLACES	4096	/* locations with atomics or a mutex */
#define MODEL_BLOCKS	2048	/* allocations of one run */
#define MODEL_CHOICES	65536	/* of one run */
#define MODEL_COVERS	64
#define MODEL_NAMES	64
#define MODEL_RESTS	32	/* of one thread, before it gives way */
#define MODEL_RANKS	16	/* locks held at once by one thread */
#define MODEL_STORES	8	/* values of a location that are remembered */
#define MODEL_READS	32	/* loads remembered for coherence */

/* What a thread has learnt: the time of each thread up to which ... */
struct clock {
	uint32_t before[MODEL_THREADS];	/* ... all happens before it */
	/* ... all is visible to it: the above, and what sequentially
	 * consistent fences order */
	uint32_t seen[MODEL_THREADS];
};

enum thread_state {
	RUNS, WANTS_LOCK, SLEEPS, JOINS, YIELDS, OFFERS, AWAITS_ALL, DONE
};

struct coroutine {
	jmp_buf here;		/* where it stands when it does not run */
	jmp_buf top;		/* the loop at the bottom of its stack */
	char *stack;
	bool made, fresh;
};

struct model_thread {
	int id;
	enum thread_state state;
	const void *object;	/* the mutex or futex word it waits for */
	const struct model_thread *target;	/* of a join */
	int64_t deadline;	/* of a sleep */
	int outcome;		/* of a sleep */
	void (*fn)(void *);
	void *arg;
	bool joined, detached;
	void *tls;
	int locks;
	const void *ranks[MODEL_RANKS];	/* for sys_model.c */
	int depth;
	uint32_t started;	/* threads that it made */
	uint32_t rests;
	uint64_t identity, history, priority;
	struct clock clock;
	struct clock acquired;	/* by relaxed loads: a fence makes it count */
	struct clock fenced;	/* at the last fence: relaxed stores give it */
	struct coroutine co;
};

struct stored {
	uint64_t value;
	struct clock release;
	uint32_t at;		/* the storing thread's time */
	int thread;
};

/* A location that is used atomically, or a mutex. */
struct place {
	uintptr_t address;
	uint32_t execution;	/* valid in this run only */
	uint64_t history, readers;	/* hash; the sum of those who read */
	/* of a mutex */
	int owner;		/* thread id + 1, 0: free */
	bool destroyed;
	struct clock released;
	/* of an atomic: the newest last; [0] is what was there at first */
	int count, reads;
	uint32_t first;		/* how many older ones were forgotten */
	struct stored stores[MODEL_STORES];
	struct { uint32_t which, at; int thread; } read[MODEL_READS];
};

enum block_kind { BLOCK_HEAP, BLOCK_MAP, BLOCK_OBJECT };

struct block {
	uintptr_t start;
	size_t size;
	uint64_t name;		/* the same in all runs alike */
	enum block_kind kind;
	bool live;
	const void *maker;	/* code address */
	int thread;
};

struct choice {
	uint16_t options, taken;
};

struct cell;			/* race.c */
struct event;			/* trace.c */
struct symbols;
struct state_set;		/* cache.c */

enum ending { END_COMPLETE = 1, END_CUT, END_FAILED };

struct engine {
	struct model_config config;
	struct model_result result;
	void (*body)(void);

	/* one run */
	uint32_t execution;	/* its number, from 1 */
	jmp_buf home;		/* explore.c, longjmp with an enum ending */
	struct model_thread *current;	/* NULL: the machine itself runs */
	struct model_thread thread[MODEL_THREADS];
	int threads;
	bool ending_phase;	/* the body has returned */
	long steps;
	int64_t now;
	int preempted, spurious, early, faults, stale;
	struct clock fences;	/* of all sequentially consistent fences */

	/* choice.c */
	struct choice choice[MODEL_CHOICES];
	int prefix;		/* of these are given */
	int position;
	bool replaying;

	/* of the bytes */
	size_t byte;		/* the next one */
	int gap;		/* choices before one that is not 0; -1: all */

	/* random modes */
	uint64_t random;
	long longest_run;
	long change[16];

	struct state_set *states;

	struct place place[MODEL_PLACES];	/* a hash table */
	uint16_t place_used[MODEL_PLACES];	/* in order of first use */
	int places;

	/* memory: stacks, then the arena */
	char *memory;
	size_t memory_size, arena_used;
	struct block block[MODEL_BLOCKS];
	int blocks;
	struct cell *memory_cells, *static_cells;
	char *static_start;
	size_t static_size;
	char *static_copy;
	char *counters;		/* a fuzzer's, among it: they go on */
	size_t counters_size;

	struct { const char *what; long count; } cover[MODEL_COVERS];
	int covers;
	struct { uintptr_t at; const char *name; } name[MODEL_NAMES];
	int names;

	/* trace.c */
	bool tracing;
	struct event *events;
	size_t event_count, event_room;
	struct symbols *symbols;
};

extern struct engine *eng;

#define CALLER	__builtin_return_address(0)

static inline uint64_t
eng_mix(uint64_t a, uint64_t b)
{
	a ^= b + UINT64_C(0x9e3779b97f4a7c15) + (a << 6) + (a >> 2);
	a *= UINT64_C(0xff51afd7ed558ccd);
	return a ^ (a >> 32);
}

static inline void
clock_join(struct clock *to, const struct clock *from)
{
	int i;

	for (i = 0; i < MODEL_THREADS; i++)
		if (to->before[i] < from->before[i])
			to->before[i] = from->before[i];
	for (i = 0; i < MODEL_THREADS; i++)
		if (to->seen[i] < from->seen[i])
			to->seen[i] = from->seen[i];
}

/* The current thread's time moves on: what it does from now on does not
 * happen before those who learnt its time up to here. */
static inline void
clock_tick(void)
{
	struct model_thread *t = eng->current;

	t->clock.before[t->id]++;
	t->clock.seen[t->id]++;
}

/* sched.c */
void eng_sched_reset(void);
/* The current thread is about to do something that others can see. */
void eng_point(void);
/* It waits as `state` says; returns when it goes on. */
void eng_block(enum thread_state state, const void *object, int64_t deadline);
void eng_wake(struct model_thread *t, const struct place *by);
void eng_thread_main(void) __attribute__((noreturn));
struct model_thread *eng_thread_new(void (*fn)(void *), void *arg);

/* coroutine.c */
void eng_coroutine_init(struct coroutine *co, char *stack);
void eng_switch(struct model_thread *to);
void eng_enter(struct model_thread *first) __attribute__((noreturn));

/* choice.c */
/* Takes one of n > 1; a choice of the program's or of the environment. */
int eng_choose(int n);
/* The same for a thing that seldom happens: 0 no, 1 yes. */
bool eng_choose_rare(void);
/* The search's own: `bounded` leaves only option 0. */
int eng_choose_next(int n, bool bounded, int wish);
void eng_choices_print(char *to, size_t size);
void eng_choices_parse(const char *text);
bool eng_choices_advance(void);
void eng_bytes_begin(void);
/* One of n, for the mode of that name. */
int eng_choose_by_bytes(int n);
uint64_t eng_random(void);

/* explore.c: ends the run if this state is known. */
void eng_cut_if_known(bool stays);

/* cache.c: false when `key` was there with a cost at most `cost`. */
struct state_set *eng_states_new(void);
void eng_states_free(struct state_set *s);
bool eng_states_add(struct state_set *s, uint64_t key, int cost);
long eng_states_count(const struct state_set *s);

/* atomic.c */
struct place *eng_place(const void *address);
void eng_places_forget(const void *start, size_t size);
/* The step reads or changes what others find at `p`. */
void eng_happens_read(struct place *p, uint64_t kind);
void eng_happens_write(struct place *p, uint64_t kind);

/* race.c */
void eng_race_init(void);
enum { ACCESS_READ = 0, ACCESS_WRITE = 1, ACCESS_ATOMIC = 2 };
void eng_access(const void *p, size_t size, unsigned kind, const void *pc);
void eng_dead(const void *p, size_t size, bool dead);

/* heap.c */
void eng_heap_reset(void);
void *eng_heap_alloc(size_t size, size_t align, enum block_kind kind,
    const void *pc);
void eng_heap_check(void);
/* A name for an address that is the same in all runs alike. */
uint64_t eng_address_name(uintptr_t address);
const struct block *eng_block_at(uintptr_t address);

/* snapshot.c */
void eng_snapshot_init(void);
void eng_snapshot_take(void);
void eng_snapshot_restore(void);

/* crash.c */
void eng_crash_init(void);

/* mutex.c */
void model_detach(struct model_thread *t);

/* trace.c */
void eng_event(const void *pc, const void *address, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define EVENT(address, ...) \
	(eng->tracing ? eng_event(CALLER, (address), __VA_ARGS__) : (void)0)
void eng_events_reset(void);
void eng_events_print(void);
/* The text form of an address, in a buffer that is soon used again. */
const char *eng_address_text(const void *address);
/* "function file:line" of a code address. */
const char *eng_code_text(const void *pc);

#endif
