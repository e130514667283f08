/* SPDX-License-Identifier: MIT */
/* Services, which stop after the normal tasks, and last words. */
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* Who stopped when: numbers in the order in which services were told. */
struct log {
	pthread_mutex_t lock;
	int count, order[16];
	int ready;
};

struct service {
	struct log *log;
	struct gate *holds;	/* stays at it when told, or NULL */
	int number;
	int code, level;	/* of the cause, when it was told */
	int64_t told;
	int *normal;		/* how many normal tasks have ended; or NULL */
	int normal_then;
};

static void
note(struct service *s)
{
	pthread_mutex_lock(&s->log->lock);
	s->log->order[s->log->count] = s->number;
	count_up(&s->log->count);
	pthread_mutex_unlock(&s->log->lock);
}

static int
serve(struct nursery_token *token, void *arg)
{
	struct nursery_cause c = NURSERY_CAUSE_INIT;
	struct service *s = arg;
	int rc;

	count_up(&s->log->ready);
	rc = nursery_token_wait(token, NURSERY_NEVER);
	if (rc != 0)
		return rc;
	s->code = nursery_token_cause(token, NURSERY_CANCEL, &c);
	s->told = c.when;
	if (s->normal != NULL)
		s->normal_then = counted(s->normal);
	note(s);
	if (s->holds != NULL)
		gate_pass(s->holds);
	s->level = (int)nursery_token_level(token);
	return ECANCELED;
}

static void
log_init(struct log *log)
{
	memset(log, 0, sizeof *log);
	pthread_mutex_init(&log->lock, NULL);
}

static void
add_service(struct nursery *n, struct service *s, int64_t grace)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.flags = NURSERY_TASK_SERVICE;
	a.grace = grace;
	ck_assert_int_eq(nursery_spawn_with(n, &a, serve, s, NULL), 0);
}

static void
await_count(const int *counter, int want)
{
	int64_t until = patience();

	while (counted(counter) < want) {
		ck_assert(nursery_now() < until);
		(void)nursery_sleep(NULL, nursery_after(NURSERY_MS / 10));
	}
}

/* ---- the order ---- */

static int
end_at_gate(struct nursery_token *token, void *arg)
{
	struct { struct gate *g; int *ended; } *p = arg;

	(void)token;
	gate_pass(p->g);
	count_up(p->ended);
	return 0;
}

struct later {
	pid_t closer;
	struct gate *g;
	const int *told;
	int told_then;
};

/* Once the closer sleeps in its close. */
static void *
open_later(void *arg)
{
	struct later *l = arg;

	await_asleep(l->closer);
	l->told_then = counted(l->told);
	gate_open(l->g);
	return NULL;
}

START_TEST(test_service_stops_after_the_normal_tasks_newest_first)
{
	struct nursery *n = open_root(NULL);
	struct service s[5];
	struct log log;
	struct gate g;
	struct later later = { own_tid(), &g, &log.count, -1 };
	pthread_t id;
	int i, ended = 0;
	struct { struct gate *g; int *ended; } p = { &g, &ended };

	log_init(&log);
	gate_init(&g);
	for (i = 0; i < 5; i++) {
		s[i] = (struct service){ .log = &log, .number = i, .normal =
		    &ended, .normal_then = -1 };
		add_service(n, &s[i], 0);
		ck_assert_int_eq(nursery_spawn(n, end_at_gate, &p), 0);
	}
	gate_await(&g, 5);
	await_count(&log.ready, 5);
	id = start_thread(open_later, &later);
	ck_assert_int_eq(nursery_close(&n), 0);
	(void)end_thread(id);
	ck_assert_int_eq(later.told_then, 0);
	ck_assert_int_eq(log.count, 5);
	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(log.order[i], 4 - i);
		ck_assert_int_eq(s[i].normal_then, 5);
		ck_assert_int_eq(s[i].code, ECANCELED);
	}
}
END_TEST

/* While nobody closes they serve, whether or not there is anybody left. */
START_TEST(test_service_is_not_stopped_by_a_wait_that_it_does_not_hold_up)
{
	struct nursery *n = open_root(NULL);
	struct service s = { 0 };
	struct log log;
	int ran = 0;

	log_init(&log);
	s.log = &log;
	add_service(n, &s, 0);
	await_count(&log.ready, 1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_wait(n, 0), 0);
	ck_assert_int_eq(counted(&log.count), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(log.count, 1);
}
END_TEST

/* A cancel of the nursery reaches the normal tasks first. */
START_TEST(test_service_is_shielded_from_a_cancel_until_the_others_ended)
{
	struct nursery *n = open_root(NULL);
	struct service s = { .normal_then = -1 };
	struct gate g;
	struct log log;
	int ended = 0;
	struct { struct gate *g; int *ended; } p = { &g, &ended };

	log_init(&log);
	gate_init(&g);
	s.log = &log;
	s.normal = &ended;
	add_service(n, &s, 0);
	ck_assert_int_eq(nursery_spawn(n, end_at_gate, &p), 0);
	await_count(&log.ready, 1);
	gate_await(&g, 1);
	nursery_cancel_with(n, 77, "enough");
	await_others_asleep();
	ck_assert_int_eq(counted(&log.count), 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(s.normal_then, 1);
	ck_assert_int_eq(s.code, 77);	/* the nursery's cause */
}
END_TEST

/* ABORT pierces the shield, whoever runs. */
START_TEST(test_service_hears_an_abort_at_once)
{
	struct nursery *n = open_root(NULL);
	struct service s = { 0 };
	struct log log;
	struct gate g;

	log_init(&log);
	gate_init(&g);
	s.log = &log;
	add_service(n, &s, 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	await_count(&log.ready, 1);
	ck_assert(nursery_token_raise(nursery_token_of(n), NURSERY_ABORT, 5,
	    "now"));
	await_count(&log.count, 1);
	ck_assert_int_eq(s.code, 5);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* ---- grace ---- */

/* One that does not stop in its grace is aborted, and the next is told. */
START_TEST(test_service_has_its_own_grace_then_the_next_is_told)
{
	struct nursery *n = open_root(NULL);
	struct service s[2] = { { 0 } };
	struct closer { struct nursery *n; int rc; } c;
	struct log log;
	struct gate g;

	log_init(&log);
	gate_init(&g);
	s[0].log = s[1].log = &log;
	s[0].holds = NULL;
	s[1].number = 1;
	s[1].holds = &g;
	add_service(n, &s[0], 0);
	add_service(n, &s[1], 2 * NURSERY_MS);
	await_count(&log.ready, 2);
	c.n = n;
	c.rc = nursery_stop(&c.n, &(struct nursery_stop){ sizeof(struct
	    nursery_stop), 200 * NURSERY_MS, 1, 1, 0, "stop" }, NULL);
	/* The newer one is stuck, the older one was told all the same. */
	ck_assert_int_eq(c.rc, ETIMEDOUT);
	await_count(&log.count, 2);
	/* Told, not heard: their threads may come in either order. */
	ck_assert_int_ge(s[0].told, s[1].told + 2 * NURSERY_MS);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&c.n), ECANCELED);
	ck_assert_int_eq(s[1].level, NURSERY_ABORT);
}
END_TEST

/* No grace: as long as it takes, and the older one waits. */
START_TEST(test_service_without_grace_takes_its_time)
{
	struct nursery *n = open_root(NULL);
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct service s[2] = { { 0 } };
	struct log log;
	struct gate g;

	log_init(&log);
	gate_init(&g);
	s[0].log = s[1].log = &log;
	s[1].number = 1;
	s[1].holds = &g;
	add_service(n, &s[0], 0);
	add_service(n, &s[1], 0);
	await_count(&log.ready, 2);
	how.drain_for = 20 * NURSERY_MS;
	how.cancel_for = how.abort_for = 1;
	/* It is the ladder's ABORT that the older one hears. */
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ETIMEDOUT);
	await_count(&log.count, 2);
	ck_assert_int_eq(log.order[0], 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(log.count, 2);
}
END_TEST

/* ---- what a service opens and spawns ---- */

struct opener {
	struct log *log;
	struct nursery *outer;
	struct nursery_token *seen;
	int inner_close;
};

static int
serve_with_nursery(struct nursery_token *token, void *arg)
{
	struct opener *o = arg;
	struct nursery *inner = NULL;
	int rc;

	rc = nursery_open_child(&inner, nursery_current(), NULL);
	if (rc == 0)
		rc = nursery_spawn(inner, task_ends_well_when_cancelled,
		    NULL);
	if (rc != 0)
		return rc;
	count_up(&o->log->ready);
	(void)nursery_token_wait(token, NURSERY_NEVER);
	nursery_cancel(inner);
	o->inner_close = nursery_close(&inner);
	return ECANCELED;
}

/* The close does not wait for a nursery that only its service can close. */
START_TEST(test_service_with_a_nursery_of_its_own_is_stopped)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct opener o = { .inner_close = -1 };
	struct log log;

	log_init(&log);
	o.log = &log;
	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, serve_with_nursery, &o,
	    NULL), 0);
	await_count(&log.ready, 1);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(o.inner_close, ECANCELED);
}
END_TEST

/* In the nursery of a service, beside it in the service's own. */
static int
open_beside(struct nursery_token *token, void *arg)
{
	struct opener *o = arg;
	struct nursery *beside;
	int rc = nursery_open_child(&beside, o->outer, NULL);

	if (rc != 0)
		return rc;
	count_up(&o->log->ready);
	(void)nursery_token_wait(token, NURSERY_NEVER);
	return nursery_close(&beside);
}

static int
serve_with_opener(struct nursery_token *token, void *arg)
{
	struct opener *o = arg;
	struct nursery *inner = NULL;
	int rc;

	rc = nursery_open_child(&inner, o->outer, NULL);
	if (rc == 0)
		rc = nursery_spawn(inner, open_beside, o);
	if (rc != 0)
		return rc;
	(void)nursery_token_wait(token, NURSERY_NEVER);
	nursery_cancel(inner);
	o->inner_close = nursery_close(&inner);
	return ECANCELED;
}

/* Nor for one that a task of the service has opened beside that. */
START_TEST(test_service_whose_task_opens_a_nursery_is_stopped)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct opener o = { .inner_close = -1, .outer = n };
	struct log log;

	log_init(&log);
	o.log = &log;
	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, serve_with_opener, &o,
	    NULL), 0);
	await_count(&log.ready, 1);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(o.inner_close, ECANCELED);
}
END_TEST

static int
serve_then_spawn(struct nursery_token *token, void *arg)
{
	int rc;

	(void)nursery_token_wait(token, NURSERY_NEVER);
	/* A member may spawn while the close waits. */
	rc = nursery_spawn(nursery_current(), task_count, arg);
	return rc != 0 ? rc : 0;
}

START_TEST(test_service_may_spawn_while_it_stops)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	int ran = 0;

	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, serve_then_spawn, &ran,
	    NULL), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- ends of services ---- */

START_TEST(test_service_that_fails_fails_the_nursery)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	int code = 9;

	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_return, &code, NULL),
	    0);
	ck_assert_int_eq(nursery_token_wait(nursery_token_of(n),
	    NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_close(&n), 9);
}
END_TEST

/* One that waits in the queue when all others have ended never runs. */
START_TEST(test_service_in_the_queue_is_discarded_when_it_is_to_stop)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr na = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	struct service s = { 0 };
	struct nursery *n;
	struct log log;
	int discarded = 0;

	log_init(&log);
	s.log = &log;
	na.max_running = 1;
	n = open_root(&na);
	add_service(n, &s, 0);
	await_count(&log.ready, 1);
	a.flags = NURSERY_TASK_SERVICE;
	a.discard = count_up;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &discarded,
	    NULL), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	ck_assert_int_eq(discarded, 1);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, 2);
	ck_assert_uint_eq(c.discarded, 1);
	ck_assert_uint_eq(c.cancelled, 1);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_service_stopped_by_its_handle)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_task *t = NULL;
	struct service s = { 0 };
	struct log log;
	int result = -1;

	log_init(&log);
	s.log = &log;
	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, serve, &s, &t), 0);
	ck_assert(nursery_task_cancel(t));
	ck_assert_int_eq(nursery_task_join(&t, &result), 0);
	ck_assert_int_eq(result, ECANCELED);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* The guard of a scope, and the end of the opener's thread, stop them, too. */
START_TEST(test_service_is_stopped_when_the_scope_is_left)
{
	struct service s = { 0 };
	struct log log;

	log_init(&log);
	s.log = &log;
	{
		nursery_auto struct nursery *n = open_root(NULL);

		add_service(n, &s, 0);
		await_count(&log.ready, 1);
	}
	ck_assert_int_eq(log.count, 1);
}
END_TEST

/* ---- last words ---- */

struct last {
	struct gate *g;
	enum nursery_level then;
	int code;
};

static int
last_word(struct nursery_token *token, void *arg)
{
	struct last *l = arg;

	if (l->g != NULL)
		gate_pass(l->g);
	l->then = nursery_token_level(token);
	return 0;
}

static int
spawn_final(struct nursery *n, nursery_fn *fn, void *arg, int64_t deadline)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.flags = NURSERY_TASK_FINAL;
	a.deadline = deadline;
	return nursery_spawn_with(n, &a, fn, arg, NULL);
}

START_TEST(test_final_is_accepted_after_cancel_and_drain_and_is_shielded)
{
	struct nursery *n = open_root(NULL);
	struct last l = { NULL, NURSERY_ABORT, 0 };

	nursery_drain(n);
	if (_i == 1)
		nursery_cancel(n);
	ck_assert_int_eq(spawn_final(n, last_word, &l, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), _i == 1 ? ECANCELED : 0);
	ck_assert_int_eq(l.then, NURSERY_LIVE);
}
END_TEST

/* The shield ends at its deadline, which says so. */
static int
await_cause(struct nursery_token *token, void *arg)
{
	struct last *l = arg;

	(void)nursery_token_wait(token, NURSERY_NEVER);
	l->code = nursery_token_cause(token, NURSERY_LIVE, NULL);
	return ECANCELED;
}

START_TEST(test_final_is_cancelled_at_its_deadline)
{
	struct nursery *n = open_root(NULL);
	struct last l = { 0 };

	nursery_cancel(n);
	ck_assert_int_eq(spawn_final(n, await_cause, &l, nursery_after(
	    3 * NURSERY_MS)), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert(l.code == ETIMEDOUT || l.code == ECANCELED);
}
END_TEST

START_TEST(test_final_hears_an_abort)
{
	struct nursery *n = open_root(NULL);
	struct last l = { 0 };

	nursery_cancel(n);
	ck_assert_int_eq(spawn_final(n, await_cause, &l, NURSERY_NEVER), 0);
	ck_assert(nursery_token_raise(nursery_token_of(n), NURSERY_ABORT, 31,
	    "now"));
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(l.code, 31);
}
END_TEST

static int
say_in_full_nursery(struct nursery_token *token, void *arg)
{
	int rc;

	(void)nursery_token_wait(token, NURSERY_NEVER);
	/* The caller is cancelled, and the nursery full: it waits for room. */
	rc = spawn_final(nursery_current(), task_count, arg, patience());
	return rc != 0 ? rc : ECANCELED;
}

START_TEST(test_final_by_a_cancelled_member_waits_for_room)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int ran = 0, i;

	a.max_running = 3;
	a.max_queued = 1;
	n = open_root(&a);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(nursery_spawn(n, say_in_full_nursery, &ran),
		    0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 3);
}
END_TEST

/* It does not wait longer than it may take itself. */
START_TEST(test_final_waits_for_room_until_its_deadline)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct gate g;
	int ran = 0;

	gate_init(&g);
	a.max_running = a.max_queued = 1;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(spawn_final(n, task_count, &ran, nursery_after(
	    2 * NURSERY_MS)), ETIMEDOUT);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* Last words are normal tasks: services live until they are said. */
START_TEST(test_final_ends_before_services_do)
{
	struct nursery *n = open_root(NULL);
	struct service s = { .normal_then = -1 };
	struct log log;
	int ran = 0;

	log_init(&log);
	s.log = &log;
	s.normal = &ran;
	add_service(n, &s, 0);
	await_count(&log.ready, 1);
	nursery_cancel(n);
	ck_assert_int_eq(spawn_final(n, task_count, &ran, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(s.normal_then, 1);
}
END_TEST

/* ---- on the compute lane, where who waits runs tasks ---- */

/* A nursery there, and its only worker at the gate: what is spawned stays in
 * the queue, until the monitor lets another worker go on. */
static struct nursery *
open_beside_a_busy_worker(struct nursery **busy, struct gate *g)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	ck_assert_int_eq(setenv("NURSERY_WORKERS", "1", 1), 0);
	gate_init(g);
	a.lane = NURSERY_COMPUTE;
	*busy = open_root(&a);
	ck_assert_int_eq(nursery_spawn(*busy, task_at_gate, g), 0);
	gate_await(g, 1);
	return open_root(&a);
}

static void
spawn_on_own_thread(struct nursery *n, unsigned flags, nursery_fn *fn,
    void *arg)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.flags = flags;
	a.lane = NURSERY_BLOCKING;
	ck_assert_int_eq(nursery_spawn_with(n, &a, fn, arg, NULL), 0);
}

/* Or nobody could tell it to stop. */
START_TEST(test_service_is_not_run_by_the_one_that_closes)
{
	struct nursery *busy, *n;
	struct service s = { .number = 1 };
	struct gate g, normal;
	struct later l = { .closer = own_tid(), .g = &normal };
	struct log log;
	pthread_t id;

	log_init(&log);
	gate_init(&normal);
	s.log = &log;
	l.told = &log.count;
	n = open_beside_a_busy_worker(&busy, &g);
	spawn_on_own_thread(n, 0, task_at_gate, &normal);
	add_service(n, &s, 0);
	id = start_thread(open_later, &l);
	ck_assert_int_eq(nursery_close(&n), 0);
	(void)end_thread(id);
	ck_assert_int_eq(l.told_then, 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&busy), 0);
}
END_TEST

/* The last normal task is run by the one that closes, and wakes nobody. */
START_TEST(test_service_is_stopped_when_the_closer_ran_the_last_task)
{
	struct nursery *busy, *n;
	struct service s = { .number = 1 };
	struct log log;
	struct gate g;
	int ran = 0;

	log_init(&log);
	s.log = &log;
	n = open_beside_a_busy_worker(&busy, &g);
	spawn_on_own_thread(n, NURSERY_TASK_SERVICE, serve, &s);
	await_count(&log.ready, 1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(log.count, 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&busy), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("service");
	TCase *c = leakless_case("service");

	tcase_add_test(c,
	    test_service_stops_after_the_normal_tasks_newest_first);
	tcase_add_test(c,
	    test_service_is_not_stopped_by_a_wait_that_it_does_not_hold_up);
	tcase_add_test(c,
	    test_service_is_shielded_from_a_cancel_until_the_others_ended);
	tcase_add_test(c, test_service_hears_an_abort_at_once);
	tcase_add_test(c,
	    test_service_has_its_own_grace_then_the_next_is_told);
	tcase_add_test(c, test_service_without_grace_takes_its_time);
	tcase_add_test(c, test_service_with_a_nursery_of_its_own_is_stopped);
	tcase_add_test(c, test_service_whose_task_opens_a_nursery_is_stopped);
	tcase_add_test(c, test_service_may_spawn_while_it_stops);
	tcase_add_test(c, test_service_that_fails_fails_the_nursery);
	tcase_add_test(c,
	    test_service_in_the_queue_is_discarded_when_it_is_to_stop);
	tcase_add_test(c, test_service_stopped_by_its_handle);
	tcase_add_test(c, test_service_is_stopped_when_the_scope_is_left);
	tcase_add_test(c, test_service_is_not_run_by_the_one_that_closes);
	tcase_add_test(c,
	    test_service_is_stopped_when_the_closer_ran_the_last_task);
	tcase_add_loop_test(c,
	    test_final_is_accepted_after_cancel_and_drain_and_is_shielded, 0,
	    2);
	tcase_add_test(c, test_final_is_cancelled_at_its_deadline);
	tcase_add_test(c, test_final_hears_an_abort);
	tcase_add_test(c, test_final_by_a_cancelled_member_waits_for_room);
	tcase_add_test(c, test_final_waits_for_room_until_its_deadline);
	tcase_add_test(c, test_final_ends_before_services_do);
	suite_add_tcase(s, c);
	return run_suite(s);
}
