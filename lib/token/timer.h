/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: one heap, one thread, which lives while timers are reserved.
 *
 * M1  Arming needs no memory and no thread: both were had at reserve time.
 *     A token reserves when it arms for the first time.
 * M2  A timer fires with the tree lock held from the heap on, so that a
 *     token, which is freed under that lock, is alive when its timer fires.
 * M3  A deadline sets its token's level with the timer lock held: whoever has
 *     disarmed it under that lock finds the level set or will not see it set.
 * M4  Disarming empties the timer's place in the heap, no more.  The heap has
 *     room for twice what is reserved; when it is full the empty places,
 *     at least half of it, are swept.
 * M5  The thread is woken only for a deadline before the time it sleeps to,
 *     and to begin its last second.
 * M6  What is armed is young at first, in a short list beside the heap, and
 *     comes into the heap when the list is full or the thread looks: a timer
 *     that is soon disarmed never touches the heap.
 */
#ifndef NUR_TOKEN_TIMER_H
#define NUR_TOKEN_TIMER_H

#include "token/token.h"

/* Room for n more timers and a thread to serve them: 0, ENOMEM, EAGAIN. */
int nur_timer_reserve(size_t n);
void nur_timer_unreserve(size_t n);
void nur_timer_init(struct nur_timer *t, enum nur_timer_kind kind, void *owner);
/* (Re)arms; NURSERY_NEVER disarms. */
void nur_timer_arm(struct nur_timer *t, int64_t when);
/* When it returns the timer is not in the heap and does not fire as a
 * resend or a call; token timers also need the tree lock. */
void nur_timer_disarm(struct nur_timer *t);
/* Arms t, one of ts, having reserved for them: 0, ENOMEM, EAGAIN. */
int nur_timers_arm(struct nur_timers *ts, struct nur_timer *t, int64_t when);
/* Disarms both and gives the reservation back. */
void nur_timers_end(struct nur_timers *ts);
void nur_timer_after_fork(void);

/* A timer of kind CALL is due: with its owner, timer lock held; set by io/. */
extern void (*nur_timer_call_hook)(void *owner);

extern struct nur_mutex nur_timer_lock;

#endif
