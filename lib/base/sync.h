/* SPDX-License-Identifier: MIT */
/*
 * The only door to threads, atomics and the futex.
 *
 * Every operation of the library that another thread can see goes through
 * this file, so that a build with NUR_MODEL replaces it by the deterministic
 * scheduler and nothing else changes.  The memory order is in the name;
 * there is no default.  Fences are not offered: ThreadSanitizer reports
 * correct fence code as a race.
 */
#ifndef NUR_BASE_SYNC_H
#define NUR_BASE_SYNC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef NUR_MODEL
#include "model_sync.h"
#else

#include <pthread.h>

#define nur_load_relaxed(p)	__atomic_load_n((p), __ATOMIC_RELAXED)
#define nur_load_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define nur_store_relaxed(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define nur_store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define nur_fetch_add_relaxed(p, v) \
	__atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define nur_fetch_sub_acq_rel(p, v) \
	__atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define nur_exchange_acq_rel(p, v) \
	__atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define nur_cas_acq_rel(p, expected, v) \
	__atomic_compare_exchange_n((p), (expected), (v), 0, \
	    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

typedef pthread_mutex_t nur_raw_mutex;
#define NUR_RAW_MUTEX_INIT	PTHREAD_MUTEX_INITIALIZER
#define nur_raw_mutex_init(m)	((void)pthread_mutex_init((m), NULL))
#define nur_raw_mutex_fini(m)	((void)pthread_mutex_destroy(m))
#define nur_raw_mutex_lock(m)	((void)pthread_mutex_lock(m))
#define nur_raw_mutex_unlock(m)	((void)pthread_mutex_unlock(m))

/* The calling thread's record; see thr.h.  One pointer, so that the model
 * build, where all threads share one system thread, can replace it. */
struct nur_thr;
extern __thread struct nur_thr *nur_tls_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
#define nur_tls_get()		(nur_tls_self)
#define nur_tls_set(p)		((void)(nur_tls_self = (p)))

#endif /* NUR_MODEL */

/*
 * Sleeps while *word is `expected`, at most until `deadline` (absolute,
 * CLOCK_MONOTONIC, INT64_MAX: for ever).  Returns 0, EAGAIN, EINTR or
 * ETIMEDOUT; spurious returns of 0 are legal, the caller looks again.
 */
int nur_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline);

/* Wakes at most `count` sleepers on `word`. */
void nur_futex_wake(uint32_t *word, int count);

/* Starts a detached thread with every asynchronous signal blocked but the
 * library's own.  0 or EAGAIN.  The caller's signal mask is what it was on
 * every path. */
int nur_thread_start(void (*fn)(void *), void *arg, size_t stack_size);

#endif
