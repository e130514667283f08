/* SPDX-License-Identifier: MIT */
/*
 * The same story for each event loop that configure found: two tokens are
 * watched; one is cancelled from another thread while the loop sleeps, the
 * other by a signal handler; then the first has told once, the second once,
 * and both may go without the loop noticing.
 */
#ifndef LOOP_H
#define LOOP_H

#include "support.h"

struct story {
	struct nursery_token *first, *second;
	int fd[2];
	int told[2];
	pthread_t canceller;
};

/* Makes the tokens; the thread cancels the first when the loop sleeps. */
void story_begin(struct story *s);
/* The loop saw the i-th and watches it no more: true when all is told. */
bool story_told(struct story *s, int i);
/* Asserts what must have been, and lets the tokens go. */
void story_end(struct story *s);

/* The program of a loop that configure did not find. */
#define LOOP_IS_MISSING \
	int main(void) { return 77; }

#endif
