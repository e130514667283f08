/* SPDX-License-Identifier: MIT */
/*
 * The only door to threads, atomics and the futex.
 *
 * Every operation of the library that another thread can see goes through
 * this file, so that a build with NUR_MODEL replaces it by the deterministic
 * scheduler and nothing else changes.  The memory order is in the name;
 * there is no default.  Of fences there is one asymmetric pair: elsewhere an
 * order on the operation says the same, and ThreadSanitizer understands it.
 */
#ifndef NUR_BASE_SYNC_H
#define NUR_BASE_SYNC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sleeps while *word is `expected`, at most until `deadline` (absolute,
 * CLOCK_MONOTONIC, INT64_MAX: for ever).  Returns 0, EAGAIN, EINTR or
 * ETIMEDOUT; spurious returns of 0 are legal, the caller looks again.  In
 * base/clock.c.
 */
int nur_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline);

/* Wakes at most `count` sleepers on `word`. */
void nur_futex_wake(uint32_t *word, int count);

/* Lets a sleeper on `word` sleep on at `at`, to be woken with others in one
 * call: so the waker is not preempted by each of them. */
void nur_futex_gather(uint32_t *word, uint32_t *at);

/*
 * A function that a thread may start with, `entry`, that runs body(arg).
 * Nothing is allocated for the way there: a fork could not tell whose it is.
 */
#ifdef NUR_MODEL
typedef void nur_thread_fn(void *arg);
#define NUR_THREAD(entry, body) \
	static void entry(void *arg) { body(arg); }
#else
typedef void *nur_thread_fn(void *arg);
#define NUR_THREAD(entry, body) \
	static void *entry(void *arg) \
	{ \
		nur_thread_begin(); \
		body(arg); \
		return NULL; \
	}
void nur_thread_begin(void);
#endif

/* Starts a detached thread with every asynchronous signal blocked but the
 * library's own.  0 or EAGAIN.  The caller's signal mask is what it was on
 * every path. */
int nur_thread_start(nur_thread_fn *fn, void *arg, size_t stack_size);
/* For a thread that serves the library, and calls what users registered. */
#define NUR_SERVANT_STACK	((size_t)256 * 1024)

#ifdef NUR_MODEL
#include "model_sync.h"
#else

#include "base/annotate.h"

#include <pthread.h>

#ifdef NUR_ANNOTATE
#define NUR_HB_ATOMIC(p)	nur_hb_atomic((p), sizeof *(p))
/* Sees, publishes, or both, around one operation. */
#define NUR_HB_SEES(p, op) \
	__extension__ ({ NUR_HB_ATOMIC(p); __auto_type seen_ = (op); \
	    nur_hb_after(p); seen_; })
#define NUR_HB_BOTH(p, op) \
	(nur_hb_before(p), NUR_HB_SEES(p, op))
#define nur_load_relaxed(p) \
	(NUR_HB_ATOMIC(p), __atomic_load_n((p), __ATOMIC_RELAXED))
#define nur_load_acquire(p) \
	NUR_HB_SEES(p, __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define nur_store_relaxed(p, v) \
	(NUR_HB_ATOMIC(p), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define nur_store_release(p, v) \
	(NUR_HB_ATOMIC(p), nur_hb_before(p), \
	    __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define nur_fetch_add_relaxed(p, v) \
	(NUR_HB_ATOMIC(p), __atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define nur_fetch_add_acq_rel(p, v) \
	NUR_HB_BOTH(p, __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL))
#define nur_fetch_sub_acq_rel(p, v) \
	NUR_HB_BOTH(p, __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL))
#define nur_exchange_acq_rel(p, v) \
	NUR_HB_BOTH(p, __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL))
#define nur_cas_acq_rel(p, expected, v) \
	NUR_HB_BOTH(p, __atomic_compare_exchange_n((p), (expected), (v), 0, \
	    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
#else
#define nur_load_relaxed(p)	__atomic_load_n((p), __ATOMIC_RELAXED)
#define nur_load_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define nur_store_relaxed(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define nur_store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define nur_fetch_add_relaxed(p, v) \
	__atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define nur_fetch_add_acq_rel(p, v) \
	__atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define nur_fetch_sub_acq_rel(p, v) \
	__atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define nur_exchange_acq_rel(p, v) \
	__atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define nur_cas_acq_rel(p, expected, v) \
	__atomic_compare_exchange_n((p), (expected), (v), 0, \
	    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#endif

/*
 * Dekker with one cheap side.  Each side writes its own flag, passes its
 * barrier and reads the other's flag: then at least one of them sees the
 * other.  The light side runs often and pays nothing; the heavy one makes
 * every running thread of the process pass a full barrier, by membarrier(2).
 * Where the kernel lacks that, both are a full fence.
 */
extern bool nur_asymmetric __attribute__((visibility("hidden")));
void nur_heavy_barrier(void);

static inline void
nur_full_fence(void)
{
#ifdef __SANITIZE_THREAD__
	uint32_t nothing = 0;

	/* ThreadSanitizer knows no fences; this orders as much on the machines
	 * that it runs on. */
	(void)__atomic_exchange_n(&nothing, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline void
nur_light_barrier(void)
{
	nur_hb_before(&nur_asymmetric);
	nur_hb_after(&nur_asymmetric);
	if (__builtin_expect(nur_asymmetric, 1))
		__asm__ volatile("" : : : "memory");
	else
		nur_full_fence();
}

static inline void
nur_cpu_relax(void)
{
#if defined __x86_64__ || defined __i386__
	__builtin_ia32_pause();
#else
	__asm__ volatile("" : : : "memory");
#endif
}

/* Some microseconds, for one who would else sleep and be woken soon. */
void nur_cpu_rest(void);

/*
 * A mutex in one word: 0 free, 1 held, 2 held and somebody may sleep.  The
 * last is why it is ours: a holder can tell that it keeps others waiting.
 */
typedef struct {
	uint32_t state;
} nur_raw_mutex;

#define NUR_RAW_MUTEX_INIT	{ 0 }
#define nur_raw_mutex_init(m)	nur_store_relaxed(&(m)->state, 0)
#define nur_raw_mutex_fini(m)	((void)(m))
void nur_raw_mutex_lock_slow(nur_raw_mutex *m);

static inline void
nur_raw_mutex_lock(nur_raw_mutex *m)
{
	uint32_t unheld = 0;

	nur_hb_atomic(&m->state, sizeof m->state);
	/* Acquire: sees what the last holder wrote; pairs with the unlock. */
	if (!__atomic_compare_exchange_n(&m->state, &unheld, 1, 0,
	    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		nur_raw_mutex_lock_slow(m);
	nur_hb_after(&m->state);
}

static inline void
nur_raw_mutex_unlock(nur_raw_mutex *m)
{
	nur_hb_before(&m->state);
	/* Release: publishes what the holder wrote; pairs with the lock. */
	if (__atomic_exchange_n(&m->state, 0, __ATOMIC_RELEASE) == 2)
		nur_futex_wake(&m->state, 1);
}

static inline bool
nur_raw_mutex_trylock(nur_raw_mutex *m)
{
	uint32_t unheld = 0;

	/* Relaxed: a look first, which costs the holder nothing. */
	return nur_load_relaxed(&m->state) == 0 &&
	    nur_cas_acq_rel(&m->state, &unheld, 1);
}

/* For a mutex that is held for moments, by many: who finds it held keeps away
 * from it a while, so that the holder may have it again and again without
 * sending its line to and fro. */
void nur_raw_mutex_lock_patiently(nur_raw_mutex *m);

/* For the holder: whether somebody sleeps, or did, for the mutex. */
static inline bool
nur_raw_mutex_contended(nur_raw_mutex *m)
{
	return nur_load_relaxed(&m->state) == 2;
}

/* For the holder: lets one of those who sleep have the mutex, then takes it
 * back. */
void nur_raw_mutex_yield(nur_raw_mutex *m);

/*
 * A program's own condition variable.  nur_cond_try lets the mutex go and
 * takes it back without a sleep: ETIMEDOUT, or the mutex's own error.
 */
int nur_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int nur_cond_try(pthread_cond_t *c, pthread_mutex_t *m);
void nur_cond_broadcast(pthread_cond_t *c);

/* The calling thread's record; see thr.h.  One pointer, so that the model
 * build, where all threads share one system thread, can replace it. */
struct nur_thr;
extern __thread struct nur_thr *nur_tls_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
#define nur_tls_get()		(nur_tls_self)
#define nur_tls_set(p)		((void)(nur_tls_self = (p)))
/* What no other living thread has. */
#define nur_thread_mark()	((uintptr_t)&nur_tls_self)

#endif /* NUR_MODEL */

#endif
