/* SPDX-License-Identifier: MIT */
/*
 * Looking at what threads have open and run, which they change without a lock.
 *
 * O1  A look sets `nur_looked_at`, passes the heavy barrier, and waits until no
 *     thread's list of open nurseries is being changed (nest_seq is odd then).
 *     What it sees stays until it ends.
 * O2  Who changes his list makes nest_seq odd before, and who has taken a light
 *     task out of what he runs lets it go after that; in between he passes the
 *     light barrier, and if there is a look he waits for its end: before the
 *     change, or before the task's memory goes.  So the look sees the task no
 *     more, or the memory stays.
 * O3  What begins during a look may be seen or not.
 */
#include "config.h"

#include "scope/look.h"

#include "base/sys.h"
#include "scope/nest.h"

uint32_t nur_looked_at;

/* ---- when ---- */

static void
await_change(const struct nur_thr *thr, void *unused)
{
	(void)unused;
	/* Acquire: pairs with end_change() in nest.c. */
	while (nur_load_acquire(&thr->nest_seq) % 2 != 0)
		nur_cpu_relax();
}

void
nur_look_begins(void)
{
	/* Relaxed: the barrier orders it. */
	nur_store_relaxed(&nur_looked_at, 1);
	nur_heavy_barrier();
	nur_thr_each(await_change, NULL);
}

void
nur_look_ends(void)
{
	/* Release: pairs with nur_look_goes_on(). */
	nur_store_release(&nur_looked_at, 0);
}

void
nur_look_await(void)
{
	nur_lock(&nur_registry_lock);
	nur_unlock(&nur_registry_lock);
}

/* ---- private nurseries ---- */

struct walk {
	void (*fn)(const struct nur_private *p, void *arg);
	void *arg;
};

static void
look_at(const struct nur_thr *thr, void *walk)
{
	const struct walk *w = walk;
	struct nur_private p;
	const struct nur_link *l;
	const struct nursery *n;

	for (l = thr->opened.prev; l != &thr->opened; l = l->prev) {
		p.nursery = NUR_CONTAINER(l, const struct nursery, opened);
		p.around = nur_nest_around(p.nursery);
		if (p.around == p.nursery)
			continue;
		p.depth = 0;
		for (n = p.nursery; n != p.around; n = n->parent)
			p.depth++;
		p.tasks = nur_load_relaxed(&p.nursery->mine.spawned) -
		    nur_load_relaxed(&p.nursery->mine.ended);
		w->fn(&p, w->arg);
	}
}

void
nur_look_at_private(void (*fn)(const struct nur_private *p, void *arg),
    void *arg)
{
	struct walk w = { fn, arg };

	nur_thr_each(look_at, &w);
}

struct list {
	struct nur_private *first, *next;
};

static void
count(const struct nur_private *p, void *number)
{
	(void)p;
	++*(size_t *)number;
}

/* From the end: so the oldest comes first. */
static void
keep(const struct nur_private *p, void *arg)
{
	struct list *list = arg;

	if (list->next != list->first)
		*--list->next = *p;
}

struct nur_private *
nur_look_private(size_t *out_count)
{
	struct list list;
	size_t number = 0;

	nur_look_at_private(count, &number);
	*out_count = 0;
	list.first = number == 0 ? NULL : nur_alloc(number *
	    sizeof *list.first);
	if (list.first == NULL)
		return NULL;
	list.next = list.first + number;
	nur_look_at_private(keep, &list);
	*out_count = number;
	return list.first;
}
