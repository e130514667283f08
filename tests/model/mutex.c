/* SPDX-License-Identifier: MIT */
/*
 * Mutex, futex, and the beginning and joining of threads.
 *
 * Taking a mutex is a step; letting it go is not, since what its owner does
 * next is one.  A futex wake-up orders nothing in memory, as in the kernel's
 * contract: who is woken has to load what it waits for.
 */
#include "config.h"

#include "engine.h"

#include <errno.h>

/* ---- mutex ---- */

static struct place *
usable_mutex(const void *m, const char *what)
{
	struct place *p = eng_place(m);

	if (p->destroyed)
		model_fail("%s of a destroyed mutex, %s", what,
		    eng_address_text(m));
	return p;
}

void
model_mutex_init(const void *m)
{
	struct place *p = eng_place(m);

	if (p->owner != 0)
		model_fail("a mutex is initialised while thread %d holds it",
		    p->owner - 1);
	p->destroyed = false;
	memset(&p->released, 0, sizeof p->released);
	eng_happens_write(p, 51);
}

void
model_mutex_fini(const void *m)
{
	struct place *p;

	eng_point();
	p = usable_mutex(m, "destruction");
	EVENT(m, "destroys mutex");
	if (p->owner != 0)
		model_fail("a mutex is destroyed while thread %d holds it",
		    p->owner - 1);
	p->destroyed = true;
	eng_happens_write(p, 52);
}

static void
own(struct place *p)
{
	struct model_thread *t = eng->current;

	p->owner = t->id + 1;
	t->locks++;
	clock_join(&t->clock, &p->released);
	eng_happens_write(p, 53);
}

void
model_mutex_lock(const void *m)
{
	struct place *p = usable_mutex(m, "lock");

	if (p->owner == eng->current->id + 1)
		model_fail("thread %d locks a mutex that it holds, %s",
		    eng->current->id, eng_address_text(m));
	eng_block(WANTS_LOCK, m, INT64_MAX);
	p = usable_mutex(m, "lock");
	eng_access(m, sizeof(nur_raw_mutex), ACCESS_WRITE | ACCESS_ATOMIC,
	    CALLER);
	own(p);
	EVENT(m, "locks");
}

bool
model_mutex_trylock(const void *m)
{
	struct place *p;

	eng_point();
	p = usable_mutex(m, "lock");
	eng_access(m, sizeof(nur_raw_mutex), ACCESS_WRITE | ACCESS_ATOMIC,
	    CALLER);
	if (p->owner != 0) {
		EVENT(m, "tries to lock, in vain,");
		eng_happens_read(p, 54);
		return false;
	}
	own(p);
	EVENT(m, "locks");
	return true;
}

void
model_mutex_unlock(const void *m)
{
	struct place *p = usable_mutex(m, "unlock");
	struct model_thread *t = eng->current;

	eng_access(m, sizeof(nur_raw_mutex), ACCESS_WRITE | ACCESS_ATOMIC,
	    CALLER);
	if (p->owner != t->id + 1)
		model_fail("thread %d unlocks a mutex that it does not hold, "
		    "%s", t->id, eng_address_text(m));
	p->owner = 0;
	t->locks--;
	p->released = t->clock;
	eng_happens_write(p, 55);
	clock_tick();
	EVENT(m, "unlocks");
}

bool
model_mutex_contended(const void *m)
{
	int i, waiting = 0;

	eng_point();
	for (i = 0; i < eng->threads; i++)
		waiting += eng->thread[i].state == WANTS_LOCK &&
		    eng->thread[i].object == m;
	eng_happens_read(eng_place(m), 56 + (uint64_t)(waiting > 0));
	EVENT(m, "asks whether somebody waits for");
	return waiting > 0;
}

void
model_mutex_yield(const void *m)
{
	model_mutex_unlock(m);
	/* That another one comes now is no preemption: it was asked to. */
	eng_block(OFFERS, NULL, INT64_MAX);
	model_mutex_lock(m);
}

/* ---- futex ---- */

int
model_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline)
{
	struct model_thread *t = eng->current;
	uint32_t value;

	eng_point();
	eng_access(word, sizeof *word, ACCESS_ATOMIC, CALLER);
	eng_happens_read(eng_place(word), 61);
	/* The kernel looks at the newest value. */
	memcpy(&value, word, sizeof value);
	if (value != expected) {
		EVENT(word, "does not sleep: %u, not %u, in", value, expected);
		return EAGAIN;
	}
	if (deadline <= model_now()) {
		EVENT(word, "does not sleep: too late, at");
		return ETIMEDOUT;
	}
	EVENT(word, "sleeps while %u is in", expected);
	eng_block(SLEEPS, word, deadline);
	EVENT(word, "wakes%s at", t->outcome == ETIMEDOUT ? " (deadline)" :
	    "");
	return t->outcome;
}

static int
sleepers_at(const uint32_t *word, struct model_thread **list)
{
	int i, n = 0;

	for (i = 0; i < eng->threads; i++)
		if (eng->thread[i].state == SLEEPS &&
		    eng->thread[i].object == word)
			list[n++] = &eng->thread[i];
	return n;
}

void
model_futex_wake(const uint32_t *word, int count)
{
	struct model_thread *list[MODEL_THREADS];
	struct place *p;
	int n, woken, c;

	eng_point();
	/* The word may be gone by now: a wake-up only names an address. */
	p = eng_place(word);
	eng_happens_write(p, 62);
	n = sleepers_at(word, list);
	EVENT(word, "wakes %d of %d at", count < n ? count : n, n);
	for (woken = 0; n > 0 && woken < count; woken++) {
		/* Any of them: nobody may rely on an order. */
		c = count - woken < n ? eng_choose(n) : 0;
		p->history = eng_mix(p->history, (uint64_t)c);
		eng_wake(list[c], p);
		list[c] = list[--n];
	}
}

/* One who sleeps at `word` sleeps on at `at`. */
void
model_futex_requeue(const uint32_t *word, const uint32_t *at)
{
	struct model_thread *list[MODEL_THREADS];
	struct place *p;
	int n, c;

	eng_point();
	p = eng_place(word);
	eng_happens_write(p, 63);
	eng_happens_write(eng_place(at), 64);
	n = sleepers_at(word, list);
	EVENT(word, "moves %d of %d sleepers at", n > 0, n);
	if (n == 0)
		return;
	c = n > 1 ? eng_choose(n) : 0;
	list[c]->object = at;
	list[c]->history = eng_mix(list[c]->history, p->history);
}

/* ---- threads ---- */

struct model_thread *
model_start(void (*fn)(void *), void *arg)
{
	struct model_thread *t;

	eng_point();
	t = eng_thread_new(fn, arg);
	clock_tick();
	EVENT(NULL, "starts thread %d", t->id);
	return t;
}

void
model_detach(struct model_thread *t)
{
	t->detached = true;
}

void
model_join(struct model_thread *t)
{
	struct model_thread *me = eng->current;

	if (t->joined || t->detached)
		model_fail("thread %d is joined twice", t->id);
	t->joined = true;
	me->target = t;
	eng_block(JOINS, NULL, INT64_MAX);
	me->history = eng_mix(me->history, t->history);
	clock_join(&me->clock, &t->clock);
	EVENT(NULL, "joins thread %d", t->id);
}

/* ---- what stands outside ---- */

int
model_outside(const char *what)
{
	model_fail("%s is outside the model", what);
}

bool
model_fault(void)
{
	if (eng->faults == 0 || eng->current == NULL || eng->ending_phase)
		return false;
	if (!eng_choose_rare())
		return false;
	eng->faults--;
	eng->current->history = eng_mix(eng->current->history, 13);
	EVENT(NULL, "is refused memory or a thread");
	return true;
}

bool
model_refused(void)
{
	return eng->faults < eng->config.faults;
}
