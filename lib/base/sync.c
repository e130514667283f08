/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/sync.h"

#include "base/lock.h"
#include "base/check.h"
#include "base/signo.h"
#include "base/sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread struct nur_thr *nur_tls_self;
bool nur_asymmetric;

#define SPINS		64	/* about 3 us: a holder is seldom longer at it */
#define PATIENCE	32	/* about 1.5 us, a few times what a holder takes; */
#define MOST_PATIENCE	128	/* and about 10 us in all: then it sleeps */
#define REST		128	/* about 6 us: a wake-up costs several of it */
#define YIELD_SPINS	4000	/* about 0.2 ms: a sleeper has come by then */

/* ---- the asymmetric barrier ---- */

static long
membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

/* Before main, so before there is a thread to be asked. */
__attribute__((constructor)) static void
register_membarrier(void)
{
	long can = membarrier(MEMBARRIER_CMD_QUERY);

	nur_asymmetric = can > 0 &&
	    (can & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 &&
	    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

void
nur_heavy_barrier(void)
{
	nur_hb_before(&nur_asymmetric);
	if (!nur_asymmetric)
		nur_full_fence();
	else if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
		nur_panic("membarrier(2) was there at the start and is "
		    "refused now", __FILE__, __LINE__);
	nur_hb_after(&nur_asymmetric);
}

/* ---- the mutex ---- */

static void
relax(int turns)
{
	while (turns-- > 0)
		nur_cpu_relax();
}

void
nur_cpu_rest(void)
{
	relax(REST);
}

void
nur_raw_mutex_lock_slow(nur_raw_mutex *m)
{
	int i;

	for (i = 0; i < SPINS; i++) {
		if (nur_raw_mutex_trylock(m))
			return;
		nur_cpu_relax();
	}
	/* 2 from now on, also when we get it: others may sleep beside us. */
	while (nur_exchange_acq_rel(&m->state, 2) != 0)
		(void)nur_futex_wait(&m->state, 2, INT64_MAX);
}

void
nur_raw_mutex_lock_patiently(nur_raw_mutex *m)
{
	int turns = PATIENCE;

	while (!nur_raw_mutex_trylock(m)) {
		if (turns > MOST_PATIENCE) {
			nur_raw_mutex_lock(m);
			return;
		}
		relax(turns);
		turns *= 2;
	}
}

void
nur_raw_mutex_yield(nur_raw_mutex *m)
{
	int i;

	nur_raw_mutex_unlock(m);
	/* The one just woken needs a while to come; taking the mutex at once
	 * would send it back to sleep, every time. */
	for (i = 0; i < YIELD_SPINS && nur_load_relaxed(&m->state) == 0; i++)
		nur_cpu_relax();
	nur_raw_mutex_lock(m);
}

void
nur_futex_wake(uint32_t *word, int count)
{
	/* An address only: what lay there may be gone, and nobody reads it.
	 * Memcheck does not know: tools/valgrind.supp. */
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL,
	    0);
}

void
nur_futex_gather(uint32_t *word, uint32_t *at)
{
	(void)syscall(SYS_futex, word, FUTEX_REQUEUE_PRIVATE, 0, 1, at, 0);
}

/* ---- condition variables of the program's ---- */

int
nur_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	return pthread_cond_wait(c, m);
}

int
nur_cond_try(pthread_cond_t *c, pthread_mutex_t *m)
{
	/* Past on every clock that c may have been given. */
	const struct timespec past = { 0, 0 };

	return pthread_cond_timedwait(c, m, &past);
}

void
nur_cond_broadcast(pthread_cond_t *c)
{
	(void)pthread_cond_broadcast(c);
}

/* ---- threads ---- */

void
nur_thread_begin(void)
{
	int old;

	/* A pthread_cancel sent to one of our threads stays pending. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
}

int
nur_thread_start(nur_thread_fn *fn, void *arg, size_t stack_size)
{
	pthread_attr_t attr;
	sigset_t block, old;
	pthread_t id;
	int rc;

	if (nur_fault(NUR_RES_THREAD) || pthread_attr_init(&attr) != 0)
		return EAGAIN;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	nur_signals_for_threads(&block);
	(void)pthread_sigmask(SIG_SETMASK, &block, &old);
	/* A size that musl refuses, glibc's pthread_create does. */
	rc = pthread_attr_setstacksize(&attr, stack_size);
	if (rc == 0)
		rc = pthread_create(&id, &attr, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : EAGAIN;
}

#ifdef NUR_CHECKS
/* Ranks of the locks this thread holds, outermost first. */
static __thread const struct nur_mutex *held[16];
static __thread int depth;

void
nur_rank_push(const struct nur_mutex *m)
{
	if (depth > 0 && held[depth - 1]->rank >= m->rank)
		nur_panic("lock rank order violated", __FILE__, __LINE__);
	NUR_ASSERT(depth < 16);
	held[depth++] = m;
}

void
nur_rank_pop(const struct nur_mutex *m)
{
	int i = depth - 1;

	while (i >= 0 && held[i] != m)
		i--;
	NUR_ASSERT(i >= 0);
	for (; i < depth - 1; i++)
		held[i] = held[i + 1];
	depth--;
}

void
nur_rank_assert_none(const char *where)
{
	if (depth != 0)
		nur_panic(where, __FILE__, __LINE__);
}
#endif
