/* SPDX-License-Identifier: MIT */
/* A server and its client, which meet on a port of 127.0.0.1. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
greet(struct nursery_token *token, void *arg)
{
	int fd = *(int *)arg, rc;

	rc = nursery_write_all(token, fd, "welcome\n", 8, NULL,
	    nursery_after(NURSERY_SECOND));
	close(fd);
	/* A client that went away is no failure of the server. */
	return rc == EPIPE || rc == ECONNRESET || rc == ETIMEDOUT ? 0 : rc;
}

static int
acceptor(struct nursery_token *token, void *arg)
{
	int listener = *(int *)arg, fd, rc;

	for (;;) {
		fd = nursery_accept(token, listener, NULL, NULL,
		    NURSERY_NEVER);
		if (fd < 0 && errno == ECONNABORTED)
			continue;	/* that client has left again */
		if (fd < 0)
			return errno == ECANCELED ? 0 : errno;
		rc = nursery_spawn_copy(nursery_current(), greet, &fd,
		    sizeof fd);
		if (rc != 0) {
			warnx("a client is turned away: %s", strerror(rc));
			close(fd);
		}
	}
}

static int
client(const struct sockaddr_in *to, socklen_t len)
{
	int64_t deadline = nursery_after(5 * NURSERY_SECOND);
	char line[8];
	int fd, rc = 0;

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (nursery_connect(NULL, fd, (const struct sockaddr *)to, len,
	    deadline) != 0)
		rc = errno;
	if (rc == 0)
		rc = nursery_read_full(NULL, fd, line, sizeof line, NULL,
		    deadline);
	if (rc == 0)
		printf("%.*s", (int)sizeof line, line);
	close(fd);
	return rc;
}

int
main(void)
{
	struct nursery_task_attr ends = NURSERY_TASK_ATTR_INIT;
	nursery_auto struct nursery *n = NULL;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof addr;
	int listener, rc;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&addr, len) != 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) != 0 ||
	    listen(listener, 16) != 0)
		err(1, "listener");
	ends.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn_with(n, &ends, acceptor, &listener, NULL);
	if (rc == 0)
		rc = client(&addr, len);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	nursery_drain(n);
	rc = nursery_close(&n);
	close(listener);
	printf("closed: %s\n", rc == 0 ? "drained" : strerror(rc));
	return 0;
}
