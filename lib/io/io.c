/* SPDX-License-Identifier: MIT */
/* The calls of nursery/io.h; the engine and its table are in io/call.h. */
#include "config.h"

#include "io/call.h"

#include "base/kernel.h"
#include "base/sync.h"
#include "base/sys.h"
#include "token/wait.h"

#include <limits.h>
#include <signal.h>
#include <sys/sendfile.h>
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

	if (t != NULL && nur_inherited(t))
		return nur_fail(EOWNERDEAD);
	if (nursery_token_is_cancelled(t))
		return nur_fail(ECANCELED);
	if ((fds == NULL && nfds > 0) || nfds > INT_MAX)
		return nur_fail(EINVAL);
	n = nur_poll(t, fds, nfds, deadline, NUR_OP_POLL);
	return n < 0 && errno == ETIMEDOUT ? 0 : n;
}

/* ---- read and write ---- */

/* What the system would say of the vector only once the descriptor is ready:
 * 0 and the bytes in all, or EINVAL. */
static int
measure(const struct iovec *iov, int n, size_t *total)
{
	int i;

	*total = 0;
	if (n < 0 || n > IOV_MAX || (iov == NULL && n > 0))
		return EINVAL;
	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > (size_t)SSIZE_MAX - *total)
			return EINVAL;
		*total += iov[i].iov_len;
	}
	return 0;
}

/* EOPNOTSUPP: this file type; EINVAL, ENOSYS: this kernel; ESPIPE: no
 * position.  The plain call tells what is really wrong. */
static bool
is_no_answer(int error)
{
	return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL ||
	    error == ESPIPE;
}

static ssize_t
do_read(struct nur_call *c, enum nur_way way)
{
	ssize_t n;

	if (way == NUR_MAY_BLOCK || c->pollable)
		return readv(c->fd, c->iov, c->iov_count);
	n = preadv2(c->fd, c->iov, c->iov_count, -1, RWF_NOWAIT);
	return n < 0 && is_no_answer(errno) ? nur_fail(ENOTSUP) : n;
}

/* Not in the quick way's frame; `tried` is what that gave, unless 0. */
__attribute__((noinline)) static ssize_t
read_slowly(struct nursery_token *t, int fd, const struct iovec *iov, int n,
    int64_t deadline, ssize_t tried)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_READ, .fd = fd, .events = POLLIN,
		.fn = do_read, .iov = iov, .iov_count = n };

	if (tried == 0)
		return nur_call_run(&c);
	return nur_call_go_on(&c, is_no_answer((int)-tried) ? -ENOTSUP :
	    tried);
}

NUR_QUICK ssize_t
nursery_read(struct nursery_token *t, int fd, void *buf, size_t len,
    int64_t deadline)
{
	const struct iovec one = { buf, len };
	struct nur_quick q;
	ssize_t n;

	/* A datagram is not for a buffer without room. */
	if (len == 0 || !nur_quick_begin(&q, t, NUR_OP_READ, fd))
		return read_slowly(t, fd, &one, 1, deadline, 0);
	n = nur_fd_maybe_socket(q.self, fd) ? nur_kernel_recv(fd, buf, len,
	    MSG_DONTWAIT) : -ENOTSOCK;
	if (n == -ENOTSOCK) {
		nur_fd_no_socket(q.self, fd);
		n = nur_kernel_preadv2(fd, &one, 1, RWF_NOWAIT);
	}
	nur_quick_end(&q);
	return n >= 0 ? n : read_slowly(t, fd, &one, 1, deadline, n);
}

ssize_t
nursery_readv(struct nursery_token *t, int fd, const struct iovec *iov, int n,
    int64_t deadline)
{
	size_t total;
	int rc = measure(iov, n, &total);

	if (rc != 0)
		return nur_fail(rc);
	return read_slowly(t, fd, iov, n, deadline, 0);
}

static void
take_sigpipe(void)
{
	const struct timespec none = { 0, 0 };
	sigset_t pipe_only;

	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	while (sigtimedwait(&pipe_only, NULL, &none) < 0 && errno == EINTR)
		;
}

/* On a thread of the program; a signal that was pending before stays. */
static ssize_t
quietly_here(struct nur_call *c, ssize_t (*fn)(struct nur_call *c,
    bool nowait), bool nowait)
{
	sigset_t pipe_only, old, pending;
	bool blocked, was_pending = false;
	ssize_t n;
	int error;

	(void)sigemptyset(&pipe_only);
	(void)sigaddset(&pipe_only, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	blocked = sigismember(&old, SIGPIPE) == 1;
	if (blocked) {
		(void)sigpending(&pending);
		was_pending = sigismember(&pending, SIGPIPE) == 1;
	}
	n = fn(c, nowait);
	error = errno;
	if (n < 0 && error == EPIPE && !was_pending)
		take_sigpipe();
	if (!blocked)
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return n;
}

/*
 * The SIGPIPE that a write to a pipe without reader sends to this thread is
 * taken away again.  On our own threads it is blocked already, and nobody
 * waits for it.
 */
static ssize_t
quietly(struct nur_call *c, ssize_t (*fn)(struct nur_call *c, bool nowait),
    bool nowait)
{
	const struct nur_thr *self = nur_thr_peek();
	ssize_t n;

	if (self == NULL || !nur_thr_is_worker(self))
		return quietly_here(c, fn, nowait);
	n = fn(c, nowait);
	if (n < 0 && errno == EPIPE) {
		take_sigpipe();
		errno = EPIPE;
	}
	return n;
}

static ssize_t
plain_write(struct nur_call *c, bool nowait)
{
	return nowait ? pwritev2(c->fd, c->iov, c->iov_count, -1,
	    RWF_NOWAIT) : writev(c->fd, c->iov, c->iov_count);
}

/* Linux 6.18: this one call raises no SIGPIPE, whatever the descriptor. */
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL	0x00000100
#endif
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND	0x00000020
#endif

/* Atomic: whether the kernel has it. */
static uint32_t quiet_state;
enum { UNKNOWN, MISSING, PRESENT };

/*
 * True with the result in *n if one call could do it.  EOPNOTSUPP may mean
 * the kernel or the descriptor: two flags that exclude each other are refused
 * as such, before any work, by a kernel that knows all three.
 */
static bool
quiet_write(struct nur_call *c, ssize_t *n)
{
	unsigned state = nur_load_relaxed(&quiet_state);

	/* Relaxed: who sees it late pays for one more refusal. */
	if (state == MISSING)
		return false;
	*n = pwritev2(c->fd, c->iov, c->iov_count, -1, RWF_NOSIGNAL |
	    (c->pollable ? 0 : RWF_NOWAIT));
	if (*n >= 0 && state == UNKNOWN)
		nur_store_relaxed(&quiet_state, PRESENT);
	if (*n >= 0 || !is_no_answer(errno))
		return true;
	if (state == UNKNOWN) {
		(void)pwritev2(c->fd, c->iov, c->iov_count, -1, RWF_NOSIGNAL |
		    RWF_APPEND | RWF_NOAPPEND);
		nur_store_relaxed(&quiet_state, errno == EINVAL ? PRESENT :
		    MISSING);
	}
	return false;
}

static ssize_t
do_write(struct nur_call *c, enum nur_way way)
{
	struct msghdr msg = { 0 };
	ssize_t n;

	/* An empty datagram is for sendmsg: the other has nothing to do. */
	if (way == NUR_NOWAIT && c->len > 0 && quiet_write(c, &n))
		return n;
	msg.msg_iov = (struct iovec *)(uintptr_t)c->iov;
	msg.msg_iovlen = (unsigned)c->iov_count;
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL |
	    (way == NUR_NOWAIT ? MSG_DONTWAIT : 0));
	if (n >= 0 || errno != ENOTSOCK)
		return n;
	if (way == NUR_MAY_BLOCK || c->pollable)
		return quietly(c, plain_write, false);
	n = quietly(c, plain_write, true);
	return n < 0 && is_no_answer(errno) ? nur_fail(ENOTSUP) : n;
}

/* A vector without a byte sends nothing, not even on a datagram socket. */
static ssize_t
write_nothing(struct nur_call *c, enum nur_way way)
{
	(void)way;
	return writev(c->fd, c->iov, c->iov_count);
}

/* As read_slowly(). */
__attribute__((noinline)) static ssize_t
write_slowly(struct nursery_token *t, int fd, const struct iovec *one,
    int64_t deadline, ssize_t tried)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_WRITE, .fd = fd, .events = POLLOUT,
		.fn = do_write, .iov = one, .iov_count = 1,
		.len = one->iov_len };

	if (tried == 0 || is_no_answer((int)-tried))
		return nur_call_run(&c);
	return nur_call_go_on(&c, tried);
}

NUR_QUICK ssize_t
nursery_write(struct nursery_token *t, int fd, const void *buf, size_t len,
    int64_t deadline)
{
	const struct iovec one = { (void *)(uintptr_t)buf, len };
	struct nur_quick q;
	ssize_t n;

	if (len == 0 || !nur_quick_begin(&q, t, NUR_OP_WRITE, fd))
		return write_slowly(t, fd, &one, deadline, 0);
	n = nur_fd_maybe_socket(q.self, fd) ? nur_kernel_send(fd, buf, len,
	    MSG_DONTWAIT | MSG_NOSIGNAL) : -ENOTSOCK;
	if (n == -ENOTSOCK) {
		nur_fd_no_socket(q.self, fd);
		/* Relaxed: as in quiet_write(). */
		n = nur_load_relaxed(&quiet_state) == PRESENT ?
		    nur_kernel_pwritev2(fd, &one, 1, RWF_NOSIGNAL |
		    RWF_NOWAIT) : -ENOTSUP;
	}
	nur_quick_end(&q);
	return n >= 0 ? n : write_slowly(t, fd, &one, deadline, n);
}

ssize_t
nursery_writev(struct nursery_token *t, int fd, const struct iovec *iov,
    int n, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_WRITE, .fd = fd, .events = POLLOUT,
		.iov = iov, .iov_count = n };
	int rc = measure(iov, n, &c.len);

	if (rc != 0)
		return nur_fail(rc);
	c.fn = c.len > 0 ? do_write : write_nothing;
	return nur_call_run(&c);
}

/* ---- sendfile ---- */

static ssize_t
plain_sendfile(struct nur_call *c, bool nowait)
{
	(void)nowait;
	return sendfile(c->fd, c->fd2, c->offset, c->len);
}

static ssize_t
do_sendfile(struct nur_call *c, enum nur_way way)
{
	if (way == NUR_NOWAIT && !c->pollable)
		return nur_fail(ENOTSUP);
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

/* ---- connections ---- */

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

	if (way == NUR_NOWAIT && !c->pollable)
		return nur_fail(ENOTSUP);
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
		if (rc != 0)
			return nur_fail(rc);
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

	if (addr == NULL || len < sizeof addr->sa_family)
		return nur_fail(EINVAL);
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
