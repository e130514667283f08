/* SPDX-License-Identifier: MIT */
/* Handles: one task waited for, cancelled, asked, while it runs and after. */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct nursery_task *
spawn_handle(struct nursery *n, nursery_fn *fn, void *arg)
{
	struct nursery_task *t = NULL;

	ck_assert_int_eq(nursery_spawn_with(n, NULL, fn, arg, &t), 0);
	ck_assert_ptr_nonnull(t);
	return t;
}

static struct nursery *
open_limited(unsigned max_running)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.max_running = max_running;
	return open_root(&a);
}

static int
join(struct nursery_task *t)
{
	int result = -1;

	ck_assert_int_eq(nursery_task_join(&t, &result), 0);
	ck_assert_ptr_null(t);
	return result;
}

/* ---- waiting ---- */

START_TEST(test_handle_join_gives_the_result_and_clears_the_handle)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int code[3] = { 0, 7, 0x10005 }, first, i;
	struct nursery_task *t[3];

	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	for (i = 0; i < 3; i++)
		t[i] = spawn_handle(n, task_return, &code[i]);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(join(t[i]), code[i]);
	first = nursery_close(&n);
	ck_assert(first == 7 || first == 0x10005);
}
END_TEST

static int
write_late(struct nursery_token *token, void *arg)
{
	int i, *to = arg;

	(void)token;
	for (i = 0; i < 64; i++)
		to[i] = i;
	return 0;
}

/* "fn's end happens-before join": plain memory, and the sanitizer's word. */
START_TEST(test_handle_end_of_fn_happens_before_join_and_wait)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t[2];
	int seen[2][64] = { { 0 } }, i;

	for (i = 0; i < 2; i++)
		t[i] = spawn_handle(n, write_late, seen[i]);
	ck_assert_int_eq(nursery_task_wait(t[0], NURSERY_NEVER), 0);
	ck_assert_int_eq(seen[0][63], 63);
	ck_assert_int_eq(nursery_task_join(&t[1], NULL), 0);
	ck_assert_int_eq(seen[1][63], 63);
	nursery_task_unref(t[0]);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_handle_wait_ends_at_the_deadline_and_a_past_one_is_a_try)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t;
	struct gate g;
	int64_t until;

	gate_init(&g);
	t = spawn_handle(n, task_at_gate, &g);
	ck_assert_int_eq(nursery_task_wait(t, 0), ETIMEDOUT);
	ck_assert_int_eq(nursery_task_wait(t, 1), ETIMEDOUT);
	until = nursery_after(2 * NURSERY_MS);
	ck_assert_int_eq(nursery_task_wait(t, until), ETIMEDOUT);
	ck_assert(nursery_now() >= until);
	gate_open(&g);
	ck_assert_int_eq(nursery_task_wait(t, patience()), 0);
	ck_assert_int_eq(nursery_task_wait(t, 0), 0);
	ck_assert_int_eq(join(t), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static void *
join_there(void *handle)
{
	struct nursery_task *t = handle;
	int result = -1;

	if (nursery_task_join(&t, &result) != 0 || t != NULL)
		return (void *)1;
	return (void *)(intptr_t)(result == 0 ? 0 : 2);
}

/* Any thread may, and any number of them. */
START_TEST(test_handle_many_threads_join_one_task)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t;
	pthread_t id[8];
	struct gate g;
	int i;

	gate_init(&g);
	t = spawn_handle(n, task_at_gate, &g);
	for (i = 0; i < 8; i++)
		id[i] = start_thread(join_there, nursery_task_ref(t));
	await_others_asleep();
	gate_open(&g);
	for (i = 0; i < 8; i++)
		ck_assert_ptr_null(end_thread(id[i]));
	ck_assert_int_eq(join(t), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct joiner {
	struct nursery_task *t;
	int rc, result;
	enum nursery_level level;
};

static int
join_in_task(struct nursery_token *token, void *arg)
{
	struct joiner *j = arg;

	j->rc = nursery_task_join(&j->t, &j->result);
	j->level = nursery_token_level(token);
	return 0;
}

/* "joins ... are not cut short by the caller's own token." */
START_TEST(test_handle_join_is_not_cut_short_by_the_callers_token)
{
	struct nursery *n = open_root(NULL), *other = open_root(NULL);
	struct joiner j = { .rc = -1 };
	struct gate g;

	gate_init(&g);
	j.t = spawn_handle(other, task_at_gate, &g);
	ck_assert_int_eq(nursery_spawn(n, join_in_task, &j), 0);
	await_tasks_in("join", 1);
	nursery_cancel(n);
	await_tasks_in("join", 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(j.rc, 0);
	ck_assert_int_eq(j.level, NURSERY_CANCEL);
	ck_assert_int_eq(nursery_close(&other), 0);
}
END_TEST

/* ---- who would wait for himself ---- */

static int
join_oneself(struct nursery_token *token, void *arg)
{
	struct nursery_task *self = nursery_task_ref(nursery_self()),
	    *kept = self;
	int *rc = arg, result = -5;

	(void)token;
	rc[0] = nursery_task_join(&self, &result);
	rc[1] = self == kept && result == -5;
	rc[2] = nursery_task_wait(self, 0);
	nursery_task_unref(self);
	return 0;
}

START_TEST(test_handle_joining_oneself_is_edeadlk)
{
	struct nursery *n = open_root(NULL);
	int rc[3] = { -1, -1, -1 };

	ck_assert_int_eq(nursery_spawn(n, join_oneself, rc), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(rc[0], EDEADLK);
	ck_assert_int_eq(rc[1], 1);
	ck_assert_int_eq(rc[2], EDEADLK);
}
END_TEST

struct above {
	struct nursery_task *top;
	int depth, rc;
	bool root;
};

static int
go_below(struct nursery_token *token, void *arg)
{
	struct above *a = arg;
	struct nursery *inner = NULL;
	int rc;

	(void)token;
	if (a->top == NULL)
		a->top = nursery_task_ref(nursery_self());
	if (a->depth-- == 0) {
		a->rc = nursery_task_wait(a->top, NURSERY_NEVER);
		return 0;
	}
	rc = nursery_open_child(&inner, nursery_current(), NULL);
	if (rc == 0)
		rc = nursery_spawn(inner, go_below, a);
	return rc != 0 ? rc : nursery_close(&inner);
}

/* The one above waits, or will wait, for the nursery that it opened. */
START_TEST(test_handle_joining_who_opened_the_nursery_is_edeadlk)
{
	struct nursery *n = open_root(NULL);
	struct above a = { NULL, _i, -1, false };

	ck_assert_int_eq(nursery_spawn(n, go_below, &a), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(a.rc, EDEADLK);
	nursery_task_unref(a.top);
}
END_TEST

/* A sibling of one's own nursery, and one of a nursery further in, may. */
static int
spawn_below_and_join(struct nursery_token *token, void *arg)
{
	struct nursery *inner = NULL;
	struct nursery_task *t = NULL;
	int rc, result = -1;

	(void)token;
	rc = nursery_open_child(&inner, nursery_current(), NULL);
	if (rc == 0)
		rc = nursery_spawn_with(inner, NULL, task_return, arg, &t);
	if (rc == 0)
		rc = nursery_task_join(&t, &result);
	if (nursery_close(&inner) != 0)
		return EIO;
	return rc == 0 && result == 0 ? 0 : EIO;
}

START_TEST(test_handle_siblings_and_those_below_may_be_joined)
{
	struct nursery *n = open_root(NULL);
	struct joiner j = { .rc = -1, .result = -1 };
	struct gate g;
	int zero = 0;

	gate_init(&g);
	j.t = spawn_handle(n, task_at_gate, &g);
	ck_assert_int_eq(nursery_spawn(n, join_in_task, &j), 0);
	ck_assert_int_eq(nursery_spawn(n, spawn_below_and_join, &zero), 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(j.rc, 0);
	ck_assert_int_eq(j.result, 0);
}
END_TEST

/* ---- cancelling ---- */

START_TEST(test_handle_cancel_reaches_one_task_only)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n = open_root(NULL);
	struct nursery_task *t[2];
	struct gate g;

	gate_init(&g);
	t[0] = spawn_handle(n, task_until_cancelled, NULL);
	t[1] = spawn_handle(n, task_at_gate, &g);
	ck_assert(nursery_task_cancel(t[0]));
	ck_assert(!nursery_task_cancel(t[0]));
	ck_assert_int_eq(join(t[0]), ECANCELED);
	ck_assert_int_eq(nursery_token_level(nursery_task_token(t[1])),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	gate_open(&g);
	ck_assert_int_eq(join(t[1]), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.cancelled, 1);
	ck_assert_uint_eq(c.succeeded, 1);
	ck_assert_uint_eq(c.failed, 0);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_handle_cancel_discards_a_queued_task_at_once)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n = open_limited(1);
	struct nursery_task *t = NULL;
	struct gate g;
	int discarded = 0, ran = 0;

	gate_init(&g);
	a.discard = count_up;
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &discarded,
	    &t), 0);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert(nursery_task_cancel(t));
	ck_assert_int_eq(discarded, 1);
	ck_assert_int_eq(nursery_task_wait(t, 0), 0);
	ck_assert(!nursery_task_cancel(t));
	ck_assert_int_eq(join(t), ECANCELED);
	gate_open(&g);
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, 3);
	ck_assert_uint_eq(c.discarded, 1);
	ck_assert_uint_eq(c.succeeded, 2);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_handle_cancel_of_one_that_ended_does_nothing)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t;
	int ran = 0;

	t = spawn_handle(n, task_count, &ran);
	ck_assert_int_eq(nursery_task_wait(t, patience()), 0);
	ck_assert(!nursery_task_cancel(t));
	ck_assert(!nursery_token_is_cancelled(nursery_task_token(t)));
	nursery_task_unref(t);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
cancel_oneself(struct nursery_token *token, void *arg)
{
	(void)arg;
	/* It has the nursery's token, which is not its own to cancel. */
	if (nursery_task_cancel(nursery_self()))
		return EIO;
	return nursery_token_is_cancelled(token) ? EIO : 0;
}

START_TEST(test_handle_cancel_without_a_token_of_its_own_is_false)
{
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_spawn(n, cancel_oneself, NULL), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- life ---- */

/* A handle outlives the task and the nursery, and can be asked. */
START_TEST(test_handle_outlives_the_nursery)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_task *t = NULL, *more;
	struct nursery *n = open_root(NULL);
	char name[] = "sixteen";
	int code = 0;
	uint64_t id;

	a.name = name;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_return, &code, &t),
	    0);
	id = nursery_task_id(t);
	memset(name, 'x', sizeof name - 1);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_uint_eq(nursery_task_id(t), id);
	ck_assert_uint_ne(id, 0);
	ck_assert_str_eq(nursery_task_name(t), "sixteen");
	ck_assert(nursery_token_is_cancelled(nursery_task_token(t)));
	ck_assert_int_eq(nursery_task_wait(t, 0), 0);
	ck_assert(!nursery_task_cancel(t));
	more = nursery_task_ref(t);
	ck_assert_ptr_eq(more, t);
	ck_assert_int_eq(nursery_task_join(&t, &code), 0);
	ck_assert_str_eq(nursery_task_name(more), "sixteen");
	nursery_task_unref(more);
}
END_TEST

static int
give_self_away(struct nursery_token *token, void *arg)
{
	(void)token;
	*(struct nursery_task **)arg = nursery_task_ref(nursery_self());
	return 11;
}

/* With a reference what nursery_self() gives is a handle like others. */
START_TEST(test_handle_of_oneself_outlives_task_and_nursery)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t = NULL;

	ck_assert_int_eq(nursery_spawn(n, give_self_away, &t), 0);
	ck_assert_int_eq(nursery_close(&n), 11);
	ck_assert_int_eq(nursery_token_cause(nursery_task_token(t),
	    NURSERY_CANCEL, NULL), 11);
	ck_assert_str_eq(nursery_task_name(t), "");
	ck_assert_int_eq(join(t), 11);
}
END_TEST

START_TEST(test_handle_may_go_before_the_task)
{
	struct nursery *n = open_root(NULL);
	struct gate g;
	int i;

	gate_init(&g);
	for (i = 0; i < 4; i++)
		nursery_task_unref(spawn_handle(n, task_at_gate, &g));
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(g.arrived, 4);
}
END_TEST

static void
keep_result(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct nursery_task **t = ctx;

	(void)n;
	(void)r;
	/* The task has ended: the wait for it is at once. */
	if (*t != NULL && nursery_task_wait(*t, 0) == 0)
		nursery_task_unref(*t);
	*t = NULL;
}

/* on_done may wait for the very task it is told of. */
START_TEST(test_handle_of_an_ended_task_may_be_waited_for_in_on_done)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task *t = NULL;
	struct nursery *n;
	struct gate g;

	gate_init(&g);
	a.on_done = keep_result;
	a.ctx = &t;
	n = open_root(&a);
	t = spawn_handle(n, task_at_gate, &g);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_ptr_null(t);
}
END_TEST

/* Refused: no handle is written, and nothing is left. */
START_TEST(test_handle_is_written_on_success_only)
{
	struct nursery *n = open_root(NULL);
	struct nursery_task *t = (struct nursery_task *)&n;

	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn_with(n, NULL, task_count, NULL, &t),
	    ECANCELED);
	ck_assert_ptr_eq(t, &n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

static int
unref_too_often(void *unused)
{
	struct nursery *n = NULL;
	struct nursery_task *t = NULL;

	(void)unused;
	if (nursery_open(&n, NULL) != 0 || nursery_spawn_with(n, NULL,
	    task_until_cancelled, NULL, &t) != 0)
		return 1;
	nursery_task_unref(t);
	nursery_task_unref(t);
	return 2;
}

START_TEST(test_handle_unref_too_often_aborts_with_a_line)
{
	struct outcome o;

	run_forked(&o, unref_too_often, NULL);
	assert_aborted(&o, "nursery_task_unref: more unrefs than refs");
}
END_TEST

static struct nursery_task *inherited;

static int
use_inherited(void *unused)
{
	struct nursery_task *t = inherited;
	int result = -3;

	(void)unused;
	if (nursery_task_join(&t, &result) != EOWNERDEAD || t != inherited ||
	    result != -3)
		return 1;
	if (nursery_task_wait(t, NURSERY_NEVER) != EOWNERDEAD)
		return 2;
	if (nursery_task_cancel(t) || nursery_task_ref(t) != t)
		return 3;
	nursery_task_unref(t);
	nursery_task_unref(t);
	nursery_task_unref(t);
	return nursery_task_id(t) != 0 ? 0 : 4;
}

START_TEST(test_handle_inherited_across_fork_is_inert)
{
	struct nursery *n = open_root(NULL);
	struct outcome o;

	inherited = spawn_handle(n, task_until_cancelled, NULL);
	run_forked(&o, use_inherited, NULL);
	assert_good(&o);
	ck_assert(nursery_task_cancel(inherited));
	ck_assert_int_eq(join(inherited), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- joins in full nurseries ---- */

struct chain {
	struct nursery *n;
	int depth, most;
};

static int
spawn_and_join(struct nursery_token *token, void *arg)
{
	struct chain *c = arg;
	struct nursery_task *t = NULL;
	int rc, result = -1;

	(void)token;
	if (c->depth == c->most)
		return 0;
	c->depth++;
	rc = nursery_spawn_with(c->n, NULL, spawn_and_join, c, &t);
	if (rc != 0)
		return rc;
	rc = nursery_task_join(&t, &result);
	return rc != 0 ? rc : result;
}

/* One place, and each task waits for the next in the queue. */
START_TEST(test_handle_join_in_a_full_nursery_gives_the_place_away)
{
	struct chain c = { open_limited(1), 0, 30 };

	ck_assert_int_eq(nursery_spawn(c.n, spawn_and_join, &c), 0);
	ck_assert_int_eq(nursery_wait(c.n, patience()), 0);
	ck_assert_int_eq(nursery_close(&c.n), 0);
	ck_assert_int_eq(c.depth, 30);
}
END_TEST

struct meter {
	int now, most;
	struct nursery_task *t;
};

static int
count_present(struct nursery_token *token, void *arg)
{
	struct meter *m = arg;

	(void)token;
	if (__atomic_add_fetch(&m->now, 1, __ATOMIC_SEQ_CST) > 1)
		__atomic_store_n(&m->most, 2, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&m->now, 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* It comes back to a place of its own before it goes on. */
static int
join_then_count(struct nursery_token *token, void *arg)
{
	struct meter *m = arg;
	struct nursery_task *t = NULL;
	int rc = nursery_spawn_with(nursery_current(), NULL, count_present, m,
	    &t);

	if (rc == 0)
		rc = nursery_task_join(&t, NULL);
	return rc != 0 ? rc : count_present(token, m);
}

START_TEST(test_handle_join_takes_a_place_again_before_it_returns)
{
	struct nursery *n = open_limited(1);
	struct meter m = { 0 };
	int i;

	for (i = 0; i < 200; i++)
		ck_assert_int_eq(nursery_spawn(n, join_then_count, &m), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(m.most, 0);
}
END_TEST

/* The place is needed by one that the awaited task waits for in turn. */
static int
fill_outer(struct nursery_token *token, void *arg)
{
	struct nursery_task *t = NULL;
	int rc, result = -1, zero = 0;

	(void)token;
	rc = nursery_spawn_with(arg, NULL, task_return, &zero, &t);
	if (rc == 0)
		rc = nursery_task_join(&t, &result);
	return rc != 0 ? rc : result;
}

static int
join_in_other(struct nursery_token *token, void *arg)
{
	struct nursery_task *t = NULL;
	int rc, result = -1;

	(void)token;
	rc = nursery_spawn_with(arg, NULL, fill_outer, nursery_current(), &t);
	if (rc == 0)
		rc = nursery_task_join(&t, &result);
	return rc != 0 ? rc : result;
}

START_TEST(test_handle_join_in_another_nursery_gives_the_place_away_too)
{
	struct nursery *n = open_limited(1), *other = open_root(NULL);

	ck_assert_int_eq(nursery_spawn(n, join_in_other, other), 0);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_close(&other), 0);
}
END_TEST

/* A callback has no place to give: the count stays right. */
static void
spawn_in_on_done(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	int *left = ctx;

	(void)r;
	if ((*left)-- > 0)
		(void)nursery_spawn(n, task_count, &left[1]);
}

START_TEST(test_handle_on_done_has_no_place_to_give_away)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int left[2] = { 50, 0 };

	a.max_running = 1;
	a.max_queued = 1;
	a.on_done = spawn_in_on_done;
	a.ctx = left;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_count, &left[1]), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(left[1], 51);
}
END_TEST

/* ---- the report and the handles agree ---- */

START_TEST(test_handle_results_agree_with_the_reports_counts)
{
	enum { TASKS = 300 };
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	struct nursery_task *t[TASKS];
	unsigned ok = 0, failed = 0, cancelled = 0;
	int code[3] = { 0, 9, 0 }, i, result = -1;
	struct nursery *n;

	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	for (i = 0; i < TASKS; i++) {
		t[i] = spawn_handle(n, i % 3 == 2 ? task_until_cancelled :
		    task_return, &code[i % 3]);
		if (i % 3 == 2)
			ck_assert(nursery_task_cancel(t[i]));
	}
	ck_assert_int_eq(nursery_close_with(&n, &r), 9);
	for (i = 0; i < TASKS; i++) {
		ck_assert_int_eq(nursery_task_join(&t[i], &result), 0);
		ok += result == 0;
		failed += result == 9;
		cancelled += result == ECANCELED;
	}
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, TASKS);
	ck_assert_uint_eq(c.succeeded, ok);
	ck_assert_uint_eq(c.failed, failed);
	ck_assert_uint_eq(c.cancelled + c.discarded, cancelled);
	nursery_report_free(r);
}
END_TEST

struct parcel {
	int *ran, *discarded;
};

static int
use_parcel(struct nursery_token *token, void *arg)
{
	struct parcel *p = arg;

	(void)token;
	count_up(p->ran);
	return 0;
}

static void
drop_parcel(void *arg)
{
	count_up(((struct parcel *)arg)->discarded);
}

/* Many queued, cancelled in the middle: run + discarded = accepted, and each
 * handle has the same to say. */
START_TEST(test_handle_cancel_of_many_queued_tasks_loses_none)
{
	const unsigned count = scaled(100000);
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_task **t = calloc(count, sizeof(*t));
	struct nursery_report *r = NULL;
	struct nursery *n = open_limited(2);
	unsigned i, ok = 0, dropped = 0;
	int ran = 0, discarded = 0, result = -1;
	struct parcel p = { &ran, &discarded };

	ck_assert_ptr_nonnull(t);
	a.discard = drop_parcel;
	for (i = 0; i < count; i++) {
		ck_assert_int_eq(nursery_spawn_with(n, &a, use_parcel, &p,
		    &t[i]), 0);
		if (i % 64 == 0)
			(void)nursery_task_cancel(t[i]);
	}
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	for (i = 0; i < count; i++) {
		ck_assert_int_eq(nursery_task_join(&t[i], &result), 0);
		ok += result == 0;
		dropped += result == ECANCELED;
	}
	ck_assert_uint_eq((unsigned)(ran + discarded), count);
	ck_assert_uint_eq(ok, (unsigned)ran);
	ck_assert_uint_eq(dropped, (unsigned)discarded);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, count);
	ck_assert_uint_eq(c.succeeded, ok);
	ck_assert_uint_eq(c.discarded, dropped);
	nursery_report_free(r);
	free(t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("handle");
	TCase *c = leakless_case("handle");

	tcase_add_test(c,
	    test_handle_join_gives_the_result_and_clears_the_handle);
	tcase_add_test(c,
	    test_handle_end_of_fn_happens_before_join_and_wait);
	tcase_add_test(c,
	    test_handle_wait_ends_at_the_deadline_and_a_past_one_is_a_try);
	tcase_add_test(c, test_handle_many_threads_join_one_task);
	tcase_add_test(c,
	    test_handle_join_is_not_cut_short_by_the_callers_token);
	tcase_add_test(c, test_handle_joining_oneself_is_edeadlk);
	tcase_add_loop_test(c,
	    test_handle_joining_who_opened_the_nursery_is_edeadlk, 0, 4);
	tcase_add_test(c,
	    test_handle_siblings_and_those_below_may_be_joined);
	tcase_add_test(c, test_handle_cancel_reaches_one_task_only);
	tcase_add_test(c,
	    test_handle_cancel_discards_a_queued_task_at_once);
	tcase_add_test(c,
	    test_handle_cancel_of_one_that_ended_does_nothing);
	tcase_add_test(c,
	    test_handle_cancel_without_a_token_of_its_own_is_false);
	tcase_add_test(c, test_handle_outlives_the_nursery);
	tcase_add_test(c,
	    test_handle_of_oneself_outlives_task_and_nursery);
	tcase_add_test(c, test_handle_may_go_before_the_task);
	tcase_add_test(c,
	    test_handle_of_an_ended_task_may_be_waited_for_in_on_done);
	tcase_add_test(c, test_handle_is_written_on_success_only);
	tcase_add_test(c,
	    test_handle_unref_too_often_aborts_with_a_line);
	tcase_add_test(c, test_handle_inherited_across_fork_is_inert);
	tcase_add_test(c,
	    test_handle_join_in_a_full_nursery_gives_the_place_away);
	tcase_add_test(c,
	    test_handle_join_takes_a_place_again_before_it_returns);
	tcase_add_test(c,
	    test_handle_join_in_another_nursery_gives_the_place_away_too);
	tcase_add_test(c, test_handle_on_done_has_no_place_to_give_away);
	tcase_add_test(c,
	    test_handle_results_agree_with_the_reports_counts);
	tcase_add_test(c,
	    test_handle_cancel_of_many_queued_tasks_loses_none);
	suite_add_tcase(s, c);
	return run_suite(s);
}
