/* SPDX-License-Identifier: MIT */
/* A computation that another thread stops, and that says why it stopped. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t under_way;

static void *
compute(void *arg)
{
	struct nursery_token *token = arg;
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	uint64_t state = 1;

	sem_post(&under_way);
	/* One load a round: no need to poll more seldom. */
	while (!nursery_token_is_cancelled(token))
		state = state * 6364136223846793005u + 1442695040888963407u;
	nursery_token_cause(token, NURSERY_CANCEL, &cause);
	printf("stopped: %s (%s)\n", strerror(cause.code), cause.why);
	return NULL;
}

int
main(void)
{
	struct nursery_token *token;
	pthread_t thread;
	bool first, second;
	int rc;

	rc = nursery_token_new(&token, NULL);
	if (rc != 0)
		errx(1, "nursery_token_new: %s", strerror(rc));
	sem_init(&under_way, 0, 0);
	rc = pthread_create(&thread, NULL, compute, token);
	if (rc != 0)
		errx(1, "pthread_create: %s", strerror(rc));
	while (sem_wait(&under_way) != 0)
		;
	first = nursery_token_cancel_with(token, ENOSPC, "disk full");
	second = nursery_token_cancel(token);
	pthread_join(thread, NULL);
	printf("the first call did it: %d, the second: %d\n", first, second);
	nursery_token_unref(token);
	return 0;
}
