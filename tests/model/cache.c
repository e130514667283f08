/* SPDX-License-Identifier: MIT */
/*
 * The states that the search has seen, each with the fewest preemptions it
 * was reached with: coming again with no fewer shows nothing new.  An open
 * hash table of 64-bit keys.
 */
#include "config.h"

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

struct state_set {
	uint64_t *key;		/* 0: empty */
	int8_t *cost;
	size_t room, count;
};

static void
make_room(struct state_set *s, size_t room)
{
	s->key = calloc(room, sizeof *s->key);
	s->cost = malloc(room);
	s->room = room;
	s->count = 0;
	if (s->key == NULL || s->cost == NULL) {
		fprintf(stderr, "model: no memory for %zu states\n", room);
		exit(2);
	}
}

struct state_set *
eng_states_new(void)
{
	struct state_set *s = malloc(sizeof *s);

	if (s == NULL)
		abort();
	make_room(s, (size_t)1 << 14);
	return s;
}

void
eng_states_free(struct state_set *s)
{
	if (s == NULL)
		return;
	free(s->key);
	free(s->cost);
	free(s);
}

static void
grow(struct state_set *s)
{
	struct state_set old = *s;
	size_t i;

	make_room(s, old.room * 2);
	for (i = 0; i < old.room; i++)
		if (old.key[i] != 0)
			(void)eng_states_add(s, old.key[i], old.cost[i]);
	free(old.key);
	free(old.cost);
}

bool
eng_states_add(struct state_set *s, uint64_t key, int cost)
{
	size_t i;

	if (s->count * 2 >= s->room)
		grow(s);
	key |= key == 0;
	for (i = key & (s->room - 1); s->key[i] != 0 && s->key[i] != key;)
		i = (i + 1) & (s->room - 1);
	if (s->key[i] == key) {
		if (s->cost[i] <= cost)
			return false;
	} else {
		s->key[i] = key;
		s->count++;
	}
	s->cost[i] = (int8_t)cost;
	return true;
}

long
eng_states_count(const struct state_set *s)
{
	return (long)s->count;
}
