/* SPDX-License-Identifier: MIT */
/* Forks in the middle of it: the child uses the library anew and exits with
 * 0, the parent reaps it by nursery_waitpid. */
#include "config.h"

#include "soak.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/valgrind.h>
#endif

#define MOST_LEFT	256

/* under now.lock: not reaped yet, for the wait was cancelled */
static pid_t left[MOST_LEFT];
static unsigned left_count;

/* ---- in the child ---- */

static int
count(struct nursery_token *t, void *ran)
{
	(void)t;
	atom_add(ran, 1);
	return 0;
}

static int
work_in_nursery(int lane)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	uint32_t ran = 0;
	int i;

	a.lane = lane;
	if (nursery_open(&n, &a) != 0)
		return 1;
	for (i = 0; i < 3; i++)
		if (nursery_spawn(n, count, &ran) != 0)
			return 2;
	return nursery_close(&n) == 0 && atom_get(&ran) == 3 ? 0 : 3;
}

/* What the parent has is nothing to it, but for what lies in memory. */
static int
work_in_child(void)
{
	struct nursery_token *t;
	sigset_t alarms;
	int rc;

#ifdef NUR_ANNOTATE
	/* Helgrind and DRD take the stacks of threads that are not here, and
	 * which its own threads get, for still in use. */
	return 0;
#endif
#ifdef VALGRIND_CLO_CHANGE
	/* What the threads had that it does not have is lost here. */
	VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
	(void)signal(SIGALRM, SIG_DFL);
	(void)sigemptyset(&alarms);
	(void)sigaddset(&alarms, SIGALRM);
	(void)sigprocmask(SIG_UNBLOCK, &alarms, NULL);
	(void)alarm(patience());
	if (nursery_token_new(&t, NULL) != 0)
		return 10;
	if (nursery_token_set_deadline(t, 1) != 0 || nursery_token_wait(t,
	    NURSERY_NEVER) != 0)
		return 11;
	nursery_token_unref(t);
	rc = work_in_nursery(NURSERY_BLOCKING);
	if (rc == 0)
		rc = work_in_nursery(NURSERY_COMPUTE);
	return rc;
}

/* ---- in the parent ---- */

static void
check_status(pid_t pid, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		broken(CHILDREN, "child %d: status 0x%x", (int)pid,
		    (unsigned)status);
	atom_add(&progress, 1);
}

static void
leave_for_later(pid_t pid)
{
	pthread_mutex_lock(&now.lock);
	if (left_count < MOST_LEFT)
		left[left_count++] = pid;
	else
		broken(CHILDREN, "too many are left");
	pthread_mutex_unlock(&now.lock);
}

/* True when it is reaped, or never will be. */
static bool
reap(struct nursery_token *t, pid_t pid, int64_t until)
{
	int status;

	if (nursery_waitpid(t, pid, &status, until) == pid) {
		check_status(pid, status);
		return true;
	}
	if (errno == ECANCELED || errno == ETIMEDOUT)
		return false;
	broken(CHILDREN, "nursery_waitpid: errno %d", errno);
	return true;
}

void
fork_one(struct nursery_token *t)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(work_in_child());
	if (pid < 0) {
		broken(CHILDREN, "fork: errno %d", errno);
		return;
	}
	atom_add(&figures.forks, 1);
	if (!reap(t, pid, NURSERY_NEVER))
		leave_for_later(pid);
}

void
reap_all(void)
{
	while (left_count > 0)
		(void)reap(NULL, left[--left_count], NURSERY_NEVER);
}
