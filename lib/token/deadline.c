/* SPDX-License-Identifier: MIT */
/* What time does to a token: a deadline cancels it, the end of a shield lets
 * it hear.  The heap and its thread are in token/timer.c. */
#include "config.h"

#include "token/timer.h"
#include "token/tree.h"

#include "base/sys.h"
#include "token/fd.h"
#include "token/join.h"

struct nur_side *
nur_token_side(struct nursery_token *t)
{
	/* Acquire: pairs with the release below; sees what it points to. */
	struct nur_side *side = nur_load_acquire(&t->side), *ours;

	if (side != NULL)
		return side;
	nur_token_publish(t);
	ours = nur_alloc(sizeof *ours);
	if (ours == NULL)
		return NULL;
	nur_timer_init(&ours->timers.deadline, NUR_TIMER_DEADLINE, t);
	nur_timer_init(&ours->timers.shield, NUR_TIMER_SHIELD, t);
	nur_lock(&nur_tree_lock);
	side = t->side;
	if (side == NULL)
		nur_store_release(&t->side, ours);
	nur_unlock(&nur_tree_lock);
	if (side == NULL)
		return ours;
	nur_free(ours);		/* another thread was first */
	return side;
}

bool
nur_token_side_rests(struct nursery_token *t)
{
	struct nur_side *side = t->side;

	if (side->join != NULL || side->views != NULL)
		return false;
	nur_timers_end(&side->timers);
	return true;
}

void
nur_token_free_side_locked(struct nursery_token *t)
{
	struct nur_side *side = t->side;

	if (side == NULL)
		return;
	if (side->timers.reserved)
		nur_timers_end(&side->timers);
	nur_views_free(side->views);
	nur_free(side->join);
	nur_free(side);
}

static int
arm(struct nursery_token *t, enum nur_timer_kind kind, int64_t when)
{
	struct nur_side *side = nur_load_acquire(&t->side);

	if (side == NULL) {
		if (when == NURSERY_NEVER)
			return 0;
		side = nur_token_side(t);
		if (side == NULL)
			return ENOMEM;
	}
	return nur_timers_arm(&side->timers, kind == NUR_TIMER_DEADLINE ?
	    &side->timers.deadline : &side->timers.shield, when);
}

int
nur_token_shield_until(struct nursery_token *t, int64_t until)
{
	return arm(t, NUR_TIMER_SHIELD, until);
}

int
nursery_token_set_deadline(struct nursery_token *t, int64_t deadline)
{
	if (t == NULL)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	if (nur_token_level(t) >= NURSERY_CANCEL)
		return ECANCELED;
	/* A cancel that comes now comes after: the deadline finds it done. */
	return arm(t, NUR_TIMER_DEADLINE, deadline);
}

bool
nur_token_timed_out(const struct nursery_token *t)
{
	bool timed_out = false;

	nur_lock(&nur_tree_lock);
	if ((nur_token_word(t) & NUR_ORIGIN(NURSERY_CANCEL)) != 0)
		timed_out = nur_record_of(t, NURSERY_CANCEL)->by_deadline;
	nur_unlock(&nur_tree_lock);
	return timed_out;
}

bool
nur_token_timed_out_locked(struct nursery_token *t)
{
	struct nur_raise r = { .level = NURSERY_CANCEL,
		.code = ETIMEDOUT, .why = "deadline", .when = nur_now(),
		.by_deadline = true };

	if (nur_level_locked(t) >= NURSERY_CANCEL)
		return false;
	nur_write_records_locked(t, &r);
	return true;
}

/* The shield falls: t hears what its parent has said meanwhile. */
void
nur_token_shield_ended_and_unlock(struct nursery_token *t)
{
	uint32_t word = nur_token_word(t) & ~NUR_TOKEN_SHIELDED;
	unsigned to = t->parent == NULL ? NURSERY_LIVE :
	    nur_token_hears(word, nur_level_locked(t->parent));

	if (to <= (word & NUR_LEVEL_MASK)) {
		nur_token_set_word(t, word);
		nur_token_settle_locked(t);
		nur_unlock(&nur_tree_lock);
		return;
	}
	nur_token_set_word(t, (word & ~NUR_LEVEL_MASK) | to);
	nur_spread_and_unlock(t);
}
