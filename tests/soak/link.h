/* SPDX-License-Identifier: MIT */
/* What tasks pass something to each other with: link.c, and a file for each
 * kind. */
#ifndef SOAK_LINK_H
#define SOAK_LINK_H

#include "soak.h"

#include <semaphore.h>

#define MOST_IDS	400

enum kind { STREAM, CHANNEL, TICKETS_OF_COND, TICKETS_OF_SEM, KINDS };

struct stream {
	int from, to;
	bool socket;
	uint64_t salt, sent, got;	/* of its one writer, its one reader */
};

struct parcel {
	uint32_t id;
	uint32_t check;		/* of the id and the rest */
	unsigned char rest[24];
};

struct lane {
	struct nursery_channel *c;
	uint32_t next;		/* atomic */
	/* atomic */
	uint32_t sent[MOST_IDS], got[MOST_IDS];
};

struct tickets {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	uint32_t there, made, taken;
	bool last;
	sem_t sem;
	uint32_t posted, fetched;	/* atomic */
};

struct link {
	struct link *next;
	enum kind kind;
	struct nursery_token *t;
	uint32_t givers, takers;	/* atomic: that are to end */
	unsigned goal;			/* of each giver */
	union {
		struct stream stream;
		struct lane lane;
		struct tickets tickets;
	} of;
};

/*
 * Of each kind: made, with a goal for each giver; one thing given or taken,
 * 0 or the error, EPIPE at the end; what was given is what was taken and what
 * is still there.
 */
void stream_open(struct link *l, struct rng *r);
void stream_write(struct link *l, struct nursery_token *t, struct rng *r);
void stream_read(struct link *l, struct nursery_token *t, struct rng *r);
void stream_verify(struct link *l);

void channel_open(struct link *l, struct rng *r);
int channel_give(struct link *l, struct nursery_token *t, struct rng *r);
int channel_take(struct link *l, struct nursery_token *t, struct rng *r);
void channel_verify(struct link *l);

void tickets_open(struct link *l, struct rng *r);
int tickets_give(struct link *l, struct nursery_token *t, struct rng *r);
int tickets_take(struct link *l, struct nursery_token *t, struct rng *r);
/* The last giver has gone. */
void tickets_last(struct link *l);
void tickets_verify(struct link *l);

#endif
