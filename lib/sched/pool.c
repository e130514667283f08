/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "sched/pool.h"

#include "base/sys.h"
#include "base/thr.h"
#include "token/vacant.h"

#define IDLE_FOR	INT64_C(10000000000)	/* then a thread leaves */

struct nursery_task *(*nur_pool_run)(struct nursery_task *task);

struct nur_mutex nur_pool_lock = NUR_MUTEX_INIT(NUR_RANK_POOL);
/* under nur_pool_lock; last in, first out */
static struct nur_link idle = { &idle, &idle };
static uint64_t idle_count, thread_count;

static bool
is_oldest_locked(const struct nur_thr *thr)
{
	return idle.next == &thr->idle;
}

/* P3: another one is the oldest then, and has to learn it. */
static void
leave_idle_locked(struct nur_thr *thr)
{
	bool was_oldest = is_oldest_locked(thr);

	nur_list_remove(&thr->idle);
	idle_count--;
	if (was_oldest && !nur_list_empty(&idle))
		nur_unpark(NUR_CONTAINER(idle.next, struct nur_thr, idle));
}

static struct nur_thr *
pop_idle_locked(size_t stack_size)
{
	struct nur_link *l;
	struct nur_thr *thr;

	for (l = idle.prev; l != &idle; l = l->prev) {
		thr = NUR_CONTAINER(l, struct nur_thr, idle);
		if (thr->stack_size >= stack_size) {
			leave_idle_locked(thr);
			return thr;
		}
	}
	return NULL;
}

static struct nursery_task *
handed(const struct nur_thr *self)
{
	/* Acquire: pairs with the release in nur_pool_start(). */
	return nur_load_acquire(&self->handed);
}

/* P2: leaves the list, unless it has been taken out and given a task. */
static struct nursery_task *
retire(struct nur_thr *self)
{
	struct nursery_task *task;

	nur_lock(&nur_pool_lock);
	task = handed(self);
	if (task == NULL)
		leave_idle_locked(self);
	nur_unlock(&nur_pool_lock);
	return task;
}

static bool
become_idle(struct nur_thr *self)
{
	bool oldest;

	nur_store_relaxed(&self->handed, NULL);
	nur_lock(&nur_pool_lock);
	nur_list_append(&idle, &self->idle);
	idle_count++;
	oldest = is_oldest_locked(self);
	nur_unlock(&nur_pool_lock);
	return oldest;
}

static bool
is_oldest(const struct nur_thr *self)
{
	bool oldest;

	nur_lock(&nur_pool_lock);
	oldest = is_oldest_locked(self);
	nur_unlock(&nur_pool_lock);
	return oldest;
}

/* Waits for the next task; NULL when this thread has idled long enough. */
static struct nursery_task *
next_task(struct nur_thr *self)
{
	int64_t until = nur_now() + IDLE_FOR;
	struct nursery_task *task;
	bool oldest;

	nur_vacant_release(self, NULL);
	for (oldest = become_idle(self);; oldest = is_oldest(self)) {
		if (nur_park(self, oldest ? until : NURSERY_NEVER) ==
		    ETIMEDOUT)
			return retire(self);
		task = handed(self);
		if (task != NULL)
			return task;
	}
}

static void
count_thread(int64_t change)
{
	nur_lock(&nur_pool_lock);
	thread_count += (uint64_t)change;
	nur_unlock(&nur_pool_lock);
}

static void
leave_pool(void *self)
{
	count_thread(-1);
	if (self != NULL)
		nur_thr_ends(self);
}

static void
worker_main(void *arg)
{
	struct nur_thr *self = arg;
	bool told = nur_thr_become(self);
	struct nursery_task *task = self->handed;

	pthread_cleanup_push(leave_pool, told ? NULL : self);
	while (task != NULL) {
		task = nur_pool_run(task);
		if (task == NULL)
			task = next_task(self);
	}
	pthread_cleanup_pop(1);
}

NUR_THREAD(worker, worker_main)

static int
start_thread(struct nursery_task *task, size_t stack_size)
{
	struct nur_thr *thr = nur_thr_new();
	int rc;

	if (thr == NULL)
		return EAGAIN;
	thr->handed = task;
	thr->stack_size = stack_size;
	count_thread(1);
	rc = nur_thread_start(worker, thr, stack_size);
	if (rc != 0) {
		count_thread(-1);
		nur_thr_free(thr);
	}
	return rc;
}

int
nur_pool_start(struct nursery_task *task, size_t stack_size)
{
	struct nur_thr *thr;

	nur_lock(&nur_pool_lock);
	thr = pop_idle_locked(stack_size);
	if (thr != NULL)
		/* Release: publishes the task; pairs with handed().  Under the
		 * lock, for retire(). */
		nur_store_release(&thr->handed, task);
	nur_unlock(&nur_pool_lock);
	if (thr == NULL)
		return start_thread(task, stack_size);
	nur_unpark(thr);
	return 0;
}

void
nur_pool_counts(uint64_t *threads, uint64_t *idle_threads)
{
	nur_lock(&nur_pool_lock);
	*threads = thread_count;
	*idle_threads = idle_count;
	nur_unlock(&nur_pool_lock);
}

void
nur_pool_after_fork(void)
{
	nur_list_init(&idle);
	idle_count = thread_count = 0;
}
