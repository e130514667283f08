/* SPDX-License-Identifier: MIT */
/*
 * Private nurseries: opened and closed by one thread and never used between,
 * they cost a few plain stores.
 *
 * E1  A nursery opened without attributes by the opener of its parent, or by
 *     a task of the parent, is private: the parent cannot close before it,
 *     because who would close the parent, or the task it waits for, is here;
 *     a parent that gets another opener shares what is inside it first.
 * E2  A private nursery has no task, no place in the token tree or in the
 *     list of nurseries and no reference to its parent; all fields but
 *     parent, opener, opened and refs are as nur_nursery_prepare() left them.
 *     Its level is that of the nearest shared nursery around it.
 * E3  It becomes shared, by any thread and for good, before anything else is
 *     done with it.  The close may then see `shared` without a lock: a thread
 *     that shares it is ordered before the close, or has been given a
 *     reference, which shares it.
 * E4  Others read a thread's list of open nurseries under `nest_seq`: the
 *     thread makes it odd, changes the list, and makes it even again.  All
 *     that they read (prev, and the parent of a private one) is written by a
 *     release in between: who reads it knows that the count has changed.
 * E5  A private nursery was opened by the task that runs on its opener's
 *     thread, if one does: before another runs there in the midst of it,
 *     what is open becomes shared.
 */
#include "config.h"

#include "scope/nest.h"

#include "base/sys.h"
#include "token/callback.h"

/* ---- the thread's list, E4 ---- */

static void
begin_change(struct nur_thr *self)
{
	/* Relaxed: the release stores that follow keep it before them. */
	nur_store_relaxed(&self->nest_seq, nur_load_relaxed(
	    &self->nest_seq) + 1);
}

static void
end_change(struct nur_thr *self)
{
	/* Release: who reads this count sees the list as it is now. */
	nur_store_release(&self->nest_seq, nur_load_relaxed(
	    &self->nest_seq) + 1);
}

static void
append(struct nur_thr *self, struct nursery *n)
{
	struct nur_link *last = self->opened.prev;

	nur_store_release(&n->opened.prev, last);
	n->opened.next = &self->opened;
	last->next = &n->opened;
	nur_store_release(&self->opened.prev, &n->opened);
}

/* A shared one, which is in the tree: the parent is read there, and stays. */
void
nur_opened_add(struct nur_thr *self, struct nursery *n)
{
	begin_change(self);
	append(self, n);
	end_change(self);
}

static void
add_private(struct nur_thr *self, struct nursery *n, struct nursery *parent)
{
	begin_change(self);
	nur_store_release(&n->parent, parent);
	append(self, n);
	end_change(self);
}

void
nur_opened_remove(struct nur_thr *self, struct nursery *n)
{
	struct nur_link *next = n->opened.next, *prev = n->opened.prev;

	begin_change(self);
	prev->next = next;
	nur_store_release(&next->prev, prev);
	n->opened.next = &n->opened;
	nur_store_release(&n->opened.prev, &n->opened);
	end_change(self);
}

/* ---- opening and closing ---- */

/* E1.  The state is read without the lock: if the opener is here, nobody else
 * closes; if a task of the nursery is, a close that begins still waits. */
static bool
may_be_private(const struct nursery *parent, const struct nur_thr *self)
{
	if (nur_load_relaxed(&parent->state) != NUR_OPEN)
		return false;
	return parent->opener == self ||
	    (self->task != NULL && self->task->nursery == parent);
}

static struct nursery *
take_block(struct nur_thr *self)
{
	struct nursery *n;

	if (self->spare_count > 0)
		return self->spare[--self->spare_count];
	n = nur_nursery_alloc();
	if (n != NULL)
		nur_nursery_prepare(n, NULL);
	return n;
}

struct nursery *
nur_nest_open(struct nursery *parent)
{
	struct nur_thr *self = nur_thr_peek();
	struct nursery *n;

	if (self == NULL || !nur_keep_ready || !may_be_private(parent, self))
		return NULL;
	n = take_block(self);
	if (n == NULL)
		return NULL;
	nur_store_relaxed(&n->refs, 1);
	n->opener = self;
	add_private(self, n, parent);
	nur_thr_count(self, NUR_SLAB_NURSERY, 1);
	return n;
}

/* E2 */
static unsigned
private_level(const struct nursery *n)
{
	/* Acquire: pairs with the release in share_one_locked(). */
	while (nur_load_acquire(&n->shared) == 0)
		n = n->parent;
	return nur_token_level(&n->token);
}

void
nur_nest_drop(struct nursery *n)
{
	struct nur_thr *self = n->opener;

	nur_opened_remove(self, n);
	nur_thr_count(self, NUR_SLAB_NURSERY, -1);
	if (self->spare_count < NUR_SPARES)
		self->spare[self->spare_count++] = n;
	else
		nur_nursery_free(n);
}

bool
nur_nest_close(struct nursery *n, int *out_rc)
{
	struct nur_thr *self = nur_thr_peek();

	/* The newest only: others may have been left open inside it. */
	if (nur_load_acquire(&n->shared) != 0 || n->opener != self ||
	    self->opened.prev != &n->opened)
		return false;
	*out_rc = private_level(n) >= NURSERY_CANCEL ? ECANCELED : 0;
	nur_nest_drop(n);
	return true;
}

/* ---- becoming shared ---- */

/* The nursery's own callbacks; those whose level is there already would find
 * nothing to do. */
static void
listen_locked(struct nursery *n)
{
	unsigned level = nur_token_level(&n->token);

	if (level < NURSERY_DRAIN)
		nur_callback_list_locked(&n->on_drain, &n->token,
		    NURSERY_DRAIN, nur_nursery_drained, n);
	if (level < NURSERY_CANCEL)
		nur_callback_list_locked(&n->on_cancel, &n->token,
		    NURSERY_CANCEL, nur_nursery_cancelled, n);
}

/* Registry lock held. */
static void
share_one_locked(struct nursery *n, struct nursery_token *above)
{
	struct nursery *parent = n->parent;

	nur_lock(&nur_tree_lock);
	if (above != NULL)
		nur_token_link_locked(&n->token, above);
	listen_locked(n);
	nur_unlock(&nur_tree_lock);
	n->id = nur_task_next_id();
	(void)nursery_ref(parent);
	nur_list_append(parent == NULL ? &nur_roots : &parent->inside,
	    &n->beside);
	/* Release: who sees it may use what was written here. */
	nur_store_release(&n->shared, 1);
}

void
nur_nest_publish(struct nursery *n, struct nursery_token *above)
{
	nur_lock(&nur_registry_lock);
	share_one_locked(n, above);
	nur_unlock(&nur_registry_lock);
}

void
nur_nest_share(struct nursery *n)
{
	struct nursery *m = n;

	if (nur_inherited(n))
		return;
	nur_lock(&nur_registry_lock);
	/* Up to the outermost private one, then down again. */
	n->below = NULL;
	for (; m->shared == 0 && m->parent->shared == 0; m = m->parent)
		m->parent->below = m;
	for (; m != NULL && m->shared == 0; m = m->below) {
		/* E1: the parent cannot be closed, at most closing, and the
		 * host lives. */
		m->host = nur_load_relaxed(&m->opener->task);	/* E5 */
		m->for_service = nur_serves(m->host, m->parent);
		nur_nursery_set_lane(m);
		nur_lock(&m->parent->lock);
		m->parent->inner++;
		m->parent->inner_services += m->for_service;
		nur_unlock(&m->parent->lock);
		share_one_locked(m, &m->parent->token);
	}
	nur_unlock(&nur_registry_lock);
}

void
nur_nest_share_opened(const struct nur_thr *self)
{
	const struct nur_link *l;

	for (l = self->opened.prev; l != &self->opened; l = l->prev)
		nur_nursery_share(NUR_CONTAINER(l, struct nursery, opened));
}

void
nur_nest_host_moved(const struct nur_thr *self, const struct nursery_task *from,
    struct nursery_task *to)
{
	const struct nur_link *l;
	struct nursery *n;

	for (l = self->opened.prev; l != &self->opened; l = l->prev) {
		n = NUR_CONTAINER(l, struct nursery, opened);
		if (nur_load_relaxed(&n->host) == from)
			nur_store_relaxed(&n->host, to);
	}
}

/* ---- what a thread keeps ready ---- */

void
nur_nest_thread_ends(struct nur_thr *self)
{
	while (self->spare_count > 0)
		nur_nursery_free(self->spare[--self->spare_count]);
}

/* ---- looking from elsewhere ---- */

struct look {
	struct nur_private *found;
	size_t count, room;
};

/* The list of thr, newest first, without a lock: what it gives is right if
 * the list did not change meanwhile.  The memory is always a nursery's. */
static size_t
look_once(const struct nur_thr *thr, struct nur_private *to, size_t room)
{
	const struct nur_link *l = nur_load_acquire(&thr->opened.prev);
	const struct nursery *n;
	size_t count = 0, steps = 0;
	int depth;

	for (; l != &thr->opened && steps <= room; steps++) {
		n = NUR_CONTAINER(l, const struct nursery, opened);
		for (depth = 0; n != NULL && nur_load_acquire(&n->shared) ==
		    0 && (size_t)depth <= room; depth++)
			n = nur_load_acquire(&n->parent);
		if (depth > 0 && count < room)
			to[count++] = (struct nur_private){ n, depth };
		l = nur_load_acquire(&l->prev);
	}
	return count;
}

static void
look_at(const struct nur_thr *thr, void *arg)
{
	struct look *k = arg;
	uint32_t before;
	size_t count;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		/* Acquire: pairs with end_change(). */
		before = nur_load_acquire(&thr->nest_seq);
		count = look_once(thr, k->found + k->count, k->room -
		    k->count);
		if (before % 2 == 0 && nur_load_relaxed(&thr->nest_seq) ==
		    before) {
			k->count += count;
			return;
		}
		nur_cpu_relax();
	}
}

static void
oldest_first(struct nur_private *p, size_t count)
{
	struct nur_private t;
	size_t i;

	for (i = 0; i < count / 2; i++) {
		t = p[i];
		p[i] = p[count - 1 - i];
		p[count - 1 - i] = t;
	}
}

struct nur_private *
nur_nest_look(size_t *out_count)
{
	struct look k = { .room = (size_t)nur_nurseries_open() + 16 };

	*out_count = 0;
	k.found = nur_alloc(k.room * sizeof *k.found);
	if (k.found == NULL)
		return NULL;
	nur_thr_each(look_at, &k);
	oldest_first(k.found, k.count);
	*out_count = k.count;
	return k.found;
}
