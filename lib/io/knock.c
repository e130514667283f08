/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "io/knock.h"

#include "base/fork.h"
#include "base/lock.h"
#include "base/sys.h"

#include <string.h>

#define LINGER	NURSERY_SECOND	/* the thread leaves when unused this long */
#define AGAIN	(4 * NURSERY_MS)	/* a few fit into what a cancel may take */

static struct nur_mutex lock = NUR_MUTEX_INIT(NUR_RANK_KNOCK);
/* under lock */
static struct nur_link due = { &due, &due };	/* earliest first */
static size_t waits;		/* begun and not ended */
static bool running, lingers;	/* the thread */
/* atomic: changes when the thread has to look again */
static uint32_t changed;
/* atomic: changes when a broadcast is through */
static uint32_t through;

static void
wake_locked(void)
{
	/* Relaxed: changes under the lock only; the futex orders. */
	nur_store_relaxed(&changed, nur_load_relaxed(&changed) + 1);
	nur_futex_wake(&changed, 1);
}

/* ---- the thread ---- */

/* B2: without the lock.  All that are due again are behind those that are
 * due for the first time, and each goes to the end: the list is sorted. */
static void
knock_first_locked(int64_t now)
{
	struct nur_knock *k = NUR_CONTAINER(due.next, struct nur_knock, link);

	nur_list_remove(&k->link);
	k->next = now + AGAIN;
	nur_list_append(&due, &k->link);
	k->busy = true;
	nur_unlock(&lock);
	nur_cond_broadcast(k->cond);
	nur_lock(&lock);
	k->busy = false;	/* the last touch, unless it is still due */
	nur_store_relaxed(&through, nur_load_relaxed(&through) + 1);
	nur_futex_wake(&through, INT32_MAX);
}

/* When to look again, at the latest. */
static int64_t
next_locked(int64_t now)
{
	lingers = waits == 0;
	if (lingers)
		return now + LINGER;
	if (nur_list_empty(&due))
		return NURSERY_NEVER;
	return NUR_CONTAINER(due.next, struct nur_knock, link)->next;
}

static void
knock_main(void *unused)
{
	int64_t now, next;
	uint32_t seen;
	int rc;

	(void)unused;
	nur_lock(&lock);
	for (;;) {
		now = nur_now();
		next = next_locked(now);
		if (!lingers && next <= now) {
			knock_first_locked(now);
			continue;
		}
		seen = nur_load_relaxed(&changed);
		nur_unlock(&lock);
		rc = nur_futex_wait(&changed, seen, next);
		nur_lock(&lock);
		if (rc == ETIMEDOUT && lingers && waits == 0) {
			running = false;
			nur_unlock(&lock);
			return;
		}
	}
}

NUR_THREAD(knock_thread, knock_main)

/* B4: there is a thread as long as somebody waits. */
static int
reserve(void)
{
	int rc = 0;

	nur_lock(&lock);
	if (!running) {
		rc = nur_thread_start(knock_thread, NULL, NUR_SERVANT_STACK);
		running = rc == 0;
	}
	if (rc == 0)
		waits++;
	nur_unlock(&lock);
	return rc;
}

static void
unreserve_locked(void)
{
	if (--waits == 0 && !lingers)
		wake_locked();	/* its time to leave begins */
}

/* ---- one wait ---- */

static void
become_due_locked(struct nur_knock *k)
{
	if (k->next != NURSERY_NEVER)
		return;		/* it is already */
	k->next = 0;
	nur_list_prepend(&due, &k->link);
	wake_locked();
}

static void
cancelled(void *arg)
{
	nur_lock(&lock);
	become_due_locked(arg);
	nur_unlock(&lock);
}

/* The timer's lock is held. */
static void
too_late(void *arg)
{
	struct nur_knock *k = arg;

	nur_lock(&lock);
	k->late = true;
	become_due_locked(k);
	nur_unlock(&lock);
}

int
nur_knock_begin(struct nur_knock *k, pthread_cond_t *c,
    struct nursery_token *t, int64_t deadline)
{
	int rc = reserve();

	if (rc != 0)
		return rc;
	memset(k, 0, sizeof *k);
	k->cond = c;
	k->token = t;
	k->deadline = deadline;
	k->next = NURSERY_NEVER;
	nur_list_init(&k->link);
	if (deadline != NURSERY_NEVER && (rc = nur_timer_reserve(1)) != 0) {
		nur_lock(&lock);
		unreserve_locked();
		nur_unlock(&lock);
		return rc;
	}
	nur_timer_init(&k->timer, NUR_TIMER_CALL, k);
	if (deadline != NURSERY_NEVER)
		nur_timer_arm(&k->timer, deadline);
	if (t != NULL)
		(void)nursery_token_on_cancel(t, &k->cb, cancelled, k);
	return 0;
}

/* B3 */
static void
await_broadcast_locked(const struct nur_knock *k)
{
	uint32_t seen;

	while (k->busy) {
		seen = nur_load_relaxed(&through);
		nur_unlock(&lock);
		(void)nur_futex_wait(&through, seen, INT64_MAX);
		nur_lock(&lock);
	}
}

bool
nur_knock_end(struct nur_knock *k)
{
	if (k->token != NULL)
		nursery_callback_remove(&k->cb);
	if (k->deadline != NURSERY_NEVER) {
		nur_timer_disarm(&k->timer);
		nur_timer_unreserve(1);
	}
	nur_lock(&lock);
	nur_list_remove(&k->link);
	await_broadcast_locked(k);
	unreserve_locked();
	nur_unlock(&lock);
	return k->late;
}

/* ---- fork ---- */

static void
nothing(void)
{
}

/* Nobody waits in the child, and nothing of what was there is looked at. */
static void
in_child(void)
{
	nur_mutex_init(&lock, NUR_RANK_KNOCK);
	nur_list_init(&due);
	waits = 0;
	running = lingers = false;
}

__attribute__((constructor)) static void
prepare(void)
{
	static const struct nur_fork_hooks hooks = { nothing, nothing,
		in_child };

	nur_fork_hook(NUR_FORK_IO, &hooks);
	nur_timer_call_hook = too_late;
}
