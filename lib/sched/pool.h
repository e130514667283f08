/* SPDX-License-Identifier: MIT */
/*
 * Blocking lane: a thread for each running task, cached between nurseries.
 *
 * P1  A task given to nur_pool_start() has a thread when it returns 0; it is
 *     never behind another task.
 * P2  An idle thread is taken by exactly one: it leaves the idle list under
 *     the pool lock, by the starter or by itself when it retires.
 * P3  Only the thread that has idled longest sleeps with a timer, which costs
 *     when it is set and again when it is taken back.
 */
#ifndef NUR_SCHED_POOL_H
#define NUR_SCHED_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

struct nursery_task;

extern struct nur_mutex nur_pool_lock;

/* 0 or EAGAIN. */
int nur_pool_start(struct nursery_task *task, size_t stack_size);
/* Runs a task to its end and returns one to run next on this thread, or
 * NULL; set by scope/. */
extern struct nursery_task *(*nur_pool_run)(struct nursery_task *task);
void nur_pool_counts(uint64_t *threads, uint64_t *idle);
void nur_pool_after_fork(void);

#endif
