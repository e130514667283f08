/* SPDX-License-Identifier: MIT */
/*
 * What can be short: memory, threads, descriptors.  Each request passes a
 * fault point, so that the tests can make the Nth one fail; in a program
 * that sets no hook a point costs one load and one branch.
 */
#ifndef NUR_BASE_SYS_H
#define NUR_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nur_resource { NUR_RES_MEMORY, NUR_RES_THREAD, NUR_RES_FD };

/* Set by tests before any thread runs: true makes the request fail. */
extern bool (*nur_fault_hook)(enum nur_resource r);

/* True when the hook wants this request to fail. */
static inline bool
nur_fault(enum nur_resource r)
{
	return nur_fault_hook != NULL && nur_fault_hook(r);
}

/* calloc and free behind a fault point. */
void *nur_alloc(size_t size);
void nur_free(void *p);

/* `size` bytes of zeroed address space aligned to `size`'s power of two,
 * never given back; NULL when there is none. */
void *nur_map_aligned(size_t size);

/* A close-on-exec, non-blocking eventfd, or -1. */
int nur_eventfd(void);
/* Makes it readable; in a signal handler, too.  Neither this nor the next is
 * a cancellation point. */
void nur_eventfd_ring(int fd);
void nur_close(int fd);
/* A close-on-exec descriptor for a process, readable at its end, or -1. */
int nur_pidfd(int pid);

/* CLOCK_MONOTONIC in nanoseconds; in base/clock.c. */
int64_t nur_now(void);

/* Kernel id of the calling thread. */
int nur_gettid(void);

/* The value of an environment variable, NULL in set-user-ID programs. */
const char *nur_getenv(const char *name);
/* Says in one line on standard error that its value is of no use. */
void nur_bad_env(const char *name, const char *value, const char *expected);

#endif
