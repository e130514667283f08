/* SPDX-License-Identifier: MIT */
/*
 * Tests of the machine itself: the zoo by the search, each failure replayed,
 * what the random modes find, and that known states are known rightly.
 */
#include "config.h"

#include "zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks, failures;

static void
verdict(const char *name, bool good, const char *why)
{
	checks++;
	if (good)
		return;
	failures++;
	printf("FAILED: %s: %s\n", name, why);
}

static struct model_config
config_of(const struct animal *a)
{
	struct model_config c = a->config;

	if (c.preemptions == 0)
		c.preemptions = 2;
	return c;
}

static bool
as_expected(const struct animal *a, const struct model_result *r)
{
	if (a->expected == NULL)
		return !r->failed;
	return r->failed && strstr(r->failure, a->expected) != NULL;
}

static bool
reaches_all(const struct animal *a)
{
	int i;

	for (i = 0; i < 4 && a->reaches[i] != NULL; i++)
		if (model_covered(a->reaches[i]) == 0)
			return false;
	return true;
}

static void
replay(const struct animal *a, const struct model_result *found)
{
	struct model_config c = config_of(a);
	struct model_result r;

	if (strcmp(a->name, "remembers") == 0 ||
	    strcmp(a->name, "many choices") == 0)
		return;
	c.replay = found->replay;
	model_explore(a->body, &c, &r);
	verdict(a->name, r.failed && strcmp(r.failure, found->failure) == 0,
	    "the replay ended otherwise");
}

static void
visit(const struct animal *a, bool verbose)
{
	struct model_config c = config_of(a);
	struct model_result r;

	model_explore(a->body, &c, &r);
	printf("%-36s %7ld runs %7ld states  %s\n", a->name, r.executions,
	    r.states, r.failed ? r.failure : "passes");
	verdict(a->name, as_expected(a, &r), "not as expected");
	verdict(a->name, r.failed || r.complete, "not complete");
	verdict(a->name, r.failed || reaches_all(a), "not all was reached");
	if (r.failed)
		replay(a, &r);
	if (verbose && r.failed)
		model_print_failure(a->body, &c, &r);
}

static void
visit_all(const struct animal *a, const char *only)
{
	for (; a->name != NULL; a++)
		if (only == NULL || strcmp(only, a->name) == 0)
			visit(a, only != NULL);
}

static const struct animal *
find(const struct animal *a, const char *name)
{
	for (; a->name != NULL; a++)
		if (strcmp(a->name, name) == 0)
			return a;
	printf("no animal called %s\n", name);
	exit(2);
}

/* Whether the cache changes what is found or reached: it must not. */
static void
without_cache(const struct animal *a)
{
	struct model_config c = config_of(a);
	struct model_result with, without;

	model_explore(a->body, &c, &with);
	c.no_cache = true;
	c.max_seconds = 20;
	model_explore(a->body, &c, &without);
	printf("%-36s %7ld runs without the cache\n", a->name,
	    without.executions);
	verdict(a->name, as_expected(a, &without) && (without.failed ||
	    (without.complete && reaches_all(a))),
	    "otherwise without the cache");
	verdict(a->name, with.executions <= without.executions,
	    "more runs with the cache than without");
}

/* Two explorations of one program are the same. */
static void
twice(const struct animal *a)
{
	struct model_config c = config_of(a);
	struct model_result one, two;

	model_explore(a->body, &c, &one);
	model_explore(a->body, &c, &two);
	verdict(a->name, one.executions == two.executions && one.states ==
	    two.states && one.steps == two.steps, "differs the second time");
}

static void
by_chance(const struct animal *a, enum model_mode mode, long runs)
{
	struct model_config c = config_of(a);
	struct model_result r;

	c.mode = mode;
	c.depth = 3;
	c.seed = 1;
	c.max_executions = runs;
	model_explore(a->body, &c, &r);
	printf("%-36s %7ld runs by %s\n", a->name, r.executions, mode ==
	    MODEL_PCT ? "priorities" : "lot");
	verdict(a->name, as_expected(a, &r), "not found by chance");
	if (!r.failed)
		return;
	c.replay = r.replay;
	model_explore(a->body, &c, &r);
	verdict(a->name, as_expected(a, &r), "the replay ended otherwise");
}

/* Every interleaving, counted: two threads that do n and m steps, not
 * hindered by anything, have (n + m)! / (n! m!) orders. */
static uint32_t steps_a, steps_b;

static void
do_steps(void *which)
{
	uint32_t *p = which;
	int i;

	for (i = 0; i < 3; i++)
		(void)nur_fetch_add_relaxed(p, 1);
}

static void
two_times_three(void)
{
	struct model_thread *t = model_start(do_steps, &steps_a);

	do_steps(&steps_b);
	model_join(t);
}

static void
count_interleavings(void)
{
	struct model_config c = { .preemptions = -1, .no_cache = true };
	struct model_result r;

	/* The other's beginning is a step, too; our join has to wait. */
	model_explore(two_times_three, &c, &r);
	verdict("interleavings", r.complete && r.executions == 35,
	    "not 7! / (4! 3!) runs");
	c.no_cache = false;
	model_explore(two_times_three, &c, &r);
	verdict("interleavings", r.complete && r.executions - r.cut == 1,
	    "independent steps have one order");
}

int
main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	visit_all(zoo_sleep, only);
	visit_all(zoo_order, only);
	visit_all(zoo_life, only);
	visit_all(zoo_limit, only);
	if (only == NULL) {
		without_cache(find(zoo_sleep, "lost wake-up, mended"));
		without_cache(find(zoo_sleep, "ABBA"));
		without_cache(find(zoo_sleep, "waits once, mended"));
		without_cache(find(zoo_order, "Dekker with fences"));
		without_cache(find(zoo_order, "lost count, mended"));
		without_cache(find(zoo_life, "last touch, mended"));
		twice(find(zoo_order, "three counters"));
		twice(find(zoo_life, "last touch, mended"));
		by_chance(find(zoo_sleep, "lost wake-up"), MODEL_RANDOM, 2000);
		by_chance(find(zoo_sleep, "lost wake-up"), MODEL_PCT, 2000);
		by_chance(find(zoo_life, "A-B-A"), MODEL_RANDOM, 20000);
		by_chance(find(zoo_life, "A-B-A"), MODEL_PCT, 20000);
		by_chance(find(zoo_sleep, "waits once"), MODEL_RANDOM, 2000);
		count_interleavings();
	}
	printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n", checks == 0 ?
	    0 : 100 * (checks - failures) / checks, checks, failures);
	return failures == 0 && checks > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
