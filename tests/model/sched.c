/* SPDX-License-Identifier: MIT */
/*
 * Threads: who takes the next step, how time passes, when all stand still.
 *
 * Every call of eng_point() and eng_block() is one step.  The options of a
 * step, in the order in which the search takes them: the current thread goes
 * on, another one does, a sleeper whose deadline has passed wakes, one wakes
 * for no reason, a deadline passes though others could run.
 */
#include "config.h"

#include "engine.h"

#include <errno.h>

enum how { GOES, EXPIRED, SPURIOUS, EARLY };

struct option {
	struct model_thread *thread;
	enum how how;
};

struct options {
	struct option at[3 * MODEL_THREADS];
	int count;
	bool stays;		/* option 0 is the current thread going on */
};

void
eng_sched_reset(void)
{
	eng->threads = 0;
	eng->ending_phase = false;
	eng->steps = 0;
	eng->now = INT64_C(1000000000);
	eng->preempted = 0;
	eng->spurious = eng->config.spurious;
	eng->early = eng->config.early;
	eng->faults = eng->config.faults;
	eng->stale = eng->config.stale;
	memset(&eng->fences, 0, sizeof eng->fences);
	eng->current = NULL;
}

/* ---- what can happen next ---- */

static bool
all_others_done(const struct model_thread *t)
{
	int i;

	for (i = 0; i < eng->threads; i++)
		if (&eng->thread[i] != t && eng->thread[i].state != DONE)
			return false;
	return true;
}

static bool
can_go(const struct model_thread *t)
{
	switch (t->state) {
	case RUNS:
	case YIELDS:
	case OFFERS:
		return true;
	case WANTS_LOCK:
		return eng_place(t->object)->owner == 0;
	case JOINS:
		return t->target->state == DONE;
	case AWAITS_ALL:
		return all_others_done(t);
	case SLEEPS:
	case DONE:
		break;
	}
	return false;
}

static void
add(struct options *o, struct model_thread *t, enum how how)
{
	o->at[o->count].thread = t;
	o->at[o->count++].how = how;
}

static void
list_runnable(struct options *o)
{
	struct model_thread *t;
	int i;

	o->count = 0;
	/* YIELDS: only if nobody else can; OFFERS: if nobody else does. */
	o->stays = eng->current->state != YIELDS && eng->current->state !=
	    OFFERS && can_go(eng->current);
	if (o->stays)
		add(o, eng->current, GOES);
	for (i = 0; i < eng->threads; i++) {
		t = &eng->thread[i];
		if (t != eng->current && can_go(t))
			add(o, t, GOES);
	}
	if (eng->current->state == OFFERS || (o->count == 0 &&
	    eng->current->state == YIELDS))
		add(o, eng->current, GOES);
}

static void
list_expired(struct options *o)
{
	struct model_thread *t;
	int i;

	for (i = 0; i < eng->threads; i++) {
		t = &eng->thread[i];
		if (t->state == SLEEPS && t->deadline <= eng->now)
			add(o, t, EXPIRED);
	}
}

static void
list_odd(struct options *o)
{
	struct model_thread *t;
	int i;

	for (i = 0; i < eng->threads && eng->spurious > 0; i++) {
		t = &eng->thread[i];
		if (t->state == SLEEPS)
			add(o, t, SPURIOUS);
	}
	for (i = 0; i < eng->threads && eng->early > 0; i++) {
		t = &eng->thread[i];
		if (t->state == SLEEPS && t->deadline > eng->now &&
		    t->deadline != INT64_MAX)
			add(o, t, EARLY);
	}
}

/* Nobody can run: the time becomes the earliest deadline. */
static bool
pass_time(void)
{
	int64_t earliest = INT64_MAX;
	int i;

	for (i = 0; i < eng->threads; i++)
		if (eng->thread[i].state == SLEEPS &&
		    eng->thread[i].deadline < earliest)
			earliest = eng->thread[i].deadline;
	if (earliest == INT64_MAX)
		return false;
	eng->now = earliest;
	return true;
}

static void
report_deadlock(void)
{
	const struct model_thread *t;
	int i, sleepers = 0, lockers = 0;

	for (i = 0; i < eng->threads; i++) {
		t = &eng->thread[i];
		sleepers += t->state == SLEEPS;
		lockers += t->state == WANTS_LOCK;
	}
	if (sleepers > 0 && lockers == 0)
		model_fail("lost wake-up: %d thread%s and nobody will wake "
		    "%s", sleepers, sleepers == 1 ? " sleeps" : "s sleep",
		    sleepers == 1 ? "it" : "them");
	model_fail("deadlock: %d thread%s for a mutex, %d sleep%s", lockers,
	    lockers == 1 ? " waits" : "s wait", sleepers,
	    sleepers == 1 ? "s" : "");
}

static void
list_options(struct options *o)
{
	list_runnable(o);
	list_expired(o);
	if (o->count == 0) {
		if (!pass_time())
			report_deadlock();
		list_expired(o);
	}
	if (!eng->ending_phase)
		list_odd(o);
}

/* ---- picking one ---- */

/* PCT: the runnable thread with the highest priority. */
static int
highest(const struct options *o)
{
	struct model_thread *me = eng->current;
	int i, best = 0;

	for (i = 0; i < eng->config.depth - 1; i++)
		if (eng->change[i] == eng->steps)
			me->priority = (uint64_t)(eng->config.depth - i);
	if (me->state == YIELDS)
		me->priority = 0;
	for (i = 1; i < o->count && o->at[i].how <= EXPIRED; i++)
		if (o->at[i].thread->priority > o->at[best].thread->priority)
			best = i;
	return best;
}

static int
by_lot(const struct options *o)
{
	const struct option *taken;
	int c = (int)(eng_random() % (uint64_t)o->count);

	taken = &o->at[c];
	/* What seldom happens is taken seldom. */
	if (taken->how >= SPURIOUS && eng_random() % 4 != 0)
		return 0;
	return c;
}

static int
wish(const struct options *o)
{
	switch (eng->config.mode) {
	case MODEL_PCT:
		return highest(o);
	case MODEL_BYTES:
		return eng_choose_by_bytes(o->count);
	default:
		return by_lot(o);
	}
}

static int
take(const struct options *o)
{
	bool bounded = eng->ending_phase;

	if (o->count == 1)
		return 0;
	if (eng->config.mode == MODEL_DFS) {
		bounded |= o->stays && eng->config.preemptions >= 0 &&
		    eng->preempted >= eng->config.preemptions;
		if (!eng->ending_phase)
			eng_cut_if_known(o->stays);
		return eng_choose_next(o->count, bounded, 0);
	}
	if (bounded)
		return eng_choose_next(o->count, true, 0);
	return eng_choose_next(o->count, false, wish(o));
}

/* The sleep of `t` ends without a wake-up. */
static void
end_sleep(struct model_thread *t, enum how how)
{
	if (how == EARLY && eng->now < t->deadline)
		eng->now = t->deadline;
	eng->early -= how == EARLY;
	eng->spurious -= how == SPURIOUS;
	t->outcome = how == SPURIOUS ? 0 : ETIMEDOUT;
	t->history = eng_mix(t->history, 100 + (uint64_t)how);
}

static void
schedule(void)
{
	struct options o;
	struct option next;
	int c;

	if (++eng->steps > (eng->config.max_steps > 0 ?
	    eng->config.max_steps : 20000))
		model_fail("no end after %ld steps: a loop that waits for "
		    "another thread without model_yield()?", eng->steps - 1);
	list_options(&o);
	c = take(&o);
	eng->preempted += o.stays && c != 0;
	next = o.at[c];
	if (next.how != GOES)
		end_sleep(next.thread, next.how);
	eng_switch(next.thread);
	eng->current->state = RUNS;
}

void
eng_point(void)
{
	if (eng->threads == 1)
		eng->steps++;
	else
		schedule();
}

void
eng_block(enum thread_state state, const void *object, int64_t deadline)
{
	struct model_thread *t = eng->current;

	t->state = state;
	t->object = object;
	t->deadline = deadline;
	schedule();
}

void
eng_wake(struct model_thread *t, const struct place *by)
{
	t->state = RUNS;
	t->outcome = 0;
	t->history = eng_mix(t->history, by->history);
}

/* ---- beginning and end of a thread ---- */

struct model_thread *
eng_thread_new(void (*fn)(void *), void *arg)
{
	struct model_thread *t = &eng->thread[eng->threads];
	struct model_thread *maker = eng->current;
	struct coroutine co;

	if (eng->threads == MODEL_THREADS)
		model_fail("more than %d threads: raise MODEL_THREADS",
		    MODEL_THREADS);
	co = t->co;
	memset(t, 0, sizeof *t);
	t->co = co;
	t->co.fresh = true;
	t->id = eng->threads++;
	t->fn = fn;
	t->arg = arg;
	t->priority = (eng_random() >> 1) | (UINT64_C(1) << 62);
	t->identity = maker == NULL ? 1 : eng_mix(maker->identity,
	    ++maker->started);
	t->history = t->identity;
	if (maker != NULL) {
		t->history = eng_mix(maker->history, t->identity);
		t->clock = maker->clock;
	}
	t->clock.before[t->id] = t->clock.seen[t->id] = 1;
	return t;
}

static void
end_of_first(void)
{
	int i;

	if (!eng->config.explore_end) {
		eng->current->state = AWAITS_ALL;
		eng_cut_if_known(false);
		eng->ending_phase = true;
	}
	eng_block(AWAITS_ALL, NULL, INT64_MAX);
	eng->ending_phase = true;
	for (i = 1; i < eng->threads; i++) {
		if (!eng->thread[i].joined && !eng->thread[i].detached)
			model_fail("thread %d was neither joined nor detached",
			    i);
		clock_join(&eng->current->clock, &eng->thread[i].clock);
	}
	if (eng->config.thread_end != NULL)
		eng->config.thread_end();
	if (eng->config.after != NULL)
		eng->config.after();
	eng_heap_check();
	_longjmp(eng->home, END_COMPLETE);
}

void
eng_thread_main(void)
{
	struct model_thread *me = eng->current;

	me->state = RUNS;
	me->fn(me->arg);
	if (me->locks > 0)
		model_fail("thread %d ends with %d mutex(es) held", me->id,
		    me->locks);
	if (me->id == 0)
		end_of_first();
	if (eng->config.thread_end != NULL)
		eng->config.thread_end();
	me->state = DONE;
	EVENT(NULL, "ends");
	schedule();
	__builtin_unreachable();
}

void
model_yield(void)
{
	struct model_thread *t = eng->current;

	EVENT(NULL, "gives way");
	eng_block(YIELDS, NULL, INT64_MAX);
	t->history = eng_mix(t->history, 19);
}

void
model_rest(void)
{
	if (++eng->current->rests > MODEL_RESTS)
		model_yield();
}

void
model_pause(void)
{
	EVENT(NULL, "pauses");
	eng_block(OFFERS, NULL, INT64_MAX);
}

int64_t
model_now(void)
{
	struct model_thread *t = eng->current;

	if (t != NULL)
		t->history = eng_mix(t->history, (uint64_t)eng->now);
	return eng->now;
}

bool
model_hurried(void)
{
	return eng->early < eng->config.early;
}

int
model_locks_held(void)
{
	return eng->current->locks;
}

void *
model_tls_get(void)
{
	return eng->current->tls;
}

uintptr_t
model_thread_mark(void)
{
	return (uintptr_t)&eng->current->tls;
}

void
model_tls_set(void *p)
{
	eng->current->tls = p;
}
