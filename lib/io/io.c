/* SPDX-License-Identifier: MIT */
/* The calls of nursery/io.h; the engine and its table are in io/call.h. */
#include "config.h"

#include "io/call.h"

#include "base/slab.h"
#include "base/sys.h"
#include "base/task_id.h"
#include "io/nowait.h"
#include "token/wait.h"

#include <limits.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int
nursery_sleep(struct nursery_token *t, int64_t deadline)
{
	int rc;

	if (t != NULL && nur_inherited(t))
		return EOWNERDEAD;
	if (nursery_token_is_cancelled(t))
		return ECANCELED;
	rc = nur_token_wait(t, NURSERY_CANCEL, deadline, NUR_OP_SLEEP);
	if (rc == 0)
		return ECANCELED;
	return rc == ETIMEDOUT ? 0 : rc;
}

int
nursery_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline)
{
	int n;

	if (t != NULL && nur_inherited(t)) {
		errno = EOWNERDEAD;
		return -1;
	}
	if (nursery_token_is_cancelled(t)) {
		errno = ECANCELED;
		return -1;
	}
	if ((fds == NULL && nfds > 0) || nfds > INT_MAX) {
		errno = EINVAL;
		return -1;
	}
	n = nur_poll(t, fds, nfds, deadline, NUR_OP_POLL);
	return n < 0 && errno == ETIMEDOUT ? 0 : n;
}

/* ---- read and write ---- */

static ssize_t
nowait_error(void)
{
	/* EOPNOTSUPP: this file type; EINVAL, ENOSYS: this kernel; ESPIPE:
	 * no position.  The plain call tells what is really wrong. */
	if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ||
	    errno == ESPIPE)
		errno = ENOTSUP;
	return -1;
}

static ssize_t
do_read(struct nur_call *c, enum nur_way way)
{
	struct iovec v = { c->buf, c->len };
	ssize_t n;

	if (way == NUR_MAY_BLOCK || c->pollable)
		return read(c->fd, c->buf, c->len);
	n = preadv2(c->fd, &v, 1, -1, RWF_NOWAIT);
	return n < 0 && errno != EAGAIN && errno != EINTR ? nowait_error() : n;
}

ssize_t
nursery_read(struct nursery_token *t, int fd, void *buf, size_t len,
    int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_READ, .fd = fd, .events = POLLIN,
		.fn = do_read, .buf = buf, .len = len };

	return nur_call_run(&c);
}

/*
 * The SIGPIPE that a write to a pipe without reader sends to this thread is
 * taken away again; one that was pending before stays.  On our own threads it
 * is blocked already, and nobody waits for it.
 */
static ssize_t
quietly(struct nur_call *c, ssize_t (*fn)(struct nur_call *c, bool nowait),
    bool nowait)
{
	const struct timespec none = { 0, 0 };
	sigset_t pipe_only, old, pending;
	bool blocked, was_pending = false;
	ssize_t n;
	int error;

	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	blocked = sigismember(&old, SIGPIPE) == 1;
	if (blocked && nur_current_task_id() == 0) {
		(void)sigpending(&pending);
		was_pending = sigismember(&pending, SIGPIPE) == 1;
	}
	n = fn(c, nowait);
	error = errno;
	if (n < 0 && error == EPIPE && !was_pending)
		while (sigtimedwait(&pipe_only, NULL, &none) < 0 && errno ==
		    EINTR)
			;
	if (!blocked)
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return n;
}

static ssize_t
plain_write(struct nur_call *c, bool nowait)
{
	struct iovec v = { (void *)(uintptr_t)c->cbuf, c->len };

	return nowait ? pwritev2(c->fd, &v, 1, -1, RWF_NOWAIT) :
	    write(c->fd, c->cbuf, c->len);
}

static ssize_t
do_write(struct nur_call *c, enum nur_way way)
{
	ssize_t n;

	n = send(c->fd, c->cbuf, c->len, MSG_NOSIGNAL |
	    (way == NUR_NOWAIT ? MSG_DONTWAIT : 0));
	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (way == NUR_MAY_BLOCK || c->pollable)
		return quietly(c, plain_write, false);
	n = quietly(c, plain_write, true);
	return n < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE ?
	    nowait_error() : n;
}

ssize_t
nursery_write(struct nursery_token *t, int fd, const void *buf, size_t len,
    int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_WRITE, .fd = fd, .events = POLLOUT,
		.fn = do_write, .cbuf = buf, .len = len };

	return nur_call_run(&c);
}

/* ---- sockets ---- */

static ssize_t
do_recv(struct nur_call *c, enum nur_way way)
{
	(void)way;	/* always pollable */
	return recv(c->fd, c->buf, c->len, c->flags | MSG_DONTWAIT);
}

ssize_t
nursery_recv(struct nursery_token *t, int fd, void *buf, size_t len,
    int flags, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = (flags & MSG_DONTWAIT)
		!= 0 ? 0 : deadline, .op = NUR_OP_RECV, .fd = fd,
		.events = POLLIN, .fn = do_recv, .buf = buf, .len = len,
		.flags = flags & ~MSG_WAITALL, .pollable = true };
	bool all = (flags & MSG_WAITALL) != 0 && (flags & (MSG_PEEK |
	    MSG_DONTWAIT)) == 0;
	size_t done = 0;
	ssize_t n;

	do {
		c.buf = (char *)buf + done;
		c.len = len - done;
		n = nur_call_run(&c);
		if (n > 0)
			done += (size_t)n;
	} while (all && n > 0 && done < len);
	if (n < 0 && (flags & MSG_DONTWAIT) != 0 && errno == ETIMEDOUT)
		errno = EAGAIN;
	return done > 0 ? (ssize_t)done : n;
}

static ssize_t
do_send(struct nur_call *c, enum nur_way way)
{
	(void)way;	/* always pollable */
	return send(c->fd, c->cbuf, c->len, c->flags | MSG_DONTWAIT |
	    MSG_NOSIGNAL);
}

ssize_t
nursery_send(struct nursery_token *t, int fd, const void *buf, size_t len,
    int flags, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = (flags & MSG_DONTWAIT)
		!= 0 ? 0 : deadline, .op = NUR_OP_SEND, .fd = fd,
		.events = POLLOUT, .fn = do_send, .cbuf = buf, .len = len,
		.flags = flags, .pollable = true };
	ssize_t n = nur_call_run(&c);

	if (n < 0 && (flags & MSG_DONTWAIT) != 0 && errno == ETIMEDOUT)
		errno = EAGAIN;
	return n;
}

static ssize_t
plain_sendfile(struct nur_call *c, bool nowait)
{
	(void)nowait;
	return sendfile(c->fd, c->fd2, c->offset, c->len);
}

static ssize_t
do_sendfile(struct nur_call *c, enum nur_way way)
{
	if (way == NUR_NOWAIT && !c->pollable) {
		errno = ENOTSUP;
		return -1;
	}
	return quietly(c, plain_sendfile, false);
}

ssize_t
nursery_sendfile(struct nursery_token *t, int out_fd, int in_fd,
    off_t *offset, size_t len, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_SENDFILE, .fd = out_fd, .events = POLLOUT,
		.fn = do_sendfile, .fd2 = in_fd, .offset = offset,
		.len = len };

	return nur_call_run(&c);
}

/* One that is no listener never gets ready: it says so at once. */
static void
check_listener(struct nur_call *c)
{
	socklen_t len = sizeof(int);
	int listens = 0;

	errno = ENOTSUP;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0
	    && !listens)
		errno = EINVAL;
}

static ssize_t
do_accept(struct nur_call *c, enum nur_way way)
{
	if (way == NUR_NOWAIT && !c->pollable) {
		check_listener(c);
		return -1;
	}
	return accept4(c->fd, c->addr, c->addr_len, SOCK_CLOEXEC);
}

int
nursery_accept(struct nursery_token *t, int fd, struct sockaddr *addr,
    socklen_t *len, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_ACCEPT, .fd = fd, .events = POLLIN,
		.fn = do_accept, .addr = addr, .addr_len = len };

	return (int)nur_call_run(&c);
}

/* ---- connect ---- */

static int
connect_result(int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		return -1;
	errno = error;
	return error == 0 ? 0 : -1;
}

/* A connect that was broken or is on its way goes on in the kernel; a local
 * one is never on its way. */
static ssize_t
do_connect(struct nur_call *c, enum nur_way way)
{
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };
	bool local = c->caddr->sa_family == AF_UNIX;

	if (way == NUR_NOWAIT && !c->pollable) {
		errno = ENOTSUP;
		return -1;
	}
	if (c->flags == 0 || local) {
		c->flags = 1;
		if (connect(c->fd, c->caddr, (socklen_t)c->len) == 0)
			return 0;
		if (errno == EINPROGRESS)
			errno = EAGAIN;
		else if (errno == EINTR && !local && poll(&p, 1, 0) > 0)
			return connect_result(c->fd);
		c->events = POLLOUT;	/* from now on it tells */
		return -1;
	}
	if (poll(&p, 1, way == NUR_MAY_BLOCK ? -1 : 0) > 0)
		return connect_result(c->fd);
	if (way == NUR_NOWAIT)
		errno = EAGAIN;
	return -1;
}

/* A local listener whose backlog is full tells nobody when it no longer is:
 * a non-blocking connect has to ask again. */
static int
connect_local(struct nur_call *c)
{
	int64_t pause = NURSERY_MS, until;
	int rc;

	while (connect(c->fd, c->caddr, (socklen_t)c->len) != 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -1;
		until = nursery_after(pause);
		rc = nursery_sleep(c->token, until < c->deadline ? until :
		    c->deadline);
		if (rc == 0 && c->deadline <= nur_now())
			rc = ETIMEDOUT;
		if (rc != 0) {
			errno = rc;
			return -1;
		}
		pause = pause < 16 * NURSERY_MS ? 2 * pause : pause;
	}
	return 0;
}

int
nursery_connect(struct nursery_token *t, int fd, const struct sockaddr *addr,
    socklen_t len, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_CONNECT, .fd = fd,
		.fn = do_connect, .caddr = addr, .len = len };

	if (addr == NULL || len < sizeof addr->sa_family) {
		errno = EINVAL;
		return -1;
	}
	if (addr->sa_family == AF_UNIX && !nursery_token_is_cancelled(t) &&
	    !(t != NULL && nur_inherited(t)) && nur_fd_nonblocking(fd))
		return connect_local(&c);
	return (int)nur_call_run(&c);
}

/* ---- whole buffers ---- */

int
nursery_read_full(struct nursery_token *t, int fd, void *buf, size_t len,
    size_t *out_done, int64_t deadline)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < len && n > 0) {
		n = nursery_read(t, fd, (char *)buf + done, len - done,
		    deadline);
		if (n > 0)
			done += (size_t)n;
	}
	if (out_done != NULL)
		*out_done = done;
	if (n < 0)
		return errno;
	return done < len ? EPIPE : 0;
}

int
nursery_write_all(struct nursery_token *t, int fd, const void *buf,
    size_t len, size_t *out_done, int64_t deadline)
{
	size_t done = 0;
	ssize_t n = 0;

	while (done < len && n >= 0) {
		n = nursery_write(t, fd, (const char *)buf + done, len - done,
		    deadline);
		if (n > 0)
			done += (size_t)n;
	}
	if (out_done != NULL)
		*out_done = done;
	return n < 0 ? errno : 0;
}
