/* SPDX-License-Identifier: MIT */
/*
 * Handles and starts: join against end, cancel, unref and close; the
 * handshake against deadline and cancel; the first success against errors.
 * Whoever asks is told the same.
 */
#include "race.h"
#include "tasks.h"

#include <string.h>

#define TASKS	4

static void
bump(uint32_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}

/* ---- join, cancel, unref, close ---- */

struct work {
	uint32_t ran, discarded;	/* atomic */
	int plain;			/* the task's, then a joiner's */
};

struct book {
	struct nursery *n;
	struct work work[TASKS];
	struct nursery_task *joined[TASKS], *other[TASKS], *kept[TASKS];
	uint32_t wrong, joins;		/* atomic */
	struct nursery_counts counts;
};

static int
do_work(struct nursery_token *t, void *arg)
{
	struct work *w = arg;

	bump(&w->ran);
	w->plain = 1;
	return nursery_token_is_cancelled(t) ? ECANCELED : 0;
}

static void
drop_work(void *arg)
{
	struct work *w = arg;

	w->plain = 2;
	bump(&w->discarded);
}

static void
open_book(void *ctx, struct rng *r)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct book *b = ctx;
	int i;

	memset(b, 0, sizeof *b);
	b->counts.size = sizeof b->counts;
	a.flags = NURSERY_UNBOUND;
	a.max_running = rng_below(r, 3);
	b->n = open_root(&a);
	ta.discard = drop_work;
	for (i = 0; i < TASKS; i++) {
		ck_assert_int_eq(nursery_spawn_with(b->n, &ta, do_work,
		    &b->work[i], &b->joined[i]), 0);
		b->other[i] = nursery_task_ref(b->joined[i]);
		b->kept[i] = nursery_task_ref(b->joined[i]);
	}
}

static void
join_all(void *ctx, struct rng *r)
{
	struct book *b = ctx;
	int i, result;

	for (i = 0; i < TASKS; i++) {
		linger(r, 300);
		if (nursery_task_join(&b->joined[i], &result) != 0 ||
		    b->joined[i] != NULL)
			bump(&b->wrong);
		/* It is over: a race here is one of the library's. */
		if (b->work[i].plain == 0 || (b->work[i].plain == 2 &&
		    result != ECANCELED))
			bump(&b->wrong);
		bump(&b->joins);
	}
}

static void
cancel_some_and_let_go(void *ctx, struct rng *r)
{
	struct book *b = ctx;
	int i;

	for (i = TASKS - 1; i >= 0; i--) {
		linger(r, 300);
		if (rng_below(r, 2) == 0)
			(void)nursery_task_cancel(b->other[i]);
		if (rng_below(r, 4) == 0 && nursery_task_wait(b->other[i],
		    NURSERY_NEVER) != 0)
			bump(&b->wrong);
		nursery_task_unref(b->other[i]);
	}
}

static void
close_book_now(void *ctx, struct rng *r)
{
	struct nursery_report *report = NULL;
	struct book *b = ctx;
	int rc;

	linger(r, 2000);
	if (rng_below(r, 3) == 0)
		nursery_cancel(b->n);
	rc = nursery_close_with(&b->n, &report);
	if (rc != 0 && rc != ECANCELED)
		bump(&b->wrong);
	(void)nursery_report_counts(report, &b->counts);
	nursery_report_free(report);
}

static void
check_book(void *ctx)
{
	struct book *b = ctx;
	unsigned ok = 0, cancelled = 0, discarded = 0;
	int i, result;

	ck_assert_uint_eq(b->wrong, 0);
	ck_assert_uint_eq(b->joins, TASKS);
	for (i = 0; i < TASKS; i++) {
		ck_assert_uint_eq(b->work[i].ran + b->work[i].discarded, 1);
		ck_assert_int_eq(nursery_task_join(&b->kept[i], &result), 0);
		ok += result == 0;
		discarded += b->work[i].discarded;
		cancelled += b->work[i].ran == 1 && result == ECANCELED;
	}
	ck_assert_uint_eq(b->counts.spawned, TASKS);
	ck_assert_uint_eq(b->counts.succeeded, ok);
	ck_assert_uint_eq(b->counts.discarded, discarded);
	ck_assert_uint_eq(b->counts.cancelled, cancelled);
}

START_TEST(test_handle_join_against_cancel_unref_and_close)
{
	static struct book b;
	const struct race race = { .racers = 3, .run = { join_all,
		cancel_some_and_let_go, close_book_now },
		.before = open_book, .after = check_book };

	race_run(&race, &b, rounds(1500));
}
END_TEST

/* ---- the handshake ---- */

struct handshake {
	struct nursery *n, *handle;
	uint32_t ran, discarded, wrong;	/* atomic */
	int said, rc, closed;
	unsigned lag;
	int64_t patience;
	void *value;
};

static int
shake(struct nursery_token *t, void *arg)
{
	struct handshake *h = arg;
	unsigned i;

	(void)t;
	bump(&h->ran);
	for (i = 0; i < h->lag; i++)
		__asm__ volatile("" : : : "memory");
	h->said = nursery_started(h);
	return h->said;
}

static void
drop_shake(void *arg)
{
	bump(&((struct handshake *)arg)->discarded);
}

static void
open_shake(void *ctx, struct rng *r)
{
	struct handshake *h = ctx;
	struct nursery_attr a = NURSERY_ATTR_INIT;

	memset(h, 0, sizeof *h);
	a.flags = NURSERY_UNBOUND;
	h->said = -1;
	h->lag = rng_below(r, 2) == 0 ? rng_below(r, 500) : rng_below(r,
	    20000);
	switch (rng_below(r, 3)) {
	case 0:
		h->patience = NURSERY_SECOND * 3600;
		break;
	case 1:
		h->patience = 0;	/* a try: about when the task starts */
		break;
	default:
		h->patience = (int64_t)rng_below(r, 60000);
	}
	h->n = open_root(&a);
	h->handle = nursery_ref(h->n);
}

static void
start_shake(void *ctx, struct rng *r)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct handshake *h = ctx;

	linger(r, 1000);
	a.discard = drop_shake;
	h->rc = nursery_start(h->handle, &a, shake, h, &h->value,
	    nursery_after(h->patience));
	/* It has ended, or it goes on and has started. */
	if (h->rc != 0 && h->ran + h->discarded != 1)
		bump(&h->wrong);
}

static void
cancel_shake(void *ctx, struct rng *r)
{
	struct handshake *h = ctx;

	linger(r, 20000);
	if (rng_below(r, 2) == 0)
		nursery_cancel(h->handle);
}

static void
check_shake(void *ctx)
{
	struct handshake *h = ctx;

	h->closed = nursery_close(&h->n);
	nursery_unref(h->handle);
	ck_assert_uint_eq(h->wrong, 0);
	ck_assert_uint_eq(h->ran + h->discarded, 1);
	ck_assert(h->rc == 0 || h->rc == ECANCELED || h->rc == ETIMEDOUT);
	if (h->ran != 0)
		ck_assert_int_eq(h->said, h->rc == 0 ? 0 : ECANCELED);
	ck_assert_ptr_eq(h->value, h->rc == 0 ? h : NULL);
	/* Being given up is no failure. */
	ck_assert(h->closed == 0 || h->closed == ECANCELED);
}

START_TEST(test_handle_handshake_against_deadline_and_cancel)
{
	static struct handshake h;
	const struct race race = { .racers = 2, .run = { start_shake,
		cancel_shake }, .before = open_shake, .after = check_shake };

	race_run(&race, &h, rounds(2000));
}
END_TEST

/* ---- the first success ---- */

struct contest {
	struct nursery *n, *handle;
	uint32_t won, wrong;	/* atomic */
	int closed;
};

static int
fail_now(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return EIO;
}

static int
win(struct nursery_token *t, void *arg)
{
	(void)t;
	bump(&((struct contest *)arg)->won);
	return 0;
}

static void
open_contest(void *ctx, struct rng *r)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct contest *c = ctx;

	memset(c, 0, sizeof *c);
	a.flags = NURSERY_UNBOUND;
	a.policy = NURSERY_FIRST_SUCCESS;
	a.max_running = rng_below(r, 3);
	c->n = open_root(&a);
	c->handle = nursery_ref(c->n);
}

static void
spawn_winners(void *ctx, struct rng *r)
{
	struct contest *c = ctx;
	int i, rc;

	for (i = 0; i < 3; i++) {
		linger(r, 500);
		rc = nursery_spawn(c->handle, win, c);
		if (rc != 0 && rc != ECANCELED)
			bump(&c->wrong);
	}
}

static void
spawn_losers(void *ctx, struct rng *r)
{
	struct contest *c = ctx;
	int i, rc;

	for (i = 0; i < 6; i++) {
		linger(r, 200);
		rc = nursery_spawn(c->handle, fail_now, NULL);
		if (rc != 0 && rc != ECANCELED)
			bump(&c->wrong);
	}
}

static void
check_contest(void *ctx)
{
	struct contest *c = ctx;

	c->closed = nursery_close(&c->n);
	nursery_unref(c->handle);
	ck_assert_uint_eq(c->wrong, 0);
	ck_assert_uint_ge(c->won, 1);
	ck_assert_int_eq(c->closed, 0);
}

START_TEST(test_handle_first_success_against_failures)
{
	static struct contest c;
	const struct race race = { .racers = 3, .run = { spawn_winners,
		spawn_losers, spawn_losers }, .before = open_contest,
		.after = check_contest };

	race_run(&race, &c, rounds(1000));
}
END_TEST

/* ---- services: what they spawn while they stop ---- */

struct house {
	struct nursery *n;
	uint32_t normal, accepted, stopped, early;	/* atomic */
	uint32_t alive;		/* atomic: normal tasks */
};

static int
live_a_while(struct nursery_token *t, void *arg)
{
	struct house *h = arg;

	(void)t;
	bump(&h->normal);
	__atomic_fetch_sub(&h->alive, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static void
spawn_normal(struct house *h)
{
	__atomic_fetch_add(&h->alive, 1, __ATOMIC_SEQ_CST);
	if (nursery_spawn(h->n, live_a_while, h) == 0)
		bump(&h->accepted);
	else
		__atomic_fetch_sub(&h->alive, 1, __ATOMIC_SEQ_CST);
}

static int
serve_house(struct nursery_token *t, void *arg)
{
	struct house *h = arg;

	(void)nursery_token_wait(t, NURSERY_NEVER);
	/* No normal task may be left, but those of services that stop. */
	if (__atomic_load_n(&h->alive, __ATOMIC_SEQ_CST) != 0)
		bump(&h->early);
	bump(&h->stopped);
	spawn_normal(h);
	return ECANCELED;
}

static void
run_house(void)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct house h = { .n = open_root(NULL) };
	int i;

	a.flags = NURSERY_TASK_SERVICE;
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(nursery_spawn_with(h.n, &a, serve_house, &h,
		    NULL), 0);
		spawn_normal(&h);
	}
	ck_assert_int_eq(nursery_close(&h.n), 0);
	ck_assert_uint_eq(h.stopped, 3);
	ck_assert_uint_eq(h.early, 0);
	ck_assert_uint_eq(h.normal, h.accepted);
	ck_assert_uint_eq(h.normal, 6);
}

START_TEST(test_handle_services_that_spawn_while_they_stop)
{
	unsigned i;

	for (i = 0; i < rounds(300); i++)
		run_house();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("handle");
	TCase *c = leakless_case("handle");

	tcase_add_test(c, test_handle_join_against_cancel_unref_and_close);
	tcase_add_test(c, test_handle_handshake_against_deadline_and_cancel);
	tcase_add_test(c, test_handle_first_success_against_failures);
	tcase_add_test(c, test_handle_services_that_spawn_while_they_stop);
	suite_add_tcase(s, c);
	announce_seed("stress_handle");
	return run_suite(s);
}
