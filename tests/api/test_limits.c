/* SPDX-License-Identifier: MIT */
/* max_running and max_queued: who waits, who is turned back, who goes on. */
#include "tasks.h"

#include <stdio.h>

static struct nursery *
open_limited(unsigned max_running, unsigned max_queued)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.max_running = max_running;
	a.max_queued = max_queued;
	return open_root(&a);
}

/* ---- the limits hold ---- */

START_TEST(test_limits_are_kept_and_try_says_eagain)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_limited(1, 1);
	struct gate g;

	gate_init(&g);
	ck_assert_int_eq(nursery_try_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_try_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_try_spawn(n, task_at_gate, &g), EAGAIN);
	ta.spawn_by = 1;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_at_gate, &g, NULL),
	    ETIMEDOUT);
	gate_await(&g, 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(g.arrived, 2);
}
END_TEST

struct meter {
	int now, most;
};

static int
measure(struct nursery_token *t, void *arg)
{
	struct meter *m = arg;
	int now = __atomic_add_fetch(&m->now, 1, __ATOMIC_SEQ_CST), most;

	(void)t;
	most = __atomic_load_n(&m->most, __ATOMIC_SEQ_CST);
	while (now > most && !__atomic_compare_exchange_n(&m->most, &most,
	    now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	__atomic_sub_fetch(&m->now, 1, __ATOMIC_SEQ_CST);
	return 0;
}

START_TEST(test_limits_max_running_is_never_exceeded)
{
	struct nursery *n = open_limited(3, 0);
	struct meter m = { 0, 0 };
	int i;

	for (i = 0; i < 5000; i++)
		ck_assert_int_eq(nursery_spawn(n, measure, &m), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_le(m.most, 3);
	ck_assert_int_ge(m.most, 1);
}
END_TEST

/* Limits do not nest: those of an inner nursery are its own. */
START_TEST(test_limits_do_not_nest)
{
	struct nursery *n = open_limited(1, 0), *inner = open_inside(n, NULL);
	struct gate g;
	int i;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_spawn(inner, task_at_gate, &g), 0);
	gate_await(&g, 6);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

struct trail {
	int order[64];
	int count;
	pid_t tid[64];
};

struct step {
	struct trail *trail;
	int number;
};

static int
leave_a_mark(struct nursery_token *t, void *arg)
{
	const struct step *s = arg;
	struct trail *trail = s->trail;

	(void)t;
	/* One at a time: max_running is 1, and each follows the other. */
	trail->tid[trail->count] = own_tid();
	trail->order[trail->count++] = s->number;
	return 0;
}

/* One after the other, in order, on the thread of the one before. */
START_TEST(test_limits_queued_tasks_take_over_the_thread_in_order)
{
	struct nursery *n = open_limited(1, 0);
	struct trail trail = { .count = 0 };
	struct step s = { &trail, 0 };
	struct gate g;
	int i;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	for (i = 0; i < 64; i++) {
		s.number = i;
		ck_assert_int_eq(nursery_spawn_copy(n, leave_a_mark, &s,
		    sizeof s), 0);
	}
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(trail.count, 64);
	for (i = 0; i < 64; i++) {
		ck_assert_int_eq(trail.order[i], i);
		ck_assert_int_eq(trail.tid[i], trail.tid[0]);
	}
}
END_TEST

/* ---- spawns that wait for room ---- */

struct spawner {
	struct nursery *n;
	struct gate *gate;
	int64_t spawn_by;
	int rc, discarded;
};

static int
spawn_into_full(struct nursery_token *t, void *arg)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct spawner *s = arg;

	(void)t;
	a.discard = count_up;
	a.spawn_by = s->spawn_by;
	/* arg of the refused task would be counted if it were discarded. */
	s->rc = s->gate == NULL ? nursery_spawn_with(s->n, &a, task_count,
	    &s->discarded, NULL) : nursery_spawn(s->n, task_at_gate, s->gate);
	return 0;
}

/* A full nursery, and a task of another one that waits for room in it. */
struct scene {
	struct nursery *full, *other;
	struct gate gate;
	struct spawner spawner;
};

static void
set_scene(struct scene *s, unsigned flags)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	gate_init(&s->gate);
	a.max_running = a.max_queued = 1;
	a.flags = flags;
	a.name = "full";
	s->full = open_root(&a);
	s->other = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(s->full, task_at_gate, &s->gate), 0);
	ck_assert_int_eq(nursery_spawn(s->full, task_at_gate, &s->gate), 0);
	gate_await(&s->gate, 1);
	s->spawner = (struct spawner){ .n = nursery_ref(s->full), .rc = -1 };
	ck_assert_int_eq(nursery_spawn(s->other, spawn_into_full,
	    &s->spawner), 0);
	await_tasks_in("spawn", 1);
}

static void
end_scene(struct scene *s, int refusal, int close_result)
{
	ck_assert_int_eq(s->spawner.rc, refusal);
	ck_assert_int_eq(s->spawner.discarded, refusal == 0 ? 1 : 0);
	gate_open(&s->gate);
	ck_assert_int_eq(nursery_close(&s->full), close_result);
	nursery_unref(s->spawner.n);
}

START_TEST(test_limits_cancel_turns_back_a_spawn_that_waits)
{
	struct scene s;

	set_scene(&s, 0);
	nursery_cancel(s.full);
	ck_assert_int_eq(nursery_close(&s.other), 0);
	end_scene(&s, ECANCELED, ECANCELED);
}
END_TEST

START_TEST(test_limits_drain_turns_back_a_spawn_that_waits)
{
	struct scene s;

	set_scene(&s, 0);
	nursery_drain(s.full);
	ck_assert_int_eq(nursery_close(&s.other), 0);
	end_scene(&s, ESHUTDOWN, 0);
}
END_TEST

/* The caller's own token counts as well. */
START_TEST(test_limits_cancel_of_the_caller_ends_its_wait_for_room)
{
	struct scene s;

	set_scene(&s, 0);
	nursery_cancel(s.other);
	ck_assert_int_eq(nursery_close(&s.other), ECANCELED);
	end_scene(&s, ECANCELED, 0);
}
END_TEST

START_TEST(test_limits_room_ends_the_wait)
{
	struct scene s;

	set_scene(&s, 0);
	gate_open(&s.gate);
	ck_assert_int_eq(nursery_close(&s.other), 0);
	ck_assert_int_eq(nursery_wait(s.full, NURSERY_NEVER), 0);
	end_scene(&s, 0, 0);
}
END_TEST

static void *
close_it(void *arg)
{
	struct nursery *n = arg;

	return (void *)(intptr_t)nursery_close(&n);
}

START_TEST(test_limits_close_turns_back_a_spawn_that_waits)
{
	struct scene s;
	pthread_t closer;

	set_scene(&s, NURSERY_UNBOUND);
	closer = start_thread(close_it, s.full);
	ck_assert_int_eq(nursery_close(&s.other), 0);
	ck_assert_int_eq(s.spawner.rc, ESHUTDOWN);
	ck_assert_int_eq(s.spawner.discarded, 0);
	gate_open(&s.gate);
	ck_assert_int_eq((int)(intptr_t)end_thread(closer), 0);
	nursery_unref(s.spawner.n);
}
END_TEST

/* A thread of the application waits as a task does. */
static void *
spawn_from_a_thread(void *arg)
{
	(void)spawn_into_full(NULL, arg);
	return NULL;
}

START_TEST(test_limits_a_foreign_thread_waits_for_room_too)
{
	struct nursery *n = open_limited(1, 1);
	struct spawner s = { .n = n, .rc = -1 };
	struct gate g;
	pthread_t id;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	id = start_thread(spawn_from_a_thread, &s);
	gate_await(&g, 1);
	await_others_asleep();
	gate_open(&g);
	(void)end_thread(id);
	ck_assert_int_eq(s.rc, 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(s.discarded, 1);
}
END_TEST

START_TEST(test_limits_spawn_by_is_a_deadline)
{
	struct nursery *n = open_limited(1, 1), *other = open_root(NULL);
	int64_t by = nursery_after(20 * NURSERY_MS);
	struct spawner s = { .n = n, .spawn_by = by, .rc = -1 };
	struct gate g;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(other, spawn_into_full, &s), 0);
	ck_assert_int_eq(nursery_close(&other), 0);
	ck_assert(nursery_now() >= by);
	ck_assert_int_eq(s.rc, ETIMEDOUT);
	ck_assert_int_eq(s.discarded, 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* Many wait; each place that becomes free lets one in; none is forgotten. */
START_TEST(test_limits_all_who_wait_get_in)
{
	struct nursery *n = open_limited(1, 1), *other = open_root(NULL);
	struct spawner s[20];
	struct gate g;
	int i, ran = 0;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 20; i++) {
		s[i] = (struct spawner){ .n = n, .rc = -1 };
		ck_assert_int_eq(nursery_spawn(other, spawn_into_full, &s[i]),
		    0);
	}
	await_tasks_in("spawn", 20);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&other), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(s[i].rc, 0);
		ran += s[i].discarded;
	}
	ck_assert_int_eq(ran, 20);
}
END_TEST

/* ---- members that wait give their place away ---- */

static int
spawn_fifty(struct nursery_token *t, void *arg)
{
	int i, rc = 0;

	(void)t;
	for (i = 0; i < 50 && rc == 0; i++)
		rc = nursery_spawn(nursery_current(), task_count, arg);
	return rc;
}

/* With one place and one seat in the queue fifty tasks still get through. */
START_TEST(test_limits_waiting_member_gives_its_place_away)
{
	struct nursery *n = open_limited(1, 1);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, spawn_fifty, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 50);
}
END_TEST

/* Every place is held by a member that waits for room. */
START_TEST(test_limits_members_that_all_wait_do_not_deadlock)
{
	struct nursery *n = open_limited(2, 1);
	int ran = 0, i;

	for (i = 0; i < 8; i++)
		ck_assert_int_eq(nursery_spawn(n, spawn_fifty, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 400);
}
END_TEST

/* Each spawns two more of its kind, down to a depth. */
struct generation {
	int *ran;
	int depth;
};

static int
spawn_next_generation(struct nursery_token *t, void *arg)
{
	struct generation g = *(struct generation *)arg;
	int i, rc = 0;

	(void)t;
	count_up(g.ran);
	g.depth--;
	for (i = 0; g.depth >= 0 && i < 2 && rc == 0; i++)
		rc = nursery_spawn_copy(nursery_current(),
		    spawn_next_generation, &g, sizeof g);
	return rc;
}

/* One that wants its place back, while the one that has it waits itself. */
START_TEST(test_limits_members_of_members_that_wait_do_not_deadlock)
{
	struct nursery *n = open_limited(1 + (unsigned)_i % 2, 1 +
	    (unsigned)_i / 2);
	struct generation first = { .depth = 6 };
	int ran = 0;

	first.ran = &ran;
	ck_assert_int_eq(nursery_spawn_copy(n, spawn_next_generation, &first,
	    sizeof first), 0);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 127);
}
END_TEST

/* A member deep inside, which spawns into the limited outer nursery. */
static int
spawn_outside(struct nursery_token *t, void *arg)
{
	struct spawner *s = arg;
	int i, rc = 0;

	(void)t;
	for (i = 0; i < 20 && rc == 0; i++)
		rc = nursery_spawn(s->n, task_count, &s->discarded);
	return rc;
}

static int
open_and_spawn_outside(struct nursery_token *t, void *arg)
{
	struct nursery *inner;
	int rc;

	(void)t;
	if (nursery_open_child(&inner, nursery_current(), NULL) != 0)
		return EINVAL;
	rc = nursery_spawn(inner, spawn_outside, arg);
	return nursery_close(&inner) != 0 ? EIO : rc;
}

/* The outer task holds the only place while it waits for its inner nursery:
 * with room in the queue all is well. */
START_TEST(test_limits_task_inside_spawns_into_the_limited_outer)
{
	struct nursery *n = open_limited(1, 100);
	struct spawner s = { .n = n };

	ck_assert_int_eq(nursery_spawn(n, open_and_spawn_outside, &s), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(s.discarded, 20);
}
END_TEST

/* ---- places and on_done ---- */

struct slow_report {
	struct gate first;	/* holds the first report */
	int calls;
};

static void
hold_first_report(struct nursery *n, const struct nursery_result *r,
    void *ctx)
{
	struct slow_report *s = ctx;

	(void)n;
	(void)r;
	if (__atomic_fetch_add(&s->calls, 1, __ATOMIC_SEQ_CST) == 0)
		gate_pass(&s->first);
}

static int
meet_at(struct nursery_token *t, void *barrier)
{
	(void)t;
	pthread_barrier_wait(barrier);
	return 0;
}

/*
 * Two run.  One ends and its on_done takes its time; the other ends
 * meanwhile.  Both places must be filled again: the two that follow wait for
 * each other.
 */
START_TEST(test_limits_no_place_is_lost_while_on_done_runs)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct slow_report s = { .calls = 0 };
	pthread_barrier_t pair;
	struct nursery *n;
	struct gate g;
	int i;

	gate_init(&g);
	gate_init(&s.first);
	pthread_barrier_init(&pair, NULL, 2);
	a.max_running = 2;
	a.on_done = hold_first_report;
	a.ctx = &s;
	n = open_root(&a);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(nursery_spawn(n, meet_at, &pair), 0);
	gate_await(&g, 2);
	gate_open(&g);
	gate_await(&s.first, 1);
	/* The other one has ended, too: nobody has anything to do. */
	await_others_asleep();
	gate_open(&s.first);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(s.calls, 4);
	pthread_barrier_destroy(&pair);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("limits");
	TCase *c = leakless_case("limits");

	tcase_add_test(c, test_limits_are_kept_and_try_says_eagain);
	tcase_add_test(c, test_limits_max_running_is_never_exceeded);
	tcase_add_test(c, test_limits_do_not_nest);
	tcase_add_test(c,
	    test_limits_queued_tasks_take_over_the_thread_in_order);
	tcase_add_test(c, test_limits_cancel_turns_back_a_spawn_that_waits);
	tcase_add_test(c, test_limits_drain_turns_back_a_spawn_that_waits);
	tcase_add_test(c,
	    test_limits_cancel_of_the_caller_ends_its_wait_for_room);
	tcase_add_test(c, test_limits_room_ends_the_wait);
	tcase_add_test(c, test_limits_close_turns_back_a_spawn_that_waits);
	tcase_add_test(c, test_limits_a_foreign_thread_waits_for_room_too);
	tcase_add_test(c, test_limits_spawn_by_is_a_deadline);
	tcase_add_test(c, test_limits_all_who_wait_get_in);
	tcase_add_test(c, test_limits_waiting_member_gives_its_place_away);
	tcase_add_test(c,
	    test_limits_members_that_all_wait_do_not_deadlock);
	tcase_add_loop_test(c,
	    test_limits_members_of_members_that_wait_do_not_deadlock, 0, 4);
	tcase_add_test(c,
	    test_limits_task_inside_spawns_into_the_limited_outer);
	tcase_add_test(c, test_limits_no_place_is_lost_while_on_done_runs);
	suite_add_tcase(s, c);
	return run_suite(s);
}
