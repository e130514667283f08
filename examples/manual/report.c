/* SPDX-License-Identifier: MIT */
/* Runs all tasks, whatever fails, and lists the failures. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

struct job {
	const char *name;
	int result;
};

static int
work(struct nursery_token *token, void *arg)
{
	(void)token;
	return ((const struct job *)arg)->result;
}

static void
list(const struct nursery_report *r)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	size_t i;

	if (nursery_report_counts(r, &c) == 0)
		printf("%" PRIu64 " tasks, %" PRIu64 " failed\n", c.spawned,
		    c.failed);
	for (i = 0; nursery_report_failure(r, i, &f) == 0; i++)
		printf("%s: %s\n", f.name, strerror(f.code));
}

int
main(void)
{
	static struct job jobs[] = {
		{ "mail", 0 }, { "index", EIO }, { "backup", ENOSPC },
	};
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_report *report;
	struct nursery *n;
	size_t i;
	int rc;

	a.policy = NURSERY_COLLECT;
	a.max_running = 1;		/* one after the other */
	rc = nursery_open(&n, &a);
	if (rc != 0)
		errx(1, "nursery_open: %s", strerror(rc));
	for (i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
		ta.name = jobs[i].name;
		rc = nursery_spawn_with(n, &ta, work, &jobs[i], NULL);
		if (rc != 0)
			warnx("%s: %s", jobs[i].name, strerror(rc));
	}
	rc = nursery_close_with(&n, &report);
	if (n != NULL)			/* ENOMEM: open still, no report */
		errx(1, "nursery_close_with: %s", strerror(rc));
	printf("closed: %s\n", strerror(rc));
	list(report);
	nursery_report_free(report);
	return 0;
}
