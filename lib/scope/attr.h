/* SPDX-License-Identifier: MIT */
/* Reading sized structs: zero is the default, unknown is refused. */
#ifndef NUR_SCOPE_ATTR_H
#define NUR_SCOPE_ATTR_H

#include "nursery/scope.h"

/* Copies a caller's sized struct of any version into `to` (size bytes):
 * 0, EINVAL (too short), E2BIG (a longer one with a non-zero tail). */
int nur_sized_read(void *to, size_t size, size_t min, const void *from);

/* Defaults filled in, everything checked: 0, EINVAL, E2BIG, ENOTSUP. */
int nur_nursery_attr_read(struct nursery_attr *to,
    const struct nursery_attr *from);
int nur_task_attr_read(struct nursery_task_attr *to,
    const struct nursery_task_attr *from);

#endif
