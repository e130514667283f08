/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/fork.h"

#include "base/check.h"
#include "base/thr.h"

static const struct nur_fork_hooks *floors[NUR_FORK_FLOORS];

static void
before(void)
{
	int i;

	for (i = 0; i < NUR_FORK_FLOORS; i++)
		if (floors[i] != NULL)
			floors[i]->before();
	nur_thr_lock_list();
}

static void
in_parent(void)
{
	int i;

	nur_thr_unlock_list();
	for (i = NUR_FORK_FLOORS - 1; i >= 0; i--)
		if (floors[i] != NULL)
			floors[i]->in_parent();
}

static void
in_child(void)
{
	int i;

	nur_generation++;
	nur_thr_after_fork();
	for (i = NUR_FORK_FLOORS - 1; i >= 0; i--)
		if (floors[i] != NULL)
			floors[i]->in_child();
}

void
nur_fork_hook(enum nur_fork_floor floor, const struct nur_fork_hooks *hooks)
{
	static bool registered;

	floors[floor] = hooks;
	if (!registered && pthread_atfork(before, in_parent, in_child) != 0)
		nur_panic("no memory to prepare for fork", __FILE__, __LINE__);
	registered = true;
}
