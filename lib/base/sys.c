/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/sys.h"

#include "base/check.h"
#include "base/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

bool (*nur_fault_hook)(enum nur_resource r);

void *
nur_alloc(size_t size)
{
	return nur_fault(NUR_RES_MEMORY) ? NULL : calloc(1, size);
}

void
nur_free(void *p)
{
	free(p);
}

void *
nur_map_aligned(size_t size)
{
	char *p, *aligned;

	if (nur_fault(NUR_RES_MEMORY))
		return NULL;
	p = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	aligned = (char *)(((uintptr_t)p + size - 1) & ~(uintptr_t)(size - 1));
	if (aligned != p)
		(void)munmap(p, (size_t)(aligned - p));
	if (aligned + size != p + 2 * size)
		(void)munmap(aligned + size, (size_t)(p + size - aligned));
	return aligned;
}

int
nur_eventfd(void)
{
	if (nur_fault(NUR_RES_FD))
		return -1;
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void
nur_eventfd_ring(int fd)
{
	const uint64_t one = 1;

	(void)syscall(SYS_write, fd, &one, sizeof one);
}

void
nur_close(int fd)
{
	int state;

	/* By the function: ThreadSanitizer would take the next one with this
	 * number for this one. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	(void)close(fd);
	(void)pthread_setcancelstate(state, NULL);
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434	/* everywhere the same but on Alpha */
#endif

int
nur_pidfd(int pid)
{
	if (nur_fault(NUR_RES_FD))
		return -1;
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int
nur_gettid(void)
{
	return (int)syscall(SYS_gettid);
}

const char *
nur_getenv(const char *name)
{
	return secure_getenv(name);
}

static void
say(char *text, size_t size, int n)
{
	if (n > 0)
		(void)!write(STDERR_FILENO, text, (size_t)n < size ?
		    (size_t)n : size - 1);
}

void
nur_bad_env(const char *name, const char *value, const char *expected)
{
	char text[256];

	say(text, sizeof text, snprintf(text, sizeof text, "libnursery: "
	    "%s='%.64s' is ignored: expected %s\n", name, value, expected));
}

void
nur_panic(const char *what, const char *file, int line)
{
	char text[256];

	say(text, sizeof text, snprintf(text, sizeof text,
	    "libnursery: %s (%s:%d)\n", what, file, line));
	abort();
}
