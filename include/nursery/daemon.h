/* SPDX-License-Identifier: MIT */
/* Living and ending: stopping in order, signals, processes. */
#ifndef NURSERY_DAEMON_H
#define NURSERY_DAEMON_H

#include <nursery/scope.h>

#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct nursery_stop { size_t size; int64_t drain_for, cancel_for, abort_for; int code; const char *why; };
#define NURSERY_STOP_INIT	{ sizeof(struct nursery_stop), 0, 0, 0, 0, 0 }
int nursery_stop(struct nursery **n, const struct nursery_stop *how, struct nursery_report **out);
int nursery_stop_on_signals(struct nursery *n, const sigset_t *signals, enum nursery_level first);
int nursery_on_signal(struct nursery *n, int signo, void (*fn)(int signo, void *arg), void *arg);

struct nursery_process {
	size_t size;
	const char *path;		/* NULL: argv[0] along PATH */
	char *const *argv, *const *envp;	/* envp NULL: inherit */
	const char *cwd;
	const int *stdio;		/* NULL: inherit; else three descriptors, -1: /dev/null */
	int stop_signal;		/* 0: SIGTERM */
	int64_t grace;			/* from stop_signal to SIGKILL; 0: 10 s */
	unsigned flags;
};
#define NURSERY_PROCESS_INIT	{ sizeof(struct nursery_process), 0, 0, 0, 0, 0, 0, 0, 0 }
int nursery_spawn_process(struct nursery *n, const struct nursery_task_attr *attr,
    const struct nursery_process *p, struct nursery_task **out);	/* result 0, NURSERY_EXIT(n) or NURSERY_SIGNAL(n) */
int nursery_notify(const char *state);		/* sd_notify protocol; 0 when NOTIFY_SOCKET is unset */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
