/* SPDX-License-Identifier: MIT */
/*
 * A cancel from a signal handler.
 *
 * The handler may have interrupted whoever holds the tree lock, so it takes
 * none.  It sets the word of the token, which is what polls read, and leaves
 * the rest to a library thread, the relay.
 *
 * F1  One compare-and-swap sets the level CANCEL, QUEUED and the level there
 *     was before (BASE), out of which the cause is made: who sees one sees
 *     all.  Nothing else of the word changes.
 * F2  Who won that puts the token in the queue, once; QUEUED keeps it in
 *     memory, as a walk's pin does, until the relay has served it.
 * F3  The kids of a queued token may be below what they hear, T1
 *     notwithstanding: a walk that comes by tells them as well, and so does
 *     a raise that finds the level reached.
 * F4  Until nursery_signal_arm() nobody writes a word without the lock, and
 *     those who have the lock write it plainly.  Afterwards they keep what a
 *     handler has added: nur_token_merge_word().
 * F5  A handler may use what is named here and no more: atomics of 32 bits
 *     and of a pointer, the slab's constants, the clock, one futex call.
 */
#ifndef NUR_TOKEN_FROM_SIGNAL_H
#define NUR_TOKEN_FROM_SIGNAL_H

#include "token/token.h"

void nur_token_write_marked_locked(struct nursery_token *t);

/* F1: makes records out of what a handler left, if it did. */
static inline void
nur_token_adopt_mark_locked(struct nursery_token *t)
{
	if ((nur_token_word(t) & NUR_TOKEN_BASE_MASK) != 0)
		nur_token_write_marked_locked(t);
}

void nur_signal_after_fork(void);

#endif
