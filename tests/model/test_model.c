/* SPDX-License-Identifier: MIT */
/*
 * Runs scenarios and prints a table: test_model [options] [scenario ...].
 *
 *	-d		the deep bounds
 *	-p 0, -p 1	every second scenario, from the first or the second on
 *	-b BOUND	this preemption bound; -1: none
 *	-k		threads keep nothing ready: no vacant children, no hooks
 *	-w N, -u N, -e N, -f N
 *			stale loads, spurious wake-ups, early deadlines, faults
 *			in one run, if the scenario does not ask for more
 *	-c		without the cache of known states
 *	-m MODE		dfs, random or pct
 *	-n RUNS		at most so many (random and pct: 100,000)
 *	-s SEED		of the random modes
 *	-r CHOICES	one run, as a failure has given it
 *	-x		a failure is expected: succeed if there is one
 *	-t		print the steps of a failing run
 *	-l		list the scenarios
 *
 * Exit status 0: all as it should be; 1: not; 2: usage.
 */
#include "config.h"

#include "base/check.h"
#include "base/slab.h"
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	bool deep, bare, expect, trace, no_cache;
	int bound;		/* -2: the scenario's */
	int stale, spurious, early, faults;
	enum model_mode mode;
	long runs;
	uint64_t seed;
	const char *replay;
	int part;		/* -1: all */
} options = { .bound = -2, .seed = 1, .part = -1 };

static int checks, failures;
static double seconds;

static const struct scenario *const families[] = {
	token_scenarios, join_scenarios, callback_scenarios,
	nursery_scenarios, channel_scenarios, deque_scenarios,
	private_scenarios
};
#define FAMILIES	(sizeof families / sizeof families[0])

/* ---- one scenario ---- */

static void
raise_to(int *n, int least)
{
	if (*n < least)
		*n = least;
}

static struct model_config
config_of(const struct scenario *s)
{
	struct model_config c = s->config;

	c.mode = options.mode;
	c.preemptions = options.bound != -2 ? options.bound :
	    options.deep ? s->deep : s->bound;
	raise_to(&c.stale, options.stale);
	raise_to(&c.spurious, options.spurious);
	raise_to(&c.early, options.early);
	raise_to(&c.faults, options.faults);
	c.no_cache = options.no_cache;
	c.depth = 3;
	c.seed = options.seed;
	c.max_executions = options.runs;
	if (c.mode != MODEL_DFS && c.max_executions == 0)
		c.max_executions = 100000;
	c.replay = options.replay;
	c.thread_end = model_thread_ends;
	c.after = model_nothing_lives;
	return c;
}

static const char *
missing_cover(const struct scenario *s)
{
	size_t i;

	for (i = 0; i < sizeof s->reaches / sizeof s->reaches[0]; i++)
		if (s->reaches[i] != NULL &&
		    model_covered(s->reaches[i]) == 0)
			return s->reaches[i];
	return NULL;
}

static void
print_row(const struct scenario *s, const struct model_config *c,
    const struct model_result *r)
{
	static const char *const mode[] = { "dfs", "random", "pct" };
	char bound[16] = "-";

	if (c->mode == MODEL_DFS && c->preemptions >= 0)
		snprintf(bound, sizeof bound, "%d", c->preemptions);
	printf("%-32s %-6s %5s %10ld %10ld %8.2f  ", s->name, mode[c->mode],
	    bound, r->executions, r->states, r->seconds);
}

static void
print_failure(const struct scenario *s, const struct model_config *c,
    const struct model_result *r)
{
	printf("    %s\n    replay: test_model -t%s", r->failure,
	    options.bare ? " -k" : "");
	if (options.stale + options.spurious + options.early +
	    options.faults > 0)
		printf(" -w %d -u %d -e %d -f %d", options.stale,
		    options.spurious, options.early, options.faults);
	printf(" -r %s %s\n", r->replay, s->name);
	if (options.trace)
		model_print_failure(s->body, c, r);
}

/* Bounds below the wanted one first: the failure that is found has the
 * fewest preemptions. */
static void
explore(const struct scenario *s, struct model_config *c,
    struct model_result *r)
{
	int wanted = c->preemptions;

	if (c->mode != MODEL_DFS || wanted < 0 || c->replay != NULL ||
	    !options.expect) {
		model_explore(s->body, c, r);
		return;
	}
	for (c->preemptions = 0; c->preemptions < wanted; c->preemptions++) {
		model_explore(s->body, c, r);
		if (r->failed)
			return;
	}
	model_explore(s->body, c, r);
}

static void
run(const struct scenario *s)
{
	struct model_config c = config_of(s);
	struct model_result r;
	const char *missing = NULL;
	bool good;

	explore(s, &c, &r);
	seconds += r.seconds;
	checks++;
	print_row(s, &c, &r);
	/* A lower bound need not reach all, nor what keeps nothing ready. */
	if (!r.failed && c.replay == NULL && c.mode == MODEL_DFS &&
	    !options.bare && (c.preemptions < 0 || c.preemptions >= s->bound))
		missing = missing_cover(s);
	good = !r.failed && missing == NULL && (r.complete || c.mode !=
	    MODEL_DFS || c.replay != NULL);
	if (r.failed)
		printf("%s\n", options.expect ? "found" : "FAILED");
	else if (missing != NULL)
		printf("FAILED: never %s\n", missing);
	else
		printf("%s\n", r.complete ? "complete" : "passed");
	if (r.failed)
		print_failure(s, &c, &r);
	if (good == options.expect)
		failures++;
}

/* ---- all ---- */

static void
list(void)
{
	const struct scenario *s;
	size_t i;

	for (i = 0; i < FAMILIES; i++)
		for (s = families[i]; s->name != NULL; s++)
			printf("%s\n", s->name);
}

static void
run_named(const char *name)
{
	const struct scenario *s;
	size_t i;

	for (i = 0; i < FAMILIES; i++)
		for (s = families[i]; s->name != NULL; s++)
			if (strcmp(s->name, name) == 0) {
				run(s);
				return;
			}
	fprintf(stderr, "test_model: no scenario %s\n", name);
	exit(2);
}

static void
run_all(void)
{
	const struct scenario *s;
	int number = 0;
	size_t i;

	for (i = 0; i < FAMILIES; i++)
		for (s = families[i]; s->name != NULL; s++, number++)
			if (options.part < 0 || number % 2 == options.part)
				run(s);
}

static enum model_mode
mode_of(const char *name)
{
	if (strcmp(name, "dfs") == 0)
		return MODEL_DFS;
	if (strcmp(name, "random") == 0)
		return MODEL_RANDOM;
	if (strcmp(name, "pct") == 0)
		return MODEL_PCT;
	fprintf(stderr, "test_model: no mode %s\n", name);
	exit(2);
}

static void
read_options(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "db:kp:w:u:e:f:cm:n:s:r:xtl")) != -1)
		switch (o) {
		case 'd':
			options.deep = true;
			break;
		case 'b':
			options.bound = atoi(optarg);
			break;
		case 'k':
			options.bare = true;
			break;
		case 'p':
			options.part = atoi(optarg) & 1;
			break;
		case 'w':
			options.stale = atoi(optarg);
			break;
		case 'u':
			options.spurious = atoi(optarg);
			break;
		case 'e':
			options.early = atoi(optarg);
			break;
		case 'f':
			options.faults = atoi(optarg);
			break;
		case 'c':
			options.no_cache = true;
			break;
		case 'm':
			options.mode = mode_of(optarg);
			break;
		case 'n':
			options.runs = atol(optarg);
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'r':
			options.replay = optarg;
			break;
		case 'x':
			options.expect = true;
			break;
		case 't':
			options.trace = true;
			break;
		case 'l':
			list();
			exit(0);
		default:
			exit(2);
		}
}

int
main(int argc, char **argv)
{
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	read_options(argc, argv);
	nur_keep_ready = !options.bare;
	printf("%-32s %-6s %5s %10s %10s %8s\n", "scenario", "search",
	    "bound", "executions", "states", "seconds");
	for (i = optind; i < argc; i++)
		run_named(argv[i]);
	if (optind == argc)
		run_all();
	printf("%d scenarios in %.1f s\n", checks, seconds);
	printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n",
	    100 * (checks - failures) / checks, checks, failures);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
