/* SPDX-License-Identifier: MIT */
/* Tries again after a growing pause, which a cancel cuts short. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

/* Stands for a server that needs a moment to come up. */
static int
contact(int *calls)
{
	return ++*calls < 3 ? ECONNREFUSED : 0;
}

static int
contact_patiently(struct nursery_token *token, int *calls)
{
	int64_t pause = 5 * NURSERY_MS;
	int rc;

	while ((rc = contact(calls)) == ECONNREFUSED) {
		rc = nursery_sleep(token, nursery_after(pause));
		if (rc != 0)
			return rc;	/* ECANCELED */
		if (pause < NURSERY_SECOND)
			pause *= 2;
	}
	return rc;
}

static int
task(struct nursery_token *token, void *arg)
{
	return contact_patiently(token, arg);
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	int calls = 0, rc;

	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, task, &calls);
	if (rc == 0)
		rc = nursery_close(&n);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	printf("there after %d calls\n", calls);
	return 0;
}
