/* SPDX-License-Identifier: MIT */
/* Copies whichever of two pipes has something, until both have ended. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
merge(struct nursery_token *token, struct pollfd p[2])
{
	char buf[256];
	ssize_t n;
	int i, open = 2;

	while (open > 0) {
		n = nursery_poll(token, p, 2, nursery_after(NURSERY_SECOND));
		if (n <= 0)
			return n == 0 ? ETIMEDOUT : errno;
		for (i = 0; i < 2; i++) {
			if (p[i].revents == 0)
				continue;
			n = nursery_read(token, p[i].fd, buf, sizeof buf,
			    NURSERY_NEVER);
			if (n < 0)
				return errno;
			if (n > 0) {
				(void)fwrite(buf, 1, (size_t)n, stdout);
				continue;
			}
			p[i].fd = -1;	/* its end: poll looks away */
			open--;
		}
	}
	return 0;
}

int
main(void)
{
	struct pollfd p[2];
	int i, rc, pair[2];

	for (i = 0; i < 2; i++) {
		if (pipe(pair) != 0)
			err(1, "pipe");
		if (dprintf(pair[1], "from pipe %d\n", i) < 0)
			err(1, "pipe %d", i);
		close(pair[1]);
		p[i].fd = pair[0];
		p[i].events = POLLIN;
	}
	rc = merge(NULL, p);	/* NULL: never cancelled */
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	return 0;
}
