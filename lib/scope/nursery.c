/* SPDX-License-Identifier: MIT */
/* Opening, waiting, closing.  Invariants in scope/nursery.h. */
#include "config.h"

#include "scope/nursery.h"

#include "base/check.h"
#include "scope/init.h"
#include "base/sys.h"
#include "scope/attr.h"

#include <string.h>

struct nur_mutex nur_registry_lock = NUR_MUTEX_INIT(NUR_RANK_REGISTRY);
struct nur_link nur_nurseries = { &nur_nurseries, &nur_nurseries };
void (*nur_signals_release)(struct nursery *n);

static struct nur_slab nursery_slab = NUR_SLAB_INIT("nursery",
    NUR_SLAB_NURSERY, sizeof(struct nursery), NUR_TOKEN_AUX);

/* ---- memory ---- */

/* The token's last user is gone, and so is the block's. Tree lock held. */
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
	if (n != NULL && !nur_inherited(n))
		/* Relaxed: the caller's own reference keeps n alive. */
		(void)nur_fetch_add_relaxed(&n->refs, 1);
	return n;
}

void
nursery_unref(struct nursery *n)
{
	struct nursery *parent;
	uint32_t before;

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

static int
join_parent(struct nursery *parent)
{
	int rc = 0;

	if (parent == NULL)
		return 0;
	nur_lock(&parent->lock);
	if (parent->state == NUR_CLOSED || (parent->state == NUR_CLOSING &&
	    parent->unfinished + parent->inner == 0))
		rc = ESHUTDOWN;
	else
		parent->inner++;
	nur_unlock(&parent->lock);
	return rc;
}

static void
leave_parent(struct nursery *parent)
{
	bool wake;

	if (parent == NULL)
		return;
	nur_lock(&parent->lock);
	wake = nur_nursery_drop_inner_locked(parent);
	nur_unlock(&parent->lock);
	if (wake)
		nur_futex_wake(&parent->done_seq, INT32_MAX);
}

static void
set_up(struct nursery *n, const struct nursery_attr *a, struct nursery *parent,
    struct nursery_token *above)
{
	uint32_t flags = NUR_TOKEN_EMBEDDED;

	memset((char *)n + sizeof n->token, 0, sizeof *n - sizeof n->token);
	n->refs = 1;
	n->id = nur_task_next_id();
	n->opened_at = nur_now();
	n->deadline = a->deadline;
	n->parent = nursery_ref(parent);
	n->attr = *a;
	nur_copy_name(n->name, a->name);
	n->counts.size = sizeof n->counts;
	nur_mutex_init(&n->lock, NUR_RANK_NURSERY);
	nur_list_init(&n->opened);
	nur_list_init(&n->all);
	nur_list_init(&n->tasks);
	nur_list_init(&n->queue);
	nur_list_init(&n->reports);
	if ((a->flags & NURSERY_SHIELD) != 0)
		flags |= NUR_TOKEN_SHIELDED;
	nur_token_init(&n->token, flags);
	nur_lock(&nur_tree_lock);
	if (above != NULL)
		nur_token_link_locked(&n->token, above);
	nur_unlock(&nur_tree_lock);
}

/* Timers of the nursery's own token: 0, ENOMEM, EAGAIN. */
static int
arm(struct nursery *n)
{
	int rc = 0;

	if (n->attr.deadline == 0 && n->attr.shield_until == 0)
		return 0;
	if (n->attr.deadline != 0)
		rc = nursery_token_set_deadline(&n->token, n->attr.deadline);
	if (rc == ECANCELED)
		rc = 0;
	if (rc != 0 || n->attr.shield_until == 0)
		return rc;
	return nur_token_shield_until(&n->token, n->attr.shield_until);
}

static void
publish(struct nursery *n, struct nur_thr *self)
{
	if ((n->attr.flags & NURSERY_UNBOUND) == 0) {
		n->opener = self;
		nur_list_append(&self->opened, &n->opened);
	}
	nur_lock(&nur_registry_lock);
	nur_list_append(&nur_nurseries, &n->all);
	nur_unlock(&nur_registry_lock);
	(void)nursery_token_on_level(&n->token, NURSERY_DRAIN, &n->on_drain,
	    nur_nursery_drained, n);
	(void)nursery_token_on_level(&n->token, NURSERY_CANCEL,
	    &n->on_cancel, nur_nursery_cancelled, n);
}

static int
open_any(struct nursery **out, struct nursery *parent,
    struct nursery_token *above, const struct nursery_attr *attr)
{
	struct nursery_attr a;
	struct nur_thr *self;
	struct nursery *n;
	int rc;

	if (out == NULL)
		return EINVAL;
	rc = nur_nursery_attr_read(&a, attr);
	if (rc != 0)
		return rc;
	rc = nur_init();
	if (rc != 0)
		return rc;
	self = nur_thr_self();
	n = self == NULL ? NULL : nur_slab_get(&nursery_slab);
	if (n == NULL)
		return ENOMEM;
	rc = join_parent(parent);
	if (rc != 0) {
		nur_slab_put(&nursery_slab, n);
		return rc;
	}
	set_up(n, &a, parent, above);
	rc = arm(n);
	if (rc != 0) {
		leave_parent(parent);
		nursery_unref(n);
		return rc;
	}
	publish(n, self);
	*out = n;
	return 0;
}

int
nursery_open(struct nursery **out, const struct nursery_attr *attr)
{
	return open_any(out, NULL, NULL, attr);
}

int
nursery_open_child(struct nursery **out, struct nursery *parent,
    const struct nursery_attr *attr)
{
	if (parent == NULL)
		return EINVAL;
	if (nur_inherited(parent))
		return EOWNERDEAD;
	return open_any(out, parent, &parent->token, attr);
}

int
nursery_open_under(struct nursery **out, struct nursery_token *parent,
    const struct nursery_attr *attr)
{
	if (parent == NULL)
		return EINVAL;
	if (nur_inherited(parent))
		return EOWNERDEAD;
	return open_any(out, NULL, parent, attr);
}

int
nursery_adopt(struct nursery *n)
{
	struct nur_thr *self;
	int rc = 0;

	if (n == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	self = nur_thr_self();
	if (self == NULL)
		return ENOMEM;
	nur_lock(&n->lock);
	if (n->state != NUR_OPEN)
		rc = EBUSY;
	nur_unlock(&n->lock);
	if (rc != 0)
		return rc;
	/* The registry lock guards a list that has two owners just now: the
	 * old opener hands over, it does not open or close meanwhile. */
	nur_lock(&nur_registry_lock);
	nur_list_remove(&n->opened);
	nur_list_append(&self->opened, &n->opened);
	n->opener = self;
	nur_unlock(&nur_registry_lock);
	return 0;
}

/* ---- waiting ---- */

int
nur_nursery_await(struct nursery *n, bool inner_too, int64_t deadline,
    enum nur_op op)
{
	struct nur_thr *self = nur_thr_peek();
	uint32_t seen, before = 0;
	int rc = 0;

	if (self != NULL)
		before = nur_op_enter(self, op, -1);
	nur_lock(&n->lock);
	while (n->unfinished > 0 || (inner_too && n->inner > 0)) {
		if (rc == ETIMEDOUT)
			break;
		seen = nur_load_relaxed(&n->done_seq);
		nur_unlock(&n->lock);
		rc = nur_futex_wait(&n->done_seq, seen, deadline);
		nur_lock(&n->lock);
	}
	if (n->unfinished == 0 && (!inner_too || n->inner == 0))
		rc = 0;
	nur_unlock(&n->lock);
	if (self != NULL)
		nur_op_leave(self, before);
	return rc == ETIMEDOUT ? rc : 0;
}

int
nursery_wait(struct nursery *n, int64_t deadline)
{
	if (n == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	if (nur_is_member(nur_task_current(), n))
		return EDEADLK;
	return nur_nursery_await(n, false, deadline, NUR_OP_WAIT);
}

/* ---- closing ---- */

static int close_block(struct nursery *n);

/* What this thread opened inside n and left open, newest first (N5). */
static bool
close_left_open(struct nursery *n, struct nur_thr *self)
{
	struct nur_link *l, *older;
	struct nursery *m, *up;
	bool found = false;

	if (self == NULL)
		return false;
	for (l = self->opened.prev; l != &self->opened; l = older) {
		older = l->prev;
		m = NUR_CONTAINER(l, struct nursery, opened);
		for (up = m->parent; up != NULL && up != n; up = up->parent)
			;
		if (up != n)
			continue;
		m->violated = true;
		(void)close_block(m);
		found = true;
		older = self->opened.prev;
	}
	return found;
}

static int
result_locked(const struct nursery *n, bool violated)
{
	if (violated)
		return ENOTEMPTY;
	if (n->first_error != 0)
		return n->first_error;
	if (nur_token_level(&n->token) < NURSERY_CANCEL)
		return 0;
	if (n->deadline != 0 && (n->token.word & NUR_ORIGIN(NURSERY_CANCEL))
	    != 0 && nursery_token_cause(&n->token, NURSERY_CANCEL, NULL) ==
	    ETIMEDOUT)
		return ETIMEDOUT;
	return ECANCELED;
}

/* Waits, seals and takes n out of everything; n stays allocated. */
static int
close_block(struct nursery *n)
{
	struct nur_thr *self = nur_thr_peek();
	bool violated;
	int rc;

	nur_lock(&n->lock);
	n->state = NUR_CLOSING;
	nur_store_relaxed(&n->room_seq, nur_load_relaxed(&n->room_seq) + 1);
	nur_unlock(&n->lock);
	/* Outsiders who wait for room are turned back. */
	nur_futex_wake(&n->room_seq, INT32_MAX);
	violated = close_left_open(n, self);
	for (;;) {
		(void)nur_nursery_await(n, true, NURSERY_NEVER, NUR_OP_CLOSE);
		nur_lock(&n->lock);
		if (n->unfinished + n->inner == 0)
			break;
		nur_unlock(&n->lock);
	}
	n->state = NUR_CLOSED;
	nur_unlock(&n->lock);
	nursery_callback_remove(&n->on_drain);
	nursery_callback_remove(&n->on_cancel);
	if (nur_signals_release != NULL)
		nur_signals_release(n);
	rc = result_locked(n, violated);
	nur_lock(&nur_registry_lock);
	nur_list_remove(&n->all);
	nur_list_remove(&n->opened);
	nur_unlock(&nur_registry_lock);
	leave_parent(n->parent);
	return rc;
}

/* Who may close, and when: 0 and the state is CLOSING. */
static int
begin_close(struct nursery *n)
{
	struct nur_thr *self = nur_thr_peek();
	int rc = 0;

	if ((n->attr.flags & NURSERY_UNBOUND) == 0 && n->opener != self)
		return nur_is_member(nur_task_current(), n) ? EDEADLK : EPERM;
	if (nur_is_member(nur_task_current(), n))
		return EDEADLK;
	nur_lock(&n->lock);
	if (n->state == NUR_CLOSING)
		rc = EBUSY;
	else if (n->state == NUR_CLOSED)
		rc = n->violated ? ENOTEMPTY : EBUSY;
	else
		n->state = NUR_CLOSING;
	nur_unlock(&n->lock);
	return rc;
}

int
nursery_close_with(struct nursery **np, struct nursery_report **out)
{
	struct nursery_report *report = NULL;
	struct nursery *n;
	int rc;

	if (np == NULL || *np == NULL)
		return 0;
	n = *np;
	if (nur_inherited(n))
		return EOWNERDEAD;
	if (out != NULL) {
		report = nur_report_new(n);
		if (report == NULL)
			return ENOMEM;
	}
	rc = begin_close(n);
	if (rc != 0 && !(rc == ENOTEMPTY)) {
		nursery_report_free(report);
		return rc;
	}
	if (rc == 0)
		rc = close_block(n);
	if (out != NULL) {
		nur_report_fill(report, n);
		*out = report;
	}
	*np = NULL;
	nursery_unref(n);
	return rc;
}

int
nursery_close(struct nursery **n)
{
	return nursery_close_with(n, NULL);
}

void
nursery_cancel_with(struct nursery *n, int code, const char *why)
{
	if (n != NULL)
		(void)nursery_token_cancel_with(&n->token, code, why);
}

void
nursery_cancel(struct nursery *n)
{
	nursery_cancel_with(n, 0, NULL);
}

void
nursery_drain(struct nursery *n)
{
	if (n != NULL)
		(void)nursery_token_raise(&n->token, NURSERY_DRAIN, 0, NULL);
}

struct nursery_token *
nursery_token_of(struct nursery *n)
{
	return n == NULL ? NULL : &n->token;
}

void
nursery_drop(struct nursery **n)
{
	int rc;

	if (n == NULL || *n == NULL || nur_inherited(*n))
		return;
	nursery_cancel_with(*n, 0, "scope left");
	rc = nursery_close(n);
	if (rc == EPERM || rc == EBUSY || rc == EDEADLK)
		NUR_MISUSE("nursery_drop: not the opener, or inside the "
		    "nursery, or already being closed");
}

/* A thread ends, or a task does, and leaves nurseries open. */
static void
opener_ends(struct nur_thr *self)
{
	struct nursery *n;

	while (!nur_list_empty(&self->opened)) {
		n = NUR_CONTAINER(self->opened.prev, struct nursery, opened);
		nursery_cancel_with(n, 0, "the opener's thread ended");
		(void)close_block(n);
		nursery_unref(n);
	}
}

uint64_t
nur_nurseries_open(void)
{
	struct nur_link *l;
	uint64_t count = 0;

	nur_lock(&nur_registry_lock);
	NUR_LIST_FOREACH(l, &nur_nurseries)
		count++;
	nur_unlock(&nur_registry_lock);
	return count;
}

void
nur_nursery_init(void)
{
	nur_token_embedded_free = free_block;
	nur_thr_exit_hook[NUR_EXIT_SCOPE] = opener_ends;
}

void
nur_nursery_after_fork(void)
{
	nur_slab_after_fork(&nursery_slab);
	nur_list_init(&nur_nurseries);
}
