/* SPDX-License-Identifier: MIT */
/* Tokens of several parents: what each of them says is heard, whatever has
 * become of it, and the first of them is the cause. */
#include "support.h"

#include <stdlib.h>

static struct nursery_token *
child(struct nursery_token *parent)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, parent), 0);
	return t;
}

static struct nursery_token *
any(struct nursery_token *a, struct nursery_token *b)
{
	struct nursery_token *const parents[] = { a, b };
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new_any(&t, parents, 2), 0);
	return t;
}

static void
drop_all(struct nursery_token **t, size_t n)
{
	while (n > 0)
		nursery_token_drop(&t[--n]);
}

START_TEST(test_any_hears_each_of_its_parents)
{
	struct nursery_token *p[5], *t, *k;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	size_t i;

	for (i = 0; i < 5; i++)
		p[i] = child(NULL);
	ck_assert_int_eq(nursery_token_new_any(&t, p, 5), 0);
	k = child(t);
	ck_assert_int_eq(nursery_token_level(t), NURSERY_LIVE);
	ck_assert(nursery_token_cancel_with(p[_i], 70 + _i, "that one"));
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert(nursery_token_is_cancelled(k));
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_token_is_cancelled(p[i]),
		    (int)i == _i);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, &cause),
	    70 + _i);
	ck_assert_str_eq(cause.why, "that one");
	drop_all(p, 5);
	nursery_token_unref(k);
	nursery_token_unref(t);
}
END_TEST

/* Each level has the cause of the parent that was first at it. */
START_TEST(test_any_keeps_the_first_cause_of_each_level)
{
	struct nursery_token *a = child(NULL), *b = child(NULL);
	struct nursery_token *t = any(a, b), *k = child(t);

	ck_assert(nursery_token_raise(b, NURSERY_DRAIN, 11, NULL));
	ck_assert(nursery_token_raise(a, NURSERY_CANCEL, 12, NULL));
	ck_assert(nursery_token_raise(b, NURSERY_ABORT, 13, NULL));
	ck_assert_int_eq(nursery_token_level(k), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_DRAIN, NULL), 11);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 12);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_ABORT, NULL), 13);
	/* The parents go, the causes stay. */
	nursery_token_unref(a);
	nursery_token_unref(b);
	nursery_token_unref(t);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_DRAIN, NULL), 11);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 12);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_LIVE, NULL), 13);
	nursery_token_unref(k);
}
END_TEST

START_TEST(test_any_is_born_at_the_highest_level_of_its_parents)
{
	struct nursery_token *a = child(NULL), *b = child(NULL), *t;

	nursery_token_raise(a, NURSERY_DRAIN, 21, NULL);
	nursery_token_raise(b, NURSERY_CANCEL, 22, NULL);
	t = any(a, b);
	ck_assert_int_eq(nursery_token_level(t), NURSERY_CANCEL);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, NULL), 21);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 22);
	nursery_token_unref(t);
	nursery_token_unref(b);
	nursery_token_unref(a);
}
END_TEST

/* Raising it does not raise its parents. */
START_TEST(test_any_raises_no_parent)
{
	struct nursery_token *a = child(NULL), *b = child(NULL);
	struct nursery_token *t = any(a, b);

	ck_assert(nursery_token_raise(t, NURSERY_ABORT, 5, NULL));
	ck_assert(!nursery_token_raise(t, NURSERY_CANCEL, 5, NULL));
	ck_assert_int_eq(nursery_token_level(a), NURSERY_LIVE);
	ck_assert_int_eq(nursery_token_level(b), NURSERY_LIVE);
	ck_assert(nursery_token_cancel(a));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 5);
	nursery_token_unref(a);
	nursery_token_unref(b);
	nursery_token_unref(t);
}
END_TEST

/* Released parents are spliced out; what stands above them is heard. */
START_TEST(test_any_hears_the_ancestors_of_released_parents)
{
	struct nursery_token *g = child(NULL), *h = child(NULL);
	struct nursery_token *a = child(g), *b = child(h);
	struct nursery_token *t = any(a, b);

	nursery_token_unref(a);
	nursery_token_unref(b);
	ck_assert(nursery_token_cancel_with(_i == 0 ? g : h, 33, NULL));
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 33);
	nursery_token_unref(g);
	nursery_token_unref(h);
	nursery_token_unref(t);
}
END_TEST

/* One parent, the same twice, one above the other. */
START_TEST(test_any_takes_parents_of_all_kinds)
{
	struct nursery_token *g = child(NULL), *p = child(g), *t;
	struct nursery_token *const chain[] = { p, g, p };

	ck_assert_int_eq(nursery_token_new_any(&t, &g, 1), 0);
	nursery_token_unref(t);
	ck_assert_int_eq(nursery_token_new_any(&t, chain, 3), 0);
	ck_assert(nursery_token_cancel(g));
	ck_assert(nursery_token_is_cancelled(t));
	nursery_token_unref(t);
	nursery_token_unref(p);
	nursery_token_unref(g);
}
END_TEST

START_TEST(test_any_has_the_earliest_deadline_of_all_ancestors)
{
	const int64_t soon = nursery_after(900 * NURSERY_SECOND);
	struct nursery_token *a = child(NULL), *b = child(NULL), *s;
	struct nursery_token *t = any(a, b), *u = any(t, b), *k = child(u);

	ck_assert_int_eq(nursery_token_deadline(k), NURSERY_NEVER);
	ck_assert_int_eq(nursery_token_set_deadline(a, soon + 9), 0);
	ck_assert_int_eq(nursery_token_deadline(k), soon + 9);
	ck_assert_int_eq(nursery_token_set_deadline(b, soon), 0);
	ck_assert_int_eq(nursery_token_deadline(k), soon);
	ck_assert_int_eq(nursery_token_set_deadline(u, soon - 1), 0);
	ck_assert_int_eq(nursery_token_deadline(k), soon - 1);
	ck_assert_int_eq(nursery_token_deadline(t), soon);
	ck_assert_int_eq(nursery_token_new_shielded(&s, u, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_deadline(s), NURSERY_NEVER);
	nursery_token_unref(s);
	nursery_token_unref(k);
	nursery_token_unref(u);
	nursery_token_unref(t);
	nursery_token_unref(b);
	nursery_token_unref(a);
}
END_TEST

START_TEST(test_any_is_cancelled_by_a_parents_deadline)
{
	struct nursery_token *a = child(NULL), *b = child(NULL);
	struct nursery_token *t = any(a, b);

	ck_assert_int_eq(nursery_token_set_deadline(b, nursery_now()), 0);
	ck_assert_int_eq(nursery_token_wait(t, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ETIMEDOUT);
	ck_assert(!nursery_token_is_cancelled(a));
	nursery_token_unref(t);
	nursery_token_unref(a);
	nursery_token_unref(b);
}
END_TEST

/* No recursion: neither down, nor when they go, nor for a cause; and a
 * search that took each way, of which there are 2^n, would not end. */
START_TEST(test_any_diamonds_may_be_deep)
{
	const unsigned deep = scaled(100000);
	struct nursery_token *top = child(NULL), *t = nursery_token_ref(top);
	struct nursery_token *a, *b;
	unsigned i;

	for (i = 0; i < deep; i++) {
		a = child(t);
		b = child(t);
		nursery_token_unref(t);
		t = any(a, b);
		nursery_token_unref(a);
		nursery_token_unref(b);
	}
	ck_assert_int_eq(nursery_token_deadline(t), NURSERY_NEVER);
	ck_assert(nursery_token_cancel_with(top, 44, NULL));
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 44);
	nursery_token_unref(top);
	nursery_token_unref(t);
}
END_TEST

static void
look(void *arg)
{
	struct nursery_token **t = arg;

	ck_assert(nursery_token_is_cancelled(t[0]));
	ck_assert(nursery_token_is_cancelled(t[1]));
	t[2] = t[0];
}

/* Callbacks run when all levels are set, beyond joins, too. */
START_TEST(test_any_is_raised_before_callbacks_run)
{
	struct nursery_token *a = child(NULL), *b = child(NULL);
	struct nursery_token *t = any(a, b);
	struct nursery_token *seen[3] = { t, child(t), NULL };
	struct nursery_callback cb = { 0 };

	ck_assert_int_eq(nursery_token_on_cancel(a, &cb, look, seen), 0);
	ck_assert(nursery_token_cancel(a));
	ck_assert_ptr_eq(seen[2], t);
	nursery_callback_remove(&cb);
	nursery_token_unref(seen[1]);
	nursery_token_unref(t);
	nursery_token_unref(b);
	nursery_token_unref(a);
}
END_TEST

/* It may stand above a nursery, and below one. */
START_TEST(test_any_serves_nurseries)
{
	struct nursery *n, *m;
	struct nursery_token *a = child(NULL), *t;

	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	t = any(a, nursery_token_of(n));
	ck_assert_int_eq(nursery_open_under(&m, t, NULL), 0);
	nursery_cancel(n);
	ck_assert(nursery_token_is_cancelled(nursery_token_of(m)));
	ck_assert_int_eq(nursery_close(&m), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert(!nursery_token_is_cancelled(a));
	nursery_token_unref(t);
	nursery_token_unref(a);
}
END_TEST

START_TEST(test_any_refuses_no_parents)
{
	struct nursery_token *a = child(NULL), *out = a;
	struct nursery_token *const hole[] = { a, NULL };

	ck_assert_int_eq(nursery_token_new_any(&out, &a, 0), EINVAL);
	ck_assert_int_eq(nursery_token_new_any(&out, NULL, 1), EINVAL);
	ck_assert_int_eq(nursery_token_new_any(&out, hole, 2), EINVAL);
	ck_assert_int_eq(nursery_token_new_any(NULL, &a, 1), EINVAL);
	ck_assert_ptr_eq(out, a);
	nursery_token_unref(a);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("any");
	TCase *c = leakless_case("any");

	tcase_add_loop_test(c, test_any_hears_each_of_its_parents, 0, 5);
	tcase_add_test(c, test_any_keeps_the_first_cause_of_each_level);
	tcase_add_test(c, test_any_is_born_at_the_highest_level_of_its_parents);
	tcase_add_test(c, test_any_raises_no_parent);
	tcase_add_loop_test(c, test_any_hears_the_ancestors_of_released_parents,
	    0, 2);
	tcase_add_test(c, test_any_takes_parents_of_all_kinds);
	tcase_add_test(c, test_any_has_the_earliest_deadline_of_all_ancestors);
	tcase_add_test(c, test_any_is_cancelled_by_a_parents_deadline);
	tcase_add_test(c, test_any_diamonds_may_be_deep);
	tcase_add_test(c, test_any_is_raised_before_callbacks_run);
	tcase_add_test(c, test_any_serves_nurseries);
	tcase_add_test(c, test_any_refuses_no_parents);
	suite_add_tcase(s, c);
	return run_suite(s);
}
