/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "base/list.h"

struct item {
	int number;
	struct nur_link link;
};

static struct item *
item_of(struct nur_link *l)
{
	return NUR_CONTAINER(l, struct item, link);
}

/* Forwards and backwards the list holds these, in this order. */
static void
assert_holds(struct nur_link *head, const int *numbers, int count)
{
	struct nur_link *l;
	int i = 0;

	NUR_LIST_FOREACH(l, head) {
		ck_assert_int_lt(i, count);
		ck_assert_int_eq(item_of(l)->number, numbers[i]);
		i++;
	}
	ck_assert_int_eq(i, count);
	for (l = head->prev; l != head; l = l->prev)
		ck_assert_int_eq(item_of(l)->number, numbers[--i]);
	ck_assert_int_eq(i, 0);
	ck_assert(nur_list_empty(head) == (count == 0));
}

START_TEST(test_list_keeps_the_order_of_appends)
{
	static const int all[] = { 1, 2, 3 };
	struct item item[3] = { { .number = 1 }, { .number = 2 },
		{ .number = 3 } };
	struct nur_link head;
	int i;

	nur_list_init(&head);
	assert_holds(&head, NULL, 0);
	ck_assert_ptr_null(nur_list_pop(&head));
	for (i = 0; i < 3; i++) {
		nur_list_append(&head, &item[i].link);
		assert_holds(&head, all, i + 1);
	}
	for (i = 0; i < 3; i++) {
		ck_assert_ptr_eq(nur_list_pop(&head), &item[i].link);
		assert_holds(&head, all + i + 1, 2 - i);
	}
}
END_TEST

START_TEST(test_list_removes_first_middle_and_last)
{
	static const int left[3][2] = { { 2, 3 }, { 1, 3 }, { 1, 2 } };
	struct item item[3] = { { .number = 1 }, { .number = 2 },
		{ .number = 3 } };
	struct nur_link head;
	int i;

	nur_list_init(&head);
	for (i = 0; i < 3; i++)
		nur_list_append(&head, &item[i].link);
	nur_list_remove(&item[_i].link);
	assert_holds(&head, left[_i], 2);
	/* A removed link is alone, and removing it again is no harm. */
	ck_assert(nur_list_empty(&item[_i].link));
	nur_list_remove(&item[_i].link);
	assert_holds(&head, left[_i], 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("list");
	TCase *c = tcase_create("list");

	tcase_add_test(c, test_list_keeps_the_order_of_appends);
	tcase_add_loop_test(c, test_list_removes_first_middle_and_last, 0, 3);
	suite_add_tcase(s, c);
	return run_suite(s);
}
