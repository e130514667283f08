/* SPDX-License-Identifier: MIT */
/*
 * The soak: rounds of random traffic over random trees of nurseries.
 *
 *	soak.c		options, rounds, the watchdog
 *	tree.c		nurseries: opened, filled, told to stop, closed
 *	work.c		tasks: what one does, how one is spawned
 *	play.c		what a task does with tokens
 *	link.c		tasks that pass something to each other: bytes in
 *			stream.c, items in channel.c, tickets.c
 *	outside.c	threads of the application, signals, dumps
 *	forks.c		children in the middle of it
 *	ledger.c	what was seen, and whether it may be so
 *
 * It uses the public interface only.  A round is planned by its seed alone;
 * what its threads make of the plan is theirs.
 */
#ifndef SOAK_H
#define SOAK_H

#include "atom.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <nursery.h>

/* ---- chance ---- */

struct rng {
	uint64_t state;
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
unsigned rng_below(struct rng *r, unsigned bound);
/* True once in n. */
bool once_in(struct rng *r, unsigned n);
/* A point in time at most so many microseconds away. */
int64_t soon(struct rng *r, unsigned us);

/* ---- what is promised ---- */

enum promise {
	COUNTS,		/* the report says what the tasks counted */
	ONCE,		/* each argument goes to one of function and discard */
	LATE,		/* nothing runs after the close */
	RETURNS,	/* a call returns what it may */
	BYTES,		/* what is received is what was sent */
	ITEMS,		/* no item of a channel is lost or doubled */
	TICKETS,	/* no signal of a condition, no post is lost */
	CALLBACKS,	/* run once, and not after their removal */
	LIVE,		/* nothing lives when all is closed */
	DESCRIPTORS,	/* as many as before */
	THREADS,	/* no more than are kept */
	CHILDREN,	/* each forked one ends well and is reaped */
	PROMISES
};
/* Notes a violation, with seed and round. */
void broken(enum promise p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
unsigned broken_promises(void);
/* Ends with the line of counts that tools/test-counts reads. */
void print_promises(void);

/* ---- figures ---- */

/* atomic; in hundreds of bytes */
extern struct figures {
	uint32_t rounds, tasks, nurseries, cancels, forks, signals, hundreds,
	    items, dumps;
} figures;
/* atomic: moves whenever a task begins or ends, a close returns */
extern uint32_t progress;

/* ---- one round ---- */

struct task_role;
struct link;

/*
 * A nursery: what its tasks counted.  It lives until the end of the round, so
 * that whoever is late finds it.
 */
struct book {
	struct book *next;	/* of the round, under its lock */
	/* constant once it is open */
	struct nursery *n;
	struct book *outer;	/* whose task opened it; NULL: no task did */
	unsigned depth;		/* so many levels may be below it */
	bool cancelled;		/* before it is closed, so tasks may wait */
	bool limited;		/* spawns may have to wait for room */
	bool reports;		/* has an on_done */
	int policy;
	/* atomic */
	uint32_t closed, inside, services, reported, reporting;
	struct item *items;	/* atomic */
	/* the opener's */
	struct link *links;
	struct nursery_counts counts;
	bool counted;
	int rc;			/* of the close */
};

/* One argument of a task. */
struct item {
	struct item *next;
	struct book *book;
	const struct task_role *role;
	void *what;		/* the role's */
	uint64_t seed;
	uint32_t runs, drops;	/* atomic */
	/* the spawner's */
	bool accepted, discards, by_start;
	/* the task's */
	int outcome;
};

/* What a task does; `over` is called once, after fn or instead of it. */
struct task_role {
	int (*fn)(struct nursery_token *t, struct item *it, struct rng *r);
	void (*over)(struct item *it);
	bool serves;		/* as a service */
};

extern struct round {
	uint64_t seed;
	unsigned number;
	struct rng rng;
	uint32_t budget;	/* atomic: tasks that may yet be spawned */
	uint32_t over;		/* atomic: the outsiders go home */
	pthread_mutex_t lock;
	struct book *books;	/* under lock */
} now;

/* How much is done, from 1 where instructions are dear to 10. */
unsigned scale(void);
/* Whether a process may fork while its other threads work. */
bool forks_are_safe(void);
/* Patience, in seconds, with what must come. */
unsigned patience(void);

/* ---- ledger.c ---- */

struct book *book_new(struct book *outer, unsigned depth);
struct item *item_new(struct book *b, const struct task_role *role,
    void *what, uint64_t seed);
/* Whether it is an error that only tasks return. */
bool is_own_code(int rc);
/* When all of the round have ended; frees all books. */
void books_verify(void);
/* Once, before the first round. */
void ledger_begin(void);
/* After each round; `settled`: after a pause in which idle threads leave. */
void verify_process(void);
void verify_settled(void);
DIR *open_folder(const char *path);

/* ---- tree.c ---- */

/* Opens a nursery, below `outer` when this is its task, and closes it. */
void grow_tree(struct book *outer, struct nursery_token *t, unsigned depth,
    struct rng *r);

/* ---- work.c ---- */

extern const struct task_role role_work;
/*
 * Spawns one in one of many ways; `may_wait`: for room, which it must not
 * where only those could make it who wait for this thread.  NULL if it was
 * not accepted.  `handle` may be NULL.
 */
struct item *spawn_one(struct book *b, struct nursery *n,
    const struct task_role *role, void *what, bool may_wait, struct rng *r,
    struct nursery_task **handle);
void spawn_service(struct book *b, struct rng *r);
/* Whether a wait that t ends ended so. */
void check_wait(const char *call, int rc, struct nursery_token *t,
    int64_t until);
/* Tells a nursery to stop, in one of many ways. */
void cancel_somehow(struct nursery *n, struct rng *r);

/* ---- play.c ---- */

void play_with_tokens(struct nursery_token *t, struct rng *r);

/* ---- link.c ---- */

/* Adds tasks that talk to each other. */
void add_link(struct book *b, struct rng *r);
/* After the close of the nursery. */
void links_verify(struct book *b);

/* ---- outside.c ---- */

void outside_begin(unsigned threads);
void outside_end(void);
/* Lets outsiders find a nursery. */
void publish(struct book *b);
/* Takes SIGHUP or SIGWINCH for it, if no other nursery has. */
void take_signals(struct book *b, struct rng *r);
/* Cancels t as a signal handler would, in one. */
void cancel_by_handler(struct nursery_token *t);
void handlers_install(void);
void dump_somewhere(void);

/* ---- forks.c ---- */

/* Forks, if that may be done here; the child works, and is reaped. */
void fork_one(struct nursery_token *t);
/* At the end of a round: waits for those that a cancel left. */
void reap_all(void);

#endif
