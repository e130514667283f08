/* SPDX-License-Identifier: MIT */
/* A thread that does something at intervals, and stops at once when told. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static sem_t flushed;

static void *
flusher(void *arg)
{
	struct nursery_token *token = arg;
	int rc;

	for (;;) {
		rc = nursery_token_wait(token, nursery_after(10 * NURSERY_MS));
		if (rc != ETIMEDOUT)
			break;
		sem_post(&flushed);
	}
	if (rc != 0)
		warnx("nursery_token_wait: %s", strerror(rc));
	puts("last flush");
	return NULL;
}

int
main(void)
{
	struct nursery_token *token;
	pthread_t thread;
	int i, rc;

	rc = nursery_token_new(&token, NULL);
	if (rc != 0)
		errx(1, "nursery_token_new: %s", strerror(rc));
	sem_init(&flushed, 0, 0);
	rc = pthread_create(&thread, NULL, flusher, token);
	if (rc != 0)
		errx(1, "pthread_create: %s", strerror(rc));
	for (i = 0; i < 3; i++)
		while (sem_wait(&flushed) != 0)
			;
	puts("flushed three times");
	nursery_token_cancel(token);
	pthread_join(thread, NULL);
	nursery_token_unref(token);
	return 0;
}
