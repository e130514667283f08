/* SPDX-License-Identifier: MIT */
/*
 * A daemon: echoes what clients send to a port of 127.0.0.1.
 *
 * SIGTERM and SIGINT let the answers on their way go out and end it; a
 * second one cuts them off.  Exit status: 0 all clients were served, 3 some
 * were cut off, 1 an error.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <nursery.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE	(60 * NURSERY_SECOND)
#define ANSWER	(10 * NURSERY_SECOND)

/* Waiting for a question ends when the daemon drains, answering does not. */
static int
echo(struct nursery_token *token, struct nursery_token *draining, int fd)
{
	char buf[4096];
	ssize_t n;
	int rc;

	for (;;) {
		n = nursery_read(draining, fd, buf, sizeof buf,
		    nursery_after(IDLE));
		if (n <= 0)
			return n == 0 ? 0 : errno;
		rc = nursery_write_all(token, fd, buf, (size_t)n, NULL,
		    nursery_after(ANSWER));
		if (rc != 0)
			return rc;
	}
}

static int
client(struct nursery_token *token, void *arg)
{
	nursery_token_auto struct nursery_token *draining = NULL;
	int fd = *(int *)arg, rc;

	rc = nursery_token_new_at(&draining, token, NURSERY_DRAIN);
	if (rc == 0)
		rc = echo(token, draining, fd);
	close(fd);
	/* Cut off: say so.  Else no client's end is the daemon's failure. */
	return nursery_token_is_cancelled(token) ? rc : 0;
}

/* Out of descriptors, memory or threads: the clients in service free some. */
static bool
is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	    error == ENOMEM || error == EAGAIN;
}

static int
acceptor(struct nursery_token *token, void *arg)
{
	int listener = *(int *)arg, fd, rc;

	for (;;) {
		fd = nursery_accept(token, listener, NULL, NULL,
		    NURSERY_NEVER);
		rc = fd < 0 ? errno : nursery_spawn_copy(nursery_current(),
		    client, &fd, sizeof fd);
		if (fd >= 0 && rc != 0)
			close(fd);
		if (rc == 0 || rc == ECONNABORTED)
			continue;
		if (is_shortage(rc))
			rc = nursery_sleep(token,
			    nursery_after(100 * NURSERY_MS));
		if (rc != 0)
			return rc == ECANCELED ? 0 : rc;
	}
}

/* *port 0: any; it becomes the one that was had. */
static int
listen_at(int *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof addr;
	int fd, on = 1;

	addr.sin_port = htons((uint16_t)*port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    bind(fd, (struct sockaddr *)&addr, len) != 0 ||
	    listen(fd, 128) != 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
		err(1, "port %d", *port);
	*port = ntohs(addr.sin_port);
	return fd;
}

static int
start(struct nursery **n, int *listener)
{
	struct nursery_task_attr ends = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	sigset_t signals;
	int rc;

	attr.name = "echo";
	ends.name = "acceptor";
	ends.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	rc = nursery_open(n, &attr);
	if (rc == 0)
		rc = nursery_stop_on_signals(*n, &signals, NURSERY_DRAIN);
	if (rc == 0)
		rc = nursery_spawn_with(*n, &ends, acceptor, listener, NULL);
	return rc;
}

int
main(int argc, char *argv[])
{
	struct nursery_report *report = NULL;
	nursery_auto struct nursery *n = NULL;
	int port = argc > 1 ? atoi(argv[1]) : 0;
	int listener, rc;

	listener = listen_at(&port);
	rc = start(&n, &listener);
	if (rc != 0)
		errx(1, "cannot start: %s", strerror(rc));
	/* Not before now: from here on a signal is taken in order. */
	printf("listening on 127.0.0.1:%d\n", port);
	fflush(stdout);
	/* A signal or the acceptor's failure: either raises the level. */
	(void)nursery_token_wait_level(nursery_token_of(n), NURSERY_DRAIN,
	    NURSERY_NEVER);
	rc = nursery_stop(&n, NULL, &report);
	if (rc != 0 && report != NULL)
		nursery_report_print(report, stderr);
	nursery_report_free(report);
	if (n != NULL)			/* some task cannot be stopped */
		_exit(3);
	if (rc != 0 && rc != ECANCELED)
		errx(1, "%s", strerror(rc));
	return rc == 0 ? 0 : 3;
}
