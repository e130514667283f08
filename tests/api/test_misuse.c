/* SPDX-License-Identifier: MIT */
/*
 * Every public function with what it must refuse: NULL, unknown flags,
 * structs of other sizes, the wrong thread, the wrong state, what is not
 * built yet.  One table of calls and their documented codes; after each row
 * the world must be as it was, and outputs untouched.  The last row compares
 * the table with the list of exported functions.
 */
#include "tasks.h"

#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the world, and what must not change in it ---- */

static struct nursery *n;		/* open, one task at the gate */
static struct nursery *closed;		/* a handle that outlived its close */
static struct nursery_token *t;		/* live, with a callback */
static struct nursery_token *cancelled;
static struct nursery_callback cb;	/* registered on t */
static struct nursery_report *report;	/* one failure */
static struct gate gate;
static int ran;

/* Outputs: they keep this address unless a call succeeds. */
static char sentinel;
#define UNTOUCHED	((void *)&sentinel)
static struct nursery_token *out_token = UNTOUCHED;
static struct nursery *out_nursery = UNTOUCHED;
static struct nursery_report *out_report = UNTOUCHED;
static struct nursery_task *out_task = UNTOUCHED;
static struct nursery_channel *out_channel = UNTOUCHED;
static void *out_value = UNTOUCHED;
static int out_fd = -77, out_result = -77;

struct world {
	struct nursery_stats stats;
	enum nursery_level levels[4];
	int descriptors, ran;
	int64_t deadline;
	void (*handlers[3])(int);
};

static struct world
look(void)
{
	static const int signals[3] = { SIGUSR1, SIGUSR2, SIGHUP };
	struct world w;
	struct sigaction now;
	int i;

	memset(&w, 0, sizeof w);
	w.stats.size = sizeof w.stats;
	(void)nursery_get_stats(&w.stats);
	w.levels[0] = nursery_token_level(nursery_token_of(n));
	w.levels[1] = nursery_token_level(t);
	w.levels[2] = nursery_token_level(cancelled);
	w.levels[3] = nursery_token_level(nursery_token_of(closed));
	w.descriptors = count_descriptors();
	w.ran = counted(&ran);
	w.deadline = nursery_token_deadline(t);
	for (i = 0; i < 3; i++) {
		sigaction(signals[i], NULL, &now);
		w.handlers[i] = now.sa_handler;
	}
	return w;
}

static bool
outputs_untouched(void)
{
	return out_token == UNTOUCHED && out_nursery == UNTOUCHED &&
	    out_report == UNTOUCHED && out_task == UNTOUCHED &&
	    out_channel == UNTOUCHED && out_value == UNTOUCHED &&
	    out_fd == -77 && out_result == -77;
}

/* ---- rows ---- */

#define MOST_FUNCTIONS	200
static const char *covered[MOST_FUNCTIONS];
static int functions, rows, wrong;
static struct world before;

static void
cover(const char *function)
{
	int i;

	for (i = 0; i < functions; i++)
		if (strcmp(covered[i], function) == 0)
			return;
	ck_assert_int_lt(functions, MOST_FUNCTIONS);
	covered[functions++] = function;
}

static bool
is_covered(const char *function)
{
	int i;

	for (i = 0; i < functions; i++)
		if (strcmp(covered[i], function) == 0)
			return true;
	return false;
}

static void
row(const char *function, const char *call, long got, long want)
{
	struct world after = look();
	const char *what = NULL;

	cover(function);
	rows++;
	if (got != want)
		what = "another code";
	else if (memcmp(&before, &after, sizeof after) != 0)
		what = "changed something";
	else if (!outputs_untouched())
		what = "wrote an output";
	if (what == NULL)
		return;
	wrong++;
	fprintf(stderr, "%s: %s: %ld, documented is %ld\n", call, what, got,
	    want);
	before = after;
}

/* A call that returns an int, bool or anything that converts to long. */
#define ROW(function, want, call) \
	row(#function, #call, (long)(call), (want))
/* A call that returns nothing. */
#define NOTHING(function, call) \
	((call), row(#function, #call, 0, 0))

static int
error_of(ssize_t rc)
{
	return rc < 0 ? errno : 0;
}

static int
nothing(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	return 0;
}

static int
run_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void
handle(int signo, void *arg)
{
	(void)signo;
	(void)arg;
}

/* ---- attributes ---- */

/* Opens a root with what `a` has; one that opens is closed again. */
static int
open_with(const struct nursery_attr *a)
{
	struct nursery *opened;
	int rc = nursery_open(&opened, a);

	return rc != 0 ? rc : nursery_close(&opened);
}

/* The attribute at its defaults, but one field. */
#define WITH(type, field, value) \
	(&(const struct type){ .size = sizeof(struct type), .field = (value) })
#define ATTR(field, value)	WITH(nursery_attr, field, value)
#define TASK(field, value)	WITH(nursery_task_attr, field, value)
#define STOP(field, value)	WITH(nursery_stop, field, value)
#define SIZED(type, bytes)	(&(const struct type){ .size = (bytes) })

/* A struct of a newer program: `tail` more bytes, the last one `last`. */
static const void *
longer(size_t size, size_t tail, int last)
{
	static union { size_t size; unsigned char bytes[512]; } u;

	memset(&u, 0, sizeof u);
	u.size = size + tail;
	u.bytes[size + tail - 1] = (unsigned char)last;
	return &u;
}

static int
spawn_with(const struct nursery_task_attr *a)
{
	return nursery_spawn_with(n, a, nothing, NULL, NULL);
}

static int
open_compute_with_stack(size_t bytes)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.lane = NURSERY_COMPUTE;
	a.stack_size = bytes;
	return open_with(&a);
}

static void
attribute_rows(void)
{
	const size_t size = sizeof(struct nursery_attr);
	const unsigned known = NURSERY_SHIELD | NURSERY_UNBOUND |
	    NURSERY_NO_HELP;
	unsigned bit;

	for (bit = 0; bit < 32; bit++)
		if ((known & 1u << bit) == 0)
			ROW(nursery_open, EINVAL, open_with(ATTR(flags,
			    1u << bit)));
	ROW(nursery_open, EINVAL, open_with(SIZED(nursery_attr, 0)));
	ROW(nursery_open, EINVAL, open_with(SIZED(nursery_attr,
	    sizeof(size_t) - 1)));
	ROW(nursery_open, 0, open_with(SIZED(nursery_attr,
	    sizeof(size_t))));
	ROW(nursery_open, 0, open_with(longer(size, 1, 0)));
	ROW(nursery_open, 0, open_with(longer(size, 100, 0)));
	ROW(nursery_open, E2BIG, open_with(longer(size, 1, 1)));
	ROW(nursery_open, E2BIG, open_with(longer(size, 100, 1)));
	ROW(nursery_open, EINVAL, open_with(ATTR(flags, NURSERY_SHIELD)));
	ROW(nursery_open, EINVAL, open_with(ATTR(policy, -1)));
	ROW(nursery_open, EINVAL, open_with(ATTR(policy, 3)));
	ROW(nursery_open, 0, open_with(ATTR(policy,
	    NURSERY_FIRST_SUCCESS)));
	ROW(nursery_open, EINVAL, open_with(ATTR(lane, -1)));
	ROW(nursery_open, EINVAL, open_with(ATTR(lane, 3)));
	ROW(nursery_open, ENOTSUP, open_compute_with_stack((size_t)64 << 20));
	ROW(nursery_open, 0, open_with(ATTR(lane, NURSERY_BLOCKING)));
	ROW(nursery_open, EINVAL, open_with(ATTR(deadline, -1)));
	ROW(nursery_open, EINVAL, open_with(ATTR(shield_until, -1)));
	ROW(nursery_open, EINVAL, open_with(ATTR(stack_size, 1)));
	ROW(nursery_open, 0, open_with(ATTR(flags, NURSERY_NO_HELP)));
	ROW(nursery_open_child, E2BIG, nursery_open_child(&out_nursery, n,
	    longer(size, 8, 1)));
	ROW(nursery_open_child, EINVAL, nursery_open_child(&out_nursery, n,
	    ATTR(flags, 8)));
	ROW(nursery_open_under, E2BIG, nursery_open_under(&out_nursery, t,
	    longer(size, 8, 1)));
	ROW(nursery_open_under, EINVAL, nursery_open_under(&out_nursery, t,
	    ATTR(flags, 8)));
}

static void
task_attribute_rows(void)
{
	const size_t size = sizeof(struct nursery_task_attr);
	const struct nursery_restart restart = NURSERY_RESTART_INIT;
	unsigned bit;

	for (bit = 5; bit < 32; bit++)
		ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(flags,
		    1u << bit)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(SIZED(nursery_task_attr,
	    0)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(SIZED(nursery_task_attr,
	    sizeof(size_t) - 1)));
	ROW(nursery_spawn_with, E2BIG, spawn_with(longer(size, 1, 1)));
	ROW(nursery_spawn_with, E2BIG, spawn_with(longer(size, 100, 1)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(flags,
	    NURSERY_TASK_FINAL)));
	/* A service lives until it is stopped; nothing else has a grace. */
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(flags,
	    NURSERY_TASK_SERVICE | NURSERY_TASK_MAY_INLINE)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(flags,
	    NURSERY_TASK_SERVICE | NURSERY_TASK_ENDS_ON_DRAIN)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(&(const struct
	    nursery_task_attr){ .size = size, .flags = NURSERY_TASK_SERVICE |
	    NURSERY_TASK_FINAL, .deadline = NURSERY_NEVER }));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(grace, 1)));
	ROW(nursery_spawn_with, ENOTSUP, spawn_with(TASK(restart,
	    &restart)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(lane, 3)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(lane, -1)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(deadline, -1)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(spawn_by, -1)));
	ROW(nursery_spawn_with, EINVAL, spawn_with(TASK(grace, -1)));
	ROW(nursery_spawn_with, EINVAL, nursery_spawn_with(NULL, NULL,
	    nothing, NULL, NULL));
	ROW(nursery_spawn_with, EINVAL, nursery_spawn_with(n, NULL, NULL,
	    NULL, NULL));
	ROW(nursery_spawn_with, EINVAL, nursery_spawn_with(n, TASK(grace, 1),
	    nothing, NULL, &out_task));
	ROW(nursery_spawn_with, ESHUTDOWN, nursery_spawn_with(closed, NULL,
	    nothing, NULL, NULL));
	ROW(nursery_spawn_with, ESHUTDOWN, nursery_spawn_with(closed, NULL,
	    nothing, NULL, &out_task));
}

/* ---- tokens ---- */

static int
on_level(int level)
{
	struct nursery_callback fresh = { 0 };

	return nursery_token_on_level(t, (enum nursery_level)level, &fresh,
	    count_up, &ran);
}

static void
token_rows(void)
{
	struct nursery_callback fresh = { 0 };
	struct nursery_token *none = NULL;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	const int no_level = NURSERY_ABORT + 1;

	ROW(nursery_token_new, EINVAL, nursery_token_new(NULL, NULL));
	ROW(nursery_token_new, EINVAL, nursery_token_new(NULL, t));
	ROW(nursery_token_new_any, EINVAL, nursery_token_new_any(NULL, &t,
	    1));
	ROW(nursery_token_new_any, EINVAL, nursery_token_new_any(&out_token,
	    NULL, 1));
	ROW(nursery_token_new_any, EINVAL, nursery_token_new_any(&out_token,
	    &t, 0));
	ROW(nursery_token_new_any, EINVAL, nursery_token_new_any(&out_token,
	    &none, 1));
	ROW(nursery_token_new_at, EINVAL, nursery_token_new_at(NULL, t,
	    NURSERY_DRAIN));
	ROW(nursery_token_new_at, EINVAL, nursery_token_new_at(&out_token,
	    NULL, NURSERY_DRAIN));
	ROW(nursery_token_new_at, EINVAL, nursery_token_new_at(&out_token, t,
	    NURSERY_LIVE));
	ROW(nursery_token_new_at, EINVAL, nursery_token_new_at(&out_token, t,
	    (enum nursery_level)no_level));
	ROW(nursery_token_new_shielded, EINVAL,
	    nursery_token_new_shielded(NULL, t, NURSERY_NEVER));
	ROW(nursery_token_new_shielded, EINVAL,
	    nursery_token_new_shielded(&out_token, NULL, NURSERY_NEVER));
	ROW(nursery_token_ref, 1, nursery_token_ref(NULL) == NULL);
	NOTHING(nursery_token_unref, nursery_token_unref(NULL));
	ROW(nursery_token_cancel, 0, nursery_token_cancel(NULL));
	ROW(nursery_token_cancel, 0, nursery_token_cancel(cancelled));
	ROW(nursery_token_cancel_with, 0, nursery_token_cancel_with(NULL, 1,
	    NULL));
	ROW(nursery_token_raise, 0, nursery_token_raise(NULL, NURSERY_ABORT,
	    0, NULL));
	ROW(nursery_token_raise, 0, nursery_token_raise(t, NURSERY_LIVE, 0,
	    NULL));
	ROW(nursery_token_raise, 0, nursery_token_raise(t,
	    (enum nursery_level)no_level, 0, NULL));
	ROW(nursery_signal_arm, 0, nursery_signal_arm());
	ROW(nursery_signal_arm, 0, nursery_signal_arm());
	NOTHING(nursery_token_cancel_from_signal,
	    nursery_token_cancel_from_signal(NULL));
	ROW(nursery_token_cause, 0, nursery_token_cause(NULL, NURSERY_CANCEL,
	    &cause));
	ROW(nursery_token_cause, 0, nursery_token_cause(t, NURSERY_CANCEL,
	    &cause));
	ROW(nursery_token_cause, 0, nursery_token_cause(cancelled,
	    (enum nursery_level)no_level, &cause));
	ROW(nursery_token_cause, 0, cause.code);
	cause.size = 0;
	ROW(nursery_token_cause, 7, nursery_token_cause(cancelled,
	    NURSERY_CANCEL, &cause));
	ROW(nursery_token_cause, 0, cause.code);
	ROW(nursery_token_wait, EINVAL, nursery_token_wait(NULL,
	    NURSERY_NEVER));
	ROW(nursery_token_wait_level, EINVAL, nursery_token_wait_level(NULL,
	    NURSERY_DRAIN, NURSERY_NEVER));
	ROW(nursery_token_wait_level, EINVAL, nursery_token_wait_level(t,
	    NURSERY_LIVE, NURSERY_NEVER));
	ROW(nursery_token_wait_level, EINVAL, nursery_token_wait_level(t,
	    (enum nursery_level)no_level, NURSERY_NEVER));
	ROW(nursery_token_fd, EINVAL, nursery_token_fd(NULL, &out_fd));
	ROW(nursery_token_fd, EINVAL, nursery_token_fd(t, NULL));
	ROW(nursery_token_level_fd, EINVAL, nursery_token_level_fd(NULL,
	    NURSERY_DRAIN, &out_fd));
	ROW(nursery_token_level_fd, EINVAL, nursery_token_level_fd(t,
	    NURSERY_DRAIN, NULL));
	ROW(nursery_token_level_fd, EINVAL, nursery_token_level_fd(t,
	    NURSERY_LIVE, &out_fd));
	ROW(nursery_token_level_fd, EINVAL, nursery_token_level_fd(t,
	    (enum nursery_level)no_level, &out_fd));
	ROW(nursery_token_set_deadline, EINVAL,
	    nursery_token_set_deadline(NULL, 0));
	ROW(nursery_token_set_deadline, ECANCELED,
	    nursery_token_set_deadline(cancelled, 1));
	ROW(nursery_token_deadline, 1, nursery_token_deadline(NULL) ==
	    NURSERY_NEVER);
	ROW(nursery_token_on_cancel, EINVAL, nursery_token_on_cancel(NULL,
	    &fresh, count_up, &ran));
	ROW(nursery_token_on_cancel, EINVAL, nursery_token_on_cancel(t, NULL,
	    count_up, &ran));
	ROW(nursery_token_on_cancel, EINVAL, nursery_token_on_cancel(t,
	    &fresh, NULL, &ran));
	ROW(nursery_token_on_cancel, EINVAL,
	    nursery_token_on_cancel(cancelled, &fresh, NULL, &ran));
	ROW(nursery_token_on_cancel, EBUSY, nursery_token_on_cancel(t, &cb,
	    count_up, &ran));
	ROW(nursery_token_on_level, EINVAL, on_level(NURSERY_LIVE));
	ROW(nursery_token_on_level, EINVAL, on_level(no_level));
	NOTHING(nursery_callback_remove, nursery_callback_remove(NULL));
	NOTHING(nursery_callback_remove, nursery_callback_remove(&fresh));
	ROW(nursery_callback_try_remove, EINVAL,
	    nursery_callback_try_remove(NULL));
	ROW(nursery_callback_try_remove, 0,
	    nursery_callback_try_remove(&fresh));
	ROW(nursery_token_run, EINVAL, nursery_token_run(t, NULL, NULL,
	    &out_result));
	ROW(nursery_token_run, ECANCELED, nursery_token_run(cancelled,
	    run_nothing, NULL, &out_result));
	ROW(nursery_interrupt_signal, SIGRTMIN + 5,
	    nursery_interrupt_signal());
	NOTHING(nursery_token_drop, nursery_token_drop(NULL));
	NOTHING(nursery_token_drop, nursery_token_drop(&none));
	NOTHING(nursery_guard_drop, nursery_guard_drop(NULL));
	NOTHING(nursery_guard_drop, nursery_guard_drop(&none));
	ROW(nursery_token_take, 1, nursery_token_take(NULL) == NULL);
	ROW(nursery_token_take, 1, nursery_token_take(&none) == NULL);
}

/* ---- nurseries ---- */

struct elsewhere {
	int close, close_with, stop;
};

static void *
from_another_thread(void *arg)
{
	struct elsewhere *e = arg;

	e->close = nursery_close(&n);
	e->close_with = nursery_close_with(&n, &out_report);
	e->stop = nursery_stop(&n, NULL, &out_report);
	return NULL;
}

static void
scope_rows(void)
{
	struct nursery *none = NULL;

	ROW(nursery_open, EINVAL, nursery_open(NULL, NULL));
	ROW(nursery_open_child, EINVAL, nursery_open_child(NULL, n, NULL));
	ROW(nursery_open_child, EINVAL, nursery_open_child(&out_nursery,
	    NULL, NULL));
	ROW(nursery_open_child, ESHUTDOWN, nursery_open_child(&out_nursery,
	    closed, NULL));
	ROW(nursery_open_under, EINVAL, nursery_open_under(NULL, t, NULL));
	ROW(nursery_open_under, EINVAL, nursery_open_under(&out_nursery,
	    NULL, NULL));
	ROW(nursery_adopt, EINVAL, nursery_adopt(NULL));
	ROW(nursery_adopt, EBUSY, nursery_adopt(closed));
	ROW(nursery_ref, 1, nursery_ref(NULL) == NULL);
	NOTHING(nursery_unref, nursery_unref(NULL));
	ROW(nursery_spawn, EINVAL, nursery_spawn(NULL, nothing, NULL));
	ROW(nursery_spawn, EINVAL, nursery_spawn(n, NULL, NULL));
	ROW(nursery_spawn, ESHUTDOWN, nursery_spawn(closed, nothing, NULL));
	ROW(nursery_try_spawn, EINVAL, nursery_try_spawn(NULL, nothing,
	    NULL));
	ROW(nursery_try_spawn, EINVAL, nursery_try_spawn(n, NULL, NULL));
	ROW(nursery_try_spawn, ESHUTDOWN, nursery_try_spawn(closed, nothing,
	    NULL));
	ROW(nursery_spawn_copy, EINVAL, nursery_spawn_copy(NULL, nothing,
	    "x", 1));
	ROW(nursery_spawn_copy, EINVAL, nursery_spawn_copy(n, NULL, "x", 1));
	ROW(nursery_spawn_copy, EINVAL, nursery_spawn_copy(n, nothing, NULL,
	    1));
	ROW(nursery_spawn_copy, ESHUTDOWN, nursery_spawn_copy(closed,
	    nothing, "x", 1));
	ROW(nursery_start, EINVAL, nursery_start(NULL, NULL, nothing, NULL,
	    &out_value, NURSERY_NEVER));
	ROW(nursery_start, EINVAL, nursery_start(n, NULL, NULL, NULL,
	    &out_value, NURSERY_NEVER));
	ROW(nursery_start, EINVAL, nursery_start(n, TASK(flags,
	    NURSERY_TASK_MAY_INLINE), nothing, NULL, &out_value,
	    NURSERY_NEVER));
	ROW(nursery_start, EINVAL, nursery_start(n, TASK(flags, 1u << 31),
	    nothing, NULL, &out_value, NURSERY_NEVER));
	ROW(nursery_start, E2BIG, nursery_start(n, longer(sizeof(struct
	    nursery_task_attr), 1, 1), nothing, NULL, &out_value,
	    NURSERY_NEVER));
	ROW(nursery_start, ESHUTDOWN, nursery_start(closed, NULL, nothing,
	    NULL, &out_value, NURSERY_NEVER));
	ROW(nursery_started, EINVAL, nursery_started(NULL));
	ROW(nursery_wait, EINVAL, nursery_wait(NULL, NURSERY_NEVER));
	ROW(nursery_wait, ETIMEDOUT, nursery_wait(n, 0));
	ROW(nursery_wait, 0, nursery_wait(closed, NURSERY_NEVER));
	ROW(nursery_close, 0, nursery_close(NULL));
	ROW(nursery_close, 0, nursery_close(&none));
	ROW(nursery_close_with, 0, nursery_close_with(NULL, NULL));
	ROW(nursery_close_with, 0, nursery_close_with(&none, NULL));
	NOTHING(nursery_cancel, nursery_cancel(NULL));
	NOTHING(nursery_cancel_with, nursery_cancel_with(NULL, 1, NULL));
	NOTHING(nursery_drain, nursery_drain(NULL));
	ROW(nursery_token_of, 1, nursery_token_of(NULL) == NULL);
	ROW(nursery_current, 1, nursery_current() == NULL);
	ROW(nursery_self, 1, nursery_self() == NULL);
	NOTHING(nursery_drop, nursery_drop(NULL));
	NOTHING(nursery_drop, nursery_drop(&none));
}

static void
thread_rows(void)
{
	struct elsewhere e = { -1, -1, -1 };

	(void)end_thread(start_thread(from_another_thread, &e));
	ROW(nursery_close, EPERM, e.close);
	ROW(nursery_close_with, EPERM, e.close_with);
	ROW(nursery_stop, EPERM, e.stop);
}

static void
task_rows(void)
{
	struct nursery_task *none = NULL;

	ROW(nursery_task_join, EINVAL, nursery_task_join(&none,
	    &out_result));
	ROW(nursery_task_join, EINVAL, nursery_task_join(NULL,
	    &out_result));
	ROW(nursery_task_wait, EINVAL, nursery_task_wait(NULL, 0));
	ROW(nursery_task_cancel, 0, nursery_task_cancel(NULL));
	ROW(nursery_task_id, 0, nursery_task_id(NULL));
	ROW(nursery_task_name, 1, nursery_task_name(NULL) == NULL);
	ROW(nursery_task_token, 1, nursery_task_token(NULL) == NULL);
	ROW(nursery_task_ref, 1, nursery_task_ref(NULL) == NULL);
	NOTHING(nursery_task_unref, nursery_task_unref(NULL));
}

static void
report_rows(void)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT, c0 = { 0 };
	struct nursery_result r = NURSERY_RESULT_INIT, r0 = { 0 };
	struct nursery_cause w = NURSERY_CAUSE_INIT, w0 = { 0 };

	ROW(nursery_report_counts, EINVAL, nursery_report_counts(NULL, &c));
	ROW(nursery_report_counts, EINVAL, nursery_report_counts(report,
	    NULL));
	ROW(nursery_report_counts, EINVAL, nursery_report_counts(report,
	    &c0));
	ROW(nursery_report_failed, 0, nursery_report_failed(NULL));
	ROW(nursery_report_failure, EINVAL, nursery_report_failure(NULL, 0,
	    &r));
	ROW(nursery_report_failure, EINVAL, nursery_report_failure(report, 0,
	    NULL));
	ROW(nursery_report_failure, EINVAL, nursery_report_failure(report, 0,
	    &r0));
	ROW(nursery_report_failure, EINVAL, nursery_report_failure(report, 1,
	    &r));
	ROW(nursery_report_failure, EINVAL, nursery_report_failure(report,
	    SIZE_MAX, &r));
	ROW(nursery_report_unfinished, 0, nursery_report_unfinished(NULL));
	ROW(nursery_report_unfinished, 0, nursery_report_unfinished(report));
	ROW(nursery_report_stuck, EINVAL, nursery_report_stuck(NULL, 0, &r));
	ROW(nursery_report_stuck, EINVAL, nursery_report_stuck(report, 0,
	    &r));
	ROW(nursery_report_cause, EINVAL, nursery_report_cause(NULL, &w));
	ROW(nursery_report_cause, EINVAL, nursery_report_cause(report,
	    NULL));
	ROW(nursery_report_cause, EINVAL, nursery_report_cause(report, &w0));
	ROW(nursery_report_print, EINVAL, nursery_report_print(NULL,
	    stderr));
	ROW(nursery_report_print, EINVAL, nursery_report_print(report,
	    NULL));
	NOTHING(nursery_report_free, nursery_report_free(NULL));
	/* Nothing was written where EINVAL was said. */
	ROW(nursery_report_failure, 0, r.task != 0 || r0.task != 0 ||
	    r.code != 0);
	ROW(nursery_report_counts, 0, c.spawned != 0 || c0.spawned != 0);
	ROW(nursery_report_cause, 0, w.code != 0 || w0.code != 0);
}

/* ---- calls ---- */

static void
channel_rows(void)
{
	struct nursery_channel *full = NULL;
	char byte = 1;

	ck_assert_int_eq(nursery_channel_new(&full, 1, 1), 0);
	ck_assert_int_eq(nursery_channel_send(NULL, full, &byte, 0), 0);
	ROW(nursery_channel_new, EINVAL, nursery_channel_new(NULL, 1, 1));
	ROW(nursery_channel_new, EINVAL, nursery_channel_new(&out_channel, 0,
	    1));
	ROW(nursery_channel_new, EINVAL, nursery_channel_new(&out_channel, 1,
	    0));
	ROW(nursery_channel_new, ENOMEM, nursery_channel_new(&out_channel,
	    SIZE_MAX, 2));
	ROW(nursery_channel_send, EINVAL, nursery_channel_send(t, NULL,
	    &byte, NURSERY_NEVER));
	ROW(nursery_channel_send, EINVAL, nursery_channel_send(t, full, NULL,
	    NURSERY_NEVER));
	ROW(nursery_channel_send, ETIMEDOUT, nursery_channel_send(t, full,
	    &byte, 0));
	ROW(nursery_channel_send, ETIMEDOUT, nursery_channel_send(t, full,
	    &byte, INT64_MIN));
	ROW(nursery_channel_send, ECANCELED, nursery_channel_send(cancelled,
	    full, &byte, NURSERY_NEVER));
	ROW(nursery_channel_recv, EINVAL, nursery_channel_recv(t, NULL,
	    &byte, NURSERY_NEVER));
	ROW(nursery_channel_recv, EINVAL, nursery_channel_recv(t, full, NULL,
	    NURSERY_NEVER));
	ROW(nursery_channel_recv, ECANCELED, nursery_channel_recv(cancelled,
	    full, &byte, NURSERY_NEVER));
	NOTHING(nursery_channel_close, nursery_channel_close(NULL));
	NOTHING(nursery_channel_free, nursery_channel_free(NULL));
	/* All this took nothing out and put nothing in. */
	ROW(nursery_channel_recv, 0, nursery_channel_recv(t, full, &byte,
	    0));
	ROW(nursery_channel_recv, ETIMEDOUT, nursery_channel_recv(t, full,
	    &byte, 0));
	nursery_channel_free(full);
}

static void
sync_rows(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	sem_t sem;

	/* The mutex is held on return, whatever is returned. */
	pthread_mutex_lock(&m);
	ROW(nursery_cond_wait, EINVAL, nursery_cond_wait(t, NULL, &m,
	    NURSERY_NEVER));
	ROW(nursery_cond_wait, EINVAL, nursery_cond_wait(t, &c, NULL,
	    NURSERY_NEVER));
	ROW(nursery_cond_wait, ECANCELED, nursery_cond_wait(cancelled, &c,
	    &m, NURSERY_NEVER));
	ROW(nursery_cond_wait, ETIMEDOUT, nursery_cond_wait(t, &c, &m, 0));
	ROW(nursery_cond_wait, ETIMEDOUT, nursery_cond_wait(t, &c, &m,
	    INT64_MIN));
	ROW(nursery_cond_wait, EBUSY, pthread_mutex_trylock(&m));
	pthread_mutex_unlock(&m);
	sem_init(&sem, 0, 0);
	ROW(nursery_sem_wait, EINVAL, nursery_sem_wait(t, NULL,
	    NURSERY_NEVER));
	ROW(nursery_sem_wait, ETIMEDOUT, nursery_sem_wait(t, &sem, 0));
	sem_post(&sem);
	ROW(nursery_sem_wait, ECANCELED, nursery_sem_wait(cancelled, &sem,
	    NURSERY_NEVER));
	ROW(nursery_sem_wait, 0, sem_trywait(&sem));
	sem_destroy(&sem);
	channel_rows();
}

static void
io_rows(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct pollfd one = { .fd = -1 };
	struct iovec iov = { NULL, 0 }, huge = { NULL, SIZE_MAX };
	struct msghdr msg;
	char byte = 0;
	size_t done = 99;

	memset(&msg, 0, sizeof msg);
	ROW(nursery_sleep, ECANCELED, nursery_sleep(cancelled,
	    NURSERY_NEVER));
	ROW(nursery_poll, EINVAL, error_of(nursery_poll(t, NULL, 1,
	    NURSERY_NEVER)));
	ROW(nursery_poll, EINVAL, error_of(nursery_poll(t, &one,
	    (nfds_t)INT_MAX + 1, NURSERY_NEVER)));
	ROW(nursery_poll, ECANCELED, error_of(nursery_poll(cancelled, NULL,
	    0, NURSERY_NEVER)));
	ROW(nursery_read, ECANCELED, error_of(nursery_read(cancelled, -1,
	    &byte, 1, NURSERY_NEVER)));
	ROW(nursery_read, EBADF, error_of(nursery_read(NULL, -1, &byte, 1,
	    NURSERY_NEVER)));
	ROW(nursery_write, ECANCELED, error_of(nursery_write(cancelled, -1,
	    &byte, 1, NURSERY_NEVER)));
	ROW(nursery_write, EBADF, error_of(nursery_write(NULL, -1, &byte, 1,
	    NURSERY_NEVER)));
	ROW(nursery_recv, ECANCELED, error_of(nursery_recv(cancelled, -1,
	    &byte, 1, 0, NURSERY_NEVER)));
	ROW(nursery_recv, EBADF, error_of(nursery_recv(NULL, -1, &byte, 1, 0,
	    NURSERY_NEVER)));
	ROW(nursery_send, ECANCELED, error_of(nursery_send(cancelled, -1,
	    &byte, 1, 0, NURSERY_NEVER)));
	ROW(nursery_send, EBADF, error_of(nursery_send(NULL, -1, &byte, 1, 0,
	    NURSERY_NEVER)));
	ROW(nursery_sendfile, ECANCELED, error_of(nursery_sendfile(cancelled,
	    -1, -1, NULL, 1, NURSERY_NEVER)));
	ROW(nursery_accept, ECANCELED, error_of(nursery_accept(cancelled, -1,
	    NULL, NULL, NURSERY_NEVER)));
	ROW(nursery_connect, ECANCELED, error_of(nursery_connect(cancelled,
	    -1, (struct sockaddr *)&to, sizeof to, NURSERY_NEVER)));
	ROW(nursery_connect, EINVAL, error_of(nursery_connect(t, 0, NULL, 0,
	    NURSERY_NEVER)));
	ROW(nursery_connect, EINVAL, error_of(nursery_connect(t, 0,
	    (struct sockaddr *)&to, 1, NURSERY_NEVER)));
	ROW(nursery_read_full, ECANCELED, nursery_read_full(cancelled, -1,
	    &byte, 1, &done, NURSERY_NEVER));
	ROW(nursery_read_full, 0, done);
	done = 99;
	ROW(nursery_write_all, ECANCELED, nursery_write_all(cancelled, -1,
	    &byte, 1, &done, NURSERY_NEVER));
	ROW(nursery_write_all, 0, done);
	ROW(nursery_readv, ECANCELED, error_of(nursery_readv(cancelled, -1,
	    &iov, 1, NURSERY_NEVER)));
	ROW(nursery_readv, EBADF, error_of(nursery_readv(t, -1, &iov, 1,
	    NURSERY_NEVER)));
	ROW(nursery_readv, EINVAL, error_of(nursery_readv(t, 0, &iov, -1,
	    NURSERY_NEVER)));
	ROW(nursery_readv, EINVAL, error_of(nursery_readv(t, 0, NULL, 1,
	    NURSERY_NEVER)));
	ROW(nursery_readv, EINVAL, error_of(nursery_readv(t, 0, &iov,
	    IOV_MAX + 1, NURSERY_NEVER)));
	ROW(nursery_readv, EINVAL, error_of(nursery_readv(t, 0, &huge, 1,
	    NURSERY_NEVER)));
	ROW(nursery_writev, ECANCELED, error_of(nursery_writev(cancelled, -1,
	    &iov, 1, NURSERY_NEVER)));
	ROW(nursery_writev, EBADF, error_of(nursery_writev(t, -1, &iov, 1,
	    NURSERY_NEVER)));
	ROW(nursery_writev, EINVAL, error_of(nursery_writev(t, 1, &iov, -1,
	    NURSERY_NEVER)));
	ROW(nursery_writev, EINVAL, error_of(nursery_writev(t, 1, NULL, 1,
	    NURSERY_NEVER)));
	ROW(nursery_writev, EINVAL, error_of(nursery_writev(t, 1, &iov,
	    IOV_MAX + 1, NURSERY_NEVER)));
	ROW(nursery_writev, EINVAL, error_of(nursery_writev(t, 1, &huge, 1,
	    NURSERY_NEVER)));
	ROW(nursery_recvmsg, ECANCELED, error_of(nursery_recvmsg(cancelled,
	    -1, &msg, 0, NURSERY_NEVER)));
	ROW(nursery_recvmsg, EBADF, error_of(nursery_recvmsg(t, -1, &msg, 0,
	    NURSERY_NEVER)));
	ROW(nursery_recvmsg, EINVAL, error_of(nursery_recvmsg(t, 0, NULL, 0,
	    NURSERY_NEVER)));
	ROW(nursery_sendmsg, ECANCELED, error_of(nursery_sendmsg(cancelled,
	    -1, &msg, 0, NURSERY_NEVER)));
	ROW(nursery_sendmsg, EBADF, error_of(nursery_sendmsg(t, -1, &msg, 0,
	    NURSERY_NEVER)));
	ROW(nursery_sendmsg, EINVAL, error_of(nursery_sendmsg(t, 0, NULL, 0,
	    NURSERY_NEVER)));
	ROW(nursery_waitpid, ECANCELED, error_of(nursery_waitpid(cancelled,
	    1, &out_result, NURSERY_NEVER)));
	ROW(nursery_waitpid, EINVAL, error_of(nursery_waitpid(t, 0,
	    &out_result, NURSERY_NEVER)));
	ROW(nursery_waitpid, EINVAL, error_of(nursery_waitpid(t, -1,
	    &out_result, NURSERY_NEVER)));
	/* Nobody's child is its own. */
	ROW(nursery_waitpid, ECHILD, error_of(nursery_waitpid(t, getpid(),
	    &out_result, NURSERY_NEVER)));
	sync_rows();
	NOTHING(nursery_blocking_begin, nursery_blocking_begin());
	NOTHING(nursery_blocking_end, nursery_blocking_end());
}

/* ---- daemons and inspection ---- */

static void
daemon_rows(void)
{
	const size_t size = sizeof(struct nursery_stop);
	const struct nursery_process process = NURSERY_PROCESS_INIT;
	struct nursery *none = NULL;
	sigset_t usr1, fatal[2];

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	fatal[0] = fatal[1] = usr1;
	sigaddset(&fatal[0], SIGKILL);
	sigaddset(&fatal[1], SIGSTOP);
	ROW(nursery_stop, 0, nursery_stop(NULL, NULL, NULL));
	ROW(nursery_stop, 0, nursery_stop(&none, NULL, NULL));
	ROW(nursery_stop, EINVAL, nursery_stop(&n, SIZED(nursery_stop,
	    0), &out_report));
	ROW(nursery_stop, EINVAL, nursery_stop(&n, STOP(drain_for, -1),
	    &out_report));
	ROW(nursery_stop, EINVAL, nursery_stop(&n, STOP(cancel_for, -1),
	    &out_report));
	ROW(nursery_stop, EINVAL, nursery_stop(&n, STOP(abort_for, -1),
	    &out_report));
	ROW(nursery_stop, E2BIG, nursery_stop(&n, longer(size, 1, 1),
	    &out_report));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(NULL,
	    &usr1, NURSERY_DRAIN));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(n, NULL,
	    NURSERY_DRAIN));
	ROW(nursery_stop_on_signals, ESHUTDOWN,
	    nursery_stop_on_signals(closed, &usr1, NURSERY_DRAIN));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(n,
	    &usr1, NURSERY_LIVE));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(n,
	    &usr1, (enum nursery_level)(NURSERY_ABORT + 1)));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(n,
	    &fatal[0], NURSERY_DRAIN));
	ROW(nursery_stop_on_signals, EINVAL, nursery_stop_on_signals(n,
	    &fatal[1], NURSERY_DRAIN));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(NULL, SIGUSR1,
	    handle, NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, SIGUSR1, NULL,
	    NULL));
	ROW(nursery_on_signal, ESHUTDOWN, nursery_on_signal(closed, SIGUSR1,
	    handle, NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, 0, handle,
	    NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, -1, handle,
	    NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, SIGRTMAX + 1,
	    handle, NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, SIGKILL, handle,
	    NULL));
	ROW(nursery_on_signal, EINVAL, nursery_on_signal(n, SIGSTOP, handle,
	    NULL));
	ROW(nursery_on_signal, EBUSY, nursery_on_signal(n,
	    nursery_interrupt_signal(), handle, NULL));
	ROW(nursery_spawn_process, ENOTSUP, nursery_spawn_process(n, NULL,
	    &process, &out_task));
	ROW(nursery_notify, ENOTSUP, nursery_notify("READY=1"));
}

static void
debug_rows(void)
{
	struct nursery_stats s = { 0 };

	ROW(nursery_dump, EINVAL, nursery_dump(NULL, NURSERY_TEXT));
	ROW(nursery_dump, ENOTSUP, nursery_dump(stderr, NURSERY_JSON));
	ROW(nursery_dump, EINVAL, nursery_dump(stderr,
	    (enum nursery_format)2));
	NOTHING(nursery_dump_from_signal, nursery_dump_from_signal(-1));
	ROW(nursery_get_stats, EINVAL, nursery_get_stats(NULL));
	ROW(nursery_get_stats, EINVAL, nursery_get_stats(&s));
	ROW(nursery_now, 1, nursery_now() > 0);
	ROW(nursery_after, 1, nursery_after(INT64_MIN) <= nursery_now());
	ROW(nursery_version, 1, nursery_version() != NULL);
}

/* ---- misuse that cannot be returned ---- */

static int
cancel_from_signal(void *unused)
{
	struct nursery_token *token;

	(void)unused;
	if (nursery_token_new(&token, NULL) != 0)
		return 1;
	nursery_token_cancel_from_signal(token);
	return 0;
}

static void
fatal_rows(void)
{
	struct outcome o;

	run_forked(&o, cancel_from_signal, NULL);
	ROW(nursery_token_cancel_from_signal, SIGABRT,
	    WIFSIGNALED(o.status) ? WTERMSIG(o.status) : 0);
	ROW(nursery_token_cancel_from_signal, 1, strstr(o.text, "misuse") !=
	    NULL);
}

/* Each exported function is in the table. */
static void
assert_all_are_covered(void)
{
	char line[200], name[128];
	FILE *map = fopen(EXPORT_MAP, "re");
	int exported = 0, missing = 0;

	ck_assert_ptr_nonnull(map);
	while (fgets(line, sizeof line, map) != NULL) {
		if (sscanf(line, " nursery_%127[a-z0-9_];", name) != 1)
			continue;
		exported++;
		snprintf(line, sizeof line, "nursery_%s", name);
		if (is_covered(line))
			continue;
		missing++;
		fprintf(stderr, "no row for %s\n", line);
	}
	fclose(map);
	ck_assert_int_eq(missing, 0);
	ck_assert_int_eq(exported, functions);
}

static void
make_world(void)
{
	int code = EIO;

	gate_init(&gate);
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(n, task_return, &code), 0);
	ck_assert_int_eq(nursery_close_with(&n, &report), EIO);
	closed = open_root(NULL);
	nursery_ref(closed);
	n = closed;
	ck_assert_int_eq(nursery_close(&n), 0);
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &gate), 0);
	gate_await(&gate, 1);
	t = new_token(NULL);
	cancelled = new_token(NULL);
	ck_assert(nursery_token_cancel_with(cancelled, 7, NULL));
	ck_assert_int_eq(nursery_token_on_cancel(t, &cb, count_up, &ran), 0);
	await_others_asleep();
	before = look();
}

/* What was refused left no trace in the nursery either. */
static void
end_world(void)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;

	nursery_report_free(report);
	gate_open(&gate);
	ck_assert_int_eq(nursery_close_with(&n, &report), 0);
	ck_assert_int_eq(nursery_report_counts(report, &c), 0);
	ck_assert_uint_eq(c.spawned, 1);
	nursery_report_free(report);
	nursery_unref(closed);
	ck_assert(nursery_token_cancel(t));
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&cb);
	nursery_token_unref(t);
	nursery_token_unref(cancelled);
}

START_TEST(test_misuse_has_its_documented_code_and_changes_nothing)
{
	make_world();
	attribute_rows();
	task_attribute_rows();
	token_rows();
	scope_rows();
	thread_rows();
	task_rows();
	report_rows();
	io_rows();
	daemon_rows();
	debug_rows();
	fatal_rows();
	printf("%d misuses of %d functions, each with its code\n", rows,
	    functions);
	fflush(stdout);
	end_world();
	ck_assert_msg(wrong == 0, "%d of %d rows are wrong", wrong, rows);
	assert_all_are_covered();
}
END_TEST

static int
unref_too_often(void *unused)
{
	struct nursery_token *p, *k;

	(void)unused;
	/* Two children keep the parent's memory: the second one is seen. */
	if (nursery_token_new(&p, NULL) != 0 || nursery_token_new(&k, p) != 0
	    || nursery_token_new(&k, p) != 0)
		return 1;
	nursery_token_unref(p);
	nursery_token_unref(p);
	return 0;
}

START_TEST(test_misuse_too_many_unrefs_abort)
{
	struct outcome o;

	run_forked(&o, unref_too_often, NULL);
	assert_aborted(&o, "nursery_token_unref");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("misuse");
	TCase *c = leakless_case("misuse");

	tcase_add_test(c,
	    test_misuse_has_its_documented_code_and_changes_nothing);
	tcase_add_test(c, test_misuse_too_many_unrefs_abort);
	suite_add_tcase(s, c);
	return run_suite(s);
}
