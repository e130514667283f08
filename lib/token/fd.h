/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that become readable when a token reaches a level.
 *
 * D1  A view, made on first use, is an eventfd in the token's list of those
 *     to be told, until the level is reached: then it is rung once, and stays
 *     readable, for nobody reads it.
 * D2  A raise takes the views it reaches into its run and pins their tokens.
 *     It rings them when all levels are set, with no lock held, before the
 *     first callback; so the descriptor of a token that is released meanwhile
 *     is closed by the raiser, and never rung after that.
 * D3  The views go with the side block: the token owns the descriptors.
 */
#ifndef NUR_TOKEN_FD_H
#define NUR_TOKEN_FD_H

#include "token/callback.h"

struct nur_view {
	struct nur_entry entry;	/* kind NUR_ENTRY_VIEW; tree lock */
	struct nursery_token *token;
	int fd;			/* 1 + descriptor; 0: none */
};

static inline struct nur_view *
nur_view_of(struct nur_entry *e)
{
	return NUR_CONTAINER(e, struct nur_view, entry);
}

/* D2: e is out of its token's list.  Tree lock held. */
void nur_view_collect_locked(struct nur_run *run, struct nur_entry *e);
/* No lock held. */
void nur_views_ring(struct nur_run *run);
void nur_views_free(struct nur_view *views);

#endif
