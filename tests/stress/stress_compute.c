/* SPDX-License-Identifier: MIT */
/*
 * The compute lane under all at once: trees of tasks in one nursery and in
 * nested ones, spawned from inside and from outside, that fail, sleep, block
 * and are cancelled, while others wait.  Whatever was accepted has run or was
 * discarded when the close returns, and nothing after that.
 */
#include "tasks.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct ledger {
	struct nursery *n;
	uint32_t accepted, ran, nested, wrong;	/* atomic */
	uint64_t seed;
	bool closed;				/* atomic */
	unsigned outsiders;
	int fails_in;				/* atomic; below 0: none */
};

static void
bump(uint32_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static uint64_t
draw(struct rng *r)
{
	return rng_below(r, 1u << 30);
}

struct item {
	struct ledger *book;
	unsigned depth;
	uint64_t seed;
};

static int grow(struct nursery_token *t, void *arg);

/* By copy: what is discarded leaves nothing behind. */
static void
spawn_one(struct nursery *n, struct ledger *book, unsigned depth,
    uint64_t seed)
{
	struct item kid = { book, depth, seed };

	if (nursery_spawn_copy(n, grow, &kid, sizeof kid) == 0)
		bump(&book->accepted);
}

static void
spawn_nested(const struct item *it, struct rng *r)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct ledger own = { .fails_in = -1, .seed = it->seed };
	struct nursery_report *report;
	struct nursery *n;
	unsigned i, kids = 1 + rng_below(r, 4);

	if (nursery_open_child(&n, nursery_current(), NULL) != 0)
		return;
	own.n = n;
	for (i = 0; i < kids; i++)
		spawn_one(n, &own, it->depth - 1, draw(r));
	if (rng_below(r, 16) == 0)
		nursery_cancel(n);
	(void)nursery_close_with(&n, &report);
	__atomic_store_n(&own.closed, true, __ATOMIC_SEQ_CST);
	(void)nursery_report_counts(report, &c);
	nursery_report_free(report);
	if (own.wrong != 0 || c.spawned != own.accepted || own.ran +
	    c.discarded != own.accepted)
		bump(&it->book->wrong);
	bump(&it->book->nested);
}

static int
grow(struct nursery_token *t, void *arg)
{
	const struct item *it = arg;
	struct ledger *book = it->book;
	struct rng r;
	unsigned i, kids;

	rng_init(&r, it->seed);
	bump(&book->ran);
	if (__atomic_load_n(&book->closed, __ATOMIC_SEQ_CST) ||
	    nursery_current() != book->n)
		bump(&book->wrong);
	if (it->depth > 0) {
		kids = rng_below(&r, 4);
		for (i = 0; i < kids; i++)
			spawn_one(book->n, book, it->depth - 1, draw(&r));
		if (rng_below(&r, 8) == 0)
			spawn_nested(it, &r);
	}
	switch (rng_below(&r, 64)) {
	case 0:
		(void)nursery_sleep(t, nursery_after(rng_below(&r, 50) *
		    NURSERY_US));
		break;
	case 1:
		nursery_blocking_begin();
		(void)sched_yield();
		nursery_blocking_end();
		break;
	case 2:
		if (nursery_self() == NULL)
			bump(&book->wrong);
		break;
	default:
		break;
	}
	return __atomic_fetch_sub(&book->fails_in, 1, __ATOMIC_RELAXED) == 0 ?
	    EIO : 0;
}

static void *
spawn_outside(void *arg)
{
	struct ledger *book = arg;
	struct rng r;
	unsigned i;

	rng_init(&r, book->seed + 1 + __atomic_fetch_add(&book->outsiders, 1,
	    __ATOMIC_RELAXED));
	for (i = 0; i < 50; i++) {
		spawn_one(book->n, book, rng_below(&r, 4), draw(&r));
		if (rng_below(&r, 20) == 0)
			(void)nursery_wait(book->n, nursery_after(
			    rng_below(&r, 100) * NURSERY_US));
	}
	nursery_unref(book->n);
	return NULL;
}

/* ---- nurseries inside tasks, with what costs least ---- */

#define MOST_KIDS	3

struct twig {
	struct ledger *book;	/* of the nursery that it is spawned into */
	unsigned depth;
	uint64_t seed;
};

/* Something that asks more of the nursery than to count the task. */
static void
ask_for_more(struct nursery_token *t, struct ledger *book, struct rng *r)
{
	struct nursery_token *kid;

	switch (rng_below(r, 40)) {
	case 0:
		if (nursery_token_new(&kid, t) != 0)
			break;
		if (nursery_token_is_cancelled(t) &&
		    !nursery_token_is_cancelled(kid))
			bump(&book->wrong);
		nursery_token_unref(kid);
		break;
	case 1:
		if (nursery_self() == NULL)
			bump(&book->wrong);
		break;
	case 2:
		nursery_cancel(nursery_current());
		break;
	case 3:
		(void)nursery_sleep(t, nursery_after(rng_below(r, 50) *
		    NURSERY_US));
		break;
	default:
		break;
	}
}

static int
branch(struct nursery_token *t, void *arg)
{
	const struct twig *twig = arg;
	struct twig kid[MOST_KIDS];
	struct ledger own = { 0 };
	struct nursery *n;
	struct rng r;
	unsigned i, kids;
	int rc;

	rng_init(&r, twig->seed);
	bump(&twig->book->ran);
	if (__atomic_load_n(&twig->book->closed, __ATOMIC_SEQ_CST))
		bump(&twig->book->wrong);
	ask_for_more(t, twig->book, &r);
	if (twig->depth == 0 || nursery_open_child(&n, nursery_current(),
	    NULL) != 0)
		return rng_below(&r, 200) == 0 ? EIO : 0;
	kids = rng_below(&r, MOST_KIDS + 1);
	for (i = 0; i < kids; i++) {
		kid[i] = (struct twig){ &own, twig->depth - 1, draw(&r) };
		if (nursery_spawn(n, branch, &kid[i]) == 0)
			bump(&own.accepted);
	}
	rc = nursery_close(&n);
	__atomic_store_n(&own.closed, true, __ATOMIC_SEQ_CST);
	if (own.ran > own.accepted || own.wrong != 0 ||
	    (rc == 0 && (own.accepted != kids || own.ran != kids)))
		bump(&twig->book->wrong);
	return 0;
}

/* Cancelled from elsewhere, and looked at. */
static void *
look_and_cancel(void *nursery)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct rng r;

	rng_init(&r, 77);
	free(dump_text());
	(void)nursery_get_stats(&s);
	if (rng_below(&r, 2) == 0)
		nursery_cancel(nursery);
	nursery_unref(nursery);
	return NULL;
}

START_TEST(test_compute_nurseries_inside_keep_count)
{
	static const char *const workers[] = { "1", "2", "5" };
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct twig twig[4];
	struct ledger book;
	struct nursery *n;
	struct rng r;
	pthread_t id;
	unsigned i, k;
	int rc;

	ck_assert_int_eq(setenv("NURSERY_WORKERS", workers[_i], 1), 0);
	a.lane = NURSERY_COMPUTE;
	rng_init(&r, (unsigned)_i);
	for (i = 0; i < rounds(300); i++) {
		memset(&book, 0, sizeof book);
		n = open_root(&a);
		for (k = 0; k < 4; k++) {
			twig[k] = (struct twig){ &book, 7, draw(&r) };
			if (nursery_spawn(n, branch, &twig[k]) == 0)
				book.accepted++;
		}
		id = start_thread(look_and_cancel, nursery_ref(n));
		rc = nursery_close(&n);
		book.closed = true;
		(void)end_thread(id);
		ck_assert_uint_eq(book.wrong, 0);
		ck_assert_uint_le(book.ran, book.accepted);
		if (rc == 0)
			ck_assert_uint_eq(book.ran, 4);
	}
}
END_TEST

/* Round i: what happens while it runs. */
enum { NOTHING, A_CANCEL, A_FAILURE, AN_EARLY_CLOSE, ENDS };

static void
one_round(struct rng *r)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct ledger book = { .seed = draw(r) };
	unsigned how = rng_below(r, ENDS), i;
	struct nursery_report *report;
	struct nursery *n;
	pthread_t id[2];

	a.lane = NURSERY_COMPUTE;
	book.fails_in = how == A_FAILURE ? (int)rng_below(r, 300) : -1;
	book.n = n = open_root(&a);
	for (i = 0; i < 2; i++) {
		(void)nursery_ref(n);
		id[i] = start_thread(spawn_outside, &book);
	}
	for (i = 0; i < 20; i++)
		spawn_one(n, &book, rng_below(r, 6), draw(r));
	if (how == A_CANCEL)
		nursery_cancel(n);
	if (how != AN_EARLY_CLOSE)
		for (i = 0; i < 2; i++)
			(void)end_thread(id[i]);
	(void)nursery_close_with(&n, &report);
	__atomic_store_n(&book.closed, true, __ATOMIC_SEQ_CST);
	if (how == AN_EARLY_CLOSE)
		for (i = 0; i < 2; i++)
			(void)end_thread(id[i]);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	nursery_report_free(report);
	ck_assert_uint_eq(book.wrong, 0);
	ck_assert_uint_eq(c.spawned, book.accepted);
	ck_assert_uint_eq(c.discarded + book.ran, book.accepted);
	ck_assert_uint_eq(c.succeeded + c.failed + c.cancelled, book.ran);
}

START_TEST(test_compute_accepted_is_run_or_discarded)
{
	static const char *const workers[] = { "1", "2", "5" };
	struct rng r;
	unsigned i;

	ck_assert_int_eq(setenv("NURSERY_WORKERS", workers[_i], 1), 0);
	rng_init(&r, (unsigned)_i);
	for (i = 0; i < rounds(200); i++)
		one_round(&r);
}
END_TEST

/* One at a time: no wake-up is lost when all sleep. */
START_TEST(test_compute_a_task_for_those_who_sleep)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	unsigned i;
	int ran = 0;

	a.lane = NURSERY_COMPUTE;
	a.flags = NURSERY_NO_HELP;
	n = open_root(&a);
	for (i = 0; i < rounds(5000); i++) {
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
		ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
		ck_assert_int_eq(counted(&ran), (int)i + 1);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("compute");
	TCase *c = leakless_case("compute");

	tcase_add_loop_test(c, test_compute_accepted_is_run_or_discarded, 0,
	    3);
	tcase_add_loop_test(c, test_compute_nurseries_inside_keep_count, 0, 3);
	tcase_add_test(c, test_compute_a_task_for_those_who_sleep);
	suite_add_tcase(s, c);
	announce_seed("stress_compute");
	return run_suite(s);
}
