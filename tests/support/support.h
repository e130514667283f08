/* SPDX-License-Identifier: MIT */
/* What the tests share: one way to run a suite, and the teardown that
 * asserts that nothing is left. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <errno.h>

#include <check.h>
#include <nursery.h>

/* Runs one suite; the program's exit status. */
int run_suite(Suite *s);
/* A case whose tests must leave no token, nursery or task. */
TCase *leakless_case(const char *name);
/* Fails the test if any object lives; for the middle of a test. */
void assert_nothing_lives(void);

/* A gate that holds tasks until it is opened: states are made certain, not
 * waited for. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int arrived;
	int open;
};
void gate_init(struct gate *g);
/* Called by tasks: counts itself and waits until the gate is open. */
void gate_pass(struct gate *g);
/* Waits until `count` tasks stand at the gate. */
void gate_await(struct gate *g, int count);
void gate_open(struct gate *g);

/* Waits until the thread of every running task is asleep in the kernel with
 * the library's record of `op` set, or fails after a long time. */
void await_tasks_in(const char *op, int count);

#endif
