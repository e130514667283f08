/* SPDX-License-Identifier: MIT */
/*
 * Channels: order, bounds, copies, ends and misuse.  How a wait in one ends
 * is in test_cond.c, the races are in tests/stress/stress_sync.c.
 */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

static struct nursery_channel *
new_channel(size_t size, size_t capacity)
{
	struct nursery_channel *c = NULL;

	ck_assert_int_eq(nursery_channel_new(&c, size, capacity), 0);
	ck_assert_ptr_nonnull(c);
	return c;
}

static int
send_int(struct nursery_channel *c, int item)
{
	return nursery_channel_send(NULL, c, &item, 0);
}

/* The item, or minus the error. */
static int
recv_int(struct nursery_channel *c)
{
	int item = -1, rc = nursery_channel_recv(NULL, c, &item, 0);

	ck_assert(rc == 0 || item == -1);
	return rc == 0 ? item : -rc;
}

START_TEST(test_channel_is_first_in_first_out)
{
	struct nursery_channel *c = new_channel(sizeof(int), 7);
	int in = 0, out = 0, i;

	/* Many times around the ring, from empty to full and back. */
	for (i = 1; i < 500; i++) {
		while (in - out < i % 8)
			ck_assert_int_eq(send_int(c, in++), 0);
		while (in - out > i % 3)
			ck_assert_int_eq(recv_int(c), out++);
	}
	nursery_channel_free(c);
}
END_TEST

START_TEST(test_channel_holds_its_capacity_and_no_more)
{
	static const size_t capacities[] = { 1, 2, 3, 64, 1000 };
	struct nursery_channel *c;
	size_t i, k;

	for (i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
		c = new_channel(sizeof(int), capacities[i]);
		ck_assert_int_eq(recv_int(c), -ETIMEDOUT);
		for (k = 0; k < capacities[i]; k++)
			ck_assert_int_eq(send_int(c, (int)k), 0);
		ck_assert_int_eq(send_int(c, 0), ETIMEDOUT);
		for (k = 0; k < capacities[i]; k++)
			ck_assert_int_eq(recv_int(c), (int)k);
		ck_assert_int_eq(recv_int(c), -ETIMEDOUT);
		nursery_channel_free(c);
	}
}
END_TEST

/* Of any size, odd ones too; neither end is the sender's memory. */
START_TEST(test_channel_copies_items_of_any_size)
{
	static const size_t sizes[] = { 1, 3, 8, 17, 4096, 100001 };
	unsigned char *in, *out;
	struct nursery_channel *c;
	size_t i;
	int k;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		c = new_channel(sizes[i], 3);
		in = malloc(sizes[i]);
		out = malloc(sizes[i] + 1);
		for (k = 0; k < 5; k++) {
			memset(in, 'a' + k, sizes[i]);
			ck_assert_int_eq(nursery_channel_send(NULL, c, in,
			    0), 0);
			memset(in, 'b' + k, sizes[i]);
			ck_assert_int_eq(nursery_channel_send(NULL, c, in,
			    0), 0);
			memset(in, 0, sizes[i]);
			memset(out, '!', sizes[i] + 1);
			ck_assert_int_eq(nursery_channel_recv(NULL, c, out,
			    0), 0);
			memset(in, 'a' + k, sizes[i]);
			ck_assert_int_eq(memcmp(in, out, sizes[i]), 0);
			ck_assert_int_eq(out[sizes[i]], '!');
			ck_assert_int_eq(nursery_channel_recv(NULL, c, out,
			    0), 0);
			memset(in, 'b' + k, sizes[i]);
			ck_assert_int_eq(memcmp(in, out, sizes[i]), 0);
		}
		free(in);
		free(out);
		nursery_channel_free(c);
	}
}
END_TEST

START_TEST(test_channel_of_impossible_size_is_refused)
{
	struct nursery_channel *c = NULL;

	ck_assert_int_eq(nursery_channel_new(NULL, 1, 1), EINVAL);
	ck_assert_int_eq(nursery_channel_new(&c, 0, 1), EINVAL);
	ck_assert_int_eq(nursery_channel_new(&c, 1, 0), EINVAL);
	ck_assert_int_eq(nursery_channel_new(&c, SIZE_MAX, 1), ENOMEM);
	ck_assert_int_eq(nursery_channel_new(&c, 1, SIZE_MAX), ENOMEM);
	ck_assert_int_eq(nursery_channel_new(&c, SIZE_MAX / 2, 3), ENOMEM);
	ck_assert_ptr_null(c);
}
END_TEST

/* ---- the end ---- */

START_TEST(test_channel_closed_gives_what_is_left_and_then_epipe)
{
	struct nursery_channel *c = new_channel(sizeof(int), 3);
	struct nursery_token *t = new_token(NULL);
	int item = 9;

	ck_assert_int_eq(send_int(c, 1), 0);
	ck_assert_int_eq(send_int(c, 2), 0);
	nursery_channel_close(c);
	ck_assert_int_eq(send_int(c, 3), EPIPE);
	ck_assert_int_eq(nursery_channel_send(t, c, &item, NURSERY_NEVER),
	    EPIPE);
	ck_assert_int_eq(recv_int(c), 1);
	nursery_channel_close(c);	/* again */
	ck_assert_int_eq(nursery_channel_recv(t, c, &item, NURSERY_NEVER),
	    0);
	ck_assert_int_eq(item, 2);
	ck_assert_int_eq(recv_int(c), -EPIPE);
	ck_assert_int_eq(nursery_channel_recv(t, c, &item, NURSERY_NEVER),
	    EPIPE);
	ck_assert_int_eq(send_int(c, 3), EPIPE);
	/* The cancel comes first, here as elsewhere. */
	nursery_token_cancel(t);
	ck_assert_int_eq(nursery_channel_recv(t, c, &item, NURSERY_NEVER),
	    ECANCELED);
	ck_assert_int_eq(nursery_channel_send(t, c, &item, NURSERY_NEVER),
	    ECANCELED);
	nursery_token_unref(t);
	nursery_channel_free(c);
}
END_TEST

struct crowd {
	struct nursery_channel *c;
	int by_epipe, by_item;	/* atomic */
};

static int
receive(struct nursery_token *t, void *arg)
{
	struct crowd *crowd = arg;
	int item, rc;

	rc = nursery_channel_recv(t, crowd->c, &item, NURSERY_NEVER);
	if (rc == 0)
		count_up(&crowd->by_item);
	if (rc == EPIPE)
		count_up(&crowd->by_epipe);
	return 0;
}

static int
send_it(struct nursery_token *t, void *arg)
{
	struct crowd *crowd = arg;
	int item = 1, rc;

	rc = nursery_channel_send(t, crowd->c, &item, NURSERY_NEVER);
	if (rc == 0)
		count_up(&crowd->by_item);
	if (rc == EPIPE)
		count_up(&crowd->by_epipe);
	return 0;
}

/* More than are woken by one look at the queue. */
START_TEST(test_channel_close_wakes_all_who_wait)
{
	enum { COUNT = 40 };
	struct crowd to = { new_channel(sizeof(int), 1), 0, 0 };
	struct crowd from = { new_channel(sizeof(int), 1), 0, 0 };
	struct nursery *n = open_root(NULL);
	int i;

	ck_assert_int_eq(send_int(to.c, 1), 0);
	for (i = 0; i < COUNT; i++) {
		ck_assert_int_eq(nursery_spawn(n, send_it, &to), 0);
		ck_assert_int_eq(nursery_spawn(n, receive, &from), 0);
	}
	await_tasks_in("channel_send", COUNT);
	await_tasks_in("channel_recv", COUNT);
	nursery_channel_close(to.c);
	nursery_channel_close(from.c);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(to.by_epipe, COUNT);
	ck_assert_int_eq(from.by_epipe, COUNT);
	/* Nothing of theirs went in. */
	ck_assert_int_eq(recv_int(to.c), 1);
	ck_assert_int_eq(recv_int(to.c), -EPIPE);
	nursery_channel_free(to.c);
	nursery_channel_free(from.c);
}
END_TEST

/* As many are woken as there are items, and no more. */
START_TEST(test_channel_each_item_wakes_one_receiver)
{
	enum { COUNT = 8 };
	int64_t until = patience();
	struct crowd crowd = { new_channel(sizeof(int), COUNT), 0, 0 };
	struct nursery *n = open_root(NULL);
	int i;

	for (i = 0; i < COUNT; i++)
		ck_assert_int_eq(nursery_spawn(n, receive, &crowd), 0);
	await_tasks_in("channel_recv", COUNT);
	for (i = 1; i < COUNT; i++) {
		ck_assert_int_eq(send_int(crowd.c, i), 0);
		await_tasks_in("channel_recv", COUNT - i);
	}
	while (counted(&crowd.by_item) < COUNT - 1)
		ck_assert(nursery_now() < until);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(crowd.by_item, COUNT - 1);
	nursery_channel_free(crowd.c);
}
END_TEST

/* What is left is freed with it. */
START_TEST(test_channel_may_be_freed_with_items_in_it)
{
	struct nursery_channel *c = new_channel(1000, 10);
	char item[1000] = "left";

	ck_assert_int_eq(nursery_channel_send(NULL, c, item, 0), 0);
	nursery_channel_free(c);
}
END_TEST

/* ---- misuse ---- */

static int
wait_for_ever(struct nursery_token *t, void *arg)
{
	int item;

	return nursery_channel_recv(t, arg, &item, NURSERY_NEVER);
}

static int
free_while_used(void *unused)
{
	struct nursery_channel *c;
	struct nursery *n;

	(void)unused;
	if (nursery_channel_new(&c, sizeof(int), 1) != 0 ||
	    nursery_open(&n, NULL) != 0 ||
	    nursery_spawn(n, wait_for_ever, c) != 0)
		return 1;
	while (!tasks_are_in("channel_recv", 1))
		;
	nursery_channel_free(c);
	return 0;
}

START_TEST(test_channel_freed_while_somebody_waits_aborts)
{
	struct outcome o;

	run_forked(&o, free_while_used, NULL);
	assert_aborted(&o, "nursery_channel_free");
}
END_TEST

/* ---- across a fork ---- */

static struct nursery_channel *inherited;

static int
use_inherited(void *unused)
{
	struct nursery_channel *mine;
	int item = 5, wrong = 0;

	(void)unused;
	wrong += nursery_channel_send(NULL, inherited, &item, 0) !=
	    EOWNERDEAD;
	wrong += nursery_channel_recv(NULL, inherited, &item,
	    NURSERY_NEVER) != EOWNERDEAD;
	nursery_channel_close(inherited);
	nursery_channel_free(inherited);
	wrong += nursery_channel_new(&mine, sizeof item, 1) != 0;
	wrong += nursery_channel_send(NULL, mine, &item, 0) != 0;
	item = 0;
	wrong += nursery_channel_recv(NULL, mine, &item, 0) != 0;
	wrong += item != 5;
	wrong += nursery_channel_recv(NULL, mine, &item,
	    nursery_after(NURSERY_MS)) != ETIMEDOUT;
	nursery_channel_free(mine);
	return wrong;
}

START_TEST(test_channel_is_inert_in_the_child_of_a_fork)
{
	struct outcome o;

	inherited = new_channel(sizeof(int), 2);
	ck_assert_int_eq(send_int(inherited, 1), 0);
	run_forked(&o, use_inherited, NULL);
	assert_good(&o);
	ck_assert_int_eq(send_int(inherited, 2), 0);
	ck_assert_int_eq(recv_int(inherited), 1);
	ck_assert_int_eq(recv_int(inherited), 2);
	nursery_channel_free(inherited);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("channel");
	TCase *c = leakless_case("channel");

	tcase_add_test(c, test_channel_is_first_in_first_out);
	tcase_add_test(c, test_channel_holds_its_capacity_and_no_more);
	tcase_add_test(c, test_channel_copies_items_of_any_size);
	tcase_add_test(c, test_channel_of_impossible_size_is_refused);
	tcase_add_test(c,
	    test_channel_closed_gives_what_is_left_and_then_epipe);
	tcase_add_test(c, test_channel_close_wakes_all_who_wait);
	tcase_add_test(c, test_channel_each_item_wakes_one_receiver);
	tcase_add_test(c, test_channel_may_be_freed_with_items_in_it);
	tcase_add_test(c, test_channel_freed_while_somebody_waits_aborts);
	tcase_add_test(c, test_channel_is_inert_in_the_child_of_a_fork);
	suite_add_tcase(s, c);
	return run_suite(s);
}
