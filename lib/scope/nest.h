/* SPDX-License-Identifier: MIT */
/* Private nurseries; invariants in scope/nest.c. */
#ifndef NUR_SCOPE_NEST_H
#define NUR_SCOPE_NEST_H

#include "scope/nursery.h"

/* A private nursery inside `parent`, if it may be one; or NULL. */
struct nursery *nur_nest_open(struct nursery *parent);
/* Closes n if it is private and the newest of this thread: true, and what
 * the close returns. */
bool nur_nest_close(struct nursery *n, int *out_rc);
/* Puts n, whose parent is shared and counts it, where others find it. */
void nur_nest_publish(struct nursery *n, struct nursery_token *above);
/* The end of a private one, whatever else this thread has open. */
void nur_nest_drop(struct nursery *n);
/* E5: another task, or on_done, is to run in the midst of what this thread
 * does. */
void nur_nest_share_opened(const struct nur_thr *self);
/* The task that opened some of them is elsewhere in memory. */
void nur_nest_host_moved(const struct nur_thr *self,
    const struct nursery_task *from, struct nursery_task *to);
/* Lets go of what the thread keeps. */
void nur_nest_thread_ends(struct nur_thr *self);

/* A private nursery as others see it. */
struct nur_private {
	const struct nursery *around;	/* the nearest shared one */
	int depth;			/* below that, 1: directly */
};
/* All there are, thread by thread, each after those around it; NULL when
 * there are none, or no memory for them.  Registry lock held.  To be freed. */
struct nur_private *nur_nest_look(size_t *out_count);

/* The thread's list of what it has open, E4. */
void nur_opened_add(struct nur_thr *self, struct nursery *n);
void nur_opened_remove(struct nur_thr *self, struct nursery *n);

#endif
