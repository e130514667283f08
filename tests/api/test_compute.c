/* SPDX-License-Identifier: MIT */
/* The compute lane: few threads, many tasks, and the same promises. */
#include "tasks.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MANY	100000

static struct nursery *
open_compute(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.lane = NURSERY_COMPUTE;
	return open_root(&a);
}

/* To be called before the first nursery: each test is its own process. */
static void
have_workers(const char *number)
{
	ck_assert_int_eq(setenv("NURSERY_WORKERS", number, 1), 0);
}

static struct nursery_counts
close_and_count(struct nursery **n, int expected)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r;

	ck_assert_int_eq(nursery_close_with(n, &r), expected);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	nursery_report_free(r);
	return c;
}

/* ---- running ---- */

START_TEST(test_compute_runs_each_task_once)
{
	struct nursery *n = open_compute();
	struct nursery_counts c;
	unsigned i, tasks = scaled(MANY);
	int ran = 0;

	for (i = 0; i < tasks; i++)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	c = close_and_count(&n, 0);
	ck_assert_uint_eq((unsigned)ran, tasks);
	ck_assert_uint_eq(c.spawned, tasks);
	ck_assert_uint_eq(c.succeeded, tasks);
	ck_assert_uint_eq(c.failed + c.cancelled + c.discarded, 0);
}
END_TEST

struct fib {
	int n;
	long result;
};

static int
fib(struct nursery_token *t, void *arg)
{
	struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };
	struct nursery *n;
	int rc;

	if (f->n < 2) {
		f->result = f->n;
		return 0;
	}
	rc = nursery_open_child(&n, nursery_current(), NULL);
	if (rc != 0)
		return rc;
	rc = nursery_spawn(n, fib, &a);
	if (rc == 0)
		rc = fib(t, &b);
	f->result = nursery_close(&n) == 0 ? a.result + b.result : -1;
	return rc;
}

START_TEST(test_compute_nested_nurseries_inherit_the_lane)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nursery *n;
	struct fib f = { 16, 0 };

	have_workers(_i == 0 ? "1" : "3");
	n = open_compute();
	ck_assert_int_eq(nursery_spawn(n, fib, &f), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(f.result, 987);
	/* A thread a task, as on the other lane, would have been hundreds. */
	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_le(s.threads, 32);
}
END_TEST

struct deep {
	int left;
	int *ran;
};

static int
go_deeper(struct nursery_token *t, void *arg)
{
	struct deep *d = arg, next = { d->left - 1, d->ran };
	struct nursery *n;
	int rc;

	(void)t;
	count_up(d->ran);
	if (d->left == 0)
		return 0;
	rc = nursery_open_child(&n, nursery_current(), NULL);
	if (rc == 0)
		rc = nursery_spawn(n, go_deeper, &next);
	return rc == 0 ? nursery_close(&n) : rc;
}

START_TEST(test_compute_a_thousand_closes_deep_on_one_worker)
{
	int ran = 0;
	struct deep d = { 1000, &ran };
	struct nursery *n;

	have_workers("1");
	n = open_compute();
	ck_assert_int_eq(nursery_spawn(n, go_deeper, &d), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1001);
}
END_TEST

static int
spawn_below(struct nursery_token *t, void *arg)
{
	struct deep *d = arg;
	struct deep *kid;
	int i, rc = 0;

	(void)t;
	count_up(d->ran);
	for (i = 0; i < 2 && d->left > 0 && rc == 0; i++) {
		kid = malloc(sizeof *kid);
		*kid = (struct deep){ d->left - 1, d->ran };
		rc = nursery_spawn(nursery_current(), spawn_below, kid);
	}
	free(d);
	return rc;
}

START_TEST(test_compute_members_spawn_into_their_own_nursery)
{
	struct nursery *n = open_compute();
	struct deep *d = malloc(sizeof *d);
	struct nursery_counts c;
	int ran = 0;

	*d = (struct deep){ 10, &ran };
	ck_assert_int_eq(nursery_spawn(n, spawn_below, d), 0);
	c = close_and_count(&n, 0);
	ck_assert_int_eq(ran, 2047);
	ck_assert_uint_eq(c.spawned, 2047);
	ck_assert_uint_eq(c.succeeded, 2047);
}
END_TEST

struct outside {
	struct nursery *n;
	int *ran;
	unsigned tasks;
};

static void *
spawn_from_outside(void *arg)
{
	struct outside *o = arg;
	unsigned i;

	for (i = 0; i < o->tasks; i++)
		ck_assert_int_eq(nursery_spawn(o->n, task_count, o->ran), 0);
	nursery_unref(o->n);
	return NULL;
}

START_TEST(test_compute_four_threads_spawn_into_one_nursery)
{
	struct nursery *n = open_compute();
	unsigned i, tasks = scaled(MANY / 4);
	pthread_t id[4];
	int ran = 0;
	struct outside o = { n, &ran, tasks };

	for (i = 0; i < 4; i++) {
		(void)nursery_ref(n);
		id[i] = start_thread(spawn_from_outside, &o);
	}
	/* Their counts are collected while they may go on. */
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	for (i = 0; i < 4; i++)
		(void)end_thread(id[i]);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_uint_eq((unsigned)ran, 4 * tasks);
}
END_TEST

struct waiter {
	struct nursery *n;
	struct gate gate;
	int rc;
};

static void *
wait_elsewhere(void *arg)
{
	struct waiter *w = arg;

	w->rc = nursery_wait(w->n, NURSERY_NEVER);
	gate_open(&w->gate);
	return NULL;
}

/* What the opener has counted, and does not tell because it does something
 * else, is collected by who waits. */
START_TEST(test_compute_another_thread_waits_while_the_opener_is_away)
{
	struct waiter w = { .n = open_compute(), .rc = -1 };
	pthread_t id;
	int ran = 0, i;

	gate_init(&w.gate);
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(w.n, task_count, &ran), 0);
	id = start_thread(wait_elsewhere, &w);
	gate_pass(&w.gate);
	ck_assert_int_eq(w.rc, 0);
	ck_assert_int_eq(counted(&ran), 100);
	(void)end_thread(id);
	/* It counts on, as before. */
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(w.n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&w.n), 0);
	ck_assert_int_eq(ran, 200);
}
END_TEST

/* ---- blocking ---- */

struct pair {
	struct nursery_channel *c;
	int fd[2];
	int how;
};

enum { CHANNEL, ANNOUNCED, UNANNOUNCED, SLEEP };

static int
wait_for_the_other(struct nursery_token *t, void *arg)
{
	struct pair *p = arg;
	char byte;
	ssize_t n;

	if (p->how == CHANNEL)
		return nursery_channel_recv(t, p->c, &byte, NURSERY_NEVER);
	if (p->how == SLEEP)
		return nursery_read(t, p->fd[0], &byte, 1, NURSERY_NEVER) == 1
		    ? 0 : EIO;
	if (p->how == ANNOUNCED)
		nursery_blocking_begin();
	n = read(p->fd[0], &byte, 1);
	if (p->how == ANNOUNCED)
		nursery_blocking_end();
	return n == 1 ? 0 : EIO;
}

static int
serve_the_other(struct nursery_token *t, void *arg)
{
	struct pair *p = arg;

	if (p->how == CHANNEL)
		return nursery_channel_send(t, p->c, "x", NURSERY_NEVER);
	return write(p->fd[1], "x", 1) == 1 ? 0 : EIO;
}

START_TEST(test_compute_who_blocks_gives_its_place_away)
{
	struct pair p = { .how = _i };
	struct nursery *n;
	int i;

	have_workers("1");
	ck_assert_int_eq(pipe(p.fd), 0);
	ck_assert_int_eq(nursery_channel_new(&p.c, 1, 1), 0);
	n = open_compute();
	for (i = 0; i < 8; i++)
		ck_assert_int_eq(nursery_spawn(n, wait_for_the_other, &p), 0);
	/* All of them wait, each with another thread for its place. */
	for (i = 0; i < 8; i++)
		ck_assert_int_eq(nursery_spawn(n, serve_the_other, &p), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	nursery_channel_free(p.c);
	close(p.fd[0]);
	close(p.fd[1]);
}
END_TEST

struct locker {
	pthread_mutex_t m;
	int strangers;		/* that came in while we were in */
};

static int
enter_as_a_stranger(struct nursery_token *t, void *arg)
{
	struct locker *l = arg;
	int rc = pthread_mutex_lock(&l->m);

	(void)t;
	/* EDEADLK: on top of the one who holds it. */
	if (rc == EDEADLK)
		count_up(&l->strangers);
	if (rc == 0)
		pthread_mutex_unlock(&l->m);
	return 0;
}

static int
close_with_the_lock(struct nursery_token *t, void *arg)
{
	struct locker *l = arg;
	struct nursery *n;
	int i, ran = 0;

	(void)t;
	pthread_mutex_lock(&l->m);
	if (nursery_open_child(&n, nursery_current(), NULL) != 0)
		return ENOMEM;
	for (i = 0; i < 10; i++)
		(void)nursery_spawn(n, task_count, &ran);
	(void)nursery_close(&n);
	pthread_mutex_unlock(&l->m);
	return ran == 10 ? 0 : EIO;
}

START_TEST(test_compute_who_waits_runs_no_stranger)
{
	struct locker l = { .strangers = 0 };
	pthread_mutexattr_t a;
	struct nursery *n;
	int i;

	have_workers(_i == 0 ? "1" : "4");
	(void)pthread_mutexattr_init(&a);
	(void)pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	(void)pthread_mutex_init(&l.m, &a);
	n = open_compute();
	for (i = 0; i < 200; i++)
		ck_assert_int_eq(nursery_spawn(n, i % 4 == 0 ?
		    close_with_the_lock : enter_as_a_stranger, &l), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(l.strangers, 0);
	(void)pthread_mutex_destroy(&l.m);
	(void)pthread_mutexattr_destroy(&a);
}
END_TEST

/* ---- failing, cancelling ---- */

START_TEST(test_compute_first_error_cancels_and_is_returned)
{
	struct nursery *n = open_compute();
	struct nursery_counts c;
	unsigned i, tasks = scaled(10000);
	int rc = 0, code = EIO, ran = 0;

	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	for (i = 1; i < tasks && rc == 0; i++)
		rc = nursery_spawn(n, task_count, &ran);
	if (rc != 0)
		ck_assert_int_eq(rc, ECANCELED);
	c = close_and_count(&n, EIO);
	ck_assert_uint_eq(c.failed, 1);
	ck_assert_uint_eq(c.succeeded, (unsigned)ran);
	ck_assert_uint_eq(c.spawned, c.failed + c.succeeded + c.discarded);
}
END_TEST

START_TEST(test_compute_report_names_the_failures)
{
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int codes[3] = { EIO, EPERM, ENOENT }, i, sum = 0;
	struct nursery_report *r;
	struct nursery *n;

	a.lane = NURSERY_COMPUTE;
	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(nursery_spawn(n, task_return, &codes[i]), 0);
	ck_assert_int_ne(nursery_close_with(&n, &r), 0);
	ck_assert_uint_eq(nursery_report_failed(r), 3);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(nursery_report_failure(r, (size_t)i, &f), 0);
		ck_assert_uint_ne(f.task, 0);
		ck_assert_int_eq(f.started, 0);
		ck_assert_int_ne(f.ended, 0);
		sum += f.code;
	}
	ck_assert_int_eq(sum, EIO + EPERM + ENOENT);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_compute_queued_tasks_are_discarded_at_a_cancel)
{
	struct nursery_counts c;
	unsigned i, tasks = scaled(MANY);
	struct nursery *n;
	struct gate g;
	int ran = 0;

	have_workers("1");
	gate_init(&g);
	n = open_compute();
	/* The worker is busy; the waiter comes after the cancel. */
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	for (i = 0; i < tasks; i++)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	nursery_cancel(n);
	i = (unsigned)counted(&ran);
	gate_open(&g);
	c = close_and_count(&n, ECANCELED);
	/* One may have been on its way to run. */
	ck_assert_uint_le((unsigned)ran, i + 2);
	ck_assert_uint_eq(c.discarded + (unsigned)ran, tasks);
	ck_assert_uint_eq(c.succeeded + c.cancelled, (unsigned)ran + 1);
}
END_TEST

/* One that has a place, and is called off before it runs, gives it to the
 * last words that wait for one. */
START_TEST(test_compute_who_is_called_off_gives_its_place_away)
{
	struct nursery_task_attr last = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *busy, *n;
	struct nursery_counts c;
	int ran = 0, said = 0;
	struct gate g;

	have_workers("1");
	gate_init(&g);
	busy = open_compute();
	ck_assert_int_eq(nursery_spawn(busy, task_at_gate, &g), 0);
	gate_await(&g, 1);
	a.lane = NURSERY_COMPUTE;
	a.max_running = 1;
	n = open_root(&a);
	last.flags = NURSERY_TASK_FINAL;
	last.deadline = patience();
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_spawn_with(n, &last, task_count, &said,
	    NULL), 0);
	nursery_cancel(n);
	gate_open(&g);
	c = close_and_count(&n, ECANCELED);
	ck_assert_int_eq(ran, 0);
	ck_assert_int_eq(said, 1);
	ck_assert_uint_eq(c.discarded, 1);
	ck_assert_int_eq(nursery_close(&busy), 0);
}
END_TEST

static int
spawn_while_draining(struct nursery_token *t, void *arg)
{
	(void)t;
	nursery_drain(nursery_current());
	return nursery_spawn(nursery_current(), task_count, arg);
}

START_TEST(test_compute_refusals)
{
	struct nursery *n = open_compute(), *kept;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, spawn_while_draining, &ran), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ESHUTDOWN);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ECANCELED);
	ck_assert_int_eq(nursery_spawn_copy(n, task_count, &ran, 4),
	    ECANCELED);
	kept = nursery_ref(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nursery_spawn(kept, task_count, &ran), ESHUTDOWN);
	nursery_unref(kept);
	ck_assert_int_eq(ran, 1);
	/* The workers' stacks are what they are. */
	a.lane = NURSERY_COMPUTE;
	a.stack_size = 64 * 1024 * 1024;
	ck_assert_int_eq(nursery_open(&n, &a), ENOTSUP);
}
END_TEST

static int
leave_one_open(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	if (nursery_open_child(&n, nursery_current(), NULL) != 0)
		return ENOMEM;
	return nursery_spawn(n, task_count, arg);
}

/* The same by one that has a record only since it opened that. */
static int
leave_one_open_late(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	if (nursery_open_child(&n, nursery_current(), NULL) != 0)
		return ENOMEM;
	if (nursery_self() == NULL)
		return EIO;
	return nursery_spawn(n, task_count, arg);
}

START_TEST(test_compute_a_nursery_left_open_is_closed)
{
	struct nursery *n = open_compute();
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, _i == 0 ? leave_one_open :
	    leave_one_open_late, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
	ck_assert_int_le(ran, 1);
}
END_TEST

static int
close_own(struct nursery_token *t, void *arg)
{
	struct nursery **n = arg;
	struct nursery *own = *n;
	int wait = nursery_wait(own, NURSERY_NEVER);

	(void)t;
	return wait == EDEADLK && nursery_close(&own) == EDEADLK ? 0 : EIO;
}

START_TEST(test_compute_a_member_does_not_wait_for_its_own)
{
	struct nursery *n = open_compute();

	ck_assert_int_eq(nursery_spawn(n, close_own, &n), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- who one is ---- */

struct self {
	struct nursery *n;
	struct nursery_task *kept;
	uint64_t id;
	int wrong;
};

static int
look_at_self(struct nursery_token *t, void *arg)
{
	struct self *s = arg;
	struct nursery_task *me = nursery_self();

	s->wrong = me == NULL || me != nursery_self() ||
	    nursery_current() != s->n || nursery_task_token(me) != t ||
	    nursery_task_wait(me, NURSERY_NEVER) != EDEADLK;
	s->id = nursery_task_id(me);
	s->kept = nursery_task_ref(me);
	return 0;
}

START_TEST(test_compute_a_task_can_be_asked_for)
{
	struct self s[2] = { { .n = open_compute() } };
	int i;

	s[1].n = s[0].n;
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(nursery_spawn(s[i].n, look_at_self, &s[i]),
		    0);
	ck_assert_int_eq(nursery_close(&s[0].n), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(s[i].wrong, 0);
		ck_assert_uint_ne(s[i].id, 0);
		ck_assert_uint_eq(nursery_task_id(s[i].kept), s[i].id);
		ck_assert_int_eq(nursery_task_join(&s[i].kept, NULL), 0);
	}
	ck_assert_uint_ne(s[0].id, s[1].id);
}
END_TEST

struct big {
	char text[200];
	int *ran;
};

static int
use_copy(struct nursery_token *t, void *arg)
{
	struct big *b = arg;

	(void)t;
	if (strcmp(b->text, "as it was") == 0)
		count_up(b->ran);
	return 0;
}

START_TEST(test_compute_copies_arguments)
{
	struct nursery *n = open_compute();
	int ran = 0, i;
	struct big b = { "as it was", &ran };

	for (i = 0; i < 1000; i++)
		ck_assert_int_eq(nursery_spawn_copy(n, use_copy, &b, sizeof
		    b), 0);
	strcpy(b.text, "otherwise");
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1000);
}
END_TEST

/* ---- tasks with attributes ---- */

struct rush {
	int at_once, most, ran;
};

static int
rush(struct nursery_token *t, void *arg)
{
	struct rush *r = arg;
	int now = __atomic_add_fetch(&r->at_once, 1, __ATOMIC_SEQ_CST);

	if (now > counted(&r->most))
		__atomic_store_n(&r->most, now, __ATOMIC_SEQ_CST);
	(void)nursery_sleep(t, nursery_after(100 * NURSERY_US));
	__atomic_sub_fetch(&r->at_once, 1, __ATOMIC_SEQ_CST);
	count_up(&r->ran);
	return 0;
}

START_TEST(test_compute_limits_hold)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct rush r = { 0, 0, 0 };
	struct nursery *n;
	int i;

	a.lane = NURSERY_COMPUTE;
	a.max_running = 3;
	n = open_root(&a);
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(n, rush, &r), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(r.ran, 100);
	ck_assert_int_le(r.most, 3);
}
END_TEST

START_TEST(test_compute_handles_join)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = _i == 0 ? open_compute() : open_root(NULL);
	struct nursery_task *t[20];
	int code = EPERM, result, ran = 0, i;
	struct nursery_counts c;

	a.name = "named";
	a.lane = NURSERY_COMPUTE;
	/* Before the last one fails, and cancels what is queued. */
	for (i = 0; i < 19; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &ran,
		    &t[i]), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_int_eq(ran, 19);
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_return, &code,
	    &t[19]), 0);
	for (i = 0; i < 20; i++) {
		ck_assert_str_eq(nursery_task_name(t[i]), "named");
		ck_assert_int_eq(nursery_task_join(&t[i], &result), 0);
	}
	ck_assert_int_eq(result, EPERM);
	c = close_and_count(&n, EPERM);
	ck_assert_uint_eq(c.spawned, 20);
	ck_assert_uint_eq(c.failed, 1);
}
END_TEST

static int
on_a_thread_of_its_own(struct nursery_token *t, void *arg)
{
	(void)t;
	/* The lane's one worker waits here, and knows nobody. */
	gate_pass(arg);
	return 0;
}

static int
open_the_gate(struct nursery_token *t, void *arg)
{
	(void)t;
	gate_open(arg);
	return 0;
}

START_TEST(test_compute_one_task_on_the_other_lane)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n;
	struct gate g;
	int i;

	have_workers("1");
	gate_init(&g);
	n = open_compute();
	a.lane = NURSERY_BLOCKING;
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &a,
		    on_a_thread_of_its_own, &g, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, open_the_gate, &g), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static void
count_result(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	(void)n;
	if (r->code == 0 && r->started != 0)
		count_up(ctx);
}

START_TEST(test_compute_on_done_is_told)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int ran = 0, told = 0, i;

	a.lane = NURSERY_COMPUTE;
	a.on_done = count_result;
	a.ctx = &told;
	n = open_root(&a);
	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 100);
	ck_assert_int_eq(told, 100);
}
END_TEST

START_TEST(test_compute_first_success_wins)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int ran = 0;

	a.lane = NURSERY_COMPUTE;
	a.policy = NURSERY_FIRST_SUCCESS;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- seen, stopped, left ---- */

START_TEST(test_compute_running_tasks_are_in_the_dump)
{
	struct nursery *n = open_compute();
	int i;

	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL),
		    0);
	await_tasks_in("sleep", 5);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

static int
deaf(struct nursery_token *t, void *arg)
{
	(void)t;
	gate_pass(arg);
	return 0;
}

START_TEST(test_compute_stop_names_who_stays)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_result s = NURSERY_RESULT_INIT;
	struct nursery *n = open_compute();
	struct nursery_report *r;
	struct gate g;

	gate_init(&g);
	how.drain_for = how.cancel_for = how.abort_for = NURSERY_MS;
	ck_assert_int_eq(nursery_spawn(n, deaf, &g), 0);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	ck_assert_uint_eq(nursery_report_unfinished(r), 1);
	ck_assert_int_eq(nursery_report_stuck(r, 0, &s), 0);
	ck_assert_uint_ne(s.task, 0);
	nursery_report_free(r);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* Spawns itself again and again, until somebody else has run. */
struct busy {
	struct nursery *n;
	struct gate begun, served;
	int ran, rounds;
};

static int
stay_busy(struct nursery_token *t, void *arg)
{
	struct busy *b = arg;

	(void)t;
	if (b->rounds++ == 0)
		gate_open(&b->begun);
	return counted(&b->ran) != 0 ? 0 : nursery_spawn(b->n, stay_busy, b);
}

static int
be_served(struct nursery_token *t, void *arg)
{
	struct busy *b = arg;

	(void)t;
	count_up(&b->ran);
	gate_open(&b->served);
	return 0;
}

/* A worker that always has something of its own does not forget what others
 * have, who do not run it themselves. */
START_TEST(test_compute_outsiders_have_their_turn)
{
	struct busy b = { .rounds = 0 };

	have_workers("1");
	gate_init(&b.begun);
	gate_init(&b.served);
	b.n = open_compute();
	ck_assert_int_eq(nursery_spawn(b.n, stay_busy, &b), 0);
	gate_pass(&b.begun);
	ck_assert_int_eq(nursery_spawn(b.n, be_served, &b), 0);
	gate_pass(&b.served);
	ck_assert_int_eq(nursery_close(&b.n), 0);
	ck_assert_int_eq(b.ran, 1);
}
END_TEST

/* What lies behind a worker that is busy for long is run by who waits. */
static int
spin_until_served(struct nursery_token *t, void *arg)
{
	struct busy *b = arg;

	(void)t;
	ck_assert_int_eq(nursery_spawn(b->n, be_served, b), 0);
	gate_open(&b->begun);
	while (counted(&b->ran) == 0)
		;
	return 0;
}

START_TEST(test_compute_who_waits_runs_what_a_busy_worker_has)
{
	struct busy b = { .rounds = 0 };

	have_workers(_i == 0 ? "1" : "2");
	gate_init(&b.begun);
	gate_init(&b.served);
	b.n = open_compute();
	ck_assert_int_eq(nursery_spawn(b.n, spin_until_served, &b), 0);
	gate_pass(&b.begun);
	ck_assert_int_eq(nursery_close(&b.n), 0);
	ck_assert_int_eq(b.ran, 1);
}
END_TEST

/* One who runs his own, and blocks in the midst of it, is no worker either. */
static int
await_service(struct nursery_token *t, void *arg)
{
	struct busy *b = arg;

	(void)t;
	gate_pass(&b->served);
	return 0;
}

START_TEST(test_compute_what_a_helper_cannot_run_has_its_turn)
{
	struct busy b = { .rounds = 0 };
	struct nursery *n = NULL;

	have_workers("1");
	gate_init(&b.begun);
	gate_init(&b.served);
	b.n = open_compute();
	n = open_compute();
	ck_assert_int_eq(nursery_spawn(b.n, stay_busy, &b), 0);
	gate_pass(&b.begun);
	ck_assert_int_eq(nursery_spawn(n, be_served, &b), 0);
	ck_assert_int_eq(nursery_spawn(n, await_service, &b), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(nursery_close(&b.n), 0);
	ck_assert_int_eq(b.ran, 1);
}
END_TEST

static int
leave_by_exit(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	pthread_exit(NULL);
}

static int
let_one_leave(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	(void)unused;
	a.lane = NURSERY_COMPUTE;
	if (nursery_open(&n, &a) != 0)
		return 1;
	(void)nursery_spawn(n, leave_by_exit, NULL);
	(void)nursery_close(&n);
	return 2;
}

START_TEST(test_compute_pthread_exit_is_misuse)
{
	struct outcome o;

	run_forked(&o, let_one_leave, NULL);
	assert_aborted(&o, "pthread_exit");
}
END_TEST

static int
compute_in_child(void *nursery)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *old = nursery, *n;
	int ran = 0, i;

	if (nursery_spawn(old, task_count, &ran) != EOWNERDEAD)
		return 1;
	a.lane = NURSERY_COMPUTE;
	if (nursery_open(&n, &a) != 0)
		return 2;
	for (i = 0; i < 1000; i++)
		if (nursery_spawn(n, task_count, &ran) != 0)
			return 3;
	if (nursery_close(&n) != 0 || ran != 1000)
		return 4;
	return nursery_close(&old) == EOWNERDEAD ? 0 : 5;
}

START_TEST(test_compute_a_forked_child_has_a_lane_of_its_own)
{
	struct nursery *n = open_compute();
	struct outcome o;
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	run_forked(&o, compute_in_child, n);
	assert_good(&o);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 2);
}
END_TEST

static int
block_in_child(void *pair)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.lane = NURSERY_COMPUTE;
	a.flags = NURSERY_NO_HELP;
	if (nursery_open(&n, &a) != 0 || nursery_spawn(n, wait_for_the_other,
	    pair) != 0 || nursery_spawn(n, serve_the_other, pair) != 0)
		return 1;
	return nursery_close(&n) == 0 ? 0 : 2;
}

/* The parent's monitor is not the child's: which has its own. */
START_TEST(test_compute_who_blocks_in_a_forked_child_is_noticed)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct pair p = { .how = UNANNOUNCED };
	struct nursery *n;
	struct outcome o;

	have_workers("1");
	ck_assert_int_eq(pipe(p.fd), 0);
	a.lane = NURSERY_COMPUTE;
	/* Nobody helps: only the monitor can. */
	a.flags = NURSERY_NO_HELP;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, wait_for_the_other, &p), 0);
	ck_assert_int_eq(nursery_spawn(n, serve_the_other, &p), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	run_forked(&o, block_in_child, &p);
	assert_good(&o);
	close(p.fd[0]);
	close(p.fd[1]);
}
END_TEST

/* Until no thread wakes up time and again: the monitor, which does so 20 times
 * in such a while for some time after a place has become free, sleeps.  (A
 * sanitizer's own thread may wake up a few times.) */
static void
await_quiet(void)
{
	int64_t until = patience();
	struct rusage before, after;

	do {
		ck_assert(nursery_now() < until);
		(void)getrusage(RUSAGE_SELF, &before);
		(void)nursery_sleep(NULL, nursery_after(200 * NURSERY_MS));
		(void)getrusage(RUSAGE_SELF, &after);
	} while (after.ru_nvcsw - before.ru_nvcsw > 10);
}

START_TEST(test_compute_who_blocks_is_noticed_when_the_monitor_has_slept)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct pair p = { .how = UNANNOUNCED };
	struct nursery *n;
	int i;

	have_workers("1");
	ck_assert_int_eq(pipe(p.fd), 0);
	a.lane = NURSERY_COMPUTE;
	/* Nobody helps: only the monitor can. */
	a.flags = NURSERY_NO_HELP;
	for (i = 0; i < 2; i++) {
		if (i > 0)
			await_quiet();
		n = open_root(&a);
		ck_assert_int_eq(nursery_spawn(n, wait_for_the_other, &p), 0);
		ck_assert_int_eq(nursery_spawn(n, serve_the_other, &p), 0);
		ck_assert_int_eq(nursery_close(&n), 0);
	}
	close(p.fd[0]);
	close(p.fd[1]);
}
END_TEST

/* A thread that ends leaves what it has spawned to others. */
START_TEST(test_compute_tasks_outlive_the_thread_that_spawned_them)
{
	struct nursery *n;
	struct gate g;
	int ran = 0;
	struct outside o;

	have_workers("1");
	gate_init(&g);
	n = open_compute();
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	o = (struct outside){ nursery_ref(n), &ran, 5000 };
	(void)end_thread(start_thread(spawn_from_outside, &o));
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 5000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("compute");
	TCase *c = leakless_case("compute");

	tcase_add_test(c, test_compute_runs_each_task_once);
	tcase_add_loop_test(c, test_compute_nested_nurseries_inherit_the_lane,
	    0, 2);
	tcase_add_test(c, test_compute_a_thousand_closes_deep_on_one_worker);
	tcase_add_test(c, test_compute_members_spawn_into_their_own_nursery);
	tcase_add_test(c, test_compute_four_threads_spawn_into_one_nursery);
	tcase_add_test(c,
	    test_compute_another_thread_waits_while_the_opener_is_away);
	tcase_add_loop_test(c, test_compute_who_blocks_gives_its_place_away,
	    CHANNEL, SLEEP + 1);
	tcase_add_loop_test(c, test_compute_who_waits_runs_no_stranger, 0, 2);
	tcase_add_test(c, test_compute_first_error_cancels_and_is_returned);
	tcase_add_test(c, test_compute_report_names_the_failures);
	tcase_add_test(c, test_compute_queued_tasks_are_discarded_at_a_cancel);
	tcase_add_test(c, test_compute_who_is_called_off_gives_its_place_away);
	tcase_add_test(c, test_compute_refusals);
	tcase_add_loop_test(c, test_compute_a_nursery_left_open_is_closed, 0,
	    2);
	tcase_add_test(c, test_compute_a_member_does_not_wait_for_its_own);
	tcase_add_test(c, test_compute_a_task_can_be_asked_for);
	tcase_add_test(c, test_compute_copies_arguments);
	tcase_add_test(c, test_compute_limits_hold);
	tcase_add_loop_test(c, test_compute_handles_join, 0, 2);
	tcase_add_test(c, test_compute_one_task_on_the_other_lane);
	tcase_add_test(c, test_compute_on_done_is_told);
	tcase_add_test(c, test_compute_first_success_wins);
	tcase_add_test(c, test_compute_running_tasks_are_in_the_dump);
	tcase_add_test(c, test_compute_stop_names_who_stays);
	tcase_add_test(c, test_compute_outsiders_have_their_turn);
	tcase_add_test(c,
	    test_compute_what_a_helper_cannot_run_has_its_turn);
	tcase_add_loop_test(c,
	    test_compute_who_waits_runs_what_a_busy_worker_has, 0, 2);
	tcase_add_test(c, test_compute_pthread_exit_is_misuse);
	tcase_add_test(c, test_compute_a_forked_child_has_a_lane_of_its_own);
	tcase_add_test(c,
	    test_compute_who_blocks_in_a_forked_child_is_noticed);
	tcase_add_test(c,
	    test_compute_who_blocks_is_noticed_when_the_monitor_has_slept);
	tcase_add_test(c,
	    test_compute_tasks_outlive_the_thread_that_spawned_them);
	suite_add_tcase(s, c);
	return run_suite(s);
}
