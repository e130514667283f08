/* SPDX-License-Identifier: MIT */
/* What daemon.h promises and this release does not have yet: refused. */
#include "config.h"

#include "nursery/daemon.h"

#include <errno.h>

int
nursery_spawn_process(struct nursery *n, const struct nursery_task_attr *attr, const struct nursery_process *p, struct nursery_task **out)
{
	(void)n;
	(void)attr;
	(void)p;
	(void)out;
	return ENOTSUP;
}

int
nursery_notify(const char *state)
{
	(void)state;
	return ENOTSUP;
}
