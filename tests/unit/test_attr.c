/* SPDX-License-Identifier: MIT */
/* Reading sized structs of any age, and the defaults. */
#include "support.h"

#include "scope/attr.h"

#include <string.h>

struct known {
	size_t size;
	int a, b;
};

/* Of a given size, with the last byte set or not. */
static union {
	size_t size;
	struct known k;
	unsigned char bytes[64];
} given;

static int
read_one(struct known *to, size_t size, int a, int b, size_t set)
{
	memset(&given, 0, sizeof given);
	given.k.size = size;
	given.k.a = a;
	given.k.b = b;
	if (set != 0)
		given.bytes[set] = 1;
	return nur_sized_read(to, sizeof *to, sizeof to->size, &given);
}

START_TEST(test_attr_null_is_all_defaults)
{
	struct known k = { 1, 2, 3 }, zero = { 0, 0, 0 };

	ck_assert_int_eq(nur_sized_read(&k, sizeof k, sizeof k.size, NULL),
	    0);
	ck_assert_int_eq(memcmp(&k, &zero, sizeof k), 0);
}
END_TEST

START_TEST(test_attr_older_struct_gets_defaults_for_the_rest)
{
	struct known k;

	ck_assert_int_eq(read_one(&k, offsetof(struct known, b), 5, 6, 0),
	    0);
	ck_assert_int_eq(k.a, 5);
	ck_assert_int_eq(k.b, 0);
	ck_assert_int_eq(read_one(&k, sizeof k.size, 5, 6, 0), 0);
	ck_assert_int_eq(k.a, 0);
}
END_TEST

START_TEST(test_attr_own_struct_is_copied)
{
	struct known k;

	ck_assert_int_eq(read_one(&k, sizeof k, 5, 6, 0), 0);
	ck_assert_int_eq(k.a, 5);
	ck_assert_int_eq(k.b, 6);
}
END_TEST

START_TEST(test_attr_newer_struct_must_end_in_zeros)
{
	struct known k;
	size_t size, set;

	for (size = sizeof k + 1; size <= sizeof given; size++) {
		ck_assert_int_eq(read_one(&k, size, 5, 6, 0), 0);
		ck_assert_int_eq(k.b, 6);
		for (set = sizeof k; set < size; set++)
			ck_assert_int_eq(read_one(&k, size, 5, 6, set),
			    E2BIG);
		/* What lies behind it is none of our business. */
		if (size < sizeof given)
			ck_assert_int_eq(read_one(&k, size, 5, 6, size), 0);
	}
}
END_TEST

START_TEST(test_attr_without_a_size_is_einval)
{
	struct known k;
	size_t size;

	for (size = 0; size < sizeof k.size; size++)
		ck_assert_int_eq(read_one(&k, size, 0, 0, 0), EINVAL);
}
END_TEST

START_TEST(test_attr_defaults_of_a_nursery)
{
	struct nursery_attr a, given_attr = NURSERY_ATTR_INIT;
	int i;

	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(nur_nursery_attr_read(&a, i ? &given_attr :
		    NULL), 0);
		ck_assert_uint_eq(a.stack_size, 256 * 1024);
		ck_assert_int_eq(a.policy, NURSERY_FAIL_FAST);
		ck_assert_uint_eq(a.flags, 0);
		ck_assert_uint_eq(a.max_running, 0);
		ck_assert(a.deadline == 0 && a.on_done == NULL);
	}
	given_attr.stack_size = 1 << 20;
	ck_assert_int_eq(nur_nursery_attr_read(&a, &given_attr), 0);
	ck_assert_uint_eq(a.stack_size, 1 << 20);
}
END_TEST

START_TEST(test_attr_defaults_of_a_task)
{
	struct nursery_task_attr a;

	ck_assert_int_eq(nur_task_attr_read(&a, NULL), 0);
	ck_assert(a.flags == 0 && a.discard == NULL && a.deadline == 0 &&
	    a.spawn_by == 0 && a.name == NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("attr");
	TCase *c = tcase_create("attr");

	tcase_add_test(c, test_attr_null_is_all_defaults);
	tcase_add_test(c, test_attr_older_struct_gets_defaults_for_the_rest);
	tcase_add_test(c, test_attr_own_struct_is_copied);
	tcase_add_test(c, test_attr_newer_struct_must_end_in_zeros);
	tcase_add_test(c, test_attr_without_a_size_is_einval);
	tcase_add_test(c, test_attr_defaults_of_a_nursery);
	tcase_add_test(c, test_attr_defaults_of_a_task);
	suite_add_tcase(s, c);
	return run_suite(s);
}
