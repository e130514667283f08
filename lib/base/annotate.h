/* SPDX-License-Identifier: MIT */
/*
 * Tells helgrind and DRD what orders what: they know the functions of POSIX,
 * and not our mutex, our atomics, our fences.  Only in a build with
 *
 *	CPPFLAGS='-DNUR_ANNOTATE -include .../lib/base/annotate.h'
 *
 * as tools/soak makes it, for the requests cost something at each atomic
 * operation.  A fence is taken to order all threads that pass it, so a fence
 * too few is not found this way; tests/model finds that.
 *
 * nur_hb_before(p), before an operation that publishes through *p;
 * nur_hb_after(p), after one that sees what was published there;
 * nur_hb_atomic(p, n): *p is used by atomic operations, and is no data race.
 */
#ifndef NUR_BASE_ANNOTATE_H
#define NUR_BASE_ANNOTATE_H

#include <stddef.h>	/* no more: it comes before config.h */

#ifdef NUR_ANNOTATE
void nur_hb_before(const void *p) __attribute__((visibility("hidden")));
void nur_hb_after(const void *p) __attribute__((visibility("hidden")));
void nur_hb_atomic(const void *p, size_t n)
    __attribute__((visibility("hidden")));

/* The public poll of a token's level. */
__UINT32_TYPE__ nur_hb_load(const void *p)
    __attribute__((visibility("hidden")));
#define NURSERY_LOAD_LEVEL_(t)	nur_hb_load(t)
#else
#define nur_hb_before(p)	((void)(p))
#define nur_hb_after(p)		((void)(p))
#define nur_hb_atomic(p, n)	((void)(p), (void)(n))
#endif

#endif
