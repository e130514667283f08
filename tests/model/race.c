/* SPDX-License-Identifier: MIT */
/*
 * Plain memory accesses.
 *
 * The code under test is compiled with -fsanitize=thread, whose calls end
 * here instead of in ThreadSanitizer's own library.  Two accesses to the
 * same bytes, one of them a write, one of them not atomic, neither before
 * the other: a data race, in whatever order this run has had them.  An
 * access to memory that was freed is a failure too, and freeing counts as a
 * write.  So most missing or misplaced synchronisation is seen without the
 * one schedule in which it does harm.
 *
 * Eight bytes of memory have one cell, which remembers the last accesses; a
 * cell that is full forgets the oldest, and with it perhaps a race.
 */
#include "config.h"

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SLOTS	6

struct slot {
	uint32_t at;		/* the accessing thread's time */
	uint32_t code;		/* address, from the start of the program */
	uint8_t thread, mask;	/* which bytes */
	uint8_t kind;
};

struct cell {
	uint32_t execution;	/* valid in this run only */
	uint8_t dead;		/* which bytes are freed */
	uint8_t used, victim;
	struct slot slot[SLOTS];
};

extern char __executable_start[];

static struct cell *
cells_for(size_t bytes)
{
	void *p = mmap(NULL, (bytes / 8 + 2) * sizeof(struct cell),
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "model: no memory\n");
		exit(2);
	}
	return p;
}

void
eng_race_init(void)
{
	eng->memory_cells = cells_for(eng->memory_size);
	eng->static_cells = cells_for(eng->static_size + 8);
}

/* The cell of the word at `a`, or NULL for memory that is not watched: what
 * is constant, what the C library has, and a fuzzer's counters. */
static struct cell *
cell_of(uintptr_t a)
{
	uintptr_t memory = a - (uintptr_t)eng->memory;
	uintptr_t data = a - ((uintptr_t)eng->static_start & ~(uintptr_t)7);
	struct cell *c;

	if (memory < eng->memory_size)
		c = &eng->memory_cells[memory / 8];
	else if (a - (uintptr_t)eng->counters < eng->counters_size)
		return NULL;
	else if (data < eng->static_size)
		c = &eng->static_cells[data / 8];
	else
		return NULL;
	if (c->execution != eng->execution) {
		c->execution = eng->execution;
		c->dead = c->used = c->victim = 0;
	}
	return c;
}

static const void *
code_of(const struct slot *s)
{
	return __executable_start + s->code;
}

static const char *
kind_text(unsigned kind)
{
	static const char *const text[] = {
		"read", "write", "atomic read", "atomic write"
	};

	return text[kind & 3];
}

static void __attribute__((noreturn))
report_race(const struct slot *old, const struct slot *new, uintptr_t word)
{
	uintptr_t a = word + (unsigned)__builtin_ctz(old->mask & new->mask);
	/* Each text is used before the next one of its kind is made. */
	char first[160], second[160], where[96];

	snprintf(first, sizeof first, "%s", eng_code_text(code_of(old)));
	snprintf(second, sizeof second, "%s", eng_code_text(code_of(new)));
	snprintf(where, sizeof where, "%s", eng_address_text((void *)a));
	model_fail("data race at %s: %s by thread %d (%s), %s by thread %d "
	    "(%s)", where, kind_text(new->kind), new->thread, second,
	    kind_text(old->kind), old->thread, first);
}

static bool
races(const struct slot *old, const struct slot *new)
{
	if (old->thread == new->thread || (old->mask & new->mask) == 0)
		return false;
	if (((old->kind | new->kind) & ACCESS_WRITE) == 0)
		return false;
	if ((old->kind & new->kind & ACCESS_ATOMIC) != 0)
		return false;
	return old->at > eng->current->clock.before[old->thread];
}

/* Whoever would race with `old` races with `new` as well. */
static bool
replaces(const struct slot *new, const struct slot *old)
{
	if ((old->mask & ~new->mask) != 0)
		return false;
	if ((old->kind & ACCESS_WRITE) != 0 && (new->kind & ACCESS_WRITE) == 0)
		return false;
	if ((old->kind & ACCESS_ATOMIC) == 0 &&
	    (new->kind & ACCESS_ATOMIC) != 0)
		return false;
	return old->thread == new->thread ||
	    old->at <= eng->current->clock.before[old->thread];
}

static struct slot *
slot_for(struct cell *c, const struct slot *new, uintptr_t word)
{
	struct slot *place = NULL;
	int i;

	for (i = 0; i < c->used; i++) {
		if (races(&c->slot[i], new))
			report_race(&c->slot[i], new, word);
		if (place == NULL && replaces(new, &c->slot[i]))
			place = &c->slot[i];
	}
	if (place != NULL)
		return place;
	if (c->used < SLOTS)
		return &c->slot[c->used++];
	c->victim = (uint8_t)((c->victim + 1) % SLOTS);
	return &c->slot[c->victim];
}

static void
access_word(uintptr_t word, uint8_t mask, unsigned kind, const void *pc)
{
	const struct model_thread *t = eng->current;
	struct cell *c = cell_of(word);
	struct slot new;

	if (c == NULL)
		return;
	if ((c->dead & mask) != 0)
		model_fail("use of freed memory: %s of %s by thread %d (%s)",
		    kind_text(kind), eng_address_text((void *)(word +
		    (unsigned)__builtin_ctz(c->dead & mask))), t->id,
		    eng_code_text(pc));
	new.at = t->clock.before[t->id];
	new.thread = (uint8_t)t->id;
	new.mask = mask;
	new.kind = (uint8_t)kind;
	new.code = (uint32_t)((uintptr_t)pc - (uintptr_t)__executable_start);
	/* Again what the thread has just done: the usual case. */
	if (c->used > 0 && c->slot[0].at == new.at && c->slot[0].thread ==
	    new.thread && c->slot[0].mask == mask && c->slot[0].kind == kind)
		return;
	*slot_for(c, &new, word) = new;
}

/* The bytes of [start, start + size) that lie in the word at `word`. */
static uint8_t
mask_in(uintptr_t word, uintptr_t start, size_t size)
{
	unsigned low = start > word ? (unsigned)(start - word) : 0;
	unsigned high = start + size >= word + 8 ? 8 :
	    (unsigned)(start + size - word);

	return (uint8_t)((0xffu << low) & (0xffu >> (8 - high)));
}

void
eng_access(const void *p, size_t size, unsigned kind, const void *pc)
{
	uintptr_t start = (uintptr_t)p, word;

	for (word = start & ~(uintptr_t)7; word < start + size; word += 8)
		access_word(word, mask_in(word, start, size), kind, pc);
}

void
eng_dead(const void *p, size_t size, bool dead)
{
	uintptr_t start = (uintptr_t)p, word;
	struct cell *c;
	uint8_t mask;

	for (word = start & ~(uintptr_t)7; word < start + size; word += 8) {
		c = cell_of(word);
		if (c == NULL)
			continue;
		mask = mask_in(word, start, size);
		c->dead = (uint8_t)(dead ? c->dead | mask : c->dead & ~mask);
	}
}

/* ---- what the compiler calls ---- */

static void
plain(const void *p, size_t size, unsigned kind, const void *pc)
{
	/* With older values in play a plain store ends an atomic's past;
	 * step_at() sees that by the value.  Outside runs nothing counts. */
	if (eng != NULL && eng->current != NULL)
		eng_access(p, size, kind, pc);
}

#define HOOKS(n) \
	void __tsan_read##n(void *p); \
	void __tsan_write##n(void *p); \
	void __tsan_unaligned_read##n(void *p); \
	void __tsan_unaligned_write##n(void *p); \
	void __tsan_read##n(void *p) { plain(p, n, ACCESS_READ, CALLER); } \
	void __tsan_write##n(void *p) { plain(p, n, ACCESS_WRITE, CALLER); } \
	void __tsan_unaligned_read##n(void *p) \
	{ plain(p, n, ACCESS_READ, CALLER); } \
	void __tsan_unaligned_write##n(void *p) \
	{ plain(p, n, ACCESS_WRITE, CALLER); }

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_read_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size);

void
__tsan_init(void)
{
}

void
__tsan_func_entry(void *pc)
{
	(void)pc;
}

void
__tsan_func_exit(void)
{
}

void
__tsan_read_range(void *p, size_t size)
{
	plain(p, size, ACCESS_READ, CALLER);
}

void
__tsan_write_range(void *p, size_t size)
{
	plain(p, size, ACCESS_WRITE, CALLER);
}

/* What is filled with bytes is not what it was, even where the bytes are the
 * same: no load gives an older value. */
static void
begin_anew(const void *p, size_t size)
{
	if (eng != NULL && eng->current != NULL)
		eng_places_forget(p, size);
}

/* The instrumented code's memory functions: by -D in the build, and by the
 * names that clang gives them. */
void *model_memset(void *p, int c, size_t size);
void *model_memcpy(void *to, const void *from, size_t size);
void *model_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *p, int c, size_t size);
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);

void *
model_memset(void *p, int c, size_t size)
{
	plain(p, size, ACCESS_WRITE, CALLER);
	begin_anew(p, size);
	return memset(p, c, size);
}

void *
model_memcpy(void *to, const void *from, size_t size)
{
	plain(from, size, ACCESS_READ, CALLER);
	plain(to, size, ACCESS_WRITE, CALLER);
	return memcpy(to, from, size);
}

void *
model_memmove(void *to, const void *from, size_t size)
{
	plain(from, size, ACCESS_READ, CALLER);
	plain(to, size, ACCESS_WRITE, CALLER);
	return memmove(to, from, size);
}

void *
__tsan_memset(void *p, int c, size_t size)
{
	plain(p, size, ACCESS_WRITE, CALLER);
	begin_anew(p, size);
	return memset(p, c, size);
}

void *
__tsan_memcpy(void *to, const void *from, size_t size)
{
	plain(from, size, ACCESS_READ, CALLER);
	plain(to, size, ACCESS_WRITE, CALLER);
	return memcpy(to, from, size);
}

void *
__tsan_memmove(void *to, const void *from, size_t size)
{
	plain(from, size, ACCESS_READ, CALLER);
	plain(to, size, ACCESS_WRITE, CALLER);
	return memmove(to, from, size);
}
