/* SPDX-License-Identifier: MIT */
/*
 * Compute lane: as many threads as there are processors run jobs, which lie
 * in queues: one for each of them, and each other thread that spawns jobs
 * (sched/deque.h).
 *
 * L1  A place is the right to run jobs; there are as many as usable
 *     processors.  Who blocks gives his away (nur_thr_pause), and takes one
 *     more when he is back, even if none is free: then the next worker who
 *     has ended a job sleeps.
 * L2  One worker at most searches.  `nur_lane_call` is set exactly when a
 *     place is free and nobody searches.
 * L3  No job lies unseen while a place is free.  Who makes a job writes it,
 *     passes the light barrier and reads `nur_lane_call`; if it is set, he
 *     calls a worker.  Whose change sets it, passes the heavy barrier after
 *     that and looks at all queues.  So one of the two sees the other.  While
 *     it is not set, either a worker searches, who sets it when he stops and
 *     looks again, or all places are taken, and who leaves one sets it.
 * L4  A searcher that finds something calls the next one if there is more:
 *     workers come one after the other, and as many as there is work for.
 * L5  Who searches does not take a single job at once that was pushed just
 *     now: its owner is about to need it.
 * L6  A worker that never searches, for it has so much of its own, takes now
 *     and then what others than workers have pushed: who is no worker may
 *     wait for it without running it.
 * L7  Who has jobs for the one he calls puts them into that one's queue: no
 *     search, and no heavy barrier, comes before the first of them.  An
 *     outsider gives his only job; a worker that blocks, its place with its
 *     queue, also while places are overdrawn; or, when that is empty but
 *     others have some and nobody searches, the search.
 * L8  While a thief moves jobs, nobody sees them, and what does not fit lies
 *     there again after that; so a thief who is not the searcher does then as
 *     who pushes does, L3.
 * L9  A worker has a queue while it has a place, and leaves it with the place,
 *     whatever lies in it; so there are about as many to look at as places.
 *     Others keep theirs.  Who claims one gets one without memory: there are
 *     as many as claims, in the list of those that are looked at, once they
 *     have been used.
 */
#ifndef NUR_SCHED_LANE_H
#define NUR_SCHED_LANE_H

#include "base/thr.h"
#include "sched/deque.h"

/* Of a worker: one on which closes nest.  Address space, not memory. */
#define NUR_LANE_STACK	((size_t)(sizeof(void *) == 8 ? 8 : 1) << 20)

extern struct nur_mutex nur_lane_lock;
extern uint32_t nur_lane_call;	/* atomic: L2 */
extern uint32_t nur_lane_surplus;	/* atomic: places are overdrawn, L1 */

/* Runs what the thread's queue holds, until it is empty or the places are
 * overdrawn; set by scope/. */
extern void (*nur_lane_run)(struct nur_thr *self);

/* There is a worker, or will be: 0, EAGAIN, ENOMEM. */
int nur_lane_begin(void);
/* The thread's queue; NULL without memory. */
struct nur_deque *nur_lane_attach(struct nur_thr *self);
/* Puts a job into no thread's queue. */
void nur_lane_give(struct nur_job *job);
/* L3: somebody is called, by one who has just pushed. */
void nur_lane_answer(struct nur_thr *self);
/* L6: called after each job. */
#define NUR_POLL_EVERY	64	/* jobs: then what no thread's queue holds */
#define NUR_POLL_ALL	1024	/* jobs: then what no worker's holds */
void nur_lane_poll(struct nur_thr *self);
/* Steals jobs that fit: whether there were any.  With `seen`, what workers come
 * to by themselves is left to them: only queues are stolen from in which
 * nothing has moved since the call before, with the same. */
#define NUR_LANE_SEEN	64	/* queues; of the others it knows less */
struct nur_lane_seen {
	uint32_t moves[NUR_LANE_SEEN];
};
bool nur_lane_steal(struct nur_thr *self, nur_fits_fn *fits, const void *arg,
    struct nur_lane_seen *seen);
/* A guess. */
bool nur_lane_has_work(void);
/* These block, and their places are free; so many may run beyond the places. */
void nur_lane_rescue(struct nur_thr *const *blocked, unsigned count,
    unsigned how_many_more);
/* The one who ends a job and whose place the monitor took has one again. */
void nur_lane_return(struct nur_thr *self);
/* The thread ends: what its queue holds goes to others. */
void nur_lane_detach(struct nur_thr *self);
/* How many places there are, workers, and those of them that sleep. */
unsigned nur_lane_places(void);
void nur_lane_counts(uint64_t *threads, uint64_t *idle);
void nur_lane_after_fork(void);

/* L3, after a push. */
static inline void
nur_lane_pushed(struct nur_thr *self)
{
	nur_light_barrier();
	if (nur_load_relaxed(&nur_lane_call) != 0)
		nur_lane_answer(self);
}

/* From a thread that has its queue, or from any. */
static inline void
nur_lane_push(struct nur_thr *self, struct nur_job *job)
{
	if (self != NULL && self->deque != NULL)
		nur_deque_push(self->deque, job);
	else
		nur_lane_give(job);
	nur_lane_pushed(self);
}

/* After a job of one who `works`: the monitor may have taken the place, L1. */
static inline void
nur_lane_job_done(struct nur_thr *self, bool works)
{
	if (!nur_load_relaxed(&self->place) && works)
		nur_lane_return(self);
}

#endif
