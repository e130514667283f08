/* SPDX-License-Identifier: MIT */
/* Nurseries and tasks: who is accepted, runs, fails.  See reference.h. */
#include "config.h"

#include "ref.h"

#include <errno.h>
#include <string.h>

#define EACH_TASK(t) \
	((t) = ref.task; (t) < ref.task + ref.tasks; (t)++)

static int
number(const struct ref_task *t)
{
	return (int)(t - ref.task);
}

static int
token_of(const struct ref_task *t)
{
	return t->spawn.token != REF_NONE ? t->spawn.token :
	    ref.nursery[t->spawn.nursery].is.token;
}

static bool
is_service(const struct ref_task *t)
{
	return (t->spawn.flags & NURSERY_TASK_SERVICE) != 0;
}

static bool
is_member(int task, int n)
{
	int m;

	if (task == REF_NONE)
		return false;
	for (m = ref.task[task].spawn.nursery; m != REF_NONE;
	    m = ref.nursery[m].is.parent)
		if (m == n)
			return true;
	return false;
}

/* ---- opening ---- */

int
ref_nursery(const struct ref_opening *o)
{
	struct ref_nursery *n = &ref.nursery[ref.nurseries];

	if (ref.nurseries == REF_NURSERIES)
		model_fail("reference: more than %d nurseries", REF_NURSERIES);
	memset(n, 0, sizeof *n);
	n->is = *o;
	n->opening = ref_begin();
	n->closing = n->closed = REF_NEVER;
	return ref.nurseries++;
}

void
ref_opened(int id, int rc)
{
	struct ref_nursery *n = &ref.nursery[id], *p = NULL;

	if (n->is.parent != REF_NONE)
		p = &ref.nursery[n->is.parent];
	(void)ref_begin();
	n->open = rc == 0;
	if (rc == 0 && p != NULL && p->closed != REF_NEVER)
		model_fail("nursery %d opens inside %d, which is closed", id,
		    n->is.parent);
	if (rc == ESHUTDOWN && (p == NULL || p->closing == REF_NEVER ||
	    is_member(n->is.opener, n->is.parent)))
		model_fail("nursery %d does not open inside %d, which nobody "
		    "closes, or has a member", id, n->is.parent);
	if (rc != 0 && rc != ESHUTDOWN)
		ref_excuse("open", rc);
	if (rc == 0)
		ref_token_made(n->is.token);
}

int
ref_nursery_token(int n)
{
	return ref.nursery[n].is.token;
}

/* ---- spawning ---- */

/* The nursery is being closed: with whatever cause. */
static void
may_be_told(const struct ref_task *t)
{
	ref.token[t->spawn.token].lifted = true;
	ref_raise_new(t->spawn.token, NURSERY_ABORT, 0)->maybe = true;
}

int
ref_spawn(const struct ref_spawn *s)
{
	struct ref_task *t = &ref.task[ref.tasks];

	if (ref.tasks == REF_TASKS)
		model_fail("reference: more than %d tasks", REF_TASKS);
	memset(t, 0, sizeof *t);
	t->spawn = *s;
	t->spawn_begin = ref_begin();
	t->spawn_end = t->begun = t->ended = t->settled = REF_NEVER;
	if (is_service(t) && ref.nursery[s->nursery].closing != REF_NEVER)
		may_be_told(t);
	return ref.tasks++;
}

static void
check_accepted(const struct ref_task *t)
{
	const struct ref_nursery *n = &ref.nursery[t->spawn.nursery];
	unsigned must = ref_must(n->is.token, t->spawn_begin);
	bool final = (t->spawn.flags & NURSERY_TASK_FINAL) != 0;

	if (n->closed < t->spawn_begin)
		model_fail("task %d is accepted by a closed nursery",
		    number(t));
	if (must >= NURSERY_CANCEL && !final)
		model_fail("task %d is accepted by a cancelled nursery",
		    number(t));
	if (must == NURSERY_DRAIN && !final && (t->spawn.flags &
	    NURSERY_TASK_IN_DRAIN) == 0 && !is_member(t->spawn.caller,
	    t->spawn.nursery))
		model_fail("task %d is accepted from outside by a nursery "
		    "that drains", number(t));
	/* The close has returned meanwhile: it was there to wait for it. */
	if (n->closed != REF_NEVER && t->ran == 1 && t->ended > n->closed)
		model_fail("task %d runs in a closed nursery", number(t));
}

/* So many may not have ended, that one found no room. */
static bool
may_be_full(const struct ref_task *t)
{
	const struct ref_nursery *n = &ref.nursery[t->spawn.nursery];
	const struct ref_task *o;
	unsigned count = 0;

	if (n->is.limits.running == 0 || n->is.limits.queued == 0)
		return false;
	for EACH_TASK(o)
		count += o != t && o->spawn.nursery == t->spawn.nursery &&
		    (o->accepted || o->spawn_end == REF_NEVER) && o->settled >
		    t->spawn_begin;
	return count >= n->is.limits.running + n->is.limits.queued;
}

static bool
may_be_refused(const struct ref_task *t, int rc)
{
	const struct ref_nursery *n = &ref.nursery[t->spawn.nursery];
	unsigned may = ref_may(n->is.token, t->spawn_begin);
	bool final = (t->spawn.flags & NURSERY_TASK_FINAL) != 0;
	int64_t by = t->spawn.by;

	switch (rc) {
	case ECANCELED:
		if (final)
			return false;
		return may >= NURSERY_CANCEL || (t->spawn.caller != REF_NONE &&
		    n->is.limits.running != 0 &&
		    ref_may(token_of(&ref.task[t->spawn.caller]),
		    t->spawn_begin) >= NURSERY_CANCEL);
	case ESHUTDOWN:
		/* A member that runs keeps it open, for itself, too. */
		if (is_member(t->spawn.caller, t->spawn.nursery))
			return false;
		return n->closing != REF_NEVER || (may >= NURSERY_DRAIN &&
		    !final && (t->spawn.flags & NURSERY_TASK_IN_DRAIN) == 0);
	case ETIMEDOUT:
		return by != 0 && by <= model_now() && may_be_full(t);
	case EAGAIN:
		return model_refused() || (t->spawn.tries && may_be_full(t));
	default:
		return rc == ENOMEM && model_refused();
	}
}

void
ref_spawned(int task, int rc)
{
	struct ref_task *t = &ref.task[task];

	t->spawn_end = ref_begin();
	t->accepted = rc == 0;
	if (rc == 0) {
		check_accepted(t);
		return;
	}
	if (t->ran != 0 || t->discarded != 0)
		model_fail("task %d is refused with %d, and has run", task,
		    rc);
	if (!may_be_refused(t, rc))
		model_fail("task %d is refused with %d without a reason", task,
		    rc);
}

/* ---- running ---- */

/* At most max_running of them; told to stop, who waited does not wait for
 * another place. */
static void
check_places(const struct ref_task *t)
{
	const struct ref_nursery *n = &ref.nursery[t->spawn.nursery];
	const struct ref_task *o;
	unsigned count = 0;

	if (n->is.limits.running == 0 || ref_may(n->is.token, 0) >=
	    NURSERY_CANCEL)
		return;
	for EACH_TASK(o)
		count += o->spawn.nursery == t->spawn.nursery && o->ran == 1 &&
		    o->ended == REF_NEVER && o->paused == 0;
	if (count > n->is.limits.running)
		model_fail("%u tasks run in a nursery for %u", count,
		    n->is.limits.running);
}

void
ref_task_begins(int task)
{
	struct ref_task *t = &ref.task[task];
	const struct ref_nursery *n = &ref.nursery[t->spawn.nursery];

	t->begun = ref_begin();
	if (t->ran++ != 0 || t->discarded != 0)
		model_fail("task %d runs again, or after its discard", task);
	if (t->settled != REF_NEVER)
		model_fail("task %d begins, and somebody has waited for it",
		    task);
	if (n->closed != REF_NEVER)
		model_fail("task %d begins in a closed nursery", task);
	if (t->spawn_end != REF_NEVER && !t->accepted)
		model_fail("task %d was refused, and begins", task);
	check_places(t);
}

void
ref_task_pauses(int task, bool begins)
{
	if (task != REF_NONE)
		ref.task[task].paused += begins ? 1 : -1;
}

static void
cancels(struct ref_task *t, int code)
{
	t->cancels = ref_raise_new(ref.nursery[t->spawn.nursery].is.token,
	    NURSERY_CANCEL, code);
	/* It may have been told to stop, and not have failed. */
	t->cancels->maybe = t->code == ECANCELED;
}

static bool
was_told(const struct ref_task *t)
{
	int n = ref.nursery[t->spawn.nursery].is.token;

	return ref_must(token_of(t), ref.time) >= NURSERY_CANCEL ||
	    ref_must(n, ref.time) >= NURSERY_CANCEL;
}

void
ref_task_ends(int task, int code)
{
	struct ref_task *t = &ref.task[task];
	int policy = ref.nursery[t->spawn.nursery].is.policy;

	t->ended = ref_begin();
	t->ended_at = model_now();
	t->code = code;
	t->told = was_told(t);
	if (policy == NURSERY_FAIL_FAST && code != 0 && !(code == ECANCELED &&
	    t->told))
		cancels(t, code);
	if (policy == NURSERY_FIRST_SUCCESS && code == 0 && !is_service(t))
		cancels(t, ECANCELED);
}

void
ref_task_discarded(int task)
{
	struct ref_task *t = &ref.task[task];
	int n = ref.nursery[t->spawn.nursery].is.token;

	t->ended = ref_begin();
	t->ended_at = model_now();
	if (t->discarded++ != 0 || t->ran != 0)
		model_fail("task %d is discarded twice, or has run", task);
	if (!t->spawn.discards || (t->spawn_end != REF_NEVER && !t->accepted))
		model_fail("task %d is discarded, and was not there", task);
	if (ref.nursery[t->spawn.nursery].closed != REF_NEVER)
		model_fail("task %d is discarded in a closed nursery", task);
	/* A service is told to stop in that way, too. */
	if (ref_may(n, t->spawn_begin) < NURSERY_CANCEL && ref_may(token_of(t),
	    t->spawn_begin) < NURSERY_CANCEL && !(is_service(t) &&
	    ref.nursery[t->spawn.nursery].closing != REF_NEVER))
		model_fail("task %d is discarded, and nobody has cancelled it",
		    task);
}

/* False, too, for a task that has ended and for one without a token. */
void
ref_task_cancelled(int task, int raise, bool result)
{
	struct ref_task *t = &ref.task[task];
	struct ref_raise *r = &ref.raise[raise];

	if (result) {
		if (t->settled < r->begin)
			model_fail("task %d is cancelled after its end", task);
		ref_raised(raise, true);
		return;
	}
	if (t->ended == REF_NEVER && ref_may_but(r->token, r->begin, r) <
	    NURSERY_CANCEL)
		model_fail("task %d is not cancelled, and nobody else has done "
		    "it", task);
	r->maybe = true;
	ref_told(raise);
}

void
ref_task_done(int nursery, bool begins)
{
	struct ref_nursery *n = &ref.nursery[nursery];

	(void)ref_begin();
	n->telling += begins ? 1 : -1;
	n->told += begins;
	if (n->telling > 1)
		model_fail("on_done is called twice at once");
	if (n->closed != REF_NEVER)
		model_fail("on_done is called in a closed nursery");
}

/* ---- waiting for tasks ---- */

static bool
is_over(const struct ref_task *t)
{
	return t->ended != REF_NEVER || (t->ran == 0 && !t->spawn.discards);
}

static void
settle(struct ref_task *t)
{
	if (t->settled == REF_NEVER)
		t->settled = ref_begin();
}

void
ref_task_joined(int task, int caller, int rc, const int *result,
    int64_t deadline)
{
	struct ref_task *t = &ref.task[task];

	(void)ref_begin();
	if (rc == EDEADLK && caller != REF_NONE)
		return;
	if (rc == ETIMEDOUT && deadline <= model_now()) {
		if (t->ended != REF_NEVER && !model_hurried() && t->ended_at <
		    deadline)
			model_fail("a wait for task %d sleeps on though that "
			    "has ended", task);
		return;
	}
	if (rc != 0) {
		ref_excuse("join", rc);
		return;
	}
	if (!is_over(t))
		model_fail("task %d is joined, and runs", task);
	if (result != NULL && *result != (t->ran == 0 ? ECANCELED : t->code))
		model_fail("task %d is joined, and its result is %d", task,
		    *result);
	settle(t);
}

/* All that have been there: not of those who come meanwhile. */
static bool
all_over_before(int n, int64_t deadline)
{
	const struct ref_task *t;

	for EACH_TASK(t) {
		if (t->spawn.nursery != n || is_service(t) ||
		    (t->spawn_end != REF_NEVER && !t->accepted))
			continue;
		if (t->ended == REF_NEVER || t->ended_at >= deadline)
			return false;
	}
	return true;
}

void
ref_nursery_waited(struct ref_wait w, int n, int64_t deadline, int rc)
{
	int64_t now = model_now();
	struct ref_task *t;

	(void)ref_begin();
	if (rc == ETIMEDOUT && now < deadline)
		model_fail("a wait for nursery %d ends before its deadline",
		    n);
	if (rc != 0 && rc != ETIMEDOUT)
		ref_excuse("nursery_wait", rc);
	if (!model_hurried() && w.since < deadline && now >= deadline &&
	    all_over_before(n, deadline))
		model_fail("a wait for nursery %d sleeps on until its "
		    "deadline, though all has ended", n);
	if (rc != 0)
		return;
	for EACH_TASK(t) {
		if (t->spawn.nursery != n || !t->accepted || is_service(t) ||
		    t->spawn_end > w.begun)
			continue;
		if (!is_over(t))
			model_fail("nursery %d has been waited for, and task "
			    "%d runs", n, number(t));
		settle(t);
	}
}

/* ---- closing ---- */

void
ref_closing(int id)
{
	struct ref_nursery *n = &ref.nursery[id];
	const struct ref_task *t;

	n->closing = ref_begin();
	for EACH_TASK(t)
		if (t->spawn.nursery == id && is_service(t))
			may_be_told(t);
}

enum failed { NO, PERHAPS, SURELY };

static enum failed
has_failed(const struct ref_task *t)
{
	int n = ref.nursery[t->spawn.nursery].is.token;

	if (t->ran == 0 || t->code == 0)
		return NO;
	if (t->code != ECANCELED)
		return SURELY;
	if (t->told)
		return NO;
	return ref_may(token_of(t), t->begun) < NURSERY_CANCEL && ref_may(n,
	    t->begun) < NURSERY_CANCEL ? SURELY : PERHAPS;
}

/* Another one's failure was known before this one's task ended. */
static bool
failed_later(const struct ref_task *t)
{
	const struct ref_task *o;

	for EACH_TASK(o)
		if (o != t && o->spawn.nursery == t->spawn.nursery &&
		    o->settled < t->ended && has_failed(o) == SURELY)
			return true;
	return false;
}

struct tally {
	unsigned accepted, unknown, ran, succeeded, failed, perhaps, won;
	bool explains;		/* some first error is the result */
};

static struct tally
count(int n, int rc)
{
	struct tally c = { 0 };
	const struct ref_task *t;
	enum failed f;

	for EACH_TASK(t) {
		if (t->spawn.nursery != n)
			continue;
		if (t->spawn_end != REF_NEVER && !t->accepted)
			continue;
		c.accepted += t->accepted;
		c.unknown += !t->accepted;
		c.ran += t->ran != 0;
		c.succeeded += t->ran != 0 && t->code == 0;
		c.won += t->ran != 0 && t->code == 0 && !is_service(t);
		f = has_failed(t);
		c.failed += f == SURELY;
		c.perhaps += f == PERHAPS;
		c.explains |= f != NO && t->code == rc && !failed_later(t);
	}
	return c;
}

/* Without a failure. */
static bool
ends_so(const struct ref_nursery *n, int rc)
{
	if (rc == 0)
		return ref_must(n->is.token, n->closing) < NURSERY_CANCEL;
	if (rc == ETIMEDOUT && !n->is.has_deadline)
		return false;
	return (rc == ECANCELED || rc == ETIMEDOUT) && ref_may(n->is.token,
	    n->closing) >= NURSERY_CANCEL;
}

static void
check_result(const struct ref_nursery *n, const struct tally *c, int rc)
{
	bool good;

	if (n->is.policy == NURSERY_FIRST_SUCCESS && c->won > 0)
		good = rc == 0;
	else if (c->failed > 0)
		good = c->explains;
	else
		good = ends_so(n, rc) || (c->perhaps > 0 && c->explains);
	if (!good)
		model_fail("nursery %d closes with %d; %u failed, %u "
		    "succeeded", (int)(n - ref.nursery), rc, c->failed,
		    c->succeeded);
}

static void
check_report(const struct ref_nursery *n, const struct tally *c, int rc,
    const struct ref_report *r)
{
	const struct nursery_counts *k = &r->counts;
	bool won = n->is.policy == NURSERY_FIRST_SUCCESS && c->won > 0;

	if (k->spawned < c->accepted || k->spawned > c->accepted + c->unknown)
		model_fail("%u tasks were accepted, and the report has %u",
		    c->accepted, (unsigned)k->spawned);
	if (k->spawned != k->succeeded + k->failed + k->cancelled +
	    k->discarded)
		model_fail("a report of %u tasks: %u, %u, %u, %u",
		    (unsigned)k->spawned, (unsigned)k->succeeded,
		    (unsigned)k->failed, (unsigned)k->cancelled,
		    (unsigned)k->discarded);
	if (k->succeeded != c->succeeded)
		model_fail("%u tasks succeeded, and the report has %u",
		    c->succeeded, (unsigned)k->succeeded);
	if (k->failed < c->failed || k->failed > c->failed + c->perhaps)
		model_fail("%u tasks failed, and the report has %u", c->failed,
		    (unsigned)k->failed);
	if (k->discarded != k->spawned - c->ran)
		model_fail("%u tasks ran, and the report has %u and %u "
		    "discarded", c->ran, (unsigned)k->spawned,
		    (unsigned)k->discarded);
	if ((r->first != 0) != (k->failed != 0))
		model_fail("%u failed, and the first with %d",
		    (unsigned)k->failed, r->first);
	if (c->failed > 0 && !won && r->first != rc)
		model_fail("the first failure is %d, and close says %d",
		    r->first, rc);
}

/* Whose error it was that cancelled them all, that error is the result. */
static void
check_canceller(const struct ref_nursery *n, int rc)
{
	int cause = ref.token[n->is.token].cause[NURSERY_CANCEL];
	const struct ref_task *t;

	if (n->is.policy != NURSERY_FAIL_FAST || cause == 0)
		return;
	for EACH_TASK(t)
		if (&ref.nursery[t->spawn.nursery] == n && t->cancels != NULL
		    && t->code == cause && t->code != ECANCELED && rc != cause)
			model_fail("the failure %d has cancelled the nursery, "
			    "and close says %d", cause, rc);
}

static void
check_all_over(const struct ref_nursery *n)
{
	const struct ref_nursery *m;
	struct ref_task *t;

	for EACH_TASK(t) {
		if (&ref.nursery[t->spawn.nursery] != n)
			continue;
		if (t->ran == 1 && t->ended == REF_NEVER)
			model_fail("a nursery closes, and task %d runs",
			    number(t));
		if (t->accepted && t->spawn.discards && t->ran +
		    t->discarded != 1)
			model_fail("a nursery closes, and task %d neither ran "
			    "nor was discarded", number(t));
		if (t->cancels != NULL && t->cancels->end == REF_NEVER)
			ref_told((int)(t->cancels - ref.raise));
		settle(t);
	}
	for (m = ref.nursery; m < ref.nursery + ref.nurseries; m++)
		if (m->is.parent != REF_NONE && &ref.nursery[m->is.parent] ==
		    n && m->open && m->closing == REF_NEVER)
			model_fail("a nursery closes, and one inside it is "
			    "open");
}

/* A task without a discard that never ran has been told, too. */
static void
check_told(const struct ref_nursery *n, const struct tally *c)
{
	if (n->telling != 0)
		model_fail("a nursery closes, and on_done runs");
	if (n->is.tells && ((unsigned)n->told < c->accepted ||
	    (unsigned)n->told > c->accepted + c->unknown))
		model_fail("%u tasks were accepted, and on_done was called %d "
		    "times", c->accepted, n->told);
}

void
ref_closed(int id, int rc, const struct ref_report *report)
{
	struct ref_nursery *n = &ref.nursery[id];
	struct tally c = count(id, rc);

	n->closed = ref_begin();
	check_all_over(n);
	check_result(n, &c, rc);
	check_told(n, &c);
	if (report != NULL)
		check_report(n, &c, rc, report);
	check_canceller(n, rc);
}

void
ref_scope_end(void)
{
	const struct ref_task *t;

	for EACH_TASK(t) {
		if (t->spawn_end == REF_NEVER || !t->accepted)
			continue;
		if (t->ran + t->discarded == 1)
			continue;
		if (t->spawn.discards || ref_may(ref.nursery[t->spawn.nursery]
		    .is.token, t->spawn_begin) < NURSERY_CANCEL)
			model_fail("task %d was accepted and never ran",
			    number(t));
	}
}
