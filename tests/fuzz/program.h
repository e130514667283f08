/* SPDX-License-Identifier: MIT */
/*
 * A program: what a few threads, and the tasks that they spawn, call, and how
 * the machine chooses.  Any bytes are one:
 *
 *	0	threads, how many calls the first makes before the others begin,
 *		whether threads keep something ready
 *	1	how much of what is odd may happen; the number of calls
 *	2 ...	the calls, two bytes each: whose script and which, an argument
 *	...	the machine's choices, MODEL_BYTES in tests/model/model.h
 *
 * A call takes what it needs from what there is when its turn comes; in the
 * place of one for which there is nothing comes one that makes it.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define THREADS	3
#define SCRIPTS	8	/* of the threads, and of the tasks */
#define CALLS	28	/* in all scripts together */

enum call {
	TOKEN_NEW, TOKEN_ANY, TOKEN_AT, TOKEN_SHIELDED, TOKEN_UNREF,
	TOKEN_CANCEL, TOKEN_RAISE, TOKEN_DEADLINE, TOKEN_READ, TOKEN_WAIT,
	CALLBACK_ADD, CALLBACK_REMOVE, CALLBACK_TRY,
	NURSERY_OPEN, NURSERY_INSIDE, NURSERY_UNDER, NURSERY_CLOSE,
	NURSERY_REPORT, NURSERY_CANCELS, NURSERY_DRAINS, NURSERY_WAITS,
	SPAWN, SPAWN_TRY, SPAWN_COPY, SPAWN_WITH, SPAWN_HANDLE,
	TASK_JOIN, TASK_CANCEL, RETURN, CHANNEL_SEND, CHANNEL_RECV,
	CHANNEL_CLOSE,
	CALL_KINDS		/* 32 */
};
extern const char *const call_name[CALL_KINDS];

struct call_at {
	uint8_t kind, arg;
};

struct program {
	int threads, prologue;
	bool bare;
	int faults, spurious, early;
	int count[SCRIPTS];
	struct call_at call[SCRIPTS][CALLS];
	const uint8_t *choices;
	size_t choice_count;
};

void program_decode(struct program *p, const uint8_t *bytes, size_t size);
void program_print(const struct program *p, FILE *to);
/* By lot, with the calls as often as they are worth; returns the size. */
#define PROGRAM_MAX	(2 + 2 * CALLS + 64)
size_t program_random(uint8_t *bytes, uint64_t *seed);

#endif
