/* SPDX-License-Identifier: MIT */
/*
 * Cancellable calls, one at a time: cancelled before and during, at the
 * deadline, with every kind of descriptor, blocking and not; what they
 * return when all is well, and when it is not.  The races are in
 * tests/stress/stress_io.c.
 */
#include "tasks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILLERS	24	/* connections that fill a backlog of 0 */

/* One blocking call; a task makes it and keeps what came of it. */
struct call {
	int (*fn)(struct call *c, struct nursery_token *t, int64_t deadline);
	int fd[2];
	int filler[FILLERS];
	struct sockaddr_in to;
	struct sockaddr_un to_unix;
	pid_t child;
	const char *op;
	int rc;
	int64_t deadline;
};

static int
as_error(ssize_t n)
{
	return n < 0 ? errno : 0;
}

/* ---- the calls ---- */

static int
call_sleep(struct call *c, struct nursery_token *t, int64_t deadline)
{
	(void)c;
	return nursery_sleep(t, deadline);
}

static int
call_poll(struct call *c, struct nursery_token *t, int64_t deadline)
{
	struct pollfd p = { .fd = c->fd[0], .events = POLLIN };
	int n = nursery_poll(t, &p, 1, deadline);

	return n == 0 ? ETIMEDOUT : as_error(n);
}

/* More than are kept on the stack, all but one of them disabled. */
static int
call_poll_many(struct call *c, struct nursery_token *t, int64_t deadline)
{
	struct pollfd p[100];
	int n, i;

	for (i = 0; i < 100; i++)
		p[i] = (struct pollfd){ .fd = i == 77 ? c->fd[0] : -1,
			.events = POLLIN };
	n = nursery_poll(t, p, 100, deadline);
	return n == 0 ? ETIMEDOUT : as_error(n);
}

static int
call_read(struct call *c, struct nursery_token *t, int64_t deadline)
{
	uint64_t bytes;

	return as_error(nursery_read(t, c->fd[0], &bytes, sizeof bytes,
	    deadline));
}

static int
call_read_full(struct call *c, struct nursery_token *t, int64_t deadline)
{
	uint64_t bytes;
	size_t done = 99;
	int rc = nursery_read_full(t, c->fd[0], &bytes, sizeof bytes, &done,
	    deadline);

	return done == 0 ? rc : EBADMSG;
}

static int
call_write(struct call *c, struct nursery_token *t, int64_t deadline)
{
	uint64_t one = 1;

	return as_error(nursery_write(t, c->fd[1], &one, sizeof one,
	    deadline));
}

static int
call_write_all(struct call *c, struct nursery_token *t, int64_t deadline)
{
	uint64_t one = 1;
	size_t done = 99;
	int rc = nursery_write_all(t, c->fd[1], &one, sizeof one, &done,
	    deadline);

	return done == 0 ? rc : EBADMSG;
}

static int
call_recv(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char byte;

	return as_error(nursery_recv(t, c->fd[0], &byte, 1, 0, deadline));
}

static int
call_send(struct call *c, struct nursery_token *t, int64_t deadline)
{
	static char big[1 << 16];

	return as_error(nursery_send(t, c->fd[1], big, sizeof big, 0,
	    deadline));
}

/* Two elements, so that both count. */
static int
call_readv(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char a[4], b[4];
	const struct iovec v[2] = { { a, sizeof a }, { b, sizeof b } };

	return as_error(nursery_readv(t, c->fd[0], v, 2, deadline));
}

static int
call_writev(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char a[4] = "abc", b[4] = "def";
	const struct iovec v[2] = { { a, sizeof a }, { b, sizeof b } };

	return as_error(nursery_writev(t, c->fd[1], v, 2, deadline));
}

static int
call_recvmsg(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char a[4];
	struct iovec v = { a, sizeof a };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return as_error(nursery_recvmsg(t, c->fd[0], &m, 0, deadline));
}

static int
call_recvmsg_all(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char a[4];
	struct iovec v = { a, sizeof a };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return as_error(nursery_recvmsg(t, c->fd[0], &m, MSG_WAITALL,
	    deadline));
}

static int
call_sendmsg(struct call *c, struct nursery_token *t, int64_t deadline)
{
	static char big[1 << 16];
	struct iovec v = { big, sizeof big };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return as_error(nursery_sendmsg(t, c->fd[1], &m, 0, deadline));
}

static int
call_waitpid(struct call *c, struct nursery_token *t, int64_t deadline)
{
	int status = -77, rc;

	rc = as_error(nursery_waitpid(t, c->child, &status, deadline));
	return status == -77 ? rc : EBADMSG;
}

static int
call_sendfile(struct call *c, struct nursery_token *t, int64_t deadline)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	off_t at = 0;
	int rc = 0;

	while (rc == 0) {
		at = 0;
		rc = as_error(nursery_sendfile(t, c->fd[1], file, &at, 1 << 20,
		    deadline));
	}
	close(file);
	return rc;
}

static int
call_accept(struct call *c, struct nursery_token *t, int64_t deadline)
{
	return as_error(nursery_accept(t, c->fd[0], NULL, NULL, deadline));
}

static int
call_connect(struct call *c, struct nursery_token *t, int64_t deadline)
{
	return as_error(nursery_connect(t, c->fd[1],
	    (const struct sockaddr *)&c->to, sizeof c->to, deadline));
}

static int
call_connect_unix(struct call *c, struct nursery_token *t, int64_t deadline)
{
	return as_error(nursery_connect(t, c->fd[1],
	    (const struct sockaddr *)&c->to_unix, sizeof c->to_unix,
	    deadline));
}

static int
run_call(struct nursery_token *t, void *arg)
{
	struct call *c = arg;

	c->rc = c->fn(c, t, c->deadline);
	return 0;
}

/* ---- descriptors on which a call blocks ---- */

static void
none(struct call *c)
{
	c->fd[0] = c->fd[1] = -1;
}

static void
empty_pipe(struct call *c)
{
	ck_assert_int_eq(pipe(c->fd), 0);
}

static void
fill(int fd)
{
	char page[4096] = { 0 };
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, page, sizeof page) > 0)
		;
	while (write(fd, page, 1) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void
full_pipe(struct call *c)
{
	empty_pipe(c);
	fill(c->fd[1]);
}

static void
empty_sockets(struct call *c)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c->fd), 0);
}

static void
empty_datagrams(struct call *c)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, c->fd), 0);
}

static void
full_sockets(struct call *c)
{
	empty_sockets(c);
	fill(c->fd[1]);
}

static void
empty_eventfd(struct call *c)
{
	c->fd[0] = eventfd(0, EFD_CLOEXEC);
	c->fd[1] = -1;
	ck_assert_int_ge(c->fd[0], 0);
}

static void
full_eventfd(struct call *c)
{
	const uint64_t most = UINT64_MAX - 1;

	c->fd[0] = -1;
	c->fd[1] = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(write(c->fd[1], &most, sizeof most), sizeof most);
}

static void
idle_timerfd(struct call *c)
{
	c->fd[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	c->fd[1] = -1;
	ck_assert_int_ge(c->fd[0], 0);
}

static void
quiet_terminal(struct call *c)
{
	c->fd[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(c->fd[1], 0);
	ck_assert_int_eq(grantpt(c->fd[1]), 0);
	ck_assert_int_eq(unlockpt(c->fd[1]), 0);
	c->fd[0] = open(ptsname(c->fd[1]), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(c->fd[0], 0);
}

static void
listen_on(struct call *c, int backlog)
{
	socklen_t len = sizeof c->to;

	c->to = (struct sockaddr_in){ .sin_family = AF_INET };
	c->to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd[1] = -1;
	c->fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(c->fd[0], (struct sockaddr *)&c->to, len), 0);
	ck_assert_int_eq(listen(c->fd[0], backlog), 0);
	ck_assert_int_eq(getsockname(c->fd[0], (struct sockaddr *)&c->to,
	    &len), 0);
}

static void
listener(struct call *c)
{
	listen_on(c, 8);
}

/* Its queue is full; further handshakes get no answer. */
static void
full_backlog(struct call *c)
{
	int i;

	listen_on(c, 0);
	for (i = 0; i < FILLERS; i++) {
		c->filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK |
		    SOCK_CLOEXEC, 0);
		(void)connect(c->filler[i], (struct sockaddr *)&c->to,
		    sizeof c->to);
	}
	c->fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void
full_unix_backlog(struct call *c)
{
	static int number;
	int i, rc = 0;

	/* An abstract name: nothing to unlink. */
	c->to_unix = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(c->to_unix.sun_path + 1, sizeof c->to_unix.sun_path - 1,
	    "nursery-test-%d-%d", (int)getpid(), number++);
	c->fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(c->fd[0], (struct sockaddr *)&c->to_unix,
	    sizeof c->to_unix), 0);
	ck_assert_int_eq(listen(c->fd[0], 0), 0);
	for (i = 0; i < FILLERS && rc == 0; i++) {
		c->filler[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
		    SOCK_CLOEXEC, 0);
		rc = connect(c->filler[i], (struct sockaddr *)&c->to_unix,
		    sizeof c->to_unix);
	}
	ck_assert_int_ne(rc, 0);
	c->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* A child that ends when it is killed. */
static void
patient_child(struct call *c)
{
	none(c);
	c->child = fork();
	ck_assert_int_ge(c->child, 0);
	if (c->child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static const struct {
	int (*fn)(struct call *c, struct nursery_token *t, int64_t deadline);
	void (*make)(struct call *c);
	const char *op;
} calls[] = {
	{ call_sleep, none, "sleep" },
	{ call_poll, empty_pipe, "poll" },
	{ call_poll_many, empty_pipe, "poll" },
	{ call_read, empty_pipe, "read" },
	{ call_read, empty_sockets, "read" },
	{ call_read, empty_datagrams, "read" },
	{ call_read, empty_eventfd, "read" },
	{ call_read, idle_timerfd, "read" },
	{ call_read, quiet_terminal, "read" },
	{ call_read_full, empty_pipe, "read" },
	{ call_write, full_pipe, "write" },
	{ call_write, full_sockets, "write" },
	{ call_write, full_eventfd, "write" },
	{ call_write_all, full_pipe, "write" },
	{ call_recv, empty_sockets, "recv" },
	{ call_recv, empty_datagrams, "recv" },
	{ call_send, full_sockets, "send" },
	{ call_sendfile, full_sockets, "sendfile" },
	{ call_sendfile, full_pipe, "sendfile" },
	{ call_accept, listener, "accept" },
	{ call_connect, full_backlog, "connect" },
	{ call_readv, empty_pipe, "read" },
	{ call_readv, empty_sockets, "read" },
	{ call_readv, quiet_terminal, "read" },
	{ call_readv, empty_eventfd, "read" },
	{ call_writev, full_pipe, "write" },
	{ call_writev, full_sockets, "write" },
	{ call_recvmsg, empty_sockets, "recv" },
	{ call_recvmsg, empty_datagrams, "recv" },
	{ call_recvmsg_all, empty_sockets, "recv" },
	{ call_sendmsg, full_sockets, "send" },
	{ call_waitpid, patient_child, "waitpid" },
};
#define CALLS	((int)(sizeof calls / sizeof calls[0]))

static void
prepare(struct call *c, int64_t deadline)
{
	int i;

	memset(c, 0, sizeof *c);
	for (i = 0; i < FILLERS; i++)
		c->filler[i] = -1;
	c->deadline = deadline;
	c->rc = -1;
}

static void
make_call(struct call *c, int which, bool nonblocking, int64_t deadline)
{
	int k;

	prepare(c, deadline);
	c->fn = calls[which].fn;
	c->op = calls[which].op;
	calls[which].make(c);
	for (k = 0; k < 2 && nonblocking; k++)
		if (c->fd[k] >= 0)
			fcntl(c->fd[k], F_SETFL, fcntl(c->fd[k], F_GETFL) |
			    O_NONBLOCK);
}

static void
end_call(struct call *c)
{
	int i;

	if (c->child > 0) {
		kill(c->child, SIGKILL);
		ck_assert_int_eq(reap(c->child, NULL), c->child);
	}
	for (i = 0; i < FILLERS; i++)
		if (c->filler[i] >= 0)
			close(c->filler[i]);
	for (i = 0; i < 2; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
}

static void
flags_of(const struct call *c, int flags[2])
{
	flags[0] = c->fd[0] < 0 ? 0 : fcntl(c->fd[0], F_GETFL);
	flags[1] = c->fd[1] < 0 ? 0 : fcntl(c->fd[1], F_GETFL);
}

/* ---- cancelled, and at the deadline ---- */

/* Loop variable: the call, twice: blocking, then not. */
START_TEST(test_io_cancelled_token_fails_before_any_work)
{
	struct nursery_token *t = new_token(NULL);
	int flags[2], after[2];
	struct call c;

	make_call(&c, _i / 2, _i % 2, NURSERY_NEVER);
	flags_of(&c, flags);
	nursery_token_cancel(t);
	ck_assert_int_eq(c.fn(&c, t, NURSERY_NEVER), ECANCELED);
	flags_of(&c, after);
	ck_assert_int_eq(memcmp(flags, after, sizeof flags), 0);
	end_call(&c);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_io_cancel_ends_a_call_that_blocks)
{
	struct nursery *n = open_root(NULL);
	int flags[2], during[2], after[2];
	struct call c;

	make_call(&c, _i / 2, _i % 2, NURSERY_NEVER);
	flags_of(&c, flags);
	ck_assert_int_eq(nursery_spawn(n, run_call, &c), 0);
	await_tasks_in(c.op, 1);
	flags_of(&c, during);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_msg(c.rc == ECANCELED, "%s: %d", c.op, c.rc);
	flags_of(&c, after);
	ck_assert_int_eq(memcmp(flags, during, sizeof flags), 0);
	ck_assert_int_eq(memcmp(flags, after, sizeof flags), 0);
	end_call(&c);
}
END_TEST

/* What they all need fits the smallest stack that a nursery may ask for. */
START_TEST(test_io_calls_fit_the_smallest_stack)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct call c;
	int i;

	/* Where a sanitizer needs room of its own, that is not measured. */
	a.stack_size = costs_are_distorted() ? 0 : 32 * 1024;
	for (i = 0; i < 2; i++) {
		make_call(&c, _i / 2, _i % 2, i == 0 ? NURSERY_NEVER :
		    nursery_after(NURSERY_MS));
		n = open_root(&a);
		ck_assert_int_eq(nursery_spawn(n, run_call, &c), 0);
		if (i == 0) {
			await_tasks_in(c.op, 1);
			nursery_cancel(n);
		}
		ck_assert_int_eq(nursery_close(&n), i == 0 ? ECANCELED : 0);
		ck_assert_int_eq(c.rc, i == 0 ? ECANCELED : c.fn ==
		    call_sleep ? 0 : ETIMEDOUT);
		end_call(&c);
	}
}
END_TEST

/* A deadline of the token, or of one above it, is a cancel. */
START_TEST(test_io_deadline_of_the_token_is_ecanceled)
{
	struct nursery_token *p = new_token(NULL), *t = new_token(p);
	struct call c;

	make_call(&c, _i / 2, _i % 2, NURSERY_NEVER);
	ck_assert_int_eq(nursery_token_set_deadline(p, nursery_after(2 *
	    NURSERY_MS)), 0);
	ck_assert_int_eq(c.fn(&c, t, NURSERY_NEVER), ECANCELED);
	end_call(&c);
	nursery_token_unref(t);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_io_deadline_of_the_call)
{
	int64_t deadlines[3] = { 1, nursery_after(NURSERY_MS), nursery_after(
		4 * NURSERY_MS) };
	struct nursery_token *t = new_token(NULL);
	struct call c;
	int i, rc;

	for (i = 0; i < 6; i++) {
		make_call(&c, _i / 2, _i % 2, 0);
		rc = c.fn(&c, i % 2 ? t : NULL, deadlines[i / 2]);
		ck_assert_msg(rc == (c.fn == call_sleep ? 0 : ETIMEDOUT),
		    "%s: %d", calls[_i / 2].op, rc);
		ck_assert(nursery_now() >= deadlines[i / 2]);
		end_call(&c);
	}
	nursery_token_unref(t);
}
END_TEST

/* ---- what is there is given, at once, by a try too ---- */

START_TEST(test_io_work_that_can_be_done_is_done_by_a_try)
{
	struct nursery_token *t = new_token(NULL);
	struct pollfd p = { .events = POLLIN };
	char got[8];
	int s[2], i;

	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | (i ?
		    SOCK_NONBLOCK : 0), 0, s), 0);
		p.fd = s[0];
		ck_assert_int_eq(nursery_poll(t, &p, 1, 0), 0);
		ck_assert_int_eq(nursery_write(t, s[1], "abc", 3, 0), 3);
		ck_assert_int_eq(nursery_send(t, s[1], "def", 3, 0, 0), 3);
		ck_assert_int_eq(nursery_poll(t, &p, 1, 0), 1);
		ck_assert_int_eq(p.revents, POLLIN);
		ck_assert_int_eq(nursery_read(t, s[0], got, 2, 0), 2);
		ck_assert_int_eq(nursery_recv(t, s[0], got + 2, 6, 0, 0), 4);
		ck_assert_int_eq(memcmp(got, "abcdef", 6), 0);
		close(s[1]);
		/* The end of the file, again and again. */
		ck_assert_int_eq(nursery_read(t, s[0], got, 8, 0), 0);
		ck_assert_int_eq(nursery_recv(t, s[0], got, 8, 0, 0), 0);
		close(s[0]);
	}
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_io_cancelled_token_leaves_what_is_there)
{
	struct nursery_token *t = new_token(NULL);
	struct call c;
	char byte = 0;

	prepare(&c, 0);
	empty_pipe(&c);
	ck_assert_int_eq(write(c.fd[1], "x", 1), 1);
	nursery_token_cancel(t);
	ck_assert_int_eq(nursery_read(t, c.fd[0], &byte, 1, NURSERY_NEVER),
	    -1);
	ck_assert_int_eq(errno, ECANCELED);
	ck_assert_int_eq(read(c.fd[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
	end_call(&c);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_io_drain_does_not_end_a_call)
{
	struct nursery_token *t = new_token(NULL);

	nursery_token_raise(t, NURSERY_DRAIN, 0, NULL);
	ck_assert_int_eq(nursery_sleep(t, nursery_after(NURSERY_MS)), 0);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_io_sleep_ends_at_its_deadline_and_not_before)
{
	int64_t until = nursery_after(5 * NURSERY_MS);

	ck_assert_int_eq(nursery_sleep(NULL, until), 0);
	ck_assert(nursery_now() >= until);
	ck_assert_int_eq(nursery_sleep(NULL, 0), 0);
}
END_TEST

START_TEST(test_io_poll_fills_revents_like_poll)
{
	struct nursery_token *t = new_token(NULL);
	struct pollfd p[40];
	int fds[2], i;

	ck_assert_int_eq(pipe(fds), 0);
	for (i = 0; i < 40; i++)
		p[i] = (struct pollfd){ .fd = i % 2 ? fds[1] : fds[0],
			.events = i % 2 ? POLLOUT : POLLIN, .revents = 99 };
	p[7].fd = -1;
	ck_assert_int_eq(nursery_poll(t, p, 40, NURSERY_NEVER), 19);
	for (i = 0; i < 40; i++)
		ck_assert_int_eq(p[i].revents, i % 2 && i != 7 ? POLLOUT : 0);
	ck_assert_int_eq(nursery_poll(t, NULL, 0, nursery_after(NURSERY_MS)),
	    0);
	close(fds[0]);
	p[0] = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	ck_assert_int_eq(nursery_poll(t, p, 1, NURSERY_NEVER), 1);
	ck_assert_int_eq(p[0].revents, POLLNVAL);
	close(fds[1]);
	nursery_token_unref(t);
}
END_TEST

struct ender {
	int fd;			/* a byte goes there */
	struct nursery_token *t;	/* or this is cancelled */
};

/* When the other is asleep, most likely: to look takes a descriptor. */
static void *
end_wait(void *arg)
{
	struct ender *e = arg;

	(void)nursery_sleep(NULL, nursery_after(20 * NURSERY_MS));
	if (e->t != NULL)
		(void)nursery_token_cancel(e->t);
	else
		ck_assert_int_eq(write(e->fd, "x", 1), 1);
	return NULL;
}

/* A descriptor would wake it, and there is none: a signal does. */
START_TEST(test_io_poll_without_a_descriptor_for_the_wake_up)
{
	struct nursery_token *t = new_token(NULL);
	struct rlimit old, none;
	struct pollfd p = { .events = POLLIN };
	struct ender e = { .t = NULL };
	pthread_t id;
	int fds[2];
	char byte;

	ck_assert_int_eq(pipe(fds), 0);
	p.fd = fds[0];
	e.fd = fds[1];
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)dup(0);
	close((int)none.rlim_cur);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(nursery_poll(t, &p, 1, nursery_after(NURSERY_MS)),
	    0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	id = start_thread(end_wait, &e);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(nursery_poll(t, &p, 1, patience()), 1);
	ck_assert_int_eq(p.revents, POLLIN);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	(void)end_thread(id);
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	e.t = t;
	id = start_thread(end_wait, &e);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(nursery_poll(t, &p, 1, patience()), -1);
	ck_assert_int_eq(errno, ECANCELED);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	(void)end_thread(id);
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(t);
}
END_TEST

/* ---- whole buffers ---- */

struct peer {
	int fd;
	size_t len;
	bool ends;
};

/* Feeds one byte at a time. */
static int
feed(struct nursery_token *t, void *arg)
{
	const struct peer *p = arg;
	size_t i;
	unsigned char byte;

	for (i = 0; i < p->len; i++) {
		byte = (unsigned char)i;
		if (nursery_write(t, p->fd, &byte, 1, NURSERY_NEVER) != 1)
			return errno;
	}
	if (p->ends)
		close(p->fd);
	return 0;
}

START_TEST(test_io_read_full_goes_on_until_all_is_there)
{
	struct nursery *n = open_root(NULL);
	unsigned char got[500];
	struct peer p;
	int fds[2], i;
	size_t done;

	ck_assert_int_eq(pipe(fds), 0);
	p = (struct peer){ fds[1], sizeof got, false };
	ck_assert_int_eq(nursery_spawn(n, feed, &p), 0);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, sizeof got,
	    &done, NURSERY_NEVER), 0);
	ck_assert_uint_eq(done, sizeof got);
	for (i = 0; i < 500; i++)
		ck_assert_int_eq(got[i], (unsigned char)i);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, 0, NULL, 0),
	    0);
	ck_assert_int_eq(nursery_close(&n), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_io_read_full_says_how_much_came_before_the_end)
{
	struct nursery *n = open_root(NULL);
	unsigned char got[500];
	struct peer p;
	size_t done = 0;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	p = (struct peer){ fds[1], 123, true };
	ck_assert_int_eq(nursery_spawn(n, feed, &p), 0);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, sizeof got,
	    &done, NURSERY_NEVER), EPIPE);
	ck_assert_uint_eq(done, 123);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, 1, NULL,
	    NURSERY_NEVER), EPIPE);
	ck_assert_int_eq(nursery_close(&n), 0);
	close(fds[0]);
}
END_TEST

START_TEST(test_io_read_full_says_how_much_came_before_the_deadline)
{
	unsigned char got[10];
	size_t done = 0;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "abc", 3), 3);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, sizeof got,
	    &done, nursery_after(NURSERY_MS)), ETIMEDOUT);
	ck_assert_uint_eq(done, 3);
	ck_assert_int_eq(memcmp(got, "abc", 3), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

struct stream {
	int fd;
	size_t len, done;
	unsigned char *data;
	int rc;
};

static int
write_stream(struct nursery_token *t, void *arg)
{
	struct stream *s = arg;

	s->rc = nursery_write_all(t, s->fd, s->data, s->len, &s->done,
	    NURSERY_NEVER);
	return 0;
}

/* A megabyte through a blocking pipe (0), a non-blocking one (1), blocking
 * sockets (2), non-blocking ones (3). */
START_TEST(test_io_write_all_writes_all)
{
	struct stream s = { .len = 1 << 20, .rc = -1 };
	unsigned char *got = malloc(1 << 20);
	struct nursery *n = open_root(NULL);
	size_t i, done;
	int fds[2];

	s.data = malloc(s.len);
	for (i = 0; i < s.len; i++)
		s.data[i] = (unsigned char)(i * 7 + i / 256);
	ck_assert_int_eq(_i < 2 ? pipe2(fds, _i % 2 ? O_NONBLOCK : 0) :
	    socketpair(AF_UNIX, SOCK_STREAM | (_i % 2 ? SOCK_NONBLOCK : 0), 0,
	    fds), 0);
	s.fd = fds[1];
	ck_assert_int_eq(nursery_spawn(n, write_stream, &s), 0);
	ck_assert_int_eq(nursery_read_full(NULL, fds[0], got, s.len, &done,
	    NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(s.rc, 0);
	ck_assert_uint_eq(s.done, s.len);
	ck_assert_int_eq(memcmp(got, s.data, s.len), 0);
	close(fds[0]);
	close(fds[1]);
	free(got);
	free(s.data);
}
END_TEST

/* ---- sockets ---- */

START_TEST(test_io_recv_and_send_know_their_flags)
{
	char got[8] = { 0 };
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	ck_assert_int_eq(nursery_recv(NULL, s[0], got, 1, MSG_DONTWAIT,
	    NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(nursery_send(NULL, s[1], "abc", 3, MSG_DONTWAIT,
	    NURSERY_NEVER), 3);
	ck_assert_int_eq(nursery_recv(NULL, s[0], got, 8, MSG_PEEK,
	    NURSERY_NEVER), 3);
	ck_assert_int_eq(nursery_recv(NULL, s[0], got, 8, 0, NURSERY_NEVER),
	    3);
	fill(s[1]);
	ck_assert_int_eq(nursery_send(NULL, s[1], got, 1, MSG_DONTWAIT,
	    NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(s[0]);
	close(s[1]);
}
END_TEST

static int
recv_all(struct nursery_token *t, void *arg)
{
	struct stream *s = arg;
	ssize_t n = nursery_recv(t, s->fd, s->data, s->len, MSG_WAITALL,
	    NURSERY_NEVER);

	s->done = n < 0 ? 0 : (size_t)n;
	s->rc = n < 0 ? errno : 0;
	return 0;
}

/* What came before the cancel is not lost. */
START_TEST(test_io_recv_waitall_gives_what_came_before_the_cancel)
{
	unsigned char got[10];
	struct stream s = { .len = sizeof got, .data = got, .rc = -1 };
	struct nursery *n = open_root(NULL);
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s.fd = fds[0];
	ck_assert_int_eq(send(fds[1], "abc", 3, 0), 3);
	ck_assert_int_eq(nursery_spawn(n, recv_all, &s), 0);
	await_tasks_in("recv", 1);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	if (s.rc == 0)
		ck_assert_uint_eq(s.done, 3);
	else
		ck_assert_int_eq(recv(fds[0], got, sizeof got, MSG_DONTWAIT),
		    3);
	ck_assert_int_eq(memcmp(got, "abc", 3), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(test_io_accept_gives_address_and_close_on_exec)
{
	struct sockaddr_in from, own;
	socklen_t len = sizeof from, own_len = sizeof own;
	struct call c;
	int i, s, got;

	for (i = 0; i < 2; i++) {
		prepare(&c, 0);
		listener(&c);
		if (i == 1)
			fcntl(c.fd[0], F_SETFL, O_NONBLOCK);
		s = socket(AF_INET, SOCK_STREAM | (i ? SOCK_NONBLOCK : 0), 0);
		ck_assert_int_eq(nursery_connect(NULL, s,
		    (struct sockaddr *)&c.to, sizeof c.to, patience()), 0);
		got = nursery_accept(NULL, c.fd[0], (struct sockaddr *)&from,
		    &len, patience());
		ck_assert_int_ge(got, 0);
		ck_assert(fcntl(got, F_GETFD) & FD_CLOEXEC);
		getsockname(s, (struct sockaddr *)&own, &own_len);
		ck_assert_uint_eq(len, sizeof from);
		ck_assert_int_eq(from.sin_port, own.sin_port);
		close(got);
		close(s);
		end_call(&c);
	}
}
END_TEST

START_TEST(test_io_connect_is_refused)
{
	struct call c;
	int i, s;

	prepare(&c, 0);
	listener(&c);
	end_call(&c);
	for (i = 0; i < 2; i++) {
		s = socket(AF_INET, SOCK_STREAM | (i ? SOCK_NONBLOCK : 0), 0);
		ck_assert_int_eq(nursery_connect(NULL, s,
		    (struct sockaddr *)&c.to, sizeof c.to, patience()), -1);
		ck_assert_int_eq(errno, ECONNREFUSED);
		close(s);
	}
}
END_TEST

/* A full queue of a UNIX listener blocks connect in another way. */
START_TEST(test_io_connect_to_a_full_unix_listener_can_be_cancelled)
{
	struct nursery *n = open_root(NULL);
	struct call c;

	prepare(&c, NURSERY_NEVER);
	full_unix_backlog(&c);
	c.fn = call_connect_unix;
	ck_assert_int_eq(nursery_spawn(n, run_call, &c), 0);
	await_tasks_in("connect", 1);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(c.rc, ECANCELED);
	end_call(&c);
}
END_TEST

/* Whatever it says of a non-blocking one, it says no success that is none. */
START_TEST(test_io_connect_to_a_full_unix_listener_does_not_pretend)
{
	struct call c;
	int rc;

	prepare(&c, 0);
	full_unix_backlog(&c);
	fcntl(c.fd[1], F_SETFL, O_NONBLOCK);
	rc = call_connect_unix(&c, NULL, nursery_after(5 * NURSERY_MS));
	ck_assert(rc == ETIMEDOUT || rc == EAGAIN);
	fcntl(c.fd[1], F_SETFL, 0);
	rc = call_connect_unix(&c, NULL, nursery_after(5 * NURSERY_MS));
	ck_assert_int_eq(rc, ETIMEDOUT);
	end_call(&c);
}
END_TEST

/* ---- sendfile and files ---- */

START_TEST(test_io_sendfile_moves_offset_or_position)
{
	char name[] = "/tmp/nursery-test-XXXXXX", got[16];
	int file = mkstemp(name), s[2];
	off_t at = 2;

	ck_assert_int_ge(file, 0);
	unlink(name);
	ck_assert_int_eq(write(file, "0123456789", 10), 10);
	lseek(file, 0, SEEK_SET);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	ck_assert_int_eq(nursery_sendfile(NULL, s[1], file, &at, 3, 0), 3);
	ck_assert_int_eq(at, 5);
	ck_assert_int_eq(lseek(file, 0, SEEK_CUR), 0);
	ck_assert_int_eq(nursery_sendfile(NULL, s[1], file, NULL, 4, 0), 4);
	ck_assert_int_eq(lseek(file, 0, SEEK_CUR), 4);
	at = 10;
	ck_assert_int_eq(nursery_sendfile(NULL, s[1], file, &at, 4, 0), 0);
	ck_assert_int_eq(read(s[0], got, sizeof got), 7);
	ck_assert_int_eq(memcmp(got, "2340123", 7), 0);
	close(file);
	close(s[0]);
	close(s[1]);
}
END_TEST

START_TEST(test_io_regular_files_and_devices)
{
	struct nursery_token *t = new_token(NULL);
	char head[4096], again[4096];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t done;

	ck_assert_int_eq(nursery_read_full(t, fd, head, sizeof head, &done,
	    NURSERY_NEVER), 0);
	ck_assert_uint_eq(done, sizeof head);
	ck_assert_int_eq(pread(fd, again, sizeof again, 0), 4096);
	ck_assert_int_eq(memcmp(head, again, sizeof head), 0);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(nursery_read(t, fd, head, 10, NURSERY_NEVER), 10);
	ck_assert_int_eq(nursery_write(t, fd, head, 10, NURSERY_NEVER), 10);
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(nursery_read(t, fd, head, 10, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_write(t, fd, head, 10, NURSERY_NEVER), 10);
	close(fd);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(nursery_write(t, fd, head, 10, NURSERY_NEVER), -1);
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
	nursery_token_unref(t);
}
END_TEST

/* Calls that suit what a number was when it was last used; then it is
 * something else. */
static void
pass_a_byte(struct nursery_token *t, int from, int to)
{
	int64_t by = nursery_after(NURSERY_SECOND);
	char byte = 'a', got = 0;

	ck_assert_int_eq(nursery_write(t, to, &byte, 1, by), 1);
	ck_assert_int_eq(nursery_read(t, from, &got, 1, by), 1);
	ck_assert_int_eq(got, 'a');
}

START_TEST(test_io_numbers_are_used_again)
{
	struct nursery_token *t = new_token(NULL);
	int many[64][2], pair[2], round;

	for (round = 0; round < 6; round++) {
		ck_assert_int_eq(round % 2 == 0 ? pipe(pair) :
		    socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		pass_a_byte(t, pair[0], pair[1]);
		pass_a_byte(t, pair[0], pair[1]);
		close(pair[0]);
		close(pair[1]);
	}
	/* More than are remembered, in turns. */
	for (round = 0; round < 64; round++)
		ck_assert_int_eq(round % 3 == 0 ? pipe(many[round]) :
		    socketpair(AF_UNIX, SOCK_STREAM, 0, many[round]), 0);
	for (round = 0; round < 64 * 10; round++)
		pass_a_byte(t, many[round % 64][0], many[round % 64][1]);
	for (round = 0; round < 64; round++) {
		close(many[round][0]);
		close(many[round][1]);
	}
	nursery_token_unref(t);
}
END_TEST

/* A read without room takes nothing from a socket. */
START_TEST(test_io_read_of_nothing_leaves_the_datagram)
{
	struct nursery_token *t = new_token(NULL);
	char byte = 0;
	int s[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	ck_assert_int_eq(nursery_write(t, s[1], "d", 1, NURSERY_NEVER), 1);
	ck_assert_int_eq(nursery_read(t, s[0], &byte, 0, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_read(t, s[0], &byte, 1, NURSERY_NEVER), 1);
	ck_assert_int_eq(byte, 'd');
	close(s[0]);
	close(s[1]);
	nursery_token_unref(t);
}
END_TEST

/* ---- errors come through as they are ---- */

START_TEST(test_io_bad_descriptor_is_ebadf)
{
	struct nursery_token *t = new_token(NULL);
	struct sockaddr_in to = { .sin_family = AF_INET };
	/* It must not wait at all. */
	int64_t by = nursery_after(NURSERY_SECOND);
	char byte = 0;
	size_t done = 99;

	ck_assert_int_eq(as_error(nursery_read(t, -1, &byte, 1, by)), EBADF);
	ck_assert_int_eq(as_error(nursery_write(t, -1, &byte, 1, by)), EBADF);
	ck_assert_int_eq(as_error(nursery_recv(t, -1, &byte, 1, 0, by)),
	    EBADF);
	ck_assert_int_eq(as_error(nursery_send(t, -1, &byte, 1, 0, by)),
	    EBADF);
	ck_assert_int_eq(nursery_read_full(t, -1, &byte, 1, &done, by),
	    EBADF);
	ck_assert_uint_eq(done, 0);
	done = 99;
	ck_assert_int_eq(nursery_write_all(t, -1, &byte, 1, &done, by),
	    EBADF);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(as_error(nursery_accept(t, -1, NULL, NULL, by)),
	    EBADF);
	ck_assert_int_eq(as_error(nursery_connect(t, -1,
	    (struct sockaddr *)&to, sizeof to, by)), EBADF);
	ck_assert_int_eq(as_error(nursery_sendfile(t, -1, 0, NULL, 1, by)),
	    EBADF);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_io_errors_of_the_system_come_through)
{
	struct nursery_token *t = new_token(NULL);
	int64_t by = nursery_after(NURSERY_SECOND);
	char byte = 0;
	int fds[2], s[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	ck_assert_int_eq(as_error(nursery_recv(t, fds[0], &byte, 1, 0, by)),
	    ENOTSOCK);
	ck_assert_int_eq(as_error(nursery_send(t, fds[1], &byte, 1, 0, by)),
	    ENOTSOCK);
	ck_assert_int_eq(as_error(nursery_read(t, fds[1], &byte, 1, by)),
	    EBADF);
	ck_assert_int_eq(as_error(nursery_write(t, fds[0], &byte, 1, by)),
	    EBADF);
	ck_assert_int_eq(as_error(nursery_accept(t, fds[0], NULL, NULL, by)),
	    ENOTSOCK);
	ck_assert_int_eq(as_error(nursery_accept(t, s[0], NULL, NULL, by)),
	    EINVAL);
	ck_assert_int_eq(as_error(nursery_sendfile(t, s[0], s[1], NULL, 1,
	    by)), EINVAL);
	close(fds[0]);
	close(fds[1]);
	close(s[0]);
	close(s[1]);
	nursery_token_unref(t);
}
END_TEST

/* ---- SIGPIPE ---- */

/* Its default action would end the test. */
START_TEST(test_io_no_call_raises_sigpipe)
{
	int p[2], s[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	    i;
	off_t at = 0;
	size_t done;
	sigset_t pending;

	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(pipe2(p, i ? O_NONBLOCK : 0), 0);
		close(p[0]);
		ck_assert_int_eq(nursery_write(NULL, p[1], "x", 1,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(nursery_sendfile(NULL, p[1], file, &at, 10,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(nursery_write_all(NULL, p[1], "x", 1, &done,
		    NURSERY_NEVER), EPIPE);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | (i ?
		    SOCK_NONBLOCK : 0), 0, s), 0);
		close(s[0]);
		ck_assert_int_eq(nursery_send(NULL, s[1], "x", 1, 0,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(nursery_write(NULL, s[1], "x", 1,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		ck_assert_int_eq(nursery_sendfile(NULL, s[1], file, &at, 10,
		    NURSERY_NEVER), -1);
		ck_assert_int_eq(errno, EPIPE);
		close(p[1]);
		close(s[1]);
	}
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
	close(file);
}
END_TEST

/* One that was pending before is somebody else's, and stays. */
START_TEST(test_io_pending_sigpipe_of_the_program_stays)
{
	sigset_t pipe_only, old, pending;
	int p[2];

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	pthread_kill(pthread_self(), SIGPIPE);
	ck_assert_int_eq(pipe(p), 0);
	close(p[0]);
	ck_assert_int_eq(nursery_write(NULL, p[1], "x", 1, NURSERY_NEVER),
	    -1);
	ck_assert_int_eq(errno, EPIPE);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 1);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	close(p[1]);
}
END_TEST

/* ---- announced foreign calls ---- */

static int
announce(struct nursery_token *t, void *gate)
{
	(void)t;
	nursery_blocking_begin();
	nursery_blocking_begin();
	gate_pass(gate);
	nursery_blocking_end();
	nursery_blocking_end();
	return 0;
}

START_TEST(test_io_blocking_region_is_seen_and_nests)
{
	struct nursery *n = open_root(NULL);
	struct gate g;

	/* Outside tasks it does nothing. */
	nursery_blocking_begin();
	nursery_blocking_end();
	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, announce, &g), 0);
	await_tasks_in("blocking", 1);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* The descriptor is part of what the dump shows. */
START_TEST(test_io_dump_names_the_descriptor)
{
	struct nursery *n = open_root(NULL);
	struct call c;
	char where[64];

	prepare(&c, NURSERY_NEVER);
	listener(&c);
	c.fn = call_accept;
	ck_assert_int_eq(nursery_spawn(n, run_call, &c), 0);
	snprintf(where, sizeof where, "s in accept(fd %d)", c.fd[0]);
	await_in_dump(where);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	end_call(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("io");
	TCase *c = leakless_case("io");

	tcase_add_loop_test(c, test_io_cancelled_token_fails_before_any_work,
	    0, 2 * CALLS);
	tcase_add_loop_test(c, test_io_cancel_ends_a_call_that_blocks, 0,
	    2 * CALLS);
	tcase_add_loop_test(c, test_io_calls_fit_the_smallest_stack, 0,
	    2 * CALLS);
	tcase_add_loop_test(c, test_io_deadline_of_the_token_is_ecanceled, 0,
	    2 * CALLS);
	tcase_add_loop_test(c, test_io_deadline_of_the_call, 0, 2 * CALLS);
	tcase_add_test(c, test_io_work_that_can_be_done_is_done_by_a_try);
	tcase_add_test(c, test_io_cancelled_token_leaves_what_is_there);
	tcase_add_test(c, test_io_drain_does_not_end_a_call);
	tcase_add_test(c, test_io_sleep_ends_at_its_deadline_and_not_before);
	tcase_add_test(c, test_io_poll_fills_revents_like_poll);
	tcase_add_test(c, test_io_poll_without_a_descriptor_for_the_wake_up);
	tcase_add_test(c, test_io_read_full_goes_on_until_all_is_there);
	tcase_add_test(c,
	    test_io_read_full_says_how_much_came_before_the_end);
	tcase_add_test(c,
	    test_io_read_full_says_how_much_came_before_the_deadline);
	tcase_add_loop_test(c, test_io_write_all_writes_all, 0, 4);
	tcase_add_test(c, test_io_recv_and_send_know_their_flags);
	tcase_add_test(c,
	    test_io_recv_waitall_gives_what_came_before_the_cancel);
	tcase_add_test(c, test_io_accept_gives_address_and_close_on_exec);
	tcase_add_test(c, test_io_connect_is_refused);
	tcase_add_test(c,
	    test_io_connect_to_a_full_unix_listener_can_be_cancelled);
	tcase_add_test(c,
	    test_io_connect_to_a_full_unix_listener_does_not_pretend);
	tcase_add_test(c, test_io_sendfile_moves_offset_or_position);
	tcase_add_test(c, test_io_regular_files_and_devices);
	tcase_add_test(c, test_io_numbers_are_used_again);
	tcase_add_test(c, test_io_read_of_nothing_leaves_the_datagram);
	tcase_add_test(c, test_io_bad_descriptor_is_ebadf);
	tcase_add_test(c, test_io_errors_of_the_system_come_through);
	tcase_add_test(c, test_io_no_call_raises_sigpipe);
	tcase_add_test(c, test_io_pending_sigpipe_of_the_program_stays);
	tcase_add_test(c, test_io_blocking_region_is_seen_and_nests);
	tcase_add_test(c, test_io_dump_names_the_descriptor);
	suite_add_tcase(s, c);
	return run_suite(s);
}
