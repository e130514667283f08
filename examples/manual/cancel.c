/* SPDX-License-Identifier: MIT */
/* Draining: the source of work stops, and what it made is finished. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int belt[2];		/* a pipe */
static long made, used;
static sem_t first_used;

/* Spawned to end on drain: its token is cancelled then. */
static int
producer(struct nursery_token *token, void *arg)
{
	size_t done = 0;
	int rc = 0;

	(void)arg;
	while (rc == 0) {
		rc = nursery_write_all(token, belt[1], &made, sizeof made,
		    &done, NURSERY_NEVER);
		made += done == sizeof made;
	}
	close(belt[1]);		/* the consumer's end of file */
	return rc == ECANCELED ? 0 : rc;
}

static int
consumer(struct nursery_token *token, void *arg)
{
	long item;
	int rc;

	(void)arg;
	while ((rc = nursery_read_full(token, belt[0], &item, sizeof item,
	    NULL, NURSERY_NEVER)) == 0)
		if (used++ == 0)
			sem_post(&first_used);
	return rc == EPIPE ? 0 : rc;
}

int
main(void)
{
	struct nursery_task_attr ends = NURSERY_TASK_ATTR_INIT;
	nursery_auto struct nursery *n = NULL;
	int rc;

	if (pipe(belt) != 0)
		err(1, "pipe");
	sem_init(&first_used, 0, 0);
	ends.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn_with(n, &ends, producer, NULL, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, consumer, NULL);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	while (sem_wait(&first_used) != 0)
		;
	nursery_drain(n);
	rc = nursery_close(&n);
	printf("closed with %d, nothing lost: %s\n", rc,
	    made > 0 && made == used ? "yes" : "no");
	close(belt[0]);
	return 0;
}
