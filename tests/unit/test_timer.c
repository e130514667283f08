/* SPDX-License-Identifier: MIT */
/*
 * The heap of deadlines, seen through the order in which it fires.  The
 * timer thread is held in a callback while the heap is filled, moved about
 * in and emptied, so that the order is certain and no clock matters.
 */
#include "tasks.h"

#include "base/sys.h"
#include "base/thr.h"
#include "token/timer.h"

#include <dirent.h>
#include <stdlib.h>

struct fired {
	int64_t *order;
	size_t *count;
	int64_t when;
};

static void
note(void *arg)
{
	struct fired *f = arg;

	/* One thread fires all: plain memory will do. */
	f->order[(*f->count)++] = f->when;
}

/* Holds the timer thread. */
struct hold {
	struct nursery_token *t;
	struct nursery_callback cb;
	struct gate gate;
};

static void
stand(void *gate)
{
	gate_pass(gate);
}

static void
hold_timer(struct hold *h)
{
	gate_init(&h->gate);
	h->cb = (struct nursery_callback){ 0 };
	h->t = new_token(NULL);
	ck_assert_int_eq(nursery_token_on_cancel(h->t, &h->cb, stand,
	    &h->gate), 0);
	ck_assert_int_eq(nursery_token_set_deadline(h->t, 1), 0);
	gate_await(&h->gate, 1);
}

static void
release_timer(struct hold *h)
{
	gate_open(&h->gate);
	nursery_callback_remove(&h->cb);
	nursery_token_unref(h->t);
}

/* All in the past and all different; `last` is the latest. */
START_TEST(test_timer_fires_in_order_whatever_was_done_to_the_heap)
{
	enum { COUNT = 3000 };
	struct nursery_token **t = calloc(COUNT, sizeof *t), *last =
	    new_token(NULL);
	struct nursery_callback *cb = calloc(COUNT, sizeof *cb);
	struct fired *f = calloc(COUNT, sizeof *f);
	int64_t *order = calloc(COUNT, sizeof *order);
	size_t fired = 0, expected = 0, i, k;
	struct hold h;
	struct rng r;

	rng_init(&r, (uint64_t)_i);
	hold_timer(&h);
	for (i = 0; i < COUNT; i++) {
		t[i] = new_token(NULL);
		f[i] = (struct fired){ order, &fired, 0 };
		ck_assert_int_eq(nursery_token_on_cancel(t[i], &cb[i], note,
		    &f[i]), 0);
	}
	/* Set, moved to and fro, some taken back. */
	for (k = 0; k < 3 * COUNT; k++) {
		i = rng_below(&r, COUNT);
		f[i].when = rng_below(&r, 5) == 0 ? NURSERY_NEVER : 1 +
		    (int64_t)rng_below(&r, 1000000) * COUNT + (int64_t)i;
		ck_assert_int_eq(nursery_token_set_deadline(t[i], f[i].when),
		    0);
	}
	/* Some are released, deadline and all. */
	for (i = 0; i < COUNT; i++) {
		if (f[i].when == 0)
			f[i].when = NURSERY_NEVER;
		if (rng_below(&r, 7) != 0)
			continue;
		nursery_callback_remove(&cb[i]);
		nursery_token_unref(t[i]);
		t[i] = NULL;
	}
	for (i = 0; i < COUNT; i++)
		expected += t[i] != NULL && f[i].when != NURSERY_NEVER;
	ck_assert_int_eq(nursery_token_set_deadline(last,
	    INT64_C(1000001) * COUNT), 0);
	release_timer(&h);
	ck_assert_int_eq(nursery_token_wait(last, patience()), 0);
	ck_assert_uint_eq(fired, expected);
	for (i = 1; i < fired; i++)
		ck_assert_int_lt(order[i - 1], order[i]);
	for (i = 0; i < COUNT; i++) {
		if (t[i] == NULL)
			continue;
		ck_assert(nursery_token_is_cancelled(t[i]) == (f[i].when !=
		    NURSERY_NEVER));
		nursery_callback_remove(&cb[i]);
		nursery_token_unref(t[i]);
	}
	nursery_token_unref(last);
	free(t);
	free(cb);
	free(f);
	free(order);
}
END_TEST

/* The earliest is taken back while the thread sleeps for it. */
START_TEST(test_timer_hears_of_a_new_earliest)
{
	struct nursery_token *late = new_token(NULL), *soon =
	    new_token(NULL);
	int64_t at;

	ck_assert_int_eq(nursery_token_set_deadline(late,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	at = nursery_after(2 * NURSERY_MS);
	ck_assert_int_eq(nursery_token_set_deadline(soon, at), 0);
	ck_assert_int_eq(nursery_token_wait(soon, patience()), 0);
	ck_assert(nursery_now() >= at);
	ck_assert_int_eq(nursery_token_set_deadline(late,
	    nursery_after(NURSERY_MS)), 0);
	ck_assert_int_eq(nursery_token_wait(late, patience()), 0);
	nursery_token_unref(late);
	nursery_token_unref(soon);
}
END_TEST

/* No deadline, no thread: the service goes, and comes again when needed. */
START_TEST(test_timer_serves_again_after_nobody_needed_it)
{
	struct nursery_token *t;
	int i;

	for (i = 0; i < 20; i++) {
		t = new_token(NULL);
		ck_assert_int_eq(nursery_token_set_deadline(t, 1), 0);
		ck_assert_int_eq(nursery_token_wait(t, patience()), 0);
		nursery_token_unref(t);
	}
}
END_TEST

/* How many threads the process has; the kernel's id of one that is not the
 * caller in *other. */
static int
count_threads(pid_t *other)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (atoi(e->d_name) != own_tid())
			*other = atoi(e->d_name);
	}
	closedir(dir);
	return n;
}

/* How often that thread went to sleep. */
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
		(void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	fclose(f);
	ck_assert_int_ge(n, 0);
	return n;
}

/* What has no deadline has no thread. */
START_TEST(test_timer_has_no_thread_without_a_deadline)
{
	struct nursery_token *t = new_token(NULL), *k, *s, *any[2];
	pid_t none = 0;
	int fd, i, before = count_threads(&none);

	for (i = 0; i < 100; i++) {
		k = new_token(t);
		ck_assert_int_eq(nursery_token_set_deadline(k, NURSERY_NEVER),
		    0);
		ck_assert_int_eq(nursery_token_new_shielded(&s, k,
		    NURSERY_NEVER), 0);
		any[0] = s;
		any[1] = t;
		ck_assert_int_eq(nursery_token_fd(k, &fd), 0);
		nursery_token_unref(k);
		ck_assert_int_eq(nursery_token_new_any(&k, any, 2), 0);
		nursery_token_unref(k);
		nursery_token_unref(s);
	}
	nursery_token_cancel(t);
	nursery_token_unref(t);
	ck_assert_int_eq(count_threads(&none), before);
}
END_TEST

/* The thread sleeps to the first deadline whatever comes and goes after it. */
START_TEST(test_timer_is_not_woken_by_later_deadlines)
{
	struct nursery_token *first = new_token(NULL), *t;
	pid_t thread = 0;
	long before;
	int i;

	ck_assert_int_eq(nursery_token_set_deadline(first,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	count_threads(&thread);
	ck_assert_int_ne(thread, 0);
	await_asleep(thread);
	before = sleeps_of(thread);
	for (i = 0; i < 1000; i++) {
		t = new_token(first);
		ck_assert_int_eq(nursery_token_set_deadline(t,
		    nursery_after((7200 - i) * NURSERY_SECOND)), 0);
		if (i % 3 == 0)
			ck_assert_int_eq(nursery_token_set_deadline(t,
			    NURSERY_NEVER), 0);
		nursery_token_unref(t);
	}
	await_asleep(thread);
	ck_assert_int_eq(sleeps_of(thread), before);
	nursery_token_unref(first);
}
END_TEST

/* One deadline after the other, none of which is reached. */
START_TEST(test_timer_is_not_woken_by_each_deadline_that_is_alone)
{
	struct nursery_token *t = new_token(NULL), *k;
	pid_t thread = 0;
	long before;
	int i;

	k = new_token(t);
	ck_assert_int_eq(nursery_token_set_deadline(k,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	count_threads(&thread);
	ck_assert_int_ne(thread, 0);
	await_asleep(thread);
	before = sleeps_of(thread);
	nursery_token_unref(k);
	for (i = 0; i < 1000; i++) {
		k = new_token(t);
		ck_assert_int_eq(nursery_token_set_deadline(k,
		    nursery_after(3600 * NURSERY_SECOND)), 0);
		nursery_token_unref(k);
	}
	await_asleep(thread);
	/* Once to begin its last second; more only where that has passed. */
	ck_assert_int_le(sleeps_of(thread), before + 20);
	nursery_token_unref(t);
}
END_TEST

/* Many places in the heap are emptied, again and again: it does not grow,
 * and what stays fires. */
START_TEST(test_timer_sweeps_what_was_disarmed)
{
	struct nursery_token *stay = new_token(NULL), *t[200];
	int i, k;

	ck_assert_int_eq(nursery_token_set_deadline(stay,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	for (k = 0; k < 100; k++) {
		for (i = 0; i < 200; i++) {
			t[i] = new_token(stay);
			ck_assert_int_eq(nursery_token_set_deadline(t[i],
			    nursery_after((9000 + i * 7919 % 811) *
			    NURSERY_SECOND)), 0);
		}
		for (i = 0; i < 200; i++)
			nursery_token_unref(t[i]);
	}
	ck_assert_int_eq(nursery_token_set_deadline(stay, nursery_now()), 0);
	ck_assert_int_eq(nursery_token_wait(stay, patience()), 0);
	nursery_token_unref(stay);
}
END_TEST

START_TEST(test_timer_reserve_makes_room_for_many)
{
	struct nur_timer *t = calloc(1000, sizeof *t);
	size_t i;

	ck_assert_int_eq(nur_timer_reserve(1000), 0);
	for (i = 0; i < 1000; i++) {
		nur_timer_init(&t[i], NUR_TIMER_DEADLINE, NULL);
		nur_timer_arm(&t[i], nursery_after((int64_t)(1000 - i) *
		    3600 * NURSERY_SECOND));
	}
	for (i = 0; i < 1000; i += 2)
		nur_timer_disarm(&t[i]);
	for (i = 0; i < 1000; i++)
		nur_timer_disarm(&t[i]);
	nur_timer_unreserve(1000);
	free(t);
}
END_TEST

/* A cancel that came as an earlier wait ended may ring in the next one: that
 * goes on until its own deadline. */
START_TEST(test_timer_deadline_of_a_poll_outlives_a_late_ring)
{
	struct nursery_token *t = new_token(NULL);
	struct pollfd p = { .events = POLLIN };
	int64_t deadline;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	p.fd = fds[0];
	nur_eventfd_ring(nur_thr_wake_fd(nur_thr_self()));
	deadline = nursery_after(20 * NURSERY_MS);
	ck_assert_int_eq(nursery_poll(t, &p, 1, deadline), 0);
	ck_assert_int_ge(nursery_now(), deadline);
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("timer");
	TCase *c = leakless_case("timer");

	tcase_add_loop_test(c,
	    test_timer_fires_in_order_whatever_was_done_to_the_heap, 0, 3);
	tcase_add_test(c, test_timer_hears_of_a_new_earliest);
	tcase_add_test(c, test_timer_serves_again_after_nobody_needed_it);
	tcase_add_test(c, test_timer_has_no_thread_without_a_deadline);
	/* A sanitizer's thread would be counted, too. */
	if (!costs_are_distorted()) {
		tcase_add_test(c, test_timer_is_not_woken_by_later_deadlines);
		tcase_add_test(c,
		    test_timer_is_not_woken_by_each_deadline_that_is_alone);
	}
	tcase_add_test(c, test_timer_sweeps_what_was_disarmed);
	tcase_add_test(c, test_timer_reserve_makes_room_for_many);
	tcase_add_test(c,
	    test_timer_deadline_of_a_poll_outlives_a_late_ring);
	suite_add_tcase(s, c);
	announce_seed("test_timer");
	return run_suite(s);
}
