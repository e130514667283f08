/* SPDX-License-Identifier: MIT */
/*
 * Time and version.
 *
 * Every time in the library is an int64_t: nanoseconds, and where it names a
 * point in time, that point on CLOCK_MONOTONIC.  A deadline is always such a
 * point, never a duration, so that a loop need not subtract.  A deadline in
 * the past makes a try; NURSERY_NEVER waits for ever.
 */
#ifndef NURSERY_TIME_H
#define NURSERY_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Durations, to be multiplied: 250 * NURSERY_MS. */
#define NURSERY_NS	INT64_C(1)
#define NURSERY_US	INT64_C(1000)
#define NURSERY_MS	INT64_C(1000000)
#define NURSERY_SECOND	INT64_C(1000000000)

/* The deadline that does not come. */
#define NURSERY_NEVER	INT64_MAX

/*
 * The time now, in nanoseconds on CLOCK_MONOTONIC.  Never negative, never
 * goes back; unrelated to the time of day and different after a reboot.
 * Cannot fail and does not block; any thread, signal handlers too.
 */
int64_t nursery_now(void);

/*
 * The point in time `ns` nanoseconds from now: nursery_after(5 *
 * NURSERY_SECOND).  Saturates: what would overflow is NURSERY_NEVER.  A
 * negative `ns` is a point in the past, so a try.  Cannot fail.
 */
int64_t nursery_after(int64_t ns);

/*
 * The version of the library that runs, "MAJOR.MINOR.PATCH", which may be
 * newer than the headers a program was built with.  Static text.
 */
const char *nursery_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
