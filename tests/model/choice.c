/* SPDX-License-Identifier: MIT */
/*
 * Choices.  Each is recorded with the number of options it had; the first
 * `prefix` of a run are given, the others made by the mode.
 *
 * In text a run is the list of its choices that are not 0, "position:taken"
 * with commas between: most choices are 0, which is "go on as you are".
 */
#include "config.h"

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t
eng_random(void)
{
	uint64_t z = eng->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Records one of n options; `bounded` options are not there for the search.
 * `wish` is what the mode takes where nothing is given. */
static int
record(int n, bool bounded, int wish)
{
	struct choice *c = &eng->choice[eng->position];
	int options = bounded ? 1 : n;

	if (eng->position == MODEL_CHOICES - 1)
		model_fail("a run of more than %d choices", MODEL_CHOICES);
	if (eng->position++ >= eng->prefix) {
		c->options = (uint16_t)options;
		c->taken = (uint16_t)(eng->replaying ? 0 : wish);
		return c->taken;
	}
	if (eng->replaying)
		c->options = (uint16_t)n;
	if (c->taken >= n || c->options != (eng->replaying ? n : options))
		model_fail("choice %d has %d options now: the body depends "
		    "on something that is no choice", eng->position - 1, n);
	return c->taken;
}

int
eng_choose_next(int n, bool bounded, int wish)
{
	return record(n, bounded, wish);
}

int
eng_choose(int n)
{
	return record(n, eng->ending_phase, eng->config.mode == MODEL_DFS ||
	    eng->ending_phase ? 0 : (int)(eng_random() % (uint64_t)n));
}

bool
eng_choose_rare(void)
{
	return record(2, eng->ending_phase, eng->config.mode != MODEL_DFS &&
	    !eng->ending_phase && eng_random() % 8 == 0) != 0;
}

/* The next run in order of the search; false when there is none. */
bool
eng_choices_advance(void)
{
	int i = eng->position;

	while (i > 0 && eng->choice[i - 1].taken + 1 >=
	    eng->choice[i - 1].options)
		i--;
	eng->prefix = i;
	if (i == 0)
		return false;
	eng->choice[i - 1].taken++;
	return true;
}

void
eng_choices_print(char *to, size_t size)
{
	size_t at = 0;
	int i, n;

	to[0] = '\0';
	for (i = 0; i < eng->position; i++) {
		if (eng->choice[i].taken == 0)
			continue;
		n = snprintf(to + at, size - at, "%s%d:%d", at == 0 ? "" :
		    ",", i, eng->choice[i].taken);
		if (n < 0 || (size_t)n >= size - at) {
			(void)snprintf(to, size, "too long to print");
			return;
		}
		at += (size_t)n;
	}
	if (at == 0)
		(void)snprintf(to, size, "0:0");
}

static void
bad_replay(const char *text)
{
	fprintf(stderr, "model: not a list of choices: %s\n", text);
	exit(2);
}

void
eng_choices_parse(const char *text)
{
	const char *s = text;
	char *end;
	long at, taken;

	memset(eng->choice, 0, sizeof eng->choice);
	eng->prefix = MODEL_CHOICES;
	eng->replaying = true;
	while (*s != '\0') {
		at = strtol(s, &end, 10);
		if (end == s || *end != ':' || at < 0 || at >= MODEL_CHOICES)
			bad_replay(text);
		s = end + 1;
		taken = strtol(s, &end, 10);
		if (end == s || taken < 0 || taken > UINT16_MAX ||
		    (*end != ',' && *end != '\0'))
			bad_replay(text);
		eng->choice[at].taken = (uint16_t)taken;
		s = *end == ',' ? end + 1 : end;
	}
}
