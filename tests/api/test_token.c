/* SPDX-License-Identifier: MIT */
/* The tree of tokens: levels, causes, birth and release. */
#include "tasks.h"

#include <stdlib.h>

static void
unref_all(struct nursery_token **t, int n)
{
	while (n-- > 0)
		nursery_token_unref(t[n]);
}

static uint64_t
live_tokens(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	ck_assert_int_eq(nursery_get_stats(&s), 0);
	return s.tokens;
}

/* ---- levels ---- */

START_TEST(test_token_fresh_is_live)
{
	struct nursery_token *t = new_token(NULL);

	ck_assert(!nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_level(t), NURSERY_LIVE);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, NULL), 0);
	ck_assert_int_eq(nursery_token_wait(t, 0), ETIMEDOUT);
	ck_assert(nursery_token_deadline(t) == NURSERY_NEVER);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_cancel_is_true_for_the_first_only)
{
	struct nursery_token *t = new_token(NULL);

	ck_assert(nursery_token_cancel(t));
	ck_assert(!nursery_token_cancel(t));
	ck_assert(nursery_token_raise(t, NURSERY_ABORT, 7, "more"));
	ck_assert(!nursery_token_cancel_with(t, 8, "late"));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_ABORT, NULL), 7);
	nursery_token_unref(t);
}
END_TEST

/* A child that its parent cancelled was not raised by a cancel of its own. */
START_TEST(test_token_cancel_of_a_child_cancelled_from_above_is_false)
{
	struct nursery_token *p = new_token(NULL), *c = new_token(p);

	ck_assert(nursery_token_cancel(p));
	ck_assert(!nursery_token_cancel(c));
	ck_assert(nursery_token_raise(c, NURSERY_ABORT, 0, NULL));
	ck_assert_int_eq(nursery_token_level(p), NURSERY_CANCEL);
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_level_only_rises)
{
	struct nursery_token *t = new_token(NULL);
	int level, lower;

	for (level = NURSERY_DRAIN; level <= NURSERY_ABORT; level++) {
		ck_assert(nursery_token_raise(t, (enum nursery_level)level,
		    level, NULL));
		for (lower = NURSERY_DRAIN; lower <= level; lower++)
			ck_assert(!nursery_token_raise(t,
			    (enum nursery_level)lower, 9, NULL));
		ck_assert_int_eq(nursery_token_level(t), level);
		ck_assert(nursery_token_is_cancelled(t) == (level >=
		    NURSERY_CANCEL));
	}
	nursery_token_unref(t);
}
END_TEST

/* The ABI of bindings: the level is in bits 0 and 1 of the first word. */
START_TEST(test_token_first_word_has_the_level)
{
	struct nursery_token *t = new_token(NULL);
	const uint32_t *word = (const uint32_t *)(const void *)t;
	int level;

	for (level = NURSERY_LIVE; level <= NURSERY_ABORT; level++) {
		(void)nursery_token_raise(t, (enum nursery_level)level, 0,
		    NULL);
		ck_assert_int_eq((int)(__atomic_load_n(word,
		    __ATOMIC_ACQUIRE) & 3), level);
	}
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_cancel_goes_down_only)
{
	struct nursery_token *p = new_token(NULL), *c = new_token(p),
	    *g = new_token(c), *sibling = new_token(p);

	nursery_token_cancel_with(c, 42, "because");
	ck_assert(!nursery_token_is_cancelled(p));
	ck_assert(!nursery_token_is_cancelled(sibling));
	ck_assert(nursery_token_is_cancelled(g));
	ck_assert_int_eq(nursery_token_cause(g, NURSERY_CANCEL, NULL), 42);
	nursery_token_unref(g);
	nursery_token_unref(sibling);
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

/*
 *	r - a - b - c - e		cancel b: b, c, d, e, f, g
 *	  \   \   \   \ f - g
 *	   s   t    d
 */
START_TEST(test_token_cancel_reaches_all_descendants_and_no_other)
{
	enum { R, A, B, C, D, E, F, G, S, T, COUNT };
	static const int parent[COUNT] = { -1, R, A, B, B, C, C, F, R, A };
	struct nursery_token *t[COUNT];
	struct nursery_callback cb[COUNT] = { 0 };
	int ran = 0, i;

	for (i = 0; i < COUNT; i++) {
		t[i] = new_token(parent[i] < 0 ? NULL : t[parent[i]]);
		ck_assert_int_eq(nursery_token_on_cancel(t[i], &cb[i],
		    count_up, &ran), 0);
	}
	ck_assert(nursery_token_cancel(t[B]));
	ck_assert_int_eq(ran, 6);
	for (i = 0; i < COUNT; i++) {
		ck_assert(nursery_token_is_cancelled(t[i]) == (i >= B &&
		    i <= G));
		nursery_callback_remove(&cb[i]);
	}
	ck_assert_int_eq(ran, 6);
	unref_all(t, COUNT);
}
END_TEST

/* ---- identity ---- */

START_TEST(test_token_ref_is_the_same_token)
{
	struct nursery_token *t = new_token(NULL), *c = new_token(t),
	    *other = new_token(NULL), *same = nursery_token_ref(t);

	ck_assert_ptr_eq(same, t);
	ck_assert_ptr_ne(c, t);
	ck_assert_ptr_ne(other, t);
	nursery_token_unref(t);
	ck_assert(nursery_token_cancel(same));
	ck_assert(nursery_token_is_cancelled(c));
	ck_assert(!nursery_token_is_cancelled(other));
	nursery_token_unref(same);
	nursery_token_unref(c);
	nursery_token_unref(other);
}
END_TEST

/* ---- causes ---- */

START_TEST(test_token_cause_says_who_and_why)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = new_token(NULL);
	int64_t before = nursery_now();

	nursery_token_raise(t, NURSERY_DRAIN, NURSERY_SIGNAL(15), "term");
	nursery_token_cancel_with(t, EIO, "disk");
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, &cause),
	    NURSERY_SIGNAL(15));
	ck_assert_str_eq(cause.why, "term");
	ck_assert_int_eq(cause.level, NURSERY_DRAIN);
	ck_assert(cause.when >= before && cause.when <= nursery_now());
	ck_assert(cause.by_task == 0 && cause.by_pid == 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, &cause), EIO);
	ck_assert_str_eq(cause.why, "disk");
	ck_assert_int_eq(cause.code, EIO);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_code_0_means_ecanceled)
{
	struct nursery_token *t = new_token(NULL);

	ck_assert(nursery_token_raise(t, NURSERY_DRAIN, 0, NULL));
	ck_assert(nursery_token_cancel_with(t, 0, NULL));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_levels_passed_over_have_the_same_cause)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = new_token(NULL), *c = new_token(t);
	int level;

	ck_assert(nursery_token_raise(t, NURSERY_ABORT, 17, "at once"));
	for (level = NURSERY_LIVE; level <= NURSERY_ABORT; level++) {
		ck_assert_int_eq(nursery_token_cause(c,
		    (enum nursery_level)level, &cause), 17);
		ck_assert_int_eq(cause.level, NURSERY_ABORT);
		ck_assert_str_eq(cause.why, "at once");
	}
	nursery_token_unref(c);
	nursery_token_unref(t);
}
END_TEST

/* Each token keeps the first cause of each level, wherever it came from. */
START_TEST(test_token_first_cause_of_each_level_stays)
{
	struct nursery_token *p = new_token(NULL), *c = new_token(p);

	nursery_token_cancel_with(c, 1, NULL);
	nursery_token_raise(p, NURSERY_DRAIN, 2, NULL);
	nursery_token_cancel_with(p, 3, NULL);
	nursery_token_raise(p, NURSERY_ABORT, 4, NULL);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_DRAIN, NULL), 1);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_CANCEL, NULL), 1);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_ABORT, NULL), 4);
	ck_assert_int_eq(nursery_token_cause(p, NURSERY_DRAIN, NULL), 2);
	ck_assert_int_eq(nursery_token_cause(p, NURSERY_CANCEL, NULL), 3);
	nursery_token_unref(p);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_ABORT, NULL), 4);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_CANCEL, NULL), 1);
	nursery_token_unref(c);
}
END_TEST

START_TEST(test_token_cause_below_the_level_is_0_and_writes_nothing)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = new_token(NULL);

	cause.code = 77;
	nursery_token_raise(t, NURSERY_DRAIN, 5, NULL);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, &cause), 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_ABORT, &cause), 0);
	ck_assert_int_eq(cause.code, 77);
	nursery_token_unref(t);
}
END_TEST

/* Programs built with an older, shorter struct get what fits in it. */
START_TEST(test_token_cause_fills_as_far_as_size_reaches)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = new_token(NULL);

	cause.size = offsetof(struct nursery_cause, why);
	cause.by_pid = 99;
	nursery_token_cancel_with(t, 5, "x");
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, &cause), 5);
	ck_assert_int_eq(cause.code, 5);
	ck_assert_uint_eq(cause.size, offsetof(struct nursery_cause, why));
	ck_assert_ptr_null(cause.why);
	ck_assert_int_eq(cause.by_pid, 99);
	nursery_token_unref(t);
}
END_TEST

/* ---- birth ---- */

START_TEST(test_token_child_of_cancelled_is_born_cancelled)
{
	struct nursery_token *p = new_token(NULL), *c, *g;

	nursery_token_raise(p, NURSERY_ABORT, 9, NULL);
	c = new_token(p);
	g = new_token(c);
	ck_assert_int_eq(nursery_token_level(c), NURSERY_ABORT);
	nursery_token_unref(p);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_ABORT, NULL), 9);
	ck_assert_int_eq(nursery_token_wait(c, NURSERY_NEVER), 0);
	nursery_token_unref(c);
	ck_assert_int_eq(nursery_token_level(g), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_cause(g, NURSERY_ABORT, NULL), 9);
	nursery_token_unref(g);
}
END_TEST

START_TEST(test_token_child_of_draining_is_born_draining)
{
	struct nursery_token *p = new_token(NULL), *c;

	nursery_token_raise(p, NURSERY_DRAIN, 9, NULL);
	c = new_token(p);
	ck_assert_int_eq(nursery_token_level(c), NURSERY_DRAIN);
	ck_assert(!nursery_token_is_cancelled(c));
	nursery_token_cancel(p);
	ck_assert(nursery_token_is_cancelled(c));
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

/* A cancelled child does not keep its parent from having live ones. */
START_TEST(test_token_live_parent_of_cancelled_child_has_live_children)
{
	struct nursery_callback cb[3] = { 0 };
	struct nursery_token *p = new_token(NULL), *c = new_token(p), *late;
	int ran = 0;

	ck_assert_int_eq(nursery_token_on_cancel(p, &cb[0], count_up, &ran),
	    0);
	ck_assert_int_eq(nursery_token_on_cancel(c, &cb[1], count_up, &ran),
	    0);
	ck_assert(nursery_token_cancel(c));
	ck_assert_int_eq(ran, 1);
	ck_assert(!nursery_token_is_cancelled(p));
	late = new_token(p);
	ck_assert(!nursery_token_is_cancelled(late));
	ck_assert_int_eq(nursery_token_on_cancel(late, &cb[2], count_up,
	    &ran), 0);
	ck_assert(nursery_token_cancel(p));
	ck_assert_int_eq(ran, 3);
	nursery_token_unref(late);
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

/* ---- new_at and shields: who hears what ---- */

static unsigned
heard(unsigned at, unsigned level)
{
	if (level < at)
		return NURSERY_LIVE;
	return level < NURSERY_CANCEL ? NURSERY_CANCEL : level;
}

/* The loop variable is the level it listens for, 1 to 3. */
START_TEST(test_token_at_a_level_is_cancelled_by_it)
{
	struct nursery_token *p, *t, *k, *late;
	unsigned level;

	for (level = NURSERY_DRAIN; level <= NURSERY_ABORT; level++) {
		p = new_token(NULL);
		ck_assert_int_eq(nursery_token_new_at(&t, p,
		    (enum nursery_level)_i), 0);
		k = new_token(t);
		ck_assert(nursery_token_raise(p, (enum nursery_level)level,
		    77, "p"));
		ck_assert_int_eq(nursery_token_new_at(&late, p,
		    (enum nursery_level)_i), 0);
		ck_assert_int_eq(nursery_token_level(t), heard((unsigned)_i,
		    level));
		ck_assert_int_eq(nursery_token_level(k),
		    nursery_token_level(t));
		ck_assert_int_eq(nursery_token_level(late),
		    nursery_token_level(t));
		ck_assert_int_eq(nursery_token_cause(k, NURSERY_LIVE, NULL),
		    level >= (unsigned)_i ? 77 : 0);
		nursery_token_unref(t);
		nursery_token_unref(p);
		ck_assert_int_eq(nursery_token_cause(k, NURSERY_LIVE, NULL),
		    level >= (unsigned)_i ? 77 : 0);
		nursery_token_unref(late);
		nursery_token_unref(k);
	}
}
END_TEST

/* The one that tells the child when to stop goes; the child still hears. */
START_TEST(test_token_at_drain_is_heard_through_when_released)
{
	struct nursery_token *p = new_token(NULL), *t, *k;

	ck_assert_int_eq(nursery_token_new_at(&t, p, NURSERY_DRAIN), 0);
	k = new_token(t);
	nursery_token_unref(t);
	nursery_token_raise(p, NURSERY_DRAIN, 8, NULL);
	ck_assert_int_eq(nursery_token_level(k), NURSERY_CANCEL);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 8);
	nursery_token_unref(k);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_shield_hears_only_abort)
{
	struct nursery_token *p = new_token(NULL), *s, *k;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	k = new_token(s);
	nursery_token_raise(p, NURSERY_DRAIN, 0, NULL);
	nursery_token_cancel(p);
	ck_assert_int_eq(nursery_token_level(s), NURSERY_LIVE);
	ck_assert_int_eq(nursery_token_level(k), NURSERY_LIVE);
	nursery_token_raise(p, NURSERY_ABORT, 3, NULL);
	ck_assert_int_eq(nursery_token_level(s), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_level(k), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_ABORT, NULL), 3);
	nursery_token_unref(k);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

/* Clean-up begins when the parent is cancelled already. */
START_TEST(test_token_shield_below_cancelled_is_born_live)
{
	struct nursery_token *p = new_token(NULL), *s;

	nursery_token_cancel(p);
	ck_assert_int_eq(nursery_token_new_shielded(&s, p,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	ck_assert_int_eq(nursery_token_level(s), NURSERY_LIVE);
	ck_assert(nursery_token_cancel(s));
	nursery_token_unref(s);
	nursery_token_raise(p, NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_level(s), NURSERY_ABORT);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_shield_can_be_raised_itself)
{
	struct nursery_token *p = new_token(NULL), *s, *k;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	k = new_token(s);
	ck_assert(nursery_token_cancel_with(s, 12, NULL));
	ck_assert(nursery_token_is_cancelled(k));
	ck_assert(!nursery_token_is_cancelled(p));
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 12);
	nursery_token_unref(k);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

/* The handle of the shield goes; those behind it stay behind it. */
START_TEST(test_token_released_shield_still_shields)
{
	struct nursery_token *p = new_token(NULL), *s, *k;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	k = new_token(s);
	nursery_token_unref(s);
	nursery_token_cancel(p);
	ck_assert(!nursery_token_is_cancelled(k));
	nursery_token_raise(p, NURSERY_ABORT, 0, NULL);
	ck_assert(nursery_token_is_cancelled(k));
	nursery_token_unref(k);
	nursery_token_unref(p);
}
END_TEST

/* A shield whose parent is gone behaves as a root. */
START_TEST(test_token_shield_outlives_its_parent)
{
	struct nursery_token *p = new_token(NULL), *s;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p,
	    nursery_after(NURSERY_MS)), 0);
	nursery_token_unref(p);
	ck_assert_int_eq(nursery_token_wait(s, nursery_after(3 *
	    NURSERY_MS)), ETIMEDOUT);
	ck_assert(nursery_token_cancel(s));
	nursery_token_unref(s);
}
END_TEST

/* ---- release ---- */

/* The middle goes first; its child must go on hearing the root. */
START_TEST(test_token_grandchild_outlives_released_middle)
{
	struct nursery_callback cb[2] = { 0 };
	struct nursery_token *root = new_token(NULL), *middle =
	    new_token(root), *leaf = new_token(middle);
	int ran = 0;

	nursery_token_on_cancel(root, &cb[0], count_up, &ran);
	nursery_token_on_cancel(leaf, &cb[1], count_up, &ran);
	nursery_token_unref(middle);
	ck_assert(!nursery_token_is_cancelled(leaf));
	nursery_token_cancel_with(root, 5, NULL);
	ck_assert_int_eq(ran, 2);
	ck_assert(nursery_token_is_cancelled(leaf));
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL), 5);
	nursery_token_unref(root);
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL), 5);
	nursery_token_unref(leaf);
}
END_TEST

START_TEST(test_token_release_never_cancels)
{
	struct nursery_token *p = new_token(NULL), *c[3];
	int i;

	for (i = 0; i < 3; i++)
		c[i] = new_token(p);
	nursery_token_unref(p);
	for (i = 0; i < 3; i++) {
		ck_assert(!nursery_token_is_cancelled(c[i]));
		nursery_token_unref(c[i]);
	}
}
END_TEST

/* The orphans of a released root hear nothing of each other. */
START_TEST(test_token_orphans_are_roots)
{
	struct nursery_token *p = new_token(NULL), *a = new_token(p),
	    *b = new_token(p), *below = new_token(a);

	nursery_token_unref(p);
	nursery_token_cancel(a);
	ck_assert(nursery_token_is_cancelled(below));
	ck_assert(!nursery_token_is_cancelled(b));
	nursery_token_unref(below);
	nursery_token_unref(a);
	nursery_token_unref(b);
}
END_TEST

/* First to last (0), last to first (1), the middle first (2). */
START_TEST(test_token_children_may_go_in_any_order)
{
	static const int orders[3][3] = { { 0, 1, 2 }, { 2, 1, 0 },
		{ 1, 0, 2 } };
	struct nursery_token *p = new_token(NULL), *c[3], *still;
	int i;

	for (i = 0; i < 3; i++)
		c[i] = new_token(p);
	for (i = 0; i < 3; i++) {
		nursery_token_unref(c[orders[_i][i]]);
		ck_assert(!nursery_token_is_cancelled(p));
		still = new_token(p);
		nursery_token_unref(still);
	}
	still = new_token(p);
	nursery_token_cancel(p);
	ck_assert(nursery_token_is_cancelled(still));
	nursery_token_unref(still);
	nursery_token_unref(p);
}
END_TEST

/* A chain in which each stage makes the next and ends.  Were the ended ones
 * kept, this would take 64 MB. */
START_TEST(test_token_hand_off_chain_needs_no_memory)
{
	struct nursery_token *root = new_token(NULL), *t = new_token(root),
	    *next;
	long before = resident_memory();
	unsigned i;

	for (i = 0; i < scaled(1000000); i++) {
		next = new_token(t);
		nursery_token_unref(t);
		t = next;
	}
	ck_assert_uint_eq(live_tokens(), 2);
	if (!costs_are_distorted())
		ck_assert_int_lt(resident_memory() - before, 8 * 1024);
	nursery_token_cancel_with(root, 6, NULL);
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 6);
	nursery_token_unref(t);
	nursery_token_unref(root);
}
END_TEST

/*
 * A tree of which three quarters are inner tokens.  When their handles are
 * given back at most as many stay as there are leaves, so half of all
 * memory is free again: new tokens need none.
 */
START_TEST(test_token_dead_inner_tokens_never_outnumber_leaves)
{
	const unsigned count = scaled(400000);
	struct nursery_token **t = calloc(count, sizeof *t), **more;
	bool *inner = calloc(count, sizeof *inner);
	unsigned i, up, leaves = 0, fresh;
	struct rng r;
	long before;

	rng_init(&r, 7);
	t[0] = new_token(NULL);
	for (i = 1; i < count; i++) {
		up = i - 1 - rng_below(&r, i < 3 ? i : 3);
		t[i] = new_token(t[up]);
		inner[up] = true;
	}
	for (i = 1; i < count; i++) {
		leaves += !inner[i];
		if (inner[i])
			nursery_token_unref(t[i]);
	}
	ck_assert_uint_lt(leaves, count / 3);
	fresh = count - 2 * leaves - 100;
	more = calloc(fresh, sizeof *more);
	for (i = 0; i < fresh; i++)
		more[i] = t[0];		/* touched, so that it counts now */
	before = resident_memory();
	for (i = 0; i < fresh; i++)
		more[i] = new_token(NULL);
	if (!costs_are_distorted())
		ck_assert_int_lt(resident_memory() - before, 1024);
	nursery_token_cancel(t[0]);
	for (i = 1; i < count; i++) {
		if (inner[i])
			continue;
		ck_assert(nursery_token_is_cancelled(t[i]));
		nursery_token_unref(t[i]);
	}
	nursery_token_unref(t[0]);
	for (i = 0; i < fresh; i++)
		nursery_token_unref(more[i]);
	free(more);
	free(inner);
	free(t);
}
END_TEST

/* ---- without recursion: a million deep, a million wide ---- */

struct deep {
	struct nursery_token **t;
	size_t count;
	int order;
	bool ok;
};

static void
release_in_order(const struct deep *d)
{
	size_t i, n = d->count;

	for (i = 0; i < n; i++)
		if (d->order == 0)
			nursery_token_unref(d->t[i]);
		else if (d->order == 1)
			nursery_token_unref(d->t[n - 1 - i]);
		else if (i % 2 == 0)
			nursery_token_unref(d->t[i]);
	for (i = n; d->order == 2 && i-- > 0;)
		if (i % 2 == 1)
			nursery_token_unref(d->t[i]);
}

static void *
deep_chain(void *arg)
{
	struct deep *d = arg;
	size_t i;

	d->ok = true;
	for (i = 0; i < d->count && d->ok; i++)
		d->ok = nursery_token_new(&d->t[i], i == 0 ? NULL :
		    d->t[i - 1]) == 0;
	if (!d->ok)
		return NULL;
	d->ok = nursery_token_cancel_with(d->t[0], 31, NULL) &&
	    nursery_token_is_cancelled(d->t[d->count - 1]) &&
	    nursery_token_cause(d->t[d->count - 1], NURSERY_CANCEL, NULL) ==
	    31;
	release_in_order(d);
	return NULL;
}

/* From the top (0), from the bottom (1), every second one first (2). */
START_TEST(test_token_chain_of_a_million_on_64k_of_stack)
{
	struct deep d = { .count = scaled(1000000), .order = _i };
	pthread_attr_t a;
	pthread_t id;

	d.t = calloc(d.count, sizeof *d.t);
	ck_assert_ptr_nonnull(d.t);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 * 1024);
	ck_assert_int_eq(pthread_create(&id, &a, deep_chain, &d), 0);
	(void)end_thread(id);
	pthread_attr_destroy(&a);
	free(d.t);
	ck_assert(d.ok);
}
END_TEST

START_TEST(test_token_cancel_of_a_million_children)
{
	size_t count = scaled(1000000), i;
	struct nursery_token *p = new_token(NULL), **c = calloc(count,
	    sizeof *c);

	ck_assert_ptr_nonnull(c);
	for (i = 0; i < count; i++)
		c[i] = new_token(p);
	ck_assert(nursery_token_cancel(p));
	for (i = 0; i < count; i++) {
		ck_assert(nursery_token_is_cancelled(c[i]));
		nursery_token_unref(c[i]);
	}
	nursery_token_unref(p);
	free(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("token");
	TCase *c = leakless_case("token");

	tcase_add_test(c, test_token_fresh_is_live);
	tcase_add_test(c, test_token_cancel_is_true_for_the_first_only);
	tcase_add_test(c,
	    test_token_cancel_of_a_child_cancelled_from_above_is_false);
	tcase_add_test(c, test_token_level_only_rises);
	tcase_add_test(c, test_token_first_word_has_the_level);
	tcase_add_test(c, test_token_cancel_goes_down_only);
	tcase_add_test(c,
	    test_token_cancel_reaches_all_descendants_and_no_other);
	tcase_add_test(c, test_token_ref_is_the_same_token);
	tcase_add_test(c, test_token_cause_says_who_and_why);
	tcase_add_test(c, test_token_code_0_means_ecanceled);
	tcase_add_test(c, test_token_levels_passed_over_have_the_same_cause);
	tcase_add_test(c, test_token_first_cause_of_each_level_stays);
	tcase_add_test(c,
	    test_token_cause_below_the_level_is_0_and_writes_nothing);
	tcase_add_test(c, test_token_cause_fills_as_far_as_size_reaches);
	tcase_add_test(c, test_token_child_of_cancelled_is_born_cancelled);
	tcase_add_test(c, test_token_child_of_draining_is_born_draining);
	tcase_add_test(c,
	    test_token_live_parent_of_cancelled_child_has_live_children);
	tcase_add_loop_test(c, test_token_at_a_level_is_cancelled_by_it,
	    NURSERY_DRAIN, NURSERY_ABORT + 1);
	tcase_add_test(c, test_token_at_drain_is_heard_through_when_released);
	tcase_add_test(c, test_token_shield_hears_only_abort);
	tcase_add_test(c, test_token_shield_below_cancelled_is_born_live);
	tcase_add_test(c, test_token_shield_can_be_raised_itself);
	tcase_add_test(c, test_token_released_shield_still_shields);
	tcase_add_test(c, test_token_shield_outlives_its_parent);
	tcase_add_test(c, test_token_grandchild_outlives_released_middle);
	tcase_add_test(c, test_token_release_never_cancels);
	tcase_add_test(c, test_token_orphans_are_roots);
	tcase_add_loop_test(c, test_token_children_may_go_in_any_order, 0, 3);
	tcase_add_test(c, test_token_hand_off_chain_needs_no_memory);
	tcase_add_test(c,
	    test_token_dead_inner_tokens_never_outnumber_leaves);
	tcase_add_loop_test(c, test_token_chain_of_a_million_on_64k_of_stack,
	    0, 3);
	tcase_add_test(c, test_token_cancel_of_a_million_children);
	suite_add_tcase(s, c);
	announce_seed("test_token");
	return run_suite(s);
}
