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
		if (nur_nursery_seal(n, until(steps[i].wait)) == 0)
			return true;
	}
	return false;
}

static int
read_how(struct nursery_stop *to, const struct nursery_stop *from)
{
	int rc = nur_sized_read(to, sizeof *to, sizeof to->size, from);

	if (rc != 0)
		return rc;
	if (to->drain_for < 0 || to->cancel_for < 0 || to->abort_for < 0)
		return EINVAL;
	if (to->drain_for == 0 && to->cancel_for == 0 && to->abort_for == 0) {
		to->drain_for = 30 * NURSERY_SECOND;
		to->cancel_for = 10 * NURSERY_SECOND;
		to->abort_for = NURSERY_SECOND;
	}
	return 0;
}

static int
stop_or_report(struct nursery **n, const struct nursery_stop *how,
    struct nursery_report *report)
{
	if (climb(*n, how))
		return nur_nursery_close(n, report);
	if (report != NULL)
		nur_report_of_open(report, *n);
	return ETIMEDOUT;
}

int
nursery_stop(struct nursery **n, const struct nursery_stop *how,
    struct nursery_report **out)
{
	struct nursery_report *report = NULL;
	struct nursery_stop s;
	int rc;

	if (n == NULL || *n == NULL)
		return 0;
	if (nur_inherited(*n))
		return EOWNERDEAD;
	rc = read_how(&s, how);
	if (rc == 0)
		rc = nur_nursery_closable(*n);
	if (rc == ENOTEMPTY)	/* closed already, but for the handle */
		return nursery_close_with(n, out);
	if (rc != 0)
		return rc;
	if (out != NULL) {
		/* First: what comes then cannot be undone. */
		report = nur_report_new();
		if (report == NULL)
			return ENOMEM;
	}
	rc = stop_or_report(n, &s, report);
	if (*n != NULL && rc != ETIMEDOUT)
		nursery_report_free(report);
	else if (out != NULL)
		*out = report;
	return rc;
}
