/* SPDX-License-Identifier: MIT */
/* Waits on a condition variable of one's own, with a token: a callback. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct box {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int items;
};

/* Takes the lock, so that the waiter is not between test and wait. */
static void
wake(void *arg)
{
	struct box *b = arg;

	pthread_mutex_lock(&b->lock);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
}

/* Takes an item: 0, or ECANCELED.  An item that is there comes first. */
static int
take(struct box *b, struct nursery_token *token)
{
	struct nursery_callback cb = { 0 };
	int rc;

	/* Register and remove without the lock: wake() takes it. */
	rc = nursery_token_on_cancel(token, &cb, wake, b);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&b->lock);
	while (b->items == 0 && !nursery_token_is_cancelled(token))
		pthread_cond_wait(&b->changed, &b->lock);
	if (b->items > 0)
		b->items--;
	else
		rc = ECANCELED;
	pthread_mutex_unlock(&b->lock);
	nursery_callback_remove(&cb);
	return rc;
}

static int
taker(struct nursery_token *token, void *arg)
{
	int taken = 0, rc;

	while ((rc = take(arg, token)) == 0)
		taken++;
	printf("took %d, then: %s\n", taken, strerror(rc));
	return rc;
}

int
main(void)
{
	struct box b = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
	    2 };
	nursery_auto struct nursery *n = NULL;
	int rc;

	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, taker, &b);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	nursery_cancel(n);
	rc = nursery_close(&n);
	return rc == ECANCELED ? 0 : 1;
}
