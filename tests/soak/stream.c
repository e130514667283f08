/* SPDX-License-Identifier: MIT */
/* A stream of bytes through a pipe or a socket, by one writer and one reader,
 * in pieces of any size and by every call there is. */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE	1500
#define MOST_BYTES	60000

static unsigned char
byte_at(uint64_t salt, uint64_t at)
{
	return (unsigned char)((salt + at * 131 + at / 251) >> 1);
}

void
stream_open(struct link *l, struct rng *r)
{
	struct stream *s = &l->of.stream;
	int fds[2], size = 4096, flags = once_in(r, 2) ? O_NONBLOCK : 0;

	s->socket = once_in(r, 2);
	s->salt = rng_next(r) >> 32;
	if (s->socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds) != 0 : pipe2(fds, O_CLOEXEC | flags) != 0) {
		broken(DESCRIPTORS, "none is left: errno %d", errno);
		exit(1);
	}
	/* Narrow, so that both ends have to wait. */
	if (s->socket)
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size,
		    sizeof size);
	else
		(void)fcntl(fds[1], F_SETPIPE_SZ, size);
	s->from = fds[0];
	s->to = fds[1];
	l->goal = rng_below(r, MOST_BYTES / 1000 * scale());
}

static ssize_t
send_message(struct nursery_token *t, int fd, unsigned char *buf, size_t len,
    int64_t until)
{
	struct iovec iov[2] = { { buf, len / 2 }, { buf + len / 2, len -
		len / 2 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	return nursery_sendmsg(t, fd, &m, 0, until);
}

/* What was written, and the error number, or 0. */
static size_t
write_piece(const struct stream *s, struct nursery_token *t,
    unsigned char *buf, size_t len, struct rng *r, int *error)
{
	struct iovec iov[2] = { { buf, len / 3 }, { buf + len / 3, len -
		len / 3 } };
	int64_t until = once_in(r, 4) ? soon(r, 200) : NURSERY_NEVER;
	size_t done = 0;
	ssize_t n;

	switch (rng_below(r, s->socket ? 5 : 3)) {
	case 0:
		*error = nursery_write_all(t, s->to, buf, len, &done, until);
		return done;
	case 1:
		n = nursery_writev(t, s->to, iov, 2, until);
		break;
	case 2:
		n = nursery_write(t, s->to, buf, len, until);
		break;
	case 3:
		n = nursery_send(t, s->to, buf, len, 0, until);
		break;
	default:
		n = send_message(t, s->to, buf, len, until);
		break;
	}
	*error = n < 0 ? errno : 0;
	return n < 0 ? 0 : (size_t)n;
}

void
stream_write(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	uint64_t goal = l->goal * 100;
	size_t len, i;
	int error = 0;

	while (s->sent < goal && (error == 0 || error == ETIMEDOUT)) {
		len = 1 + rng_below(r, PIECE);
		if (len > goal - s->sent)
			len = (size_t)(goal - s->sent);
		for (i = 0; i < len; i++)
			buf[i] = byte_at(s->salt, s->sent + i);
		s->sent += write_piece(s, t, buf, len, r, &error);
		atom_add(&progress, 1);
	}
	if (error == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a write says ECANCELED, and nobody is");
	if (error != 0 && error != ETIMEDOUT && error != ECANCELED)
		broken(BYTES, "a write fails with %d", error);
}

static ssize_t
receive_message(struct nursery_token *t, int fd, unsigned char *buf,
    size_t len, int flags, int64_t until)
{
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return nursery_recvmsg(t, fd, &m, flags, until);
}

/* What was read; *error is 0, or EPIPE at the end of the stream. */
static size_t
read_piece(const struct stream *s, struct nursery_token *t,
    unsigned char *buf, size_t len, struct rng *r, int *error)
{
	struct iovec iov[2] = { { buf, len / 3 }, { buf + len / 3, len -
		len / 3 } };
	int64_t until = once_in(r, 4) ? soon(r, 200) : NURSERY_NEVER;
	int flags = once_in(r, 2) ? MSG_WAITALL : 0;
	size_t done = 0;
	ssize_t n;

	switch (rng_below(r, s->socket ? 5 : 3)) {
	case 0:
		*error = nursery_read_full(t, s->from, buf, len, &done,
		    until);
		return done;
	case 1:
		n = nursery_readv(t, s->from, iov, 2, until);
		break;
	case 2:
		n = nursery_read(t, s->from, buf, len, until);
		break;
	case 3:
		n = nursery_recv(t, s->from, buf, len, flags, until);
		break;
	default:
		n = receive_message(t, s->from, buf, len, flags, until);
		break;
	}
	*error = n < 0 ? errno : n == 0 ? EPIPE : 0;
	return n < 0 ? 0 : (size_t)n;
}

static void
check_bytes(struct stream *s, const unsigned char *buf, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (buf[i] != byte_at(s->salt, s->got + i)) {
			broken(BYTES, "byte %llu is another one",
			    (unsigned long long)(s->got + i));
			break;
		}
	s->got += n;
}

void
stream_read(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	int error = 0;
	size_t n;

	/* Now and then one that leaves early. */
	while ((error == 0 || error == ETIMEDOUT) && !once_in(r, 200)) {
		n = read_piece(s, t, buf, 1 + rng_below(r, PIECE), r, &error);
		check_bytes(s, buf, n);
		atom_add(&progress, 1);
	}
	if (error == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a read says ECANCELED, and nobody is");
	if (error != 0 && error != EPIPE && error != ETIMEDOUT && error !=
	    ECANCELED)
		broken(BYTES, "a read fails with %d", error);
}

void
stream_verify(struct link *l)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	ssize_t n;

	while ((n = read(s->from, buf, sizeof buf)) > 0 || (n < 0 && errno ==
	    EINTR))
		if (n > 0)
			check_bytes(s, buf, (size_t)n);
	if (s->got != s->sent)
		broken(BYTES, "%llu were sent, %llu received",
		    (unsigned long long)s->sent, (unsigned long long)s->got);
	(void)close(s->from);
	atom_add(&figures.hundreds, (uint32_t)(s->got / 100));
}
