/* SPDX-License-Identifier: MIT */
/* Polling until the clock says so; base/clock.c. */
#ifndef NUR_BASE_CLOCK_H
#define NUR_BASE_CLOCK_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>

/* ppoll(2) with an absolute time, INT64_MAX: for ever. */
int nur_ppoll(struct pollfd *fds, nfds_t nfds, int64_t deadline,
    const sigset_t *mask);

#endif
