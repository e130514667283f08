/* SPDX-License-Identifier: MIT */
/* Nurseries: opened somewhere, filled, told to stop, closed. */
#include "soak.h"

#include <errno.h>

#define HANDLES	3

/* A task that is held by a handle. */
struct held {
	struct nursery_task *t;
	struct item *it;
};

/* ---- opening ---- */

static void
note_done(struct nursery *n, const struct nursery_result *res, void *ctx)
{
	struct book *b = ctx;

	if (atom_add(&b->reporting, 1) != 0)
		broken(RETURNS, "two calls of on_done at once");
	if (atom_get(&b->closed) != 0)
		broken(LATE, "on_done after the close");
	atom_add(&b->reported, 1);
	if (res->task % 64 == 0)
		nursery_cancel(n);
	atom_add(&b->reporting, UINT32_MAX);
}

static void
limit_somehow(struct nursery_attr *a, struct rng *r)
{
	a->max_running = 1 + rng_below(r, 3);
	a->max_queued = rng_below(r, 4);
}

static void
random_attr(struct nursery_attr *a, struct book *b, bool inside,
    struct rng *r)
{
	static const int policies[] = { NURSERY_FAIL_FAST, NURSERY_COLLECT,
		NURSERY_COLLECT, NURSERY_FIRST_SUCCESS };

	a->name = once_in(r, 2) ? "soak" : NULL;
	a->lane = (int)rng_below(r, 3);
	a->policy = policies[rng_below(r, 4)];
	a->max_errors = rng_below(r, 4);
	if (once_in(r, 4))
		limit_somehow(a, r);
	if (once_in(r, 6))
		a->deadline = soon(r, 20000);
	if (once_in(r, 6)) {
		a->on_done = note_done;
		a->ctx = b;
	}
	if (inside && once_in(r, 8)) {
		a->flags |= NURSERY_SHIELD;
		a->shield_until = soon(r, 5000);
	}
	if (once_in(r, 6))
		a->flags |= NURSERY_NO_HELP;
	if (once_in(r, 8))
		a->flags |= NURSERY_UNBOUND;
}

static void
note_attr(struct book *b, const struct nursery_attr *a, struct rng *r)
{
	b->limited = a->max_running != 0;
	b->reports = a->on_done != NULL;
	b->policy = a->policy;
	b->cancelled = once_in(r, 3);
}

/* Beside the task's own nursery: further out, below a token, or nowhere. */
static int
open_somewhere(struct book *b, struct nursery_token *t,
    const struct nursery_attr *a, struct rng *r)
{
	struct book *o = b->outer;
	unsigned where = o == NULL ? 7 : rng_below(r, 8);

	if (where == 7)
		return nursery_open(&b->n, a);
	if (where == 6)
		return nursery_open_under(&b->n, t, a);
	if (where == 5 && o->outer != NULL)
		o = o->outer;
	return nursery_open_child(&b->n, o->n, a);
}

/* ---- filling ---- */

/* What costs least, and on the compute lane stays with the thread. */
static void
fill_plainly(struct book *b, struct rng *r)
{
	unsigned count = rng_below(r, 5);

	while (count-- > 0)
		(void)spawn_one(b, b->n, &role_work, NULL, true, r, NULL);
}

static void
fill(struct book *b, struct held held[HANDLES], struct rng *r)
{
	unsigned count = 1 + rng_below(r, 12), i;

	if (once_in(r, 4))
		publish(b);
	if (!b->limited && once_in(r, 3))
		add_link(b, r);
	if (!b->limited && once_in(r, 4))
		spawn_service(b, r);
	for (i = 0; i < count; i++)
		(void)spawn_one(b, b->n, &role_work, NULL, true, r, NULL);
	for (i = 0; i < HANDLES; i++) {
		held[i].it = NULL;
		if (once_in(r, 3))
			held[i].it = spawn_one(b, b->n, &role_work, NULL,
			    true, r, &held[i].t);
	}
	if (once_in(r, 10))
		take_signals(b, r);
}

/* ---- handles ---- */

static void
join(struct held *h)
{
	int rc, result = -1, expected;

	rc = nursery_task_join(&h->t, &result);
	if (rc != 0 || h->t != NULL) {
		broken(RETURNS, "nursery_task_join says %d", rc);
		return;
	}
	expected = atom_get(&h->it->runs) != 0 ? h->it->outcome : ECANCELED;
	if (result != expected)
		broken(RETURNS, "a join gives %d, the task returned %d",
		    result, expected);
	h->it = NULL;
}

static void
look_after(struct held *h, const struct book *b, struct rng *r)
{
	int rc;

	if (h->it == NULL)
		return;
	switch (rng_below(r, 5)) {
	case 0:
		nursery_task_unref(h->t);
		h->it = NULL;
		break;
	case 1:
		(void)nursery_task_cancel(h->t);
		join(h);
		break;
	case 2:
		rc = nursery_task_wait(h->t, soon(r, 500));
		if (rc != 0 && rc != ETIMEDOUT)
			broken(RETURNS, "nursery_task_wait says %d", rc);
		break;
	case 3:
		if (!b->cancelled)
			join(h);
		break;
	default:
		break;
	}
}

/* ---- the end ---- */

static void
wait_a_while(const struct book *b, struct rng *r)
{
	int rc = nursery_wait(b->n, b->cancelled || once_in(r, 2) ?
	    soon(r, 1000) : NURSERY_NEVER);

	if (rc != 0 && rc != ETIMEDOUT)
		broken(RETURNS, "nursery_wait says %d", rc);
}

static void
tell_to_stop(struct book *b, struct rng *r)
{
	unsigned how = rng_below(r, 12);

	if (how == 0)
		nursery_drain(b->n);
	else if (how == 1)
		(void)nursery_token_set_deadline(nursery_token_of(b->n),
		    soon(r, 2000));
	if (b->cancelled || how == 2)
		cancel_somehow(b->n, r);
}

struct closing {
	struct book *b;
	struct nursery_report *report;
};

static void *
close_elsewhere(void *arg)
{
	struct closing *c = arg;

	c->b->rc = nursery_close_with(&c->b->n, &c->report);
	return NULL;
}

static int
stop(struct closing *c, struct rng *r)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	int64_t long_enough = patience() * NURSERY_SECOND;

	how.drain_for = rng_below(r, 2000) * NURSERY_US;
	how.cancel_for = long_enough;
	how.abort_for = long_enough;
	return nursery_stop(&c->b->n, &how, &c->report);
}

static void
close_somehow(struct closing *c, unsigned flags, struct rng *r)
{
	struct book *b = c->b;
	unsigned how = rng_below(r, 4);
	pthread_t id;

	if ((flags & NURSERY_UNBOUND) != 0 && b->outer == NULL &&
	    pthread_create(&id, NULL, close_elsewhere, c) == 0)
		(void)pthread_join(id, NULL);
	else if (how == 0)
		b->rc = nursery_close(&b->n);
	else if (how == 1)
		b->rc = stop(c, r);
	else
		b->rc = nursery_close_with(&b->n, &c->report);
}

static void
check_close(const struct book *b, const struct nursery_attr *a)
{
	if (b->n != NULL)
		broken(RETURNS, "a close says %d and closes nothing", b->rc);
	else if (b->rc == ETIMEDOUT && (a == NULL || a->deadline == 0))
		broken(RETURNS, "a close says ETIMEDOUT without a deadline");
	else if (b->rc != 0 && b->rc != ECANCELED && b->rc != ETIMEDOUT &&
	    !is_own_code(b->rc))
		broken(RETURNS, "a close says %d", b->rc);
}

static void
read_report(struct book *b, struct nursery_report *report)
{
	struct nursery_result first = NURSERY_RESULT_INIT;

	b->counted = nursery_report_counts(report, &b->counts) == 0;
	if (is_own_code(b->rc) && (nursery_report_failure(report, 0, &first)
	    != 0 || first.code != b->rc))
		broken(RETURNS, "close says %d, the first failure was %d",
		    b->rc, first.code);
	nursery_report_free(report);
}

static int
never_run(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	broken(LATE, "a closed nursery takes a task");
	return 0;
}

/* The handle is held; the nursery is closed. */
static void
knock_at_closed(struct nursery *n)
{
	int rc = nursery_spawn(n, never_run, NULL);

	if (rc != ESHUTDOWN && rc != ECANCELED)
		broken(RETURNS, "a spawn after the close says %d", rc);
	nursery_cancel(n);
	nursery_unref(n);
}

static void
close_book(struct book *b, const struct nursery_attr *a, struct rng *r)
{
	struct closing c = { .b = b, .report = NULL };
	struct nursery *n = once_in(r, 4) ? nursery_ref(b->n) : NULL;

	close_somehow(&c, a == NULL ? 0 : a->flags, r);
	atom_set(&b->closed, 1);
	if (atom_get(&b->inside) != 0)
		broken(LATE, "%u tasks run after the close",
		    atom_get(&b->inside));
	check_close(b, a);
	if (c.report != NULL)
		read_report(b, c.report);
	if (n != NULL)
		knock_at_closed(n);
	links_verify(b);
	atom_add(&figures.nurseries, 1);
	atom_add(&progress, 1);
}

void
grow_tree(struct book *outer, struct nursery_token *t, unsigned depth,
    struct rng *r)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT, *a = &attr;
	struct book *b = book_new(outer, depth);
	struct held held[HANDLES];
	bool plain = outer != NULL && once_in(r, 3);
	unsigned i;
	int rc;

	if (plain)
		a = NULL;
	else
		random_attr(a, b, outer != NULL, r);
	note_attr(b, &attr, r);
	rc = plain ? nursery_open_child(&b->n, outer->n, NULL) :
	    open_somewhere(b, t, a, r);
	if (rc != 0) {
		/* Further out others may have closed it to outsiders. */
		if (rc != ESHUTDOWN && rc != ECANCELED)
			broken(RETURNS, "nursery_open says %d", rc);
		return;
	}
	if (plain) {
		fill_plainly(b, r);
		tell_to_stop(b, r);
		close_book(b, a, r);
		return;
	}
	fill(b, held, r);
	for (i = 0; i < HANDLES; i++)
		look_after(&held[i], b, r);
	if (once_in(r, 3))
		wait_a_while(b, r);
	tell_to_stop(b, r);
	close_book(b, a, r);
	for (i = 0; i < HANDLES; i++)
		if (held[i].it != NULL)
			join(&held[i]);
}
