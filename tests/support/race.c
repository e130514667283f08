/* SPDX-License-Identifier: MIT */
#include "race.h"

#include <sched.h>

struct racer {
	const struct race *race;
	pthread_barrier_t *line;
	uint32_t *ready;	/* atomic: who came, over all rounds */
	void *ctx;
	int number;
	unsigned count;
	struct rng rng;
};

void
linger(struct rng *r, unsigned bound)
{
	volatile unsigned turns = rng_below(r, bound);

	if (rng_below(r, 8) == 0) {
		sched_yield();
		return;
	}
	while (turns > 0)
		turns--;
}

void
spin(unsigned *turns)
{
	if (++*turns % 1000 == 0)
		sched_yield();
}

/* A barrier wakes its waiters one after the other; this lets them go within
 * a few nanoseconds, unless one of them gets no processor. */
static void
start_together(const struct racer *me, uint32_t all)
{
	int turns;

	__atomic_add_fetch(me->ready, 1, __ATOMIC_SEQ_CST);
	for (turns = 0; turns < 40000; turns++) {
		if (__atomic_load_n(me->ready, __ATOMIC_SEQ_CST) >= all)
			return;
		if (turns % 2000 == 1999)
			sched_yield();
	}
}

/* Long ones are rare: each power of two is as likely as the next. */
static unsigned
lag_below(struct rng *r, unsigned most)
{
	unsigned bound = 1;

	while (bound < most && rng_below(r, 10) != 0)
		bound *= 2;
	return bound < most ? bound : most;
}

static void *
run_rounds(void *arg)
{
	struct racer *me = arg;
	const struct race *race = me->race;
	unsigned i, lag = race->lag == 0 ? 1000 : race->lag;

	for (i = 0; i < me->count; i++) {
		pthread_barrier_wait(me->line);
		start_together(me, (i + 1) * (uint32_t)race->racers);
		linger(&me->rng, lag_below(&me->rng, lag));
		race->run[me->number](me->ctx, &me->rng);
		pthread_barrier_wait(me->line);
	}
	return NULL;
}

void
race_run(const struct race *race, void *ctx, unsigned count)
{
	struct racer racer[RACERS];
	pthread_t id[RACERS];
	pthread_barrier_t line;
	uint32_t ready = 0;
	struct rng r;
	unsigned i;
	int k;

	rng_init(&r, 99);
	pthread_barrier_init(&line, NULL, (unsigned)race->racers + 1);
	for (k = 0; k < race->racers; k++) {
		racer[k] = (struct racer){ .race = race, .line = &line,
			.ready = &ready, .ctx = ctx, .number = k, .count = count };
		rng_init(&racer[k].rng, (uint64_t)k);
		id[k] = start_thread(run_rounds, &racer[k]);
	}
	for (i = 0; i < count; i++) {
		if (race->before != NULL)
			race->before(ctx, &r);
		pthread_barrier_wait(&line);
		pthread_barrier_wait(&line);
		if (race->after != NULL)
			race->after(ctx);
	}
	for (k = 0; k < race->racers; k++)
		(void)end_thread(id[k]);
	pthread_barrier_destroy(&line);
}
