/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/timer.h"

#include "base/check.h"
#include "base/sys.h"
#include "token/interrupt.h"
#include "token/tree.h"

#include <string.h>

#define LINGER	NURSERY_SECOND	/* the thread leaves when unused this long */
#define YOUNG	64
#define YOUNG_SLOT	(SIZE_MAX / 2)	/* a slot from there on is young */

void (*nur_timer_call_hook)(void *owner);
struct nur_mutex nur_timer_lock = NUR_MUTEX_INIT(NUR_RANK_TIMER);

struct place {
	int64_t when;
	struct nur_timer *timer;	/* NULL: empty, M4 */
};

/* under nur_timer_lock: a 4-ary heap, earliest first */
static struct place *heap;
static size_t count, capacity, reserved;
/* Armed lately, in no order, M6. */
static struct place young[YOUNG];
static size_t young_count;
static bool running;
static bool lingers;	/* the thread's last second has begun */
static int64_t sleeps_to = INT64_MIN;	/* that: the thread is awake */
/* atomic: changes when the thread is to look up */
static uint32_t changed;

/* ---- the heap ---- */

static void
put(struct place p, size_t i)
{
	heap[i] = p;
	if (p.timer != NULL)
		p.timer->slot = i;
}

static void
sift_up(struct place p, size_t i)
{
	size_t up;

	while (i > 0 && heap[up = (i - 1) / 4].when > p.when) {
		put(heap[up], i);
		i = up;
	}
	put(p, i);
}

static void
sift_down(struct place p, size_t i)
{
	size_t best, c, last;

	for (;;) {
		best = 4 * i + 1;
		if (best >= count)
			break;
		last = best + 4 < count ? best + 4 : count;
		for (c = best + 1; c < last; c++)
			if (heap[c].when < heap[best].when)
				best = c;
		if (heap[best].when >= p.when)
			break;
		put(heap[best], i);
		i = best;
	}
	put(p, i);
}

/* M4 */
static void
sweep_locked(void)
{
	size_t i, n = 0;

	for (i = 0; i < count; i++)
		if (heap[i].timer != NULL)
			put(heap[i], n++);
	count = n;
	for (i = n / 4 + 1; i-- > 0;)
		if (i < n)
			sift_down(heap[i], i);
}

static void
insert_locked(struct place p)
{
	if (count == capacity)
		sweep_locked();
	NUR_ASSERT(count < capacity);
	count++;
	sift_up(p, count - 1);
}

/* M6 */
static void
age_locked(void)
{
	size_t i;

	for (i = 0; i < young_count; i++)
		if (young[i].timer != NULL)
			insert_locked(young[i]);
	young_count = 0;
}

static void
add_locked(struct nur_timer *t, int64_t when)
{
	if (young_count == YOUNG)
		age_locked();
	t->slot = YOUNG_SLOT + young_count;
	young[young_count++] = (struct place){ when, t };
}

static void
empty_locked(struct nur_timer *t)
{
	if (t->slot == SIZE_MAX)
		return;
	if (t->slot >= YOUNG_SLOT)
		young[t->slot - YOUNG_SLOT].timer = NULL;
	else
		heap[t->slot].timer = NULL;
	t->slot = SIZE_MAX;
}

static void
remove_first_locked(void)
{
	struct place last = heap[--count];

	if (heap[0].timer != NULL)
		heap[0].timer->slot = SIZE_MAX;
	if (count > 0)
		sift_down(last, 0);
}

/* The earliest timer there is, or NULL. */
static struct nur_timer *
first_locked(void)
{
	age_locked();
	while (count > 0 && heap[0].timer == NULL)
		remove_first_locked();
	return count > 0 ? heap[0].timer : NULL;
}

/* ---- arming ---- */

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

static void
arm_locked(struct nur_timer *t, int64_t when)
{
	empty_locked(t);
	/* Relaxed: others look at it without the lock. */
	nur_store_relaxed(&t->when, when);
	if (when == NURSERY_NEVER)
		return;
	add_locked(t, when);
	if (when < sleeps_to) {
		sleeps_to = when;
		wake_locked();
	}
}

void
nur_timer_arm(struct nur_timer *t, int64_t when)
{
	nur_lock(&nur_timer_lock);
	arm_locked(t, when);
	nur_unlock(&nur_timer_lock);
}

void
nur_timer_disarm(struct nur_timer *t)
{
	nur_timer_arm(t, NURSERY_NEVER);
}

/* ---- the thread ---- */

/* Fires what is due; false if nothing is. */
static bool
fire_one(int64_t now)
{
	struct nur_timer *t;
	bool spread;

	nur_lock(&nur_tree_lock);
	nur_lock(&nur_timer_lock);
	t = first_locked();
	if (t == NULL || heap[0].when > now) {
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		return false;
	}
	remove_first_locked();
	switch (t->kind) {
	case NUR_TIMER_CALL:
		nur_store_relaxed(&t->when, NURSERY_NEVER);
		nur_timer_call_hook(t->owner);
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		break;
	case NUR_TIMER_RESEND:
		nur_interrupt_again_locked(t->owner);
		if (t->when != NURSERY_NEVER)
			add_locked(t, t->when);
		nur_unlock(&nur_timer_lock);
		nur_unlock(&nur_tree_lock);
		break;
	case NUR_TIMER_SHIELD:
		nur_store_relaxed(&t->when, NURSERY_NEVER);
		nur_unlock(&nur_timer_lock);
		nur_token_shield_ended_and_unlock(t->owner);
		break;
	default:
		spread = nur_token_timed_out_locked(t->owner);
		nur_unlock(&nur_timer_lock);
		if (spread)
			nur_spread_and_unlock(t->owner);
		else
			nur_unlock(&nur_tree_lock);
	}
	return true;
}

/* Nothing is in it, nor reserved. */
static void
free_heap_locked(void)
{
	nur_free(heap);
	heap = NULL;
	count = capacity = young_count = 0;
}

/* Until something is due or the thread is to look up; false if its last
 * second has passed. */
static bool
sleep_once(void)
{
	struct nur_timer *first;
	uint32_t seen;
	int64_t to;
	bool stays = true;

	nur_lock(&nur_timer_lock);
	seen = nur_load_relaxed(&changed);
	first = first_locked();
	to = first != NULL ? first->when : NURSERY_NEVER;
	lingers = reserved == 0;
	if (lingers)
		to = nur_now() + LINGER;
	sleeps_to = to;
	nur_unlock(&nur_timer_lock);
	if (nur_futex_wait(&changed, seen, to) != ETIMEDOUT)
		to = INT64_MIN;
	nur_lock(&nur_timer_lock);
	sleeps_to = INT64_MIN;
	if (to != INT64_MIN && reserved == 0) {
		free_heap_locked();
		running = stays = false;
	}
	nur_unlock(&nur_timer_lock);
	return stays;
}

static void
timer_main(void *arg)
{
	(void)arg;
	while (sleep_once())
		while (fire_one(nur_now()))
			;
}

NUR_THREAD(timer_thread, timer_main)

/* ---- reserving ---- */

static int
grow_locked(size_t want)
{
	struct place *bigger;
	size_t cap = capacity == 0 ? 64 : capacity;

	while (cap < 2 * want)		/* M4 */
		cap *= 2;
	if (cap == capacity)
		return 0;
	bigger = nur_alloc(cap * sizeof *bigger);
	if (bigger == NULL)
		return ENOMEM;
	if (count > 0)
		memcpy(bigger, heap, count * sizeof *bigger);
	nur_free(heap);
	heap = bigger;
	capacity = cap;
	return 0;
}

static int
reserve_locked(size_t n)
{
	int rc = grow_locked(reserved + n);

	if (rc == 0 && !running) {
		rc = nur_thread_start(timer_thread, NULL, NUR_SERVANT_STACK);
		running = rc == 0;
		if (rc != 0)
			free_heap_locked();
	}
	if (rc == 0)
		reserved += n;
	return rc;
}

static void
unreserve_locked(size_t n)
{
	reserved -= n;
	if (reserved > 0 || lingers)
		return;
	lingers = true;
	wake_locked();		/* M5 */
}

int
nur_timer_reserve(size_t n)
{
	int rc;

	nur_lock(&nur_timer_lock);
	rc = reserve_locked(n);
	nur_unlock(&nur_timer_lock);
	return rc;
}

void
nur_timer_unreserve(size_t n)
{
	nur_lock(&nur_timer_lock);
	unreserve_locked(n);
	nur_unlock(&nur_timer_lock);
}

int
nur_timers_arm(struct nur_timers *ts, struct nur_timer *t, int64_t when)
{
	int rc = 0;

	nur_lock(&nur_timer_lock);
	/* M3: one that was due before this has been heard. */
	if (t->kind == NUR_TIMER_DEADLINE && nur_token_level(t->owner) >=
	    NURSERY_CANCEL)
		rc = ECANCELED;
	else if (!ts->reserved && when != NURSERY_NEVER) {
		rc = reserve_locked(2);
		ts->reserved = rc == 0;
	}
	if (rc == 0)
		arm_locked(t, when);
	nur_unlock(&nur_timer_lock);
	return rc;
}

void
nur_timers_end(struct nur_timers *ts)
{
	nur_lock(&nur_timer_lock);
	if (ts->reserved) {
		arm_locked(&ts->deadline, NURSERY_NEVER);
		arm_locked(&ts->shield, NURSERY_NEVER);
		ts->reserved = false;
		unreserve_locked(2);
	}
	nur_unlock(&nur_timer_lock);
}

void
nur_timer_after_fork(void)
{
	heap = NULL;
	count = capacity = reserved = young_count = 0;
	running = lingers = false;
	sleeps_to = INT64_MIN;
}
