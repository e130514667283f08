/* SPDX-License-Identifier: MIT */
/* Nurseries and tasks: no task outlives the nursery it runs in. */
#ifndef NURSERY_SCOPE_H
#define NURSERY_SCOPE_H

#include <nursery/token.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct nursery;
struct nursery_task;
struct nursery_report;
typedef int nursery_fn(struct nursery_token *token, void *arg);	/* 0, or an error kept verbatim */

enum { NURSERY_LANE_INHERIT = 0, NURSERY_BLOCKING = 1, NURSERY_COMPUTE = 2 };
enum {
	NURSERY_FAIL_FAST = 0,		/* first error cancels the rest; close returns it */
	NURSERY_COLLECT = 1,		/* all run; close returns the first error, the report has all */
	NURSERY_FIRST_SUCCESS = 2	/* first success cancels the rest and close returns 0 */
};
struct nursery_result { size_t size; uint64_t task; const char *name; int code; int cancelled; int64_t started, ended; };
#define NURSERY_RESULT_INIT	{ sizeof(struct nursery_result), 0, 0, 0, 0, 0, 0 }
struct nursery_attr {
	size_t size;
	const char *name;
	int lane;			/* default: the parent's; a root's is BLOCKING */
	int policy;
	unsigned flags;
	unsigned max_running;		/* 0: no limit */
	unsigned max_queued;		/* once max_running run; 0: no limit */
	unsigned max_errors;		/* kept in the report; 0: 16 */
	int64_t deadline;		/* 0: none */
	int64_t shield_until;		/* required with NURSERY_SHIELD */
	size_t stack_size;		/* of threads started for it; 0: 256 KiB */
	void (*on_done)(struct nursery *n, const struct nursery_result *r, void *ctx);	/* may cancel; serialised; no lock held */
	void *ctx;
};
#define NURSERY_ATTR_INIT	{ sizeof(struct nursery_attr), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define NURSERY_SHIELD		1u	/* its token is shielded until shield_until */
#define NURSERY_UNBOUND		2u	/* any one thread may close it; no thread-exit guard */
#define NURSERY_NO_HELP		4u	/* waiting threads of the application never run its tasks */

enum { NURSERY_RESTART_NEVER = 0, NURSERY_RESTART_ON_FAILURE = 1, NURSERY_RESTART_ALWAYS = 2 };
struct nursery_restart {		/* provisional */
	size_t size;
	int when;
	unsigned max_restarts;		/* more than these within .window: the failure goes up */
	int64_t window, backoff_min, backoff_max;
};
#define NURSERY_RESTART_INIT	{ sizeof(struct nursery_restart), 0, 0, 0, 0, 0 }
struct nursery_task_attr {
	size_t size;
	const char *name;
	int lane;
	unsigned flags;
	void (*discard)(void *arg);	/* runs instead of fn if the task is dropped before it starts */
	int64_t spawn_by;		/* how long a spawn may wait for room; 0: NURSERY_NEVER */
	int64_t deadline;		/* of the task's own token; 0: none */
	int64_t grace;			/* a service's own time to stop */
	const struct nursery_restart *restart;
};
#define NURSERY_TASK_ATTR_INIT	{ sizeof(struct nursery_task_attr), 0, 0, 0, 0, 0, 0, 0, 0 }
#define NURSERY_TASK_FINAL	1u	/* accepted even after cancel; shielded until its (required) deadline */
#define NURSERY_TASK_SERVICE	2u	/* shielded until the normal tasks ended; then stopped, newest first */
#define NURSERY_TASK_MAY_INLINE	4u	/* may run in the spawner when no thread can be had */
#define NURSERY_TASK_IN_DRAIN	8u	/* accepted from outside while draining */
#define NURSERY_TASK_ENDS_ON_DRAIN 16u	/* its own token is cancelled when the nursery drains: acceptors */

int nursery_open(struct nursery **out, const struct nursery_attr *attr);	/* a root */
int nursery_open_child(struct nursery **out, struct nursery *parent, const struct nursery_attr *attr);
int nursery_open_under(struct nursery **out, struct nursery_token *parent, const struct nursery_attr *attr);
int nursery_adopt(struct nursery *n);						/* the caller becomes the opener */
struct nursery *nursery_ref(struct nursery *n);
void nursery_unref(struct nursery *n);
int nursery_spawn(struct nursery *n, nursery_fn *fn, void *arg);
int nursery_try_spawn(struct nursery *n, nursery_fn *fn, void *arg);
int nursery_spawn_copy(struct nursery *n, nursery_fn *fn, const void *data, size_t len);
int nursery_spawn_with(struct nursery *n, const struct nursery_task_attr *attr, nursery_fn *fn, void *arg,
    struct nursery_task **out);					/* out may be NULL */
int nursery_start(struct nursery *n, const struct nursery_task_attr *attr, nursery_fn *fn, void *arg,
    void **out_value, int64_t deadline);			/* returns once the task said nursery_started() */
int nursery_started(void *value);
int nursery_wait(struct nursery *n, int64_t deadline);		/* until no normal task is unfinished; closes nothing */
int nursery_close(struct nursery **n);				/* waits for all; *n is NULL exactly when closed */
int nursery_close_with(struct nursery **n, struct nursery_report **out);	/* out is written whenever it closed */
void nursery_cancel(struct nursery *n);
void nursery_cancel_with(struct nursery *n, int code, const char *why);
void nursery_drain(struct nursery *n);
struct nursery_token *nursery_token_of(struct nursery *n);	/* borrowed; ref it to keep it */
struct nursery *nursery_current(void);				/* of the running task, or NULL */
struct nursery_task *nursery_self(void);			/* borrowed; NULL outside tasks */
void nursery_drop(struct nursery **n);				/* cancel, then close */
#define nursery_auto	__attribute__((cleanup(nursery_drop)))

int nursery_task_join(struct nursery_task **t, int *out_result);	/* waits, releases, sets *t to NULL */
int nursery_task_wait(struct nursery_task *t, int64_t deadline);
bool nursery_task_cancel(struct nursery_task *t);
uint64_t nursery_task_id(const struct nursery_task *t);
const char *nursery_task_name(const struct nursery_task *t);
struct nursery_token *nursery_task_token(struct nursery_task *t);	/* borrowed */
struct nursery_task *nursery_task_ref(struct nursery_task *t);
void nursery_task_unref(struct nursery_task *t);

struct nursery_counts { size_t size; uint64_t spawned, succeeded, failed, cancelled, discarded, restarted; };
#define NURSERY_COUNTS_INIT	{ sizeof(struct nursery_counts), 0, 0, 0, 0, 0, 0 }
int nursery_report_counts(const struct nursery_report *r, struct nursery_counts *out);
size_t nursery_report_failed(const struct nursery_report *r);			/* how many failures are kept */
int nursery_report_failure(const struct nursery_report *r, size_t i, struct nursery_result *out);	/* 0: the first */
size_t nursery_report_unfinished(const struct nursery_report *r);		/* after nursery_stop */
int nursery_report_stuck(const struct nursery_report *r, size_t i, struct nursery_result *out);
int nursery_report_cause(const struct nursery_report *r, struct nursery_cause *out);
int nursery_report_print(const struct nursery_report *r, FILE *to);
void nursery_report_free(struct nursery_report *r);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
