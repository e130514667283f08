/* SPDX-License-Identifier: MIT */
/* What the end of a task does: policies, on_done, the report, the result. */
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nursery_counts
counts_of(const struct nursery_report *r)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;

	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, c.succeeded + c.failed + c.cancelled +
	    c.discarded);
	ck_assert_uint_eq(c.restarted, 0);
	return c;
}

/* ---- policies ---- */

START_TEST(test_failure_first_error_cancels_the_rest)
{
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct nursery_counts c;
	int code = EPROTO, i;

	for (i = 0; i < 10; i++)
		ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL),
		    0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), EPROTO);
	c = counts_of(r);
	ck_assert_uint_eq(c.cancelled, 10);
	ck_assert_uint_eq(c.failed, 1);
	nursery_report_free(r);
}
END_TEST

static int
fail_when_cancelled(struct nursery_token *t, void *code)
{
	(void)nursery_sleep(t, NURSERY_NEVER);
	return *(int *)code;
}

/* The error is on record before the siblings hear of it. */
START_TEST(test_failure_first_error_stays_first)
{
	struct nursery *n = open_root(NULL);
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_report *r;
	int first = EPROTO, later = EIO, i;

	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_spawn(n, fail_when_cancelled,
		    &later), 0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &first), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), EPROTO);
	ck_assert_uint_eq(counts_of(r).failed, 6);
	ck_assert_int_eq(nursery_report_failure(r, 0, &f), 0);
	ck_assert_int_eq(f.code, EPROTO);
	ck_assert_int_eq(nursery_report_failure(r, 5, &f), 0);
	ck_assert_int_eq(f.code, EIO);
	nursery_report_free(r);
}
END_TEST

/* Any value but 0 is an error, and comes back as it is. */
START_TEST(test_failure_codes_come_back_verbatim)
{
	static const int codes[] = { 1, -1, 4095, INT32_MAX, INT32_MIN,
		NURSERY_SIGNAL(9), NURSERY_EXIT(3) };
	int code = codes[_i];
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), code);
}
END_TEST

START_TEST(test_failure_collect_runs_all_and_keeps_all)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_report *r;
	struct nursery_counts c;
	struct nursery *n;
	int code = EIO, ran = 0, i;

	a.policy = NURSERY_COLLECT;
	a.max_errors = 5;
	n = open_root(&a);
	for (i = 0; i < 20; i++) {
		ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	}
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_close_with(&n, &r), EIO);
	ck_assert_int_eq(ran, 20);
	c = counts_of(r);
	ck_assert_uint_eq(c.spawned, 40);
	ck_assert_uint_eq(c.failed, 20);
	ck_assert_uint_eq(c.succeeded, 20);
	ck_assert_uint_eq(nursery_report_failed(r), 5);
	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(nursery_report_failure(r, (size_t)i, &f), 0);
		ck_assert_int_eq(f.code, EIO);
	}
	ck_assert_int_eq(nursery_report_failure(r, 5, &f), EINVAL);
	nursery_report_free(r);
}
END_TEST

/* 0 means 16; one is enough for the first. */
START_TEST(test_failure_max_errors_bounds_what_is_kept)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	static const unsigned given[] = { 0, 1, 16, 100 },
	    kept[] = { 16, 1, 16, 30 };
	struct nursery_report *r;
	struct nursery *n;
	int code = EIO, i;

	a.policy = NURSERY_COLLECT;
	a.max_errors = given[_i];
	n = open_root(&a);
	for (i = 0; i < 30; i++)
		ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), EIO);
	ck_assert_uint_eq(nursery_report_failed(r), kept[_i]);
	ck_assert_uint_eq(counts_of(r).failed, 30);
	nursery_report_free(r);
}
END_TEST

/* ---- cancelled or failed ---- */

START_TEST(test_failure_ecanceled_of_a_live_task_is_a_failure)
{
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct nursery_counts c;
	int code = ECANCELED;

	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	c = counts_of(r);
	ck_assert_uint_eq(c.failed, 1);
	ck_assert_uint_eq(c.cancelled, 0);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_failure_cancelled_nursery_is_ecanceled_at_close)
{
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;

	ck_assert_int_eq(nursery_spawn(n, task_ends_well_when_cancelled,
	    NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	ck_assert_uint_eq(counts_of(r).succeeded, 1);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_failure_error_after_a_cancel_is_the_result)
{
	struct nursery *n = open_root(NULL);
	int code = EIO;

	ck_assert_int_eq(nursery_spawn(n, fail_when_cancelled, &code), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), EIO);
}
END_TEST

START_TEST(test_failure_drained_nursery_closes_with_0)
{
	struct nursery *n = open_root(NULL);

	nursery_drain(n);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_failure_own_deadline_is_etimedout_at_close)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *inner;
	int rc;

	a.deadline = nursery_after(10 * NURSERY_MS);
	n = open_root(&a);
	inner = open_inside(n, NULL);
	/* The deadline may come before the task: then nobody is there. */
	rc = nursery_spawn(inner, task_until_cancelled, NULL);
	ck_assert(rc == 0 || rc == ECANCELED);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ETIMEDOUT);
}
END_TEST

/* The inner one has a deadline too, a late one: it did not do it. */
START_TEST(test_failure_deadline_of_another_is_ecanceled_at_close)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *inner;

	a.deadline = nursery_after(3600 * NURSERY_SECOND);
	n = open_root(NULL);
	inner = open_inside(n, &a);
	ck_assert_int_eq(nursery_token_set_deadline(nursery_token_of(n), 1),
	    0);
	ck_assert_int_eq(nursery_token_wait(nursery_token_of(inner),
	    patience()), 0);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* Somebody gave ETIMEDOUT as a code; the deadline is an hour away. */
START_TEST(test_failure_cancel_with_etimedout_is_not_the_deadline)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.deadline = nursery_after(3600 * NURSERY_SECOND);
	n = open_root(&a);
	nursery_cancel_with(n, ETIMEDOUT, "the peer did not answer");
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* ---- causes ---- */

struct told {
	int code;
	uint64_t id;
};

static int
fail_and_tell(struct nursery_token *t, void *arg)
{
	struct told *told = arg;

	(void)t;
	told->id = nursery_task_id(nursery_self());
	return told->code;
}

START_TEST(test_failure_cause_names_the_task_that_failed)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct told told = { EPROTO, 0 };

	ck_assert_int_eq(nursery_spawn(n, fail_and_tell, &told), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), EPROTO);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, EPROTO);
	ck_assert_int_eq(cause.level, NURSERY_CANCEL);
	ck_assert_uint_eq(cause.by_task, told.id);
	nursery_report_free(r);
}
END_TEST

static int
cancel_own_nursery(struct nursery_token *t, void *arg)
{
	struct told *told = arg;

	(void)t;
	told->id = nursery_task_id(nursery_self());
	nursery_cancel_with(nursery_current(), told->code, "had enough");
	return 0;
}

START_TEST(test_failure_cause_names_the_task_that_cancelled)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct told told = { 1234, 0 };
	int64_t before = nursery_now();

	ck_assert_int_eq(nursery_spawn(n, cancel_own_nursery, &told), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, 1234);
	ck_assert_str_eq(cause.why, "had enough");
	ck_assert_uint_eq(cause.by_task, told.id);
	ck_assert_int_eq(cause.by_pid, 0);
	ck_assert(cause.when >= before);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_failure_report_of_a_quiet_nursery_is_all_zero)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	struct nursery_counts c;

	cause.code = cause.level = 5;
	cause.why = "x";
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	c = counts_of(r);
	ck_assert_uint_eq(c.spawned, 0);
	ck_assert_uint_eq(nursery_report_failed(r), 0);
	ck_assert_uint_eq(nursery_report_unfinished(r), 0);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_uint_eq(cause.size, sizeof cause);
	ck_assert(cause.code == 0 && cause.level == 0 && cause.why == NULL &&
	    cause.by_task == 0 && cause.by_pid == 0 && cause.when == 0);
	nursery_report_free(r);
}
END_TEST

/* ---- the report ---- */

START_TEST(test_failure_report_has_all_of_a_failure)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct told told = { EBADF, 0 };
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	int64_t before = nursery_now();
	char name[] = "the one that fails";

	a.name = name;
	ck_assert_int_eq(nursery_spawn_with(n, &a, fail_and_tell, &told,
	    NULL), 0);
	memset(name, 'x', sizeof name - 1);
	ck_assert_int_eq(nursery_close_with(&n, &r), EBADF);
	ck_assert_uint_eq(nursery_report_failed(r), 1);
	ck_assert_int_eq(nursery_report_failure(r, 0, &f), 0);
	ck_assert_uint_eq(f.task, told.id);
	ck_assert_str_eq(f.name, "the one that fails");
	ck_assert_int_eq(f.code, EBADF);
	ck_assert_int_eq(f.cancelled, 0);
	ck_assert(f.started >= before && f.ended >= f.started &&
	    f.ended <= nursery_now());
	nursery_report_free(r);
}
END_TEST

/* Structs of an older program, and of a newer one. */
START_TEST(test_failure_report_fills_structs_of_any_size)
{
	struct { struct nursery_counts c; uint64_t newer; } longer = {
		NURSERY_COUNTS_INIT, 77 };
	struct nursery_counts shorter = NURSERY_COUNTS_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	int code = EIO;

	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), EIO);
	longer.c.size = sizeof longer;
	ck_assert_int_eq(nursery_report_counts(r, &longer.c), 0);
	ck_assert_uint_eq(longer.c.failed, 1);
	ck_assert_uint_eq(longer.newer, 77);
	shorter.size = offsetof(struct nursery_counts, failed);
	shorter.failed = 99;
	ck_assert_int_eq(nursery_report_counts(r, &shorter), 0);
	ck_assert_uint_eq(shorter.spawned, 1);
	ck_assert_uint_eq(shorter.failed, 99);
	f.size = offsetof(struct nursery_result, code);
	f.code = 99;
	ck_assert_int_eq(nursery_report_failure(r, 0, &f), 0);
	ck_assert_uint_ne(f.task, 0);
	ck_assert_int_eq(f.code, 99);
	cause.size = offsetof(struct nursery_cause, why);
	cause.by_pid = 99;
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, EIO);
	ck_assert_int_eq(cause.by_pid, 99);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_failure_report_prints_what_happened)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_report *r;
	struct nursery *n;
	int code = 1717;
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	a.name = "printed";
	n = open_root(&a);
	spawn_named(n, "culprit", task_return, &code);
	ck_assert_int_eq(nursery_close_with(&n, &r), 1717);
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_report_print(r, f), 0);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "printed"));
	ck_assert_ptr_nonnull(strstr(text, "culprit"));
	ck_assert_ptr_nonnull(strstr(text, "1717"));
	free(text);
	f = fopen("/dev/full", "we");
	ck_assert_ptr_nonnull(f);
	setvbuf(f, NULL, _IONBF, 0);
	ck_assert_int_eq(nursery_report_print(r, f), EIO);
	fclose(f);
	nursery_report_free(r);
}
END_TEST

/* ---- on_done ---- */

struct log {
	int calls, inside, overlapped, wrong, cancels_at;
	uint64_t succeeded, failed, cancelled, never_ran;
	int nap;
};

static void
keep_log(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct log *log = ctx;

	if (__atomic_fetch_add(&log->inside, 1, __ATOMIC_SEQ_CST) != 0)
		log->overlapped = 1;
	log->calls++;
	log->wrong += r->size != sizeof *r || r->task == 0 || r->name ==
	    NULL || r->ended == 0;
	if (r->started == 0)
		log->never_ran++;
	else if (r->code == 0)
		log->succeeded++;
	else if (r->cancelled)
		log->cancelled++;
	else
		log->failed++;
	log->wrong += r->started == 0 && (r->code != ECANCELED ||
	    !r->cancelled);
	log->wrong += r->started > r->ended;
	if (log->calls == log->cancels_at)
		nursery_cancel_with(n, 88, "enough are done");
	__atomic_fetch_sub(&log->inside, 1, __ATOMIC_SEQ_CST);
}

START_TEST(test_failure_on_done_is_serialised_and_complete)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct log log = { 0 };
	struct nursery *n;
	int ran = 0, code = EIO, i;

	a.on_done = keep_log;
	a.ctx = &log;
	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(i % 4 ? nursery_spawn(n, task_count, &ran) :
		    nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), EIO);
	ck_assert_int_eq(log.calls, 1000);
	ck_assert_int_eq(log.overlapped, 0);
	ck_assert_int_eq(log.wrong, 0);
	ck_assert_uint_eq(log.succeeded, 750);
	ck_assert_uint_eq(log.failed, 250);
}
END_TEST

/* Queued tasks that are discarded are reported as well, each once.  Before
 * the cancel all those that count may have run, and two that wait have got a
 * place; after it none starts. */
START_TEST(test_failure_on_done_may_cancel)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct log log = { .cancels_at = 5 };
	struct nursery_report *r;
	struct nursery_counts c;
	struct nursery *n;
	struct gate g;
	int ran = 0, discarded = 0, i;

	gate_init(&g);
	a.on_done = keep_log;
	a.ctx = &log;
	a.max_running = 2;
	n = open_root(&a);
	ta.discard = count_up;
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &ta, i < 50 ?
		    task_count : task_until_cancelled, i < 50 ? &ran :
		    &discarded, NULL), 0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	c = counts_of(r);
	ck_assert_int_eq(log.calls, 102);
	ck_assert_int_eq(log.overlapped, 0);
	ck_assert_int_eq(log.wrong, 0);
	ck_assert_uint_eq(log.never_ran, c.discarded);
	ck_assert_uint_eq(log.succeeded, c.succeeded);
	ck_assert_uint_ge(c.discarded, 48);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, 88);
	nursery_report_free(r);
}
END_TEST

struct user {
	int calls, wrong;
	int ran;		/* atomic */
	struct nursery *other;
};

static void
use_everything(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct user *u = ctx;
	FILE *nowhere = fopen("/dev/null", "we");
	struct nursery_token *t;

	u->calls++;
	u->wrong += r->code != 0 || nowhere == NULL;
	u->wrong += nursery_dump(nowhere, NURSERY_TEXT) != 0;
	fclose(nowhere);
	u->wrong += nursery_token_new(&t, nursery_token_of(n)) != 0;
	nursery_token_unref(t);
	u->wrong += nursery_spawn(u->other, task_count, &u->ran) != 0;
}

/* No lock is held: dump, spawn elsewhere, make tokens. */
START_TEST(test_failure_on_done_may_use_the_library)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct user u = { 0, 0, 0, open_root(NULL) };
	struct nursery *n;
	int code = 0, i;

	a.on_done = use_everything;
	a.ctx = &u;
	n = open_root(&a);
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_close(&u.other), 0);
	ck_assert_int_eq(u.wrong, 0);
	ck_assert_int_eq(u.calls, 20);
	ck_assert_int_eq(u.ran, 20);
}
END_TEST

static void
close_from_on_done(struct nursery *n, const struct nursery_result *r,
    void *ctx)
{
	struct nursery *same = n;
	int *rc = ctx;

	(void)r;
	rc[0] = nursery_wait(n, 0);
	rc[1] = nursery_close(&same);
}

/* It runs for a task that is not over yet: it would wait for itself. */
START_TEST(test_failure_on_done_that_waits_for_its_nursery_is_edeadlk)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int rc[2] = { -1, -1 }, code = 0;
	struct nursery *n;

	a.on_done = close_from_on_done;
	a.ctx = rc;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(rc[0], EDEADLK);
	ck_assert(rc[1] == EDEADLK || rc[1] == EPERM);
}
END_TEST

/*
 * The canceller discards and reports; a task ends meanwhile and leaves its
 * report to it.  The FINAL task in the queue must still get the place.
 */
struct slow {
	struct gate held;
	int calls;
};

static void
hold_first(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	struct slow *s = ctx;

	(void)n;
	(void)r;
	if (__atomic_fetch_add(&s->calls, 1, __ATOMIC_SEQ_CST) == 0)
		gate_pass(&s->held);
}

static void *
cancel_nursery(void *n)
{
	nursery_cancel(n);
	return NULL;
}

START_TEST(test_failure_final_gets_the_place_while_a_canceller_reports)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct slow s = { .calls = 0 };
	int ran = 0, discarded = 0;
	struct nursery *n;
	pthread_t canceller;
	struct gate g;

	gate_init(&g);
	gate_init(&s.held);
	a.max_running = 1;
	a.on_done = hold_first;
	a.ctx = &s;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ta.discard = count_up;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &discarded,
	    NULL), 0);
	ta.flags = NURSERY_TASK_FINAL;
	ta.deadline = nursery_after(3600 * NURSERY_SECOND);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    0);
	gate_await(&g, 1);
	canceller = start_thread(cancel_nursery, n);
	gate_await(&s.held, 1);
	gate_open(&g);
	await_others_asleep();
	gate_open(&s.held);
	(void)end_thread(canceller);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(discarded, 1);
	ck_assert_int_eq(s.calls, 3);
}
END_TEST

/* ---- pthread_exit ---- */

static int
call_pthread_exit(struct nursery_token *t, void *arg)
{
	(void)t;
	pthread_exit(arg);
}

START_TEST(test_failure_pthread_exit_is_an_error_of_the_task)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_report *r;
	struct nursery *n;
	int ran = 0, rc, i;

	a.policy = NURSERY_COLLECT;
	a.max_running = 1;
	n = open_root(&a);
	for (i = 0; i < 5; i++) {
		ck_assert_int_eq(nursery_spawn(n, call_pthread_exit, NULL),
		    0);
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	}
	rc = nursery_close_with(&n, &r);
	ck_assert_int_ne(rc, 0);
	ck_assert_int_eq(ran, 5);
	ck_assert_uint_eq(counts_of(r).failed, 5);
	ck_assert_int_eq(nursery_report_failure(r, 0, &f), 0);
	ck_assert_int_eq(f.code, rc);
	nursery_report_free(r);
}
END_TEST

/* ---- the first success ---- */

static struct nursery *
open_for_success(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.policy = NURSERY_FIRST_SUCCESS;
	return open_root(&a);
}

START_TEST(test_failure_first_success_cancels_the_rest_and_close_is_0)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n = open_for_success();
	int bad = 9, good = 0, i;

	for (i = 0; i < 3; i++)
		ck_assert_int_eq(nursery_spawn(n, task_until_cancelled,
		    NULL), 0);
	/* A failure stops nobody, and is no answer. */
	ck_assert_int_eq(nursery_spawn(n, task_return, &bad), 0);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_spawn(n, task_return, &good), 0);
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.spawned, 5);
	ck_assert_uint_eq(c.succeeded, 1);
	ck_assert_uint_eq(c.cancelled, 3);
	ck_assert_uint_eq(c.failed, 1);
	ck_assert_uint_eq(nursery_report_failed(r), 1);
	ck_assert_int_eq(nursery_report_cause(r, &cause), 0);
	ck_assert_int_eq(cause.code, ECANCELED);
	ck_assert_str_eq(cause.why, "task succeeded");
	nursery_report_free(r);
}
END_TEST

START_TEST(test_failure_without_a_success_the_first_error_is_returned)
{
	struct nursery *n = open_for_success();
	int code[3] = { 5, 6, 7 }, i;

	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(nursery_spawn(n, task_return, &code[i]), 0);
		ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	}
	ck_assert_int_eq(nursery_close(&n), 5);
}
END_TEST

START_TEST(test_failure_success_wins_over_errors_before_and_after)
{
	struct nursery *n = open_for_success();
	int bad = 5, good = 0;

	ck_assert_int_eq(nursery_spawn(n, task_return, &bad), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_spawn(n, fail_when_cancelled, &bad), 0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &good), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* Nobody succeeded: as other nurseries. */
START_TEST(test_failure_no_success_in_an_empty_or_cancelled_nursery)
{
	struct nursery *n = open_for_success();

	ck_assert_int_eq(nursery_close(&n), 0);
	n = open_for_success();
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	/* One that succeeds though it was told to stop has succeeded. */
	n = open_for_success();
	ck_assert_int_eq(nursery_spawn(n, task_ends_well_when_cancelled,
	    NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* A service that ends well is no answer. */
START_TEST(test_failure_a_services_success_does_not_win)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_for_success();
	struct nursery_task *t = NULL;
	int good = 0, bad = 8;

	a.flags = NURSERY_TASK_SERVICE;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_return, &good, &t),
	    0);
	ck_assert_int_eq(nursery_task_join(&t, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &bad), 0);
	ck_assert_int_eq(nursery_close(&n), 8);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("failure");
	TCase *c = leakless_case("failure");

	tcase_add_test(c, test_failure_first_error_cancels_the_rest);
	tcase_add_test(c, test_failure_first_error_stays_first);
	tcase_add_loop_test(c, test_failure_codes_come_back_verbatim, 0, 7);
	tcase_add_test(c, test_failure_collect_runs_all_and_keeps_all);
	tcase_add_loop_test(c, test_failure_max_errors_bounds_what_is_kept, 0,
	    4);
	tcase_add_test(c,
	    test_failure_ecanceled_of_a_live_task_is_a_failure);
	tcase_add_test(c,
	    test_failure_cancelled_nursery_is_ecanceled_at_close);
	tcase_add_test(c, test_failure_error_after_a_cancel_is_the_result);
	tcase_add_test(c, test_failure_drained_nursery_closes_with_0);
	tcase_add_test(c, test_failure_own_deadline_is_etimedout_at_close);
	tcase_add_test(c,
	    test_failure_deadline_of_another_is_ecanceled_at_close);
	tcase_add_test(c,
	    test_failure_cancel_with_etimedout_is_not_the_deadline);
	tcase_add_test(c, test_failure_cause_names_the_task_that_failed);
	tcase_add_test(c, test_failure_cause_names_the_task_that_cancelled);
	tcase_add_test(c,
	    test_failure_report_of_a_quiet_nursery_is_all_zero);
	tcase_add_test(c, test_failure_report_has_all_of_a_failure);
	tcase_add_test(c, test_failure_report_fills_structs_of_any_size);
	tcase_add_test(c, test_failure_report_prints_what_happened);
	tcase_add_test(c, test_failure_on_done_is_serialised_and_complete);
	tcase_add_test(c, test_failure_on_done_may_cancel);
	tcase_add_test(c, test_failure_on_done_may_use_the_library);
	tcase_add_test(c,
	    test_failure_on_done_that_waits_for_its_nursery_is_edeadlk);
	tcase_add_test(c,
	    test_failure_final_gets_the_place_while_a_canceller_reports);
	tcase_add_test(c, test_failure_pthread_exit_is_an_error_of_the_task);
	tcase_add_test(c,
	    test_failure_first_success_cancels_the_rest_and_close_is_0);
	tcase_add_test(c,
	    test_failure_without_a_success_the_first_error_is_returned);
	tcase_add_test(c,
	    test_failure_success_wins_over_errors_before_and_after);
	tcase_add_test(c,
	    test_failure_no_success_in_an_empty_or_cancelled_nursery);
	tcase_add_test(c, test_failure_a_services_success_does_not_win);
	suite_add_tcase(s, c);
	return run_suite(s);
}
