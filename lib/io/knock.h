/* SPDX-License-Identifier: MIT */
/*
 * Waking a thread that sleeps on a condition variable of the program's.
 *
 * Nothing but a broadcast wakes it, and one alone may fall between the
 * waiter's look at its token and its wait.  So from the cancel or the
 * deadline on a thread of the library broadcasts, again and again, until the
 * waiter has left.
 *
 * B1  Nobody knocks while neither has come: no wake-up is caused.
 * B2  The mutex is never taken, and no lock of the library is held during
 *     a broadcast: whoever holds the mutex may cancel.
 * B3  When nur_knock_end() returns nobody knocks for this wait, and the
 *     condition variable may be destroyed.
 * B4  Knocking needs nothing that could be short: it was had before.
 */
#ifndef NUR_IO_KNOCK_H
#define NUR_IO_KNOCK_H

#include "base/list.h"
#include "base/lock.h"
#include "token/timer.h"

/* One wait; on the waiter's stack. */
struct nur_knock {
	/* constant */
	pthread_cond_t *cond;
	struct nursery_token *token;	/* or NULL */
	int64_t deadline;
	struct nursery_callback cb;
	struct nur_timer timer;		/* armed if there is a deadline */
	/* under the lock of knock.c */
	struct nur_link link;		/* among those to be knocked for */
	int64_t next;			/* when, the next time */
	bool busy;			/* a broadcast is under way */
	bool late;			/* the deadline came */
};

/* From now on a cancel, or the deadline, wakes who sleeps on c: 0, or
 * ENOMEM, EAGAIN. */
int nur_knock_begin(struct nur_knock *k, pthread_cond_t *c,
    struct nursery_token *t, int64_t deadline);
/* Whether the deadline came. */
bool nur_knock_end(struct nur_knock *k);

#endif
