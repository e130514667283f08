/* SPDX-License-Identifier: MIT */
/* What a nursery leaves behind: counts, failures, who did not stop. */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "scope/attr.h"

#include <stdlib.h>
#include <string.h>

struct stuck {
	struct nur_failure task;
	char op[24];
	int fd, tid;
	int64_t age;
};

struct nursery_report {
	char name[NUR_NAME_MAX];
	struct nursery_counts counts;
	struct nursery_cause cause;
	bool cancelled;
	size_t failed, unfinished;
	struct stuck *stuck;
	struct nur_failure failures[];
};

static size_t
max_errors(const struct nursery *n)
{
	return n->attr.max_errors == 0 ? NUR_FIRST_ERRORS :
	    n->attr.max_errors;
}

struct nursery_report *
nur_report_new(const struct nursery *n)
{
	return nur_alloc(sizeof(struct nursery_report) + max_errors(n) *
	    sizeof(struct nur_failure));
}

/* The first failure has its place in the nursery; the others need memory,
 * and without it are counted only. */
void
nur_failure_keep_locked(struct nursery *n, const struct nursery_task *t)
{
	struct nur_failure *f = &n->first;

	if (n->failed >= max_errors(n))
		return;
	if (n->failed > 0) {
		if (n->failures == NULL)
			n->failures = nur_alloc((max_errors(n) - 1) *
			    sizeof *n->failures);
		if (n->failures == NULL)
			return;
		f = &n->failures[n->failed - 1];
	}
	n->failed++;
	f->task = t->id;
	f->started = nur_load_relaxed(&t->since);
	f->ended = t->ended;
	f->code = t->result;
	f->cancelled = t->cancelled;
	memcpy(f->name, t->name, sizeof f->name);
}

void
nur_report_fill(struct nursery_report *r, struct nursery *n)
{
	const struct nursery_cause empty = NURSERY_CAUSE_INIT;
	size_t i;

	r->cause = empty;
	r->cancelled = nursery_token_cause(&n->token, NURSERY_LIVE,
	    &r->cause) != 0;
	nur_lock(&n->lock);
	memcpy(r->name, n->name, sizeof r->name);
	r->counts = n->counts;
	r->failed = n->failed;
	for (i = 0; i < n->failed; i++)
		r->failures[i] = i == 0 ? n->first : n->failures[i - 1];
	nur_unlock(&n->lock);
}

static void
fill_stuck(struct stuck *s, const struct nursery_task *t)
{
	const struct nur_thr *thr = nur_load_acquire(&t->thr);
	uint32_t op = NUR_OP_NONE;

	memset(s, 0, sizeof *s);
	s->task.task = t->id;
	s->task.started = nur_load_relaxed(&t->since);
	memcpy(s->task.name, t->name, sizeof s->task.name);
	s->age = nur_now() - s->task.started;
	s->fd = -1;
	if (thr != NULL) {
		op = nur_load_relaxed(&thr->op);
		s->fd = nur_load_relaxed(&thr->op_fd);
		s->tid = thr->tid;
	}
	strcpy(s->op, thr == NULL ? "queued" : nur_op_names[op]);
}

int
nur_report_stuck(struct nursery_report *r, struct nursery *n)
{
	struct nur_link *l;
	size_t i = 0, room;

	nur_lock(&n->lock);
	room = n->unfinished;
	nur_unlock(&n->lock);
	if (room == 0)
		return 0;
	r->stuck = nur_alloc(room * sizeof *r->stuck);
	if (r->stuck == NULL)
		return ENOMEM;
	nur_lock(&n->lock);
	for (l = n->tasks.next; l != &n->tasks && i < room; l = l->next)
		fill_stuck(&r->stuck[i++], NUR_CONTAINER(l,
		    struct nursery_task, link));
	for (l = n->queue.next; l != &n->queue && i < room; l = l->next)
		fill_stuck(&r->stuck[i++], NUR_CONTAINER(l,
		    struct nursery_task, link));
	nur_unlock(&n->lock);
	r->unfinished = i;
	return 0;
}

int
nur_result_copy(struct nursery_result *out, const struct nur_failure *f)
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
	return nur_result_copy(out, &r->failures[i]);
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
	return nur_result_copy(out, &r->stuck[i].task);
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

int
nursery_report_print(const struct nursery_report *r, FILE *to)
{
	const struct stuck *s;
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
		(void)fprintf(to, "  level %d, code %d%s%s\n", r->cause.level,
		    r->cause.code, r->cause.why == NULL ? "" : ": ",
		    r->cause.why == NULL ? "" : r->cause.why);
	for (i = 0; i < r->failed; i++)
		(void)fprintf(to, "  task %llu \"%s\" failed: %d\n",
		    (unsigned long long)r->failures[i].task,
		    r->failures[i].name, r->failures[i].code);
	for (i = 0; i < r->unfinished; i++) {
		s = &r->stuck[i];
		(void)fprintf(to, "  task %llu \"%s\" unfinished after %lld "
		    "ms, thread %d, in %s(fd %d)\n",
		    (unsigned long long)s->task.task, s->task.name,
		    (long long)(s->age / 1000000), s->tid, s->op, s->fd);
	}
	return ferror(to) ? EIO : 0;
}

void
nursery_report_free(struct nursery_report *r)
{
	if (r == NULL)
		return;
	nur_free(r->stuck);
	nur_free(r);
}
