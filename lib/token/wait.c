/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/wait.h"

static void
wake(void *thr)
{
	nur_unpark(thr);
}

int
nur_token_wait(struct nursery_token *t, enum nursery_level level,
    int64_t deadline, enum nur_op op)
{
	struct nursery_callback cb = { { { 0 } } };
	struct nur_thr *self;
	uint32_t before;
	int rc = 0;

	if (t != NULL && nur_token_level(t) >= (unsigned)level)
		return 0;
	self = nur_thr_self();
	if (self == NULL)
		return ENOMEM;
	before = nur_op_enter(self, op, -1);
	if (t != NULL)
		(void)nursery_token_on_level(t, level, &cb, wake, self);
	/* A stray wake-up is harmless: the level decides. */
	while (rc == 0 && (t == NULL || nur_token_level(t) < (unsigned)level))
		rc = nur_park(self, deadline);
	if (t != NULL) {
		nursery_callback_remove(&cb);
		if (nur_token_level(t) >= (unsigned)level)
			rc = 0;
	}
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

int
nursery_token_fd(struct nursery_token *t, int *out_fd)
{
	(void)t;
	(void)out_fd;
	return ENOTSUP;
}

int
nursery_token_level_fd(struct nursery_token *t, enum nursery_level level,
    int *out_fd)
{
	(void)t;
	(void)level;
	(void)out_fd;
	return ENOTSUP;
}
