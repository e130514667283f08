/* SPDX-License-Identifier: MIT */
/* The id of the task that runs on this thread, for causes; set by scope/. */
#ifndef NUR_BASE_TASK_ID_H
#define NUR_BASE_TASK_ID_H

#include <stddef.h>
#include <stdint.h>

extern uint64_t (*nur_task_id_hook)(void);

static inline uint64_t
nur_current_task_id(void)
{
	return nur_task_id_hook == NULL ? 0 : nur_task_id_hook();
}

#endif
