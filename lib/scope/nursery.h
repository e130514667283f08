/* SPDX-License-Identifier: MIT */
/*
 * The nursery and its tasks, as the library sees them.
 *
 * N1  close returns only when unfinished == 0 and inner == 0, and both can
 *     no longer rise: from then on the state is CLOSED.
 * N2  Every accepted arg goes to exactly one of fn and discard.
 * N3  Who makes unfinished or inner zero touches the nursery no more after it
 *     has let the lock go; the wake-up names an address only, in a slab.
 * N4  An error is recorded before siblings are cancelled.
 * N5  `opened` of a thread nests: newer nurseries stand later.
 */
#ifndef NUR_SCOPE_NURSERY_H
#define NUR_SCOPE_NURSERY_H

#include "base/thr.h"
#include "nursery/scope.h"
#include "token/token.h"

#define NUR_NAME_MAX	32
#define NUR_INLINE_COPY	64
#define NUR_FIRST_ERRORS	16

enum nur_nursery_state { NUR_OPEN, NUR_CLOSING, NUR_CLOSED };

struct nur_failure {
	uint64_t task;
	int64_t started, ended;
	int code, cancelled;
	char name[NUR_NAME_MAX];
};

struct nursery {
	struct nursery_token token;	/* first: the block is freed with it */
	/* atomic */
	uint32_t refs;		/* handles: the opener's, users', inner ones */
	uint32_t done_seq;	/* moves when unfinished or inner gets 0 */
	uint32_t room_seq;	/* moves when a spawn may look again */
	/* constant */
	uint64_t id;
	int64_t opened_at, deadline;
	struct nursery *parent;
	struct nursery_attr attr;
	char name[NUR_NAME_MAX];
	struct nursery_callback on_drain, on_cancel;
	/* the opener's thread */
	struct nur_thr *opener;	/* NULL: any one thread may close */
	struct nur_link opened;
	/* under the registry lock */
	struct nur_link all;

	struct nur_mutex lock;
	/* under lock */
	enum nur_nursery_state state;
	bool violated;		/* closed by an outer close */
	bool reporting;		/* somebody runs on_done */
	unsigned running, queued, unfinished, inner, room_waiters;
	struct nur_link tasks;	/* that run */
	struct nur_link queue;	/* that wait for a place */
	struct nur_link reports;	/* that wait for on_done */
	struct nursery_counts counts;
	int first_error;
	struct nur_failure first;
	struct nur_failure *failures;	/* max_errors - 1 more, or NULL */
	size_t failed;		/* kept */
};

struct nursery_task {
	struct nur_link link;	/* tasks, queue or reports of the nursery */
	struct nursery *nursery;
	struct nursery_token *token;
	bool own_token, started;
	unsigned flags;
	nursery_fn *fn;
	void *arg;
	void (*discard)(void *arg);
	void *copy;		/* spawn_copy's, when too long for `inline_` */
	uint64_t id;
	int64_t since, ended;
	int result, cancelled;
	struct nur_thr *thr;	/* atomic */
	char name[NUR_NAME_MAX];
	_Alignas(max_align_t) unsigned char inline_[NUR_INLINE_COPY];
};

extern struct nur_mutex nur_registry_lock;
extern struct nur_link nur_nurseries;	/* oldest first */
uint64_t nur_nurseries_open(void);

/* True if `task` belongs to n or to a nursery inside it. */
bool nur_is_member(const struct nursery_task *task, const struct nursery *n);
struct nursery_task *nur_task_current(void);
uint64_t nur_task_next_id(void);

/* The callbacks of a nursery's own token, task.c. */
void nur_nursery_drained(void *nursery);
void nur_nursery_cancelled(void *nursery);
/* Copies a name, cut to what is kept. */
void nur_copy_name(char *to, const char *from);
/* Waits until no task and no inner nursery is left: 0 or ETIMEDOUT. */
int nur_nursery_await(struct nursery *n, bool inner_too, int64_t deadline,
    enum nur_op op);
/* Lock held; the caller wakes done_seq after unlocking when true. */
bool nur_nursery_drop_inner_locked(struct nursery *n);

void nur_scope_init(void);
void nur_scope_after_fork(void);

/* report.c */
struct nursery_report *nur_report_new(const struct nursery *n);
/* n's lock held, or n closed. Never fails: memory was had before. */
void nur_report_fill(struct nursery_report *r, struct nursery *n);
void nur_failure_keep_locked(struct nursery *n, const struct nursery_task *t);
int nur_result_copy(struct nursery_result *out, const struct nur_failure *f);
/* Lists the unfinished tasks; 0 or ENOMEM. */
int nur_report_stuck(struct nursery_report *r, struct nursery *n);

/* Set by daemon/: n has closed, its signals go back. */
extern void (*nur_signals_release)(struct nursery *n);

#endif
