/* SPDX-License-Identifier: MIT */
/* Copies standard input to standard output; SIGINT and SIGTERM end it. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
copy(struct nursery_token *token, void *arg)
{
	char buf[4096];
	ssize_t n;
	int rc;

	(void)arg;
	for (;;) {
		/* Whoever is silent for a minute has gone. */
		n = nursery_read(token, STDIN_FILENO, buf, sizeof buf,
		    nursery_after(60 * NURSERY_SECOND));
		if (n <= 0)
			return n == 0 ? 0 : errno;
		rc = nursery_write_all(token, STDOUT_FILENO, buf, (size_t)n,
		    NULL, NURSERY_NEVER);
		if (rc != 0)
			return rc;
	}
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	sigset_t signals;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_stop_on_signals(n, &signals, NURSERY_CANCEL);
	if (rc == 0)
		rc = nursery_spawn(n, copy, NULL);
	if (rc == 0)
		rc = nursery_close(&n);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	return 0;
}
