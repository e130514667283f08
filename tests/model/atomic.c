/* SPDX-License-Identifier: MIT */
/*
 * Atomic operations.
 *
 * A location has its newest value in memory.  With `stale` in the
 * configuration the older ones are remembered too, and a load may take any
 * of them that the C11 rules leave open: not older than a store that the
 * thread knows of, nor than what a load that it knows of has taken.
 *
 * What is stronger here than in C11, so that some faults are missed and none
 * is invented: read-modify-writes and failed compare-and-swaps read the
 * newest value; no load takes a value that is stored later.
 */
#include "config.h"

#include "engine.h"

/* ---- places ---- */

static size_t
slot_of(uintptr_t address)
{
	return (size_t)eng_mix(address, 1) & (MODEL_PLACES - 1);
}

struct place *
eng_place(const void *address)
{
	uintptr_t a = (uintptr_t)address;
	struct place *p;
	size_t i = slot_of(a);

	while (p = &eng->place[i], p->execution == eng->execution) {
		if (p->address == a)
			return p;
		i = (i + 1) & (MODEL_PLACES - 1);
	}
	if (eng->places == MODEL_PLACES * 3 / 4)
		model_fail("more than %d locations: raise MODEL_PLACES",
		    eng->places);
	eng->place_used[eng->places++] = (uint16_t)i;
	memset(p, 0, offsetof(struct place, stores));
	p->execution = eng->execution;
	p->address = a;
	p->history = eng_mix(eng_address_name(a), 23);
	return p;
}

/* A stretch of memory begins a new life: old values are none of it. */
void
eng_places_forget(const void *start, size_t size)
{
	uintptr_t from = (uintptr_t)start;
	struct place *p;
	int i;

	if (eng->config.stale == 0)
		return;
	for (i = 0; i < eng->places; i++) {
		p = &eng->place[eng->place_used[i]];
		if (p->address >= from && p->address < from + size)
			p->count = p->reads = 0;
	}
}

void
eng_happens_read(struct place *p, uint64_t kind)
{
	struct model_thread *t = eng->current;

	t->history = eng_mix(eng_mix(t->history, p->history), kind);
	p->readers += eng_mix(t->history, 31);
}

void
eng_happens_write(struct place *p, uint64_t kind)
{
	struct model_thread *t = eng->current;

	t->history = eng_mix(eng_mix(t->history, p->history),
	    p->readers + kind);
	p->history = t->history;
	p->readers = 0;
}

/* ---- values ---- */

static uint64_t
memory_value(const void *p, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static struct stored *
newest(struct place *p)
{
	return &p->stores[p->count - 1];
}

/* Begins the history with what is in memory: the initial value, or what a
 * plain store has left there, known to all who may come here. */
static void
begin_history(struct place *p, uint64_t value)
{
	memset(&p->stores[0], 0, sizeof p->stores[0]);
	p->stores[0].value = value;
	p->count = 1;
	p->reads = 0;
	p->first = 0;
}

static struct place *
step_at(const void *address, size_t size, unsigned access, const void *pc)
{
	struct place *p;
	uint64_t value;

	eng_point();
	eng_access(address, size, access | ACCESS_ATOMIC, pc);
	p = eng_place(address);
	value = memory_value(address, size);
	if (p->count == 0 || newest(p)->value != value)
		begin_history(p, value);
	return p;
}

static void
forget_oldest(struct place *p)
{
	int i, kept = 0;

	memmove(p->stores, p->stores + 1, sizeof p->stores[0] *
	    (size_t)(--p->count));
	p->first++;
	for (i = 0; i < p->reads; i++)
		if (p->read[i].which >= p->first)
			p->read[kept++] = p->read[i];
	p->reads = kept;
}

static void
store(struct place *p, uint64_t value, enum model_order order, bool rmw)
{
	struct model_thread *t = eng->current;
	struct clock release;
	struct stored *s;

	release = (order & MODEL_RELEASE) != 0 ? t->clock : t->fenced;
	/* A read-modify-write continues the release sequence. */
	if (rmw)
		clock_join(&release, &newest(p)->release);
	if (eng->config.stale == 0)
		p->count = 0;
	else if (p->count == MODEL_STORES)
		forget_oldest(p);
	s = &p->stores[p->count++];
	s->value = value;
	s->release = release;
	s->thread = t->id;
	s->at = t->clock.before[t->id];
	clock_tick();
}

static void
learn(const struct stored *s, enum model_order order)
{
	struct model_thread *t = eng->current;

	clock_join((order & MODEL_ACQUIRE) != 0 ? &t->clock : &t->acquired,
	    &s->release);
}

/* ---- older values ---- */

static bool
knows(int thread, uint32_t at)
{
	return eng->current->clock.seen[thread] >= at;
}

/* The oldest value that a load by the current thread may give. */
static int
oldest_allowed(const struct place *p)
{
	int i, oldest = 0;

	for (i = 0; i < p->count; i++)
		if (knows(p->stores[i].thread, p->stores[i].at))
			oldest = i;
	for (i = 0; i < p->reads; i++)
		if (knows(p->read[i].thread, p->read[i].at) &&
		    (int)(p->read[i].which - p->first) > oldest)
			oldest = (int)(p->read[i].which - p->first);
	return oldest;
}

static int
choose_value(struct place *p)
{
	struct model_thread *t = eng->current;
	int last = p->count - 1, oldest, back = 0;

	/* No room to remember the load: it has to be the newest, and so are
	 * all that follow. */
	if (eng->config.stale == 0 || p->reads == MODEL_READS)
		return last;
	oldest = oldest_allowed(p);
	if (oldest < last && eng->stale > 0)
		back = eng_choose(last - oldest + 1);
	eng->stale -= back > 0;
	p->read[p->reads].which = p->first + (uint32_t)(last - back);
	p->read[p->reads].thread = t->id;
	p->read[p->reads++].at = t->clock.before[t->id];
	return last - back;
}

/* ---- operations ---- */

static const char *
order_text(enum model_order order)
{
	static const char *const text[] = {
		"relaxed", "acquire", "release", "acq_rel"
	};

	return text[order];
}

uint64_t
model_load(const void *address, size_t size, enum model_order order)
{
	struct place *p;
	uint64_t value;
	int i;

	/* The machine's own hooks look without a step. */
	if (eng->current == NULL)
		return memory_value(address, size);
	p = step_at(address, size, ACCESS_READ, CALLER);
	i = choose_value(p);
	learn(&p->stores[i], order);
	value = p->stores[i].value;
	eng_happens_read(p, 41 + (uint64_t)(p->count - 1 - i));
	EVENT(address, "loads %s %#llx%s from", order_text(order),
	    (unsigned long long)value, i < p->count - 1 ? " (stale)" : "");
	return value;
}

void
model_store(void *address, size_t size, uint64_t v, enum model_order order)
{
	struct place *p = step_at(address, size, ACCESS_WRITE, CALLER);

	memcpy(address, &v, size);
	store(p, memory_value(address, size), order, false);
	eng_happens_write(p, 42);
	EVENT(address, "stores %s %#llx in", order_text(order),
	    (unsigned long long)memory_value(address, size));
}

static uint64_t
result_of(enum model_rmw op, uint64_t old, uint64_t v)
{
	switch (op) {
	case MODEL_ADD:
		return old + v;
	case MODEL_SUB:
		return old - v;
	case MODEL_OR:
		return old | v;
	case MODEL_AND:
		return old & v;
	case MODEL_EXCHANGE:
		break;
	}
	return v;
}

static const char *
rmw_text(enum model_rmw op)
{
	static const char *const text[] = {
		"adds", "subtracts", "ors", "ands", "exchanges"
	};

	return text[op];
}

uint64_t
model_rmw(void *address, size_t size, enum model_rmw op, uint64_t v,
    enum model_order order)
{
	struct place *p = step_at(address, size, ACCESS_WRITE, CALLER);
	uint64_t old = memory_value(address, size);
	uint64_t new = result_of(op, old, v);

	learn(newest(p), order);
	memcpy(address, &new, size);
	store(p, memory_value(address, size), order, true);
	eng_happens_write(p, 43);
	EVENT(address, "%s %s %#llx, was %#llx, in", rmw_text(op),
	    order_text(order), (unsigned long long)v,
	    (unsigned long long)old);
	return old;
}

bool
model_cas(void *address, void *expected, size_t size, uint64_t v,
    enum model_order order)
{
	struct place *p = step_at(address, size, ACCESS_WRITE, CALLER);
	uint64_t old = memory_value(address, size);

	learn(newest(p), order);
	if (old != memory_value(expected, size)) {
		memcpy(expected, &old, size);
		eng_happens_read(p, 44);
		EVENT(address, "compares in vain, %#llx is in",
		    (unsigned long long)old);
		return false;
	}
	memcpy(address, &v, size);
	store(p, memory_value(address, size), order, true);
	eng_happens_write(p, 45);
	EVENT(address, "replaces %s %#llx by %#llx in", order_text(order),
	    (unsigned long long)old,
	    (unsigned long long)memory_value(address, size));
	return true;
}

void
model_fence(void)
{
	struct model_thread *t = eng->current;
	int i;

	eng_point();
	clock_join(&t->clock, &t->acquired);
	/* Fences see what was visible at the fences before them.  That makes
	 * stores visible and orders no plain access. */
	for (i = 0; i < MODEL_THREADS; i++) {
		if (t->clock.seen[i] < eng->fences.seen[i])
			t->clock.seen[i] = eng->fences.seen[i];
		if (eng->fences.seen[i] < t->clock.seen[i])
			eng->fences.seen[i] = t->clock.seen[i];
	}
	t->fenced = t->clock;
	clock_tick();
	eng_happens_write(eng_place(&eng->fences), 46);
	EVENT(NULL, "fence");
}
