/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "sched/lane.h"

#include "base/cpus.h"
#include "base/sys.h"
#include "sched/monitor.h"
#include "token/vacant.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_FOR	INT64_C(10000000000)	/* then a worker leaves */
#define MOST_WORKERS	4096

/* How often a searcher looks, some microseconds apart: a while, and longer
 * as long as others push. */
#ifndef NUR_SEARCHES		/* the model build has fewer */
#define NUR_SEARCHES	16
#define NUR_MOST_SEARCHES	512
#endif

#define MAPPED		8	/* queues at once */

#ifndef NUR_KEPT_WORKERS	/* in the model, all threads have an end */
#define NUR_KEPT_WORKERS	1
#endif

uint32_t nur_lane_call, nur_lane_surplus;
void (*nur_lane_run)(struct nur_thr *self);

struct nur_mutex nur_lane_lock = NUR_MUTEX_INIT(NUR_RANK_LANE);
/* under nur_lane_lock */
static unsigned places;		/* 0: not known yet; read without, too */
static unsigned beyond;		/* as many more: sched/monitor.c */
static unsigned active;		/* that hold one; the searcher, too */
static unsigned workers, parked_count;
static unsigned queues, claims;	/* L9 */
static struct nur_deque *unused, *fresh;	/* of no thread; not listed */
static bool searching;		/* somebody, L2 */
static bool lacks_thread;	/* none was to be had: do not try at once */
static uint32_t begins;		/* atomic: the first worker is being started */
static struct nur_link parked = { &parked, &parked };
/* Of threads and, first of all, of none; linked for ever, to be read without
 * the lock. */
static struct nur_deque nobodys = { .lock = NUR_MUTEX_INIT(NUR_RANK_DEQUE) };
static struct nur_deque *first_deque = &nobodys;	/* atomic */

/* ---- places: L1, L2 ---- */

static void
places_changed_locked(void)
{
	/* Relaxed: the barriers of L3 order it. */
	nur_store_relaxed(&nur_lane_call, active < places + beyond &&
	    !searching && !lacks_thread);
	nur_store_relaxed(&nur_lane_surplus, active > places + beyond);
	nur_monitor_watch(active >= places && !searching);
}

static unsigned
wanted_workers(void)
{
	const char *value = nur_getenv("NURSERY_WORKERS");
	unsigned long n;
	char *end;

	if (value == NULL)
		return nur_usable_cpus();
	n = strtoul(value, &end, 10);
	if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && n >= 1 &&
	    n <= MOST_WORKERS)
		return (unsigned)n;
	nur_bad_env("NURSERY_WORKERS", value, "a number from 1 to 4096");
	return nur_usable_cpus();
}

unsigned
nur_lane_places(void)
{
	/* Relaxed: who asks has begun, and it does not change after that. */
	return nur_load_relaxed(&places);
}

/* ---- queues ---- */

/* One that is in no list yet; a few are mapped together, as that costs as much
 * as the first use of one. */
static struct nur_deque *
new_deque_locked(void)
{
	static struct nur_deque *next, *end;
	size_t size = 64;

	if (next == end) {
		while (size < MAPPED * sizeof *next)
			size *= 2;
		next = nur_map_aligned(size);
		end = next == NULL ? NULL : next + MAPPED;
	}
	if (next == NULL)
		return NULL;
	nur_deque_init(next);
	return next++;
}

static bool
claim_locked(void)
{
	struct nur_deque *d;

	if (claims == queues) {
		d = new_deque_locked();
		if (d == NULL)
			return false;
		d->below = fresh;
		fresh = d;
		queues++;
	}
	claims++;
	return true;
}

static void
list_locked(struct nur_deque *d)
{
	d->listed = true;
	d->next = nur_load_relaxed(&first_deque);
	/* Release: who finds it in the list finds it made. */
	nur_store_release(&first_deque, d);
}

/* For one who has claimed one, and has none. */
static void
take_queue_locked(struct nur_thr *thr)
{
	struct nur_deque **from = unused != NULL ? &unused : &fresh;
	struct nur_deque *d = *from;

	*from = d->below;
	if (!d->listed)
		list_locked(d);
	nur_store_relaxed(&d->works, thr->works);
	thr->deque = d;
}

static void
leave_queue_locked(struct nur_thr *thr)
{
	struct nur_deque *d = thr->deque;

	thr->deque = NULL;
	nur_store_relaxed(&d->works, false);
	d->below = unused;
	unused = d;
}

struct nur_deque *
nur_lane_attach(struct nur_thr *self)
{
	if (self->deque != NULL)
		return self->deque;
	nur_lock(&nur_lane_lock);
	if (!self->claims)
		self->claims = claim_locked();
	if (self->claims)
		take_queue_locked(self);
	nur_unlock(&nur_lane_lock);
	return self->deque;
}

void
nur_lane_detach(struct nur_thr *self)
{
	if (!self->claims)
		return;
	if (self->deque != NULL && nur_deque_move_all(self->deque, &nobodys))
		nur_lane_pushed(NULL);
	nur_lock(&nur_lane_lock);
	if (self->deque != NULL)
		leave_queue_locked(self);
	claims--;
	self->claims = false;
	nur_unlock(&nur_lane_lock);
}

void
nur_lane_give(struct nur_job *job)
{
	nur_deque_give(&nobodys, job);
}

/* The first queue that has something, or NULL. */
static struct nur_deque *
with_work(void)
{
	/* Acquire: pairs with the release in list_locked(). */
	struct nur_deque *d = nur_load_acquire(&first_deque);

	while (d != NULL && nur_deque_length(d) == 0)
		d = d->next;
	return d;
}

bool
nur_lane_has_work(void)
{
	return with_work() != NULL;
}

/* Who holds the lock of a queue that has something may not be running: until
 * he is through, a thief would look in vain. */
static bool
await_work(void)
{
	struct nur_deque *d = with_work();

	if (d == NULL)
		return false;
	nur_lock(&d->lock);
	nur_unlock(&d->lock);
	return true;
}

/* The queues in turn, each thief beginning behind its own. */
static struct nur_deque *
after(struct nur_deque *d)
{
	return d->next != NULL ? d->next : nur_load_acquire(&first_deque);
}

/* L8: somebody is called if jobs lie there but for those that the caller, who
 * has moved some, takes next. */
static void
moved(struct nur_thr *self, uint32_t next)
{
	/* Acquire: as in with_work(). */
	struct nur_deque *d = nur_load_acquire(&first_deque);

	while (d != NULL && nur_deque_length(d) <= (d == self->deque ? next :
	    0))
		d = d->next;
	if (d != NULL)
		nur_lane_pushed(self);
}

/* Whether the worker that has d, the i-th queue, is at it. */
static bool
moves(const struct nur_deque *d, struct nur_lane_seen *seen, unsigned i)
{
	uint32_t now = nur_deque_moves(d), *before;

	if (seen == NULL || !nur_load_relaxed(&d->works))
		return false;
	before = &seen->moves[i % NUR_LANE_SEEN];
	if (*before == now)
		return false;
	*before = now;
	return true;
}

bool
nur_lane_steal(struct nur_thr *self, nur_fits_fn *fits, const void *arg,
    struct nur_lane_seen *seen)
{
	bool tried = false, stolen = false;
	struct nur_deque *d;
	unsigned i = 0;

	for (d = after(self->deque); d != self->deque && !stolen;
	    d = after(d)) {
		if (moves(d, seen, i++) || nur_deque_length(d) == 0)
			continue;
		stolen = nur_deque_steal(d, self->deque, fits, arg) > 0;
		tried = true;
	}
	if (tried)
		moved(self, stolen);
	return stolen;
}

/* ---- L6 ---- */

/* Each worker goes on where it stopped, so that nobody's turn is missed. */
static bool
steal_from_outside(struct nur_thr *self)
{
	struct nur_deque *first = self->polled != NULL ? self->polled :
	    &nobodys, *d = first;

	do {
		d = after(d);
		if (nur_load_relaxed(&d->works) || nur_deque_length(d) == 0)
			continue;
		self->polled = d;
		return nur_deque_steal(d, self->deque, NULL, NULL) > 0;
	} while (d != first);
	return false;
}

void
nur_lane_poll(struct nur_thr *self)
{
	bool stolen = false;

	if (nur_load_relaxed(&nobodys.chains) != 0)
		stolen = nur_deque_steal(&nobodys, self->deque, NULL, NULL) >
		    0;
	if (self->jobs % NUR_POLL_ALL == 0 && steal_from_outside(self))
		stolen = true;
	if (stolen)
		moved(self, 1);
}

/* ---- searching ---- */

/* L5.  Only the searcher is here. */
static bool
worth_it(struct nur_deque *d, bool called)
{
	uint32_t length = nur_deque_length(d), pushes;

	if (length != 1 || called)
		return length > 0;
	pushes = nur_load_relaxed(&d->pushes);
	if (d->pushes_seen == pushes)
		return true;
	d->pushes_seen = pushes;
	return false;
}

/* One look at all; *pushes: what has been pushed in all. */
static bool
look(struct nur_thr *self, bool called, uint32_t *pushes)
{
	struct nur_deque *d = self->deque;

	*pushes = 0;
	do {
		d = after(d);
		*pushes += nur_load_relaxed(&d->pushes);
		if (!worth_it(d, called))
			continue;
		/* What a thief had in its hands may be back in one's own. */
		if (d == self->deque || nur_deque_steal(d, self->deque, NULL,
		    NULL) > 0)
			return true;
	} while (d != self->deque);
	return false;
}

/* Called: somebody has just pushed. */
static bool
search(struct nur_thr *self, bool called)
{
	uint32_t before = 0, pushes;
	int left = nur_lane_places() > 1 ? NUR_SEARCHES : 0, most;

	for (most = NUR_MOST_SEARCHES; ; most--, left--) {
		if (look(self, called, &pushes))
			return true;
		called = false;
		if (pushes != before && left > 0)
			left = NUR_SEARCHES;
		before = pushes;
		if (left <= 0 || most <= 0)
			return false;
		nur_cpu_rest();
	}
}

/* ---- calling ---- */

static int start_worker(struct nur_thr *giver);

/* L3: it is called if there is something; after nur_lane_call was set. */
static void
call_if_needed(void)
{
	nur_heavy_barrier();
	if (nur_load_relaxed(&nur_lane_call) != 0 && nur_lane_has_work())
		nur_lane_answer(NULL);
}

static struct nur_thr *
pop_parked_locked(void)
{
	struct nur_link *l = parked.prev;

	if (l == &parked)
		return NULL;
	nur_list_remove(l);
	parked_count--;
	return NUR_CONTAINER(l, struct nur_thr, idle);
}

/* L7, L9: one who does not run yet gets a queue, and need not search if there
 * is a giver; a thief may have been faster. */
static void
equip_locked(struct nur_thr *to, struct nur_thr *giver)
{
	to->given = giver != NULL;
	if (giver != NULL && giver->works) {
		to->deque = giver->deque;
		giver->deque = NULL;
		return;
	}
	take_queue_locked(to);
	if (giver != NULL)
		nur_deque_hand_over(giver->deque, to->deque);
}

/* One of no place who has this job only. */
static bool
gives_its_job(struct nur_thr *self)
{
	return self != NULL && self->deque != NULL && !self->works &&
	    nur_deque_length(self->deque) == 1;
}

/* A worker for a place that is counted as taken already: it gets the giver's
 * jobs, or searches.  Unlocks. */
static void
call_and_unlock(struct nur_thr *giver)
{
	struct nur_thr *thr = pop_parked_locked();

	if (giver == NULL)
		searching = true;
	places_changed_locked();
	if (thr != NULL) {
		equip_locked(thr, giver);
		/* Release: publishes `given` and the queue; pairs with
		 * await_call(). */
		nur_store_release(&thr->called, true);
	}
	nur_unlock(&nur_lane_lock);
	if (thr != NULL)
		nur_unpark(thr);
	else
		(void)start_worker(giver);
}

void
nur_lane_answer(struct nur_thr *self)
{
	nur_lock(&nur_lane_lock);
	if (nur_load_relaxed(&nur_lane_call) == 0) {
		nur_unlock(&nur_lane_lock);
		return;
	}
	active++;
	call_and_unlock(gives_its_job(self) ? self : NULL);
}

/* The searcher has something now: L4. */
static void
found(void)
{
	bool more;

	nur_lock(&nur_lane_lock);
	searching = false;
	places_changed_locked();
	more = nur_load_relaxed(&nur_lane_call) != 0;
	nur_unlock(&nur_lane_lock);
	if (more)
		call_if_needed();
}

/* ---- sleeping ---- */

/* In the list from now on, without a place; the monitor may have taken it
 * already.  True: that has set nur_lane_call. */
static bool
park_begins(struct nur_thr *self, bool searched)
{
	bool sets;

	nur_lock(&nur_lane_lock);
	sets = nur_load_relaxed(&nur_lane_call) == 0;
	active -= self->place;
	nur_store_relaxed(&self->place, false);
	nur_store_relaxed(&self->called, false);
	leave_queue_locked(self);
	if (searched)
		searching = false;
	lacks_thread = false;
	nur_list_append(&parked, &self->idle);
	parked_count++;
	places_changed_locked();
	sets = sets && nur_load_relaxed(&nur_lane_call) != 0;
	nur_unlock(&nur_lane_lock);
	return sets;
}

/* L3: the one who is about to sleep looks again; true: he calls himself.  If
 * he was given something meanwhile, another one is called for what lies. */
static bool
called_after_all(struct nur_thr *self)
{
	bool call, called;

	nur_heavy_barrier();
	if (!await_work())
		return false;
	nur_lock(&nur_lane_lock);
	call = nur_load_relaxed(&nur_lane_call) != 0;
	called = call && !self->called;
	if (called) {
		nur_list_remove(&self->idle);
		parked_count--;
		nur_store_relaxed(&self->called, true);
		take_queue_locked(self);
		active++;
		searching = true;
		places_changed_locked();
	}
	nur_unlock(&nur_lane_lock);
	if (call && !called)
		nur_lane_answer(NULL);
	return called;
}

/* True: this thread is to go, and is not in the list any more.  The last one
 * stays, so that there always is one. */
static bool
retires(struct nur_thr *self)
{
	bool goes;

	nur_lock(&nur_lane_lock);
	goes = !self->called && workers > NUR_KEPT_WORKERS;
	if (goes) {
		nur_list_remove(&self->idle);
		parked_count--;
		workers--;
	}
	nur_unlock(&nur_lane_lock);
	return goes;
}

/* False: it has idled long enough, and is not in the list any more. */
static bool
await_call(struct nur_thr *self, int64_t until)
{
	/* Acquire: pairs with call_and_unlock().  Not every wake-up is a
	 * call. */
	while (!nur_load_acquire(&self->called)) {
		if (nur_park(self, until) != ETIMEDOUT)
			continue;
		if (retires(self))
			return false;
		until = NURSERY_NEVER;
	}
	return true;
}

/* Sleeps until called: then it has a place, and is the searcher unless it was
 * given something.  False: it has idled long enough. */
static bool
sleep_till_called(struct nur_thr *self, bool searched)
{
	int64_t until = nur_now() + IDLE_FOR;

	if (!park_begins(self, searched) || !called_after_all(self)) {
		nur_vacant_release(self, NULL);
		if (!await_call(self, until))
			return false;
	}
	nur_store_relaxed(&self->place, true);
	return true;
}

/* True: this one searches now. */
static bool
may_search(void)
{
	bool may;

	nur_lock(&nur_lane_lock);
	may = !searching && active <= places + beyond;
	if (may) {
		searching = true;
		places_changed_locked();
	}
	nur_unlock(&nur_lane_lock);
	return may;
}

/* ---- the worker ---- */

static void
worker_main(void *arg)
{
	struct nur_thr *self = arg;
	bool told = nur_thr_become(self), searches = !self->given, called = true;

	nur_store_relaxed(&self->place, true);
	for (;;) {
		if (searches ? search(self, called) : self->given) {
			if (searches)
				found();
			self->given = false;
			nur_lane_run(self);
			searches = may_search();
			called = false;
			continue;
		}
		if (!sleep_till_called(self, searches))
			break;
		searches = !self->given;
		called = true;
	}
	if (!told)
		nur_thr_ends(self);
}

NUR_THREAD(worker, worker_main)

static struct nur_thr *
new_worker(struct nur_thr *giver)
{
	struct nur_thr *thr = nur_thr_new();

	if (thr == NULL)
		return NULL;
	thr->stack_size = NUR_LANE_STACK;
	thr->works = true;
	nur_lock(&nur_lane_lock);
	thr->claims = claim_locked();
	if (thr->claims)
		equip_locked(thr, giver);
	nur_unlock(&nur_lane_lock);
	if (thr->claims)
		return thr;
	nur_thr_free(thr);
	return NULL;
}

/* Nobody could be called: when the next place is left, it is tried again. */
static void
uncall(bool to_search)
{
	nur_lock(&nur_lane_lock);
	active--;
	workers--;
	if (to_search)
		searching = false;
	lacks_thread = true;
	places_changed_locked();
	nur_unlock(&nur_lane_lock);
}

static int
start_counted(struct nur_thr *giver)
{
	struct nur_thr *thr = new_worker(giver);
	int rc = EAGAIN;

	if (thr != NULL) {
		rc = nur_thread_start(worker, thr, NUR_LANE_STACK);
		if (rc == 0)
			return 0;
		nur_lane_detach(thr);
		nur_thr_free(thr);
	}
	uncall(giver == NULL);
	return rc;
}

static int
start_worker(struct nur_thr *giver)
{
	nur_lock(&nur_lane_lock);
	workers++;
	nur_unlock(&nur_lane_lock);
	return start_counted(giver);
}

/* Whether there will be a worker is known when that is over. */
static void
await_first_locked(void)
{
	while (nur_load_relaxed(&begins) != 0) {
		nur_unlock(&nur_lane_lock);
		(void)nur_futex_wait(&begins, 1, NURSERY_NEVER);
		nur_lock(&nur_lane_lock);
	}
}

static int
start_first(void)
{
	int rc = start_counted(NULL);

	nur_lock(&nur_lane_lock);
	nur_store_relaxed(&begins, 0);
	nur_unlock(&nur_lane_lock);
	nur_futex_wake(&begins, INT_MAX);
	return rc;
}

int
nur_lane_begin(void)
{
	bool first;

	nur_lock(&nur_lane_lock);
	await_first_locked();
	first = workers == 0;
	if (places == 0)
		nur_store_relaxed(&places, wanted_workers());
	if (first) {
		workers++;
		active++;
		searching = true;
		lacks_thread = false;
		nur_store_relaxed(&begins, 1);
		places_changed_locked();
	}
	nur_unlock(&nur_lane_lock);
	return first ? start_first() : 0;
}

/* ---- giving the place away ---- */

/* L7: the next one takes the place over, so that nur_lane_call stays as it
 * is.  Unlocks, if so. */
static bool
hand_over_and_unlock(struct nur_thr *self)
{
	bool gives = nur_deque_length(self->deque) > 0;

	if (active < places + beyond || lacks_thread || !(gives ||
	    (!searching && nur_lane_has_work())))
		return false;
	if (!gives)
		leave_queue_locked(self);
	call_and_unlock(gives ? self : NULL);
	return true;
}

static void
pause_here(struct nur_thr *self)
{
	bool sets, calls;

	nur_lock(&nur_lane_lock);
	if (!self->place) {	/* the monitor was here */
		nur_unlock(&nur_lane_lock);
		return;
	}
	sets = nur_load_relaxed(&nur_lane_call) == 0;
	nur_store_relaxed(&self->place, false);
	if (hand_over_and_unlock(self))
		return;
	leave_queue_locked(self);
	active--;
	lacks_thread = false;
	places_changed_locked();
	/* All places were taken, or a thread was not to be had. */
	calls = sets && nur_load_relaxed(&nur_lane_call) != 0;
	nur_unlock(&nur_lane_lock);
	if (calls)
		call_if_needed();
}

void
nur_lane_return(struct nur_thr *self)
{
	int error = errno;	/* of what was waited for */

	nur_lock(&nur_lane_lock);
	nur_store_relaxed(&self->place, true);
	if (self->deque == NULL)
		take_queue_locked(self);
	active++;
	places_changed_locked();
	nur_unlock(&nur_lane_lock);
	errno = error;
}

void
nur_lane_rescue(struct nur_thr *const *blocked, unsigned count,
    unsigned how_many_more)
{
	unsigned i;
	bool calls;

	nur_lock(&nur_lane_lock);
	for (i = 0; i < count; i++) {
		/* Atomic: who was called just now writes it without. */
		active -= nur_load_relaxed(&blocked[i]->place);
		nur_store_relaxed(&blocked[i]->place, false);
	}
	beyond = how_many_more;
	lacks_thread = false;
	places_changed_locked();
	calls = nur_load_relaxed(&nur_lane_call) != 0;
	nur_unlock(&nur_lane_lock);
	if (calls)
		call_if_needed();
}

/* ---- ends ---- */

void
nur_lane_counts(uint64_t *threads, uint64_t *idle)
{
	nur_lock(&nur_lane_lock);
	*threads = workers;
	*idle = parked_count;
	nur_unlock(&nur_lane_lock);
}

/* What the parent's queues hold is the parent's; the memory is not looked at
 * again, but for the caller's queue, which it keeps. */
void
nur_lane_after_fork(void)
{
	struct nur_thr *self = nur_thr_peek();
	struct nur_deque *d = nur_load_relaxed(&first_deque);

	for (unused = NULL; d != NULL; d = d->next) {
		nur_deque_forget(d);
		if (d == &nobodys || (self != NULL && self->deque == d))
			continue;
		d->below = unused;
		unused = d;
	}
	claims = self != NULL && self->claims;
	active = workers = parked_count = beyond = 0;
	searching = lacks_thread = false;
	nur_store_relaxed(&begins, 0);
	nur_list_init(&parked);
	nur_store_relaxed(&nur_lane_call, 0);
	nur_store_relaxed(&nur_lane_surplus, 0);
	if (self != NULL)
		nur_store_relaxed(&self->place, false);
	nur_monitor_after_fork();
}

__attribute__((constructor)) static void
register_hooks(void)
{
	nur_thr_pause_hook = pause_here;
	nur_thr_resume_hook = nur_lane_return;
}
