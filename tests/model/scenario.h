/* SPDX-License-Identifier: MIT */
/*
 * Scenarios: the library in small situations, by its public interface, each
 * with what must hold in every one of its runs.
 */
#ifndef MODEL_SCENARIO_H
#define MODEL_SCENARIO_H

#include "model.h"
#include "model_sync.h"

#include <errno.h>

#include <nursery.h>

struct scenario {
	const char *name;
	void (*body)(void);
	/* How much of what is odd may happen, see model.h. */
	struct model_config config;
	/* What must have occurred when all runs are done: covers. */
	const char *reaches[6];
	/* The preemption bounds of `make check` and of `make model`. */
	int bound, deep;
};

extern const struct scenario token_scenarios[], join_scenarios[],
    callback_scenarios[], nursery_scenarios[], channel_scenarios[],
    deque_scenarios[], private_scenarios[];

/* ---- for bodies ---- */

/* Of sys_model.c. */
bool model_eventfd_is_readable(int fd);
bool model_eventfd_is_open(int fd);
void model_thread_ends(void);
/* What must hold at the end of every run. */
void model_nothing_lives(void);
/* A token that there must be. */
struct nursery_token *new_token(struct nursery_token *parent);
/* Unless it is cancelled, the run fails. */
#define ASSERT_CANCELLED(t)	MODEL_ASSERT(nursery_token_is_cancelled(t))

#endif
