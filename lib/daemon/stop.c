/* SPDX-License-Identifier: MIT */
/* The ladder: drain, cancel, abort; what is left is named. */
#include "config.h"

#include "base/sys.h"
#include "nursery/daemon.h"
#include "scope/attr.h"
#include "scope/nursery.h"

static int64_t
until(int64_t duration)
{
	int64_t now = nur_now();

	return duration > NURSERY_NEVER - now ? NURSERY_NEVER : now +
	    duration;
}

static bool
climb(struct nursery *n, const struct nursery_stop *how)
{
	const struct { enum nursery_level level; int64_t wait; } steps[] = {
		{ NURSERY_DRAIN, how->drain_for },
		{ NURSERY_CANCEL, how->cancel_for },
		{ NURSERY_ABORT, how->abort_for },
	};
	size_t i;

	for (i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		(void)nursery_token_raise(&n->token, steps[i].level,
		    how->code, how->why);
		if (nur_nursery_await(n, true, until(steps[i].wait),
		    NUR_OP_CLOSE) == 0)
			return true;
	}
	return false;
}

static int
give_up(struct nursery *n, struct nursery_report **out)
{
	struct nursery_report *r;

	if (out == NULL)
		return ETIMEDOUT;
	r = nur_report_new(n);
	if (r == NULL)
		return ENOMEM;
	nur_report_fill(r, n);
	if (nur_report_stuck(r, n) != 0) {
		nursery_report_free(r);
		return ENOMEM;
	}
	*out = r;
	return ETIMEDOUT;
}

int
nursery_stop(struct nursery **n, const struct nursery_stop *how,
    struct nursery_report **out)
{
	struct nursery_stop s;
	int rc;

	if (n == NULL || *n == NULL)
		return 0;
	if (nur_inherited(*n))
		return EOWNERDEAD;
	rc = nur_sized_read(&s, sizeof s, sizeof s.size, how);
	if (rc != 0)
		return rc;
	if (s.drain_for < 0 || s.cancel_for < 0 || s.abort_for < 0)
		return EINVAL;
	if (s.drain_for == 0 && s.cancel_for == 0 && s.abort_for == 0) {
		s.drain_for = 30 * NURSERY_SECOND;
		s.cancel_for = 10 * NURSERY_SECOND;
		s.abort_for = NURSERY_SECOND;
	}
	rc = nur_nursery_may_close(*n);
	if (rc != 0)
		return rc;
	nur_nursery_share(*n);
	if (!climb(*n, &s))
		return give_up(*n, out);
	return nursery_close_with(n, out);
}
