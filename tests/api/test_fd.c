/* SPDX-License-Identifier: MIT */
/* Descriptors of tokens: readable once the level is reached, and for ever;
 * one a token and level; whose they are, and until when. */
#include "race.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static struct nursery_token *
child(struct nursery_token *parent)
{
	struct nursery_token *t;

	ck_assert_int_eq(nursery_token_new(&t, parent), 0);
	return t;
}

static bool
readable_by(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && p.revents == POLLIN;
}

static bool
readable(int fd)
{
	return readable_by(fd, 0);
}

static int
fd_of(struct nursery_token *t)
{
	int fd = -1;

	ck_assert_int_eq(nursery_token_fd(t, &fd), 0);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

START_TEST(test_fd_is_readable_once_the_token_is_cancelled)
{
	struct nursery_token *p = child(NULL), *t = child(p);
	int fd = fd_of(t);

	ck_assert(!readable(fd));
	ck_assert(nursery_token_raise(p, NURSERY_DRAIN, 0, NULL));
	ck_assert(!readable(fd));
	ck_assert(nursery_token_cancel(p));
	ck_assert(readable(fd));
	ck_assert(nursery_token_raise(p, NURSERY_ABORT, 0, NULL));
	ck_assert(readable(fd));
	nursery_token_unref(t);
	nursery_token_unref(p);
}
END_TEST

START_TEST(test_fd_of_a_cancelled_token_is_readable_at_once)
{
	struct nursery_token *t = child(NULL);

	nursery_token_cancel(t);
	ck_assert(readable(fd_of(t)));
	nursery_token_unref(t);
}
END_TEST

/* Each level has its own, and the same one each time. */
START_TEST(test_fd_is_one_a_level)
{
	struct nursery_token *t = child(NULL);
	int fd[4], again, l;

	for (l = NURSERY_DRAIN; l <= NURSERY_ABORT; l++)
		ck_assert_int_eq(nursery_token_level_fd(t,
		    (enum nursery_level)l, &fd[l]), 0);
	ck_assert_int_ne(fd[1], fd[2]);
	ck_assert_int_ne(fd[2], fd[3]);
	ck_assert_int_eq(fd_of(t), fd[NURSERY_CANCEL]);
	for (l = NURSERY_DRAIN; l <= NURSERY_ABORT; l++) {
		nursery_token_raise(t, (enum nursery_level)l, 0, NULL);
		ck_assert_int_eq(readable(fd[1]), 1);
		ck_assert_int_eq(readable(fd[2]), l >= NURSERY_CANCEL);
		ck_assert_int_eq(readable(fd[3]), l >= NURSERY_ABORT);
		ck_assert_int_eq(nursery_token_level_fd(t,
		    (enum nursery_level)l, &again), 0);
		ck_assert_int_eq(again, fd[l]);
	}
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_fd_is_closed_with_the_token)
{
	struct nursery_token *t = child(NULL), *k = child(t);
	int before = fd_of(t), fd;

	nursery_token_ref(t);
	nursery_token_unref(t);
	ck_assert(is_open(before));
	fd = fd_of(k);
	ck_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	nursery_token_unref(k);
	ck_assert(!is_open(fd));
	nursery_token_unref(t);
	ck_assert(!is_open(before));
}
END_TEST

/* Only who asks has one. */
START_TEST(test_fd_is_made_for_those_who_ask)
{
	struct nursery_token *t = child(NULL), *k[100];
	int i, fd;

	for (i = 0; i < 100; i++)
		k[i] = child(t);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fd_of(k[50]), fd + 1);
	close(fd);
	for (i = 0; i < 100; i++)
		nursery_token_unref(k[i]);
	nursery_token_unref(t);
}
END_TEST

/* No descriptor: it says so, and all is as before. */
START_TEST(test_fd_shortage_loses_nothing)
{
	struct rlimit old, none;
	struct nursery_token *t = child(NULL);
	int fd = -77;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(nursery_token_fd(t, &fd), EMFILE);
	ck_assert_int_eq(fd, -77);
	ck_assert(nursery_token_cancel(t));
	ck_assert_int_eq(nursery_token_fd(t, &fd), EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(readable(fd_of(t)));
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_fd_of_a_join_hears_each_parent)
{
	struct nursery_token *const p[] = { child(NULL), child(NULL) };
	struct nursery_token *t;
	int fd;

	ck_assert_int_eq(nursery_token_new_any(&t, p, 2), 0);
	fd = fd_of(t);
	ck_assert(nursery_token_cancel(p[1]));
	ck_assert(readable(fd));
	nursery_token_unref(t);
	nursery_token_unref(p[0]);
	nursery_token_unref(p[1]);
}
END_TEST

START_TEST(test_fd_tells_of_a_deadline)
{
	struct nursery_token *t = child(NULL);
	int fd = fd_of(t);

	ck_assert_int_eq(nursery_token_set_deadline(t, nursery_now()), 0);
	ck_assert(readable_by(fd, 30000));
	ck_assert(nursery_token_is_cancelled(t));
	nursery_token_unref(t);
}
END_TEST

static void
look_at_fd(void *fd)
{
	*(int *)fd = readable(*(int *)fd) ? 1000 : -1000;
}

/* A callback may go on for a while: the loops are told first. */
START_TEST(test_fd_is_readable_before_callbacks_run)
{
	struct nursery_token *t = child(NULL);
	struct nursery_callback cb = { 0 };
	int fd = fd_of(t);

	nursery_token_on_cancel(t, &cb, look_at_fd, &fd);
	nursery_token_cancel(t);
	ck_assert_int_eq(fd, 1000);
	nursery_callback_remove(&cb);
	nursery_token_unref(t);
}
END_TEST

/* A hundred tokens in one epoll set: each reports itself and no other. */
START_TEST(test_fd_serves_an_epoll_loop)
{
	struct nursery_token *root = child(NULL), *t[100];
	struct epoll_event ev, got[128];
	int loop = epoll_create1(EPOLL_CLOEXEC), i, n;
	bool seen[100] = { false };

	ck_assert_int_ge(loop, 0);
	for (i = 0; i < 100; i++) {
		t[i] = child(root);
		ev = (struct epoll_event){ .events = EPOLLIN,
			.data.u32 = (uint32_t)i };
		ck_assert_int_eq(epoll_ctl(loop, EPOLL_CTL_ADD, fd_of(t[i]),
		    &ev), 0);
	}
	ck_assert_int_eq(epoll_wait(loop, got, 128, 0), 0);
	ck_assert(nursery_token_cancel(t[42]));
	ck_assert_int_eq(epoll_wait(loop, got, 128, 0), 1);
	ck_assert_uint_eq(got[0].data.u32, 42);
	ck_assert(nursery_token_cancel(root));
	n = epoll_wait(loop, got, 128, 0);
	ck_assert_int_eq(n, 100);
	for (i = 0; i < n; i++)
		seen[got[i].data.u32] = true;
	for (i = 0; i < 100; i++)
		ck_assert(seen[i]);
	/* Released tokens leave the set by themselves. */
	for (i = 0; i < 100; i++)
		nursery_token_unref(t[i]);
	ck_assert_int_eq(epoll_wait(loop, got, 128, 0), 0);
	close(loop);
	nursery_token_unref(root);
}
END_TEST

struct loop {
	struct nursery_token *token;
	struct gate ready;
	int result;
};

static void *
wait_in_epoll(void *arg)
{
	struct loop *l = arg;
	struct epoll_event ev = { .events = EPOLLIN };
	int loop = epoll_create1(EPOLL_CLOEXEC), fd = -1;

	if (nursery_token_fd(l->token, &fd) == 0)
		(void)epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev);
	gate_pass(&l->ready);
	l->result = epoll_wait(loop, &ev, 1, 30000);
	close(loop);
	return NULL;
}

/* A loop that sleeps is woken from another thread. */
START_TEST(test_fd_wakes_a_loop)
{
	struct loop l = { .token = child(NULL) };
	pthread_t id;

	gate_init(&l.ready);
	id = start_thread(wait_in_epoll, &l);
	gate_await(&l.ready, 1);
	gate_open(&l.ready);
	await_others_asleep();
	ck_assert(nursery_token_cancel(l.token));
	(void)end_thread(id);
	ck_assert_int_eq(l.result, 1);
	nursery_token_unref(l.token);
}
END_TEST

/* ---- fork ---- */

static int
in_child(void *arg)
{
	struct nursery_token **t = arg, *own;
	int fd = -77, had = -77;

	/* Inherited: inert, and the number stays taken. */
	if (nursery_token_fd(t[0], &fd) != EOWNERDEAD || fd != -77)
		return 1;
	had = (int)(intptr_t)t[1];
	nursery_token_unref(t[0]);
	if (!is_open(had) || readable(had))
		return 2;
	/* New ones are as ever. */
	if (nursery_token_new(&own, NULL) != 0 ||
	    nursery_token_fd(own, &fd) != 0 || fd == had)
		return 3;
	nursery_token_cancel(own);
	if (!readable(fd) || readable(had))
		return 4;
	nursery_token_unref(own);
	return is_open(fd) ? 5 : 0;
}

START_TEST(test_fd_in_the_child_of_a_fork_is_inert)
{
	struct nursery_token *t[2] = { child(NULL), NULL };
	struct outcome o;

	t[1] = (struct nursery_token *)(intptr_t)fd_of(t[0]);
	run_forked(&o, in_child, t);
	assert_good(&o);
	nursery_token_cancel(t[0]);
	ck_assert(readable((int)(intptr_t)t[1]));
	nursery_token_unref(t[0]);
}
END_TEST

/* ---- races ---- */

struct fd_race {
	struct nursery_token *root, *t;
	int fd[2], rc[2];
	bool told[2];
};

static void
make_race(void *arg, struct rng *r)
{
	struct fd_race *x = arg;

	(void)r;
	x->root = child(NULL);
	x->t = child(x->root);
}

static void
ask(struct fd_race *x, int i)
{
	x->rc[i] = nursery_token_fd(x->t, &x->fd[i]);
}

static void
ask_0(void *arg, struct rng *r)
{
	(void)r;
	ask(arg, 0);
}

static void
ask_1(void *arg, struct rng *r)
{
	(void)r;
	ask(arg, 1);
}

static void
cancel_root(void *arg, struct rng *r)
{
	struct fd_race *x = arg;

	(void)r;
	nursery_token_cancel(x->root);
}

static void
after_asking(void *arg)
{
	struct fd_race *x = arg;

	ck_assert_int_eq(x->rc[0], 0);
	ck_assert_int_eq(x->rc[1], 0);
	ck_assert_int_eq(x->fd[0], x->fd[1]);
	ck_assert(readable(x->fd[0]));
	nursery_token_unref(x->t);
	ck_assert(!is_open(x->fd[0]));
	nursery_token_unref(x->root);
}

/* Two ask for the first time while a third cancels. */
START_TEST(test_fd_race_between_asking_and_cancel)
{
	static struct fd_race x;
	static const struct race race = { .racers = 3, .before = make_race,
		.run = { ask_0, ask_1, cancel_root }, .after = after_asking };

	race_run(&race, &x, rounds(3000));
}
END_TEST

static void
make_race_with_fd(void *arg, struct rng *r)
{
	struct fd_race *x = arg;

	make_race(arg, r);
	x->fd[0] = fd_of(x->t);
}

static void
release(void *arg, struct rng *r)
{
	struct fd_race *x = arg;

	(void)r;
	nursery_token_drop(&x->t);
	/* The number may be had by another at once; if it is rung then, it
	 * was not the token's. */
	x->fd[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
after_release(void *arg)
{
	struct fd_race *x = arg;

	close(x->fd[1]);
	ck_assert(!is_open(x->fd[0]));
	nursery_token_unref(x->root);
}

/* The token goes while the cancel is on its way to its descriptor. */
START_TEST(test_fd_race_between_release_and_cancel)
{
	static struct fd_race x;
	static const struct race race = { .racers = 2,
		.before = make_race_with_fd, .run = { release, cancel_root },
		.after = after_release };

	race_run(&race, &x, rounds(3000));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fd");
	TCase *c = leakless_case("fd");

	announce_seed("test_fd");
	tcase_add_test(c, test_fd_is_readable_once_the_token_is_cancelled);
	tcase_add_test(c, test_fd_of_a_cancelled_token_is_readable_at_once);
	tcase_add_test(c, test_fd_is_one_a_level);
	tcase_add_test(c, test_fd_is_closed_with_the_token);
	tcase_add_test(c, test_fd_is_made_for_those_who_ask);
	tcase_add_test(c, test_fd_shortage_loses_nothing);
	tcase_add_test(c, test_fd_of_a_join_hears_each_parent);
	tcase_add_test(c, test_fd_tells_of_a_deadline);
	tcase_add_test(c, test_fd_is_readable_before_callbacks_run);
	tcase_add_test(c, test_fd_serves_an_epoll_loop);
	tcase_add_test(c, test_fd_wakes_a_loop);
	tcase_add_test(c, test_fd_in_the_child_of_a_fork_is_inert);
	tcase_add_test(c, test_fd_race_between_asking_and_cancel);
	tcase_add_test(c, test_fd_race_between_release_and_cancel);
	suite_add_tcase(s, c);
	return run_suite(s);
}
