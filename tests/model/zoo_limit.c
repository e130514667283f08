/* SPDX-License-Identifier: MIT */
/* Animals too big for their cages: each limit of the machine is a failure
 * that names it, and a body that is not deterministic is found out. */
#include "config.h"

#include "zoo.h"

#include <stdlib.h>

static uint32_t flag;
static uint32_t many[4096];

static void
nothing(void *unused)
{
	(void)unused;
}

static void
many_threads(void)
{
	for (;;)
		model_join(model_start(nothing, NULL));
}

static void
many_places(void)
{
	int i;

	for (i = 0; i < 4096; i++)
		nur_store_relaxed(&many[i], 1);
}

static void
many_blocks(void)
{
	for (;;)
		model_free(model_alloc(1));
}

static void
much_memory(void)
{
	for (;;)
		(void)model_alloc((size_t)1 << 20);
}

static void
many_choices(void)
{
	for (;;)
		(void)model_choose(2);
}

static void
wait_for_flag(void *unused)
{
	(void)unused;
	while (nur_load_acquire(&flag) == 0)
		model_yield();
}

static void
no_end(void)
{
	wait_for_flag(NULL);
}

/* Giving way lets the other one come. */
static void
polite_wait(void)
{
	struct model_thread *t = model_start(wait_for_flag, NULL);

	nur_store_release(&flag, 1);
	model_join(t);
}

static void
outside(void)
{
	(void)model_outside("a signal");
}

/* Memory that is not the machine's keeps its content between runs. */
static void
remembers(void)
{
	static const char *key = "MODEL_ZOO_RUN";
	bool again = getenv(key) != NULL;

	(void)setenv(key, "1", 1);
	if (model_choose(2) == 1 && again)
		(void)model_choose(3);
	(void)model_choose(again ? 2 : 3);
	if (again)
		(void)unsetenv(key);
}

static void
own_choice(void)
{
	if (model_choose(3) == 2)
		model_cover("the third");
}

const struct animal zoo_limit[] = {
	{ "many threads", many_threads, "raise MODEL_THREADS", { 0 },
	    { NULL } },
	{ "many locations", many_places, "raise MODEL_PLACES", { 0 },
	    { NULL } },
	{ "many allocations", many_blocks, "raise MODEL_BLOCKS", { 0 },
	    { NULL } },
	{ "much memory", much_memory, "raise MODEL_ARENA", { 0 }, { NULL } },
	{ "many choices", many_choices, "choices", { 0 }, { NULL } },
	{ "no end", no_end, "no end after", { 0 }, { NULL } },
	{ "waits politely", polite_wait, NULL, { 0 }, { NULL } },
	{ "calls outside", outside, "a signal is outside", { 0 }, { NULL } },
	{ "remembers", remembers, "depends on something", { 0 }, { NULL } },
	{ "own choice", own_choice, NULL, { 0 }, { "the third" } },
	{ NULL, NULL, NULL, { 0 }, { NULL } }
};
