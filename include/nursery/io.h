/* SPDX-License-Identifier: MIT */
/*
 * Calls that can be cancelled.
 *
 * The first argument is a token (NULL: never cancelled), the last a deadline
 * for this call.  The wrappers of POSIX calls keep their call's convention:
 * -1 and errno, with two more errors, ECANCELED when the token is cancelled
 * and ETIMEDOUT when the deadline passed; EINTR never.  A token that is
 * cancelled already fails before any work; work done beats a later cancel,
 * so nothing that was read, accepted or received is lost.
 *
 * Blocking and non-blocking descriptors will do alike; their flags stay as
 * they are, whatever other threads do with them.  No call raises SIGPIPE:
 * EPIPE is returned.  Any thread may call, in a task or not.
 */
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

/* ---- waiting ---- */

/*
 * Sleeps until the deadline: 0, or ECANCELED as soon as t is cancelled.
 * Returns an error number; errno is not used.
 */
int nursery_sleep(struct nursery_token *t, int64_t deadline);

/* As poll(2), until the deadline, when it returns 0.  Cancelled: -1 and
 * ECANCELED. */
int nursery_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline);

/* ---- reading and writing ---- */

/* As read(2): at least one byte, or 0 at the end of the file. */
ssize_t nursery_read(struct nursery_token *t, int fd, void *buf, size_t len,
    int64_t deadline);

/* As write(2): at least one byte, often fewer than len when the reader is
 * slow.  nursery_write_all goes on until all is written. */
ssize_t nursery_write(struct nursery_token *t, int fd, const void *buf,
    size_t len, int64_t deadline);

/* As readv(2): nursery_read into several buffers, in their order. */
ssize_t nursery_readv(struct nursery_token *t, int fd, const struct iovec *iov,
    int n, int64_t deadline);

/* As writev(2): nursery_write from several buffers, in their order. */
ssize_t nursery_writev(struct nursery_token *t, int fd,
    const struct iovec *iov, int n, int64_t deadline);

/* As recv(2).  MSG_DONTWAIT makes a try: EAGAIN.  MSG_WAITALL goes on until
 * len bytes of a stream are there; cancelled before, it returns what came. */
ssize_t nursery_recv(struct nursery_token *t, int fd, void *buf, size_t len,
    int flags, int64_t deadline);

/* As send(2), always without SIGPIPE. */
ssize_t nursery_send(struct nursery_token *t, int fd, const void *buf,
    size_t len, int flags, int64_t deadline);

/*
 * As recvmsg(2).  Descriptors that are received are close-on-exec; a call
 * that fails has received none, and left *msg alone.  MSG_WAITALL ends where
 * ancillary data came, as what follows would overwrite it.
 */
ssize_t nursery_recvmsg(struct nursery_token *t, int fd, struct msghdr *msg,
    int flags, int64_t deadline);

/* As sendmsg(2), always without SIGPIPE.  On a stream, ancillary data goes
 * with the first byte: do not send it again with the rest. */
ssize_t nursery_sendmsg(struct nursery_token *t, int fd,
    const struct msghdr *msg, int flags, int64_t deadline);

/* As sendfile(2): at least one byte, or 0 at the end of in_fd.  *offset, or
 * the file's own position when NULL, moves by what was sent. */
ssize_t nursery_sendfile(struct nursery_token *t, int out_fd, int in_fd,
    off_t *offset, size_t len, int64_t deadline);

/*
 * Reads until `len` bytes are there.  Returns an error number; *out_done,
 * unless out_done is NULL, is always written: on an error, too, that many
 * bytes are in buf.  EPIPE: the file ended before.
 */
int nursery_read_full(struct nursery_token *t, int fd, void *buf, size_t len,
    size_t *out_done, int64_t deadline);

/* As nursery_read_full, the other way round: on an error the first *out_done
 * bytes are written. */
int nursery_write_all(struct nursery_token *t, int fd, const void *buf,
    size_t len, size_t *out_done, int64_t deadline);

/* ---- connections ---- */

/* As accept(2); the new descriptor is close-on-exec.  addr and len may be
 * NULL.  A connection that is taken is returned, cancelled or not. */
int nursery_accept(struct nursery_token *t, int fd, struct sockaddr *addr,
    socklen_t *len, int64_t deadline);

/* As connect(2).  After ECANCELED or ETIMEDOUT the connection may still come
 * about: close the descriptor. */
int nursery_connect(struct nursery_token *t, int fd,
    const struct sockaddr *addr, socklen_t len, int64_t deadline);

/*
 * As waitpid(2), until one child has ended and is reaped: its pid.  pid > 0,
 * else EINVAL.  status may be NULL.  Of several waiters one has the status,
 * the others ECHILD.  A cancel does nothing to the child.
 */
pid_t nursery_waitpid(struct nursery_token *t, pid_t pid, int *status,
    int64_t deadline);

/* ---- plain POSIX objects ---- */

/*
 * As pthread_cond_wait(3), by error number: 0 after a wake-up, which may be
 * spurious; ECANCELED or ETIMEDOUT.  m is held on return, whatever it
 * returns.  From the cancel or the deadline on c is broadcast until this
 * waiter has left, so others may wake spuriously; before it returns
 * ECANCELED or ETIMEDOUT it wakes the others itself, so that no signal is
 * lost.  Who cancels may hold m.  A mutex's own errors are returned as they
 * are; ENOMEM and EAGAIN: nothing was waited for.
 */
int nursery_cond_wait(struct nursery_token *t, pthread_cond_t *c,
    pthread_mutex_t *m, int64_t deadline);

/*
 * As sem_wait(3), by error number: 0, and one post was taken; or ECANCELED
 * or ETIMEDOUT, and none was.  Nothing is ever posted: the wait is
 * interrupted, by the library's own signal.  A deadline in the past makes a
 * try.  ENOMEM, EAGAIN, EBUSY: it cannot be, and nothing was waited for.
 */
int nursery_sem_wait(struct nursery_token *t, sem_t *s, int64_t deadline);

/* ---- channels ---- */

/*
 * A bounded queue of items of one size, many to many, first in, first out.
 * Items are copied in and out.  Opaque.  Any thread may use it, in a task or
 * not; after a fork, in the child, it is inert.
 */
struct nursery_channel;

/*
 * Makes a channel for at most `capacity` items of `item_size` bytes, both
 * above 0, and gets all the memory that it will need.  0, EINVAL, ENOMEM.
 */
int nursery_channel_new(struct nursery_channel **out, size_t item_size,
    size_t capacity);

/*
 * Puts a copy of *item in, waiting for room: 0, and it is in; or ECANCELED,
 * ETIMEDOUT, or EPIPE once the channel is closed, and it is not.  A deadline
 * in the past makes a try.  ENOMEM: no memory for the thread's first wait.
 */
int nursery_channel_send(struct nursery_token *t, struct nursery_channel *c,
    const void *item, int64_t deadline);

/*
 * Takes the oldest item out, waiting for one, and copies it to *item: 0; or
 * ECANCELED or ETIMEDOUT, and none was taken; or EPIPE: the channel is
 * closed, and nothing is left in it.
 */
int nursery_channel_recv(struct nursery_token *t, struct nursery_channel *c,
    void *item, int64_t deadline);

/*
 * From now on sends return EPIPE, those that wait for room, too; receivers
 * get what is left, and then EPIPE.  Does not block, may be called again,
 * and by anybody; NULL is ignored.
 */
void nursery_channel_close(struct nursery_channel *c);

/*
 * Frees a channel that nobody uses any more, with what is left in it.  Who
 * got the last item, or the EPIPE, may do so at once.  While somebody waits
 * in it: aborts.  NULL is ignored.
 */
void nursery_channel_free(struct nursery_channel *c);

/* ---- calls of others that block ---- */

/*
 * Announces that this task is about to block in a call the library does not
 * know: on the compute lane it gives its place away, and another one runs.
 * On the blocking lane, where a task has a thread of its own, it changes what
 * the dump shows; outside tasks it does nothing.  Pairs nest.  Cannot fail.
 */
void nursery_blocking_begin(void);

/* The end of what nursery_blocking_begin announced: the task has a place
 * again, at once. */
void nursery_blocking_end(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
