/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/timer.h"

#include "base/check.h"
#include "base/sys.h"
#include "token/interrupt.h"

#define STACK	((size_t)256 * 1024)
#define LINGER	NURSERY_SECOND	/* the thread leaves when unused this long */

void (*nur_timer_call_hook)(void *owner);
struct nur_mutex nur_timer_lock = NUR_MUTEX_INIT(NUR_RANK_TIMER);

/* under nur_timer_lock: a 4-ary heap, earliest first */
static struct nur_timer **heap;
static size_t count, capacity, reserved;
static bool running;
/* atomic: changes when the earliest deadline does */
static uint32_t changed;

static void
place(struct nur_timer *t, size_t i)
{
	heap[i] = t;
	t->slot = i;
}

static void
sift_up(struct nur_timer *t, size_t i)
{
	size_t up;

	while (i > 0 && heap[up = (i - 1) / 4]->when > t->when) {
		place(heap[up], i);
		i = up;
	}
	place(t, i);
}

static void
sift_down(struct nur_timer *t, size_t i)
{
	size_t best, c, last;

	for (;;) {
		best = 4 * i + 1;
		if (best >= count)
			break;
		last = best + 4 < count ? best + 4 : count;
		for (c = best + 1; c < last; c++)
			if (heap[c]->when < heap[best]->when)
				best = c;
		if (heap[best]->when >= t->when)
			break;
		place(heap[best], i);
		i = best;
	}
	place(t, i);
}

static void
take_out_locked(struct nur_timer *t)
{
	size_t i = t->slot;
	struct nur_timer *last;

	if (i == SIZE_MAX)
		return;
	t->slot = SIZE_MAX;
	last = heap[--count];
	if (last == t)
		return;
	if (i > 0 && heap[(i - 1) / 4]->when > last->when)
		sift_up(last, i);
	else
		sift_down(last, i);
}

void
nur_timer_init(struct nur_timer *t, enum nur_timer_kind kind, void *owner)
{
	t->when = NURSERY_NEVER;
	t->slot = SIZE_MAX;
	t->kind = kind;
	t->owner = owner;
}

static void
wake_locked(void)
{
	/* Relaxed: the futex orders; changes only under the lock. */
	nur_store_relaxed(&changed, nur_load_relaxed(&changed) + 1);
	nur_futex_wake(&changed, 1);
}

void
nur_timer_arm(struct nur_timer *t, int64_t when)
{
	nur_lock(&nur_timer_lock);
	take_out_locked(t);
	t->when = when;
	if (when != NURSERY_NEVER) {
		NUR_ASSERT(count < capacity);
		count++;
		sift_up(t, count - 1);
		if (t->slot == 0)
			wake_locked();
	}
	nur_unlock(&nur_timer_lock);
}

void
nur_timer_disarm(struct nur_timer *t)
{
	nur_timer_arm(t, NURSERY_NEVER);
}

/* Fires what is due.  Both locks held; the tree lock may be given up. */
static bool
fire_one(int64_t now)
{
	struct nur_timer *t;

	nur_lock(&nur_tree_lock);
	nur_lock(&nur_timer_lock);
	if (count == 0 || heap[0]->when > now) {
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		return false;
	}
	t = heap[0];
	if (t->kind == NUR_TIMER_CALL) {
		take_out_locked(t);
		nur_timer_call_hook(t->owner);
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		return true;
	}
	if (t->kind == NUR_TIMER_RESEND) {
		take_out_locked(t);
		nur_interrupt_again_locked(t->owner);
		if (t->when != NURSERY_NEVER) {
			count++;
			sift_up(t, count - 1);
		}
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		return true;
	}
	take_out_locked(t);
	t->when = t->kind == NUR_TIMER_DEADLINE ? t->when : NURSERY_NEVER;
	nur_unlock(&nur_timer_lock);
	nur_token_timer_fired_locked(t);
	return true;
}

static void
timer_main(void *arg)
{
	uint32_t seen;
	int64_t next;

	(void)arg;
	for (;;) {
		nur_lock(&nur_timer_lock);
		seen = nur_load_relaxed(&changed);
		next = count > 0 ? heap[0]->when : NURSERY_NEVER;
		if (reserved == 0)
			next = nur_now() + LINGER;
		nur_unlock(&nur_timer_lock);
		if (nur_futex_wait(&changed, seen, next) == ETIMEDOUT) {
			nur_lock(&nur_timer_lock);
			if (reserved == 0) {
				running = false;
				nur_unlock(&nur_timer_lock);
				return;
			}
			nur_unlock(&nur_timer_lock);
		}
		while (fire_one(nur_now()))
			;
	}
}

static int
grow_locked(size_t want)
{
	struct nur_timer **bigger;
	size_t cap = capacity == 0 ? 64 : capacity, i;

	while (cap < want)
		cap *= 2;
	if (cap == capacity)
		return 0;
	bigger = nur_alloc(cap * sizeof *bigger);
	if (bigger == NULL)
		return ENOMEM;
	for (i = 0; i < count; i++)
		bigger[i] = heap[i];
	nur_free(heap);
	heap = bigger;
	capacity = cap;
	return 0;
}

int
nur_timer_reserve(size_t n)
{
	int rc;

	nur_lock(&nur_timer_lock);
	rc = grow_locked(reserved + n);
	if (rc == 0 && !running) {
		rc = nur_thread_start(timer_main, NULL, STACK);
		running = rc == 0;
	}
	if (rc == 0)
		reserved += n;
	nur_unlock(&nur_timer_lock);
	return rc;
}

void
nur_timer_unreserve(size_t n)
{
	nur_lock(&nur_timer_lock);
	reserved -= n;
	if (reserved == 0) {
		nur_free(heap);
		heap = NULL;
		capacity = 0;
		wake_locked();
	}
	nur_unlock(&nur_timer_lock);
}

void
nur_timer_after_fork(void)
{
	heap = NULL;
	count = capacity = reserved = 0;
	running = false;
}
