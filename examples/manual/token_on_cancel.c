/* SPDX-License-Identifier: MIT */
/* Stops code that knows nothing of tokens: a callback shuts its socket. */
#include <err.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
hang_up(void *arg)
{
	shutdown(*(int *)arg, SHUT_RDWR);
}

/* Stands for a library that blocks in recv(2) and cannot be told. */
static ssize_t
foreign_client(int fd)
{
	char reply[64];

	return recv(fd, reply, sizeof reply, 0);
}

int
main(void)
{
	struct nursery_callback cb = { 0 };
	struct nursery_token *token;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		err(1, "socketpair");
	rc = nursery_token_new(&token, NULL);
	if (rc == 0)
		rc = nursery_token_set_deadline(token,
		    nursery_after(50 * NURSERY_MS));
	if (rc == 0)
		rc = nursery_token_on_cancel(token, &cb, hang_up, &pair[0]);
	if (rc != 0)
		errx(1, "token: %s", strerror(rc));
	printf("recv returned %zd\n", foreign_client(pair[0]));
	/* From here on hang_up does not run: the descriptor may go. */
	nursery_callback_remove(&cb);
	close(pair[0]);
	close(pair[1]);
	nursery_token_unref(token);
	return 0;
}
