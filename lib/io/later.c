/* SPDX-License-Identifier: MIT */
/* What io.h promises and this release does not have yet: refused. */
#include "config.h"

#include "nursery/io.h"

#include <errno.h>

ssize_t
nursery_readv(struct nursery_token *t, int fd, const struct iovec *iov, int n, int64_t deadline)
{
	(void)t;
	(void)fd;
	(void)iov;
	(void)n;
	(void)deadline;
	errno = ENOTSUP;
	return -1;
}

ssize_t
nursery_writev(struct nursery_token *t, int fd, const struct iovec *iov, int n, int64_t deadline)
{
	(void)t;
	(void)fd;
	(void)iov;
	(void)n;
	(void)deadline;
	errno = ENOTSUP;
	return -1;
}

ssize_t
nursery_recvmsg(struct nursery_token *t, int fd, struct msghdr *msg, int flags, int64_t deadline)
{
	(void)t;
	(void)fd;
	(void)msg;
	(void)flags;
	(void)deadline;
	errno = ENOTSUP;
	return -1;
}

ssize_t
nursery_sendmsg(struct nursery_token *t, int fd, const struct msghdr *msg, int flags, int64_t deadline)
{
	(void)t;
	(void)fd;
	(void)msg;
	(void)flags;
	(void)deadline;
	errno = ENOTSUP;
	return -1;
}

pid_t
nursery_waitpid(struct nursery_token *t, pid_t pid, int *status, int64_t deadline)
{
	(void)t;
	(void)pid;
	(void)status;
	(void)deadline;
	errno = ENOTSUP;
	return -1;
}
