/* SPDX-License-Identifier: MIT */
/* nursery_stop: drain, cancel, abort, and the names of those who stay. */
#include "tasks.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONG_TIME	(3600 * NURSERY_SECOND)

static struct nursery_stop
ladder(int64_t drain_for, int64_t cancel_for, int64_t abort_for)
{
	struct nursery_stop how = NURSERY_STOP_INIT;

	how.drain_for = drain_for;
	how.cancel_for = cancel_for;
	how.abort_for = abort_for;
	return how;
}

static int
until_drained(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_token_wait_level(t, NURSERY_DRAIN, NURSERY_NEVER);
}

static int
until_aborted(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_token_wait_level(t, NURSERY_ABORT, NURSERY_NEVER);
}

/* ---- the rungs ---- */

START_TEST(test_stop_of_an_idle_nursery_is_a_close)
{
	struct nursery *n = open_root(NULL);
	struct nursery_report *r = NULL;

	ck_assert_int_eq(nursery_stop(&n, NULL, &r), 0);
	ck_assert_ptr_null(n);
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(nursery_report_unfinished(r), 0);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_stop_drained_in_time_is_0)
{
	struct nursery_stop how = ladder(LONG_TIME, LONG_TIME, LONG_TIME);
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;

	ck_assert_int_eq(nursery_spawn(n, until_drained, NULL), 0);
	ta.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	how.code = 4321;
	how.why = "end of the day";
	ck_assert_int_eq(nursery_stop(&n, &how, &r), 0);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, 4321);
	ck_assert_str_eq(cause.why, "end of the day");
	ck_assert_int_eq(cause.level, NURSERY_DRAIN);
	nursery_report_free(r);
}
END_TEST

/* NULL means 30 s, 10 s, 1 s: time enough for this one. */
START_TEST(test_stop_has_a_default_ladder)
{
	struct nursery_stop zero = NURSERY_STOP_INIT;
	struct nursery *n;
	int i;

	for (i = 0; i < 2; i++) {
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, until_drained, NULL), 0);
		ck_assert_int_eq(nursery_stop(&n, i ? &zero : NULL, NULL),
		    0);
	}
}
END_TEST

START_TEST(test_stop_cancels_those_who_do_not_drain)
{
	struct nursery_stop how = ladder(NURSERY_MS, LONG_TIME, 0);
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;

	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ECANCELED);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.cancelled, 1);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.level, NURSERY_CANCEL);
	ck_assert_int_eq(cause.code, ECANCELED);
	nursery_report_free(r);
}
END_TEST

/* 0 among others is no time at all. */
START_TEST(test_stop_may_skip_a_rung)
{
	struct nursery_stop how = ladder(0, LONG_TIME, 0);
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ECANCELED);
}
END_TEST

START_TEST(test_stop_aborts_those_behind_shields)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, LONG_TIME);
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);

	ta.flags = NURSERY_TASK_FINAL;
	ta.deadline = nursery_after(LONG_TIME);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, until_aborted, NULL), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ECANCELED);
	ck_assert_ptr_null(n);
}
END_TEST

static int
inner_until_drained(struct nursery_token *t, void *ended)
{
	struct nursery *inner;
	int rc;

	(void)t;
	if (nursery_open_child(&inner, nursery_current(), NULL) != 0 ||
	    nursery_spawn(inner, until_drained, NULL) != 0)
		return EINVAL;
	rc = nursery_close(&inner);
	count_up(ended);
	return rc;
}

START_TEST(test_stop_drains_nurseries_inside)
{
	struct nursery_stop how = ladder(LONG_TIME, LONG_TIME, LONG_TIME);
	struct nursery *n = open_root(NULL);
	int ended = 0;

	ck_assert_int_eq(nursery_spawn(n, inner_until_drained, &ended), 0);
	await_tasks_in("token_wait", 1);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), 0);
	ck_assert_int_eq(ended, 1);
}
END_TEST

/* ---- those who stay ---- */

/* One ignores everything: stop gives up in time and names it. */
START_TEST(test_stop_names_the_task_that_does_not_end)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, NURSERY_MS);
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_result s = NURSERY_RESULT_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n, *same;
	char *text = NULL, line[64];
	size_t len = 0;
	struct gate g;
	int64_t before = nursery_now();
	FILE *f;

	gate_init(&g);
	a.name = "stubborn";
	n = same = open_root(&a);
	how.code = 99;
	spawn_named(n, "deaf", task_at_gate, &g);
	spawn_named(n, "polite", task_until_cancelled, NULL);
	gate_await(&g, 1);
	/* The polite one has gone before: how long it takes is not the point
	 * here. */
	nursery_cancel(n);
	await_in_dump("running 1 queued 0");
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	ck_assert_ptr_eq(n, same);
	ck_assert_uint_eq(nursery_report_unfinished(r), 1);
	ck_assert_int_eq(nursery_report_stuck(r, 0, &s), 0);
	ck_assert_int_eq(nursery_report_stuck(r, 1, &s), EINVAL);
	ck_assert_str_eq(s.name, "deaf");
	ck_assert(s.task != 0 && s.started >= before && s.ended == 0);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, 2);
	ck_assert_uint_eq(c.cancelled, 1);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, 99);
	ck_assert_int_eq(cause.level, NURSERY_ABORT);
	/* For people: name, id, and the thread. */
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_report_print(r, f), 0);
	fclose(f);
	snprintf(line, sizeof line, "task %llu \"deaf\" unfinished",
	    (unsigned long long)s.task);
	ck_assert_ptr_nonnull(strstr(text, line));
	ck_assert_ptr_nonnull(strstr(text, "thread "));
	free(text);
	nursery_report_free(r);
	/* Still open, at the top of the ladder; it can end later. */
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_ABORT);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* Where it waits: the call and its descriptor. */
static int
deaf_in_sleep(struct nursery_token *t, void *arg)
{
	/* Listens to a token of its own only. */
	(void)t;
	(void)nursery_sleep(arg, NURSERY_NEVER);
	return 0;
}

START_TEST(test_stop_says_where_the_task_waits)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, NURSERY_MS);
	struct nursery_token *t = new_token(NULL);
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	spawn_named(n, "deaf", deaf_in_sleep, t);
	await_tasks_in("sleep", 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_report_print(r, f), 0);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "sleep"));
	free(text);
	nursery_report_free(r);
	nursery_token_cancel(t);
	/* A second stop finds it gone. */
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ECANCELED);
	nursery_token_unref(t);
}
END_TEST

/* In no call of the library: the system's, and its descriptor. */
static pid_t reader;	/* atomic */

static int
deaf_in_read(struct nursery_token *t, void *fds)
{
	ssize_t n;
	char byte;

	(void)t;
	__atomic_store_n(&reader, own_tid(), __ATOMIC_SEQ_CST);
	do {
		n = read(((int *)fds)[0], &byte, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : EIO;
}

static int
read_in_run(void *fds)
{
	return deaf_in_read(NULL, fds);
}

static int
deaf_in_run(struct nursery_token *t, void *fds)
{
	struct nursery_token *own;
	int rc, result = EINVAL;

	(void)t;
	rc = nursery_token_new(&own, NULL);
	if (rc == 0)
		rc = nursery_token_run(own, read_in_run, fds, &result);
	nursery_token_unref(own);
	return rc != 0 ? rc : result;
}

static char *
stop_in_vain(struct nursery **n)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, NURSERY_MS);
	struct nursery_report *r;
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	ck_assert_int_eq(nursery_stop(n, &how, &r), ETIMEDOUT);
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_report_print(r, f), 0);
	fclose(f);
	nursery_report_free(r);
	return text;
}

static void
assert_said(const char *text, const char *wanted)
{
	ck_assert_msg(strstr(text, wanted) != NULL, "no \"%s\" in\n%s",
	    wanted, text);
}

START_TEST(test_stop_names_the_system_call_the_task_waits_in)
{
	struct nursery *n = open_root(NULL);
	char *text, line[128];
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	spawn_named(n, "deaf", _i == 0 ? deaf_in_read : deaf_in_run, fds);
	while (__atomic_load_n(&reader, __ATOMIC_SEQ_CST) == 0)
		sched_yield();
	await_asleep(reader);
	text = stop_in_vain(&n);
	snprintf(line, sizeof line, ", %ssystem call read(fd %d)\n", _i == 0 ?
	    "" : "token_run, ", fds[0]);
	assert_said(text, line);
	free(text);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* It does not wait at all. */
struct work {
	int begun, over;
};

static int
deaf_at_work(struct nursery_token *t, void *arg)
{
	struct work *w = arg;

	(void)t;
	count_up(&w->begun);
	while (counted(&w->over) == 0)
		;
	return 0;
}

START_TEST(test_stop_says_that_the_task_works)
{
	struct nursery *n = open_root(NULL);
	struct work w = { 0, 0 };
	char *text;

	spawn_named(n, "deaf", deaf_at_work, &w);
	while (counted(&w.begun) == 0)
		sched_yield();
	text = stop_in_vain(&n);
	assert_said(text, ", running\n");
	free(text);
	count_up(&w.over);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* "Each task left": also those of nurseries inside. */
static int
inner_with_a_deaf_one(struct nursery_token *t, void *gate)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *inner;

	(void)t;
	a.name = "deaf inside";
	if (nursery_open_child(&inner, nursery_current(), NULL) != 0 ||
	    nursery_spawn_with(inner, &a, task_at_gate, gate, NULL) != 0)
		return EINVAL;
	return nursery_close(&inner) == EINVAL ? EINVAL : 0;
}

START_TEST(test_stop_names_tasks_of_nurseries_inside)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, NURSERY_MS);
	struct nursery_result s = NURSERY_RESULT_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	bool found = false;
	struct gate g;
	size_t i;

	gate_init(&g);
	spawn_named(n, "outer", inner_with_a_deaf_one, &g);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	for (i = 0; i < nursery_report_unfinished(r); i++) {
		ck_assert_int_eq(nursery_report_stuck(r, i, &s), 0);
		found |= strcmp(s.name, "deaf inside") == 0;
	}
	nursery_report_free(r);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert(found);
}
END_TEST

/* A nursery inside one inside: each task stands below its own. */
struct nest {
	struct gate *gate;
	int depth;
};

static int
open_deeper(struct nursery_token *t, void *arg)
{
	struct nest down = *(struct nest *)arg;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *inner;
	char name[16];
	int rc;

	(void)t;
	if (down.depth-- == 0) {
		gate_pass(down.gate);
		return 0;
	}
	snprintf(name, sizeof name, "n%d", down.depth);
	a.name = name;
	rc = nursery_open_child(&inner, nursery_current(), &a);
	if (rc != 0)
		return rc;
	snprintf(name, sizeof name, "t%d", down.depth);
	ta.name = name;
	rc = nursery_spawn_with(inner, &ta, open_deeper, &down, NULL);
	return rc != 0 ? rc : nursery_close(&inner);
}

START_TEST(test_stop_report_is_a_tree)
{
	static const char *const lines[] = { "\n  task ", " \"top\" "
		"unfinished", "close\n  nursery \"n1\" open, 1 tasks "
		"unfinished\n    task ", " \"t1\" unfinished", "close\n"
		"    nursery \"n0\" open, 1 tasks unfinished\n      task ",
		" \"t0\" unfinished", ", system call futex\n" };
	struct nursery *n = open_root(NULL);
	struct gate g;
	struct nest top = { &g, 2 };
	const char *at;
	char *text;
	size_t i;

	gate_init(&g);
	spawn_named(n, "top", open_deeper, &top);
	gate_await(&g, 1);
	await_others_asleep();
	at = text = stop_in_vain(&n);
	for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		at = strstr(at, lines[i]);
		ck_assert_msg(at != NULL, "no \"%s\" where it belongs in\n%s",
		    lines[i], text);
		at += strlen(lines[i]) - 1;
	}
	ck_assert_str_eq(at, "\n");
	free(text);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_stop_gives_up_in_time)
{
	struct nursery_stop how = ladder(2 * NURSERY_MS, 2 * NURSERY_MS,
	    2 * NURSERY_MS);
	struct nursery *n = open_root(NULL);
	int64_t before;
	struct gate g;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	before = nursery_now();
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ETIMEDOUT);
	ck_assert(nursery_now() >= before + 6 * NURSERY_MS);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* What was queued is discarded at the second rung, not left. */
START_TEST(test_stop_discards_what_is_queued)
{
	struct nursery_stop how = ladder(NURSERY_MS, NURSERY_MS, NURSERY_MS);
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_report *r;
	struct nursery *n;
	int discarded = 0;
	struct gate g;

	gate_init(&g);
	a.max_running = 1;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ta.discard = count_up;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &discarded,
	    NULL), 0);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	ck_assert_uint_eq(nursery_report_unfinished(r), 1);
	ck_assert_int_eq(discarded, 1);
	nursery_report_free(r);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* ---- who may ---- */

struct stopper {
	struct nursery *n;
	int rc;
};

static void *
stop_elsewhere(void *arg)
{
	struct stopper *s = arg;

	s->rc = nursery_stop(&s->n, NULL, NULL);
	return NULL;
}

START_TEST(test_stop_by_another_thread_is_eperm_and_changes_nothing)
{
	struct nursery *n = open_root(NULL);
	struct stopper s = { n, -1 };

	(void)end_thread(start_thread(stop_elsewhere, &s));
	ck_assert_int_eq(s.rc, EPERM);
	ck_assert_ptr_eq(s.n, n);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_stop_of_an_unbound_one_by_another_thread)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct stopper s = { NULL, -1 };

	a.flags = NURSERY_UNBOUND;
	s.n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(s.n, until_drained, NULL), 0);
	(void)end_thread(start_thread(stop_elsewhere, &s));
	ck_assert_int_eq(s.rc, 0);
	ck_assert_ptr_null(s.n);
}
END_TEST

/* While it stops, outsiders are turned away and members are not. */
static int
spawn_when_drained(struct nursery_token *t, void *arg)
{
	(void)nursery_token_wait_level(t, NURSERY_DRAIN, NURSERY_NEVER);
	return nursery_spawn(nursery_current(), task_count, arg);
}

START_TEST(test_stop_lets_members_spawn_while_draining)
{
	struct nursery_stop how = ladder(LONG_TIME, 0, 0);
	struct nursery *n = open_root(NULL);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, spawn_when_drained, &ran), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("stop");
	TCase *c = leakless_case("stop");

	tcase_add_test(c, test_stop_of_an_idle_nursery_is_a_close);
	tcase_add_test(c, test_stop_drained_in_time_is_0);
	tcase_add_test(c, test_stop_has_a_default_ladder);
	tcase_add_test(c, test_stop_cancels_those_who_do_not_drain);
	tcase_add_test(c, test_stop_may_skip_a_rung);
	tcase_add_test(c, test_stop_aborts_those_behind_shields);
	tcase_add_test(c, test_stop_drains_nurseries_inside);
	tcase_add_test(c, test_stop_names_the_task_that_does_not_end);
	tcase_add_test(c, test_stop_says_where_the_task_waits);
	tcase_add_test(c, test_stop_names_tasks_of_nurseries_inside);
	tcase_add_loop_test(c,
	    test_stop_names_the_system_call_the_task_waits_in, 0, 2);
	tcase_add_test(c, test_stop_says_that_the_task_works);
	tcase_add_test(c, test_stop_report_is_a_tree);
	tcase_add_test(c, test_stop_gives_up_in_time);
	tcase_add_test(c, test_stop_discards_what_is_queued);
	tcase_add_test(c,
	    test_stop_by_another_thread_is_eperm_and_changes_nothing);
	tcase_add_test(c, test_stop_of_an_unbound_one_by_another_thread);
	tcase_add_test(c, test_stop_lets_members_spawn_while_draining);
	suite_add_tcase(s, c);
	return run_suite(s);
}
