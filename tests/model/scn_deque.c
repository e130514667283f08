/* SPDX-License-Identifier: MIT */
/*
 * The compute lane: each job goes to exactly one, from queues that their
 * owner uses without a lock; no job lies unseen while a place is free; and a
 * nursery closes when all of its light tasks have been told.
 *
 * Who gets a job marks it in a plain variable: two that get the same race.
 */
#include "config.h"

#include "scenario.h"

#include "base/thr.h"
#include "sched/deque.h"
#include "scope/light.h"
#include "scope/look.h"

/* ---- queues ---- */

#define JOBS	8
static struct nur_job jobs[JOBS];
static int sent[JOBS], taken[JOBS];
static struct nur_deque own, spoils[2];

static void
begin(void)
{
	nur_deque_init(&own);
	nur_deque_init(&spoils[0]);
	nur_deque_init(&spoils[1]);
	model_name(&own, "own");
	model_name(&spoils[0], "spoils");
	model_name(&spoils[1], "more spoils");
}

static void
push(int from, int to)
{
	int i;

	for (i = from; i < to; i++) {
		sent[i] = 1;
		nur_deque_push(&own, &jobs[i]);
	}
}

static bool
takes_one(struct nur_deque *d)
{
	struct nur_job *job = nur_deque_pop(d);

	if (job == NULL)
		return false;
	MODEL_ASSERT(sent[job - jobs] == 1);
	taken[job - jobs]++;
	return true;
}

static int
take_all(struct nur_deque *d)
{
	int count = 0;

	while (takes_one(d))
		count++;
	return count;
}

static void
steal_from_own(struct nur_deque *to, nur_fits_fn *fits, const void *arg)
{
	int count = (int)nur_deque_steal(&own, to, fits, arg);

	MODEL_ASSERT(take_all(to) == count);
	model_cover(count == 0 ? "nothing stolen" : count == 1 ?
	    "one stolen" : "many stolen");
}

static void
thief(void *to)
{
	steal_from_own(to, NULL, NULL);
}

static void
end(int count)
{
	int i;

	(void)take_all(&own);
	for (i = 0; i < count; i++)
		MODEL_ASSERT(taken[i] == 1);
}

/* Both may want the last one, and the owner finds what a thief draws back
 * from. */
static void
deque_one_thief(void)
{
	struct model_thread *t;

	begin();
	push(0, 2);
	t = model_start(thief, &spoils[0]);
	(void)takes_one(&own);
	(void)takes_one(&own);
	model_join(t);
	end(2);
}

/* Jobs come while the thief looks: it sees them as they were made. */
static void
deque_pushed_while_stolen(void)
{
	struct model_thread *t;

	begin();
	t = model_start(thief, &spoils[0]);
	push(0, 1);
	(void)takes_one(&own);
	push(1, 3);
	(void)takes_one(&own);
	model_join(t);
	end(3);
}

static void
deque_two_thieves(void)
{
	struct model_thread *t, *u;

	begin();
	push(0, 3);
	t = model_start(thief, &spoils[0]);
	u = model_start(thief, &spoils[1]);
	(void)takes_one(&own);
	(void)takes_one(&own);
	model_join(t);
	model_join(u);
	end(3);
}

/* The slots are full: the owner writes none that the thief has yet to read,
 * and the oldest go to a chain. */
static void
deque_full(void)
{
	struct model_thread *t;

	begin();
	push(0, (int)NUR_DEQUE_ROOM);
	t = model_start(thief, &spoils[0]);
	push((int)NUR_DEQUE_ROOM, (int)NUR_DEQUE_ROOM + 2);
	(void)takes_one(&own);
	model_join(t);
	if (nur_deque_length(&own) == UINT32_MAX)
		model_cover("chain");
	end((int)NUR_DEQUE_ROOM + 2);
}

/* A chain and no slots: it goes to one of them whole. */
static void
deque_chain(void)
{
	struct model_thread *t;
	int i;

	begin();
	push(0, (int)NUR_DEQUE_ROOM + 1);
	for (i = 0; i < (int)NUR_DEQUE_ROOM / 2; i++)
		(void)takes_one(&own);
	t = model_start(thief, &spoils[0]);
	(void)takes_one(&own);
	(void)takes_one(&own);
	model_join(t);
	end((int)NUR_DEQUE_ROOM + 1);
}

static void
sees_work(void *unused)
{
	(void)unused;
	MODEL_ASSERT(nur_deque_length(&own) > 0);
}

/* D5: while the owner takes one of a chain, the others are seen. */
static void
deque_unpacked(void)
{
	struct model_thread *t;
	int i;

	begin();
	push(0, (int)NUR_DEQUE_ROOM + 1);
	for (i = 0; i < (int)NUR_DEQUE_ROOM / 2 + 1; i++)
		(void)takes_one(&own);
	t = model_start(sees_work, NULL);
	(void)takes_one(&own);
	model_join(t);
	end((int)NUR_DEQUE_ROOM + 1);
}

/* An outsider gives his oldest to the one he calls, and a thief wants some. */
static void
deque_handed_over(void)
{
	struct model_thread *t;

	begin();
	push(0, 2);
	t = model_start(thief, &spoils[0]);
	nur_deque_hand_over(&own, &spoils[1]);
	(void)takes_one(&own);
	model_join(t);
	(void)take_all(&spoils[1]);
	end(2);
}

/* The thief wants some of them only, gives back what it had claimed, and
 * looks at none that the owner has. */
static bool
is_not(const struct nur_job *job, const void *unwanted)
{
	MODEL_ASSERT(sent[job - jobs] == 1 && taken[job - jobs] == 0);
	return job != unwanted;
}

static void
picky_thief(void *to)
{
	steal_from_own(to, is_not, &jobs[1]);
}

static void
deque_fits(void)
{
	struct model_thread *t;

	begin();
	push(0, 3);
	t = model_start(picky_thief, &spoils[0]);
	(void)takes_one(&own);
	(void)takes_one(&own);
	model_join(t);
	end(3);
}

/* D6: the oldest is of another nursery than the rest. */
static void
thief_of_one_nursery(void *to)
{
	unsigned count = nur_deque_steal(&own, to, NULL, NULL);

	MODEL_ASSERT(count <= 1);
	MODEL_ASSERT(take_all(to) == (int)count);
	model_cover(count == 1 ? "one stolen" : "none stolen");
}

static void
deque_of_nurseries(void)
{
	static char nurseries[2];
	struct model_thread *t;
	int i;

	begin();
	for (i = 0; i < 3; i++)
		jobs[i].nursery = (struct nursery *)(void *)&nurseries[i > 0];
	push(0, 3);
	t = model_start(thief_of_one_nursery, &spoils[0]);
	(void)takes_one(&own);
	model_join(t);
	end(3);
}

/* The owner ends: what it has goes to nobody's queue, where one more is
 * given, and thieves are at both. */
static void
give_one(void *to)
{
	sent[2] = 1;
	nur_deque_give(to, &jobs[2]);
}

static void
deque_moved(void)
{
	struct model_thread *t, *u;

	begin();
	push(0, 2);
	t = model_start(thief, &spoils[0]);
	u = model_start(give_one, &spoils[1]);
	nur_deque_move_all(&own, &spoils[1]);
	model_join(t);
	model_join(u);
	(void)take_all(&spoils[1]);
	end(3);
}

/* ---- light tasks ---- */

static struct nursery *n;
static int marks[4];
static uintptr_t opener;
static int64_t opened_at;

static int
try_open(unsigned flags)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.lane = NURSERY_COMPUTE;
	a.flags = flags;
	opener = nur_thread_mark();
	opened_at = model_now();
	return nursery_open(&n, &a);
}

static void
open_with(unsigned flags)
{
	MODEL_ASSERT(try_open(flags) == 0);
}

/* A worker that has idled long enough, and one that takes its place, would
 * find what lay unseen: so no time is to pass. */
static void
assert_nothing_lay(void)
{
	MODEL_ASSERT(model_now() == opened_at);
}

/* The worker looks once, and once more before it sleeps. */
static void
let_worker_sleep(void)
{
	model_pause();
	model_pause();
}

static int
mark(struct nursery_token *token, void *arg)
{
	(void)token;
	++*(int *)arg;
	model_cover(nur_thread_mark() == opener ? "opener ran it" :
	    "worker ran it");
	return 0;
}

static void
spawn_marks(int count)
{
	int i;

	for (i = 0; i < count; i++)
		MODEL_ASSERT(nursery_spawn(n, mark, &marks[i]) == 0);
}

static void
close_with_marks(int count)
{
	int i;

	MODEL_ASSERT(nursery_close(&n) == 0);
	for (i = 0; i < count; i++)
		MODEL_ASSERT(marks[i] == 1);
	assert_nothing_lay();
}

static void
lane_one_task(void)
{
	open_with(0);
	spawn_marks(1);
	close_with_marks(1);
}

static void
lane_two_tasks(void)
{
	open_with(0);
	spawn_marks(2);
	close_with_marks(2);
}

/* Nobody helps: a worker is called, or sees the job before it sleeps. */
static void
lane_nobody_helps(void)
{
	open_with(NURSERY_NO_HELP);
	let_worker_sleep();
	spawn_marks(1);
	close_with_marks(1);
}

/* The block is used again while the last task is told of. */
static void
lane_last_task_leaves(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		open_with(NURSERY_NO_HELP);
		MODEL_ASSERT(nursery_spawn(n, mark, &marks[i]) == 0);
		MODEL_ASSERT(nursery_close(&n) == 0);
		MODEL_ASSERT(marks[i] == 1);
	}
}

static int
spawn_another(struct nursery_token *token, void *arg)
{
	(void)token;
	++*(int *)arg;
	MODEL_ASSERT(nursery_spawn(nursery_current(), mark, &marks[1]) == 0);
	return 0;
}

static void
lane_members_spawn(void)
{
	open_with(0);
	MODEL_ASSERT(nursery_spawn(n, spawn_another, &marks[0]) == 0);
	close_with_marks(2);
}

/* A worker that has idled long enough leaves just when it is called. */
static void
lane_idle_worker_leaves(void)
{
	uint64_t threads, idle;

	open_with(NURSERY_NO_HELP);
	let_worker_sleep();
	spawn_marks(1);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1);
	nur_lane_counts(&threads, &idle);
	MODEL_ASSERT(idle <= threads);
}

/* ---- who spawns from outside ---- */

static int spawned;

static void
spawn_from_outside(void *handle)
{
	spawned = nursery_spawn(handle, mark, &marks[2]);
	MODEL_ASSERT(spawned == 0 || spawned == ESHUTDOWN);
	nursery_unref(handle);
}

/* What was accepted has run when the close returns: a task that ran after
 * this would race with the look. */
static void
lane_outsider_and_close(void)
{
	struct model_thread *t;
	int seen;

	open_with(0);
	t = model_start(spawn_from_outside, nursery_ref(n));
	MODEL_ASSERT(nursery_close(&n) == 0);
	seen = marks[2];
	model_join(t);
	MODEL_ASSERT(marks[2] == seen && seen == (spawned == 0));
	assert_nothing_lay();
	model_cover(spawned == 0 ? "accepted" : "shut down");
}

/* Both count for themselves, in one nursery. */
static void
lane_two_spawners(void)
{
	struct model_thread *t;
	int seen;

	open_with(0);
	t = model_start(spawn_from_outside, nursery_ref(n));
	spawn_marks(1);
	close_with_marks(1);
	seen = marks[2];
	model_join(t);
	MODEL_ASSERT(marks[2] == seen && seen == (spawned == 0));
	model_cover(spawned == 0 ? "accepted" : "shut down");
}

/* The opener has spawned, and told nobody; it waits for the one who waits. */
static uint32_t gate;

static void
open_gate(void)
{
	nur_store_release(&gate, 1);
	model_futex_wake(&gate, INT32_MAX);
}

static void
await_gate(void)
{
	while (nur_load_acquire(&gate) == 0)
		(void)model_futex_wait(&gate, 0, INT64_MAX);
}

static void
wait_for_all(void *handle)
{
	MODEL_ASSERT(nursery_wait(handle, NURSERY_NEVER) == 0);
	MODEL_ASSERT(marks[0] == 1);
	open_gate();
	nursery_unref(handle);
}

static void
lane_tally_is_collected(void)
{
	struct model_thread *t;

	open_with(0);
	spawn_marks(1);
	t = model_start(wait_for_all, nursery_ref(n));
	await_gate();
	model_join(t);
	close_with_marks(1);
}

/* It is collected while the opener counts one more. */
static void
wait_for_some(void *handle)
{
	MODEL_ASSERT(nursery_wait(handle, NURSERY_NEVER) == 0);
	MODEL_ASSERT(marks[0] == 1);
	nursery_unref(handle);
}

static void
lane_collected_while_counting(void)
{
	struct model_thread *t;

	open_with(0);
	spawn_marks(1);
	t = model_start(wait_for_some, nursery_ref(n));
	model_pause();
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[1]) == 0);
	model_join(t);
	close_with_marks(2);
}

/* ---- the end comes early ---- */

static void
cancel_n(void *handle)
{
	nursery_cancel(handle);
	nursery_unref(handle);
}

static struct nursery_counts
close_and_count(int want)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	int rc = nursery_close_with(&n, &r);

	MODEL_ASSERT(rc == 0 || rc == want);
	MODEL_ASSERT(nursery_report_counts(r, &c) == 0);
	nursery_report_free(r);
	assert_nothing_lay();
	return c;
}

/* What was accepted has run or been discarded, and the counts say which. */
static void
lane_cancel_and_queue(void)
{
	struct nursery_counts c;
	struct model_thread *t;
	int i, rc, accepted = 0;

	open_with(0);
	t = model_start(cancel_n, nursery_ref(n));
	for (i = 0; i < 2; i++) {
		rc = nursery_spawn(n, mark, &marks[i]);
		MODEL_ASSERT(rc == 0 || rc == ECANCELED);
		accepted += rc == 0;
	}
	c = close_and_count(ECANCELED);
	MODEL_ASSERT(c.spawned == (uint64_t)accepted);
	MODEL_ASSERT(c.succeeded == (uint64_t)(marks[0] + marks[1]));
	MODEL_ASSERT(c.succeeded + c.discarded == c.spawned);
	if (accepted < 2)
		model_cover("refused");
	model_cover(c.discarded > 0 ? "discarded" : "none discarded");
	model_join(t);
}

/* The first error cancels the others. */
static int
fail_with(struct nursery_token *token, void *arg)
{
	(void)token;
	return *(const int *)arg;
}

static void
lane_error(void)
{
	static int five = 5;
	struct nursery_counts c;
	int rc;

	open_with(0);
	MODEL_ASSERT(nursery_spawn(n, fail_with, &five) == 0);
	rc = nursery_spawn(n, mark, &marks[0]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	c = close_and_count(5);
	MODEL_ASSERT(c.failed == 1 && c.spawned == (uint64_t)(1 + (rc == 0)));
	MODEL_ASSERT(c.succeeded == (uint64_t)marks[0]);
	MODEL_ASSERT(c.succeeded + c.failed + c.discarded == c.spawned);
	model_cover(rc != 0 ? "refused" : marks[0] != 0 ? "ran" :
	    "discarded");
}

/* ---- places ---- */

static int
await_the_gate(struct nursery_token *token, void *arg)
{
	(void)token;
	nursery_blocking_begin();
	await_gate();
	nursery_blocking_end();
	++*(int *)arg;
	return 0;
}

static int
open_the_gate(struct nursery_token *token, void *arg)
{
	(void)token;
	open_gate();
	++*(int *)arg;
	return 0;
}

/* As many as there are places wait for one more, who is the last to be taken:
 * the first worker gets two, of which the older one is its next. */
static void
lane_place_is_given_away(void)
{
	open_with(NURSERY_NO_HELP);
	MODEL_ASSERT(nursery_spawn(n, await_the_gate, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn(n, open_the_gate, &marks[1]) == 0);
	MODEL_ASSERT(nursery_spawn(n, await_the_gate, &marks[2]) == 0);
	close_with_marks(3);
}

static int
pause_and_await(struct nursery_token *token, void *arg)
{
	model_pause();
	return await_the_gate(token, arg);
}

/* The last one is pushed just when they block. */
static void
lane_place_is_left(void)
{
	open_with(NURSERY_NO_HELP);
	let_worker_sleep();
	MODEL_ASSERT(nursery_spawn(n, pause_and_await, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn(n, pause_and_await, &marks[1]) == 0);
	model_pause();
	MODEL_ASSERT(nursery_spawn(n, open_the_gate, &marks[2]) == 0);
	close_with_marks(3);
}

/* A job as long as another one has not run; it does not block. */
static int
last_till_the_gate(struct nursery_token *token, void *arg)
{
	(void)token;
	await_gate();
	++*(int *)arg;
	return 0;
}

static void
spawn_a_long_one(void *handle)
{
	MODEL_ASSERT(nursery_spawn(handle, last_till_the_gate, &marks[1]) == 0);
	nursery_unref(handle);
}

/* Two push while the only worker goes to sleep; it gets the job of one of
 * them, and there is a place for the other's. */
static void
lane_given_and_another_lies(void)
{
	struct model_thread *t;

	open_with(NURSERY_NO_HELP);
	t = model_start(spawn_a_long_one, nursery_ref(n));
	MODEL_ASSERT(nursery_spawn(n, open_the_gate, &marks[0]) == 0);
	model_join(t);
	close_with_marks(2);
}

static int
await_and_spawn(struct nursery_token *token, void *arg)
{
	MODEL_ASSERT(await_the_gate(token, arg) == 0);
	MODEL_ASSERT(nursery_spawn(nursery_current(), mark, &marks[2]) == 0);
	return 0;
}

static int
open_and_spawn(struct nursery_token *token, void *arg)
{
	MODEL_ASSERT(open_the_gate(token, arg) == 0);
	MODEL_ASSERT(nursery_spawn(nursery_current(), mark, &marks[3]) == 0);
	return 0;
}

/* Another worker gets the queue that one has left, and both spawn. */
static void
lane_queue_is_left(void)
{
	open_with(NURSERY_NO_HELP);
	let_worker_sleep();
	MODEL_ASSERT(nursery_spawn(n, await_and_spawn, &marks[0]) == 0);
	model_pause();
	MODEL_ASSERT(nursery_spawn(n, open_and_spawn, &marks[1]) == 0);
	close_with_marks(4);
}

static int
spawn_and_await(struct nursery_token *token, void *arg)
{
	MODEL_ASSERT(nursery_spawn(nursery_current(), open_the_gate,
	    &marks[1]) == 0);
	model_pause();
	return await_the_gate(token, arg);
}

static bool
fits_nobody(const struct nur_job *job, const void *unused)
{
	(void)job;
	(void)unused;
	return false;
}

/* A thief looks at a job that is not for him just when the other worker looks
 * whether there is something left for it. */
static void
lane_looked_at(void)
{
	open_with(NURSERY_NO_HELP);
	/* Ours is the next to the worker's, and that is where we look. */
	MODEL_ASSERT(nur_lane_attach(nur_thr_self()) != NULL);
	let_worker_sleep();
	MODEL_ASSERT(nursery_spawn(n, spawn_and_await, &marks[0]) == 0);
	model_pause();
	MODEL_ASSERT(!nur_lane_steal(nur_thr_self(), fits_nobody, NULL, NULL));
	close_with_marks(2);
}

/* ---- tasks with a record ---- */

static void
lane_join(void)
{
	struct nursery_task *task;
	int result = -1;

	open_with(0);
	let_worker_sleep();
	MODEL_ASSERT(nursery_spawn_with(n, NULL, mark, &marks[0], &task) ==
	    0);
	MODEL_ASSERT(nursery_task_join(&task, &result) == 0);
	MODEL_ASSERT(result == 0 && marks[0] == 1);
	close_with_marks(1);
}

/* One that asks for its own handle gets a whole block. */
static struct nursery_task *self;

static int
keep_self(struct nursery_token *token, void *arg)
{
	(void)token;
	self = nursery_task_ref(nursery_self());
	MODEL_ASSERT(self != NULL);
	++*(int *)arg;
	return 0;
}

static void
lane_self(void)
{
	int result = -1;

	open_with(0);
	MODEL_ASSERT(nursery_spawn(n, keep_self, &marks[0]) == 0);
	close_with_marks(1);
	MODEL_ASSERT(nursery_task_join(&self, &result) == 0);
	MODEL_ASSERT(result == 0);
}

/* ---- seen from elsewhere ---- */

static void
see(const struct nur_light_seen *s, void *arg)
{
	(void)arg;
	MODEL_ASSERT(s->task.fn == mark && s->task.id != 0);
	model_cover("seen");
}

/* What the dump does. */
static void
look_at_tasks(void *handle)
{
	nur_lock(&nur_registry_lock);
	nur_look_begins();
	nur_light_each(handle, see, NULL);
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
	nursery_unref(handle);
}

static void
lane_look(void)
{
	struct model_thread *t;

	open_with(0);
	t = model_start(look_at_tasks, nursery_ref(n));
	spawn_marks(2);
	close_with_marks(2);
	model_join(t);
}

/* ---- shortage ---- */

/* Whatever is refused, what was accepted runs. */
static void
lane_shortage(void)
{
	int i, rc, accepted = 0;

	rc = try_open(NURSERY_NO_HELP);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM || rc == EAGAIN);
	if (rc != 0)
		return;
	for (i = 0; i < 2; i++) {
		rc = nursery_spawn(n, mark, &marks[i]);
		MODEL_ASSERT(rc == 0 || rc == ENOMEM);
		accepted += rc == 0;
	}
	model_cover(accepted == 2 ? "enough" : "short");
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] + marks[1] == accepted);
	assert_nothing_lay();
}

/* Each with a nursery of its own. */
static void
begin_and_spawn(void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *m;
	int rc;

	a.lane = NURSERY_COMPUTE;
	a.flags = NURSERY_NO_HELP;
	rc = nursery_open(&m, &a);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM || rc == EAGAIN);
	if (rc == EAGAIN)
		model_cover("refused");
	if (rc != 0)
		return;
	rc = nursery_spawn(m, mark, arg);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM);
	MODEL_ASSERT(nursery_close(&m) == 0);
	MODEL_ASSERT(*(int *)arg == (rc == 0));
}

/* Both need the first worker, which may not come. */
static void
lane_two_begin(void)
{
	struct model_thread *t = model_start(begin_and_spawn, &marks[0]);

	begin_and_spawn(&marks[1]);
	model_join(t);
}

static int
spawn_opener_and_await(struct nursery_token *token, void *arg)
{
	if (nursery_spawn(nursery_current(), open_the_gate, &marks[1]) != 0)
		open_gate();
	return await_the_gate(token, arg);
}

/* No thread for the second place, and then the first one is left. */
static void
lane_shortage_and_block(void)
{
	int rc = try_open(NURSERY_NO_HELP);

	MODEL_ASSERT(rc == 0 || rc == ENOMEM || rc == EAGAIN);
	if (rc != 0)
		return;
	rc = nursery_spawn(n, spawn_opener_and_await, &marks[0]);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == (rc == 0));
}

const struct scenario deque_scenarios[] = {
	{ "deque-one-thief", deque_one_thief, { .stale = 1 },
	    { "nothing stolen", "one stolen" }, 3, -1 },
	{ "deque-pushed-while-stolen", deque_pushed_while_stolen,
	    { .stale = 1 }, { "nothing stolen", "one stolen" }, 3, -1 },
	{ "deque-two-thieves", deque_two_thieves, { 0 },
	    { "nothing stolen", "one stolen", "many stolen" }, 2, 4 },
	{ "deque-full", deque_full, { 0 }, { "many stolen", "chain" },
	    3, -1 },
	{ "deque-chain", deque_chain, { 0 },
	    { "one stolen", "many stolen" }, 3, -1 },
	{ "deque-unpacked", deque_unpacked, { 0 }, { NULL }, 3, -1 },
	{ "deque-handed-over", deque_handed_over, { 0 },
	    { "nothing stolen", "one stolen" }, 3, -1 },
	{ "deque-fits", deque_fits, { 0 }, { "one stolen" }, 3, -1 },
	{ "deque-of-nurseries", deque_of_nurseries, { 0 }, { "one stolen" },
	    3, -1 },
	{ "deque-moved", deque_moved, { 0 },
	    { "nothing stolen", "one stolen" }, 3, -1 },
	{ "lane-one-task", lane_one_task, { 0 },
	    { "opener ran it", "worker ran it" }, 1, 2 },
	{ "lane-two-tasks", lane_two_tasks, { 0 },
	    { "opener ran it", "worker ran it" }, 1, 2 },
	{ "lane-nobody-helps", lane_nobody_helps, { 0 },
	    { "worker ran it" }, 1, 2 },
	{ "lane-last-task-leaves", lane_last_task_leaves, { 0 }, { NULL },
	    1, 2 },
	{ "lane-members-spawn", lane_members_spawn, { 0 },
	    { "opener ran it", "worker ran it" }, 1, 2 },
	{ "lane-idle-worker-leaves", lane_idle_worker_leaves,
	    { .early = 1 }, { "worker ran it" }, 2, 2 },
	{ "lane-outsider-and-close", lane_outsider_and_close, { 0 },
	    { "accepted", "shut down" }, 1, 2 },
	{ "lane-two-spawners", lane_two_spawners, { 0 },
	    { "accepted", "shut down" }, 1, 1 },
	{ "lane-tally-is-collected", lane_tally_is_collected, { 0 },
	    { NULL }, 1, 2 },
	{ "lane-collected-while-counting", lane_collected_while_counting,
	    { 0 }, { NULL }, 1, 1 },
	{ "lane-cancel-and-queue", lane_cancel_and_queue, { 0 },
	    { "refused", "discarded", "none discarded" }, 1, 1 },
	{ "lane-error", lane_error, { 0 },
	    { "refused", "ran", "discarded" }, 1, 2 },
	{ "lane-place-is-given-away", lane_place_is_given_away, { 0 },
	    { NULL }, 1, 1 },
	{ "lane-place-is-left", lane_place_is_left, { 0 }, { NULL }, 0, 1 },
	{ "lane-given-and-another-lies", lane_given_and_another_lies, { 0 },
	    { NULL }, 1, 2 },
	{ "lane-queue-is-left", lane_queue_is_left, { 0 },
	    { "worker ran it" }, 1, 1 },
	{ "lane-looked-at", lane_looked_at, { 0 }, { NULL }, 1, 1 },
	{ "lane-join", lane_join, { 0 }, { NULL }, 1, 2 },
	{ "lane-self", lane_self, { 0 }, { NULL }, 1, 2 },
	{ "lane-look", lane_look, { 0 }, { "seen" }, 1, 2 },
	{ "lane-shortage", lane_shortage, { .faults = 1 },
	    { "enough", "short" }, 1, 1 },
	{ "lane-two-begin", lane_two_begin, { .faults = 1 },
	    { "refused" }, 1, 1 },
	{ "lane-shortage-and-block", lane_shortage_and_block,
	    { .faults = 1 }, { NULL }, 1, 1 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
