/* SPDX-License-Identifier: MIT */
/* The shape: who stands below whom, and who may leave.  Invariants in
 * token/token.h. */
#include "config.h"

#include "token/tree.h"

#include "token/callback.h"
#include "token/from_signal.h"
#include "token/join.h"

struct nur_mutex nur_tree_lock = NUR_MUTEX_INIT(NUR_RANK_TREE);

/* The parent's level that made t reach `level`: nur_token_hears() reversed. */
static unsigned
heard_as(const struct nursery_token *t, unsigned level)
{
	unsigned at = (nur_token_word(t) & NUR_TOKEN_AT_MASK) >>
	    NUR_TOKEN_AT_SHIFT;

	return at != 0 && level <= NURSERY_CANCEL ? at : level;
}

/* Walks that would have gone on at t go on at `instead`, T6. */
static void
move_cursors_locked(const struct nursery_token *t,
    struct nursery_token *instead)
{
	struct nur_walk *w;

	for (w = nur_walks; w != NULL; w = w->next)
		if (w->cursor == t)
			w->cursor = instead;
}

static void
set_parent_locked(struct nursery_token *t, struct nursery_token *parent)
{
	/* Relaxed: vacant.c compares it, and then looks at more. */
	nur_store_relaxed(&t->parent, parent);
}

void
nur_token_link_locked(struct nursery_token *t, struct nursery_token *parent)
{
	uint32_t above = nur_token_word(parent), own = nur_token_word(t);

	nur_token_share_locked(parent);
	set_parent_locked(t, parent);
	t->prev = NULL;
	t->next = parent->kids;
	if (t->next != NULL)
		t->next->prev = t;
	parent->kids = t;
	nur_token_set_word(t, own | nur_token_hears(own, above &
	    NUR_LEVEL_MASK));
}

static void
unlink_locked(struct nursery_token *t)
{
	move_cursors_locked(t, t->next);
	if (t->next != NULL)
		t->next->prev = t->prev;
	if (t->prev != NULL)
		t->prev->next = t->next;
	else if (t->parent != NULL)
		t->parent->kids = t->next;
}

/* Puts `kid`, the only child of t, where t stands. */
static void
replace_locked(struct nursery_token *t, struct nursery_token *kid)
{
	move_cursors_locked(t, kid);
	set_parent_locked(kid, t->parent);
	kid->next = t->next;
	kid->prev = t->prev;
	if (kid->next != NULL)
		kid->next->prev = kid;
	if (kid->prev != NULL)
		kid->prev->next = kid;
	else if (t->parent != NULL)
		t->parent->kids = kid;
}

/* T3: what t knows and its child found through it goes to the child. */
static void
bequeath_locked(const struct nursery_token *t, struct nursery_token *kid)
{
	uint32_t mine = nur_token_word(t), its = nur_token_word(kid);
	unsigned l, from;

	for (l = 1; l <= (its & NUR_LEVEL_MASK); l++) {
		from = heard_as(kid, l);
		if ((mine & NUR_ORIGIN(from)) == 0 ||
		    (nur_token_word(kid) & NUR_ORIGIN(l)) != 0)
			continue;
		*nur_record_of(kid, l) = *nur_record_of(t, from);
		nur_token_set_word(kid, nur_token_word(kid) | NUR_ORIGIN(l));
	}
}

static bool
may_go(const struct nursery_token *t)
{
	return (nur_token_word(t) & (NUR_TOKEN_RELEASED | NUR_TOKEN_ON_WALK |
	    NUR_TOKEN_PINS | NUR_TOKEN_QUEUED)) == NUR_TOKEN_RELEASED;
}

/* T8: the feelers of a join that goes have nothing to tell any more. */
static void
let_feelers_go_locked(struct nursery_token *t, struct nursery_token **going)
{
	struct nur_join *j = t->side->join;
	size_t i;

	for (i = 0; i < j->count; i++) {
		j->feeler[i]->kids = NULL;
		nur_token_set_word(j->feeler[i], nur_token_word(j->feeler[i])
		    | NUR_TOKEN_RELEASED);
		if (!may_go(j->feeler[i]))
			continue;	/* its walk will settle it */
		j->feeler[i]->walk = *going;
		*going = j->feeler[i];
	}
}

static void
free_locked(struct nursery_token *t, struct nursery_token **going)
{
	nur_entries_forget_locked(t);
	if ((nur_token_word(t) & NUR_TOKEN_JOIN) != 0)
		let_feelers_go_locked(t, going);
	nur_token_free_side_locked(t);
	if ((nur_token_word(t) & NUR_TOKEN_EMBEDDED) != 0)
		nur_token_embedded_free(t);
	else
		nur_token_free_locked(t);
}

static bool
tells_something(const struct nursery_token *t)
{
	uint32_t word = nur_token_word(t);

	return (word & (NUR_TOKEN_SHIELDED | NUR_TOKEN_AT_MASK |
	    NUR_TOKEN_JOIN)) != 0 ||
	    (t->side != NULL &&
	    t->side->timers.deadline.when != NURSERY_NEVER &&
	    (word & NUR_LEVEL_MASK) < NURSERY_CANCEL);
}

/* Whether the kid, which did not hear t yet, may come to a level whose cause
 * t knows. */
static bool
explains_something(const struct nursery_token *t,
    const struct nursery_token *kid)
{
	unsigned l = (nur_token_word(kid) & NUR_LEVEL_MASK) + 1;

	for (; l <= NURSERY_ABORT; l++)
		if ((nur_token_word(t) & NUR_ORIGIN(heard_as(kid, l))) != 0)
			return true;
	return false;
}

/* Lets t go if it may; the token to look at next, or NULL. */
static struct nursery_token *
settle_one_locked(struct nursery_token *t, struct nursery_token **going)
{
	struct nursery_token *parent = t->parent, *kid = t->kids;

	if (!may_go(t))
		return NULL;
	if (kid == NULL) {
		unlink_locked(t);
		free_locked(t, going);
		return parent;
	}
	if (kid->next != NULL || tells_something(t) ||
	    explains_something(t, kid))
		return NULL;
	bequeath_locked(t, kid);
	replace_locked(t, kid);
	free_locked(t, going);
	return NULL;
}

void
nur_token_settle_locked(struct nursery_token *t)
{
	struct nursery_token *going = NULL;

	/* Iterative: a chain may be long. */
	while (t != NULL) {
		t = settle_one_locked(t, &going);
		if (t == NULL && going != NULL) {
			t = going;
			going = t->walk;
		}
	}
}

struct nursery_token *
nur_origin_locked(struct nursery_token *t, unsigned *level)
{
	while (t != NULL) {
		nur_token_adopt_mark_locked(t);
		if ((nur_token_word(t) & NUR_ORIGIN(*level)) != 0)
			return t;
		*level = heard_as(t, *level);
		t = (nur_token_word(t) & NUR_TOKEN_JOIN) != 0 ?
		    t->side->join->via[*level - 1] : t->parent;
	}
	return NULL;
}

bool
nur_above_locked(const struct nursery_token *a, const struct nursery_token *t)
{
	for (; t != NULL; t = t->parent)
		if (t == a)
			return true;
	return false;
}
