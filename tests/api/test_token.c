/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdlib.h>
#include <unistd.h>

static struct nursery_token *
fresh(struct nursery_token *parent)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, parent), 0);
	return t;
}

static void
count_up(void *arg)
{
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
}

START_TEST(test_token_fresh_is_live)
{
	struct nursery_token *t = fresh(NULL);

	ck_assert(!nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, NULL), 0);
	ck_assert_int_eq(nursery_token_wait(t, 0), ETIMEDOUT);
	ck_assert(nursery_token_deadline(t) == NURSERY_NEVER);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_cancel_is_true_for_the_first_only)
{
	struct nursery_token *t = fresh(NULL);

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

START_TEST(test_token_cancel_goes_down_only)
{
	struct nursery_token *p = fresh(NULL), *c = fresh(p), *g = fresh(c),
	    *sibling = fresh(p);

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

START_TEST(test_token_cause_says_who_and_why)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = fresh(NULL);
	int64_t before = nursery_now();

	nursery_token_raise(t, NURSERY_DRAIN, NURSERY_SIGNAL(15), "term");
	nursery_token_cancel_with(t, EIO, "disk");
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, &cause),
	    NURSERY_SIGNAL(15));
	ck_assert_str_eq(cause.why, "term");
	ck_assert_int_eq(cause.level, NURSERY_DRAIN);
	ck_assert(cause.when >= before && cause.by_task == 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, &cause), EIO);
	ck_assert_str_eq(cause.why, "disk");
	nursery_token_unref(t);
}
END_TEST

/* The middle goes first; its child must go on hearing the root. */
START_TEST(test_token_grandchild_outlives_released_middle)
{
	struct nursery_token *root = fresh(NULL), *middle = fresh(root),
	    *leaf = fresh(middle);

	nursery_token_unref(middle);
	ck_assert(!nursery_token_is_cancelled(leaf));
	nursery_token_cancel_with(root, 5, NULL);
	ck_assert(nursery_token_is_cancelled(leaf));
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL), 5);
	nursery_token_unref(root);
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL), 5);
	nursery_token_unref(leaf);
}
END_TEST

START_TEST(test_token_child_of_cancelled_is_born_cancelled)
{
	struct nursery_token *p = fresh(NULL), *c;

	nursery_token_raise(p, NURSERY_ABORT, 9, NULL);
	c = fresh(p);
	ck_assert_int_eq(nursery_token_level(c), NURSERY_ABORT);
	nursery_token_unref(p);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_ABORT, NULL), 9);
	ck_assert_int_eq(nursery_token_wait(c, NURSERY_NEVER), 0);
	nursery_token_unref(c);
}
END_TEST

START_TEST(test_token_release_never_cancels)
{
	struct nursery_token *p = fresh(NULL), *c[3];
	int i;

	for (i = 0; i < 3; i++)
		c[i] = fresh(p);
	nursery_token_unref(p);
	for (i = 0; i < 3; i++) {
		ck_assert(!nursery_token_is_cancelled(c[i]));
		nursery_token_unref(c[i]);
	}
}
END_TEST

START_TEST(test_token_at_drain_is_cancelled_by_drain)
{
	struct nursery_token *p = fresh(NULL), *t, *k;

	ck_assert_int_eq(nursery_token_new_at(&t, p, NURSERY_DRAIN), 0);
	k = fresh(t);
	nursery_token_raise(p, NURSERY_DRAIN, 77, "drain");
	ck_assert_int_eq(nursery_token_level(t), NURSERY_CANCEL);
	ck_assert_int_eq(nursery_token_level(p), NURSERY_DRAIN);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 77);
	nursery_token_unref(t);
	nursery_token_unref(p);
	ck_assert_int_eq(nursery_token_cause(k, NURSERY_CANCEL, NULL), 77);
	nursery_token_unref(k);
}
END_TEST

START_TEST(test_token_shield_hears_only_abort)
{
	struct nursery_token *p = fresh(NULL), *s, *k;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p, NURSERY_NEVER), 0);
	k = fresh(s);
	nursery_token_cancel(p);
	ck_assert(!nursery_token_is_cancelled(s));
	ck_assert(!nursery_token_is_cancelled(k));
	nursery_token_raise(p, NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(nursery_token_level(k), NURSERY_ABORT);
	nursery_token_unref(k);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_shield_falls_at_its_bound)
{
	struct nursery_token *p = fresh(NULL), *s;

	ck_assert_int_eq(nursery_token_new_shielded(&s, p,
	    nursery_after(20 * NURSERY_MS)), 0);
	nursery_token_cancel_with(p, 6, NULL);
	ck_assert_int_eq(nursery_token_wait(s, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_cause(s, NURSERY_CANCEL, NULL), 6);
	nursery_token_unref(s);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_deadline_fires_as_cancel)
{
	struct nursery_token *p = fresh(NULL), *c = fresh(p);
	int64_t soon = nursery_after(10 * NURSERY_MS);

	ck_assert_int_eq(nursery_token_set_deadline(p,
	    nursery_after(NURSERY_SECOND * 3600)), 0);
	ck_assert_int_eq(nursery_token_set_deadline(p, soon), 0);
	ck_assert(nursery_token_deadline(c) == soon);
	ck_assert_int_eq(nursery_token_wait(c, NURSERY_NEVER), 0);
	ck_assert(nursery_now() >= soon);
	ck_assert_int_eq(nursery_token_cause(c, NURSERY_CANCEL, NULL),
	    ETIMEDOUT);
	nursery_token_unref(c);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_token_callback_runs_once_after_the_levels)
{
	struct nursery_token *t = fresh(NULL);
	struct nursery_callback a = { 0 }, late = { 0 };
	int ran = 0;

	ck_assert_int_eq(nursery_token_on_cancel(t, &a, count_up, &ran), 0);
	nursery_token_raise(t, NURSERY_DRAIN, 0, NULL);
	ck_assert_int_eq(ran, 0);
	nursery_token_cancel(t);
	nursery_token_raise(t, NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_token_on_cancel(t, &late, count_up, &ran),
	    0);
	ck_assert_int_eq(ran, 2);
	nursery_callback_remove(&a);
	nursery_callback_remove(&late);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_removed_callback_never_runs)
{
	struct nursery_token *t = fresh(NULL);
	struct nursery_callback a = { 0 }, b = { 0 };
	int ran = 0;

	nursery_token_on_cancel(t, &a, count_up, &ran);
	nursery_token_on_cancel(t, &b, count_up, &ran);
	nursery_callback_remove(&a);
	ck_assert_int_eq(nursery_callback_try_remove(&b), 0);
	nursery_token_cancel(t);
	ck_assert_int_eq(ran, 0);
	nursery_token_unref(t);
}
END_TEST

struct self_removal {
	struct nursery_callback *cb;
	struct nursery_token *t;
	int ran;
};

/* Everything that a callback may do, on its own token. */
static void
reentrant(void *arg)
{
	struct self_removal *s = arg;
	struct nursery_token *kid;

	s->ran++;
	nursery_callback_remove(s->cb);
	free(s->cb);
	ck_assert(!nursery_token_cancel(s->t));
	ck_assert_int_eq(nursery_token_new(&kid, s->t), 0);
	ck_assert(nursery_token_is_cancelled(kid));
	nursery_token_unref(kid);
}

START_TEST(test_token_callback_may_free_itself)
{
	struct self_removal s = { calloc(1, sizeof *s.cb), fresh(NULL), 0 };

	nursery_token_on_cancel(s.t, s.cb, reentrant, &s);
	nursery_token_cancel(s.t);
	ck_assert_int_eq(s.ran, 1);
	nursery_token_unref(s.t);
}
END_TEST

/* tokio-util has no test of its guards: leaving the scope cancels. */
START_TEST(test_token_guard_cancels_on_leaving)
{
	struct nursery_token *t = fresh(NULL);

	{
		nursery_guard_auto struct nursery_token *g =
		    nursery_token_ref(t);
		ck_assert(!nursery_token_is_cancelled(g));
	}
	ck_assert(nursery_token_is_cancelled(t));
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_token_taken_guard_is_disarmed)
{
	struct nursery_token *t = fresh(NULL), *kept = NULL;

	{
		nursery_guard_auto struct nursery_token *g =
		    nursery_token_ref(t);
		kept = nursery_token_take(&g);
	}
	ck_assert(!nursery_token_is_cancelled(t));
	nursery_token_drop(&kept);
	ck_assert_ptr_null(kept);
	nursery_token_unref(t);
}
END_TEST

static void *
deep_chain(void *unused)
{
	struct nursery_token **t = malloc(1000000 * sizeof *t);
	size_t i;

	t[0] = fresh(NULL);
	for (i = 1; i < 1000000; i++)
		t[i] = fresh(t[i - 1]);
	nursery_token_cancel(t[0]);
	ck_assert(nursery_token_is_cancelled(t[999999]));
	for (i = 0; i < 1000000; i += 2)
		nursery_token_unref(t[i]);
	for (i = 999999; i < 1000000; i -= 2)
		nursery_token_unref(t[i]);
	free(t);
	return unused;
}

START_TEST(test_token_chain_of_a_million_on_64k_of_stack)
{
	pthread_attr_t a;
	pthread_t id;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 * 1024);
	ck_assert_int_eq(pthread_create(&id, &a, deep_chain, NULL), 0);
	pthread_join(id, NULL);
	pthread_attr_destroy(&a);
}
END_TEST

struct racer {
	pthread_barrier_t *start;
	struct nursery_token *t, *below;
	int ok;
};

static void *
cancel_and_look(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->start);
	nursery_token_cancel(r->t);
	r->ok = nursery_token_is_cancelled(r->below);
	return NULL;
}

/* G, P, C, D: two cancels race, and each that returns has told D. */
START_TEST(test_token_racing_cancels_both_reach_the_leaf)
{
	struct nursery_token *g, *p, *c, *d;
	pthread_barrier_t start;
	struct racer a, b;
	pthread_t id[2];
	int round;

	for (round = 0; round < 500; round++) {
		g = fresh(NULL);
		p = fresh(g);
		c = fresh(p);
		d = fresh(c);
		pthread_barrier_init(&start, NULL, 2);
		a = (struct racer){ &start, g, d, 0 };
		b = (struct racer){ &start, p, d, 0 };
		pthread_create(&id[0], NULL, cancel_and_look, &a);
		pthread_create(&id[1], NULL, cancel_and_look, &b);
		pthread_join(id[0], NULL);
		pthread_join(id[1], NULL);
		ck_assert(a.ok && b.ok);
		nursery_token_unref(g);
		nursery_token_unref(p);
		nursery_token_unref(c);
		nursery_token_unref(d);
		pthread_barrier_destroy(&start);
	}
}
END_TEST

static void *
wait_for_it(void *arg)
{
	nursery_token_wait(arg, NURSERY_NEVER);
	return NULL;
}

START_TEST(test_token_wakes_many_waiters)
{
	struct nursery_token *root = fresh(NULL), *kid[64];
	pthread_t id[64];
	int i;

	for (i = 0; i < 64; i++) {
		kid[i] = fresh(root);
		pthread_create(&id[i], NULL, wait_for_it, kid[i]);
	}
	nursery_token_cancel(root);
	for (i = 0; i < 64; i++) {
		pthread_join(id[i], NULL);
		nursery_token_unref(kid[i]);
	}
	nursery_token_unref(root);
}
END_TEST

static int
block_in_read(void *arg)
{
	char byte;

	while (read(*(int *)arg, &byte, 1) < 0)
		if (errno != EINTR)
			return errno;
		else
			return EINTR;
	return 0;
}

static void *
cancel_later(void *arg)
{
	nursery_token_cancel(arg);
	return NULL;
}

START_TEST(test_token_run_breaks_a_blocked_call)
{
	struct nursery_token *t;
	int fds[2], result, i, rc;
	pthread_t id;

	ck_assert_int_eq(pipe(fds), 0);
	for (i = 0; i < 200; i++) {
		t = fresh(NULL);
		result = -1;
		pthread_create(&id, NULL, cancel_later, t);
		rc = nursery_token_run(t, block_in_read, &fds[0], &result);
		ck_assert(rc == ECANCELED ? result == -1 : result == EINTR);
		pthread_join(id, NULL);
		nursery_token_unref(t);
	}
	close(fds[0]);
	close(fds[1]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("token");
	TCase *c = leakless_case("token");

	tcase_add_test(c, test_token_fresh_is_live);
	tcase_add_test(c, test_token_cancel_is_true_for_the_first_only);
	tcase_add_test(c, test_token_cancel_goes_down_only);
	tcase_add_test(c, test_token_cause_says_who_and_why);
	tcase_add_test(c, test_token_grandchild_outlives_released_middle);
	tcase_add_test(c, test_token_child_of_cancelled_is_born_cancelled);
	tcase_add_test(c, test_token_release_never_cancels);
	tcase_add_test(c, test_token_at_drain_is_cancelled_by_drain);
	tcase_add_test(c, test_token_shield_hears_only_abort);
	tcase_add_test(c, test_token_shield_falls_at_its_bound);
	tcase_add_test(c, test_token_deadline_fires_as_cancel);
	tcase_add_test(c, test_token_callback_runs_once_after_the_levels);
	tcase_add_test(c, test_token_removed_callback_never_runs);
	tcase_add_test(c, test_token_callback_may_free_itself);
	tcase_add_test(c, test_token_guard_cancels_on_leaving);
	tcase_add_test(c, test_token_taken_guard_is_disarmed);
	tcase_add_test(c, test_token_chain_of_a_million_on_64k_of_stack);
	tcase_add_test(c, test_token_racing_cancels_both_reach_the_leaf);
	tcase_add_test(c, test_token_wakes_many_waiters);
	tcase_add_test(c, test_token_run_breaks_a_blocked_call);
	suite_add_tcase(s, c);
	return run_suite(s);
}
