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
 *     something to tell it (a deadline, a shield, a level of its own, several
 *     parents, a cause of which it has not heard); so dead inner tokens never
 *     outnumber leaves, those aside.
 * T5  The shape (parent, siblings, kids, entries, side) is under the tree
 *     lock; `word` is written under it and read without.
 * T6  No user code runs under the tree lock, and no walk keeps others from it
 *     for more than NUR_WALK_SLICE tokens.  What a walk stands on stays:
 *     settling passes over pinned tokens and those on a walk's list.
 * T7  Making and releasing a child again and again, and registering callbacks
 *     again and again, touches nothing that threads share: token/vacant.c,
 *     token/hook.c.
 * T8  A token of several parents, a join, has no parent in the tree but a
 *     feeler under each: token/join.h.
 * T9  Once nursery_signal_arm() has been called a signal handler may raise a
 *     word without the lock: token/from_signal.h.
 * T10 The token of a private nursery (scope/nest.h) is not in the tree until
 *     somebody wants more of it than its level: who takes a token from
 *     outside calls nur_token_publish() before the tree lock.  A raise above
 *     reaches it by nur_raised_hook.
 *
 * 64 bytes: word 4, refs 4, and 8 each for parent, next, prev, kids, entries,
 * side, walk.  The causes lie beside the slots (S2), touched only by a token
 * that is raised itself; timers, descriptors, several parents are what few
 * tokens have and hang on the side.
 */
#ifndef NUR_TOKEN_TOKEN_H
#define NUR_TOKEN_TOKEN_H

#include "base/slab.h"
#include "nursery/token.h"

#ifndef NUR_WALK_SLICE		/* the model build has a shorter one */
#define NUR_WALK_SLICE	256
#endif

/* Bits of nursery_token.word; bits 0-1 are the level (ABI). */
#define NUR_LEVEL_MASK		3u
#define NUR_ORIGIN(l)		(2u << (l))	/* has a record for level 1..3 */
#define NUR_TOKEN_SHIELDED	(1u << 5)	/* hears only ABORT */
#define NUR_TOKEN_AT_SHIFT	6		/* new_at's level, or 0 */
#define NUR_TOKEN_AT_MASK	(3u << NUR_TOKEN_AT_SHIFT)
#define NUR_TOKEN_RELEASED	(1u << 8)	/* no handles left */
#define NUR_TOKEN_EMBEDDED	(1u << 9)	/* in a nursery's block */
#define NUR_TOKEN_ON_WALK	(1u << 10)	/* on one walk's list */
#define NUR_TOKEN_SHARED	(1u << 11)	/* has, or had, kids or entries */
#define NUR_TOKEN_ROOT		(1u << 20)	/* born without a parent */
#define NUR_TOKEN_PIN		(1u << 12)	/* counted: walks that need it */
#define NUR_TOKEN_PINS		(255u << 12)
#define NUR_TOKEN_FEELER	(1u << 21)	/* of a join, its only kid */
#define NUR_TOKEN_JOIN		(1u << 22)	/* has side->join */
/* By the handler, F1: */
#define NUR_TOKEN_QUEUED	(1u << 23)	/* its kids are to be told yet */
#define NUR_TOKEN_BASE_SHIFT	24	/* 1 + level before it, if no record */
#define NUR_TOKEN_BASE_MASK	(3u << NUR_TOKEN_BASE_SHIFT)
#define NUR_TOKEN_PRIVATE	(1u << 26)	/* T10 */

struct nur_record {		/* why a level was raised, T2 */
	int32_t code;
	int32_t by_pid;
	const char *why;
	uint64_t by_task;
	int64_t when;
	int16_t level;		/* what the call asked for */
	bool by_deadline;	/* the token's own */
};

struct nur_mark {		/* what a signal handler leaves, F2 */
	struct nursery_token *next;	/* atomic: in the queue */
	uint32_t when;			/* atomic: microseconds, the low bits */
};
#define NUR_TOKEN_AUX \
	(3 * sizeof(struct nur_record) + sizeof(struct nur_mark))

struct nur_timer {
	int64_t when;		/* atomic: NURSERY_NEVER: not armed */
	size_t slot;		/* in the heap; SIZE_MAX: not in it */
	enum nur_timer_kind {
		NUR_TIMER_DEADLINE, NUR_TIMER_SHIELD, NUR_TIMER_RESEND,
		NUR_TIMER_CALL
	} kind;
	void *owner;
};

struct nur_timers {		/* of a token; timer lock */
	struct nur_timer deadline, shield;
	bool reserved;		/* from the first arming on, M1 */
};

/* What few tokens have. */
struct nur_side {
	struct nur_timers timers;
	struct nur_join *join;	/* token/join.h, or NULL */
	struct nur_view *views;	/* token/fd.h: one a level, or NULL */
};

struct nursery_token {
	uint32_t word;		/* atomic, T5 */
	uint32_t refs;		/* atomic: handles */
	struct nursery_token *parent;	/* read without the lock by vacant.c */
	struct nursery_token *next, *prev;	/* siblings; first has no prev */
	struct nursery_token *kids;
	struct nur_entry *entries;	/* to be told: token/callback.h */
	struct nur_side *side;	/* atomic: written once, under the lock */
	struct nursery_token *walk;	/* next on the list of a walk */
};

extern struct nur_mutex nur_tree_lock;

static inline unsigned
nur_token_level(const struct nursery_token *t)
{
	/* Acquire: pairs with nur_token_set_word(); who sees the level sees
	 * the cause and what the canceller wrote before. */
	return nur_load_acquire(&t->word) & NUR_LEVEL_MASK;
}

/* Under the tree lock, where the word changes, or a hint. */
static inline uint32_t
nur_token_word(const struct nursery_token *t)
{
	return nur_load_relaxed(&t->word);
}

/* Under the tree lock: whether handlers may change words meanwhile, T9. */
extern bool nur_words_are_shared;
void nur_token_merge_word(struct nursery_token *t, uint32_t word);

static inline void
nur_token_set_word(struct nursery_token *t, uint32_t word)
{
	if (__builtin_expect(nur_words_are_shared, 0)) {
		nur_token_merge_word(t, word);
		return;
	}
	/* Release: publishes the cause; pairs with nur_token_level(). */
	nur_store_release(&t->word, word);
}

/* t gets a kid or an entry, through which others find it.  Tree lock held. */
static inline void
nur_token_share_locked(struct nursery_token *t)
{
	uint32_t word = nur_token_word(t);

	if ((word & NUR_TOKEN_SHARED) == 0)
		nur_token_set_word(t, word | NUR_TOKEN_SHARED);
}

/* What a token with this word hears when its parent stands at `level`. */
static inline unsigned
nur_token_hears(uint32_t word, unsigned level)
{
	unsigned at;

	if ((word & (NUR_TOKEN_SHIELDED | NUR_TOKEN_AT_MASK)) == 0)
		return level;
	if ((word & NUR_TOKEN_SHIELDED) != 0)
		return level >= NURSERY_ABORT ? level : NURSERY_LIVE;
	at = (word & NUR_TOKEN_AT_MASK) >> NUR_TOKEN_AT_SHIFT;
	if (level < at)
		return NURSERY_LIVE;
	return level > NURSERY_CANCEL ? level : NURSERY_CANCEL;
}

/* ---- token.c ---- */

/* Makes a token in caller's slab memory that has NUR_TOKEN_AUX.  Nobody
 * knows it yet: it is linked by nur_token_link_locked(). */
void nur_token_init(struct nursery_token *t, uint32_t flags);
/* Links it under `parent` and gives it the level that it hears.  Tree lock
 * held. */
void nur_token_link_locked(struct nursery_token *t,
    struct nursery_token *parent);
/* Called when the last handle of an embedded token went and nothing in the
 * tree needs it; tree lock held; set by scope/. */
extern void (*nur_token_embedded_free)(struct nursery_token *t);
uint64_t nur_token_live(void);

/* Set by scope/: puts the token of a private nursery into the tree. */
extern void (*nur_token_publish_hook)(struct nursery_token *t);

/* T10.  No lock held that comes before the tree lock. */
static inline void
nur_token_publish(const struct nursery_token *t)
{
	/* Relaxed: who clears the bit holds the tree lock. */
	if (t != NULL && (nur_load_relaxed(&t->word) & NUR_TOKEN_PRIVATE) !=
	    0)
		nur_token_publish_hook((struct nursery_token *)(uintptr_t)t);
}

/* ---- raise.c ---- */

/* Set by scope/ when there may be tokens that are not in the tree, T10: gives
 * them the levels above them. */
extern void (*nur_raised_hook)(void);

struct nur_raise {
	int level, code, by_pid;
	const char *why;
	uint64_t by_task;	/* 0: the task that runs here, if one does */
	int64_t when;	/* set by the raise */
	bool by_deadline;
};
/* True if this call raised t itself.  Runs callbacks; no lock is held. */
bool nur_token_raise(struct nursery_token *t, struct nur_raise *r);

/* ---- deadline.c: what few have ---- */

/* The side block of t, made on first use; NULL without memory. */
struct nur_side *nur_token_side(struct nursery_token *t);

/* Ends a shield at `until`: 0, ENOMEM, EAGAIN. */
int nur_token_shield_until(struct nursery_token *t, int64_t until);
/* The timer thread's entries, both with the tree lock held.  A deadline is
 * due: sets the level of its token, the timer lock held, too (M3); true if
 * it is to be spread.  A shield's time is over: returns without the lock. */
bool nur_token_timed_out_locked(struct nursery_token *t);
void nur_token_shield_ended_and_unlock(struct nursery_token *t);
/* Disarms what t has, for a pause in its life: false if it has more. */
bool nur_token_side_rests(struct nursery_token *t);
void nur_token_free_side_locked(struct nursery_token *t);
/* Whether it was t's own deadline that cancelled it. */
bool nur_token_timed_out(const struct nursery_token *t);

#endif
