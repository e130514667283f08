/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: one heap, one thread, which lives while timers are reserved.
 *
 * M1  Arming needs no memory and no thread: both were had at reserve time.
 * M2  A timer fires with the tree lock held from the heap on, so that a
 *     token, which is freed under that lock, is alive when its timer fires.
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
void nur_timer_after_fork(void);

/* A timer of kind CALL is due: with its owner, timer lock held; set by io/. */
extern void (*nur_timer_call_hook)(void *owner);

extern struct nur_mutex nur_timer_lock;

#endif
