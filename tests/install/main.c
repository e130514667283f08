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
#include <signal.h>
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

/* Asks for the dump, which goes to standard error, and waits for a line of it
 * there. */
static void
await_dump(void)
{
	int ends[2], old = dup(STDERR_FILENO);
	char line[256];
	ssize_t n;

	must(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0, "pipe");
	must(kill(getpid(), SIGUSR1) == 0, "kill");
	n = read(ends[0], line, sizeof line - 1);
	must(dup2(old, STDERR_FILENO) >= 0, "dup2");
	must(n > 0, "dump");
	line[n] = '\0';
	fputs(line, stdout);
	must(strstr(line, "nursery") != NULL, "a dump with a nursery");
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
	await_dump();
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
