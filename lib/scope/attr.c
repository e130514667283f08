/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "scope/attr.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_STACK	((size_t)256 * 1024)
#define MIN_STACK	((size_t)32 * 1024)

int
nur_sized_read(void *to, size_t size, size_t min, const void *from)
{
	const unsigned char *bytes = from;
	size_t given, i;

	memset(to, 0, size);
	if (from == NULL)
		return 0;
	memcpy(&given, from, sizeof given);
	if (given < min)
		return EINVAL;
	for (i = size; i < given; i++)
		if (bytes[i] != 0)
			return E2BIG;
	memcpy(to, from, given < size ? given : size);
	return 0;
}

int
nur_nursery_attr_read(struct nursery_attr *to, const struct nursery_attr *from)
{
	int rc = nur_sized_read(to, sizeof *to, sizeof to->size, from);

	if (rc != 0)
		return rc;
	if ((to->flags & ~(NURSERY_SHIELD | NURSERY_UNBOUND |
	    NURSERY_NO_HELP)) != 0)
		return EINVAL;
	if (((to->flags & NURSERY_SHIELD) != 0) != (to->shield_until != 0))
		return EINVAL;
	if (to->policy < NURSERY_FAIL_FAST || to->policy >
	    NURSERY_FIRST_SUCCESS || to->lane < NURSERY_LANE_INHERIT ||
	    to->lane > NURSERY_COMPUTE || to->deadline < 0)
		return EINVAL;
	if (to->stack_size == 0)
		to->stack_size = DEFAULT_STACK;
	if (to->stack_size < MIN_STACK)
		return EINVAL;
	return 0;
}

/* A service lives until it is stopped: none of the others does. */
static bool
fits_together(const struct nursery_task_attr *a)
{
	const unsigned others = NURSERY_TASK_FINAL | NURSERY_TASK_MAY_INLINE |
	    NURSERY_TASK_ENDS_ON_DRAIN;

	if ((a->flags & NURSERY_TASK_SERVICE) != 0)
		return (a->flags & others) == 0;
	return a->grace == 0;
}

int
nur_task_attr_read(struct nursery_task_attr *to,
    const struct nursery_task_attr *from)
{
	const unsigned known = NURSERY_TASK_FINAL | NURSERY_TASK_SERVICE |
	    NURSERY_TASK_MAY_INLINE | NURSERY_TASK_IN_DRAIN |
	    NURSERY_TASK_ENDS_ON_DRAIN;
	int rc = nur_sized_read(to, sizeof *to, sizeof to->size, from);

	if (rc != 0)
		return rc;
	if ((to->flags & ~known) != 0 || to->deadline < 0 || to->spawn_by <
	    0 || to->grace < 0 || to->lane < NURSERY_LANE_INHERIT ||
	    to->lane > NURSERY_COMPUTE)
		return EINVAL;
	if ((to->flags & NURSERY_TASK_FINAL) != 0 && to->deadline == 0)
		return EINVAL;
	if (!fits_together(to))
		return EINVAL;
	if (to->restart != NULL)
		return ENOTSUP;
	return 0;
}
