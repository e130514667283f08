/* SPDX-License-Identifier: MIT */
/*
 * What nurseries and spawns cost, next to oneTBB and to threads handed their
 * work by hand.  The bars are the project's acceptance.
 */
#include "bench.h"
#include "peers.h"
#include "sleepers.h"

#include <limits.h>
#include <nursery.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OPS		1000000
#define HANDOFFS	300
#define SETTLE_NS	INT64_C(50000)
#define ROUND_TRIPS	2000
#define SLEEPERS	2000
#define SLEEP_NS	(10 * NURSERY_MS)

static struct nursery_stats
stats(void)
{
	struct nursery_stats st = NURSERY_STATS_INIT;

	BENCH_CHECK(nursery_get_stats(&st) == 0);
	return st;
}

static struct nursery *
open_root(void)
{
	struct nursery *n;

	BENCH_CHECK(nursery_open(&n, NULL) == 0);
	return n;
}

static void
close_root(struct nursery *n)
{
	BENCH_CHECK(nursery_close(&n) == 0);
	BENCH_CHECK(n == NULL);
	BENCH_CHECK(stats().nurseries == 0);
	BENCH_CHECK(stats().tasks_running == 0);
}

/* ---- An empty nursery ---- */

static double
empty_child(void)
{
	struct nursery *root = open_root(), *n;
	int64_t took = bench_now();

	for (size_t k = 0; k < OPS; k++) {
		BENCH_CHECK(nursery_open_child(&n, root, NULL) == 0);
		BENCH_CHECK(nursery_close(&n) == 0);
	}
	took = bench_now() - took;
	close_root(root);
	return (double)took / OPS;
}

/* ---- A thread that waits for work, by hand ---- */

struct hand {
	_Atomic uint32_t word;		/* 1: there is work */
	void (*fn)(void *arg);		/* NULL: leave */
	void *arg;
	pthread_t id;
};

static void *
hand_main(void *arg)
{
	struct hand *h = arg;

	for (;;) {
		while (atomic_load_explicit(&h->word, memory_order_acquire)
		    == 0)
			bench_futex_wait(&h->word, 0);
		atomic_store_explicit(&h->word, 0, memory_order_relaxed);
		if (h->fn == NULL)
			return NULL;
		h->fn(h->arg);
	}
}

static void
hand_start(struct hand *h, const pthread_attr_t *attr)
{
	atomic_init(&h->word, 0);
	BENCH_CHECK(pthread_create(&h->id, attr, hand_main, h) == 0);
}

static void
hand_over(struct hand *h, void (*fn)(void *), void *arg)
{
	h->fn = fn;
	h->arg = arg;
	atomic_store_explicit(&h->word, 1, memory_order_release);
	bench_futex_wake(&h->word, 1);
}

static void
hand_stop(struct hand *h)
{
	hand_over(h, NULL, NULL);
	pthread_join(h->id, NULL);
}

/* ---- Work handed to one parked thread ---- */

/* When the work began on the other thread; 0: not yet. */
static _Atomic int64_t began;

static int
begin_task(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	atomic_store_explicit(&began, bench_now(), memory_order_release);
	return 0;
}

static void
begin_job(void *arg)
{
	(void)begin_task(NULL, arg);
}

struct times {
	double to_start;	/* call to the first instruction of the work */
	double call;		/* call to its return */
};

/* Medians over many hand-offs, each to a thread that was seen asleep by one
 * that stays awake. */
static struct times
handoffs(void (*give)(void *), void *arg)
{
	static double start[HANDOFFS], call[HANDOFFS];
	struct times t;

	for (size_t k = 0; k < HANDOFFS; k++) {
		int64_t from, back, then;

		while (!bench_asleep())
			;
		for (then = bench_now() + SETTLE_NS; bench_now() < then;)
			;
		atomic_store(&began, 0);
		from = bench_now();
		give(arg);
		back = bench_now();
		while ((then = atomic_load(&began)) == 0)
			;
		start[k] = (double)(then - from) / 1e3;
		call[k] = (double)(back - from) / 1e3;
	}
	t.to_start = bench_median(start, HANDOFFS);
	t.call = bench_median(call, HANDOFFS);
	return t;
}

static void
spawn_begin(void *arg)
{
	BENCH_CHECK(nursery_spawn(arg, begin_task, NULL) == 0);
}

static struct nursery *
open_on(int lane)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.lane = lane;
	BENCH_CHECK(nursery_open(&n, &a) == 0);
	return n;
}

static struct times
spawn_times_on(int lane)
{
	struct nursery *n = open_on(lane);
	uint64_t threads;
	struct times t;

	spawn_begin(n);
	while (atomic_load(&began) == 0 || stats().idle_threads == 0 ||
	    stats().idle_threads != stats().threads)
		sched_yield();
	threads = stats().threads;
	t = handoffs(spawn_begin, n);
	BENCH_CHECK(stats().threads == threads);	/* cached ones */
	close_root(n);
	return t;
}

static struct times
spawn_times(void)
{
	return spawn_times_on(NURSERY_BLOCKING);
}

static double
compute_to_start(void)
{
	return spawn_times_on(NURSERY_COMPUTE).to_start;
}

static void
hand_begin(void *arg)
{
	hand_over(arg, begin_job, NULL);
}

static struct times
hand_times(void)
{
	struct hand h;
	struct times t;

	hand_start(&h, NULL);
	t = handoffs(hand_begin, &h);
	hand_stop(&h);
	return t;
}

static double
spawn_to_start(void)
{
	return spawn_times().to_start;
}

static double
hand_to_start(void)
{
	return hand_times().to_start;
}

static double
spawn_call(void)
{
	return spawn_times().call;
}

static double
hand_call(void)
{
	return hand_times().call;
}

/* ---- There and back, the giver asleep meanwhile ---- */

static int
count_task(struct nursery_token *t, void *arg)
{
	(void)t;
	++*(unsigned *)arg;
	return 0;
}

static double
spawn_and_wait(void)
{
	struct nursery *n = open_root();
	unsigned count = 0;
	int64_t took = bench_now();

	for (unsigned k = 0; k < ROUND_TRIPS; k++) {
		BENCH_CHECK(nursery_spawn(n, count_task, &count) == 0);
		BENCH_CHECK(nursery_wait(n, NURSERY_NEVER) == 0);
	}
	took = bench_now() - took;
	BENCH_CHECK(count == ROUND_TRIPS);
	close_root(n);
	return (double)took / ROUND_TRIPS / 1e3;
}

struct trip {
	unsigned count;
	_Atomic uint32_t back;
};

static void
trip_job(void *arg)
{
	struct trip *t = arg;

	t->count++;
	atomic_store_explicit(&t->back, 1, memory_order_release);
	bench_futex_wake(&t->back, 1);
}

static double
hand_and_wait(void)
{
	struct trip t = { 0, 0 };
	struct hand h;
	int64_t took;

	hand_start(&h, NULL);
	took = bench_now();
	for (unsigned k = 0; k < ROUND_TRIPS; k++) {
		hand_over(&h, trip_job, &t);
		while (atomic_load_explicit(&t.back, memory_order_acquire)
		    == 0)
			bench_futex_wait(&t.back, 0);
		atomic_store_explicit(&t.back, 0, memory_order_relaxed);
	}
	took = bench_now() - took;
	BENCH_CHECK(t.count == ROUND_TRIPS);
	hand_stop(&h);
	return (double)took / ROUND_TRIPS / 1e3;
}

/* ---- Two thousand that sleep ---- */

struct gate {
	_Atomic uint32_t open;
	atomic_uint there;
};

static void
gate_job(void *arg)
{
	struct gate *g = arg;

	atomic_fetch_add(&g->there, 1);
	while (atomic_load(&g->open) == 0)
		bench_futex_wait(&g->open, 0);
}

static int
gate_task(struct nursery_token *t, void *arg)
{
	(void)t;
	gate_job(arg);
	return 0;
}

/* Lets them all go at once when they are all there. */
static void
pass_gate(struct gate *g, unsigned threads)
{
	while (atomic_load(&g->there) < threads)
		sched_yield();
	atomic_store(&g->open, 1);
	bench_futex_wake(&g->open, INT_MAX);
}

static int
sleep_task(struct nursery_token *t, void *arg)
{
	int64_t start = bench_now();

	BENCH_CHECK(nursery_sleep(t, nursery_after(SLEEP_NS)) == 0);
	BENCH_CHECK(bench_now() - start >= SLEEP_NS);
	atomic_fetch_add((atomic_uint *)arg, 1);
	return 0;
}

/* Leaves that many threads idle in the cache. */
static void
fill_cache(unsigned threads)
{
	struct nursery *n = open_root();
	struct gate g = { 0, 0 };

	for (unsigned i = 0; i < threads; i++)
		BENCH_CHECK(nursery_spawn(n, gate_task, &g) == 0);
	pass_gate(&g, threads);
	close_root(n);
	while (stats().idle_threads < threads)
		sched_yield();
	bench_wait_asleep();
}

static double
spawn_sleepers(void)
{
	atomic_uint slept = 0;
	struct nursery *n;
	int64_t took;

	fill_cache(SLEEPERS);
	BENCH_CHECK(stats().idle_threads == SLEEPERS);
	took = bench_now();
	n = open_root();
	for (unsigned i = 0; i < SLEEPERS; i++)
		BENCH_CHECK(nursery_spawn(n, sleep_task, &slept) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	took = bench_now() - took;
	BENCH_CHECK(atomic_load(&slept) == SLEEPERS);
	return (double)took / 1e6;
}

static int
nursery_sleep_task(struct nursery_token *t, void *arg)
{
	BENCH_CHECK(nursery_sleep(t, nursery_after(SLEEP_NS)) == 0);
	atomic_fetch_add((atomic_uint *)arg, 1);
	return 0;
}

static double
sleepers_on_compute(nursery_fn *fn)
{
	atomic_uint slept = 0;
	struct nursery *n = open_on(NURSERY_COMPUTE);
	int64_t took = bench_now();

	for (unsigned i = 0; i < SLEEPERS; i++)
		BENCH_CHECK(nursery_spawn(n, fn, &slept) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	took = bench_now() - took;
	BENCH_CHECK(atomic_load(&slept) == SLEEPERS);
	return (double)took / 1e6;
}

static double
compute_raw_sleepers(void)
{
	return sleepers_on_compute(sleep_task);
}

static double
compute_sleepers(void)
{
	return sleepers_on_compute(nursery_sleep_task);
}

struct bare {
	atomic_uint left;
	_Atomic uint32_t done;
};

static void
sleep_job(void *arg)
{
	const struct timespec ts = { 0, SLEEP_NS };
	struct bare *b = arg;

	BENCH_CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) == 0);
	if (atomic_fetch_sub(&b->left, 1) == 1) {
		atomic_store(&b->done, 1);
		bench_futex_wake(&b->done, 1);
	}
}

static double
hand_sleepers(void)
{
	struct hand *h = calloc(SLEEPERS, sizeof *h);
	struct bare b = { SLEEPERS, 0 };
	struct gate g = { 0, 0 };
	pthread_attr_t attr;
	int64_t took;

	BENCH_CHECK(h != NULL);
	BENCH_CHECK(pthread_attr_init(&attr) == 0);
	BENCH_CHECK(pthread_attr_setstacksize(&attr, 256 * 1024) == 0);
	for (unsigned i = 0; i < SLEEPERS; i++)
		hand_start(&h[i], &attr);
	/* Like those of the cache they have served before: where they sleep
	 * then is what counts. */
	for (unsigned i = 0; i < SLEEPERS; i++)
		hand_over(&h[i], gate_job, &g);
	pass_gate(&g, SLEEPERS);
	bench_wait_asleep();
	took = bench_now();
	for (unsigned i = 0; i < SLEEPERS; i++)
		hand_over(&h[i], sleep_job, &b);
	while (atomic_load(&b.done) == 0)
		bench_futex_wait(&b.done, 0);
	took = bench_now() - took;
	for (unsigned i = 0; i < SLEEPERS; i++)
		hand_stop(&h[i]);
	pthread_attr_destroy(&attr);
	free(h);
	return (double)took / 1e6;
}

/* ---- The table ---- */

#ifdef BENCH_TBB
#define TBB(name, fn, bar)	{ "oneTBB " name, tbb_##fn, bar },
#else
#define TBB(name, fn, bar)
#endif
#define NO_MORE			{ NULL, NULL, 0 }

static const struct bench_case cases[] = {
	{ "empty_child", "ns", empty_child, 0, 0, {
		TBB("task_group", group, 1.0 / 2)
		TBB("task_group in a task", group_in_task, 1.0 / 2)
		NO_MORE
	} },
	{ "spawn/to_start", "us", spawn_to_start, 0, 0, {
		{ "hand-off by futex", hand_to_start, 1.5 },
		NO_MORE
	} },
	{ "compute/to_start", "us", compute_to_start, 0, 0, {
		{ "hand-off by futex", hand_to_start, 1.1 },
		NO_MORE
	} },
	{ "spawn/call", "us", spawn_call, 0, 0, {
		{ "hand-off by futex", hand_call, 1.5 },
		NO_MORE
	} },
	{ "spawn/and_wait", "us", spawn_and_wait, 0, 0, {
		{ "hand-off and wait by futex", hand_and_wait, 0 },
		NO_MORE
	} },
	{ "sleepers_2000", "ms", spawn_sleepers, 0, 0, {
		{ "2000 parked threads", hand_sleepers, 1.3 },
		NO_MORE
	} },
	{ "compute/raw_sleepers_2000", "ms", compute_raw_sleepers, 1000, 0, {
		NO_MORE
	} },
	{ "compute/sleepers_2000", "ms", compute_sleepers, 0, 0, {
		{ "2000 parked threads", hand_sleepers, 1.3 },
		NO_MORE
	} },
};

int
main(int argc, char **argv)
{
#ifndef BENCH_TBB
	fprintf(stderr, "built without oneTBB: its bars are not judged\n");
#endif
	return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
