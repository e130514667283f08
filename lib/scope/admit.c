/* SPDX-License-Identifier: MIT */
/* Who gets in, who waits for room, who has a place.  N6 in scope/nursery.h. */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "sched/pool.h"
#include "scope/light.h"
#include "token/callback.h"

#define TRY_AGAIN	(10 * NURSERY_MS)	/* for a thread */

/* ---- room ---- */

void
nur_room_changed_locked(struct nursery *n)
{
	/* Relaxed: moves under the lock; sleepers read it there too. */
	nur_store_relaxed(&n->room_seq, nur_load_relaxed(&n->room_seq) + 1);
	n->wake_room = n->room_waiters > 0;
}

static void
room_wake(void *nursery)
{
	struct nursery *n = nursery;

	nur_lock(&n->lock);
	nur_room_changed_locked(n);
	nur_nursery_unlock(n);
}

static bool
has_place(const struct nursery *n)
{
	return n->attr.max_running == 0 || n->running < n->attr.max_running;
}

/* The same for one who has not been there before. */
static bool
has_new_place(const struct nursery *n)
{
	return n->attr.max_running == 0 || n->running + n->returning <
	    n->attr.max_running;
}

static bool
has_queue_room(const struct nursery *n)
{
	return n->attr.max_queued == 0 || n->queued < n->attr.max_queued;
}

/* Once the nursery is cancelled no more tasks start, though the queue may not
 * be emptied yet. */
static bool
may_start(const struct nursery *n, const struct nursery_task *t)
{
	return nur_token_level(&n->token) < NURSERY_CANCEL ||
	    (t->flags & NURSERY_TASK_FINAL) != 0;
}

static struct nursery_task *
oldest_locked(const struct nursery *n)
{
	struct nursery_task *t;
	struct nur_link *l;

	NUR_LIST_FOREACH(l, &n->queue) {
		t = NUR_CONTAINER(l, struct nursery_task, link);
		if (may_start(n, t))
			return t;
	}
	return NULL;
}

static void
unqueue_locked(struct nursery *n, struct nursery_task *t)
{
	nur_list_remove(&t->link);
	t->queued = false;
	n->queued--;
}

/* It gets a place; NULL: no place, or nobody wants one. */
static struct nursery_task *
dequeue_locked(struct nursery *n)
{
	struct nursery_task *t = has_new_place(n) ? oldest_locked(n) : NULL;

	if (t == NULL)
		return NULL;
	unqueue_locked(n, t);
	n->running++;
	nur_list_append(&n->tasks, &t->link);
	return t;
}

void
nur_discard(struct nursery_task *t)
{
	struct nursery_task *none = NULL;

	if (t->discard != NULL)
		t->discard(t->arg);
	nur_task_finish(t, &none);
}

/* No thread was to be had for t, which had a place.  False: it cannot go back
 * to the queue, where a cancel that came meanwhile did not find it. */
static bool
put_back_locked(struct nursery *n, struct nursery_task *t)
{
	nur_list_remove(&t->link);
	n->running--;
	nur_room_changed_locked(n);
	if (!may_start(n, t))
		return false;
	n->queued++;
	t->queued = true;
	nur_list_prepend(&n->queue, &t->link);	/* it was the oldest */
	if (n->joined)
		nur_task_look_again(t);
	return true;
}

void
nur_requeue(struct nursery *n, struct nursery_task *t)
{
	bool kept;

	nur_lock(&n->lock);
	kept = put_back_locked(n, t);
	nur_done_changed_locked(n);
	/* Not ours any more, if it is back in the queue. */
	nur_nursery_unlock(n);
	if (!kept)
		nur_discard(t);
}

bool
nur_is_called_off(const struct nursery_task *t)
{
	/* Relaxed: who called it off late finds it begun. */
	return !may_start(t->nursery, t) || nur_load_relaxed(&t->called_off);
}

struct nursery_task *
nur_call_off(struct nursery_task *t)
{
	struct nursery *n = t->nursery;
	struct nursery_task *next;

	nur_lock(&n->lock);
	nur_list_remove(&t->link);
	next = nur_pass_place_locked(n);
	nur_nursery_unlock(n);
	nur_discard(t);
	return next;
}

struct nursery_task *
nur_pass_place_locked(struct nursery *n)
{
	struct nursery_task *next;

	n->running--;
	next = dequeue_locked(n);
	nur_room_changed_locked(n);
	return next;
}

int
nur_start(struct nursery_task *t, size_t stack_size)
{
	if (t->lane != NURSERY_COMPUTE)
		return nur_pool_start(t, stack_size);
	nur_compute_start(t);
	return 0;
}

bool
nur_fill_places_locked(struct nursery *n)
{
	struct nursery_task *t;
	int rc = 0;

	while (rc == 0 && (t = dequeue_locked(n)) != NULL) {
		nur_room_changed_locked(n);
		nur_nursery_unlock(n);
		rc = nur_start(t, n->attr.stack_size);
		nur_lock(&n->lock);
		if (rc == 0 || put_back_locked(n, t))
			continue;
		nur_nursery_unlock(n);
		nur_discard(t);
		nur_lock(&n->lock);
	}
	return rc == 0;
}

int64_t
nur_try_again_by(int64_t until)
{
	int64_t now = nur_now();

	return now < until - TRY_AGAIN ? now + TRY_AGAIN : until;
}

/* ---- waiting for room ---- */

/* Sleeps until the room may have changed: 0 or ETIMEDOUT.  Lets the lock go
 * meanwhile. */
static int
sleep_for_room_locked(struct nursery *n, int64_t until)
{
	uint32_t seen = nur_load_relaxed(&n->room_seq), op = 0;
	struct nur_thr *self = nur_thr_peek();
	bool paused;
	int rc;

	n->room_waiters++;
	nur_nursery_unlock(n);
	if (self != NULL)
		op = nur_op_enter(self, NUR_OP_SPAWN, -1);
	paused = nur_thr_pause(self);
	rc = nur_futex_wait(&n->room_seq, seen, until);
	nur_thr_resume(self, paused);
	if (self != NULL)
		nur_op_leave(self, op);
	nur_lock(&n->lock);
	n->room_waiters--;
	return rc == ETIMEDOUT ? ETIMEDOUT : 0;
}

/* False: on_done is called for it, and its place is another's already. */
static bool
holds_place_locked(const struct nursery_task *t)
{
	return !nur_is_light(t) && !nur_list_empty(&t->link);
}

static void
give_place_locked(struct nursery *n)
{
	n->running--;
	nur_room_changed_locked(n);	/* one may want it back */
}

/* True: the place has to be taken back. */
static bool
give_place(struct nursery_task *caller)
{
	struct nursery *n = caller->nursery;
	bool has;

	if (n->attr.max_running == 0)
		return false;
	nur_lock(&n->lock);
	has = holds_place_locked(caller);
	if (has) {
		give_place_locked(n);
		(void)nur_fill_places_locked(n);
		nur_done_changed_locked(n);
	}
	nur_nursery_unlock(n);
	return has;
}

/* Told to stop, a member does not wait for another place. */
static void
take_place_back(struct nursery *n)
{
	nur_lock(&n->lock);
	n->returning++;
	while (!has_place(n) && nur_token_level(&n->token) < NURSERY_CANCEL)
		(void)sleep_for_room_locked(n, NURSERY_NEVER);
	n->returning--;
	n->running++;
	nur_nursery_unlock(n);
}

void
nur_pause_begin(struct nur_pause *p, enum nur_op op)
{
	struct nursery_task *caller = nur_task_current();

	p->self = nur_thr_peek();
	if (p->self != NULL)
		p->op = nur_op_enter(p->self, op, -1);
	p->gave = caller != NULL && give_place(caller) ? caller->nursery :
	    NULL;
}

void
nur_pause_end(struct nur_pause *p)
{
	if (p->gave != NULL)
		take_place_back(p->gave);
	if (p->self != NULL)
		nur_op_leave(p->self, p->op);
}

/* ---- admission ---- */

int
nur_refusal_locked(const struct nursery *n, unsigned flags, bool member)
{
	unsigned level = nur_token_level(&n->token);

	if (n->state == NUR_CLOSED)
		return ESHUTDOWN;
	if (n->state == NUR_CLOSING && (!member || nur_is_empty_locked(n)))
		return ESHUTDOWN;
	if ((flags & NURSERY_TASK_FINAL) != 0)
		return 0;
	if (level >= NURSERY_CANCEL)
		return ECANCELED;
	if (level == NURSERY_DRAIN && !member &&
	    (flags & NURSERY_TASK_IN_DRAIN) == 0)
		return ESHUTDOWN;
	return 0;
}

static void
count_in_locked(struct nursery *n, struct nursery_task *t, bool runs)
{
	if (runs) {
		n->running++;
		nur_list_append(&n->tasks, &t->link);
	} else {
		nur_store_relaxed(&t->since, nur_now());
		n->queued++;
		t->queued = true;
		nur_list_append(&n->queue, &t->link);
	}
	n->unfinished++;
	n->services += nur_is_service(t);
	n->counts.spawned++;
}

/* 0: counted in, running or queued, *runs says which; EAGAIN: no room. */
static int
enter_locked(struct nursery *n, struct nursery_task *t, bool member,
    bool *runs)
{
	int rc = nur_refusal_locked(n, t->flags, member);

	if (rc != 0)
		return rc;
	*runs = has_new_place(n) && nur_list_empty(&n->queue);
	if (!*runs && !has_queue_room(n))
		return EAGAIN;
	count_in_locked(n, t, *runs);
	/* Those before it lacked no more than a thread, perhaps. */
	if (!*runs && has_new_place(n))
		(void)nur_fill_places_locked(n);
	return 0;
}

/* Nobody would ever make room: t runs in the spawner, or not at all. */
static int
enter_inline_locked(struct nursery *n, struct nursery_task *t, bool member,
    bool *runs)
{
	int rc = nur_refusal_locked(n, t->flags, member);

	if (rc != 0 || (t->flags & NURSERY_TASK_MAY_INLINE) == 0)
		return rc != 0 ? rc : EAGAIN;
	*runs = true;
	count_in_locked(n, t, true);
	return 0;
}

/* What is accepted after a cancel may also be spawned by who is cancelled. */
static bool
turned_back(const struct nursery_task *t, const struct nursery_task *caller)
{
	return caller != NULL && nursery_token_is_cancelled(caller->token) &&
	    (t->flags & NURSERY_TASK_FINAL) == 0;
}

/* As enter, but waits for room.  `caller` is the task that spawns, or NULL. */
static int
await_entry_locked(struct nursery *n, struct nursery_task *t,
    const struct nursery_task *caller, int64_t spawn_by, bool *runs)
{
	bool member = nur_is_member(caller, n);
	int rc;

	for (;;) {
		if (!nur_fill_places_locked(n) && n->running == 0)
			return enter_inline_locked(n, t, member, runs);
		rc = turned_back(t, caller) ? ECANCELED : enter_locked(n, t,
		    member, runs);
		if (rc != EAGAIN)
			return rc;
		rc = sleep_for_room_locked(n, spawn_by);
		if (rc != 0)
			return rc;
	}
}

/* *gave: the caller is one of n's own, and has no place any more. */
static int
enter_or_wait(struct nursery *n, struct nursery_task *t, bool try_only,
    int64_t spawn_by, bool *runs, bool *gave)
{
	struct nursery_task *caller = nur_task_current();
	struct nursery_callback cb = { { { 0 } } };
	int rc;

	nur_lock(&n->lock);
	rc = enter_locked(n, t, nur_is_member(caller, n), runs);
	nur_nursery_unlock(n);
	if (rc != EAGAIN || try_only)
		return rc;
	/* A caller that is told to stop does not wait on. */
	if (caller != NULL)
		(void)nur_token_tell(caller->token, NURSERY_CANCEL, &cb,
		    room_wake, n);
	nur_lock(&n->lock);
	*gave = caller != NULL && caller->nursery == n &&
	    holds_place_locked(caller);
	if (*gave)
		give_place_locked(n);
	rc = await_entry_locked(n, t, caller, spawn_by, runs);
	nur_nursery_unlock(n);
	nursery_callback_remove(&cb);
	return rc;
}

/* No thread was to be had: as if the task had never been there. */
static void
take_back(struct nursery *n, struct nursery_task *t)
{
	nur_lock(&n->lock);
	nur_list_remove(&t->link);
	n->counts.spawned--;
	n->services -= nur_is_service(t);
	n->running--;
	if (n->stopping == t)
		n->stopping = NULL;
	nur_room_changed_locked(n);
	(void)nur_fill_places_locked(n);
	n->unfinished--;
	nur_done_changed_locked(n);
	nur_nursery_unlock(n);
}

/* It is counted in, and there is no thread. */
static int
run_inline_or_not(struct nursery *n, struct nursery_task *t)
{
	int rc = EAGAIN;

	if ((t->flags & NURSERY_TASK_MAY_INLINE) != 0)
		rc = nur_task_run_inline(t);
	if (rc != 0)
		take_back(n, t);
	return rc;
}

int
nur_admit(struct nursery *n, struct nursery_task *t, bool try_only,
    int64_t spawn_by)
{
	size_t stack_size = n->attr.stack_size;
	bool runs = false, gave = false;
	int rc;

	rc = enter_or_wait(n, t, try_only, spawn_by, &runs, &gave);
	if (rc == 0 && runs) {
		rc = nur_start(t, stack_size);
		if (rc != 0)
			rc = run_inline_or_not(n, t);
	}
	if (gave)
		take_place_back(n);
	return rc;
}

/* ---- waiting for one that is in the queue, perhaps ---- */

bool
nur_look_after(struct nursery_task *t)
{
	struct nursery *n = t->nursery;
	bool served = true;

	nur_lock(&n->lock);
	if (t->queued) {
		n->joined = true;
		served = nur_fill_places_locked(n) || n->running > 0;
	}
	nur_nursery_unlock(n);
	return served;
}

void
nur_drop_queued_locked(struct nursery *n, struct nursery_task *t)
{
	if (!t->queued)
		return;
	unqueue_locked(n, t);
	nur_room_changed_locked(n);
	nur_nursery_unlock(n);
	nur_discard(t);
	nur_lock(&n->lock);
}

/* ---- what the nursery's own token says ---- */

void
nur_nursery_drained(void *nursery)
{
	room_wake(nursery);
}

/* Cancelled: queued tasks are discarded, waiting spawns turned back. */
void
nur_nursery_cancelled(void *nursery)
{
	struct nursery *n = nursery;
	struct nur_link drop, *l, *next;
	struct nursery_task *t;

	nur_list_init(&drop);
	nur_lock(&n->lock);
	for (l = n->queue.next; l != &n->queue; l = next) {
		next = l->next;
		t = NUR_CONTAINER(l, struct nursery_task, link);
		if (may_start(n, t))
			continue;
		unqueue_locked(n, t);
		nur_list_append(&drop, l);
	}
	nur_room_changed_locked(n);
	nur_nursery_unlock(n);
	while ((l = nur_list_pop(&drop)) != NULL)
		nur_discard(NUR_CONTAINER(l, struct nursery_task, link));
}
