/* SPDX-License-Identifier: MIT */
#include "tasks.h"

struct nursery *
open_root(const struct nursery_attr *attr)
{
	struct nursery *n;

	ck_assert_int_eq(nursery_open(&n, attr), 0);
	return n;
}

struct nursery *
open_inside(struct nursery *parent, const struct nursery_attr *attr)
{
	struct nursery *n;

	ck_assert_int_eq(nursery_open_child(&n, parent, attr), 0);
	return n;
}

struct nursery_token *
new_token(struct nursery_token *parent)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, parent), 0);
	return t;
}

void
spawn_named(struct nursery *n, const char *name, nursery_fn *fn, void *arg)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.name = name;
	ck_assert_int_eq(nursery_spawn_with(n, &a, fn, arg, NULL), 0);
}

void
count_up(void *counter)
{
	__atomic_fetch_add((int *)counter, 1, __ATOMIC_SEQ_CST);
}

int
counted(const int *counter)
{
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

int
task_count(struct nursery_token *t, void *counter)
{
	(void)t;
	count_up(counter);
	return 0;
}

int
task_return(struct nursery_token *t, void *code)
{
	(void)t;
	return *(int *)code;
}

int
task_until_cancelled(struct nursery_token *t, void *unused)
{
	(void)unused;
	return nursery_sleep(t, NURSERY_NEVER);
}

int
task_ends_well_when_cancelled(struct nursery_token *t, void *unused)
{
	(void)unused;
	return nursery_sleep(t, NURSERY_NEVER) == ECANCELED ? 0 : EINVAL;
}

int
task_at_gate(struct nursery_token *t, void *gate)
{
	(void)t;
	gate_pass(gate);
	return 0;
}
