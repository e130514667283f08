/* SPDX-License-Identifier: MIT */
/* nursery_start and nursery_started: one says that it is ready, the other
 * waits for that, and whatever happens the argument is used once. */
#include "tasks.h"

#include <string.h>

struct ready {
	struct gate *before, *after;	/* or NULL */
	int said, again;		/* what nursery_started() gave */
	int ran, discarded;
	int result;
	bool silent;
	struct nursery_token *token;
};

static int value;

static int
get_ready(struct nursery_token *token, void *arg)
{
	struct ready *r = arg;

	count_up(&r->ran);
	r->token = token;
	if (r->before != NULL)
		gate_pass(r->before);
	if (!r->silent) {
		r->said = nursery_started(&value);
		r->again = nursery_started(NULL);
	}
	if (r->after != NULL)
		gate_pass(r->after);
	return r->result;
}

static void
drop_ready(void *arg)
{
	count_up(&((struct ready *)arg)->discarded);
}

static int
start(struct nursery *n, nursery_fn *fn, struct ready *r, void **out,
    int64_t deadline)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.discard = drop_ready;
	a.name = "starting";
	return nursery_start(n, &a, fn, r, out, deadline);
}

static char sentinel;
#define UNTOUCHED	((void *)&sentinel)

/* ---- ready ---- */

START_TEST(test_start_returns_when_the_task_says_so_and_hands_its_value_on)
{
	struct nursery *n = open_root(NULL);
	struct gate g;
	struct ready r = { .after = &g, .said = -1 };
	void *out = NULL;

	gate_init(&g);
	ck_assert_int_eq(start(n, get_ready, &r, &out, patience()), 0);
	ck_assert_ptr_eq(out, &value);
	/* It goes on meanwhile. */
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_wait(n, 0), ETIMEDOUT);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.said, 0);
	ck_assert_int_eq(r.again, EINVAL);	/* once is enough */
	ck_assert_int_eq(r.ran, 1);
	ck_assert_int_eq(r.discarded, 0);
}
END_TEST

START_TEST(test_start_needs_no_value_no_attributes_and_no_deadline)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .said = -1 };

	ck_assert_int_eq(nursery_start(n, NULL, get_ready, &r, NULL,
	    NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.said, 0);
}
END_TEST

/* What the task did before it said so is visible, and its token is its own. */
START_TEST(test_start_gives_a_token_of_its_own)
{
	struct nursery *n = open_root(NULL);
	struct gate g;
	struct ready r = { .after = &g };

	gate_init(&g);
	ck_assert_int_eq(start(n, get_ready, &r, NULL, patience()), 0);
	ck_assert_ptr_ne(r.token, nursery_token_of(n));
	nursery_cancel(n);
	ck_assert(nursery_token_is_cancelled(r.token));
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* A function may be spawned and started alike. */
START_TEST(test_started_is_0_in_a_spawned_task_and_einval_outside)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .said = -1, .again = -1 };

	ck_assert_int_eq(nursery_spawn(n, get_ready, &r), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.said, 0);
	ck_assert_int_eq(r.again, 0);
	ck_assert_int_eq(nursery_started(NULL), EINVAL);
}
END_TEST

/* ---- it ends before ---- */

START_TEST(test_start_gives_the_error_of_a_task_that_ends_before)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .silent = true, .result = 42 };
	void *out = UNTOUCHED;

	ck_assert_int_eq(start(n, get_ready, &r, &out, patience()), 42);
	ck_assert_ptr_eq(out, UNTOUCHED);
	ck_assert_int_eq(nursery_close(&n), 42);
	ck_assert_int_eq(r.ran, 1);
	ck_assert_int_eq(r.discarded, 0);
}
END_TEST

START_TEST(test_start_of_a_task_that_ends_well_and_says_nothing_is_eproto)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .silent = true };
	void *out = UNTOUCHED;

	ck_assert_int_eq(start(n, get_ready, &r, &out, patience()), EPROTO);
	ck_assert_ptr_eq(out, UNTOUCHED);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* Ready is ready, even if the task fails right after. */
START_TEST(test_start_of_a_task_that_fails_when_ready_is_0)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .result = 5 };
	void *out = NULL;

	ck_assert_int_eq(start(n, get_ready, &r, &out, patience()), 0);
	ck_assert_ptr_eq(out, &value);
	ck_assert_int_eq(nursery_close(&n), 5);
}
END_TEST

/* ---- given up ---- */

static int
start_late(struct nursery_token *token, void *arg)
{
	struct ready *r = arg;
	int rc;

	count_up(&r->ran);
	rc = nursery_token_wait(token, NURSERY_NEVER);
	r->said = nursery_started(&value);
	return rc != 0 ? rc : ECANCELED;
}

START_TEST(test_start_cancels_and_awaits_the_task_at_the_deadline)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .said = -1 };
	void *out = UNTOUCHED;

	ck_assert_int_eq(start(n, start_late, &r, &out,
	    nursery_after(5 * NURSERY_MS)), ETIMEDOUT);
	/* It has ended: these are ours again. */
	ck_assert_int_eq(r.said, ECANCELED);
	ck_assert_int_eq(r.ran, 1);
	ck_assert_int_eq(r.discarded, 0);
	ck_assert_ptr_eq(out, UNTOUCHED);
	/* One that was told to stop is no failure. */
	ck_assert(!nursery_token_is_cancelled(nursery_token_of(n)));
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct starter {
	struct nursery *n;
	struct ready *r;
	int rc;
	unsigned flags;
};

static int
start_in_task(struct nursery_token *token, void *arg)
{
	struct starter *s = arg;

	(void)token;
	s->rc = start(s->n, start_late, s->r, NULL, NURSERY_NEVER);
	return 0;
}

START_TEST(test_start_is_ended_by_a_cancel_of_the_nursery_or_of_the_caller)
{
	struct nursery *n = open_root(NULL), *callers = open_root(NULL);
	struct ready r = { .said = -1 };
	struct starter s = { n, &r, -1, 0 };

	ck_assert_int_eq(nursery_spawn(callers, start_in_task, &s), 0);
	await_tasks_in("start", 1);
	await_tasks_in("token_wait", 1);
	nursery_cancel(_i == 0 ? n : callers);
	ck_assert_int_eq(nursery_close(&callers), _i == 0 ? 0 : ECANCELED);
	/* Of the nursery's cancel the task may hear first: then it is sooner
	 * with its word, and both hear that it was. */
	ck_assert(s.rc == ECANCELED || (s.rc == 0 && _i == 0));
	ck_assert_int_eq(r.said, s.rc);
	ck_assert_int_eq(r.ran, 1);
	ck_assert_int_eq(r.discarded, 0);
	ck_assert_int_eq(nursery_close(&n), _i == 0 ? ECANCELED : 0);
}
END_TEST

static struct nursery *
open_limited(unsigned max_running, unsigned max_queued)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.max_running = max_running;
	a.max_queued = max_queued;
	return open_root(&a);
}

/* In the queue, or before it: the argument is discarded. */
START_TEST(test_start_discards_what_never_ran_at_the_deadline)
{
	struct nursery *n = open_limited(1, 1);
	struct ready r = { .said = -1 };
	struct gate g;
	int ran = 0;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	if (_i == 1)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(start(n, get_ready, &r, NULL,
	    nursery_after(5 * NURSERY_MS)), ETIMEDOUT);
	ck_assert_int_eq(r.ran, 0);
	ck_assert_int_eq(r.discarded, 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, _i);
}
END_TEST

static int
start_sibling(struct nursery_token *token, void *arg)
{
	(void)token;
	return start(nursery_current(), get_ready, arg, NULL, patience());
}

START_TEST(test_start_in_a_full_nursery_gives_the_place_away)
{
	struct nursery *n = open_limited(1, 0);
	struct ready r = { .said = -1 };

	ck_assert_int_eq(nursery_spawn(n, start_sibling, &r), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.said, 0);
}
END_TEST

/* A spawn_by that is earlier than the deadline counts. */
START_TEST(test_start_waits_for_room_until_spawn_by)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct ready r = { 0 };
	struct nursery *n = open_limited(1, 1);
	struct gate g;
	int ran = 0;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	a.spawn_by = nursery_after(NURSERY_MS);
	ck_assert_int_eq(nursery_start(n, &a, get_ready, &r, NULL,
	    NURSERY_NEVER), ETIMEDOUT);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.ran, 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- refused: always taken ---- */

START_TEST(test_start_takes_the_argument_whatever_it_returns)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT, odd;
	struct nursery *n = open_root(NULL), *kept = nursery_ref(n);
	struct nursery_restart again = NURSERY_RESTART_INIT;
	struct ready r = { .said = -1 };
	int count = 0;

	a.discard = drop_ready;
#define REFUSED(want, attr, nursery, fn) do { \
	ck_assert_int_eq(nursery_start((nursery), (attr), (fn), &r, NULL, \
	    patience()), (want)); \
	ck_assert_int_eq(r.discarded, ++count); \
} while (0)
	REFUSED(EINVAL, &a, NULL, get_ready);
	REFUSED(EINVAL, &a, n, NULL);
	odd = a;
	odd.flags = 1u << 30;
	REFUSED(EINVAL, &odd, n, get_ready);
	odd = a;
	odd.flags = NURSERY_TASK_MAY_INLINE;
	REFUSED(EINVAL, &odd, n, get_ready);
	odd = a;
	odd.restart = &again;
	REFUSED(ENOTSUP, &odd, n, get_ready);
	nursery_drain(n);
	REFUSED(ESHUTDOWN, &a, n, get_ready);
	nursery_cancel(n);
	REFUSED(ECANCELED, &a, n, get_ready);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	REFUSED(ESHUTDOWN, &a, kept, get_ready);
	nursery_unref(kept);
	ck_assert_int_eq(r.ran, 0);
#undef REFUSED
}
END_TEST

static struct nursery *inherited;

static int
start_in_child(void *unused)
{
	struct ready r = { .said = -1 };

	(void)unused;
	if (start(inherited, get_ready, &r, NULL, NURSERY_NEVER) !=
	    EOWNERDEAD)
		return 1;
	return r.discarded == 1 && r.ran == 0 ? 0 : 2;
}

START_TEST(test_start_in_an_inherited_nursery_is_eownerdead)
{
	struct outcome o;

	inherited = open_root(NULL);
	run_forked(&o, start_in_child, NULL);
	assert_good(&o);
	ck_assert_int_eq(nursery_close(&inherited), 0);
}
END_TEST

/* ---- together with the flags ---- */

/* A server: it is ready, serves, and stops after those it serves. */
START_TEST(test_start_of_a_service)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct gate g;
	struct ready r = { .after = &g, .said = -1 };

	gate_init(&g);
	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_start(n, &a, get_ready, &r, NULL,
	    patience()), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
start_last_word(struct nursery_token *token, void *arg)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	int rc;

	rc = nursery_token_wait(token, NURSERY_NEVER);
	if (rc != 0)
		return rc;
	a.flags = NURSERY_TASK_FINAL;
	a.deadline = patience();
	rc = nursery_start(nursery_current(), &a, get_ready, arg, NULL,
	    NURSERY_NEVER);
	return rc != 0 ? rc : ECANCELED;
}

/* FINAL is accepted, and started, even when all are cancelled. */
START_TEST(test_start_of_a_final_task_after_the_cancel)
{
	struct nursery *n = open_root(NULL);
	struct ready r = { .said = -1 };

	ck_assert_int_eq(nursery_spawn(n, start_last_word, &r), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(r.said, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("start");
	TCase *c = leakless_case("start");

	tcase_add_test(c,
	    test_start_returns_when_the_task_says_so_and_hands_its_value_on);
	tcase_add_test(c,
	    test_start_needs_no_value_no_attributes_and_no_deadline);
	tcase_add_test(c, test_start_gives_a_token_of_its_own);
	tcase_add_test(c,
	    test_started_is_0_in_a_spawned_task_and_einval_outside);
	tcase_add_test(c,
	    test_start_gives_the_error_of_a_task_that_ends_before);
	tcase_add_test(c,
	    test_start_of_a_task_that_ends_well_and_says_nothing_is_eproto);
	tcase_add_test(c, test_start_of_a_task_that_fails_when_ready_is_0);
	tcase_add_test(c,
	    test_start_cancels_and_awaits_the_task_at_the_deadline);
	tcase_add_loop_test(c,
	    test_start_is_ended_by_a_cancel_of_the_nursery_or_of_the_caller,
	    0, 2);
	tcase_add_loop_test(c,
	    test_start_discards_what_never_ran_at_the_deadline, 0, 2);
	tcase_add_test(c, test_start_in_a_full_nursery_gives_the_place_away);
	tcase_add_test(c, test_start_takes_the_argument_whatever_it_returns);
	tcase_add_test(c, test_start_waits_for_room_until_spawn_by);
	tcase_add_test(c, test_start_in_an_inherited_nursery_is_eownerdead);
	tcase_add_test(c, test_start_of_a_service);
	tcase_add_test(c, test_start_of_a_final_task_after_the_cancel);
	suite_add_tcase(s, c);
	return run_suite(s);
}
