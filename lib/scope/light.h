/* SPDX-License-Identifier: MIT */
/* Tasks of the compute lane, and those among them that are light: invariants
 * in scope/light.c and scope/work.c. */
#ifndef NUR_SCOPE_LIGHT_H
#define NUR_SCOPE_LIGHT_H

#include "scope/nursery.h"
#include "sched/lane.h"

/* ---- light.c ---- */

/* n->light: the balance, and who has something to tell. */
#define NUR_LIGHT_BALANCE	36	/* bits, with a sign */
#define NUR_LIGHT_RUNNER	(UINT64_C(1) << 36)
#define NUR_LIGHT_SPAWNER	(UINT64_C(1) << 54)

/* Whether n's plain tasks can be light; for one that is being opened. */
bool nur_light_possible(const struct nursery *n);
/* Spawns one; self may be NULL: there was no memory for a record. */
int nur_light_spawn(struct nur_thr *self, struct nursery *n, nursery_fn *fn,
    void *arg);
/* The same into one of self's own (nur_light_is_mine). */
int nur_light_spawn_mine(struct nur_thr *self, struct nursery *n,
    nursery_fn *fn, void *arg);
/* Spawns t, which has a whole block; it is gone if refused. */
int nur_light_submit(struct nursery_task *t);
/* A light task that somebody asks for by its handle has a whole block from
 * then on: that; NULL without memory. */
struct nursery_task *nur_light_present(struct nur_thr *self);
uint64_t nur_light_id(const struct nursery_task *t);

/* One that runs, as others see it: of `task`, its function and its id; if it
 * is of a private nursery inside n: that. */
struct nur_light_seen {
	const struct nur_thr *thr;
	struct nursery_task task;
	const struct nursery *private;
};
/* During a look (scope/look.h): calls fn for each of n's that runs, and of
 * private ones' inside. */
void nur_light_each(const struct nursery *n,
    void (*fn)(const struct nur_light_seen *s, void *arg), void *arg);

/* Around a wait for n's tasks: who spawns meanwhile counts at once.  Lock
 * held. */
void nur_light_wait_begins_locked(struct nursery *n);
void nur_light_wait_ends_locked(struct nursery *n);
/* Tells the nursery what the caller has counted from outside. */
void nur_light_tell(struct nur_thr *self);
/* A private nursery becomes shared: what its opener counts, W8. */
void nur_light_shared(struct nursery *n);
/* In numbers, what of them waits and runs; guesses while they do. */
void nur_light_numbers(const struct nursery *n, uint64_t *queued,
    uint64_t *running);
/* Adds them to what n has counted.  Lock held. */
void nur_light_add_counts_locked(const struct nursery *n,
    struct nursery_counts *to);

/* What the caller counts for n as one who runs its tasks: before the first
 * of them, and when there is no other. */
void nur_light_run_begins(struct nur_tally *y, struct nursery *n);
void nur_light_run_ends(struct nur_tally *y);
void nur_light_run(struct nur_thr *self, struct nur_tally *y,
    struct nursery_task *t);
/* The opener of a private n, which has a task, runs its own newest, as long as
 * n has any and they are n's.  The tally around them says nothing of them, W8,
 * but that jobs are run here. */
void nur_light_run_mine(struct nur_thr *self, struct nur_tally *y,
    struct nursery *n);

void nur_light_after_fork(void);

static inline bool
nur_is_light(const struct nursery_task *t)
{
	return (t->flags & NUR_TASK_LIGHT) != 0;
}

/* The task in whose midst it runs, or NULL. */
static inline struct nursery_task *
nur_light_before(const struct nursery_task *t)
{
	return (struct nursery_task *)nur_load_relaxed(&t->link.next);
}

/* W8 */
static inline bool
nur_light_is_mine(const struct nur_thr *self, const struct nursery *n)
{
	return nur_load_relaxed(&n->mine.counts) != 0 && nur_load_relaxed(
	    &n->opener) == self;
}

/* Whether n is private, and has tasks. */
static inline bool
nur_nest_has_tasks(const struct nursery *n)
{
	return nur_load_acquire(&n->shared) == 0 && nur_load_relaxed(
	    &n->mine.spawned) != nur_load_relaxed(&n->mine.ended);
}

/* ---- work.c ---- */

/* Gives t, which is counted in, to the workers. */
void nur_compute_start(struct nursery_task *t);
/* Runs tasks of n and of those inside it, if the caller may, until none is to
 * be found. */
void nur_compute_help(struct nursery *n, int64_t deadline);
/* nur_light_run_mine() on a thread that runs no jobs yet. */
void nur_compute_run_mine(struct nur_thr *self, struct nursery *n);

#endif
