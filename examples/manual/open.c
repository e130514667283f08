/* SPDX-License-Identifier: MIT */
/* A policy of one's own: a nursery that gives up after three failures. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

/* on_done calls come one at a time, so this needs no lock. */
static void
count_failures(struct nursery *n, const struct nursery_result *r, void *ctx)
{
	int *failures = ctx;

	if (r->code == 0 || r->cancelled)
		return;
	if (++*failures == 3)
		nursery_cancel_with(n, r->code, "three files are broken");
}

static int
import(struct nursery_token *token, void *arg)
{
	(void)arg;
	if (nursery_token_is_cancelled(token))
		return ECANCELED;	/* has a thread, but comes too late */
	return EIO;
}

static int
import_all(int *failures)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	struct nursery *n;
	int i, rc;

	attr.name = "import";
	attr.policy = NURSERY_COLLECT;
	attr.max_running = 1;
	attr.deadline = nursery_after(60 * NURSERY_SECOND);
	attr.on_done = count_failures;
	attr.ctx = failures;
	rc = nursery_open(&n, &attr);
	if (rc != 0)
		return rc;
	/* ECANCELED: enough have failed; close says the same below. */
	for (i = 0; i < 100 && rc == 0; i++)
		rc = nursery_spawn(n, import, NULL);
	if (rc != 0 && rc != ECANCELED)
		nursery_cancel_with(n, rc, "cannot spawn");
	return nursery_close(&n);
}

int
main(void)
{
	int failures = 0, rc;

	rc = import_all(&failures);
	printf("%d failures, the first: %s\n", failures, strerror(rc));
	return 0;
}
