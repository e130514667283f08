/* SPDX-License-Identifier: MIT */
/* One budget for a request, whatever steps it takes. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Each step may take a second, but all of them together what is left. */
static int
step(struct nursery_token *request, int fd)
{
	char answer[64];

	if (nursery_read(request, fd, answer, sizeof answer,
	    nursery_after(NURSERY_SECOND)) >= 0)
		return 0;
	if (errno != ECANCELED)
		return errno;
	return nursery_token_cause(request, NURSERY_CANCEL, NULL);
}

int
main(void)
{
	struct nursery_token *request, *part;
	int64_t end = nursery_after(50 * NURSERY_MS);
	int silent[2], rc;

	if (pipe(silent) != 0)
		err(1, "pipe");
	rc = nursery_token_new(&request, NULL);
	if (rc == 0)
		rc = nursery_token_set_deadline(request, end);
	if (rc == 0)
		rc = nursery_token_new(&part, request);
	if (rc != 0)
		errx(1, "token: %s", strerror(rc));
	if (nursery_token_deadline(part) == end)
		puts("a part of it has the same deadline");
	rc = step(part, silent[0]);
	if (rc == ETIMEDOUT)
		puts("the request took too long");
	else if (rc != 0)
		warnx("step: %s", strerror(rc));
	nursery_token_unref(part);
	nursery_token_unref(request);
	close(silent[0]);
	close(silent[1]);
	return 0;
}
