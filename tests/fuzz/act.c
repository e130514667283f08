/* SPDX-License-Identifier: MIT */
/*
 * The calls about tokens and the channel, as an actor makes them: each takes
 * what it needs from what the actor has, tells the reference before and after,
 * and does nothing that would be misuse.
 */
#include "config.h"

#include "fuzz.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void
say(const struct actor *a, const char *format, ...)
{
	char text[160];
	va_list ap;

	if (!fuzz_prints)
		return;
	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (eng->tracing)
		model_note("%s: %s", a == NULL ? "machine" : a->name, text);
	else
		printf("  %-9s %s\n", a == NULL ? "" : a->name, text);
}

int
next_code(void)
{
	static int code = 1000;

	return code++;
}

static int64_t latest;

int64_t
in_time(int64_t ns)
{
	int64_t when = nursery_after(ns);

	if (when > latest)
		latest = when;
	return when;
}

/* Who is not woken may be found when a thread of the library has idled long
 * enough: then time has passed that nobody has asked for. */
void
check_time(void)
{
	if (model_now() > latest && latest != 0 && !model_hurried() &&
	    !model_refused())
		model_fail("%lld ns have passed for which nobody waited",
		    (long long)(model_now() - latest));
}

/* ---- what happens before what ---- */

void
mark_write(const uint64_t *mark)
{
	eng_access(mark, sizeof *mark, ACCESS_WRITE, CALLER);
}

void
mark_read(const uint64_t *mark)
{
	eng_access(mark, sizeof *mark, ACCESS_READ, CALLER);
}

static uint64_t raise_marks[128];

void
raise_mark(int raise)
{
	mark_write(&raise_marks[raise & 127]);
}

void
raise_seen(int raise)
{
	if (raise != REF_NONE)
		mark_read(&raise_marks[raise & 127]);
}

/* ---- what an actor has ---- */

void
actor_init(struct actor *a, int task)
{
	int i;

	memset(a, 0, sizeof *a);
	a->task = task;
	a->token_id = REF_NONE;
	a->in.id = REF_NONE;
	for (i = 0; i < HOOKS; i++)
		a->hook[i].id = REF_NONE;
	if (task != REF_NONE)
		(void)snprintf(a->name, sizeof a->name, "task %d", task);
}

static struct shared *
shared_number(unsigned i)
{
	return i < SHARED && nur_load_acquire(&shared[i].n) != NULL ?
	    &shared[i] : NULL;
}

struct pick
pick_token(struct actor *a, unsigned arg)
{
	unsigned own = a->token != NULL, all = (unsigned)a->helds + own +
	    SHARED + (unsigned)a->opens, i = all == 0 ? 0 : arg % all;
	struct pick p = { NULL, REF_NONE };
	const struct shared *s;

	if (i < (unsigned)a->helds)
		return (struct pick){ a->held[i].t, a->held[i].id };
	i -= (unsigned)a->helds;
	if (i < own)
		return (struct pick){ a->token, a->token_id };
	i -= own;
	if (i < (unsigned)a->opens)
		return (struct pick){ nursery_token_of(a->open[i].n),
		    ref_nursery_token(a->open[i].id) };
	s = shared_number(i - (unsigned)a->opens);
	if (s != NULL)
		return (struct pick){ s->t, ref_nursery_token(s->id) };
	if (a->helds > 0)
		return (struct pick){ a->held[0].t, a->held[0].id };
	return p;
}

static struct held *
pick_held(struct actor *a, unsigned arg)
{
	return a->helds == 0 ? NULL : &a->held[arg % (unsigned)a->helds];
}

void
hold(struct actor *a, struct nursery_token *t, int id)
{
	a->held[a->helds++] = (struct held){ t, id, 0 };
}

static enum nursery_level
level_of(unsigned arg)
{
	return (enum nursery_level)(NURSERY_DRAIN + arg % 3);
}

/* ---- making and releasing ---- */

static void
made(struct actor *a, struct nursery_token *t, int id, int rc, const char *how)
{
	say(a, "%s = %d: token %d", how, rc, id);
	if (rc != 0) {
		if (rc != ENOMEM && rc != EAGAIN)
			model_fail("%s returns %d", how, rc);
		return;
	}
	ref_token_made(id);
	hold(a, t, id);
}

static bool
token_new(struct actor *a, unsigned arg)
{
	struct pick p = { NULL, REF_NONE };
	struct nursery_token *t = NULL;
	int id, rc;

	if (a->helds == HELD)
		return false;
	if (arg % 5 != 0)
		p = pick_token(a, arg / 5);
	id = ref_token(&p.id, p.t != NULL, 0);
	rc = nursery_token_new(&t, p.t);
	made(a, t, id, rc, p.t == NULL ? "token_new root" : "token_new");
	return true;
}

static bool
token_any(struct actor *a, unsigned arg)
{
	struct nursery_token *parent[2], *t = NULL;
	struct pick p[2];
	int ids[2], id, rc, i;

	p[0] = pick_token(a, arg & 15);
	p[1] = pick_token(a, arg >> 4);
	if (a->helds == HELD || p[0].t == NULL || p[1].t == NULL)
		return false;
	for (i = 0; i < 2; i++) {
		parent[i] = p[i].t;
		ids[i] = p[i].id;
	}
	id = ref_token(ids, 2, 0);
	rc = nursery_token_new_any(&t, parent, 2);
	say(a, "below %d and %d", ids[0], ids[1]);
	made(a, t, id, rc, "token_new_any");
	return true;
}

static bool
token_at(struct actor *a, unsigned arg)
{
	struct pick p = pick_token(a, arg / 3);
	enum nursery_level level = level_of(arg);
	struct nursery_token *t = NULL;
	int id, rc;

	if (a->helds == HELD || p.t == NULL)
		return false;
	id = ref_token(&p.id, 1, level);
	rc = nursery_token_new_at(&t, p.t, level);
	say(a, "below %d, at %d", p.id, (int)level);
	made(a, t, id, rc, "token_new_at");
	return true;
}

static bool
token_shielded(struct actor *a, unsigned arg)
{
	struct pick p = pick_token(a, arg / 2);
	int64_t until = arg % 2 == 0 ? NURSERY_NEVER : in_time(SHORT);
	struct nursery_token *t = NULL;
	int id, rc;

	if (a->helds == HELD || p.t == NULL)
		return false;
	id = ref_token(&p.id, 1, 0);
	ref_token_shield(id, until);
	rc = nursery_token_new_shielded(&t, p.t, until);
	say(a, "below %d, %s", p.id, arg % 2 == 0 ? "for ever" : "a while");
	made(a, t, id, rc, "token_new_shielded");
	return true;
}

static void
forget(struct actor *a, const struct held *h)
{
	int i = (int)(h - a->held), k;

	a->held[i] = a->held[--a->helds];
	/* Callbacks point to what has moved. */
	for (k = 0; k < HOOKS; k++) {
		if (a->hook[k].token == &a->held[a->helds])
			a->hook[k].token = &a->held[i];
		if (a->hook[k].other == &a->held[a->helds])
			a->hook[k].other = &a->held[i];
	}
}

static bool
token_unref(struct actor *a, unsigned arg)
{
	struct held *h = pick_held(a, arg);
	struct nursery_token *t;

	if (h == NULL || h->pins > 0)
		return false;
	say(a, "unref token %d", h->id);
	t = h->t;
	forget(a, h);
	nursery_token_unref(t);
	return true;
}

/* ---- raising and reading ---- */

/* Whatever stands below what was just raised shows it. */
void
look_around(struct actor *a)
{
	long begun;
	int i, id;

	for (i = 0; i < a->helds; i++) {
		id = a->held[i].id;
		begun = ref_begin();
		ref_level(id, begun, nursery_token_level(a->held[i].t));
	}
	if (a->token == NULL)
		return;
	begun = ref_begin();
	ref_level(a->token_id, begun, nursery_token_level(a->token));
}

static void
raise_token(struct actor *a, struct pick p, enum nursery_level level, bool how)
{
	int code = how ? next_code() : ECANCELED, r;
	bool result;

	r = ref_raise(p.id, level, code);
	raise_mark(r);
	if (!how && level == NURSERY_CANCEL)
		result = nursery_token_cancel(p.t);
	else
		result = nursery_token_raise(p.t, level, code, NULL);
	say(a, "raise token %d to %d, %d: %d", p.id, (int)level, code, result);
	ref_raised(r, result);
	look_around(a);
}

static bool
token_raise(struct actor *a, enum call what, unsigned arg)
{
	struct pick p = pick_token(a, arg / 3);

	if (p.t == NULL)
		return false;
	raise_token(a, p, what == TOKEN_CANCEL ? NURSERY_CANCEL :
	    level_of(arg), what == TOKEN_RAISE);
	return true;
}

static bool
token_deadline(struct actor *a, unsigned arg)
{
	struct pick p = pick_token(a, arg / 4);
	int64_t when = arg % 4 == 0 ? NURSERY_NEVER : arg % 4 == 1 ?
	    nursery_now() - 1 : in_time((arg % 4 == 2 ? 1 : 3) * SHORT);
	int r, rc;

	if (p.t == NULL)
		return false;
	r = ref_set_deadline(p.id, when);
	rc = nursery_token_set_deadline(p.t, when);
	say(a, "set_deadline of %d, kind %u = %d", p.id, arg % 4, rc);
	ref_deadline_set(r, rc);
	return true;
}

static enum nursery_level
compare(struct pick p)
{
	enum nursery_level level, l;
	long begun = ref_begin();
	int code;

	level = nursery_token_level(p.t);
	ref_level(p.id, begun, level);
	for (l = NURSERY_DRAIN; l <= NURSERY_ABORT; l++) {
		begun = ref_begin();
		code = nursery_token_cause(p.t, l, NULL);
		raise_seen(ref_cause(p.id, begun, l, code));
	}
	return level;
}

void
read_token(struct actor *a, struct pick p)
{
	enum nursery_level level = compare(p);

	say(a, "token %d is at %d", p.id, (int)level);
}

/* All that can be asked, after each step. */
static void
compare_all(struct actor *a)
{
	struct pick p;
	int i;

	for (i = 0; i < a->helds; i++) {
		p = (struct pick){ a->held[i].t, a->held[i].id };
		(void)compare(p);
		ref_deadline(p.id, nursery_token_deadline(p.t));
	}
}

static bool
token_read(struct actor *a, unsigned arg)
{
	struct pick p = pick_token(a, arg);

	if (p.t == NULL)
		return false;
	read_token(a, p);
	ref_deadline(p.id, nursery_token_deadline(p.t));
	return true;
}

static bool
token_wait(struct actor *a, unsigned arg)
{
	int64_t deadline = in_time(arg % 2 == 0 ? LONG : arg % 4 == 1 ?
	    SHORT : -1);
	enum nursery_level level = arg / 4 % 4 == 0 ? level_of(arg / 16) :
	    NURSERY_CANCEL;
	struct pick p = pick_token(a, arg / 4);
	struct ref_wait w;
	int rc;

	if (p.t == NULL)
		return false;
	w = ref_wait_begins();
	rc = nursery_token_wait_level(p.t, level, deadline);
	say(a, "wait for token %d at %d = %d", p.id, (int)level, rc);
	ref_waited(w, p.id, level, deadline, rc);
	if (rc == 0)
		read_token(a, p);
	return true;
}

/* ---- callbacks ---- */

static void
remove_hook(struct actor *a, struct hook *h, bool try)
{
	long begun = ref_removing(h->id);
	int rc = 0;

	if (try)
		rc = nursery_callback_try_remove(&h->cb);
	else
		nursery_callback_remove(&h->cb);
	say(a, "remove callback %d = %d", h->id, rc);
	ref_removed(h->id, begun, rc);
	if (rc != 0)
		return;
	mark_write(&h->mark);
	h->token->pins--;
	h->other->pins--;
	h->id = REF_NONE;
}

static void
called(void *arg)
{
	static struct actor as;
	struct hook *h = arg;
	struct pick token = { h->token->t, h->token->id };
	struct pick other = { h->other->t, h->other->id };
	bool raised = ref_callback_runs(h->id);
	int id = h->id;
	long begun;

	if (model_locks_held() != 0)
		model_fail("callback %d runs with a lock held", id);
	(void)snprintf(as.name, sizeof as.name, "callb. %d", id);
	say(&as, "runs");
	mark_write(&h->mark);
	begun = ref_begin();
	if (raised)
		ref_level_below(id, begun, other.id,
		    nursery_token_level(other.t));
	else
		ref_level(other.id, begun, nursery_token_level(other.t));
	switch (h->what) {
	case 1:
		raise_token(&as, other, NURSERY_CANCEL, true);
		break;
	case 2:
		raise_token(&as, token, NURSERY_ABORT, true);
		break;
	default:
		read_token(&as, token);
	}
	ref_callback_ran(id);
}

static bool
callback_add(struct actor *a, unsigned arg)
{
	struct hook *h = &a->hook[arg % HOOKS];
	int rc;

	if (a->helds == 0 || h->id != REF_NONE)
		return false;
	h->token = pick_held(a, arg / 2);
	h->other = pick_held(a, arg / 8);
	h->what = arg / 32 % 4;
	h->id = ref_callback(h->token->id, level_of(arg / 64));
	h->token->pins++;
	h->other->pins++;
	rc = nursery_token_on_level(h->token->t, level_of(arg / 64), &h->cb,
	    called, h);
	say(a, "on_level of %d, at %d = %d: callback %d", h->token->id,
	    (int)level_of(arg / 64), rc, h->id);
	ref_registered(h->id, rc);
	if (rc == 0)
		return true;
	h->token->pins--;
	h->other->pins--;
	h->id = REF_NONE;
	return true;
}

static bool
callback_remove(struct actor *a, enum call what, unsigned arg)
{
	struct hook *h = &a->hook[arg % HOOKS];

	if (h->id == REF_NONE)
		return false;
	remove_hook(a, h, what == CALLBACK_TRY);
	return true;
}

/* ---- the channel ---- */

static bool
channel_act(struct actor *a, enum call what, unsigned arg)
{
	int64_t deadline = in_time(arg % 3 == 0 ? LONG : arg % 3 == 1 ?
	    SHORT : -1);
	struct pick p = { NULL, REF_NONE };
	struct ref_wait w;
	int item, rc;

	if (arg & 128)
		p = pick_token(a, arg / 3 & 15);
	if (what == CHANNEL_CLOSE) {
		ref_channel_closing();
		nursery_channel_close(channel);
		ref_channel_closed();
		say(a, "close the channel");
	} else if (what == CHANNEL_SEND) {
		item = ref_send();
		rc = nursery_channel_send(p.t, channel, &item, deadline);
		say(a, "send item %d = %d", item, rc);
		ref_sent(item, rc, p.id, deadline);
	} else {
		w = ref_receive();
		rc = nursery_channel_recv(p.t, channel, &item, deadline);
		say(a, "receive = %d: item %d", rc, rc == 0 ? item : REF_NONE);
		ref_received(w, rc, item, p.id, deadline);
	}
	return true;
}

/* ---- all ---- */

static bool
act_return(struct actor *a, unsigned arg)
{
	a->returned = true;
	if (a->task == REF_NONE)
		return false;
	switch (arg % 4) {
	case 0:
		a->result = 0;
		break;
	case 1:
		a->result = ECANCELED;
		break;
	default:
		a->result = next_code();
	}
	return true;
}

static bool
act_token(struct actor *a, enum call what, unsigned arg)
{
	switch (what) {
	case TOKEN_NEW:
		return token_new(a, arg);
	case TOKEN_ANY:
		return token_any(a, arg);
	case TOKEN_AT:
		return token_at(a, arg);
	case TOKEN_SHIELDED:
		return token_shielded(a, arg);
	case TOKEN_UNREF:
		return token_unref(a, arg);
	case TOKEN_CANCEL:
	case TOKEN_RAISE:
		return token_raise(a, what, arg);
	case TOKEN_DEADLINE:
		return token_deadline(a, arg);
	case TOKEN_READ:
		return token_read(a, arg);
	default:
		return token_wait(a, arg);
	}
}

static bool
act(struct actor *a, enum call what, unsigned arg)
{
	if (what <= TOKEN_WAIT)
		return act_token(a, what, arg);
	if (what == CALLBACK_ADD)
		return callback_add(a, arg);
	if (what <= CALLBACK_TRY)
		return callback_remove(a, what, arg);
	if (what <= NURSERY_UNDER)
		return act_open(a, what, arg);
	if (what <= NURSERY_WAITS)
		return act_nursery(a, what, arg);
	if (what <= SPAWN_HANDLE)
		return act_spawn(a, what, arg);
	if (what <= TASK_CANCEL)
		return act_task(a, what, arg);
	if (what == RETURN)
		return act_return(a, arg);
	return channel_act(a, what, arg);
}

/* What makes the thing that such a call needs. */
static enum call
needs(enum call what)
{
	if (what <= TOKEN_WAIT || what == CALLBACK_ADD)
		return TOKEN_NEW;
	if (what <= CALLBACK_TRY)
		return CALLBACK_ADD;
	if (what == TASK_JOIN || what == TASK_CANCEL)
		return SPAWN_HANDLE;
	return NURSERY_OPEN;
}

/* A call for which there is nothing is one that makes it. */
static void
act_or_prepare(struct actor *a, const struct call_at *c)
{
	enum call what = (enum call)c->kind, next;

	while (!act(a, what, c->arg)) {
		next = needs(what);
		if (next == what)
			return;
		what = next;
	}
	fuzz_made[what]++;
}

void
actor_run(struct actor *a, const struct call_at *calls, int count)
{
	int i;

	for (i = 0; i < count && !a->returned && !is_full(); i++) {
		act_or_prepare(a, &calls[i]);
		if (ref_is_alone())
			compare_all(a);
	}
}

void
actor_end(struct actor *a)
{
	int i;

	for (i = 0; i < HOOKS; i++)
		if (a->hook[i].id != REF_NONE)
			remove_hook(a, &a->hook[i], false);
	while (a->opens > 0)
		close_newest(a, false);
	drop_handles(a);
	while (a->helds > 0)
		(void)token_unref(a, 0);
}
