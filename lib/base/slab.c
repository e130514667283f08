/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/slab.h"

#include "base/check.h"
#include "base/poison.h"
#include "base/sys.h"
#include "base/thr.h"

#include <string.h>

#define MAGIC	UINT64_C(0x6e75727365727931)

uint32_t nur_generation;
bool nur_keep_ready;

/* Written once each, before the first object is handed out. */
static struct nur_slab *by_kind[NUR_SLAB_KINDS];

__attribute__((constructor)) static void
decide_keeping(void)
{
	nur_keep_ready = !nur_memory_is_watched();
}

/* A free slot of a stable slab stays readable (S1), for us too. */
static bool
stable(const struct nur_slab *s)
{
	return s->kind == NUR_SLAB_THREAD;
}

static bool
grow_locked(struct nur_slab *s)
{
	struct nur_chunk *c = nur_map_aligned(NUR_CHUNK_SIZE);

	if (c == NULL)
		return false;
	nur_show_slots(c, NUR_CHUNK_SIZE);
	c->slab = s;
	c->generation = nur_generation;
	c->magic = MAGIC;
	c->next = s->chunks;
	s->chunks = c;
	if (s->kind < NUR_SLAB_KINDS)
		nur_store_release(&by_kind[s->kind], s);
	return true;
}

static void *
carve_locked(struct nur_slab *s)
{
	struct nur_chunk *c = s->chunks;

	if (c == NULL || c->used == s->slots) {
		if (!grow_locked(s))
			return NULL;
		c = s->chunks;
	}
	return (char *)c + NUR_CHUNK_HEAD + (size_t)c->used++ * s->size;
}

static void
begin_use(struct nur_slab *s, void *obj)
{
	if (!stable(s))
		nur_unpoison(obj, s->size);
}

static void
end_use(struct nur_slab *s, void *obj)
{
	if (!stable(s))
		nur_poison(obj, s->size);
}

static void *
take_locked(struct nur_slab *s)
{
	void *obj = s->free;

	if (obj == NULL)
		return carve_locked(s);
	begin_use(s, obj);
	s->free = ((void **)obj)[1];
	return obj;
}

static void
give_locked(struct nur_slab *s, void *obj)
{
	begin_use(s, obj);
	if (!stable(s))
		nur_wipe(obj, s->size);
	((void **)obj)[1] = s->free;
	s->free = obj;
	end_use(s, obj);
}

/* ---- batches, S4 ---- */

static void
unpack_locked(struct nur_slab *s, struct nur_magazine *m, void **first)
{
	int i;

	m->slot[m->count++] = first;
	for (i = 1; i < NUR_BATCH; i++) {
		begin_use(s, first[1 + i]);
		__builtin_prefetch(first[1 + i], 1);
		m->slot[m->count++] = first[1 + i];
	}
}

/* One or two, so that the objects come in the order in which they were given
 * back: what is freed in a row is used again in a row. */
static void
take_batches_locked(struct nur_slab *s, struct nur_magazine *m)
{
	void **newer = s->batches, **older;

	begin_use(s, newer);
	older = newer[1];
	s->batches = older;
	if (older != NULL) {
		begin_use(s, older);
		s->batches = older[1];
		unpack_locked(s, m, older);
	}
	unpack_locked(s, m, newer);
}

static void
give_batch_locked(struct nur_slab *s, struct nur_magazine *m)
{
	void **first = m->slot[--m->count];
	int i;

	begin_use(s, first);
	first[1] = s->batches;
	for (i = 1; i < NUR_BATCH; i++) {
		first[1 + i] = m->slot[--m->count];
		end_use(s, first[1 + i]);
	}
	s->batches = first;
	end_use(s, first);
}

/* The calling thread's magazine, or NULL: it has none. */
static struct nur_magazine *
magazine(const struct nur_slab *s)
{
	struct nur_thr *self = nur_thr_peek();

	if (self == NULL || s->kind >= NUR_SLAB_KINDS || !nur_keep_ready)
		return NULL;
	return &self->magazine[s->kind];
}

/* Fills half an empty magazine: neighbours, if they are new, to come in the
 * order of their addresses.  Threads that write to neighbours get in each
 * other's way, and walks are fastest over tokens that lie in a row. */
static void
take_singles_locked(struct nur_slab *s, struct nur_magazine *m)
{
	uint32_t i;

	for (i = NUR_MAGAZINE / 2; i > 0; i--) {
		m->slot[i - 1] = take_locked(s);
		if (m->slot[i - 1] == NULL)
			break;
	}
	/* What there was moves down to the start. */
	m->count = NUR_MAGAZINE / 2 - i;
	memmove(m->slot, m->slot + i, m->count * sizeof m->slot[0]);
}

static void *
take_many(struct nur_slab *s, struct nur_magazine *m)
{
	nur_lock(&s->lock);
	if (s->batches != NULL)
		take_batches_locked(s, m);
	else
		take_singles_locked(s, m);
	nur_unlock(&s->lock);
	return m->count == 0 ? NULL : m->slot[--m->count];
}

static void
give_many(struct nur_slab *s, struct nur_magazine *m, uint32_t keep)
{
	nur_lock(&s->lock);
	while (m->count >= keep + NUR_BATCH)
		give_batch_locked(s, m);
	while (keep == 0 && m->count > 0)
		give_locked(s, m->slot[--m->count]);
	nur_unlock(&s->lock);
}

static void *
take_one(struct nur_slab *s)
{
	void *obj;

	nur_lock(&s->lock);
	obj = take_locked(s);
	nur_unlock(&s->lock);
	if (obj != NULL && !stable(s))
		nur_announce_alloc(obj, s->size);
	return obj;
}

static void
give_one(struct nur_slab *s, void *obj)
{
	if (!stable(s))
		nur_announce_free(obj);
	nur_lock(&s->lock);
	give_locked(s, obj);
	nur_unlock(&s->lock);
}

void *
nur_slab_get(struct nur_slab *s)
{
	struct nur_magazine *m;
	void *obj;

	if (nur_fault(NUR_RES_MEMORY))
		return NULL;
	m = magazine(s);
	if (m == NULL)
		return take_one(s);
	if (m->count > 0)
		obj = m->slot[--m->count];
	else
		obj = take_many(s, m);
	if (obj != NULL)
		nur_kept_no_more(obj, s->size);
	return obj;
}

void
nur_slab_put(struct nur_slab *s, void *obj)
{
	struct nur_magazine *m;

	NUR_CHECK(nur_chunk_of(obj)->magic == MAGIC);
	NUR_CHECK(nur_chunk_of(obj)->slab == s);
	if (nur_inherited(obj))
		return;
	m = magazine(s);
	if (m == NULL) {
		give_one(s, obj);
		return;
	}
	if (m->count == NUR_MAGAZINE)
		give_many(s, m, NUR_MAGAZINE / 2);
	nur_kept(obj, s->size);
	m->slot[m->count++] = obj;
}

void
nur_slab_count(struct nur_slab *s, int change)
{
	struct nur_thr *self = nur_thr_peek();

	if (self != NULL && s->kind < NUR_SLAB_KINDS) {
		nur_thr_count(self, s->kind, change);
		return;
	}
	nur_lock(&s->lock);
	s->live += change;
	nur_unlock(&s->lock);
}

uint64_t
nur_slab_live(struct nur_slab *s)
{
	int64_t live = s->kind < NUR_SLAB_KINDS ?
	    nur_thr_sum_live(s->kind) : 0;

	nur_lock(&s->lock);
	live += s->live;
	nur_unlock(&s->lock);
	return live > 0 ? (uint64_t)live : 0;
}

void
nur_slab_thread_ends(struct nur_thr *thr)
{
	struct nur_slab *s;
	int kind;

	for (kind = 0; kind < NUR_SLAB_KINDS; kind++) {
		/* Acquire: pairs with the release in grow_locked(). */
		s = nur_load_acquire(&by_kind[kind]);
		if (s == NULL)
			continue;
		give_many(s, &thr->magazine[kind], 0);
		nur_lock(&s->lock);
		s->live += thr->live[kind];
		nur_unlock(&s->lock);
		nur_store_relaxed(&thr->live[kind], 0);
	}
}

void *
nur_slab_aux(const void *obj)
{
	struct nur_chunk *c = nur_chunk_of(obj);
	const struct nur_slab *s = c->slab;
	uint32_t offset = (uint32_t)((uintptr_t)obj - (uintptr_t)c -
	    NUR_CHUNK_HEAD);

	return (char *)c + NUR_CHUNK_HEAD + (size_t)s->slots * s->size +
	    (size_t)(offset / s->size) * s->aux;
}

void
nur_slab_after_fork(struct nur_slab *s)
{
	struct nur_thr *self = nur_thr_peek();

	nur_mutex_init(&s->lock, NUR_RANK_SLAB);
	s->free = s->batches = NULL;
	s->chunks = NULL;
	s->live = 0;
	if (self == NULL || s->kind >= NUR_SLAB_KINDS)
		return;
	self->magazine[s->kind].count = 0;
	self->live[s->kind] = 0;
}
