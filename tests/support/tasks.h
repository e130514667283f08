/* SPDX-License-Identifier: MIT */
/* Small tasks and shorthands that many tests use. */
#ifndef TASKS_H
#define TASKS_H

#include "support.h"

/* A root nursery, or a failed test. */
struct nursery *open_root(const struct nursery_attr *attr);
struct nursery *open_inside(struct nursery *parent,
    const struct nursery_attr *attr);
/* A token, or a failed test. */
struct nursery_token *new_token(struct nursery_token *parent);
/* Spawns a task with a name; fails the test on an error. */
void spawn_named(struct nursery *n, const char *name, nursery_fn *fn,
    void *arg);

/* Adds one to the int at arg. */
int task_count(struct nursery_token *t, void *counter);
/* Returns the int at arg. */
int task_return(struct nursery_token *t, void *code);
/* Sleeps until cancelled: ECANCELED. */
int task_until_cancelled(struct nursery_token *t, void *unused);
/* Sleeps until cancelled: 0. */
int task_ends_well_when_cancelled(struct nursery_token *t, void *unused);
/* Stands at the struct gate at arg, and hears nothing else. */
int task_at_gate(struct nursery_token *t, void *gate);
/* As a discard or a callback: adds one to the int at arg. */
void count_up(void *counter);
/* The value of such a counter. */
int counted(const int *counter);

#endif
