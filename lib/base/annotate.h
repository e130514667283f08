/* SPDX-License-Identifier: MIT */
/*
 * Tells helgrind and DRD what orders what: they know the functions of POSIX,
 * and not our mutex, our atomics, our futex.  Only in a build with
 * -DNUR_ANNOTATE, for the requests cost something at each atomic operation.
 *
 * nur_hb_before(p), before an operation that publishes through *p;
 * nur_hb_after(p), after one that sees what was published there;
 * nur_hb_atomic(p, n): *p is only used so, and is no data race.
 */
#ifndef NUR_BASE_ANNOTATE_H
#define NUR_BASE_ANNOTATE_H

#include <stddef.h>

#ifdef NUR_ANNOTATE
void nur_hb_before(const void *p);
void nur_hb_after(const void *p);
void nur_hb_atomic(const void *p, size_t n);
#else
#define nur_hb_before(p)	((void)(p))
#define nur_hb_after(p)		((void)(p))
#define nur_hb_atomic(p, n)	((void)(p), (void)(n))
#endif

#endif
