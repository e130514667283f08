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
	struct nur_side *side, *ours;

	nur_lock(&nur_tree_lock);
	side = t->side;
	nur_unlock(&nur_tree_lock);
	if (side != NULL)
		return side;
	ours = nur_alloc(sizeof *ours);
	if (ours == NULL)
		return NULL;
	nur_timer_init(&ours->deadline, NUR_TIMER_DEADLINE, t);
	nur_timer_init(&ours->shield, NUR_TIMER_SHIELD, t);
	nur_lock(&nur_tree_lock);
	if (t->side == NULL) {
		t->side = ours;
		ours = NULL;
	}
	side = t->side;
	nur_unlock(&nur_tree_lock);
	nur_free(ours);
	return side;
}

/* Room for the timers of t, which are armed later: 0, ENOMEM, EAGAIN. */
static int
need_timers(struct nursery_token *t)
{
	struct nur_side *side = nur_token_side(t);
	bool timed;
	int rc;

	if (side == NULL)
		return ENOMEM;
	nur_lock(&nur_tree_lock);
	timed = side->timed;
	nur_unlock(&nur_tree_lock);
	if (timed)
		return 0;
	rc = nur_timer_reserve(2);
	if (rc != 0)
		return rc;
	nur_lock(&nur_tree_lock);
	timed = side->timed;
	side->timed = true;
	nur_unlock(&nur_tree_lock);
	if (timed)
		nur_timer_unreserve(2);	/* another thread was first */
	return 0;
}

void
nur_token_free_side_locked(struct nursery_token *t)
{
	struct nur_side *side = t->side;

	if (side == NULL)
		return;
	if (side->timed) {
		nur_timer_disarm(&side->deadline);
		nur_timer_disarm(&side->shield);
		nur_timer_unreserve(2);
	}
	nur_views_free(side->views);
	nur_free(side->join);
	nur_free(side);
}

int
nur_token_shield_until(struct nursery_token *t, int64_t until)
{
	int rc;

	if (until == NURSERY_NEVER)
		return 0;
	rc = need_timers(t);
	if (rc != 0)
		return rc;
	nur_lock(&nur_tree_lock);
	nur_timer_arm(&t->side->shield, until);
	nur_unlock(&nur_tree_lock);
	return 0;
}

int
nursery_token_set_deadline(struct nursery_token *t, int64_t deadline)
{
	int rc = 0;

	if (t == NULL)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	if (nur_token_level(t) >= NURSERY_CANCEL)
		return ECANCELED;
	if (deadline != NURSERY_NEVER)
		rc = need_timers(t);
	if (rc != 0)
		return rc;
	nur_lock(&nur_tree_lock);
	if (nur_level_locked(t) >= NURSERY_CANCEL)
		rc = ECANCELED;
	else if (t->side != NULL && t->side->timed)
		nur_timer_arm(&t->side->deadline, deadline);
	nur_unlock(&nur_tree_lock);
	return rc;
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

static void
deadline_passed_locked(struct nursery_token *t)
{
	struct nur_raise r = { .level = NURSERY_CANCEL,
		.code = ETIMEDOUT, .why = "deadline", .when = nur_now(),
		.by_deadline = true };

	if (nur_level_locked(t) >= NURSERY_CANCEL) {
		nur_unlock(&nur_tree_lock);
		return;
	}
	nur_write_records_locked(t, &r);
	nur_spread_and_unlock(t);
}

/* The shield falls: t hears what its parent has said meanwhile. */
static void
shield_ended_locked(struct nursery_token *t)
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

void
nur_token_timer_fired_locked(struct nur_timer *timer)
{
	if (timer->kind == NUR_TIMER_SHIELD)
		shield_ended_locked(timer->owner);
	else
		deadline_passed_locked(timer->owner);
}
