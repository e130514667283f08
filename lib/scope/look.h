/* SPDX-License-Identifier: MIT */
/* Looking at what threads have open and run; invariants in scope/look.c. */
#ifndef NUR_SCOPE_LOOK_H
#define NUR_SCOPE_LOOK_H

#include "scope/nursery.h"

extern uint32_t nur_looked_at;	/* atomic */

/* Between them no list of open nurseries changes and no light task goes away.
 * Registry lock held. */
void nur_look_begins(void);
void nur_look_ends(void);
/* Until the look that goes on is over.  No lock held. */
void nur_look_await(void);

/* For who changes such a list, or has taken a task away: O2. */
static inline bool
nur_look_goes_on(void)
{
	nur_light_barrier();
	/* Acquire: after a look, sees what it did. */
	return nur_load_acquire(&nur_looked_at) != 0;
}

/* ---- during a look ---- */

/* A private nursery. */
struct nur_private {
	const struct nursery *nursery;
	const struct nursery *around;	/* the nearest shared one */
	int depth;			/* below that, 1: directly */
	uint64_t tasks;			/* that wait or run */
};
/* Calls fn for each, thread by thread, the newest first. */
void nur_look_at_private(void (*fn)(const struct nur_private *p, void *arg),
    void *arg);
/* All there are, each after those around it; NULL when there are none, or no
 * memory for them.  To be freed. */
struct nur_private *nur_look_private(size_t *out_count);

#endif
