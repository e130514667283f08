/* SPDX-License-Identifier: MIT */
/* One deadline for several calls, and the time they took. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
main(void)
{
	int64_t start = nursery_now(), deadline;
	int calls, fds[2], rc = 0;
	char byte;

	if (pipe(fds) != 0)
		err(1, "pipe");
	deadline = nursery_after(20 * NURSERY_MS);
	/* The first call waits, the second one finds the time over. */
	for (calls = 0; calls < 2; calls++)
		if (nursery_read(NULL, fds[0], &byte, 1, deadline) < 0)
			rc = errno;
	if (rc != ETIMEDOUT)
		errx(1, "nursery_read: %s", strerror(rc));
	if (nursery_now() - start >= 20 * NURSERY_MS)
		printf("%d calls, one deadline\n", calls);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
