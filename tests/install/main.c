/* SPDX-License-Identifier: MIT */
/*
 * The other half of README's program: tools/variants.sh puts the two together
 * and builds them against the installed library, shared and static.  A client
 * gets its bytes echoed, and the dump signal writes the tree also where
 * nothing in the program names it: a static link takes only what is named.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct sockaddr_in where;

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* A client, then the end of the listener: serve() returns. */
static void *
client(void *arg)
{
	static const char text[] = "echo";
	char got[sizeof text];
	int fd;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd, (struct sockaddr *)&where, sizeof where) == 0,
	    "connect");
	must(write(fd, text, sizeof text) == sizeof text, "write");
	must(recv(fd, got, sizeof got, MSG_WAITALL) == sizeof got, "recv");
	must(memcmp(got, text, sizeof got) == 0, "echo");
	must(shutdown(*(int *)arg, SHUT_RDWR) == 0, "shutdown");
	close(fd);
	return NULL;
}

int
main(void)
{
	socklen_t len = sizeof where;
	pthread_t thread;
	int listener, rc;

	where.sin_family = AF_INET;
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	must(bind(listener, (struct sockaddr *)&where, len) == 0, "bind");
	must(listen(listener, 1) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&where, &len) == 0,
	    "getsockname");
	must(pthread_create(&thread, NULL, client, &listener) == 0, "thread");
	rc = serve(listener);
	must(pthread_join(thread, NULL) == 0, "join");
	printf("libnursery %s: served, closed with %d\n", nursery_version(),
	    rc);
	return rc == ECANCELED ? 0 : 1;
}
