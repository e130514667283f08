/* SPDX-License-Identifier: MIT */
/*
 * Set-up, and fork.
 *
 * Before a fork the locks are taken in rank order, so that the child finds
 * every structure whole.  In the child what was there is inert: the slabs
 * start afresh and old objects are known by their chunk's generation.
 */
#include "config.h"

#include "scope/init.h"

#include "base/check.h"
#include "scope/nursery.h"
#include "sched/pool.h"
#include "token/timer.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result;

void (*nur_daemon_init)(void);

static void
before_fork(void)
{
	nur_lock(&nur_registry_lock);
	nur_lock(&nur_pool_lock);
	nur_lock(&nur_tree_lock);
	nur_lock(&nur_timer_lock);
}

static void
in_parent(void)
{
	nur_unlock(&nur_timer_lock);
	nur_unlock(&nur_tree_lock);
	nur_unlock(&nur_pool_lock);
	nur_unlock(&nur_registry_lock);
}

static void
in_child(void)
{
	nur_generation++;
	nur_token_after_fork();
	nur_thr_after_fork();
	nur_timer_after_fork();
	nur_pool_after_fork();
	nur_task_after_fork();
	nur_nursery_after_fork();
	in_parent();
}

static void
set_up_once(void)
{
	nur_task_init();
	nur_nursery_init();
	result = pthread_atfork(before_fork, in_parent, in_child);
	if (nur_daemon_init != NULL)
		nur_daemon_init();
}

int
nur_init(void)
{
	(void)pthread_once(&once, set_up_once);
	return result;
}
