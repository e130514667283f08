/* SPDX-License-Identifier: MIT */
/*
 * Light tasks: those of the compute lane that have no attributes and of which
 * nobody wants to know more than how they end.  64 bytes each, and counted
 * without an atomic operation.
 *
 * W1  A light task is the first line of a struct nursery_task; what follows
 *     there, it does not have, unless it is `whole`.
 * W2  n->light counts them all: begun less ended (the balance), and beside
 *     that those who have changes to it that they have not told yet: runners,
 *     who run n's tasks, and spawners.  Each keeps a tally, and tells it in
 *     one operation, with his own going.  So the word is zero only if all
 *     has been told and no task is left: a task that is queued has been
 *     counted by one who told or is in the word, and one that runs has its
 *     runner there.
 * W3  Whoever makes the word zero does so with n's lock: he is in the word
 *     until then, so n is there; and N3 holds.
 * W4  A runner's tally is told before he runs a task of another nursery,
 *     searches or sleeps; so it is never long before a wait ends.
 * W5  A spawner may go away for good with his tally.  Who waits for n's tasks
 *     therefore collects it: he raises n->exact, passes the heavy barrier, and
 *     waits until the spawner is not `spawning`; the spawner writes
 *     `spawning`, passes the light barrier, and counts only if n is not
 *     exact, and its tally n's still.
 * W6  A spawner's tally keeps n from closing, so whoever has one may count
 *     without asking for n's state.
 * W7  Who looks at a thread from elsewhere, as scope/look.c says, finds its
 *     task in self->light, if it is a light one, and those in whose midst it
 *     runs.  Other tasks end without a look at looks, so they are not there.
 * W8  The opener of a nursery that was private at first has a tally in it,
 *     n->mine, as long as mine.counts: it spawns and runs tasks of n there,
 *     as W5 says.  While n is private the word is zero, and mine is all there
 *     is; when it becomes shared, its opener is one of the spawners in the
 *     word, until who waits, or the opener's close, collects mine.
 */
#include "config.h"

#include "scope/light.h"

#include "base/check.h"
#include "base/fork.h"
#include "base/sys.h"
#include "scope/look.h"
#include "scope/nest.h"

#include <string.h>
#include <unistd.h>

#define MOST_SPAWNERS	1000	/* 1023 fit in */

_Static_assert(offsetof(struct nursery_task, id) == 64,
    "a light task is one line");
_Static_assert(offsetof(struct nursery_task, nursery) ==
    offsetof(struct nur_job, nursery), "a light task is a job");

static struct nur_slab light_slab = NUR_SLAB_INIT("light task",
    NUR_SLAB_LIGHT, offsetof(struct nursery_task, id), 0);

bool
nur_light_possible(const struct nursery *n)
{
	return n->attr.lane == NURSERY_COMPUTE && n->attr.max_running == 0 &&
	    n->attr.on_done == NULL && n->attr.policy !=
	    NURSERY_FIRST_SUCCESS;
}

/* ---- the word: W2, W3 ---- */

static void
tell_locked(struct nursery *n, uint64_t change)
{
	if (nur_fetch_add_acq_rel(&n->light, change) + change == 0)
		nur_done_changed_locked(n);
}

static void
tell(struct nursery *n, uint64_t change)
{
	/* Relaxed: the exchange below decides. */
	uint64_t was = nur_load_relaxed(&n->light);

	while (was + change != 0)
		/* Release: what the tasks did comes before the end of the
		 * wait; pairs with the acquire in nur_light_done(). */
		if (nur_cas_acq_rel(&n->light, &was, was + change))
			return;
	nur_lock(&n->lock);
	tell_locked(n, change);
	nur_nursery_unlock(n);
}

static void
tell_numbers(struct nursery *n, uint64_t spawned, uint64_t discarded)
{
	/* Relaxed: read after the word has been zero. */
	if (spawned != 0)
		(void)nur_fetch_add_relaxed(&n->light_spawned, spawned);
	if (discarded != 0)
		(void)nur_fetch_add_relaxed(&n->light_discarded, discarded);
}

void
nur_light_run_begins(struct nur_tally *y, struct nursery *n)
{
	/* A task of n is in the word. */
	(void)nur_fetch_add_acq_rel(&n->light, NUR_LIGHT_RUNNER);
	y->nursery = n;
	y->balance = 0;
	y->spawned = y->discarded = 0;
}

void
nur_light_run_ends(struct nur_tally *y)
{
	struct nursery *n = y->nursery;

	if (n == NULL)
		return;
	y->nursery = NULL;
	tell_numbers(n, y->spawned, y->discarded);
	tell(n, (uint64_t)y->balance - NUR_LIGHT_RUNNER);
}

/* ---- spawners: W5 ---- */

static bool
count_spawned(struct nur_thr *self, struct nursery *n)
{
	struct nur_tally *y = &self->spawns;
	bool counts;

	if (nur_load_relaxed(&y->nursery) != n)
		return false;
	nur_store_relaxed(&self->spawning, 1);
	nur_light_barrier();
	/* Acquire: who sees that it is exact no more sees the tally as it was
	 * left by who collected it. */
	counts = nur_load_acquire(&n->exact) == 0 &&
	    nur_load_relaxed(&y->nursery) == n;
	if (counts) {
		nur_store_relaxed(&y->balance, nur_load_relaxed(&y->balance) +
		    1);
		nur_store_relaxed(&y->spawned, nur_load_relaxed(&y->spawned) +
		    1);
	}
	/* Release: publishes the tally; pairs with collect(). */
	nur_store_release(&self->spawning, 0);
	return counts;
}

/* The tally becomes empty; *change is what the word has to hear. */
static struct nursery *
take_tally(struct nur_tally *y, uint64_t *change)
{
	struct nursery *n = nur_load_relaxed(&y->nursery);

	*change = (uint64_t)nur_load_relaxed(&y->balance) -
	    NUR_LIGHT_SPAWNER;
	tell_numbers(n, nur_load_relaxed(&y->spawned), 0);
	nur_store_relaxed(&y->nursery, NULL);
	nur_store_relaxed(&y->balance, 0);
	nur_store_relaxed(&y->spawned, 0);
	return n;
}

/* The opener's, which is empty after that: what the word has to hear. */
static uint64_t
take_mine(struct nursery *n)
{
	uint64_t spawned = nur_load_relaxed(&n->mine.spawned);
	uint64_t change = spawned - nur_load_relaxed(&n->mine.ended) -
	    NUR_LIGHT_SPAWNER;

	tell_numbers(n, spawned, 0);
	nur_store_relaxed(&n->mine.counts, 0);
	nur_store_relaxed(&n->mine.spawned, 0);
	nur_store_relaxed(&n->mine.ended, 0);
	return change;
}

/* W8: one more that I spawned, or ran, if I am to count it there. */
static inline bool
count_mine(struct nur_thr *self, struct nursery *n, uint64_t *number)
{
	bool counts;

	nur_store_relaxed(&self->spawning, 1);
	nur_light_barrier();
	/* Acquire: as in count_spawned(). */
	counts = nur_load_acquire(&n->exact) == 0 && nur_load_relaxed(
	    &n->mine.counts) != 0;
	if (counts)
		nur_store_relaxed(number, nur_load_relaxed(number) + 1);
	/* Release: publishes it; pairs with collect(). */
	nur_store_release(&self->spawning, 0);
	return counts;
}

void
nur_light_shared(struct nursery *n)
{
	/* Relaxed: published with n->shared. */
	if (nur_load_relaxed(&n->mine.counts) != 0)
		nur_store_relaxed(&n->light, NUR_LIGHT_SPAWNER);
}

void
nur_light_tell(struct nur_thr *self)
{
	struct nursery *n;
	uint64_t change;

	if (nur_load_relaxed(&self->spawns.nursery) == NULL)
		return;
	/* Against who collects it. */
	nur_thr_lock_list();
	n = nur_load_relaxed(&self->spawns.nursery);
	if (n != NULL)
		(void)take_tally(&self->spawns, &change);
	nur_thr_unlock_list();
	/* W6: it is in the word still. */
	if (n != NULL)
		tell(n, change);
}

/* The balance may be below zero: what is above it is rounded. */
static uint64_t
spawners(const struct nursery *n)
{
	return (nur_load_relaxed(&n->light) + (UINT64_C(1) <<
	    (NUR_LIGHT_BALANCE - 1))) / NUR_LIGHT_SPAWNER;
}

struct collect {
	struct nursery *n;
	uint64_t change;
};

static void
collect(const struct nur_thr *thr, void *arg)
{
	struct nur_thr *t = (struct nur_thr *)(uintptr_t)thr;
	struct collect *c = arg;
	uint64_t change;
	bool opened = nur_light_is_mine(t, c->n);

	if (nur_load_relaxed(&t->spawns.nursery) != c->n && !opened)
		return;
	/* Acquire: pairs with the release in count_spawned(). */
	while (nur_load_acquire(&t->spawning) != 0)
		nur_cpu_relax();
	if (opened)
		c->change += take_mine(c->n);
	if (nur_load_relaxed(&t->spawns.nursery) != c->n)
		return;
	(void)take_tally(&t->spawns, &change);
	c->change += change;
}

void
nur_light_wait_begins_locked(struct nursery *n)
{
	struct nur_thr *self = nur_thr_peek();
	struct collect c = { n, 0 };
	uint64_t change;

	if (!n->light_tasks)
		return;
	(void)nur_fetch_add_acq_rel(&n->exact, 1);
	/* The lock keeps others who collect away from one's own. */
	if (self != NULL && nur_load_relaxed(&self->spawns.nursery) == n) {
		(void)take_tally(&self->spawns, &change);
		tell_locked(n, change);
	}
	if (self != NULL && nur_light_is_mine(self, n))
		tell_locked(n, take_mine(n));
	if (spawners(n) == 0)
		return;
	nur_heavy_barrier();
	nur_thr_each(collect, &c);
	tell_locked(n, c.change);
}

void
nur_light_wait_ends_locked(struct nursery *n)
{
	if (n->light_tasks)
		(void)nur_fetch_sub_acq_rel(&n->exact, 1);
}

/* ---- spawning ---- */

/* W6; or one at a time, when who waits wants it so.  Lock held. */
static void
count_first_locked(struct nur_thr *self, struct nursery *n)
{
	struct nur_tally *y = &self->spawns;

	if (nur_load_relaxed(&n->exact) != 0 || spawners(n) >=
	    MOST_SPAWNERS || nur_load_relaxed(
	    &y->nursery) != NULL) {
		tell_numbers(n, 1, 0);
		tell_locked(n, 1);
		return;
	}
	tell_locked(n, NUR_LIGHT_SPAWNER);
	nur_store_relaxed(&y->balance, 1);
	nur_store_relaxed(&y->spawned, 1);
	nur_store_relaxed(&y->nursery, n);
}

static int
enter_slowly(struct nur_thr *self, struct nursery *n)
{
	struct nur_tally *y = self->tally;
	int rc;

	nur_nursery_share(n);
	if (nur_load_relaxed(&self->spawns.nursery) != n)
		nur_light_tell(self);
	nur_lock(&n->lock);
	rc = nur_refusal_locked(n, 0, nur_is_member(self->task, n));
	if (rc == 0 && y != NULL && y->nursery == n) {
		y->balance++;
		y->spawned++;
	} else if (rc == 0) {
		count_first_locked(self, n);
	}
	nur_nursery_unlock(n);
	return rc;
}

/* 0, and it is counted; or why not. */
static inline int
enter(struct nur_thr *self, struct nursery *n)
{
	struct nur_tally *y = self->tally;

	if (nur_token_level(&n->token) != NURSERY_LIVE)
		return enter_slowly(self, n);
	if (y != NULL && y->nursery == n) {
		y->balance++;
		y->spawned++;
		return 0;
	}
	if (nur_light_is_mine(self, n) && count_mine(self, n,
	    &n->mine.spawned))
		return 0;
	return count_spawned(self, n) ? 0 : enter_slowly(self, n);
}

static void
init(struct nursery_task *t, struct nursery *n, nursery_fn *fn, void *arg)
{
	/* Relaxed: W7. */
	nur_store_relaxed(&t->nursery, n);
	t->token = &n->token;
	nur_store_relaxed(&t->fn, fn);
	t->arg = arg;
	nur_store_relaxed(&t->flags, NUR_TASK_LIGHT);
	t->own_token = t->named = t->queued = false;
	t->started = true;
}

int
nur_light_spawn(struct nur_thr *self, struct nursery *n, nursery_fn *fn,
    void *arg)
{
	struct nursery_task *t = self == NULL ? NULL : nur_slab_get_from(
	    &light_slab, &self->magazine[NUR_SLAB_LIGHT]);
	int rc;

	if (t == NULL)
		return ENOMEM;
	init(t, n, fn, arg);
	if (self->deque == NULL)
		(void)nur_lane_attach(self);
	rc = enter(self, n);
	if (rc != 0) {
		nur_slab_put(&light_slab, t);
		return rc;
	}
	nur_lane_push(self, (struct nur_job *)t);
	return 0;
}

/* Few loads and stores, and, so that no register is saved, no call but in
 * place of the return. */
int
nur_light_spawn_mine(struct nur_thr *self, struct nursery *n, nursery_fn *fn,
    void *arg)
{
	struct nur_magazine *m = &self->magazine[NUR_SLAB_LIGHT];
	struct nur_deque *d = self->deque;
	struct nursery_task *t;

	if (!nur_slab_has_ready(m) || d == NULL || !nur_deque_has_room(d) ||
	    nur_token_level(&n->token) != NURSERY_LIVE || !count_mine(self, n,
	    &n->mine.spawned))
		return nur_light_spawn(self, n, fn, arg);
	t = nur_slab_take_ready(&light_slab, m);
	init(t, n, fn, arg);
	nur_deque_put(d, (struct nur_job *)t);
	nur_lane_pushed(self);
	return 0;
}

int
nur_light_submit(struct nursery_task *t)
{
	struct nur_thr *self = nur_thr_self();
	int rc = ENOMEM;

	if (self != NULL) {
		(void)nur_lane_attach(self);
		rc = enter(self, t->nursery);
	}
	if (rc != 0) {
		nur_task_let_go(t);
		return rc;
	}
	t->flags = NUR_TASK_LIGHT | NUR_TASK_WHOLE;
	t->started = true;
	nur_lane_push(self, (struct nur_job *)t);
	return 0;
}

/* ---- running ---- */

static bool
is_whole(const struct nursery_task *t)
{
	return (t->flags & NUR_TASK_WHOLE) != 0;
}

uint64_t
nur_light_id(const struct nursery_task *t)
{
	return (uint64_t)(uintptr_t)nur_load_relaxed(&t->link.prev);
}

/* W7: from now on the link says who it is, and in whose midst it runs. */
static void
identify(struct nur_thr *self, struct nursery_task *t,
    struct nursery_task *before)
{
	nur_store_relaxed(&t->link.next, (struct nur_link *)before);
	nur_store_relaxed(&t->link.prev, (struct nur_link *)(uintptr_t)
	    (is_whole(t) ? t->id : nur_task_next_id(self)));
}

/* All of a task that has the first line of t. */
static void
copy_whole(struct nursery_task *to, struct nursery_task *t)
{
	memcpy(to, t, offsetof(struct nursery_task, id));
	memset((char *)to + offsetof(struct nursery_task, id), 0,
	    sizeof *to - offsetof(struct nursery_task, id));
	to->id = nur_light_id(t);
	to->flags |= NUR_TASK_WHOLE;
	nur_store_relaxed(&to->refs, 1);
	nur_store_relaxed(&to->state, 0);
}

/* `t` may be NULL, or no light one. */
static inline void
runs_here(struct nur_thr *self, struct nursery_task *t)
{
	self->task = t;
	/* Release: W7; pairs with look_at(). */
	nur_store_release(&self->light, t != NULL && nur_is_light(t) ? t :
	    NULL);
}

/* It runs nowhere any more. */
static inline void
put(struct nur_thr *self, struct nursery_task *t)
{
	if (nur_look_goes_on())
		nur_look_await();	/* W7 */
	if (is_whole(t))
		nur_task_release(t);
	else
		nur_slab_put_into(&light_slab, &self->magazine[
		    NUR_SLAB_LIGHT], t);
}

struct nursery_task *
nur_light_present(struct nur_thr *self)
{
	struct nursery_task *t = self->task, *whole;

	if (!is_whole(t)) {
		whole = nur_task_block();
		if (whole == NULL)
			return NULL;
		copy_whole(whole, t);
		nur_nest_host_moved(self, t, whole);
		runs_here(self, whole);
		if (!nur_inherited(t))
			put(self, t);
		t = whole;
	}
	nur_store_relaxed(&t->since, nur_now());
	nur_store_release(&t->thr, self);
	return t;
}

/* Not part of the frame that nests. */
__attribute__((noinline)) static void
failed(struct nursery_task *t, int result)
{
	struct nursery_task copy;

	if (is_whole(t)) {
		t->result = result;
		nur_task_failed(t);
		return;
	}
	copy_whole(&copy, t);
	copy.result = result;
	nur_task_failed(&copy);
}

/* False: it was discarded. */
static inline bool
run(struct nur_thr *self, struct nursery_task *t)
{
	const struct nur_link *newest = self->opened.prev;
	unsigned blocking = self->blocking;
	uint32_t generation = nur_load_relaxed(&nur_generation);
	int result;

	if (nur_token_level(t->token) >= NURSERY_CANCEL) {
		put(self, t);
		return false;
	}
	self->blocking = 0;
	identify(self, t, self->task);
	runs_here(self, t);
	result = t->fn(t->token, t->arg);
	if (nur_load_relaxed(&nur_generation) != generation)
		_exit(NUR_FORKED_AND_BACK);
	t = self->task;		/* it may have become whole */
	if (self->opened.prev != newest && nur_task_left_open(self, t)) {
		if (result == 0)
			result = ENOTEMPTY;
		nur_nursery_opener_ends(self, t);
	}
	if (result != 0)
		failed(t, result);
	runs_here(self, nur_light_before(t));
	self->blocking = blocking;
	put(self, t);
	return true;
}

void
nur_light_run(struct nur_thr *self, struct nur_tally *y,
    struct nursery_task *t)
{
	y->balance--;
	if (!run(self, t))
		y->discarded++;
}

void
nur_light_run_mine(struct nur_thr *self, struct nur_tally *y,
    struct nursery *n)
{
	struct nur_job *job;

	do {
		job = nur_deque_pop(self->deque);
		if (job == NULL)
			return;
		if (job->nursery != n) {
			nur_deque_push(self->deque, job);
			nur_lane_pushed(self);
			return;
		}
		if (!run(self, (struct nursery_task *)job))
			tell_numbers(n, 0, 1);
		/* Not before it has ended: nobody else holds n for it. */
		if (!count_mine(self, n, &n->mine.ended))
			tell(n, UINT64_MAX);
		nur_lane_job_done(self, y->works);
	} while (nur_nest_has_tasks(n));
}

/* ---- seen from elsewhere ---- */

struct look {
	const struct nursery *nursery;
	void (*fn)(const struct nur_light_seen *s, void *arg);
	void *arg;
};

static void
look_at(const struct nur_thr *thr, void *arg)
{
	/* Acquire: pairs with runs_here(). */
	const struct nursery_task *t = nur_load_acquire(&thr->light);
	struct nur_light_seen s = { .thr = thr };
	const struct nursery *n;
	const struct look *k = arg;

	for (; t != NULL && (nur_load_relaxed(&t->flags) & NUR_TASK_LIGHT) !=
	    0; t = nur_light_before(t)) {
		n = nur_load_relaxed(&t->nursery);
		if (nur_nest_around(n) != k->nursery)
			continue;
		s.task.fn = nur_load_relaxed(&t->fn);
		s.task.id = nur_light_id(t);
		s.private = n != k->nursery ? n : NULL;
		k->fn(&s, k->arg);
	}
}

void
nur_light_each(const struct nursery *n,
    void (*fn)(const struct nur_light_seen *s, void *arg), void *arg)
{
	struct look k = { n, fn, arg };

	if (n->light_tasks)
		nur_thr_each(look_at, &k);
}

/* ---- in numbers ---- */

void
nur_light_numbers(const struct nursery *n, uint64_t *queued,
    uint64_t *running)
{
	uint64_t word = nur_load_relaxed(&n->light);
	int64_t balance = (int64_t)(word << (64 - NUR_LIGHT_BALANCE)) >>
	    (64 - NUR_LIGHT_BALANCE);

	word -= (uint64_t)balance;
	if (nur_load_relaxed(&n->mine.counts) != 0)
		balance += (int64_t)(nur_load_relaxed(&n->mine.spawned) -
		    nur_load_relaxed(&n->mine.ended));
	*running = word % NUR_LIGHT_SPAWNER / NUR_LIGHT_RUNNER;
	*queued = balance > (int64_t)*running ? (uint64_t)balance - *running :
	    0;
}

void
nur_light_add_counts_locked(const struct nursery *n,
    struct nursery_counts *to)
{
	uint64_t spawned = nur_load_relaxed(&n->light_spawned);
	uint64_t discarded = nur_load_relaxed(&n->light_discarded);

	to->spawned += spawned;
	to->discarded += discarded;
	if (nur_light_done(n))
		to->succeeded += spawned - discarded - n->light_bad;
}

void
nur_light_after_fork(void)
{
	struct nur_thr *self = nur_thr_peek();

	nur_slab_after_fork(&light_slab);
	if (self == NULL)
		return;
	self->tally = NULL;
	nur_store_relaxed(&self->spawns.nursery, NULL);
	nur_store_relaxed(&self->spawning, 0);
}
