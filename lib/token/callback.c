/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/callback.h"

#include "base/check.h"
#include "base/sys.h"
#include "base/thr.h"

#include <string.h>

_Static_assert(sizeof(struct nur_callback) <=
    sizeof(struct nursery_callback), "a callback fits the caller's storage");

static struct nur_mutex callback_lock = NUR_MUTEX_INIT(NUR_RANK_CALLBACK);
/* atomic: counts finished callbacks; remove() sleeps on it */
static uint32_t finished;
/* under callback_lock */
static unsigned waiters;

static unsigned
state_of(const struct nur_callback *cb)
{
	/* Acquire: pairs with set_state(); remove() reads the state of a
	 * callback that is being raised under the tree lock only. */
	return nur_load_acquire(&cb->state);
}

static void
set_state(struct nur_callback *cb, enum nur_cb_state state)
{
	/* Release: who sees DONE sees what fn did.  Pairs with state_of(). */
	nur_store_release(&cb->state, (uint32_t)state);
}

static void
list_locked(struct nur_callback *cb, struct nursery_token *t)
{
	cb->prev = NULL;
	cb->next = t->cbs;
	if (cb->next != NULL)
		cb->next->prev = cb;
	t->cbs = cb;
}

static void
unlist_locked(struct nur_callback *cb)
{
	if (cb->next != NULL)
		cb->next->prev = cb->prev;
	if (cb->prev != NULL)
		cb->prev->next = cb->next;
	else
		cb->token->cbs = cb->next;
}

static void
queue_locked(struct nur_run *run, struct nur_callback *cb)
{
	set_state(cb, NUR_CB_QUEUED);
	cb->run = run;
	cb->next = NULL;
	cb->prev = run->tail;
	if (run->tail != NULL)
		run->tail->next = cb;
	else
		run->head = cb;
	run->tail = cb;
}

static void
unqueue_locked(struct nur_callback *cb)
{
	struct nur_run *run = cb->run;

	if (cb->prev != NULL)
		cb->prev->next = cb->next;
	else
		run->head = cb->next;
	if (cb->next != NULL)
		cb->next->prev = cb->prev;
	else
		run->tail = cb->prev;
}

void
nur_callbacks_collect_locked(struct nur_run *run, struct nursery_token *t,
    unsigned level)
{
	struct nur_callback *cb, *next;

	nur_lock(&callback_lock);
	for (cb = t->cbs; cb != NULL; cb = next) {
		next = cb->next;
		if (cb->level > level)
			continue;
		unlist_locked(cb);
		queue_locked(run, cb);
	}
	nur_unlock(&callback_lock);
}

void
nur_callbacks_run(struct nur_run *run)
{
	struct nur_callback *cb;
	void (*fn)(void *);
	void *arg;

	/* Nobody else adds to the run, so an empty head is the end. */
	if (run->head == NULL)
		return;
	nur_rank_assert_none("callback with a lock held");
	run->thread = (uint64_t)(uintptr_t)nur_tls_get();
	run->thread = run->thread != 0 ? run->thread : (uint64_t)nur_gettid();
	nur_lock(&callback_lock);
	while ((cb = run->head) != NULL) {
		unqueue_locked(cb);
		set_state(cb, NUR_CB_RUNNING);
		run->current = cb;
		fn = cb->fn;
		arg = cb->arg;
		nur_unlock(&callback_lock);
		fn(arg);
		nur_lock(&callback_lock);
		/* C3: NULL when fn removed its own callback. */
		if (run->current != NULL)
			set_state(run->current, NUR_CB_DONE);
		run->current = NULL;
		/* Relaxed: changes under the lock; the futex re-reads. */
		nur_store_relaxed(&finished, nur_load_relaxed(&finished) + 1);
		if (waiters > 0)
			nur_futex_wake(&finished, INT32_MAX);
	}
	nur_unlock(&callback_lock);
}

int
nursery_token_on_level(struct nursery_token *t, enum nursery_level level,
    struct nursery_callback *storage, void (*fn)(void *), void *arg)
{
	struct nur_callback *cb = (struct nur_callback *)storage;

	if (t == NULL || storage == NULL || fn == NULL ||
	    (int)level < NURSERY_DRAIN || (int)level > NURSERY_ABORT)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	if (state_of(cb) == NUR_CB_REGISTERED || state_of(cb) == NUR_CB_QUEUED)
		return EBUSY;
	memset(cb, 0, sizeof *cb);
	cb->token = t;
	cb->fn = fn;
	cb->arg = arg;
	cb->level = (uint32_t)level;
	nur_lock(&nur_tree_lock);
	if (nur_token_level(t) < (unsigned)level) {
		set_state(cb, NUR_CB_REGISTERED);
		list_locked(cb, t);
		nur_unlock(&nur_tree_lock);
		return 0;
	}
	set_state(cb, NUR_CB_DONE);
	nur_unlock(&nur_tree_lock);
	nur_rank_assert_none("callback with a lock held");
	fn(arg);
	return 0;
}

int
nursery_token_on_cancel(struct nursery_token *t, struct nursery_callback *cb,
    void (*fn)(void *), void *arg)
{
	return nursery_token_on_level(t, NURSERY_CANCEL, cb, fn, arg);
}

static bool
runs_here(const struct nur_run *run)
{
	uint64_t me = (uint64_t)(uintptr_t)nur_tls_get();

	if (me != 0 && run->thread == me)
		return true;
	return run->thread == (uint64_t)nur_gettid();
}

/* The slow half of remove: the callback is queued, runs, or has run. */
static int
remove_raised(struct nur_callback *cb, bool may_wait)
{
	uint32_t seen;
	int rc = 0;

	nur_lock(&callback_lock);
	while (state_of(cb) == NUR_CB_RUNNING && !runs_here(cb->run)) {
		if (!may_wait) {
			rc = EBUSY;
			goto unlock;
		}
		seen = nur_load_relaxed(&finished);
		waiters++;
		nur_unlock(&callback_lock);
		(void)nur_futex_wait(&finished, seen, INT64_MAX);
		nur_lock(&callback_lock);
		waiters--;
	}
	if (state_of(cb) == NUR_CB_QUEUED)
		unqueue_locked(cb);
	else if (state_of(cb) == NUR_CB_RUNNING)
		cb->run->current = NULL;
	set_state(cb, NUR_CB_NONE);
unlock:
	nur_unlock(&callback_lock);
	return rc;
}

static int
remove_callback(struct nursery_callback *storage, bool may_wait)
{
	struct nur_callback *cb = (struct nur_callback *)storage;

	if (storage == NULL)
		return EINVAL;
	/* Never registered: nobody else knows this storage. */
	if (cb->token == NULL || nur_inherited(cb->token))
		return 0;
	nur_lock(&nur_tree_lock);
	if (state_of(cb) == NUR_CB_REGISTERED) {
		unlist_locked(cb);
		set_state(cb, NUR_CB_NONE);
		nur_unlock(&nur_tree_lock);
		return 0;
	}
	nur_unlock(&nur_tree_lock);
	return remove_raised(cb, may_wait);
}

void
nursery_callback_remove(struct nursery_callback *cb)
{
	(void)remove_callback(cb, true);
}

int
nursery_callback_try_remove(struct nursery_callback *cb)
{
	return remove_callback(cb, false);
}
