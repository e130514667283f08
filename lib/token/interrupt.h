/* SPDX-License-Identifier: MIT */
/*
 * Interrupt region: a stretch of code on one thread whose blocking system
 * call a cancel breaks.
 *
 * R1  From the cancel until the region is left the signal is sent again and
 *     again: one alone can fall between the check and the call.
 * R2  When the region is left no further signal is sent for it, and one
 *     that was sent has been delivered.
 */
#ifndef NUR_TOKEN_INTERRUPT_H
#define NUR_TOKEN_INTERRUPT_H

#include "base/thr.h"
#include "token/timer.h"

struct nur_region {
	struct nursery_callback cb;
	struct nursery_token *token;
	struct nur_thr *thr;
	struct nur_timer resend;
	uint32_t hit;		/* atomic: the cancel or the deadline came */
	uint64_t old_mask;
	bool unblocked;
};

/* 0, ECANCELED (already cancelled), or ENOMEM, EAGAIN, EBUSY for want of
 * memory, a timer thread, the signal.  The deadline interrupts too. */
int nur_region_enter(struct nur_region *r, struct nursery_token *t,
    int64_t deadline);
void nur_region_leave(struct nur_region *r);

/* The timer's: sends again; timer lock held. */
void nur_interrupt_again_locked(struct nur_region *r);

#endif
