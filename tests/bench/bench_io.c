/* SPDX-License-Identifier: MIT */
/*
 * What calls that can be cancelled cost: when there is something to do at
 * once, over the bare system call; and from a cancel until a call that waits
 * has returned, next to the barest wake-up of its kind.
 */
#include "bench.h"
#include "sleepers.h"

#include <limits.h>
#include <nursery.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- ready at once: how much more than the bare call ---- */

#define BATCH	100	/* calls: so many small sends fit a socket */
#define BATCHES	601

struct ends {
	int fd[2];
	void (*refill)(struct ends *e);
	void (*ours)(struct ends *e, struct nursery_token *t);
	void (*bare)(struct ends *e);
	double extra;
};

static void
fill(struct ends *e)
{
	char bytes[BATCH] = { 0 };

	BENCH_CHECK(write(e->fd[1], bytes, BATCH) == BATCH);
}

static void
drain(struct ends *e)
{
	char bytes[BATCH];
	ssize_t n, all = 0;

	while (all < BATCH && (n = read(e->fd[0], bytes, BATCH)) > 0)
		all += n;
	BENCH_CHECK(all == BATCH);
}

/* fn_ours and fn_bare: BATCH times the call, of one byte. */
#define CALL(name, ours_call, bare_call)				\
	static void							\
	name##_ours(struct ends *e, struct nursery_token *t)		\
	{								\
		char b = 0;						\
									\
		for (int i = 0; i < BATCH; i++)				\
			BENCH_CHECK((ours_call) == 1);			\
	}								\
									\
	static void							\
	name##_bare(struct ends *e)					\
	{								\
		char b = 0;						\
									\
		for (int i = 0; i < BATCH; i++)				\
			BENCH_CHECK((bare_call) == 1);			\
	}

CALL(read, nursery_read(t, e->fd[0], &b, 1, NURSERY_NEVER),
    read(e->fd[0], &b, 1))
CALL(write, nursery_write(t, e->fd[1], &b, 1, NURSERY_NEVER),
    write(e->fd[1], &b, 1))
CALL(recv, nursery_recv(t, e->fd[0], &b, 1, 0, NURSERY_NEVER),
    recv(e->fd[0], &b, 1, 0))
CALL(send, nursery_send(t, e->fd[1], &b, 1, 0, NURSERY_NEVER),
    send(e->fd[1], &b, 1, MSG_NOSIGNAL))

/* One batch of ours, one of the bare calls, in turns; the order changes, too,
 * as the first finds colder caches. */
static int
compare(struct nursery_token *t, void *arg)
{
	static double extra[BATCHES];
	struct ends *e = arg;
	int64_t ns[2], start;

	for (int i = 0; i < BATCHES; i++) {
		for (int k = 0; k < 2; k++) {
			bool ours = (k + i) % 2 == 0;

			if (e->refill == fill)
				fill(e);
			start = bench_now();
			if (ours)
				e->ours(e, t);
			else
				e->bare(e);
			ns[ours] = bench_now() - start;
			if (e->refill == drain)
				drain(e);
		}
		extra[i] = (double)(ns[1] - ns[0]) / BATCH;
	}
	e->extra = bench_median(extra, BATCHES);
	return 0;
}

static double
compare_in_task(struct ends *e)
{
	struct nursery *n = NULL;

	BENCH_CHECK(nursery_open(&n, NULL) == 0);
	BENCH_CHECK(nursery_spawn(n, compare, e) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	close(e->fd[0]);
	close(e->fd[1]);
	/* Less than nothing is nothing: below 0 a figure is taken again. */
	return e->extra > 0 ? e->extra : 0;
}

#define READY(name, how, make, call)					\
	static double							\
	name(void)							\
	{								\
		struct ends e = { { -1, -1 }, how, call##_ours,		\
			call##_bare, 0 };				\
									\
		BENCH_CHECK((make) == 0);				\
		return compare_in_task(&e);				\
	}

READY(read_pipe, fill, pipe(e.fd), read)
READY(read_socket, fill, socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd), read)
READY(write_pipe, drain, pipe(e.fd), write)
READY(write_socket, drain, socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd), write)
READY(recv_socket, fill, socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd), recv)
READY(send_socket, drain, socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd), send)

/* ---- from the cancel to the return ---- */

#define WAKES	201

struct wake {
	void (*wait)(struct wake *w);
	void (*wake)(struct wake *w);
	struct nursery_token *token;
	int fd[2];
	_Atomic uint32_t word;
	int64_t back;
};

static void
wait_read(struct wake *w)
{
	char byte;

	BENCH_CHECK(nursery_read(w->token, w->fd[0], &byte, 1,
	    NURSERY_NEVER) == -1);
}

static void
wait_recv(struct wake *w)
{
	char byte;

	BENCH_CHECK(nursery_recv(w->token, w->fd[0], &byte, 1, 0,
	    NURSERY_NEVER) == -1);
}

static void
wait_token(struct wake *w)
{
	BENCH_CHECK(nursery_token_wait(w->token, NURSERY_NEVER) == 0);
}

static void
wait_sleep(struct wake *w)
{
	BENCH_CHECK(nursery_sleep(w->token, NURSERY_NEVER) != 0);
}

static void
wait_eventfd(struct wake *w)
{
	uint64_t v;

	BENCH_CHECK(read(w->fd[0], &v, sizeof v) == sizeof v);
}

static void
wait_futex(struct wake *w)
{
	while (atomic_load(&w->word) == 0)
		bench_futex_wait(&w->word, 0);
}

static void
wake_token(struct wake *w)
{
	nursery_token_cancel(w->token);
}

static void
wake_eventfd(struct wake *w)
{
	const uint64_t one = 1;

	BENCH_CHECK(write(w->fd[0], &one, sizeof one) == sizeof one);
}

static void
wake_futex(struct wake *w)
{
	atomic_store(&w->word, 1);
	bench_futex_wake(&w->word, 1);
}

static int
waiter_task(struct nursery_token *t, void *arg)
{
	struct wake *w = arg;

	(void)t;
	w->wait(w);
	w->back = bench_now();
	return 0;
}

static void *
waiter_thread(void *arg)
{
	(void)waiter_task(NULL, arg);
	return NULL;
}

static double
wake_once(struct wake *w)
{
	int64_t start;

	/* Twice: a thread on its way to sleep may block for a moment. */
	for (int asleep = 0; asleep < 2;)
		asleep = bench_asleep() ? asleep + 1 : 0;
	start = bench_now();
	w->wake(w);
	return (double)start;
}

/* On a thread of the application, or in a task: microseconds, the median. */
static double
wakes(struct wake *w, bool in_task)
{
	static double us[WAKES];
	struct nursery *n = NULL;
	pthread_t id;
	double start;

	BENCH_CHECK(nursery_open(&n, NULL) == 0);
	for (int i = 0; i < WAKES; i++) {
		BENCH_CHECK(nursery_token_new(&w->token, NULL) == 0);
		atomic_store(&w->word, 0);
		if (in_task)
			BENCH_CHECK(nursery_spawn(n, waiter_task, w) == 0);
		else
			BENCH_CHECK(pthread_create(&id, NULL, waiter_thread,
			    w) == 0);
		start = wake_once(w);
		if (in_task)
			BENCH_CHECK(nursery_wait(n, NURSERY_NEVER) == 0);
		else
			pthread_join(id, NULL);
		us[i] = ((double)w->back - start) / 1e3;
		nursery_token_unref(w->token);
	}
	BENCH_CHECK(nursery_close(&n) == 0);
	return bench_median(us, WAKES);
}

static double
cancel_of(void (*wait)(struct wake *w), bool in_task)
{
	struct wake w = { wait, wake_token, NULL, { -1, -1 }, 0, 0 };

	BENCH_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, w.fd) == 0);
	return wakes(&w, in_task);
}

static double
read_task(void)
{
	return cancel_of(wait_read, true);
}

static double
read_thread(void)
{
	return cancel_of(wait_read, false);
}

static double
recv_task(void)
{
	return cancel_of(wait_recv, true);
}

static double
token_task(void)
{
	return cancel_of(wait_token, true);
}

static double
token_thread(void)
{
	return cancel_of(wait_token, false);
}

static double
sleep_task(void)
{
	return cancel_of(wait_sleep, true);
}

static double
bare_eventfd_in(bool in_task)
{
	struct wake w = { wait_eventfd, wake_eventfd, NULL, { -1, -1 }, 0,
		0 };

	w.fd[0] = eventfd(0, EFD_CLOEXEC);
	BENCH_CHECK(w.fd[0] >= 0);
	return wakes(&w, in_task);
}

static double
bare_futex_in(bool in_task)
{
	struct wake w = { wait_futex, wake_futex, NULL, { -1, -1 }, 0, 0 };

	return wakes(&w, in_task);
}

static double
eventfd_task(void)
{
	return bare_eventfd_in(true);
}

static double
eventfd_thread(void)
{
	return bare_eventfd_in(false);
}

static double
futex_task(void)
{
	return bare_futex_in(true);
}

static double
futex_thread(void)
{
	return bare_futex_in(false);
}

#define MORE	60	/* ns over the bare call */
#define PROMPT	1.5	/* times the bare wake-up */

static const struct bench_case cases[] = {
	{ "ready/read_pipe", "ns more", read_pipe, MORE, 0, { { 0 } } },
	{ "ready/read_socket", "ns more", read_socket, MORE, 0, { { 0 } } },
	{ "ready/write_pipe", "ns more", write_pipe, MORE, 0, { { 0 } } },
	{ "ready/write_socket", "ns more", write_socket, MORE, 0, { { 0 } } },
	{ "ready/recv", "ns more", recv_socket, MORE, 0, { { 0 } } },
	{ "ready/send", "ns more", send_socket, MORE, 0, { { 0 } } },
	{ "cancel/read_task", "us", read_task, 0, 0, {
		{ "bare eventfd", eventfd_task, PROMPT } } },
	{ "cancel/read_thread", "us", read_thread, 0, 0, {
		{ "bare eventfd", eventfd_thread, PROMPT } } },
	{ "cancel/recv_task", "us", recv_task, 0, 0, {
		{ "bare eventfd", eventfd_task, PROMPT } } },
	{ "cancel/token_task", "us", token_task, 0, 0, {
		{ "bare futex", futex_task, PROMPT } } },
	{ "cancel/token_thread", "us", token_thread, 0, 0, {
		{ "bare futex", futex_thread, PROMPT } } },
	{ "cancel/sleep_task", "us", sleep_task, 0, 0, {
		{ "bare futex", futex_task, PROMPT } } },
};

int
main(int argc, char **argv)
{
	return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
