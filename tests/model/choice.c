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

/* ---- bytes ---- */

static void
next_byte(void)
{
	static const int8_t gap[16] = {
		0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 42
	};

	eng->gap = eng->byte < eng->config.byte_count ?
	    gap[eng->config.bytes[eng->byte] & 15] : -1;
}

void
eng_bytes_begin(void)
{
	eng->byte = 0;
	next_byte();
}

int
eng_choose_by_bytes(int n)
{
	int c;

	if (eng->gap != 0) {
		eng->gap -= eng->gap > 0;
		return 0;
	}
	c = 1 + (eng->config.bytes[eng->byte++] >> 4) % (n - 1);
	next_byte();
	return c;
}

/* ---- any ---- */

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

static int
wish(int n, bool rare)
{
	if (eng->ending_phase || eng->config.mode == MODEL_DFS)
		return 0;
	if (eng->config.mode == MODEL_BYTES)
		return eng_choose_by_bytes(n);
	return rare ? eng_random() % 8 == 0 : (int)(eng_random() %
	    (uint64_t)n);
}

int
eng_choose(int n)
{
	return record(n, eng->ending_phase, wish(n, false));
}

bool
eng_choose_rare(void)
{
	return record(2, eng->ending_phase, wish(2, true)) != 0;
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
