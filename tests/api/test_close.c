/* SPDX-License-Identifier: MIT */
/* Closing and waiting: who may, what it returns, what was left open. */
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct closer {
	struct nursery *n;
	struct nursery_report *report;
	int rc;
	struct gate *gate;
};

static void *
close_elsewhere(void *arg)
{
	struct closer *c = arg;

	c->rc = nursery_close(&c->n);
	return NULL;
}

/* ---- who may ---- */

START_TEST(test_close_by_another_thread_is_eperm)
{
	struct nursery *n = open_root(NULL);
	struct closer c = { .n = n, .rc = -1 };

	(void)end_thread(start_thread(close_elsewhere, &c));
	ck_assert_int_eq(c.rc, EPERM);
	ck_assert_ptr_eq(c.n, n);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
close_as_a_stranger(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)close_elsewhere(arg);
	return 0;
}

START_TEST(test_close_by_a_task_of_another_nursery_is_eperm)
{
	struct nursery *n = open_root(NULL), *other = open_root(NULL);
	struct closer c = { .n = n, .rc = -1 };

	ck_assert_int_eq(nursery_spawn(other, close_as_a_stranger, &c), 0);
	ck_assert_int_eq(nursery_close(&other), 0);
	ck_assert_int_eq(c.rc, EPERM);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct member {
	struct nursery *n[3];
	int wait[3], close[3], close_with[3], stop[3];
};

/* Tries to wait for and to close its own nursery and those around it. */
static int
try_to_close(struct nursery_token *t, void *arg)
{
	struct member *m = arg;
	struct nursery_report *r;
	struct nursery *n;
	int i;

	(void)t;
	for (i = 0; i < 3; i++) {
		n = m->n[i];
		m->wait[i] = nursery_wait(n, NURSERY_NEVER);
		m->close[i] = nursery_close(&n);
		m->close_with[i] = nursery_close_with(&n, &r);
		m->stop[i] = nursery_stop(&n, NULL, NULL);
		if (n != m->n[i])
			return EBADMSG;
	}
	return 0;
}

START_TEST(test_close_by_a_member_is_edeadlk)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL),
	    *innermost = open_inside(inner, NULL);
	struct member m = { .n = { n, inner, innermost } };
	int i;

	ck_assert_int_eq(nursery_spawn(innermost, try_to_close, &m), 0);
	ck_assert_int_eq(nursery_close(&innermost), 0);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(m.wait[i], EDEADLK);
		ck_assert_int_eq(m.close[i], EDEADLK);
		ck_assert_int_eq(m.close_with[i], EDEADLK);
		ck_assert_int_eq(m.stop[i], EDEADLK);
	}
	/* Nothing was changed by the attempts. */
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* The same where any thread may close. */
START_TEST(test_close_of_an_unbound_one_by_a_member_is_edeadlk)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct member m;
	struct nursery *n;

	a.flags = NURSERY_UNBOUND;
	n = open_root(&a);
	m.n[0] = m.n[1] = m.n[2] = n;
	ck_assert_int_eq(nursery_spawn(n, try_to_close, &m), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(m.wait[0], EDEADLK);
	ck_assert_int_eq(m.close[0], EDEADLK);
	ck_assert_int_eq(m.stop[0], EDEADLK);
}
END_TEST

START_TEST(test_close_by_a_second_one_is_ebusy)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n, *same;
	struct closer c = { .rc = -1 };
	pthread_t id;
	struct gate g;

	gate_init(&g);
	a.flags = NURSERY_UNBOUND;
	a.name = "contended";
	n = same = nursery_ref(open_root(&a));
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	c.n = n;
	id = start_thread(close_elsewhere, &c);
	await_in_dump("nursery \"contended\" closing");
	ck_assert_int_eq(nursery_close(&n), EBUSY);
	ck_assert_int_eq(nursery_close_with(&n, &r), EBUSY);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(nursery_adopt(n), EBUSY);
	/* A refused stop raises nothing. */
	how.drain_for = how.cancel_for = how.abort_for = NURSERY_MS;
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), EBUSY);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_ptr_eq(n, same);
	gate_open(&g);
	(void)end_thread(id);
	ck_assert_int_eq(c.rc, 0);
	ck_assert_ptr_null(c.n);
	nursery_unref(n);
}
END_TEST

/* ---- the wait ---- */

START_TEST(test_close_wait_closes_nothing)
{
	struct nursery *n = open_root(NULL);
	int ran = 0, i;

	for (i = 1; i <= 3; i++) {
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
		ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
		ck_assert_int_eq(counted(&ran), i);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_close_wait_ends_at_its_deadline)
{
	struct nursery *n = open_root(NULL);
	int64_t until = nursery_after(5 * NURSERY_MS);

	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_wait(n, 0), ETIMEDOUT);
	ck_assert_int_eq(nursery_wait(n, until), ETIMEDOUT);
	ck_assert(nursery_now() >= until);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* It waits for n's own tasks; a nursery inside may be empty or not. */
START_TEST(test_close_wait_does_not_wait_for_nurseries_inside)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL);

	ck_assert_int_eq(nursery_spawn(inner, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	nursery_cancel(inner);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct waiter {
	struct nursery *n;
	int rc;
};

static void *
wait_there(void *arg)
{
	struct waiter *w = arg;

	w->rc = nursery_wait(w->n, NURSERY_NEVER);
	return NULL;
}

START_TEST(test_close_any_number_may_wait)
{
	struct nursery *n = open_root(NULL);
	struct waiter w[20];
	pthread_t id[20];
	struct gate g;
	int i;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 20; i++) {
		w[i] = (struct waiter){ n, -1 };
		id[i] = start_thread(wait_there, &w[i]);
	}
	await_others_asleep();
	gate_open(&g);
	for (i = 0; i < 20; i++) {
		(void)end_thread(id[i]);
		ck_assert_int_eq(w[i].rc, 0);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct inner_wait {
	struct gate gate;
	struct nursery *waited_for;
	int wait, close;
};

/* A task whose own token is cancelled waits and closes all the same. */
static int
wait_while_cancelled(struct nursery_token *t, void *arg)
{
	struct inner_wait *w = arg;
	struct nursery *inner;

	if (nursery_open(&inner, NULL) != 0 ||
	    nursery_token_wait(t, NURSERY_NEVER) != 0)
		return EINVAL;
	if (nursery_spawn(inner, task_at_gate, &w->gate) != 0)
		return EINVAL;
	w->wait = nursery_wait(w->waited_for, NURSERY_NEVER);
	w->close = nursery_close(&inner);
	return 0;
}

START_TEST(test_close_is_not_cut_short_by_the_callers_token)
{
	struct nursery *n = open_root(NULL), *other = open_root(NULL);
	struct inner_wait w = { .waited_for = other, .wait = -1,
		.close = -1 };

	gate_init(&w.gate);
	ck_assert_int_eq(nursery_spawn(other, task_at_gate, &w.gate), 0);
	ck_assert_int_eq(nursery_spawn(n, wait_while_cancelled, &w), 0);
	nursery_cancel(n);
	gate_await(&w.gate, 2);
	await_tasks_in("wait", 1);
	gate_open(&w.gate);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(w.wait, 0);
	ck_assert_int_eq(w.close, 0);
	ck_assert_int_eq(nursery_close(&other), 0);
}
END_TEST

/* ---- left open ---- */

START_TEST(test_close_inner_left_open_is_enotempty)
{
	struct nursery *n = open_root(NULL), *inner;
	struct nursery_report *r = NULL;
	int ran = 0;

	inner = open_inside(n, NULL);
	ck_assert_int_eq(nursery_spawn(inner, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(ran, 1);
	/* Closed, but still there for the one who opened it. */
	ck_assert_int_eq(nursery_spawn(inner, task_count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_wait(inner, 0), 0);
	ck_assert_int_eq(nursery_close_with(&inner, &r), ENOTEMPTY);
	ck_assert_ptr_null(inner);
	ck_assert_ptr_nonnull(r);
	nursery_report_free(r);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* The error of a task is not lost for it. */
START_TEST(test_close_first_error_beats_enotempty)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *inner;
	int code = EIO;

	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	inner = open_inside(n, NULL);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), EIO);
	ck_assert_int_eq(nursery_close(&inner), ENOTEMPTY);
}
END_TEST

struct order {
	struct nursery *older, *newer;
	struct gate older_gate, newer_gate;
	int rc[3];
};

static void *
leave_two_open(void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct order *o = arg;
	struct nursery *n;

	if (nursery_open(&n, NULL) != 0)
		return NULL;
	a.name = "older";
	(void)nursery_open_child(&o->older, n, &a);
	a.name = "newer";
	(void)nursery_open_child(&o->newer, n, &a);
	(void)nursery_spawn(o->older, task_at_gate, &o->older_gate);
	(void)nursery_spawn(o->newer, task_at_gate, &o->newer_gate);
	o->rc[0] = nursery_close(&n);
	o->rc[1] = nursery_close(&o->newer);
	o->rc[2] = nursery_close(&o->older);
	return NULL;
}

START_TEST(test_close_of_several_left_open_goes_newest_first)
{
	struct order o = { .rc = { -1, -1, -1 } };
	pthread_t id;
	int ran = 0;

	gate_init(&o.older_gate);
	gate_init(&o.newer_gate);
	id = start_thread(leave_two_open, &o);
	await_in_dump("nursery \"newer\" closing");
	await_in_dump("nursery \"older\" open");
	/* The older one is still open for all. */
	ck_assert_int_eq(nursery_spawn(o.older, task_count, &ran), 0);
	ck_assert_int_eq(nursery_spawn(o.newer, task_count, &ran), ESHUTDOWN);
	gate_await(&o.older_gate, 1);
	gate_await(&o.newer_gate, 1);
	gate_open(&o.newer_gate);
	await_in_dump("nursery \"older\" closing");
	gate_open(&o.older_gate);
	(void)end_thread(id);
	ck_assert_int_eq(o.rc[0], ENOTEMPTY);
	ck_assert_int_eq(o.rc[1], ENOTEMPTY);
	ck_assert_int_eq(o.rc[2], ENOTEMPTY);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* A nursery inside one that was left open goes with it. */
START_TEST(test_close_of_a_chain_left_open)
{
	struct nursery *n = open_root(NULL), *a = open_inside(n, NULL),
	    *b = open_inside(a, NULL), *c = open_inside(b, NULL);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(c, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
	ck_assert_int_eq(nursery_close(&c), ENOTEMPTY);
	ck_assert_int_eq(nursery_close(&a), ENOTEMPTY);
	ck_assert_int_eq(nursery_close(&b), ENOTEMPTY);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* Only what is inside: another root of this thread stays open. */
START_TEST(test_close_leaves_other_nurseries_of_the_thread_alone)
{
	struct nursery *n = open_root(NULL), *other = open_root(NULL);
	int ran = 0;

	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_spawn(other, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&other), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

static void *
open_inside_and_wait(void *arg)
{
	struct closer *c = arg;
	struct nursery *inner;

	if (nursery_open_child(&inner, c->n, NULL) != 0)
		return NULL;
	gate_pass(c->gate);
	c->rc = nursery_close(&inner);
	return NULL;
}

/* An inner one whose opener still runs is waited for, and is no violation. */
START_TEST(test_close_waits_for_the_opener_of_an_inner_one)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct closer inner = { .rc = -1 }, outer = { .rc = -1 };
	pthread_t opener, closer;
	struct nursery *n;
	struct gate g;

	gate_init(&g);
	a.flags = NURSERY_UNBOUND;
	a.name = "outer";
	n = open_root(&a);
	inner.n = outer.n = n;
	inner.gate = &g;
	opener = start_thread(open_inside_and_wait, &inner);
	gate_await(&g, 1);
	closer = start_thread(close_elsewhere, &outer);
	await_in_dump("nursery \"outer\" closing");
	await_others_asleep();
	ck_assert_ptr_nonnull(__atomic_load_n(&outer.n, __ATOMIC_SEQ_CST));
	gate_open(&g);
	(void)end_thread(opener);
	(void)end_thread(closer);
	ck_assert_int_eq(inner.rc, 0);
	ck_assert_int_eq(outer.rc, 0);
}
END_TEST

/* ---- handles ---- */

START_TEST(test_close_handle_outlives_the_close)
{
	struct nursery *n = open_root(NULL), *kept = nursery_ref(n),
	    *again = nursery_ref(kept);
	struct nursery_token *t;
	int ran = 0;

	ck_assert_ptr_eq(kept, n);
	ck_assert_int_eq(nursery_close(&n), 0);
	nursery_unref(again);
	ck_assert_int_eq(nursery_spawn(kept, task_count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_wait(kept, NURSERY_NEVER), 0);
	t = new_token(nursery_token_of(kept));
	nursery_token_unref(t);
	nursery_unref(kept);
	ck_assert_int_eq(ran, 0);
}
END_TEST

/* The handle of an inner one outlives the outer one. */
START_TEST(test_close_handle_of_an_inner_one_outlives_the_outer)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL),
	    *kept = nursery_ref(inner);

	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_spawn(kept, task_until_cancelled, NULL),
	    ESHUTDOWN);
	nursery_unref(kept);
}
END_TEST

static int
unref_too_often(void *unused)
{
	struct nursery *n, *inner;

	(void)unused;
	if (nursery_open(&n, NULL) != 0 || nursery_open_child(&inner, n,
	    NULL) != 0)
		return 1;
	/* The inner one keeps the memory of the outer one. */
	nursery_unref(n);
	nursery_unref(n);
	nursery_unref(n);
	return 0;
}

START_TEST(test_close_too_many_unrefs_abort)
{
	struct outcome o;

	run_forked(&o, unref_too_often, NULL);
	assert_aborted(&o, "misuse");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("close");
	TCase *c = leakless_case("close");

	tcase_add_test(c, test_close_by_another_thread_is_eperm);
	tcase_add_test(c, test_close_by_a_task_of_another_nursery_is_eperm);
	tcase_add_test(c, test_close_by_a_member_is_edeadlk);
	tcase_add_test(c, test_close_of_an_unbound_one_by_a_member_is_edeadlk);
	tcase_add_test(c, test_close_by_a_second_one_is_ebusy);
	tcase_add_test(c, test_close_wait_closes_nothing);
	tcase_add_test(c, test_close_wait_ends_at_its_deadline);
	tcase_add_test(c,
	    test_close_wait_does_not_wait_for_nurseries_inside);
	tcase_add_test(c, test_close_any_number_may_wait);
	tcase_add_test(c, test_close_is_not_cut_short_by_the_callers_token);
	tcase_add_test(c, test_close_inner_left_open_is_enotempty);
	tcase_add_test(c, test_close_first_error_beats_enotempty);
	tcase_add_test(c, test_close_of_several_left_open_goes_newest_first);
	tcase_add_test(c, test_close_of_a_chain_left_open);
	tcase_add_test(c,
	    test_close_leaves_other_nurseries_of_the_thread_alone);
	tcase_add_test(c, test_close_waits_for_the_opener_of_an_inner_one);
	tcase_add_test(c, test_close_handle_outlives_the_close);
	tcase_add_test(c,
	    test_close_handle_of_an_inner_one_outlives_the_outer);
	tcase_add_test(c, test_close_too_many_unrefs_abort);
	suite_add_tcase(s, c);
	return run_suite(s);
}
