/* SPDX-License-Identifier: MIT */
/* A session that is cancelled, and says goodbye behind a shield. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
converse(struct nursery_token *token, int fd)
{
	char line[128];
	ssize_t n;
	int rc;

	rc = nursery_write_all(token, fd, "hello\n", 6, NULL, NURSERY_NEVER);
	while (rc == 0) {
		n = nursery_read(token, fd, line, sizeof line, NURSERY_NEVER);
		if (n <= 0)
			return n == 0 ? 0 : errno;
		rc = nursery_write_all(token, fd, line, (size_t)n, NULL,
		    NURSERY_NEVER);
	}
	return rc;
}

/* With `token` each call would fail at once: it is cancelled. */
static void
say_goodbye(struct nursery_token *token, int fd)
{
	nursery_token_auto struct nursery_token *last = NULL;
	int64_t until = nursery_after(NURSERY_SECOND);

	if (nursery_token_new_shielded(&last, token, until) == 0)
		(void)nursery_write_all(last, fd, "bye\n", 4, NULL, until);
}

static int
session(struct nursery_token *token, void *arg)
{
	int fd = *(int *)arg, rc;

	rc = converse(token, fd);
	if (rc == ECANCELED)
		say_goodbye(token, fd);
	close(fd);
	return rc;		/* ECANCELED goes on: it is no failure */
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	char text[32];
	size_t got;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		err(1, "socketpair");
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, session, &pair[1]);
	if (rc == 0)
		rc = nursery_read_full(NULL, pair[0], text, 6, &got,
		    NURSERY_NEVER);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	printf("%.*s", (int)got, text);
	nursery_cancel_with(n, ECANCELED, "no more time");
	rc = nursery_read_full(NULL, pair[0], text, sizeof text, &got,
	    NURSERY_NEVER);
	if (rc == EPIPE)		/* the session hung up */
		printf("%.*s", (int)got, text);
	rc = nursery_close(&n);
	printf("closed: %s\n", strerror(rc));
	close(pair[0]);
	return 0;
}
