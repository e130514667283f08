/* SPDX-License-Identifier: MIT */
/* What scope.h promises and this release does not have yet: refused. */
#include "config.h"

#include "nursery/scope.h"

#include <errno.h>

int
nursery_start(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, void **out_value, int64_t deadline)
{
	(void)n;
	(void)attr;
	(void)fn;
	(void)arg;
	(void)out_value;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_started(void *value)
{
	(void)value;
	return ENOTSUP;
}

int
nursery_task_join(struct nursery_task **t, int *out_result)
{
	(void)t;
	(void)out_result;
	return ENOTSUP;
}

int
nursery_task_wait(struct nursery_task *t, int64_t deadline)
{
	(void)t;
	(void)deadline;
	return ENOTSUP;
}

/* Handles are not given out yet, so there is none to cancel or to count. */
bool
nursery_task_cancel(struct nursery_task *t)
{
	(void)t;
	return false;
}

struct nursery_task *
nursery_task_ref(struct nursery_task *t)
{
	(void)t;
	return NULL;
}

void
nursery_task_unref(struct nursery_task *t)
{
	(void)t;
}
