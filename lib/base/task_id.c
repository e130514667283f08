/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/task_id.h"

#include <stddef.h>

uint64_t (*nur_task_id_hook)(void);
