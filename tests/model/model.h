/* SPDX-License-Identifier: MIT */
/*
 * A deterministic machine for concurrent code.
 *
 * The threads of a body are coroutines of one system thread.  Everything
 * that one of them does and another can see is a step of the machine; which
 * thread takes the next step, whether a request for memory fails, whether a
 * deadline passes early: each is a choice, and model_explore() runs the body
 * again and again until every sequence of choices within its bounds has been
 * seen.  The same choices give the same run, so a failure can be replayed.
 *
 * Time is a number that moves only when no thread can run.  The program's
 * static data and the machine's memory are as new in each run: a body may
 * use static variables freely, and asks model_alloc(), not malloc(), for
 * memory, because a run that has shown all it can show is left in the middle.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum model_mode {
	MODEL_DFS,	/* all runs within the bounds, one after the other */
	MODEL_RANDOM,	/* every choice by lot */
	MODEL_PCT,	/* random priorities with `depth` - 1 changes */
	MODEL_BYTES	/* as `bytes` say; one run */
};

/* Zero is a sensible value of every field but max_executions or max_seconds
 * in the random modes, which know no end of their own. */
struct model_config {
	enum model_mode mode;
	int preemptions;	/* DFS: bound; negative: none */
	int depth;		/* PCT: of the bug */
	/* How often in one run ... */
	int spurious;		/* a futex wait returns for no reason */
	int early;		/* a deadline passes while others could run */
	int faults;		/* a request for memory or a thread fails */
	int stale;		/* a load gives an older value, as C11 allows */
	bool explore_end;	/* branch also after the body has returned */
	bool no_cache;		/* DFS: do not recognise known states */
	uint64_t seed;
	long max_executions;	/* 0: no limit; the same for the next two */
	double max_seconds;
	long max_steps;		/* 0: 20,000; a longer run is a failure */
	const char *replay;	/* choices of one run, as a failure gave them */
	/*
	 * BYTES: each is a number of choices that are 0, and then one that is
	 * not; when there are no more, all are 0.
	 */
	const uint8_t *bytes;
	size_t byte_count;
	/* In each thread as it ends; in the first one when all have ended. */
	void (*thread_end)(void);
	void (*after)(void);
};

struct model_result {
	long executions;	/* runs begun */
	long cut;		/* of these, left at a state already seen */
	long states;		/* told apart by what happened before what */
	long steps;
	int longest;		/* choices in one run */
	bool complete;		/* DFS: nothing within the bounds is left */
	bool failed;
	double seconds;
	char failure[512];
	char replay[1024];	/* for model_config.replay */
};

/* Runs `body` until the bounds are exhausted or a run fails. */
void model_explore(void (*body)(void), const struct model_config *config,
    struct model_result *result);
/* Replays result->replay and prints what happened, step by step. */
void model_print_failure(void (*body)(void), const struct model_config *config,
    const struct model_result *result);

/* ---- for bodies ---- */

struct model_thread;
struct model_thread *model_start(void (*fn)(void *), void *arg);
void model_join(struct model_thread *t);
/* Gives way: for loops that wait for a value.  No preemption. */
void model_yield(void);
/* Here another thread may go on, at no cost of preemptions. */
void model_pause(void);
/* Zeroed; never NULL, faults aside: model_start() and these two do not fail. */
void *model_alloc(size_t size);
void model_free(void *p);
/* A choice of the body's own: 0 .. options - 1. */
int model_choose(int options);
/* True if a request for memory or a thread is to fail now. */
bool model_fault(void);
int64_t model_now(void);
/* In this run a request has been refused; a deadline has passed early. */
bool model_refused(void);
bool model_hurried(void);
/* How many mutexes the calling thread holds. */
int model_locks_held(void);

/* Ends the run as failed. */
void model_fail(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));
#define MODEL_ASSERT(e) \
	((e) ? (void)0 : model_fail("assertion failed: %s (%s:%d)", #e, \
	    __FILE_NAME__, __LINE__))

/* What this run has reached, counted over all runs: a scenario in which a
 * thing never happens proves nothing about it. `what` is static text. */
void model_cover(const char *what);
long model_covered(const char *what);

/* For the printed steps: how p's memory is called, and a remark. */
void model_name(const void *p, const char *name);
void model_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
