/* SPDX-License-Identifier: MIT */
/*
 * Waits on condition variables, semaphores and channels: cancelled before
 * and during, in every way there is; late; woken by what they wait for.  The
 * races are in tests/stress/stress_sync.c, channels in test_channel.c.
 */
#include "storm.h"
#include "tasks.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOON	(5 * NURSERY_MS)
#define PROMPT	(20 * NURSERY_MS)	/* from a cancel to the return */

/* What there is to wait for; each test uses one thing. */
struct place {
	const char *op;
	int (*wait)(struct place *p, struct nursery_token *t,
	    int64_t deadline);
	pthread_mutex_t m;
	pthread_cond_t c;
	sem_t sem;
	struct nursery_channel *empty, *full;
	int items;		/* under m */
	/* of a task */
	int rc;
	int served, cancelled;	/* atomic */
	int64_t deadline, returned;
};

/* Takes an item, as a program does it. */
static int
wait_cond(struct place *p, struct nursery_token *t, int64_t deadline)
{
	int rc = 0;

	pthread_mutex_lock(&p->m);
	while (p->items == 0 && rc == 0)
		rc = nursery_cond_wait(t, &p->c, &p->m, deadline);
	if (rc == 0)
		p->items--;
	/* An error if it was not held. */
	return pthread_mutex_unlock(&p->m) == 0 ? rc : EBADMSG;
}

static int
wait_sem(struct place *p, struct nursery_token *t, int64_t deadline)
{
	return nursery_sem_wait(t, &p->sem, deadline);
}

static int
wait_recv(struct place *p, struct nursery_token *t, int64_t deadline)
{
	int item;

	return nursery_channel_recv(t, p->empty, &item, deadline);
}

static int
wait_send(struct place *p, struct nursery_token *t, int64_t deadline)
{
	int item = 2;

	return nursery_channel_send(t, p->full, &item, deadline);
}

static const struct {
	const char *op;
	int (*wait)(struct place *p, struct nursery_token *t,
	    int64_t deadline);
} waits[] = {
	{ "cond_wait", wait_cond }, { "sem_wait", wait_sem },
	{ "channel_recv", wait_recv }, { "channel_send", wait_send }
};
#define WAITS	((int)(sizeof waits / sizeof waits[0]))

static void
place_init(struct place *p, int which)
{
	pthread_mutexattr_t a;
	int item = 1;

	memset(p, 0, sizeof *p);
	p->op = waits[which].op;
	p->wait = waits[which].wait;
	p->rc = -1;
	p->deadline = NURSERY_NEVER;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&p->m, &a);
	pthread_mutexattr_destroy(&a);
	pthread_cond_init(&p->c, NULL);
	sem_init(&p->sem, 0, 0);
	ck_assert_int_eq(nursery_channel_new(&p->empty, sizeof item, 1), 0);
	ck_assert_int_eq(nursery_channel_new(&p->full, sizeof item, 1), 0);
	ck_assert_int_eq(nursery_channel_send(NULL, p->full, &item, 0), 0);
}

static void
place_fini(struct place *p)
{
	nursery_channel_free(p->full);
	nursery_channel_free(p->empty);
	sem_destroy(&p->sem);
	ck_assert_int_eq(pthread_cond_destroy(&p->c), 0);
	ck_assert_int_eq(pthread_mutex_destroy(&p->m), 0);
}

/* Lets one waiter have what it waits for. */
static void
serve(struct place *p)
{
	int item = 3;

	if (p->wait == wait_cond) {
		pthread_mutex_lock(&p->m);
		p->items++;
		pthread_cond_signal(&p->c);
		pthread_mutex_unlock(&p->m);
	} else if (p->wait == wait_sem) {
		sem_post(&p->sem);
	} else if (p->wait == wait_recv) {
		ck_assert_int_eq(nursery_channel_send(NULL, p->empty, &item,
		    patience()), 0);
	} else {
		ck_assert_int_eq(nursery_channel_recv(NULL, p->full, &item,
		    patience()), 0);
	}
}

/* What was not taken is still there, once, and nothing else. */
static void
assert_untouched(struct place *p)
{
	int value = -1, item = 0;

	ck_assert_int_eq(p->items, 0);
	sem_getvalue(&p->sem, &value);
	ck_assert_int_eq(value, 0);
	ck_assert_int_eq(nursery_channel_recv(NULL, p->empty, &item, 0),
	    ETIMEDOUT);
	ck_assert_int_eq(nursery_channel_recv(NULL, p->full, &item, 0), 0);
	ck_assert_int_eq(item, 1);
	ck_assert_int_eq(nursery_channel_recv(NULL, p->full, &item, 0),
	    ETIMEDOUT);
	ck_assert_int_eq(nursery_channel_send(NULL, p->full, &item, 0), 0);
}

static int
wait_in_task(struct nursery_token *t, void *arg)
{
	struct place *p = arg;

	p->rc = p->wait(p, t, p->deadline);
	p->returned = nursery_now();
	return 0;
}

static int
wait_and_tell(struct nursery_token *t, void *arg)
{
	struct place *p = arg;
	int rc = p->wait(p, t, p->deadline);

	if (rc == 0)
		count_up(&p->served);
	if (rc == ECANCELED)
		count_up(&p->cancelled);
	return 0;
}

/* ---- before ---- */

START_TEST(test_wait_that_is_cancelled_already_does_no_work)
{
	struct nursery_token *t = new_token(NULL);
	struct place p;

	place_init(&p, _i);
	nursery_token_cancel(t);
	/* Not even when there is something, or room. */
	serve(&p);
	if (p.wait == wait_cond) {
		pthread_mutex_lock(&p.m);
		ck_assert_int_eq(nursery_cond_wait(t, &p.c, &p.m,
		    NURSERY_NEVER), ECANCELED);
		ck_assert_int_eq(pthread_mutex_unlock(&p.m), 0);
	} else {
		ck_assert_int_eq(p.wait(&p, t, NURSERY_NEVER), ECANCELED);
		ck_assert_int_eq(p.wait(&p, t, 0), ECANCELED);
	}
	ck_assert_int_eq(p.wait(&p, NULL, NURSERY_NEVER), 0);
	nursery_token_unref(t);
	place_fini(&p);
}
END_TEST

START_TEST(test_wait_takes_what_is_there_without_waiting)
{
	struct nursery_token *t = new_token(NULL);
	struct place p;

	place_init(&p, _i);
	serve(&p);
	ck_assert_int_eq(p.wait(&p, t, 0), 0);
	ck_assert_int_eq(p.wait(&p, t, 0), ETIMEDOUT);
	ck_assert_int_eq(p.wait(&p, NULL, nursery_after(-SOON)), ETIMEDOUT);
	nursery_token_unref(t);
	place_fini(&p);
}
END_TEST

/* ---- during ---- */

/* In a task, and its nursery is cancelled. */
START_TEST(test_wait_is_ended_by_its_nursery)
{
	struct nursery *n = open_root(NULL);
	struct place p;
	int64_t from;

	place_init(&p, _i);
	ck_assert_int_eq(nursery_spawn(n, wait_in_task, &p), 0);
	await_tasks_in(p.op, 1);
	from = nursery_now();
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(p.rc, ECANCELED);
	if (!costs_are_distorted())
		ck_assert_int_lt(p.returned - from, PROMPT);
	assert_untouched(&p);
	place_fini(&p);
}
END_TEST

/* Its own token, and an ancestor of it, and a deadline of either. */
static void
end_by_token(int which, int above, bool by_deadline)
{
	struct nursery_token *g = new_token(NULL), *p = new_token(g),
	    *t = new_token(p), *by = above ? g : t;
	struct nursery *n;
	struct place x;

	place_init(&x, which);
	ck_assert_int_eq(nursery_open_under(&n, t, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, wait_in_task, &x), 0);
	await_tasks_in(x.op, 1);
	if (by_deadline)
		ck_assert_int_eq(nursery_token_set_deadline(by,
		    nursery_after(SOON)), 0);
	else
		ck_assert(nursery_token_cancel(by));
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(x.rc, ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    by_deadline ? ETIMEDOUT : ECANCELED);
	assert_untouched(&x);
	place_fini(&x);
	nursery_token_unref(t);
	nursery_token_unref(p);
	nursery_token_unref(g);
}

START_TEST(test_wait_is_ended_by_its_token)
{
	end_by_token(_i, 0, false);
	end_by_token(_i, 0, true);
}
END_TEST

START_TEST(test_wait_is_ended_by_an_ancestor)
{
	end_by_token(_i, 1, false);
	end_by_token(_i, 1, true);
}
END_TEST

START_TEST(test_wait_ends_at_its_deadline_and_not_before)
{
	struct nursery_token *t = new_token(NULL);
	struct place p;
	int64_t until = nursery_after(SOON);

	place_init(&p, _i);
	ck_assert_int_eq(p.wait(&p, t, until), ETIMEDOUT);
	ck_assert(nursery_now() >= until);
	until = nursery_after(SOON);
	ck_assert_int_eq(p.wait(&p, NULL, until), ETIMEDOUT);
	ck_assert(nursery_now() >= until);
	ck_assert(!nursery_token_is_cancelled(t));
	assert_untouched(&p);
	nursery_token_unref(t);
	place_fini(&p);
}
END_TEST

struct outsider {
	struct place *p;
	struct nursery_token *t;
	pid_t tid;		/* atomic */
	int rc;
};

static void *
wait_outside(void *arg)
{
	struct outsider *o = arg;

	__atomic_store_n(&o->tid, own_tid(), __ATOMIC_SEQ_CST);
	o->rc = o->p->wait(o->p, o->t, NURSERY_NEVER);
	return NULL;
}

static pthread_t
start_outsider(struct outsider *o)
{
	pthread_t id = start_thread(wait_outside, o);
	pid_t tid;

	while ((tid = __atomic_load_n(&o->tid, __ATOMIC_SEQ_CST)) == 0)
		;
	await_asleep(tid);
	return id;
}

/* A thread of the application, with a token and without. */
START_TEST(test_wait_outside_a_task)
{
	struct place p;
	struct outsider o = { .p = &p };
	pthread_t id;

	place_init(&p, _i);
	o.t = new_token(NULL);
	id = start_outsider(&o);
	ck_assert(nursery_token_cancel(o.t));
	(void)end_thread(id);
	ck_assert_int_eq(o.rc, ECANCELED);
	assert_untouched(&p);
	nursery_token_unref(o.t);
	o = (struct outsider){ .p = &p };
	id = start_outsider(&o);
	serve(&p);
	(void)end_thread(id);
	ck_assert_int_eq(o.rc, 0);
	place_fini(&p);
}
END_TEST

static void
await_count(const int *counter, int want)
{
	int64_t until = patience();

	while (counted(counter) < want)
		ck_assert_int_eq(nursery_now() < until, 1);
}

/* Sixteen in one place, on a small stack. */
START_TEST(test_wait_of_many_is_served_and_cancelled)
{
	enum { COUNT = 16 };
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct place p;
	struct nursery *n;
	int i;

	a.stack_size = 64 * 1024;
	n = open_root(&a);
	place_init(&p, _i);
	p.deadline = nursery_after(3600 * NURSERY_SECOND);
	for (i = 0; i < COUNT; i++)
		ck_assert_int_eq(nursery_spawn(n, wait_and_tell, &p), 0);
	await_tasks_in(p.op, COUNT);
	/* Where several wait: see the CAVEATS of nursery_cond_wait(3). */
	serve(&p);
	pthread_cond_broadcast(&p.c);
	await_count(&p.served, 1);
	await_tasks_in(p.op, COUNT - 1);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(p.served, 1);
	ck_assert_int_eq(p.cancelled, COUNT - 1);
	place_fini(&p);
}
END_TEST

static void
do_nothing(int signo)
{
	(void)signo;
}

/* Handlers of the program's come and go; the wait goes on. */
START_TEST(test_wait_goes_on_after_a_signal)
{
	struct sigaction sa = { .sa_handler = do_nothing }, old;
	struct place p;
	struct outsider o = { .p = &p, .rc = -1 };
	pthread_t id;
	int i;

	place_init(&p, _i);
	sigaction(SIGUSR1, &sa, &old);
	o.t = new_token(NULL);
	id = start_outsider(&o);
	for (i = 0; i < 20; i++) {
		pthread_kill(id, SIGUSR1);
		await_asleep(o.tid);
	}
	ck_assert_int_eq(o.rc, -1);
	serve(&p);
	(void)end_thread(id);
	ck_assert_int_eq(o.rc, 0);
	sigaction(SIGUSR1, &old, NULL);
	nursery_token_unref(o.t);
	place_fini(&p);
}
END_TEST

/* pthread_cancel does not act in the wait: what is registered there lies on
 * the thread's stack. */
START_TEST(test_wait_is_no_cancellation_point_of_pthreads)
{
	struct place p;
	struct outsider o = { .p = &p, .rc = -1 };
	pthread_t id;

	place_init(&p, _i);
	o.t = new_token(NULL);
	id = start_outsider(&o);
	ck_assert_int_eq(pthread_cancel(id), 0);
	await_asleep(o.tid);
	ck_assert_int_eq(o.rc, -1);
	ck_assert(nursery_token_cancel(o.t));
	(void)end_thread(id);
	ck_assert_int_eq(o.rc, ECANCELED);
	assert_untouched(&p);
	nursery_token_unref(o.t);
	place_fini(&p);
}
END_TEST

/* ---- no wake-up without a cancel ---- */

/* How often a thread went to sleep so far. */
static long
sleeps_of(pid_t tid)
{
	char path[64], line[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
			break;
	fclose(f);
	ck_assert_int_ge(n, 0);
	return n;
}

/* The timer runs, and another token is cancelled. */
static void
let_time_pass(void)
{
	struct nursery_token *other = new_token(NULL);

	ck_assert_int_eq(nursery_token_set_deadline(other,
	    nursery_after(50 * NURSERY_MS)), 0);
	ck_assert_int_eq(nursery_token_wait(other, NURSERY_NEVER), 0);
	nursery_token_unref(other);
}

START_TEST(test_wait_causes_no_wake_up_while_no_cancel_is_pending)
{
	struct place p;
	struct outsider o[2] = { { .p = &p }, { .p = &p } };
	pthread_t id[2];
	long before[2];
	int i;

	if (storm_blows())
		return;
	place_init(&p, _i);
	o[0].t = new_token(NULL);	/* the other one has none */
	for (i = 0; i < 2; i++)
		id[i] = start_outsider(&o[i]);
	/* Whatever they had to sleep for on their way is past. */
	let_time_pass();
	for (i = 0; i < 2; i++)
		before[i] = sleeps_of(o[i].tid);
	let_time_pass();
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(sleeps_of(o[i].tid), before[i]);
	for (i = 0; i < 2; i++) {
		serve(&p);
		pthread_cond_broadcast(&p.c);
	}
	for (i = 0; i < 2; i++)
		(void)end_thread(id[i]);
	ck_assert_int_eq(o[0].rc, 0);
	ck_assert_int_eq(o[1].rc, 0);
	nursery_token_unref(o[0].t);
	place_fini(&p);
}
END_TEST

/* ---- condition variables only ---- */

/* Who cancels holds the mutex, and goes on holding it. */
START_TEST(test_cond_canceller_may_hold_the_mutex)
{
	struct nursery *n = open_root(NULL);
	struct place p;

	place_init(&p, 0);
	ck_assert_int_eq(nursery_spawn(n, wait_in_task, &p), 0);
	await_tasks_in("cond_wait", 1);
	pthread_mutex_lock(&p.m);
	nursery_cancel(n);
	/* It is awake, and wants the mutex: some broadcasts go by. */
	ck_assert_int_eq(nursery_sleep(NULL, nursery_after(20 *
	    NURSERY_MS)), 0);
	ck_assert_int_eq(p.rc, -1);
	pthread_mutex_unlock(&p.m);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(p.rc, ECANCELED);
	place_fini(&p);
}
END_TEST

static int
count_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void *
give_one_late(void *place)
{
	(void)nursery_sleep(NULL, nursery_after(SOON));
	serve(place);
	return NULL;
}

/* The thread that wakes them goes when it has had nothing to do for long. */
START_TEST(test_cond_needs_no_thread_when_nobody_waits)
{
	struct nursery_token *t = new_token(NULL);
	/* ThreadSanitizer has one of its own, from the first on. */
	int before = count_threads() + handlers_are_delayed();
	int64_t until;
	struct place p;
	pthread_t id;

	place_init(&p, 0);
	id = start_thread(give_one_late, &p);
	ck_assert_int_eq(wait_cond(&p, t, NURSERY_NEVER), 0);
	(void)end_thread(id);
	until = patience();
	while (count_threads() > before) {
		ck_assert(nursery_now() < until);
		(void)nursery_sleep(NULL, nursery_after(SOON));
	}
	nursery_token_unref(t);
	place_fini(&p);
}
END_TEST

/* A past deadline lets the mutex go for a moment, as the C library's wait
 * does; a mutex that is not held is an error of the mutex. */
START_TEST(test_cond_errors_of_the_mutex_pass_through)
{
	struct nursery_token *t = new_token(NULL);
	struct place p;

	place_init(&p, 0);
	if (handlers_are_delayed())
		goto out;	/* ThreadSanitizer takes it for a fault */
	ck_assert_int_eq(nursery_cond_wait(t, &p.c, &p.m, NURSERY_NEVER),
	    EPERM);
	ck_assert_int_eq(nursery_cond_wait(t, &p.c, &p.m,
	    nursery_after(SOON)), EPERM);
	ck_assert_int_eq(nursery_cond_wait(t, &p.c, &p.m, 0), EPERM);
	ck_assert_int_eq(nursery_cond_wait(NULL, &p.c, &p.m, NURSERY_NEVER),
	    EPERM);
	ck_assert_int_eq(pthread_mutex_unlock(&p.m), EPERM);
out:
	nursery_token_unref(t);
	place_fini(&p);
}
END_TEST

static void *
die_with_it(void *arg)
{
	struct place *p = arg;

	pthread_mutex_lock(&p->m);
	pthread_cond_signal(&p->c);
	return NULL;
}

static int
wait_robust(struct nursery_token *t, void *arg)
{
	struct place *p = arg;

	pthread_mutex_lock(&p->m);
	p->rc = nursery_cond_wait(t, &p->c, &p->m, NURSERY_NEVER);
	if (p->rc == EOWNERDEAD)
		pthread_mutex_consistent(&p->m);
	return pthread_mutex_unlock(&p->m);
}

START_TEST(test_cond_death_of_the_owner_passes_through)
{
	struct nursery *n = open_root(NULL);
	pthread_mutexattr_t a;
	struct place p;

	place_init(&p, 0);
	pthread_mutex_destroy(&p.m);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&p.m, &a);
	pthread_mutexattr_destroy(&a);
	ck_assert_int_eq(nursery_spawn(n, wait_robust, &p), 0);
	await_tasks_in("cond_wait", 1);
	(void)end_thread(start_thread(die_with_it, &p));
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(p.rc, EOWNERDEAD);
	place_fini(&p);
}
END_TEST

/* Clocks and sharing between processes make no difference. */
START_TEST(test_cond_of_any_kind_has_its_deadline)
{
	pthread_condattr_t a;
	struct place p;
	int64_t until;
	int i;

	for (i = 0; i < 3; i++) {
		place_init(&p, 0);
		pthread_cond_destroy(&p.c);
		pthread_condattr_init(&a);
		if (i == 1)
			pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
		if (i == 2)
			pthread_condattr_setpshared(&a,
			    PTHREAD_PROCESS_SHARED);
		pthread_cond_init(&p.c, &a);
		pthread_condattr_destroy(&a);
		until = nursery_after(SOON);
		ck_assert_int_eq(p.wait(&p, NULL, until), ETIMEDOUT);
		ck_assert(nursery_now() >= until);
		place_fini(&p);
	}
}
END_TEST

/* One that leaves wakes those who stay: they look again. */
static int
wait_and_count(struct nursery_token *t, void *arg)
{
	struct place *p = arg;
	int rc;

	(void)t;
	pthread_mutex_lock(&p->m);
	rc = nursery_cond_wait(NULL, &p->c, &p->m, NURSERY_NEVER);
	p->items += 10;
	pthread_mutex_unlock(&p->m);
	return rc;
}

START_TEST(test_cond_one_that_leaves_wakes_the_others)
{
	struct nursery *n = open_root(NULL);
	struct place p;
	int i;

	place_init(&p, 0);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(nursery_spawn(n, wait_and_count, &p), 0);
	await_tasks_in("cond_wait", 2);
	/* A try: nothing but this thread wakes anybody. */
	pthread_mutex_lock(&p.m);
	ck_assert_int_eq(nursery_cond_wait(NULL, &p.c, &p.m, 0), ETIMEDOUT);
	pthread_mutex_unlock(&p.m);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(p.items, 20);
	place_fini(&p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cond");
	TCase *c = leakless_case("cond");

	tcase_add_loop_test(c,
	    test_wait_that_is_cancelled_already_does_no_work, 0, WAITS);
	tcase_add_loop_test(c, test_wait_takes_what_is_there_without_waiting,
	    0, WAITS);
	tcase_add_loop_test(c, test_wait_is_ended_by_its_nursery, 0, WAITS);
	tcase_add_loop_test(c, test_wait_is_ended_by_its_token, 0, WAITS);
	tcase_add_loop_test(c, test_wait_is_ended_by_an_ancestor, 0, WAITS);
	tcase_add_loop_test(c, test_wait_ends_at_its_deadline_and_not_before,
	    0, WAITS);
	tcase_add_loop_test(c, test_wait_outside_a_task, 0, WAITS);
	tcase_add_loop_test(c, test_wait_of_many_is_served_and_cancelled, 0,
	    WAITS);
	tcase_add_loop_test(c, test_wait_goes_on_after_a_signal, 0, WAITS);
	tcase_add_loop_test(c,
	    test_wait_is_no_cancellation_point_of_pthreads, 0, WAITS);
	tcase_add_loop_test(c,
	    test_wait_causes_no_wake_up_while_no_cancel_is_pending, 0,
	    WAITS);
	tcase_add_test(c, test_cond_canceller_may_hold_the_mutex);
	tcase_add_test(c, test_cond_needs_no_thread_when_nobody_waits);
	tcase_add_test(c, test_cond_errors_of_the_mutex_pass_through);
	tcase_add_test(c, test_cond_death_of_the_owner_passes_through);
	tcase_add_test(c, test_cond_of_any_kind_has_its_deadline);
	tcase_add_test(c, test_cond_one_that_leaves_wakes_the_others);
	suite_add_tcase(s, c);
	return run_suite(s);
}
