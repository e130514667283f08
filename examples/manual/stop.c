/* SPDX-License-Identifier: MIT */
/* A task that listens to nobody: stop gives up in time and names it. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t running, gate;

static int
deaf(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	sem_post(&running);
	while (sem_wait(&gate) != 0)
		;
	return 0;
}

static void
blame(const struct nursery_report *report)
{
	struct nursery_result task = NURSERY_RESULT_INIT;
	size_t i;

	for (i = 0; nursery_report_stuck(report, i, &task) == 0; i++)
		printf("still running: %s\n", task.name);
}

int
main(void)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_report *report = NULL;
	struct nursery *n;
	int rc;

	sem_init(&running, 0, 0);
	sem_init(&gate, 0, 0);
	attr.name = "deaf";
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn_with(n, &attr, deaf, NULL, NULL);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	while (sem_wait(&running) != 0)
		;
	how.drain_for = 20 * NURSERY_MS;
	how.cancel_for = 20 * NURSERY_MS;
	how.abort_for = 20 * NURSERY_MS;
	how.why = "shutting down";
	rc = nursery_stop(&n, &how, &report);
	printf("stopped: %s\n", strerror(rc));
	if (n != NULL && report != NULL)
		blame(report);	/* a daemon would _exit() here */
	nursery_report_free(report);
	sem_post(&gate);
	rc = nursery_close(&n);
	printf("closed: %s\n", strerror(rc));
	return 0;
}
