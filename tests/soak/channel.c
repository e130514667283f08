/* SPDX-License-Identifier: MIT */
/* Items through a channel, numbered and with a checksum. */
#include "link.h"

#include <errno.h>

void
channel_open(struct link *l, struct rng *r)
{
	int rc = nursery_channel_new(&l->of.lane.c, sizeof(struct parcel),
	    1 + rng_below(r, 5));

	if (rc != 0)
		broken(RETURNS, "nursery_channel_new says %d", rc);
	l->goal = rng_below(r, MOST_IDS / 40 * scale());
}

static uint32_t
checksum(const struct parcel *p)
{
	uint32_t sum = p->id * 2654435761u;
	size_t i;

	for (i = 0; i < sizeof p->rest; i++)
		sum = sum * 31 + p->rest[i];
	return sum;
}

int
channel_give(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct lane *c = &l->of.lane;
	struct parcel p = { .id = atom_add(&c->next, 1) };
	size_t i;
	int rc;

	if (p.id >= MOST_IDS)
		return EPIPE;
	for (i = 0; i < sizeof p.rest; i++)
		p.rest[i] = (unsigned char)rng_next(r);
	p.check = checksum(&p);
	rc = nursery_channel_send(t, c->c, &p, once_in(r, 3) ? soon(r, 200) :
	    NURSERY_NEVER);
	if (rc == 0)
		atom_add(&c->sent[p.id], 1);
	return rc;
}

static void
note_item(struct lane *c, const struct parcel *p)
{
	if (p->id >= MOST_IDS || p->check != checksum(p))
		broken(ITEMS, "one came damaged");
	else
		atom_add(&c->got[p->id], 1);
}

int
channel_take(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct lane *c = &l->of.lane;
	struct parcel p;
	int rc = nursery_channel_recv(t, c->c, &p, once_in(r, 3) ?
	    soon(r, 200) : NURSERY_NEVER);

	if (rc == 0)
		note_item(c, &p);
	return rc;
}

void
channel_verify(struct link *l)
{
	struct lane *c = &l->of.lane;
	struct parcel p;
	uint32_t id, items = 0;

	nursery_channel_close(c->c);
	while (nursery_channel_recv(NULL, c->c, &p, 0) == 0)
		note_item(c, &p);
	for (id = 0; id < MOST_IDS; id++) {
		items += c->got[id];
		if (c->sent[id] != c->got[id])
			broken(ITEMS, "item %u was sent %u times, received "
			    "%u times", id, c->sent[id], c->got[id]);
	}
	nursery_channel_free(c->c);
	atom_add(&figures.items, items);
}
