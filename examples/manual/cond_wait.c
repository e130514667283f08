/* SPDX-License-Identifier: MIT */
/* A box with a mutex and a condition variable, waited for with a token. */
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

/* Takes an item: 0, or ECANCELED.  An item that is there comes first. */
static int
take(struct box *b, struct nursery_token *token)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	while (b->items == 0 && rc == 0)
		rc = nursery_cond_wait(token, &b->changed, &b->lock,
		    NURSERY_NEVER);
	/* The mutex is held, whatever came back. */
	if (rc == 0)
		b->items--;
	pthread_mutex_unlock(&b->lock);
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
