/* SPDX-License-Identifier: MIT */
/* Rescues places whose holders block and have not said so: sched/monitor.c. */
#ifndef NUR_SCHED_MONITOR_H
#define NUR_SCHED_MONITOR_H

#include <stdbool.h>

/* All places are taken, or not any more.  Lane lock held. */
void nur_monitor_watch(bool all_taken);
void nur_monitor_after_fork(void);

#endif
