/* SPDX-License-Identifier: MIT */
/*
 * What the library knows of one thread: how to wake it, where it waits,
 * which task it runs, and what each floor keeps ready for it.
 *
 * H1  A record lives in a slab: it may be woken late, by one who read the
 *     pointer before the thread ended (last-touch rule).
 * H2  `park` has one sleeper, the record's thread.
 * H3  What a floor keeps here is touched by the record's thread only, but
 *     for the fields marked atomic.  The floor takes it back in its
 *     nur_thr_exit_hook, highest floor first.
 * H4  `late` counts the calls of `wake` that are under way; the thread
 *     outlives them.
 */
#ifndef NUR_BASE_THR_H
#define NUR_BASE_THR_H

#include "base/list.h"
#include "base/lock.h"
#include "base/slab.h"

#include <sys/types.h>

/* Where a thread waits; the names are in base/thr.c. */
enum nur_op {
	NUR_OP_NONE, NUR_OP_TOKEN_WAIT, NUR_OP_SLEEP, NUR_OP_POLL,
	NUR_OP_READ, NUR_OP_WRITE, NUR_OP_RECV, NUR_OP_SEND,
	NUR_OP_SENDFILE, NUR_OP_ACCEPT, NUR_OP_CONNECT, NUR_OP_RUN,
	NUR_OP_SPAWN, NUR_OP_WAIT, NUR_OP_CLOSE, NUR_OP_BLOCKING,
	NUR_OP_CALLBACK, NUR_OP_COND_WAIT, NUR_OP_SEM_WAIT,
	NUR_OP_CHANNEL_SEND, NUR_OP_CHANNEL_RECV, NUR_OP_JOIN, NUR_OP_START,
	NUR_OP_WAITPID, NUR_OP_COUNT
};
extern const char *const nur_op_names[NUR_OP_COUNT];
/* With one of them: the call is under way, but it does not wait. */
#define NUR_OP_BUSY	UINT32_C(0x100)

struct nursery;
struct nursery_task;
struct nursery_token;
struct nur_callback;
struct nur_run;

/* An entry in a token's list of those to be told, token/callback.h. */
struct nur_entry {
	struct nur_entry *next, *prev;
	uint16_t kind;
	uint16_t level;		/* a callback's */
	uint32_t state;		/* atomic; a callback's */
};

/* A place of this thread in a token's list, for one callback after another:
 * token/callback.c.  The first four are for functions, the others for waits. */
#define NUR_HOOKS	4
#define NUR_ALL_HOOKS	(2 * NUR_HOOKS)
struct nur_hook {
	struct nur_entry entry;		/* tree lock */
	struct nur_run *run;		/* tree lock */
	struct nursery_token *token;	/* atomic; written under the tree lock */
	struct nur_callback *armed;	/* atomic; written by the thread */
	bool waits;			/* constant once it is in a list */
};

/* Children that this thread made, gave up and can have again:
 * token/vacant.c. */
#define NUR_VACANT	8
struct nur_vacant {
	uint32_t count;
	struct nursery_token *child[NUR_VACANT];
};

/* Nurseries ready to be opened: scope/nest.c. */
#define NUR_SPARES	32

/* What a thread has counted of a nursery's light tasks, and has not told it
 * yet: scope/light.c. */
struct nur_deque;
struct nur_tally {
	struct nursery *nursery;	/* atomic in the spawner's */
	int64_t balance;		/* begun less ended; atomic there */
	uint64_t spawned, discarded;	/* spawned: atomic there */
	bool works;			/* as a worker, not for a wait */
	struct nursery_task *before;	/* that ran when this one began */
	struct nur_tally *outer;
};

/* Descriptors that were a socket, or none, when last used: io/call.h. */
#define NUR_FDS_SEEN	16
struct nur_fd_seen {
	int fd;
	bool no_socket;
	uint8_t others;		/* that have to do without the slot yet */
};

struct nur_thr {
	/* atomic: what a waker touches, one line */
	uint32_t park;		/* 0 empty, 1 a wake-up waits to be taken */
	uint32_t late;		/* H4; with NUR_LATE_AWAITED */
	struct nursery_task *handed;	/* sched/pool.c */
	uint32_t op;		/* enum nur_op, NUR_OP_BUSY; for the dump */
	int op_fd;
	/* constant while the thread lives */
	int tid;
	int wake_fd;		/* eventfd, -1 until first needed; atomic: a
				 * forked child closes those of all */
	bool rang;		/* the thread's own: it is to be emptied */
	bool forked;		/* the process is a child of a fork, perhaps
				 * with what it inherited */
	uint64_t system_thread;	/* pthread_t, for tgkill's library twin */
	/* the thread's own; read, too, by who has a callback of it to run */
	void (*wake)(struct nur_thr *self);	/* NULL: nur_unpark() does */
	/* the thread's own */
	struct nursery_task *task;	/* that runs here */
	struct nursery_task *light;	/* the same, if it is a light one, else
					 * NULL: scope/light.c, W7; atomic */
	unsigned blocking;	/* pairs of io/blocking.c that are open */
	bool blocking_paused;	/* the outermost of them gave a place away */
	size_t stack_size;	/* 0: not a thread of the pool */
	struct nur_fd_seen fd_seen[NUR_FDS_SEEN];
	uint64_t next_id, last_id;	/* of tasks: scope/task.c */
	struct nur_link opened;	/* nurseries open in this thread, newest last */
	uint32_t nest_seq;	/* atomic: changes with `opened` */
	uint32_t spare_count;
	struct nursery *spare[NUR_SPARES];
	struct nur_magazine magazine[NUR_SLAB_KINDS];
	int64_t live[NUR_SLAB_KINDS];	/* atomic, S4 */
	struct nur_vacant vacant;
	struct nur_hook hook[NUR_ALL_HOOKS];
	struct nur_hook *hook_at_hand[2];	/* that served last, or NULL */
	uint64_t named_for;	/* id of whose name the thread bears; 0: ours */
	/* the compute lane: sched/lane.c */
	struct nur_deque *deque;	/* of jobs; NULL: has none now, L9 */
	bool claims;		/* lane lock: a queue, whenever it wants one */
	bool works;		/* constant: a worker of the lane */
	bool place;		/* atomic, written under the lane lock: may run */
	bool called;		/* atomic, written under the lane lock: taken
				 * out of `idle` to work */
	bool given;		/* as `called`, or before the thread starts: with
				 * jobs in its queue */
	int64_t cpu_seen;	/* the monitor's */
	struct nur_tally *tally;	/* of who runs jobs here, or NULL */
	struct nur_tally spawns;	/* of who spawns from outside */
	uint32_t spawning;	/* atomic: `spawns`, or what a nursery that
				 * it opened has of its own, is being written */
	uint32_t jobs;		/* run, to ask for others' now and then */
	struct nur_deque *polled;	/* whose turn it was last */
	/* under the lock of thr.c */
	struct nur_link all;
	/* under the pool's lock, or the lane's: sched/ */
	struct nur_link idle;
};

/* Whether it is a thread of the pool. */
static inline bool
nur_thr_is_worker(const struct nur_thr *thr)
{
	return thr->stack_size != 0;
}

/* The calling thread's record, made on first use; NULL without memory. */
struct nur_thr *nur_thr_make_self(void);

/* The calling thread's record, but only if there is one already. */
static inline struct nur_thr *
nur_thr_peek(void)
{
	return nur_tls_get();
}

static inline struct nur_thr *
nur_thr_self(void)
{
	struct nur_thr *self = nur_thr_peek();

	return self != NULL ? self : nur_thr_make_self();
}

/* A record for a thread that is about to start, so that it cannot lack one;
 * NULL without memory. */
struct nur_thr *nur_thr_new(void);
void nur_thr_free(struct nur_thr *thr);
/* In that thread, first: false if the system will not tell of its end, and
 * the thread must call nur_thr_ends() itself. */
bool nur_thr_become(struct nur_thr *thr);
void nur_thr_ends(void *thr);

/* Sleeps until a wake-up is there, and takes it: 0, or ETIMEDOUT. */
int nur_park(struct nur_thr *self, int64_t deadline);
/* Lets the thread's current or next nur_park() return. */
void nur_unpark(struct nur_thr *thr);
/* The same for one of many: as soon as somebody wakes all who sleep at `at`. */
void nur_unpark_gather(struct nur_thr *thr, uint32_t *at);

/* H4: around a call of thr->wake. */
#define NUR_LATE_AWAITED	UINT32_C(0x80000000)
static inline void
nur_thr_late_begins(struct nur_thr *thr)
{
	/* Before the thread is told that it may go on. */
	(void)nur_fetch_add_acq_rel(&thr->late, 1);
}
void nur_thr_late_ends(struct nur_thr *thr);
/* Until no call is under way: what it does has been done. */
void nur_thr_await_late(struct nur_thr *self);

/* The thread's eventfd, made on first use.  -1 without a descriptor, and for a
 * thread of the pool when enough of them have one. */
int nur_thr_wake_fd(struct nur_thr *self);

/* What runs when a thread ends: the scope's closes what the thread opened,
 * then the token's takes back what is kept ready. */
enum nur_exit { NUR_EXIT_SCOPE, NUR_EXIT_TOKEN, NUR_EXITS };
extern void (*nur_thr_exit_hook[NUR_EXITS])(struct nur_thr *self);

/* Marks where the thread waits; returns what was marked before. */
static inline uint32_t
nur_op_enter(struct nur_thr *self, uint32_t op, int fd)
{
	uint32_t before = nur_load_relaxed(&self->op);

	/* Relaxed: a reader of the dump may see a neighbouring state. */
	nur_store_relaxed(&self->op_fd, fd);
	nur_store_relaxed(&self->op, op);
	return before;
}

static inline void
nur_op_leave(struct nur_thr *self, uint32_t before)
{
	nur_store_relaxed(&self->op, before);
}

/* Who holds a place of the compute lane gives it away before he blocks, and
 * has one again after that; set by sched/lane.c. */
extern void (*nur_thr_pause_hook)(struct nur_thr *self);
extern void (*nur_thr_resume_hook)(struct nur_thr *self);

/* Whether there is something to resume.  No lock held. */
static inline bool
nur_thr_pause(struct nur_thr *self)
{
	if (self == NULL || !nur_load_relaxed(&self->place))
		return false;
	nur_thr_pause_hook(self);
	return true;
}

static inline void
nur_thr_resume(struct nur_thr *self, bool paused)
{
	if (paused)
		nur_thr_resume_hook(self);
}

/* S4: one more, or one fewer, is live. */
static inline void
nur_thr_count(struct nur_thr *self, enum nur_slab_kind kind, int change)
{
	/* Relaxed: only this thread writes it. */
	nur_store_relaxed(&self->live[kind], nur_load_relaxed(
	    &self->live[kind]) + change);
}

/* The call that op says, with its descriptor if there is one, in words. */
#define NUR_OP_TEXT	48
void nur_op_text(char to[NUR_OP_TEXT], uint32_t op, int fd);

/* Calls fn for each thread, in whose record it may read what is atomic. */
void nur_thr_each(void (*fn)(const struct nur_thr *thr, void *arg), void *arg);
int64_t nur_thr_sum_live(enum nur_slab_kind kind);
/* Nobody is in nur_thr_each() meanwhile. */
void nur_thr_lock_list(void);
void nur_thr_unlock_list(void);
void nur_thr_after_fork(void);

#endif
