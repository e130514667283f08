/* SPDX-License-Identifier: MIT */
/*
 * Channels: a ring of copies, and two queues of those who wait.
 *
 * N1  The lock covers the ring, `closed` and both queues.  Items are copied
 *     under it, so that an item is in the ring or with one thread.
 * N2  A queue is empty, or as many are on their way from it (`coming`) as
 *     there are items to take, or places to fill: nobody sleeps beside what
 *     it waits for.  Who comes, or would have come and was cancelled, says
 *     so under the lock and restores this.
 * N3  A waiter is taken out of its queue by exactly one: by who wakes it,
 *     which `called` shows, or by itself.
 * N4  Wake-ups are sent after the lock was let go, and then the channel is
 *     touched no more: who got the last item may free it.  A wake-up that
 *     comes late finds a record (H1 of base/thr.h) whose owner looks again.
 * N5  Work done beats a later cancel: the cancel is looked at before the
 *     ring is, never after.
 */
#include "config.h"

#include "base/check.h"
#include "base/lock.h"
#include "base/sys.h"
#include "base/thr.h"
#include "nursery/io.h"
#include "token/callback.h"
#include "token/token.h"

#include <string.h>

#define RESTS	2	/* for something to come before it is slept for */
#define DOZEN	16	/* woken by one close before it takes the lock again */

struct queue {
	struct nur_link sleepers;
	size_t coming;		/* N2 */
};

struct nursery_channel {
	/* constant */
	size_t item_size, capacity;
	uint32_t generation;	/* nur_generation of the maker */
	struct nur_mutex lock;
	/* under lock, N1 */
	bool closed;
	size_t count, first;
	struct queue receivers, senders;
	size_t waiting;		/* in a queue, on the way from it, or resting */
	unsigned char ring[];
};

/* One who waits; on its stack. */
struct waiter {
	struct nur_link link;
	struct nur_thr *thr;
	uint32_t called;	/* atomic; written under the lock, N3 */
};

static bool
is_inherited(const struct nursery_channel *c)
{
	return c->generation != nur_load_relaxed(&nur_generation);
}

static void
queue_init(struct queue *q)
{
	nur_list_init(&q->sleepers);
	q->coming = 0;
}

int
nursery_channel_new(struct nursery_channel **out, size_t item_size,
    size_t capacity)
{
	struct nursery_channel *c;
	size_t bytes;

	if (out == NULL || item_size == 0 || capacity == 0)
		return EINVAL;
	if (__builtin_mul_overflow(item_size, capacity, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof *c, &bytes))
		return ENOMEM;
	c = nur_alloc(bytes);
	if (c == NULL)
		return ENOMEM;
	c->item_size = item_size;
	c->capacity = capacity;
	c->generation = nur_load_relaxed(&nur_generation);
	nur_mutex_init(&c->lock, NUR_RANK_CHANNEL);
	queue_init(&c->receivers);
	queue_init(&c->senders);
	*out = c;
	return 0;
}

/* ---- the ring ---- */

static void *
place_of(struct nursery_channel *c, size_t i)
{
	size_t at = c->first + i;

	return c->ring + (at < c->capacity ? at : at - c->capacity) *
	    c->item_size;
}

static void
put_locked(struct nursery_channel *c, const void *item)
{
	memcpy(place_of(c, c->count), item, c->item_size);
	c->count++;
}

static void
take_locked(struct nursery_channel *c, void *item)
{
	memcpy(item, place_of(c, 0), c->item_size);
	c->first = c->first + 1 < c->capacity ? c->first + 1 : 0;
	c->count--;
}

/* ---- those who wait ---- */

static struct nur_thr *
call_first_locked(struct queue *q)
{
	struct waiter *w = NUR_CONTAINER(nur_list_pop(&q->sleepers),
	    struct waiter, link);
	/* Its stack is its own again as soon as it sees that it was called. */
	struct nur_thr *thr = w->thr;

	q->coming++;
	nur_store_relaxed(&w->called, 1);
	return thr;
}

/* N2: whom to wake because so many items, or places, are there; or NULL. */
static struct nur_thr *
call_for_locked(struct queue *q, size_t there)
{
	return q->coming < there && !nur_list_empty(&q->sleepers) ?
	    call_first_locked(q) : NULL;
}

static void
unlock_and_wake(struct nursery_channel *c, struct nur_thr *thr)
{
	nur_unlock(&c->lock);
	if (thr != NULL)
		nur_unpark(thr);	/* N4 */
}

/* What a queue waits for, and how much of it is there. */
static size_t
there_for(const struct nursery_channel *c, const struct queue *q)
{
	return q == &c->receivers ? c->count : c->capacity - c->count;
}

/* Sleeps until called, cancelled or late: 0 or ETIMEDOUT. */
static int
sleep_in(struct nur_thr *self, struct waiter *w, struct nursery_token *t,
    int64_t deadline)
{
	struct nursery_callback cb = { { { 0 } } };
	bool paused = nur_thr_pause(self);
	int rc = 0;

	if (t != NULL)
		(void)nur_token_tell(t, NURSERY_CANCEL, &cb, NULL, self);
	/* Relaxed: what came with the call is read under the lock. */
	while (rc == 0 && nur_load_relaxed(&w->called) == 0 &&
	    !nursery_token_is_cancelled(t))
		rc = nur_park(self, deadline);
	if (t != NULL)
		nursery_callback_remove(&cb);
	nur_thr_resume(self, paused);
	return rc;
}

/* One sleep: 0, ETIMEDOUT or ECANCELED.  The lock is held, but for the sleep;
 * who was called before and found that others had been there first goes to
 * the front. */
static int
wait_locked(struct nursery_channel *c, struct queue *q, struct waiter *w,
    struct nursery_token *t, int64_t deadline)
{
	int rc;

	if (nur_load_relaxed(&w->called) != 0)
		nur_list_prepend(&q->sleepers, &w->link);
	else
		nur_list_append(&q->sleepers, &w->link);
	nur_store_relaxed(&w->called, 0);
	nur_unlock(&c->lock);
	rc = sleep_in(w->thr, w, t, deadline);
	nur_lock_patiently(&c->lock);
	if (nur_load_relaxed(&w->called) != 0)
		q->coming--;
	else
		nur_list_remove(&w->link);
	return nursery_token_is_cancelled(t) ? ECANCELED : rc;
}

static bool
must_wait_locked(const struct nursery_channel *c, const struct queue *q)
{
	return there_for(c, q) == 0 && !c->closed;
}

/* While the others are at work a rest is cheaper than a sleep. */
static void
rest_locked(struct nursery_channel *c, const struct queue *q)
{
	int i;

	for (i = 0; i < RESTS && must_wait_locked(c, q); i++) {
		nur_unlock(&c->lock);
		nur_cpu_rest();
		nur_lock_patiently(&c->lock);
	}
}

/* Until something is there for q, or the channel is closed: 0. */
static int
sleep_locked(struct nursery_channel *c, struct queue *q,
    struct nursery_token *t, int64_t deadline)
{
	struct waiter w = { .thr = nur_thr_self() };
	uint32_t op;
	int rc = 0;

	if (w.thr == NULL)
		return ENOMEM;
	if (deadline != NURSERY_NEVER && deadline <= nur_now())
		return ETIMEDOUT;
	c->waiting++;
	rest_locked(c, q);
	op = nur_op_enter(w.thr, q == &c->receivers ? NUR_OP_CHANNEL_RECV :
	    NUR_OP_CHANNEL_SEND, -1);
	while (rc == 0 && must_wait_locked(c, q))
		rc = wait_locked(c, q, &w, t, deadline);
	nur_op_leave(w.thr, op);
	c->waiting--;
	return rc;
}

/* Whether q's thread may go on: 0; else why not.  What is left in a closed
 * channel is received. */
static int
await_locked(struct nursery_channel *c, struct queue *q,
    struct nursery_token *t, int64_t deadline)
{
	int rc = 0;

	if (must_wait_locked(c, q))
		rc = sleep_locked(c, q, t, deadline);
	if (rc == ECANCELED)
		return rc;
	if (c->closed && (q == &c->senders || c->count == 0))
		return EPIPE;
	return there_for(c, q) > 0 ? 0 : rc;
}

/* ---- the interface ---- */

static int
may_use(struct nursery_token *t, const struct nursery_channel *c,
    const void *item)
{
	if (c == NULL || item == NULL)
		return EINVAL;
	if (is_inherited(c) || (t != NULL && nur_inherited(t)))
		return EOWNERDEAD;
	return nursery_token_is_cancelled(t) ? ECANCELED : 0;
}

int
nursery_channel_send(struct nursery_token *t, struct nursery_channel *c,
    const void *item, int64_t deadline)
{
	int rc = may_use(t, c, item);

	if (rc != 0)
		return rc;
	nur_lock_patiently(&c->lock);
	rc = await_locked(c, &c->senders, t, deadline);
	if (rc == 0) {
		put_locked(c, item);
		unlock_and_wake(c, call_for_locked(&c->receivers, c->count));
	} else {
		unlock_and_wake(c, call_for_locked(&c->senders, there_for(c,
		    &c->senders)));
	}
	return rc;
}

int
nursery_channel_recv(struct nursery_token *t, struct nursery_channel *c,
    void *item, int64_t deadline)
{
	int rc = may_use(t, c, item);

	if (rc != 0)
		return rc;
	nur_lock_patiently(&c->lock);
	rc = await_locked(c, &c->receivers, t, deadline);
	if (rc == 0) {
		take_locked(c, item);
		unlock_and_wake(c, call_for_locked(&c->senders, there_for(c,
		    &c->senders)));
	} else {
		unlock_and_wake(c, call_for_locked(&c->receivers, c->count));
	}
	return rc;
}

/* Takes a dozen out of the queues: how many, and whether there are more. */
static size_t
call_dozen_locked(struct nursery_channel *c, struct nur_thr **thr, bool *more)
{
	struct queue *q[] = { &c->receivers, &c->senders };
	size_t n = 0, i;

	for (i = 0; i < 2; i++)
		while (n < DOZEN && !nur_list_empty(&q[i]->sleepers))
			thr[n++] = call_first_locked(q[i]);
	*more = !nur_list_empty(&c->receivers.sleepers) ||
	    !nur_list_empty(&c->senders.sleepers);
	return n;
}

void
nursery_channel_close(struct nursery_channel *c)
{
	struct nur_thr *thr[DOZEN];
	size_t n, i;
	bool more;

	if (c == NULL || is_inherited(c))
		return;
	do {
		nur_lock_patiently(&c->lock);
		c->closed = true;
		n = call_dozen_locked(c, thr, &more);
		nur_unlock(&c->lock);
		for (i = 0; i < n; i++)
			nur_unpark(thr[i]);
		/* N4: more who wait here keep it from being freed. */
	} while (more);
}

void
nursery_channel_free(struct nursery_channel *c)
{
	bool used;

	if (c == NULL || is_inherited(c))
		return;
	nur_lock_patiently(&c->lock);
	used = c->waiting > 0;
	nur_unlock(&c->lock);
	if (used)
		NUR_MISUSE("nursery_channel_free: somebody waits in it");
	nur_mutex_fini(&c->lock);
	nur_free(c);
}
