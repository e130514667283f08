/* SPDX-License-Identifier: MIT */
/*
 * callers PORT THREADS: each thread connects, asks for /, reads the answer,
 * again and again, until it is refused.  Prints how many were answered and
 * how many were connected and got no whole answer; exits 1 when some were.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS_MAX	256

static struct sockaddr_in server = { .sin_family = AF_INET };
static unsigned answered, lost;

static bool
whole(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");
	const char *length = strstr(answer, "Content-Length: ");

	return strncmp(answer, "HTTP/1.1 200", 12) == 0 && body != NULL &&
	    length != NULL && strlen(body + 4) == strtoul(length + 16, NULL,
	    10);
}

static void
ask(int fd)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n"
	    "Connection: close\r\n\r\n";
	char answer[4096] = "";
	size_t have = 0;
	ssize_t n = 1;

	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0)
		while (n > 0) {
			n = recv(fd, answer + have, sizeof answer - 1 - have,
			    0);
			have += n > 0 ? (size_t)n : 0;
		}
	answer[have] = '\0';
	if (n == 0 && whole(answer)) {
		(void)__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
		return;
	}
	(void)__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
	(void)fprintf(stderr, "callers: lost after %zu bytes: %s\n", have,
	    n < 0 ? strerror(errno) : "end");
}

static void *
call(void *arg)
{
	bool connected = true;
	int fd;

	while (connected) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		connected = fd >= 0 && connect(fd, (struct sockaddr *)&server,
		    sizeof server) == 0;
		if (connected)
			ask(fd);
		(void)close(fd);
	}
	return arg;
}

int
main(int argc, char **argv)
{
	pthread_t threads[THREADS_MAX];
	int i, n = argc == 3 ? atoi(argv[2]) : 0;

	if (n < 1 || n > THREADS_MAX)
		return 2;
	server.sin_port = htons((uint16_t)atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, call, NULL) != 0)
			return 2;
	for (i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	(void)printf("%u answered, %u lost\n", answered, lost);
	return answered == 0 || lost > 0;
}
