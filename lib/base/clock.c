/* SPDX-License-Identifier: MIT */
/*
 * The clock, and the two ways to sleep until it says so.
 *
 * All time of the library goes through these three functions, and there is
 * nothing else in this file: so that a test can bring a clock of its own,
 * tests/support/clock.c, which is linked in its place.
 */
#include "config.h"

#include "base/clock.h"

#include "base/kernel.h"
#include "base/sync.h"
#include "base/sys.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND	INT64_C(1000000000)

static struct timespec
timespec_of(int64_t ns)
{
	struct timespec ts = { .tv_sec = 0 };

	if (ns > 0) {
		ts.tv_sec = (time_t)(ns / SECOND);
		ts.tv_nsec = (long)(ns % SECOND);
	}
	return ts;
}

int64_t
nur_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * SECOND + ts.tv_nsec;
}

int
nur_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline)
{
	struct timespec until = timespec_of(deadline);
	long rc;

	/* WAIT_BITSET, because only it takes an absolute time. */
	rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
	    deadline == INT64_MAX ? NULL : &until, NULL,
	    FUTEX_BITSET_MATCH_ANY);
	return rc == 0 ? 0 : errno;
}

int
nur_ppoll(struct pollfd *fds, nfds_t nfds, int64_t deadline,
    const sigset_t *mask)
{
	struct timespec left, *timeout = NULL;
	int64_t now;
	long n;

	if (deadline != INT64_MAX) {
		now = nur_now();
		left = timespec_of(deadline > now ? deadline - now : 0);
		timeout = &left;
	}
	n = nur_kernel_ppoll(fds, nfds, timeout, mask);
	if (n >= 0)
		return (int)n;
	errno = (int)-n;
	return -1;
}
