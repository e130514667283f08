/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/callback.h"

#include "base/check.h"
#include "base/sys.h"
#include "token/fd.h"

#include <string.h>

_Static_assert(sizeof(struct nur_callback) <=
    sizeof(struct nursery_callback), "a callback fits the caller's storage");

#define GATHER	32	/* enough to save calls, few enough to start soon */

static struct nur_mutex callback_lock = NUR_MUTEX_INIT(NUR_RANK_CALLBACK);
/* atomic: counts finished callbacks; remove() sleeps on it */
static uint32_t finished;
/* under callback_lock */
static unsigned waiters;

static struct nur_callback *
callback_of(struct nur_entry *e)
{
	return NUR_CONTAINER(e, struct nur_callback, entry);
}

static struct nur_hook *
hook_of(struct nur_entry *e)
{
	return NUR_CONTAINER(e, struct nur_hook, entry);
}

static unsigned
state_of(const struct nur_callback *cb)
{
	/* Acquire: pairs with set_state(); who sees DONE sees what fn did. */
	return nur_load_acquire(&cb->entry.state);
}

static void
set_state(struct nur_callback *cb, enum nur_cb_state state)
{
	/* Release: pairs with state_of(). */
	nur_store_release(&cb->entry.state, (uint32_t)state);
}

/* ---- lists of entries ---- */

void
nur_entry_add_locked(struct nur_entry **head, struct nur_entry *e)
{
	e->prev = NULL;
	e->next = *head;
	if (e->next != NULL)
		e->next->prev = e;
	*head = e;
}

void
nur_entry_take_out_locked(struct nur_entry **head, struct nur_entry *e)
{
	if (e->next != NULL)
		e->next->prev = e->prev;
	if (e->prev != NULL)
		e->prev->next = e->next;
	else
		*head = e->next;
}

static void
queue_locked(struct nur_run *run, struct nur_callback *cb)
{
	struct nur_entry *e = &cb->entry;

	cb->run = run;
	e->next = NULL;
	e->prev = run->tail;
	if (run->tail != NULL)
		run->tail->next = e;
	else
		run->head = e;
	run->tail = e;
	set_state(cb, NUR_CB_QUEUED);
}

static void
unqueue_locked(struct nur_callback *cb)
{
	struct nur_run *run = cb->run;

	if (cb->entry.next == NULL)
		run->tail = cb->entry.prev;
	nur_entry_take_out_locked(&run->head, &cb->entry);
}

static void
register_locked(struct nur_callback *cb)
{
	nur_token_share_locked(cb->token);
	nur_entry_add_locked(&cb->token->entries, &cb->entry);
	set_state(cb, NUR_CB_REGISTERED);
}

/* ---- hooks ---- */

static struct nur_callback *
armed(const struct nur_hook *h)
{
	/* Acquire: pairs with arm(); who sees the callback sees its fields. */
	return nur_load_acquire(&h->armed);
}

static inline void
arm(struct nur_hook *h, struct nur_callback *cb, bool waits)
{
	nur_store_release(&h->armed, cb);
	if (waits)		/* K2 */
		nur_full_fence();
	else
		nur_light_barrier();
}

static struct nursery_token *
token_of(const struct nur_hook *h)
{
	/* Relaxed: only compared; what follows is under K2 or the lock. */
	return nur_load_relaxed(&h->token);
}

/* Takes the hook out of whatever list it is in.  Tree lock held. */
static void
detach_locked(struct nur_hook *h)
{
	struct nursery_token *t = token_of(h);

	if (h->run != NULL)
		nur_entry_take_out_locked(&h->run->hooks, &h->entry);
	else if (t != NULL)
		nur_entry_take_out_locked(&t->entries, &h->entry);
	h->run = NULL;
	nur_store_relaxed(&h->token, NULL);
}

/* Moves what is armed to where it belongs without the hook, and frees the
 * hook.  Tree lock held; after the heavy barrier of a raise, if there was
 * one. */
static void
empty_locked(struct nur_hook *h)
{
	struct nur_run *run = h->run;
	struct nur_callback *cb;

	nur_lock(&callback_lock);
	detach_locked(h);
	cb = armed(h);
	if (cb != NULL) {
		nur_store_relaxed(&h->armed, NULL);
		if (run != NULL && cb->entry.level <= nur_token_level(cb->token))
			queue_locked(run, cb);
		else
			register_locked(cb);
	}
	nur_unlock(&callback_lock);
}

/* The hook that served last, if it is free and in the list of t; then t was
 * not inherited. */
static inline struct nur_hook *
hook_at_hand(const struct nur_thr *self, const struct nursery_token *t,
    bool waits)
{
	struct nur_hook *h = self == NULL ? NULL : self->hook_at_hand[waits];

	return h != NULL && token_of(h) == t && armed(h) == NULL ? h : NULL;
}

/* A free hook of this thread in the list of t, which lives; or NULL. */
static struct nur_hook *
hook_for(struct nur_thr *self, struct nursery_token *t, bool waits)
{
	struct nur_hook *h, *spare = NULL;
	int i;

	for (i = 0; i < NUR_HOOKS; i++) {
		h = &self->hook[waits ? NUR_HOOKS + i : i];
		if (armed(h) != NULL)
			continue;
		if (token_of(h) == t)
			return self->hook_at_hand[waits] = h;
		if (spare == NULL || token_of(h) == NULL)
			spare = h;
	}
	if (spare == NULL)
		return NULL;
	nur_lock(&nur_tree_lock);
	if (spare->run != NULL || nur_token_level(t) != NURSERY_LIVE) {
		nur_unlock(&nur_tree_lock);
		return NULL;
	}
	detach_locked(spare);
	spare->entry.kind = NUR_ENTRY_HOOK;
	spare->waits = waits;
	nur_token_share_locked(t);
	nur_entry_add_locked(&t->entries, &spare->entry);
	nur_store_relaxed(&spare->token, t);
	nur_unlock(&nur_tree_lock);
	return self->hook_at_hand[waits] = spare;
}

void
nur_entries_forget_locked(struct nursery_token *t)
{
	struct nur_entry *e;

	while ((e = t->entries) != NULL) {
		if (e->kind == NUR_ENTRY_HOOK)
			detach_locked(hook_of(e));
		else
			nur_entry_take_out_locked(&t->entries, e);
	}
}

void
nur_hooks_thread_ends(struct nur_thr *thr)
{
	int i;

	for (i = 0; i < NUR_ALL_HOOKS; i++) {
		if (thr->hook[i].entry.kind != NUR_ENTRY_HOOK)
			continue;	/* never used */
		nur_lock(&nur_tree_lock);
		empty_locked(&thr->hook[i]);
		nur_unlock(&nur_tree_lock);
	}
}

/* ---- raising ---- */

void
nur_callbacks_collect_locked(struct nur_run *run, struct nursery_token *t,
    unsigned level)
{
	struct nur_entry *e, *next;
	struct nur_hook *h;

	nur_lock(&callback_lock);
	for (e = t->entries; e != NULL; e = next) {
		next = e->next;
		if (e->kind != NUR_ENTRY_HOOK && e->level > level)
			continue;
		nur_entry_take_out_locked(&t->entries, e);
		run->found = true;
		if (e->kind == NUR_ENTRY_CALLBACK) {
			queue_locked(run, callback_of(e));
			continue;
		}
		if (e->kind == NUR_ENTRY_VIEW) {
			nur_view_collect_locked(run, e);
			continue;
		}
		h = hook_of(e);		/* K3 */
		nur_entry_add_locked(&run->hooks, e);
		h->run = run;
		nur_store_relaxed(&h->token, NULL);
		run->hooked = true;
		run->hooked_lightly |= !h->waits;
	}
	nur_unlock(&callback_lock);
}

/* K2, the raiser's side. */
static void
empty_hooks(struct nur_run *run)
{
	if (run->hooked_lightly)
		nur_heavy_barrier();
	else
		nur_full_fence();
	nur_lock(&nur_tree_lock);
	while (run->hooks != NULL)
		empty_locked(hook_of(run->hooks));
	nur_unlock(&nur_tree_lock);
}

static void
wake_gathered(struct nur_run *run)
{
	if (run->gathered > 0)
		nur_futex_wake(&run->gather, INT32_MAX);
	run->gathered = 0;
}

/* C3: calls fn of the current one, without the lock. */
static void
call_current_locked(struct nur_run *run)
{
	void (*fn)(void *) = run->current->fn;
	void *arg = run->current->arg;

	nur_unlock(&callback_lock);
	wake_gathered(run);
	fn(arg);
	nur_lock(&callback_lock);
	/* NULL when fn removed its own callback. */
	if (run->current != NULL)
		set_state(run->current, NUR_CB_DONE);
	run->current = NULL;
	/* Relaxed: changes under the lock; the futex re-reads. */
	nur_store_relaxed(&finished, nur_load_relaxed(&finished) + 1);
	if (waiters > 0)
		nur_futex_wake(&finished, INT32_MAX);
}

/* C4, for a thread that does not sleep in nur_park(). */
static void
call_wake_locked(struct nur_run *run, struct nur_callback *cb,
    struct nur_thr *thr)
{
	void (*wake)(struct nur_thr *) = thr->wake;

	nur_thr_late_begins(thr);
	set_state(cb, NUR_CB_DONE);
	nur_unlock(&callback_lock);
	wake_gathered(run);
	wake(thr);
	nur_thr_late_ends(thr);
	nur_lock(&callback_lock);
}

static void
run_first_locked(struct nur_run *run)
{
	struct nur_callback *cb = callback_of(run->head);
	struct nur_thr *thr = cb->arg;

	unqueue_locked(cb);
	if (cb->fn != NULL) {
		run->current = cb;
		set_state(cb, NUR_CB_RUNNING);
		call_current_locked(run);
		return;
	}
	if (thr->wake != NULL) {
		call_wake_locked(run, cb, thr);
		return;
	}
	set_state(cb, NUR_CB_DONE);	/* C4: the last touch */
	if (run->head == NULL && run->gathered == 0) {	/* the only one */
		nur_unlock(&callback_lock);
		nur_unpark(thr);
		nur_lock(&callback_lock);
		return;
	}
	nur_unpark_gather(thr, &run->gather);
	if (++run->gathered < GATHER)
		return;
	nur_unlock(&callback_lock);
	wake_gathered(run);
	nur_lock(&callback_lock);
}

void
nur_callbacks_run(struct nur_run *run)
{
	if (!run->found)
		return;
	nur_rank_assert_none("callback with a lock held");
	nur_views_ring(run);
	if (run->hooked)
		empty_hooks(run);
	run->thread = nur_thread_mark();
	nur_lock(&callback_lock);
	while (run->head != NULL)
		run_first_locked(run);
	nur_unlock(&callback_lock);
	wake_gathered(run);
}

bool
nur_callbacks_any_locked(const struct nursery_token *t)
{
	struct nur_entry *e;

	for (e = t->entries; e != NULL; e = e->next)
		if (e->kind == NUR_ENTRY_CALLBACK || (e->kind ==
		    NUR_ENTRY_HOOK && armed(hook_of(e)) != NULL))
			return true;
	return false;
}

/* ---- adding ---- */

static bool
runs_here(const struct nur_callback *cb)
{
	return cb->run->thread == nur_thread_mark();
}

/* 0 when the storage may be used; a callback may register itself anew. */
static int
claim(struct nur_callback *cb)
{
	int rc = 0;

	switch (state_of(cb)) {
	case NUR_CB_NONE:
	case NUR_CB_DONE:
		return 0;
	case NUR_CB_RUNNING:
		nur_lock(&callback_lock);
		if (state_of(cb) == NUR_CB_RUNNING) {
			if (runs_here(cb))
				cb->run->current = NULL;
			else
				rc = EBUSY;
		}
		nur_unlock(&callback_lock);
		return rc;
	default:
		return EBUSY;
	}
}

/* The level may have been reached: under the locks it is known.  C5: what was
 * armed in h, unless that is NULL, a raise may have taken over. */
__attribute__((noinline)) static void
tell_slowly(struct nur_callback *cb, struct nur_hook *h)
{
	struct nur_run run = { 0 };

	nur_lock(&nur_tree_lock);
	nur_lock(&callback_lock);
	if (h == NULL || armed(h) == cb) {
		if (h != NULL)
			nur_store_relaxed(&h->armed, NULL);
		run.found = nur_token_level(cb->token) >= cb->entry.level;
		if (run.found)
			queue_locked(&run, cb);
		else
			register_locked(cb);
	}
	nur_unlock(&callback_lock);
	nur_unlock(&nur_tree_lock);
	nur_callbacks_run(&run);
}

static inline void
fill(struct nur_callback *cb, struct nursery_token *t, unsigned level,
    void (*fn)(void *), void *arg)
{
	cb->entry.kind = NUR_ENTRY_CALLBACK;
	cb->entry.level = (uint16_t)level;
	cb->token = t;
	cb->fn = fn;
	cb->arg = arg;
}

/* Arms h, which is t's; true unless the level has been reached, perhaps,
 * meanwhile. */
static inline bool
tell_quickly(struct nur_callback *cb, const struct nursery_token *t,
    struct nur_hook *h, bool waits)
{
	cb->hook = h;
	/* Relaxed: published by arm(). */
	nur_store_relaxed(&cb->entry.state, NUR_CB_HOOKED);
	arm(h, cb, waits);
	return nur_token_level(t) == NURSERY_LIVE;	/* C5: not cb->token */
}

static inline bool
is_free(const struct nur_callback *cb)
{
	return state_of(cb) <= NUR_CB_DONE;
}

__attribute__((noinline)) static int
tell(struct nur_callback *cb, struct nursery_token *t, unsigned level,
    void (*fn)(void *), void *arg)
{
	struct nur_thr *self = nur_thr_self();
	struct nur_hook *h = NULL;

	if (claim(cb) != 0)
		return EBUSY;
	nur_token_publish(t);
	fill(cb, t, level, fn, arg);
	if (self != NULL && nur_token_level(t) == NURSERY_LIVE)
		h = hook_for(self, t, fn == NULL);
	if (h == NULL || !tell_quickly(cb, t, h, fn == NULL))
		tell_slowly(cb, h);
	return 0;
}

/* With the hook at hand: false if there is none, or the storage is in use. */
static inline bool
tell_at_hand(struct nur_callback *cb, struct nursery_token *t, unsigned level,
    void (*fn)(void *), void *arg, bool waits)
{
	struct nur_hook *h = hook_at_hand(nur_thr_peek(), t, waits);

	if (h == NULL || !is_free(cb))
		return false;
	fill(cb, t, level, fn, arg);
	if (!tell_quickly(cb, t, h, waits))
		tell_slowly(cb, h);
	return true;
}

int
nur_token_tell(struct nursery_token *t, unsigned level,
    struct nursery_callback *storage, void (*fn)(void *), void *arg)
{
	struct nur_callback *cb = (struct nur_callback *)storage;

	return tell_at_hand(cb, t, level, fn, arg, fn == NULL) ? 0 :
	    tell(cb, t, level, fn, arg);
}

void
nur_callback_list_locked(struct nursery_callback *storage,
    struct nursery_token *t, unsigned level, void (*fn)(void *), void *arg)
{
	struct nur_callback *cb = (struct nur_callback *)storage;

	fill(cb, t, level, fn, arg);
	register_locked(cb);
}

/* Not at hand, or not right. */
__attribute__((noinline)) static int
add_slowly(struct nursery_token *t, unsigned level,
    struct nursery_callback *storage, void (*fn)(void *), void *arg)
{
	if (t == NULL || storage == NULL || fn == NULL)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	return tell((struct nur_callback *)storage, t, level, fn, arg);
}

static inline int
add(struct nursery_token *t, unsigned level, struct nursery_callback *storage,
    void (*fn)(void *), void *arg)
{
	struct nur_callback *cb = (struct nur_callback *)storage;

	return cb != NULL && fn != NULL && tell_at_hand(cb, t, level, fn, arg,
	    false) ? 0 : add_slowly(t, level, storage, fn, arg);
}

int
nursery_token_on_level(struct nursery_token *t, enum nursery_level level,
    struct nursery_callback *storage, void (*fn)(void *), void *arg)
{
	if ((unsigned)level - NURSERY_DRAIN > NURSERY_ABORT - NURSERY_DRAIN)
		return EINVAL;
	return add(t, (unsigned)level, storage, fn, arg);
}

int
nursery_token_on_cancel(struct nursery_token *t, struct nursery_callback *cb,
    void (*fn)(void *), void *arg)
{
	return add(t, NURSERY_CANCEL, cb, fn, arg);
}

/* ---- removing ---- */

/* The quick way, where it is in a hook of the thread's own: true if it is in
 * nothing any more. */
static inline bool
unhook(struct nur_callback *cb)
{
	struct nur_thr *self = nur_thr_peek();
	struct nur_hook *h = cb->hook;

	if (self == NULL || (uintptr_t)h - (uintptr_t)self->hook >=
	    sizeof self->hook || armed(h) != cb)
		return false;
	arm(h, NULL, h->waits);
	if (nur_token_level(cb->token) != NURSERY_LIVE)
		return false;
	nur_store_relaxed(&cb->entry.state, NUR_CB_NONE);
	return true;
}

static void
await_finish_and_unlock(void)
{
	uint32_t seen = nur_load_relaxed(&finished);
	struct nur_thr *self = nur_thr_peek();
	bool paused;

	waiters++;
	nur_unlock(&callback_lock);
	paused = nur_thr_pause(self);
	(void)nur_futex_wait(&finished, seen, INT64_MAX);
	nur_thr_resume(self, paused);
	nur_lock(&callback_lock);
	waiters--;
	nur_unlock(&callback_lock);
}

/* The callback is in a list or a hook: takes it out.  Both locks held. */
static void
withdraw_locked(struct nur_callback *cb)
{
	switch (state_of(cb)) {
	case NUR_CB_HOOKED:
		if (armed(cb->hook) == cb)
			nur_store_relaxed(&cb->hook->armed, NULL);
		break;
	case NUR_CB_REGISTERED:
		nur_entry_take_out_locked(&cb->token->entries, &cb->entry);
		break;
	case NUR_CB_QUEUED:
		unqueue_locked(cb);
		break;
	case NUR_CB_RUNNING:
		cb->run->current = NULL;
		break;
	default:
		break;
	}
	set_state(cb, NUR_CB_NONE);
}

/* Not in the quick way's frame, as what is slow above. */
__attribute__((noinline)) static int
remove_slowly(struct nur_callback *cb, bool may_wait)
{
	for (;;) {
		nur_lock(&nur_tree_lock);
		nur_lock(&callback_lock);
		if (state_of(cb) != NUR_CB_RUNNING || runs_here(cb)) {
			withdraw_locked(cb);
			nur_unlock(&callback_lock);
			nur_unlock(&nur_tree_lock);
			return 0;
		}
		nur_unlock(&nur_tree_lock);
		if (!may_wait) {
			nur_unlock(&callback_lock);
			return EBUSY;
		}
		await_finish_and_unlock();
	}
}

__attribute__((noinline)) static int
remove_callback(struct nur_callback *cb, bool may_wait)
{
	/* Never registered: nobody else knows this storage. */
	if (cb->token == NULL)
		return 0;
	if (nur_inherited(cb->token))
		return EOWNERDEAD;
	if (is_free(cb)) {
		nur_store_relaxed(&cb->entry.state, NUR_CB_NONE);
		return 0;
	}
	return remove_slowly(cb, may_wait);
}

void
nursery_callback_remove(struct nursery_callback *cb)
{
	if (cb != NULL && !unhook((struct nur_callback *)cb))
		(void)remove_callback((struct nur_callback *)cb, true);
}

int
nursery_callback_try_remove(struct nursery_callback *cb)
{
	if (cb == NULL)
		return EINVAL;
	return unhook((struct nur_callback *)cb) ? 0 :
	    remove_callback((struct nur_callback *)cb, false);
}

void
nur_callbacks_after_fork(void)
{
	nur_mutex_init(&callback_lock, NUR_RANK_CALLBACK);
	waiters = 0;
}
