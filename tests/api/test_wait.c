/* SPDX-License-Identifier: MIT */
/* Waiting for tokens, deadlines, and calls that a cancel interrupts. */
#include "tasks.h"

#include <stdlib.h>
#include <unistd.h>

#define HOUR	(3600 * NURSERY_SECOND)

/* ---- waits ---- */

START_TEST(test_wait_of_a_reached_level_returns_at_once)
{
	struct nursery_token *t = new_token(NULL);

	nursery_token_raise(t, NURSERY_DRAIN, 0, NULL);
	ck_assert_int_eq(nursery_token_wait_level(t, NURSERY_DRAIN, 0), 0);
	ck_assert_int_eq(nursery_token_wait(t, 0), ETIMEDOUT);
	nursery_token_cancel(t);
	ck_assert_int_eq(nursery_token_wait(t, 0), 0);
	ck_assert_int_eq(nursery_token_wait(t, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_wait_level(t, NURSERY_ABORT, 0),
	    ETIMEDOUT);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_wait_ends_at_its_deadline_and_not_before)
{
	struct nursery_token *t = new_token(NULL);
	int64_t until = nursery_after(5 * NURSERY_MS);

	ck_assert_int_eq(nursery_token_wait(t, until), ETIMEDOUT);
	ck_assert(nursery_now() >= until);
	ck_assert(!nursery_token_is_cancelled(t));
	nursery_token_unref(t);
}
END_TEST

struct waiter {
	struct nursery_token *t;
	enum nursery_level level;
	pid_t tid;		/* atomic */
	int rc;
};

static void *
wait_for_level(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, own_tid(), __ATOMIC_SEQ_CST);
	w->rc = nursery_token_wait_level(w->t, w->level, NURSERY_NEVER);
	return NULL;
}

static void
await_waiter(const struct waiter *w)
{
	pid_t tid;

	while ((tid = __atomic_load_n(&w->tid, __ATOMIC_SEQ_CST)) == 0)
		;
	await_asleep(tid);
}

/* More than any batch; half on the token itself, half on children. */
START_TEST(test_wait_cancel_wakes_every_waiter)
{
	enum { COUNT = 64 };
	struct nursery_token *root = new_token(NULL), *kid[COUNT];
	struct waiter w[COUNT];
	pthread_t id[COUNT];
	int i;

	for (i = 0; i < COUNT; i++) {
		kid[i] = i % 2 ? new_token(root) : nursery_token_ref(root);
		w[i] = (struct waiter){ kid[i], NURSERY_CANCEL, 0, -1 };
		id[i] = start_thread(wait_for_level, &w[i]);
	}
	for (i = 0; i < COUNT; i++)
		await_waiter(&w[i]);
	nursery_token_cancel(root);
	for (i = 0; i < COUNT; i++) {
		(void)end_thread(id[i]);
		ck_assert_int_eq(w[i].rc, 0);
		nursery_token_unref(kid[i]);
	}
	nursery_token_unref(root);
}
END_TEST

START_TEST(test_wait_for_a_level_sleeps_through_lower_ones)
{
	struct nursery_token *t = new_token(NULL);
	struct waiter w[3];
	pthread_t id[3];
	int i, k;

	for (i = 0; i < 3; i++) {
		w[i] = (struct waiter){ t, (enum nursery_level)(i + 1), 0,
			-1 };
		id[i] = start_thread(wait_for_level, &w[i]);
		await_waiter(&w[i]);
	}
	for (i = 0; i < 3; i++) {
		nursery_token_raise(t, (enum nursery_level)(i + 1), 0, NULL);
		(void)end_thread(id[i]);
		ck_assert_int_eq(w[i].rc, 0);
		for (k = i + 1; k < 3; k++)
			await_asleep(w[k].tid);
	}
	nursery_token_unref(t);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(test_deadline_fires_as_cancel)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *p = new_token(NULL), *c = new_token(p);
	int64_t soon = nursery_after(10 * NURSERY_MS);

	ck_assert_int_eq(nursery_token_set_deadline(p,
	    nursery_after(HOUR)), 0);
	ck_assert_int_eq(nursery_token_set_deadline(p, soon), 0);
	ck_assert(nursery_token_deadline(c) == soon);
	ck_assert_int_eq(nursery_token_wait(c, NURSERY_NEVER), 0);
	ck_assert(nursery_now() >= soon);
	ck_assert_int_eq(nursery_token_level(p), NURSERY_CANCEL);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_CANCEL, &cause),
	    ETIMEDOUT);
	ck_assert(cause.when >= soon);
	/* It fired: it cannot be moved any more, but it still counts. */
	ck_assert_int_eq(nursery_token_set_deadline(p, nursery_after(HOUR)),
	    ECANCELED);
	ck_assert(nursery_token_deadline(c) == soon);
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_deadline_in_the_past_fires_soon)
{
	struct nursery_token *t = new_token(NULL);

	ck_assert_int_eq(nursery_token_set_deadline(t, 1), 0);
	ck_assert_int_eq(nursery_token_wait(t, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, NULL),
	    ETIMEDOUT);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_deadline_is_the_earliest_of_all_that_are_heard)
{
	struct nursery_token *g = new_token(NULL), *p = new_token(g),
	    *c = new_token(p), *s;
	int64_t one = nursery_after(HOUR), two = nursery_after(2 * HOUR);

	ck_assert(nursery_token_deadline(NULL) == NURSERY_NEVER);
	ck_assert(nursery_token_deadline(c) == NURSERY_NEVER);
	ck_assert_int_eq(nursery_token_set_deadline(g, two), 0);
	ck_assert(nursery_token_deadline(c) == two);
	ck_assert_int_eq(nursery_token_set_deadline(c, one), 0);
	ck_assert(nursery_token_deadline(c) == one);
	ck_assert(nursery_token_deadline(p) == two);
	/* An ancestor's may still be moved, and is then heard anew. */
	ck_assert_int_eq(nursery_token_set_deadline(g, one - 1), 0);
	ck_assert(nursery_token_deadline(c) == one - 1);
	ck_assert_int_eq(nursery_token_set_deadline(g, NURSERY_NEVER), 0);
	ck_assert(nursery_token_deadline(c) == one);
	ck_assert(nursery_token_deadline(p) == NURSERY_NEVER);
	/* A shield hides what is above it. */
	ck_assert_int_eq(nursery_token_new_shielded(&s, c, NURSERY_NEVER), 0);
	ck_assert(nursery_token_deadline(s) == NURSERY_NEVER);
	ck_assert_int_eq(nursery_token_set_deadline(s, two), 0);
	ck_assert(nursery_token_deadline(s) == two);
	nursery_token_unref(s);
	nursery_token_unref(c);
	nursery_token_unref(p);
	nursery_token_unref(g);
}
END_TEST

START_TEST(test_deadline_of_a_cancelled_token_is_ecanceled)
{
	struct nursery_token *t = new_token(NULL);

	ck_assert_int_eq(nursery_token_set_deadline(t, nursery_after(HOUR)),
	    0);
	nursery_token_cancel_with(t, 4, NULL);
	ck_assert_int_eq(nursery_token_set_deadline(t, 1), ECANCELED);
	ck_assert_int_eq(nursery_token_set_deadline(t, NURSERY_NEVER),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, NULL), 4);
	nursery_token_unref(t);
}
END_TEST

/* A draining token still has its deadline. */
START_TEST(test_deadline_cancels_a_draining_token)
{
	struct nursery_token *t = new_token(NULL);

	nursery_token_raise(t, NURSERY_DRAIN, 4, NULL);
	ck_assert_int_eq(nursery_token_set_deadline(t, 1), 0);
	ck_assert_int_eq(nursery_token_wait(t, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, NULL), 4);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ETIMEDOUT);
	nursery_token_unref(t);
}
END_TEST

/* The token with the deadline is released; those below still hear it. */
START_TEST(test_deadline_outlives_the_handle_for_those_below)
{
	struct nursery_token *root = new_token(NULL), *middle =
	    new_token(root), *leaf = new_token(middle);
	int64_t soon = nursery_after(5 * NURSERY_MS);

	ck_assert_int_eq(nursery_token_set_deadline(middle, soon), 0);
	nursery_token_unref(middle);
	ck_assert_int_eq(nursery_token_wait(leaf, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL),
	    ETIMEDOUT);
	ck_assert(!nursery_token_is_cancelled(root));
	nursery_token_unref(leaf);
	nursery_token_unref(root);
}
END_TEST

START_TEST(test_deadline_released_before_it_comes_is_forgotten)
{
	struct nursery_token *t[50], *last = new_token(NULL);
	int i;

	for (i = 0; i < 50; i++) {
		t[i] = new_token(NULL);
		ck_assert_int_eq(nursery_token_set_deadline(t[i],
		    nursery_after(i * NURSERY_US * 20)), 0);
	}
	for (i = 0; i < 50; i++)
		nursery_token_unref(t[i]);
	ck_assert_int_eq(nursery_token_set_deadline(last, nursery_after(2 *
	    NURSERY_MS)), 0);
	ck_assert_int_eq(nursery_token_wait(last, patience()), 0);
	nursery_token_unref(last);
}
END_TEST

START_TEST(test_deadline_is_not_heard_behind_a_shield)
{
	struct nursery_token *p = new_token(NULL), *s;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_set_deadline(p, 1), 0);
	ck_assert_int_eq(nursery_token_wait(p, patience()), 0);
	ck_assert(!nursery_token_is_cancelled(s));
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_shield_falls_at_its_bound)
{
	struct nursery_token *p = new_token(NULL), *s, *k;
	int64_t bound = nursery_after(10 * NURSERY_MS);

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, bound), 0);
	k = new_token(s);
	nursery_token_cancel_with(p, 6, NULL);
	ck_assert_int_eq(nursery_token_wait(k, patience()), 0);
	ck_assert(nursery_now() >= bound);
	ck_assert_int_eq(nursery_token_cause(s, NURSERY_CANCEL, NULL), 6);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 6);
	nursery_token_unref(k);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

/* After the bound it hears its parent again, as if it had no shield. */
START_TEST(test_shield_that_fell_hears_what_comes_later)
{
	struct nursery_token *p = new_token(NULL), *s, *bell =
	    new_token(NULL);

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, 1), 0);
	/* Fires after the shield's time, from the same timer thread. */
	ck_assert_int_eq(nursery_token_set_deadline(bell, 2), 0);
	ck_assert_int_eq(nursery_token_wait(bell, patience()), 0);
	ck_assert(!nursery_token_is_cancelled(s));
	nursery_token_cancel_with(p, 61, NULL);
	ck_assert_int_eq(nursery_token_cause(s, NURSERY_CANCEL, NULL), 61);
	nursery_token_unref(bell);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

/* ---- nursery_token_run ---- */

static int
add_one(void *arg)
{
	return ++*(int *)arg;
}

START_TEST(test_run_gives_the_result_of_fn)
{
	struct nursery_token *t = new_token(NULL);
	int n = 0, result = -1;

	ck_assert_int_eq(nursery_token_run(t, add_one, &n, &result), 0);
	ck_assert_int_eq(result, 1);
	ck_assert_int_eq(nursery_token_run(t, add_one, &n, NULL), 0);
	ck_assert_int_eq(n, 2);
	ck_assert_int_eq(nursery_token_run(NULL, add_one, &n, &result), 0);
	ck_assert_int_eq(result, 3);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_run_never_starts_fn_on_a_cancelled_token)
{
	struct nursery_token *t = new_token(NULL);
	int n = 0, result = -1;

	nursery_token_cancel(t);
	ck_assert_int_eq(nursery_token_run(t, add_one, &n, &result),
	    ECANCELED);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(result, -1);
	nursery_token_unref(t);
}
END_TEST

static int
cancel_inside(void *t)
{
	return nursery_token_cancel(t) ? 55 : -1;
}

START_TEST(test_run_a_tie_goes_to_the_work)
{
	struct nursery_token *t = new_token(NULL);
	int result = 0;

	ck_assert_int_eq(nursery_token_run(t, cancel_inside, t, &result), 0);
	ck_assert_int_eq(result, 55);
	nursery_token_unref(t);
}
END_TEST

struct reader {
	struct nursery_token *t;
	int fd, broken;
};

/* Stubborn: takes no notice of the first interruptions. */
static int
read_three_times(void *arg)
{
	struct reader *r = arg;
	char byte;

	while (r->broken < 3) {
		if (read(r->fd, &byte, 1) >= 0)
			return EBADMSG;
		if (errno != EINTR)
			return errno;
		r->broken += nursery_token_is_cancelled(r->t);
	}
	return EINTR;
}

static void *
cancel_token(void *t)
{
	(void)nursery_token_cancel(t);
	return NULL;
}

/* Broken again and again until fn returns, and only then left alone. */
START_TEST(test_run_breaks_a_blocked_call_until_fn_returns)
{
	struct reader r = { .broken = 0 };
	int fds[2], result, rc, i;
	sigset_t before, after;
	pthread_t id;

	ck_assert_int_eq(pipe(fds), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	for (i = 0; i < 100; i++) {
		r = (struct reader){ new_token(NULL), fds[0], 0 };
		result = -1;
		id = start_thread(cancel_token, r.t);
		rc = nursery_token_run(r.t, read_three_times, &r, &result);
		ck_assert(rc == 0 || rc == ECANCELED);
		ck_assert_int_eq(result, rc == 0 ? EINTR : -1);
		ck_assert_int_eq(r.broken, rc == 0 ? 3 : 0);
		(void)end_thread(id);
		nursery_token_unref(r.t);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert(same_signals(&before, &after));
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int
read_in_task(struct nursery_token *t, void *arg)
{
	struct reader r = { t, *(int *)arg, 0 };
	int result = -1, rc = nursery_token_run(t, read_three_times, &r,
	    &result);

	return rc == 0 && result == EINTR && r.broken == 3 ? ECANCELED :
	    EBADMSG;
}

/* The cancel certainly finds them inside the call. */
START_TEST(test_run_breaks_many_that_sleep_in_a_call)
{
	struct nursery *n = open_root(NULL);
	int fds[2], i;

	ck_assert_int_eq(pipe(fds), 0);
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(nursery_spawn(n, read_in_task, &fds[0]), 0);
	await_tasks_in("token_run", 20);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

struct nested {
	struct nursery_token *outer, *inner;
	int rc, result;
};

static int
run_inner(void *arg)
{
	struct nested *n = arg;

	n->rc = nursery_token_run(n->inner, cancel_inside, n->inner,
	    &n->result);
	return 7;
}

START_TEST(test_run_nests)
{
	struct nested n = { new_token(NULL), new_token(NULL), -1, -1 };
	int result;

	ck_assert_int_eq(nursery_token_run(n.outer, run_inner, &n, &result),
	    0);
	ck_assert_int_eq(result, 7);
	ck_assert_int_eq(n.rc, 0);
	ck_assert_int_eq(n.result, 55);
	ck_assert(!nursery_token_is_cancelled(n.outer));
	nursery_token_unref(n.inner);
	nursery_token_unref(n.outer);
}
END_TEST

static void
foreign_handler(int signo)
{
	(void)signo;
}

START_TEST(test_run_with_the_programs_own_handler_is_ebusy)
{
	struct nursery_token *t = new_token(NULL);
	int n = 0, result = -1;

	signal(nursery_interrupt_signal(), foreign_handler);
	ck_assert_int_eq(nursery_token_run(t, add_one, &n, &result), EBUSY);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(result, -1);
	signal(nursery_interrupt_signal(), SIG_DFL);
	nursery_token_unref(t);
}
END_TEST

/* A thread that blocks the library's signal is interrupted all the same,
 * and has its mask back afterwards. */
START_TEST(test_run_works_where_the_signal_is_blocked)
{
	struct reader r = { .t = new_token(NULL) };
	sigset_t all, old, now;
	int fds[2], result = -1, rc;
	pthread_t id;

	ck_assert_int_eq(pipe(fds), 0);
	r.fd = fds[0];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	id = start_thread(cancel_token, r.t);
	rc = nursery_token_run(r.t, read_three_times, &r, &result);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)end_thread(id);
	ck_assert(rc == ECANCELED || (rc == 0 && result == EINTR));
	ck_assert_int_eq(sigismember(&now, nursery_interrupt_signal()), 1);
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(r.t);
}
END_TEST

struct leaver {
	struct nursery_token *t;
	int ran;
};

static int
leave_thread(void *arg)
{
	struct leaver *l = arg;

	l->ran++;
	pthread_exit(l);
}

static void *
run_and_leave(void *arg)
{
	struct leaver *l = arg;

	(void)nursery_token_run(l->t, leave_thread, l, NULL);
	return NULL;
}

/* fn ends its thread: nothing of the dead frame stays in the token. */
START_TEST(test_run_left_by_pthread_exit_leaves_nothing)
{
	struct leaver l = { .t = new_token(NULL) };

	ck_assert_ptr_eq(end_thread(start_thread(run_and_leave, &l)), &l);
	ck_assert_int_eq(l.ran, 1);
	ck_assert(nursery_token_cancel(l.t));
	nursery_token_unref(l.t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("wait");
	TCase *c = leakless_case("wait");

	tcase_add_test(c, test_wait_of_a_reached_level_returns_at_once);
	tcase_add_test(c, test_wait_ends_at_its_deadline_and_not_before);
	tcase_add_test(c, test_wait_cancel_wakes_every_waiter);
	tcase_add_test(c, test_wait_for_a_level_sleeps_through_lower_ones);
	tcase_add_test(c, test_deadline_fires_as_cancel);
	tcase_add_test(c, test_deadline_in_the_past_fires_soon);
	tcase_add_test(c,
	    test_deadline_is_the_earliest_of_all_that_are_heard);
	tcase_add_test(c, test_deadline_of_a_cancelled_token_is_ecanceled);
	tcase_add_test(c, test_deadline_cancels_a_draining_token);
	tcase_add_test(c,
	    test_deadline_outlives_the_handle_for_those_below);
	tcase_add_test(c, test_deadline_released_before_it_comes_is_forgotten);
	tcase_add_test(c, test_deadline_is_not_heard_behind_a_shield);
	tcase_add_test(c, test_shield_falls_at_its_bound);
	tcase_add_test(c, test_shield_that_fell_hears_what_comes_later);
	tcase_add_test(c, test_run_gives_the_result_of_fn);
	tcase_add_test(c, test_run_never_starts_fn_on_a_cancelled_token);
	tcase_add_test(c, test_run_a_tie_goes_to_the_work);
	tcase_add_test(c, test_run_breaks_a_blocked_call_until_fn_returns);
	tcase_add_test(c, test_run_breaks_many_that_sleep_in_a_call);
	tcase_add_test(c, test_run_nests);
	tcase_add_test(c, test_run_with_the_programs_own_handler_is_ebusy);
	tcase_add_test(c, test_run_works_where_the_signal_is_blocked);
	tcase_add_test(c, test_run_left_by_pthread_exit_leaves_nothing);
	suite_add_tcase(s, c);
	return run_suite(s);
}
