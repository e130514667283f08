/* SPDX-License-Identifier: MIT */
/*
 * What takes hours, or the seconds that the library grants, on a clock that
 * jumps: tests/support/clock.h.  Times are exact there.
 */
#include "clock.h"
#include "tasks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOUR		(3600 * NURSERY_SECOND)
/* Then an idle thread leaves, and that of the timer when it is unused. */
#define IDLE_FOR	(10 * NURSERY_SECOND)
#define LINGER		NURSERY_SECOND

static void
sleep_until(int64_t when)
{
	ck_assert_int_eq(nursery_sleep(NULL, when), 0);
	ck_assert_int_eq(nursery_now(), when);
}

/* ---- the clock itself ---- */

START_TEST(test_clock_stands_still_while_somebody_works)
{
	struct timespec a, b;
	int64_t before = nursery_now();

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while ((b.tv_sec - a.tv_sec) * NURSERY_SECOND + b.tv_nsec -
	    a.tv_nsec < 5 * NURSERY_MS);
	ck_assert_int_eq(nursery_now(), before);
}
END_TEST

struct turn {
	int64_t until;
	int *order, *next;
	int number;
};

static int
take_turn(struct nursery_token *t, void *arg)
{
	struct turn *me = arg;

	if (nursery_sleep(t, me->until) != 0 || nursery_now() != me->until)
		return ERANGE;
	me->order[__atomic_fetch_add(me->next, 1, __ATOMIC_SEQ_CST)] =
	    me->number;
	return 0;
}

/* Each wakes at its time and no two at once. */
START_TEST(test_clock_wakes_sleepers_in_order)
{
	enum { COUNT = 20 };
	struct nursery *n = open_root(NULL);
	int64_t start = nursery_now();
	struct turn turn[COUNT];
	int order[COUNT], next = 0, i;

	for (i = 0; i < COUNT; i++) {
		turn[i] = (struct turn){ start + (1 + i * 7 % COUNT) * HOUR,
			order, &next, 1 + i * 7 % COUNT };
		ck_assert_int_eq(nursery_spawn(n, take_turn, &turn[i]), 0);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_now(), start + COUNT * HOUR);
	for (i = 0; i < COUNT; i++)
		ck_assert_int_eq(order[i], i + 1);
}
END_TEST

/* ---- the pool ---- */

static void
assert_threads(unsigned threads, unsigned idle)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.threads, threads);
	ck_assert_uint_eq(s.idle_threads, idle);
}

/* So many threads become idle now. */
static void
make_idle(int count)
{
	struct nursery *n = open_root(NULL);
	struct gate g;
	int i;

	gate_init(&g);
	for (i = 0; i < count; i++)
		ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, count);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	await_idle_threads((unsigned)count);
}

START_TEST(test_clock_idle_threads_leave_after_ten_seconds)
{
	int64_t since;

	make_idle(5);
	since = nursery_now();
	sleep_until(since + IDLE_FOR - 1);
	assert_threads(5, 5);
	/* All of them, though only the oldest has a timer. */
	sleep_until(since + IDLE_FOR + 1);
	assert_threads(0, 0);
}
END_TEST

/* One that worked meanwhile has ten seconds from then. */
START_TEST(test_clock_idle_thread_that_worked_stays_longer)
{
	int64_t since, again;
	struct nursery *n;
	int ran = 0;

	make_idle(3);
	since = nursery_now();
	again = since + IDLE_FOR / 2;
	sleep_until(again);
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	await_idle_threads(3);
	ck_assert_int_eq(nursery_now(), again);
	sleep_until(since + IDLE_FOR - 1);
	assert_threads(3, 3);
	sleep_until(since + IDLE_FOR + 1);
	assert_threads(1, 1);
	sleep_until(again + IDLE_FOR - 1);
	assert_threads(1, 1);
	sleep_until(again + IDLE_FOR + 1);
	assert_threads(0, 0);
}
END_TEST

/* When all have left, new ones come. */
START_TEST(test_clock_pool_serves_after_all_threads_left)
{
	int i;

	for (i = 0; i < 3; i++) {
		make_idle(2);
		sleep_until(nursery_now() + HOUR);
		assert_threads(0, 0);
	}
}
END_TEST

/* ---- the stop ladder ---- */

struct rung {
	enum nursery_level level;
	int64_t reached;
};

static int
note_level(struct nursery_token *t, void *arg)
{
	struct rung *r = arg;

	(void)nursery_token_wait_level(t, r->level, NURSERY_NEVER);
	r->reached = nursery_now();
	return 0;
}

/* 30 s, 10 s, 1 s, for NULL (0) and for zeroes (1). */
START_TEST(test_clock_stop_has_default_graces)
{
	struct rung rungs[] = { { NURSERY_DRAIN, 0 }, { NURSERY_CANCEL, 0 },
		{ NURSERY_ABORT, 0 } };
	struct nursery_stop zero = NURSERY_STOP_INIT;
	struct nursery *n = open_root(NULL);
	int64_t before;
	struct gate g;
	size_t i;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(nursery_spawn(n, note_level, &rungs[i]), 0);
	before = nursery_now();
	ck_assert_int_eq(nursery_stop(&n, _i == 0 ? NULL : &zero, NULL),
	    ETIMEDOUT);
	ck_assert_int_eq(nursery_now() - before, 41 * NURSERY_SECOND);
	ck_assert_int_eq(rungs[0].reached - before, 0);
	ck_assert_int_eq(rungs[1].reached - before, 30 * NURSERY_SECOND);
	ck_assert_int_eq(rungs[2].reached - before, 40 * NURSERY_SECOND);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

struct late {
	enum nursery_level level;
	int64_t after;
};

/* Ends so long after the level. */
static int
end_late(struct nursery_token *t, void *arg)
{
	const struct late *l = arg;

	(void)nursery_token_wait_level(t, l->level, NURSERY_NEVER);
	return nursery_sleep(NULL, nursery_after(l->after));
}

/* The last moment of each rung is in time; stop does not wait on. */
START_TEST(test_clock_stop_ends_with_the_last_task)
{
	static const struct {
		struct late late;
		int rc;
		int64_t took;
	} cases[] = {
		{ { NURSERY_DRAIN, 12 * NURSERY_SECOND }, 0,
			12 * NURSERY_SECOND },
		{ { NURSERY_DRAIN, 30 * NURSERY_SECOND - 1 }, 0,
			30 * NURSERY_SECOND - 1 },
		{ { NURSERY_CANCEL, 10 * NURSERY_SECOND - 1 }, ECANCELED,
			40 * NURSERY_SECOND - 1 },
		{ { NURSERY_ABORT, NURSERY_SECOND - 1 }, ECANCELED,
			41 * NURSERY_SECOND - 1 },
	};
	struct nursery *n = open_root(NULL);
	struct late late = cases[_i].late;
	int64_t before = nursery_now();

	ck_assert_int_eq(nursery_spawn(n, end_late, &late), 0);
	ck_assert_int_eq(nursery_stop(&n, NULL, NULL), cases[_i].rc);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(nursery_now() - before, cases[_i].took);
}
END_TEST

/* ---- the timer service ---- */

static int
count_system_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

START_TEST(test_clock_timer_thread_leaves_a_second_after_its_last_use)
{
	int without = count_system_threads(), i;
	struct nursery_token *t;
	int64_t unused;

	for (i = 0; i < 2; i++) {
		t = new_token(NULL);
		ck_assert_int_eq(nursery_token_set_deadline(t,
		    nursery_after(HOUR)), 0);
		ck_assert_int_eq(count_system_threads(), without + 1);
		/* However long, while there is a deadline. */
		sleep_until(nursery_now() + HOUR / 2);
		ck_assert_int_eq(count_system_threads(), without + 1);
		nursery_token_unref(t);
		unused = nursery_now();
		sleep_until(unused + LINGER - 1);
		ck_assert_int_eq(count_system_threads(), without + 1);
		sleep_until(unused + LINGER + 1);
		ck_assert_int_eq(count_system_threads(), without);
	}
}
END_TEST

struct fired {
	int64_t at;
};

static void
note_time(void *arg)
{
	((struct fired *)arg)->at = nursery_now();
}

/* Far apart and out of order, some moved: each at its time. */
START_TEST(test_clock_deadlines_fire_when_they_should)
{
	enum { COUNT = 60 };
	struct nursery_callback cb[COUNT] = { 0 };
	struct nursery_token *t[COUNT];
	struct fired fired[COUNT] = { 0 };
	int64_t when[COUNT], start = nursery_now();
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	int i;

	for (i = 0; i < COUNT; i++) {
		t[i] = new_token(NULL);
		when[i] = start + (1 + i * 37 % 61) * HOUR + i;
		ck_assert_int_eq(nursery_token_set_deadline(t[i], when[i]),
		    0);
		ck_assert_int_eq(nursery_token_on_cancel(t[i], &cb[i],
		    note_time, &fired[i]), 0);
	}
	for (i = 0; i < COUNT; i += 3) {
		when[i] += i % 2 ? -HOUR / 2 : 100 * HOUR;
		ck_assert_int_eq(nursery_token_set_deadline(t[i], when[i]),
		    0);
	}
	sleep_until(start + 200 * HOUR);
	for (i = 0; i < COUNT; i++) {
		nursery_callback_remove(&cb[i]);
		ck_assert_int_eq(fired[i].at, when[i]);
		ck_assert_int_eq(nursery_token_cause(t[i], NURSERY_CANCEL,
		    &cause), ETIMEDOUT);
		ck_assert_int_eq(cause.when, when[i]);
		nursery_token_unref(t[i]);
	}
}
END_TEST

/* ---- waits with a deadline ---- */

START_TEST(test_clock_nursery_deadline_ends_its_tasks)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.deadline = nursery_after(HOUR);
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_wait(n, nursery_after(HOUR / 2)),
	    ETIMEDOUT);
	ck_assert_int_eq(nursery_now(), a.deadline - HOUR / 2);
	ck_assert_int_eq(nursery_close(&n), ETIMEDOUT);
	ck_assert_int_eq(nursery_now(), a.deadline);
}
END_TEST

START_TEST(test_clock_shield_holds_until_its_time)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = open_root(NULL), *inner;

	a.flags = NURSERY_SHIELD;
	a.shield_until = nursery_after(HOUR);
	inner = open_inside(n, &a);
	ck_assert_int_eq(nursery_spawn(inner, task_until_cancelled, NULL),
	    0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_now(), a.shield_until);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* Reads what does not come: ETIMEDOUT at the very moment. */
static int
read_in_vain(struct nursery_token *t, void *fd)
{
	int64_t deadline = nursery_after(HOUR);
	char byte;
	ssize_t n = nursery_read(t, *(int *)fd, &byte, 1, deadline);

	return n != -1 || errno != ETIMEDOUT ? EINVAL :
	    nursery_now() != deadline ? ERANGE : 0;
}

/* By a task, and by another thread with a token and without. */
START_TEST(test_clock_read_gives_up_in_time)
{
	struct nursery *n = open_root(NULL);
	struct nursery_token *t = new_token(NULL);
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(nursery_spawn(n, read_in_vain, &fds[0]), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(read_in_vain(t, &fds[0]), 0);
	ck_assert_int_eq(read_in_vain(NULL, &fds[0]), 0);
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_clock_spawn_waits_for_room_until_its_time)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct gate g;
	int ran = 0;

	gate_init(&g);
	a.max_running = a.max_queued = 1;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ta.spawn_by = nursery_after(HOUR);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    ETIMEDOUT);
	ck_assert_int_eq(nursery_now(), ta.spawn_by);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("clock");
	TCase *c = leakless_case("clock");

	tcase_add_checked_fixture(c, clock_take, clock_give_back);
	tcase_add_test(c, test_clock_stands_still_while_somebody_works);
	tcase_add_test(c, test_clock_wakes_sleepers_in_order);
	tcase_add_test(c, test_clock_idle_threads_leave_after_ten_seconds);
	tcase_add_test(c, test_clock_idle_thread_that_worked_stays_longer);
	tcase_add_test(c, test_clock_pool_serves_after_all_threads_left);
	tcase_add_loop_test(c, test_clock_stop_has_default_graces, 0, 2);
	tcase_add_loop_test(c, test_clock_stop_ends_with_the_last_task, 0,
	    4);
	tcase_add_test(c,
	    test_clock_timer_thread_leaves_a_second_after_its_last_use);
	tcase_add_test(c, test_clock_deadlines_fire_when_they_should);
	tcase_add_test(c, test_clock_nursery_deadline_ends_its_tasks);
	tcase_add_test(c, test_clock_shield_holds_until_its_time);
	tcase_add_test(c, test_clock_read_gives_up_in_time);
	tcase_add_test(c, test_clock_spawn_waits_for_room_until_its_time);
	suite_add_tcase(s, c);
	return run_suite(s);
}
