/* SPDX-License-Identifier: MIT */
/* Time: nanoseconds on CLOCK_MONOTONIC, absolute; and the version. */
#ifndef NURSERY_TIME_H
#define NURSERY_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define NURSERY_NS	INT64_C(1)
#define NURSERY_US	INT64_C(1000)
#define NURSERY_MS	INT64_C(1000000)
#define NURSERY_SECOND	INT64_C(1000000000)
#define NURSERY_NEVER	INT64_MAX
int64_t nursery_now(void);
int64_t nursery_after(int64_t ns);		/* now + ns, saturating */
const char *nursery_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
