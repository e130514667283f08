/* SPDX-License-Identifier: MIT */
/*
 * Raising a level, down a tree.
 *
 * The level of the token itself comes first, then a walk tells the kids of
 * each token that changed.  Tokens whose kids are still to be
 * told hang on the walk's list by a link of their own: no stack, no memory.
 *
 * W1  A token whose kids may be below what they hear is on the list of one
 *     walk, or is the one at work, or does not exist when nobody walks.
 * W2  A walk that meets a token of another's list leaves it there: who has
 *     it tells the kids the level that it has by then.
 * W3  A walk drains its list without waiting for anybody but the lock; only
 *     then, listed no more, it waits for the other walks above or below its
 *     root that were listed.  So two that met wait for no circle, and T1
 *     holds for both; it holds, by the same wait, for a caller that finds
 *     the level reached already.  It waits until there is none, those that
 *     began meanwhile included: one that it waited for may have met them.
 *     What joins lie below it no walk knows until it is there, J4.
 * W4  A walk that never let go of the lock was met by nobody and is not
 *     listed.
 */
#include "config.h"

#include "token/tree.h"

#include "base/sys.h"
#include "base/task_id.h"
#include "base/thr.h"
#include "token/callback.h"
#include "token/from_signal.h"
#include "token/join.h"

#define AHEAD	8	/* siblings that a walk asks for in advance */
#define FURTHER	16	/* the same for kids of neighbours */

struct nur_walk *nur_walks;
void (*nur_raised_hook)(void);
/* atomic: of raises that have yet to reach what is not in the tree, T10;
 * rises under the tree lock */
static uint32_t reaching;
/* atomic: counts drained walks; those who wait for one sleep on it */
static uint32_t drained;
static unsigned waiters;

static void
list_walk_locked(struct nur_walk *w)
{
	if (w->listed)
		return;
	w->listed = true;
	w->next = nur_walks;
	nur_walks = w;
}

static void
unlist_walk_locked(struct nur_walk *w)
{
	struct nur_walk **p;

	if (!w->listed)
		return;
	for (p = &nur_walks; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	/* Relaxed: changes under the lock; the futex re-reads. */
	nur_store_relaxed(&drained, nur_load_relaxed(&drained) + 1);
	if (waiters > 0)
		nur_futex_wake(&drained, INT32_MAX);
}

/* Whether w may have to tell descendants of t, of which those of joins are
 * some, if `crossed`. */
static bool
meets_locked(const struct nur_walk *w, const struct nursery_token *t,
    bool crossed)
{
	if (nur_above_locked(w->root, t) || nur_above_locked(t, w->root))
		return true;
	/* J4 */
	return (w->crossed && (crossed || nur_below_join_locked(t))) ||
	    (crossed && nur_below_join_locked(w->root));
}

/* Whether any walk may. */
static bool
awaited_locked(const struct nursery_token *t, bool crossed)
{
	const struct nur_walk *w;

	for (w = nur_walks; w != NULL; w = w->next)
		if (meets_locked(w, t, crossed))
			return true;
	return false;
}

/* W3: until all that was under way around t is done. */
static void
await_walks_locked(const struct nursery_token *t, bool crossed)
{
	uint32_t seen;

	while (nur_walks != NULL && awaited_locked(t, crossed)) {
		seen = nur_load_relaxed(&drained);
		waiters++;
		nur_unlock(&nur_tree_lock);
		(void)nur_futex_wait(&drained, seen, INT64_MAX);
		nur_lock(&nur_tree_lock);
		waiters--;
	}
}

/* Puts c, whose word shall be `word`, on the list: on top, for its kids are
 * told best while it is still in the cache. */
static inline void
push_locked(struct nur_walk *w, struct nursery_token *c, uint32_t word)
{
	nur_token_set_word(c, word | NUR_TOKEN_ON_WALK);
	c->walk = w->first;
	w->first = c;
	__builtin_prefetch(c->kids, 1);
	__builtin_prefetch(c->kids + FURTHER, 1);
}

/* Sets c's level to what it hears from a parent at `level`. */
static inline void
tell_locked(struct nur_walk *w, struct nursery_token *c, unsigned level,
    struct nur_run *run)
{
	uint32_t word = nur_token_word(c);
	unsigned to = nur_token_hears(word, level);

	if (to <= (word & NUR_LEVEL_MASK)) {
		if ((word & NUR_TOKEN_QUEUED) == 0)
			return;
		to = word & NUR_LEVEL_MASK;	/* F3 */
	}
	word = (word & ~NUR_LEVEL_MASK) | to;
	if (c->kids != NULL && (word & NUR_TOKEN_ON_WALK) == 0)
		push_locked(w, c, word);
	else
		nur_token_set_word(c, word);
	if (c->entries != NULL)
		nur_callbacks_collect_locked(run, c, to);
}

/*
 * Asks for tokens that will be wanted soon: a walk is as fast as memory
 * comes.  Siblings tend to lie in a row, in either direction; after the last
 * of them come kids of a neighbour, further up.
 */
static inline void
prefetch(const struct nursery_token *c, const struct nursery_token *next)
{
	uintptr_t at = (uintptr_t)c + FURTHER * sizeof *c;

	if (next != NULL)
		at = (uintptr_t)next + AHEAD * ((uintptr_t)next -
		    (uintptr_t)c);
	__builtin_prefetch((const void *)at, 1);
}

/* T6: lets those who wait have the lock; what w stands on may change. */
static void
let_others_in(struct nur_walk *w, struct nursery_token **next)
{
	list_walk_locked(w);
	w->cursor = *next;
	nur_lock_yield(&nur_tree_lock);
	*next = w->cursor;
	w->cursor = NULL;
}

/* Tells the kids of x, which is pinned. */
static void
tell_kids_locked(struct nur_walk *w, struct nursery_token *x,
    struct nur_run *run)
{
	unsigned level = nur_level_locked(x);
	struct nursery_token *c, *next;

	if ((nur_token_word(x) & NUR_TOKEN_FEELER) != 0) {
		w->crossed = true;
		nur_join_note_locked(x);
	}
	for (c = x->kids; c != NULL; c = next) {
		next = c->next;
		prefetch(c, next);
		tell_locked(w, c, level, run);
		if (--w->slice > 0)
			continue;
		w->slice = NUR_WALK_SLICE;
		if (!nur_lock_contended(&nur_tree_lock))
			continue;
		let_others_in(w, &next);
		level = nur_level_locked(x);
	}
}

static void
walk_locked(struct nur_walk *w, struct nur_run *run)
{
	struct nursery_token *x;
	uint32_t word;

	/* W2 holds for the root, too. */
	if ((nur_token_word(w->root) & NUR_TOKEN_ON_WALK) == 0)
		push_locked(w, w->root, nur_token_word(w->root));
	while ((x = w->first) != NULL) {
		w->first = x->walk;
		word = nur_token_word(x);
		nur_token_set_word(x, word + (NUR_TOKEN_PIN -
		    NUR_TOKEN_ON_WALK));
		tell_kids_locked(w, x, run);
		word = nur_token_word(x) - NUR_TOKEN_PIN;
		nur_token_set_word(x, word);
		if ((word & NUR_TOKEN_RELEASED) != 0)
			nur_token_settle_locked(x);
	}
}

/* T10.  Whether private nurseries may be below t; then reach_them() follows.
 * Lock held. */
static bool
may_reach_more_locked(const struct nursery_token *t)
{
	/* Relaxed: set before the first of them is opened, and so before what
	 * is above it gets into the tree. */
	if (nur_load_relaxed(&nur_raised_hook) == NULL || (nur_token_word(t) &
	    (NUR_TOKEN_SHARED | NUR_TOKEN_EMBEDDED)) == 0)
		return false;
	(void)nur_fetch_add_relaxed(&reaching, 1);
	return true;
}

static void
reach_them(void)
{
	nur_load_relaxed(&nur_raised_hook)();
	(void)nur_fetch_sub_acq_rel(&reaching, 1);
}

void
nur_spread_and_unlock(struct nursery_token *t)
{
	struct nur_run run = { 0 };
	struct nur_walk w = { .root = t, .slice = NUR_WALK_SLICE };
	bool reaches = may_reach_more_locked(t);

	nur_token_set_word(t, nur_token_word(t) + NUR_TOKEN_PIN);
	if (t->entries != NULL)
		nur_callbacks_collect_locked(&run, t, nur_level_locked(t));
	if (t->kids != NULL)
		walk_locked(&w, &run);
	unlist_walk_locked(&w);
	await_walks_locked(t, w.crossed);
	nur_token_set_word(t, nur_token_word(t) - NUR_TOKEN_PIN);
	nur_token_settle_locked(t);
	nur_unlock(&nur_tree_lock);
	if (reaches)
		reach_them();
	nur_callbacks_run(&run);
}

void
nur_write_records_locked(struct nursery_token *t, const struct nur_raise *r)
{
	const struct nur_record rec = {
		.code = r->code == 0 ? ECANCELED : r->code,
		.by_pid = r->by_pid,
		.why = r->why,
		.by_task = nur_current_task_id(),
		.when = r->when,
		.level = (int16_t)r->level,
		.by_deadline = r->by_deadline,
	};
	struct nur_record *records = nur_slab_aux(t);
	uint32_t word = nur_token_word(t);
	unsigned l;

	for (l = (word & NUR_LEVEL_MASK) + 1; l <= (unsigned)r->level; l++) {
		records[l - 1] = rec;
		word |= NUR_ORIGIN(l);
	}
	nur_token_set_word(t, (word & ~NUR_LEVEL_MASK) | (unsigned)r->level);
}

bool
nur_token_raise(struct nursery_token *t, struct nur_raise *r)
{
	bool reaches;

	nur_token_publish(t);
	/* Before the lock: others need not wait while the clock is read. */
	if (nur_token_level(t) < (unsigned)r->level)
		r->when = nur_now();
	nur_lock(&nur_tree_lock);
	if (nur_level_locked(t) >= (unsigned)r->level) {
		if ((nur_token_word(t) & NUR_TOKEN_QUEUED) != 0) {
			nur_spread_and_unlock(t);	/* F3 */
			return false;
		}
		await_walks_locked(t, true);
		/* T1 for this caller, too. */
		reaches = nur_load_relaxed(&reaching) != 0 &&
		    may_reach_more_locked(t);
		nur_unlock(&nur_tree_lock);
		if (reaches)
			reach_them();
		return false;
	}
	nur_write_records_locked(t, r);
	nur_spread_and_unlock(t);
	return true;
}

void
nur_walks_after_fork(void)
{
	nur_walks = NULL;
	waiters = 0;
	nur_store_relaxed(&reaching, 0);
}
