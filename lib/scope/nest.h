/* SPDX-License-Identifier: MIT */
/* Private nurseries; invariants in scope/nest.c. */
#ifndef NUR_SCOPE_NEST_H
#define NUR_SCOPE_NEST_H

#include "scope/nursery.h"

/* nursery_open_child without attributes: a private one, if it may be. */
int nur_nest_open(struct nursery **out, struct nursery *parent);
/* Closes *n if it is private and the newest of this thread, once its tasks are
 * done, and if none was stolen: what the close returns, or -1. */
int nur_nest_close(struct nursery **n);
/* Nurseries of the compute lane are about to be there. */
void nur_nest_tasks_begin(void);
/* Puts n, whose parent is shared and counts it, where others find it. */
void nur_nest_publish(struct nursery *n, struct nursery_token *above);
/* The task that opened some of them is elsewhere in memory. */
void nur_nest_host_moved(const struct nur_thr *self,
    const struct nursery_task *from, struct nursery_task *to);
/* Lets go of what the thread keeps. */
void nur_nest_thread_ends(struct nur_thr *self);
/* What is open on this thread is the parent's. */
void nur_nest_after_fork(struct nur_thr *self);

/* The nearest shared one: n itself, or around it. */
static inline const struct nursery *
nur_nest_around(const struct nursery *n)
{
	/* Acquire: pairs with the release in share_one_locked(). */
	while (nur_load_acquire(&n->shared) == 0)
		n = n->parent;
	return n;
}

/* The thread's list of what it has open, E4. */
void nur_opened_add(struct nur_thr *self, struct nursery *n);
void nur_opened_remove(struct nur_thr *self, struct nursery *n);

#endif
