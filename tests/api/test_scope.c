/* SPDX-License-Identifier: MIT */
/* Spawning: what a task gets, who is accepted when, what becomes of arg. */
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- running ---- */

START_TEST(test_scope_close_waits_for_all)
{
	struct nursery *n = open_root(NULL);
	int ran = 0, i;

	for (i = 0; i < 100; i++)
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_ptr_null(n);
	ck_assert_int_eq(ran, 100);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_empty_nursery_closes_at_once)
{
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_wait(n, 0), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* Plain memory, no atomics: spawn and close order it. */
struct plain {
	int in, out;
};

static int
double_it(struct nursery_token *t, void *arg)
{
	struct plain *p = arg;

	(void)t;
	p->out = 2 * p->in;
	return 0;
}

START_TEST(test_scope_spawn_and_close_order_plain_memory)
{
	struct nursery *n = open_root(NULL);
	struct plain p[50];
	int i;

	for (i = 0; i < 50; i++) {
		p[i].in = i;
		ck_assert_int_eq(nursery_spawn(n, double_it, &p[i]), 0);
	}
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	for (i = 0; i < 50; i++)
		ck_assert_int_eq(p[i].out, 2 * i);
	for (i = 0; i < 50; i++)
		ck_assert_int_eq(nursery_spawn(n, double_it, &p[i]), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	for (i = 0; i < 50; i++)
		ck_assert_int_eq(p[i].out, 2 * i);
}
END_TEST

/* The rendezvous of all shows that each has a thread of its own. */
static int
meet(struct nursery_token *t, void *barrier)
{
	(void)t;
	pthread_barrier_wait(barrier);
	return 0;
}

START_TEST(test_scope_no_task_queues_behind_another)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL);
	pthread_barrier_t all;
	int i;

	pthread_barrier_init(&all, NULL, 40);
	for (i = 0; i < 40; i++)
		ck_assert_int_eq(nursery_spawn(i % 2 ? n : inner, meet, &all),
		    0);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	pthread_barrier_destroy(&all);
}
END_TEST

/* ---- what a task gets ---- */

struct seen {
	struct nursery_token *token, *self_token;
	struct nursery *current;
	uint64_t id;
	char name[64];
	void *arg;
	pid_t tid;
};

static int
look_around(struct nursery_token *t, void *arg)
{
	struct seen *s = arg;
	struct nursery_task *self = nursery_self();

	s->token = t;
	s->self_token = nursery_task_token(self);
	s->current = nursery_current();
	s->id = nursery_task_id(self);
	snprintf(s->name, sizeof s->name, "%s", nursery_task_name(self));
	s->arg = arg;
	s->tid = own_tid();
	return 0;
}

static int
look_around_copy(struct nursery_token *t, void *arg)
{
	struct seen *s;

	memcpy(&s, arg, sizeof s);
	return look_around(t, s);
}

START_TEST(test_scope_spawn_passes_the_nurserys_token)
{
	struct nursery *n = open_root(NULL);
	struct seen s[3], *p = &s[2];
	int i, k;

	ck_assert_int_eq(nursery_spawn(n, look_around, &s[0]), 0);
	ck_assert_int_eq(nursery_try_spawn(n, look_around, &s[1]), 0);
	ck_assert_int_eq(nursery_spawn_copy(n, look_around_copy, &p,
	    sizeof p), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	for (i = 0; i < 3; i++) {
		ck_assert_ptr_eq(s[i].token, nursery_token_of(n));
		ck_assert_ptr_eq(s[i].self_token, s[i].token);
		ck_assert_ptr_eq(s[i].current, n);
		ck_assert_ptr_eq(s[i].arg, &s[i]);
		ck_assert_str_eq(s[i].name, "");
		ck_assert_uint_ne(s[i].id, 0);
		for (k = 0; k < i; k++)
			ck_assert_uint_ne(s[i].id, s[k].id);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_spawn_with_passes_a_token_of_its_own)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct seen s[2];

	a.name = "a name of more than thirty-one bytes, to be cut";
	ck_assert_int_eq(nursery_spawn_with(n, &a, look_around, &s[0], NULL),
	    0);
	ck_assert_int_eq(nursery_spawn_with(n, NULL, look_around, &s[1],
	    NULL), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_ptr_ne(s[0].token, nursery_token_of(n));
	ck_assert_ptr_ne(s[1].token, nursery_token_of(n));
	ck_assert_ptr_eq(s[0].self_token, s[0].token);
	ck_assert_str_eq(s[0].name, "a name of more than thirty-one ");
	ck_assert_str_eq(s[1].name, "");
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_outside_tasks_there_is_no_self)
{
	struct nursery *n = open_root(NULL);

	ck_assert_ptr_null(nursery_self());
	ck_assert_ptr_null(nursery_current());
	ck_assert_uint_eq(nursery_task_id(NULL), 0);
	ck_assert_ptr_null(nursery_task_name(NULL));
	ck_assert_ptr_null(nursery_task_token(NULL));
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* Waits on its own token, past the cancel of everything above it. */
static int
outlast(struct nursery_token *t, void *gate)
{
	if (nursery_token_wait(t, NURSERY_NEVER) != 0)
		return EBADMSG;
	gate_pass(gate);
	return nursery_token_is_cancelled(t) && nursery_token_cause(t,
	    NURSERY_CANCEL, NULL) == 19 ? ECANCELED : EBADMSG;
}

START_TEST(test_scope_token_of_a_task_is_valid_until_fn_returns)
{
	struct nursery *n = open_root(NULL);
	struct gate g;

	gate_init(&g);
	spawn_named(n, "outlasts", outlast, &g);
	ck_assert_int_eq(nursery_spawn(n, outlast, &g), 0);
	nursery_cancel_with(n, 19, NULL);
	gate_await(&g, 2);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_scope_deadline_of_a_task_cancels_it_alone)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	int code = 0;

	a.deadline = 1;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_until_cancelled,
	    NULL, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	/* Told to stop and stopped: cancelled, not failed. */
	ck_assert_int_eq(nursery_close_with(&n, &r), 0);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.cancelled, 1);
	ck_assert_uint_eq(c.failed, 0);
	nursery_report_free(r);
}
END_TEST

/* ---- spawn_copy ---- */

static int
check_copy(struct nursery_token *t, void *arg)
{
	const unsigned char *p = arg;
	size_t len, i;

	(void)t;
	memcpy(&len, p, sizeof len);
	for (i = sizeof len; i < len; i++)
		if (p[i] != (unsigned char)i)
			return EBADMSG;
	return (uintptr_t)arg % _Alignof(max_align_t) == 0 ? 0 : EFAULT;
}

START_TEST(test_scope_spawn_copy_has_its_own)
{
	struct nursery *n = open_root(NULL);
	unsigned char data[5000];
	size_t len, i;

	for (len = sizeof len; len < sizeof data; len = len * 5 / 4 + 1) {
		for (i = sizeof len; i < len; i++)
			data[i] = (unsigned char)i;
		memcpy(data, &len, sizeof len);
		ck_assert_int_eq(nursery_spawn_copy(n, check_copy, data, len),
		    0);
		memset(data, 0xee, sizeof data);
	}
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

static int
needs_no_data(struct nursery_token *t, void *arg)
{
	(void)t;
	return arg == NULL ? EFAULT : 0;
}

START_TEST(test_scope_spawn_copy_of_nothing)
{
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_spawn_copy(n, needs_no_data, NULL, 0), 0);
	ck_assert_int_eq(nursery_spawn_copy(n, needs_no_data, "x", 0), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* A queue of copies that never run is given back, too. */
START_TEST(test_scope_copies_of_discarded_tasks_are_freed)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	char big[1000] = { 0 };
	struct gate g;
	int i;

	gate_init(&g);
	a.max_running = 1;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(nursery_spawn_copy(n, task_count, big,
		    sizeof big), 0);
	nursery_cancel(n);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* ---- threads ---- */

START_TEST(test_scope_threads_are_cached_across_nurseries)
{
	struct nursery *n = open_root(NULL);
	struct seen a, b;

	ck_assert_int_eq(nursery_spawn(n, look_around, &a), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	await_idle_threads(1);
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(n, look_around, &b), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(a.tid, b.tid);
}
END_TEST

struct place {
	struct nursery_attr attr;
	char comm[32];
	size_t stack;
	sigset_t mask;
};

static int
look_at_thread(struct nursery_token *t, void *arg)
{
	struct place *p = arg;
	pthread_attr_t a;
	void *addr;
	FILE *f = fopen("/proc/thread-self/comm", "re");

	(void)t;
	if (f == NULL || fgets(p->comm, sizeof p->comm, f) == NULL)
		return EBADMSG;
	fclose(f);
	pthread_getattr_np(pthread_self(), &a);
	pthread_attr_getstack(&a, &addr, &p->stack);
	pthread_attr_destroy(&a);
	pthread_sigmask(SIG_SETMASK, NULL, &p->mask);
	return 0;
}

START_TEST(test_scope_thread_has_the_nurserys_name_and_stack)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct place p;

	a.name = "herd";
	a.stack_size = 2 * 1024 * 1024;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, look_at_thread, &p), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	ck_assert_str_eq(p.comm, "herd\n");
	ck_assert_uint_ge(p.stack, a.stack_size);
	await_idle_threads(1);
	/* The task's own name, on a thread that had another one. */
	spawn_named(n, "sheep", look_at_thread, &p);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_str_eq(p.comm, "sheep\n");
}
END_TEST

/* A thread with a small stack that idles is not good enough. */
START_TEST(test_scope_cached_thread_has_the_stack_that_is_asked_for)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct place p;

	ck_assert_int_eq(nursery_spawn(n, look_at_thread, &p), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	await_idle_threads(1);
	a.stack_size = 4 * 1024 * 1024;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, look_at_thread, &p), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_uint_ge(p.stack, a.stack_size);
}
END_TEST

static int
leave_thread(struct nursery_token *t, void *gate)
{
	(void)t;
	gate_pass(gate);
	pthread_exit(NULL);
}

/* The task that takes the place of one that called pthread_exit. */
START_TEST(test_scope_successor_of_pthread_exit_has_the_nurserys_stack)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct place p;
	struct gate g;

	gate_init(&g);
	a.stack_size = 4 * 1024 * 1024;
	a.max_running = 1;
	a.policy = NURSERY_COLLECT;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, leave_thread, &g), 0);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_spawn(n, look_at_thread, &p), 0);
	gate_open(&g);
	ck_assert_int_ne(nursery_close(&n), 0);
	ck_assert_uint_ge(p.stack, a.stack_size);
}
END_TEST

START_TEST(test_scope_threads_block_every_signal)
{
	struct nursery *n = open_root(NULL);
	sigset_t before, after;
	struct place p;
	int signo;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	ck_assert_int_eq(nursery_spawn(n, look_at_thread, &p), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert(same_signals(&before, &after));
	for (signo = 1; signo <= SIGRTMAX; signo++) {
		if (signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE ||
		    signo == SIGILL || signo == SIGTRAP || signo == SIGSYS ||
		    signo == SIGABRT || signo == SIGKILL || signo == SIGSTOP
		    || (signo > 31 && signo < SIGRTMIN))
			continue;
		ck_assert_msg(sigismember(&p.mask, signo) == 1, "signal %d",
		    signo);
	}
}
END_TEST

/* Ten seconds of nothing; only in the long run. */
START_TEST(test_scope_idle_threads_leave)
{
	struct nursery *n = open_root(NULL);
	struct nursery_stats s = NURSERY_STATS_INIT;
	int64_t until = nursery_after(40 * NURSERY_SECOND);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	do {
		ck_assert_int_eq(nursery_sleep(NULL,
		    nursery_after(100 * NURSERY_MS)), 0);
		ck_assert_int_eq(nursery_get_stats(&s), 0);
		ck_assert(nursery_now() < until);
	} while (s.threads != 0);
}
END_TEST

/* ---- who is accepted when ---- */

/* Refused after drain, after cancel, after close; arg stays with us. */
START_TEST(test_scope_refusals_by_state)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL), *kept, *inner;
	int ran = 0, discarded = 0;

	a.discard = count_up;
	nursery_drain(n);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_try_spawn(n, task_count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_spawn_copy(n, task_count, "x", 1),
	    ESHUTDOWN);
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &discarded,
	    NULL), ESHUTDOWN);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ECANCELED);
	ck_assert_int_eq(nursery_try_spawn(n, task_count, &ran), ECANCELED);
	ck_assert_int_eq(nursery_spawn_copy(n, task_count, "x", 1),
	    ECANCELED);
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &discarded,
	    NULL), ECANCELED);
	kept = nursery_ref(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nursery_spawn(kept, task_count, &ran), ESHUTDOWN);
	ck_assert_int_eq(nursery_try_spawn(kept, task_count, &ran),
	    ESHUTDOWN);
	ck_assert_int_eq(nursery_spawn_copy(kept, task_count, "x", 1),
	    ESHUTDOWN);
	a.flags = NURSERY_TASK_FINAL;
	a.deadline = nursery_after(NURSERY_SECOND);
	ck_assert_int_eq(nursery_spawn_with(kept, &a, task_count, &discarded,
	    NULL), ESHUTDOWN);
	ck_assert_int_eq(nursery_open_child(&inner, kept, NULL), ESHUTDOWN);
	nursery_cancel(kept);
	nursery_drain(kept);
	nursery_unref(kept);
	ck_assert_int_eq(ran + discarded, 0);
}
END_TEST

struct member {
	struct gate *gate;
	int *counter;
	int rc[2];
};

/* Spawns into its nursery, and opens one inside, when the gate opens. */
static int
spawn_as_member(struct nursery_token *t, void *arg)
{
	struct member *m = arg;
	struct nursery *inner;

	(void)t;
	gate_pass(m->gate);
	m->rc[0] = nursery_spawn(nursery_current(), task_count, m->counter);
	m->rc[1] = nursery_open_child(&inner, nursery_current(), NULL);
	if (m->rc[1] == 0)
		m->rc[1] = nursery_close(&inner);
	return 0;
}

START_TEST(test_scope_members_spawn_while_draining)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL);
	struct gate g;
	int ran = 0, i;
	struct member m[2] = { { &g, &ran, { -1, -1 } },
		{ &g, &ran, { -1, -1 } } };

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, spawn_as_member, &m[0]), 0);
	ck_assert_int_eq(nursery_spawn(inner, spawn_as_member, &m[1]), 0);
	gate_await(&g, 2);
	nursery_drain(n);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ESHUTDOWN);
	a.flags = NURSERY_TASK_IN_DRAIN;
	ck_assert_int_eq(nursery_spawn_with(n, &a, task_count, &ran, NULL),
	    0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(m[i].rc[0], 0);
		ck_assert_int_eq(m[i].rc[1], 0);
	}
	ck_assert_int_eq(ran, 3);
}
END_TEST

static void *
close_nursery(void *arg)
{
	struct nursery *n = arg;

	return (void *)(intptr_t)nursery_close(&n);
}

/* While close waits members may spawn, outsiders are turned away. */
START_TEST(test_scope_close_accepts_members_and_turns_outsiders_away)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct gate g;
	int ran = 0;
	struct member m = { &g, &ran, { -1, -1 } };
	pthread_t closer;

	gate_init(&g);
	a.flags = NURSERY_UNBOUND;
	a.name = "closes";
	n = open_root(&a);
	nursery_ref(n);
	ck_assert_int_eq(nursery_spawn(n, spawn_as_member, &m), 0);
	gate_await(&g, 1);
	closer = start_thread(close_nursery, n);
	await_in_dump("nursery \"closes\" closing");
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ESHUTDOWN);
	gate_open(&g);
	ck_assert_int_eq((int)(intptr_t)end_thread(closer), 0);
	ck_assert_int_eq(m.rc[0], 0);
	ck_assert_int_eq(m.rc[1], 0);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), ESHUTDOWN);
	nursery_unref(n);
}
END_TEST

/* ---- FINAL and ENDS_ON_DRAIN ---- */

START_TEST(test_scope_final_runs_after_cancel)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	int ran = 0;

	ta.flags = NURSERY_TASK_FINAL;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    EINVAL);
	ta.deadline = nursery_after(NURSERY_SECOND);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 1);
}
END_TEST

START_TEST(test_scope_final_is_shielded_until_its_deadline)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r;
	int64_t until = nursery_after(100 * NURSERY_MS);

	ta.flags = NURSERY_TASK_FINAL;
	ta.deadline = until;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close_with(&n, &r), ECANCELED);
	ck_assert(nursery_now() >= until);
	ck_assert_int_eq(nursery_report_counts(r, &c), 0);
	ck_assert_uint_eq(c.cancelled, 1);
	nursery_report_free(r);
}
END_TEST

START_TEST(test_scope_final_is_pierced_by_abort)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);

	ta.flags = NURSERY_TASK_FINAL;
	ta.deadline = nursery_after(3600 * NURSERY_SECOND);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	nursery_cancel(n);
	await_tasks_in("sleep", 1);
	nursery_token_raise(nursery_token_of(n), NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* In the queue when the cancel comes: the others are discarded. */
START_TEST(test_scope_final_stays_in_the_queue_when_others_are_discarded)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int ran = 0, discarded = 0;
	struct gate g;

	gate_init(&g);
	a.max_running = 1;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ta.discard = count_up;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &discarded,
	    NULL), 0);
	ta.flags = NURSERY_TASK_FINAL;
	ta.deadline = nursery_after(3600 * NURSERY_SECOND);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    0);
	nursery_cancel(n);
	ck_assert_int_eq(discarded, 1);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &ran, NULL),
	    0);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 2);
	ck_assert_int_eq(discarded, 1);
}
END_TEST

START_TEST(test_scope_ends_on_drain_is_cancelled_by_drain)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = open_root(NULL);

	ta.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	nursery_drain(n);
	ck_assert_int_eq(nursery_close(&n), 0);
	/* And of course by a cancel. */
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, task_until_cancelled,
	    NULL, NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* ---- discard ---- */

/* 10^5 queued, then cancelled: each arg went to fn or to discard. */
START_TEST(test_scope_cancel_discards_what_is_queued)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *report;
	struct nursery *n;
	struct gate g;
	int done = 0, i;

	gate_init(&g);
	a.max_running = 2;
	n = open_root(&a);
	ta.discard = count_up;
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 2);
	for (i = 0; i < 100000; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count, &done,
		    NULL), 0);
	nursery_cancel(n);
	gate_open(&g);
	ck_assert_int_eq(nursery_close_with(&n, &report), ECANCELED);
	ck_assert_int_eq(done, 100000);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	ck_assert_uint_eq(c.spawned, 100002);
	ck_assert_uint_eq(c.discarded, 100000);
	ck_assert_uint_eq(c.succeeded, 2);
	nursery_report_free(report);
}
END_TEST

/* 10^5 queued and running down when the cancel comes. */
static void
add_to_other(void *counter)
{
	count_up((int *)counter + 1);
}

START_TEST(test_scope_run_and_discarded_are_all_that_were_accepted)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *report;
	int ran_discarded[2] = { 0, 0 }, i;
	struct nursery *n;

	a.max_running = 3;
	n = open_root(&a);
	ta.discard = add_to_other;
	for (i = 0; i < 100000; i++)
		ck_assert_int_eq(nursery_spawn_with(n, &ta, task_count,
		    ran_discarded, NULL), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close_with(&n, &report), ECANCELED);
	ck_assert_int_eq(ran_discarded[0] + ran_discarded[1], 100000);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	ck_assert_uint_eq(c.spawned, 100000);
	ck_assert_int_eq((int)c.succeeded, ran_discarded[0]);
	ck_assert_int_eq((int)c.discarded, ran_discarded[1]);
	nursery_report_free(report);
}
END_TEST

/* ---- nurseries in nurseries ---- */

static int
nest(struct nursery_token *t, void *arg)
{
	struct nursery *inner;
	int depth = *(int *)arg - 1, rc;

	(void)t;
	if (depth == 0)
		return 0;
	rc = nursery_open_child(&inner, nursery_current(), NULL);
	if (rc != 0)
		return rc;
	rc = nursery_spawn_copy(inner, nest, &depth, sizeof depth);
	return nursery_close(&inner) != 0 ? EIO : rc;
}

START_TEST(test_scope_nests_deep)
{
	struct nursery *n = open_root(NULL);
	int depth = 200;

	ck_assert_int_eq(nursery_spawn_copy(n, nest, &depth, sizeof depth),
	    0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_scope_cancel_reaches_nurseries_inside)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL),
	    *innermost = open_inside(inner, NULL);

	ck_assert_int_eq(nursery_spawn(innermost, task_until_cancelled,
	    NULL), 0);
	nursery_drain(n);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(innermost)),
	    NURSERY_DRAIN);
	nursery_cancel_with(n, 44, NULL);
	ck_assert_int_eq(nursery_token_cause(nursery_token_of(innermost),
	    NURSERY_CANCEL, NULL), 44);
	ck_assert_int_eq(nursery_close(&innermost), ECANCELED);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* A failure inside is the inner nursery's; it goes up only by hand. */
START_TEST(test_scope_failure_inside_leaves_the_outside_alone)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL);
	int code = EIO, ran = 0;

	ck_assert_int_eq(nursery_spawn(inner, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&inner), EIO);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

START_TEST(test_scope_open_under_hears_the_token)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery *n;

	ck_assert_int_eq(nursery_open_under(&n, t, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	nursery_token_cancel_with(t, 45, NULL);
	ck_assert_int_eq(nursery_token_cause(nursery_token_of(n),
	    NURSERY_CANCEL, NULL), 45);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	/* And is born as the token is. */
	ck_assert_int_eq(nursery_open_under(&n, t, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_scope_nursery_does_not_raise_the_token_it_is_under)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery *n;
	int code = EIO;

	ck_assert_int_eq(nursery_open_under(&n, t, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close(&n), EIO);
	ck_assert_int_eq(nursery_token_level(t), NURSERY_LIVE);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_scope_shielded_nursery_hears_only_abort)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = open_root(NULL), *s;
	int ran = 0;

	a.flags = NURSERY_SHIELD;
	a.shield_until = nursery_after(3600 * NURSERY_SECOND);
	s = open_inside(n, &a);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_spawn(s, task_count, &ran), 0);
	ck_assert_int_eq(nursery_spawn(s, task_until_cancelled, NULL), 0);
	nursery_token_raise(nursery_token_of(n), NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(nursery_close(&s), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* The token of a nursery may outlive it. */
START_TEST(test_scope_token_outlives_its_nursery)
{
	struct nursery *n = open_root(NULL);
	struct nursery_token *t = nursery_token_ref(nursery_token_of(n)),
	    *below = new_token(t);

	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert(!nursery_token_is_cancelled(below));
	ck_assert(nursery_token_cancel(t));
	ck_assert(nursery_token_is_cancelled(below));
	nursery_token_unref(t);
	nursery_token_unref(below);
}
END_TEST

/* A token made below a nursery's lives on when all else is gone. */
START_TEST(test_scope_token_below_outlives_nursery_and_handle)
{
	struct nursery *n = open_root(NULL), *inner = open_inside(n, NULL);
	struct nursery_token *t = new_token(nursery_token_of(inner));

	ck_assert_int_eq(nursery_close(&inner), 0);
	nursery_cancel_with(n, 46, NULL);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 46);
	nursery_token_unref(t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("scope");
	TCase *c = leakless_case("scope");

	tcase_add_test(c, test_scope_close_waits_for_all);
	tcase_add_test(c, test_scope_empty_nursery_closes_at_once);
	tcase_add_test(c, test_scope_spawn_and_close_order_plain_memory);
	tcase_add_test(c, test_scope_no_task_queues_behind_another);
	tcase_add_test(c, test_scope_spawn_passes_the_nurserys_token);
	tcase_add_test(c, test_scope_spawn_with_passes_a_token_of_its_own);
	tcase_add_test(c, test_scope_outside_tasks_there_is_no_self);
	tcase_add_test(c, test_scope_token_of_a_task_is_valid_until_fn_returns);
	tcase_add_test(c, test_scope_deadline_of_a_task_cancels_it_alone);
	tcase_add_test(c, test_scope_spawn_copy_has_its_own);
	tcase_add_test(c, test_scope_spawn_copy_of_nothing);
	tcase_add_test(c, test_scope_copies_of_discarded_tasks_are_freed);
	tcase_add_test(c, test_scope_threads_are_cached_across_nurseries);
	tcase_add_test(c, test_scope_thread_has_the_nurserys_name_and_stack);
	tcase_add_test(c,
	    test_scope_cached_thread_has_the_stack_that_is_asked_for);
	tcase_add_test(c,
	    test_scope_successor_of_pthread_exit_has_the_nurserys_stack);
	tcase_add_test(c, test_scope_threads_block_every_signal);
	if (getenv("NUR_ROUNDS") != NULL)
		tcase_add_test(c, test_scope_idle_threads_leave);
	tcase_add_test(c, test_scope_refusals_by_state);
	tcase_add_test(c, test_scope_members_spawn_while_draining);
	tcase_add_test(c,
	    test_scope_close_accepts_members_and_turns_outsiders_away);
	tcase_add_test(c, test_scope_final_runs_after_cancel);
	tcase_add_test(c, test_scope_final_is_shielded_until_its_deadline);
	tcase_add_test(c, test_scope_final_is_pierced_by_abort);
	tcase_add_test(c,
	    test_scope_final_stays_in_the_queue_when_others_are_discarded);
	tcase_add_test(c, test_scope_ends_on_drain_is_cancelled_by_drain);
	tcase_add_test(c, test_scope_cancel_discards_what_is_queued);
	tcase_add_test(c,
	    test_scope_run_and_discarded_are_all_that_were_accepted);
	tcase_add_test(c, test_scope_nests_deep);
	tcase_add_test(c, test_scope_cancel_reaches_nurseries_inside);
	tcase_add_test(c, test_scope_failure_inside_leaves_the_outside_alone);
	tcase_add_test(c, test_scope_open_under_hears_the_token);
	tcase_add_test(c,
	    test_scope_nursery_does_not_raise_the_token_it_is_under);
	tcase_add_test(c, test_scope_shielded_nursery_hears_only_abort);
	tcase_add_test(c, test_scope_token_outlives_its_nursery);
	tcase_add_test(c, test_scope_token_below_outlives_nursery_and_handle);
	suite_add_tcase(s, c);
	return run_suite(s);
}
