/* SPDX-License-Identifier: MIT */
/* Runs, one after the other, and what is known of them together. */
#include "config.h"

#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

struct engine *eng;

/* ---- set-up ---- */

static void *
map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "model: no memory\n");
		exit(2);
	}
	return p;
}

static void
init_once(void)
{
	int i;

	if (eng != NULL)
		return;
	eng = map(sizeof *eng);
	eng->memory_size = MODEL_THREADS * MODEL_STACK + MODEL_ARENA;
	eng->memory = map(eng->memory_size);
	for (i = 0; i < MODEL_THREADS; i++)
		eng_coroutine_init(&eng->thread[i].co, eng->memory +
		    (size_t)i * MODEL_STACK);
	eng_crash_init();
	eng_snapshot_init();
	eng_race_init();
}

static double
seconds_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- known states ---- */

static uint64_t
state_key(bool stays)
{
	const struct model_thread *t;
	uint64_t k = 0;
	int i;

	/* A sum: which number a thread has does not matter. */
	for (i = 0; i < eng->threads; i++) {
		t = &eng->thread[i];
		k += eng_mix(t->history, t->identity ^ t->state);
	}
	k = eng_mix(k, (uint64_t)eng->now);
	k = eng_mix(k, (uint64_t)eng->spurious << 24 ^ (uint64_t)eng->early <<
	    16 ^ (uint64_t)eng->faults << 8 ^ (uint64_t)eng->stale);
	return eng_mix(k, stays ? eng->current->identity : 0);
}

void
eng_cut_if_known(bool stays)
{
	if (eng->config.mode != MODEL_DFS || eng->config.no_cache ||
	    eng->replaying || eng->position < eng->prefix)
		return;
	if (!eng_states_add(eng->states, state_key(stays), eng->preempted))
		_longjmp(eng->home, END_CUT);
}

/* ---- one run ---- */

static void
first_thread(void *unused)
{
	(void)unused;
	eng->body();
}

static void
reset(void)
{
	eng_snapshot_restore();
	eng->execution++;
	eng->position = 0;
	eng->places = 0;
	eng_heap_reset();
	eng_sched_reset();
	eng_events_reset();
}

static enum ending
run(void)
{
	int how;

	reset();
	how = _setjmp(eng->home);
	if (how == 0)
		eng_enter(eng_thread_new(first_thread, NULL));
	eng->current = NULL;
	return (enum ending)how;
}

void
model_fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(eng->result.failure, sizeof eng->result.failure,
	    format, ap);
	va_end(ap);
	EVENT(NULL, "FAILS: %s", eng->result.failure);
	eng->result.failed = true;
	if (eng->current == NULL) {
		fprintf(stderr, "model: %s\n", eng->result.failure);
		exit(2);
	}
	_longjmp(eng->home, END_FAILED);
}

/* ---- all runs ---- */

static void
begin_run(void)
{
	const struct model_config *c = &eng->config;
	long length = eng->longest_run > 0 ? eng->longest_run : 20;
	int i;

	if (c->mode == MODEL_BYTES)
		eng_bytes_begin();
	if (c->mode == MODEL_DFS || c->mode == MODEL_BYTES)
		return;
	/* Each run has a seed of its own. */
	eng->random = eng_mix(c->seed, (uint64_t)eng->result.executions);
	for (i = 0; i < c->depth - 1 && i < 16; i++)
		eng->change[i] = 1 + (long)(eng_random() % (uint64_t)length);
}

static void
count_run(enum ending how)
{
	struct model_result *r = &eng->result;

	r->executions++;
	r->cut += how == END_CUT;
	r->steps += eng->steps;
	if (eng->position > r->longest)
		r->longest = eng->position;
	if (eng->steps > eng->longest_run)
		eng->longest_run = eng->steps;
}

static bool
within_limits(double begun)
{
	const struct model_config *c = &eng->config;
	const struct model_result *r = &eng->result;

	if (c->max_executions > 0 && r->executions >= c->max_executions)
		return false;
	return c->max_seconds <= 0 || (r->executions & 63) != 0 ||
	    seconds_now() - begun < c->max_seconds;
}

static void
begin(void (*body)(void), const struct model_config *config)
{
	init_once();
	eng->config = *config;
	if (eng->config.depth > 16)
		eng->config.depth = 16;
	memset(&eng->result, 0, sizeof eng->result);
	eng->body = body;
	eng->prefix = 0;
	eng->longest_run = 0;
	eng->replaying = false;
	eng->tracing = false;
	eng->covers = 0;
	eng->random = config->seed;
	eng_states_free(eng->states);
	eng->states = config->mode == MODEL_DFS ? eng_states_new() : NULL;
	if (config->replay != NULL)
		eng_choices_parse(config->replay);
	eng_snapshot_take();
}

void
model_explore(void (*body)(void), const struct model_config *config,
    struct model_result *result)
{
	double begun = seconds_now();
	enum ending how;

	begin(body, config);
	do {
		begin_run();
		how = run();
		count_run(how);
		if (how == END_FAILED || eng->replaying || config->mode ==
		    MODEL_BYTES)
			break;
		if (config->mode == MODEL_DFS) {
			eng->result.complete = !eng_choices_advance();
			if (eng->result.complete)
				break;
		}
	} while (within_limits(begun));
	if (eng->result.failed)
		eng_choices_print(eng->result.replay,
		    sizeof eng->result.replay);
	eng_snapshot_restore();
	if (eng->states != NULL)
		eng->result.states = eng_states_count(eng->states);
	eng->result.seconds = seconds_now() - begun;
	*result = eng->result;
}

void
model_print_failure(void (*body)(void), const struct model_config *config,
    const struct model_result *result)
{
	struct model_config c = *config;

	if (c.mode != MODEL_BYTES)
		c.replay = result->replay;
	begin(body, &c);
	begin_run();
	eng->tracing = true;
	(void)run();
	eng_events_print();
	if (strcmp(eng->result.failure, result->failure) != 0)
		printf("this replay ended otherwise: %s\n",
		    eng->result.failed ? eng->result.failure : "no failure");
	eng->tracing = false;
	eng_snapshot_restore();
}

/* ---- what bodies tell ---- */

int
model_choose(int options)
{
	int c = options > 1 ? eng_choose(options) : 0;

	eng->current->history = eng_mix(eng->current->history,
	    91 + (uint64_t)c);
	EVENT(NULL, "chooses %d of %d", c, options);
	return c;
}

void
model_cover(const char *what)
{
	int i;

	for (i = 0; i < eng->covers; i++)
		if (strcmp(eng->cover[i].what, what) == 0)
			break;
	if (i == eng->covers) {
		if (i == MODEL_COVERS)
			model_fail("more than %d covers", MODEL_COVERS);
		eng->cover[eng->covers++].what = what;
		eng->cover[i].count = 0;
	}
	eng->cover[i].count++;
}

long
model_covered(const char *what)
{
	int i;

	for (i = 0; i < eng->covers; i++)
		if (strcmp(eng->cover[i].what, what) == 0)
			return eng->cover[i].count;
	return 0;
}
