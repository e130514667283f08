/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/slab.h"

#include "base/check.h"
#include "base/poison.h"
#include "base/sys.h"

#define MAGIC	UINT64_C(0x6e75727365727931)
#define ALIGN	((size_t)64)

uint32_t nur_generation;

static size_t
first_slot(void)
{
	return (sizeof(struct nur_chunk) + ALIGN - 1) & ~(ALIGN - 1);
}

static uint32_t
slots(const struct nur_slab *s)
{
	return (uint32_t)((NUR_CHUNK_SIZE - first_slot()) / (s->size + s->aux));
}

static bool
grow_locked(struct nur_slab *s)
{
	struct nur_chunk *c = nur_map_aligned(NUR_CHUNK_SIZE);

	if (c == NULL)
		return false;
	c->slab = s;
	c->generation = nur_generation;
	c->magic = MAGIC;
	c->next = s->chunks;
	s->chunks = c;
	return true;
}

static void *
carve_locked(struct nur_slab *s)
{
	struct nur_chunk *c = s->chunks;

	if (c == NULL || c->used == slots(s)) {
		if (!grow_locked(s))
			return NULL;
		c = s->chunks;
	}
	return (char *)c + first_slot() + (size_t)c->used++ * s->size;
}

void *
nur_slab_get(struct nur_slab *s)
{
	void *obj;

	if (nur_fault(NUR_RES_MEMORY))
		return NULL;
	nur_lock(&s->lock);
	obj = s->free;
	if (obj != NULL) {
		if (!s->stable)
			nur_unpoison(obj, s->size);
		s->free = ((void **)obj)[1];
	} else {
		obj = carve_locked(s);
	}
	if (obj != NULL)
		s->live++;
	nur_unlock(&s->lock);
	if (obj != NULL && !s->stable)
		nur_announce_alloc(obj, s->size);
	return obj;
}

void
nur_slab_put(struct nur_slab *s, void *obj)
{
	NUR_CHECK(nur_chunk_of(obj)->magic == MAGIC);
	NUR_CHECK(nur_chunk_of(obj)->slab == s);
	if (nur_inherited(obj))
		return;
	if (!s->stable)
		nur_announce_free(obj);
	nur_lock(&s->lock);
	if (!s->stable)
		nur_unpoison(obj, s->size);
	((void **)obj)[1] = s->free;
	s->free = obj;
	s->live--;
	if (!s->stable)
		nur_poison(obj, s->size);
	nur_unlock(&s->lock);
}

uint64_t
nur_slab_live(struct nur_slab *s)
{
	uint64_t live;

	nur_lock(&s->lock);
	live = s->live;
	nur_unlock(&s->lock);
	return live;
}

void *
nur_slab_aux(const void *obj)
{
	struct nur_chunk *c = nur_chunk_of(obj);
	const struct nur_slab *s = c->slab;
	size_t i = ((size_t)((const char *)obj - (char *)c) - first_slot()) /
	    s->size;

	return (char *)c + first_slot() + (size_t)slots(s) * s->size +
	    i * s->aux;
}

void
nur_slab_after_fork(struct nur_slab *s)
{
	s->free = NULL;
	s->chunks = NULL;
	s->live = 0;
}
