/* SPDX-License-Identifier: MIT */
/*
 * Children that a thread made, gave up and can have again.
 *
 * A child that is released while nothing hangs on it stays linked under its
 * parent, vacant, in the hands of the thread that released it; when that
 * thread wants a child of the same parent, it has one.  Whoever makes a token
 * a request, or a task, in a loop pays for no lock.
 *
 * V1  A vacant child has no handle, and nothing on its side but timers at
 *     rest, and its word is 0: it is live, and never had kids or entries.
 *     Walks raise it like any other; then it is not given out again.
 * V2  Only the thread that keeps it revives it or lets it go.
 * V3  It is given out only if its parent showed LIVE after it was asked for:
 *     a raise that comes later finds it, for it is linked.
 * V4  A thread keeps NUR_VACANT at most.  They hold a released parent back as
 *     any child does, until the thread lets go: for want of room, when it
 *     idles or ends, when it closes the nursery whose token is the parent.
 */
#ifndef NUR_TOKEN_VACANT_H
#define NUR_TOKEN_VACANT_H

#include "base/thr.h"
#include "token/token.h"

/* Lets go of those under `parent`, NULL: of all. */
void nur_vacant_release(struct nur_thr *self,
    const struct nursery_token *parent);

/* A live child of `parent`, with one handle; or NULL. */
struct nursery_token *nur_vacant_search(struct nur_thr *self,
    struct nursery_token *parent);

static inline struct nursery_token *
nur_vacant_take(struct nur_thr *self, struct nursery_token *parent)
{
	struct nur_vacant *v = &self->vacant;
	struct nursery_token *c;

	if (v->count == 0)
		return NULL;
	c = v->child[v->count - 1];
	/* Relaxed: a child that is moved to its grandparent is as good under
	 * either name; whoever asks for a child of either holds a handle. */
	if (nur_load_relaxed(&c->parent) != parent ||
	    nur_token_level(parent) != NURSERY_LIVE || nur_token_word(c) != 0)
		return nur_vacant_search(self, parent);
	v->count--;
	/* Relaxed: nobody has a handle yet. */
	nur_store_relaxed(&c->refs, 1);
	return c;
}

/* Keeps c, whose last handle the caller gives up; false if it may not. */
static inline bool
nur_vacant_give(struct nur_thr *self, struct nursery_token *c)
{
	struct nur_vacant *v = &self->vacant;

	/* A word of 0 says, too, that there never were kids or entries. */
	if (nur_token_word(c) != 0 || nur_load_relaxed(&c->parent) == NULL ||
	    !nur_keep_ready)
		return false;
	/* M3: a deadline that has been faster is seen now. */
	if (c->side != NULL && (!nur_token_side_rests(c) ||
	    nur_token_word(c) != 0))
		return false;
	if (v->count == NUR_VACANT)
		nur_vacant_release(self, NULL);
	nur_store_relaxed(&c->refs, 0);
	v->child[v->count++] = c;
	return true;
}

#endif
