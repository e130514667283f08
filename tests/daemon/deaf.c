/* SPDX-License-Identifier: MIT */
/* A daemon with one task that ignores everything: no token, no signal, and
 * its system call starts again. */
#include <errno.h>
#include <nursery.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define GRACE	(200 * NURSERY_MS)	/* three of them */

static int
deaf(struct nursery_token *token, void *fd)
{
	char byte;

	(void)token;
	while (read(*(int *)fd, &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}

static int
polite(struct nursery_token *token, void *unused)
{
	(void)unused;
	return nursery_sleep(token, NURSERY_NEVER);
}

static int
start(struct nursery **n, int *fd)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	struct nursery_task_attr task = NURSERY_TASK_ATTR_INIT;
	sigset_t term;
	int rc;

	attr.name = "daemon";
	task.name = "deaf-one";
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	rc = nursery_open(n, &attr);
	if (rc == 0)
		rc = nursery_stop_on_signals(*n, &term, NURSERY_DRAIN);
	if (rc == 0)
		rc = nursery_spawn_with(*n, &task, deaf, fd, NULL);
	if (rc == 0)
		rc = nursery_spawn(*n, polite, NULL);
	return rc;
}

/* Signals come here, and at once: ThreadSanitizer holds back those of a thread
 * that sleeps in our futex, not of one that pauses. */
static void *
take_signals(void *unused)
{
	while (pause() != 0)
		;
	return unused;
}

static int
start_taking_signals(void)
{
	pthread_t id;
	sigset_t all;
	int rc = pthread_create(&id, NULL, take_signals, NULL);

	sigfillset(&all);
	return rc != 0 ? rc : pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static int
say(const char *what)
{
	return puts(what) < 0 || fflush(stdout) != 0;
}

int
main(void)
{
	const struct nursery_stop how = { .size = sizeof how,
		.drain_for = GRACE, .cancel_for = GRACE, .abort_for = GRACE };
	struct nursery_report *report = NULL;
	struct nursery *n = NULL;
	int fds[2], rc;

	if (pipe(fds) != 0 || start_taking_signals() != 0 || start(&n, &fds[0]) != 0 || say("ready") != 0)
		return 1;
	(void)nursery_token_wait_level(nursery_token_of(n), NURSERY_DRAIN,
	    NURSERY_NEVER);
	if (say("draining") != 0)
		return 1;
	rc = nursery_stop(&n, &how, &report);
	if (rc != ETIMEDOUT || nursery_report_print(report, stdout) != 0 ||
	    fflush(stdout) != 0)
		return 1;
	_exit(3);
}
