/* SPDX-License-Identifier: MIT */
/*
 * Nurseries and tasks.
 *
 * The promise: nursery_close returns only when no task of the nursery, or of
 * a nursery inside it, runs; every accepted argument went to exactly one of
 * the task's function and its discard; no thread of the library touches the
 * nursery again.  Nothing can be detached.
 *
 * Members (the tasks of a nursery and of those inside it) and the opener may
 * use the handle freely.  A thread that is not ordered with the close holds
 * a reference (nursery_ref); to it every spawn after close says ESHUTDOWN.
 * Any thread may spawn, cancel and wait; the opener closes.  Calls return 0
 * or an error number; EOWNERDEAD means inherited across fork, and is not
 * repeated below.
 */
#ifndef NURSERY_SCOPE_H
#define NURSERY_SCOPE_H

#include <nursery/token.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct nursery;			/* opaque */
struct nursery_task;		/* opaque */
struct nursery_report;		/* opaque */

/*
 * A task.  `token` tells it to stop; it is valid until the function returns.
 * 0 is success; any other value is an error that close and report hand on
 * unchanged.  ECANCELED from a task that was told to stop counts as
 * "cancelled", not as "failed".  One that returns 0 and leaves a nursery open
 * has failed with ENOTEMPTY.
 */
typedef int nursery_fn(struct nursery_token *token, void *arg);

/* ---- how a nursery behaves ---- */

/* Where tasks run. */
enum {
	NURSERY_LANE_INHERIT = 0,	/* the parent's; a root's is BLOCKING */
	NURSERY_BLOCKING = 1,		/* a thread for each running task */
	NURSERY_COMPUTE = 2		/* queued for the usable CPUs; stealing */
};

/* What the end of a task does.  A service's success is not counted. */
enum {
	NURSERY_FAIL_FAST = 0,	/* first error cancels the rest; close has it */
	NURSERY_COLLECT = 1,	/* all run; close has the first, report all */
	NURSERY_FIRST_SUCCESS = 2 /* first success cancels the rest; close: 0 */
};

/*
 * How a task ended: what on_done and the report give.  `name` lives as long
 * as the callback or the report does.
 */
struct nursery_result {
	size_t size;		/* set by NURSERY_RESULT_INIT */
	uint64_t task;		/* id, as nursery_task_id has it */
	const char *name;	/* "" when it has none */
	int code;		/* what fn returned, or ECANCELED: never ran */
	int cancelled;		/* 1: it ended because it was told to */
	int64_t started;	/* nursery_now(), 0: never ran, or unknown */
	int64_t ended;
};
#define NURSERY_RESULT_INIT	{ sizeof(struct nursery_result), \
	0, 0, 0, 0, 0, 0 }

/* Zero is the default of each field.  NULL in place of the struct: all. */
struct nursery_attr {
	size_t size;		/* set by NURSERY_ATTR_INIT */
	const char *name;	/* copied, at most 31 bytes of it */
	int lane;
	int policy;
	unsigned flags;		/* NURSERY_SHIELD and the like */
	unsigned max_running;	/* 0: no limit */
	unsigned max_queued;	/* once max_running run; 0: no limit */
	unsigned max_errors;	/* kept in the report; 0: 16 */
	int64_t deadline;	/* cancels the nursery; 0: none */
	int64_t shield_until;	/* required with NURSERY_SHIELD */
	size_t stack_size;	/* of threads started for it; 0: 256 KiB;
				 * more than a worker's is ENOTSUP on COMPUTE */
	/* After each task, one call at a time, no lock held; may cancel n. */
	void (*on_done)(struct nursery *n, const struct nursery_result *r,
	    void *ctx);
	void *ctx;		/* for on_done */
};
#define NURSERY_ATTR_INIT	{ sizeof(struct nursery_attr), \
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Its token hears nothing below ABORT until shield_until. */
#define NURSERY_SHIELD		1u
/* Any one thread may close it; the end of the opener's thread does not. */
#define NURSERY_UNBOUND		2u
/* Threads of the application that wait run none of its tasks. */
#define NURSERY_NO_HELP		4u

/* When a task is started again.  Provisional.  Not built yet: ENOTSUP. */
enum {
	NURSERY_RESTART_NEVER = 0,
	NURSERY_RESTART_ON_FAILURE = 1,
	NURSERY_RESTART_ALWAYS = 2
};

/*
 * How often a task may be started again, and how long after.  Provisional.
 * Not built yet: a task attribute that names one is ENOTSUP.
 */
struct nursery_restart {
	size_t size;		/* set by NURSERY_RESTART_INIT */
	int when;		/* NURSERY_RESTART_* */
	unsigned max_restarts;	/* more within `window`: the failure goes up */
	int64_t window;		/* durations */
	int64_t backoff_min, backoff_max;
};
#define NURSERY_RESTART_INIT	{ sizeof(struct nursery_restart), \
	0, 0, 0, 0, 0 }

/* ---- how a task behaves ---- */

struct nursery_task_attr {
	size_t size;		/* set by NURSERY_TASK_ATTR_INIT */
	const char *name;	/* copied, at most 31 bytes of it */
	int lane;		/* 0: the nursery's */
	unsigned flags;		/* NURSERY_TASK_* */
	/* Runs instead of fn when the task is dropped before it starts. */
	void (*discard)(void *arg);
	int64_t spawn_by;	/* deadline of the spawn; 0: NURSERY_NEVER */
	int64_t deadline;	/* of the task's own token; 0: none */
	int64_t grace;		/* a service's time to stop; 0: no bound */
	const struct nursery_restart *restart;	/* not built yet: ENOTSUP */
};
#define NURSERY_TASK_ATTR_INIT	{ sizeof(struct nursery_task_attr), \
	0, 0, 0, 0, 0, 0, 0, 0 }

/* Accepted even after a cancel; its token is shielded until its deadline,
 * which is required, and hears an ABORT.  For the last words of a program. */
#define NURSERY_TASK_FINAL		1u
/*
 * Its token is shielded until the normal tasks ended and the nursery is being
 * closed; then services are told to stop, newest first, each when the one
 * before has ended or had its `grace`, after which that is raised to ABORT.
 * An ABORT of the nursery pierces the shield.  nursery_wait does not wait for
 * it.  EINVAL with FINAL, MAY_INLINE or ENDS_ON_DRAIN.
 */
#define NURSERY_TASK_SERVICE		2u
/* May run in the spawner, before the spawn returns, when no thread can be
 * had: instead of EAGAIN. */
#define NURSERY_TASK_MAY_INLINE		4u
/* Accepted from outside while the nursery drains. */
#define NURSERY_TASK_IN_DRAIN		8u
/* Its token is cancelled when the nursery drains: acceptors. */
#define NURSERY_TASK_ENDS_ON_DRAIN	16u

/* ---- opening ---- */

/*
 * Opens a nursery with no parent.  The calling thread is its opener and
 * closes it.  On success *out is the nursery.  EINVAL: out is NULL, an
 * unknown flag, a value out of range, SHIELD without shield_until.  E2BIG: a
 * newer attr with a field that is not zero.  ENOTSUP: COMPUTE with a larger
 * stack.  ENOMEM.  EAGAIN: no thread for the timer service, when a time is
 * given, or none at all for COMPUTE.
 */
int nursery_open(struct nursery **out, const struct nursery_attr *attr);

/*
 * As nursery_open, inside `parent`: its token is a child of the parent's,
 * and the parent's close waits for it.  ESHUTDOWN: the parent is closed.
 */
int nursery_open_child(struct nursery **out, struct nursery *parent,
    const struct nursery_attr *attr);

/*
 * As nursery_open, with a token below `parent`, so that whoever raises that
 * also stops this; nobody but its closer waits for it.
 */
int nursery_open_under(struct nursery **out, struct nursery_token *parent,
    const struct nursery_attr *attr);

/*
 * Makes the calling thread the opener, when a nursery is opened by one
 * thread and closed by another.  The old opener takes part: it neither opens
 * nor closes a nursery meanwhile.  EBUSY: it is being closed.
 */
int nursery_adopt(struct nursery *n);

/* One more reference to the handle, which is returned.  Keeps the memory,
 * not the nursery open.  NULL is a no-op.  Cannot fail. */
struct nursery *nursery_ref(struct nursery *n);

/* Gives back a reference that nursery_ref made; the opener's own goes with
 * the close.  NULL is a no-op. */
void nursery_unref(struct nursery *n);

/* ---- spawning ---- */

/*
 * Runs fn(token, arg) in a task, with the nursery's token.  On 0 the task
 * has a thread, or a place in the queue when `max_running` is set, or is
 * queued on the compute lane, where pthread_exit in it is misuse.  While
 * the nursery is full it blocks.  On an error arg stays with the caller:
 * ECANCELED (n, or the calling task while it waits for room), ESHUTDOWN
 * (draining, from outside; closed), EAGAIN (no thread), ENOMEM, EINVAL.
 * Any thread.  What the caller did before is visible to fn.
 */
int nursery_spawn(struct nursery *n, nursery_fn *fn, void *arg);

/* As nursery_spawn, but EAGAIN at once when the nursery is full. */
int nursery_try_spawn(struct nursery *n, nursery_fn *fn, void *arg);

/*
 * As nursery_spawn; fn gets a pointer to the task's own copy of the `len`
 * bytes at `data`, aligned for any type and alive until fn returns.  Small
 * ones cost no allocation: no malloc for a loop variable.
 */
int nursery_spawn_copy(struct nursery *n, nursery_fn *fn, const void *data,
    size_t len);

/*
 * As nursery_spawn, with attributes, and with a token of the task's own
 * below the nursery's.  ETIMEDOUT: no room by attr->spawn_by.  `out` may be
 * NULL; else it gets a handle of the task, for nursery_task_join or _unref.
 * EINVAL, E2BIG and ENOTSUP for attr, as in nursery_open.
 */
int nursery_spawn_with(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, struct nursery_task **out);

/*
 * Spawns as nursery_spawn_with, and returns 0 when the task has called
 * nursery_started, whose value goes to *out_value (which may be NULL).  At
 * the deadline (ETIMEDOUT), and when the task or the calling one is cancelled
 * (ECANCELED), the task is cancelled and waited for.  One that ends before it
 * said so: its error, or EPROTO.  Whatever is returned, a refusal too, arg
 * went to exactly one of fn and attr->discard.  EINVAL with MAY_INLINE.
 */
int nursery_start(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, void **out_value, int64_t deadline);

/*
 * Said by a task that nursery_start started: it is ready, and *out_value of
 * the start becomes `value`.  ECANCELED: the start has given up, and the task
 * is to end.  0, too, in a task that was spawned, so that a function serves
 * for both.  EINVAL: outside tasks, or said already.
 */
int nursery_started(void *value);

/* ---- waiting and closing ---- */

/*
 * Blocks until no task of n itself but services is unfinished, and closes
 * nothing: more may be spawned.  ETIMEDOUT at the deadline.  EDEADLK: the
 * caller is a member, or runs in the midst of one, and would wait for itself.
 * Not cut short by the caller's token.  Without a deadline the caller may run
 * queued tasks of a nursery on the compute lane, and of those inside it.
 */
int nursery_wait(struct nursery *n, int64_t deadline);

/*
 * Waits for all tasks and for the nurseries inside, stops the services, then
 * closes; members may spawn until the last has ended, outsiders get
 * ESHUTDOWN.  Returns the first error of a task, in a FIRST_SUCCESS nursery
 * only if none succeeded; without one ENOTEMPTY when this thread had left an
 * inner one open, ECANCELED when the nursery was cancelled, ETIMEDOUT when
 * its own deadline did it, else 0.  *n is NULL exactly when closed.  Runs
 * queued tasks, as nursery_wait does.  Not closed: EPERM (not the opener),
 * EBUSY (somebody closes), EDEADLK (a member), EOWNERDEAD.  NULL and a
 * pointer to NULL: 0.
 */
int nursery_close(struct nursery **n);

/*
 * As nursery_close; *out gets the report whenever the nursery was closed,
 * for nursery_report_free.  ENOMEM: no memory for it, and nothing happened.
 */
int nursery_close_with(struct nursery **n, struct nursery_report **out);

/* ---- telling it to stop ---- */

/*
 * Cancels the nursery: its token, all below it, tasks still queued are
 * discarded, and new ones refused with ECANCELED.  Waits for nothing but the
 * callbacks and discards it runs on this thread.  Any thread; cannot fail.
 * NULL is a no-op.
 */
void nursery_cancel(struct nursery *n);

/* As nursery_cancel, with a cause as in nursery_token_cancel_with. */
void nursery_cancel_with(struct nursery *n, int code, const char *why);

/*
 * Raises the nursery to NURSERY_DRAIN: tasks go on and may spawn, outsiders
 * get ESHUTDOWN, and a task with ENDS_ON_DRAIN is cancelled.  As above.
 */
void nursery_drain(struct nursery *n);

/* The nursery's token, borrowed: good until the close, or with a reference
 * of your own.  NULL for NULL. */
struct nursery_token *nursery_token_of(struct nursery *n);

/* ---- who am I ---- */

/* The nursery of the task that runs on this thread, NULL outside tasks.
 * Borrowed: good until the task ends. */
struct nursery *nursery_current(void);

/* The task that runs on this thread, NULL outside tasks.  Borrowed: good
 * until the task ends; longer with nursery_task_ref.  On the compute lane it
 * is made on demand for plain tasks: NULL, too, without memory. */
struct nursery_task *nursery_self(void);

/* ---- a nursery that goes with its scope ---- */

/*
 * Cancels, then closes: what nursery_auto does when the scope is left.  By
 * somebody who may not close it is misuse: one line, and an abort.
 */
void nursery_drop(struct nursery **n);

/*
 *	nursery_auto struct nursery *n = NULL;
 * Build with -fexceptions (pkg-config adds it) to have that on pthread_exit
 * and pthread_cancel, too.  longjmp over it is undefined.
 */
#define nursery_auto	__attribute__((cleanup(nursery_drop)))

/* ---- tasks by handle ---- */

/*
 * Waits until the task has ended; then *out_result (which may be NULL) is
 * what its function returned, or ECANCELED if it never ran, the handle is
 * given back and *t is NULL.  A task that waits so gives its place in a
 * nursery with max_running away meanwhile.  Not cut short by the caller's
 * token.  Any thread, and any number of them by a handle each.  EDEADLK: the
 * task is the caller, or waits for it.  EINVAL: NULL.
 */
int nursery_task_join(struct nursery_task **t, int *out_result);

/*
 * As nursery_task_join, until the deadline (ETIMEDOUT) and with the handle
 * left as it is.
 */
int nursery_task_wait(struct nursery_task *t, int64_t deadline);

/*
 * Cancels the task's own token, and discards the task if it is in a queue.
 * True for the call that cancelled; false for a task that has ended and for
 * one without a token of its own (nursery_spawn).  Cannot fail otherwise.
 */
bool nursery_task_cancel(struct nursery_task *t);

/* The id of a task: unique in the process, never used twice, never 0.  It is
 * what causes, results, reports and dumps show.  0 for NULL. */
uint64_t nursery_task_id(const struct nursery_task *t);

/* The task's name, "" when it has none, NULL for NULL.  Lives as long as the
 * task, and the handle. */
const char *nursery_task_name(const struct nursery_task *t);

/* The token that the task's function was given, borrowed: as long as the
 * task, and the handle; NULL for NULL. */
struct nursery_token *nursery_task_token(struct nursery_task *t);

/*
 * One more reference to a handle, which is returned; of nursery_self() it
 * makes one.  It keeps the memory of the task and of the nursery's handle.
 * NULL is a no-op.  Cannot fail.
 */
struct nursery_task *nursery_task_ref(struct nursery_task *t);

/*
 * Gives a handle back; the task goes on, or went long ago.  NULL is a no-op.
 */
void nursery_task_unref(struct nursery_task *t);

/* ---- the report ---- */

/* Each accepted task is in `spawned` and, once ended, in one of the others:
 * spawned = succeeded + failed + cancelled + discarded after a close. */
struct nursery_counts {
	size_t size;		/* set by NURSERY_COUNTS_INIT */
	uint64_t spawned;	/* accepted */
	uint64_t succeeded;	/* returned 0 */
	uint64_t failed;	/* returned an error */
	uint64_t cancelled;	/* returned ECANCELED after being told to stop */
	uint64_t discarded;	/* never ran */
	uint64_t restarted;	/* 0: restarting is not built yet */
};
#define NURSERY_COUNTS_INIT	{ sizeof(struct nursery_counts), \
	0, 0, 0, 0, 0, 0 }

/* How many tasks ended in which way.  EINVAL: NULL, or out->size not set.  A
 * report never changes, and any thread may read it. */
int nursery_report_counts(const struct nursery_report *r,
    struct nursery_counts *out);

/* How many failures are kept: at most attr.max_errors, the first always. */
size_t nursery_report_failed(const struct nursery_report *r);

/* The failure number i in the order they came, 0 the first.  EINVAL: there
 * is none, or out->size is not set.  out->name lives with the report. */
int nursery_report_failure(const struct nursery_report *r, size_t i,
    struct nursery_result *out);

/* How many tasks nursery_stop had to leave running; 0 in other reports. */
size_t nursery_report_unfinished(const struct nursery_report *r);

/* The task number i of those; `ended` is 0.  EINVAL as above.  Age, thread
 * and where it waits are in nursery_report_print. */
int nursery_report_stuck(const struct nursery_report *r, size_t i,
    struct nursery_result *out);

/* Why the nursery was drained, cancelled or aborted; all zero but `size`
 * when it was not.  EINVAL: NULL, or out->size not set. */
int nursery_report_cause(const struct nursery_report *r,
    struct nursery_cause *out);

/* Writes the report for people to read; the format may change.  EIO: the
 * stream has an error.  EINVAL: NULL. */
int nursery_report_print(const struct nursery_report *r, FILE *to);

/* Frees the report and the names in it.  NULL is a no-op. */
void nursery_report_free(struct nursery_report *r);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
