/* SPDX-License-Identifier: MIT */
/* Calls that a token can cancel; the last argument is a deadline. */
#ifndef NURSERY_IO_H
#define NURSERY_IO_H

#include <nursery/token.h>

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

int nursery_sleep(struct nursery_token *t, int64_t deadline);	/* error number: 0 at the deadline, or ECANCELED */
int nursery_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds, int64_t deadline);	/* 0 at the deadline */
ssize_t nursery_read(struct nursery_token *t, int fd, void *buf, size_t len, int64_t deadline);
ssize_t nursery_write(struct nursery_token *t, int fd, const void *buf, size_t len, int64_t deadline);
ssize_t nursery_readv(struct nursery_token *t, int fd, const struct iovec *iov, int n, int64_t deadline);
ssize_t nursery_writev(struct nursery_token *t, int fd, const struct iovec *iov, int n, int64_t deadline);
ssize_t nursery_recv(struct nursery_token *t, int fd, void *buf, size_t len, int flags, int64_t deadline);
ssize_t nursery_send(struct nursery_token *t, int fd, const void *buf, size_t len, int flags, int64_t deadline);
ssize_t nursery_recvmsg(struct nursery_token *t, int fd, struct msghdr *msg, int flags, int64_t deadline);
ssize_t nursery_sendmsg(struct nursery_token *t, int fd, const struct msghdr *msg, int flags, int64_t deadline);
ssize_t nursery_sendfile(struct nursery_token *t, int out_fd, int in_fd, off_t *offset, size_t len, int64_t deadline);
int nursery_accept(struct nursery_token *t, int fd, struct sockaddr *addr, socklen_t *len, int64_t deadline);	/* CLOEXEC */
int nursery_connect(struct nursery_token *t, int fd, const struct sockaddr *addr, socklen_t len, int64_t deadline);
pid_t nursery_waitpid(struct nursery_token *t, pid_t pid, int *status, int64_t deadline);	/* pid > 0 */
/* Error numbers; *out_done is always written. */
int nursery_read_full(struct nursery_token *t, int fd, void *buf, size_t len, size_t *out_done, int64_t deadline);
int nursery_write_all(struct nursery_token *t, int fd, const void *buf, size_t len, size_t *out_done, int64_t deadline);

/* Plain POSIX objects; error numbers. */
int nursery_cond_wait(struct nursery_token *t, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline);
int nursery_sem_wait(struct nursery_token *t, sem_t *s, int64_t deadline);

struct nursery_channel;						/* bounded queue, many to many */
int nursery_channel_new(struct nursery_channel **out, size_t item_size, size_t capacity);
int nursery_channel_send(struct nursery_token *t, struct nursery_channel *c, const void *item, int64_t deadline);
int nursery_channel_recv(struct nursery_token *t, struct nursery_channel *c, void *item, int64_t deadline);
void nursery_channel_close(struct nursery_channel *c);		/* send: EPIPE; recv: what is left, then EPIPE */
void nursery_channel_free(struct nursery_channel *c);

void nursery_blocking_begin(void);
void nursery_blocking_end(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
