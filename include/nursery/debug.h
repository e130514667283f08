/* SPDX-License-Identifier: MIT */
/* Seeing inside: the tree of nurseries and tasks, and counts. */
#ifndef NURSERY_DEBUG_H
#define NURSERY_DEBUG_H

#include <nursery/time.h>

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum nursery_format { NURSERY_TEXT = 0, NURSERY_JSON = 1 };
int nursery_dump(FILE *to, enum nursery_format format);
void nursery_dump_from_signal(int fd);			/* write(2) only */
struct nursery_stats { size_t size; uint64_t threads, idle_threads, nurseries, tasks_running, tasks_queued, tokens; };
#define NURSERY_STATS_INIT	{ sizeof(struct nursery_stats), 0, 0, 0, 0, 0, 0 }
int nursery_get_stats(struct nursery_stats *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
