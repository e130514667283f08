/* SPDX-License-Identifier: MIT */
/*
 * Living and ending: stopping in order, signals, processes.
 */
#ifndef NURSERY_DAEMON_H
#define NURSERY_DAEMON_H

#include <nursery/scope.h>

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
#if defined __cplusplus && defined __GNUC__
/* In C++ a function may bear the name of a struct; -Wshadow remarks on it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

/* ---- stopping in order ---- */

/*
 * How long each rung of the ladder lasts.  All three 0, or NULL in place of
 * the struct: 30 s, 10 s, 1 s.  Otherwise 0 is no time at all.
 */
struct nursery_stop {
	size_t size;		/* set by NURSERY_STOP_INIT */
	int64_t drain_for;	/* durations, not points in time */
	int64_t cancel_for;
	int64_t abort_for;
	int code;		/* the cause; 0: ECANCELED */
	const char *why;	/* static text, or NULL */
};
#define NURSERY_STOP_INIT	{ sizeof(struct nursery_stop), 0, 0, 0, 0, 0 }

/*
 * Ends a nursery within a bound: drains and waits, cancels and waits, aborts
 * and waits.  All tasks done: as nursery_close_with.  Else ETIMEDOUT, *n
 * stays open, and the report, written then too, names each task left.
 * Blocks for the sum of the three at most.  Only the opener; EPERM, EBUSY,
 * EDEADLK and ENOMEM as nursery_close_with; EINVAL, E2BIG for `how`.
 */
int nursery_stop(struct nursery **n, const struct nursery_stop *how,
    struct nursery_report **out);

/* ---- signals ---- */

/*
 * Until n is closed, the first of `signals` raises n to `first`, the second
 * cancels it, the third gets the default action.  The cause has the signal
 * and its sender.  A signal ignored now stays ignored.  Handlers that were
 * there come back with the close.  EBUSY: a nursery, or the library itself,
 * has one of them; nothing is changed then.  EINVAL: NULL, SIGKILL, SIGSTOP,
 * or `first` is not DRAIN, CANCEL or ABORT.  ESHUTDOWN: n is closed.
 * EAGAIN, EMFILE.
 */
int nursery_stop_on_signals(struct nursery *n, const sigset_t *signals,
    enum nursery_level first);

/*
 * Until n is closed, calls fn(signo, arg) on a thread of the library when the
 * signal comes, as SIGHUP to read the settings anew.  Signals that come
 * while fn runs, or close together, make one call.  One such function runs
 * at a time, for whatever signal.  fn may use n; the close of n returns when
 * fn does not run and will not.  A signal ignored now stays ignored: 0, and
 * fn is never called.  The handler that was there comes back with the close.
 * EBUSY: a nursery, or the library itself, has it.  EINVAL: NULL, or no
 * signal that can be taken.  ESHUTDOWN, EAGAIN, EMFILE.
 */
int nursery_on_signal(struct nursery *n, int signo,
    void (*fn)(int signo, void *arg), void *arg);

/* ---- processes ---- */

/* A process to run as a task.  Not built yet. */
struct nursery_process {
	size_t size;		/* set by NURSERY_PROCESS_INIT */
	const char *path;	/* NULL: argv[0] along PATH */
	char *const *argv;
	char *const *envp;	/* NULL: inherit */
	const char *cwd;	/* NULL: inherit */
	const int *stdio;	/* NULL: inherit; else three, -1: /dev/null */
	int stop_signal;	/* 0: SIGTERM */
	int64_t grace;		/* from there to SIGKILL; 0: 10 s */
	unsigned flags;
};
#define NURSERY_PROCESS_INIT	{ sizeof(struct nursery_process), \
	0, 0, 0, 0, 0, 0, 0, 0 }

/*
 * Runs a process as a task; its result is 0, NURSERY_EXIT or NURSERY_SIGNAL.
 * Not built yet: ENOTSUP.
 */
int nursery_spawn_process(struct nursery *n,
    const struct nursery_task_attr *attr, const struct nursery_process *p,
    struct nursery_task **out);

/*
 * Tells the service manager a state, by the sd_notify protocol.
 * Not built yet: ENOTSUP.
 */
int nursery_notify(const char *state);

#if defined __cplusplus && defined __GNUC__
#pragma GCC diagnostic pop
#endif
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
