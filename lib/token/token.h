/* SPDX-License-Identifier: MIT */
/*
 * The token and the tree of tokens, as the library sees them.
 *
 * T1  A level only rises.  After a raise of t has returned, no descendant
 *     that existed at the call is below what it hears from t; shields and
 *     new_at tokens hear less (nur_token_hears()).
 * T2  Who sees a level sees its cause: records are written first.
 * T3  A token that was raised by an ancestor has no record of its own; the
 *     cause is found at the nearest ancestor with the level's origin bit.
 *     A token that leaves the tree hands its records to its only child.
 * T4  A token without handles stays while it has two children, or one and
 *     something to tell it (a deadline, a shield, a level of its own); so
 *     dead inner tokens never outnumber leaves.
 * T5  The shape (parent, siblings, kids, callbacks, flags, side) is under
 *     the tree lock; `word` is written under it and read without.
 * T6  No user code runs under the tree lock, and no walk holds it for more
 *     than NUR_WALK_SLICE tokens.  The walk's position is pinned meanwhile.
 *
 * 64 bytes: word 4, refs 4, parent, next, prev, kids, cbs, side 8 each,
 * flags 4, pins 4.  The causes lie beside the slots (S2), touched only by
 * a token that is raised itself.
 */
#ifndef NUR_TOKEN_TOKEN_H
#define NUR_TOKEN_TOKEN_H

#include "base/slab.h"
#include "nursery/token.h"

#define NUR_WALK_SLICE	4096

/* Bits of nursery_token.word; bits 0-1 are the level (ABI). */
#define NUR_LEVEL_MASK	3u
#define NUR_ORIGIN(l)	(2u << (l))	/* has a record for level l = 1..3 */

/* nursery_token.flags */
#define NUR_TOKEN_SHIELDED	1u	/* hears only ABORT */
#define NUR_TOKEN_AT_SHIFT	1	/* two bits: new_at's level, or 0 */
#define NUR_TOKEN_AT_MASK	(3u << NUR_TOKEN_AT_SHIFT)
#define NUR_TOKEN_RELEASED	8u	/* no handles left */
#define NUR_TOKEN_EMBEDDED	16u	/* lies in a nursery's block */

struct nur_record {		/* why a level was raised, T2 */
	int32_t code;
	int32_t by_pid;
	const char *why;
	uint64_t by_task;
	int64_t when;
	int32_t level;		/* what the call asked for */
};
#define NUR_TOKEN_AUX	(3 * sizeof(struct nur_record))

struct nur_timer {
	int64_t when;		/* NURSERY_NEVER: not in the heap */
	size_t slot;		/* in the heap; SIZE_MAX: not in it */
	enum nur_timer_kind {
		NUR_TIMER_DEADLINE, NUR_TIMER_SHIELD, NUR_TIMER_RESEND
	} kind;
	void *owner;
};

/* What few tokens have. */
struct nur_side {
	struct nur_timer deadline, shield;
};

struct nursery_token {
	uint32_t word;		/* atomic, T5 */
	uint32_t refs;		/* atomic: handles */
	struct nursery_token *parent;
	struct nursery_token *next, *prev;	/* siblings; first has no prev */
	struct nursery_token *kids;
	struct nur_callback *cbs;
	struct nur_side *side;
	uint32_t flags;
	uint32_t pins;		/* walks that stand here */
};

extern struct nur_mutex nur_tree_lock;

static inline unsigned
nur_token_level(const struct nursery_token *t)
{
	/* Acquire: pairs with set_word(); who sees the level sees the cause
	 * and what the canceller wrote before. */
	return nur_load_acquire(&t->word) & NUR_LEVEL_MASK;
}

/* Makes a token in caller's slab memory. `t` must be a slab object with
 * NUR_TOKEN_AUX. Never fails; `flags` may hold NUR_TOKEN_EMBEDDED. */
void nur_token_init(struct nursery_token *t, struct nursery_token *parent,
    uint32_t flags);
/* Gives the side block with room for its timers: 0, ENOMEM, EAGAIN. */
int nur_token_need_side(struct nursery_token *t);

/* Ends a shield at `until`: 0, ENOMEM, EAGAIN. */
int nur_token_shield_until(struct nursery_token *t, int64_t until);

struct nur_raise {
	int level, code, by_pid;
	const char *why;
};
/* True if this call raised t itself.  Runs callbacks; no lock is held. */
bool nur_token_raise(struct nursery_token *t, const struct nur_raise *r);

/* The timer thread's entry: a timer of t is due.  Takes the tree lock held,
 * returns with it released. */
void nur_token_timer_fired_locked(struct nur_timer *timer);

/* Called when the last handle of an embedded token went and nothing in the
 * tree needs it; set by scope/. */
extern void (*nur_token_embedded_free)(struct nursery_token *t);

uint64_t nur_token_live(void);
void nur_token_after_fork(void);

#endif
