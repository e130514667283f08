/* SPDX-License-Identifier: MIT */
/*
 * What others pay and the library must not: a poll that sleeps while a big
 * cancel runs, a cancel that costs more because of unrelated tokens, a
 * release that costs more because of many children.
 *
 * Times are thread CPU times, the least of several tries; the bounds are far
 * above what is measured and far below what the fault would cost.
 */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TRIES	15

static int64_t
cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * NURSERY_SECOND + ts.tv_nsec;
}

static int64_t
smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- a poll is never held up ---- */

struct poller {
	const struct nursery_token *t;
	uint32_t ready, stop;	/* atomic */
	uint64_t polls;
	long slept;
};

static void *
poll_on(void *arg)
{
	struct poller *p = arg;
	struct rusage before, after;
	bool seen = false;

	getrusage(RUSAGE_THREAD, &before);
	__atomic_store_n(&p->ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&p->stop, __ATOMIC_RELAXED) == 0) {
		seen |= nursery_token_is_cancelled(p->t);
		seen |= nursery_token_level(p->t) != NURSERY_LIVE;
		p->polls++;
	}
	getrusage(RUSAGE_THREAD, &after);
	p->slept = after.ru_nvcsw - before.ru_nvcsw;
	return seen ? p : NULL;
}

/* A thread that waits for a lock sleeps; one that only loads does not,
 * however often it is preempted. */
START_TEST(test_cost_a_poll_never_sleeps_while_a_million_are_cancelled)
{
	size_t count = scaled(1000000), i;
	struct nursery_token *root = new_token(NULL), **c = calloc(count,
	    sizeof *c);
	struct poller p = { .t = root };
	pthread_t id;

	ck_assert_ptr_nonnull(c);
	for (i = 0; i < count; i++)
		c[i] = new_token(root);
	id = start_thread(poll_on, &p);
	while (__atomic_load_n(&p.ready, __ATOMIC_SEQ_CST) == 0)
		;
	nursery_token_cancel(root);
	__atomic_store_n(&p.stop, 1, __ATOMIC_SEQ_CST);
	(void)end_thread(id);
	ck_assert_uint_gt(p.polls, 0);
	if (!costs_are_distorted())
		ck_assert_int_eq(p.slept, 0);
	for (i = 0; i < count; i++)
		nursery_token_unref(c[i]);
	nursery_token_unref(root);
	free(c);
}
END_TEST

/* Other calls on the same token get through, too: the walk gives way. */
struct bystander {
	struct nursery_token *t;
	uint32_t ready, stop;
	unsigned children, wrong;
};

static void *
make_children(void *arg)
{
	struct bystander *b = arg;
	struct nursery_token *kid;

	__atomic_store_n(&b->ready, 1, __ATOMIC_SEQ_CST);
	do {
		if (nursery_token_new(&kid, b->t) != 0) {
			b->wrong++;
			break;
		}
		nursery_token_unref(kid);
		b->children++;
	} while (__atomic_load_n(&b->stop, __ATOMIC_SEQ_CST) == 0);
	if (nursery_token_new(&kid, b->t) == 0) {
		/* Born after the cancel: cancelled. */
		b->wrong += !nursery_token_is_cancelled(kid);
		nursery_token_unref(kid);
	}
	return NULL;
}

START_TEST(test_cost_children_are_made_while_a_million_are_cancelled)
{
	size_t count = scaled(1000000), i;
	struct nursery_token *root = new_token(NULL), **c = calloc(count,
	    sizeof *c);
	struct bystander b = { .t = root };
	pthread_t id;

	ck_assert_ptr_nonnull(c);
	for (i = 0; i < count; i++)
		c[i] = new_token(root);
	id = start_thread(make_children, &b);
	while (__atomic_load_n(&b.ready, __ATOMIC_SEQ_CST) == 0)
		;
	nursery_token_cancel(root);
	__atomic_store_n(&b.stop, 1, __ATOMIC_SEQ_CST);
	(void)end_thread(id);
	ck_assert_uint_gt(b.children, 0);
	ck_assert_uint_eq(b.wrong, 0);
	for (i = 0; i < count; i++)
		nursery_token_unref(c[i]);
	nursery_token_unref(root);
	free(c);
}
END_TEST

/* ---- costs that must not grow ---- */

static int64_t
cost_of_cancelling_ten(void)
{
	int64_t best = INT64_MAX, before;
	struct nursery_token *root, *kid[10];
	int try, i;

	for (try = 0; try < TRIES; try++) {
		root = new_token(NULL);
		for (i = 0; i < 10; i++)
			kid[i] = new_token(root);
		before = cpu_now();
		nursery_token_cancel(root);
		best = smaller(best, cpu_now() - before);
		for (i = 0; i < 10; i++)
			nursery_token_unref(kid[i]);
		nursery_token_unref(root);
	}
	return best;
}

START_TEST(test_cost_of_a_cancel_does_not_depend_on_unrelated_tokens)
{
	enum { COUNT = 200000 };
	struct nursery_token *root = new_token(NULL), **c = calloc(COUNT,
	    sizeof *c);
	int64_t alone, among;
	int i;

	ck_assert_ptr_nonnull(c);
	alone = cost_of_cancelling_ten();
	for (i = 0; i < COUNT; i++)
		c[i] = new_token(i % 2 ? root : NULL);
	among = cost_of_cancelling_ten();
	for (i = 0; i < COUNT; i++)
		nursery_token_unref(c[i]);
	nursery_token_unref(root);
	free(c);
	if (!costs_are_distorted())
		ck_assert_msg(among < 20 * alone + 20 * NURSERY_US,
		    "%lld ns alone, %lld ns among 200000", (long long)alone,
		    (long long)among);
}
END_TEST

/* The release of a middle token with that many children. */
static int64_t
cost_of_releasing_a_middle(int children)
{
	struct nursery_token **kid = calloc((size_t)children, sizeof *kid),
	    *root, *middle;
	int64_t best = INT64_MAX, before;
	int try, i;

	ck_assert_ptr_nonnull(kid);
	for (try = 0; try < 5; try++) {
		root = new_token(NULL);
		middle = new_token(root);
		for (i = 0; i < children; i++)
			kid[i] = new_token(middle);
		before = cpu_now();
		nursery_token_unref(middle);
		best = smaller(best, cpu_now() - before);
		nursery_token_cancel(root);
		for (i = 0; i < children; i++) {
			ck_assert(nursery_token_is_cancelled(kid[i]));
			nursery_token_unref(kid[i]);
		}
		nursery_token_unref(root);
	}
	free(kid);
	return best;
}

START_TEST(test_cost_of_releasing_a_middle_does_not_grow_with_its_children)
{
	int64_t few = cost_of_releasing_a_middle(10),
	    many = cost_of_releasing_a_middle(100000);

	if (!costs_are_distorted())
		ck_assert_msg(many < 20 * few + 20 * NURSERY_US,
		    "%lld ns with 10 children, %lld ns with 100000",
		    (long long)few, (long long)many);
}
END_TEST

/* The cost of a poll's cause or of a child does not grow with the depth of
 * released ancestors: they are gone. */
static int64_t
cost_of_a_child_after_hand_offs(int count)
{
	struct nursery_token *root = new_token(NULL), *t = new_token(root),
	    *next;
	int64_t best = INT64_MAX, before;
	int i;

	for (i = 0; i < count; i++) {
		next = new_token(t);
		nursery_token_unref(t);
		t = next;
	}
	for (i = 0; i < TRIES; i++) {
		before = cpu_now();
		(void)nursery_token_deadline(t);
		best = smaller(best, cpu_now() - before);
	}
	nursery_token_unref(t);
	nursery_token_unref(root);
	return best;
}

START_TEST(test_cost_does_not_grow_with_ancestors_that_are_gone)
{
	int64_t few = cost_of_a_child_after_hand_offs(1),
	    many = cost_of_a_child_after_hand_offs(100000);

	if (!costs_are_distorted())
		ck_assert_msg(many < 20 * few + 20 * NURSERY_US,
		    "%lld ns after 1, %lld ns after 100000", (long long)few,
		    (long long)many);
}
END_TEST

/* ---- no descriptor for a thread that only sleeps ---- */

static int
wait_for_token(struct nursery_token *t, void *unused)
{
	(void)unused;
	return nursery_token_wait(t, NURSERY_NEVER) == 0 ? ECANCELED :
	    EBADMSG;
}

START_TEST(test_cost_a_thousand_sleeping_tasks_need_no_descriptor)
{
	const int count = (int)scaled(1000);
	struct rlimit old, few;
	struct nursery *n = open_root(NULL);
	int i, fd;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 32;
	for (i = 0; i < count; i++)
		ck_assert_int_eq(nursery_spawn(n, i % 2 ? wait_for_token :
		    task_until_cancelled, NULL), 0);
	await_tasks_in("sleep", count / 2);
	await_tasks_in("token_wait", count / 2);
	/* A descriptor each would have used these up. */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	fd = dup(0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_lt(fd, 32);
	close(fd);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cost");
	TCase *c = leakless_case("cost");

	tcase_add_test(c,
	    test_cost_a_poll_never_sleeps_while_a_million_are_cancelled);
	tcase_add_test(c,
	    test_cost_children_are_made_while_a_million_are_cancelled);
	tcase_add_test(c,
	    test_cost_of_a_cancel_does_not_depend_on_unrelated_tokens);
	tcase_add_test(c,
	    test_cost_of_releasing_a_middle_does_not_grow_with_its_children);
	tcase_add_test(c,
	    test_cost_does_not_grow_with_ancestors_that_are_gone);
	tcase_add_test(c,
	    test_cost_a_thousand_sleeping_tasks_need_no_descriptor);
	suite_add_tcase(s, c);
	return run_suite(s);
}
