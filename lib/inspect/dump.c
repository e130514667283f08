/* SPDX-License-Identifier: MIT */
/* The tree of nurseries and tasks as text.  Takes the registry lock, and each
 * nursery's in turn; waits for no task. */
#include "config.h"

#include "base/sys.h"
#include "nursery/debug.h"
#include "scope/nursery.h"
#include "sched/pool.h"

#include <dlfcn.h>
#include <unistd.h>
#include <string.h>

static void
print_age(FILE *to, int64_t since, int64_t now)
{
	(void)fprintf(to, "%.1fs", (double)(now - since) / 1e9);
}

static void
print_name(FILE *to, const struct nursery_task *t)
{
	Dl_info info;
	void *fn;

	memcpy(&fn, &t->fn, sizeof fn);
	if (t->name[0] != '\0')
		(void)fprintf(to, "\"%s\"", t->name);
	else if (dladdr(fn, &info) != 0 && info.dli_sname != NULL &&
	    info.dli_saddr == fn)
		(void)fprintf(to, "\"%s\"", info.dli_sname);
	else
		(void)fprintf(to, "\"%p\"", fn);
}

static void
print_task(FILE *to, const struct nursery_task *t, int depth, int64_t now)
{
	const struct nur_thr *thr = nur_load_acquire(&t->thr);
	uint32_t op;
	int fd;

	(void)fprintf(to, "%*stask %llu ", depth * 2, "",
	    (unsigned long long)t->id);
	print_name(to, t);
	if (thr == NULL) {
		(void)fprintf(to, " queued ");
		print_age(to, nur_load_relaxed(&t->since), now);
		(void)fputc('\n', to);
		return;
	}
	op = nur_load_relaxed(&thr->op);
	fd = nur_load_relaxed(&thr->op_fd);
	(void)fprintf(to, " running ");
	print_age(to, nur_load_relaxed(&t->since), now);
	if (op != NUR_OP_NONE && fd >= 0)
		(void)fprintf(to, " in %s(fd %d)", nur_op_names[op], fd);
	else if (op != NUR_OP_NONE)
		(void)fprintf(to, " in %s", nur_op_names[op]);
	(void)fprintf(to, " thread %d\n", thr->tid);
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

static int
depth_of(const struct nursery *n)
{
	int depth = 0;

	for (n = n->parent; n != NULL; n = n->parent)
		depth++;
	return depth;
}

static void
print_nursery(FILE *to, struct nursery *n, int64_t now)
{
	static const char *const states[] = { "open", "closing", "closed" };
	int depth = depth_of(n);
	struct nur_link *l;

	nur_lock(&n->lock);
	(void)fprintf(to, "%*snursery \"%s\" %s", depth * 2, "", n->name,
	    states[n->state]);
	print_cause(to, n);
	(void)fprintf(to, " running %u queued %u\n", n->running, n->queued);
	NUR_LIST_FOREACH(l, &n->tasks)
		print_task(to, NUR_CONTAINER(l, struct nursery_task, link),
		    depth + 1, now);
	NUR_LIST_FOREACH(l, &n->queue)
		print_task(to, NUR_CONTAINER(l, struct nursery_task, link),
		    depth + 1, now);
	nur_unlock(&n->lock);
}

/* Each nursery after its parent, the tree in order. */
static void
print_below(FILE *to, const struct nursery *parent, int64_t now)
{
	struct nur_link *l;
	struct nursery *n;

	NUR_LIST_FOREACH(l, &nur_nurseries) {
		n = NUR_CONTAINER(l, struct nursery, all);
		if (n->parent != parent)
			continue;
		print_nursery(to, n, now);
		print_below(to, n, now);
	}
}

int
nursery_dump(FILE *to, enum nursery_format format)
{
	if (to == NULL)
		return EINVAL;
	if (format == NURSERY_JSON)
		return ENOTSUP;
	if (format != NURSERY_TEXT)
		return EINVAL;
	nur_lock(&nur_registry_lock);
	print_below(to, NULL, nur_now());
	nur_unlock(&nur_registry_lock);
	return fflush(to) == 0 ? 0 : EIO;
}

void
nursery_dump_from_signal(int fd)
{
	static const char text[] = "libnursery: nursery_dump_from_signal is "
	    "not built in this release\n";

	(void)!write(fd, text, sizeof text - 1);
}

int
nursery_get_stats(struct nursery_stats *out)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nur_link *l;
	struct nursery *n;
	size_t size;

	if (out == NULL || out->size < sizeof out->size)
		return EINVAL;
	size = out->size;
	nur_pool_counts(&s.threads, &s.idle_threads);
	s.tokens = nur_token_live();
	nur_lock(&nur_registry_lock);
	NUR_LIST_FOREACH(l, &nur_nurseries) {
		n = NUR_CONTAINER(l, struct nursery, all);
		nur_lock(&n->lock);
		s.nurseries++;
		s.tasks_running += n->running;
		s.tasks_queued += n->queued;
		nur_unlock(&n->lock);
	}
	nur_unlock(&nur_registry_lock);
	memcpy(out, &s, size < sizeof s ? size : sizeof s);
	out->size = size;
	return 0;
}
