/* SPDX-License-Identifier: MIT */
/* Nurseries inside a compute task: they cost next to nothing, and keep every
 * promise. */
#include "tasks.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A root, a task in it that opens a nursery inside, and one in that. */
struct nest {
	nursery_fn *fn;		/* the innermost task */
	void *arg;
	int rc;			/* of the inner nursery's close */
	struct gate gate;	/* the innermost stands here, if it likes */
};

static int
open_inner(struct nursery_token *t, void *arg)
{
	struct nest *nest = arg;
	struct nursery *n;
	int rc;

	(void)t;
	rc = nursery_open_child(&n, nursery_current(), NULL);
	if (rc == 0)
		rc = nursery_spawn(n, nest->fn, nest->arg);
	if (rc == 0)
		rc = nest->rc = nursery_close(&n);
	return rc;
}

static struct nursery *
open_compute(int64_t deadline)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	/* One place: the innermost task runs in the midst of the outer one. */
	ck_assert_int_eq(setenv("NURSERY_WORKERS", "1", 1), 0);
	a.lane = NURSERY_COMPUTE;
	a.deadline = deadline;
	a.flags = NURSERY_NO_HELP;
	return open_root(&a);
}

static struct nursery *
start_nest(struct nest *nest, nursery_fn *fn)
{
	struct nursery *n = open_compute(0);

	*nest = (struct nest){ .fn = fn, .arg = &nest->gate, .rc = -1 };
	gate_init(&nest->gate);
	ck_assert_int_eq(nursery_spawn(n, open_inner, nest), 0);
	return n;
}

/* ---- raised from above ---- */

/* Nothing but the level is looked at: nothing tells the library that somebody
 * listens. */
static int
poll_until_cancelled(struct nursery_token *t, void *gate)
{
	gate_open(gate);
	while (!nursery_token_is_cancelled(t))
		;
	return 0;
}

START_TEST(test_inner_a_poll_hears_a_cancel_from_above)
{
	struct nest nest;
	struct nursery *n = start_nest(&nest, poll_until_cancelled);

	gate_pass(&nest.gate);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nest.rc, ECANCELED);
}
END_TEST

START_TEST(test_inner_a_poll_hears_a_deadline_from_above)
{
	struct nest nest;
	struct nursery *n = start_nest(&nest, poll_until_cancelled);

	gate_pass(&nest.gate);
	ck_assert_int_eq(nursery_token_set_deadline(nursery_token_of(n),
	    nursery_after(NURSERY_MS)), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nest.rc, ECANCELED);
}
END_TEST

static struct nursery_token *from_handler;

static void
handler(int signo)
{
	(void)signo;
	nursery_token_cancel_from_signal(from_handler);
}

START_TEST(test_inner_a_poll_hears_a_signal_handler)
{
	struct sigaction act = { .sa_handler = handler };
	struct nest nest;
	struct nursery *n = start_nest(&nest, poll_until_cancelled);

	ck_assert_int_eq(nursery_signal_arm(), 0);
	from_handler = nursery_token_of(n);
	ck_assert_int_eq(sigaction(SIGUSR1, &act, NULL), 0);
	gate_pass(&nest.gate);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nest.rc, ECANCELED);
}
END_TEST

/* ---- the token in the task's hand ---- */

static int
use_token(struct nursery_token *t, void *arg)
{
	struct nursery_token *kid, *second;
	int *wrong = arg;
	int fd = -1;

	*wrong += nursery_token_new(&kid, t) != 0;
	*wrong += nursery_token_fd(t, &fd) != 0 || fd < 0;
	*wrong += nursery_token_wait(t, nursery_now()) != ETIMEDOUT;
	*wrong += nursery_sleep(t, nursery_now()) != 0;
	*wrong += nursery_token_new_any(&second, (struct nursery_token *[]){ t,
	    kid }, 2) != 0;
	*wrong += nursery_token_deadline(t) == NURSERY_NEVER;
	*wrong += !nursery_token_cancel(t);
	*wrong += !nursery_token_is_cancelled(kid);
	*wrong += !nursery_token_is_cancelled(second);
	nursery_token_unref(kid);
	nursery_token_unref(second);
	return 0;
}

/* A cancel of one's own nursery leaves the outer one alone. */
START_TEST(test_inner_tokens_do_all_that_tokens_do)
{
	int wrong = 0;
	struct nest nest = { .fn = use_token, .arg = &wrong };
	struct nursery *n = open_compute(nursery_after(100 *
	    NURSERY_SECOND));

	ck_assert_int_eq(nursery_spawn(n, open_inner, &nest), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nest.rc, ECANCELED);
	ck_assert_int_eq(wrong, 0);
}
END_TEST

static int
open_below(struct nursery_token *t, void *arg)
{
	struct nursery *n;
	int rc;

	rc = nursery_open_under(&n, t, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, task_count, arg);
	return rc == 0 ? nursery_close(&n) : rc;
}

START_TEST(test_inner_a_nursery_opens_under_its_token)
{
	int ran = 0;
	struct nest nest = { .fn = open_below, .arg = &ran };
	struct nursery *n = open_compute(0);

	ck_assert_int_eq(nursery_spawn(n, open_inner, &nest), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- seen from outside ---- */

static int
stand(struct nursery_token *t, void *gate)
{
	(void)t;
	gate_pass(gate);
	return 0;
}

START_TEST(test_inner_tasks_are_in_the_dump_and_counted)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nest nest;
	struct nursery *n = start_nest(&nest, stand);
	char *text;

	gate_await(&nest.gate, 1);
	text = dump_text();
	/* The root, its task, the inner nursery, and what runs there; it is
	 * closing where no thread keeps nurseries ready. */
	ck_assert_msg(strstr(text, "\n  nursery \"\" open live running 1 "
	    "queued 0\n    task ") != NULL || strstr(text, "\n  nursery \"\" "
	    "closing live running 1 queued 0\n    task ") != NULL, "%s", text);
	free(text);
	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.nurseries, 2);
	ck_assert_uint_eq(s.tasks_running, 2);
	ck_assert_uint_eq(s.tasks_queued, 0);
	gate_open(&nest.gate);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_inner_tasks_are_named_by_a_stop)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nest nest;
	struct nursery *n = start_nest(&nest, stand);
	struct nursery_report *r;

	gate_await(&nest.gate, 1);
	how.drain_for = how.cancel_for = how.abort_for = NURSERY_MS;
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	ck_assert_uint_eq(nursery_report_unfinished(r), 2);
	nursery_report_free(r);
	gate_open(&nest.gate);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nest.rc, ECANCELED);
}
END_TEST

/* A nursery inside one that is private has its lane, and the lane's limits. */
static int
open_with_a_large_stack(struct nursery_token *t, void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *m = NULL;
	int *wrong = arg;

	(void)t;
	a.stack_size = (size_t)64 << 20;
	*wrong += nursery_open_child(&n, nursery_current(), NULL) != 0;
	*wrong += nursery_open_child(&m, n, &a) != ENOTSUP;
	*wrong += m != NULL;
	*wrong += nursery_close(&n) != 0;
	return 0;
}

START_TEST(test_inner_limits_of_the_lane_hold_inside)
{
	struct nursery *n = open_compute(0);
	int wrong = 0;

	ck_assert_int_eq(nursery_spawn(n, open_with_a_large_stack, &wrong),
	    0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(wrong, 0);
}
END_TEST

/* ---- ends ---- */

static int
fail_at_once(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return EIO;
}

static int
open_and_fail(struct nursery_token *t, void *arg)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r;
	struct nursery *n;
	int *wrong = arg;
	int ran = 0, rc;

	(void)t;
	*wrong += nursery_open_child(&n, nursery_current(), NULL) != 0;
	*wrong += nursery_spawn(n, task_count, &ran) != 0;
	*wrong += nursery_spawn(n, fail_at_once, NULL) != 0;
	rc = nursery_close_with(&n, &r);
	*wrong += rc != EIO;
	*wrong += nursery_report_counts(r, &c) != 0;
	*wrong += c.spawned != 2 || c.failed != 1 || c.succeeded !=
	    (uint64_t)ran || c.discarded != (uint64_t)(1 - ran);
	nursery_report_free(r);

	*wrong += nursery_open_child(&n, nursery_current(), NULL) != 0;
	*wrong += nursery_spawn(n, fail_at_once, NULL) != 0;
	*wrong += nursery_close(&n) != EIO;
	return 0;
}

START_TEST(test_inner_the_first_error_is_returned)
{
	struct nursery *n = open_compute(0);
	int wrong = 0;

	ck_assert_int_eq(nursery_spawn(n, open_and_fail, &wrong), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(wrong, 0);
}
END_TEST

/* A guard that is dropped cancels: what has not begun does not run. */
static int
drop_one(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	if (nursery_open_child(&n, nursery_current(), NULL) != 0 ||
	    nursery_spawn(n, task_count, arg) != 0)
		return EIO;
	nursery_drop(&n);
	return n == NULL ? 0 : EIO;
}

START_TEST(test_inner_a_drop_discards)
{
	struct nursery *n = open_compute(0);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, drop_one, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 0);
}
END_TEST

/* The close waits for whoever holds the task's handle to no end. */
static struct nursery_task *kept;

static int
keep_handle(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	kept = nursery_task_ref(nursery_self());
	return kept == NULL ? ENOMEM : 7;
}

START_TEST(test_inner_a_handle_outlives_the_nursery)
{
	struct nest nest = { .fn = keep_handle };
	struct nursery *n = open_compute(0);
	int result = 0;

	ck_assert_int_eq(nursery_spawn(n, open_inner, &nest), 0);
	ck_assert_int_eq(nursery_close(&n), 7);
	ck_assert_int_eq(nest.rc, 7);
	ck_assert_int_eq(nursery_task_join(&kept, &result), 0);
	ck_assert_int_eq(result, 7);
}
END_TEST

/* From a thread that is no worker. */
START_TEST(test_inner_the_opener_of_the_root_may_nest_too)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *m;
	int ran = 0, i;

	a.lane = NURSERY_COMPUTE;
	n = open_root(&a);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(nursery_open_child(&m, n, NULL), 0);
		ck_assert_int_eq(nursery_spawn(m, task_count, &ran), 0);
		ck_assert_int_eq(nursery_spawn(m, task_count, &ran), 0);
		ck_assert_int_eq(nursery_close(&m), 0);
		ck_assert_int_eq(counted(&ran), 2 * i + 2);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("inner");
	TCase *c = leakless_case("inner");

	tcase_add_test(c, test_inner_a_poll_hears_a_cancel_from_above);
	tcase_add_test(c, test_inner_a_poll_hears_a_deadline_from_above);
	tcase_add_test(c, test_inner_a_poll_hears_a_signal_handler);
	tcase_add_test(c, test_inner_tokens_do_all_that_tokens_do);
	tcase_add_test(c, test_inner_a_nursery_opens_under_its_token);
	tcase_add_test(c, test_inner_tasks_are_in_the_dump_and_counted);
	tcase_add_test(c, test_inner_tasks_are_named_by_a_stop);
	tcase_add_test(c, test_inner_limits_of_the_lane_hold_inside);
	tcase_add_test(c, test_inner_the_first_error_is_returned);
	tcase_add_test(c, test_inner_a_drop_discards);
	tcase_add_test(c, test_inner_a_handle_outlives_the_nursery);
	tcase_add_test(c, test_inner_the_opener_of_the_root_may_nest_too);
	suite_add_tcase(s, c);
	return run_suite(s);
}
