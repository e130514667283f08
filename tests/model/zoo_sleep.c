/* SPDX-License-Identifier: MIT */
/* Animals that sleep too long, wake too early, or wait for each other. */
#include "config.h"

#include "zoo.h"

#include <errno.h>

static uint32_t stop, seq, value;
static nur_raw_mutex a, b;
static bool broken;

/* ---- a wake-up between the look and the sleep ---- */

static void
sleeper(void *unused)
{
	uint32_t seen;

	(void)unused;
	for (;;) {
		seen = nur_load_acquire(&seq);
		if (nur_load_acquire(&stop) != 0)
			return;
		if (broken)
			seen = nur_load_acquire(&seq);
		(void)model_futex_wait(&seq, seen, INT64_MAX);
	}
}

static void
stop_sleeper(void)
{
	struct model_thread *t = model_start(sleeper, NULL);

	nur_store_release(&stop, 1);
	(void)nur_fetch_add_relaxed(&seq, 1);
	model_futex_wake(&seq, 1);
	model_join(t);
}

static void
lost_wakeup(void)
{
	broken = true;
	stop_sleeper();
}

static void
kept_wakeup(void)
{
	stop_sleeper();
}

/* ---- one wake-up for two who sleep for different reasons ---- */

static void
wait_for(void *arg)
{
	uint32_t wanted = *(uint32_t *)arg, seen;

	while ((seen = nur_load_acquire(&value)) != wanted)
		(void)model_futex_wait(&value, seen, INT64_MAX);
	nur_store_release(&value, wanted + 1);
	model_futex_wake(&value, broken ? 1 : INT32_MAX);
}

static void
relay(void)
{
	static uint32_t wanted[] = { 1, 2 };
	struct model_thread *t[2];
	int i;

	for (i = 0; i < 2; i++)
		t[i] = model_start(wait_for, &wanted[i]);
	nur_store_release(&value, 1);
	model_futex_wake(&value, broken ? 1 : INT32_MAX);
	for (i = 0; i < 2; i++)
		model_join(t[i]);
}

static void
wrong_one_woken(void)
{
	broken = true;
	relay();
}

static void
all_woken(void)
{
	relay();
}

/* ---- a wake-up for no reason ---- */

static void
set_value(void *unused)
{
	(void)unused;
	nur_store_release(&value, 1);
	model_futex_wake(&value, 1);
}

static void
wait_once(void)
{
	struct model_thread *t = model_start(set_value, NULL);

	if (nur_load_acquire(&value) == 0)
		(void)model_futex_wait(&value, 0, INT64_MAX);
	MODEL_ASSERT(nur_load_acquire(&value) == 1);
	model_join(t);
}

static void
wait_in_loop(void)
{
	struct model_thread *t = model_start(set_value, NULL);

	while (nur_load_acquire(&value) == 0)
		if (model_futex_wait(&value, 0, INT64_MAX) == 0)
			model_cover("woken");
	model_join(t);
}

/* ---- a deadline that passes while the other is merely slow ---- */

static void
trust_in_time(void)
{
	struct model_thread *t = model_start(set_value, NULL);

	if (nur_load_acquire(&value) == 0 && model_futex_wait(&value, 0,
	    model_now() + 1000) == ETIMEDOUT)
		model_fail("the other had a whole microsecond");
	model_join(t);
}

static void
time_passes(void)
{
	int64_t begun = model_now();

	MODEL_ASSERT(model_futex_wait(&value, 0, begun + 1000) == ETIMEDOUT);
	MODEL_ASSERT(model_now() == begun + 1000);
	MODEL_ASSERT(model_futex_wait(&value, 0, begun) == ETIMEDOUT);
	MODEL_ASSERT(model_futex_wait(&value, 1, INT64_MAX) == EAGAIN);
}

/* ---- locks ---- */

static void
take_both(nur_raw_mutex *first, nur_raw_mutex *second)
{
	nur_raw_mutex_lock(first);
	nur_raw_mutex_lock(second);
	nur_raw_mutex_unlock(second);
	nur_raw_mutex_unlock(first);
}

static void
take_ba(void *unused)
{
	(void)unused;
	if (broken)
		take_both(&b, &a);
	else
		take_both(&a, &b);
}

static void
two_locks(void)
{
	struct model_thread *t = model_start(take_ba, NULL);

	take_both(&a, &b);
	model_join(t);
}

static void
abba(void)
{
	broken = true;
	two_locks();
}

static void
abab(void)
{
	two_locks();
}

static void
relock(void)
{
	nur_raw_mutex_lock(&a);
	nur_raw_mutex_lock(&a);
}

static void
lock_only(void *unused)
{
	(void)unused;
	nur_raw_mutex_lock(&a);
}

static void
unlock_anothers(void)
{
	model_join(model_start(lock_only, NULL));
	nur_raw_mutex_unlock(&a);
}

static void
not_mine(void *unused)
{
	(void)unused;
	nur_raw_mutex_unlock(&a);
}

static void
unlock_mine(void)
{
	nur_raw_mutex_lock(&a);
	model_join(model_start(not_mine, NULL));
}

static void
destroy_held(void)
{
	nur_raw_mutex_lock(&a);
	nur_raw_mutex_fini(&a);
}

static void
lock_destroyed(void)
{
	nur_raw_mutex_fini(&a);
	nur_raw_mutex_lock(&a);
}

static void
reborn_mutex(void)
{
	nur_raw_mutex_init(&a);
	nur_raw_mutex_fini(&a);
	nur_raw_mutex_init(&a);
	nur_raw_mutex_lock(&a);
	MODEL_ASSERT(model_locks_held() == 1);
	nur_raw_mutex_unlock(&a);
}

static void
try_and_ask(void *unused)
{
	(void)unused;
	if (nur_raw_mutex_trylock(&a)) {
		model_cover("tried");
		nur_raw_mutex_unlock(&a);
	}
	nur_raw_mutex_lock(&a);
	nur_raw_mutex_unlock(&a);
}

static void
contended(void)
{
	struct model_thread *t = model_start(try_and_ask, NULL);

	nur_raw_mutex_lock(&a);
	if (nur_raw_mutex_contended(&a))
		model_cover("somebody waits");
	else
		model_cover("nobody waits");
	nur_raw_mutex_unlock(&a);
	model_join(t);
}

const struct animal zoo_sleep[] = {
	{ "lost wake-up", lost_wakeup, "lost wake-up: 1 thread sleeps",
	    { 0 }, { NULL } },
	{ "lost wake-up, mended", kept_wakeup, NULL, { 0 }, { NULL } },
	{ "wakes the wrong one", wrong_one_woken, "lost wake-up",
	    { 0 }, { NULL } },
	{ "wakes the wrong one, mended", all_woken, NULL, { 0 }, { NULL } },
	{ "waits once", wait_once, "nur_load_acquire(&value) == 1",
	    { .spurious = 1 }, { NULL } },
	{ "waits once, unprovoked", wait_once, NULL, { 0 }, { NULL } },
	{ "waits once, mended", wait_in_loop, NULL, { .spurious = 2 },
	    { "woken" } },
	{ "trusts in time", trust_in_time, "microsecond", { .early = 1 },
	    { NULL } },
	{ "trusts in time, unprovoked", trust_in_time, NULL, { 0 },
	    { NULL } },
	{ "time passes", time_passes, NULL, { 0 }, { NULL } },
	{ "ABBA", abba, "deadlock: 2 threads wait for a mutex", { 0 },
	    { NULL } },
	{ "ABBA, mended", abab, NULL, { 0 }, { NULL } },
	{ "locks twice", relock, "locks a mutex that it holds", { 0 },
	    { NULL } },
	{ "ends with a lock", unlock_anothers, "ends with 1 mutex", { 0 },
	    { NULL } },
	{ "unlocks another's", unlock_mine, "does not hold", { 0 }, { NULL } },
	{ "destroys a held mutex", destroy_held, "destroyed while", { 0 },
	    { NULL } },
	{ "locks a dead mutex", lock_destroyed, "lock of a destroyed",
	    { 0 }, { NULL } },
	{ "mutex born again", reborn_mutex, NULL, { 0 }, { NULL } },
	{ "asks for contention", contended, NULL, { 0 },
	    { "tried", "somebody waits", "nobody waits" } },
	{ NULL, NULL, NULL, { 0 }, { NULL } }
};
