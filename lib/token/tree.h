/* SPDX-License-Identifier: MIT */
/* The shape of the trees and the walks over them; for the token floor.  All
 * of it runs under the tree lock. */
#ifndef NUR_TOKEN_TREE_H
#define NUR_TOKEN_TREE_H

#include "token/token.h"

/* A raise that is on its way down; on the raiser's stack. */
struct nur_walk {
	struct nur_walk *next;
	struct nursery_token *root;
	struct nursery_token *first;	/* whose kids are to be told */
	struct nursery_token *cursor;	/* where it goes on; while it yields */
	unsigned slice;		/* tokens until it looks up, T6 */
	bool listed;		/* has let go of the lock, W4 */
	bool crossed;		/* has come through a feeler, J4 */
};

/* Those that have let others have the lock. */
extern struct nur_walk *nur_walks;

static inline unsigned
nur_level_locked(const struct nursery_token *t)
{
	return nur_token_word(t) & NUR_LEVEL_MASK;
}

static inline struct nur_record *
nur_record_of(const struct nursery_token *t, unsigned level)
{
	return (struct nur_record *)nur_slab_aux(t) + (level - 1);
}

/* T4, for a token without handles and its ancestors: leaves go, single
 * children take their parent's place. */
void nur_token_settle_locked(struct nursery_token *t);

/* The nearest token from t upwards whose record tells t's level, T3; *level
 * becomes the level it has there. */
struct nursery_token *nur_origin_locked(struct nursery_token *t,
    unsigned *level);

/* True if a is t or an ancestor of t. */
bool nur_above_locked(const struct nursery_token *a,
    const struct nursery_token *t);

/* t's level has just been set: tells all below, lets the lock go and runs
 * what has to run. */
void nur_spread_and_unlock(struct nursery_token *t);
/* Writes why and sets the level; the records come first, T2. */
void nur_write_records_locked(struct nursery_token *t,
    const struct nur_raise *r);

void nur_walks_after_fork(void);

/* A token that nobody knows, not counted as live; NULL without memory. */
struct nursery_token *nur_token_alloc(uint32_t flags);
/* Frees a token of token.c. */
void nur_token_free_locked(struct nursery_token *t);

#endif
