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
 * S4  A thread takes from and gives to a magazine of its own; only an empty
 *     or a full one costs the slab's lock, and moves in batches: one of them
 *     names the others, so that cold ones are not read in turn.  What is
 *     live, which the users of the slab decide, is counted in each thread,
 *     too; the sum is exact when the threads are ordered with the reader.
 */
#ifndef NUR_BASE_SLAB_H
#define NUR_BASE_SLAB_H

#include "base/lock.h"
#include "base/poison.h"
#include "base/sys.h"

#ifndef NUR_CHUNK_SIZE		/* the model build has smaller ones */
#define NUR_CHUNK_SIZE	((size_t)1024 * 1024)
#define NUR_MAGAZINE	32
#endif
#define NUR_BATCH	(NUR_MAGAZINE < 14 ? NUR_MAGAZINE / 2 : 7)

/* Those who are counted and cached a thread. */
enum nur_slab_kind {
	NUR_SLAB_TOKEN, NUR_SLAB_TASK, NUR_SLAB_NURSERY, NUR_SLAB_LIGHT,
	NUR_SLAB_KINDS,
	NUR_SLAB_THREAD = NUR_SLAB_KINDS	/* neither */
};

struct nur_magazine {
	uint32_t count;
	void *slot[NUR_MAGAZINE];
};

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
	enum nur_slab_kind kind;
	uint32_t size, aux, slots;	/* bytes, bytes; slots a chunk */
	struct nur_mutex lock;
	/* under lock */
	void *free;		/* single ones, linked by the second word */
	void *batches;		/* the same, with the others behind that */
	struct nur_chunk *chunks;
	int64_t live;		/* without what threads count themselves */
};

#define NUR_CHUNK_HEAD	((sizeof(struct nur_chunk) + 63) & ~(size_t)63)
#define NUR_SLAB_INIT(nm, kind, size, aux) \
	{ (nm), (kind), (size), (aux), \
	    (NUR_CHUNK_SIZE - NUR_CHUNK_HEAD) / ((size) + (aux)), \
	    NUR_MUTEX_INIT(NUR_RANK_SLAB), NULL, NULL, NULL, 0 }

/* Counts fork()s: see S3. */
extern uint32_t nur_generation;

/*
 * Whether threads may keep objects ready for their next use.  Not under
 * AddressSanitizer and valgrind, which are to see every object come and go.
 * Tests of what is kept set it.
 */
extern bool nur_keep_ready;

/* A slot with undefined content, or NULL. */
void *nur_slab_get(struct nur_slab *s);
void nur_slab_put(struct nur_slab *s, void *obj);
/* One more, or one fewer, is live. */
void nur_slab_count(struct nur_slab *s, int change);
uint64_t nur_slab_live(struct nur_slab *s);
/* The aux bytes of an object. */
void *nur_slab_aux(const void *obj);
/* A thread has ended: its magazines and its counts go to the slabs. */
struct nur_thr;
void nur_slab_thread_ends(struct nur_thr *thr);
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

/* Get and put for one who has the thread's magazine of the slab at hand, and
 * gives back nothing that was inherited. */
static inline bool
nur_slab_has_ready(const struct nur_magazine *m)
{
	return m->count != 0 && nur_fault_hook == NULL;
}

static inline void *
nur_slab_take_ready(struct nur_slab *s, struct nur_magazine *m)
{
	void *obj = m->slot[--m->count];

	nur_kept_no_more(obj, s->size);
	return obj;
}

static inline void *
nur_slab_get_from(struct nur_slab *s, struct nur_magazine *m)
{
	return nur_slab_has_ready(m) ? nur_slab_take_ready(s, m) :
	    nur_slab_get(s);
}

static inline void
nur_slab_put_into(struct nur_slab *s, struct nur_magazine *m, void *obj)
{
	if (m->count == NUR_MAGAZINE || !nur_keep_ready) {
		nur_slab_put(s, obj);
		return;
	}
	nur_kept(obj, s->size);
	m->slot[m->count++] = obj;
}

#endif
