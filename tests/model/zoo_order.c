/* SPDX-License-Identifier: MIT */
/* Animals that take memory for what it is not: orders, races, old values. */
#include "config.h"

#include "zoo.h"

static uint32_t flag, x, y, counter;
static int payload;
static bool broken;

static void
together(void (*other)(void *), void (*self)(void *))
{
	struct model_thread *t = model_start(other, NULL);

	self(NULL);
	model_join(t);
}

/* ---- publishing ---- */

static void
publish(void *unused)
{
	(void)unused;
	payload = 42;
	if (broken)
		nur_store_relaxed(&flag, 1);
	else
		nur_store_release(&flag, 1);
}

static void
consume(void *unused)
{
	(void)unused;
	if (nur_load_acquire(&flag) == 0)
		return;
	model_cover("published");
	MODEL_ASSERT(payload == 42);
}

static void
missing_release(void)
{
	broken = true;
	together(publish, consume);
}

static void
with_release(void)
{
	together(publish, consume);
}

/* The same with atomic data, where it is no race but an old value. */
static void
publish_atomic(void *unused)
{
	(void)unused;
	nur_store_relaxed(&x, 42);
	if (broken)
		nur_store_relaxed(&flag, 1);
	else
		nur_store_release(&flag, 1);
}

static void
consume_atomic(void *unused)
{
	(void)unused;
	if (nur_load_acquire(&flag) != 0)
		MODEL_ASSERT(nur_load_relaxed(&x) == 42);
}

static void
stale_payload(void)
{
	broken = true;
	together(publish_atomic, consume_atomic);
}

static void
fresh_payload(void)
{
	together(publish_atomic, consume_atomic);
}

/* A read-modify-write in between does not break the release sequence. */
static void
publish_counted(void *unused)
{
	(void)unused;
	payload = 42;
	nur_store_release(&flag, 1);
}

static void
count_on(void *unused)
{
	(void)unused;
	if (nur_load_relaxed(&flag) == 1)
		(void)nur_fetch_add_relaxed(&flag, 1);
}

static void
release_sequence(void)
{
	struct model_thread *t = model_start(publish_counted, NULL);
	struct model_thread *u = model_start(count_on, NULL);

	if (nur_load_acquire(&flag) == 2) {
		model_cover("counted");
		MODEL_ASSERT(payload == 42);
	}
	model_join(t);
	model_join(u);
}

/* Two looks at one location: it never goes back. */
static void
step_up(void *unused)
{
	(void)unused;
	nur_store_relaxed(&x, 1);
	nur_store_relaxed(&x, 2);
}

static void
look_twice(void *unused)
{
	uint32_t first = nur_load_relaxed(&x), second = nur_load_relaxed(&x);

	(void)unused;
	MODEL_ASSERT(second >= first);
	if (first == 1 && second == 1)
		model_cover("still 1");
}

static void
coherence(void)
{
	together(step_up, look_twice);
}

/* ---- Dekker: each says something, then listens ---- */

static uint32_t heard[2];

static void
say_x(void *unused)
{
	(void)unused;
	nur_store_release(&x, 1);
	if (!broken)
		nur_heavy_barrier();
	heard[0] = nur_load_acquire(&y);
}

static void
say_y(void *unused)
{
	(void)unused;
	nur_store_release(&y, 1);
	if (!broken)
		nur_light_barrier();
	heard[1] = nur_load_acquire(&x);
}

static void
dekker(void)
{
	together(say_x, say_y);
	MODEL_ASSERT(heard[0] == 1 || heard[1] == 1);
}

static void
dekker_broken(void)
{
	broken = true;
	dekker();
}

/* A fence orders what is seen; it does not make a plain access safe. */
static void
write_and_fence(void *unused)
{
	(void)unused;
	payload = 1;
	model_fence();
}

static void
fence_and_read(void *unused)
{
	(void)unused;
	model_fence();
	(void)*(volatile int *)&payload;
}

static void
fences_only(void)
{
	together(write_and_fence, fence_and_read);
}

/* Relaxed flags between fences do. */
static void
write_fence_flag(void *unused)
{
	(void)unused;
	payload = 1;
	model_fence();
	nur_store_relaxed(&flag, 1);
}

static void
flag_fence_read(void *unused)
{
	(void)unused;
	if (nur_load_relaxed(&flag) == 0)
		return;
	model_fence();
	MODEL_ASSERT(payload == 1);
	model_cover("through fences");
}

static void
fences_and_flag(void)
{
	together(write_fence_flag, flag_fence_read);
}

/* ---- counting without a read-modify-write ---- */

static void
count_badly(void *unused)
{
	(void)unused;
	nur_store_relaxed(&counter, nur_load_relaxed(&counter) + 1);
}

static void
count_well(void *unused)
{
	uint32_t seen = nur_load_relaxed(&counter);

	(void)unused;
	while (!nur_cas_acq_rel(&counter, &seen, seen + 1))
		model_cover("tried again");
}

static void
lost_count(void)
{
	together(count_badly, count_badly);
	MODEL_ASSERT(counter == 2);
}

static void
kept_count(void)
{
	together(count_well, count_well);
	MODEL_ASSERT(counter == 2);
}

/*
 * Two threads, three times each: 2 can come out, but that takes four
 * preemptions; three threads, twice each: 2 takes one.
 */
static void
count_times(int times)
{
	int i;

	for (i = 0; i < times; i++)
		count_badly(NULL);
}

static void
count_thrice(void *unused)
{
	(void)unused;
	count_times(3);
}

static void
two_counters(void)
{
	together(count_thrice, count_thrice);
	MODEL_ASSERT(counter != 2);
}

static void
count_twice(void *unused)
{
	(void)unused;
	count_times(2);
}

static void
three_counters(void)
{
	struct model_thread *t[2];
	int i;

	for (i = 0; i < 2; i++)
		t[i] = model_start(count_twice, NULL);
	count_twice(NULL);
	for (i = 0; i < 2; i++)
		model_join(t[i]);
	if (counter == 2)
		model_cover("2");
	if (counter == 6)
		model_cover("6");
	MODEL_ASSERT(counter >= 2 && counter <= 6);
}

/* ---- plain data ---- */

static void
write_plain(void *unused)
{
	(void)unused;
	payload++;
}

static void
plain_race(void)
{
	together(write_plain, write_plain);
}

static nur_raw_mutex lock;

static void
write_locked(void *unused)
{
	nur_raw_mutex_lock(&lock);
	write_plain(unused);
	nur_raw_mutex_unlock(&lock);
}

static void
plain_locked(void)
{
	together(write_locked, write_locked);
	MODEL_ASSERT(payload == 2);
}

/* Neighbours in one word are no race. */
static struct { uint8_t left, right; uint16_t both; } pair;

static void
write_left(void *unused)
{
	(void)unused;
	pair.left = 1;
}

static void
write_right(void *unused)
{
	(void)unused;
	pair.right = 1;
	pair.both = 1;
}

static void
neighbours(void)
{
	together(write_left, write_right);
	MODEL_ASSERT(pair.left == 1 && pair.right == 1);
}

static void
write_atomic(void *unused)
{
	(void)unused;
	nur_store_release(&flag, 1);
}

static void
read_plainly(void *unused)
{
	(void)unused;
	if (*(volatile uint32_t *)&flag != 0)
		model_cover("set");
}

static void
mixed_race(void)
{
	together(write_atomic, read_plainly);
}

const struct animal zoo_order[] = {
	{ "missing release", missing_release, "data race at payload",
	    { 0 }, { NULL } },
	{ "missing release, mended", with_release, NULL, { 0 },
	    { "published" } },
	{ "stale payload", stale_payload, "nur_load_relaxed(&x) == 42",
	    { .stale = 1 }, { NULL } },
	{ "stale payload, unprovoked", stale_payload, NULL, { 0 },
	    { NULL } },
	{ "stale payload, mended", fresh_payload, NULL, { .stale = 2 },
	    { NULL } },
	{ "release sequence", release_sequence, NULL, { .stale = 2 },
	    { "counted" } },
	{ "coherence", coherence, NULL, { .stale = 2 }, { "still 1" } },
	{ "Dekker without fences", dekker_broken, "heard[0] == 1",
	    { .stale = 2 }, { NULL } },
	{ "Dekker without fences, unprovoked", dekker_broken, NULL, { 0 },
	    { NULL } },
	{ "Dekker with fences", dekker, NULL, { .stale = 2 }, { NULL } },
	{ "fences alone", fences_only, "data race at payload", { 0 },
	    { NULL } },
	{ "fences and a flag", fences_and_flag, NULL, { .stale = 2 },
	    { "through fences" } },
	{ "lost count", lost_count, "counter == 2", { 0 }, { NULL } },
	{ "lost count, mended", kept_count, NULL, { .stale = 1 },
	    { "tried again" } },
	{ "three counters", three_counters, NULL, { .preemptions = -1 },
	    { "2", "6" } },
	{ "two counters, bound 3", two_counters, NULL, { .preemptions = 3 },
	    { NULL } },
	{ "two counters, bound 4", two_counters, "counter != 2",
	    { .preemptions = 4 }, { NULL } },
	{ "plain race", plain_race, "data race at payload", { 0 }, { NULL } },
	{ "plain race, mended", plain_locked, NULL, { 0 }, { NULL } },
	{ "neighbours", neighbours, NULL, { 0 }, { NULL } },
	{ "atomic and plain", mixed_race, "data race at flag", { 0 },
	    { NULL } },
	{ NULL, NULL, NULL, { 0 }, { NULL } }
};
