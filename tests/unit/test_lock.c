/* SPDX-License-Identifier: MIT */
/*
 * Lock ranks, which only a build with --enable-checks verifies; in others
 * the program is skipped.
 */
#include "config.h"

#include "support.h"

#include "base/lock.h"

#include <stdio.h>

#ifdef NUR_CHECKS
static struct nur_mutex outer = NUR_MUTEX_INIT(NUR_RANK_NURSERY),
    inner = NUR_MUTEX_INIT(NUR_RANK_SLAB), twin =
    NUR_MUTEX_INIT(NUR_RANK_NURSERY);

START_TEST(test_lock_ranks_in_order_are_accepted)
{
	int i;

	for (i = 0; i < 3; i++) {
		nur_lock(&outer);
		nur_lock(&inner);
		/* Let go in any order. */
		if (i % 2) {
			nur_unlock(&inner);
			nur_unlock(&outer);
		} else {
			nur_unlock(&outer);
			nur_unlock(&inner);
		}
		nur_rank_assert_none("no lock is held");
	}
}
END_TEST

static int
lock_two(void *arg)
{
	struct nur_mutex **pair = arg;

	nur_lock(pair[0]);
	nur_lock(pair[1]);
	return 0;
}

START_TEST(test_lock_ranks_out_of_order_abort)
{
	struct nur_mutex *pair[2] = { &inner, &outer };
	struct outcome o;

	run_forked(&o, lock_two, pair);
	assert_aborted(&o, "lock rank order violated");
}
END_TEST

START_TEST(test_lock_two_of_one_rank_abort)
{
	struct nur_mutex *pair[2] = { &outer, &twin };
	struct outcome o;

	run_forked(&o, lock_two, pair);
	assert_aborted(&o, "lock rank order violated");
}
END_TEST

static int
call_user_code(void *unused)
{
	(void)unused;
	nur_lock(&inner);
	nur_rank_assert_none("user code with a lock held");
	return 0;
}

START_TEST(test_lock_user_code_with_a_lock_held_aborts)
{
	struct outcome o;

	run_forked(&o, call_user_code, NULL);
	assert_aborted(&o, "user code with a lock held");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("lock");
	TCase *c = tcase_create("lock");

	tcase_add_test(c, test_lock_ranks_in_order_are_accepted);
	tcase_add_test(c, test_lock_ranks_out_of_order_abort);
	tcase_add_test(c, test_lock_two_of_one_rank_abort);
	tcase_add_test(c, test_lock_user_code_with_a_lock_held_aborts);
	suite_add_tcase(s, c);
	return run_suite(s);
}
#else
int
main(void)
{
	printf("built without --enable-checks: ranks are not verified\n");
	return 77;
}
#endif
