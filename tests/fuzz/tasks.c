/* SPDX-License-Identifier: MIT */
/*
 * The calls about nurseries and tasks.
 *
 * Nobody waits for ever for what may not come: a wait for a token has a
 * deadline, a task spawns with one into a nursery that is not its own and
 * waits for other tasks with one, and each actor closes its nurseries newest
 * first.  So a run that stands still is the library's fault.
 */
#include "config.h"

#include "fuzz.h"

#include <errno.h>
#include <stdio.h>

/* What a task gets. */
struct job {
	int task, script;
	struct opened in;
	int token;		/* its own; REF_NONE: the nursery's */
	struct pick given;	/* a reference, or NULL */
	bool ended;
	uint64_t mark;
};
static struct job jobs[JOBS];
static int job_count;

/* ---- opening ---- */

static void
done(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	int id = (int)(intptr_t)ctx, raise;

	if (model_locks_held() != 0)
		model_fail("on_done is called with a lock held");
	ref_task_done(id, true);
	eng_point();
	/* Every third one cancels them all. */
	if (r->task % 3 == 0) {
		raise = ref_raise(ref_nursery_token(id), NURSERY_CANCEL,
		    ECANCELED);
		raise_mark(raise);
		nursery_cancel(n);
		ref_told(raise);
	}
	ref_task_done(id, false);
}

static void
publish(const struct opened *o)
{
	int i;

	for (i = 0; i < SHARED && shared[i].id != REF_NONE; i++)
		;
	if (i == SHARED)
		return;
	shared[i].id = o->id;
	shared[i].t = nursery_token_ref(nursery_token_of(o->n));
	nur_store_release(&shared[i].n, nursery_ref(o->n));
}

static struct opened
pick_nursery(const struct actor *a, unsigned arg)
{
	struct opened none = { NULL, REF_NONE };
	unsigned i = arg % 6;
	struct nursery *n;

	if (i < 2 && a->opens > 0)
		return a->open[a->opens - 1];
	if (i < 4 && a->in.n != NULL)
		return a->in;
	n = nur_load_acquire(&shared[i % SHARED].n);
	if (n != NULL)
		return (struct opened){ n, shared[i % SHARED].id };
	if (a->opens > 0)
		return a->open[arg / 6 % (unsigned)a->opens];
	return a->in.n != NULL ? a->in : none;
}

static const struct ref_limits limits[] = {
	{ 0, 0 }, { 0, 0 }, { 1, 0 }, { 1, 1 }, { 2, 1 }
};

static void
set_attr(struct nursery_attr *attr, struct ref_opening *o, unsigned arg)
{
	o->policy = arg / 2 % 4 % 3;
	o->limits = limits[arg / 8 % 5];
	o->tells = arg / 40 % 4 == 1;
	attr->lane = arg % 2 == 0 ? NURSERY_BLOCKING : NURSERY_COMPUTE;
	attr->policy = o->policy;
	attr->max_running = o->limits.running;
	attr->max_queued = o->limits.queued;
	if (arg / 40 % 4 == 2) {
		attr->deadline = in_time(2 * SHORT);
		o->has_deadline = true;
	}
	if (arg / 40 % 4 == 3) {
		attr->flags = NURSERY_SHIELD;
		attr->shield_until = in_time(SHORT);
	}
}

static int
open_as(struct nursery **n, enum call how, const struct opened *parent,
    const struct pick *under, const struct nursery_attr *attr)
{
	if (parent->n != NULL)
		return nursery_open_child(n, parent->n, attr);
	if (how == NURSERY_UNDER)
		return nursery_open_under(n, under->t, attr);
	return nursery_open(n, attr);
}

bool
act_open(struct actor *a, enum call how, unsigned arg)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	struct ref_opening o = { 0 };
	struct opened parent = { NULL, REF_NONE }, *new;
	struct pick under = { NULL, REF_NONE };
	bool plain;
	int rc, above;

	if (a->opens == OPENED)
		return false;
	if (how == NURSERY_UNDER)
		under = pick_token(a, arg);
	if (how == NURSERY_INSIDE)
		parent = pick_nursery(a, arg);
	if (how == NURSERY_UNDER && under.t == NULL)
		how = NURSERY_OPEN;
	/* Without attributes one that a task opens may be private. */
	plain = how == NURSERY_INSIDE && arg / 6 % 4 != 0;
	if (!plain)
		set_attr(&attr, &o, arg);
	o.parent = parent.id;
	o.opener = a->task;
	above = parent.n != NULL ? ref_nursery_token(parent.id) : under.id;
	/* What a shield stands against. */
	if (above == REF_NONE && attr.flags != 0)
		attr.flags = 0, attr.shield_until = 0;
	o.token = ref_token(&above, above != REF_NONE, 0);
	if (attr.flags != 0)
		ref_token_shield(o.token, attr.shield_until);
	if (o.has_deadline)
		ref_token_born_with(o.token, attr.deadline);
	new = &a->open[a->opens];
	new->id = ref_nursery(&o);
	attr.on_done = o.tells ? done : NULL;
	attr.ctx = (void *)(intptr_t)new->id;
	rc = open_as(&new->n, how, &parent, &under, plain ? NULL : &attr);
	say(a, "%s %d, lane %d, policy %d, %u+%u = %d: nursery %d, token %d",
	    call_name[how], parent.n != NULL ? parent.id : under.id, attr.lane,
	    o.policy, o.limits.running, o.limits.queued, rc, new->id,
	    o.token);
	ref_opened(new->id, rc);
	if (rc != 0)
		return true;
	a->opens++;
	/* Not a task's: whose close would wait for others inside. */
	if (a->task == REF_NONE && arg / 160 == 0)
		publish(new);
	return true;
}

/* ---- closing ---- */

static void
see_tasks(int nursery)
{
	int i;

	for (i = 0; i < job_count; i++)
		if (jobs[i].ended && jobs[i].in.id == nursery)
			mark_read(&jobs[i].mark);
}

static void
read_report(struct ref_report *to, struct nursery_report *r)
{
	struct nursery_result first = NURSERY_RESULT_INIT;

	to->counts = (struct nursery_counts)NURSERY_COUNTS_INIT;
	if (nursery_report_counts(r, &to->counts) != 0)
		model_fail("a report without counts");
	to->first = nursery_report_failure(r, 0, &first) == 0 ? first.code :
	    0;
	nursery_report_free(r);
}

void
close_newest(struct actor *a, bool report)
{
	struct opened *o = &a->open[a->opens - 1];
	struct nursery_report *r = NULL;
	struct ref_report is;
	int rc;

	ref_closing(o->id);
	say(a, "close nursery %d ...", o->id);
	rc = report ? nursery_close_with(&o->n, &r) : nursery_close(&o->n);
	if (o->n != NULL && report && rc == ENOMEM)
		rc = nursery_close(&o->n);
	if (o->n != NULL)
		model_fail("nursery %d does not close: %d", o->id, rc);
	say(a, "... closed: %d", rc);
	see_tasks(o->id);
	if (r != NULL)
		read_report(&is, r);
	ref_closed(o->id, rc, r == NULL ? NULL : &is);
	a->opens--;
}

static void
tell(struct actor *a, const struct opened *o, bool cancel)
{
	int r = ref_raise(ref_nursery_token(o->id), cancel ? NURSERY_CANCEL :
	    NURSERY_DRAIN, ECANCELED);

	raise_mark(r);
	if (cancel)
		nursery_cancel(o->n);
	else
		nursery_drain(o->n);
	say(a, "%s nursery %d", cancel ? "cancel" : "drain", o->id);
	ref_told(r);
	look_around(a);
}

static bool
wait_for(struct actor *a, const struct opened *o, unsigned arg)
{
	int64_t deadline = in_time(arg / 6 % 2 == 0 ? LONG : SHORT);
	struct ref_wait w;
	int rc;

	if (a->task != REF_NONE)
		return false;
	w = ref_wait_begins();
	rc = nursery_wait(o->n, deadline);
	say(a, "wait for nursery %d = %d", o->id, rc);
	ref_nursery_waited(w, o->id, deadline, rc);
	return true;
}

bool
act_nursery(struct actor *a, enum call what, unsigned arg)
{
	struct opened o;

	if (what == NURSERY_CLOSE || what == NURSERY_REPORT) {
		if (a->opens == 0)
			return false;
		close_newest(a, what == NURSERY_REPORT);
		return true;
	}
	o = pick_nursery(a, arg);
	if (o.n == NULL)
		return false;
	if (what == NURSERY_WAITS)
		return wait_for(a, &o, arg);
	tell(a, &o, what == NURSERY_CANCELS);
	return true;
}

/* ---- tasks ---- */

static int
run_job(struct nursery_token *token, struct job *j)
{
	struct actor a;

	ref_task_begins(j->task);
	mark_read(&j->mark);
	actor_init(&a, j->task);
	a.token = token;
	a.token_id = j->token != REF_NONE ? j->token :
	    ref_nursery_token(j->in.id);
	a.in.n = nursery_current();
	a.in.id = j->in.id;
	say(&a, "begins, script %d, in nursery %d, with token %d", j->script,
	    j->in.id, a.token_id);
	if (j->given.t != NULL)
		hold(&a, j->given.t, j->given.id);
	actor_run(&a, program.call[j->script], program.count[j->script]);
	actor_end(&a);
	say(&a, "ends: %d", a.result);
	mark_write(&j->mark);
	j->ended = true;
	ref_task_ends(j->task, a.result);
	return a.result;
}

static int
task(struct nursery_token *token, void *arg)
{
	return run_job(token, arg);
}

/* The copy says whose it is, and is whole. */
struct copy {
	struct job *job;
	unsigned char rest[56];
};

static int
task_of_copy(struct nursery_token *token, void *arg)
{
	const struct copy *c = arg;
	size_t i;

	for (i = 0; i < sizeof c->rest; i++)
		if (c->rest[i] != (unsigned char)(i ^ 85))
			model_fail("byte %zu of a copy is another", i);
	return run_job(token, c->job);
}

static int
spawn_copy(struct nursery *n, struct job *j)
{
	struct copy c = { j, { 0 } };
	size_t i;

	for (i = 0; i < sizeof c.rest; i++)
		c.rest[i] = (unsigned char)(i ^ 85);
	return nursery_spawn_copy(n, task_of_copy, &c, sizeof c);
}

static void
discard(void *arg)
{
	struct job *j = arg;

	if (model_locks_held() != 0)
		model_fail("discard is called with a lock held");
	ref_task_discarded(j->task);
	say(NULL, "task %d is discarded", j->task);
	if (j->given.t != NULL)
		nursery_token_unref(j->given.t);
}

/* Flags, deadline and token of a task with attributes. */
static void
set_task_attr(struct nursery_task_attr *attr, struct ref_spawn *s,
    unsigned arg)
{
	static const unsigned kinds[] = {
		0, 0, NURSERY_TASK_FINAL, NURSERY_TASK_SERVICE,
		NURSERY_TASK_MAY_INLINE, NURSERY_TASK_IN_DRAIN,
		NURSERY_TASK_ENDS_ON_DRAIN, 0
	};
	unsigned flags = kinds[arg % 8];
	int above = ref_nursery_token(s->nursery);

	s->flags = attr->flags = flags;
	s->discards = true;
	attr->discard = discard;
	attr->lane = arg / 8 % 4 % 3;
	s->token = ref_token(&above, 1, flags == NURSERY_TASK_ENDS_ON_DRAIN ?
	    NURSERY_DRAIN : 0);
	if (flags == NURSERY_TASK_FINAL || arg % 8 == 7)
		attr->deadline = in_time(2 * SHORT);
	if (flags == NURSERY_TASK_FINAL)
		ref_token_shield(s->token, attr->deadline);
	if (flags == NURSERY_TASK_SERVICE)
		ref_token_shield(s->token, NURSERY_NEVER);
	if (attr->deadline != 0)
		ref_token_born_with(s->token, attr->deadline);
	ref_token_made(s->token);
}

static int
spawn_with(struct actor *a, struct job *j, struct ref_spawn *s, bool handle,
    unsigned arg)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	struct nursery_task *t = NULL;
	int rc;

	set_task_attr(&attr, s, arg);
	/* A task into another's nursery: not for ever. */
	if (arg & 128 || (a->task != REF_NONE && s->nursery != a->in.id))
		attr.spawn_by = in_time(arg & 64 ? SHORT : LONG);
	s->by = attr.spawn_by != 0 ? attr.spawn_by : s->flags ==
	    NURSERY_TASK_FINAL ? attr.deadline : 0;
	j->token = s->token;
	if (a->helds > 0 && (arg & 32) != 0) {
		j->given = (struct pick){ nursery_token_ref(a->held[0].t),
		    a->held[0].id };
	}
	mark_write(&j->mark);
	j->task = ref_spawn(s);
	rc = nursery_spawn_with(j->in.n, &attr, task, j, handle ? &t : NULL);
	if (rc != 0 && j->given.t != NULL)
		nursery_token_unref(j->given.t);
	if (rc == 0 && handle)
		a->handle[a->handles++] = (struct handle){ t, j };
	return rc;
}

static int
spawn_plain(struct job *j, struct ref_spawn *s, enum call how)
{
	mark_write(&j->mark);
	j->task = ref_spawn(s);
	if (how == SPAWN_COPY)
		return spawn_copy(j->in.n, j);
	if (how == SPAWN_TRY)
		return nursery_try_spawn(j->in.n, task, j);
	return nursery_spawn(j->in.n, task, j);
}

bool
act_spawn(struct actor *a, enum call how, unsigned arg)
{
	struct ref_spawn s = { .token = REF_NONE, .caller = a->task };
	struct opened in = pick_nursery(a, arg / 5);
	struct job *j = &jobs[job_count];
	int rc;

	if (in.n == NULL || job_count == JOBS ||
	    eng->threads >= MODEL_THREADS - 4 ||
	    (how == SPAWN_HANDLE && a->handles == HANDLES))
		return false;
	j->in = in;
	s.nursery = in.id;
	/* A copy has no try: one that may have to wait has a deadline. */
	if (a->task != REF_NONE && j->in.id != a->in.id && (how == SPAWN ||
	    how == SPAWN_COPY))
		how = SPAWN_TRY;
	s.tries = how == SPAWN_TRY;
	job_count++;
	ref_alone(false);
	j->script = THREADS + (int)(arg % 5);
	j->token = REF_NONE;
	ref_task_pauses(a->task, true);
	if (how == SPAWN_WITH || how == SPAWN_HANDLE)
		rc = spawn_with(a, j, &s, how == SPAWN_HANDLE, arg);
	else
		rc = spawn_plain(j, &s, how);
	ref_task_pauses(a->task, false);
	say(a, "%s into nursery %d, flags %u = %d: task %d", call_name[how],
	    j->in.id, s.flags, rc, j->task);
	ref_spawned(j->task, rc);
	return true;
}

/* ---- handles ---- */

static void
drop_handle(struct actor *a, const struct handle *h)
{
	a->handle[h - a->handle] = a->handle[--a->handles];
}

static void
join(struct actor *a, struct handle *h, unsigned arg)
{
	int64_t deadline = NURSERY_NEVER;
	const struct job *job = h->job;
	int rc, result = 0, task = job->task;
	bool joins = a->task == REF_NONE && arg % 2 == 0;

	ref_task_pauses(a->task, true);
	if (joins) {
		rc = nursery_task_join(&h->t, &result);
	} else {
		deadline = in_time(arg % 4 == 1 ? LONG : SHORT);
		rc = nursery_task_wait(h->t, deadline);
	}
	ref_task_pauses(a->task, false);
	say(a, "%s task %d = %d: %d", joins ? "join" : "wait for", task, rc,
	    result);
	ref_task_joined(task, a->task, rc, joins ? &result : NULL, deadline);
	if (rc == 0)
		mark_read(&job->mark);
	if (rc == 0 && joins)
		drop_handle(a, h);
}

bool
act_task(struct actor *a, enum call what, unsigned arg)
{
	struct handle *h;
	bool done;
	int r;

	if (a->handles == 0)
		return false;
	h = &a->handle[arg / 4 % (unsigned)a->handles];
	if (what == TASK_JOIN) {
		join(a, h, arg);
		return true;
	}
	r = ref_raise(h->job->token, NURSERY_CANCEL, ECANCELED);
	raise_mark(r);
	done = nursery_task_cancel(h->t);
	say(a, "cancel task %d: %d", h->job->task, done);
	ref_task_cancelled(h->job->task, r, done);
	return true;
}

void
drop_handles(struct actor *a)
{
	while (a->handles > 0)
		nursery_task_unref(a->handle[--a->handles].t);
}
