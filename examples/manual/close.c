/* SPDX-License-Identifier: MIT */
/* Two tasks, one fails: the other is told to stop, close has the error. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

static int
serve(struct nursery_token *token, void *arg)
{
	(void)arg;
	return nursery_sleep(token, NURSERY_NEVER);
}

static int
watch_disk(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	return EIO;
}

static int
run(struct nursery_report **report)
{
	/* If this function returns early, the guard cancels and waits. */
	nursery_auto struct nursery *n = NULL;
	int rc;

	rc = nursery_open(&n, NULL);
	if (rc != 0)
		return rc;
	rc = nursery_spawn(n, serve, NULL);
	if (rc != 0)
		return rc;
	rc = nursery_spawn(n, watch_disk, NULL);
	if (rc != 0)
		return rc;
	return nursery_close_with(&n, report);
}

int
main(void)
{
	struct nursery_counts counts = NURSERY_COUNTS_INIT;
	struct nursery_report *report = NULL;
	int rc;

	rc = run(&report);
	printf("closed: %s\n", strerror(rc));
	if (report == NULL)
		return 1;
	if (nursery_report_counts(report, &counts) == 0)
		printf("%" PRIu64 " failed, %" PRIu64 " cancelled\n",
		    counts.failed, counts.cancelled);
	nursery_report_free(report);
	return 0;
}
