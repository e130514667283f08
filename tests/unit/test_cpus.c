/* SPDX-License-Identifier: MIT */
/* How many processors there are for us. */
#include "tasks.h"

#include "base/cpus.h"

#include <sched.h>

START_TEST(test_cpus_at_least_one_and_no_more_than_the_mask)
{
	unsigned n = nur_usable_cpus();
	cpu_set_t mask;

	ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_le(n, (unsigned)CPU_COUNT(&mask));
}
END_TEST

START_TEST(test_cpus_follow_the_affinity)
{
	cpu_set_t mask, one;
	size_t cpu = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
	while (!CPU_ISSET(cpu, &mask))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	ck_assert_uint_eq(nur_usable_cpus(), 1);
}
END_TEST

/* On one processor everything finishes, too. */
START_TEST(test_cpus_one_is_enough_for_the_lane)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	cpu_set_t one;
	int i, ran = 0;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	a.lane = NURSERY_COMPUTE;
	n = open_root(&a);
	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cpus");
	TCase *c = leakless_case("cpus");

	tcase_add_test(c, test_cpus_at_least_one_and_no_more_than_the_mask);
	tcase_add_test(c, test_cpus_follow_the_affinity);
	tcase_add_test(c, test_cpus_one_is_enough_for_the_lane);
	suite_add_tcase(s, c);
	return run_suite(s);
}
