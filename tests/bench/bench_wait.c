/* SPDX-License-Identifier: MIT */
/*
 * What it takes to come back from a wait that is cancelled, next to a bare
 * futex wake, and what goes through a channel, next to GLib's queue.  The
 * bars are the project's acceptance; a case without a bar is there to be
 * looked at.
 */
#include "bench.h"
#include "peers.h"
#include "sleepers.h"

#include <nursery.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#define WAKES		300
#define SETTLE_NS	INT64_C(50000)
#define LATE_US		20000	/* cond_wait and sem_wait, after a cancel */

/* ---- From the cancel to the return ---- */

struct waits;
typedef void wait_fn(struct waits *w);

struct waits {
	wait_fn *wait;		/* on the sleeper's thread, until told */
	wait_fn *tell;
	struct nursery_token *token;
	struct nursery_channel *channel;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	sem_t sem;
	_Atomic uint32_t word;
	_Atomic int64_t back;	/* when it came back; 0: not yet */
	_Atomic uint32_t go;	/* how often it may go to sleep */
};

static void *
waiter_main(void *arg)
{
	struct waits *w = arg;
	uint32_t k;

	for (k = 1; k <= WAKES; k++) {
		while (atomic_load_explicit(&w->go, memory_order_acquire) < k)
			;
		w->wait(w);
		atomic_store_explicit(&w->back, bench_now(),
		    memory_order_release);
	}
	return NULL;
}

static struct nursery_token *
token_new(void)
{
	struct nursery_token *t;

	BENCH_CHECK(nursery_token_new(&t, NULL) == 0);
	return t;
}

/* The median, in microseconds; the sleeper was seen asleep each time, by one
 * that stays awake. */
static double
wakes(wait_fn *wait, wait_fn *tell)
{
	struct waits w = { .wait = wait, .tell = tell,
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	static double took[WAKES];
	int64_t from, then;
	pthread_t id;

	BENCH_CHECK(nursery_channel_new(&w.channel, 8, 1) == 0);
	BENCH_CHECK(sem_init(&w.sem, 0, 0) == 0);
	BENCH_CHECK(pthread_create(&id, NULL, waiter_main, &w) == 0);
	for (uint32_t k = 0; k < WAKES; k++) {
		w.token = token_new();
		atomic_store(&w.word, 0);
		atomic_store(&w.back, 0);
		atomic_store_explicit(&w.go, k + 1, memory_order_release);
		for (then = bench_now() + SETTLE_NS; bench_now() < then;)
			;
		while (!bench_asleep())
			;
		from = bench_now();
		tell(&w);
		while ((then = atomic_load(&w.back)) == 0)
			;
		took[k] = (double)(then - from) / 1e3;
		nursery_token_unref(w.token);
	}
	pthread_join(id, NULL);
	sem_destroy(&w.sem);
	nursery_channel_free(w.channel);
	return bench_median(took, WAKES);
}

static void
cancel(struct waits *w)
{
	BENCH_CHECK(nursery_token_cancel(w->token));
}

static void
wait_bare(struct waits *w)
{
	while (atomic_load_explicit(&w->word, memory_order_acquire) == 0)
		bench_futex_wait(&w->word, 0);
}

static void
wake_bare(struct waits *w)
{
	atomic_store_explicit(&w->word, 1, memory_order_release);
	bench_futex_wake(&w->word, 1);
}

static void
wait_recv(struct waits *w)
{
	uint64_t item;

	BENCH_CHECK(nursery_channel_recv(w->token, w->channel, &item,
	    NURSERY_NEVER) == ECANCELED);
}

static void
wait_cond(struct waits *w)
{
	int rc = 0;

	pthread_mutex_lock(&w->mutex);
	while (rc == 0)
		rc = nursery_cond_wait(w->token, &w->cond, &w->mutex,
		    NURSERY_NEVER);
	pthread_mutex_unlock(&w->mutex);
	BENCH_CHECK(rc == ECANCELED);
}

static void
wait_sem(struct waits *w)
{
	BENCH_CHECK(nursery_sem_wait(w->token, &w->sem, NURSERY_NEVER) ==
	    ECANCELED);
}

static double
cancel_recv(void)
{
	return wakes(wait_recv, cancel);
}

static double
cancel_cond(void)
{
	return wakes(wait_cond, cancel);
}

static double
cancel_sem(void)
{
	return wakes(wait_sem, cancel);
}

static double
futex_wake(void)
{
	return wakes(wait_bare, wake_bare);
}

/* ---- Through a channel ---- */

struct stream {
	struct nursery_channel *c;
	unsigned senders, receivers;
	atomic_uint sending;
	_Atomic uint64_t sum;
};

static void
send_or_receive(void *arg, unsigned i)
{
	struct stream *s = arg;
	uint64_t item, sum = 0;

	if (i < s->senders) {
		for (item = 1; item <= PEER_ITEMS; item++)
			BENCH_CHECK(nursery_channel_send(NULL, s->c, &item,
			    NURSERY_NEVER) == 0);
		if (atomic_fetch_sub(&s->sending, 1) == 1)
			nursery_channel_close(s->c);
		return;
	}
	while (nursery_channel_recv(NULL, s->c, &item, NURSERY_NEVER) == 0)
		sum += item;
	atomic_fetch_add(&s->sum, sum);
}

static double
stream(unsigned senders, unsigned receivers, size_t capacity)
{
	struct stream s = { NULL, senders, receivers, senders, 0 };
	int64_t took;

	BENCH_CHECK(nursery_channel_new(&s.c, sizeof(uint64_t), capacity) ==
	    0);
	took = bench_now();
	(void)bench_together(senders + receivers, send_or_receive, &s);
	took = bench_now() - took;
	BENCH_CHECK(s.sum == (uint64_t)senders * PEER_ITEMS * (PEER_ITEMS +
	    1) / 2);
	nursery_channel_free(s.c);
	return (double)took / ((double)senders * PEER_ITEMS);
}

static double
stream_1_1(void)
{
	return stream(1, 1, 1024);
}

static double
stream_2_2(void)
{
	return stream(2, 2, 1024);
}

static double
stream_4_4(void)
{
	return stream(4, 4, 1024);
}

static double
stream_2_2_small(void)
{
	return stream(2, 2, 16);
}

static double
stream_2_2_one(void)
{
	return stream(2, 2, 1);
}

/* ---- The table ---- */

#ifdef BENCH_GLIB
#define GLIB(name, fn, bar)	{ "GLib " name, glib_##fn, bar },
#else
#define GLIB(name, fn, bar)
#endif
#define NO_MORE			{ NULL, NULL, 0 }

static const struct bench_case cases[] = {
	{ "cancel/channel_recv", "us", cancel_recv, 0, 0, {
		{ "bare futex wake", futex_wake, 1.5 },
		NO_MORE
	} },
	{ "cancel/cond_wait", "us", cancel_cond, LATE_US, 0, {
		{ "bare futex wake", futex_wake, 0 },
		NO_MORE
	} },
	{ "cancel/sem_wait", "us", cancel_sem, LATE_US, 0, {
		{ "bare futex wake", futex_wake, 0 },
		NO_MORE
	} },
	{ "channel/1x1", "ns/item", stream_1_1, 0, 0, {
		GLIB("GAsyncQueue", queue_1_1, 0)
		NO_MORE
	} },
	{ "channel/2x2", "ns/item", stream_2_2, 0, 0, {
		GLIB("GAsyncQueue", queue_2_2, 1)
		NO_MORE
	} },
	{ "channel/4x4", "ns/item", stream_4_4, 0, 0, {
		GLIB("GAsyncQueue", queue_4_4, 1)
		NO_MORE
	} },
	{ "channel/2x2_of_16", "ns/item", stream_2_2_small, 0, 0, {
		GLIB("GAsyncQueue without bound", queue_2_2, 0)
		NO_MORE
	} },
	{ "channel/2x2_of_1", "ns/item", stream_2_2_one, 0, 0, {
		GLIB("GAsyncQueue without bound", queue_2_2, 0)
		NO_MORE
	} },
};

int
main(int argc, char **argv)
{
#ifndef BENCH_GLIB
	fprintf(stderr, "built without GLib: its bars are not judged\n");
#endif
	return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
