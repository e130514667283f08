/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "sched/deque.h"

#define AHEAD	16	/* jobs that who walks a chain asks for in advance */

#define LINK(job)	(&(job)->link)
#define JOB(l)		NUR_CONTAINER(l, struct nur_job, link)

void
nur_deque_init(struct nur_deque *d)
{
	nur_mutex_init(&d->lock, NUR_RANK_DEQUE);
}

static struct nur_job *
slot(struct nur_deque *d, uint32_t i)
{
	return nur_load_relaxed(&d->slot[i % NUR_DEQUE_ROOM]);
}

static void
count_chains_locked(struct nur_deque *d, int change)
{
	/* Release: pairs with nur_deque_length(). */
	nur_store_release(&d->chains, nur_load_relaxed(&d->chains) +
	    (uint32_t)change);
}

static void
add_chain_locked(struct nur_deque *d, struct nur_link *first)
{
	first->prev = d->chain;
	d->chain = first;
	count_chains_locked(d, 1);
}

/* The newest, or NULL; it is counted still. */
static struct nur_link *
unlink_chain_locked(struct nur_deque *d)
{
	struct nur_link *first = d->chain;

	if (first != NULL)
		d->chain = first->prev;
	return first;
}

static struct nur_link *
take_chain_locked(struct nur_deque *d)
{
	struct nur_link *first = unlink_chain_locked(d);

	if (first != NULL)
		count_chains_locked(d, -1);
	return first;
}

/* What is in slots [from, to), oldest first.  Each but the first has the one
 * further on, too: who unpacks them has not had them in its cache. */
static struct nur_link *
link_up(struct nur_deque *d, uint32_t from, uint32_t to)
{
	struct nur_link *first = NULL;
	uint32_t end = to;

	while (to != from) {
		LINK(slot(d, --to))->next = first;
		first = LINK(slot(d, to));
		first->prev = end - to > AHEAD ? LINK(slot(d, to + AHEAD)) :
		    NULL;
	}
	return first;
}

static unsigned
push_chain(struct nur_deque *to, struct nur_link *l)
{
	struct nur_link *next;
	unsigned count;

	for (count = 0; l != NULL; l = next, count++) {
		next = l->next;
		__builtin_prefetch(l->prev, 1);
		nur_deque_push(to, JOB(l));
	}
	return count;
}

/* With the lock nobody else moves `top`. */
static void
pass_locked(struct nur_deque *d, uint32_t top)
{
	/* Release, twice: the jobs that are left have been looked at, and
	 * the slots read; pair with the owner's acquires in nur_deque_pop()
	 * and nur_deque_make_room(). */
	nur_store_release(&d->top, top);
	nur_store_release(&d->freed, top);
}

/* ---- the owner ---- */

/* D4 */
static void
spill(struct nur_deque *d)
{
	uint32_t top;

	nur_lock(&d->lock);
	top = nur_load_relaxed(&d->top);
	if (nur_load_relaxed(&d->bottom) - top >= NUR_DEQUE_ROOM / 2) {
		add_chain_locked(d, link_up(d, top, top +
		    NUR_DEQUE_ROOM / 2));
		pass_locked(d, top + NUR_DEQUE_ROOM / 2);
	}
	d->freed_seen = nur_load_relaxed(&d->freed);
	nur_unlock(&d->lock);
}

void
nur_deque_make_room(struct nur_deque *d)
{
	/* Acquire: D3; pairs with the release in pass_locked(). */
	d->freed_seen = nur_load_acquire(&d->freed);
	if (nur_load_relaxed(&d->bottom) - d->freed_seen >= NUR_DEQUE_ROOM)
		spill(d);
}

/* D5: counted until its jobs are in the slots. */
static void
unpack(struct nur_deque *d, struct nur_link *first)
{
	(void)push_chain(d, first);
	nur_lock(&d->lock);
	count_chains_locked(d, -1);
	nur_unlock(&d->lock);
}

struct nur_job *
nur_deque_pop_slowly(struct nur_deque *d)
{
	struct nur_link *chain = NULL;
	struct nur_job *job = NULL;
	uint32_t b;

	nur_lock(&d->lock);
	b = nur_load_relaxed(&d->bottom);
	if (b != nur_load_relaxed(&d->top)) {
		job = slot(d, b - 1);
		nur_store_release(&d->bottom, b - 1);
	} else {
		chain = unlink_chain_locked(d);
	}
	nur_unlock(&d->lock);
	if (chain == NULL)
		return job;
	unpack(d, chain->next);
	return JOB(chain);
}

void
nur_deque_hand_over(struct nur_deque *d, struct nur_deque *to)
{
	uint32_t top;

	nur_lock(&d->lock);
	top = nur_load_relaxed(&d->top);
	if (top != nur_load_relaxed(&d->bottom)) {
		nur_deque_push(to, slot(d, top));
		pass_locked(d, top + 1);
	}
	nur_unlock(&d->lock);
}

bool
nur_deque_move_all(struct nur_deque *d, struct nur_deque *to)
{
	struct nur_link *chain, *chains;
	uint32_t top, bottom;
	bool any;

	nur_lock(&d->lock);
	top = nur_load_relaxed(&d->top);
	bottom = nur_load_relaxed(&d->bottom);
	if (top != bottom)
		add_chain_locked(d, link_up(d, top, bottom));
	pass_locked(d, bottom);
	chains = d->chain;
	d->chain = NULL;
	nur_store_relaxed(&d->chains, 0);
	nur_unlock(&d->lock);
	any = chains != NULL;
	nur_lock(&to->lock);
	while ((chain = chains) != NULL) {
		chains = chain->prev;
		add_chain_locked(to, chain);
	}
	nur_unlock(&to->lock);
	return any;
}

void
nur_deque_forget(struct nur_deque *d)
{
	nur_deque_init(d);
	nur_store_relaxed(&d->bottom, 0);
	nur_store_relaxed(&d->top, 0);
	nur_store_relaxed(&d->freed, 0);
	nur_store_relaxed(&d->chains, 0);
	d->freed_seen = 0;
	d->chain = NULL;
}

/* ---- anybody ---- */

void
nur_deque_give(struct nur_deque *d, struct nur_job *job)
{
	LINK(job)->next = NULL;
	nur_lock(&d->lock);
	add_chain_locked(d, LINK(job));
	nur_unlock(&d->lock);
}

/* D2: where the slots end that are the thief's, from `top` on. */
static uint32_t
claim_locked(struct nur_deque *d, uint32_t top, uint32_t most)
{
	/* Acquire: sees the jobs; pairs with the release in push. */
	int32_t count = (int32_t)(nur_load_acquire(&d->bottom) - top);
	uint32_t end;

	if (count <= 0)
		return top;
	end = ((uint32_t)count + 1) / 2;
	end = top + (end < most ? end : most);
	nur_store_relaxed(&d->top, end);
	nur_heavy_barrier();
	count = (int32_t)(nur_load_acquire(&d->bottom) - top);
	if (count < 0)
		count = 0;
	return (int32_t)(end - top) > count ? top + (uint32_t)count : end;
}

/* How many the owner can push without a lock. */
static uint32_t
room(struct nur_deque *to)
{
	uint32_t b = nur_load_relaxed(&to->bottom);

	if (b - to->freed_seen >= NUR_DEQUE_ROOM)
		nur_deque_make_room(to);
	return NUR_DEQUE_ROOM - (b - to->freed_seen);
}

/* The oldest comes last, so that the thief begins with it: in a tree it is the
 * largest, and would otherwise be stolen to and fro until nothing else is
 * left. */
static unsigned
take_slots_locked(struct nur_deque *d, struct nur_deque *to, uint32_t most,
    nur_fits_fn *fits, const void *arg)
{
	uint32_t top = nur_load_relaxed(&d->top), end, i = top;
	struct nur_job *oldest = NULL, *job;

	end = claim_locked(d, top, most);
	for (; i != end; i++) {
		job = slot(d, i);
		if (oldest == NULL)
			oldest = job;
		if (job->nursery != oldest->nursery || (fits != NULL && !fits(
		    job, arg)))
			break;
		if (job != oldest)
			nur_deque_push(to, job);
	}
	if (i != top)
		nur_deque_push(to, oldest);
	pass_locked(d, i);
	return i - top;
}

unsigned
nur_deque_steal(struct nur_deque *d, struct nur_deque *to, nur_fits_fn *fits,
    const void *arg)
{
	struct nur_link *chain = NULL;
	uint32_t most = room(to);	/* one lock at a time */
	unsigned count = 0;

	if (!nur_trylock(&d->lock))
		return 0;
	if (d->chain != NULL && (fits == NULL || fits(JOB(d->chain), arg)))
		chain = take_chain_locked(d);
	else if (d->chain == NULL || fits != NULL)
		count = take_slots_locked(d, to, most, fits, arg);
	nur_unlock(&d->lock);
	return chain != NULL ? push_chain(to, chain) : count;
}
