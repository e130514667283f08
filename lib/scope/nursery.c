/* SPDX-License-Identifier: MIT */
/* Opening, waiting, closing.  Invariants in scope/nursery.h. */
#include "config.h"

#include "scope/nursery.h"

#include "base/check.h"
#include "base/fork.h"
#include "base/sys.h"
#include "scope/attr.h"
#include "scope/light.h"
#include "sched/pool.h"
#include "scope/nest.h"
#include "token/vacant.h"

#include <string.h>

#ifndef NUR_ROOT_LANE		/* a test build has the other one */
#define NUR_ROOT_LANE	NURSERY_BLOCKING
#endif

struct nur_mutex nur_registry_lock = NUR_MUTEX_INIT(NUR_RANK_REGISTRY);
struct nur_link nur_roots = { &nur_roots, &nur_roots };
void (*nur_signals_release)(struct nursery *n);

static struct nur_slab nursery_slab = NUR_SLAB_INIT("nursery",
    NUR_SLAB_NURSERY, sizeof(struct nursery), NUR_TOKEN_AUX);

/* ---- memory ---- */

struct nursery *
nur_nursery_alloc(void)
{
	return nur_slab_get(&nursery_slab);
}

void
nur_nursery_free(struct nursery *n)
{
	nur_slab_put(&nursery_slab, n);
}

/* The token's last user is gone, and so is the block's.  Tree lock held. */
static void
free_block(struct nursery_token *token)
{
	struct nursery *n = (struct nursery *)token;

	nur_free(n->failures);
	nur_mutex_fini(&n->lock);
	nur_slab_put(&nursery_slab, n);
}

struct nursery *
nursery_ref(struct nursery *n)
{
	if (n == NULL || nur_inherited(n))
		return n;
	nur_nursery_share(n);
	/* Relaxed: the caller's own reference keeps n alive. */
	(void)nur_fetch_add_relaxed(&n->refs, 1);
	return n;
}

void
nursery_unref(struct nursery *n)
{
	struct nursery *parent;
	uint32_t before;

	/* A nursery holds its parent; iterative, for they may be deep. */
	while (n != NULL && !nur_inherited(n)) {
		parent = n->parent;
		before = nur_fetch_sub_acq_rel(&n->refs, 1);
		if (before == 0)
			NUR_MISUSE("nursery_unref: more unrefs than refs");
		if (before != 1)
			return;
		nursery_token_unref(&n->token);
		n = parent;
	}
}

/* ---- opening ---- */

void
nur_nursery_prepare(struct nursery *n, const struct nursery_attr *a)
{
	bool shield = a != NULL && (a->flags & NURSERY_SHIELD) != 0;

	nur_token_init(&n->token, NUR_TOKEN_EMBEDDED |
	    (shield ? NUR_TOKEN_SHIELDED : 0));
	memset((char *)n + sizeof n->token, 0, sizeof *n - sizeof n->token);
	nur_store_relaxed(&n->refs, 1);
	if (a != NULL)
		n->attr = *a;
	else
		(void)nur_nursery_attr_read(&n->attr, NULL);
	nur_copy_name(n->name, n->attr.name);
	n->counts.size = sizeof n->counts;
	nur_mutex_init(&n->lock, NUR_RANK_NURSERY);
	nur_list_init(&n->opened);
	nur_list_init(&n->inside);
	nur_list_init(&n->beside);
	nur_list_init(&n->tasks);
	nur_list_init(&n->queue);
	nur_list_init(&n->reports);
}

static int
lane_of(const struct nursery_attr *a, const struct nursery *parent)
{
	if (a->lane != NURSERY_LANE_INHERIT)
		return a->lane;
	return parent != NULL ? parent->attr.lane : NUR_ROOT_LANE;
}

void
nur_nursery_set_lane(struct nursery *n)
{
	n->attr.lane = lane_of(&n->attr, n->parent);
	n->light_tasks = nur_light_possible(n);
}

int
nur_nursery_join(struct nursery *n, bool for_service)
{
	int rc = 0;

	nur_lock(&n->lock);
	if (n->state == NUR_CLOSED || (n->state == NUR_CLOSING &&
	    nur_is_empty_locked(n)))
		rc = ESHUTDOWN;
	if (rc == 0) {
		n->inner++;
		n->inner_services += for_service;
	}
	nur_unlock(&n->lock);
	return rc;
}

static void
leave_parent(const struct nursery *n)
{
	struct nursery *parent = n->parent;

	if (parent == NULL)
		return;
	nur_lock(&parent->lock);
	parent->inner--;
	parent->inner_services -= n->for_service;
	nur_done_changed_locked(parent);
	nur_nursery_unlock(parent);
}

/* Timers of the nursery's own token: 0, ENOMEM, EAGAIN. */
static int
arm(struct nursery *n)
{
	int rc = 0;

	if (n->attr.deadline != 0)
		rc = nursery_token_set_deadline(&n->token, n->attr.deadline);
	if (rc == ECANCELED)
		rc = 0;
	if (rc != 0 || n->attr.shield_until == 0)
		return rc;
	return nur_token_shield_until(&n->token, n->attr.shield_until);
}

/* A nursery that is shared from the start, under `above`. */
static int
open_shared(struct nursery **out, struct nursery *parent,
    struct nursery_token *above, const struct nursery_attr *a)
{
	struct nur_thr *self = nur_thr_self();
	struct nursery *n;
	int rc = 0;

	n = self == NULL ? NULL : nur_nursery_alloc();
	if (n == NULL)
		return ENOMEM;
	nur_nursery_prepare(n, a);
	if (parent != NULL) {
		n->for_service = nur_serves(self->task, parent);
		rc = nur_nursery_join(parent, n->for_service);
	}
	if (rc != 0) {
		nur_nursery_free(n);
		return rc;
	}
	n->parent = parent;
	nur_nursery_set_lane(n);
	if ((a->flags & NURSERY_UNBOUND) == 0)
		nur_store_relaxed(&n->host, self->task);
	nur_nest_publish(n, above);
	nur_slab_count(&nursery_slab, 1);
	rc = arm(n);
	if (rc != 0) {
		nur_nursery_withdraw(n);
		nursery_unref(n);
		return rc;
	}
	if ((a->flags & NURSERY_UNBOUND) == 0) {
		nur_store_relaxed(&n->opener, self);
		nur_opened_add(self, n);
	}
	*out = n;
	return 0;
}

/* Once in each process. */
static void
first_open(void)
{
	static uint32_t process;	/* generation + 1 */
	uint32_t ours = nur_load_relaxed(&nur_generation) + 1;

	/* Acquire and release, in the exchange: who is second comes after. */
	if (nur_load_acquire(&process) != ours &&
	    nur_exchange_acq_rel(&process, ours) != ours)
		nur_first_open();
}

static int
open_any(struct nursery **out, struct nursery *parent,
    struct nursery_token *above, const struct nursery_attr *attr)
{
	struct nursery_attr a;
	int rc;

	if (out == NULL)
		return EINVAL;
	rc = nur_nursery_attr_read(&a, attr);
	if (rc != 0)
		return rc;
	first_open();
	if (parent != NULL)
		nur_nursery_share(parent);	/* it has a lane then */
	if (lane_of(&a, parent) == NURSERY_COMPUTE) {
		nur_nest_tasks_begin();
		rc = a.stack_size > NUR_LANE_STACK ? ENOTSUP :
		    nur_lane_begin();
	}
	return rc != 0 ? rc : open_shared(out, parent, above, &a);
}

int
nursery_open(struct nursery **out, const struct nursery_attr *attr)
{
	return open_any(out, NULL, NULL, attr);
}

int
nur_nursery_open_child(struct nursery **out, struct nursery *parent,
    const struct nursery_attr *attr)
{
	if (nur_inherited(parent))
		return EOWNERDEAD;
	return open_any(out, parent, &parent->token, attr);
}

int
nursery_open_child(struct nursery **out, struct nursery *parent,
    const struct nursery_attr *attr)
{
	if (parent == NULL)
		return EINVAL;
	return attr == NULL && out != NULL ? nur_nest_open(out, parent) :
	    nur_nursery_open_child(out, parent, attr);
}

int
nursery_open_under(struct nursery **out, struct nursery_token *parent,
    const struct nursery_attr *attr)
{
	if (parent == NULL)
		return EINVAL;
	if (nur_inherited(parent))
		return EOWNERDEAD;
	nur_token_publish(parent);
	return open_any(out, NULL, parent, attr);
}

static bool
is_inside(const struct nursery *m, const struct nursery *n)
{
	for (m = m->parent; m != NULL; m = m->parent)
		if (m == n)
			return true;
	return false;
}

/* What its opener has open inside n was private to him as long as he was n's
 * opener, too: E1 in scope/nest.c. */
static void
share_inside(struct nursery *n)
{
	struct nur_link *l;
	struct nursery *m;

	for (l = n->opener->opened.prev; l != &n->opened; l = l->prev) {
		m = NUR_CONTAINER(l, struct nursery, opened);
		if (is_inside(m, n))
			nur_nursery_share(m);
	}
}

int
nursery_adopt(struct nursery *n)
{
	struct nur_thr *self;
	int rc;

	if (n == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	nur_nursery_share(n);
	self = nur_thr_self();
	if (self == NULL)
		return ENOMEM;
	nur_lock(&n->lock);
	rc = n->state == NUR_OPEN ? 0 : EBUSY;
	nur_unlock(&n->lock);
	if (rc != 0 || (n->attr.flags & NURSERY_UNBOUND) != 0)
		return rc;
	/* The old opener takes part: its list is not in use. */
	share_inside(n);
	nur_opened_remove(n->opener, n);
	nur_store_relaxed(&n->opener, self);
	/* Relaxed: compared by handle.c, with a task that lives. */
	nur_store_relaxed(&n->host, self->task);
	nur_opened_add(self, n);
	return 0;
}

/* ---- waiting ---- */

/* Those who wait for one that is queued. */
static void
wake_joiners_locked(struct nursery *n)
{
	struct nur_link *l;

	NUR_LIST_FOREACH(l, &n->queue)
		nur_task_look_again(NUR_CONTAINER(l, struct nursery_task,
		    link));
}

void
nur_done_changed_locked(struct nursery *n)
{
	/* Who waits has to look when all but services are done; or when one
	 * that is queued has nobody to run it (N6). */
	if (n->unfinished != n->services && (n->running != 0 ||
	    n->queued == 0))
		return;
	if (n->joined)
		wake_joiners_locked(n);
	/* Relaxed: moves under the lock; sleepers read it there too. */
	nur_store_relaxed(&n->done_seq, nur_load_relaxed(&n->done_seq) + 1);
	n->wake_done = n->done_waiters > 0;
}

static bool
is_done_locked(const struct nursery *n, bool all)
{
	if (all)
		return nur_is_empty_locked(n);
	return n->unfinished == n->services && nur_light_done(n);
}

/* Until done_seq is not what was seen, or the deadline: 0 or ETIMEDOUT. */
static int
sleep_till_change_locked(struct nursery *n, uint32_t seen, int64_t deadline)
{
	struct nur_thr *self = nur_thr_peek();
	bool paused;
	int rc;

	n->done_waiters++;
	nur_nursery_unlock(n);
	paused = nur_thr_pause(self);
	rc = nur_futex_wait(&n->done_seq, seen, deadline);
	nur_thr_resume(self, paused);
	nur_lock(&n->lock);
	n->done_waiters--;
	return rc == ETIMEDOUT ? ETIMEDOUT : 0;
}

/* Tasks of the compute lane are run here meanwhile: whether all is done. */
static bool
help_locked(struct nursery *n, bool all, int64_t until)
{
	if (n->attr.lane != NURSERY_COMPUTE)
		return false;
	nur_nursery_unlock(n);
	nur_compute_help(n, until);
	nur_lock(&n->lock);
	return is_done_locked(n, all);
}

/* All: the nurseries inside, too, and the services, which are stopped. */
static int
await_done_locked(struct nursery *n, bool all, int64_t deadline)
{
	int64_t until, service_until = NURSERY_NEVER;
	uint32_t seen;
	int rc = 0;

	while (!is_done_locked(n, all)) {
		/* First: services are to be stopped when what is run here,
		 * without the lock, was the last of the others. */
		seen = nur_load_relaxed(&n->done_seq);
		if (rc == ETIMEDOUT && deadline <= nur_now())
			return ETIMEDOUT;
		if (all)
			service_until = nur_stop_services_locked(n);
		until = deadline < service_until ? deadline : service_until;
		/* N6: nobody ends who could hand his thread on. */
		if (!nur_fill_places_locked(n) && n->running == 0)
			until = nur_try_again_by(until);
		if (is_done_locked(n, all) || help_locked(n, all, until))
			break;
		rc = sleep_till_change_locked(n, seen, until);
	}
	return 0;
}

static int
await_locked(struct nursery *n, bool all, int64_t deadline)
{
	int rc;

	nur_light_wait_begins_locked(n);
	rc = await_done_locked(n, all, deadline);
	nur_light_wait_ends_locked(n);
	return rc;
}

static int
await_as(struct nursery *n, bool and_seal, int64_t deadline, enum nur_op op)
{
	struct nur_thr *self = nur_thr_peek();
	uint32_t before = 0;
	int rc;

	if (self != NULL)
		before = nur_op_enter(self, op, -1);
	nur_lock(&n->lock);
	rc = await_locked(n, and_seal, deadline);
	if (rc == 0 && and_seal && n->state == NUR_OPEN) {
		n->sealed = true;
		nur_store_relaxed(&n->state, NUR_CLOSING);
	}
	nur_nursery_unlock(n);
	if (self != NULL)
		nur_op_leave(self, before);
	return rc;
}

int
nur_nursery_seal(struct nursery *n, int64_t deadline)
{
	return await_as(n, true, deadline, NUR_OP_CLOSE);
}

int
nursery_wait(struct nursery *n, int64_t deadline)
{
	if (n == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	if (nur_is_member_here(n))
		return EDEADLK;
	nur_nursery_share(n);
	return await_as(n, false, deadline, NUR_OP_WAIT);
}

/* ---- closing ---- */

static int close_block(struct nursery *n);

/* What this thread opened inside n and left open, newest first (N5). */
static bool
close_left_open(struct nursery *n, struct nur_thr *self)
{
	struct nur_link *l, *end;
	struct nursery *m;
	bool found = false;

	if (self == NULL)
		return false;
	/* What is older than n is not inside it. */
	end = n->opener == self ? &n->opened : &self->opened;
	for (;;) {
		for (l = self->opened.prev; l != end; l = l->prev)
			if (is_inside(NUR_CONTAINER(l, struct nursery, opened),
			    n))
				break;
		if (l == end)
			return found;
		m = NUR_CONTAINER(l, struct nursery, opened);
		nur_nursery_share(m);	/* its owner has yet to close it */
		m->violated = true;
		(void)close_block(m);
		found = true;
	}
}

static int
result_locked(const struct nursery *n, bool violated)
{
	if (n->first_error != 0 && !n->won)
		return n->first_error;
	if (violated)
		return ENOTEMPTY;
	if (n->won)
		return 0;
	if (nur_token_level(&n->token) < NURSERY_CANCEL)
		return 0;
	if (n->attr.deadline != 0 && nur_token_timed_out(&n->token))
		return ETIMEDOUT;
	return ECANCELED;
}

/* Takes a shared nursery out of everything but its handles. */
void
nur_nursery_withdraw(struct nursery *n)
{
	nursery_callback_remove(&n->on_drain);
	nursery_callback_remove(&n->on_cancel);
	nur_lock(&nur_registry_lock);
	nur_list_remove(&n->beside);
	nur_unlock(&nur_registry_lock);
	nur_slab_count(&nursery_slab, -1);
	leave_parent(n);
}

/* Waits, seals and takes n out of everything; n stays allocated. */
static int
close_block(struct nursery *n)
{
	struct nur_thr *self = nur_thr_peek();
	bool violated, has_signals;
	int rc;

	nur_lock(&n->lock);
	nur_store_relaxed(&n->state, NUR_CLOSING);
	/* Outsiders who wait for room are turned back. */
	nur_room_changed_locked(n);
	nur_nursery_unlock(n);
	violated = close_left_open(n, self);
	if (self != NULL)
		(void)nur_op_enter(self, NUR_OP_CLOSE, -1);
	nur_lock(&n->lock);
	(void)await_locked(n, true, NURSERY_NEVER);
	nur_store_relaxed(&n->state, NUR_CLOSED);
	has_signals = n->has_signals;
	nur_nursery_unlock(n);
	if (self != NULL)
		nur_op_leave(self, NUR_OP_NONE);
	if (has_signals)
		nur_signals_release(n);
	if (n->opener != NULL)
		nur_opened_remove(n->opener, n);
	if (self != NULL)
		nur_vacant_release(self, &n->token);
	rc = result_locked(n, violated);
	nur_nursery_withdraw(n);
	return rc;
}

int
nur_nursery_may_close(const struct nursery *n)
{
	if (nur_is_member_here(n))
		return EDEADLK;
	if ((n->attr.flags & NURSERY_UNBOUND) == 0 && n->opener !=
	    nur_thr_peek())
		return EPERM;
	return 0;
}

/* 0; ENOTEMPTY: an outer close has closed n; EBUSY: somebody closes it. */
static int
closable_locked(const struct nursery *n)
{
	if (n->state == NUR_CLOSED && n->violated)
		return ENOTEMPTY;
	return n->state == NUR_OPEN || n->sealed ? 0 : EBUSY;
}

/* 0, and the state is CLOSING; or why not. */
static int
begin_close(struct nursery *n)
{
	int rc = nur_nursery_may_close(n);

	if (rc != 0)
		return rc;
	nur_lock(&n->lock);
	rc = closable_locked(n);
	n->sealed = false;
	if (rc == 0)
		nur_store_relaxed(&n->state, NUR_CLOSING);
	nur_unlock(&n->lock);
	return rc;
}

int
nur_nursery_closable(struct nursery *n)
{
	int rc = nur_nursery_may_close(n);

	if (rc != 0)
		return rc;
	nur_nursery_share(n);
	nur_lock(&n->lock);
	rc = closable_locked(n);
	nur_unlock(&n->lock);
	return rc;
}

int
nur_nursery_close(struct nursery **np, struct nursery_report *report)
{
	struct nursery *n = *np;
	int rc;

	nur_nursery_share(n);
	rc = begin_close(n);
	if (rc != 0 && rc != ENOTEMPTY)
		return rc;
	if (rc == 0)
		rc = close_block(n);
	if (report != NULL)
		nur_report_take(report, n);
	*np = NULL;
	nursery_unref(n);
	return rc;
}

int
nursery_close_with(struct nursery **n, struct nursery_report **out)
{
	struct nursery_report *report = NULL;
	int rc;

	if (n == NULL || *n == NULL)
		return 0;
	if (nur_inherited(*n))
		return EOWNERDEAD;
	if (out != NULL) {
		report = nur_report_new();
		if (report == NULL)
			return ENOMEM;
	}
	rc = nur_nursery_close(n, report);
	if (*n != NULL)
		nursery_report_free(report);
	else if (out != NULL)
		*out = report;
	return rc;
}

int
nursery_close(struct nursery **n)
{
	int rc;

	if (n == NULL || *n == NULL)
		return 0;
	rc = nur_nest_close(n);
	return rc >= 0 ? rc : nursery_close_with(n, NULL);
}

/* ---- telling it to stop ---- */

static void
raise(struct nursery *n, enum nursery_level level, int code, const char *why)
{
	if (n == NULL || nur_inherited(n))
		return;
	nur_nursery_share(n);
	(void)nursery_token_raise(&n->token, level, code, why);
}

void
nursery_cancel_with(struct nursery *n, int code, const char *why)
{
	raise(n, NURSERY_CANCEL, code, why);
}

void
nursery_cancel(struct nursery *n)
{
	raise(n, NURSERY_CANCEL, 0, NULL);
}

void
nursery_drain(struct nursery *n)
{
	raise(n, NURSERY_DRAIN, 0, NULL);
}

struct nursery_token *
nursery_token_of(struct nursery *n)
{
	if (n == NULL)
		return NULL;
	nur_nursery_share(n);
	return &n->token;
}

/* ---- guards ---- */

void
nursery_drop(struct nursery **n)
{
	int rc;

	if (n == NULL || *n == NULL || nur_inherited(*n))
		return;
	if (!nur_nest_has_tasks(*n) && nur_nest_close(n) >= 0)
		return;
	nursery_cancel_with(*n, 0, "scope left");
	rc = nursery_close(n);
	if (rc == EPERM || rc == EBUSY || rc == EDEADLK)
		NUR_MISUSE("nursery_drop: not the opener, or inside the "
		    "nursery, or already being closed");
}

static void
close_for_opener(struct nursery *n)
{
	if (!nur_nest_has_tasks(n) && nur_nest_close(&n) >= 0)
		return;
	nursery_cancel_with(n, 0, "the opener's thread ended");
	(void)close_block(n);
	nursery_unref(n);
}

void
nur_nursery_opener_ends(struct nur_thr *self, const struct nursery_task *host)
{
	struct nursery *n;

	while (!nur_list_empty(&self->opened)) {
		n = NUR_CONTAINER(self->opened.prev, struct nursery, opened);
		if (host != NULL && !nur_opened_by(n, host))
			return;
		close_for_opener(n);
	}
}

static void
thread_ends(struct nur_thr *self)
{
	nur_nursery_opener_ends(self, NULL);
	nur_nest_thread_ends(self);
	nur_light_tell(self);
	nur_lane_detach(self);
}

struct nursery *
nur_nursery_after(struct nursery *n, const struct nursery *root)
{
	struct nur_link *next;

	if (!nur_list_empty(&n->inside))
		return NUR_CONTAINER(n->inside.next, struct nursery, beside);
	for (; n != root && n != NULL; n = n->parent) {
		next = n->beside.next;
		if (next != (n->parent == NULL ? &nur_roots :
		    &n->parent->inside))
			return NUR_CONTAINER(next, struct nursery, beside);
	}
	return NULL;
}

uint64_t
nur_nurseries_open(void)
{
	return nur_slab_live(&nursery_slab);
}

static void
before_fork(void)
{
	nur_lock(&nur_registry_lock);
	nur_lock(&nur_pool_lock);
	nur_lock(&nur_lane_lock);
}

static void
after_fork(void)
{
	nur_unlock(&nur_lane_lock);
	nur_unlock(&nur_pool_lock);
	nur_unlock(&nur_registry_lock);
}

static void
in_child(void)
{
	nur_pool_after_fork();
	nur_lane_after_fork();
	nur_light_after_fork();
	nur_task_after_fork();
	nur_slab_after_fork(&nursery_slab);
	nur_list_init(&nur_roots);
	after_fork();
}

__attribute__((constructor)) static void
register_floor(void)
{
	static const struct nur_fork_hooks hooks = { before_fork, after_fork,
		in_child };

	nur_token_embedded_free = free_block;
	nur_thr_exit_hook[NUR_EXIT_SCOPE] = thread_ends;
	nur_fork_hook(NUR_FORK_SCOPE, &hooks);
}
