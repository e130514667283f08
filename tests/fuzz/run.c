/* SPDX-License-Identifier: MIT */
/* One run of a program. */
#include "config.h"

#include "fuzz.h"
#include "scenario.h"

#include "base/thr.h"

#include <stdio.h>
#include <stdlib.h>

struct program program;
struct shared shared[SHARED];
struct nursery_channel *channel;
bool fuzz_prints;
long *fuzz_made;

static struct actor threads[THREADS];

bool
is_full(void)
{
	return ref_is_full() || eng->threads > MODEL_THREADS - 3;
}

/* ---- the threads ---- */

static void
run_thread(void *arg)
{
	struct actor *a = arg;
	int i = (int)(a - threads);

	actor_run(a, program.call[i], program.count[i]);
	actor_end(a);
}

/* The others begin with references to what the first has made. */
static void
start(struct model_thread **started)
{
	struct actor *first = &threads[0];
	int i, k;

	for (i = 1; i < program.threads; i++) {
		for (k = 0; k < first->helds; k++)
			hold(&threads[i], nursery_token_ref(first->held[k].t),
			    first->held[k].id);
		started[i] = model_start(run_thread, &threads[i]);
	}
}

static void
release_shared(void)
{
	int i;

	for (i = 0; i < SHARED; i++)
		if (shared[i].id != REF_NONE) {
			nursery_token_unref(shared[i].t);
			nursery_unref(shared[i].n);
		}
}

static void
set_up(void)
{
	int i;

	nur_keep_ready = !program.bare;
	ref_reset();
	ref_alone(program.threads == 1);
	(void)in_time(0);
	for (i = 0; i < SHARED; i++)
		shared[i].id = REF_NONE;
	for (i = 0; i < THREADS; i++) {
		actor_init(&threads[i], REF_NONE);
		(void)snprintf(threads[i].name, sizeof threads[i].name,
		    "thread %d", i);
	}
}

static void
make_channel(void)
{
	unsigned capacity = 1 + (unsigned)program.prologue % 2;

	ref_channel(capacity);
	while (nursery_channel_new(&channel, sizeof(int), capacity) != 0)
		;
}

static void
body(void)
{
	struct model_thread *started[THREADS];
	struct actor *a = &threads[0];
	int first, i;

	set_up();
	make_channel();
	first = program.prologue < program.count[0] ? program.prologue :
	    program.count[0];
	actor_run(a, program.call[0], first);
	start(started);
	actor_run(a, program.call[0] + first, program.count[0] - first);
	actor_end(a);
	for (i = 1; i < program.threads; i++)
		model_join(started[i]);
	check_time();
	release_shared();
	nursery_channel_free(channel);
	ref_end();
	/* What it keeps ready may have a deadline: the timer thread stays. */
	model_thread_ends();
	nur_tls_set(NULL);
}

/* ---- runs ---- */

static struct model_config
config_of(const uint8_t *bytes, size_t size)
{
	struct model_config c = { .mode = MODEL_BYTES };

	program_decode(&program, bytes, size);
	c.faults = program.faults;
	c.spurious = program.spurious;
	c.early = program.early;
	c.bytes = program.choices;
	c.byte_count = program.choice_count;
	c.thread_end = model_thread_ends;
	c.after = model_nothing_lives;
	return c;
}

static void
prepare(void)
{
	if (fuzz_made == NULL)
		fuzz_made = calloc(CALL_KINDS, sizeof *fuzz_made);
	if (fuzz_made == NULL) {
		fprintf(stderr, "fuzz_api: no memory\n");
		exit(2);
	}
	ref_prepare();
}

bool
fuzz_run(const uint8_t *bytes, size_t size, struct model_result *result)
{
	struct model_config c;

	prepare();
	c = config_of(bytes, size);
	model_explore(body, &c, result);
	return !result->failed;
}

void
fuzz_show(const uint8_t *bytes, size_t size, bool steps)
{
	struct model_result r;
	struct model_config c;

	prepare();
	c = config_of(bytes, size);
	program_print(&program, stdout);
	fuzz_prints = true;
	model_explore(body, &c, &r);
	if (steps && r.failed)
		model_print_failure(body, &c, &r);
	fuzz_prints = false;
	if (r.failed)
		printf("violation: %s\n", r.failure);
}
