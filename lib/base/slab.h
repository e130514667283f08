/* SPDX-License-Identifier: MIT */
/*
 * Objects of one size in memory that is never unmapped.
 *
 * S1  A slot, once handed out, is memory of the same type for ever: a reader
 *     outside the process, and a late wake-up, may touch it safely.
 * S2  Each slot has `aux` bytes beside the objects, zeroed by nobody and
 *     untouched until used: they cost address space, not memory.
 * S3  A chunk remembers in which process it was made: objects inherited
 *     across fork are told from new ones in two loads.
 */
#ifndef NUR_BASE_SLAB_H
#define NUR_BASE_SLAB_H

#include "base/lock.h"

#ifndef NUR_CHUNK_SIZE		/* the model build has smaller ones */
#define NUR_CHUNK_SIZE	((size_t)64 * 1024)
#endif

struct nur_chunk {
	struct nur_chunk *next;
	struct nur_slab *slab;
	uint32_t generation;	/* nur_generation of the maker, S3 */
	uint32_t used;		/* slots ever handed out */
	uint64_t magic;
};

struct nur_slab {
	/* constant */
	const char *name;
	uint32_t size, aux;
	bool stable;		/* free slots stay readable (S1) for us too */
	struct nur_mutex lock;
	/* under lock */
	void *free;		/* linked through the second word */
	struct nur_chunk *chunks;
	uint64_t live;
};

#define NUR_SLAB_INIT(nm, size, aux, stable) \
	{ (nm), (size), (aux), (stable), NUR_MUTEX_INIT(NUR_RANK_SLAB), NULL, \
	    NULL, 0 }

/* Counts fork()s: see S3. */
extern uint32_t nur_generation;

/* A slot with undefined content, or NULL. */
void *nur_slab_get(struct nur_slab *s);
void nur_slab_put(struct nur_slab *s, void *obj);
uint64_t nur_slab_live(struct nur_slab *s);
/* The aux bytes of an object. */
void *nur_slab_aux(const void *obj);
/* In the child of a fork: forgets all slots of the parent, S3. */
void nur_slab_after_fork(struct nur_slab *s);

static inline struct nur_chunk *
nur_chunk_of(const void *obj)
{
	return (struct nur_chunk *)((uintptr_t)obj &
	    ~(uintptr_t)(NUR_CHUNK_SIZE - 1));
}

/* True for an object made before the last fork of this process. */
static inline bool
nur_inherited(const void *obj)
{
	return nur_chunk_of(obj)->generation != nur_load_relaxed(
	    &nur_generation);
}

#endif
