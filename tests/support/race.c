/* SPDX-License-Identifier: MIT */
#include "race.h"

#include <sched.h>

struct racer {
	const struct race *race;
	pthread_barrier_t *line;
	void *ctx;
	int number;
	unsigned count;
	struct rng rng;
};

void
linger(struct rng *r, unsigned bound)
{
	volatile unsigned turns = rng_below(r, bound);

	while (turns > 0)
		turns--;
}

static void *
run_rounds(void *arg)
{
	struct racer *me = arg;
	const struct race *race = me->race;
	unsigned i, lag = race->lag == 0 ? 200 : race->lag;

	for (i = 0; i < me->count; i++) {
		pthread_barrier_wait(me->line);
		/* Now and then another one is let by altogether. */
		if (rng_below(&me->rng, 8) == 0)
			sched_yield();
		linger(&me->rng, lag);
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
	struct rng r;
	unsigned i;
	int k;

	rng_init(&r, 99);
	pthread_barrier_init(&line, NULL, (unsigned)race->racers + 1);
	for (k = 0; k < race->racers; k++) {
		racer[k] = (struct racer){ .race = race, .line = &line,
			.ctx = ctx, .number = k, .count = count };
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
