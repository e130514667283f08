/* SPDX-License-Identifier: MIT */
/* A pipe as a bounded queue: many tasks send, one receives. */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct item {
	int from;
	int value;
};
_Static_assert(sizeof(struct item) <= PIPE_BUF,
    "a write of one item is never torn by another writer's");

static int queue[2];

static int
sender(struct nursery_token *token, void *arg)
{
	struct item it = { .from = *(int *)arg };
	int rc = 0;

	for (it.value = 1; it.value <= 100 && rc == 0; it.value++)
		rc = nursery_write_all(token, queue[1], &it, sizeof it, NULL,
		    NURSERY_NEVER);
	return rc;
}

static int
receiver(struct nursery_token *token, void *arg)
{
	long *sum = arg;
	struct item it;
	int rc;

	while ((rc = nursery_read_full(token, queue[0], &it, sizeof it, NULL,
	    NURSERY_NEVER)) == 0)
		*sum += it.value;
	return rc == EPIPE ? 0 : rc;	/* EPIPE: all senders have ended */
}

/* The senders have a nursery of their own: its close is their end. */
static int
send_all(void)
{
	nursery_auto struct nursery *senders = NULL;
	int i, rc;

	rc = nursery_open(&senders, NULL);
	for (i = 0; i < 4 && rc == 0; i++)
		rc = nursery_spawn_copy(senders, sender, &i, sizeof i);
	if (rc == 0)
		rc = nursery_close(&senders);
	return rc;
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	long sum = 0;
	int rc;

	if (pipe(queue) != 0)
		err(1, "pipe");
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, receiver, &sum);
	if (rc == 0)
		rc = send_all();
	close(queue[1]);
	if (rc == 0)
		rc = nursery_close(&n);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	printf("sum %ld\n", sum);
	close(queue[0]);
	return 0;
}
