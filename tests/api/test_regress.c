/* SPDX-License-Identifier: MIT */
/* Each test is a bug that was there once. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct nursery *
fresh(const struct nursery_attr *a)
{
	struct nursery *n;

	ck_assert_int_eq(nursery_open(&n, a), 0);
	return n;
}

static int
fail_with(struct nursery_token *t, void *arg)
{
	(void)t;
	return *(int *)arg;
}

static int
until_cancelled(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_sleep(t, NURSERY_NEVER);
}

START_TEST(test_signals_count_over_the_set)
{
	struct nursery *n = fresh(NULL);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_DRAIN), 0);
	kill(getpid(), SIGUSR1);
	ck_assert_int_eq(nursery_token_wait_level(nursery_token_of(n),
	    NURSERY_DRAIN, NURSERY_NEVER), 0);
	kill(getpid(), SIGUSR2);
	ck_assert_int_eq(nursery_token_wait(nursery_token_of(n),
	    NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_signals_are_refused_by_a_closed_nursery)
{
	struct nursery *n = fresh(NULL), *kept = nursery_ref(n);
	struct sigaction now;
	sigset_t set;

	ck_assert_int_eq(nursery_close(&n), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ck_assert_int_eq(nursery_stop_on_signals(kept, &set, NURSERY_DRAIN),
	    ESHUTDOWN);
	ck_assert_int_eq(sigaction(SIGUSR1, NULL, &now), 0);
	ck_assert(now.sa_handler == SIG_DFL);
	nursery_unref(kept);
}
END_TEST

/* The exit status of fn() in a child process. */
static int
in_child(int (*fn)(void *), void *arg)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(fn(arg));
	ck_assert_int_eq(reap(pid, &status), pid);
	return WIFSIGNALED(status) ? 0x100 + WTERMSIG(status) :
	    WEXITSTATUS(status);
}

static int
child_uses_signals(void *arg)
{
	struct nursery *n;
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (nursery_open(&n, NULL) != 0)
		return 1;
	if (nursery_stop_on_signals(n, &set, NURSERY_CANCEL) != 0)
		return 2;
	kill(getpid(), SIGUSR1);
	if (nursery_token_wait(nursery_token_of(n), NURSERY_NEVER) != 0)
		return 3;
	return nursery_close(&n) == ECANCELED ? 0 : 4;
}

static int
child_is_killed(void *arg)
{
	(void)arg;
	kill(getpid(), SIGUSR1);
	return 0;
}

START_TEST(test_signals_serve_the_child_of_a_fork_anew)
{
	struct nursery *n = fresh(NULL);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_DRAIN), 0);
	ck_assert_int_eq(in_child(child_uses_signals, NULL), 0);
	ck_assert_int_eq(in_child(child_is_killed, NULL), 0x100 + SIGUSR1);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
child_has_inert_token(void *arg)
{
	if (nursery_token_cancel(arg))
		return 1;
	if (nursery_token_wait(arg, 0) != EOWNERDEAD)
		return 2;
	return nursery_token_is_cancelled(arg) ? 3 : 0;
}

START_TEST(test_token_is_inert_in_a_child_though_no_nursery_was_opened)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	ck_assert_int_eq(in_child(child_has_inert_token, t), 0);
	nursery_token_unref(t);
}
END_TEST

static void
fill_backlog(int listener, const struct sockaddr_un *a, int *fds, int count)
{
	int i;

	ck_assert_int_eq(bind(listener, (const struct sockaddr *)a, sizeof *a),
	    0);
	ck_assert_int_eq(listen(listener, count - 1), 0);
	for (i = 0; i < count; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		ck_assert_int_eq(connect(fds[i], (const struct sockaddr *)a,
		    sizeof *a), 0);
	}
}

/* type: SOCK_NONBLOCK or 0. */
START_TEST(test_connect_waits_for_a_full_local_listener)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd, fds[3], i;
	struct nursery_token *t;

	/* In the abstract namespace: no file is left. */
	snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "nursery-%d-%d",
	    (int)getpid(), _i);
	fill_backlog(listener, &a, fds, 3);
	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | (_i == 0 ? 0 : SOCK_NONBLOCK), 0);
	ck_assert_int_eq(nursery_connect(t, fd, (struct sockaddr *)&a,
	    sizeof a, nursery_after(5 * NURSERY_MS)), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	close(accept(listener, NULL, NULL));
	ck_assert_int_eq(nursery_connect(t, fd, (struct sockaddr *)&a,
	    sizeof a, NURSERY_NEVER), 0);
	for (i = 0; i < 3; i++)
		close(fds[i]);
	close(fd);
	close(listener);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_close_says_the_first_error_before_enotempty)
{
	struct nursery *n = fresh(NULL), *inner;
	int error = EIO;

	ck_assert_int_eq(nursery_open_child(&inner, n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, fail_with, &error), 0);
	ck_assert_int_eq(nursery_close(&n), EIO);
	ck_assert_int_eq(nursery_close(&inner), ENOTEMPTY);
}
END_TEST

static int
leave_one_open(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	(void)arg;
	return nursery_open_child(&n, nursery_current(), NULL);
}

START_TEST(test_task_that_leaves_a_nursery_open_fails_with_enotempty)
{
	struct nursery *n = fresh(NULL);

	ck_assert_int_eq(nursery_spawn(n, leave_one_open, NULL), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
}
END_TEST

static void *
close_elsewhere(void *arg)
{
	struct nursery *n = arg;

	return nursery_close(&n) == ECANCELED ? arg : NULL;
}

START_TEST(test_stop_of_one_that_is_being_closed_is_ebusy_and_no_more)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *kept;
	pthread_t closer;
	void *ok;
	int rc;

	a.flags = NURSERY_UNBOUND;
	n = fresh(&a);
	kept = nursery_ref(n);
	ck_assert_int_eq(nursery_spawn(n, until_cancelled, NULL), 0);
	ck_assert_int_eq(pthread_create(&closer, NULL, close_elsewhere, n), 0);
	/* It is closing once it turns outsiders back. */
	while ((rc = nursery_try_spawn(kept, until_cancelled, NULL)) == 0)
		sched_yield();
	ck_assert_int_eq(rc, ESHUTDOWN);
	ck_assert_int_eq(nursery_stop(&n, NULL, NULL), EBUSY);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(kept)),
	    NURSERY_LIVE);
	nursery_cancel(kept);
	ck_assert_int_eq(pthread_join(closer, &ok), 0);
	ck_assert_ptr_nonnull(ok);
	nursery_unref(kept);
}
END_TEST

START_TEST(test_poll_with_a_deadline_in_the_far_past_is_a_try)
{
	struct nursery_token *t;
	int fds[2];
	struct pollfd p = { .events = POLLIN };

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	p.fd = fds[0];
	ck_assert_int_eq(nursery_poll(t, &p, 1, INT64_MIN), 0);
	nursery_token_unref(t);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_close_tells_a_cancel_with_etimedout_from_the_deadline)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.deadline = nursery_after(3600 * NURSERY_SECOND);
	n = fresh(&a);
	nursery_cancel_with(n, ETIMEDOUT, "not the deadline");
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

static int
blocking_in_pairs(struct nursery_token *t, void *gate)
{
	(void)t;
	nursery_blocking_begin();
	nursery_blocking_begin();
	nursery_blocking_end();
	gate_pass(gate);
	nursery_blocking_end();
	return 0;
}

START_TEST(test_blocking_pairs_nest_in_the_dump)
{
	struct nursery *n = fresh(NULL);
	struct gate g;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, blocking_in_pairs, &g), 0);
	gate_await(&g, 1);
	await_tasks_in("blocking", 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct handed {
	struct nursery *outer;
	pthread_barrier_t both;
	int rc;
};

/* Adopts, and closes while the other still has an inner one open. */
static void *
adopt_and_close(void *arg)
{
	struct handed *h = arg;

	h->rc = nursery_adopt(h->outer);
	pthread_barrier_wait(&h->both);
	if (h->rc == 0)
		h->rc = nursery_close(&h->outer);
	return NULL;
}

START_TEST(test_adopted_nursery_waits_for_what_the_first_opener_left_inside)
{
	struct handed h = { .outer = fresh(NULL) };
	struct nursery *inner, *kept = nursery_ref(h.outer);
	struct nursery_stats s = NURSERY_STATS_INIT;
	pthread_t other;
	int rc;

	ck_assert_int_eq(nursery_open_child(&inner, h.outer, NULL), 0);
	/* Its failure is what the close will say. */
	ck_assert_int_eq(nursery_spawn(kept, leave_one_open, NULL), 0);
	ck_assert_int_eq(nursery_wait(kept, NURSERY_NEVER), 0);
	pthread_barrier_init(&h.both, NULL, 2);
	ck_assert_int_eq(pthread_create(&other, NULL, adopt_and_close, &h), 0);
	pthread_barrier_wait(&h.both);
	/* It is closing once it turns outsiders back, and has to wait. */
	while ((rc = nursery_try_spawn(kept, leave_one_open, NULL)) ==
	    ECANCELED)
		sched_yield();
	ck_assert_int_eq(rc, ESHUTDOWN);
	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.nurseries, 2);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	pthread_join(other, NULL);
	ck_assert_int_eq(h.rc, ENOTEMPTY);
	nursery_unref(kept);
	pthread_barrier_destroy(&h.both);
}
END_TEST

static struct nursery_token *kept_for_good;

static int
keep_a_token_with_a_view(void *arg)
{
	int fd;

	(void)arg;
	if (nursery_token_new(&kept_for_good, NULL) != 0 ||
	    nursery_token_fd(kept_for_good, &fd) != 0)
		return 1;
	/* Not _exit: LeakSanitizer looks for leaks here. */
	exit(0);
}

/* What a token points to is not lost while the token lives: it may be one that
 * a thread of the library has not let go of yet. */
START_TEST(test_token_that_lives_at_exit_is_no_leak)
{
	ck_assert_int_eq(in_child(keep_a_token_with_a_view, NULL), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("regress");
	TCase *c = leakless_case("regress");

	tcase_add_test(c, test_signals_count_over_the_set);
	tcase_add_test(c, test_signals_are_refused_by_a_closed_nursery);
	tcase_add_test(c, test_signals_serve_the_child_of_a_fork_anew);
	tcase_add_test(c,
	    test_token_is_inert_in_a_child_though_no_nursery_was_opened);
	tcase_add_loop_test(c, test_connect_waits_for_a_full_local_listener, 0,
	    2);
	tcase_add_test(c, test_close_says_the_first_error_before_enotempty);
	tcase_add_test(c,
	    test_task_that_leaves_a_nursery_open_fails_with_enotempty);
	tcase_add_test(c,
	    test_stop_of_one_that_is_being_closed_is_ebusy_and_no_more);
	tcase_add_test(c, test_poll_with_a_deadline_in_the_far_past_is_a_try);
	tcase_add_test(c,
	    test_close_tells_a_cancel_with_etimedout_from_the_deadline);
	tcase_add_test(c, test_blocking_pairs_nest_in_the_dump);
	tcase_add_test(c, test_token_that_lives_at_exit_is_no_leak);
	tcase_add_test(c,
	    test_adopted_nursery_waits_for_what_the_first_opener_left_inside);
	suite_add_tcase(s, c);
	return run_suite(s);
}
