/* SPDX-License-Identifier: MIT */
/*
 * Vectors and messages: readv, writev, recvmsg, sendmsg.  How they are
 * cancelled is in test_io.c; here is what they transfer, and that a
 * descriptor passed over a socket is neither lost nor left open.
 */
#include "tasks.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS	3	/* passed at a time */

static void
make_pair(int type, int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, fds), 0);
}

static void
close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* A message of one element with room for passed descriptors. */
struct letter {
	char text[32];
	struct iovec iov;
	struct msghdr msg;
	union {
		char bytes[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
};

static void
letter_init(struct letter *l, size_t len, bool control)
{
	memset(l, 0, sizeof *l);
	l->iov = (struct iovec){ l->text, len };
	l->msg.msg_iov = &l->iov;
	l->msg.msg_iovlen = 1;
	if (!control)
		return;
	l->msg.msg_control = l->control.bytes;
	l->msg.msg_controllen = sizeof l->control.bytes;
}

/* Puts `count` copies of fd in. */
static void
enclose(struct letter *l, int fd, unsigned count)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&l->msg);
	int fds[FDS];
	unsigned i;

	for (i = 0; i < count; i++)
		fds[i] = fd;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	l->msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
}

static void
send_with_fds(int to, const char *text, int fd, unsigned count)
{
	struct letter l;

	letter_init(&l, strlen(text), true);
	memcpy(l.text, text, strlen(text));
	enclose(&l, fd, count);
	ck_assert_int_eq(nursery_sendmsg(NULL, to, &l.msg, 0, patience()),
	    (ssize_t)strlen(text));
}

/* The descriptors that came; how many. */
static unsigned
enclosed(struct letter *l, int fds[FDS])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&l->msg);
	unsigned count;

	if (c == NULL)
		return 0;
	ck_assert_int_eq(c->cmsg_level, SOL_SOCKET);
	ck_assert_int_eq(c->cmsg_type, SCM_RIGHTS);
	count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	ck_assert_uint_le(count, FDS);
	memcpy(fds, CMSG_DATA(c), count * sizeof(int));
	return count;
}

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino ==
	    y.st_ino && x.st_dev == y.st_dev;
}

/* ---- vectors ---- */

/* Through a pipe, stream sockets; blocking and not. */
START_TEST(test_message_vectors_gather_and_scatter)
{
	char a[3] = "abc", b[1] = "d", c[4] = "efgh", got[8] = { 0 };
	const struct iovec out[4] = { { a, 3 }, { b, 0 }, { b, 1 },
		{ c, 4 } };
	const struct iovec in[3] = { { got, 1 }, { got + 1, 5 },
		{ got + 6, 2 } };
	struct nursery_token *t = new_token(NULL);
	int fds[2];

	if (_i < 2)
		ck_assert_int_eq(pipe2(fds, _i ? O_NONBLOCK : 0), 0);
	else
		make_pair(SOCK_STREAM | (_i == 3 ? SOCK_NONBLOCK : 0), fds);
	ck_assert_int_eq(nursery_writev(t, fds[1], out, 4, 0), 8);
	ck_assert_int_eq(nursery_readv(t, fds[0], in, 3, 0), 8);
	ck_assert_int_eq(memcmp(got, "abcdefgh", 8), 0);
	/* What is there will do. */
	ck_assert_int_eq(nursery_writev(t, fds[1], out, 1, 0), 3);
	ck_assert_int_eq(nursery_readv(t, fds[0], in, 3, NURSERY_NEVER), 3);
	/* Nothing to do is done. */
	ck_assert_int_eq(nursery_writev(t, fds[1], out, 0, 0), 0);
	ck_assert_int_eq(nursery_readv(t, fds[0], in, 0, 0), 0);
	ck_assert_int_eq(nursery_readv(t, fds[0], NULL, 0, 0), 0);
	close(fds[1]);
	ck_assert_int_eq(nursery_readv(t, fds[0], in, 3, NURSERY_NEVER), 0);
	close(fds[0]);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_message_vectors_of_files)
{
	char name[] = "/tmp/nursery-test-XXXXXX", a[2] = "ab", b[2] = "cd";
	const struct iovec v[2] = { { a, 2 }, { b, 2 } };
	int fd = mkstemp(name);
	char got[4];

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(nursery_writev(NULL, fd, v, 2, NURSERY_NEVER), 4);
	ck_assert_int_eq(pread(fd, got, 4, 0), 4);
	ck_assert_int_eq(memcmp(got, "abcd", 4), 0);
	ck_assert_int_eq(lseek(fd, 1, SEEK_SET), 1);
	ck_assert_int_eq(nursery_readv(NULL, fd, v, 2, NURSERY_NEVER), 3);
	ck_assert_int_eq(memcmp(a, "bc", 2), 0);
	ck_assert_int_eq(b[0], 'd');
	close(fd);
}
END_TEST

/* As many elements as the system takes, a byte each. */
START_TEST(test_message_vectors_as_long_as_may_be)
{
	static struct iovec v[IOV_MAX];
	static char bytes[IOV_MAX], got[IOV_MAX];
	int fds[2], i;

	for (i = 0; i < IOV_MAX; i++) {
		bytes[i] = (char)(i * 7);
		v[i] = (struct iovec){ &bytes[i], 1 };
	}
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(nursery_writev(NULL, fds[1], v, IOV_MAX, 0),
	    IOV_MAX);
	for (i = 0; i < IOV_MAX; i++)
		v[i] = (struct iovec){ &got[i], 1 };
	ck_assert_int_eq(nursery_readv(NULL, fds[0], v, IOV_MAX, 0),
	    IOV_MAX);
	ck_assert_int_eq(memcmp(got, bytes, IOV_MAX), 0);
	close_pair(fds);
}
END_TEST

/* As the system's: write sends an empty datagram, writev sends none. */
START_TEST(test_message_empty_datagrams)
{
	const struct iovec v[2] = { { NULL, 0 }, { NULL, 0 } };
	char byte;
	int s[2];

	make_pair(SOCK_DGRAM, s);
	ck_assert_int_eq(nursery_writev(NULL, s[1], v, 2, 0), 0);
	ck_assert_int_eq(recv(s[0], &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(nursery_write(NULL, s[1], "", 0, 0), 0);
	ck_assert_int_eq(recv(s[0], &byte, 1, MSG_DONTWAIT), 0);
	close_pair(s);
}
END_TEST

START_TEST(test_message_no_call_raises_sigpipe)
{
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int p[2], s[2], i;
	sigset_t pending;

	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(pipe2(p, i ? O_NONBLOCK : 0), 0);
		close(p[0]);
		ck_assert_int_eq(nursery_writev(NULL, p[1], &v, 1,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		close(p[1]);
		make_pair(SOCK_STREAM | (i ? SOCK_NONBLOCK : 0), s);
		close(s[0]);
		ck_assert_int_eq(nursery_writev(NULL, s[1], &v, 1,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(nursery_sendmsg(NULL, s[1], &m, 0,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		close(s[1]);
	}
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
}
END_TEST

/* ---- descriptors that are passed ---- */

/* On a stream (0) and with datagrams (1). */
START_TEST(test_message_passes_descriptors_close_on_exec)
{
	int s[2], p[2], got[FDS], before = count_descriptors();
	struct letter l;
	unsigned i;

	make_pair(_i ? SOCK_DGRAM : SOCK_STREAM, s);
	ck_assert_int_eq(pipe(p), 0);
	send_with_fds(s[1], "hello", p[0], FDS);
	letter_init(&l, sizeof l.text, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, 0, patience()),
	    5);
	ck_assert_int_eq(memcmp(l.text, "hello", 5), 0);
	ck_assert_uint_eq(enclosed(&l, got), FDS);
	/* Nobody asked for the flag. */
	ck_assert_int_eq(l.msg.msg_flags & ~MSG_EOR, 0);
	for (i = 0; i < FDS; i++) {
		ck_assert(same_file(got[i], p[0]));
		ck_assert(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
		close(got[i]);
	}
	send_with_fds(s[1], "x", p[0], 1);
	letter_init(&l, sizeof l.text, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg,
	    MSG_CMSG_CLOEXEC, patience()), 1);
	ck_assert(l.msg.msg_flags & MSG_CMSG_CLOEXEC);
	ck_assert_uint_eq(enclosed(&l, got), 1);
	close(got[0]);
	close_pair(p);
	close_pair(s);
	ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

/* A cancelled call leaves the message, and all that is in it, to the next,
 * and the header as it was. */
START_TEST(test_message_cancelled_leaves_descriptors_where_they_are)
{
	struct nursery_token *t = new_token(NULL);
	struct letter l;
	struct msghdr was;
	int s[2], got[FDS], before;

	make_pair(SOCK_STREAM, s);
	send_with_fds(s[1], "x", s[0], 2);
	before = count_descriptors();
	nursery_token_cancel(t);
	letter_init(&l, 1, true);
	was = l.msg;
	ck_assert_int_eq(nursery_recvmsg(t, s[0], &l.msg, 0, NURSERY_NEVER),
	    -1);
	ck_assert_int_eq(errno, ECANCELED);
	ck_assert_int_eq(memcmp(&was, &l.msg, sizeof was), 0);
	ck_assert_int_eq(count_descriptors(), before);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, 0, 0), 1);
	ck_assert_uint_eq(enclosed(&l, got), 2);
	ck_assert_int_eq(count_descriptors(), before + 2);
	close(got[0]);
	close(got[1]);
	/* Nothing there: the same at a deadline. */
	letter_init(&l, 1, true);
	was = l.msg;
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, 0,
	    nursery_after(NURSERY_MS)), -1);
	ck_assert_int_eq(errno, ETIMEDOUT);
	ck_assert_int_eq(memcmp(&was, &l.msg, sizeof was), 0);
	close_pair(s);
	nursery_token_unref(t);
}
END_TEST

/* Who has no room for them is told, and none stays open. */
START_TEST(test_message_descriptors_without_room_are_closed)
{
	struct letter l;
	int s[2], got[FDS], before;

	make_pair(SOCK_STREAM, s);
	before = count_descriptors();
	send_with_fds(s[1], "x", s[0], 3);
	letter_init(&l, 1, false);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, 0, 0), 1);
	ck_assert(l.msg.msg_flags & MSG_CTRUNC);
	ck_assert_int_eq(count_descriptors(), before);
	send_with_fds(s[1], "x", s[0], 3);
	letter_init(&l, 1, true);
	l.msg.msg_controllen = CMSG_LEN(sizeof(int));
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, 0, 0), 1);
	ck_assert(l.msg.msg_flags & MSG_CTRUNC);
	ck_assert_uint_eq(enclosed(&l, got), 1);
	close(got[0]);
	ck_assert_int_eq(count_descriptors(), before);
	close_pair(s);
}
END_TEST

/* What comes after the descriptors is of the next call, as with the system's:
 * a second lot would overwrite the first. */
START_TEST(test_message_waitall_ends_where_descriptors_came)
{
	struct letter l;
	int s[2], got[FDS], before;

	make_pair(SOCK_STREAM, s);
	ck_assert_int_eq(send(s[1], "ab", 2, 0), 2);
	send_with_fds(s[1], "cd", s[0], 1);
	send_with_fds(s[1], "ef", s[0], 2);
	before = count_descriptors();
	letter_init(&l, 6, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_WAITALL,
	    patience()), 4);
	ck_assert_int_eq(memcmp(l.text, "abcd", 4), 0);
	ck_assert_uint_eq(enclosed(&l, got), 1);
	close(got[0]);
	letter_init(&l, 2, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_WAITALL,
	    patience()), 2);
	ck_assert_int_eq(memcmp(l.text, "ef", 2), 0);
	ck_assert_uint_eq(enclosed(&l, got), 2);
	close(got[0]);
	close(got[1]);
	ck_assert_int_eq(count_descriptors(), before);
	close_pair(s);
}
END_TEST

/* ---- flags ---- */

struct feeding {
	int fd;
	const char *text;
};

/* Sends one byte at a time. */
static int
feed(struct nursery_token *t, void *arg)
{
	const struct feeding *f = arg;
	const char *c;

	for (c = f->text; *c != '\0'; c++)
		if (nursery_send(t, f->fd, c, 1, 0, NURSERY_NEVER) != 1)
			return errno;
	return 0;
}

START_TEST(test_message_waitall_fills_every_element)
{
	char a[3], b[1], c[4];
	struct iovec v[4] = { { a, 3 }, { NULL, 0 }, { b, 1 }, { c, 4 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 4 };
	struct nursery *n = open_root(NULL);
	struct feeding f = { .text = "abcdefgh" };
	int s[2];

	make_pair(SOCK_STREAM | (_i ? SOCK_NONBLOCK : 0), s);
	f.fd = s[1];
	ck_assert_int_eq(nursery_spawn(n, feed, &f), 0);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &m, MSG_WAITALL,
	    patience()), 8);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(memcmp(a, "abc", 3), 0);
	ck_assert_int_eq(b[0], 'd');
	ck_assert_int_eq(memcmp(c, "efgh", 4), 0);
	/* The caller's vector is as it was. */
	ck_assert_ptr_eq(m.msg_iov, v);
	ck_assert_uint_eq(m.msg_iovlen, 4);
	ck_assert_uint_eq(v[3].iov_len, 4);
	/* At the end, and at a deadline, what there is. */
	ck_assert_int_eq(send(s[1], "ab", 2, 0), 2);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &m, MSG_WAITALL,
	    nursery_after(NURSERY_MS)), 2);
	ck_assert_int_eq(send(s[1], "abc", 3, 0), 3);
	close(s[1]);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &m, MSG_WAITALL,
	    patience()), 3);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &m, MSG_WAITALL,
	    patience()), 0);
	close(s[0]);
}
END_TEST

/* One datagram is one message, whatever its length. */
START_TEST(test_message_waitall_does_not_join_datagrams)
{
	struct letter l;
	char got[8];
	int s[2];

	make_pair(SOCK_DGRAM, s);
	ck_assert_int_eq(send(s[1], "ab", 2, 0), 2);
	ck_assert_int_eq(send(s[1], "cd", 2, 0), 2);
	ck_assert_int_eq(nursery_recv(NULL, s[0], got, 8, MSG_WAITALL,
	    patience()), 2);
	letter_init(&l, 8, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_WAITALL,
	    patience()), 2);
	close_pair(s);
}
END_TEST

/* A connection over the loopback; the peer resets it after two bytes. */
static int
reset_after(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	const struct linger now = { 1, 0 };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), to, from;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	to = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(nursery_connect(NULL, to, (struct sockaddr *)&a,
	    len, patience()), 0);
	from = nursery_accept(NULL, fd, NULL, NULL, patience());
	ck_assert_int_eq(send(to, text, strlen(text), 0),
	    (ssize_t)strlen(text));
	setsockopt(to, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(to);
	close(fd);
	return from;
}

/* Reset is not the end of the stream: the next call must be told. */
START_TEST(test_message_waitall_leaves_the_error_to_the_next_call)
{
	struct letter l;
	char got[8];
	int fd;

	fd = reset_after("ab");
	ck_assert_int_eq(nursery_recv(NULL, fd, got, 8, MSG_WAITALL,
	    patience()), 2);
	ck_assert_int_eq(nursery_recv(NULL, fd, got, 8, MSG_WAITALL,
	    patience()), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	close(fd);
	fd = reset_after("ab");
	letter_init(&l, 8, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, fd, &l.msg, MSG_WAITALL,
	    patience()), 2);
	letter_init(&l, 8, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, fd, &l.msg, MSG_WAITALL,
	    patience()), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	close(fd);
}
END_TEST

/* These look and never wait, whatever the deadline; data that they do not
 * want must not keep them busy. */
START_TEST(test_message_tries_do_not_wait)
{
	struct letter l;
	char got[2];
	int s[2];

	make_pair(SOCK_STREAM, s);
	letter_init(&l, 1, true);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_DONTWAIT,
	    NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_DONTWAIT |
	    MSG_WAITALL, NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close_pair(s);
	s[0] = reset_after("ab");
	ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, MSG_ERRQUEUE,
	    NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(nursery_recv(NULL, s[0], got, 2, MSG_ERRQUEUE,
	    NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(s[0]);
}
END_TEST

START_TEST(test_message_peek_takes_nothing)
{
	struct letter l;
	int s[2], got[FDS], i;

	make_pair(SOCK_STREAM, s);
	send_with_fds(s[1], "abc", s[0], 1);
	for (i = 0; i < 2; i++) {
		letter_init(&l, 8, true);
		ck_assert_int_eq(nursery_recvmsg(NULL, s[0], &l.msg, i ? 0 :
		    MSG_PEEK, 0), 3);
		ck_assert_int_eq(memcmp(l.text, "abc", 3), 0);
		ck_assert_uint_eq(enclosed(&l, got), 1);
		close(got[0]);
	}
	close_pair(s);
}
END_TEST

START_TEST(test_message_names_its_sender)
{
	struct sockaddr_in a = { .sin_family = AF_INET }, from;
	socklen_t len = sizeof a;
	int s[2], i;
	struct letter l;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < 2; i++) {
		s[i] = socket(AF_INET, SOCK_DGRAM, 0);
		a.sin_port = 0;
		ck_assert_int_eq(bind(s[i], (struct sockaddr *)&a, len), 0);
		ck_assert_int_eq(getsockname(s[i], (struct sockaddr *)&a,
		    &len), 0);
	}
	/* To the second, whose name a is now. */
	letter_init(&l, 3, false);
	memcpy(l.text, "abc", 3);
	l.msg.msg_name = &a;
	l.msg.msg_namelen = len;
	ck_assert_int_eq(nursery_sendmsg(NULL, s[0], &l.msg, 0, patience()),
	    3);
	letter_init(&l, 2, false);
	l.msg.msg_name = &from;
	l.msg.msg_namelen = sizeof from;
	ck_assert_int_eq(nursery_recvmsg(NULL, s[1], &l.msg, 0, patience()),
	    2);
	ck_assert(l.msg.msg_flags & MSG_TRUNC);
	ck_assert_uint_eq(l.msg.msg_namelen, sizeof from);
	ck_assert_int_eq(getsockname(s[0], (struct sockaddr *)&a, &len), 0);
	ck_assert_int_eq(from.sin_port, a.sin_port);
	close_pair(s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("message");
	TCase *c = leakless_case("message");

	tcase_add_loop_test(c, test_message_vectors_gather_and_scatter, 0, 4);
	tcase_add_test(c, test_message_vectors_of_files);
	tcase_add_test(c, test_message_vectors_as_long_as_may_be);
	tcase_add_test(c, test_message_empty_datagrams);
	tcase_add_test(c, test_message_no_call_raises_sigpipe);
	tcase_add_loop_test(c, test_message_passes_descriptors_close_on_exec,
	    0, 2);
	tcase_add_test(c,
	    test_message_cancelled_leaves_descriptors_where_they_are);
	tcase_add_test(c, test_message_descriptors_without_room_are_closed);
	tcase_add_test(c, test_message_waitall_ends_where_descriptors_came);
	tcase_add_loop_test(c, test_message_waitall_fills_every_element, 0,
	    2);
	tcase_add_test(c, test_message_waitall_does_not_join_datagrams);
	tcase_add_test(c,
	    test_message_waitall_leaves_the_error_to_the_next_call);
	tcase_add_test(c, test_message_tries_do_not_wait);
	tcase_add_test(c, test_message_peek_takes_nothing);
	tcase_add_test(c, test_message_names_its_sender);
	suite_add_tcase(s, c);
	return run_suite(s);
}
