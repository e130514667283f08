/* SPDX-License-Identifier: MIT */
/*
 * Each scenario is run with its 1st, 2nd, 3rd ... request for memory, a
 * thread or a descriptor failing, until it passes untouched: once with that
 * request alone, once with all later ones too.  Every point must have been
 * reached; the call gives a documented code; nothing is left.
 */
#include "support.h"

#include "base/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int calls, fail_at, lasting, hits;

static bool
hook(enum nur_resource r)
{
	int k = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);

	(void)r;
	if (k != fail_at && !(lasting && k > fail_at))
		return false;
	__atomic_fetch_add(&hits, 1, __ATOMIC_SEQ_CST);
	return true;
}

static int
shortage(int rc)
{
	return rc == 0 || rc == ENOMEM || rc == EAGAIN || rc == EMFILE;
}

static int
nothing(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return 0;
}

static void
tokens(void)
{
	struct nursery_token *p = NULL, *c = NULL, *s = NULL, *a = NULL;
	int rc = nursery_token_new(&p, NULL);

	ck_assert(shortage(rc));
	if (rc != 0)
		return;
	ck_assert(shortage(nursery_token_new(&c, p)));
	ck_assert(shortage(nursery_token_new_at(&a, p, NURSERY_DRAIN)));
	ck_assert(shortage(nursery_token_new_shielded(&s, p,
	    nursery_after(NURSERY_SECOND * 100))));
	ck_assert(shortage(nursery_token_set_deadline(p,
	    nursery_after(NURSERY_SECOND * 100))));
	/* These cannot fail for want of anything. */
	ck_assert(nursery_token_cancel(p));
	ck_assert(c == NULL || nursery_token_is_cancelled(c));
	ck_assert(a == NULL || nursery_token_is_cancelled(a));
	ck_assert(s == NULL || !nursery_token_is_cancelled(s));
	rc = nursery_token_wait(p, NURSERY_NEVER);
	ck_assert_int_eq(rc, 0);
	nursery_token_unref(p);
	nursery_token_unref(c);
	nursery_token_unref(a);
	nursery_token_unref(s);
}

static void
waits(void)
{
	struct nursery_token *t;
	struct pollfd p;
	char byte;
	int fds[2], rc;

	if (nursery_token_new(&t, NULL) != 0)
		return;
	ck_assert_int_eq(pipe(fds), 0);
	rc = nursery_token_wait(t, 1);
	ck_assert(rc == ETIMEDOUT || rc == ENOMEM);
	rc = nursery_sleep(t, 1);
	ck_assert(rc == 0 || rc == ENOMEM);
	ck_assert_int_eq(nursery_read(t, fds[0], &byte, 1, 1), -1);
	ck_assert(errno == ETIMEDOUT || shortage(errno));
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	rc = nursery_poll(t, &p, 1, 1);
	ck_assert(rc == 0 || shortage(errno));
	close(fds[0]);
	close(fds[1]);
	nursery_token_unref(t);
}

static int
run_nothing(void *arg)
{
	return *(int *)arg;
}

static void
runs(void)
{
	struct nursery_token *t;
	int seven = 7, result = 0, rc;

	if (nursery_token_new(&t, NULL) != 0)
		return;
	rc = nursery_token_run(t, run_nothing, &seven, &result);
	ck_assert(shortage(rc));
	ck_assert_int_eq(result, rc == 0 ? 7 : 0);
	nursery_token_unref(t);
}

static void
nurseries(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_report *report;
	struct nursery *n, *inner = NULL;
	char long_copy[500] = { 0 };
	int rc, i;

	a.deadline = nursery_after(NURSERY_SECOND * 100);
	rc = nursery_open(&n, &a);
	ck_assert(shortage(rc));
	if (rc != 0)
		return;
	ck_assert(shortage(nursery_open_child(&inner, n, NULL)));
	for (i = 0; i < 3; i++)
		ck_assert(shortage(nursery_spawn(n, nothing, NULL)));
	ck_assert(shortage(nursery_spawn_copy(n, nothing, long_copy,
	    sizeof long_copy)));
	ta.deadline = nursery_after(NURSERY_SECOND * 100);
	ta.flags = NURSERY_TASK_FINAL;
	ck_assert(shortage(nursery_spawn_with(n, &ta, nothing, NULL, NULL)));
	if (inner != NULL) {
		ck_assert(shortage(nursery_try_spawn(inner, nothing, NULL)));
		ck_assert_int_eq(nursery_close(&inner), 0);
	}
	rc = nursery_close_with(&n, &report);
	if (rc == ENOMEM)
		rc = nursery_close(&n);
	else
		nursery_report_free(report);
	ck_assert_int_eq(rc, 0);
}

static int
fail_twice(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return EIO;
}

/* The first error is kept, whatever memory says. */
static void
first_error(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	int spawned = 0, i;

	a.policy = NURSERY_COLLECT;
	if (nursery_open(&n, &a) != 0)
		return;
	for (i = 0; i < 3; i++)
		spawned += nursery_spawn(n, fail_twice, NULL) == 0;
	ck_assert_int_eq(nursery_close(&n), spawned > 0 ? EIO : 0);
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "tokens", tokens }, { "waits", waits }, { "runs", runs },
	{ "nurseries", nurseries }, { "first_error", first_error },
};
#define SCENARIOS	((int)(sizeof scenarios / sizeof scenarios[0]))

START_TEST(test_fault_every_point)
{
	int points = 0;

	nur_fault_hook = hook;
	for (lasting = 0; lasting < 2; lasting++) {
		for (fail_at = 0;; fail_at++) {
			calls = hits = 0;
			scenarios[_i].run();
			assert_nothing_lives();
			if (hits == 0)
				break;
			points++;
		}
		ck_assert_int_ge(fail_at, 1);
	}
	nur_fault_hook = NULL;
	printf("%s: %d points, each reached\n", scenarios[_i].name, points);
	fflush(stdout);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fault");
	TCase *c = tcase_create("fault");

	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, test_fault_every_point, 0, SCENARIOS);
	suite_add_tcase(s, c);
	return run_suite(s);
}
