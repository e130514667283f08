/* SPDX-License-Identifier: MIT */
/* A question in a datagram, asked again until the answer comes. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers, but the first question is lost. */
static int
server(struct nursery_token *token, void *arg)
{
	int fd = *(int *)arg, asked = 0;
	char question[64];
	ssize_t n;

	while ((n = nursery_recv(token, fd, question, sizeof question, 0,
	    NURSERY_NEVER)) > 0)
		if (++asked > 1 && nursery_send(token, fd, "42", 2, 0,
		    NURSERY_NEVER) < 0)
			break;
	return n == 0 ? 0 : errno;
}

/* Bytes in `answer`, or -1 and errno. */
static ssize_t
ask(struct nursery_token *token, int fd, char *answer, size_t size)
{
	ssize_t n;

	do {
		if (nursery_send(token, fd, "6*7?", 4, 0,
		    nursery_after(NURSERY_SECOND)) < 0)
			return -1;
		n = nursery_recv(token, fd, answer, size, 0,
		    nursery_after(20 * NURSERY_MS));
	} while (n < 0 && errno == ETIMEDOUT);
	return n;
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	char answer[64];
	ssize_t len;
	int rc, pair[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
		err(1, "socketpair");
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, server, &pair[1]);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	len = ask(nursery_token_of(n), pair[0], answer, sizeof answer);
	if (len < 0)
		err(1, "ask");
	printf("the answer: %.*s\n", (int)len, answer);
	nursery_cancel(n);
	rc = nursery_close(&n);
	printf("closed: %s\n", strerror(rc));
	close(pair[0]);
	close(pair[1]);
	return 0;
}
