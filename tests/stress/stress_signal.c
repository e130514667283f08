/* SPDX-License-Identifier: MIT */
/*
 * A storm of signals over threads that work: EINTR never comes back, nothing
 * is lost, nurseries that stop on signals come and go in the middle of it.
 */
#include "race.h"
#include "tasks.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t handled;	/* atomic */

static void
count_signal(int signo)
{
	(void)signo;
	__atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static void
handle(int signo, int flags)
{
	struct sigaction sa = { .sa_handler = count_signal,
		.sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	ck_assert_int_eq(sigaction(signo, &sa, NULL), 0);
}

struct storm {
	pthread_t target;
	int signo;
	uint32_t over;		/* atomic */
	struct rng rng;
	pthread_t id;
};

static void *
send_signals(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->over, __ATOMIC_SEQ_CST)) {
		pthread_kill(s->target, s->signo);
		linger(&s->rng, 20000);
	}
	return NULL;
}

static void
begin_storm(struct storm *s, int signo)
{
	*s = (struct storm){ .target = pthread_self(), .signo = signo };
	rng_init(&s->rng, 77);
	s->id = start_thread(send_signals, s);
	/* It has begun when the first one is here. */
	while (!__atomic_load_n(&handled, __ATOMIC_SEQ_CST))
		sched_yield();
}

static void
end_storm(struct storm *s)
{
	__atomic_store_n(&s->over, 1, __ATOMIC_SEQ_CST);
	(void)end_thread(s->id);
}

/* ---- a stream through a pipe ---- */

#define STREAM	(64 * 1024)

struct half {
	int fd;
	size_t len;
	unsigned seed;
	int rc;
};

static unsigned char
byte_at(size_t i)
{
	return (unsigned char)(i * 13 + i / 255);
}

/* A pipe that is full soon, so that both ends have to wait. */
static void
open_narrow(int fds[2], int flags)
{
	ck_assert_int_eq(pipe2(fds, flags), 0);
	ck_assert_int_ge(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
}

/* In pieces of odd sizes. */
static int
feed(struct nursery_token *t, void *arg)
{
	const struct half *h = arg;
	unsigned char piece[777];
	size_t done = 0, len, i;

	while (done < h->len) {
		len = h->len - done < sizeof piece ? h->len - done :
		    sizeof piece;
		for (i = 0; i < len; i++)
			piece[i] = byte_at(done + i);
		if (nursery_write_all(t, h->fd, piece, len, NULL,
		    NURSERY_NEVER) != 0)
			return EIO;
		done += len;
	}
	return 0;
}

/* The thread under the storm reads it all. */
static void
read_in_storm(int fd, struct nursery_token *t)
{
	unsigned char got[1000];
	size_t done = 0;
	ssize_t n, i;

	while (done < STREAM) {
		n = nursery_read(t, fd, got, sizeof got, NURSERY_NEVER);
		ck_assert_msg(n > 0, "errno %d", errno);
		for (i = 0; i < n; i++)
			ck_assert_uint_eq(got[i], byte_at(done + (size_t)i));
		done += (size_t)n;
	}
	ck_assert_uint_eq(done, STREAM);
}

/* Handlers with SA_RESTART and without; descriptors blocking and not. */
START_TEST(test_signal_storm_over_a_reader)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery *n;
	struct storm storm;
	struct half h;
	unsigned i;
	int fds[2];

	handle(SIGUSR1, _i % 2 ? SA_RESTART : 0);
	begin_storm(&storm, SIGUSR1);
	for (i = 0; i < rounds(4); i++) {
		open_narrow(fds, _i / 2 ? O_NONBLOCK : 0);
		h = (struct half){ .fd = fds[1], .len = STREAM };
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, feed, &h), 0);
		read_in_storm(fds[0], i % 2 ? t : NULL);
		ck_assert_int_eq(nursery_close(&n), 0);
		close(fds[0]);
		close(fds[1]);
	}
	end_storm(&storm);
	nursery_token_unref(t);
}
END_TEST

static int
drain_pipe(struct nursery_token *t, void *arg)
{
	const struct half *h = arg;
	unsigned char got[1000];
	size_t done = 0;
	ssize_t n, i;

	while (done < h->len) {
		n = nursery_read(t, h->fd, got, sizeof got, NURSERY_NEVER);
		if (n <= 0)
			return EIO;
		for (i = 0; i < n; i++)
			if (got[i] != byte_at(done + (size_t)i))
				return EBADMSG;
		done += (size_t)n;
	}
	return 0;
}

/* The thread under the storm writes. */
START_TEST(test_signal_storm_over_a_writer)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery *n;
	struct storm storm;
	struct half in, out;
	unsigned i;
	int fds[2];

	handle(SIGUSR1, 0);
	begin_storm(&storm, SIGUSR1);
	for (i = 0; i < rounds(4); i++) {
		open_narrow(fds, _i ? O_NONBLOCK : 0);
		in = (struct half){ .fd = fds[0], .len = STREAM };
		out = (struct half){ .fd = fds[1], .len = STREAM };
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, drain_pipe, &in), 0);
		ck_assert_int_eq(feed(t, &out), 0);
		ck_assert_int_eq(nursery_close(&n), 0);
		close(fds[0]);
		close(fds[1]);
	}
	end_storm(&storm);
	nursery_token_unref(t);
}
END_TEST

/* Waits of every kind keep their word. */
START_TEST(test_signal_storm_over_waits)
{
	struct nursery_token *t = new_token(NULL);
	struct pollfd p = { .events = POLLIN };
	struct nursery *n;
	struct storm storm;
	int64_t until;
	unsigned i;
	int fds[2], ran = 0;

	ck_assert_int_eq(pipe(fds), 0);
	p.fd = fds[0];
	handle(SIGUSR1, 0);
	begin_storm(&storm, SIGUSR1);
	for (i = 0; i < rounds(60); i++) {
		until = nursery_after(200 * NURSERY_US);
		ck_assert_int_eq(nursery_sleep(t, until), 0);
		ck_assert(nursery_now() >= until);
		until = nursery_after(200 * NURSERY_US);
		ck_assert_int_eq(nursery_token_wait(t, until), ETIMEDOUT);
		ck_assert(nursery_now() >= until);
		until = nursery_after(200 * NURSERY_US);
		ck_assert_int_eq(nursery_poll(t, &p, 1, until), 0);
		ck_assert(nursery_now() >= until);
		n = open_root(NULL);
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
		ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
		ck_assert_int_eq(nursery_close(&n), 0);
	}
	end_storm(&storm);
	ck_assert_int_eq((int)i, ran);
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(t);
}
END_TEST

/* ---- nurseries that come and go under their signal ---- */

#define CYCLES	6

struct stopped {
	int rc[CYCLES], wrong;
	int64_t opened[CYCLES];
	int64_t raised;		/* when that was over; 0: not in this round */
};

static void
open_and_close(void *ctx, struct rng *r)
{
	struct stopped *s = ctx;
	struct nursery *n;
	sigset_t set;
	int i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (i = 0; i < CYCLES; i++) {
		s->opened[i] = nursery_now();
		if (nursery_open(&n, NULL) != 0) {
			s->wrong++;
			return;
		}
		s->wrong += nursery_stop_on_signals(n, &set, NURSERY_CANCEL)
		    != 0;
		linger(r, 2000);
		s->rc[i] = nursery_close(&n);
	}
}

/* Delivered here before it returns: to the library, or to our handler. */
static void
raise_perhaps(void *ctx, struct rng *r)
{
	struct stopped *s = ctx;

	s->raised = 0;
	/* Somewhere in the time that the cycles take, on any machine. */
	linger(r, 1u << (8 + rng_below(r, 10)));
	if (rng_below(r, 8) == 0)
		return;
	raise(SIGUSR2);
	s->raised = nursery_now();
}

/* A signal that was there before a nursery does not stop it. */
static void
look_at_end(void *ctx)
{
	struct stopped *s = ctx;
	struct sigaction now;
	int i, stopped = 0;

	ck_assert_int_eq(s->wrong, 0);
	for (i = 0; i < CYCLES; i++) {
		ck_assert(s->rc[i] == 0 || s->rc[i] == ECANCELED);
		stopped += s->rc[i] == ECANCELED;
		ck_assert(s->rc[i] == 0 || s->opened[i] <= s->raised);
	}
	ck_assert_int_le(stopped, s->raised != 0);
	sigaction(SIGUSR2, NULL, &now);
	ck_assert(now.sa_handler == count_signal);
}

START_TEST(test_signal_nurseries_come_and_go_under_their_signal)
{
	struct stopped s = { .wrong = 0 };
	const struct race race = { .racers = 2, .run = { open_and_close,
		raise_perhaps }, .after = look_at_end };

	handle(SIGUSR2, 0);
	race_run(&race, &s, rounds(1000));
}
END_TEST

/* ---- a function and the close ---- */

struct called {
	struct nursery *n;
	int inside, calls, at_close, late, rc;
};

static void
work_a_little(int signo, void *arg)
{
	struct called *c = arg;
	int i;

	(void)signo;
	count_up(&c->inside);
	for (i = 0; i < 20; i++)
		sched_yield();
	count_up(&c->calls);
	__atomic_fetch_sub(&c->inside, 1, __ATOMIC_SEQ_CST);
}

static void
open_with_function(void *ctx, struct rng *r)
{
	struct called *c = ctx;
	struct nursery_attr a = NURSERY_ATTR_INIT;

	(void)r;
	a.flags = NURSERY_UNBOUND;
	c->calls = c->late = 0;
	c->n = open_root(&a);
	ck_assert_int_eq(nursery_on_signal(c->n, SIGUSR2, work_a_little, c),
	    0);
}

static void
close_meanwhile(void *ctx, struct rng *r)
{
	struct called *c = ctx;

	linger(r, 1u << (8 + rng_below(r, 8)));
	c->rc = nursery_close(&c->n);
	/* No function runs, and none will. */
	c->late = counted(&c->inside);
	c->at_close = counted(&c->calls);
}

static void
raise_twice(void *ctx, struct rng *r)
{
	(void)ctx;
	raise(SIGUSR2);
	linger(r, 1000);
	raise(SIGUSR2);
}

static void
look_at_calls(void *ctx)
{
	const struct called *c = ctx;

	ck_assert_int_eq(c->rc, 0);
	ck_assert_int_eq(c->late, 0);
	ck_assert_int_eq(c->calls, c->at_close);
	ck_assert_int_le(c->calls, 2);
}

START_TEST(test_signal_function_does_not_run_after_the_close)
{
	struct called c = { .n = NULL };
	const struct race race = { .racers = 2, .run = { close_meanwhile,
		raise_twice }, .before = open_with_function,
		.after = look_at_calls };

	handle(SIGUSR2, 0);
	race_run(&race, &c, rounds(1000));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("signal");
	TCase *c = leakless_case("signal");

	tcase_add_loop_test(c, test_signal_storm_over_a_reader, 0, 4);
	tcase_add_loop_test(c, test_signal_storm_over_a_writer, 0, 2);
	tcase_add_test(c, test_signal_storm_over_waits);
	tcase_add_test(c,
	    test_signal_nurseries_come_and_go_under_their_signal);
	tcase_add_test(c, test_signal_function_does_not_run_after_the_close);
	suite_add_tcase(s, c);
	announce_seed("stress_signal");
	return run_suite(s);
}
