/* SPDX-License-Identifier: MIT */
/*
 * Private nurseries: opened and closed by one thread that does nothing between
 * but spawn plain tasks of the compute lane, they cost a few plain stores.
 *
 * E1  A nursery opened without attributes by the opener of its parent, or by
 *     a task of the parent, is private: the parent cannot close before it,
 *     because who would close the parent, or the task it waits for, is here;
 *     a parent that gets another opener shares what is inside it first.
 * E2  A private nursery has no place in the token tree or in the list of
 *     nurseries and no reference to its parent; all fields but parent,
 *     opened, host and `mine` are as new_block() left them.
 *     Its tasks, if it may have any (`mine.counts`), are light ones in its
 *     opener's queue, in the hands of a thief that is about to share it, or
 *     run by its opener; mine counts them: scope/light.c, W8.
 * E3  It becomes shared, by any thread and for good, before anything else is
 *     done with it: by a user of it, who has been given a reference or is
 *     ordered before the close; by the thief of one of its tasks, for which
 *     the close waits; by a raise of something around it, E5.
 * E4  A thread changes its list of open nurseries as scope/look.c says: others
 *     read it and what is in it during a look.
 * E5  A private nursery with mine.counts is below no raise that has returned.
 *     When a raise has written all words in the tree it looks at the lists,
 *     and shares what stands below such a word.  What is not in the lists then
 *     is opened after that: by one who sees the words, and shares it at once;
 *     or inside a private one with mine.counts, so below none.  Hence who
 *     finds one private while it changes its list need not ask above it.
 */
#include "config.h"

#include "scope/nest.h"

#include "base/sys.h"
#include "scope/light.h"
#include "scope/look.h"
#include "token/callback.h"

/* ---- the thread's list, E4 ---- */

static inline void
end_change(struct nur_thr *self)
{
	/* Release: who reads this count sees the list as it is now. */
	nur_store_release(&self->nest_seq, nur_load_relaxed(
	    &self->nest_seq) + 1);
}

/* False: somebody looks, and no change has begun. */
static inline bool
try_change(struct nur_thr *self)
{
	/* Relaxed: the barrier of the look orders it. */
	nur_store_relaxed(&self->nest_seq, nur_load_relaxed(
	    &self->nest_seq) + 1);
	if (!nur_look_goes_on())
		return true;
	end_change(self);
	return false;
}

static void
begin_change(struct nur_thr *self)
{
	while (!try_change(self))
		nur_look_await();
}

void
nur_opened_add(struct nur_thr *self, struct nursery *n)
{
	begin_change(self);
	nur_list_append(&self->opened, &n->opened);
	end_change(self);
}

void
nur_opened_remove(struct nur_thr *self, struct nursery *n)
{
	begin_change(self);
	nur_list_remove(&n->opened);
	end_change(self);
}

/* ---- opening and closing ---- */

/* E1.  The state is read without the lock: if the opener is here, nobody else
 * closes. */
static bool
may_be_private(const struct nursery *parent, const struct nur_thr *self)
{
	if (self->task != NULL && self->task->nursery == parent)
		return true;
	return nur_load_relaxed(&parent->opener) == self &&
	    nur_load_relaxed(&parent->state) == NUR_OPEN;
}

/* One that the thread has not had yet, or NULL. */
__attribute__((noinline)) static struct nursery *
new_block(struct nur_thr *self)
{
	struct nursery *n = nur_keep_ready ? nur_nursery_alloc() : NULL;

	if (n == NULL)
		return NULL;
	nur_nursery_prepare(n, NULL);
	/* Relaxed, twice: nobody knows it. */
	nur_store_relaxed(&n->token.word, NUR_TOKEN_EMBEDDED |
	    NUR_TOKEN_PRIVATE);
	nur_store_relaxed(&n->opener, self);
	return n;
}

/* Whether plain tasks of n can be light and private, but for its level. */
static bool
may_have_tasks(const struct nur_thr *self, const struct nursery *n,
    const struct nursery *parent)
{
	if (nur_load_acquire(&parent->shared) == 0)
		return nur_load_relaxed(&parent->mine.counts) != 0;
	return parent->attr.lane == NURSERY_COMPUTE &&
	    (!nur_thr_is_worker(self) || self->stack_size >=
	    n->attr.stack_size);
}

/* The change of the list has begun.  May: have tasks. */
static inline void
end_open(struct nur_thr *self, struct nursery *n, struct nursery *parent,
    bool may)
{
	nur_store_relaxed(&n->host, self->task);
	nur_store_relaxed(&n->mine.counts, may);
	n->parent = parent;
	nur_list_append(&self->opened, &n->opened);
	end_change(self);
	nur_thr_count(self, NUR_SLAB_NURSERY, 1);
}

static unsigned
level_around(const struct nursery *n)
{
	return nur_token_level(&nur_nest_around(n)->token);
}

/* Inside any parent. */
__attribute__((noinline)) static int
open_slowly(struct nur_thr *self, struct nursery **out, struct nursery *parent)
{
	struct nursery *n = NULL;
	bool may;

	if (self != NULL && !nur_inherited(parent) && may_be_private(parent,
	    self))
		n = self->spare_count > 0 ? self->spare[--self->spare_count] :
		    new_block(self);
	if (n == NULL)
		return nur_nursery_open_child(out, parent, NULL);
	may = may_have_tasks(self, n, parent);
	begin_change(self);
	end_open(self, n, parent, may);
	if (may && level_around(parent) != NURSERY_LIVE)
		nur_nursery_share(n);
	*out = n;
	return 0;
}

/* Most are inside a private one: that takes a few stores and, so that no
 * register is saved, no call but in place of the return. */
int
nur_nest_open(struct nursery **out, struct nursery *parent)
{
	struct nur_thr *self = nur_thr_peek();
	struct nursery *n;

	if (self == NULL || !nur_light_is_mine(self, parent) ||
	    self->spare_count == 0 || !try_change(self))
		return open_slowly(self, out, parent);
	if (nur_load_acquire(&parent->shared) != 0) {	/* E5 */
		end_change(self);
		return open_slowly(self, out, parent);
	}
	n = self->spare[--self->spare_count];
	end_open(self, n, parent, true);
	*out = n;
	return 0;
}

__attribute__((noinline)) static int
give_back(struct nursery *n, int rc)
{
	nur_nursery_free(n);
	return rc;
}

__attribute__((noinline)) static int
close_after_look(struct nursery **np)
{
	nur_look_await();
	return nur_nest_close(np);
}

/* One that has no tasks. */
static inline int
close_empty(struct nur_thr *self, struct nursery **np)
{
	struct nursery *n = *np;
	int rc = 0;

	/* A signal handler may have raised it. */
	if (nur_token_level(&n->token) != NURSERY_LIVE)
		return -1;
	if (!try_change(self))
		return close_after_look(np);
	if (nur_load_acquire(&n->shared) != 0) {
		end_change(self);
		return -1;
	}
	if (nur_load_relaxed(&n->mine.counts) == 0 && level_around(n) >=
	    NURSERY_CANCEL)	/* E5 */
		rc = ECANCELED;
	nur_list_remove(&n->opened);
	end_change(self);
	nur_thr_count(self, NUR_SLAB_NURSERY, -1);
	nur_store_relaxed(&n->mine.spawned, 0);
	nur_store_relaxed(&n->mine.ended, 0);
	*np = NULL;
	if (self->spare_count == NUR_SPARES)
		return give_back(n, rc);
	self->spare[self->spare_count++] = n;
	return rc;
}

__attribute__((noinline)) static int
close_with_tasks(struct nur_thr *self, struct nursery **np)
{
	struct nursery *n = *np;

	/* They went with the queue, or there was no memory for one. */
	if (self->deque == NULL)
		return -1;
	if (self->tally != NULL)
		nur_light_run_mine(self, self->tally, n);
	else
		nur_compute_run_mine(self, n);
	if (nur_load_acquire(&n->shared) != 0 || nur_nest_has_tasks(n))
		return -1;
	return close_empty(self, np);
}

int
nur_nest_close(struct nursery **np)
{
	struct nur_thr *self = nur_thr_peek();
	struct nursery *n = *np;

	/* The newest only: others may have been left open inside it.  What
	 * was inherited is in no list of this thread's. */
	if (nur_load_acquire(&n->shared) != 0 || nur_load_relaxed(
	    &n->opener) != self || self->opened.prev != &n->opened)
		return -1;
	return nur_nest_has_tasks(n) ? close_with_tasks(self, np) :
	    close_empty(self, np);
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
	nur_token_set_word(&n->token, nur_token_word(&n->token) &
	    ~NUR_TOKEN_PRIVATE);
	listen_locked(n);
	nur_unlock(&nur_tree_lock);
	n->id = nur_task_next_id(nur_thr_peek());
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

static void
share_locked(struct nursery *n)
{
	struct nursery *m = n;

	/* Up to the outermost private one, then down again. */
	n->below = NULL;
	for (; m->shared == 0 && m->parent->shared == 0; m = m->parent)
		m->parent->below = m;
	for (; m != NULL && m->shared == 0; m = m->below) {
		/* E1: the parent cannot be closed, at most closing, and the
		 * host lives. */
		m->for_service = nur_serves(nur_load_relaxed(&m->host),
		    m->parent);
		nur_nursery_set_lane(m);
		nur_light_shared(m);
		nur_lock(&m->parent->lock);
		m->parent->inner++;
		m->parent->inner_services += m->for_service;
		nur_unlock(&m->parent->lock);
		share_one_locked(m, &m->parent->token);
	}
}

void
nur_nest_share(struct nursery *n)
{
	if (nur_inherited(n))
		return;
	nur_lock(&nur_registry_lock);
	share_locked(n);
	nur_unlock(&nur_registry_lock);
}

void
nur_nest_host_moved(const struct nur_thr *self, const struct nursery_task *from,
    struct nursery_task *to)
{
	const struct nur_link *l;
	struct nursery *n;

	if (nur_list_empty(&self->opened))
		return;
	/* Who shares one of them from elsewhere looks at the host. */
	nur_lock(&nur_registry_lock);
	for (l = self->opened.prev; l != &self->opened; l = l->prev) {
		n = NUR_CONTAINER(l, struct nursery, opened);
		if (nur_load_relaxed(&n->host) == from)
			nur_store_relaxed(&n->host, to);
	}
	nur_unlock(&nur_registry_lock);
}

/* ---- raised from above: E5 ---- */

/* One on this list that has yet to hear, the newest; it cannot be closed. */
static struct nursery *
deaf(const struct nur_thr *thr)
{
	const struct nur_link *l;
	struct nursery *n;

	for (l = thr->opened.prev; l != &thr->opened; l = l->prev) {
		n = NUR_CONTAINER(l, struct nursery, opened);
		if (nur_load_acquire(&n->shared) == 0 && nur_load_relaxed(
		    &n->mine.counts) != 0 && level_around(n) != NURSERY_LIVE)
			return n;
	}
	return NULL;
}

static void
look_for_deaf(const struct nur_thr *thr, void *found)
{
	struct nursery **n = found;

	if (*n == NULL)
		*n = deaf(thr);
}

static void
raised(void)
{
	struct nursery *n;

	nur_lock(&nur_registry_lock);
	nur_look_begins();
	do {
		n = NULL;
		nur_thr_each(look_for_deaf, &n);
		if (n != NULL)
			share_locked(n);
	} while (n != NULL);
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
}

static void
publish(struct nursery_token *t)
{
	nur_nursery_share(NUR_CONTAINER(t, struct nursery, token));
}

void
nur_nest_tasks_begin(void)
{
	/* Relaxed: who makes a nursery in which others may be private takes
	 * the tree lock after this, and a raise of it before it looks. */
	if (nur_load_relaxed(&nur_raised_hook) == NULL)
		nur_store_relaxed(&nur_raised_hook, raised);
}

__attribute__((constructor)) static void
register_hook(void)
{
	nur_token_publish_hook = publish;
}

/* ---- what a thread keeps ready ---- */

void
nur_nest_thread_ends(struct nur_thr *self)
{
	while (self->spare_count > 0)
		nur_nursery_free(self->spare[--self->spare_count]);
}

void
nur_nest_after_fork(struct nur_thr *self)
{
	const struct nur_link *l;

	/* So that the quick ways need not ask whether a nursery was inherited.
	 */
	for (l = self->opened.prev; l != &self->opened; l = l->prev)
		nur_store_relaxed(&NUR_CONTAINER(l, struct nursery,
		    opened)->mine.counts, 0);
	nur_list_init(&self->opened);
}
