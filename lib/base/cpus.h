/* SPDX-License-Identifier: MIT */
#ifndef NUR_BASE_CPUS_H
#define NUR_BASE_CPUS_H

/* How many processors this process may use at once, by its affinity mask and
 * by the quotas of its control groups (cgroups(7)), rounded up; at least 1. */
unsigned nur_usable_cpus(void);

#endif
