/* SPDX-License-Identifier: MIT */
/*
 * Callbacks of a token.
 *
 * C1  A registered callback is in its token's list (tree lock); a raise moves
 *     it to the raiser's run list (both locks), from which it is popped and
 *     run (callback lock).  Each transition has one owner: fn runs once.
 * C2  remove() returns when fn does not run elsewhere: it unlinks (registered
 *     or queued) or waits for the running one, unless it runs right here.
 * C3  After fn the runner touches the caller's storage only if nobody removed
 *     the callback meanwhile: remove() clears `current` of the run.
 */
#ifndef NUR_TOKEN_CALLBACK_H
#define NUR_TOKEN_CALLBACK_H

#include "token/token.h"

enum nur_cb_state {
	NUR_CB_NONE, NUR_CB_REGISTERED, NUR_CB_QUEUED, NUR_CB_RUNNING,
	NUR_CB_DONE
};

/* Lies in the caller's struct nursery_callback. */
struct nur_callback {
	struct nur_callback *next, *prev;
	struct nursery_token *token;
	struct nur_run *run;
	void (*fn)(void *);
	void *arg;
	uint32_t state, level;
};

/* One raise and the callbacks it has to run; on the raiser's stack. */
struct nur_run {
	struct nur_callback *head, *tail;
	struct nur_callback *current;
	uint64_t thread;
};

/* Tree lock held: moves t's callbacks of levels <= level to the run. */
void nur_callbacks_collect_locked(struct nur_run *run,
    struct nursery_token *t, unsigned level);
/* Runs them; no lock held. */
void nur_callbacks_run(struct nur_run *run);

#endif
