/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
until_cancelled(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_sleep(t, NURSERY_NEVER);
}

static int
until_drained(struct nursery_token *t, void *arg)
{
	(void)arg;
	return nursery_token_wait_level(t, NURSERY_DRAIN, NURSERY_NEVER);
}

static int
at_gate(struct nursery_token *t, void *arg)
{
	(void)t;
	gate_pass(arg);
	return 0;
}

START_TEST(test_stop_drains_then_cancels)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery *n;

	how.drain_for = how.cancel_for = NURSERY_SECOND * 20;
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, until_drained, NULL), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), 0);
	how.drain_for = NURSERY_MS;
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, until_cancelled, NULL), 0);
	ck_assert_int_eq(nursery_stop(&n, &how, NULL), ECANCELED);
	ck_assert_ptr_null(n);
}
END_TEST

/* One task ignores everything: stop gives up in time and names it. */
START_TEST(test_stop_names_the_task_that_does_not_end)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_result r = NURSERY_RESULT_INIT;
	struct nursery_report *report = NULL;
	struct nursery *n;
	struct gate g;

	gate_init(&g);
	how.drain_for = how.cancel_for = how.abort_for = NURSERY_MS;
	how.code = 99;
	ta.name = "deaf";
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_spawn_with(n, &ta, at_gate, &g, NULL), 0);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &report), ETIMEDOUT);
	ck_assert_ptr_nonnull(n);
	ck_assert_uint_eq(nursery_report_unfinished(report), 1);
	ck_assert_int_eq(nursery_report_stuck(report, 0, &r), 0);
	ck_assert_str_eq(r.name, "deaf");
	ck_assert(r.task != 0 && r.started > 0);
	nursery_report_free(report);
	ck_assert_int_eq(nursery_token_level(nursery_token_of(n)),
	    NURSERY_ABORT);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_stop_signals_climb_and_say_who)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	struct sigaction before, after;
	struct nursery_token *t;
	struct nursery *n;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaction(SIGUSR2, NULL, &before);
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	t = nursery_token_of(n);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_DRAIN), 0);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_DRAIN),
	    EBUSY);
	kill(getpid(), SIGUSR2);
	ck_assert_int_eq(nursery_token_wait_level(t, NURSERY_DRAIN,
	    NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_token_cause(t, NURSERY_DRAIN, &cause),
	    NURSERY_SIGNAL(SIGUSR2));
	ck_assert_int_eq(cause.by_pid, getpid());
	kill(getpid(), SIGUSR2);
	ck_assert_int_eq(nursery_token_wait(t, NURSERY_NEVER), 0);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	sigaction(SIGUSR2, NULL, &after);
	ck_assert(before.sa_handler == after.sa_handler);
}
END_TEST

START_TEST(test_stop_third_signal_kills)
{
	struct nursery *n;
	sigset_t set;
	struct gate g;

	gate_init(&g);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_spawn(n, at_gate, &g), 0);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_DRAIN), 0);
	kill(getpid(), SIGTERM);
	nursery_token_wait_level(nursery_token_of(n), NURSERY_DRAIN,
	    NURSERY_NEVER);
	kill(getpid(), SIGTERM);
	nursery_token_wait(nursery_token_of(n), NURSERY_NEVER);
	kill(getpid(), SIGTERM);
	(void)nursery_close(&n);
}
END_TEST

START_TEST(test_stop_ignored_signal_stays_ignored)
{
	struct sigaction now;
	struct nursery *n;
	sigset_t set;

	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_stop_on_signals(n, &set, NURSERY_CANCEL), 0);
	sigaction(SIGUSR2, NULL, &now);
	ck_assert(now.sa_handler == SIG_IGN);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_stop_dump_shows_the_tree)
{
	struct nursery_task_attr ta = NURSERY_TASK_ATTR_INIT;
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n, *inner;
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	a.name = "outer";
	ta.name = "sleeper";
	ck_assert_int_eq(nursery_open(&n, &a), 0);
	a.name = "inner";
	ck_assert_int_eq(nursery_open_child(&inner, n, &a), 0);
	ck_assert_int_eq(nursery_spawn_with(inner, &ta, until_cancelled, NULL,
	    NULL), 0);
	await_tasks_in("sleep", 1);
	nursery_cancel_with(n, 5, "a reason");
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_dump(f, NURSERY_TEXT), 0);
	ck_assert_int_eq(nursery_dump(f, NURSERY_JSON), ENOTSUP);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "nursery \"outer\""));
	ck_assert_ptr_nonnull(strstr(text, "  nursery \"inner\""));
	ck_assert_ptr_nonnull(strstr(text, "a reason"));
	free(text);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("stop");
	TCase *c = leakless_case("stop");

	tcase_add_test(c, test_stop_drains_then_cancels);
	tcase_add_test(c, test_stop_names_the_task_that_does_not_end);
	tcase_add_test(c, test_stop_signals_climb_and_say_who);
	tcase_add_test_raise_signal(c, test_stop_third_signal_kills, SIGTERM);
	tcase_add_test(c, test_stop_ignored_signal_stays_ignored);
	tcase_add_test(c, test_stop_dump_shows_the_tree);
	suite_add_tcase(s, c);
	return run_suite(s);
}
