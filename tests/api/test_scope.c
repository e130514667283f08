/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct nursery *
fresh(const struct nursery_attr *a)
{
	struct nursery *n;

	ck_assert_int_eq(nursery_open(&n, a), 0);
	return n;
}

static int
count(struct nursery_token *t, void *arg)
{
	(void)t;
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static void
count_discard(void *arg)
{
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
}

static int
until_cancelled(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_sleep(t, NURSERY_NEVER);
}

static int
fail_with(struct nursery_token *t, void *arg)
{
	(void)t;
	return *(int *)arg;
}

static int
at_gate(struct nursery_token *t, void *arg)
{
	(void)t;
	gate_pass(arg);
	return 0;
}

START_TEST(test_scope_close_waits_for_all)
{
	struct nursery *n = fresh(NULL);
	int ran = 0, i;

	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(n, count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(ran, 100);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_first_error_cancels_the_rest)
{
	struct nursery *n = fresh(NULL);
	int code = EPROTO, i;

	for (i = 0; i < 10; i++)
		ck_assert_int_eq(nursery_spawn(n, until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, fail_with, &code), 0);
	ck_assert_int_eq(nursery_close(&n), EPROTO);
}
END_TEST

START_TEST(test_scope_collect_runs_all_and_keeps_all)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_result r = NURSERY_RESULT_INIT;
	struct nursery_report *report;
	struct nursery *n;
	int code = EIO, ran = 0, i;

	a.policy = NURSERY_COLLECT;
	a.max_errors = 5;
	n = fresh(&a);
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(nursery_spawn(n, fail_with, &code), 0);
		ck_assert_int_eq(nursery_spawn(n, count, &ran), 0);
	}
	ck_assert_int_eq(nursery_close_with(&n, &report), EIO);
	ck_assert_int_eq(ran, 20);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	ck_assert_uint_eq(c.spawned, 40);
	ck_assert_uint_eq(c.failed, 20);
	ck_assert_uint_eq(c.succeeded, 20);
	ck_assert_uint_eq(nursery_report_failed(report), 5);
	ck_assert_int_eq(nursery_report_failure(report, 4, &r), 0);
	ck_assert_int_eq(r.code, EIO);
	ck_assert_int_eq(nursery_report_failure(report, 5, &r), EINVAL);
	nursery_report_free(report);
}
END_TEST

/* Refused after cancel, after drain, after close; arg stays with us. */
START_TEST(test_scope_refusals_by_state)
{
	struct nursery *n = fresh(NULL), *kept;
	int ran = 0;

	nursery_drain(n);
	ck_assert_int_eq(nursery_spawn(n, count, &ran), ESHUTDOWN);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn(n, count, &ran), ECANCELED);
	kept = nursery_ref(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nursery_spawn(kept, count, &ran), ESHUTDOWN);
	nursery_unref(kept);
	ck_assert_int_eq(ran, 0);
}
END_TEST

static int
spawn_from_member(struct nursery_token *t, void *arg)
{
	gate_pass(((void **)arg)[1]);
	(void)t;
	return nursery_spawn(nursery_current(), count, ((void **)arg)[0]);
}

START_TEST(test_scope_members_spawn_while_draining)
{
	struct nursery *n = fresh(NULL);
	struct gate g;
	int ran = 0;
	void *arg[2] = { &ran, &g };

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, spawn_from_member, arg), 0);
	gate_await(&g, 1);
	nursery_drain(n);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* 10^5 queued, then cancelled: each arg went to fn or to discard. */
START_TEST(test_scope_cancel_discards_what_is_queued)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *report;
	struct nursery *n;
	struct gate g;
	int done = 0, i;

	gate_init(&g);
	a.max_running = 2;
	n = fresh(&a);
	ta.discard = count_discard;
	ck_assert_int_eq(nursery_spawn(n, at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, at_gate, &g), 0);
	gate_await(&g, 2);
	for (i = 0; i < 100000; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &ta, count, &done,
		    NULL), 0);
	nursery_cancel(n);
	gate_open(&g);
	ck_assert_int_eq(nursery_close_with(&n, &report), ECANCELED);
	ck_assert_int_eq(done, 100000);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	ck_assert_uint_eq(c.spawned, 100002);
	ck_assert_uint_eq(c.discarded, 100000);
	nursery_report_free(report);
}
END_TEST

START_TEST(test_scope_max_running_is_kept_and_try_says_eagain)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n;
	struct gate g;

	gate_init(&g);
	a.max_running = 1;
	a.max_queued = 1;
	n = fresh(&a);
	ck_assert_int_eq(nursery_try_spawn(n, at_gate, &g), 0);
	ck_assert_int_eq(nursery_try_spawn(n, at_gate, &g), 0);
	ck_assert_int_eq(nursery_try_spawn(n, at_gate, &g), EAGAIN);
	ta.spawn_by = 1;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, at_gate, &g, NULL),
	    ETIMEDOUT);
	gate_await(&g, 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(g.arrived, 2);
}
END_TEST

static int
spawn_until_full(struct nursery_token *t, void *arg)
{
	int i, rc = 0;

	(void)t;
	for (i = 0; i < 50 && rc == 0; i++)
		rc = nursery_spawn(nursery_current(), count, arg);
	return rc;
}

/* A member that waits for room gives its own place away: with one place and
 * one seat in the queue fifty tasks still get through. */
START_TEST(test_scope_waiting_member_gives_its_place_away)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int ran = 0;

	a.max_running = 1;
	a.max_queued = 1;
	n = fresh(&a);
	ck_assert_int_eq(nursery_spawn(n, spawn_until_full, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 50);
}
END_TEST

struct filler {
	struct nursery *n;
	struct gate *gate;
	int rc;
};

static int
fill_and_wait(struct nursery_token *t, void *arg)
{
	struct filler *f = arg;

	(void)t;
	f->rc = nursery_spawn(f->n, at_gate, f->gate);
	return 0;
}

START_TEST(test_scope_cancel_wakes_a_spawn_that_waits)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *outer = fresh(NULL);
	struct filler f;
	struct gate g;

	gate_init(&g);
	a.max_running = a.max_queued = 1;
	n = fresh(&a);
	ck_assert_int_eq(nursery_spawn(n, at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, at_gate, &g), 0);
	f = (struct filler){ n, &g, 0 };
	ck_assert_int_eq(nursery_spawn(outer, fill_and_wait, &f), 0);
	await_tasks_in("spawn", 1);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&outer), 0);
	ck_assert_int_eq(f.rc, ECANCELED);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

static int
check_copy(struct nursery_token *t, void *arg)
{
	const unsigned char *p = arg;
	size_t len, i;

	(void)t;
	memcpy(&len, p, sizeof len);
	for (i = sizeof len; i < len; i++)
		if (p[i] != (unsigned char)i)
			return EBADMSG;
	return (uintptr_t)arg % _Alignof(max_align_t) == 0 ? 0 : EFAULT;
}

START_TEST(test_scope_spawn_copy_has_its_own)
{
	struct nursery *n = fresh(NULL);
	unsigned char data[5000];
	size_t len, i;

	for (len = sizeof len; len < sizeof data; len = len * 2 + 3) {
		for (i = sizeof len; i < len; i++)
			data[i] = (unsigned char)i;
		memcpy(data, &len, sizeof len);
		ck_assert_int_eq(nursery_spawn_copy(n, check_copy, data, len),
		    0);
		memset(data, 0xee, sizeof data);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_deadline_is_etimedout_at_close)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *inner;
	int rc;

	a.deadline = nursery_after(10 * NURSERY_MS);
	n = fresh(&a);
	ck_assert_int_eq(nursery_open_child(&inner, n, NULL), 0);
	/* The deadline may come before the task: then nobody is there. */
	rc = nursery_spawn(inner, until_cancelled, NULL);
	ck_assert(rc == 0 || rc == ECANCELED);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ETIMEDOUT);
}
END_TEST

START_TEST(test_scope_final_runs_after_cancel)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = fresh(NULL);
	int ran = 0;

	ta.flags = NURSERY_TASK_FINAL;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, count, &ran, NULL),
	    EINVAL);
	ta.deadline = nursery_after(NURSERY_SECOND);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, count, &ran, NULL), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 1);
}
END_TEST

START_TEST(test_scope_ends_on_drain_is_cancelled_by_drain)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = fresh(NULL);

	ta.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, until_cancelled, NULL,
	    NULL), 0);
	nursery_drain(n);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
close_own(struct nursery_token *t, void *arg)
{
	struct nursery *n = *(struct nursery **)arg;
	int rc = nursery_close(&n);

	(void)t;
	if (rc != EDEADLK)
		return rc == 0 ? EINVAL : rc;
	return nursery_wait(n, NURSERY_NEVER) == EDEADLK ? 0 : EINVAL;
}

static void *
close_elsewhere(void *arg)
{
	struct nursery *n = arg;

	return (void *)(intptr_t)nursery_close(&n);
}

START_TEST(test_scope_who_may_close)
{
	struct nursery *n = fresh(NULL);
	pthread_t id;
	void *rc;

	ck_assert_int_eq(nursery_spawn(n, close_own, &n), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	pthread_create(&id, NULL, close_elsewhere, n);
	pthread_join(id, &rc);
	ck_assert_int_eq((int)(intptr_t)rc, EPERM);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_inner_left_open_is_enotempty)
{
	struct nursery *n = fresh(NULL), *inner;
	int ran = 0;

	ck_assert_int_eq(nursery_open_child(&inner, n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(inner, count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_spawn(inner, count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_close(&inner), ENOTEMPTY);
	ck_assert_ptr_null(inner);
}
END_TEST

START_TEST(test_scope_guard_leaves_nothing_behind)
{
	int ran = 0;

	{
		nursery_auto struct nursery *n = fresh(NULL);
		ck_assert_int_eq(nursery_spawn(n, count, &ran), 0);
		ck_assert_int_eq(nursery_spawn(n, until_cancelled, NULL), 0);
	}
	assert_nothing_lives();
	ck_assert_int_le(ran, 1);
}
END_TEST

struct done_log {
	int calls, inside, overlapped;
};

static void
on_done(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct done_log *log = ctx;

	(void)n;
	if (__atomic_fetch_add(&log->inside, 1, __ATOMIC_SEQ_CST) != 0)
		log->overlapped = 1;
	log->calls += r->size == sizeof *r;
	__atomic_fetch_sub(&log->inside, 1, __ATOMIC_SEQ_CST);
}

START_TEST(test_scope_on_done_is_serialised_and_complete)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct done_log log = { 0, 0, 0 };
	struct nursery *n;
	int ran = 0, i;

	a.on_done = on_done;
	a.ctx = &log;
	n = fresh(&a);
	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(nursery_spawn(n, count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(log.calls, 1000);
	ck_assert_int_eq(log.overlapped, 0);
}
END_TEST

static int
look_at_self(struct nursery_token *t, void *arg)
{
	struct nursery_task *self = nursery_self();

	if (nursery_current() != arg || self == NULL)
		return EINVAL;
	if (nursery_task_token(self) != t || nursery_task_id(self) == 0)
		return EINVAL;
	return strcmp(nursery_task_name(self), "looker") == 0 ? 0 : EINVAL;
}

START_TEST(test_scope_task_knows_itself)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = fresh(NULL);

	ta.name = "looker";
	ck_assert_ptr_null(nursery_self());
	ck_assert_ptr_null(nursery_current());
	ck_assert_int_eq(nursery_spawn_with(n, &ta, look_at_self, n, NULL),
	    0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
call_pthread_exit(struct nursery_token *t, void *arg)
{
	(void)t;
	pthread_exit(arg);
}

START_TEST(test_scope_pthread_exit_ends_the_task_with_an_error)
{
	struct nursery *n = fresh(NULL);

	ck_assert_int_eq(nursery_spawn(n, call_pthread_exit, NULL), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTRECOVERABLE);
}
END_TEST

static int
nest(struct nursery_token *t, void *arg)
{
	struct nursery *inner;
	int depth = *(int *)arg - 1, rc;

	(void)t;
	if (depth == 0)
		return 0;
	rc = nursery_open_child(&inner, nursery_current(), NULL);
	if (rc != 0)
		return rc;
	rc = nursery_spawn_copy(inner, nest, &depth, sizeof depth);
	return nursery_close(&inner) != 0 ? EIO : rc;
}

START_TEST(test_scope_nests_deep)
{
	struct nursery *n = fresh(NULL);
	int depth = 200;

	ck_assert_int_eq(nursery_spawn_copy(n, nest, &depth, sizeof depth),
	    0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static void *
open_and_die(void *arg)
{
	struct nursery *n;

	if (nursery_open(&n, NULL) == 0)
		(void)nursery_spawn(n, until_cancelled, NULL);
	return arg;
}

START_TEST(test_scope_thread_that_dies_takes_its_nursery_along)
{
	pthread_t id;

	pthread_create(&id, NULL, open_and_die, NULL);
	pthread_join(id, NULL);
	assert_nothing_lives();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("scope");
	TCase *c = leakless_case("scope");

	tcase_add_test(c, test_scope_close_waits_for_all);
	tcase_add_test(c, test_scope_first_error_cancels_the_rest);
	tcase_add_test(c, test_scope_collect_runs_all_and_keeps_all);
	tcase_add_test(c, test_scope_refusals_by_state);
	tcase_add_test(c, test_scope_members_spawn_while_draining);
	tcase_add_test(c, test_scope_cancel_discards_what_is_queued);
	tcase_add_test(c, test_scope_max_running_is_kept_and_try_says_eagain);
	tcase_add_test(c, test_scope_waiting_member_gives_its_place_away);
	tcase_add_test(c, test_scope_cancel_wakes_a_spawn_that_waits);
	tcase_add_test(c, test_scope_spawn_copy_has_its_own);
	tcase_add_test(c, test_scope_deadline_is_etimedout_at_close);
	tcase_add_test(c, test_scope_final_runs_after_cancel);
	tcase_add_test(c, test_scope_ends_on_drain_is_cancelled_by_drain);
	tcase_add_test(c, test_scope_who_may_close);
	tcase_add_test(c, test_scope_inner_left_open_is_enotempty);
	tcase_add_test(c, test_scope_guard_leaves_nothing_behind);
	tcase_add_test(c, test_scope_on_done_is_serialised_and_complete);
	tcase_add_test(c, test_scope_task_knows_itself);
	tcase_add_test(c, test_scope_pthread_exit_ends_the_task_with_an_error);
	tcase_add_test(c, test_scope_nests_deep);
	tcase_add_test(c, test_scope_thread_that_dies_takes_its_nursery_along);
	suite_add_tcase(s, c);
	return run_suite(s);
}
