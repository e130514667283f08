/* SPDX-License-Identifier: MIT */
/* The life of a task: admission, a place, its run, its end. */
#include "config.h"

#include "scope/nursery.h"

#include "base/check.h"
#include "base/sys.h"
#include "base/task_id.h"
#include "sched/pool.h"
#include "scope/attr.h"

#include <string.h>
#include <sys/prctl.h>

static struct nur_slab task_slab = NUR_SLAB_INIT("task", NUR_SLAB_TASK,
    sizeof(struct nursery_task), 0);
static uint64_t next_id;	/* atomic */

#define DEFAULT_STACK	((size_t)256 * 1024)
#define MIN_STACK	((size_t)32 * 1024)
#define ENDED_BY_EXIT	ENOTRECOVERABLE	/* a task called pthread_exit */

uint64_t
nur_task_next_id(void)
{
	/* Relaxed: only uniqueness counts. */
	return nur_fetch_add_relaxed(&next_id, 1) + 1;
}

struct nursery_task *
nur_task_current(void)
{
	struct nur_thr *self = nur_thr_peek();

	return self == NULL ? NULL : self->task;
}

static uint64_t
current_id(void)
{
	struct nursery_task *t = nur_task_current();

	return t == NULL ? 0 : t->id;
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

void
nur_copy_name(char *to, const char *from)
{
	size_t len = from == NULL ? 0 : strnlen(from, NUR_NAME_MAX - 1);

	memcpy(to, from == NULL ? "" : from, len);
	to[len] = '\0';
}

/* ---- waking those who wait at a nursery ---- */

static void
room_changed_locked(struct nursery *n)
{
	/* Relaxed: moves under the lock; sleepers read it there too. */
	nur_store_relaxed(&n->room_seq, nur_load_relaxed(&n->room_seq) + 1);
	if (n->room_waiters > 0)
		nur_futex_wake(&n->room_seq, INT32_MAX);
}

static bool
all_gone_locked(struct nursery *n)
{
	if (n->unfinished != 0)
		return false;
	nur_store_relaxed(&n->done_seq, nur_load_relaxed(&n->done_seq) + 1);
	return true;
}

bool
nur_nursery_drop_inner_locked(struct nursery *n)
{
	n->inner--;
	if (n->inner != 0)
		return false;
	nur_store_relaxed(&n->done_seq, nur_load_relaxed(&n->done_seq) + 1);
	return true;
}

/* ---- the end of a task ---- */

static void
free_task(struct nursery_task *t)
{
	if (t->own_token)
		nursery_token_unref(t->token);
	nur_free(t->copy);
	nur_slab_put(&task_slab, t);
}

static void
classify_locked(struct nursery *n, struct nursery_task *t)
{
	if (!t->started) {
		t->result = ECANCELED;
		t->cancelled = 1;
		n->counts.discarded++;
	} else if (t->result == 0) {
		n->counts.succeeded++;
	} else if (t->result == ECANCELED && (nur_token_level(t->token) >=
	    NURSERY_CANCEL || nur_token_level(&n->token) >=
	    NURSERY_CANCEL)) {
		t->cancelled = 1;
		n->counts.cancelled++;
	} else {
		n->counts.failed++;
		if (n->first_error == 0)
			n->first_error = t->result;
		nur_failure_keep_locked(n, t);
	}
}

/* Frees t and takes it off the count; a queued task that may have its place
 * comes back in *next.  The last touch of n (N3). */
static void
leave(struct nursery *n, struct nursery_task *t, struct nursery_task **next)
{
	bool started = t->started, gone;

	free_task(t);
	nur_lock(&n->lock);
	if (started) {
		n->running--;
		if (next != NULL && !nur_list_empty(&n->queue) &&
		    n->running < n->attr.max_running) {
			*next = NUR_CONTAINER(nur_list_pop(&n->queue),
			    struct nursery_task, link);
			n->queued--;
			n->running++;
			nur_list_append(&n->tasks, &(*next)->link);
		}
		room_changed_locked(n);
	}
	n->unfinished--;
	gone = all_gone_locked(n);
	nur_unlock(&n->lock);
	if (gone)
		nur_futex_wake(&n->done_seq, INT32_MAX);
}

static void
call_on_done(struct nursery *n, const struct nursery_task *t)
{
	struct nursery_result r = NURSERY_RESULT_INIT;

	r.task = t->id;
	r.name = t->name;
	r.code = t->result;
	r.cancelled = t->cancelled;
	r.started = t->started ? nur_load_relaxed(&t->since) : 0;
	r.ended = t->ended;
	n->attr.on_done(n, &r, n->attr.ctx);
}

/* on_done is serialised: one thread reports for all who ended meanwhile.
 * The calls keep their tasks, and so the nursery, alive. */
static void
report_and_leave(struct nursery *n, struct nursery_task *t,
    struct nursery_task **next)
{
	struct nursery_task *mine = t;
	struct nur_link *l;

	nur_lock(&n->lock);
	nur_list_append(&n->reports, &t->link);
	if (n->reporting) {
		nur_unlock(&n->lock);
		return;
	}
	n->reporting = true;
	while ((l = nur_list_pop(&n->reports)) != NULL) {
		t = NUR_CONTAINER(l, struct nursery_task, link);
		nur_unlock(&n->lock);
		call_on_done(n, t);
		nur_lock(&n->lock);
		if (nur_list_empty(&n->reports)) {
			n->reporting = false;
			break;
		}
		nur_unlock(&n->lock);
		leave(n, t, mine == t ? next : NULL);
		nur_lock(&n->lock);
	}
	nur_unlock(&n->lock);
	leave(n, t, *next == NULL ? next : NULL);
}

static void
finish(struct nursery_task *t, struct nursery_task **next)
{
	struct nursery *n = t->nursery;
	struct nur_raise r = { .level = NURSERY_CANCEL, .why = "task failed" };
	bool failed;

	t->ended = nur_now();
	nur_lock(&n->lock);
	if (t->started)
		nur_list_remove(&t->link);
	classify_locked(n, t);
	failed = t->started && t->result != 0 && !t->cancelled;
	nur_unlock(&n->lock);
	if (failed && n->attr.policy == NURSERY_FAIL_FAST) {
		r.code = t->result;
		(void)nur_token_raise(&n->token, &r);
	}
	if (n->attr.on_done != NULL)
		report_and_leave(n, t, next);
	else
		leave(n, t, next);
}

/* ---- running ---- */

static void
name_thread(struct nur_thr *self, const struct nursery_task *t)
{
	const char *name = t->name[0] != '\0' ? t->name : t->nursery->name;

	if (name[0] == '\0')
		name = "nursery";
	if (strncmp(self->name, name, sizeof self->name - 1) == 0)
		return;
	memcpy(self->name, name, strnlen(name, sizeof self->name - 1) + 1);
	self->name[sizeof self->name - 1] = '\0';
	(void)prctl(PR_SET_NAME, self->name);
}

static void
exited(void *task)
{
	struct nursery_task *t = task, *next = NULL;
	struct nur_thr *self = nur_thr_peek();

	t->result = ENDED_BY_EXIT;
	if (!nur_list_empty(&self->opened))
		nur_thr_exit_hook[NUR_EXIT_SCOPE](self);
	self->task = NULL;
	finish(t, &next);
	/* This thread is going: what came next needs another one. */
	while (next != NULL && nur_pool_start(next, DEFAULT_STACK) != 0)
		(void)nur_park(self, nur_now() + NURSERY_MS);
}

static struct nursery_task *
run(struct nursery_task *t)
{
	struct nur_thr *self = nur_thr_peek();
	struct nursery_task *next = NULL;

	name_thread(self, t);
	nur_store_relaxed(&t->since, nur_now());
	t->started = true;
	nur_store_release(&t->thr, self);
	self->task = t;
	pthread_cleanup_push(exited, t);
	t->result = t->fn(t->token, t->arg);
	pthread_cleanup_pop(0);
	if (!nur_list_empty(&self->opened))
		nur_thr_exit_hook[NUR_EXIT_SCOPE](self);
	self->task = NULL;
	finish(t, &next);
	return next;
}

/* ---- admission ---- */

static int
refusal_locked(const struct nursery *n, unsigned flags, bool member)
{
	unsigned level = nur_token_level(&n->token);

	if (n->state == NUR_CLOSED)
		return ESHUTDOWN;
	if (n->state == NUR_CLOSING && (!member || n->unfinished +
	    n->inner == 0))
		return ESHUTDOWN;
	if ((flags & NURSERY_TASK_FINAL) != 0)
		return 0;
	if (level >= NURSERY_CANCEL)
		return ECANCELED;
	if (level == NURSERY_DRAIN && !member &&
	    (flags & NURSERY_TASK_IN_DRAIN) == 0)
		return ESHUTDOWN;
	return 0;
}

static void
room_wake(void *nursery)
{
	struct nursery *n = nursery;

	nur_lock(&n->lock);
	room_changed_locked(n);
	nur_unlock(&n->lock);
}

/* A queued task takes the place a waiting member gives away. */
static void
fill_place_locked(struct nursery *n)
{
	struct nursery_task *t;

	if (nur_list_empty(&n->queue) || n->running >= n->attr.max_running)
		return;
	t = NUR_CONTAINER(nur_list_pop(&n->queue), struct nursery_task, link);
	n->queued--;
	n->running++;
	nur_list_append(&n->tasks, &t->link);
	nur_unlock(&n->lock);
	if (nur_pool_start(t, n->attr.stack_size) == 0) {
		nur_lock(&n->lock);
		return;
	}
	nur_lock(&n->lock);
	nur_list_remove(&t->link);
	n->running--;
	n->queued++;
	/* At the front again: it was the oldest. */
	t->link.next = n->queue.next;
	t->link.prev = &n->queue;
	n->queue.next->prev = &t->link;
	n->queue.next = &t->link;
}

static int
await_room_locked(struct nursery *n, const struct nursery_task *caller,
    int64_t spawn_by)
{
	struct nursery_callback cb = { { { 0 } } };
	bool place = caller != NULL && caller->nursery == n;
	struct nur_thr *self = nur_thr_peek();
	uint32_t seen, op = 0;
	int rc = 0;

	n->room_waiters++;
	if (place) {
		n->running--;
		fill_place_locked(n);
	}
	seen = nur_load_relaxed(&n->room_seq);
	if (place && n->queued < n->attr.max_queued)
		goto out;	/* giving the place away made room */
	nur_unlock(&n->lock);
	if (self != NULL)
		op = nur_op_enter(self, NUR_OP_SPAWN, -1);
	if (caller != NULL)
		(void)nursery_token_on_cancel(caller->token, &cb, room_wake,
		    n);
	if (caller != NULL && nursery_token_is_cancelled(caller->token))
		rc = ECANCELED;
	else
		rc = nur_futex_wait(&n->room_seq, seen, spawn_by);
	rc = rc == ETIMEDOUT || rc == ECANCELED ? rc : 0;
	nursery_callback_remove(&cb);
	if (self != NULL)
		nur_op_leave(self, op);
	if (caller != NULL && nursery_token_is_cancelled(caller->token))
		rc = ECANCELED;
	nur_lock(&n->lock);
out:
	if (place)
		n->running++;
	n->room_waiters--;
	return rc;
}

/* Counts t in, running or queued.  *starts says which.  0 or why not. */
static int
admit(struct nursery *n, struct nursery_task *t, bool try_only,
    int64_t spawn_by, bool *starts)
{
	struct nursery_task *caller = nur_task_current();
	bool member = nur_is_member(caller, n);
	unsigned max = n->attr.max_running;
	int rc;

	nur_lock(&n->lock);
	for (;;) {
		rc = refusal_locked(n, t->flags, member);
		if (rc != 0)
			goto unlock;
		if (max == 0 || n->running < max) {
			*starts = true;
			n->running++;
			nur_list_append(&n->tasks, &t->link);
			break;
		}
		if (n->attr.max_queued == 0 || n->queued <
		    n->attr.max_queued) {
			*starts = false;
			n->queued++;
			nur_list_append(&n->queue, &t->link);
			break;
		}
		rc = try_only ? EAGAIN : await_room_locked(n, caller,
		    spawn_by);
		if (rc != 0)
			goto unlock;
	}
	n->unfinished++;
	n->counts.spawned++;
unlock:
	nur_unlock(&n->lock);
	return rc;
}

/* No thread was to be had: as if the task had never been there. */
static void
take_back(struct nursery *n, struct nursery_task *t)
{
	bool gone;

	nur_lock(&n->lock);
	nur_list_remove(&t->link);
	n->running--;
	n->counts.spawned--;
	n->unfinished--;
	room_changed_locked(n);
	gone = all_gone_locked(n);
	nur_unlock(&n->lock);
	if (gone)
		nur_futex_wake(&n->done_seq, INT32_MAX);
}

static int
submit(struct nursery *n, struct nursery_task *t, bool try_only,
    int64_t spawn_by)
{
	bool starts = false;
	int rc;

	rc = admit(n, t, try_only, spawn_by, &starts);
	if (rc == 0 && starts) {
		rc = nur_pool_start(t, n->attr.stack_size);
		if (rc != 0)
			take_back(n, t);
	}
	if (rc != 0)
		free_task(t);
	return rc;
}

static int
make_task(struct nursery_task **out, struct nursery *n, nursery_fn *fn,
    void *arg)
{
	struct nursery_task *t;

	if (n == NULL || fn == NULL)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	t = nur_slab_get(&task_slab);
	if (t == NULL)
		return ENOMEM;
	memset(t, 0, offsetof(struct nursery_task, inline_));
	nur_list_init(&t->link);
	t->nursery = n;
	t->token = &n->token;
	t->fn = fn;
	t->arg = arg;
	t->id = nur_task_next_id();
	nur_store_relaxed(&t->since, nur_now());
	*out = t;
	return 0;
}

int
nursery_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	struct nursery_task *t;
	int rc = make_task(&t, n, fn, arg);

	return rc != 0 ? rc : submit(n, t, false, NURSERY_NEVER);
}

int
nursery_try_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	struct nursery_task *t;
	int rc = make_task(&t, n, fn, arg);

	return rc != 0 ? rc : submit(n, t, true, NURSERY_NEVER);
}

int
nursery_spawn_copy(struct nursery *n, nursery_fn *fn, const void *data,
    size_t len)
{
	struct nursery_task *t;
	int rc;

	if (data == NULL && len > 0)
		return EINVAL;
	rc = make_task(&t, n, fn, NULL);
	if (rc != 0)
		return rc;
	t->arg = t->inline_;
	if (len > sizeof t->inline_) {
		t->copy = nur_alloc(len);
		if (t->copy == NULL) {
			free_task(t);
			return ENOMEM;
		}
		t->arg = t->copy;
	}
	if (len > 0)
		memcpy(t->arg, data, len);
	return submit(n, t, false, NURSERY_NEVER);
}

/* The token that spawn_with's task gets; its own child of the nursery's. */
static int
give_token(struct nursery_task *t, const struct nursery_task_attr *a)
{
	struct nursery_token *parent = &t->nursery->token;
	struct nursery_token *token;
	int rc;

	if ((a->flags & NURSERY_TASK_FINAL) != 0)
		rc = nursery_token_new_shielded(&token, parent, a->deadline);
	else if ((a->flags & NURSERY_TASK_ENDS_ON_DRAIN) != 0)
		rc = nursery_token_new_at(&token, parent, NURSERY_DRAIN);
	else
		rc = nursery_token_new(&token, parent);
	if (rc != 0)
		return rc;
	t->token = token;
	t->own_token = true;
	if (a->deadline == 0)
		return 0;
	rc = nursery_token_set_deadline(token, a->deadline);
	/* Already cancelled: admission says so, or FINAL runs shielded. */
	return rc == ECANCELED ? 0 : rc;
}

int
nursery_spawn_with(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, struct nursery_task **out)
{
	struct nursery_task_attr a;
	struct nursery_task *t;
	int rc;

	if (n == NULL || fn == NULL)
		return EINVAL;
	rc = nur_task_attr_read(&a, attr);
	if (rc != 0)
		return rc;
	if (out != NULL)
		return ENOTSUP;
	rc = make_task(&t, n, fn, arg);
	if (rc != 0)
		return rc;
	t->flags = a.flags;
	t->discard = a.discard;
	nur_copy_name(t->name, a.name);
	rc = give_token(t, &a);
	if (rc != 0) {
		free_task(t);
		return rc;
	}
	return submit(n, t, false, a.spawn_by == 0 ? NURSERY_NEVER :
	    a.spawn_by);
}

/* ---- what the nursery's own token says ---- */

void
nur_nursery_drained(void *nursery)
{
	room_wake(nursery);
}

/* Cancelled: queued tasks are discarded, waiting spawns turned back. */
void
nur_nursery_cancelled(void *nursery)
{
	struct nursery *n = nursery;
	struct nursery_task *t, *none = NULL;
	struct nur_link drop, *l, *next;

	nur_list_init(&drop);
	nur_lock(&n->lock);
	for (l = n->queue.next; l != &n->queue; l = next) {
		next = l->next;
		t = NUR_CONTAINER(l, struct nursery_task, link);
		if ((t->flags & NURSERY_TASK_FINAL) != 0)
			continue;
		nur_list_remove(l);
		n->queued--;
		nur_list_append(&drop, l);
	}
	room_changed_locked(n);
	nur_unlock(&n->lock);
	while ((l = nur_list_pop(&drop)) != NULL) {
		t = NUR_CONTAINER(l, struct nursery_task, link);
		if (t->discard != NULL)
			t->discard(t->arg);
		finish(t, &none);
	}
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
	return nur_task_current();
}

uint64_t
nursery_task_id(const struct nursery_task *t)
{
	return t == NULL ? 0 : t->id;
}

const char *
nursery_task_name(const struct nursery_task *t)
{
	return t == NULL ? NULL : t->name;
}

struct nursery_token *
nursery_task_token(struct nursery_task *t)
{
	return t == NULL ? NULL : t->token;
}

void
nur_scope_init(void)
{
	nur_pool_run = run;
	nur_task_id_hook = current_id;
}

void
nur_scope_after_fork(void)
{
	struct nur_thr *self = nur_thr_peek();

	nur_slab_after_fork(&task_slab);
	if (self != NULL) {
		self->task = NULL;
		nur_list_init(&self->opened);
	}
}
