/* SPDX-License-Identifier: MIT */
/*
 * The model's side of base/sync.h: every atomic operation, mutex, futex and
 * thread of the library becomes a step of the machine in model.h.
 *
 * It is also given to the compiler before anything else (-include), so that
 * the inline poll of the public header comes here too.  An atomic operation
 * that goes by another way does not link: the instrumented build turns it
 * into a call of a function that nobody defines.
 */
#ifndef MODEL_SYNC_H
#define MODEL_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- atomics ---- */

enum model_order {
	MODEL_RELAXED = 0, MODEL_ACQUIRE = 1, MODEL_RELEASE = 2,
	MODEL_ACQ_REL = 3
};
enum model_rmw { MODEL_ADD, MODEL_SUB, MODEL_OR, MODEL_AND, MODEL_EXCHANGE };

uint64_t model_load(const void *p, size_t size, enum model_order order);
void model_store(void *p, size_t size, uint64_t v, enum model_order order);
/* Returns what was there before. */
uint64_t model_rmw(void *p, size_t size, enum model_rmw op, uint64_t v,
    enum model_order order);
bool model_cas(void *p, void *expected, size_t size, uint64_t v,
    enum model_order order);
/* A sequentially consistent fence. */
void model_fence(void);

#define model_load_(p, order) \
	((__typeof__(*(p)))model_load((p), sizeof *(p), (order)))
#define model_rmw_(p, op, v, order) \
	((__typeof__(*(p)))model_rmw((p), sizeof *(p), (op), \
	    (uint64_t)(v), (order)))

#define nur_load_relaxed(p)	model_load_((p), MODEL_RELAXED)
#define nur_load_acquire(p)	model_load_((p), MODEL_ACQUIRE)
#define nur_store_relaxed(p, v) \
	model_store((p), sizeof *(p), (uint64_t)(v), MODEL_RELAXED)
#define nur_store_release(p, v) \
	model_store((p), sizeof *(p), (uint64_t)(v), MODEL_RELEASE)
#define nur_fetch_add_relaxed(p, v) \
	model_rmw_((p), MODEL_ADD, (v), MODEL_RELAXED)
#define nur_fetch_add_acq_rel(p, v) \
	model_rmw_((p), MODEL_ADD, (v), MODEL_ACQ_REL)
#define nur_fetch_sub_acq_rel(p, v) \
	model_rmw_((p), MODEL_SUB, (v), MODEL_ACQ_REL)
#define nur_fetch_or_acq_rel(p, v) \
	model_rmw_((p), MODEL_OR, (v), MODEL_ACQ_REL)
#define nur_fetch_and_acq_rel(p, v) \
	model_rmw_((p), MODEL_AND, (v), MODEL_ACQ_REL)
#define nur_exchange_acq_rel(p, v) \
	model_rmw_((p), MODEL_EXCHANGE, (v), MODEL_ACQ_REL)
#define nur_cas_acq_rel(p, expected, v) \
	model_cas((p), (expected), sizeof *(p), (uint64_t)(v), MODEL_ACQ_REL)

/* membarrier orders the light side against the heavy one as two
 * sequentially consistent fences would. */
#define nur_light_barrier()	model_fence()
#define nur_heavy_barrier()	model_fence()
#define nur_full_fence()	model_fence()

#define NURSERY_LOAD_LEVEL_(t) \
	((uint32_t)model_load((t), sizeof(uint32_t), MODEL_ACQUIRE))

/* ---- mutexes: of the size of a futex word, all else is the machine's ---- */

typedef struct { uint32_t unused; } nur_raw_mutex;
#define NUR_RAW_MUTEX_INIT	{ 0 }
void model_mutex_init(const void *m);
void model_mutex_fini(const void *m);
void model_mutex_lock(const void *m);
bool model_mutex_trylock(const void *m);
void model_mutex_unlock(const void *m);
/* True if another thread waits for m. */
bool model_mutex_contended(const void *m);
/* Lets it go, so that others may have it, and takes it back. */
void model_mutex_yield(const void *m);
#define nur_raw_mutex_init(m)		model_mutex_init(m)
#define nur_raw_mutex_fini(m)		model_mutex_fini(m)
#define nur_raw_mutex_lock(m)		model_mutex_lock(m)
#define nur_raw_mutex_lock_patiently(m)	model_mutex_lock(m)
#define nur_raw_mutex_trylock(m)	model_mutex_trylock(m)
#define nur_raw_mutex_unlock(m)		model_mutex_unlock(m)
#define nur_raw_mutex_contended(m)	model_mutex_contended(m)
#define nur_raw_mutex_yield(m)		model_mutex_yield(m)
#define nur_cpu_relax()			model_yield()
#define nur_cpu_rest()			model_rest()
void model_yield(void);
/* No step, but who has rested often gives way: the others are to go on. */
void model_rest(void);

/* ---- futex: the nur_futex_ functions are made of these ---- */

int model_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline);
void model_futex_wake(const uint32_t *word, int count);
void model_futex_requeue(const uint32_t *word, const uint32_t *at);

/* ---- the calling thread's pointer ---- */

struct nur_thr;
void *model_tls_get(void);
void model_tls_set(void *p);
#define nur_tls_get()	((struct nur_thr *)model_tls_get())
#define nur_tls_set(p)	model_tls_set(p)
uintptr_t model_thread_mark(void);
#define nur_thread_mark()	model_thread_mark()

/* ---- memory that comes and goes, for base/poison.h ---- */

void model_object_made(void *p, size_t size);
void model_object_freed(void *p);
/* An access between the two is a failure. */
void model_poison(void *p, size_t size);
void model_unpoison(void *p, size_t size);

/* ---- what stands outside the model ---- */

int model_outside(const char *what) __attribute__((noreturn));
#define pthread_atfork(a, b, c)		((void)(a), (void)(b), (void)(c), 0)

#endif
