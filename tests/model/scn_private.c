/* SPDX-License-Identifier: MIT */
/*
 * Private nurseries with tasks: their opener counts and runs them without an
 * atomic operation, until a thief has one, somebody else wants something of
 * the nursery, or a raise comes from above.
 */
#include "config.h"

#include "scenario.h"

#include "base/thr.h"

static struct nursery *root, *inner;
static int ran[4];
static uintptr_t opener;
static uint32_t raised;

/* So that the quick way has some at hand; nobody else is there yet. */
static void
fill_spares(void)
{
	struct nursery *n[4];
	int i;

	MODEL_ASSERT(nursery_open(&n[0], NULL) == 0);
	for (i = 1; i < 4; i++)
		MODEL_ASSERT(nursery_open_child(&n[i], n[i - 1], NULL) == 0);
	while (i-- > 0)
		MODEL_ASSERT(nursery_close(&n[i]) == 0);
}

static void
begin(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	fill_spares();
	a.lane = NURSERY_COMPUTE;
	opener = nur_thread_mark();
	MODEL_ASSERT(nursery_open(&root, &a) == 0);
	MODEL_ASSERT(nursery_open_child(&inner, root, NULL) == 0);
}

/* Who raises has come back before: then the level is there. */
static int
mark(struct nursery_token *t, void *arg)
{
	if (nur_load_acquire(&raised) != 0)
		MODEL_ASSERT(nursery_token_is_cancelled(t));
	++*(int *)arg;
	model_cover(nur_thread_mark() == opener ? "opener ran it" :
	    "thief ran it");
	return 0;
}

static void
spawn(int i)
{
	MODEL_ASSERT(nursery_spawn(inner, mark, &ran[i]) == 0);
}

static void
end(int count)
{
	int i;

	MODEL_ASSERT(nursery_close(&inner) == 0);
	for (i = 0; i < count; i++)
		MODEL_ASSERT(ran[i] == 1);
	MODEL_ASSERT(nursery_close(&root) == 0);
}

static void
private_stolen(void)
{
	begin();
	spawn(0);
	end(1);
}

static void
private_one_of_two_stolen(void)
{
	begin();
	spawn(0);
	spawn(1);
	end(2);
}

/* ---- deeper ---- */

static int
open_another(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	MODEL_ASSERT(nursery_open_child(&n, nursery_current(), NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, arg) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(*(int *)arg == 1);
	return 0;
}

static void
private_deeper(void)
{
	begin();
	MODEL_ASSERT(nursery_spawn(inner, open_another, &ran[0]) == 0);
	end(1);
}

/* The thief of the deeper one's makes both shared. */
static void
private_deeper_stolen(void)
{
	struct nursery *n;

	begin();
	MODEL_ASSERT(nursery_open_child(&n, inner, NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, &ran[0]) == 0);
	MODEL_ASSERT(nursery_close(&n) == 0);
	MODEL_ASSERT(ran[0] == 1);
	spawn(1);
	end(2);
}

/* ---- raised from above ---- */

static void
cancel_handle(void *handle)
{
	nursery_cancel(handle);
	nur_store_release(&raised, 1);
	nursery_unref(handle);
}

static void
end_cancelled(void)
{
	int rc = nursery_close(&inner);

	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	rc = nursery_close(&root);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
}

static void
private_cancelled_from_above(void)
{
	struct model_thread *t;
	int rc;

	begin();
	t = model_start(cancel_handle, nursery_ref(root));
	rc = nursery_spawn(inner, mark, &ran[0]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	model_cover(rc == 0 ? "accepted" : "refused");
	end_cancelled();
	MODEL_ASSERT(ran[0] <= (rc == 0));
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	model_join(t);
}

/* It is opened while the raise is under way. */
static int
look_at_token(struct nursery_token *t, void *arg)
{
	bool before = nur_load_acquire(&raised) != 0;

	if (before)
		MODEL_ASSERT(nursery_token_is_cancelled(t));
	++*(int *)arg;
	return 0;
}

static void
private_opened_while_raised(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct model_thread *t;
	int rc;

	a.lane = NURSERY_COMPUTE;
	MODEL_ASSERT(nursery_open(&root, &a) == 0);
	t = model_start(cancel_handle, nursery_ref(root));
	MODEL_ASSERT(nursery_open_child(&inner, root, NULL) == 0);
	rc = nursery_spawn(inner, look_at_token, &ran[0]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	model_cover(rc == 0 ? "accepted" : "refused");
	end_cancelled();
	model_join(t);
}

static void
close_below_the_raise(struct nursery **m)
{
	bool before = nur_load_acquire(&raised) != 0;
	int rc = nursery_close(m);

	MODEL_ASSERT(rc == ECANCELED || (rc == 0 && !before));
	model_cover(rc == 0 ? "in time" : "cancelled");
}

/* Inner is what t cancels. */
static void
end_below_the_root(struct model_thread *t)
{
	int rc = nursery_close(&inner);

	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	MODEL_ASSERT(nursery_close(&root) == 0);
	model_join(t);
}

/* The private one around it becomes shared while it is opened. */
static void
private_opened_below_a_share(void)
{
	struct model_thread *t;
	struct nursery *deeper, *deepest;
	int rc;

	begin();
	MODEL_ASSERT(nursery_open_child(&deeper, inner, NULL) == 0);
	t = model_start(cancel_handle, nursery_ref(inner));
	MODEL_ASSERT(nursery_open_child(&deepest, deeper, NULL) == 0);
	close_below_the_raise(&deepest);
	rc = nursery_close(&deeper);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	end_below_the_root(t);
}

/* A second raise of what is cancelled already has the same promise. */
static void
private_cancelled_twice(void)
{
	struct model_thread *t, *u;

	begin();
	t = model_start(cancel_handle, nursery_ref(root));
	u = model_start(cancel_handle, nursery_ref(root));
	(void)nursery_spawn(inner, mark, &ran[0]);
	model_pause();
	end_cancelled();
	model_join(t);
	model_join(u);
}

/* Those in the tree that a close asks change while it is open. */
static void
private_deeper_cancelled(void)
{
	struct model_thread *t;
	struct nursery *deeper;

	MODEL_ASSERT(nursery_open(&root, NULL) == 0);
	MODEL_ASSERT(nursery_open_child(&inner, root, NULL) == 0);
	MODEL_ASSERT(nursery_open_child(&deeper, inner, NULL) == 0);
	t = model_start(cancel_handle, nursery_ref(inner));
	close_below_the_raise(&deeper);
	end_below_the_root(t);
}

/* ---- the token ---- */

/* More is done with it than to look at the level. */
static int
make_child(struct nursery_token *t, void *arg)
{
	struct nursery_token *child;

	MODEL_ASSERT(nursery_token_new(&child, t) == 0);
	if (nur_load_acquire(&raised) != 0)
		MODEL_ASSERT(nursery_token_is_cancelled(child));
	nursery_token_unref(child);
	++*(int *)arg;
	return 0;
}

static void
private_token_is_used(void)
{
	struct model_thread *t;
	int rc;

	begin();
	t = model_start(cancel_handle, nursery_ref(root));
	rc = nursery_spawn(inner, make_child, &ran[0]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	end_cancelled();
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	model_join(t);
}

static int
cancel_own(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	MODEL_ASSERT(nursery_open_child(&n, nursery_current(), NULL) == 0);
	(void)nursery_token_cancel(t);
	MODEL_ASSERT(nursery_spawn(n, mark, arg) == ECANCELED);
	MODEL_ASSERT(nursery_close(&n) == ECANCELED);
	++*(int *)arg;
	return 0;
}

/* The nursery is cancelled by its own task; what is around it is not. */
static void
private_cancelled_by_its_own(void)
{
	int rc;

	begin();
	MODEL_ASSERT(nursery_spawn(inner, mark, &ran[0]) == 0);
	rc = nursery_spawn(inner, cancel_own, &ran[1]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	rc = nursery_close(&inner);
	MODEL_ASSERT(rc == ECANCELED);
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	MODEL_ASSERT(nursery_close(&root) == 0);
}

/* ---- what others do ---- */

static int
fail(struct nursery_token *t, void *arg)
{
	(void)t;
	++*(int *)arg;
	return 5;
}

static void
private_error(void)
{
	int rc;

	begin();
	MODEL_ASSERT(nursery_spawn(inner, mark, &ran[0]) == 0);
	rc = nursery_spawn(inner, fail, &ran[1]);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	rc = nursery_close(&inner);
	MODEL_ASSERT(rc == (ran[1] != 0 ? 5 : 0));
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	MODEL_ASSERT(nursery_close(&root) == 0);
}

static void
wait_for_some(void *handle)
{
	MODEL_ASSERT(nursery_wait(handle, NURSERY_NEVER) == 0);
	MODEL_ASSERT(ran[0] == 1);
	nursery_unref(handle);
}

/* What the opener has counted is collected while it counts one more. */
static void
private_waited_for_elsewhere(void)
{
	struct model_thread *t;

	begin();
	spawn(0);
	t = model_start(wait_for_some, nursery_ref(inner));
	spawn(1);
	model_join(t);
	end(2);
}

static void
wait_for_its_end(void *handle)
{
	MODEL_ASSERT(nursery_wait(handle, NURSERY_NEVER) == 0);
	MODEL_ASSERT(ran[0] == 1);
	nursery_unref(handle);
}

static struct model_thread *waiter;

static int
hand_out(struct nursery_token *t, void *arg)
{
	(void)t;
	waiter = model_start(wait_for_its_end, nursery_ref(
	    nursery_current()));
	model_pause();
	++*(int *)arg;
	return 0;
}

/* Somebody else waits while the opener runs a task that it has counted. */
static void
private_handed_out(void)
{
	begin();
	MODEL_ASSERT(nursery_spawn(inner, hand_out, &ran[0]) == 0);
	end(1);
	model_join(waiter);
}

static void
adopt_and_close(void *unused)
{
	(void)unused;
	MODEL_ASSERT(nursery_adopt(inner) == 0);
	MODEL_ASSERT(nursery_close(&inner) == 0);
	MODEL_ASSERT(ran[0] == 1);
}

static void
private_adopted(void)
{
	struct model_thread *t;

	begin();
	spawn(0);
	t = model_start(adopt_and_close, NULL);
	model_join(t);
	MODEL_ASSERT(nursery_close(&root) == 0);
}

/* It goes out of scope with what it has. */
static int
mark_elsewhere(struct nursery_token *t, void *arg)
{
	(void)t;
	MODEL_ASSERT(nur_thread_mark() != opener);
	++*(int *)arg;
	return 0;
}

static void
private_dropped(void)
{
	begin();
	MODEL_ASSERT(nursery_spawn(inner, mark_elsewhere, &ran[0]) == 0);
	nursery_drop(&inner);
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	MODEL_ASSERT(nursery_close(&root) == 0);
}

static int
leave_it_open(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	MODEL_ASSERT(nursery_open_child(&n, nursery_current(), NULL) == 0);
	MODEL_ASSERT(nursery_spawn(n, mark, arg) == 0);
	return 0;
}

static int
leave_empty_one_open(struct nursery_token *t, void *arg)
{
	struct nursery *n;

	(void)t;
	++*(int *)arg;
	return nursery_open_child(&n, nursery_current(), NULL);
}

static void
private_left_empty(void)
{
	begin();
	MODEL_ASSERT(nursery_spawn(inner, leave_empty_one_open, &ran[0]) ==
	    0);
	MODEL_ASSERT(nursery_close(&inner) == ENOTEMPTY && ran[0] == 1);
	MODEL_ASSERT(nursery_close(&root) == 0);
}

static void
private_left_open(void)
{
	int rc;

	begin();
	MODEL_ASSERT(nursery_spawn(inner, leave_it_open, &ran[0]) == 0);
	rc = nursery_close(&inner);
	MODEL_ASSERT(rc == ENOTEMPTY);
	model_cover(ran[0] != 0 ? "ran" : "did not run");
	MODEL_ASSERT(nursery_close(&root) == 0);
}

const struct scenario private_scenarios[] = {
	{ "private-stolen", private_stolen, { 0 },
	    { "opener ran it", "thief ran it" }, 1, 2 },
	{ "private-one-of-two-stolen", private_one_of_two_stolen, { 0 },
	    { "opener ran it", "thief ran it" }, 1, 2 },
	{ "private-deeper", private_deeper, { 0 },
	    { "opener ran it", "thief ran it" }, 1, 2 },
	{ "private-deeper-stolen", private_deeper_stolen, { 0 },
	    { "opener ran it", "thief ran it" }, 1, 2 },
	{ "private-cancelled-from-above", private_cancelled_from_above, { 0 },
	    { "accepted", "refused", "ran", "did not run" }, 1, 2 },
	{ "private-opened-while-raised", private_opened_while_raised, { 0 },
	    { "accepted", "refused" }, 1, 2 },
	{ "private-opened-below-a-share", private_opened_below_a_share, { 0 },
	    { "in time", "cancelled" }, 1, 2 },
	{ "private-cancelled-twice", private_cancelled_twice, { 0 }, { NULL },
	    1, 1 },
	{ "private-deeper-cancelled", private_deeper_cancelled, { 0 },
	    { "in time", "cancelled" }, 2, 3 },
	{ "private-token-is-used", private_token_is_used, { 0 },
	    { "ran", "did not run" }, 1, 2 },
	{ "private-cancelled-by-its-own", private_cancelled_by_its_own, { 0 },
	    { "ran", "did not run" }, 1, 2 },
	{ "private-error", private_error, { 0 }, { "ran", "did not run" },
	    1, 2 },
	{ "private-waited-for-elsewhere", private_waited_for_elsewhere, { 0 },
	    { "opener ran it" }, 1, 1 },
	{ "private-handed-out", private_handed_out, { 0 }, { NULL }, 1, 1 },
	{ "private-left-empty", private_left_empty, { 0 }, { NULL }, 1, 2 },
	{ "private-adopted", private_adopted, { 0 }, { NULL }, 1, 2 },
	{ "private-dropped", private_dropped, { 0 }, { "ran", "did not run" },
	    1, 2 },
	{ "private-left-open", private_left_open, { 0 },
	    { "ran", "did not run" }, 1, 2 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
