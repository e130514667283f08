/* SPDX-License-Identifier: MIT */
/*
 * What the library may do, said without it: a reference that is told of each
 * call as it begins and as it ends, in one order of all threads, and fails the
 * run when a result is one that no order of the overlapping calls explains.
 *
 * It knows tokens by numbers, and of each whom it hears; of nurseries their
 * tokens, limits and tasks.  There is no walk, no lock and no queue in it.  A
 * level is bounded from below by what has returned and from above by what has
 * begun; where nothing overlaps the two are one, and the check is exact.
 */
#ifndef FUZZ_REFERENCE_H
#define FUZZ_REFERENCE_H

#include <nursery.h>

/* Numbers of calls, tokens, ... count from 0; -1 is none. */
#define REF_NONE	(-1)

/* A call begins; what it returns is the `begun` of others below. */
long ref_begin(void);
/* Before all runs; at the beginning and at the end of one. */
void ref_prepare(void);
void ref_reset(void);
void ref_end(void);
/* There is one thread, and no task: whatever has returned is all there is. */
void ref_alone(bool alone);
bool ref_is_alone(void);
/* No room for much more. */
bool ref_is_full(void);

/* ---- tokens ---- */

/* One is about to be made; `at` is that of new_at, or 0. */
int ref_token(const int *parents, int count, unsigned at);
/* It hears nothing below ABORT until then. */
void ref_token_shield(int t, int64_t until);
/* It has a deadline from the beginning. */
void ref_token_born_with(int t, int64_t deadline);
void ref_token_made(int t);

void ref_level(int t, long begun, enum nursery_level level);
/* Returns whose cause it was if only one raise can be it. */
int ref_cause(int t, long begun, enum nursery_level level, int code);
/* The deadline of t, if nothing else happens. */
void ref_deadline(int t, int64_t deadline);

int ref_raise(int t, enum nursery_level level, int code);
void ref_raised(int raise, bool result);
/* The same for calls that do not say. */
void ref_told(int raise);

int ref_set_deadline(int t, int64_t deadline);
void ref_deadline_set(int raise, int rc);

struct ref_wait { long begun; int64_t since; };
struct ref_wait ref_wait_begins(void);
void ref_waited(struct ref_wait w, int t, enum nursery_level level,
    int64_t deadline, int rc);

int ref_callback(int t, enum nursery_level level);
void ref_registered(int cb, int rc);
/* Inside fn.  True: by a raise, so that all below t have heard it. */
bool ref_callback_runs(int cb);
void ref_callback_ran(int cb);
/* Read inside fn: `below` hears t. */
void ref_level_below(int cb, long begun, int below, enum nursery_level level);
long ref_removing(int cb);
void ref_removed(int cb, long begun, int rc);

/* ---- nurseries ---- */

struct ref_limits { unsigned running, queued; };
struct ref_opening {
	int token, parent;	/* REF_NONE: no parent */
	int opener;		/* a task, or REF_NONE */
	int policy;
	struct ref_limits limits;
	bool has_deadline, tells;	/* tells: has an on_done */
};
int ref_nursery(const struct ref_opening *o);
void ref_opened(int n, int rc);
int ref_nursery_token(int n);

struct ref_spawn {
	int nursery, token;	/* of the task's own; REF_NONE: the nursery's */
	int caller;		/* the task that spawns, or REF_NONE */
	unsigned flags;
	bool tries;		/* may return EAGAIN */
	bool discards;		/* is told if it is dropped */
	int64_t by;		/* 0: none */
};
int ref_spawn(const struct ref_spawn *s);
void ref_spawned(int task, int rc);
void ref_task_begins(int task);
/* It may or may not have a place in its nursery meanwhile. */
void ref_task_pauses(int task, bool begins);
void ref_task_ends(int task, int code);
void ref_task_discarded(int task);
void ref_task_cancelled(int task, int raise, bool result);
/* on_done */
void ref_task_done(int nursery, bool begins);
/* result: NULL for a wait.  REF_NONE: no task asks. */
void ref_task_joined(int task, int caller, int rc, const int *result,
    int64_t deadline);

void ref_nursery_waited(struct ref_wait w, int n, int64_t deadline, int rc);
void ref_closing(int n);
/* The report's, if there is one. */
struct ref_report {
	struct nursery_counts counts;
	int first, cause;	/* codes; 0: none */
};
void ref_closed(int n, int rc, const struct ref_report *report);

/* ---- a channel ---- */

void ref_channel(unsigned capacity);
int ref_send(void);
void ref_sent(int item, int rc, int token, int64_t deadline);
struct ref_wait ref_receive(void);
void ref_received(struct ref_wait w, int rc, int item, int token,
    int64_t deadline);
void ref_channel_closing(void);
void ref_channel_closed(void);

#endif
