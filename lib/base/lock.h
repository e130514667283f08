/* SPDX-License-Identifier: MIT */
/*
 * Mutexes with a rank.
 *
 * A thread may take a lock only if its rank is higher than every rank it
 * holds.  A build with NUR_CHECKS aborts, naming both locks, when that is
 * broken, and when user code is called with a lock held.
 */
#ifndef NUR_BASE_LOCK_H
#define NUR_BASE_LOCK_H

#include "base/sync.h"

/* Outermost first.        covers                              taken in */
enum nur_rank {
	NUR_RANK_SIGNALS = 1, /* who takes which signal        daemon/ */
	NUR_RANK_REGISTRY, /* list of nurseries, tree of them  scope/ */
	NUR_RANK_NURSERY,  /* one nursery: counts, queue       scope/ */
	NUR_RANK_POOL,	   /* idle threads                     sched/pool.c */
	NUR_RANK_LANE,	   /* who works, searches, sleeps      sched/lane.c */
	NUR_RANK_DEQUE,	   /* one queue of jobs: its thieves   sched/deque.c */
	NUR_RANK_TREE,	   /* shape of the token trees         token/tree.c */
	NUR_RANK_TIMER,	   /* heap of deadlines                token/timer.c */
	NUR_RANK_CALLBACK, /* who runs which callback          token/callback.c */
	NUR_RANK_KNOCK,	   /* condition variables to be woken  io/knock.c */
	NUR_RANK_CHANNEL,  /* one channel: ring, who waits     io/channel.c */
	NUR_RANK_THR,	   /* list of thread records           base/thr.c */
	NUR_RANK_SLAB,	   /* free lists                       base/slab.c */
};

struct nur_mutex {
	nur_raw_mutex raw;
	enum nur_rank rank;
};

#define NUR_MUTEX_INIT(r)	{ NUR_RAW_MUTEX_INIT, (r) }

static inline void
nur_mutex_init(struct nur_mutex *m, enum nur_rank rank)
{
	nur_raw_mutex_init(&m->raw);
	m->rank = rank;
}

static inline void
nur_mutex_fini(struct nur_mutex *m)
{
	nur_raw_mutex_fini(&m->raw);
}

#ifdef NUR_CHECKS
void nur_rank_push(const struct nur_mutex *m);
void nur_rank_pop(const struct nur_mutex *m);
void nur_rank_assert_none(const char *where);
#else
#define nur_rank_push(m)		((void)(m))
#define nur_rank_pop(m)			((void)(m))
#define nur_rank_assert_none(where)	((void)(where))
#endif

static inline void
nur_lock(struct nur_mutex *m)
{
	nur_rank_push(m);
	nur_raw_mutex_lock(&m->raw);
}

static inline bool
nur_trylock(struct nur_mutex *m)
{
	if (!nur_raw_mutex_trylock(&m->raw))
		return false;
	nur_rank_push(m);
	return true;
}

/* See nur_raw_mutex_lock_patiently(). */
static inline void
nur_lock_patiently(struct nur_mutex *m)
{
	nur_rank_push(m);
	nur_raw_mutex_lock_patiently(&m->raw);
}

static inline void
nur_unlock(struct nur_mutex *m)
{
	nur_raw_mutex_unlock(&m->raw);
	nur_rank_pop(m);
}

/* For the holder: whether somebody sleeps for it. */
static inline bool
nur_lock_contended(struct nur_mutex *m)
{
	return nur_raw_mutex_contended(&m->raw);
}

/* For the holder, who holds nothing else: lets a sleeper have it first. */
static inline void
nur_lock_yield(struct nur_mutex *m)
{
	nur_raw_mutex_yield(&m->raw);
}

#endif
