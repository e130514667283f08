/* SPDX-License-Identifier: MIT */
/* Deadlines and shields: moved, fired, cancelled and released at once. */
#include "race.h"
#include "tasks.h"

#include <string.h>

#define HOUR	(3600 * NURSERY_SECOND)

struct dated {
	struct nursery_token *t, *child;
	struct nursery_callback cb;
	int ran;		/* atomic */
	int64_t earliest;	/* that was ever set; the mover's */
	bool last_is_never, refused, first;
	int wrong;		/* atomic */
};

static void
make_dated(void *ctx, struct rng *r)
{
	struct dated *d = ctx;

	(void)r;
	memset(d, 0, sizeof *d);
	d->earliest = NURSERY_NEVER;
	d->t = new_token(NULL);
	d->child = new_token(d->t);
	ck_assert_int_eq(nursery_token_on_cancel(d->child, &d->cb, count_up,
	    &d->ran), 0);
}

/* Now, soon, late, never; the last word may be never. */
static void
move_deadline(void *ctx, struct rng *r)
{
	struct dated *d = ctx;
	int64_t when;
	int i, rc;

	for (i = 0; i < 20; i++) {
		switch (rng_below(r, 5)) {
		case 0:
			when = NURSERY_NEVER;
			break;
		case 1:
			when = nursery_after(HOUR);
			break;
		default:
			when = nursery_after((int64_t)rng_below(r, 100) *
			    NURSERY_US);
		}
		rc = nursery_token_set_deadline(d->t, when);
		d->refused = rc == ECANCELED;
		if (rc != 0)
			break;
		d->earliest = when < d->earliest ? when : d->earliest;
		d->last_is_never = when == NURSERY_NEVER;
		linger(r, 300);
	}
}

static void
wait_for_child(void *ctx, struct rng *r)
{
	struct dated *d = ctx;
	int rc = nursery_token_wait(d->child, nursery_after((int64_t)
	    rng_below(r, 300) * NURSERY_US));

	if (rc != 0 && rc != ETIMEDOUT)
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_SEQ_CST);
	if (rc == 0 && nursery_token_cause(d->child, NURSERY_CANCEL, NULL) !=
	    ETIMEDOUT)
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
end_dated(void *ctx)
{
	struct dated *d = ctx;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	bool cancelled = nursery_token_is_cancelled(d->t);
	int rc;

	ck_assert_int_eq(d->wrong, 0);
	ck_assert(!d->refused || cancelled);
	/* Taken back in time is taken back. */
	ck_assert(!d->last_is_never || d->refused || !cancelled);
	rc = nursery_token_set_deadline(d->t, 1);
	ck_assert(rc == 0 || rc == ECANCELED);
	ck_assert_int_eq(nursery_token_wait(d->t, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(d->t, NURSERY_CANCEL, &cause),
	    ETIMEDOUT);
	ck_assert(rc == 0 || cause.when >= d->earliest);
	/* The callback runs on the timer thread, a little after the level. */
	nursery_callback_remove(&d->cb);
	ck_assert_int_le(counted(&d->ran), 1);
	nursery_token_unref(d->child);
	nursery_token_unref(d->t);
}

START_TEST(test_deadline_moved_while_it_fires)
{
	struct dated d;
	const struct race race = { .racers = 2, .run = { move_deadline,
		wait_for_child }, .before = make_dated, .after = end_dated };

	race_run(&race, &d, rounds(500));
}
END_TEST

/* ---- released while it fires ---- */

struct brief {
	int wrong;
};

/* Tokens that live about as long as their deadlines are away. */
static void
live_briefly(void *ctx, struct rng *r)
{
	struct brief *b = ctx;
	struct nursery_token *t, *below;
	int i;

	for (i = 0; i < 20; i++) {
		if (nursery_token_new(&t, NULL) != 0 ||
		    nursery_token_new(&below, t) != 0)
			break;
		if (nursery_token_set_deadline(t, nursery_after((int64_t)
		    rng_below(r, 60) * NURSERY_US)) != 0)
			__atomic_fetch_add(&b->wrong, 1, __ATOMIC_SEQ_CST);
		/* In either order: the deadline outlives its handle, too. */
		if (rng_below(r, 2)) {
			nursery_token_unref(t);
			linger(r, 1500);
			nursery_token_unref(below);
		} else {
			nursery_token_unref(below);
			linger(r, 1500);
			nursery_token_unref(t);
		}
	}
}

static void
no_wrong(void *ctx)
{
	ck_assert_int_eq(((struct brief *)ctx)->wrong, 0);
}

START_TEST(test_deadline_released_while_it_fires)
{
	struct brief b = { 0 };
	const struct race race = { .racers = 2, .run = { live_briefly,
		live_briefly }, .after = no_wrong };

	race_run(&race, &b, rounds(200));
}
END_TEST

/* ---- against a cancel by hand: one of the two is the cause ---- */

static void
cancel_by_hand(void *ctx, struct rng *r)
{
	struct dated *d = ctx;

	linger(r, 4000);
	d->first = nursery_token_cancel_with(d->t, 42, NULL);
	/* Callbacks run before the cancel that is the first returns. */
	if (d->first && counted(&d->ran) != 1)
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_SEQ_CST);
	if (!nursery_token_is_cancelled(d->child))
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
set_soon(void *ctx, struct rng *r)
{
	struct dated *d = ctx;
	int rc = nursery_token_set_deadline(d->t, nursery_after((int64_t)
	    rng_below(r, 30) * NURSERY_US));

	if (rc != 0 && rc != ECANCELED)
		__atomic_fetch_add(&d->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
end_cancelled(void *ctx)
{
	struct dated *d = ctx;
	struct nursery_token *last = new_token(NULL);

	ck_assert_int_eq(d->wrong, 0);
	/* When this one has fired, so has the other, or it never will. */
	ck_assert_int_eq(nursery_token_set_deadline(last, nursery_after(31 *
	    NURSERY_US)), 0);
	ck_assert_int_eq(nursery_token_wait(last, patience()), 0);
	nursery_token_unref(last);
	ck_assert_int_eq(nursery_token_cause(d->child, NURSERY_CANCEL, NULL),
	    d->first ? 42 : ETIMEDOUT);
	nursery_callback_remove(&d->cb);
	ck_assert_int_le(counted(&d->ran), 1);
	nursery_token_unref(d->t);
	nursery_token_unref(d->child);
}

START_TEST(test_deadline_against_a_cancel_gives_one_cause)
{
	struct dated d;
	const struct race race = { .racers = 2, .run = { set_soon,
		cancel_by_hand }, .before = make_dated,
		.after = end_cancelled };

	race_run(&race, &d, rounds(500));
}
END_TEST

/* ---- shields that fall ---- */

struct shielded {
	struct nursery_token *p, *s, *below;
	int wrong;
};

static void
raise_shield(void *ctx, struct rng *r)
{
	struct shielded *h = ctx;

	h->p = new_token(NULL);
	ck_assert_int_eq(nursery_token_new_shielded(&h->s, h->p,
	    nursery_after((int64_t)rng_below(r, 200) * NURSERY_US)), 0);
	h->below = new_token(h->s);
}

static void
cancel_parent(void *ctx, struct rng *r)
{
	struct shielded *h = ctx;

	linger(r, 4000);
	(void)nursery_token_cancel_with(h->p, 42, NULL);
	if (rng_below(r, 4) != 0)
		return;
	(void)nursery_token_raise(h->p, NURSERY_ABORT, 43, NULL);
	if (nursery_token_level(h->below) != NURSERY_ABORT)
		__atomic_fetch_add(&h->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
wait_behind(void *ctx, struct rng *r)
{
	struct shielded *h = ctx;

	(void)r;
	/* It falls in any case. */
	if (nursery_token_wait(h->below, patience()) != 0 ||
	    nursery_token_cause(h->below, NURSERY_CANCEL, NULL) == 0)
		__atomic_fetch_add(&h->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
drop_shield(void *ctx)
{
	struct shielded *h = ctx;

	ck_assert_int_eq(h->wrong, 0);
	nursery_token_unref(h->s);
	nursery_token_unref(h->p);
	nursery_token_unref(h->below);
}

START_TEST(test_deadline_of_a_shield_against_a_cancel)
{
	struct shielded h = { .wrong = 0 };
	const struct race race = { .racers = 2, .run = { cancel_parent,
		wait_behind }, .before = raise_shield,
		.after = drop_shield };

	race_run(&race, &h, rounds(500));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("deadline");
	TCase *c = leakless_case("deadline");

	tcase_add_test(c, test_deadline_moved_while_it_fires);
	tcase_add_test(c, test_deadline_released_while_it_fires);
	tcase_add_test(c, test_deadline_against_a_cancel_gives_one_cause);
	tcase_add_test(c, test_deadline_of_a_shield_against_a_cancel);
	suite_add_tcase(s, c);
	announce_seed("stress_deadline");
	return run_suite(s);
}
