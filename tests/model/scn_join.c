/* SPDX-License-Identifier: MIT */
/*
 * Tokens of several parents, and descriptors: two walks meet where neither
 * root is above the other; what is told goes meanwhile.
 */
#include "config.h"

#include "scenario.h"

static struct nursery_token *p, *q, *j, *k;

/* J below P and Q, without a kid. */
static void
make_bare_join(void)
{
	struct nursery_token *parents[2];

	p = parents[0] = new_token(NULL);
	q = parents[1] = new_token(NULL);
	MODEL_ASSERT(nursery_token_new_any(&j, parents, 2) == 0);
	model_name(p, "P");
	model_name(q, "Q");
	model_name(j, "J");
}

static void
make_join(void)
{
	make_bare_join();
	k = new_token(j);
	model_name(k, "K");
}

static void
drop_join(void)
{
	nursery_token_unref(k);
	nursery_token_unref(j);
	nursery_token_unref(q);
	nursery_token_unref(p);
}

static void
cancel_with_7(void *t)
{
	MODEL_ASSERT(nursery_token_cancel_with(t, 7, NULL));
	ASSERT_CANCELLED(j);
	ASSERT_CANCELLED(k);
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_CANCEL, NULL) != 0);
}

/* Whoever returns first: all below the join is cancelled. */
static void
two_parents_cancelled(void)
{
	struct model_thread *a;
	int code;

	make_join();
	a = model_start(cancel_with_7, q);
	MODEL_ASSERT(nursery_token_cancel_with(p, 6, NULL));
	ASSERT_CANCELLED(j);
	ASSERT_CANCELLED(k);
	model_join(a);
	code = nursery_token_cause(j, NURSERY_CANCEL, NULL);
	MODEL_ASSERT(code == nursery_token_cause(k, NURSERY_CANCEL, NULL));
	MODEL_ASSERT(code == 6 || code == 7);
	model_cover(code == 6 ? "by P" : "by Q");
	drop_join();
}

static void
cancel_again(void *t)
{
	(void)nursery_token_cancel(t);
	ASSERT_CANCELLED(j);
	ASSERT_CANCELLED(k);
}

/* Q's second cancel, which does nothing itself, returns when P's, which came
 * to the join before Q's first, is through. */
static void
cancelled_again(void)
{
	struct model_thread *a, *b;

	make_join();
	a = model_start(cancel_again, q);
	b = model_start(cancel_again, q);
	(void)nursery_token_cancel(p);
	ASSERT_CANCELLED(k);
	model_join(a);
	model_join(b);
	drop_join();
}

/* The same in one tree: Q's first cancel meets that of J, which began after
 * the second had found Q cancelled. */
static void
cancelled_again_in_a_chain(void)
{
	struct nursery_token *m;
	struct model_thread *a, *b;

	q = new_token(NULL);
	j = new_token(q);
	m = new_token(j);
	k = new_token(m);
	a = model_start(cancel_again, q);
	b = model_start(cancel_again, q);
	(void)nursery_token_cancel(j);
	ASSERT_CANCELLED(k);
	model_join(a);
	model_join(b);
	nursery_token_unref(k);
	nursery_token_unref(m);
	nursery_token_unref(j);
	nursery_token_unref(q);
}

static void
cancel_k(void *e)
{
	if (nursery_token_cancel(k))
		model_cover("K's own cancel");
	else
		model_cover("K cancelled from above");
	ASSERT_CANCELLED(e);
}

/* The root of one walk is below the join. */
static void
parent_and_below_join_cancelled(void)
{
	struct nursery_token *d, *e;
	struct model_thread *a;

	make_join();
	d = new_token(k);
	e = new_token(d);
	a = model_start(cancel_k, e);
	MODEL_ASSERT(nursery_token_cancel(p));
	ASSERT_CANCELLED(k);
	ASSERT_CANCELLED(e);
	model_join(a);
	nursery_token_unref(e);
	nursery_token_unref(d);
	drop_join();
}

static void
unref(void *t)
{
	nursery_token_unref(t);
}

static void
join_goes_while_cancelled(void)
{
	struct model_thread *a;

	make_bare_join();
	a = model_start(unref, j);
	MODEL_ASSERT(nursery_token_cancel(p));
	nursery_token_unref(p);
	model_join(a);
	nursery_token_unref(q);
}

static void
parent_goes_while_cancelled(void)
{
	struct model_thread *a;

	make_join();
	a = model_start(unref, q);
	MODEL_ASSERT(nursery_token_cancel(p));
	nursery_token_unref(p);
	ASSERT_CANCELLED(k);
	model_join(a);
	MODEL_ASSERT(nursery_token_cause(k, NURSERY_CANCEL, NULL) ==
	    ECANCELED);
	nursery_token_unref(j);
	nursery_token_unref(k);
}

/* A raise whose root waits on the list of another walk. */
static void
raise_p(void *level)
{
	(void)nursery_token_raise(p, *(enum nursery_level *)level, 0, NULL);
}

static void
raised_on_a_walk(void)
{
	static enum nursery_level cancel = NURSERY_CANCEL;
	struct nursery_token *c, *e, *d;
	struct model_thread *a;

	p = new_token(NULL);
	e = new_token(p);
	c = new_token(p);
	d = new_token(c);
	k = new_token(e);
	a = model_start(raise_p, &cancel);
	MODEL_ASSERT(nursery_token_raise(c, NURSERY_ABORT, 0, NULL));
	MODEL_ASSERT(nursery_token_level(d) == NURSERY_ABORT);
	model_join(a);
	MODEL_ASSERT(nursery_token_level(d) == NURSERY_ABORT);
	ASSERT_CANCELLED(k);
	nursery_token_unref(k);
	nursery_token_unref(d);
	nursery_token_unref(c);
	nursery_token_unref(e);
	nursery_token_unref(p);
}

/* ---- descriptors ---- */

static int fd;

static void
ask(void *t)
{
	MODEL_ASSERT(nursery_token_fd(t, &fd) == 0);
	model_cover(model_eventfd_is_readable(fd) ? "readable" : "not yet");
}

static void
fd_and_cancel(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *a = model_start(ask, t);

	MODEL_ASSERT(nursery_token_cancel(t));
	model_join(a);
	MODEL_ASSERT(model_eventfd_is_readable(fd));
	nursery_token_unref(t);
	MODEL_ASSERT(!model_eventfd_is_open(fd));
}

static void
two_ask_for_fd(void)
{
	struct nursery_token *t = new_token(NULL);
	struct model_thread *a = model_start(ask, t);
	int mine = -1;

	MODEL_ASSERT(nursery_token_fd(t, &mine) == 0);
	model_join(a);
	MODEL_ASSERT(mine == fd);
	nursery_token_unref(t);
	MODEL_ASSERT(!model_eventfd_is_open(0));
	MODEL_ASSERT(!model_eventfd_is_open(1));
}

static void
fd_goes_while_cancelled(void)
{
	struct nursery_token *t = new_token(NULL), *c = new_token(t);
	struct model_thread *a;

	MODEL_ASSERT(nursery_token_fd(c, &fd) == 0);
	a = model_start(unref, c);
	MODEL_ASSERT(nursery_token_cancel(t));
	model_join(a);
	MODEL_ASSERT(!model_eventfd_is_open(fd));
	nursery_token_unref(t);
}

const struct scenario join_scenarios[] = {
	{ "two-parents-cancelled", two_parents_cancelled, { 0 },
	    { "by P", "by Q" }, 2, -1 },
	{ "cancelled-again", cancelled_again, { 0 }, { NULL }, 2, 2 },
	{ "cancelled-again-in-a-chain", cancelled_again_in_a_chain, { 0 },
	    { NULL }, 2, 3 },
	{ "parent-and-below-join-cancelled", parent_and_below_join_cancelled,
	    { 0 }, { "K's own cancel", "K cancelled from above" }, 2, 3 },
	{ "join-goes-while-cancelled", join_goes_while_cancelled, { 0 },
	    { NULL }, 2, -1 },
	{ "parent-goes-while-cancelled", parent_goes_while_cancelled, { 0 },
	    { NULL }, 2, 3 },
	{ "raised-on-a-walk", raised_on_a_walk, { 0 }, { NULL }, 2, 3 },
	{ "fd-and-cancel", fd_and_cancel, { 0 },
	    { "readable", "not yet" }, 2, -1 },
	{ "two-ask-for-fd", two_ask_for_fd, { 0 }, { NULL }, 2, -1 },
	{ "fd-goes-while-cancelled", fd_goes_while_cancelled, { 0 },
	    { NULL }, 2, -1 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
