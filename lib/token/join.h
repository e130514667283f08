/* SPDX-License-Identifier: MIT */
/*
 * Tokens of several parents.
 *
 * J1  A join has no parent in the tree but a feeler, a token without handles,
 *     under each of its parents.  The join is the one kid of all its feelers;
 *     it has no siblings.  So walks, splices and causes find it as they find
 *     any kid, and the tree stays a tree for all who look down.
 * J2  A feeler is released with its join, and not before.
 * J3  `via` names the feeler through which each level was heard first: where
 *     its cause is found.  It is noted before the join's level is set.
 * J4  Two walks may meet below a join though the root of neither is above
 *     that of the other.  One that has come through a feeler waits for all
 *     that have, too, and for those within the tree of a join.
 */
#ifndef NUR_TOKEN_JOIN_H
#define NUR_TOKEN_JOIN_H

#include "token/token.h"

struct nur_join {		/* under the tree lock */
	struct nursery_token *via[NURSERY_ABORT];	/* of level 1.., J3 */
	struct nur_join *pending;	/* on the list of a search */
	uint64_t seen;			/* the search that saw it last */
	size_t count;
	struct nursery_token *feeler[];
};

/* J3: what x, a feeler, has heard is about to be told its join. */
void nur_join_note_locked(struct nursery_token *x);
/* Whether t is a join or stands below one. */
bool nur_below_join_locked(const struct nursery_token *t);

#endif
