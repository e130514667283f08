/* SPDX-License-Identifier: MIT */
/*
 * Who runs the tasks of the compute lane: workers, whatever there is; and who
 * waits for a nursery, its own tasks and those of nurseries inside it.
 *
 * K1  A waiter runs nothing but members of what it waits for: its stack holds
 *     what serial execution would have put there, and a lock held across the
 *     wait is never entered by a stranger.
 * K2  It takes its own newest first, then the oldest of others' (a thief's
 *     work is often a descendant of what was waited for; Wagner, Calder:
 *     Leapfrogging, 1993), and only then sleeps, without its place.  One that
 *     has none would be one more than there are processors: it takes from
 *     workers only what they do not come to.
 * K3  It runs no service: that ends when it is told to, perhaps by the waiter.
 */
#include "config.h"

#include "scope/light.h"

#include "base/check.h"

#ifndef NUR_HELP_ROUNDS		/* the model build has fewer */
#define NUR_HELP_ROUNDS	8	/* looks for members, microseconds apart */
#endif

static struct nursery_task *
task_of(struct nur_job *job)
{
	return job->nursery != NULL ? (struct nursery_task *)job :
	    NUR_CONTAINER(job, struct nursery_task, job);
}

void
nur_compute_start(struct nursery_task *t)
{
	struct nur_thr *self = nur_thr_self();

	if (self != NULL)
		(void)nur_lane_attach(self);
	t->job.nursery = NULL;
	nur_lane_push(self, &t->job);
}

/* ---- one after another ---- */

static void
exited(void *unused)
{
	(void)unused;
	NUR_MISUSE("pthread_exit in a task of the compute lane");
}

/* One with a record, and those that get its place. */
static void
run_recorded(struct nursery_task *t)
{
	while (t != NULL)
		t = nur_is_called_off(t) ? nur_call_off(t) : nur_task_run(t);
}

static void
run_job(struct nur_thr *self, struct nur_tally *y, struct nur_job *job)
{
	struct nursery *n = job->nursery;

	if (n != y->nursery)
		nur_light_run_ends(y);
	if (n == NULL) {
		run_recorded(task_of(job));
	} else {
		nur_nursery_share(n);	/* a thief's, or left open here */
		if (y->nursery == NULL)
			nur_light_run_begins(y, n);
		nur_light_run(self, y, task_of(job));
	}
	nur_lane_job_done(self, y->works);
}

static void
begin(struct nur_thr *self, struct nur_tally *y, bool works)
{
	y->nursery = NULL;
	y->works = works;
	y->before = self->task;
	y->outer = self->tally;
	self->tally = y;
}

static void
end(struct nur_thr *self, struct nur_tally *y)
{
	nur_light_run_ends(y);
	self->tally = y->outer;
}

/* A worker, until its queue is empty or too many hold a place. */
static void
work(struct nur_thr *self)
{
	struct nur_tally tally;
	struct nur_job *job;

	begin(self, &tally, true);
	pthread_cleanup_push(exited, NULL);
	while ((job = nur_deque_pop(self->deque)) != NULL) {
		run_job(self, &tally, job);
		if (nur_load_relaxed(&nur_lane_surplus) != 0)
			break;
		if (++self->jobs % NUR_POLL_EVERY == 0)
			nur_lane_poll(self);
	}
	pthread_cleanup_pop(0);
	end(self, &tally);
}

/* ---- who waits: K1, K2 ---- */

struct wait {
	struct nur_thr *self;
	const struct nursery *nursery;
};

/* Whether the thread may run what is spawned into n, and has the stack for
 * it. */
static bool
may_help(const struct nur_thr *self, const struct nursery *n)
{
	if (nur_thr_is_worker(self))
		return self->stack_size >= n->attr.stack_size;
	return (n->attr.flags & NURSERY_NO_HELP) == 0;
}

/* Is `job`, which is counted, a member of what is waited for, and is the
 * waiter to run it?  The nurseries around it are there as long as it is. */
static bool
fits(const struct nur_job *job, const void *wait)
{
	const struct nursery *m = job->nursery;
	const struct nursery_task *t;
	const struct wait *w = wait;

	if (m == NULL) {
		t = NUR_CONTAINER(job, const struct nursery_task, job);
		if (nur_is_service(t))
			return false;
		m = t->nursery;
	}
	while (m != NULL && m != w->nursery && may_help(w->self, m))
		m = m->parent;
	return m == w->nursery;
}

/* The newest of the thread's own, if it is a member. */
static struct nur_job *
pop_member(struct nur_thr *self, const struct wait *w)
{
	struct nur_job *job = nur_deque_pop(self->deque);

	if (job == NULL || fits(job, w))
		return job;
	nur_deque_push(self->deque, job);
	nur_lane_pushed(self);
	return NULL;
}

static void
help(struct nur_thr *self, struct nur_tally *y, struct nursery *n)
{
	int left = nur_lane_places() > 1 ? NUR_HELP_ROUNDS : y->works ? 0 : 2;
	struct nur_lane_seen seen = { { 0 } };
	const struct wait w = { self, n };
	struct nur_job *job;

	for (;;) {
		while ((job = pop_member(self, &w)) != NULL)
			run_job(self, y, job);
		nur_light_run_ends(y);
		if (nur_light_done(n) || left-- <= 0)
			return;
		if (nur_lane_steal(self, fits, &w, y->works ? NULL : &seen))
			left = NUR_HELP_ROUNDS;
		else
			nur_cpu_rest();
	}
}

/* Jobs of n are run by `fn` on a thread on which none runs yet, or in the
 * midst of one that waits. */
static void
run_here(struct nur_thr *self, struct nursery *n, void (*fn)(
    struct nur_thr *self, struct nur_tally *y, struct nursery *n))
{
	struct nur_tally tally;
	int state;

	/* A task is not what a pthread_cancel was meant for. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	begin(self, &tally, nur_load_relaxed(&self->place));
	pthread_cleanup_push(exited, NULL);
	fn(self, &tally, n);
	pthread_cleanup_pop(0);
	end(self, &tally);
	(void)pthread_setcancelstate(state, NULL);
}

void
nur_compute_run_mine(struct nur_thr *self, struct nursery *n)
{
	run_here(self, n, nur_light_run_mine);
}

void
nur_compute_help(struct nursery *n, int64_t deadline)
{
	struct nur_thr *self = nur_thr_peek();

	if (deadline == NURSERY_NEVER && self != NULL && may_help(self, n) &&
	    nur_lane_attach(self) != NULL)
		run_here(self, n, help);
}

__attribute__((constructor)) static void
register_hook(void)
{
	nur_lane_run = work;
}
