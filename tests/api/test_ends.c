/* SPDX-License-Identifier: MIT */
/*
 * Ends and beginnings of a process: exit from wherever it is called, exec in
 * the child of a task, a daemon that begins after its forks, pthread_cancel
 * of a thread that is the library's.  Each is a program of its own.
 */
#include "tasks.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- exit ---- */

#define STATUS	23

/* What runs at exit may still use the library. */
static struct nursery *last;

static void
at_exit(void)
{
	struct nursery_token *t;

	nursery_cancel(last);
	if (nursery_token_new(&t, NULL) != 0 || !nursery_token_cancel(t))
		return;
	nursery_token_unref(t);
	fputs("at exit\n", stderr);
}

static int
never_ends(struct nursery_token *t, void *over)
{
	(void)t;
	while (counted(over) == 0)
		sched_yield();
	return 0;
}

static int
in_pause(struct nursery_token *t, void *unused)
{
	(void)t;
	(void)unused;
	while (pause() != 0)
		;
	return 0;
}

static int
exit_here(struct nursery_token *t, void *unused)
{
	(void)t;
	(void)unused;
	exit(STATUS);
}

static void
exit_for_signal(int signo, void *unused)
{
	(void)signo;
	(void)unused;
	exit(STATUS);
}

static void
exit_in_callback(void *unused)
{
	(void)unused;
	exit(STATUS);
}

static void
exit_when_done(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	(void)n;
	(void)r;
	(void)ctx;
	exit(STATUS);
}

static const char *const places[] = { "exit: main", "exit: task",
	"exit: inner task", "exit: signal", "exit: callback",
	"exit: on_done" };
#define PLACES	((int)(sizeof places / sizeof places[0]))

static int
inner_exits(struct nursery_token *t, void *unused)
{
	struct nursery *n;

	(void)t;
	if (nursery_open_child(&n, nursery_current(), NULL) != 0 ||
	    nursery_spawn(n, exit_here, unused) != 0)
		return EINVAL;
	return nursery_close(&n);
}

/* Tasks that sleep, wait in the kernel, work and queue; then exit. */
static int
play_exit(const char *where)
{
	static int over, ran;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_callback cb = { { { 0 } } };
	nursery_auto struct nursery *n = NULL, *one = NULL;
	struct nursery_token *t;
	int rc;

	a.max_running = 1;
	rc = nursery_open(&n, NULL) | nursery_open(&one, &a) |
	    nursery_spawn(n, task_until_cancelled, NULL) |
	    nursery_spawn(n, in_pause, NULL) |
	    nursery_spawn(n, never_ends, &over) |
	    nursery_spawn(one, never_ends, &over) |
	    nursery_spawn(one, task_count, &ran);
	last = n;
	if (rc != 0 || atexit(at_exit) != 0)
		return 1;
	if (strcmp(where, "exit: main") == 0)
		exit(STATUS);
	if (strcmp(where, "exit: task") == 0)
		rc = nursery_spawn(n, exit_here, NULL);
	else if (strcmp(where, "exit: inner task") == 0)
		rc = nursery_spawn(n, inner_exits, NULL);
	else if (strcmp(where, "exit: signal") == 0)
		rc = nursery_on_signal(n, SIGHUP, exit_for_signal, NULL) |
		    raise(SIGHUP);
	else if (strcmp(where, "exit: callback") == 0)
		rc = nursery_token_new(&t, NULL) | nursery_token_on_cancel(t,
		    &cb, exit_in_callback, NULL) |
		    nursery_token_set_deadline(t, 1);
	else {
		a.on_done = exit_when_done;
		one = NULL;	/* left as it is */
		rc = nursery_open(&one, &a) | nursery_spawn(one, task_count,
		    &ran);
	}
	if (rc != 0)
		return 2;
	/* Main waits in the close of what never ends. */
	(void)nursery_close(&n);
	return 3;
}

START_TEST(test_ends_exit_does_not_wait_for_tasks)
{
	struct outcome o;

	run_again(&o, places[_i], NULL);
	ck_assert_msg(WIFEXITED(o.status) && WEXITSTATUS(o.status) ==
	    STATUS, "%s: status 0x%x, said \"%s\"", places[_i],
	    (unsigned)o.status, o.text);
	ck_assert_str_eq(o.text, "at exit\n");
}
END_TEST

/* ---- exec ---- */

static int
exec_in_child(struct nursery_token *t, void *self)
{
	char *argv[] = { self, NULL };
	int status;
	pid_t pid = fork();

	(void)t;
	if (pid == 0) {
		setenv("NUR_CHILD", "well", 1);
		execv(self, argv);
		_exit(126);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

START_TEST(test_ends_child_of_a_task_may_exec)
{
	struct nursery *n = open_root(NULL);
	char self[4096];

	own_path(self, sizeof self);
	ck_assert_int_eq(nursery_spawn(n, exec_in_child, self), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- a daemon ---- */

static void
hear(int signo, void *gate)
{
	(void)signo;
	gate_pass(gate);
}

/* Everything that has a thread, a descriptor or a handler of its own. */
static int
be_a_daemon(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	sigset_t term;
	struct gate g;
	int ran = 0;

	gate_init(&g);
	gate_open(&g);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	a.deadline = nursery_after(3600 * NURSERY_SECOND);
	if (nursery_open(&n, &a) != 0 ||
	    nursery_stop_on_signals(n, &term, NURSERY_CANCEL) != 0 ||
	    nursery_on_signal(n, SIGHUP, hear, &g) != 0 ||
	    nursery_spawn(n, task_until_cancelled, NULL) != 0 ||
	    nursery_spawn(n, task_count, &ran) != 0)
		return 1;
	(void)raise(SIGHUP);
	if (!gate_await_by(&g, 1, patience()))
		return 2;
	(void)raise(SIGTERM);
	if (nursery_close(&n) != ECANCELED || ran != 1)
		return 3;
	fputs("well\n", stderr);
	return 0;
}

/* As daemon(3): fork, setsid, fork; the test hears until the last is gone. */
static int
daemonise(void)
{
	pid_t pid = fork();

	if (pid != 0)
		_exit(pid < 0);
	(void)setsid();
	pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	(void)alarm(30);
	return be_a_daemon();
}

START_TEST(test_ends_daemon_forks_before_its_first_nursery)
{
	struct outcome o;

	run_again(&o, "daemon", NULL);
	assert_good(&o);
	ck_assert_str_eq(o.text, "well\n");
}
END_TEST

/* ---- pthread_cancel ---- */

struct victim {
	pthread_t id;
	struct gate gate;
	int fds[2];
};

/* Through one point of cancellation after the other. */
static int
survive(struct nursery_token *t, void *arg)
{
	struct victim *v = arg;
	char byte;

	v->id = pthread_self();
	gate_pass(&v->gate);
	pthread_testcancel();
	if (read(v->fds[0], &byte, 1) != 1)
		return EIO;
	return nursery_sleep(t, nursery_after(NURSERY_MS));
}

/* The threads are the library's: one that is sent them stays pending, and
 * the nursery right. */
START_TEST(test_ends_pthread_cancel_does_not_end_a_task)
{
	struct nursery *n = open_root(NULL);
	struct victim v;
	int ran = 0;

	gate_init(&v.gate);
	ck_assert_int_eq(pipe(v.fds), 0);
	ck_assert_int_eq(nursery_spawn(n, survive, &v), 0);
	gate_await(&v.gate, 1);
	ck_assert_int_eq(pthread_cancel(v.id), 0);
	gate_open(&v.gate);
	ck_assert_int_eq(write(v.fds[1], "x", 1), 1);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	/* That thread serves again. */
	await_idle_threads(1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
	close(v.fds[0]);
	close(v.fds[1]);
}
END_TEST

static int
play(const char *part)
{
	if (strcmp(part, "well") == 0)
		return 0;
	if (strcmp(part, "daemon") == 0)
		return daemonise();
	return strncmp(part, "exit: ", 6) == 0 ? play_exit(part) : 99;
}

int
main(void)
{
	Suite *s;
	TCase *c;

	if (child_part() != NULL)
		return play(child_part());
	s = suite_create("ends");
	c = leakless_case("ends");
	tcase_add_loop_test(c, test_ends_exit_does_not_wait_for_tasks, 0,
	    PLACES);
	tcase_add_test(c, test_ends_child_of_a_task_may_exec);
	tcase_add_test(c, test_ends_daemon_forks_before_its_first_nursery);
	tcase_add_test(c, test_ends_pthread_cancel_does_not_end_a_task);
	suite_add_tcase(s, c);
	return run_suite(s);
}
