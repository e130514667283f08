/* SPDX-License-Identifier: MIT */
/* The birth of a token of several parents.  Its end is in token/tree.c. */
#include "config.h"

#include "token/join.h"

#include "base/sys.h"
#include "token/tree.h"

static uint64_t last_search;	/* under the tree lock */

void
nur_join_note_locked(struct nursery_token *x)
{
	struct nursery_token *t = x->kids;
	unsigned l;

	if (t == NULL)
		return;		/* the join has gone */
	for (l = nur_level_locked(t) + 1; l <= nur_level_locked(x); l++)
		t->side->join->via[l - 1] = x;
}

bool
nur_below_join_locked(const struct nursery_token *t)
{
	while (t->parent != NULL)
		t = t->parent;
	return (nur_token_word(t) & NUR_TOKEN_JOIN) != 0;
}

/* ---- birth ---- */

static struct nur_join *
new_join(size_t n)
{
	struct nur_join *j;

	if (n > (SIZE_MAX - sizeof *j) / sizeof j->feeler[0])
		return NULL;
	j = nur_alloc(sizeof *j + n * sizeof j->feeler[0]);
	while (j != NULL && j->count < n) {
		j->feeler[j->count] = nur_token_alloc(NUR_TOKEN_FEELER);
		if (j->feeler[j->count] == NULL)
			break;
		j->count++;
	}
	return j;
}

static void
free_join(struct nur_join *j)
{
	if (j == NULL)
		return;
	while (j->count > 0)
		nur_token_free_locked(j->feeler[--j->count]);
	nur_free(j);
}

static void
link_all_locked(struct nursery_token *t, struct nursery_token *const *parents)
{
	struct nur_join *j = t->side->join;
	unsigned level;
	size_t i;

	for (i = 0; i < j->count; i++) {
		nur_token_link_locked(j->feeler[i], parents[i]);
		nur_token_share_locked(j->feeler[i]);
		j->feeler[i]->kids = t;
		nur_join_note_locked(j->feeler[i]);
		level = nur_level_locked(j->feeler[i]);
		if (level > nur_level_locked(t))
			nur_token_set_word(t, (nur_token_word(t) &
			    ~NUR_LEVEL_MASK) | level);
	}
}

static int
check_parents(struct nursery_token *const *parents, size_t n)
{
	size_t i;

	if (parents == NULL || n == 0)
		return EINVAL;
	for (i = 0; i < n; i++)
		if (parents[i] == NULL)
			return EINVAL;
	for (i = 0; i < n; i++)
		if (nur_inherited(parents[i]))
			return EOWNERDEAD;
	return 0;
}

int
nursery_token_new_any(struct nursery_token **out,
    struct nursery_token *const *parents, size_t n)
{
	struct nursery_token *t;
	struct nur_side *side;
	size_t i;
	int rc;

	rc = out == NULL ? EINVAL : check_parents(parents, n);
	if (rc != 0)
		return rc;
	if (n == 1)
		return nursery_token_new(out, parents[0]);
	rc = nursery_token_new(&t, NULL);
	if (rc != 0)
		return rc;
	for (i = 0; i < n; i++)
		nur_token_publish(parents[i]);
	side = nur_token_side(t);
	if (side != NULL)
		side->join = new_join(n);
	if (side == NULL || side->join == NULL || side->join->count < n) {
		if (side != NULL) {
			free_join(side->join);
			side->join = NULL;
		}
		nursery_token_unref(t);
		return ENOMEM;
	}
	nur_lock(&nur_tree_lock);
	nur_token_set_word(t, nur_token_word(t) | NUR_TOKEN_JOIN);
	link_all_locked(t, parents);
	nur_unlock(&nur_tree_lock);
	*out = t;
	return 0;
}

/* ---- looking up ---- */

/* The earliest deadline from t to the top of its tree; a join that is met
 * there for the first time is left for later. */
static int64_t
climb_locked(const struct nursery_token *t, struct nur_join **pending)
{
	int64_t earliest = NURSERY_NEVER, when;
	struct nur_join *j;

	for (; t != NULL; t = t->parent) {
		/* Relaxed: it may be moved meanwhile, then either will do. */
		when = t->side == NULL ? NURSERY_NEVER : nur_load_relaxed(
		    &t->side->timers.deadline.when);
		if (when < earliest)
			earliest = when;
		/* What does not hear a cancel hears no deadline. */
		if (nur_token_hears(nur_token_word(t), NURSERY_CANCEL) ==
		    NURSERY_LIVE)
			break;
		if ((nur_token_word(t) & NUR_TOKEN_JOIN) == 0)
			continue;
		j = t->side->join;
		if (j->seen != last_search) {
			j->seen = last_search;
			j->pending = *pending;
			*pending = j;
		}
	}
	return earliest;
}

int64_t
nursery_token_deadline(const struct nursery_token *t)
{
	struct nur_join *pending = NULL, *j;
	int64_t earliest, other;
	size_t i;

	if (t == NULL || nur_inherited(t))
		return NURSERY_NEVER;
	nur_token_publish(t);
	nur_lock(&nur_tree_lock);
	last_search++;
	earliest = climb_locked(t, &pending);
	/* Each join once, however many ways lead there. */
	while ((j = pending) != NULL) {
		pending = j->pending;
		for (i = 0; i < j->count; i++) {
			other = climb_locked(j->feeler[i], &pending);
			if (other < earliest)
				earliest = other;
		}
	}
	nur_unlock(&nur_tree_lock);
	return earliest;
}
