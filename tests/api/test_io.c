/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One blocking call; a task makes it and keeps what came of it. */
struct call {
	int (*fn)(struct call *c, struct nursery_token *t, int64_t deadline);
	int fd[2];
	const char *op;
	int rc;
	int64_t deadline;
};

static int
as_error(ssize_t n)
{
	return n < 0 ? errno : 0;
}

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

static int
call_read(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char byte;

	return as_error(nursery_read(t, c->fd[0], &byte, 1, deadline));
}

static int
call_write(struct call *c, struct nursery_token *t, int64_t deadline)
{
	char byte = 'x';

	return as_error(nursery_write(t, c->fd[1], &byte, 1, deadline));
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
run_call(struct nursery_token *t, void *arg)
{
	struct call *c = arg;

	c->rc = c->fn(c, t, c->deadline);
	return 0;
}

/* ---- descriptors on which the call blocks ---- */

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
full_pipe(struct call *c)
{
	char page[4096] = { 0 };
	int flags;

	empty_pipe(c);
	flags = fcntl(c->fd[1], F_GETFL);
	fcntl(c->fd[1], F_SETFL, flags | O_NONBLOCK);
	while (write(c->fd[1], page, sizeof page) > 0)
		;
	while (write(c->fd[1], page, 1) > 0)
		;
	fcntl(c->fd[1], F_SETFL, flags);
}

static void
empty_sockets(struct call *c)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, c->fd), 0);
}

static void
full_sockets(struct call *c)
{
	char page[4096] = { 0 };

	empty_sockets(c);
	while (send(c->fd[1], page, sizeof page, MSG_DONTWAIT) > 0)
		;
	while (send(c->fd[1], page, 1, MSG_DONTWAIT) > 0)
		;
}

static void
listener(struct call *c)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd[1] = -1;
	c->fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(c->fd[0], (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(c->fd[0], 8), 0);
}

static const struct {
	int (*fn)(struct call *c, struct nursery_token *t, int64_t deadline);
	void (*make)(struct call *c);
	const char *op;
} calls[] = {
	{ call_sleep, none, "sleep" },
	{ call_poll, empty_pipe, "poll" },
	{ call_read, empty_pipe, "read" },
	{ call_read, empty_sockets, "read" },
	{ call_write, full_pipe, "write" },
	{ call_write, full_sockets, "write" },
	{ call_recv, empty_sockets, "recv" },
	{ call_send, full_sockets, "send" },
	{ call_sendfile, full_sockets, "sendfile" },
	{ call_accept, listener, "accept" },
};
#define CALLS	((int)(sizeof calls / sizeof calls[0]))

static void
make_call(struct call *c, int i, int64_t deadline)
{
	memset(c, 0, sizeof *c);
	c->fn = calls[i].fn;
	c->op = calls[i].op;
	c->deadline = deadline;
	c->rc = -1;
	calls[i].make(c);
}

static void
end_call(struct call *c)
{
	if (c->fd[0] >= 0)
		close(c->fd[0]);
	if (c->fd[1] >= 0)
		close(c->fd[1]);
}

static void
both_ways(struct call *c, int i)
{
	int k;

	/* Every second round on non-blocking descriptors. */
	for (k = 0; k < 2; k++)
		if (c->fd[k] >= 0 && i != 0)
			fcntl(c->fd[k], F_SETFL, fcntl(c->fd[k], F_GETFL) |
			    O_NONBLOCK);
}

static void
flags_of(const struct call *c, int flags[2])
{
	flags[0] = c->fd[0] < 0 ? 0 : fcntl(c->fd[0], F_GETFL);
	flags[1] = c->fd[1] < 0 ? 0 : fcntl(c->fd[1], F_GETFL);
}

/* Cancelled before, during, and racing; blocking and not; flags as before. */
START_TEST(test_io_cancel_before_during_and_racing)
{
	struct nursery *n;
	struct call c;
	int when, flags[2], after[2];

	for (when = 0; when < 6; when++) {
		make_call(&c, _i, NURSERY_NEVER);
		both_ways(&c, when & 1);
		flags_of(&c, flags);
		ck_assert_int_eq(nursery_open(&n, NULL), 0);
		if (when / 2 == 0) {
			nursery_cancel(n);
			c.rc = c.fn(&c, nursery_token_of(n), NURSERY_NEVER);
		} else {
			ck_assert_int_eq(nursery_spawn(n, run_call, &c), 0);
			if (when / 2 == 1)
				await_tasks_in(c.op, 1);
			nursery_cancel(n);
		}
		(void)nursery_close(&n);
		ck_assert_msg(c.rc == ECANCELED || (when / 2 == 2 &&
		    c.rc == -1), "%s: %d", c.op, c.rc);
		flags_of(&c, after);
		ck_assert_int_eq(flags[0], after[0]);
		ck_assert_int_eq(flags[1], after[1]);
		end_call(&c);
	}
}
END_TEST

START_TEST(test_io_deadline_of_the_call)
{
	struct call c;
	int i, rc;

	for (i = 0; i < 4; i++) {
		make_call(&c, _i, 0);
		both_ways(&c, i & 1);
		rc = c.fn(&c, NULL, i < 2 ? 1 : nursery_after(NURSERY_MS));
		ck_assert_msg(rc == (c.fn == call_sleep ? 0 : ETIMEDOUT),
		    "%s: %d", c.op, rc);
		end_call(&c);
	}
}
END_TEST

static int
accept_or_read(struct nursery_token *t, void *arg)
{
	struct call *c = arg;

	return c->fn(c, t, NURSERY_NEVER) == ECANCELED ? ECANCELED : 0;
}

/* Two rivals on one blocking descriptor; one gets what comes, a cancel frees
 * the other, and nothing is lost. */
START_TEST(test_io_two_readers_one_byte)
{
	struct nursery *n;
	struct call c;
	char byte;
	int round;

	for (round = 0; round < 300; round++) {
		make_call(&c, 2, NURSERY_NEVER);
		ck_assert_int_eq(nursery_open(&n, NULL), 0);
		ck_assert_int_eq(nursery_spawn(n, accept_or_read, &c), 0);
		ck_assert_int_eq(nursery_spawn(n, accept_or_read, &c), 0);
		ck_assert_int_eq(write(c.fd[1], "x", 1), 1);
		nursery_cancel(n);
		(void)nursery_close(&n);
		/* Read by a task, or still there. */
		fcntl(c.fd[0], F_SETFL, O_NONBLOCK);
		ck_assert_int_le(read(c.fd[0], &byte, 1), 1);
		end_call(&c);
	}
}
END_TEST

struct stream {
	int fd;
	size_t len, done;
	unsigned char *data;
};

static int
write_stream(struct nursery_token *t, void *arg)
{
	struct stream *s = arg;

	return nursery_write_all(t, s->fd, s->data, s->len, &s->done,
	    NURSERY_NEVER);
}

/* 1 MiB into a blocking pipe, cancelled at some point: what was counted as
 * written is exactly what arrives. */
START_TEST(test_io_cancelled_write_loses_nothing)
{
	struct stream s = { .len = 1 << 20 };
	unsigned char *got = malloc(1 << 20);
	struct nursery *n;
	size_t have, want;
	int fds[2], round;
	ssize_t r;

	s.data = malloc(s.len);
	for (want = 0; want < s.len; want++)
		s.data[want] = (unsigned char)(want * 7);
	for (round = 0; round < 50; round++) {
		ck_assert_int_eq(pipe(fds), 0);
		s.fd = fds[1];
		s.done = 0;
		ck_assert_int_eq(nursery_open(&n, NULL), 0);
		ck_assert_int_eq(nursery_spawn(n, write_stream, &s), 0);
		for (have = 0; have < (size_t)round * 20000; have += (size_t)r)
			r = read(fds[0], got + have, 4096);
		nursery_cancel(n);
		(void)nursery_close(&n);
		close(fds[1]);
		while ((r = read(fds[0], got + have, s.len - have)) > 0)
			have += (size_t)r;
		ck_assert_uint_eq(have, s.done);
		ck_assert_int_eq(memcmp(got, s.data, have), 0);
		close(fds[0]);
	}
	free(got);
	free(s.data);
}
END_TEST

START_TEST(test_io_no_sigpipe)
{
	int p[2], s[2];

	ck_assert_int_eq(pipe(p), 0);
	close(p[0]);
	ck_assert_int_eq(nursery_write(NULL, p[1], "x", 1, 0), -1);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	close(s[0]);
	ck_assert_int_eq(nursery_send(NULL, s[1], "x", 1, 0, 0), -1);
	ck_assert_int_eq(errno, EPIPE);
	close(p[1]);
	close(s[1]);
}
END_TEST

START_TEST(test_io_connects_and_is_refused)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;
	struct call c;
	int i, s, got;

	for (i = 0; i < 2; i++) {
		listener(&c);
		getsockname(c.fd[0], (struct sockaddr *)&a, &len);
		s = socket(AF_INET, SOCK_STREAM | (i ? SOCK_NONBLOCK : 0), 0);
		ck_assert_int_eq(nursery_connect(NULL, s,
		    (struct sockaddr *)&a, len, nursery_after(NURSERY_SECOND)),
		    0);
		got = nursery_accept(NULL, c.fd[0], NULL, NULL,
		    nursery_after(NURSERY_SECOND));
		ck_assert_int_ge(got, 0);
		ck_assert(fcntl(got, F_GETFD) & FD_CLOEXEC);
		close(got);
		close(s);
		close(c.fd[0]);
		s = socket(AF_INET, SOCK_STREAM | (i ? SOCK_NONBLOCK : 0), 0);
		ck_assert_int_eq(nursery_connect(NULL, s,
		    (struct sockaddr *)&a, len, nursery_after(NURSERY_SECOND)),
		    -1);
		ck_assert_int_eq(errno, ECONNREFUSED);
		close(s);
	}
}
END_TEST

START_TEST(test_io_regular_file_and_read_full)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	char head[4096], again[4096];
	size_t done;

	ck_assert_int_eq(nursery_read_full(NULL, fd, head, sizeof head, &done,
	    NURSERY_NEVER), 0);
	ck_assert_uint_eq(done, sizeof head);
	ck_assert_int_eq(pread(fd, again, sizeof again, 0), 4096);
	ck_assert_int_eq(memcmp(head, again, sizeof head), 0);
	close(fd);
	ck_assert_int_eq(nursery_read(NULL, -1, head, 1, 0), -1);
	ck_assert_int_eq(errno, EBADF);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("io");
	TCase *c = leakless_case("io");

	tcase_add_loop_test(c, test_io_cancel_before_during_and_racing, 0,
	    CALLS);
	tcase_add_loop_test(c, test_io_deadline_of_the_call, 0, CALLS);
	tcase_add_test(c, test_io_two_readers_one_byte);
	tcase_add_test(c, test_io_cancelled_write_loses_nothing);
	tcase_add_test(c, test_io_no_sigpipe);
	tcase_add_test(c, test_io_connects_and_is_refused);
	tcase_add_test(c, test_io_regular_file_and_read_full);
	suite_add_tcase(s, c);
	return run_suite(s);
}
