/* SPDX-License-Identifier: MIT */
/* Cancelling from a signal handler: what is there when the handler returns,
 * what follows, and that it may come at any moment. */
#include "race.h"

#include <sys/wait.h>
#include <unistd.h>

static struct nursery_token *
child(struct nursery_token *parent)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, parent), 0);
	return t;
}

static struct nursery_token *target;
static volatile int level_in_handler, errno_in_handler;

static void
handler(int signo)
{
	int error = errno;

	(void)signo;
	errno = 4711;
	nursery_token_cancel_from_signal(target);
	errno_in_handler = errno;
	level_in_handler = (int)nursery_token_level(target);
	errno = error;
}

static void
install(struct nursery_token *t)
{
	struct sigaction sa = { .sa_handler = handler };

	ck_assert_int_eq(nursery_signal_arm(), 0);
	target = t;
	ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);
}

/* A token that a handler cancelled stays until the library's thread has served
 * it: until all have been, those of this thread.  Oldest first; the kid hears
 * of it from that thread alone. */
static void
await_served(void)
{
	struct nursery_token *last = child(NULL), *kid = child(last);

	install(last);
	raise(SIGUSR1);
	ck_assert_int_eq(nursery_token_wait(kid, patience()), 0);
	nursery_token_unref(kid);
	nursery_token_unref(last);
}

START_TEST(test_from_signal_level_and_cause_are_there_on_return)
{
	struct nursery_token *t = child(NULL);
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	int64_t before = nursery_now();

	install(t);
	raise(SIGUSR1);
	ck_assert_int_eq(level_in_handler, NURSERY_CANCEL);
	ck_assert_int_eq(errno_in_handler, 4711);
	ck_assert(nursery_token_is_cancelled(t));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_LIVE, &cause),
	    ECANCELED);
	ck_assert_int_eq(cause.level, NURSERY_CANCEL);
	ck_assert_ptr_nonnull(cause.why);
	ck_assert_uint_eq(cause.by_task, 0);
	/* To the microsecond. */
	ck_assert_int_ge(cause.when, before - 2 * NURSERY_US);
	ck_assert_int_le(cause.when, nursery_now());
	ck_assert(!nursery_token_cancel(t));
	nursery_token_unref(t);
	await_served();
}
END_TEST

/* Descendants, waiters, callbacks and descriptors follow. */
static void
note(void *arg)
{
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
}

START_TEST(test_from_signal_descendants_follow)
{
	struct nursery_token *t = child(NULL), *k = child(t), *d = child(k);
	struct nursery_callback cb = { 0 }, own = { 0 };
	int told = 0, told_own = 0;

	nursery_token_on_cancel(k, &cb, note, &told);
	nursery_token_on_cancel(t, &own, note, &told_own);
	install(t);
	raise(SIGUSR1);
	ck_assert_int_eq(nursery_token_wait(d, patience()), 0);
	ck_assert_int_eq(nursery_token_cause(d, NURSERY_CANCEL, NULL),
	    ECANCELED);
	while (__atomic_load_n(&told, __ATOMIC_SEQ_CST) == 0 ||
	    __atomic_load_n(&told_own, __ATOMIC_SEQ_CST) == 0)
		ck_assert_int_lt(nursery_now(), patience());
	nursery_callback_remove(&cb);
	nursery_callback_remove(&own);
	nursery_token_unref(d);
	nursery_token_unref(k);
	nursery_token_unref(t);
	await_served();
}
END_TEST

/* A cancel that comes after has told all when it returns, though the library
 * thread may not have come that far. */
START_TEST(test_from_signal_then_cancel_reaches_all)
{
	struct nursery_token *g, *t, *k;
	unsigned i;

	for (i = 0; i < rounds(2000); i++) {
		g = child(NULL);
		t = child(g);
		k = child(t);
		install(t);
		raise(SIGUSR1);
		if (i % 2 == 0)
			ck_assert(!nursery_token_cancel(t));
		else
			ck_assert(nursery_token_cancel(g));
		ck_assert(nursery_token_is_cancelled(k));
		nursery_token_unref(k);
		nursery_token_unref(t);
		nursery_token_unref(g);
	}
	await_served();
}
END_TEST

/* Levels that were reached keep their cause. */
START_TEST(test_from_signal_keeps_the_cause_of_a_drain)
{
	struct nursery_token *p = child(NULL), *t = child(p);

	ck_assert(nursery_token_raise(p, NURSERY_DRAIN, 17, NULL));
	install(t);
	raise(SIGUSR1);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, NULL), 17);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_level(p), NURSERY_DRAIN);
	ck_assert(nursery_token_raise(t, NURSERY_ABORT, 18, NULL));
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_ABORT, NULL), 18);
	nursery_token_unref(t);
	nursery_token_unref(p);
	await_served();
}
END_TEST

START_TEST(test_from_signal_of_a_higher_level_changes_nothing)
{
	struct nursery_token *t = child(NULL);

	ck_assert(nursery_token_raise(t, NURSERY_ABORT, 19, NULL));
	install(t);
	raise(SIGUSR1);
	ck_assert_int_eq(nursery_token_level(t), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_CANCEL, NULL), 19);
	nursery_token_unref(t);
	target = NULL;
	raise(SIGUSR1);		/* NULL is a no-op */
}
END_TEST

static int
wait_task(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_sleep(t, NURSERY_NEVER);
}

START_TEST(test_from_signal_ends_a_nursery)
{
	struct nursery *n;

	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, wait_task, NULL), 0);
	await_tasks_in("sleep", 1);
	install(nursery_token_of(n));
	raise(SIGUSR1);
	ck_assert_int_eq(nursery_spawn(n, wait_task, NULL), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* A thousand of them from one handler: no room to run out of. */
static struct nursery_token *many[1000];

static void
cancel_many(int signo)
{
	int i;

	(void)signo;
	for (i = 0; i < 1000; i++)
		nursery_token_cancel_from_signal(many[i]);
}

START_TEST(test_from_signal_cancels_many)
{
	struct sigaction sa = { .sa_handler = cancel_many };
	struct nursery_token *kid[1000];
	int i;

	ck_assert_int_eq(nursery_signal_arm(), 0);
	ck_assert_int_eq(nursery_signal_arm(), 0);
	for (i = 0; i < 1000; i++) {
		many[i] = child(NULL);
		kid[i] = child(many[i]);
	}
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	for (i = 0; i < 1000; i++) {
		ck_assert(nursery_token_is_cancelled(many[i]));
		/* Gone at once, queued or not. */
		nursery_token_unref(many[i]);
	}
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(nursery_token_wait(kid[i], patience()), 0);
		nursery_token_unref(kid[i]);
	}
	await_served();
}
END_TEST

/* ---- at any moment ---- */

struct busy {
	pthread_t victim;
	struct nursery_token *g, *t, *k;
	int fd;
	bool born_live;
};

/* Shape, levels, words: all of it changes around t while the signal comes. */
static void
busy_with_t(void *arg, struct rng *r)
{
	struct busy *b = arg;
	struct nursery_callback cb = { 0 };
	struct nursery_token *c;
	int told = 0, i;

	for (i = 0; i < 20; i++) {
		if (nursery_token_new(&c, b->t) != 0)
			continue;
		nursery_token_on_cancel(b->t, &cb, note, &told);
		linger(r, 20);
		nursery_callback_remove(&cb);
		nursery_token_unref(c);
		if (i == 10)
			nursery_token_raise(b->g, NURSERY_DRAIN, 5, NULL);
	}
	/* The level never falls, and who comes later hears it. */
	if (nursery_token_is_cancelled(b->t) &&
	    nursery_token_new(&c, b->t) == 0) {
		if (!nursery_token_is_cancelled(c))
			b->born_live = true;
		nursery_token_unref(c);
	}
}

static void
signal_it(void *arg, struct rng *r)
{
	struct busy *b = arg;

	(void)arg;
	(void)r;
	/* On this thread; the other one is at it all the while. */
	raise(SIGUSR1);
	if (!nursery_token_is_cancelled(b->t))
		b->born_live = true;
}

static void
before_signal(void *arg, struct rng *r)
{
	struct busy *b = arg;

	(void)r;
	b->g = child(NULL);
	b->t = child(b->g);
	b->k = child(b->t);
	target = b->t;
	b->born_live = false;
	ck_assert_int_eq(nursery_token_fd(b->k, &b->fd), 0);
}

static void
after_signal(void *arg)
{
	struct busy *b = arg;

	ck_assert(!b->born_live);
	ck_assert_int_eq(nursery_token_level(b->t), NURSERY_CANCEL);
	ck_assert_int_eq(nursery_token_cause(b->t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_wait(b->k, patience()), 0);
	nursery_token_unref(b->k);
	nursery_token_unref(b->t);
	nursery_token_unref(b->g);
}

START_TEST(test_from_signal_race_with_all_that_changes_the_token)
{
	static struct busy b;
	static const struct race race = { .racers = 2,
		.before = before_signal, .run = { busy_with_t, signal_it },
		.after = after_signal, .lag = 10000 };

	install(NULL);
	race_run(&race, &b, rounds(3000));
	await_served();
}
END_TEST

/* The handler interrupts the very thread that holds the locks. */
static void *
send_signals(void *arg)
{
	struct busy *b = arg;
	unsigned i;

	for (i = 0; i < rounds(2000); i++) {
		(void)pthread_kill(b->victim, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

START_TEST(test_from_signal_interrupts_whoever_holds_the_lock)
{
	struct busy b = { .victim = pthread_self() };
	struct nursery_token *t = child(NULL), *c;
	sigset_t usr1;
	pthread_t id;
	unsigned i;

	install(t);
	id = start_thread(send_signals, &b);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	for (i = 0; i < rounds(20000); i++) {
		c = child(t);
		nursery_token_raise(t, NURSERY_DRAIN, 3, NULL);
		nursery_token_unref(c);
		if (!nursery_token_is_cancelled(t))
			continue;
		ck_assert_int_ne(nursery_token_cause(t, NURSERY_CANCEL, NULL),
		    0);
		/* The next one. */
		pthread_sigmask(SIG_BLOCK, &usr1, NULL);
		nursery_token_unref(t);
		target = t = child(NULL);
		pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	}
	(void)end_thread(id);
	signal(SIGUSR1, SIG_IGN);
	nursery_token_unref(t);
}
END_TEST

/* ---- fork ---- */

static int
in_child(void *arg)
{
	struct nursery_token *inherited = arg, *t, *k;

	nursery_token_cancel_from_signal(inherited);	/* inert */
	if (nursery_token_is_cancelled(inherited))
		return 1;
	if (nursery_signal_arm() != 0 || nursery_token_new(&t, NULL) != 0 ||
	    nursery_token_new(&k, t) != 0)
		return 2;
	target = t;
	raise(SIGUSR1);
	return nursery_token_wait(k, patience()) == 0 ? 0 : 3;
}

static int
unarmed_child(void *arg)
{
	struct nursery_token *t;

	(void)arg;
	if (nursery_token_new(&t, NULL) != 0)
		return 1;
	nursery_token_cancel_from_signal(t);
	return 0;
}

START_TEST(test_from_signal_in_a_child_is_armed_anew)
{
	struct nursery_token *t = child(NULL);
	struct outcome o;

	install(t);
	run_forked(&o, in_child, t);
	assert_good(&o);
	run_forked(&o, unarmed_child, NULL);
	assert_aborted(&o, "nursery_signal_arm() was not called");
	nursery_token_unref(t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("from_signal");
	TCase *c = leakless_case("from_signal");

	announce_seed("test_from_signal");
	tcase_add_test(c, test_from_signal_level_and_cause_are_there_on_return);
	tcase_add_test(c, test_from_signal_descendants_follow);
	tcase_add_test(c, test_from_signal_then_cancel_reaches_all);
	tcase_add_test(c, test_from_signal_keeps_the_cause_of_a_drain);
	tcase_add_test(c, test_from_signal_of_a_higher_level_changes_nothing);
	tcase_add_test(c, test_from_signal_ends_a_nursery);
	tcase_add_test(c, test_from_signal_cancels_many);
	tcase_add_test(c,
	    test_from_signal_race_with_all_that_changes_the_token);
	tcase_add_test(c, test_from_signal_interrupts_whoever_holds_the_lock);
	tcase_add_test(c, test_from_signal_in_a_child_is_armed_anew);
	suite_add_tcase(s, c);
	return run_suite(s);
}
