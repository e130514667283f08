/* SPDX-License-Identifier: MIT */
/* Animals that die too early, too late, twice, or not at all. */
#include "config.h"

#include "zoo.h"

#include <stdlib.h>

static bool broken;

/* ---- free ---- */

static void
double_free(void)
{
	void *p = model_alloc(16);

	model_free(p);
	model_free(p);
}

static void
leak(void)
{
	(void)model_alloc(16);
}

static void
read_it(void *p)
{
	(void)*(volatile int *)p;
}

static void
use_after_free(void)
{
	int *p = model_alloc(sizeof *p);

	model_free(p);
	read_it(p);
}

/* The reader comes first in every run: it is a failure all the same. */
static uint32_t finished;

static void
read_and_say(void *p)
{
	read_it(p);
	if (broken)
		nur_store_relaxed(&finished, 1);
	else
		nur_store_release(&finished, 1);
}

static void
free_when_said(void)
{
	int *p = model_alloc(sizeof *p);
	struct model_thread *t = model_start(read_and_say, p);

	while (nur_load_acquire(&finished) == 0)
		model_yield();
	model_free(p);
	model_join(t);
}

static void
free_early(void)
{
	broken = true;
	free_when_said();
}

static void
free_in_time(void)
{
	free_when_said();
}

/* ---- reference counts ---- */

struct counted {
	uint32_t refs;
	int content;
};

static void
unref(void *p)
{
	struct counted *c = p;
	uint32_t before;

	(void)*(volatile int *)&c->content;
	if (broken)
		before = (uint32_t)model_rmw(&c->refs, sizeof c->refs,
		    MODEL_SUB, 1, MODEL_RELAXED);
	else
		before = nur_fetch_sub_acq_rel(&c->refs, 1);
	if (before == 1)
		model_free(c);
}

static void
two_refs(void)
{
	struct counted *c = model_alloc(sizeof *c);
	struct model_thread *t;

	c->refs = 2;
	t = model_start(unref, c);
	unref(c);
	model_join(t);
}

static void
relaxed_refs(void)
{
	broken = true;
	two_refs();
}

static void
ordered_refs(void)
{
	two_refs();
}

/* ---- last touch: the closer frees what the last task still looks at ---- */

struct scope {
	nur_raw_mutex lock;
	uint32_t done;
	int unfinished, wanted;
};

static void
leave(void *arg)
{
	struct scope *s = arg;
	int last;

	nur_raw_mutex_lock(&s->lock);
	last = --s->unfinished == 0;
	if (last)
		nur_store_relaxed(&s->done, 1);
	nur_raw_mutex_unlock(&s->lock);
	if (broken)
		last = last && s->wanted;
	if (last)
		model_futex_wake(&s->done, 1);
}

static void
close_scope(struct scope *s)
{
	nur_raw_mutex_lock(&s->lock);
	while (s->unfinished > 0) {
		nur_raw_mutex_unlock(&s->lock);
		(void)model_futex_wait(&s->done, 0, INT64_MAX);
		nur_raw_mutex_lock(&s->lock);
	}
	nur_raw_mutex_unlock(&s->lock);
	nur_raw_mutex_fini(&s->lock);
	model_free(s);
}

static void
one_task(void)
{
	struct scope *s = model_alloc(sizeof *s);
	struct model_thread *t;

	s->unfinished = 1;
	s->wanted = 1;
	t = model_start(leave, s);
	close_scope(s);
	model_join(t);
}

static void
last_touch(void)
{
	broken = true;
	one_task();
}

static void
no_last_touch(void)
{
	one_task();
}

/* ---- a child that is born while its parent is cancelled ---- */

struct token {
	nur_raw_mutex lock;
	uint32_t cancelled;
	struct token *kid;
};

static struct token root, kid;

static void
be_born(void *unused)
{
	uint32_t cancelled;

	(void)unused;
	if (broken) {
		cancelled = nur_load_acquire(&root.cancelled);
		nur_raw_mutex_lock(&root.lock);
	} else {
		nur_raw_mutex_lock(&root.lock);
		cancelled = nur_load_acquire(&root.cancelled);
	}
	root.kid = &kid;
	nur_raw_mutex_unlock(&root.lock);
	if (cancelled)
		nur_store_release(&kid.cancelled, 1);
}

static void
cancel_root(void)
{
	struct model_thread *t = model_start(be_born, NULL);

	nur_raw_mutex_lock(&root.lock);
	nur_store_release(&root.cancelled, 1);
	if (root.kid != NULL)
		nur_store_release(&root.kid->cancelled, 1);
	nur_raw_mutex_unlock(&root.lock);
	model_join(t);
	MODEL_ASSERT(nur_load_acquire(&kid.cancelled) == 1);
}

static void
missed_child(void)
{
	broken = true;
	cancel_root();
}

static void
no_missed_child(void)
{
	cancel_root();
}

/* ---- a stack without locks whose pop is fooled: A-B-A ---- */

struct node {
	struct node *next;
};

static struct node nodes[3], *top;

static nur_raw_mutex pop_lock;

static struct node *
pop_freely(void)
{
	struct node *n = nur_load_acquire(&top), *next;

	do {
		if (n == NULL)
			return NULL;
		next = nur_load_relaxed(&n->next);
	} while (!nur_cas_acq_rel(&top, &n, next));
	return n;
}

/* One at a time, and nobody pushes while one pops. */
static struct node *
pop(void)
{
	struct node *n;

	if (broken)
		return pop_freely();
	nur_raw_mutex_lock(&pop_lock);
	n = pop_freely();
	nur_raw_mutex_unlock(&pop_lock);
	return n;
}

static void
push(struct node *n)
{
	struct node *old = nur_load_relaxed(&top);

	do
		nur_store_relaxed(&n->next, old);
	while (!nur_cas_acq_rel(&top, &old, n));
}

static void
pop_two_push_one(void *unused)
{
	struct node *first = pop(), *second = pop();

	(void)unused;
	if (!broken)
		nur_raw_mutex_lock(&pop_lock);
	if (first != NULL)
		push(first);
	if (!broken)
		nur_raw_mutex_unlock(&pop_lock);
	/* `second` is ours: nobody else may get it. */
	nur_store_relaxed(&nodes[2].next, second);
}

static void
pop_against_pop_and_push(void)
{
	struct model_thread *t;
	struct node *mine, *n;

	nodes[0].next = &nodes[1];
	top = &nodes[0];
	t = model_start(pop_two_push_one, NULL);
	mine = pop();
	model_join(t);
	for (n = top; n != NULL; n = n->next)
		MODEL_ASSERT(n != mine && n != nodes[2].next);
}

static void
a_b_a(void)
{
	broken = true;
	pop_against_pop_and_push();
}

static void
a_b_a_locked(void)
{
	pop_against_pop_and_push();
}

/* ---- requests that fail ---- */

static void
ask_for_memory(void)
{
	int *p = model_fault() ? NULL : model_alloc(sizeof *p);

	if (p == NULL)
		model_cover("refused");
	if (broken)
		MODEL_ASSERT(p != NULL);
	model_free(p);
}

static void
unchecked_request(void)
{
	broken = true;
	ask_for_memory();
}

static void
checked_request(void)
{
	ask_for_memory();
	ask_for_memory();
}

/* ---- threads ---- */

static void
nothing(void *unused)
{
	(void)unused;
}

static void
leaked_thread(void)
{
	(void)model_start(nothing, NULL);
}

static void
joined_twice(void)
{
	struct model_thread *t = model_start(nothing, NULL);

	model_join(t);
	model_join(t);
}

/* ---- crashes ---- */

static volatile int depth_wanted = 1 << 20;

static int
deep(int n)
{
	volatile char room[256];

	room[0] = (char)n;
	return n == 0 ? room[0] : deep(n - 1) + room[0];
}

static void
overflow(void *unused)
{
	(void)unused;
	(void)deep(depth_wanted);
}

static void
stack_overflow(void)
{
	model_join(model_start(overflow, NULL));
}

static int *volatile nowhere;

static void
write_nowhere(void)
{
	if (model_choose(3) == 1)
		*nowhere = 1;
}

const struct animal zoo_life[] = {
	{ "double free", double_free, "free of what is not allocated",
	    { 0 }, { NULL } },
	{ "leak", leak, "leak: block0", { 0 }, { NULL } },
	{ "use after free", use_after_free, "use of freed memory", { 0 },
	    { NULL } },
	{ "frees under a reader", free_early, "data race at block0", { 0 },
	    { NULL } },
	{ "frees under a reader, mended", free_in_time, NULL, { 0 },
	    { NULL } },
	{ "relaxed count", relaxed_refs, "data race at block0", { 0 },
	    { NULL } },
	{ "relaxed count, mended", ordered_refs, NULL, { 0 }, { NULL } },
	{ "last touch", last_touch, "block0", { 0 }, { NULL } },
	{ "last touch, mended", no_last_touch, NULL, { .spurious = 1 },
	    { NULL } },
	{ "missed child", missed_child, "kid.cancelled) == 1", { 0 },
	    { NULL } },
	{ "missed child, mended", no_missed_child, NULL, { 0 }, { NULL } },
	{ "A-B-A", a_b_a, "n != mine", { 0 }, { NULL } },
	{ "A-B-A, mended", a_b_a_locked, NULL, { .stale = 1 }, { NULL } },
	{ "unchecked request", unchecked_request, "p != ", { .faults = 1 },
	    { NULL } },
	{ "unchecked request, unprovoked", unchecked_request, NULL, { 0 },
	    { NULL } },
	{ "checked request", checked_request, NULL, { .faults = 2 },
	    { "refused" } },
	{ "overflows its stack", stack_overflow, "crash: access to no memory",
	    { 0 }, { NULL } },
	{ "writes to NULL", write_nowhere, "no memory at NULL", { 0 },
	    { NULL } },
	{ "leaked thread", leaked_thread, "neither joined nor detached",
	    { 0 }, { NULL } },
	{ "joined twice", joined_twice, "joined twice", { 0 }, { NULL } },
	{ NULL, NULL, NULL, { 0 }, { NULL } }
};
