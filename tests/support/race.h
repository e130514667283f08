/* SPDX-License-Identifier: MIT */
/*
 * Races: two or three threads, one or two operations each, many rounds.
 *
 * A round is made ready by the test's own thread, run by all racers at once,
 * and looked at by the test's own thread when all are through.  Racers lag
 * behind each other by a random while, so that over many rounds one meets
 * the other everywhere.  They record; only the test asserts.
 */
#ifndef RACE_H
#define RACE_H

#include "support.h"

#define RACERS	4

struct race {
	int racers;
	void (*run[RACERS])(void *ctx, struct rng *r);
	void (*before)(void *ctx, struct rng *r);	/* or NULL */
	void (*after)(void *ctx);			/* or NULL */
	unsigned lag;	/* at most so many turns; 0: 1000 */
};

/* Runs so many rounds; `before` and `after` may assert. */
void race_run(const struct race *race, void *ctx, unsigned count);

/* Spins for a random while below `bound` turns; now and then it lets others
 * have the processor, which may be the only one, instead. */
void linger(struct rng *r, unsigned bound);

/* For the body of a loop that waits for another racer. */
void spin(unsigned *turns);

#endif
