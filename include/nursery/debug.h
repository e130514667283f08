/* SPDX-License-Identifier: MIT */
/*
 * Seeing inside: the tree of nurseries and tasks, and counts.
 *
 * With NURSERY_DUMP_SIGNAL in the environment the library writes the tree
 * to standard error whenever that signal comes; see nursery_dump(3).
 */
#ifndef NURSERY_DEBUG_H
#define NURSERY_DEBUG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* NURSERY_JSON is not built yet: ENOTSUP. */
enum nursery_format { NURSERY_TEXT = 0, NURSERY_JSON = 1 };

/*
 * Writes the tree of nurseries and tasks: name, state, age, where each task
 * waits, who cancelled what and why.  A picture of a moving thing; it stops
 * no task.  Any thread, but no signal handler.  EINVAL: `to` is NULL or the
 * format unknown.  ENOMEM.  EIO: the stream has an error.
 */
int nursery_dump(FILE *to, enum nursery_format format);

/*
 * The same from a signal handler, by write(2) alone.
 * Not built yet: it writes one line that says so.
 */
void nursery_dump_from_signal(int fd);

/* What there is in the process at this moment. */
struct nursery_stats {
	size_t size;		/* set by NURSERY_STATS_INIT */
	uint64_t threads;	/* that run tasks or wait for one */
	uint64_t idle_threads;	/* of these, waiting for a task */
	uint64_t nurseries;	/* open */
	uint64_t tasks_running;
	uint64_t tasks_queued;	/* beyond max_running, or light and waiting */
	uint64_t tokens;	/* live; a nursery's own is not counted */
};
#define NURSERY_STATS_INIT	{ sizeof(struct nursery_stats), \
	0, 0, 0, 0, 0, 0 }

/*
 * Fills *out, as far as out->size reaches.  The numbers are read one after
 * the other, not at one moment.  EINVAL: NULL, or out->size is not set.
 */
int nursery_get_stats(struct nursery_stats *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
