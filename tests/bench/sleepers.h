/* SPDX-License-Identifier: MIT */
/* Many threads asleep, and the time until the last of them is awake. */
#ifndef BENCH_SLEEPERS_H
#define BENCH_SLEEPERS_H

#include "bench.h"

/*
 * n threads call sleep(arg, i).  When all are asleep, which is seen and not
 * assumed, wake(arg) is called.  Returns the nanoseconds from that call to
 * the moment when the last of the threads has come back from sleep().
 */
double sleepers_wake(unsigned n, void (*sleep)(void *arg, unsigned i),
    void (*wake)(void *arg), void *arg);

int bench_futex_wait(void *word, uint32_t value);
int bench_futex_wake(void *word, int n);

#endif
