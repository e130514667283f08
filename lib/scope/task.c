/* SPDX-License-Identifier: MIT */
/* The life of a task: its birth, its run, its end. */
#include "config.h"

#include "scope/nursery.h"

#include "base/check.h"
#include "base/sys.h"
#include "base/task_id.h"
#include "scope/nest.h"
#include "scope/light.h"
#include "sched/pool.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define IDS_AT_ONCE	256
#define ENDED_BY_EXIT	ENOTRECOVERABLE	/* a task called pthread_exit */

static struct nur_slab task_slab = NUR_SLAB_INIT("task", NUR_SLAB_TASK,
    sizeof(struct nursery_task), 0);
static uint64_t ids_given;	/* atomic */

/* ---- who ---- */

uint64_t
nur_task_more_ids(struct nur_thr *self)
{
	/* Relaxed, twice: only uniqueness counts. */
	if (self == NULL)
		return nur_fetch_add_relaxed(&ids_given, 1) + 1;
	self->next_id = nur_fetch_add_relaxed(&ids_given, IDS_AT_ONCE);
	self->last_id = self->next_id + IDS_AT_ONCE;
	return ++self->next_id;
}

struct nursery_task *
nur_task_current(void)
{
	struct nur_thr *self = nur_thr_peek();

	return self == NULL ? NULL : self->task;
}

/* A task that is no light one, W7: others see nothing of it here. */
static struct nursery_task *
enter(struct nur_thr *self, struct nursery_task *t)
{
	struct nursery_task *light = nur_load_relaxed(&self->light);

	nur_store_relaxed(&self->light, NULL);
	self->task = t;
	return light;
}

static void
leave(struct nur_thr *self, struct nursery_task *before,
    struct nursery_task *light)
{
	self->task = before;
	/* Release: pairs with look_at() in light.c. */
	nur_store_release(&self->light, light);
}

static uint64_t
current_id(void)
{
	struct nursery_task *t = nur_task_current();

	return t == NULL ? 0 : nur_is_light(t) ? nur_light_id(t) : t->id;
}

bool
nur_is_member(const struct nursery_task *task, const struct nursery *n)
{
	const struct nursery *m;

	if (task == NULL)
		return false;
	for (m = task->nursery; m != NULL; m = m->parent)
		if (m == n)
			return true;
	return false;
}

/* What t runs inside of, on its thread; NULL: nothing. */
static struct nursery_task *
outer(const struct nursery_task *t)
{
	if (nur_is_light(t))
		return nur_light_before(t);
	return (t->flags & NURSERY_TASK_MAY_INLINE) != 0 && t->more.inlined ?
	    t->more.outer : NULL;
}

bool
nur_opened_by(const struct nursery *n, const struct nursery_task *host)
{
	return nur_load_relaxed(&n->host) == host;
}

/* t, or one that it runs inside of, up to `end`. */
static bool
any_is_member(const struct nursery_task *t, const struct nursery_task *end,
    const struct nursery *n)
{
	for (; t != end && t != NULL; t = outer(t))
		if (nur_is_member(t, n))
			return true;
	return false;
}

bool
nur_is_member_here(const struct nursery *n)
{
	const struct nur_thr *self = nur_thr_peek();
	const struct nursery_task *t;
	const struct nur_tally *y;

	if (self == NULL)
		return false;
	t = self->task;
	/* What waits here, while others of its own run. */
	for (y = self->tally; y != NULL; y = y->outer) {
		if (any_is_member(t, y->before, n))
			return true;
		t = y->before;
	}
	return any_is_member(t, NULL, n);
}

bool
nur_serves(const struct nursery_task *task, const struct nursery *p)
{
	const struct nursery *m;

	if (task == NULL)
		return false;
	if (task->nursery == p)
		return nur_is_service(task);
	m = task->nursery;
	while (m != NULL && m->parent != p)
		m = m->parent;
	return m != NULL && m->for_service;
}

void
nur_copy_name(char *to, const char *from)
{
	size_t len = from == NULL ? 0 : strnlen(from, NUR_NAME_MAX - 1);

	memcpy(to, from == NULL ? "" : from, len);
	to[len] = '\0';
}

void
nur_task_label(const struct nursery_task *t, char *to)
{
	Dl_info info;
	void *fn;

	memcpy(&fn, &t->fn, sizeof fn);
	if (t->named)
		memcpy(to, t->name, NUR_NAME_MAX);
	else if (dladdr(fn, &info) != 0 && info.dli_sname != NULL &&
	    info.dli_saddr == fn)
		nur_copy_name(to, info.dli_sname);
	else
		(void)snprintf(to, NUR_NAME_MAX, "%p", fn);
}

/* ---- birth and end ---- */

struct nursery_task *
nur_task_block(void)
{
	return nur_slab_get(&task_slab);
}

int
nur_task_new(struct nursery_task **out, struct nursery *n, nursery_fn *fn,
    void *arg)
{
	struct nursery_task *t;

	if (n == NULL || fn == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	nur_nursery_share(n);
	t = nur_slab_get(&task_slab);
	if (t == NULL)
		return ENOMEM;
	memset(t, 0, offsetof(struct nursery_task, name));
	t->name[0] = '\0';
	nur_list_init(&t->link);
	t->nursery = n;
	t->token = &n->token;
	t->fn = fn;
	t->arg = arg;
	t->lane = n->attr.lane;
	nur_store_relaxed(&t->refs, 1);
	t->id = nur_task_next_id(nur_thr_peek());
	*out = t;
	return 0;
}

static void
give_back_what_it_has(struct nursery_task *t)
{
	if (t->own_token)
		nursery_token_unref(t->token);
	nur_free(t->copy);
	t->own_token = false;
	t->copy = NULL;
}

void
nur_task_free(struct nursery_task *t)
{
	give_back_what_it_has(t);
	nur_slab_put(&task_slab, t);
}

void
nur_task_let_go(struct nursery_task *t)
{
	/* Acquire and release: the last one sees what all others did. */
	if (nur_fetch_sub_acq_rel(&t->refs, 1) == 1)
		nur_task_free(t);
}

void
nur_task_count_handles(int change)
{
	nur_slab_count(&task_slab, change);
}

/* Nobody but the run knows of t, and no longer can. */
static bool
has_no_handle(const struct nursery_task *t)
{
	/* Acquire: sees what the last holder did; pairs with let_go. */
	return nur_load_acquire(&t->refs) == 1;
}

void
nur_task_release(struct nursery_task *t)
{
	if (has_no_handle(t)) {
		nur_task_free(t);
		return;
	}
	(void)nur_task_say(t, NUR_TASK_ENDED);
	nur_task_let_go(t);
}

static bool
was_told_to_stop(const struct nursery_task *t)
{
	return nur_token_level(t->token) >= NURSERY_CANCEL ||
	    nur_token_level(&t->nursery->token) >= NURSERY_CANCEL;
}

static bool
is_first_success_locked(struct nursery *n, const struct nursery_task *t)
{
	if (n->attr.policy != NURSERY_FIRST_SUCCESS || n->won ||
	    nur_is_service(t))
		return false;
	n->won = true;
	return true;
}

/* Counts how t ended; true if the others are to be told. */
static bool
classify_locked(struct nursery *n, struct nursery_task *t)
{
	bool first = n->first_error == 0;

	if (!t->started) {
		t->result = ECANCELED;
		t->cancelled = 1;
		n->counts.discarded++;
	} else if (t->result == 0) {
		n->counts.succeeded++;
		return is_first_success_locked(n, t);
	} else if (t->result == ECANCELED && was_told_to_stop(t)) {
		t->cancelled = 1;
		n->counts.cancelled++;
	} else {
		n->counts.failed++;
		if (n->first_error == 0)
			n->first_error = t->result;
		nur_failure_keep_locked(n, t);
		/* By the first alone: its error is the cause. */
		return first && n->attr.policy == NURSERY_FAIL_FAST;
	}
	return false;
}

/* N4: the error is kept already, or the success; now the others are told. */
static void
cancel_siblings_locked(struct nursery *n, const struct nursery_task *t)
{
	struct nur_raise r = { .level = NURSERY_CANCEL,
		.code = t->result, .why = t->result == 0 ? "task succeeded" :
		"task failed" };

	nur_nursery_unlock(n);
	(void)nur_token_raise(&n->token, &r);
	nur_lock(&n->lock);
}

void
nur_task_failed(struct nursery_task *t)
{
	struct nursery *n = t->nursery;

	t->ended = nur_now();
	nur_lock(&n->lock);
	n->light_bad++;
	if (classify_locked(n, t))
		cancel_siblings_locked(n, t);
	nur_nursery_unlock(n);
}

static void
call_on_done(struct nursery *n, struct nursery_task *t)
{
	struct nursery_result r = NURSERY_RESULT_INIT;
	struct nur_thr *self = nur_thr_peek();
	struct nursery_task *before = self == NULL ? NULL : self->task;
	struct nursery_task *light = NULL;

	r.task = t->id;
	r.name = t->name;
	r.code = t->result;
	r.cancelled = t->cancelled;
	r.started = t->started ? nur_load_relaxed(&t->since) : 0;
	r.ended = t->ended;
	/* To the callback it is the task that runs here: a member. */
	if (self != NULL)
		light = enter(self, t);
	n->attr.on_done(n, &r, n->attr.ctx);
	if (self != NULL)
		leave(self, before, light);
}

/*
 * on_done is serialised: one thread reports for all who end meanwhile.  A
 * task that is not reported is not finished, so n stays.  Lock held; comes
 * back without it.
 */
static void
report_and_unlock(struct nursery *n, struct nursery_task *t)
{
	struct nur_link *l;
	unsigned service;

	nur_list_append(&n->reports, &t->link);
	if (n->reporting) {
		nur_nursery_unlock(n);
		return;
	}
	n->reporting = true;
	while ((l = nur_list_pop(&n->reports)) != NULL) {
		t = NUR_CONTAINER(l, struct nursery_task, link);
		nur_nursery_unlock(n);
		call_on_done(n, t);
		service = nur_is_service(t);
		nur_task_release(t);
		nur_lock(&n->lock);
		n->reporting = !nur_list_empty(&n->reports);
		n->unfinished--;
		n->services -= service;
		if (n->reporting)
			continue;
		nur_done_changed_locked(n);
		break;
	}
	nur_nursery_unlock(n);
}

/* Before on_done, which may wait for this very task. */
static void
tell_handles_locked(struct nursery *n, struct nursery_task *t)
{
	if (has_no_handle(t))
		return;
	nur_nursery_unlock(n);
	(void)nur_task_say(t, NUR_TASK_ENDED);
	nur_lock(&n->lock);
}

void
nur_task_finish(struct nursery_task *t, struct nursery_task **next)
{
	struct nursery *n = t->nursery;
	unsigned service = nur_is_service(t);

	if (n->attr.on_done != NULL || t->result != 0)
		t->ended = nur_now();
	nur_lock(&n->lock);
	if (t->started)
		nur_list_remove(&t->link);
	if (classify_locked(n, t))
		cancel_siblings_locked(n, t);
	if (t->started)
		*next = nur_pass_place_locked(n);
	if (n->stopping == t)
		n->stopping = NULL;
	if (n->attr.on_done != NULL) {
		tell_handles_locked(n, t);
		report_and_unlock(n, t);
		return;
	}
	if (t->own_token || t->copy != NULL || !has_no_handle(t)) {
		/* Its token is below n's, so it goes before n may. */
		nur_nursery_unlock(n);
		nur_task_release(t);
		t = NULL;
		nur_lock(&n->lock);
	}
	n->unfinished--;
	n->services -= service;
	nur_done_changed_locked(n);
	nur_nursery_unlock(n);
	if (t != NULL)
		nur_task_free(t);
}

/* ---- running ---- */

/* The thread bears the task's name, else the nursery's, else ours. */
static void
name_thread(struct nur_thr *self, const struct nursery_task *t)
{
	const struct nursery *n = t->nursery;
	uint64_t whose = t->named ? t->id : n->name[0] != '\0' ? n->id : 0;
	const char *name = t->named ? t->name : whose != 0 ? n->name :
	    "nursery";
	char comm[16];

	if (self->named_for == whose)
		return;
	self->named_for = whose;
	memcpy(comm, name, strnlen(name, sizeof comm - 1) + 1);
	comm[sizeof comm - 1] = '\0';
	(void)prctl(PR_SET_NAME, comm);
}

/* The nurseries that end with t: those of its thread, or, if it runs in the
 * midst of something, its own only. */
static const struct nursery_task *
host_of_left_open(const struct nur_thr *self, const struct nursery_task *t)
{
	return self->tally != NULL || ((t->flags & NURSERY_TASK_MAY_INLINE) !=
	    0 && t->more.inlined) ? t : NULL;
}

bool
nur_task_left_open(const struct nur_thr *self, const struct nursery_task *t)
{
	const struct nursery_task *host = host_of_left_open(self, t);
	const struct nursery *newest;

	if (nur_list_empty(&self->opened))
		return false;
	newest = NUR_CONTAINER(self->opened.prev, const struct nursery,
	    opened);
	return host == NULL || nur_opened_by(newest, host);
}

/* The task left by pthread_exit: this thread is going, and who would have
 * had it next needs another one. */
static void
exited(void *task)
{
	struct nursery_task *t = task, *next = NULL;
	struct nur_thr *self = nur_thr_peek();
	struct nursery *n = t->nursery;
	struct nursery_task *before = outer(t);
	size_t stack_size;

	if (nur_inherited(t))
		_exit(NUR_FORKED_AND_BACK);
	stack_size = n->attr.stack_size;
	t->result = ENDED_BY_EXIT;
	nur_nursery_opener_ends(self, host_of_left_open(self, t));
	nur_task_finish(t, &next);
	leave(self, before, NULL);
	if (next != NULL && nur_start(next, stack_size) != 0)
		nur_requeue(n, next);
}

static struct nursery_task *
run_on(struct nur_thr *self, struct nursery_task *t)
{
	struct nursery_task *next = NULL, *before = self->task, *light;
	unsigned blocking = self->blocking;

	self->blocking = 0;
	nur_store_relaxed(&t->since, nur_now());
	t->started = true;
	nur_store_release(&t->thr, self);
	light = enter(self, t);
	pthread_cleanup_push(exited, t);
	t->result = t->fn(t->token, t->arg);
	pthread_cleanup_pop(0);
	if (nur_inherited(t))
		_exit(NUR_FORKED_AND_BACK);
	if (t->result == 0 && nur_task_left_open(self, t))
		t->result = ENOTEMPTY;
	nur_nursery_opener_ends(self, host_of_left_open(self, t));
	nur_task_finish(t, &next);
	leave(self, before, light);
	self->blocking = blocking;
	return next;
}

/* The next one may belong to the other lane. */
static struct nursery_task *
stays_here(const struct nur_thr *self, struct nursery_task *next)
{
	struct nursery *n;

	if (next == NULL || (next->lane == NURSERY_COMPUTE) == (self->tally !=
	    NULL))
		return next;
	n = next->nursery;	/* is there, for `next` has a place */
	if (nur_start(next, n->attr.stack_size) != 0)
		nur_requeue(n, next);
	return NULL;
}

struct nursery_task *
nur_task_run(struct nursery_task *t)
{
	struct nur_thr *self = nur_thr_peek();

	if (nur_thr_is_worker(self))
		name_thread(self, t);
	return stays_here(self, run_on(self, t));
}

int
nur_task_run_inline(struct nursery_task *t)
{
	struct nur_thr *self = nur_thr_self();
	struct nursery *n = t->nursery;
	size_t stack_size = n->attr.stack_size;
	struct nursery_task *next;

	if (self == NULL)
		return ENOMEM;
	t->more.inlined = true;
	t->more.outer = self->task;
	next = run_on(self, t);
	/* It has a place, so n is there. */
	if (next != NULL && nur_start(next, stack_size) != 0)
		nur_requeue(n, next);
	return 0;
}

/* ---- asking ---- */

struct nursery *
nursery_current(void)
{
	struct nursery_task *t = nur_task_current();

	return t == NULL ? NULL : t->nursery;
}

struct nursery_task *
nursery_self(void)
{
	struct nursery_task *t = nur_task_current();

	return t != NULL && nur_is_light(t) ? nur_light_present(
	    nur_thr_peek()) : t;
}

__attribute__((constructor)) static void
register_hooks(void)
{
	nur_pool_run = nur_task_run;
	nur_task_id_hook = current_id;
}

void
nur_task_after_fork(void)
{
	struct nur_thr *self = nur_thr_peek();

	nur_slab_after_fork(&task_slab);
	if (self == NULL)
		return;
	leave(self, NULL, NULL);
	nur_nest_after_fork(self);
}
