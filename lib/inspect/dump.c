/* SPDX-License-Identifier: MIT */
/* The tree of nurseries and tasks as text.  Takes the registry lock, and each
 * nursery's in turn; waits for no task. */
#include "config.h"

#include "base/sys.h"
#include "nursery/debug.h"
#include "scope/look.h"
#include "scope/light.h"
#include "sched/pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
print_age(FILE *to, int64_t since, int64_t now)
{
	(void)fprintf(to, "%.1fs", (double)(now - since) / 1e9);
}

static void
print_call(FILE *to, uint32_t op, int fd)
{
	char text[NUR_OP_TEXT];

	nur_op_text(text, op, fd);
	(void)fprintf(to, " %sin %s", (op & NUR_OP_BUSY) != 0 ? "busy " : "",
	    text);
}

static void
print_task(FILE *to, const struct nursery_task *t, int depth, int64_t now)
{
	const struct nur_thr *thr = nur_load_acquire(&t->thr);
	int64_t since = nur_load_relaxed(&t->since);
	char label[NUR_NAME_MAX];
	uint32_t op;

	nur_task_label(t, label);
	(void)fprintf(to, "%*stask %llu \"%s\"", depth * 2, "",
	    (unsigned long long)t->id, label);
	if (since == 0) {	/* its thread is on the way to it */
		(void)fprintf(to, " starting\n");
		return;
	}
	(void)fprintf(to, thr == NULL ? " queued " : " running ");
	print_age(to, since, now);
	if (thr == NULL) {
		(void)fputc('\n', to);
		return;
	}
	op = nur_load_relaxed(&thr->op);
	if (op != NUR_OP_NONE)
		print_call(to, op, nur_load_relaxed(&thr->op_fd));
	(void)fprintf(to, " thread %d\n", thr->tid);
}

struct print {
	FILE *to;
	int depth;
	const struct nursery *private;	/* whose tasks; NULL: the shared one's */
	uint64_t running;
};

static void
print_light(const struct nur_light_seen *s, void *arg)
{
	const struct print *p = arg;
	uint32_t op = nur_load_relaxed(&s->thr->op);
	char label[NUR_NAME_MAX];

	if (s->private != p->private)
		return;
	nur_task_label(&s->task, label);
	(void)fprintf(p->to, "%*stask %llu \"%s\" running", p->depth * 2, "",
	    (unsigned long long)s->task.id, label);
	if (op != NUR_OP_NONE)
		print_call(p->to, op, nur_load_relaxed(&s->thr->op_fd));
	(void)fprintf(p->to, " thread %d\n", s->thr->tid);
}

static void
count_light(const struct nur_light_seen *s, void *arg)
{
	struct print *p = arg;

	p->running += s->private == p->private;
}

static void
print_cause(FILE *to, const struct nursery *n)
{
	static const char *const names[] = { "live", "drain", "cancel",
		"abort" };
	struct nursery_cause c = NURSERY_CAUSE_INIT;
	unsigned level = nur_token_level(&n->token);

	(void)fprintf(to, " %s", names[level]);
	if (level == NURSERY_LIVE)
		return;
	(void)nursery_token_cause(&n->token, NURSERY_LIVE, &c);
	if (c.code >= 0x10000 && c.code < 0x20000)
		(void)fprintf(to, " by signal %d", c.code & 0xffff);
	else
		(void)fprintf(to, " code %d", c.code);
	if (c.why != NULL)
		(void)fprintf(to, " (%s)", c.why);
	if (c.by_pid != 0)
		(void)fprintf(to, " from pid %d", (int)c.by_pid);
	if (c.by_task != 0)
		(void)fprintf(to, " by task %llu",
		    (unsigned long long)c.by_task);
}

static void
print_nursery(FILE *to, struct nursery *n, int depth, int64_t now)
{
	static const char *const states[] = { "open", "closing", "closed" };
	struct print p = { .to = to, .depth = depth + 1 };
	uint64_t queued, running;
	struct nur_link *l;

	nur_lock(&n->lock);
	nur_light_numbers(n, &queued, &running);
	(void)fprintf(to, "%*snursery \"%s\" %s", depth * 2, "", n->name,
	    states[n->state]);
	print_cause(to, n);
	(void)fprintf(to, " running %llu queued %llu\n", (unsigned long long)
	    (n->running + running), (unsigned long long)(n->queued + queued));
	NUR_LIST_FOREACH(l, &n->tasks)
		print_task(to, NUR_CONTAINER(l, struct nursery_task, link),
		    depth + 1, now);
	NUR_LIST_FOREACH(l, &n->queue)
		print_task(to, NUR_CONTAINER(l, struct nursery_task, link),
		    depth + 1, now);
	nur_light_each(n, print_light, &p);
	nur_nursery_unlock(n);
}

/* A private nursery has no name, and the level of what is around it. */
static void
print_private(FILE *to, const struct nur_private *private,
    const struct nursery *n, int depth)
{
	struct print p = { .to = to, .depth = depth + private->depth + 1,
		.private = private->nursery };

	nur_light_each(n, count_light, &p);
	(void)fprintf(to, "%*snursery \"\" open", (p.depth - 1) * 2, "");
	print_cause(to, n);
	(void)fprintf(to, " running %llu queued %llu\n",
	    (unsigned long long)p.running, (unsigned long long)
	    (private->tasks > p.running ? private->tasks - p.running : 0));
	nur_light_each(n, print_light, &p);
}

static struct nursery *
first(void)
{
	return nur_list_empty(&nur_roots) ? NULL :
	    NUR_CONTAINER(nur_roots.next, struct nursery, beside);
}

static int
depth_of(const struct nursery *n)
{
	int depth = 0;

	while ((n = n->parent) != NULL)
		depth++;
	return depth;
}

/* Registry lock held. */
static void
print_tree(FILE *to, const struct nur_private *private, size_t count)
{
	int64_t now = nur_now();
	struct nursery *n;
	size_t i;
	int depth;

	for (n = first(); n != NULL; n = nur_nursery_after(n, NULL)) {
		depth = depth_of(n);
		print_nursery(to, n, depth, now);
		for (i = 0; i < count; i++)
			if (private[i].around == n)
				print_private(to, &private[i], n, depth);
	}
}

/* Into memory first: whoever reads the stream may need one of our locks to
 * go on. */
static int
render(char **text, size_t *len)
{
	struct nur_private *private;
	size_t count;
	FILE *f;

	f = nur_fault(NUR_RES_MEMORY) ? NULL : open_memstream(text, len);
	if (f == NULL)
		return ENOMEM;
	nur_lock(&nur_registry_lock);
	nur_look_begins();
	private = nur_look_private(&count);
	print_tree(f, private, count);
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
	nur_free(private);
	if (fclose(f) == 0)
		return 0;
	free(*text);
	return ENOMEM;
}

int
nursery_dump(FILE *to, enum nursery_format format)
{
	char *text = NULL;
	size_t len = 0;
	int rc;

	if (to == NULL)
		return EINVAL;
	if (format == NURSERY_JSON)
		return ENOTSUP;
	if (format != NURSERY_TEXT)
		return EINVAL;
	rc = render(&text, &len);
	if (rc != 0)
		return rc;
	if (fwrite(text, 1, len, to) != len || fflush(to) != 0)
		rc = EIO;
	free(text);
	return rc;
}

void
nursery_dump_from_signal(int fd)
{
	static const char text[] = "libnursery: nursery_dump_from_signal is "
	    "not built in this release\n";

	(void)!write(fd, text, sizeof text - 1);
}

static void
add_running(const struct nur_light_seen *s, void *count)
{
	*(uint64_t *)count += s->private != NULL;
}

static void
add_tasks(const struct nur_private *p, void *count)
{
	*(uint64_t *)count += p->tasks;
}

int
nursery_get_stats(struct nursery_stats *out)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	uint64_t queued, running, workers, idle, inner = 0, inner_running = 0;
	struct nursery *n;
	size_t size;

	if (out == NULL || out->size < sizeof out->size)
		return EINVAL;
	size = out->size;
	nur_pool_counts(&s.threads, &s.idle_threads);
	nur_lane_counts(&workers, &idle);
	s.threads += workers;
	s.idle_threads += idle;
	s.tokens = nur_token_live();
	s.nurseries = nur_nurseries_open();
	nur_lock(&nur_registry_lock);
	nur_look_begins();
	for (n = first(); n != NULL; n = nur_nursery_after(n, NULL)) {
		nur_lock(&n->lock);
		nur_light_numbers(n, &queued, &running);
		s.tasks_running += n->running + running;
		s.tasks_queued += n->queued + queued;
		nur_nursery_unlock(n);
		nur_light_each(n, add_running, &inner_running);
	}
	nur_look_at_private(add_tasks, &inner);
	nur_look_ends();
	nur_unlock(&nur_registry_lock);
	/* Counted one after the other. */
	if (inner_running > inner)
		inner_running = inner;
	s.tasks_running += inner_running;
	s.tasks_queued += inner - inner_running;
	memcpy(out, &s, size < sizeof s ? size : sizeof s);
	out->size = size;
	return 0;
}
