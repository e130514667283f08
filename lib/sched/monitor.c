/* SPDX-License-Identifier: MIT */
/*
 * While all places of the compute lane are taken, a thread looks every TICK
 * at those who hold one, if jobs wait: who sleeps in the kernel just then,
 * and was seldom on a processor since the last look, is blocked.  His place is
 * free from then on; he takes one again when he comes to the end of his job.
 *
 * O1  One long job is not blocked, and a sequence of short ones that sleep
 *     is: what counts is the time on the processor, not the job.
 * O2  The next ones may block, too: as many are let in beyond the places as
 *     were blocked, and twice that the next time, as long as most of those
 *     who hold a place are blocked.
 * O3  When a place has been free for a while it sleeps, and nothing wakes it
 *     until all are taken again.
 */
#include "config.h"

#include "sched/monitor.h"

#include "base/sys.h"
#include "base/where.h"
#include "sched/lane.h"

#include <time.h>

#define TICK	INT64_C(10000000)
#define SELDOM	(TICK / 5)
#define LINGER	100		/* ticks */

/* under the lane lock */
static bool all_places_taken;
static bool running;		/* the thread */
static uint32_t asleep;		/* atomic: 1: it is to be woken */

struct look {
	struct nur_thr *blocked[64];
	unsigned count, holders;
};

static int64_t
time_on_cpu(const struct nur_thr *thr)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid((pthread_t)thr->system_thread, &clock) !=
	    0 || clock_gettime(clock, &ts) != 0)
		return 0;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Called with the list of threads locked: thr is there. */
static void
look_at(const struct nur_thr *thr, void *arg)
{
	struct nur_thr *t = (struct nur_thr *)(uintptr_t)thr;
	struct look *k = arg;
	int64_t now, before = t->cpu_seen;

	if (!nur_load_relaxed(&thr->place))
		return;
	k->holders++;
	now = time_on_cpu(thr);
	t->cpu_seen = now;
	if (now - before < SELDOM && k->count < 64 && nur_sleeps(thr->tid))
		k->blocked[k->count++] = t;
}

/* *beyond: O2. */
static void
tick(unsigned *beyond)
{
	struct look k = { .count = 0 };

	if (!nur_lane_has_work()) {
		*beyond = 0;
		return;
	}
	nur_thr_each(look_at, &k);
	*beyond = k.count > 0 && 2 * k.count >= k.holders ? 2 * (*beyond +
	    k.count) : 0;
	nur_lane_rescue(k.blocked, k.count, *beyond);
}

/* Whether it goes to sleep for good. */
static bool
falls_asleep(unsigned *idle_ticks)
{
	bool falls;

	nur_lock(&nur_lane_lock);
	*idle_ticks = all_places_taken ? 0 : *idle_ticks + 1;
	falls = *idle_ticks > LINGER;
	if (falls)
		nur_store_relaxed(&asleep, 1);
	nur_unlock(&nur_lane_lock);
	return falls;
}

static void
monitor_main(void *unused)
{
	unsigned beyond = 0, idle_ticks = 0;

	(void)unused;
	for (;;) {
		(void)nur_futex_wait(&asleep, 0, nur_now() + TICK);
		if (falls_asleep(&idle_ticks)) {
			nur_lane_rescue(NULL, 0, 0);
			while (nur_load_relaxed(&asleep) != 0)
				(void)nur_futex_wait(&asleep, 1, INT64_MAX);
			beyond = idle_ticks = 0;
		} else if (idle_ticks == 0) {
			tick(&beyond);
		}
	}
}

NUR_THREAD(monitor, monitor_main)

/* Without a thread to be had it is tried again the next time. */
void
nur_monitor_watch(bool all_taken)
{
	if (all_taken == all_places_taken)
		return;
	all_places_taken = all_taken;
	if (!all_taken)
		return;
	if (!running) {
		running = nur_thread_start(monitor, NULL,
		    NUR_SERVANT_STACK) == 0;
		all_places_taken = running;
	} else if (nur_load_relaxed(&asleep) != 0) {
		nur_store_relaxed(&asleep, 0);
		nur_futex_wake(&asleep, 1);
	}
}

void
nur_monitor_after_fork(void)
{
	nur_store_relaxed(&asleep, 0);
	all_places_taken = running = false;
}
