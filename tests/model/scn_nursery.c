/* SPDX-License-Identifier: MIT */
/*
 * Nurseries: the close waits for all, what was accepted is run or discarded,
 * the first error wins, and nobody touches a nursery that has closed.
 *
 * Results are plain variables: a close that returns too early is a race with
 * the task that writes them, whoever of the two comes first.
 */
#include "config.h"

#include "scenario.h"

#include "base/sys.h"
#include "scope/look.h"

static struct nursery *n;

static void
open_nursery(const struct nursery_attr *attr)
{
	MODEL_ASSERT(nursery_open(&n, attr) == 0);
}

/* A task that leaves a mark in its argument. */
static int
mark(struct nursery_token *token, void *arg)
{
	(void)token;
	++*(int *)arg;
	return 0;
}

static void
cancel_n(void *handle)
{
	nursery_cancel(handle);
	nursery_unref(handle);
}

/* A thread that is not ordered with the close holds a reference. */
static struct model_thread *
start_canceller(void)
{
	return model_start(cancel_n, nursery_ref(n));
}

/* ---- close against spawn from members ---- */

static int marks[4];

static int
spawn_another(struct nursery_token *token, void *arg)
{
	(void)token;
	++*(int *)arg;
	MODEL_ASSERT(nursery_spawn(nursery_current(), mark, &marks[1]) == 0);
	return 0;
}

static void
members_spawn_while_closing(void)
{
	open_nursery(NULL);
	MODEL_ASSERT(nursery_spawn(n, spawn_another, &marks[0]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(n == NULL);
	MODEL_ASSERT(marks[0] == 1 && marks[1] == 1);
}

/* ---- last touch: the block is used again while the last task leaves ---- */

static void
last_task_leaves(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		open_nursery(NULL);
		MODEL_ASSERT(nursery_spawn(n, mark, &marks[i]) == 0);
		MODEL_ASSERT(nursery_close(&n) == 0);
		MODEL_ASSERT(marks[i] == 1);
	}
}

static void
two_tasks_leave(void)
{
	open_nursery(NULL);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[1]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1 && marks[1] == 1);
}

/* ---- cancel against a queued task ---- */

struct parcel {
	int ran, discarded;
	bool accepted;
};
static struct parcel parcels[3];

static int
deliver(struct nursery_token *token, void *arg)
{
	struct parcel *x = arg;

	(void)token;
	x->ran++;
	return 0;
}

static void
discard(void *arg)
{
	struct parcel *x = arg;

	MODEL_ASSERT(model_locks_held() == 0);
	x->discarded++;
}

static void
send_parcel(int i)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	int rc;

	a.discard = discard;
	rc = nursery_spawn_with(n, &a, deliver, &parcels[i], NULL);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	parcels[i].accepted = rc == 0;
}

static void
check_parcels(int count)
{
	int i, discarded = 0;

	for (i = 0; i < count; i++) {
		MODEL_ASSERT(parcels[i].ran + parcels[i].discarded ==
		    (parcels[i].accepted ? 1 : 0));
		discarded += parcels[i].discarded;
		if (!parcels[i].accepted)
			model_cover("refused");
	}
	model_cover(discarded > 0 ? "discarded" : "none discarded");
}

static void
cancel_and_queue(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct model_thread *t;
	int rc;

	a.max_running = 1;
	open_nursery(&a);
	t = start_canceller();
	send_parcel(0);
	send_parcel(1);
	rc = nursery_close(&n);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	check_parcels(2);
	model_join(t);
}

/* ---- the first error ---- */

static int
fail_with(struct nursery_token *token, void *arg)
{
	(void)token;
	return *(const int *)arg;
}

static int
wait_for_the_end(struct nursery_token *token, void *arg)
{
	(void)arg;
	MODEL_ASSERT(nursery_token_wait(token, NURSERY_NEVER) == 0);
	return ECANCELED;
}

static void
check_report(struct nursery_report *r, int rc)
{
	struct nursery_result first = NURSERY_RESULT_INIT;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;

	MODEL_ASSERT(nursery_report_failed(r) >= 1);
	MODEL_ASSERT(nursery_report_failure(r, 0, &first) == 0);
	MODEL_ASSERT(first.code == rc);
	MODEL_ASSERT(nursery_report_cause(r, &cause) == 0);
	MODEL_ASSERT(cause.code == rc);
	nursery_report_free(r);
}

static int
fail_at_the_end(struct nursery_token *token, void *arg)
{
	(void)wait_for_the_end(token, arg);
	return 9;
}

/* The first error cancels the sibling, whose own error comes second. */
static void
first_error_ends_sibling(void)
{
	static int five = 5;
	struct nursery_report *r;
	int rc;

	open_nursery(NULL);
	MODEL_ASSERT(nursery_spawn(n, fail_at_the_end, NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, fail_with, &five) == 0);
	rc = nursery_close_with(&n, &r);
	MODEL_ASSERT(rc == 5);
	check_report(r, rc);
}

/* Two errors: close and report agree which was the first. */
static void
two_errors(void)
{
	static int code[2] = { 5, 7 };
	struct nursery_report *r;
	int rc, refused;

	open_nursery(NULL);
	MODEL_ASSERT(nursery_spawn(n, fail_with, &code[0]) == 0);
	refused = nursery_spawn(n, fail_with, &code[1]);
	MODEL_ASSERT(refused == 0 || refused == ECANCELED);
	rc = nursery_close_with(&n, &r);
	MODEL_ASSERT(rc == 5 || (rc == 7 && refused == 0));
	model_cover(rc == 5 ? "5 first" : "7 first");
	if (refused != 0)
		model_cover("refused");
	check_report(r, rc);
}

/* ---- two closers ---- */

static int closed[2];

static void
close_too(void *handle)
{
	struct nursery *mine = handle;

	closed[1] = nursery_close(&mine);
	MODEL_ASSERT((mine == NULL) == (closed[1] == 0));
	nursery_unref(handle);
}

static void
two_closers(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *kept;
	struct model_thread *t;

	a.flags = NURSERY_UNBOUND;
	open_nursery(&a);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	kept = nursery_ref(n);
	t = model_start(close_too, nursery_ref(n));
	closed[0] = nursery_close(&n);
	MODEL_ASSERT((n == NULL) == (closed[0] == 0));
	model_join(t);
	MODEL_ASSERT(marks[0] == 1);
	MODEL_ASSERT((closed[0] == 0) + (closed[1] == 0) == 1);
	MODEL_ASSERT(closed[0] == EBUSY || closed[1] == EBUSY);
	model_cover(closed[0] == 0 ? "first closes" : "second closes");
	nursery_unref(kept);
}

/* ---- an outsider with a reference spawns against the close ---- */

static int spawned;

static void
spawn_from_outside(void *handle)
{
	spawned = nursery_spawn(handle, mark, &marks[2]);
	MODEL_ASSERT(spawned == 0 || spawned == ESHUTDOWN);
	nursery_unref(handle);
}

static void
outsider_and_close(void)
{
	struct model_thread *t;

	open_nursery(NULL);
	t = model_start(spawn_from_outside, nursery_ref(n));
	MODEL_ASSERT(nursery_close(&n) == 0);
	model_join(t);
	model_cover(spawned == 0 ? "accepted" : "shut down");
	MODEL_ASSERT(marks[2] == (spawned == 0));
}

/* What was accepted has run when the close returns: seen by the closer
 * alone, which does not know whether it was accepted. */
static void
mark_then_close(void *handle)
{
	if (nursery_spawn(handle, mark, &marks[3]) == 0)
		model_cover("accepted");
	nursery_unref(handle);
}

static void
close_waits_for_outsiders_task(void)
{
	struct model_thread *t;
	int seen;

	open_nursery(NULL);
	t = model_start(mark_then_close, nursery_ref(n));
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1);
	/* A task that ran after this would race with the look. */
	seen = marks[3];
	model_join(t);
	MODEL_ASSERT(marks[3] == seen);
}

/* ---- nurseries inside ---- */

static int
open_inside(struct nursery_token *token, void *arg)
{
	struct nursery *inner = NULL;

	(void)token;
	MODEL_ASSERT(nursery_open_child(&inner, nursery_current(), NULL) ==
	    0);
	MODEL_ASSERT(nursery_spawn(inner, mark, arg) == 0);
	MODEL_ASSERT(nursery_close(&inner) == 0);
	MODEL_ASSERT(*(int *)arg == 1);
	return 0;
}

static void
inner_and_outer_close(void)
{
	open_nursery(NULL);
	MODEL_ASSERT(nursery_spawn(n, open_inside, &marks[0]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1);
}

/* A cancel of the outer one reaches the task of the inner one. */
static int
wait_inside(struct nursery_token *token, void *arg)
{
	struct nursery *inner = NULL;
	int rc;

	(void)token;
	MODEL_ASSERT(nursery_open_child(&inner, nursery_current(), NULL) ==
	    0);
	rc = nursery_spawn(inner, wait_for_the_end, arg);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	MODEL_ASSERT(nursery_close(&inner) == ECANCELED);
	return ECANCELED;
}

static void
cancel_reaches_inner_task(void)
{
	struct model_thread *t;
	int rc;

	open_nursery(NULL);
	t = start_canceller();
	rc = nursery_spawn(n, wait_inside, NULL);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	model_cover(rc == 0 ? "spawned" : "refused");
	MODEL_ASSERT(nursery_close(&n) == ECANCELED);
	model_join(t);
}

/* ---- private nurseries: opened and closed here, known to nobody ---- */

/* Opened, and perhaps closed, while the outer one is cancelled. */
static void
private_and_cancel(void)
{
	struct nursery *inner = NULL;
	struct model_thread *t;
	int i, rc, last = 0;

	open_nursery(NULL);
	t = start_canceller();
	for (i = 0; i < 2; i++) {
		MODEL_ASSERT(nursery_open_child(&inner, n, NULL) == 0);
		rc = nursery_close(&inner);
		MODEL_ASSERT(rc == 0 || rc == ECANCELED);
		MODEL_ASSERT(rc >= last);
		last = rc;
	}
	model_cover(last == 0 ? "closed first" : "cancelled first");
	model_join(t);
	MODEL_ASSERT(nursery_open_child(&inner, n, NULL) == 0);
	MODEL_ASSERT(nursery_close(&inner) == ECANCELED);
	MODEL_ASSERT(nursery_close(&n) == ECANCELED);
}

/* It becomes shared while the outer one is cancelled: the cancel is heard,
 * on whichever side of the step. */
static void
shared_while_cancelled(void)
{
	struct nursery *inner = NULL;
	struct model_thread *t;
	int rc;

	open_nursery(NULL);
	MODEL_ASSERT(nursery_open_child(&inner, n, NULL) == 0);
	t = start_canceller();
	rc = nursery_spawn(inner, wait_for_the_end, NULL);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	model_cover(rc == 0 ? "spawned" : "refused");
	model_join(t);
	ASSERT_CANCELLED(nursery_token_of(inner));
	MODEL_ASSERT(nursery_close(&inner) == ECANCELED);
	MODEL_ASSERT(nursery_close(&n) == ECANCELED);
}

/* Two tasks of the outer one make two nested ones shared at once. */
static struct nursery *nested[2];

static int
spawn_in_nested(struct nursery_token *token, void *arg)
{
	int *m = arg;

	(void)token;
	return nursery_spawn(nested[m - marks], mark, m);
}

static void
shared_by_two(void)
{
	open_nursery(NULL);
	MODEL_ASSERT(nursery_open_child(&nested[0], n, NULL) == 0);
	MODEL_ASSERT(nursery_open_child(&nested[1], nested[0], NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, spawn_in_nested, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn(n, spawn_in_nested, &marks[1]) == 0);
	MODEL_ASSERT(nursery_wait(n, NURSERY_NEVER) == 0);
	MODEL_ASSERT(nursery_close(&nested[1]) == 0);
	MODEL_ASSERT(marks[1] == 1);
	MODEL_ASSERT(nursery_close(&nested[0]) == 0);
	MODEL_ASSERT(marks[0] == 1);
	MODEL_ASSERT(nursery_close(&n) == 0);
}

/* A thread looks at the count of nurseries while another opens and closes
 * private ones: what the dump does. */
static void
look_at_all(void *unused)
{
	struct nur_private *all;
	size_t count, i;

	(void)unused;
	nur_lock(&nur_registry_lock);
	nur_look_begins();
	all = nur_look_private(&count);
	MODEL_ASSERT(count <= 2);
	for (i = 0; i < count; i++) {
		MODEL_ASSERT(all[i].depth >= 1 && all[i].depth <= 2);
		model_cover(all[i].depth == 2 ? "saw two" : "saw one");
	}
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
	nur_free(all);
}

static void
private_and_look(void)
{
	struct model_thread *t;
	int i;

	open_nursery(NULL);
	t = model_start(look_at_all, NULL);
	for (i = 0; i < 2; i++) {
		MODEL_ASSERT(nursery_open_child(&nested[0], n, NULL) == 0);
		MODEL_ASSERT(nursery_open_child(&nested[1], nested[0],
		    NULL) == 0);
		MODEL_ASSERT(nursery_close(&nested[1]) == 0);
		MODEL_ASSERT(nursery_close(&nested[0]) == 0);
	}
	model_join(t);
	MODEL_ASSERT(nursery_close(&n) == 0);
}

/* ---- room ---- */

static void
wait_for_room(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int i;

	a.max_running = 1;
	a.max_queued = 1;
	open_nursery(&a);
	for (i = 0; i < 3; i++)
		MODEL_ASSERT(nursery_spawn(n, mark, &marks[i]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1 && marks[1] == 1 && marks[2] == 1);
}

/* Who waits for room is turned back by the cancel, though the task that has
 * the place takes its time. */
static uint32_t go;

static int
take_time(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	while (nur_load_acquire(&go) == 0)
		(void)model_futex_wait(&go, 0, INT64_MAX);
	return 0;
}

static void
cancel_and_room(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct model_thread *t;
	int i, rc[3];

	a.max_running = 1;
	a.max_queued = 1;
	open_nursery(&a);
	t = start_canceller();
	for (i = 0; i < 3; i++) {
		rc[i] = nursery_spawn(n, take_time, NULL);
		MODEL_ASSERT(rc[i] == 0 || rc[i] == ECANCELED);
	}
	MODEL_ASSERT(rc[2] == ECANCELED);
	nur_store_release(&go, 1);
	model_futex_wake(&go, 1);
	MODEL_ASSERT(nursery_close(&n) == ECANCELED);
	model_join(t);
}

/* And an outsider by the close. */
static void
spawn_two_from_outside(void *handle)
{
	int i, rc;

	for (i = 0; i < 2; i++) {
		rc = nursery_spawn(handle, mark, &marks[i]);
		MODEL_ASSERT(rc == 0 || rc == ESHUTDOWN);
		model_cover(rc == 0 ? "accepted" : "shut down");
	}
	nursery_unref(handle);
}

static void
close_and_room(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct model_thread *t;

	a.max_running = 1;
	a.max_queued = 1;
	open_nursery(&a);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[2]) == 0);
	t = model_start(spawn_two_from_outside, nursery_ref(n));
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[2] == 1);
	model_join(t);
}

/* ---- on_done ---- */

static struct {
	bool inside;
	int calls;
} done;

static void
on_done(struct nursery *nursery, const struct nursery_result *r, void *ctx)
{
	(void)ctx;
	MODEL_ASSERT(model_locks_held() == 0);
	MODEL_ASSERT(!done.inside);
	done.inside = true;
	MODEL_ASSERT(r->code == 0);
	if (nursery_token_is_cancelled(nursery_token_of(nursery)))
		model_cover("cancelled");
	done.calls++;
	done.inside = false;
}

static void
on_done_is_serial(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.on_done = on_done;
	open_nursery(&a);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[1]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(done.calls == 2 && !done.inside);
}

/* ---- shortage ---- */

/* Whatever is refused, what was accepted runs, and nothing is left. */
static void
shortage(void)
{
	static const struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	int rc, accepted = 0;

	rc = nursery_open(&n, NULL);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM);
	if (rc != 0)
		return;
	rc = nursery_spawn(n, mark, &marks[0]);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM || rc == EAGAIN);
	accepted += rc == 0;
	rc = nursery_spawn_with(n, &a, mark, &marks[1], NULL);
	MODEL_ASSERT(rc == 0 || rc == ENOMEM || rc == EAGAIN);
	accepted += rc == 0;
	model_cover(accepted == 2 ? "enough" : "short");
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] + marks[1] == accepted);
}

/* ---- time ---- */

static void
deadline_ends_all(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int rc;

	a.deadline = nursery_after(NURSERY_SECOND);
	open_nursery(&a);
	rc = nursery_spawn(n, wait_for_the_end, NULL);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	model_cover(rc == 0 ? "spawned" : "refused");
	MODEL_ASSERT(nursery_close(&n) == ETIMEDOUT);
}

/* ---- handles ---- */

static struct nursery_task *handle;

static void
spawn_handle(nursery_fn *fn, void *arg)
{
	MODEL_ASSERT(nursery_spawn_with(n, NULL, fn, arg, &handle) == 0);
}

/* The end of the task against who waits for it and gives the handle back. */
static void
join_and_end(void)
{
	int result = -1;

	open_nursery(NULL);
	spawn_handle(mark, &marks[0]);
	MODEL_ASSERT(nursery_task_join(&handle, &result) == 0);
	MODEL_ASSERT(handle == NULL && result == 0);
	MODEL_ASSERT(marks[0] == 1);
	MODEL_ASSERT(nursery_close(&n) == 0);
}

static void
join_too(void *task)
{
	struct nursery_task *t = task;
	int result = -1;

	MODEL_ASSERT(nursery_task_join(&t, &result) == 0);
	MODEL_ASSERT(result == 0 && marks[0] == 1);
}

/* Two wait, one is not ordered with the close. */
static void
two_joiners(void)
{
	struct model_thread *t;

	open_nursery(NULL);
	spawn_handle(mark, &marks[0]);
	t = model_start(join_too, nursery_task_ref(handle));
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(nursery_task_wait(handle, 0) == 0);
	MODEL_ASSERT(nursery_task_join(&handle, NULL) == 0);
	model_join(t);
}

static void
unref_task(void *task)
{
	nursery_task_unref(task);
}

/* The last handle, and the nursery with it, goes while the task ends. */
static void
handle_goes(void)
{
	struct model_thread *t;

	open_nursery(NULL);
	spawn_handle(mark, &marks[0]);
	t = model_start(unref_task, handle);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(marks[0] == 1);
	model_join(t);
}

/* A task in the queue is cancelled by its handle while its turn comes. */
static void
cancel_task(void *task)
{
	(void)nursery_task_cancel(task);
	nursery_task_unref(task);
}

static void
cancel_by_handle(void)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr na = NURSERY_ATTR_INIT;
	struct model_thread *t;
	int result = -1;

	na.max_running = 1;
	a.discard = discard;
	open_nursery(&na);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	MODEL_ASSERT(nursery_spawn_with(n, &a, deliver, &parcels[0],
	    &handle) == 0);
	t = model_start(cancel_task, nursery_task_ref(handle));
	MODEL_ASSERT(nursery_task_join(&handle, &result) == 0);
	MODEL_ASSERT(parcels[0].ran + parcels[0].discarded == 1);
	MODEL_ASSERT(result == (parcels[0].ran ? 0 : ECANCELED));
	model_cover(parcels[0].ran ? "ran" : "discarded");
	MODEL_ASSERT(nursery_close(&n) == 0);
	model_join(t);
}

/* ---- the start handshake ---- */

static int said;

static int
say_started(struct nursery_token *token, void *arg)
{
	struct parcel *x = arg;

	(void)token;
	x->ran++;
	said = nursery_started(&marks[0]);
	return said;
}

static int
start_parcel(nursery_fn *fn, int64_t deadline)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	void *value = NULL;
	int rc;

	a.discard = discard;
	said = -1;
	rc = nursery_start(n, &a, fn, &parcels[0], &value, deadline);
	MODEL_ASSERT(value == (rc == 0 ? &marks[0] : NULL));
	/* Unless it goes on, it has ended: these are ours. */
	if (rc != 0)
		MODEL_ASSERT(parcels[0].ran + parcels[0].discarded == 1);
	return rc;
}

static void
check_started(int rc, int want)
{
	MODEL_ASSERT(rc == 0 || rc == want);
	MODEL_ASSERT(parcels[0].ran + parcels[0].discarded == 1);
	/* Both agree who was first. */
	if (parcels[0].ran != 0)
		MODEL_ASSERT(said == (rc == 0 ? 0 : ECANCELED));
	else
		MODEL_ASSERT(rc == want);
	model_cover(rc == 0 ? "started" : parcels[0].ran ? "given up" :
	    "never ran");
}

static void
start_and_cancel(void)
{
	struct model_thread *t;
	int rc;

	open_nursery(NULL);
	t = start_canceller();
	rc = start_parcel(say_started, NURSERY_NEVER);
	closed[0] = nursery_close(&n);
	MODEL_ASSERT(closed[0] == ECANCELED || (closed[0] == 0 && rc == 0));
	check_started(rc, ECANCELED);
	model_join(t);
}

static void
start_and_timeout(void)
{
	int rc;

	open_nursery(NULL);
	rc = start_parcel(say_started, nursery_after(NURSERY_SECOND));
	MODEL_ASSERT(nursery_close(&n) == 0);
	check_started(rc, ETIMEDOUT);
}

static int
say_nothing(struct nursery_token *token, void *arg)
{
	struct parcel *x = arg;

	(void)token;
	x->ran++;
	return 0;
}

static void
end_before_started(void)
{
	open_nursery(NULL);
	MODEL_ASSERT(start_parcel(say_nothing, NURSERY_NEVER) == EPROTO);
	MODEL_ASSERT(nursery_close(&n) == 0);
}

/* ---- the first success ---- */

static void
success_and_failure(void)
{
	static int five = 5, zero;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	int rc;

	a.policy = NURSERY_FIRST_SUCCESS;
	open_nursery(&a);
	MODEL_ASSERT(nursery_spawn(n, fail_with, &zero) == 0);
	rc = nursery_spawn(n, fail_with, &five);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	MODEL_ASSERT(nursery_close_with(&n, &r) == 0);
	MODEL_ASSERT(nursery_report_counts(r, &c) == 0);
	MODEL_ASSERT(c.succeeded == 1 && c.failed == (rc == 0));
	model_cover(rc == 0 ? "both" : "refused");
	nursery_report_free(r);
}

/* ---- services ---- */

static int
serve(struct nursery_token *token, void *arg)
{
	(void)wait_for_the_end(token, arg);
	/* A normal task that has not ended races with this. */
	MODEL_ASSERT(marks[0] == 1);
	marks[1 + *(int *)arg] = ++marks[3];
	return ECANCELED;
}

static void
services_and_close(void)
{
	static int number[2] = { 0, 1 };
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	int i;

	a.flags = NURSERY_TASK_SERVICE;
	open_nursery(NULL);
	for (i = 0; i < 2; i++)
		MODEL_ASSERT(nursery_spawn_with(n, &a, serve, &number[i],
		    NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, &marks[0]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	/* The newer one first. */
	MODEL_ASSERT(marks[2] == 1 && marks[1] == 2);
}

const struct scenario nursery_scenarios[] = {
	{ "join-and-end", join_and_end, { 0 }, { NULL }, 2, 3 },
	{ "two-joiners", two_joiners, { 0 }, { NULL }, 2, 2 },
	{ "handle-goes", handle_goes, { 0 }, { NULL }, 2, 3 },
	{ "cancel-by-handle", cancel_by_handle, { 0 },
	    { "ran", "discarded" }, 1, 2 },
	{ "start-and-cancel", start_and_cancel, { 0 },
	    { "started", "given up", "never ran" }, 2, 2 },
	{ "start-and-timeout", start_and_timeout, { .early = 1 },
	    { "started", "given up" }, 2, 3 },
	{ "end-before-started", end_before_started, { 0 }, { NULL }, 2, 3 },
	{ "success-and-failure", success_and_failure, { 0 },
	    { "both", "refused" }, 2, 3 },
	{ "services-and-close", services_and_close, { 0 }, { NULL }, 1, 2 },
	{ "members-spawn-while-closing", members_spawn_while_closing,
	    { 0 }, { NULL }, 2, 3 },
	{ "last-task-leaves", last_task_leaves, { 0 }, { NULL }, 2, 3 },
	{ "idle-thread-leaves", last_task_leaves, { .early = 1 },
	    { NULL }, 2, 3 },
	{ "two-tasks-leave", two_tasks_leave, { 0 }, { NULL }, 2, 3 },
	{ "cancel-and-queue", cancel_and_queue, { 0 },
	    { "discarded", "none discarded", "refused" }, 2, 2 },
	{ "first-error-ends-sibling", first_error_ends_sibling, { 0 },
	    { NULL }, 2, 3 },
	{ "two-errors", two_errors, { 0 },
	    { "5 first", "7 first", "refused" }, 2, 3 },
	{ "two-closers", two_closers, { 0 },
	    { "first closes", "second closes" }, 2, 3 },
	{ "outsider-and-close", outsider_and_close, { 0 },
	    { "accepted", "shut down" }, 2, 3 },
	{ "close-waits-for-outsiders-task", close_waits_for_outsiders_task,
	    { 0 }, { "accepted" }, 2, 3 },
	{ "inner-and-outer-close", inner_and_outer_close, { 0 },
	    { NULL }, 2, 3 },
	{ "cancel-reaches-inner-task", cancel_reaches_inner_task, { 0 },
	    { "spawned", "refused" }, 2, 2 },
	{ "private-and-cancel", private_and_cancel, { 0 },
	    { "closed first", "cancelled first" }, 2, 3 },
	{ "shared-while-cancelled", shared_while_cancelled, { 0 },
	    { "spawned", "refused" }, 2, 3 },
	{ "shared-by-two", shared_by_two, { 0 }, { NULL }, 1, 2 },
	{ "private-and-look", private_and_look, { 0 },
	    { "saw one", "saw two" }, 2, 3 },
	{ "wait-for-room", wait_for_room, { 0 }, { NULL }, 2, 3 },
	{ "cancel-and-room", cancel_and_room, { 0 }, { NULL }, 2, 3 },
	{ "close-and-room", close_and_room, { 0 },
	    { "accepted", "shut down" }, 2, 3 },
	{ "on-done-is-serial", on_done_is_serial, { 0 }, { NULL }, 2, 3 },
	{ "shortage", shortage, { .faults = 1 },
	    { "enough", "short" }, 2, 3 },
	{ "deadline-ends-all", deadline_ends_all, { .early = 1 },
	    { "spawned", "refused" }, 2, 3 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
