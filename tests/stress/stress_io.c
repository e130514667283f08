/* SPDX-License-Identifier: MIT */
/*
 * Cancellable calls that race for one blocking descriptor.  In each round
 * the cancel comes at another moment; it returns, the flags are as they
 * were, and what was given is what was taken and what is still there.
 */
#include "race.h"
#include "tasks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS		400
#define MEGABYTE	((size_t)1 << 20)

/* ---- two readers on one blocking pipe ---- */

struct readers {
	int fd;
	uint32_t taken[256];	/* atomic: how often each byte was read */
	uint32_t wrong;		/* atomic */
};

static int
read_bytes(struct nursery_token *t, void *arg)
{
	struct readers *s = arg;
	unsigned char byte;
	ssize_t n;

	while ((n = nursery_read(t, s->fd, &byte, 1, NURSERY_NEVER)) == 1)
		__atomic_add_fetch(&s->taken[byte], 1, __ATOMIC_SEQ_CST);
	if (n != -1 || errno != ECANCELED)
		__atomic_add_fetch(&s->wrong, 1, __ATOMIC_SEQ_CST);
	return ECANCELED;
}

static void
count_what_is_left(struct readers *s)
{
	unsigned char left[256];
	ssize_t n;
	int i;

	fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
	while ((n = read(s->fd, left, sizeof left)) > 0)
		for (i = 0; i < n; i++)
			s->taken[left[i]]++;
}

static void
two_readers(int fds[2], struct rng *r)
{
	struct readers s = { .fd = fds[0] };
	unsigned i, count = 1 + rng_below(r, 30);
	int flags[2] = { fcntl(fds[0], F_GETFL), fcntl(fds[1], F_GETFL) };
	struct nursery *n = open_root(NULL);
	unsigned char byte;

	ck_assert_int_eq(nursery_spawn(n, read_bytes, &s), 0);
	ck_assert_int_eq(nursery_spawn(n, read_bytes, &s), 0);
	for (i = 0; i < count; i++) {
		byte = (unsigned char)i;
		ck_assert_int_eq(write(fds[1], &byte, 1), 1);
		linger(r, 500);
	}
	linger(r, 3000);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_uint_eq(s.wrong, 0);
	ck_assert_int_eq(fcntl(fds[0], F_GETFL), flags[0]);
	ck_assert_int_eq(fcntl(fds[1], F_GETFL), flags[1]);
	count_what_is_left(&s);
	for (i = 0; i < 256; i++)
		ck_assert_uint_eq(s.taken[i], i < count);
}

START_TEST(test_io_two_readers_on_one_blocking_pipe)
{
	unsigned i;
	struct rng r;
	int fds[2];

	rng_init(&r, 1);
	for (i = 0; i < rounds(ROUNDS); i++) {
		ck_assert_int_eq(pipe(fds), 0);
		two_readers(fds, &r);
		close(fds[0]);
		close(fds[1]);
	}
}
END_TEST

/* The same on sockets. */
START_TEST(test_io_two_readers_on_one_blocking_socket)
{
	unsigned i;
	struct rng r;
	int fds[2];

	rng_init(&r, 2);
	for (i = 0; i < rounds(ROUNDS); i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds),
		    0);
		two_readers(fds, &r);
		close(fds[0]);
		close(fds[1]);
	}
}
END_TEST

/* ---- a megabyte into a full blocking pipe ---- */

struct stream {
	int fd;
	size_t done;
	const unsigned char *data;
	int rc;
};

static int
write_stream(struct nursery_token *t, void *arg)
{
	struct stream *s = arg;

	s->rc = nursery_write_all(t, s->fd, s->data, MEGABYTE, &s->done,
	    NURSERY_NEVER);
	return ECANCELED;
}

static void
make_data(unsigned char *data)
{
	size_t i;

	for (i = 0; i < MEGABYTE; i++)
		data[i] = (unsigned char)(i * 7 + i / 251);
}

static size_t
fill(int fd, const unsigned char *data)
{
	int flags = fcntl(fd, F_GETFL);
	size_t filled = 0;
	ssize_t n;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while ((n = write(fd, data, 4096)) > 0)
		filled += (size_t)n;
	while ((n = write(fd, data, 1)) > 0)
		filled += (size_t)n;
	fcntl(fd, F_SETFL, flags);
	return filled;
}

/* Reads `want` bytes more, or to the end; how many are there then. */
static size_t
take(int fd, unsigned char *to, size_t have, size_t want)
{
	ssize_t n = 1;

	while (have < want && n > 0) {
		n = read(fd, to + have, want - have);
		have += n > 0 ? (size_t)n : 0;
	}
	return have;
}

static void
megabyte_into_full(int fds[2], const unsigned char *data,
    unsigned char *got, struct rng *r)
{
	struct stream s = { .fd = fds[1], .data = data, .rc = -1 };
	size_t filled = fill(fds[1], data), have;
	struct nursery *n = open_root(NULL);
	int flags = fcntl(fds[1], F_GETFL);

	ck_assert_int_eq(nursery_spawn(n, write_stream, &s), 0);
	/* Nothing, a little, or most of it is read before the cancel. */
	have = take(fds[0], got, 0, rng_below(r, 3) == 0 ? 0 :
	    rng_below(r, (unsigned)MEGABYTE / 2));
	linger(r, 3000);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(s.rc, ECANCELED);
	ck_assert_int_eq(fcntl(fds[1], F_GETFL), flags);
	close(fds[1]);
	have = take(fds[0], got, have, MEGABYTE * 2);
	ck_assert_uint_eq(have, filled + s.done);
	ck_assert_int_eq(memcmp(got + filled, data, s.done), 0);
}

START_TEST(test_io_megabyte_into_a_full_blocking_pipe)
{
	unsigned char *data = malloc(MEGABYTE), *got = malloc(2 * MEGABYTE);
	unsigned i;
	struct rng r;
	int fds[2];

	make_data(data);
	rng_init(&r, 3);
	for (i = 0; i < rounds(ROUNDS / 2); i++) {
		ck_assert_int_eq(pipe(fds), 0);
		megabyte_into_full(fds, data, got, &r);
		close(fds[0]);
	}
	free(data);
	free(got);
}
END_TEST

START_TEST(test_io_megabyte_into_a_full_blocking_socket)
{
	unsigned char *data = malloc(MEGABYTE), *got = malloc(2 * MEGABYTE);
	unsigned i;
	struct rng r;
	int fds[2];

	make_data(data);
	rng_init(&r, 4);
	for (i = 0; i < rounds(ROUNDS / 2); i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds),
		    0);
		megabyte_into_full(fds, data, got, &r);
		close(fds[0]);
	}
	free(data);
	free(got);
}
END_TEST

/* ---- two writers: what each counted is what arrived ---- */

struct writer {
	int fd;
	unsigned char mark;
	size_t done;
};

static int
write_marks(struct nursery_token *t, void *arg)
{
	struct writer *w = arg;
	unsigned char marks[1000];
	ssize_t n;

	memset(marks, w->mark, sizeof marks);
	while ((n = nursery_write(t, w->fd, marks, sizeof marks,
	    NURSERY_NEVER)) > 0)
		w->done += (size_t)n;
	return errno == ECANCELED ? ECANCELED : EBADMSG;
}

static void
count_marks(int fd, size_t seen[2], size_t atmost)
{
	unsigned char got[4096];
	size_t total = 0;
	ssize_t n = 1, i;

	while (total < atmost && n > 0) {
		n = read(fd, got, sizeof got);
		for (i = 0; i < n; i++)
			seen[got[i] == 'b']++;
		total += n > 0 ? (size_t)n : 0;
	}
}

START_TEST(test_io_two_writers_on_one_blocking_pipe)
{
	struct nursery *n;
	unsigned i;
	struct rng r;
	int fds[2];

	rng_init(&r, 5);
	for (i = 0; i < rounds(ROUNDS); i++) {
		struct writer w[2] = { { .mark = 'a' }, { .mark = 'b' } };
		size_t seen[2] = { 0, 0 };

		ck_assert_int_eq(pipe(fds), 0);
		w[0].fd = w[1].fd = fds[1];
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, write_marks, &w[0]), 0);
		ck_assert_int_eq(nursery_spawn(n, write_marks, &w[1]), 0);
		count_marks(fds[0], seen, rng_below(&r, 200000));
		nursery_cancel(n);
		ck_assert_int_eq(nursery_close(&n), ECANCELED);
		close(fds[1]);
		count_marks(fds[0], seen, SIZE_MAX);
		ck_assert_uint_eq(seen[0], w[0].done);
		ck_assert_uint_eq(seen[1], w[1].done);
		close(fds[0]);
	}
}
END_TEST

/* ---- two acceptors on one blocking listener ---- */

struct acceptors {
	int fd;
	uint32_t taken;		/* atomic */
	uint32_t wrong;		/* atomic */
};

static int
accept_all(struct nursery_token *t, void *arg)
{
	struct acceptors *a = arg;
	int fd;

	while ((fd = nursery_accept(t, a->fd, NULL, NULL, NURSERY_NEVER)) >=
	    0) {
		__atomic_add_fetch(&a->taken, 1, __ATOMIC_SEQ_CST);
		close(fd);
	}
	if (errno != ECANCELED)
		__atomic_add_fetch(&a->wrong, 1, __ATOMIC_SEQ_CST);
	return ECANCELED;
}

static int
listen_on(struct sockaddr_in *a)
{
	socklen_t len = sizeof *a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET };
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)a, len), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)a, &len), 0);
	return fd;
}

/* Connects and resets: no port is kept waiting. */
static void
connect_once(const struct sockaddr_in *a)
{
	const struct linger now = { 1, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (const struct sockaddr *)a, sizeof *a),
	    0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

static unsigned
accept_what_is_left(int fd)
{
	unsigned left = 0;
	int got;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while ((got = accept(fd, NULL, NULL)) >= 0) {
		left++;
		close(got);
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return left;
}

START_TEST(test_io_two_acceptors_on_one_blocking_listener)
{
	struct sockaddr_in to;
	int fd = listen_on(&to), flags = fcntl(fd, F_GETFL);
	unsigned i, k, count;
	struct nursery *n;
	struct rng r;

	rng_init(&r, 6);
	for (i = 0; i < rounds(ROUNDS); i++) {
		struct acceptors a = { .fd = fd };

		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, accept_all, &a), 0);
		ck_assert_int_eq(nursery_spawn(n, accept_all, &a), 0);
		count = rng_below(&r, 6);
		for (k = 0; k < count; k++)
			connect_once(&to);
		linger(&r, 3000);
		nursery_cancel(n);
		ck_assert_int_eq(nursery_close(&n), ECANCELED);
		ck_assert_uint_eq(a.wrong, 0);
		ck_assert_int_eq(fcntl(fd, F_GETFL), flags);
		ck_assert_uint_eq(a.taken + accept_what_is_left(fd), count);
	}
	close(fd);
}
END_TEST

/* ---- sendfile: the offset is what arrived ---- */

struct sending {
	int to, file;
	off_t at;
};

static int
send_all(struct nursery_token *t, void *arg)
{
	struct sending *s = arg;

	while (nursery_sendfile(t, s->to, s->file, &s->at, MEGABYTE,
	    NURSERY_NEVER) > 0)
		;
	return ECANCELED;
}

START_TEST(test_io_sendfile_into_a_blocking_socket)
{
	char name[] = "/tmp/nursery-test-XXXXXX";
	unsigned char *data = malloc(MEGABYTE), *got = malloc(MEGABYTE);
	int file = mkstemp(name), fds[2];
	struct nursery *n;
	unsigned i;
	struct rng r;
	size_t have;

	ck_assert_int_ge(file, 0);
	unlink(name);
	make_data(data);
	ck_assert_int_eq(write(file, data, MEGABYTE), (ssize_t)MEGABYTE);
	rng_init(&r, 7);
	for (i = 0; i < rounds(ROUNDS); i++) {
		struct sending s = { .file = file };

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds),
		    0);
		s.to = fds[1];
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, send_all, &s), 0);
		have = take(fds[0], got, 0, rng_below(&r, 400000));
		nursery_cancel(n);
		ck_assert_int_eq(nursery_close(&n), ECANCELED);
		close(fds[1]);
		have = take(fds[0], got, have, MEGABYTE);
		ck_assert_uint_eq(have, (size_t)s.at);
		ck_assert_int_eq(memcmp(got, data, have), 0);
		close(fds[0]);
	}
	close(file);
	free(data);
	free(got);
}
END_TEST

/* ---- deadlines of the call against data and cancel ---- */

struct timed {
	int fd;
	uint32_t taken, wrong;
	struct rng rng;
};

static int
read_with_deadlines(struct nursery_token *t, void *arg)
{
	struct timed *s = arg;
	char byte;
	ssize_t n;

	for (;;) {
		n = nursery_read(t, s->fd, &byte, 1, nursery_after((int64_t)
		    rng_below(&s->rng, 40) * NURSERY_US));
		if (n == 1)
			s->taken++;
		else if (n == -1 && errno == ECANCELED)
			return ECANCELED;
		else if (n != -1 || errno != ETIMEDOUT)
			s->wrong++;
	}
}

START_TEST(test_io_deadlines_against_data_and_cancel)
{
	struct nursery *n;
	unsigned i, k;
	struct rng r;
	int fds[2];

	rng_init(&r, 8);
	for (i = 0; i < rounds(ROUNDS / 2); i++) {
		struct timed s = { .taken = 0 };

		ck_assert_int_eq(pipe(fds), 0);
		s.fd = fds[0];
		rng_init(&s.rng, i);
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, read_with_deadlines, &s),
		    0);
		for (k = 0; k < 20; k++) {
			ck_assert_int_eq(write(fds[1], "x", 1), 1);
			linger(&r, 4000);
		}
		nursery_cancel(n);
		ck_assert_int_eq(nursery_close(&n), ECANCELED);
		ck_assert_uint_eq(s.wrong, 0);
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		while (read(fds[0], &k, 1) == 1)
			s.taken++;
		ck_assert_uint_eq(s.taken, 20);
		close(fds[0]);
		close(fds[1]);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("io");
	TCase *c = leakless_case("io");

	tcase_add_test(c, test_io_two_readers_on_one_blocking_pipe);
	tcase_add_test(c, test_io_two_readers_on_one_blocking_socket);
	tcase_add_test(c, test_io_megabyte_into_a_full_blocking_pipe);
	tcase_add_test(c, test_io_megabyte_into_a_full_blocking_socket);
	tcase_add_test(c, test_io_two_writers_on_one_blocking_pipe);
	tcase_add_test(c, test_io_two_acceptors_on_one_blocking_listener);
	tcase_add_test(c, test_io_sendfile_into_a_blocking_socket);
	tcase_add_test(c, test_io_deadlines_against_data_and_cancel);
	suite_add_tcase(s, c);
	announce_seed("stress_io");
	return run_suite(s);
}
