/* SPDX-License-Identifier: MIT */
/* What a nursery leaves behind: counts, failures, who did not stop. */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "base/where.h"
#include "scope/attr.h"
#include "scope/light.h"
#include "scope/look.h"

#include <stdlib.h>
#include <string.h>

#define DEEPEST	32	/* levels that are told apart */

struct stuck {
	struct nur_failure task;
	int tid, depth;
	int64_t age;
	char where[64];
};

/* An open nursery inside, in front of its unfinished tasks. */
struct inner {
	size_t at;		/* the number of the first of them */
	int depth;
	unsigned unfinished;
	char name[NUR_NAME_MAX];
};

struct nursery_report {
	char name[NUR_NAME_MAX];
	struct nursery_counts counts;
	struct nursery_cause cause;
	bool cancelled;
	size_t failed, unfinished;
	unsigned open_inside;
	struct nur_failure first;
	struct nur_failure *others;	/* failed - 1 */
	struct stuck *stuck, one_stuck;
	struct inner *inner;	/* NULL: no memory, or none */
	size_t inners;
};

struct nursery_report *
nur_report_new(void)
{
	struct nursery_report *r = nur_alloc(sizeof *r);
	const struct nursery_cause none = NURSERY_CAUSE_INIT;

	if (r != NULL)
		r->cause = none;
	return r;
}

/* ---- failures, as they happen ---- */

static size_t
max_errors(const struct nursery *n)
{
	return n->attr.max_errors == 0 ? NUR_FIRST_ERRORS :
	    n->attr.max_errors;
}

/* A place for one more than the first; NULL: no memory, or no more are kept. */
static struct nur_failure *
next_place_locked(struct nursery *n)
{
	size_t kept = n->failed - 1, room = n->failures_room;
	struct nur_failure *more;

	if (n->failed >= max_errors(n))
		return NULL;
	if (kept < room)
		return &n->failures[kept];
	room = room == 0 ? NUR_FIRST_ERRORS - 1 : 2 * room;
	more = nur_alloc(room * sizeof *more);
	if (more == NULL)
		return NULL;
	if (kept > 0)
		memcpy(more, n->failures, kept * sizeof *more);
	nur_free(n->failures);
	n->failures = more;
	n->failures_room = room;
	return &more[kept];
}

/* The first failure has its place in the nursery; the others need memory,
 * and without it are counted only. */
void
nur_failure_keep_locked(struct nursery *n, const struct nursery_task *t)
{
	struct nur_failure *f = n->failed == 0 ? &n->first :
	    next_place_locked(n);

	if (f == NULL)
		return;
	n->failed++;
	f->task = t->id;
	f->started = nur_load_relaxed(&t->since);
	f->ended = t->ended;
	f->code = t->result;
	f->cancelled = t->cancelled;
	memcpy(f->name, t->name, sizeof f->name);
}

/* ---- filling ---- */

static void
fill_but_failures_locked(struct nursery_report *r, struct nursery *n)
{
	r->cancelled = nursery_token_cause(&n->token, NURSERY_LIVE,
	    &r->cause) != 0;
	memcpy(r->name, n->name, sizeof r->name);
	r->counts = n->counts;
	nur_light_add_counts_locked(n, &r->counts);
	r->open_inside = n->inner;
	r->first = n->first;
}

void
nur_report_take(struct nursery_report *r, struct nursery *n)
{
	nur_lock(&n->lock);
	fill_but_failures_locked(r, n);
	r->failed = n->failed;
	r->others = n->failures;
	n->failures = NULL;
	n->failures_room = 0;
	nur_nursery_unlock(n);
}

/* Without memory the first alone is kept; the counts tell of the others. */
static void
copy_failures_locked(struct nursery_report *r, const struct nursery *n)
{
	size_t others = n->failed > 1 ? n->failed - 1 : 0;

	r->failed = n->failed;
	if (others == 0)
		return;
	r->others = nur_alloc(others * sizeof *r->others);
	if (r->others != NULL)
		memcpy(r->others, n->failures, others * sizeof *r->others);
	else
		r->failed = 1;
}

/* The call of the library that it waits in; if that is a foreign one, or if
 * there is none, what the kernel says. */
static void
say_where(char *to, size_t size, const struct nur_thr *thr)
{
	uint32_t op = nur_load_relaxed(&thr->op);
	int fd = nur_load_relaxed(&thr->op_fd), n = 0;
	char text[NUR_OP_TEXT];

	if (op == NUR_OP_RUN || op == NUR_OP_BLOCKING)
		n = snprintf(to, size, "%s, ", nur_op_names[op]);
	if (n > 0 || op == NUR_OP_NONE) {
		nur_where(thr->tid, to + n, size - (size_t)n);
		if (to[n] != '\0')
			return;
		fd = -1;
	}
	nur_op_text(text, op, fd);
	(void)snprintf(to, size, "%s%s", (op & NUR_OP_BUSY) != 0 ?
	    "busy in " : "", text);
}

static void
fill_stuck(struct stuck *s, const struct nursery_task *t, int depth)
{
	const struct nur_thr *thr = nur_load_acquire(&t->thr);
	int64_t since = nur_load_relaxed(&t->since);

	s->task.task = t->id;
	s->task.started = thr == NULL ? 0 : since;
	nur_task_label(t, s->task.name);
	/* 0: its thread is on the way to it. */
	s->age = since == 0 ? 0 : nur_now() - since;
	s->depth = depth;
	s->tid = thr == NULL ? 0 : thr->tid;
	if (thr == NULL)
		(void)snprintf(s->where, sizeof s->where, "%s", since == 0 ?
		    "starting" : "queued");
	else
		say_where(s->where, sizeof s->where, thr);
}

static void
list_stuck_locked(struct nursery_report *r, const struct nur_link *tasks,
    size_t room, int depth)
{
	struct nur_link *l;

	for (l = tasks->next; l != tasks && r->unfinished < room; l = l->next)
		fill_stuck(&r->stuck[r->unfinished++], NUR_CONTAINER(l,
		    struct nursery_task, link), depth);
}

struct list {
	struct nursery_report *report;
	size_t room;
	int depth;
};

/* A light task: it runs, and nobody knows since when. */
static void
list_light(const struct nur_light_seen *seen, void *arg)
{
	struct list *l = arg;
	struct stuck *s;

	if (l->report->unfinished == l->room)
		return;
	s = &l->report->stuck[l->report->unfinished++];
	s->task.task = seen->task.id;
	nur_task_label(&seen->task, s->task.name);
	s->depth = l->depth;
	s->tid = seen->thr->tid;
	say_where(s->where, sizeof s->where, seen->thr);
}

static void
count_light(const struct nur_light_seen *seen, void *count)
{
	(void)seen;
	(*(size_t *)count)++;
}

static void
count_unfinished(struct nursery *root, size_t *tasks, size_t *inners)
{
	struct nursery *n;

	*tasks = *inners = 0;
	for (n = root; n != NULL; n = nur_nursery_after(n, root)) {
		nur_lock(&n->lock);
		*tasks += n->unfinished;
		nur_light_each(n, count_light, tasks);
		nur_nursery_unlock(n);
		*inners += n != root;
	}
}

static int
depth_below(const struct nursery *n, const struct nursery *root)
{
	int depth = 0;

	for (; n != root && depth < DEEPEST; n = n->parent)
		depth++;
	return depth;
}

static void
list_inner_locked(struct nursery_report *r, const struct nursery *n,
    int depth)
{
	struct inner *i = &r->inner[r->inners++];

	i->at = r->unfinished;
	i->depth = depth;
	i->unfinished = n->unfinished;
	memcpy(i->name, n->name, sizeof i->name);
}

/* Of n and all inside; those that come meanwhile may be missing.  One is
 * named even without memory.  No task ends while it is looked at: the lock
 * of its nursery is held. */
static void
list_unfinished(struct nursery_report *r, struct nursery *root)
{
	struct nursery *n;
	struct list light = { .report = r };
	size_t room, inners;
	int depth;

	nur_lock(&nur_registry_lock);
	nur_look_begins();
	count_unfinished(root, &room, &inners);
	r->stuck = nur_alloc((room + 1) * sizeof *r->stuck);
	if (r->stuck == NULL) {
		r->stuck = &r->one_stuck;
		room = 1;
	}
	if (inners > 0)
		r->inner = nur_alloc(inners * sizeof *r->inner);
	for (n = root; n != NULL; n = nur_nursery_after(n, root)) {
		depth = depth_below(n, root);
		nur_lock(&n->lock);
		if (n != root && r->inner != NULL)
			list_inner_locked(r, n, depth);
		list_stuck_locked(r, &n->tasks, room, depth);
		list_stuck_locked(r, &n->queue, room, depth);
		light.room = room;
		light.depth = depth;
		nur_light_each(n, list_light, &light);
		nur_nursery_unlock(n);
	}
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
}

void
nur_report_of_open(struct nursery_report *r, struct nursery *n)
{
	nur_lock(&n->lock);
	fill_but_failures_locked(r, n);
	copy_failures_locked(r, n);
	nur_nursery_unlock(n);
	list_unfinished(r, n);
}

/* ---- reading ---- */

static int
result_copy(struct nursery_result *out, const struct nur_failure *f)
{
	struct nursery_result full = NURSERY_RESULT_INIT;
	size_t size;

	if (out == NULL || out->size < sizeof out->size)
		return EINVAL;
	size = out->size;
	full.task = f->task;
	full.name = f->name;
	full.code = f->code;
	full.cancelled = f->cancelled;
	full.started = f->started;
	full.ended = f->ended;
	memcpy(out, &full, size < sizeof full ? size : sizeof full);
	out->size = size;
	return 0;
}

int
nursery_report_counts(const struct nursery_report *r,
    struct nursery_counts *out)
{
	size_t size;

	if (r == NULL || out == NULL || out->size < sizeof out->size)
		return EINVAL;
	size = out->size;
	memcpy(out, &r->counts, size < sizeof r->counts ? size :
	    sizeof r->counts);
	out->size = size;
	return 0;
}

size_t
nursery_report_failed(const struct nursery_report *r)
{
	return r == NULL ? 0 : r->failed;
}

int
nursery_report_failure(const struct nursery_report *r, size_t i,
    struct nursery_result *out)
{
	if (r == NULL || i >= r->failed)
		return EINVAL;
	return result_copy(out, i == 0 ? &r->first : &r->others[i - 1]);
}

size_t
nursery_report_unfinished(const struct nursery_report *r)
{
	return r == NULL ? 0 : r->unfinished;
}

int
nursery_report_stuck(const struct nursery_report *r, size_t i,
    struct nursery_result *out)
{
	if (r == NULL || i >= r->unfinished)
		return EINVAL;
	return result_copy(out, &r->stuck[i].task);
}

int
nursery_report_cause(const struct nursery_report *r,
    struct nursery_cause *out)
{
	size_t size;

	if (r == NULL || out == NULL || out->size < sizeof out->size)
		return EINVAL;
	size = out->size;
	memcpy(out, &r->cause, size < sizeof r->cause ? size :
	    sizeof r->cause);
	out->size = size;
	return 0;
}

/* ---- printing ---- */

static void
print_code(FILE *to, int code)
{
	if ((code & ~0xffff) == NURSERY_SIGNAL(0))
		(void)fprintf(to, "signal %d", code & 0xffff);
	else if ((code & ~0xffff) == NURSERY_EXIT(0))
		(void)fprintf(to, "exit status %d", code & 0xffff);
	else
		(void)fprintf(to, "%d (%s)", code, strerror(code));
}

static void
print_cause(const struct nursery_report *r, FILE *to)
{
	static const char *const what[] = { "live", "drained", "cancelled",
		"aborted" };

	(void)fprintf(to, "  %s: ", what[r->cause.level & 3]);
	print_code(to, r->cause.code);
	if (r->cause.why != NULL)
		(void)fprintf(to, ", %s", r->cause.why);
	if (r->cause.by_task != 0)
		(void)fprintf(to, ", by task %llu",
		    (unsigned long long)r->cause.by_task);
	if (r->cause.by_pid != 0)
		(void)fprintf(to, ", by process %d", (int)r->cause.by_pid);
	(void)fputc('\n', to);
}

static void
print_failure(const struct nur_failure *f, FILE *to)
{
	(void)fprintf(to, "  task %llu \"%s\" failed: ",
	    (unsigned long long)f->task, f->name);
	print_code(to, f->code);
	(void)fputc('\n', to);
}

static void
print_stuck(const struct stuck *s, FILE *to)
{
	(void)fprintf(to, "%*stask %llu \"%s\" unfinished after %.1fs",
	    2 + 2 * s->depth, "", (unsigned long long)s->task.task,
	    s->task.name, (double)s->age / 1e9);
	if (s->tid != 0)
		(void)fprintf(to, ", thread %d", s->tid);
	(void)fprintf(to, ", %s\n", s->where);
}

static void
print_inner(const struct inner *i, FILE *to)
{
	(void)fprintf(to, "%*snursery \"%s\" open, %u tasks unfinished\n",
	    2 * i->depth, "", i->name, i->unfinished);
}

/* As a tree: each nursery, then its tasks, then those inside it. */
static void
print_unfinished(const struct nursery_report *r, FILE *to)
{
	size_t i, k = 0;

	for (i = 0; i <= r->unfinished; i++) {
		for (; k < r->inners && r->inner[k].at == i; k++)
			print_inner(&r->inner[k], to);
		if (i < r->unfinished)
			print_stuck(&r->stuck[i], to);
	}
	if (r->open_inside > 0 && r->inners == 0)
		(void)fprintf(to, "  %u nurseries inside are open\n",
		    r->open_inside);
}

int
nursery_report_print(const struct nursery_report *r, FILE *to)
{
	size_t i;

	if (r == NULL || to == NULL)
		return EINVAL;
	(void)fprintf(to, "nursery \"%s\": %llu tasks, %llu succeeded, "
	    "%llu failed, %llu cancelled, %llu discarded\n", r->name,
	    (unsigned long long)r->counts.spawned,
	    (unsigned long long)r->counts.succeeded,
	    (unsigned long long)r->counts.failed,
	    (unsigned long long)r->counts.cancelled,
	    (unsigned long long)r->counts.discarded);
	if (r->cancelled)
		print_cause(r, to);
	for (i = 0; i < r->failed; i++)
		print_failure(i == 0 ? &r->first : &r->others[i - 1], to);
	if (r->counts.failed > r->failed)
		(void)fprintf(to, "  and %llu more failures\n",
		    (unsigned long long)(r->counts.failed - r->failed));
	print_unfinished(r, to);
	return ferror(to) ? EIO : 0;
}

void
nursery_report_free(struct nursery_report *r)
{
	if (r == NULL)
		return;
	nur_free(r->others);
	if (r->stuck != &r->one_stuck)
		nur_free(r->stuck);
	nur_free(r->inner);
	nur_free(r);
}
