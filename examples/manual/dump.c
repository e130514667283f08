/* SPDX-License-Identifier: MIT */
/* Shows the tree on standard error and what there is on standard output. */
#include <err.h>
#include <inttypes.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

static int
idle(struct nursery_token *token, void *arg)
{
	(void)arg;
	return nursery_sleep(token, NURSERY_NEVER);
}

int
main(void)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_stats stats = NURSERY_STATS_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	nursery_auto struct nursery *n = NULL;
	int rc;

	a.name = "demo";
	a.max_running = 1;
	ta.name = "idle";
	rc = nursery_open(&n, &a);
	if (rc == 0)
		rc = nursery_spawn_with(n, &ta, idle, NULL, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, idle, NULL);
	if (rc == 0)
		rc = nursery_dump(stderr, NURSERY_TEXT);
	if (rc == 0)
		rc = nursery_get_stats(&stats);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	printf("%" PRIu64 " nursery, %" PRIu64 " task runs, %" PRIu64
	    " is queued\n", stats.nurseries, stats.tasks_running,
	    stats.tasks_queued);
	return 0;
}
