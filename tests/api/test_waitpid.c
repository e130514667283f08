/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a child: its status comes to one waiter only, and nothing
 * turns while it waits.  How the wait is cancelled is in test_io.c.
 */
#include "tasks.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAITERS	4

/* A child that exits with `status` once a byte, or the end, is in the pipe. */
struct child {
	pid_t pid;
	int gate;	/* to close */
};

static void
start_child(struct child *c, int status)
{
	int fds[2];
	char byte;

	ck_assert_int_eq(pipe(fds), 0);
	c->gate = fds[1];
	c->pid = fork();
	ck_assert_int_ge(c->pid, 0);
	if (c->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Of a tracer that is nobody's parent, see below. */
		(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		close(fds[1]);
		while (read(fds[0], &byte, 1) < 0)
			;
		_exit(status);
	}
	close(fds[0]);
}

static int
error_of(pid_t rc)
{
	return rc < 0 ? errno : 0;
}

START_TEST(test_waitpid_gives_the_status)
{
	struct nursery_token *t = new_token(NULL);
	int status = -1, before = count_descriptors();
	struct child c;

	start_child(&c, 7);
	/* A try finds it running. */
	ck_assert_int_eq(error_of(nursery_waitpid(t, c.pid, &status, 0)),
	    ETIMEDOUT);
	ck_assert_int_eq(status, -1);
	close(c.gate);
	ck_assert_int_eq(nursery_waitpid(t, c.pid, &status, NURSERY_NEVER),
	    c.pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	ck_assert_int_eq(error_of(nursery_waitpid(t, c.pid, &status,
	    NURSERY_NEVER)), ECHILD);
	start_child(&c, 0);
	kill(c.pid, SIGKILL);
	ck_assert_int_eq(nursery_waitpid(NULL, c.pid, &status,
	    NURSERY_NEVER), c.pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	close(c.gate);
	/* The status may be of no interest. */
	start_child(&c, 1);
	close(c.gate);
	ck_assert_int_eq(nursery_waitpid(NULL, c.pid, NULL, NURSERY_NEVER),
	    c.pid);
	ck_assert_int_eq(count_descriptors(), before);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_waitpid_wants_a_child)
{
	ck_assert_int_eq(error_of(nursery_waitpid(NULL, 0, NULL, 0)),
	    EINVAL);
	ck_assert_int_eq(error_of(nursery_waitpid(NULL, -1, NULL, 0)),
	    EINVAL);
	ck_assert_int_eq(error_of(nursery_waitpid(NULL, getppid(), NULL,
	    NURSERY_NEVER)), ECHILD);
}
END_TEST

/* A stopped child has not ended. */
START_TEST(test_waitpid_does_not_end_when_the_child_stops)
{
	struct child c;
	int status;

	start_child(&c, 3);
	kill(c.pid, SIGSTOP);
	while (waitpid(c.pid, &status, WUNTRACED) < 0)
		ck_assert_int_eq(errno, EINTR);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(error_of(nursery_waitpid(NULL, c.pid, NULL,
	    nursery_after(NURSERY_MS))), ETIMEDOUT);
	kill(c.pid, SIGCONT);
	close(c.gate);
	ck_assert_int_eq(nursery_waitpid(NULL, c.pid, &status,
	    NURSERY_NEVER), c.pid);
	ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

struct waiting {
	pid_t pid;
	int reaped, echild, other;	/* atomic */
};

static int
wait_for_it(struct nursery_token *t, void *arg)
{
	struct waiting *w = arg;
	int status = 0;
	pid_t got = nursery_waitpid(t, w->pid, &status, NURSERY_NEVER);

	if (got == w->pid && WEXITSTATUS(status) == 9)
		count_up(&w->reaped);
	else if (got == -1 && errno == ECHILD)
		count_up(&w->echild);
	else
		count_up(&w->other);
	return 0;
}

START_TEST(test_waitpid_reaps_once)
{
	struct nursery *n = open_root(NULL);
	struct waiting w = { 0 };
	struct child c;
	int i;

	start_child(&c, 9);
	w.pid = c.pid;
	for (i = 0; i < WAITERS; i++)
		ck_assert_int_eq(nursery_spawn(n, wait_for_it, &w), 0);
	await_tasks_in("waitpid", WAITERS);
	close(c.gate);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(w.reaped, 1);
	ck_assert_int_eq(w.echild, WAITERS - 1);
	ck_assert_int_eq(w.other, 0);
}
END_TEST

/* Somebody else reaps it: nothing is left to wait for. */
START_TEST(test_waitpid_ends_when_another_reaps)
{
	struct nursery *n = open_root(NULL);
	struct waiting w = { 0 };
	struct child c;
	pid_t got;

	start_child(&c, 9);
	w.pid = c.pid;
	ck_assert_int_eq(nursery_spawn(n, wait_for_it, &w), 0);
	await_tasks_in("waitpid", 1);
	close(c.gate);
	got = reap(c.pid, NULL);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(w.reaped, got == c.pid ? 0 : 1);
	ck_assert_int_eq(w.echild, got == c.pid ? 1 : 0);
}
END_TEST

/* With SIGCHLD ignored the system reaps. */
START_TEST(test_waitpid_of_children_that_nobody_reaps)
{
	struct nursery *n = open_root(NULL);
	struct waiting w = { 0 };
	struct child c;

	signal(SIGCHLD, SIG_IGN);
	start_child(&c, 9);
	w.pid = c.pid;
	ck_assert_int_eq(nursery_spawn(n, wait_for_it, &w), 0);
	await_tasks_in("waitpid", 1);
	close(c.gate);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(w.echild, 1);
	signal(SIGCHLD, SIG_DFL);
}
END_TEST

/* A tracer holds it: writes a byte when it does, another when it has seen the
 * child's end, and leaves it unreaped until it is told to end, too. */
static void
trace(pid_t child, int ready, int end)
{
	siginfo_t info;
	char byte = 'y';

	if (ptrace(PTRACE_SEIZE, child, NULL, NULL) != 0)
		byte = 'n';
	(void)!write(ready, &byte, 1);
	if (byte == 'y') {
		(void)waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
		(void)!write(ready, &byte, 1);
	}
	(void)!read(end, &byte, 1);
	_exit(0);
}

static char
read_byte(int fd)
{
	char byte;

	while (read(fd, &byte, 1) < 0)
		ck_assert_int_eq(errno, EINTR);
	return byte;
}

static int64_t
time_on_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * NURSERY_SECOND + ts.tv_nsec;
}

/* It has ended, its pidfd is readable, but it is not to be had: no reason to
 * turn round and round. */
START_TEST(test_waitpid_of_a_zombie_that_a_debugger_holds_does_not_turn)
{
	int ready[2], end[2], status = -1;
	struct child c;
	pid_t tracer;
	int64_t before;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(end), 0);
	start_child(&c, 9);
	tracer = fork();
	if (tracer == 0) {
		/* The ends of others, which keep them from ending. */
		close(c.gate);
		close(end[1]);
		trace(c.pid, ready[1], end[0]);
	}
	byte = read_byte(ready[0]);
	close(c.gate);
	if (byte == 'y')
		byte = read_byte(ready[0]);
	before = time_on_cpu();
	if (byte == 'y') {
		ck_assert_int_eq(error_of(nursery_waitpid(NULL, c.pid,
		    &status, nursery_after(200 * NURSERY_MS))), ETIMEDOUT);
		ck_assert(costs_are_distorted() || time_on_cpu() - before <
		    50 * NURSERY_MS);
	}
	close(end[1]);
	ck_assert_int_eq(nursery_waitpid(NULL, tracer, NULL, NURSERY_NEVER),
	    tracer);
	ck_assert_int_eq(nursery_waitpid(NULL, c.pid, &status,
	    NURSERY_NEVER), c.pid);
	ck_assert_int_eq(WEXITSTATUS(status), 9);
	close(ready[0]);
	close(ready[1]);
	close(end[0]);
}
END_TEST

/* Without a descriptor for the wait it is the call itself that is broken. */
START_TEST(test_waitpid_without_a_descriptor)
{
	struct nursery *n = open_root(NULL);
	struct rlimit old, none;
	struct waiting w = { 0 };
	struct child c;

	start_child(&c, 9);
	w.pid = c.pid;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(error_of(nursery_waitpid(NULL, c.pid, NULL,
	    nursery_after(NURSERY_MS))), ETIMEDOUT);
	ck_assert_int_eq(nursery_spawn(n, wait_for_it, &w), 0);
	close(c.gate);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_int_eq(w.reaped, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("waitpid");
	TCase *c = leakless_case("waitpid");

	tcase_add_test(c, test_waitpid_gives_the_status);
	tcase_add_test(c, test_waitpid_wants_a_child);
	tcase_add_test(c, test_waitpid_does_not_end_when_the_child_stops);
	tcase_add_test(c, test_waitpid_reaps_once);
	tcase_add_test(c, test_waitpid_ends_when_another_reaps);
	tcase_add_test(c, test_waitpid_of_children_that_nobody_reaps);
	tcase_add_test(c,
	    test_waitpid_of_a_zombie_that_a_debugger_holds_does_not_turn);
	tcase_add_test(c, test_waitpid_without_a_descriptor);
	suite_add_tcase(s, c);
	return run_suite(s);
}
