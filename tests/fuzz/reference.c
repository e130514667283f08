/* SPDX-License-Identifier: MIT */
/* Tokens: who hears whom, and what may and must be read.  See reference.h. */
#include "config.h"

#include "ref.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ref_state *ref_;

void
ref_prepare(void)
{
	if (ref_ == NULL)
		ref_ = calloc(1, sizeof *ref_);
	if (ref_ == NULL)
		abort();
}

/* What is in the tables is made as new when it is used. */
void
ref_reset(void)
{
	memset(ref_, 0, offsetof(struct ref_state, token));
}

long
ref_begin(void)
{
	return ++ref.time;
}

void
ref_alone(bool alone)
{
	ref.alone = alone;
}

bool
ref_is_alone(void)
{
	return ref.alone;
}

#define FULL(count, limit)	((count) > (limit) - (limit) / 4)
bool
ref_is_full(void)
{
	return FULL(ref.tokens, REF_TOKENS) || FULL(ref.raises, REF_RAISES) ||
	    FULL(ref.callbacks, REF_CALLBACKS) || FULL(ref.nurseries,
	    REF_NURSERIES) || FULL(ref.tasks, REF_TASKS) || FULL(ref.items,
	    REF_ITEMS);
}

/* ---- who hears whom ---- */

static bool
is_shielded(const struct ref_token *t, enum ref_how how)
{
	switch (how) {
	case REF_AT_LEAST:
		return t->shielded;
	case REF_AT_MOST:
		return t->shielded && !t->lifted && t->until > model_now();
	case REF_CAUSE:
		break;
	}
	return false;
}

/* What t comes to when a parent says `level`. */
static unsigned
through(const struct ref_token *t, unsigned level, enum ref_how how)
{
	if (level == NURSERY_ABORT)
		return NURSERY_ABORT;
	if (is_shielded(t, how))
		return 0;
	if (t->at == 0)
		return level;
	return level >= t->at ? NURSERY_CANCEL : 0;
}

unsigned
ref_hears(int id, int target, unsigned level, enum ref_how how)
{
	const struct ref_token *t = &ref.token[id];
	unsigned best = 0, l;
	int i;

	if (id == target)
		return level;
	for (i = 0; i < t->parents; i++) {
		/* Parents are older. */
		if (t->parent[i] < target)
			continue;
		l = through(t, ref_hears(t->parent[i], target, level, how),
		    how);
		if (l > best)
			best = l;
	}
	return best;
}

/* By the time of the call that began then. */
static bool
possible(const struct ref_raise *r, long begun)
{
	if (r->level == 0 || r->withdrawn < begun)
		return false;
	return r->when == 0 || r->when <= model_now();
}

unsigned
ref_must_but(int t, long by, const struct ref_raise *but)
{
	const struct ref_token *k = &ref.token[t];
	unsigned best = k->seen_at < by ? k->seen : 0, l;
	const struct ref_raise *r;

	for (r = ref.raise; r < ref.raise + ref.raises; r++) {
		if (r == but || r->end > by || r->maybe)
			continue;
		l = ref_hears(t, r->token, r->level, REF_AT_LEAST);
		if (l > best)
			best = l;
	}
	return best;
}

unsigned
ref_may_but(int t, long begun, const struct ref_raise *but)
{
	const struct ref_raise *r;
	unsigned best = 0, l;

	for (r = ref.raise; r < ref.raise + ref.raises; r++) {
		if (r == but || !possible(r, begun))
			continue;
		l = ref_hears(t, r->token, r->level, REF_AT_MOST);
		if (l > best)
			best = l;
	}
	return best;
}

unsigned
ref_must(int t, long by)
{
	return ref_must_but(t, by, NULL);
}

unsigned
ref_may(int t, long begun)
{
	return ref_may_but(t, begun, NULL);
}

/* ---- making ---- */

int
ref_token(const int *parents, int count, unsigned at)
{
	struct ref_token *t = &ref.token[ref.tokens];

	if (ref.tokens == REF_TOKENS)
		model_fail("reference: more than %d tokens", REF_TOKENS);
	memset(t, 0, sizeof *t);
	t->parents = count;
	memcpy(t->parent, parents, (size_t)count * sizeof *parents);
	t->at = at;
	t->until = NURSERY_NEVER;
	t->deadline = NURSERY_NEVER;
	t->birth = ref_begin();
	t->made = REF_NEVER;
	return ref.tokens++;
}

void
ref_token_shield(int t, int64_t until)
{
	ref.token[t].shielded = true;
	ref.token[t].until = until;
}

void
ref_token_born_with(int t, int64_t deadline)
{
	int r = ref_set_deadline(t, deadline);

	ref.token[t].deadline = deadline;
	ref.raise[r].ended_set = ref_begin();
}

/* It was born with what its parents had. */
void
ref_token_made(int id)
{
	struct ref_token *t = &ref.token[id];
	unsigned l;
	int i;

	t->made = ref_begin();
	for (i = 0; i < t->parents; i++) {
		l = through(t, ref_must(t->parent[i], t->birth), REF_AT_LEAST);
		if (l > t->seen)
			t->seen = l;
	}
	t->seen_at = t->made;
}

/* ---- reading ---- */

void
ref_saw(int t, unsigned level)
{
	struct ref_token *k = &ref.token[t];

	if (level <= k->seen)
		return;
	k->seen = level;
	k->seen_at = ref_begin();
}

void
ref_level(int t, long begun, enum nursery_level level)
{
	unsigned must = ref_must(t, begun), may = ref_may(t, begun);

	if (level < must || level > may)
		model_fail("token %d has the level %u, not %u to %u", t,
		    (unsigned)level, must, may);
	ref_saw(t, level);
}

/* The youngest token of several parents that t is or hears. */
static long
last_join(int t)
{
	const struct ref_token *k = &ref.token[t];
	long last = k->parents > 1 ? k->made : 0, l;
	int i;

	for (i = 0; i < k->parents; i++) {
		l = last_join(k->parent[i]);
		if (l > last)
			last = l;
	}
	return last;
}

/* Another one was there before r began, and t too, or where t comes from. */
static bool
comes_second(const struct ref_raise *r, int t, unsigned level)
{
	const struct ref_raise *o;
	long joined = last_join(t);

	for (o = ref.raise; o < ref.raise + ref.raises; o++)
		if (o != r && !o->maybe && o->end < r->begin && joined <
		    o->begin && ref_hears(t, o->token, o->level,
		    REF_AT_LEAST) >= level)
			return true;
	return false;
}

static int
causes(int t, long begun, unsigned level, int code, int *which)
{
	const struct ref_raise *r;
	int count = 0, i;

	for (i = 0; i < ref.raises; i++) {
		r = &ref.raise[i];
		if ((r->code != code && r->code != 0) || !possible(r, begun) ||
		    ref_hears(t, r->token, r->level, REF_CAUSE) < level ||
		    comes_second(r, t, level))
			continue;
		*which = i;
		count++;
	}
	return count;
}

int
ref_cause(int t, long begun, enum nursery_level level, int code)
{
	int *known = &ref.token[t].cause[level], which = REF_NONE, count;

	if (code == 0) {
		if (ref_must(t, begun) >= level)
			model_fail("token %d has no cause for level %u", t,
			    (unsigned)level);
		return REF_NONE;
	}
	count = causes(t, begun, level, code, &which);
	if (count == 0)
		model_fail("token %d has the cause %d for level %u, which no "
		    "raise explains", t, code, (unsigned)level);
	if (*known != 0 && *known != code)
		model_fail("token %d has the cause %d for level %u, and had "
		    "%d", t, code, (unsigned)level, *known);
	*known = code;
	ref_saw(t, level);
	if (count > 1 || ref.raise[which].code == 0)
		return REF_NONE;
	/* Whoever raised it has the level itself. */
	ref_saw(ref.raise[which].token, ref.raise[which].level);
	return which;
}

static int64_t
earliest(int id, bool *sure)
{
	const struct ref_token *t = &ref.token[id];
	int64_t best = t->deadline, d;
	int i;

	if (t->shielded && t->until != NURSERY_NEVER)
		*sure = false;
	if (t->shielded || t->at == NURSERY_ABORT)
		return best;
	for (i = 0; i < t->parents; i++) {
		d = earliest(t->parent[i], sure);
		if (d < best)
			best = d;
	}
	return best;
}

void
ref_deadline(int t, int64_t deadline)
{
	bool sure = ref.alone && ref_may(t, ref.time) < NURSERY_CANCEL;
	int64_t expected = earliest(t, &sure);

	if (sure && deadline != expected)
		model_fail("token %d has the deadline %lld, not %lld", t,
		    (long long)deadline, (long long)expected);
}

/* ---- raising ---- */

struct ref_raise *
ref_raise_new(int t, unsigned level, int code)
{
	struct ref_raise *r = &ref.raise[ref.raises];

	if (ref.raises == REF_RAISES)
		model_fail("reference: more than %d raises", REF_RAISES);
	memset(r, 0, sizeof *r);
	ref.raises++;
	r->token = t;
	r->level = level;
	r->code = code;
	r->begin = ref_begin();
	r->end = r->withdrawn = REF_NEVER;
	return r;
}

int
ref_raise(int t, enum nursery_level level, int code)
{
	return (int)(ref_raise_new(t, level, code) - ref.raise);
}

static void check_callbacks(long by);

void
ref_told(int raise)
{
	struct ref_raise *r = &ref.raise[raise];

	r->end = ref_begin();
	r->ended = model_now();
	check_callbacks(r->end);
}

static void
only_one(const struct ref_raise *r)
{
	const struct ref_raise *o;

	for (o = ref.raise; o < ref.raise + ref.raises; o++)
		if (o != r && o->token == r->token && o->level == r->level &&
		    o->won)
			model_fail("two raises of token %d to level %u have "
			    "done it", r->token, r->level);
}

void
ref_raised(int raise, bool result)
{
	struct ref_raise *r = &ref.raise[raise];
	unsigned before = ref_must_but(r->token, r->begin, r);

	if (result && before >= r->level)
		model_fail("token %d is raised to level %u and was at %u",
		    r->token, r->level, before);
	if (!result && ref_may_but(r->token, r->begin, r) < r->level)
		model_fail("token %d is not raised to level %u, and nobody "
		    "else has done it", r->token, r->level);
	if (result)
		only_one(r);
	r->won = result;
	ref_told(raise);
}

int
ref_set_deadline(int t, int64_t deadline)
{
	struct ref_raise *r = ref_raise_new(t, NURSERY_CANCEL, ETIMEDOUT);

	r->when = deadline;
	r->maybe = true;
	return (int)(r - ref.raise);
}

/* Those that were set before have not fired and will not. */
static void
withdraw_older(const struct ref_raise *r)
{
	struct ref_raise *o;

	for (o = ref.raise; o < ref.raise + ref.raises; o++)
		if (o != r && o->when != 0 && o->token == r->token &&
		    o->ended_set != 0 && o->ended_set < r->begin &&
		    o->withdrawn == REF_NEVER)
			o->withdrawn = r->ended_set;
}

void
ref_deadline_set(int raise, int rc)
{
	struct ref_raise *r = &ref.raise[raise];

	r->ended_set = ref_begin();
	if (rc == 0) {
		if (ref_must(r->token, r->begin) >= NURSERY_CANCEL)
			model_fail("token %d gets a deadline when it is "
			    "cancelled", r->token);
		ref.token[r->token].deadline = r->when;
		withdraw_older(r);
		return;
	}
	if (rc == ECANCELED && ref_may_but(r->token, r->begin, r) <
	    NURSERY_CANCEL)
		model_fail("token %d gets no deadline, and is not cancelled",
		    r->token);
	if (rc != ECANCELED)
		ref_excuse("set_deadline", rc);
	r->level = 0;
}

/* ENOMEM and EAGAIN want a reason. */
void
ref_excuse(const char *what, int rc)
{
	if ((rc != ENOMEM && rc != EAGAIN) || !model_refused())
		model_fail("%s returns %d without a reason", what, rc);
}

/* ---- waiting ---- */

struct ref_wait
ref_wait_begins(void)
{
	struct ref_wait w = { ref_begin(), model_now() };

	return w;
}

/* Some raise was over before the time of the deadline. */
static bool
was_raised_before(int t, unsigned level, int64_t deadline)
{
	const struct ref_raise *r;

	for (r = ref.raise; r < ref.raise + ref.raises; r++)
		if (r->end < ref.time && !r->maybe && r->ended < deadline &&
		    ref_hears(t, r->token, r->level, REF_AT_LEAST) >= level)
			return true;
	return false;
}

void
ref_waited(struct ref_wait w, int t, enum nursery_level level,
    int64_t deadline, int rc)
{
	int64_t now = model_now();

	(void)ref_begin();
	if (rc == 0) {
		if (ref_may(t, w.begun) < level)
			model_fail("a wait for level %u of token %d returns, "
			    "and nobody has raised it", (unsigned)level, t);
		ref_saw(t, level);
	} else if (rc == ETIMEDOUT) {
		if (now < deadline)
			model_fail("a wait for token %d ends before its "
			    "deadline", t);
		if (ref_must(t, w.begun) >= level)
			model_fail("a wait for token %d times out, and it "
			    "had the level before", t);
	} else {
		ref_excuse("wait", rc);
	}
	/* Time passes when nobody can run. */
	if (!model_hurried() && (rc == 0 || rc == ETIMEDOUT) && w.since <
	    deadline && now >= deadline && was_raised_before(t, level,
	    deadline))
		model_fail("a wait for token %d sleeps on until its deadline, "
		    "though level %u is there", t, (unsigned)level);
}

/* ---- callbacks ---- */

int
ref_callback(int t, enum nursery_level level)
{
	struct ref_callback *c = &ref.callback[ref.callbacks];

	if (ref.callbacks == REF_CALLBACKS)
		model_fail("reference: more than %d callbacks", REF_CALLBACKS);
	memset(c, 0, sizeof *c);
	c->token = t;
	c->level = level;
	c->begin = ref_begin();
	c->end = c->removed = REF_NEVER;
	return ref.callbacks++;
}

/* All raises that may have had it to run are over, and one there was.  Raises
 * that meet leave each other what they find: any from above may have it. */
static bool
must_have_run(const struct ref_callback *c, long by)
{
	const struct ref_raise *r;
	unsigned most, least;
	bool one = false;

	if (c->end > by)
		return false;
	for (r = ref.raise; r < ref.raise + ref.raises; r++) {
		if (!possible(r, by) || ref_hears(c->token, r->token,
		    NURSERY_ABORT, REF_CAUSE) == 0)
			continue;
		most = ref_hears(c->token, r->token, r->level, REF_AT_MOST);
		least = ref_hears(c->token, r->token, r->level, REF_AT_LEAST);
		/* A shield is ending: then it is the timer thread's. */
		if (r->end > by || least < most)
			return false;
		one |= !r->maybe && least >= (unsigned)c->level;
	}
	return one;
}

static void
check_callbacks(long by)
{
	const struct ref_callback *c;

	for (c = ref.callback; c < ref.callback + ref.callbacks; c++)
		if (!c->ran && !c->running && !c->refused &&
		    c->removed == REF_NEVER && c->removing == 0 &&
		    must_have_run(c, by))
			model_fail("callback %d has not run when the raise "
			    "returns", (int)(c - ref.callback));
}

void
ref_registered(int cb, int rc)
{
	struct ref_callback *c = &ref.callback[cb];

	c->end = ref_begin();
	if (rc != 0) {
		c->refused = true;
		ref_excuse("on_level", rc);
		return;
	}
	if (!c->ran && ref_must(c->token, c->begin) >= (unsigned)c->level)
		model_fail("callback %d has not run when it is registered, "
		    "and the level was there", cb);
}

bool
ref_callback_runs(int cb)
{
	struct ref_callback *c = &ref.callback[cb];

	if (c->ran || c->running)
		model_fail("callback %d runs twice", cb);
	if (c->removed != REF_NEVER)
		model_fail("callback %d runs and is removed", cb);
	if (ref_may(c->token, c->begin) < (unsigned)c->level)
		model_fail("callback %d runs and nobody has raised its token",
		    cb);
	c->running = true;
	(void)ref_begin();
	ref_saw(c->token, (unsigned)c->level);
	return c->end != REF_NEVER;
}

void
ref_callback_ran(int cb)
{
	ref.callback[cb].running = false;
	ref.callback[cb].ran = true;
	(void)ref_begin();
}

void
ref_level_below(int cb, long begun, int below, enum nursery_level level)
{
	const struct ref_callback *c = &ref.callback[cb];
	unsigned must = ref_hears(below, c->token, (unsigned)c->level,
	    REF_AT_LEAST);

	if (level < must)
		model_fail("token %d is at level %u when callback %d runs, "
		    "not at %u", below, (unsigned)level, cb, must);
	ref_level(below, begun, level);
}

long
ref_removing(int cb)
{
	return ref.callback[cb].removing = ref_begin();
}

void
ref_removed(int cb, long begun, int rc)
{
	struct ref_callback *c = &ref.callback[cb];

	(void)ref_begin();
	if (rc == EBUSY) {
		c->removing = 0;
		/* It may have ended since. */
		if (!c->running && !c->ran)
			model_fail("callback %d is busy and has not begun",
			    cb);
		return;
	}
	if (!c->ran && !c->running && must_have_run(c, begun))
		model_fail("callback %d is removed and should have run", cb);
	c->removed = ref.time;
}

void
ref_end(void)
{
	ref_scope_end();
	ref_channel_end();
}
