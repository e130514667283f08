/* SPDX-License-Identifier: MIT */
/*
 * Forks in the middle of work: whatever lock a thread of the parent held at
 * that moment, the child finds everything whole, and new things work there.
 */
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many threads work when the parent forks. */
static unsigned
at_work(unsigned wanted)
{
	return fork_is_safe_while_threads_work() ? wanted : 0;
}

/* Keeps every part of the library busy. */
static int
churn(struct nursery_token *t, void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_token *kid, *below;
	struct nursery *inner;
	int rc = 0;

	a.max_running = 2;
	a.name = "inner";
	while (!nursery_token_is_cancelled(t) && rc == 0) {
		rc = nursery_open_child(&inner, nursery_current(), &a);
		if (rc != 0)
			break;
		(void)nursery_spawn(inner, task_count, arg);
		(void)nursery_spawn(inner, task_count, arg);
		(void)nursery_spawn(inner, task_count, arg);
		if (nursery_token_new(&kid, nursery_token_of(inner)) == 0) {
			(void)nursery_token_set_deadline(kid,
			    nursery_after(50 * NURSERY_US));
			if (nursery_token_new(&below, kid) == 0)
				nursery_token_unref(below);
			nursery_token_unref(kid);
		}
		(void)nursery_sleep(t, nursery_after(20 * NURSERY_US));
		rc = nursery_close(&inner);
	}
	return rc == 0 ? 0 : ECANCELED;
}

static void
nothing(void *arg)
{
	(void)arg;
}

/* Runs callbacks all the time: of many at once, so that their lock is held
 * again and again. */
static int
churn_callbacks(struct nursery_token *t, void *arg)
{
	struct nursery_callback cb[16];
	struct nursery_token *kid;
	unsigned i;

	(void)arg;
	while (!nursery_token_is_cancelled(t)) {
		if (nursery_token_new(&kid, t) != 0)
			return ENOMEM;
		for (i = 0; i < 16; i++)
			(void)nursery_token_on_cancel(kid, &cb[i], nothing,
			    NULL);
		(void)nursery_token_cancel(kid);
		for (i = 0; i < 16; i++)
			nursery_callback_remove(&cb[i]);
		nursery_token_unref(kid);
	}
	return ECANCELED;
}

/* In the child, which has 20 seconds for it: exit status 0 if all is well. */
static int
work_in_child(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nursery_token *p, *k;
	struct nursery *n, *inner;
	FILE *nowhere;
	int ran = 0, i;

	alarm(20);
	if (nursery_token_new(&p, NULL) != 0 || nursery_token_new(&k, p) != 0)
		return 1;
	if (nursery_token_set_deadline(p, 1) != 0 || nursery_token_wait(k,
	    NURSERY_NEVER) != 0)
		return 2;
	nursery_token_unref(k);
	nursery_token_unref(p);
	if (nursery_open(&n, NULL) != 0 || nursery_open_child(&inner, n,
	    NULL) != 0)
		return 3;
	for (i = 0; i < 4; i++)
		if (nursery_spawn(i % 2 ? n : inner, task_count, &ran) != 0)
			return 4;
	nowhere = fopen("/dev/null", "we");
	if (nowhere == NULL || nursery_dump(nowhere, NURSERY_TEXT) != 0)
		return 5;
	if (nursery_close(&inner) != 0 || nursery_close(&n) != 0 || ran != 4)
		return 6;
	if (nursery_get_stats(&s) != 0 || s.nurseries != 0 || s.tokens != 0)
		return 7;
	return 0;
}

START_TEST(test_fork_in_the_middle_of_work)
{
	struct nursery *n = open_root(NULL);
	unsigned i;
	int ran = 0, status;
	pid_t pid;

	for (i = 0; i < at_work(3); i++)
		ck_assert_int_eq(nursery_spawn(n, churn, &ran), 0);
	for (i = 0; i < at_work(2); i++)
		ck_assert_int_eq(nursery_spawn(n, churn_callbacks, NULL), 0);
	for (i = 0; i < rounds(100); i++) {
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			_exit(work_in_child());
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		    "child %u: status 0x%x", i, (unsigned)status);
	}
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert((ran > 0) == (at_work(3) > 0));
}
END_TEST

/* ---- among very many ---- */

/* The child also meets a handle that it has inherited. */
static int
work_beside_a_handle(struct nursery *n, struct nursery_task *t)
{
	if (nursery_task_wait(t, NURSERY_NEVER) != EOWNERDEAD ||
	    nursery_task_cancel(t) || nursery_close(&n) != EOWNERDEAD)
		return 20;
	nursery_task_unref(t);
	return work_in_child();
}

static void
fork_among(unsigned tasks, unsigned *total)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task *t = NULL;
	struct nursery *n;
	unsigned i;
	int ran = 0, status, result = -1;
	pid_t pid = -1;

	a.max_running = 4;
	n = open_root(&a);
	ck_assert_int_eq(nursery_spawn_with(n, NULL, task_count, &ran, &t),
	    0);
	for (i = 1; i < tasks; i++) {
		if (i == tasks / 2) {
			pid = fork();
			if (pid == 0)
				_exit(work_beside_a_handle(n, t));
		}
		ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_uint_eq((unsigned)ran, tasks);
	ck_assert_int_eq(nursery_task_join(&t, &result), 0);
	ck_assert_int_eq(result, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "status 0x%x", (unsigned)status);
	*total += tasks;
}

START_TEST(test_fork_in_the_middle_of_ten_thousand_tasks)
{
	unsigned i, total = 0;

	if (!fork_is_safe_while_threads_work())
		return;
	for (i = 0; i < rounds(10); i++)
		fork_among(scaled(10000), &total);
	printf("fork among %u tasks, %u times\n", total / i, i);
}
END_TEST

struct forker {
	int status, forked;
};

/* Tasks fork, too; their children exec or exit. */
static int
fork_and_wait(struct nursery_token *t, void *arg)
{
	struct forker *f = arg;
	pid_t pid;

	(void)t;
	pid = fork();
	if (pid == 0)
		_exit(work_in_child());
	f->forked = pid > 0 && waitpid(pid, &f->status, 0) == pid;
	return 0;
}

START_TEST(test_fork_by_several_tasks_at_once)
{
	struct nursery_token *dated = new_token(NULL);
	struct forker f[3];
	struct nursery *n;
	unsigned i, k, forkers = 1 + at_work(2);

	/* The parent has a timer thread, which no child inherits. */
	ck_assert_int_eq(nursery_token_set_deadline(dated,
	    nursery_after(3600 * NURSERY_SECOND)), 0);
	for (i = 0; i < rounds(50); i++) {
		n = open_root(NULL);
		for (k = 0; k < forkers; k++) {
			f[k] = (struct forker){ -1, 0 };
			ck_assert_int_eq(nursery_spawn(n, fork_and_wait,
			    &f[k]), 0);
		}
		ck_assert_int_eq(nursery_close(&n), 0);
		for (k = 0; k < forkers; k++)
			ck_assert_msg(f[k].forked && WIFEXITED(f[k].status) &&
			    WEXITSTATUS(f[k].status) == 0, "status 0x%x",
			    (unsigned)f[k].status);
	}
	nursery_token_unref(dated);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fork");
	TCase *c = leakless_case("fork");

	tcase_add_test(c, test_fork_in_the_middle_of_work);
	tcase_add_test(c, test_fork_in_the_middle_of_ten_thousand_tasks);
	tcase_add_test(c, test_fork_by_several_tasks_at_once);
	suite_add_tcase(s, c);
	announce_seed("stress_fork");
	return run_suite(s);
}
