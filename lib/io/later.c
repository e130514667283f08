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

int
nursery_cond_wait(struct nursery_token *t, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)m;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_sem_wait(struct nursery_token *t, sem_t *s, int64_t deadline)
{
	(void)t;
	(void)s;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_channel_new(struct nursery_channel **out, size_t item_size, size_t capacity)
{
	(void)out;
	(void)item_size;
	(void)capacity;
	return ENOTSUP;
}

int
nursery_channel_send(struct nursery_token *t, struct nursery_channel *c, const void *item, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)item;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_channel_recv(struct nursery_token *t, struct nursery_channel *c, void *item, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)item;
	(void)deadline;
	return ENOTSUP;
}

void
nursery_channel_close(struct nursery_channel *c)
{
	(void)c;
}

void
nursery_channel_free(struct nursery_channel *c)
{
	(void)c;
}
