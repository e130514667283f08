/* SPDX-License-Identifier: MIT */
/*
 * A thread's queue of jobs: the owner pushes and pops at one end without an
 * atomic read-modify-write or a fence, others steal from the other end, many
 * at once.  (Frigo, Leiserson, Randall: The Implementation of the Cilk-5
 * Multithreaded Language, 1998, section 5: THE; here the thief pays for the
 * fences of both, by the barrier of base/sync.h.)
 *
 * D1  Jobs are in slots [top, bottom), and in chains.  Only the owner writes
 *     `bottom`; `top` and the chains change under the lock.
 * D2  A thief moves `top` over what it wants, passes the heavy barrier and
 *     reads `bottom`; the owner lowers `bottom`, passes the light one and
 *     reads `top`.  So one of them at least sees that both want the same job.
 *     The thief that sees it draws back to `bottom`; the owner that sees it
 *     puts `bottom` back, takes the lock, and looks again.  Hence no job goes
 *     to two, and none to nobody.
 * D3  A slot is written again only once `freed` has passed it: the thief has
 *     read it by then.
 * D4  When the slots are full, the oldest half of them becomes a chain: a
 *     queue of any length needs no memory but its jobs'.
 * D5  A job that was pushed can be stolen whatever its owner does: nothing
 *     is hidden.  Only thieves hide what they move until they are through.
 * D6  A thief of slots takes jobs of one nursery.  Where closes nest, each job
 *     has its own, and the thief of the oldest alone works for the one that
 *     the victim waits for last; so whoever waits finds work that belongs to
 *     it, and what the thief has besides is nothing another waits for.
 */
#ifndef NUR_SCHED_DEQUE_H
#define NUR_SCHED_DEQUE_H

#include "base/list.h"
#include "base/lock.h"

#ifndef NUR_DEQUE_ROOM		/* the model build has smaller ones */
#define NUR_DEQUE_ROOM	UINT32_C(4096)
#endif

/* What a queue holds; `next` and `prev` of the link are the queue's as long
 * as it does. */
struct nur_job {
	struct nur_link link;
	struct nursery *nursery;	/* NULL: a task with a record, scope/ */
};

struct nur_deque {
	/* the owner's */
	_Alignas(64) uint32_t bottom;	/* atomic */
	uint32_t pushes;		/* atomic: counted, to tell a job that
					 * lies there from the next one */
	uint32_t freed_seen;
	/* the thieves' */
	_Alignas(64) uint32_t top;	/* atomic */
	uint32_t freed;			/* atomic: D3 */
	uint32_t chains;		/* atomic: how many */
	struct nur_mutex lock;
	struct nur_link *chain;		/* under lock: the newest's first job,
					 * whose `prev` is the next chain */
	uint32_t pushes_seen;		/* the searcher's: sched/lane.c */
	struct nur_deque *next;		/* constant once listed: sched/lane.c */
	struct nur_deque *below;	/* lane lock: the next that is unused */
	bool listed;			/* lane lock */
	bool works;			/* atomic: a worker's, sched/lane.c */
	_Alignas(64) struct nur_job *slot[NUR_DEQUE_ROOM];	/* atomic */
};

void nur_deque_init(struct nur_deque *d);

/* ---- the owner ---- */

void nur_deque_make_room(struct nur_deque *d);
struct nur_job *nur_deque_pop_slowly(struct nur_deque *d);

static inline bool
nur_deque_has_room(const struct nur_deque *d)
{
	return nur_load_relaxed(&d->bottom) - d->freed_seen < NUR_DEQUE_ROOM;
}

/* Into a queue that has room. */
static inline void
nur_deque_put(struct nur_deque *d, struct nur_job *job)
{
	uint32_t b = nur_load_relaxed(&d->bottom);

	nur_store_relaxed(&d->slot[b % NUR_DEQUE_ROOM], job);
	/* Relaxed: only a hint. */
	nur_store_relaxed(&d->pushes, nur_load_relaxed(&d->pushes) + 1);
	/* Release: publishes the job; pairs with the thief's acquire. */
	nur_store_release(&d->bottom, b + 1);
}

static inline void
nur_deque_push(struct nur_deque *d, struct nur_job *job)
{
	if (!nur_deque_has_room(d))
		nur_deque_make_room(d);
	nur_deque_put(d, job);
}

/* The newest, or NULL; then a thief may have been choosing, and what it left
 * is there the next time. */
static inline struct nur_job *
nur_deque_pop(struct nur_deque *d)
{
	uint32_t b = nur_load_relaxed(&d->bottom);

	if ((int32_t)(b - nur_load_relaxed(&d->top)) <= 0)
		return nur_load_relaxed(&d->chains) == 0 ? NULL :
		    nur_deque_pop_slowly(d);
	b--;
	/* Release: the jobs below are published still. */
	nur_store_release(&d->bottom, b);
	nur_light_barrier();
	/* Acquire: a thief that looked at this job, and left it, is through;
	 * pairs with the release in pass_locked(). */
	if ((int32_t)(b - nur_load_acquire(&d->top)) < 0) {
		nur_store_release(&d->bottom, b + 1);
		return nur_deque_pop_slowly(d);
	}
	return nur_load_relaxed(&d->slot[b % NUR_DEQUE_ROOM]);
}

/* Moves the oldest of those in the slots, if there is one, to a queue that has
 * room and that nobody else pushes to. */
void nur_deque_hand_over(struct nur_deque *d, struct nur_deque *to);

/* In a forked child: it is empty, and nobody holds its lock. */
void nur_deque_forget(struct nur_deque *d);
/* All that is left becomes chains of `to`: whether there was something. */
bool nur_deque_move_all(struct nur_deque *d, struct nur_deque *to);

/* ---- anybody ---- */

/* How many lie in the slots, or UINT32_MAX if there are chains; a guess, but
 * not 0 while there is one that nobody takes. */
static inline uint32_t
nur_deque_length(struct nur_deque *d)
{
	int32_t n;

	/* Acquire: what is in no chain any more is in the slots, D5; pairs
	 * with count_chains_locked(). */
	if (nur_load_acquire(&d->chains) != 0)
		return UINT32_MAX;
	n = (int32_t)(nur_load_relaxed(&d->bottom) - nur_load_relaxed(
	    &d->top));
	return n > 0 ? (uint32_t)n : 0;
}

/* Other than before if its owner has pushed or popped since; a guess. */
static inline uint32_t
nur_deque_moves(const struct nur_deque *d)
{
	return 2 * nur_load_relaxed(&d->pushes) - nur_load_relaxed(
	    &d->bottom);
}

/* Adds a job to a queue that is not the caller's. */
void nur_deque_give(struct nur_deque *d, struct nur_job *job);

/* Moves the oldest half, or a chain, from `d` to `to`, which is the caller's:
 * how many.  Of several nurseries, only what is of the oldest one's: D6.  With
 * `fits`, only as long as it says so.  0, too, if another thief is at it. */
typedef bool nur_fits_fn(const struct nur_job *job, const void *arg);
unsigned nur_deque_steal(struct nur_deque *d, struct nur_deque *to,
    nur_fits_fn *fits, const void *arg);

#endif
