/* SPDX-License-Identifier: MIT */
/*
 * Scopes that are left: guards of tokens and nurseries on return, on
 * pthread_exit and pthread_cancel; threads and tasks that end and leave a
 * nursery open; nurseries that change hands.
 */
#include "tasks.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- tokens ---- */

START_TEST(test_guard_cancels_when_the_scope_is_left)
{
	struct nursery_token *t = new_token(NULL);

	{
		nursery_guard_auto struct nursery_token *g =
		    nursery_token_ref(t);
		/* A guard does not hide its token. */
		ck_assert(!nursery_token_is_cancelled(g));
	}
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	nursery_token_unref(t);
}
END_TEST

static int
leave_by_return(struct nursery_token *t, int how)
{
	nursery_guard_auto struct nursery_token *g = nursery_token_ref(t);
	int i;

	if (how == 0)
		return 0;
	for (i = 0; i < 2; i++) {
		nursery_guard_auto struct nursery_token *again =
		    nursery_token_ref(g);

		ck_assert_ptr_eq(again, t);
		if (how == 1)
			break;
		if (how == 2)
			goto out;
	}
	return how;
out:
	return -how;
}

START_TEST(test_guard_cancels_on_return_break_and_goto)
{
	struct nursery_token *t;
	int how;

	for (how = 0; how < 3; how++) {
		t = new_token(NULL);
		(void)leave_by_return(t, how);
		ck_assert(nursery_token_is_cancelled(t));
		nursery_token_unref(t);
	}
}
END_TEST

START_TEST(test_guard_taken_is_disarmed)
{
	struct nursery_token *t = new_token(NULL), *kept = NULL;

	{
		nursery_guard_auto struct nursery_token *g =
		    nursery_token_ref(t);
		kept = nursery_token_take(&g);
		ck_assert_ptr_null(g);
	}
	ck_assert_ptr_eq(kept, t);
	ck_assert(!nursery_token_is_cancelled(t));
	nursery_token_drop(&kept);
	ck_assert_ptr_null(kept);
	nursery_token_unref(t);
}
END_TEST

/* Several guards of one token are independent; the first to go cancels. */
START_TEST(test_guard_first_of_several_cancels)
{
	struct nursery_token *t = new_token(NULL);
	nursery_guard_auto struct nursery_token *outer = nursery_token_ref(t);

	{
		nursery_guard_auto struct nursery_token *inner =
		    nursery_token_ref(t);
		ck_assert(!nursery_token_is_cancelled(inner));
	}
	ck_assert(nursery_token_is_cancelled(outer));
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_guard_of_a_child_leaves_the_parent_alone)
{
	struct nursery_token *p = new_token(NULL), *watched;

	{
		nursery_guard_auto struct nursery_token *c = new_token(p);
		watched = new_token(c);
	}
	ck_assert(nursery_token_is_cancelled(watched));
	ck_assert(!nursery_token_is_cancelled(p));
	nursery_token_unref(watched);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_guard_auto_token_is_given_back_and_not_cancelled)
{
	struct nursery_token *t = new_token(NULL);

	{
		nursery_token_auto struct nursery_token *a =
		    nursery_token_ref(t);
		nursery_token_auto struct nursery_token *none = NULL;
		ck_assert_ptr_eq(a, t);
		ck_assert_ptr_null(none);
	}
	ck_assert(!nursery_token_is_cancelled(t));
	nursery_token_unref(t);
}
END_TEST

/* ---- a thread that leaves by pthread_exit or pthread_cancel ---- */

struct leaver {
	struct nursery_token *t;	/* guarded */
	struct gate gate;
	int ran, held;
	bool to_exit;
};

/* Notes whether everything it points to is still there when it ends. */
static int
use_the_stack(struct nursery_token *t, void *arg)
{
	int *stack = arg;

	(void)nursery_sleep(t, NURSERY_NEVER);
	(*stack)++;
	return 0;
}

/* glibc unwinds the stack of a thread that exits; musl does not. */
#ifdef __GLIBC__
#define UNWINDS	true
#else
#define UNWINDS	false
#endif

static void
work_in_scope(struct leaver *l)
{
	nursery_guard_auto struct nursery_token *g = nursery_token_ref(l->t);
	int stack = 0;
	nursery_auto struct nursery *n = NULL;

	(void)g;
	if (nursery_open(&n, NULL) != 0 || nursery_spawn(n, use_the_stack,
	    &stack) != 0 || nursery_spawn(n, task_count, &l->ran) != 0)
		return;
	l->held = 1;
	if (l->to_exit)
		pthread_exit(NULL);
	gate_pass(&l->gate);
	for (;;) {
		pthread_testcancel();
		sched_yield();
	}
}

static void *
leaver_main(void *arg)
{
	work_in_scope(arg);
	return arg;
}

START_TEST(test_guard_scope_left_by_pthread_exit_leaves_nothing)
{
	struct leaver l = { .t = new_token(NULL), .to_exit = true };

	ck_assert_ptr_null(end_thread(start_thread(leaver_main, &l)));
	ck_assert_int_eq(l.held, 1);
	ck_assert(nursery_token_is_cancelled(l.t) == UNWINDS);
	if (!UNWINDS)	/* the guard's own */
		nursery_token_unref(l.t);
	nursery_token_unref(l.t);
	assert_nothing_lives();
}
END_TEST

START_TEST(test_guard_scope_left_by_pthread_cancel_leaves_nothing)
{
	struct leaver l = { .t = new_token(NULL) };
	pthread_t id;

	gate_init(&l.gate);
	id = start_thread(leaver_main, &l);
	gate_await(&l.gate, 1);
	gate_open(&l.gate);
	pthread_cancel(id);
	ck_assert_ptr_eq(end_thread(id), PTHREAD_CANCELED);
	ck_assert(nursery_token_is_cancelled(l.t) == UNWINDS);
	if (!UNWINDS)	/* the guard's own */
		nursery_token_unref(l.t);
	nursery_token_unref(l.t);
	assert_nothing_lives();
}
END_TEST

/* ---- pthread_cancel inside a call of the library ---- */

struct sleeper {
	struct nursery *n;	/* a reference for the test */
	struct nursery_token *t;
	int fd, which;
	pid_t tid;		/* atomic */
};

static void
sleep_in_library(struct nursery_token *t, const struct sleeper *s,
    struct nursery *n)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	char byte;

	switch (s->which) {
	case 0:
		(void)nursery_read(t, s->fd, &byte, 1, NURSERY_NEVER);
		break;
	case 1:
		(void)nursery_poll(t, &p, 1, NURSERY_NEVER);
		break;
	case 2:
		(void)nursery_sleep(t, NURSERY_NEVER);
		break;
	case 3:
		(void)nursery_token_wait(t, NURSERY_NEVER);
		break;
	default:
		(void)nursery_wait(n, NURSERY_NEVER);
	}
}

static void
sleep_in_scope(struct sleeper *s)
{
	int stack = 0;
	nursery_auto struct nursery *n = NULL;

	if (nursery_open(&n, NULL) != 0 || nursery_spawn(n, use_the_stack,
	    &stack) != 0)
		return;
	s->n = nursery_ref(n);
	__atomic_store_n(&s->tid, own_tid(), __ATOMIC_SEQ_CST);
	sleep_in_library(nursery_token_of(n), s, n);
	pthread_testcancel();
}

static void *
sleeper_main(void *arg)
{
	sleep_in_scope(arg);
	return arg;
}

/*
 * pthread_cancel finds the opener inside a call of the library.  Whether the
 * call ends there or when the nursery is cancelled, nothing may stay: no
 * task, and nothing of the dead frame in the token.
 */
START_TEST(test_guard_opener_cancelled_inside_a_call_leaves_nothing)
{
	struct sleeper s = { .which = _i };
	int fds[2];
	pthread_t id;
	pid_t tid;

	ck_assert_int_eq(pipe(fds), 0);
	s.fd = fds[0];
	id = start_thread(sleeper_main, &s);
	while ((tid = __atomic_load_n(&s.tid, __ATOMIC_SEQ_CST)) == 0)
		;
	await_asleep(tid);
	pthread_cancel(id);
	nursery_cancel(s.n);
	ck_assert_ptr_eq(end_thread(id), PTHREAD_CANCELED);
	nursery_unref(s.n);
	close(fds[0]);
	close(fds[1]);
	assert_nothing_lives();
}
END_TEST

/* ---- nurseries: returning, and not closing at all ---- */

START_TEST(test_guard_nursery_scope_leaves_nothing_behind)
{
	int ran = 0;

	{
		nursery_auto struct nursery *n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
		ck_assert_int_eq(nursery_spawn(n, task_until_cancelled,
		    NULL), 0);
	}
	assert_nothing_lives();
	ck_assert_int_le(ran, 1);
}
END_TEST

START_TEST(test_guard_closed_nursery_is_left_alone)
{
	int ran = 0;

	{
		nursery_auto struct nursery *n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
		ck_assert_int_eq(nursery_close(&n), 0);
		ck_assert_ptr_null(n);
	}
	ck_assert_int_eq(ran, 1);
}
END_TEST

static void *
open_and_die(void *arg)
{
	struct nursery *n, *inner;

	if (nursery_open(&n, NULL) != 0 || nursery_open_child(&inner, n,
	    NULL) != 0)
		return NULL;
	/* Without a guard: tasks must not point into this stack. */
	(void)nursery_spawn(n, task_until_cancelled, NULL);
	(void)nursery_spawn(inner, task_until_cancelled, NULL);
	(void)nursery_spawn(inner, task_count, arg);
	return arg;
}

START_TEST(test_guard_thread_that_ends_takes_its_nurseries_along)
{
	int ran = 0;

	ck_assert_ptr_eq(end_thread(start_thread(open_and_die, &ran)), &ran);
	ck_assert_int_le(ran, 1);
	assert_nothing_lives();
}
END_TEST

static int
leave_inner_open(struct nursery_token *t, void *arg)
{
	struct nursery *inner;

	(void)t;
	if (nursery_open_child(&inner, nursery_current(), NULL) != 0)
		return EINVAL;
	if (nursery_spawn(inner, task_count, arg) != 0)
		return EINVAL;
	return nursery_spawn(inner, task_until_cancelled, NULL);
}

/* Its thread goes on with other tasks, so the end of the task counts; and it
 * has failed, for it broke the structure. */
START_TEST(test_guard_task_that_ends_takes_its_nurseries_along)
{
	struct nursery *n = open_root(NULL);
	int ran = 0;

	ck_assert_int_eq(nursery_spawn(n, leave_inner_open, &ran), 0);
	ck_assert_int_eq(nursery_wait(n, patience()), 0);
	ck_assert_int_eq(nursery_close(&n), ENOTEMPTY);
	ck_assert_int_le(ran, 1);
	assert_nothing_lives();
}
END_TEST

static int
exit_with_inner_open(struct nursery_token *t, void *arg)
{
	nursery_auto struct nursery *inner = NULL;
	int stack = 0;

	(void)t;
	if (nursery_open_child(&inner, nursery_current(), NULL) == 0 &&
	    nursery_spawn(inner, use_the_stack, &stack) == 0)
		count_up(arg);
	pthread_exit(NULL);
}

START_TEST(test_guard_task_left_by_pthread_exit_closes_its_scope)
{
	struct nursery *n = open_root(NULL);
	int ran = 0, rc;

	ck_assert_int_eq(nursery_spawn(n, exit_with_inner_open, &ran), 0);
	rc = nursery_close(&n);
	ck_assert_int_ne(rc, 0);
	ck_assert_int_ne(rc, ECANCELED);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- one thread opens, another closes ---- */

static void *
open_unbound(void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.flags = NURSERY_UNBOUND;
	return nursery_open(arg, &a) == 0 ? arg : NULL;
}

START_TEST(test_guard_unbound_nursery_survives_its_opener)
{
	struct nursery *n = NULL;
	int ran = 0;

	ck_assert_ptr_nonnull(end_thread(start_thread(open_unbound, &n)));
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* Adopting changes nothing for one that belongs to no thread. */
START_TEST(test_guard_unbound_nursery_may_be_adopted_and_closed_by_any)
{
	struct nursery *n = NULL;
	int ran = 0;

	ck_assert_ptr_nonnull(end_thread(start_thread(open_unbound, &n)));
	ck_assert_int_eq(nursery_adopt(n), 0);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

struct heir {
	struct nursery *n;
	int adopted, closed;
	bool leave_open;
	struct gate *gate;	/* or NULL */
};

static void *
adopt_and_close(void *arg)
{
	struct heir *h = arg;

	h->adopted = nursery_adopt(h->n);
	if (h->gate != NULL)
		gate_pass(h->gate);
	h->closed = h->leave_open ? 0 : nursery_close(&h->n);
	return NULL;
}

START_TEST(test_guard_adopted_nursery_is_closed_by_its_new_opener)
{
	struct nursery *n = open_root(NULL), *other = open_root(NULL);
	struct heir h = { .n = n, .adopted = -1, .closed = -1 };
	pthread_t id;
	struct gate g;
	int ran = 0;

	gate_init(&g);
	h.gate = &g;
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	id = start_thread(adopt_and_close, &h);
	gate_await(&g, 1);
	ck_assert_int_eq(h.adopted, 0);
	/* The old opener has no say any more. */
	ck_assert_int_eq(nursery_close(&n), EPERM);
	ck_assert_ptr_nonnull(n);
	gate_open(&g);
	(void)end_thread(id);
	ck_assert_int_eq(h.closed, 0);
	ck_assert_ptr_null(h.n);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_close(&other), 0);
}
END_TEST

START_TEST(test_guard_adopted_nursery_goes_with_its_new_opener)
{
	struct nursery *n = open_root(NULL), *kept = nursery_ref(n);
	struct heir h = { .n = n, .adopted = -1, .leave_open = true };

	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	(void)end_thread(start_thread(adopt_and_close, &h));
	ck_assert_int_eq(h.adopted, 0);
	/* The heir's end closed it: the handle says so. */
	ck_assert_int_eq(nursery_spawn(kept, task_until_cancelled, NULL),
	    ESHUTDOWN);
	nursery_unref(kept);
}
END_TEST

static void *
open_and_wait(void *arg)
{
	struct heir *h = arg;

	h->closed = nursery_open(&h->n, NULL);
	gate_pass(h->gate);
	return NULL;
}

/* The opener's thread ends; what was adopted from it stays open. */
START_TEST(test_guard_nursery_given_away_survives_its_first_opener)
{
	struct heir h = { .n = NULL };
	pthread_t id;
	struct gate g;
	int ran = 0;

	gate_init(&g);
	h.gate = &g;
	id = start_thread(open_and_wait, &h);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_adopt(h.n), 0);
	gate_open(&g);
	(void)end_thread(id);
	ck_assert_int_eq(nursery_spawn(h.n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&h.n), 0);
	ck_assert_int_eq(ran, 1);
}
END_TEST

/* ---- a guard in the wrong hands ---- */

static void *
drop_it(void *n)
{
	struct nursery *mine = n;

	nursery_drop(&mine);
	return NULL;
}

static int
drop_elsewhere(void *unused)
{
	struct nursery *n;
	pthread_t id;

	(void)unused;
	if (nursery_open(&n, NULL) != 0 || pthread_create(&id, NULL, drop_it,
	    n) != 0)
		return 1;
	pthread_join(id, NULL);
	return 0;
}

START_TEST(test_guard_dropped_by_a_stranger_aborts)
{
	struct outcome o;

	run_forked(&o, drop_elsewhere, NULL);
	assert_aborted(&o, "nursery_drop");
}
END_TEST

static int
exit_with_a_task(void *unused)
{
	nursery_auto struct nursery *n = NULL;

	(void)unused;
	if (nursery_open(&n, NULL) != 0 || nursery_spawn(n,
	    task_until_cancelled, NULL) != 0)
		return 1;
	exit(0);
}

static int
exit_from_a_task(struct nursery_token *t, void *unused)
{
	(void)t;
	(void)unused;
	exit(0);
}

static int
let_a_task_exit(void *unused)
{
	struct nursery *n;

	(void)unused;
	if (nursery_open(&n, NULL) != 0 || nursery_spawn(n, exit_from_a_task,
	    NULL) != 0)
		return 1;
	(void)nursery_close(&n);
	return 1;
}

START_TEST(test_guard_exit_runs_no_guard_and_does_not_hang)
{
	struct outcome o;

	run_forked(&o, exit_with_a_task, NULL);
	assert_good(&o);
	run_forked(&o, let_a_task_exit, NULL);
	assert_good(&o);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("guard");
	TCase *c = leakless_case("guard");

	tcase_add_test(c, test_guard_cancels_when_the_scope_is_left);
	tcase_add_test(c, test_guard_cancels_on_return_break_and_goto);
	tcase_add_test(c, test_guard_taken_is_disarmed);
	tcase_add_test(c, test_guard_first_of_several_cancels);
	tcase_add_test(c, test_guard_of_a_child_leaves_the_parent_alone);
	tcase_add_test(c,
	    test_guard_auto_token_is_given_back_and_not_cancelled);
	tcase_add_test(c,
	    test_guard_scope_left_by_pthread_exit_leaves_nothing);
	tcase_add_test(c,
	    test_guard_scope_left_by_pthread_cancel_leaves_nothing);
	tcase_add_loop_test(c,
	    test_guard_opener_cancelled_inside_a_call_leaves_nothing, 0, 5);
	tcase_add_test(c, test_guard_nursery_scope_leaves_nothing_behind);
	tcase_add_test(c, test_guard_closed_nursery_is_left_alone);
	tcase_add_test(c,
	    test_guard_thread_that_ends_takes_its_nurseries_along);
	tcase_add_test(c,
	    test_guard_task_that_ends_takes_its_nurseries_along);
	tcase_add_test(c,
	    test_guard_task_left_by_pthread_exit_closes_its_scope);
	tcase_add_test(c, test_guard_unbound_nursery_survives_its_opener);
	tcase_add_test(c,
	    test_guard_unbound_nursery_may_be_adopted_and_closed_by_any);
	tcase_add_test(c,
	    test_guard_adopted_nursery_is_closed_by_its_new_opener);
	tcase_add_test(c,
	    test_guard_adopted_nursery_goes_with_its_new_opener);
	tcase_add_test(c,
	    test_guard_nursery_given_away_survives_its_first_opener);
	tcase_add_test(c, test_guard_dropped_by_a_stranger_aborts);
	tcase_add_test(c, test_guard_exit_runs_no_guard_and_does_not_hang);
	suite_add_tcase(s, c);
	return run_suite(s);
}
