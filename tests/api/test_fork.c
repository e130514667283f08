/* SPDX-License-Identifier: MIT */
/*
 * After fork the child's inherited objects are inert: they answer at once
 * and do nothing; new ones work.
 */
#include "tasks.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child inherits. */
static struct nursery *n, *inner;
static struct nursery_token *t, *cancelled, *below;
static struct nursery_callback cb, fresh;
static struct gate gate;
static int ran;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;

static int faults;

#define EXPECT(e) \
	((e) ? (void)0 : (void)(faults++, fprintf(stderr, "not so: %s\n", #e)))

static int
error_of(ssize_t rc)
{
	return rc < 0 ? errno : 0;
}

static void
make_inheritance(void)
{
	gate_init(&gate);
	n = open_root(NULL);
	inner = open_inside(n, NULL);
	t = new_token(NULL);
	cancelled = new_token(NULL);
	below = new_token(t);
	ck_assert(nursery_token_cancel_with(cancelled, 7, NULL));
	ck_assert_int_eq(nursery_token_on_cancel(t, &cb, count_up, &ran), 0);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &gate), 0);
	gate_await(&gate, 1);
	/* Whatever thread serves such waits is the parent's. */
	pthread_mutex_lock(&mutex);
	ck_assert_int_eq(nursery_cond_wait(NULL, &cond, &mutex,
	    nursery_after(NURSERY_MS)), ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
}

static void
end_inheritance(void)
{
	gate_open(&gate);
	/* Here all is as before: nothing that the child did is seen. */
	ck_assert_int_eq(nursery_token_level(t), NURSERY_LIVE);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_LIVE);
	ck_assert(nursery_token_cancel(t));
	ck_assert(nursery_token_is_cancelled(below));
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&cb);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	nursery_token_unref(below);
	nursery_token_unref(t);
	nursery_token_unref(cancelled);
}

static void
tokens_in_child(void)
{
	struct nursery_token *out = NULL, *same = t;

	EXPECT(!nursery_token_is_cancelled(t));
	EXPECT(nursery_token_is_cancelled(cancelled));
	EXPECT(nursery_token_level(cancelled) == NURSERY_CANCEL);
	EXPECT(!nursery_token_cancel(t));
	EXPECT(!nursery_token_cancel_with(t, 1, NULL));
	EXPECT(!nursery_token_raise(t, NURSERY_ABORT, 1, NULL));
	EXPECT(!nursery_token_is_cancelled(t));
	EXPECT(nursery_token_new(&out, t) == EOWNERDEAD);
	EXPECT(nursery_token_new_at(&out, t, NURSERY_DRAIN) == EOWNERDEAD);
	EXPECT(nursery_token_new_shielded(&out, t, NURSERY_NEVER) ==
	    EOWNERDEAD);
	EXPECT(out == NULL);
	EXPECT(nursery_token_wait(t, NURSERY_NEVER) == EOWNERDEAD);
	EXPECT(nursery_token_wait_level(t, NURSERY_DRAIN, NURSERY_NEVER) ==
	    EOWNERDEAD);
	EXPECT(nursery_token_set_deadline(t, 1) == EOWNERDEAD);
	EXPECT(nursery_token_on_cancel(t, &fresh, count_up, &ran) ==
	    EOWNERDEAD);
	EXPECT(nursery_token_on_level(t, NURSERY_DRAIN, &fresh, count_up,
	    &ran) == EOWNERDEAD);
	EXPECT(nursery_callback_try_remove(&cb) == EOWNERDEAD);
	nursery_callback_remove(&cb);
	EXPECT(nursery_token_run(t, (int (*)(void *))abort, NULL, NULL) ==
	    EOWNERDEAD);
	EXPECT(nursery_token_ref(t) == t);
	nursery_token_unref(t);
	nursery_token_unref(t);
	nursery_token_unref(t);
	nursery_guard_drop(&same);
	EXPECT(same == NULL);
	same = t;
	nursery_token_drop(&same);
	EXPECT(same == NULL);
	EXPECT(!nursery_token_is_cancelled(t));
	EXPECT(ran == 0);
}

static void
scopes_in_child(void)
{
	struct nursery *mine = n, *out = NULL;
	struct nursery_report *r = NULL;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	EXPECT(nursery_open_child(&out, n, NULL) == EOWNERDEAD);
	EXPECT(nursery_open_under(&out, t, NULL) == EOWNERDEAD);
	EXPECT(nursery_open_under(&out, nursery_token_of(n), NULL) ==
	    EOWNERDEAD);
	EXPECT(out == NULL);
	EXPECT(nursery_adopt(n) == EOWNERDEAD);
	EXPECT(nursery_spawn(n, task_count, &ran) == EOWNERDEAD);
	EXPECT(nursery_try_spawn(n, task_count, &ran) == EOWNERDEAD);
	EXPECT(nursery_spawn_copy(n, task_count, "x", 1) == EOWNERDEAD);
	EXPECT(nursery_spawn_with(n, NULL, task_count, &ran, NULL) ==
	    EOWNERDEAD);
	EXPECT(nursery_wait(n, NURSERY_NEVER) == EOWNERDEAD);
	EXPECT(nursery_close(&mine) == EOWNERDEAD);
	EXPECT(nursery_close_with(&mine, &r) == EOWNERDEAD);
	EXPECT(nursery_stop(&mine, NULL, &r) == EOWNERDEAD);
	EXPECT(nursery_stop_on_signals(n, &set, NURSERY_DRAIN) ==
	    EOWNERDEAD);
	EXPECT(mine == n && r == NULL);
	nursery_cancel(n);
	nursery_cancel_with(n, 5, NULL);
	nursery_drain(n);
	EXPECT(nursery_token_level(nursery_token_of(n)) == NURSERY_LIVE);
	EXPECT(nursery_ref(n) == n);
	nursery_unref(n);
	nursery_unref(n);
	nursery_unref(n);
	nursery_drop(&mine);
	EXPECT(ran == 0);
}

static void
io_in_child(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct pollfd p = { .fd = 0, .events = POLLIN };
	char byte = 0;
	size_t done = 99;

	EXPECT(nursery_sleep(t, NURSERY_NEVER) == EOWNERDEAD);
	EXPECT(nursery_cond_wait(t, &cond, &mutex, NURSERY_NEVER) ==
	    EOWNERDEAD);
	EXPECT(nursery_sem_wait(t, &sem, NURSERY_NEVER) == EOWNERDEAD);
	EXPECT(error_of(nursery_poll(t, &p, 1, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_read(t, 0, &byte, 1, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_write(t, 1, &byte, 1, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_recv(t, 0, &byte, 1, 0, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_send(t, 0, &byte, 1, 0, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_sendfile(t, 1, 0, NULL, 1, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_accept(t, 0, NULL, NULL, NURSERY_NEVER)) ==
	    EOWNERDEAD);
	EXPECT(error_of(nursery_connect(t, 0, (struct sockaddr *)&to,
	    sizeof to, NURSERY_NEVER)) == EOWNERDEAD);
	EXPECT(nursery_read_full(t, 0, &byte, 1, &done, NURSERY_NEVER) ==
	    EOWNERDEAD);
	EXPECT(done == 0);
	EXPECT(nursery_write_all(t, 1, &byte, 1, &done, NURSERY_NEVER) ==
	    EOWNERDEAD);
}

static int
inert_in_child(void *unused)
{
	(void)unused;
	tokens_in_child();
	scopes_in_child();
	io_in_child();
	return faults;
}

START_TEST(test_fork_inherited_objects_are_inert)
{
	struct outcome o;

	make_inheritance();
	run_forked(&o, inert_in_child, NULL);
	end_inheritance();
	assert_good(&o);
}
END_TEST

/* ---- new ones work ---- */

static int
new_in_child(void *unused)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nursery_token *p, *k;
	struct nursery *mine, *under;
	int count = 0, i;

	(void)unused;
	EXPECT(nursery_current() == NULL && nursery_self() == NULL);
	EXPECT(nursery_get_stats(&s) == 0);
	EXPECT(s.threads == 0 && s.nurseries == 0 && s.tokens == 0);
	EXPECT(nursery_token_new(&p, NULL) == 0);
	EXPECT(nursery_token_new(&k, p) == 0);
	EXPECT(nursery_token_set_deadline(p, 1) == 0);
	EXPECT(nursery_token_wait(k, NURSERY_NEVER) == 0);
	EXPECT(nursery_token_cause(k, NURSERY_CANCEL, NULL) == ETIMEDOUT);
	EXPECT(nursery_open(&mine, NULL) == 0);
	EXPECT(nursery_open_child(&under, mine, NULL) == 0);
	for (i = 0; i < 10; i++)
		EXPECT(nursery_spawn(i % 2 ? mine : under, task_count,
		    &count) == 0);
	EXPECT(nursery_close(&under) == 0);
	EXPECT(nursery_close(&mine) == 0);
	EXPECT(count == 10);
	EXPECT(nursery_sleep(NULL, 1) == 0);
	/* With threads of the child's own, if the parent had some. */
	sem_init(&sem, 0, 0);
	EXPECT(nursery_sem_wait(NULL, &sem, nursery_after(NURSERY_MS)) ==
	    ETIMEDOUT);
	pthread_mutex_lock(&mutex);
	EXPECT(nursery_cond_wait(NULL, &cond, &mutex, nursery_after(
	    NURSERY_MS)) == ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
	nursery_token_unref(k);
	nursery_token_unref(p);
	EXPECT(nursery_get_stats(&s) == 0);
	EXPECT(s.nurseries == 0 && s.tokens == 0);
	return faults;
}

START_TEST(test_fork_new_objects_work_in_the_child)
{
	struct outcome o;

	make_inheritance();
	run_forked(&o, new_in_child, NULL);
	end_inheritance();
	assert_good(&o);
}
END_TEST

static int
signals_in_child(void *unused)
{
	struct nursery *mine;
	sigset_t set;

	(void)unused;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	EXPECT(nursery_open(&mine, NULL) == 0);
	EXPECT(nursery_stop_on_signals(mine, &set, NURSERY_DRAIN) == 0);
	kill(getpid(), SIGUSR1);
	EXPECT(nursery_token_wait_level(nursery_token_of(mine),
	    NURSERY_DRAIN, nursery_after(10 * NURSERY_SECOND)) == 0);
	EXPECT(nursery_close(&mine) == 0);
	return faults;
}

/* The parent's nursery had the same signals; in the child nobody has. */
START_TEST(test_fork_new_nursery_takes_signals_in_the_child)
{
	struct outcome o;
	struct nursery *stopped = open_root(NULL);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ck_assert_int_eq(nursery_stop_on_signals(stopped, &set,
	    NURSERY_DRAIN), 0);
	run_forked(&o, signals_in_child, NULL);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(stopped)),
	    NURSERY_LIVE);
	/* In the parent they work as before. */
	kill(getpid(), SIGUSR1);
	ck_assert_int_eq(nursery_token_wait_level(nursery_token_of(stopped),
	    NURSERY_DRAIN, patience()), 0);
	ck_assert_int_eq(nursery_close(&stopped), 0);
	assert_good(&o);
}
END_TEST

static int
fork_again(void *unused)
{
	struct nursery *mine;
	int status = -1;
	pid_t pid;

	(void)unused;
	EXPECT(nursery_open(&mine, NULL) == 0);
	pid = fork();
	if (pid == 0) {
		EXPECT(nursery_close(&mine) == EOWNERDEAD);
		_exit(new_in_child(NULL));
	}
	EXPECT(reap(pid, &status) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EXPECT(nursery_close(&mine) == 0);
	return faults;
}

START_TEST(test_fork_in_a_forked_child)
{
	struct outcome o;

	make_inheritance();
	run_forked(&o, fork_again, NULL);
	end_inheritance();
	assert_good(&o);
}
END_TEST

/* ---- a program that never opened a nursery ---- */

static int
tokens_only_in_child(void *unused)
{
	struct nursery_token *out = NULL, *mine;

	(void)unused;
	EXPECT(nursery_token_new(&out, t) == EOWNERDEAD);
	EXPECT(!nursery_token_cancel(t));
	EXPECT(nursery_token_wait(t, 0) == EOWNERDEAD);
	nursery_token_unref(t);
	/* The timer thread stayed in the parent; the child has its own. */
	EXPECT(nursery_token_new(&mine, NULL) == 0);
	EXPECT(nursery_token_set_deadline(mine, 1) == 0);
	EXPECT(nursery_token_wait(mine, nursery_after(10 * NURSERY_SECOND))
	    == 0);
	nursery_token_unref(mine);
	return faults;
}

START_TEST(test_fork_with_tokens_only)
{
	struct outcome o;

	t = new_token(NULL);
	ck_assert_int_eq(nursery_token_set_deadline(t, nursery_after(3600 *
	    NURSERY_SECOND)), 0);
	run_forked(&o, tokens_only_in_child, NULL);
	nursery_token_unref(t);
	assert_good(&o);
}
END_TEST

/* ---- a task that forks ---- */

struct forker {
	int status, faults;
	bool exits;		/* the child leaves by pthread_exit */
};

static int
fork_in_task(struct nursery_token *token, void *arg)
{
	struct forker *f = arg;
	pid_t pid;

	(void)token;
	pid = fork();
	if (pid == 0) {
		alarm(20);
		/* A task no more; and what it was given is inert. */
		if (nursery_self() != NULL || nursery_current() != NULL ||
		    nursery_token_cancel(token))
			_exit(3);
		if (f->exits)
			pthread_exit(NULL);
		return 0;
	}
	f->faults = reap(pid, &f->status) != pid;
	return 0;
}

/* By return (0), by pthread_exit (1). */
START_TEST(test_fork_in_a_task_leaving_fn_is_exit_127)
{
	struct nursery *mine = open_root(NULL);
	struct forker f = { -1, 0, _i == 1 };

	ck_assert_int_eq(nursery_spawn(mine, fork_in_task, &f), 0);
	ck_assert_int_eq(nursery_close(&mine), 0);
	ck_assert_int_eq(f.faults, 0);
	ck_assert_msg(WIFEXITED(f.status) && WEXITSTATUS(f.status) == 127,
	    "status 0x%x", (unsigned)f.status);
}
END_TEST

/* Guards in the child of a fork do nothing. */
static int
fork_under_guards(void *unused)
{
	nursery_auto struct nursery *mine = NULL;
	nursery_guard_auto struct nursery_token *g = NULL;
	int status = -1;
	pid_t pid;

	(void)unused;
	EXPECT(nursery_open(&mine, NULL) == 0);
	EXPECT(nursery_spawn(mine, task_until_cancelled, NULL) == 0);
	EXPECT(nursery_token_new(&g, NULL) == 0);
	pid = fork();
	if (pid == 0)
		return faults;
	EXPECT(reap(pid, &status) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EXPECT(!nursery_token_is_cancelled(g));
	return faults;
}

START_TEST(test_fork_guards_of_the_child_do_nothing)
{
	struct outcome o;

	run_forked(&o, fork_under_guards, NULL);
	assert_good(&o);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fork");
	TCase *c = leakless_case("fork");

	tcase_add_test(c, test_fork_inherited_objects_are_inert);
	tcase_add_test(c, test_fork_new_objects_work_in_the_child);
	tcase_add_test(c, test_fork_new_nursery_takes_signals_in_the_child);
	tcase_add_test(c, test_fork_in_a_forked_child);
	tcase_add_test(c, test_fork_with_tokens_only);
	tcase_add_loop_test(c, test_fork_in_a_task_leaving_fn_is_exit_127, 0,
	    2);
	tcase_add_test(c, test_fork_guards_of_the_child_do_nothing);
	suite_add_tcase(s, c);
	return run_suite(s);
}
