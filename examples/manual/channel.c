/* SPDX-License-Identifier: MIT */
/* Many tasks send through a channel, two receive; the close is the end. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct item {
	int from;
	int value;
};

static struct nursery_channel *queue;

static int
sender(struct nursery_token *token, void *arg)
{
	struct item it = { .from = *(int *)arg };
	int rc = 0;

	for (it.value = 1; it.value <= 100 && rc == 0; it.value++)
		rc = nursery_channel_send(token, queue, &it, NURSERY_NEVER);
	return rc;
}

static int
receiver(struct nursery_token *token, void *arg)
{
	atomic_long *sum = arg;
	struct item it;
	int rc;

	while ((rc = nursery_channel_recv(token, queue, &it,
	    NURSERY_NEVER)) == 0)
		atomic_fetch_add(sum, it.value);
	return rc == EPIPE ? 0 : rc;	/* EPIPE: closed, and all is out */
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

/* Returns when no task uses the queue any more. */
static int
run(atomic_long *sum)
{
	nursery_auto struct nursery *n = NULL;
	int i, rc;

	rc = nursery_open(&n, NULL);
	for (i = 0; i < 2 && rc == 0; i++)
		rc = nursery_spawn(n, receiver, sum);
	if (rc == 0)
		rc = send_all();
	nursery_channel_close(queue);
	if (rc == 0)
		rc = nursery_close(&n);
	return rc;
}

int
main(void)
{
	atomic_long sum = 0;
	int rc;

	rc = nursery_channel_new(&queue, sizeof(struct item), 16);
	if (rc != 0)
		errx(1, "channel: %s", strerror(rc));
	rc = run(&sum);
	nursery_channel_free(queue);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	printf("sum %ld\n", atomic_load(&sum));
	return 0;
}
