/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/vacant.h"

#include "token/tree.h"

static bool
is_under(const struct nursery_token *c, const struct nursery_token *parent)
{
	return parent == NULL || nur_load_relaxed(&c->parent) == parent;
}

static void
let_go_locked(struct nursery_token *c)
{
	nur_token_set_word(c, nur_token_word(c) | NUR_TOKEN_RELEASED);
	nur_token_settle_locked(c);
}

struct nursery_token *
nur_vacant_search(struct nur_thr *self, struct nursery_token *parent)
{
	struct nur_vacant *v = &self->vacant;
	struct nursery_token *c;
	uint32_t i;

	for (i = 0; i < v->count; i++)
		if (is_under(v->child[i], parent))
			break;
	if (i == v->count || nur_token_level(parent) != NURSERY_LIVE)
		return NULL;
	c = v->child[i];
	if (nur_token_word(c) != 0) {
		nur_vacant_release(self, parent);
		return NULL;
	}
	v->child[i] = v->child[--v->count];
	nur_store_relaxed(&c->refs, 1);
	return c;
}

void
nur_vacant_release(struct nur_thr *self, const struct nursery_token *parent)
{
	struct nur_vacant *v = &self->vacant;
	uint32_t i = 0;

	while (i < v->count && !is_under(v->child[i], parent))
		i++;
	if (i == v->count)
		return;
	nur_lock(&nur_tree_lock);
	while (i < v->count) {
		if (is_under(v->child[i], parent)) {
			let_go_locked(v->child[i]);
			v->child[i] = v->child[--v->count];
		} else {
			i++;
		}
	}
	nur_unlock(&nur_tree_lock);
}
