/* SPDX-License-Identifier: MIT */
/*
 * The system, as the library meets it in the model: stands in the place of
 * lib/base/sys.c, sync.c, clock.c, cpus.c and where.c and of
 * lib/sched/monitor.c, with the same headers.  Time is the machine's, memory
 * is the run's, a panic is a failure of the run.  There are no descriptors but
 * eventfds, no signals, no environment, two processors, and nobody who blocks
 * without saying so.
 */
#include "config.h"

#include "base/lock.h"
#include "base/slab.h"
#include "base/check.h"
#include "base/cpus.h"
#include "base/sys.h"
#include "base/thr.h"
#include "base/where.h"
#include "engine.h"
#include "sched/monitor.h"
#include "scope/nursery.h"

#include <signal.h>
#include <sys/prctl.h>

/* ---- base/sys.h ---- */

static bool
may_fail(enum nur_resource r)
{
	return r != NUR_RES_FD && model_fault();
}

bool (*nur_fault_hook)(enum nur_resource r) = may_fail;

void *
nur_alloc(size_t size)
{
	return nur_fault(NUR_RES_MEMORY) ? NULL :
	    eng_heap_alloc(size, 16, BLOCK_HEAP, CALLER);
}

void
nur_free(void *p)
{
	model_free(p);
}

void *
nur_map_aligned(size_t size)
{
	return nur_fault(NUR_RES_MEMORY) ? NULL :
	    eng_heap_alloc(size, size, BLOCK_MAP, CALLER);
}

/* An eventfd is a word that is free memory once it is closed. */
#define EVENTFDS	8
static uint32_t *eventfd[EVENTFDS];
static uint32_t eventfds;

int
nur_eventfd(void)
{
	uint32_t i = nur_fetch_add_relaxed(&eventfds, 1);

	if (i == EVENTFDS)
		model_fail("more eventfds than %d: raise EVENTFDS", EVENTFDS);
	nur_store_release(&eventfd[i], (uint32_t *)model_alloc(
	    sizeof *eventfd[i]));
	return (int)i;
}

static uint32_t *
open_eventfd(int fd)
{
	uint32_t *word = nur_load_acquire(&eventfd[fd]);

	if (word == NULL)
		model_fail("eventfd %d is closed", fd);
	return word;
}

void
nur_eventfd_ring(int fd)
{
	nur_store_release(open_eventfd(fd), 1);
}

bool
model_eventfd_is_readable(int fd)
{
	return nur_load_acquire(open_eventfd(fd)) != 0;
}

bool
model_eventfd_is_open(int fd)
{
	return nur_load_acquire(&eventfd[fd]) != NULL;
}

void
nur_close(int fd)
{
	uint32_t *word = nur_exchange_acq_rel(&eventfd[fd], NULL);

	if (word == NULL)
		model_fail("eventfd %d is closed twice", fd);
	model_free(word);
}

int64_t
nur_now(void)
{
	return model_now();
}

int
nur_gettid(void)
{
	return eng->current->id + 1;
}

void
nur_where(int tid, char *to, size_t size)
{
	(void)tid;
	(void)size;
	to[0] = '\0';
}

const char *
nur_getenv(const char *name)
{
	(void)name;
	return NULL;
}

void
nur_bad_env(const char *name, const char *value, const char *expected)
{
	model_fail("%s=%s in the environment: expected %s", name, value,
	    expected);
}

void
nur_panic(const char *what, const char *file, int line)
{
	const char *name = strrchr(file, '/');

	model_fail("%s (%s:%d)", what, name == NULL ? file : name + 1, line);
}

/* ---- base/cpus.h ---- */

unsigned
nur_usable_cpus(void)
{
	return 2;
}

/* ---- sched/monitor.h: asks the kernel who blocks ---- */

void
nur_monitor_watch(bool all_taken)
{
	(void)all_taken;
}

void
nur_monitor_after_fork(void)
{
}

/* ---- inspect/: reads the environment, of which there is none ---- */

void
nur_first_open(void)
{
}

/* ---- base/sync.h ---- */

int
nur_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline)
{
	return model_futex_wait(word, expected, deadline);
}

void
nur_futex_wake(uint32_t *word, int count)
{
	model_futex_wake(word, count);
}

void
nur_futex_gather(uint32_t *word, uint32_t *at)
{
	model_futex_requeue(word, at);
}

int
nur_thread_start(nur_thread_fn *fn, void *arg, size_t stack_size)
{
	(void)stack_size;
	if (nur_fault(NUR_RES_THREAD))
		return EAGAIN;
	model_detach(model_start(fn, arg));
	return 0;
}

/* Ours come before the C library's: the interrupt region uses them. */
int
pthread_kill(pthread_t thread, int signo)
{
	(void)thread;
	(void)signo;
	model_outside("pthread_kill");
}

int
pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	(void)how;
	(void)set;
	(void)old;
	model_outside("pthread_sigmask");
}

/* Naming the test's only thread for each task would cost a system call. */
int
prctl(int option, ...)
{
	(void)option;
	return 0;
}

/* ---- ranks of locks: a thread of the model is no system thread ---- */

#ifdef NUR_CHECKS
void
nur_rank_push(const struct nur_mutex *m)
{
	struct model_thread *t = eng->current;
	const struct nur_mutex *last = t->depth == 0 ? NULL :
	    t->ranks[t->depth - 1];

	if (last != NULL && last->rank >= m->rank)
		model_fail("lock rank order violated: %d after %d",
		    (int)m->rank, (int)last->rank);
	if (t->depth == MODEL_RANKS)
		model_fail("more than %d locks held: raise MODEL_RANKS",
		    MODEL_RANKS);
	t->ranks[t->depth++] = m;
}

void
nur_rank_pop(const struct nur_mutex *m)
{
	struct model_thread *t = eng->current;
	int i = t->depth - 1;

	while (i >= 0 && t->ranks[i] != m)
		i--;
	NUR_ASSERT(i >= 0);
	for (; i < t->depth - 1; i++)
		t->ranks[i] = t->ranks[i + 1];
	t->depth--;
}

void
nur_rank_assert_none(const char *where)
{
	if (eng->current->depth != 0)
		model_fail("%s", where);
}
#endif

/* ---- the ends of a thread and of a run ---- */

void
model_thread_ends(void)
{
	struct nur_thr *self = nur_tls_get();

	if (self != NULL)
		nur_thr_ends(self);
}

void
model_nothing_lives(void)
{
	MODEL_ASSERT(nur_token_live() == 0);
	MODEL_ASSERT(nur_nurseries_open() == 0);
}
