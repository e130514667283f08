/* SPDX-License-Identifier: MIT */
/* A call that may take long and cannot be cancelled, announced. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
save(struct nursery_token *token, void *arg)
{
	int fd = *(int *)arg, rc;

	rc = nursery_write_all(token, fd, "state\n", 6, NULL, NURSERY_NEVER);
	if (rc != 0)
		return rc;
	nursery_blocking_begin();
	rc = fsync(fd) == 0 ? 0 : errno;
	nursery_blocking_end();
	return rc;
}

int
main(void)
{
	char path[] = "/tmp/nursery-state-XXXXXX";
	nursery_auto struct nursery *n = NULL;
	int fd, rc;

	fd = mkstemp(path);
	if (fd < 0)
		err(1, "%s", path);
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn(n, save, &fd);
	if (rc == 0)
		rc = nursery_close(&n);
	unlink(path);
	close(fd);
	if (rc != 0)
		errx(1, "%s: %s", path, strerror(rc));
	puts("saved");
	return 0;
}
