/* SPDX-License-Identifier: MIT */
/*
 * A group's quota is in `cpu.max` ("QUOTA PERIOD", or "max PERIOD") of the
 * second version of control groups, and in cpu.cfs_quota_us (-1: none) and
 * cpu.cfs_period_us of the first.  Each group above limits, too.  Inside a
 * container the path in /proc/self/cgroup may be one of the host's, where
 * there is no such folder: then the root's own files count.
 */
#include "config.h"

#include "base/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CPUS	8192

static unsigned
in_mask(void)
{
	size_t size = CPU_ALLOC_SIZE(MOST_CPUS);
	cpu_set_t *set = CPU_ALLOC(MOST_CPUS);
	unsigned count = 1;

	if (set != NULL && sched_getaffinity(0, size, set) == 0)
		count = (unsigned)CPU_COUNT_S(size, set);
	CPU_FREE(set);
	return count;
}

/* The first line of folder/name; false: there is none. */
static bool
read_line(const char *folder, const char *name, char *to, size_t size)
{
	char path[PATH_MAX];
	FILE *f;
	bool got;

	if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >=
	    sizeof path)
		return false;
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	got = fgets(to, (int)size, f) != NULL;
	(void)fclose(f);
	return got;
}

static unsigned
rounded_up(long long quota, long long period, unsigned limit)
{
	long long cpus;

	if (quota <= 0 || period <= 0)
		return limit;
	cpus = (quota + period - 1) / period;
	return cpus < (long long)limit ? (unsigned)cpus : limit;
}

/* What one group allows, or `limit` if that is less. */
static unsigned
in_group(const char *folder, unsigned limit)
{
	char line[64], *rest;
	long long quota;

	if (read_line(folder, "cpu.max", line, sizeof line)) {
		quota = strtoll(line, &rest, 10);	/* max: 0 */
		return rounded_up(quota, strtoll(rest, NULL, 10), limit);
	}
	if (!read_line(folder, "cpu.cfs_quota_us", line, sizeof line))
		return limit;
	quota = strtoll(line, NULL, 10);
	if (!read_line(folder, "cpu.cfs_period_us", line, sizeof line))
		return limit;
	return rounded_up(quota, strtoll(line, NULL, 10), limit);
}

/* The group `path` below `root` and all above it. */
static unsigned
in_groups(const char *root, const char *path, unsigned limit)
{
	char folder[PATH_MAX];
	char *end;

	if ((size_t)snprintf(folder, sizeof folder, "%s%s", root, path) >=
	    sizeof folder)
		return limit;
	for (;;) {
		limit = in_group(folder, limit);
		end = strrchr(folder + strlen(root), '/');
		if (end == NULL)
			return limit;
		*end = '\0';
	}
}

/* A line of /proc/self/cgroup: ID:CONTROLLERS:PATH. */
static unsigned
in_line(char *line, unsigned limit)
{
	char *controllers = strchr(line, ':'), *path, *c;

	path = controllers == NULL ? NULL : strchr(++controllers, ':');
	if (path == NULL)
		return limit;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	if (*controllers == '\0')
		return in_groups("/sys/fs/cgroup", path, limit);
	for (c = strtok(controllers, ","); c != NULL; c = strtok(NULL, ","))
		if (strcmp(c, "cpu") == 0)
			return in_groups("/sys/fs/cgroup/cpu", path, limit);
	return limit;
}

unsigned
nur_usable_cpus(void)
{
	unsigned limit = in_mask();
	char line[PATH_MAX];
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (f == NULL)
		return limit;
	while (fgets(line, sizeof line, f) != NULL)
		limit = in_line(line, limit);
	(void)fclose(f);
	return limit;
}
