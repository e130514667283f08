/* SPDX-License-Identifier: MIT */
/* The reference's own: what it knows of one run.  See reference.h. */
#ifndef FUZZ_REF_H
#define FUZZ_REF_H

#include "model.h"
#include "reference.h"

#include <limits.h>

#define REF_TOKENS	64
#define REF_PARENTS	3
#define REF_RAISES	128
#define REF_CALLBACKS	32
#define REF_NURSERIES	16
#define REF_TASKS	32
#define REF_ITEMS	32
#define REF_NEVER	LONG_MAX

struct ref_token {
	int parents, parent[REF_PARENTS];
	unsigned at;
	bool shielded, lifted;	/* lifted: a service that is told to stop */
	int64_t until, deadline;
	long birth, made;
	unsigned seen;		/* a level that it had at that time */
	long seen_at;
	int cause[NURSERY_ABORT + 1];	/* as read; 0: not yet */
};

/* A raise, a deadline, the end of a task that cancels its nursery. */
struct ref_raise {
	int token;
	unsigned level;		/* 0: came to nothing */
	int code;		/* 0: any */
	long begin, end;
	int64_t ended;		/* on the clock */
	bool maybe, won;
	/* of a deadline: its time, and when it was set and taken back */
	int64_t when;
	long ended_set, withdrawn;
};

struct ref_callback {
	int token;
	enum nursery_level level;
	long begin, end, removed, removing;
	bool running, ran, refused;
};

struct ref_nursery {
	struct ref_opening is;
	long opening;
	bool open;
	long closing, closed;
	int telling;		/* on_done runs */
	int told;		/* how often it has */
};

struct ref_task {
	struct ref_spawn spawn;
	long spawn_begin, spawn_end;
	bool accepted;
	int ran, discarded;
	long begun, ended;
	long settled;		/* its end is known to have been counted */
	int64_t ended_at;	/* on the clock */
	int paused;
	int code;
	bool told;		/* to stop, for sure, when it ended */
	struct ref_raise *cancels;
};

struct ref_item {
	long begin, end, got_begin, got_end;
	int64_t since, sent_at, got_at;		/* on the clock */
	bool sent, got;
};

extern struct ref_state {
	long time;
	bool alone;
	int tokens, raises, callbacks, nurseries, tasks, items;
	unsigned capacity;
	long channel_closing;
	bool channel_closed;
	int receiving;		/* calls that have not returned */
	struct ref_token token[REF_TOKENS];
	struct ref_raise raise[REF_RAISES];
	struct ref_callback callback[REF_CALLBACKS];
	struct ref_nursery nursery[REF_NURSERIES];
	struct ref_task task[REF_TASKS];
	struct ref_item item[REF_ITEMS];
} *ref_;
/* It lies apart from the static data, which each run has anew. */
#define ref	(*ref_)

/* A shield may have ended or not; and a level that it kept off has its cause
 * when an ABORT comes through. */
enum ref_how { REF_AT_LEAST, REF_AT_MOST, REF_CAUSE };
/* What t comes to by a raise of `target`. */
unsigned ref_hears(int t, int target, unsigned level, enum ref_how how);
/* The level that t has by then at least; and now at most, in a call that
 * began at `begun`. */
unsigned ref_must(int t, long by);
unsigned ref_may(int t, long begun);
unsigned ref_must_but(int t, long by, const struct ref_raise *but);
unsigned ref_may_but(int t, long begun, const struct ref_raise *but);
void ref_saw(int t, unsigned level);
struct ref_raise *ref_raise_new(int t, unsigned level, int code);
/* At the end of a run. */
void ref_scope_end(void);
void ref_channel_end(void);
void ref_excuse(const char *what, int rc);

#endif
