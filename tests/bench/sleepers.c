/* SPDX-License-Identifier: MIT */
#include "sleepers.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK	((size_t)64 * 1024)

struct sleepers {
	void (*sleep)(void *, unsigned);
	void *arg;
	unsigned n;
	atomic_uint next, awake;
	int64_t last;		/* written by the last awake, read after join */
	_Atomic uint32_t gate;	/* 1: all were awake */
};

int
bench_futex_wait(void *word, uint32_t value)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL,
	    NULL, 0);
}

int
bench_futex_wake(void *word, int n)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL,
	    0);
}

static void *
sleeper(void *arg)
{
	struct sleepers *s = arg;

	s->sleep(s->arg, atomic_fetch_add(&s->next, 1));
	if (atomic_fetch_add(&s->awake, 1) + 1 == s->n) {
		s->last = bench_now();
		atomic_store(&s->gate, 1);
		bench_futex_wake(&s->gate, (int)s->n);
	}
	/* Not to exit yet: that costs more than a wake-up, and would be
	 * measured with it. */
	while (atomic_load(&s->gate) == 0)
		bench_futex_wait(&s->gate, 0);
	return NULL;
}

double
sleepers_wake(unsigned n, void (*sleep)(void *, unsigned),
    void (*wake)(void *), void *arg)
{
	struct sleepers s = { sleep, arg, n, 0, 0, 0, 0 };
	pthread_t *ids = calloc(n, sizeof *ids);
	pthread_attr_t attr;
	int64_t start;

	BENCH_CHECK(ids != NULL);
	BENCH_CHECK(pthread_attr_init(&attr) == 0);
	BENCH_CHECK(pthread_attr_setstacksize(&attr, STACK) == 0);
	for (unsigned i = 0; i < n; i++)
		BENCH_CHECK(pthread_create(&ids[i], &attr, sleeper, &s) == 0);
	while (atomic_load(&s.next) < n)
		sched_yield();
	bench_wait_asleep();
	BENCH_CHECK(atomic_load(&s.awake) == 0);

	start = bench_now();
	wake(arg);
	for (unsigned i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	BENCH_CHECK(atomic_load(&s.awake) == n);
	pthread_attr_destroy(&attr);
	free(ids);
	return (double)(s.last - start);
}
