/* SPDX-License-Identifier: MIT */
/*
 * recv, send and their messages.  A socket can always be asked not to wait,
 * so that ppoll does all the waiting.
 *
 * M1  What a receive brought is handed over, cancelled or not: its bytes and
 *     the descriptors that came along.
 * M2  A call that fails has received nothing: no descriptor is left open.
 */
#include "config.h"

#include "io/call.h"

#include "base/kernel.h"

/* These look at once and never wait, by recv(2). */
#define LOOKS	(MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)

/* ---- MSG_WAITALL ---- */

static bool
waits_for_all(int flags)
{
	return (flags & MSG_WAITALL) != 0 && (flags & (LOOKS | MSG_PEEK)) == 0;
}

/*
 * Whether more is there or comes, for the rest of a stream: of datagrams one
 * is all.  An error of the socket is left for the next call, as a receive
 * would take it away.
 */
static bool
more_comes(struct nur_call *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	socklen_t len = sizeof(int);
	int type = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
	    type != SOCK_STREAM)
		return false;
	return nur_poll(c->token, &p, 1, c->deadline, c->op) > 0 &&
	    (p.revents & POLLERR) == 0;
}

/* ---- recv and send ---- */

static ssize_t
do_recv(struct nur_call *c, enum nur_way way)
{
	(void)way;	/* always pollable */
	return recv(c->fd, c->buf, c->len, c->flags | MSG_DONTWAIT);
}

static ssize_t
recv_all(struct nur_call *c)
{
	ssize_t n = nur_call_run(c), done = n;

	while (n > 0 && (size_t)n < c->len && more_comes(c)) {
		c->buf = (char *)c->buf + n;
		c->len -= (size_t)n;
		n = nur_call_run(c);
		done += n > 0 ? n : 0;
	}
	return done;
}

/* Not in the quick way's frame; `tried` is what that gave, unless 0. */
__attribute__((noinline)) static ssize_t
recv_slowly(struct nursery_token *t, int fd, void *buf, size_t len, int flags,
    int64_t deadline, ssize_t tried)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_RECV, .fd = fd, .events = POLLIN,
		.fn = do_recv, .buf = buf, .len = len,
		.flags = flags & ~MSG_WAITALL, .pollable = true,
		.once = (flags & LOOKS) != 0 };

	if (tried != 0)
		return nur_call_go_on(&c, tried);
	return waits_for_all(flags) ? recv_all(&c) : nur_call_run(&c);
}

NUR_QUICK ssize_t
nursery_recv(struct nursery_token *t, int fd, void *buf, size_t len,
    int flags, int64_t deadline)
{
	struct nur_quick q;
	ssize_t n;

	if ((flags & MSG_WAITALL) != 0 || !nur_quick_begin(&q, t, NUR_OP_RECV,
	    fd))
		return recv_slowly(t, fd, buf, len, flags, deadline, 0);
	n = nur_kernel_recv(fd, buf, len, flags | MSG_DONTWAIT);
	nur_quick_end(&q);
	return n >= 0 ? n : recv_slowly(t, fd, buf, len, flags, deadline, n);
}

static ssize_t
do_send(struct nur_call *c, enum nur_way way)
{
	(void)way;	/* always pollable */
	return send(c->fd, c->cbuf, c->len, c->flags | MSG_DONTWAIT |
	    MSG_NOSIGNAL);
}

__attribute__((noinline)) static ssize_t
send_slowly(struct nursery_token *t, int fd, const void *buf, size_t len,
    int flags, int64_t deadline, ssize_t tried)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_SEND, .fd = fd, .events = POLLOUT,
		.fn = do_send, .cbuf = buf, .len = len,
		.flags = flags, .pollable = true,
		.once = (flags & MSG_DONTWAIT) != 0 };

	return tried != 0 ? nur_call_go_on(&c, tried) : nur_call_run(&c);
}

NUR_QUICK ssize_t
nursery_send(struct nursery_token *t, int fd, const void *buf, size_t len,
    int flags, int64_t deadline)
{
	struct nur_quick q;
	ssize_t n;

	if (!nur_quick_begin(&q, t, NUR_OP_SEND, fd))
		return send_slowly(t, fd, buf, len, flags, deadline, 0);
	n = nur_kernel_send(fd, buf, len, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	nur_quick_end(&q);
	return n >= 0 ? n : send_slowly(t, fd, buf, len, flags, deadline, n);
}

/* ---- messages ---- */

/* On an error the system leaves *msg as it was. */
static ssize_t
do_recvmsg(struct nur_call *c, enum nur_way way)
{
	ssize_t n;

	(void)way;	/* always pollable */
	n = recvmsg(c->fd, c->msg, c->flags | MSG_DONTWAIT |
	    MSG_CMSG_CLOEXEC);
	/* It is shown there; only who asked for it expects that. */
	if (n >= 0)
		c->msg->msg_flags &= ~MSG_CMSG_CLOEXEC | c->flags;
	return n;
}

/* The element that the first `done` bytes end in, what is left of it; false
 * if all are full. */
static bool
rest_of(const struct msghdr *msg, size_t done, struct iovec *rest)
{
	size_t i;

	for (i = 0; i < msg->msg_iovlen; i++) {
		*rest = msg->msg_iov[i];
		if (done < rest->iov_len) {
			rest->iov_base = (char *)rest->iov_base + done;
			rest->iov_len -= done;
			return true;
		}
		done -= rest->iov_len;
	}
	return false;
}

/* What came along belongs to these bytes: further ones would overwrite it. */
static bool
came_along(const struct msghdr *msg)
{
	return msg->msg_controllen > 0 || (msg->msg_flags & MSG_CTRUNC) != 0;
}

/* One element after another, the message's own fields anew each time. */
static ssize_t
recvmsg_all(struct nur_call *c)
{
	struct msghdr *msg = c->msg, asked = *msg, part;
	struct iovec rest;
	ssize_t n = nur_call_run(c);
	size_t done = n > 0 ? (size_t)n : 0;

	while (n > 0 && !came_along(msg) && rest_of(&asked, done, &rest) &&
	    more_comes(c)) {
		part = asked;
		part.msg_iov = &rest;
		part.msg_iovlen = 1;
		c->msg = &part;
		n = nur_call_run(c);
		if (n <= 0)
			break;
		done += (size_t)n;
		msg->msg_namelen = part.msg_namelen;
		msg->msg_controllen = part.msg_controllen;
		msg->msg_flags = part.msg_flags;
	}
	return done > 0 ? (ssize_t)done : n;
}

ssize_t
nursery_recvmsg(struct nursery_token *t, int fd, struct msghdr *msg,
    int flags, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_RECV, .fd = fd, .events = POLLIN,
		.fn = do_recvmsg, .msg = msg, .flags = flags & ~MSG_WAITALL,
		.pollable = true, .once = (flags & LOOKS) != 0 };

	if (msg == NULL)
		return nur_fail(EINVAL);
	return waits_for_all(flags) ? recvmsg_all(&c) : nur_call_run(&c);
}

static ssize_t
do_sendmsg(struct nur_call *c, enum nur_way way)
{
	(void)way;	/* always pollable */
	return sendmsg(c->fd, c->cmsg, c->flags | MSG_DONTWAIT |
	    MSG_NOSIGNAL);
}

ssize_t
nursery_sendmsg(struct nursery_token *t, int fd, const struct msghdr *msg,
    int flags, int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_SEND, .fd = fd, .events = POLLOUT,
		.fn = do_sendmsg, .cmsg = msg, .flags = flags,
		.pollable = true, .once = (flags & MSG_DONTWAIT) != 0 };

	if (msg == NULL)
		return nur_fail(EINVAL);
	return nur_call_run(&c);
}
