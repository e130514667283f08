/* SPDX-License-Identifier: MIT */
/*
 * Nurseries: spawn against cancel, drain and close.  Whatever happens, what
 * was accepted is what ran and what was discarded, each exactly once.
 */
#include "race.h"
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

struct ledger {
	struct nursery *n, *handle;
	uint32_t accepted, refused, ran, discarded, reported;	/* atomic */
	uint32_t inside, overlapped;	/* atomic: on_done */
	uint32_t wrong;			/* atomic */
	unsigned members;	/* spawns that each task makes */
	bool final, reports;
	struct nursery_counts counts;
};

static void
bump(uint32_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_SEQ_CST);
}

/* The argument of a task: each is used once. */
struct item {
	struct ledger *book;
	uint32_t used;		/* atomic */
	unsigned depth;
};

static struct item *
new_item(struct ledger *book, unsigned depth)
{
	struct item *it = calloc(1, sizeof *it);

	if (it != NULL) {
		it->book = book;
		it->depth = depth;
	}
	return it;
}

static void
use_item(struct item *it, uint32_t *counter)
{
	if (__atomic_exchange_n(&it->used, 1, __ATOMIC_SEQ_CST) != 0)
		bump(&it->book->wrong);
	bump(counter);
	free(it);
}

static void
discard_item(void *arg)
{
	struct item *it = arg;

	use_item(it, &it->book->discarded);
}

static int run_item(struct nursery_token *t, void *arg);

/* Spawns one; a refusal leaves the argument here. */
static void
spawn_item(struct nursery *n, struct ledger *book, unsigned depth,
    struct rng *r)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct item *it = new_item(book, depth);
	int rc;

	if (it == NULL) {
		bump(&book->wrong);
		return;
	}
	a.discard = discard_item;
	if (book->final && r != NULL && rng_below(r, 8) == 0) {
		a.flags = NURSERY_TASK_FINAL;
		a.deadline = nursery_after(3600 * NURSERY_SECOND);
	}
	if (r != NULL && rng_below(r, 3) == 0)
		a.spawn_by = nursery_after((int64_t)rng_below(r, 100) *
		    NURSERY_US);
	rc = nursery_spawn_with(n, &a, run_item, it, NULL);
	if (rc == 0) {
		bump(&book->accepted);
		return;
	}
	if (rc != ECANCELED && rc != ESHUTDOWN && rc != ETIMEDOUT)
		bump(&book->wrong);
	bump(&book->refused);
	free(it);
}

static int
run_item(struct nursery_token *t, void *arg)
{
	struct item *it = arg;
	struct ledger *book = it->book;
	unsigned depth = it->depth, i;

	use_item(it, &book->ran);
	if (nursery_token_level(t) > NURSERY_ABORT)
		bump(&book->wrong);
	for (i = 0; depth > 0 && i < book->members; i++)
		spawn_item(nursery_current(), book, depth - 1, NULL);
	return 0;
}

static void
report_item(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct ledger *book = ctx;

	(void)n;
	(void)r;
	if (__atomic_fetch_add(&book->inside, 1, __ATOMIC_SEQ_CST) != 0)
		bump(&book->overlapped);
	bump(&book->reported);
	__atomic_fetch_sub(&book->inside, 1, __ATOMIC_SEQ_CST);
}

/* ---- rounds ---- */

static void
open_book(void *ctx, struct rng *r)
{
	struct ledger *book = ctx;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	unsigned members = book->members;
	bool final = book->final;

	memset(book, 0, sizeof *book);
	book->members = members;
	book->final = final;
	a.flags = NURSERY_UNBOUND;
	a.max_running = rng_below(r, 4);
	a.max_queued = a.max_running == 0 ? 0 : rng_below(r, 4);
	a.on_done = report_item;
	a.ctx = book;
	if (rng_below(r, 3) == 0)
		a.on_done = NULL;
	book->n = open_root(&a);
	book->handle = nursery_ref(book->n);
	book->reports = a.on_done != NULL;
	book->counts.size = sizeof book->counts;
}

static void
close_book(void *ctx)
{
	struct ledger *book = ctx;

	ck_assert_ptr_null(book->n);
	ck_assert_uint_eq(book->wrong, 0);
	ck_assert_uint_eq(book->overlapped, 0);
	ck_assert_uint_eq(book->accepted, book->ran + book->discarded);
	ck_assert_uint_eq(book->counts.spawned, book->accepted);
	ck_assert_uint_eq(book->counts.discarded, book->discarded);
	ck_assert_uint_eq(book->counts.succeeded, book->ran);
	ck_assert_uint_eq(book->reported, book->reports ?
	    book->accepted : 0);
	ck_assert_int_eq(nursery_spawn(book->handle, task_until_cancelled,
	    NULL), ESHUTDOWN);
	nursery_unref(book->handle);
}

static void
spawn_from_outside(void *ctx, struct rng *r)
{
	struct ledger *book = ctx;
	int i;

	for (i = 0; i < 20; i++)
		spawn_item(book->handle, book, 2, r);
}

static void
close_it(void *ctx, struct rng *r)
{
	struct ledger *book = ctx;
	struct nursery_report *report = NULL;
	int rc;

	linger(r, 20000);
	rc = nursery_close_with(&book->n, &report);
	if (rc != 0 && rc != ECANCELED)
		bump(&book->wrong);
	(void)nursery_report_counts(report, &book->counts);
	nursery_report_free(report);
}

static void
cancel_then_close(void *ctx, struct rng *r)
{
	struct ledger *book = ctx;

	linger(r, 20000);
	if (rng_below(r, 3) == 0)
		nursery_drain(book->handle);
	linger(r, 5000);
	if (rng_below(r, 3) != 0)
		nursery_cancel(book->handle);
	close_it(ctx, r);
}

START_TEST(test_scope_accepted_is_run_and_discarded)
{
	struct ledger book = { .members = 0 };
	const struct race race = { .racers = 3, .run = { spawn_from_outside,
		spawn_from_outside, cancel_then_close },
		.before = open_book, .after = close_book };

	race_run(&race, &book, rounds(400));
}
END_TEST

START_TEST(test_scope_accepted_is_run_and_discarded_with_members)
{
	struct ledger book = { .members = 2, .final = true };
	const struct race race = { .racers = 3, .run = { spawn_from_outside,
		spawn_from_outside, cancel_then_close },
		.before = open_book, .after = close_book };

	race_run(&race, &book, rounds(150));
}
END_TEST

/* ---- the wait against the end of the last task and new ones ---- */

struct rendezvous {
	struct nursery *n;
	int ran, wrong;		/* atomic */
};

static void
open_plain(void *ctx, struct rng *r)
{
	struct rendezvous *z = ctx;

	(void)r;
	z->ran = 0;
	z->n = open_root(NULL);
}

static void
close_plain(void *ctx)
{
	struct rendezvous *z = ctx;

	ck_assert_int_eq(nursery_close(&z->n), 0);
	ck_assert_int_eq(z->wrong, 0);
	ck_assert_int_eq(z->ran, 10);
}

static void
spawn_ten(void *ctx, struct rng *r)
{
	struct rendezvous *z = ctx;
	int i;

	for (i = 0; i < 10; i++) {
		if (nursery_spawn(z->n, task_count, &z->ran) != 0)
			__atomic_fetch_add(&z->wrong, 1, __ATOMIC_SEQ_CST);
		linger(r, 1000);
	}
	/* All that were spawned before the wait are over after it. */
	if (nursery_wait(z->n, NURSERY_NEVER) != 0 || counted(&z->ran) != 10)
		__atomic_fetch_add(&z->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
wait_often(void *ctx, struct rng *r)
{
	struct rendezvous *z = ctx;
	int i;

	for (i = 0; i < 10; i++) {
		if (nursery_wait(z->n, NURSERY_NEVER) != 0)
			__atomic_fetch_add(&z->wrong, 1, __ATOMIC_SEQ_CST);
		linger(r, 1000);
	}
}

START_TEST(test_scope_wait_against_spawns_and_ends)
{
	struct rendezvous z = { .wrong = 0 };
	const struct race race = { .racers = 3, .run = { spawn_ten,
		wait_often, wait_often }, .before = open_plain,
		.after = close_plain };

	race_run(&race, &z, rounds(300));
}
END_TEST

/* ---- a task opens nurseries that others find out about ---- */

struct nest {
	struct nursery *n;
	struct nursery *inner;	/* atomic; referenced */
	uint32_t open;		/* atomic */
	int ran, accepted, wrong;	/* atomic */
};

/* Opens, closes, opens again: mostly nobody looks. */
static int
open_and_close(struct nursery_token *t, void *arg)
{
	struct nest *nest = arg;
	struct nursery *inner, *old;
	int i;

	(void)t;
	for (i = 0; i < 30; i++) {
		if (nursery_open_child(&inner, nursery_current(), NULL) != 0)
			return EINVAL;
		if (i % 5 == 0) {
			old = __atomic_exchange_n(&nest->inner,
			    nursery_ref(inner), __ATOMIC_SEQ_CST);
			nursery_unref(old);
		}
		if (i % 3 == 0 && nursery_spawn(inner, task_count,
		    &nest->ran) == 0)
			__atomic_add_fetch(&nest->accepted, 1,
			    __ATOMIC_SEQ_CST);
		(void)nursery_close(&inner);
	}
	return 0;
}

static void
open_nest(void *ctx, struct rng *r)
{
	struct nest *nest = ctx;

	(void)r;
	memset(nest, 0, sizeof *nest);
	nest->n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(nest->n, open_and_close, nest), 0);
}

/* Takes what is shown, spawns into it. */
static void
spawn_into_inner(void *ctx, struct rng *r)
{
	struct nest *nest = ctx;
	struct nursery *inner;
	int i, rc;

	for (i = 0; i < 20; i++) {
		inner = __atomic_exchange_n(&nest->inner, NULL,
		    __ATOMIC_SEQ_CST);
		if (inner != NULL) {
			rc = nursery_spawn(inner, task_count, &nest->ran);
			if (rc == 0)
				__atomic_add_fetch(&nest->accepted, 1,
				    __ATOMIC_SEQ_CST);
			else if (rc != ESHUTDOWN && rc != ECANCELED)
				__atomic_add_fetch(&nest->wrong, 1,
				    __ATOMIC_SEQ_CST);
			nursery_unref(inner);
		}
		linger(r, 2000);
	}
}

/* A dump in the middle, and sometimes a cancel of all. */
static void
look_and_cancel(void *ctx, struct rng *r)
{
	struct nest *nest = ctx;
	struct nursery_stats s = NURSERY_STATS_INIT;
	FILE *nowhere = fopen("/dev/null", "we");

	linger(r, 10000);
	if (nowhere == NULL || nursery_dump(nowhere, NURSERY_TEXT) != 0 ||
	    nursery_get_stats(&s) != 0)
		__atomic_add_fetch(&nest->wrong, 1, __ATOMIC_SEQ_CST);
	if (nowhere != NULL)
		fclose(nowhere);
	if (rng_below(r, 3) == 0)
		nursery_cancel(nest->n);
}

static void
close_nest(void *ctx)
{
	struct nest *nest = ctx;
	int rc = nursery_close(&nest->n);

	ck_assert(rc == 0 || rc == ECANCELED);
	nursery_unref(nest->inner);
	ck_assert_int_eq(nest->wrong, 0);
	ck_assert_int_eq(nest->ran, nest->accepted);
}

START_TEST(test_scope_inner_nurseries_that_others_find)
{
	struct nest nest;
	const struct race race = { .racers = 2, .run = { spawn_into_inner,
		look_and_cancel }, .before = open_nest,
		.after = close_nest };

	race_run(&race, &nest, rounds(300));
}
END_TEST

/* ---- the last handle against the close ---- */

struct handles {
	struct nursery *n, *a, *b;
	struct nursery_token *t;
	int wrong;
};

static void
open_handles(void *ctx, struct rng *r)
{
	struct handles *h = ctx;
	struct nursery_attr a = NURSERY_ATTR_INIT;

	(void)r;
	a.flags = NURSERY_UNBOUND;
	h->n = open_root(&a);
	h->a = nursery_ref(h->n);
	h->b = nursery_ref(h->n);
	h->t = new_token(nursery_token_of(h->n));
	ck_assert_int_eq(nursery_spawn(h->n, task_until_cancelled, NULL), 0);
}

static void
close_handles(void *ctx, struct rng *r)
{
	struct handles *h = ctx;

	(void)r;
	nursery_cancel(h->n);
	if (nursery_close(&h->n) != ECANCELED)
		__atomic_add_fetch(&h->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
drop_a(void *ctx, struct rng *r)
{
	struct handles *h = ctx;

	linger(r, 5000);
	(void)nursery_spawn(h->a, task_until_cancelled, NULL);
	nursery_unref(h->a);
}

static void
drop_b(void *ctx, struct rng *r)
{
	struct handles *h = ctx;

	linger(r, 5000);
	nursery_drain(h->b);
	nursery_unref(h->b);
}

static void
end_handles(void *ctx)
{
	struct handles *h = ctx;

	ck_assert_int_eq(h->wrong, 0);
	ck_assert(nursery_token_is_cancelled(h->t));
	nursery_token_unref(h->t);
}

START_TEST(test_scope_handles_go_while_it_closes)
{
	struct handles h = { .wrong = 0 };
	const struct race race = { .racers = 3, .run = { close_handles,
		drop_a, drop_b }, .before = open_handles,
		.after = end_handles };

	race_run(&race, &h, rounds(500));
}
END_TEST

/* ---- failures at once: one is the first, and the cause ---- */

struct failures {
	struct nursery *n;
	int code[3];
	pthread_barrier_t together;
};

static int
fail_together(struct nursery_token *t, void *arg)
{
	struct failures *f = arg;
	int mine;

	(void)t;
	mine = pthread_barrier_wait(&f->together);
	return mine == PTHREAD_BARRIER_SERIAL_THREAD ? 11 : 22;
}

START_TEST(test_scope_simultaneous_failures_have_one_first)
{
	struct nursery_result r = NURSERY_RESULT_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_report *report;
	struct failures f;
	unsigned round;
	int i, rc;

	for (round = 0; round < rounds(500); round++) {
		pthread_barrier_init(&f.together, NULL, 3);
		f.n = open_root(NULL);
		for (i = 0; i < 3; i++)
			ck_assert_int_eq(nursery_spawn(f.n, fail_together,
			    &f), 0);
		rc = nursery_close_with(&f.n, &report);
		ck_assert(rc == 11 || rc == 22);
		ck_assert_int_eq(nursery_report_counts(report, &c), 0);
		ck_assert_uint_eq(c.failed, 3);
		ck_assert_int_eq(nursery_report_failure(report, 0, &r), 0);
		ck_assert_int_eq(r.code, rc);
		/* Whoever cancelled was one of those who failed. */
		ck_assert_int_eq(nursery_report_cause(report, &cause), 0);
		ck_assert(cause.code == 11 || cause.code == 22);
		nursery_report_free(report);
		pthread_barrier_destroy(&f.together);
	}
}
END_TEST

/* ---- places that become free through a cancel ---- */

#define PLACES	2

/* Those that run end because of the cancel, so that none of the others, who
 * want their places, may start. */
START_TEST(test_scope_cancel_comes_before_the_places_that_it_frees)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	unsigned round;
	int ran = 0, i;

	a.max_running = PLACES;
	for (round = 0; round < rounds(300); round++) {
		n = open_root(&a);
		for (i = 0; i < PLACES; i++)
			ck_assert_int_eq(nursery_spawn(n,
			    task_until_cancelled, NULL), 0);
		for (i = 0; i < 20; i++)
			ck_assert_int_eq(nursery_spawn(n, task_count, &ran),
			    0);
		nursery_cancel(n);
		ck_assert_int_eq(nursery_close(&n), ECANCELED);
		ck_assert_int_eq(ran, 0);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("scope");
	TCase *c = leakless_case("scope");

	tcase_add_test(c, test_scope_accepted_is_run_and_discarded);
	tcase_add_test(c,
	    test_scope_accepted_is_run_and_discarded_with_members);
	tcase_add_test(c, test_scope_wait_against_spawns_and_ends);
	tcase_add_test(c, test_scope_inner_nurseries_that_others_find);
	tcase_add_test(c, test_scope_handles_go_while_it_closes);
	tcase_add_test(c, test_scope_simultaneous_failures_have_one_first);
	tcase_add_test(c,
	    test_scope_cancel_comes_before_the_places_that_it_frees);
	suite_add_tcase(s, c);
	announce_seed("stress_scope");
	return run_suite(s);
}
