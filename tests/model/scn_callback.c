/* SPDX-License-Identifier: MIT */
/* Callbacks: once, never after their removal, with no lock held. */
#include "config.h"

#include "scenario.h"

#include <string.h>

static struct nursery_token *token;
static struct nursery_callback cb, other;

/* What a callback is given; freed as soon as it cannot run any more, so that
 * one run too many or too late is an access to freed memory. */
struct context {
	int runs;
};
static struct context *context;

static void
begin(void)
{
	token = new_token(NULL);
	context = model_alloc(sizeof *context);
	model_name(context, "context");
}

static void
run_once(void *arg)
{
	struct context *x = arg;

	MODEL_ASSERT(model_locks_held() == 0);
	x->runs++;
	MODEL_ASSERT(x->runs == 1);
}

static void
count(void *arg)
{
	ASSERT_CANCELLED(token);
	run_once(arg);
}

static void
cancel(void *t)
{
	(void)nursery_token_cancel(t);
}

/* The storage is ours again: whatever still uses it races with this. */
static void
scribble(struct nursery_callback *storage)
{
	memset(storage, 0xa5, sizeof *storage);
	memset(storage, 0, sizeof *storage);
}

static void
callback_removed(void)
{
	struct model_thread *a;

	begin();
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	a = model_start(cancel, token);
	model_pause();
	nursery_callback_remove(&cb);
	scribble(&cb);
	model_cover(context->runs == 1 ? "ran" : "removed first");
	model_free(context);
	model_join(a);
	nursery_token_unref(token);
}

static void
callback_added(void)
{
	struct model_thread *a;

	begin();
	a = model_start(cancel, token);
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	model_join(a);
	MODEL_ASSERT(context->runs == 1);
	nursery_callback_remove(&cb);
	scribble(&cb);
	model_free(context);
	nursery_token_unref(token);
}

static void
count_and_go(void *arg)
{
	count(arg);
	nursery_callback_remove(&cb);
	scribble(&cb);
}

/* It removes itself, perhaps before who registers it is through. */
static void
callback_added_that_goes(void)
{
	struct model_thread *a;

	begin();
	a = model_start(cancel, token);
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count_and_go,
	    context) == 0);
	model_join(a);
	MODEL_ASSERT(context->runs == 1);
	model_free(context);
	nursery_token_unref(token);
}

/* The same at DRAIN, where nothing is kept ready. */
static void
callback_added_when_drained(void)
{
	struct model_thread *a;

	begin();
	MODEL_ASSERT(nursery_token_raise(token, NURSERY_DRAIN, 0, NULL));
	a = model_start(cancel, token);
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	model_join(a);
	MODEL_ASSERT(context->runs == 1);
	nursery_callback_remove(&cb);
	scribble(&cb);
	model_free(context);
	nursery_token_unref(token);
}

/* Registered, removed, registered again while the cancel comes. */
static void
callback_again(void)
{
	struct model_thread *a;

	begin();
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	a = model_start(cancel, token);
	nursery_callback_remove(&cb);
	if (context->runs == 0) {
		model_cover("removed first");
		MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count,
		    context) == 0);
	}
	model_join(a);
	MODEL_ASSERT(context->runs == 1);
	nursery_callback_remove(&cb);
	model_free(context);
	nursery_token_unref(token);
}

static void
callback_tried(void)
{
	struct model_thread *a;
	int rc;

	begin();
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	a = model_start(cancel, token);
	rc = nursery_callback_try_remove(&cb);
	MODEL_ASSERT(rc == 0 || rc == EBUSY);
	model_cover(rc == 0 ? "removed" : "busy");
	if (rc == EBUSY)
		nursery_callback_remove(&cb);
	scribble(&cb);
	model_free(context);
	model_join(a);
	nursery_token_unref(token);
}

/* A callback that uses the library: its own removal, a child, a poll. */
static void
use_everything(void *arg)
{
	struct nursery_token *k = new_token(token);

	count(arg);
	ASSERT_CANCELLED(k);
	MODEL_ASSERT(!nursery_token_cancel(token));
	nursery_token_unref(k);
	nursery_callback_remove(&cb);
	scribble(&cb);
}

static void
callback_uses_everything(void)
{
	struct model_thread *a;

	begin();
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, use_everything,
	    context) == 0);
	a = model_start(cancel, token);
	(void)nursery_token_cancel(token);
	model_join(a);
	MODEL_ASSERT(context->runs == 1);
	model_free(context);
	nursery_token_unref(token);
}

/* One callback removes another of the same token. */
static void
remove_other(void *arg)
{
	(void)arg;
	nursery_callback_remove(&other);
	scribble(&other);
	model_free(context);
}

static void
callback_removes_another(void)
{
	struct model_thread *a;
	struct nursery_token *k;

	begin();
	k = new_token(token);
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, remove_other,
	    NULL) == 0);
	MODEL_ASSERT(nursery_token_on_cancel(k, &other, run_once,
	    context) == 0);
	a = model_start(cancel, k);
	(void)nursery_token_cancel(token);
	model_join(a);
	nursery_callback_remove(&cb);
	nursery_token_unref(k);
	nursery_token_unref(token);
}

/* Two callbacks, one of a child; both run exactly once. */
static void
callbacks_of_two(void)
{
	struct context *second = model_alloc(sizeof *second);
	struct model_thread *a;
	struct nursery_token *k;

	begin();
	k = new_token(token);
	MODEL_ASSERT(nursery_token_on_cancel(token, &cb, count, context) == 0);
	MODEL_ASSERT(nursery_token_on_cancel(k, &other, count, second) == 0);
	a = model_start(cancel, token);
	(void)nursery_token_cancel(token);
	model_join(a);
	MODEL_ASSERT(context->runs == 1 && second->runs == 1);
	nursery_callback_remove(&cb);
	nursery_callback_remove(&other);
	model_free(context);
	model_free(second);
	nursery_token_unref(k);
	nursery_token_unref(token);
}

const struct scenario callback_scenarios[] = {
	{ "callback-removed", callback_removed, { .spurious = 1 },
	    { "ran", "removed first" }, 2, -1 },
	{ "callback-added", callback_added, { 0 }, { NULL }, 2, -1 },
	{ "callback-added-that-goes", callback_added_that_goes, { 0 },
	    { NULL }, 2, -1 },
	{ "callback-added-when-drained", callback_added_when_drained,
	    { 0 }, { NULL }, 2, -1 },
	{ "callback-again", callback_again, { 0 },
	    { "removed first" }, 2, -1 },
	{ "callback-tried", callback_tried, { 0 },
	    { "removed", "busy" }, 2, -1 },
	{ "callback-uses-everything", callback_uses_everything, { 0 },
	    { NULL }, 2, -1 },
	{ "callback-removes-another", callback_removes_another, { 0 },
	    { NULL }, 2, -1 },
	{ "callbacks-of-two", callbacks_of_two, { 0 }, { NULL }, 2, -1 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
