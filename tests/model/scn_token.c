/* SPDX-License-Identifier: MIT */
/*
 * Tokens: who waits is woken, who exists is told, who goes is missed by
 * nobody.  The first seven are the shapes that a well-known cancellation
 * token is model-checked with; here none is left out.
 */
#include "config.h"

#include "scenario.h"

struct nursery_token *
new_token(struct nursery_token *parent)
{
	struct nursery_token *t = NULL;

	MODEL_ASSERT(nursery_token_new(&t, parent) == 0);
	return t;
}

static void
unref(void *t)
{
	nursery_token_unref(t);
}

static void
wait_for_cancel(void *t)
{
	MODEL_ASSERT(nursery_token_wait(t, NURSERY_NEVER) == 0);
	ASSERT_CANCELLED(t);
}

static void
wait_and_unref(void *t)
{
	wait_for_cancel(t);
	nursery_token_unref(t);
}

/* ---- the seven shapes ---- */

static void
cancel_wakes_waiter(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *w = model_start(wait_for_cancel, t);

	MODEL_ASSERT(nursery_token_cancel(t));
	model_join(w);
	nursery_token_unref(t);
}

/* The canceller's reference is not the last one. */
static void
cancel_wakes_owning_waiter(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *w = model_start(wait_and_unref,
	    nursery_token_ref(t));

	MODEL_ASSERT(nursery_token_cancel(t));
	nursery_token_unref(t);
	model_join(w);
}

static void
cancel_wakes_waiters_on_both(void)
{
	struct nursery_token *t = new_token(NULL), *c = new_token(t);
	struct model_thread *w = model_start(wait_for_cancel, t);
	struct model_thread *v = model_start(wait_for_cancel, c);

	MODEL_ASSERT(nursery_token_cancel(t));
	model_join(w);
	model_join(v);
	nursery_token_unref(c);
	nursery_token_unref(t);
}

static void
three_references_go(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *a = model_start(unref, nursery_token_ref(t));
	struct model_thread *b = model_start(unref, nursery_token_ref(t));

	nursery_token_unref(t);
	model_join(a);
	model_join(b);
}

static void
parent_and_children_go(void)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_token *c = new_token(t), *d = new_token(t);
	struct model_thread *a = model_start(unref, c);
	struct model_thread *b = model_start(unref, d);

	nursery_token_unref(t);
	model_join(a);
	model_join(b);
}

static void
goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *c = new_token(t);
	struct model_thread *a = model_start(unref, nursery_token_ref(t));
	struct model_thread *b = model_start(unref, c);

	MODEL_ASSERT(nursery_token_cancel(t));
	nursery_token_unref(t);
	model_join(a);
	model_join(b);
}

static void
cancel_child(void *c)
{
	if (nursery_token_cancel(c))
		model_cover("child's own cancel");
	else
		model_cover("child cancelled already");
	ASSERT_CANCELLED(c);
	nursery_token_unref(c);
}

static void
parent_and_child_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *c = new_token(t);
	struct model_thread *a = model_start(unref, nursery_token_ref(t));
	struct model_thread *b = model_start(cancel_child, c);

	MODEL_ASSERT(nursery_token_cancel(t));
	nursery_token_unref(t);
	model_join(a);
	model_join(b);
}

/* ---- a chain G - P - C - D ---- */

static struct nursery_token *g, *p, *c, *d;

static void
make_chain(void)
{
	g = new_token(NULL);
	p = new_token(g);
	c = new_token(p);
	d = new_token(c);
	model_name(g, "G");
	model_name(p, "P");
	model_name(c, "C");
	model_name(d, "D");
}

static void
drop_chain(void)
{
	nursery_token_unref(d);
	nursery_token_unref(c);
	nursery_token_unref(p);
	nursery_token_unref(g);
}

static void
cancel_p(void *unused)
{
	(void)unused;
	if (nursery_token_cancel(p))
		model_cover("P by its own cancel");
	else
		model_cover("P by G's cancel");
	ASSERT_CANCELLED(p);
	ASSERT_CANCELLED(c);
	ASSERT_CANCELLED(d);
}

/* Whoever returns first: all below what it cancelled is cancelled. */
static void
two_cancels_in_a_chain(void)
{
	struct model_thread *a;

	make_chain();
	a = model_start(cancel_p, NULL);
	MODEL_ASSERT(nursery_token_cancel(g));
	ASSERT_CANCELLED(p);
	ASSERT_CANCELLED(c);
	ASSERT_CANCELLED(d);
	model_join(a);
	drop_chain();
}

/* To different levels: each tells all below of its own, whoever has them on
 * its list. */
static void
two_levels_in_a_chain(void)
{
	struct model_thread *a;

	make_chain();
	a = model_start(cancel_p, NULL);
	MODEL_ASSERT(nursery_token_raise(g, NURSERY_ABORT, 0, NULL));
	MODEL_ASSERT(nursery_token_level(p) == NURSERY_ABORT);
	MODEL_ASSERT(nursery_token_level(c) == NURSERY_ABORT);
	MODEL_ASSERT(nursery_token_level(d) == NURSERY_ABORT);
	model_join(a);
	MODEL_ASSERT(nursery_token_level(d) == NURSERY_ABORT);
	drop_chain();
}

static void
look_from_below(void *unused)
{
	(void)unused;
	if (!nursery_token_is_cancelled(d))
		return;
	model_cover("D seen cancelled");
	ASSERT_CANCELLED(c);
	ASSERT_CANCELLED(p);
	ASSERT_CANCELLED(g);
}

/* A cancelled descendant implies a cancelled ancestor. */
static void
seen_from_below(void)
{
	struct model_thread *a;

	make_chain();
	a = model_start(look_from_below, NULL);
	MODEL_ASSERT(nursery_token_cancel(g));
	model_join(a);
	drop_chain();
}

/* ---- birth, release, splice ---- */

static uint32_t returned;
static struct nursery_token *made;

static void
make_child(void *parent)
{
	bool late = nur_load_acquire(&returned) != 0;

	made = new_token(parent);
	if (late) {
		model_cover("born after the cancel");
		ASSERT_CANCELLED(made);
	} else if (!nursery_token_is_cancelled(made)) {
		model_cover("born before the cancel");
	}
}

static void
cancel_once(void *t)
{
	MODEL_ASSERT(nursery_token_cancel(t));
	nur_store_release(&returned, 1);
}

static void
born_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct model_thread *a = model_start(make_child, k);

	MODEL_ASSERT(nursery_token_cancel(t));
	nur_store_release(&returned, 1);
	model_join(a);
	ASSERT_CANCELLED(made);
	nursery_token_unref(made);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* A child that was given up and is had again, perhaps the very same one. */
static void
child_again_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *k;
	struct model_thread *a;
	int i;

	nursery_token_unref(new_token(t));
	a = model_start(cancel_once, t);
	for (i = 0; i < 2; i++) {
		make_child(t);
		k = made;
		if (i == 0)
			nursery_token_unref(k);
	}
	model_join(a);
	ASSERT_CANCELLED(k);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* The parent of a child that was given up goes; the child is had again as
 * one of the grandparent. */
static void
child_again_elsewhere(void)
{
	struct nursery_token *t = new_token(NULL), *m = new_token(t), *k;
	struct model_thread *a;

	nursery_token_unref(new_token(m));
	a = model_start(unref, m);
	k = new_token(t);
	MODEL_ASSERT(!nursery_token_is_cancelled(k));
	MODEL_ASSERT(nursery_token_cancel(t));
	ASSERT_CANCELLED(k);
	model_join(a);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* One of three siblings goes while the cancel walks past it. */
static void
sibling_goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_token *k[3] = { new_token(t), new_token(t),
		new_token(t) };
	struct model_thread *a = model_start(unref, k[1]);

	MODEL_ASSERT(nursery_token_cancel(t));
	ASSERT_CANCELLED(k[0]);
	ASSERT_CANCELLED(k[2]);
	model_join(a);
	nursery_token_unref(k[0]);
	nursery_token_unref(k[2]);
	nursery_token_unref(t);
}

/* The next one that the walk comes to gives its place to its child. */
static void
next_goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *m = new_token(t);
	struct nursery_token *x = new_token(t), *k = new_token(m);
	struct model_thread *a = model_start(unref, m);

	MODEL_ASSERT(nursery_token_cancel(t));
	ASSERT_CANCELLED(x);
	ASSERT_CANCELLED(k);
	model_join(a);
	nursery_token_unref(k);
	nursery_token_unref(x);
	nursery_token_unref(t);
}

/* The middle of a chain goes: its child hears the top all the same. */
static void
middle_goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *m = new_token(t);
	struct nursery_token *k = new_token(m);
	struct model_thread *a = model_start(unref, m);

	MODEL_ASSERT(nursery_token_cancel(t));
	ASSERT_CANCELLED(k);
	model_join(a);
	nursery_token_unref(t);
	nursery_token_unref(k);
}

/* The middle has two children: whoever leaves last takes it along. */
static void
middle_and_child_go(void)
{
	struct nursery_token *t = new_token(NULL), *m = new_token(t);
	struct nursery_token *k = new_token(m), *l = new_token(m);
	struct model_thread *a = model_start(unref, m);
	struct model_thread *b = model_start(unref, l);

	MODEL_ASSERT(nursery_token_cancel(t));
	ASSERT_CANCELLED(k);
	model_join(a);
	model_join(b);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* The top goes, with the walk that it began still under way below. */
static void
top_goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *m = new_token(t);
	struct nursery_token *k = new_token(m), *l = new_token(k);
	struct model_thread *a = model_start(cancel_child, m);

	(void)nursery_token_cancel(t);
	ASSERT_CANCELLED(l);
	nursery_token_unref(t);
	model_join(a);
	ASSERT_CANCELLED(k);
	nursery_token_unref(k);
	nursery_token_unref(l);
}

/* ---- causes ---- */

#define CODE	4711

static void
cancel_with_code(void *t)
{
	MODEL_ASSERT(nursery_token_cancel_with(t, CODE, "why"));
	nursery_token_unref(t);
}

/* Who sees the level sees the cause, even when the token that has it goes. */
static void
cause_is_there(void)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct model_thread *a = model_start(cancel_with_code, t);

	if (nursery_token_is_cancelled(k)) {
		model_cover("seen in time");
		MODEL_ASSERT(nursery_token_cause(k, NURSERY_CANCEL, &cause) ==
		    CODE);
		MODEL_ASSERT(cause.code == CODE && cause.why != NULL);
	}
	model_join(a);
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_LIVE, NULL) == CODE);
	nursery_token_unref(k);
}

/* Whatever the canceller wrote before is there for who sees the level. */
static int written;

static void
write_and_cancel(void *t)
{
	written = 1;
	(void)nursery_token_cancel(t);
}

static void
cancel_publishes(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct model_thread *a = model_start(write_and_cancel, t);

	if (nursery_token_is_cancelled(k)) {
		model_cover("seen in time");
		MODEL_ASSERT(written == 1);
	}
	model_join(a);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* Two raises to different levels: the higher one stays. */
static void
raise_to_abort(void *t)
{
	MODEL_ASSERT(nursery_token_raise(t, NURSERY_ABORT, CODE, NULL));
	MODEL_ASSERT(nursery_token_level(t) == NURSERY_ABORT);
}

static void
two_levels(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct model_thread *a = model_start(raise_to_abort, t);
	bool first = nursery_token_cancel_with(t, CODE + 1, NULL);

	ASSERT_CANCELLED(k);
	model_join(a);
	MODEL_ASSERT(nursery_token_level(k) == NURSERY_ABORT);
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_CANCEL, NULL) == (first ?
	    CODE + 1 : CODE));
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_ABORT, NULL) == CODE);
	model_cover(first ? "cancel first" : "abort first");
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* ---- time ---- */

static void
wait_a_second(void *t)
{
	int rc = nursery_token_wait(t, nursery_after(NURSERY_SECOND));

	MODEL_ASSERT(rc == 0 || rc == ETIMEDOUT);
	model_cover(rc == 0 ? "woken" : "too late");
	if (rc == 0)
		ASSERT_CANCELLED(t);
}

static void
wait_with_deadline(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *w = model_start(wait_a_second, t);

	MODEL_ASSERT(nursery_token_cancel(t));
	model_join(w);
	nursery_token_unref(t);
}

/* Deadline against cancel: one of them is the cause, and it is the one that
 * the cancel's result says. */
static void
deadline_and_cancel(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct model_thread *w;
	bool first;
	int rc;

	rc = nursery_token_set_deadline(t, nursery_after(NURSERY_SECOND));
	MODEL_ASSERT(rc == 0);
	w = model_start(wait_for_cancel, k);
	first = nursery_token_cancel_with(t, CODE, NULL);
	ASSERT_CANCELLED(k);
	rc = nursery_token_cause(k, NURSERY_CANCEL, NULL);
	MODEL_ASSERT(rc == (first ? CODE : ETIMEDOUT));
	model_cover(first ? "cancel first" : "deadline first");
	model_join(w);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* Nobody cancels: the deadline does. */
/* Taken back, or it has come: not both. */
static void
deadline_taken_back(void)
{
	struct nursery_token *t = new_token(NULL);
	int rc;

	MODEL_ASSERT(nursery_token_set_deadline(t, 1) == 0);
	rc = nursery_token_set_deadline(t, NURSERY_NEVER);
	MODEL_ASSERT(rc == 0 || rc == ECANCELED);
	MODEL_ASSERT(nursery_token_is_cancelled(t) == (rc != 0));
	model_cover(rc == 0 ? "taken back" : "too late");
	nursery_token_unref(t);
}

static void
deadline_alone(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	int64_t at = nursery_after(NURSERY_SECOND);

	MODEL_ASSERT(nursery_token_set_deadline(t, at) == 0);
	MODEL_ASSERT(nursery_token_wait(k, NURSERY_NEVER) == 0);
	MODEL_ASSERT(nursery_now() >= at);
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_CANCEL, NULL) ==
	    ETIMEDOUT);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* The token goes just when its deadline fires. */
static void
deadline_and_release(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);

	MODEL_ASSERT(nursery_token_set_deadline(k,
	    nursery_after(NURSERY_SECOND)) == 0);
	nursery_token_unref(t);
	nursery_token_unref(k);
}

/* A child goes with its deadline and comes again, perhaps the very same one:
 * the deadline is forgotten. */
static void
deadline_and_next_child(void)
{
	struct nursery_token *t = new_token(NULL), *k = new_token(t);

	MODEL_ASSERT(nursery_token_set_deadline(k, nursery_after(
	    NURSERY_SECOND)) == 0);
	nursery_token_unref(k);
	if (nursery_now() >= NURSERY_SECOND)
		model_cover("had come");
	k = new_token(t);
	MODEL_ASSERT(nursery_token_deadline(k) == NURSERY_NEVER);
	MODEL_ASSERT(nursery_token_wait(k, nursery_after(3 *
	    NURSERY_SECOND)) == ETIMEDOUT);
	nursery_token_unref(k);
	nursery_token_unref(t);
}

/* A shield hears nothing until its time, then all that was said. */
static void
shield_and_cancel(void)
{
	struct nursery_token *t = new_token(NULL), *s = NULL, *k;
	int64_t until = nursery_after(NURSERY_SECOND);
	struct model_thread *w;

	MODEL_ASSERT(nursery_token_new_shielded(&s, t, until) == 0);
	k = new_token(s);
	w = model_start(wait_for_cancel, k);
	MODEL_ASSERT(nursery_token_cancel(t));
	if (nursery_token_is_cancelled(s)) {
		model_cover("shield had ended");
		MODEL_ASSERT(nursery_now() >= until);
	} else {
		model_cover("shield held");
	}
	model_join(w);
	MODEL_ASSERT(nursery_now() >= until);
	nursery_token_unref(k);
	nursery_token_unref(s);
	nursery_token_unref(t);
}

const struct scenario token_scenarios[] = {
	{ "cancel-wakes-waiter", cancel_wakes_waiter,
	    { .spurious = 1 }, { NULL }, 2, -1 },
	{ "cancel-wakes-owning-waiter", cancel_wakes_owning_waiter,
	    { .spurious = 1 }, { NULL }, 2, -1 },
	{ "cancel-wakes-waiters-on-both", cancel_wakes_waiters_on_both,
	    { 0 }, { NULL }, 2, 3 },
	{ "three-references-go", three_references_go, { 0 }, { NULL }, 2, -1 },
	{ "parent-and-children-go", parent_and_children_go, { 0 },
	    { NULL }, 2, 3 },
	{ "goes-while-cancelled", goes_while_cancelled, { 0 },
	    { NULL }, 2, -1 },
	{ "parent-and-child-cancelled", parent_and_child_cancelled, { 0 },
	    { "child's own cancel", "child cancelled already" }, 2, 3 },
	{ "two-cancels-in-a-chain", two_cancels_in_a_chain, { 0 },
	    { "P by its own cancel", "P by G's cancel" }, 2, -1 },
	{ "two-levels-in-a-chain", two_levels_in_a_chain, { 0 },
	    { "P by its own cancel", "P by G's cancel" }, 2, -1 },
	{ "seen-from-below", seen_from_below, { .stale = 1 },
	    { "D seen cancelled" }, 2, -1 },
	{ "born-while-cancelled", born_while_cancelled, { 0 },
	    { "born after the cancel", "born before the cancel" }, 2, -1 },
	{ "child-again-while-cancelled", child_again_while_cancelled, { 0 },
	    { "born after the cancel", "born before the cancel" }, 2, -1 },
	{ "child-again-elsewhere", child_again_elsewhere, { 0 },
	    { NULL }, 2, -1 },
	{ "sibling-goes-while-cancelled", sibling_goes_while_cancelled,
	    { 0 }, { NULL }, 2, -1 },
	{ "next-goes-while-cancelled", next_goes_while_cancelled,
	    { 0 }, { NULL }, 2, -1 },
	{ "middle-goes-while-cancelled", middle_goes_while_cancelled,
	    { 0 }, { NULL }, 2, -1 },
	{ "middle-and-child-go", middle_and_child_go, { 0 }, { NULL }, 2, 3 },
	{ "top-goes-while-cancelled", top_goes_while_cancelled, { 0 },
	    { "child's own cancel", "child cancelled already" }, 2, -1 },
	{ "cause-is-there", cause_is_there, { .stale = 1 },
	    { "seen in time" }, 2, -1 },
	{ "cancel-publishes", cancel_publishes, { .stale = 1 },
	    { "seen in time" }, 2, -1 },
	{ "two-levels", two_levels, { 0 },
	    { "cancel first", "abort first" }, 2, -1 },
	{ "wait-with-deadline", wait_with_deadline, { .early = 1 },
	    { "woken", "too late" }, 2, -1 },
	{ "deadline-and-cancel", deadline_and_cancel, { .early = 1 },
	    { "cancel first", "deadline first" }, 2, 3 },
	{ "deadline-taken-back", deadline_taken_back, { 0 },
	    { "taken back", "too late" }, 2, 3 },
	{ "deadline-alone", deadline_alone, { .spurious = 1 },
	    { NULL }, 2, -1 },
	{ "deadline-and-release", deadline_and_release, { .early = 1 },
	    { NULL }, 2, -1 },
	{ "deadline-and-next-child", deadline_and_next_child, { .early = 1 },
	    { "had come" }, 2, 3 },
	{ "shield-and-cancel", shield_and_cancel, { .early = 1 },
	    { "shield had ended", "shield held" }, 2, 3 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
