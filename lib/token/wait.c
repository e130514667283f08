/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/wait.h"

#include "token/callback.h"

/* C4: nothing of ours is touched once the callback is taken, and a wake-up
 * that comes late finds a record (H1) whose owner looks again. */
static int
park_until(struct nur_thr *self, struct nursery_token *t,
    enum nursery_level level, int64_t deadline)
{
	struct nursery_callback cb = { { { 0 } } };
	int rc = 0;

	(void)nur_token_tell(t, (unsigned)level, &cb, NULL, self);
	while (rc == 0 && nur_token_level(t) < (unsigned)level)
		rc = nur_park(self, deadline);
	nursery_callback_remove(&cb);
	return nur_token_level(t) >= (unsigned)level ? 0 : rc;
}

static int
park_only(struct nur_thr *self, int64_t deadline)
{
	while (nur_park(self, deadline) == 0)
		;
	return ETIMEDOUT;
}

int
nur_token_wait(struct nursery_token *t, enum nursery_level level,
    int64_t deadline, enum nur_op op)
{
	struct nur_thr *self;
	uint32_t before;
	bool paused;
	int rc;

	if (t != NULL && nur_token_level(t) >= (unsigned)level)
		return 0;
	self = nur_thr_self();
	if (self == NULL)
		return ENOMEM;
	before = nur_op_enter(self, op, -1);
	paused = nur_thr_pause(self);
	rc = t != NULL ? park_until(self, t, level, deadline) :
	    park_only(self, deadline);
	nur_thr_resume(self, paused);
	nur_op_leave(self, before);
	return rc;
}

int
nursery_token_wait_level(struct nursery_token *t, enum nursery_level level,
    int64_t deadline)
{
	if (t == NULL || (int)level < NURSERY_DRAIN ||
	    (int)level > NURSERY_ABORT)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	return nur_token_wait(t, level, deadline, NUR_OP_TOKEN_WAIT);
}

int
nursery_token_wait(struct nursery_token *t, int64_t deadline)
{
	return nursery_token_wait_level(t, NURSERY_CANCEL, deadline);
}
