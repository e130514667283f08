/* SPDX-License-Identifier: MIT */
/*
 * Memory of a run: blocks that model_alloc() gave, stretches that slabs were
 * carved from, and the objects in those.  Nothing is used twice in a run but
 * by the slabs themselves; all is given back at the end of the run.
 */
#include "config.h"

#include "engine.h"

void
eng_heap_reset(void)
{
	memset(eng->memory + MODEL_THREADS * MODEL_STACK, 0, eng->arena_used);
	eng->arena_used = 0;
	eng->blocks = 0;
	eng->names = 0;
}

static struct block *
block_new(void *start, size_t size, enum block_kind kind, const void *pc)
{
	struct model_thread *t = eng->current;
	struct block *b = &eng->block[eng->blocks];

	if (eng->blocks == MODEL_BLOCKS)
		model_fail("more than %d allocations: raise MODEL_BLOCKS",
		    MODEL_BLOCKS);
	eng->blocks++;
	t->history = eng_mix(t->history, 81);
	b->start = (uintptr_t)start;
	b->size = size;
	b->name = t->history;
	b->kind = kind;
	b->live = true;
	b->maker = pc;
	b->thread = t->id;
	return b;
}

void *
eng_heap_alloc(size_t size, size_t align, enum block_kind kind,
    const void *pc)
{
	uintptr_t arena = (uintptr_t)eng->memory + MODEL_THREADS *
	    MODEL_STACK;
	uintptr_t at = (arena + eng->arena_used + align - 1) & ~(align - 1);

	/* A gap behind each block: what runs over hits no other one. */
	if (at + size + 16 > arena + MODEL_ARENA)
		model_fail("more than %zu bytes: raise MODEL_ARENA",
		    MODEL_ARENA);
	eng->arena_used = at + size + 16 - arena;
	(void)block_new((void *)at, size, kind, pc);
	return (void *)at;
}

static struct block *
live_block(const void *p, enum block_kind kind)
{
	int i;

	for (i = eng->blocks - 1; i >= 0; i--)
		if (eng->block[i].start == (uintptr_t)p &&
		    eng->block[i].kind == kind && eng->block[i].live)
			return &eng->block[i];
	return NULL;
}

static void
end_life(void *p, enum block_kind kind, const void *pc)
{
	struct block *b = live_block(p, kind);

	if (b == NULL)
		model_fail("free of what is not allocated, or twice: %s by "
		    "thread %d (%s)", eng_address_text(p), eng->current->id,
		    eng_code_text(pc));
	/* Who used it last without telling us races with this. */
	eng_access(p, b->size, ACCESS_WRITE, pc);
	b->live = false;
}

void *
model_alloc(size_t size)
{
	return eng_heap_alloc(size, 16, BLOCK_HEAP, CALLER);
}

void
model_free(void *p)
{
	const struct block *b;

	if (p == NULL)
		return;
	end_life(p, BLOCK_HEAP, CALLER);
	b = eng_block_at((uintptr_t)p);
	eng_dead(p, b->size, true);
}

void
model_object_made(void *p, size_t size)
{
	eng_dead(p, size, false);
	eng_places_forget(p, size);
	(void)block_new(p, size, BLOCK_OBJECT, CALLER);
}

void
model_object_freed(void *p)
{
	end_life(p, BLOCK_OBJECT, CALLER);
}

void
model_poison(void *p, size_t size)
{
	eng_dead(p, size, true);
}

void
model_unpoison(void *p, size_t size)
{
	eng_dead(p, size, false);
}

/* The newest block that holds the address, live or not; NULL. */
const struct block *
eng_block_at(uintptr_t address)
{
	const struct block *b;
	int i;

	for (i = eng->blocks - 1; i >= 0; i--) {
		b = &eng->block[i];
		if (address >= b->start && address < b->start + b->size)
			return b;
	}
	return NULL;
}

/* Objects are no names: a slot keeps its own, whatever lies in it. */
static const struct block *
ground_at(uintptr_t address)
{
	const struct block *b;
	int i;

	for (i = 0; i < eng->blocks; i++) {
		b = &eng->block[i];
		if (b->kind != BLOCK_OBJECT && address >= b->start &&
		    address < b->start + b->size)
			return b;
	}
	return NULL;
}

uint64_t
eng_address_name(uintptr_t address)
{
	uintptr_t in_memory = address - (uintptr_t)eng->memory;
	const struct block *b;

	if (in_memory < MODEL_THREADS * MODEL_STACK)
		return eng_mix(eng->thread[in_memory / MODEL_STACK].identity,
		    in_memory % MODEL_STACK);
	b = ground_at(address);
	if (b != NULL)
		return eng_mix(b->name, address - b->start);
	return address - (uintptr_t)eng->static_start;
}

/* Every run has all its threads ended: what lives now lives for ever. */
void
eng_heap_check(void)
{
	const struct block *b;
	int i;

	for (i = 0; i < eng->blocks; i++) {
		b = &eng->block[i];
		if (b->live && b->kind != BLOCK_MAP)
			model_fail("leak: %s, %zu bytes, made by thread %d "
			    "(%s)", eng_address_text((void *)b->start),
			    b->size, b->thread, eng_code_text(b->maker));
	}
}
