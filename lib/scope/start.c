/* SPDX-License-Identifier: MIT */
/*
 * A start with a handshake.
 *
 * The task says STARTED, or the one who started it says GIVEN_UP: whichever
 * comes first in the task's state word.  A task that was given up, and one
 * that was not, is waited for by a handle of which nobody else knows.
 */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "scope/attr.h"
#include "scope/light.h"
#include "token/callback.h"

/* Ended, and never said that it had started. */
#define NO_HANDSHAKE	EPROTO

/* ---- who starts ---- */

/* A caller that is cancelled starts nothing but last words. */
static bool
told_to_stop(const struct nursery_task *t)
{
	const struct nursery_task *caller = nur_task_current();

	if (nursery_token_is_cancelled(t->token))
		return true;
	return caller != NULL && nursery_token_is_cancelled(caller->token) &&
	    (t->flags & NURSERY_TASK_FINAL) == 0;
}

/* True unless the task has started or ended just now. */
static bool
give_up(struct nursery_task *t)
{
	uint32_t was = nur_task_state(t);

	do {
		if ((was & (NUR_TASK_STARTED | NUR_TASK_ENDED)) != 0)
			return false;
		/* Release: see nur_task_say(). */
	} while (!nur_cas_acq_rel(&t->state, &was, was | NUR_TASK_GIVEN_UP));
	return true;
}

static int
await_or_cancel(struct nursery_task *t, int64_t deadline)
{
	int rc = nur_task_await(t, NUR_TASK_STARTED | NUR_TASK_ENDED, deadline,
	    told_to_stop);

	if (rc != 0 && give_up(t)) {
		(void)nursery_task_cancel(t);
		(void)nur_task_await(t, NUR_TASK_ENDED, NURSERY_NEVER, NULL);
		/* It may have been its own error that cancelled. */
		return rc == ECANCELED && t->result != 0 ? t->result : rc;
	}
	if ((nur_task_state(t) & NUR_TASK_STARTED) != 0)
		return 0;
	return t->result != 0 ? t->result : NO_HANDSHAKE;
}

/* The wait is told of what would end it. */
static int
await_start(struct nursery_task *t, int64_t deadline)
{
	struct nursery_callback own = { { { 0 } } }, callers = { { { 0 } } };
	struct nursery_task *caller = nur_task_current();
	struct nur_pause pause;
	int rc;

	(void)nur_token_tell(t->token, NURSERY_CANCEL, &own,
	    nur_task_look_again, t);
	if (caller != NULL)
		(void)nur_token_tell(caller->token, NURSERY_CANCEL, &callers,
		    nur_task_look_again, t);
	nur_pause_begin(&pause, NUR_OP_START);
	rc = await_or_cancel(t, deadline);
	nur_pause_end(&pause);
	nursery_callback_remove(&own);
	nursery_callback_remove(&callers);
	return rc;
}

/* A spawned task with a handle; an error: arg is still the caller's. */
static int
begin(struct nursery_task **out, struct nursery *n,
    const struct nursery_task_attr *attr, nursery_fn *fn, void *arg,
    int64_t deadline)
{
	struct nursery_task_attr a;
	int rc;

	if (n == NULL || fn == NULL)
		return EINVAL;
	rc = nur_task_attr_read(&a, attr);
	if (rc != 0)
		return rc;
	if ((a.flags & NURSERY_TASK_MAY_INLINE) != 0)
		return EINVAL;
	if (a.lane == NURSERY_COMPUTE && (rc = nur_lane_begin()) != 0)
		return rc;
	a.flags |= NUR_TASK_HANDSHAKE;
	if (a.spawn_by == 0 || a.spawn_by > deadline)
		a.spawn_by = deadline;
	rc = nur_spawn_prepare(out, n, &a, fn, arg);
	return rc != 0 ? rc : nur_spawn_prepared(*out, true, a.spawn_by);
}

/* What the attributes say of a discard, whatever else they say. */
static void
discard_refused(const struct nursery_task_attr *attr, void *arg)
{
	const size_t end = offsetof(struct nursery_task_attr, discard) +
	    sizeof attr->discard;

	if (attr != NULL && attr->size >= end && attr->discard != NULL)
		attr->discard(arg);
}

int
nursery_start(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, void **out_value, int64_t deadline)
{
	struct nursery_task *t;
	int rc = begin(&t, n, attr, fn, arg, deadline);

	if (rc != 0) {
		discard_refused(attr, arg);
		return rc;
	}
	rc = await_start(t, deadline);
	if (rc == 0 && out_value != NULL)
		*out_value = t->more.value;
	nursery_task_unref(t);
	return rc;
}

/* ---- who is started ---- */

/* The start is about to cancel it: who is told ECANCELED is cancelled. */
static int
was_given_up(struct nursery_task *t)
{
	(void)nursery_token_cancel(t->token);
	return ECANCELED;
}

int
nursery_started(void *value)
{
	struct nursery_task *t = nur_task_current();
	uint32_t was;

	if (t == NULL)
		return EINVAL;
	if ((t->flags & NUR_TASK_HANDSHAKE) == 0)
		return 0;
	was = nur_task_state(t);
	if ((was & (NUR_TASK_STARTED | NUR_TASK_ENDED)) != 0)
		return EINVAL;
	t->more.value = value;
	do {
		if ((was & NUR_TASK_GIVEN_UP) != 0)
			return was_given_up(t);
		/* Release: publishes the value; see nur_task_say(). */
	} while (!nur_cas_acq_rel(&t->state, &was, was | NUR_TASK_STARTED));
	if ((was & NUR_TASK_AWAITED) != 0)
		nur_futex_wake(&t->state, INT32_MAX);
	return 0;
}
