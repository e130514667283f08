/* SPDX-License-Identifier: MIT */
/* Waits for a file lock, which no call of the library does, for a while. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <nursery.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct lock {
	struct nursery_token *token;
	int fd;
};

/* Comes back when a cancel breaks flock, but not for another signal. */
static int
take(void *arg)
{
	struct lock *l = arg;

	while (flock(l->fd, LOCK_EX) != 0)
		if (errno != EINTR || nursery_token_is_cancelled(l->token))
			return errno;
	return 0;
}

int
main(void)
{
	char path[] = "/tmp/nursery-lock-XXXXXX";
	struct nursery_token *token;
	struct lock l;
	int holder, rc, result;

	holder = mkstemp(path);
	l.fd = open(path, O_RDWR | O_CLOEXEC);
	if (holder < 0 || l.fd < 0 || flock(holder, LOCK_EX) != 0)
		err(1, "%s", path);
	unlink(path);
	rc = nursery_token_new(&token, NULL);
	if (rc == 0)
		rc = nursery_token_set_deadline(token,
		    nursery_after(50 * NURSERY_MS));
	if (rc != 0)
		errx(1, "token: %s", strerror(rc));
	l.token = token;
	rc = nursery_token_run(token, take, &l, &result);
	if (rc != 0)
		printf("not tried: %s\n", strerror(rc));
	else if (result == EINTR)
		puts("somebody else has the lock");
	else if (result != 0)
		printf("flock: %s\n", strerror(result));
	else
		puts("locked");
	close(l.fd);
	close(holder);
	nursery_token_unref(token);
	return 0;
}
