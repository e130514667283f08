/* SPDX-License-Identifier: MIT */
/*
 * Cancel against the making and the release of children: the shapes that
 * others found hard, and the promises that hold in each.
 */
#include "race.h"
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* ---- releases against each other ---- */

struct family {
	struct nursery_token *g, *p, *c, *d;
	bool late;
	int first[RACERS];
	int wrong;		/* atomic */
};

static void
wrong_if(struct family *f, bool is)
{
	if (is)
		__atomic_fetch_add(&f->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
no_wrong(void *ctx)
{
	ck_assert_int_eq(((struct family *)ctx)->wrong, 0);
}

static void
drop_p(void *ctx, struct rng *r)
{
	(void)r;
	nursery_token_unref(((struct family *)ctx)->p);
}

static void
drop_c(void *ctx, struct rng *r)
{
	(void)r;
	nursery_token_unref(((struct family *)ctx)->c);
}

static void
drop_d(void *ctx, struct rng *r)
{
	(void)r;
	nursery_token_unref(((struct family *)ctx)->d);
}

static void
three_handles(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->p = new_token(NULL);
	f->c = nursery_token_ref(f->p);
	f->d = nursery_token_ref(f->p);
}

START_TEST(test_release_three_handles_at_once)
{
	const struct race race = { .racers = 3, .run = { drop_p, drop_c,
		drop_d }, .before = three_handles };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(500));
}
END_TEST

static void
parent_and_two(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->p = new_token(NULL);
	f->c = new_token(f->p);
	f->d = new_token(f->p);
}

START_TEST(test_release_parent_and_two_children_at_once)
{
	const struct race race = { .racers = 3, .run = { drop_p, drop_c,
		drop_d }, .before = parent_and_two };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(500));
}
END_TEST

static void
chain_of_three(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->p = new_token(NULL);
	f->c = new_token(f->p);
	f->d = new_token(f->c);
}

START_TEST(test_release_a_chain_at_once)
{
	const struct race race = { .racers = 3, .run = { drop_p, drop_c,
		drop_d }, .before = chain_of_three };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(500));
}
END_TEST

/* ---- releases against cancels ---- */

static void
cancel_and_drop_p(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	wrong_if(f, !nursery_token_cancel(f->p));
	nursery_token_unref(f->p);
}

static void
look_and_drop_d(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	/* Cancelled or not: a level that is seen has a cause. */
	linger(r, 100);
	if (nursery_token_is_cancelled(f->d))
		wrong_if(f, nursery_token_cause(f->d, NURSERY_CANCEL, NULL)
		    != ECANCELED);
	nursery_token_unref(f->d);
}

START_TEST(test_release_child_and_grandchild_while_the_root_is_cancelled)
{
	const struct race race = { .racers = 3, .run = { cancel_and_drop_p,
		drop_c, look_and_drop_d }, .before = chain_of_three,
		.after = no_wrong };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(1000));
}
END_TEST

static void
cancel_and_drop_c(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->first[1] = nursery_token_cancel_with(f->c, 77, "child");
	wrong_if(f, !nursery_token_is_cancelled(f->c));
	nursery_token_unref(f->c);
}

static void
handles_of_a_pair(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->p = new_token(NULL);
	f->d = nursery_token_ref(f->p);
	f->c = new_token(f->p);
}

/* A handle dropped, the parent cancelled, the child cancelled. */
START_TEST(test_release_while_parent_and_child_are_cancelled)
{
	const struct race race = { .racers = 3, .run = { cancel_and_drop_p,
		cancel_and_drop_c, drop_d }, .before = handles_of_a_pair,
		.after = no_wrong };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(1000));
}
END_TEST

/* ---- two cancels and the leaf: G - P - C - D ---- */

/* Siblings of C that the walk tells before it. */
#define BESIDE	200
static struct nursery_token *beside[BESIDE];

static void
four_generations(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->g = new_token(NULL);
	f->p = new_token(f->g);
	f->c = new_token(f->p);
	f->d = new_token(f->c);
}

static void
four_generations_and_siblings(void *ctx, struct rng *r)
{
	struct family *f = ctx;
	int i;

	four_generations(ctx, r);
	f->late = rng_below(r, 2);
	for (i = 0; i < BESIDE; i++)
		beside[i] = new_token(f->p);
}

static void
drop_four(void *ctx)
{
	struct family *f = ctx;

	no_wrong(f);
	ck_assert(f->first[0]);
	nursery_token_unref(f->g);
	nursery_token_unref(f->p);
	nursery_token_unref(f->c);
	nursery_token_unref(f->d);
}

static void
drop_four_and_siblings(void *ctx)
{
	int i;

	drop_four(ctx);
	for (i = 0; i < BESIDE; i++) {
		ck_assert(nursery_token_is_cancelled(beside[i]));
		nursery_token_unref(beside[i]);
	}
}

/* When any of the two has returned, true or false, all below have it. */
static void
cancel_g(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->first[0] = nursery_token_cancel(f->g);
	wrong_if(f, !nursery_token_is_cancelled(f->p) ||
	    !nursery_token_is_cancelled(f->c) ||
	    !nursery_token_is_cancelled(f->d));
}

static void
cancel_p(void *ctx, struct rng *r)
{
	struct family *f = ctx;
	unsigned turns = 0;

	/* Now and then it comes exactly when P has just been told. */
	while (f->late && !nursery_token_is_cancelled(f->p))
		spin(&turns);
	(void)r;
	f->first[1] = nursery_token_cancel(f->p);
	wrong_if(f, !nursery_token_is_cancelled(f->c) ||
	    !nursery_token_is_cancelled(f->d));
}

START_TEST(test_release_racing_cancels_both_reach_the_leaf)
{
	const struct race race = { .racers = 2, .run = { cancel_g, cancel_p },
		.before = four_generations_and_siblings,
		.after = drop_four_and_siblings };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(3000));
}
END_TEST

/* C cancelled by an ancestor: then the ancestors show it; and who sees the
 * level sees the cause. */
static void
look_down_up(void *ctx, struct rng *r)
{
	struct family *f = ctx;
	unsigned turns = 0;

	(void)r;
	while (!nursery_token_is_cancelled(f->d))
		spin(&turns);
	wrong_if(f, !nursery_token_is_cancelled(f->p));
	wrong_if(f, !nursery_token_is_cancelled(f->g));
	wrong_if(f, nursery_token_cause(f->d, NURSERY_CANCEL, NULL) != 42);
}

static void
cancel_g_42(void *ctx, struct rng *r)
{
	struct family *f = ctx;

	(void)r;
	f->first[0] = nursery_token_cancel_with(f->g, 42, NULL);
}

START_TEST(test_release_cancelled_descendant_shows_ancestor_and_cause)
{
	const struct race race = { .racers = 2, .run = { cancel_g_42,
		look_down_up }, .before = four_generations,
		.after = drop_four };
	struct family f = { .wrong = 0 };

	race_run(&race, &f, rounds(2000));
}
END_TEST

/* ---- children that are made meanwhile ---- */

#define MADE	200

struct maker {
	struct nursery_token *top;
	struct nursery_token *made[MADE];
	uint32_t count;			/* atomic: published */
	uint32_t cancelled;		/* atomic: the cancel has returned */
	int wrong;			/* atomic */
};

static void
make_top(void *ctx, struct rng *r)
{
	struct maker *m = ctx;

	(void)r;
	memset(m, 0, sizeof *m);
	m->top = new_token(NULL);
}

static void
make_many(void *ctx, struct rng *r)
{
	struct maker *m = ctx;
	struct nursery_token *parent;
	uint32_t i, over;

	for (i = 0; i < MADE; i++) {
		over = __atomic_load_n(&m->cancelled, __ATOMIC_SEQ_CST);
		/* Of the top, or of one made before. */
		parent = i == 0 || rng_below(r, 2) ? m->top :
		    m->made[rng_below(r, i)];
		if (nursery_token_new(&m->made[i], parent) != 0)
			break;
		/* Born after the cancel has returned: born cancelled. */
		if (over && !nursery_token_is_cancelled(m->made[i]))
			__atomic_fetch_add(&m->wrong, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&m->count, i + 1, __ATOMIC_SEQ_CST);
	}
}

static void
cancel_top(void *ctx, struct rng *r)
{
	struct maker *m = ctx;
	uint32_t there, i;

	linger(r, 4000);
	there = __atomic_load_n(&m->count, __ATOMIC_SEQ_CST);
	(void)nursery_token_cancel(m->top);
	__atomic_store_n(&m->cancelled, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < there; i++)
		if (!nursery_token_is_cancelled(m->made[i]))
			__atomic_fetch_add(&m->wrong, 1, __ATOMIC_SEQ_CST);
}

static void
drop_made(void *ctx)
{
	struct maker *m = ctx;
	uint32_t i;

	ck_assert_int_eq(m->wrong, 0);
	ck_assert_uint_eq(m->count, MADE);
	for (i = 0; i < MADE; i++) {
		ck_assert(nursery_token_is_cancelled(m->made[i]));
		nursery_token_unref(m->made[i]);
	}
	nursery_token_unref(m->top);
}

START_TEST(test_release_no_child_made_meanwhile_is_missed)
{
	static struct maker m;
	const struct race race = { .racers = 2, .run = { make_many,
		cancel_top }, .before = make_top, .after = drop_made };

	race_run(&race, &m, rounds(500));
}
END_TEST

/* The same child again and again, as one a request: made, used, dropped. */
struct recycler {
	struct nursery_token *top;
	int wrong;
};

static void
make_use_drop(void *ctx, struct rng *r)
{
	struct recycler *c = ctx;
	struct nursery_token *kid, *below;
	bool was;
	int i;

	for (i = 0; i < 100; i++) {
		was = nursery_token_is_cancelled(c->top);
		if (nursery_token_new(&kid, c->top) != 0)
			break;
		if (was && !nursery_token_is_cancelled(kid))
			__atomic_fetch_add(&c->wrong, 1, __ATOMIC_SEQ_CST);
		/* And a child of a live one is fresh. */
		if (nursery_token_is_cancelled(kid) &&
		    !nursery_token_is_cancelled(c->top))
			__atomic_fetch_add(&c->wrong, 1, __ATOMIC_SEQ_CST);
		if (rng_below(r, 4) == 0 && nursery_token_new(&below, kid)
		    == 0) {
			nursery_token_unref(kid);
			kid = below;
		}
		if (rng_below(r, 8) == 0)
			(void)nursery_token_cancel(kid);
		nursery_token_unref(kid);
	}
}

static void
cancel_recycled(void *ctx, struct rng *r)
{
	struct recycler *c = ctx;

	linger(r, 4000);
	(void)nursery_token_cancel(c->top);
}

static void
fresh_top(void *ctx, struct rng *r)
{
	(void)r;
	((struct recycler *)ctx)->top = new_token(NULL);
}

static void
drop_top(void *ctx)
{
	struct recycler *c = ctx;

	ck_assert_int_eq(c->wrong, 0);
	nursery_token_unref(c->top);
}

START_TEST(test_release_children_that_come_again_hear_the_cancel)
{
	struct recycler c = { .wrong = 0 };
	const struct race race = { .racers = 3, .run = { make_use_drop,
		make_use_drop, cancel_recycled }, .before = fresh_top,
		.after = drop_top };

	race_run(&race, &c, rounds(500));
}
END_TEST

/* ---- walks so long that others come between ---- */

#define WIDE	3000

struct wide {
	struct nursery_token *top, *branch[10], *leaf[WIDE];
	unsigned parent[WIDE];	/* of each leaf: a branch */
	int wrong[2];
};

static void
grow_wide(void *ctx, struct rng *r)
{
	struct wide *w = ctx;
	int i;

	memset(w, 0, sizeof *w);
	w->top = new_token(NULL);
	for (i = 0; i < 10; i++)
		w->branch[i] = new_token(w->top);
	for (i = 0; i < WIDE; i++) {
		w->parent[i] = rng_below(r, 10);
		w->leaf[i] = new_token(w->branch[w->parent[i]]);
	}
}

static void
cancel_wide(void *ctx, struct rng *r)
{
	struct wide *w = ctx;
	int i;

	(void)r;
	(void)nursery_token_cancel(w->top);
	for (i = 0; i < WIDE / 2; i++)
		w->wrong[0] += !nursery_token_is_cancelled(w->leaf[i]);
}

static void
cancel_branches(void *ctx, struct rng *r)
{
	struct wide *w = ctx;
	unsigned b;
	int i;

	for (b = 0; b < 10; b++) {
		linger(r, 1000);
		/* First or not: on return those below have it. */
		(void)nursery_token_cancel_with(w->branch[b], 3, NULL);
		for (i = 0; i < WIDE / 2; i++)
			w->wrong[1] += w->parent[i] == b &&
			    !nursery_token_is_cancelled(w->leaf[i]);
	}
}

/* The second half of the leaves, and new ones in their place. */
static void
drop_and_make_leaves(void *ctx, struct rng *r)
{
	struct wide *w = ctx;
	struct nursery_token *kid;
	int i;

	for (i = WIDE - 1; i >= WIDE / 2; i--) {
		nursery_token_unref(w->leaf[i]);
		if (rng_below(r, 10) == 0 && nursery_token_new(&kid,
		    w->branch[rng_below(r, 10)]) == 0)
			nursery_token_unref(kid);
	}
}

static void
fell_wide(void *ctx)
{
	struct wide *w = ctx;
	int i;

	ck_assert_int_eq(w->wrong[0], 0);
	ck_assert_int_eq(w->wrong[1], 0);
	for (i = 0; i < WIDE / 2; i++)
		nursery_token_unref(w->leaf[i]);
	for (i = 0; i < 10; i++) {
		ck_assert(nursery_token_is_cancelled(w->branch[i]));
		nursery_token_unref(w->branch[i]);
	}
	nursery_token_unref(w->top);
}

START_TEST(test_release_leaves_while_a_long_walk_is_under_way)
{
	static struct wide w;
	const struct race race = { .racers = 3, .run = { cancel_wide,
		cancel_branches, drop_and_make_leaves }, .before = grow_wide,
		.after = fell_wide };

	race_run(&race, &w, rounds(300));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("release");
	TCase *c = leakless_case("release");

	tcase_add_test(c, test_release_three_handles_at_once);
	tcase_add_test(c, test_release_parent_and_two_children_at_once);
	tcase_add_test(c, test_release_a_chain_at_once);
	tcase_add_test(c,
	    test_release_child_and_grandchild_while_the_root_is_cancelled);
	tcase_add_test(c, test_release_while_parent_and_child_are_cancelled);
	tcase_add_test(c, test_release_racing_cancels_both_reach_the_leaf);
	tcase_add_test(c,
	    test_release_cancelled_descendant_shows_ancestor_and_cause);
	tcase_add_test(c, test_release_no_child_made_meanwhile_is_missed);
	tcase_add_test(c,
	    test_release_children_that_come_again_hear_the_cancel);
	tcase_add_test(c,
	    test_release_leaves_while_a_long_walk_is_under_way);
	suite_add_tcase(s, c);
	announce_seed("stress_release");
	return run_suite(s);
}
