/* SPDX-License-Identifier: MIT */
/*
 * Tasks that pass something to each other: a stream of bytes through a pipe
 * or a socket, items through a channel, tickets under a condition variable,
 * posts of a semaphore.  What was given is what was taken and what is still
 * there when all have ended.
 *
 * Each waits without a deadline: for when the last giver has left, the takers
 * are told in the link's own way, and when the last taker has left, or never
 * came, the link's token is cancelled.
 */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* As long as the work of both tokens is wanted. */
static struct nursery_token *
token_of_both(struct nursery_token *t, struct link *l)
{
	struct nursery_token *parents[2] = { t, l->t }, *both = NULL;
	int rc = nursery_token_new_any(&both, parents, 2);

	if (rc != 0)
		broken(RETURNS, "nursery_token_new_any says %d", rc);
	return both;
}

/* ---- givers and takers ---- */

static int
give_one(struct link *l, struct nursery_token *t, struct rng *r)
{
	return l->kind == CHANNEL ? channel_give(l, t, r) :
	    tickets_give(l, t, r);
}

static int
take_one(struct link *l, struct nursery_token *t, struct rng *r)
{
	return l->kind == CHANNEL ? channel_take(l, t, r) :
	    tickets_take(l, t, r);
}

static void
check_end(int rc, struct nursery_token *t)
{
	if (rc == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a link says ECANCELED, and nobody is");
	if (rc != 0 && rc != EPIPE && rc != ETIMEDOUT && rc != ECANCELED)
		broken(RETURNS, "a link says %d", rc);
}

static void
give_all(struct link *l, struct nursery_token *t, struct rng *r)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < l->goal && (rc == 0 || rc == ETIMEDOUT); i++) {
		rc = give_one(l, t, r);
		atom_add(&progress, 1);
	}
	check_end(rc, t);
}

static void
take_all(struct link *l, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	while ((rc == 0 || rc == ETIMEDOUT) && !once_in(r, 300)) {
		rc = take_one(l, t, r);
		atom_add(&progress, 1);
	}
	check_end(rc, t);
}

/* Whoever ends by a cancel was told to, by one token or the other. */
static int
give(struct nursery_token *t, struct item *it, struct rng *r)
{
	struct link *l = it->what;
	struct nursery_token *both = token_of_both(t, l);

	(void)nursery_started(it);
	if (l->kind == STREAM)
		stream_write(l, both, r);
	else
		give_all(l, both, r);
	nursery_token_unref(both);
	return 0;
}

static int
take(struct nursery_token *t, struct item *it, struct rng *r)
{
	struct link *l = it->what;
	struct nursery_token *both = token_of_both(t, l);

	(void)nursery_started(it);
	if (l->kind == STREAM)
		stream_read(l, both, r);
	else
		take_all(l, both, r);
	nursery_token_unref(both);
	return 0;
}

static void
giver_over(struct item *it)
{
	struct link *l = it->what;

	if (atom_add(&l->givers, UINT32_MAX) != 1)
		return;
	if (l->kind == STREAM)
		(void)close(l->of.stream.to);
	else if (l->kind == CHANNEL)
		nursery_channel_close(l->of.lane.c);
	else
		tickets_last(l);
}

static void
taker_over(struct item *it)
{
	struct link *l = it->what;

	if (atom_add(&l->takers, UINT32_MAX) == 1)
		(void)nursery_token_cancel(l->t);
}

static const struct task_role role_giver = { give, giver_over, false };
static const struct task_role role_taker = { take, taker_over, false };

/* ---- from the nursery ---- */

static void
open_link(struct link *l, struct rng *r)
{
	if (l->kind == STREAM)
		stream_open(l, r);
	else if (l->kind == CHANNEL)
		channel_open(l, r);
	else
		tickets_open(l, r);
}

void
add_link(struct book *b, struct rng *r)
{
	struct link *l = calloc(1, sizeof *l);
	uint32_t i, givers, takers;

	if (l == NULL || nursery_token_new(&l->t, nursery_token_of(b->n)) !=
	    0) {
		free(l);
		return;
	}
	l->kind = (enum kind)rng_below(r, KINDS);
	givers = l->kind == STREAM ? 1 : 1 + rng_below(r, 3);
	takers = l->kind == STREAM ? 1 : 1 + rng_below(r, 3);
	atom_set(&l->givers, givers);
	atom_set(&l->takers, takers);
	open_link(l, r);
	l->next = b->links;
	b->links = l;
	for (i = 0; i < givers || i < takers; i++) {
		if (i < givers)
			(void)spawn_one(b, b->n, &role_giver, l, true, r,
			    NULL);
		if (i < takers)
			(void)spawn_one(b, b->n, &role_taker, l, true, r,
			    NULL);
	}
}

void
links_verify(struct book *b)
{
	struct link *l;

	while ((l = b->links) != NULL) {
		b->links = l->next;
		if (l->kind == STREAM)
			stream_verify(l);
		else if (l->kind == CHANNEL)
			channel_verify(l);
		else
			tickets_verify(l);
		nursery_token_unref(l->t);
		free(l);
	}
}
