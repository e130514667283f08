/* SPDX-License-Identifier: MIT */
/* NULL, unknown flags, structs of other sizes, what is not built: one table
 * of calls and their documented codes, and nothing changed by any. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nursery *n;
static struct nursery_token *t;

static int
nothing(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	return 0;
}

static void
no_callback(void *arg)
{
	(void)arg;
}

static int
open_with(unsigned flags, int policy, int lane, int64_t shield)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *other;

	a.flags = flags;
	a.policy = policy;
	a.lane = lane;
	a.shield_until = shield;
	return nursery_open(&other, &a);
}

static int
open_long(int tail)
{
	struct { struct nursery_attr a; int tail; } big;
	struct nursery *other = NULL;
	int rc;

	memset(&big, 0, sizeof big);
	big.a.size = sizeof big;
	big.tail = tail;
	rc = nursery_open(&other, &big.a);
	return rc != 0 ? rc : nursery_close(&other);
}

static int
open_short(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *other;

	a.size = 1;
	return nursery_open(&other, &a);
}

static int
spawn_flags(unsigned flags, int64_t deadline, int64_t grace)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.flags = flags;
	a.deadline = deadline;
	a.grace = grace;
	return nursery_spawn_with(n, &a, nothing, NULL, NULL);
}

static int
spawn_handle(void)
{
	struct nursery_task *out;

	return nursery_spawn_with(n, NULL, nothing, NULL, &out);
}

static int
new_at(int level)
{
	struct nursery_token *out;

	return nursery_token_new_at(&out, t, (enum nursery_level)level);
}

static int
shield_root(void)
{
	struct nursery_token *out;

	return nursery_token_new_shielded(&out, NULL, NURSERY_NEVER);
}

static int
callback_level(int level)
{
	struct nursery_callback cb = { 0 };

	return nursery_token_on_level(t, (enum nursery_level)level, &cb,
	    no_callback, NULL);
}

static int
error_of(ssize_t rc)
{
	return rc < 0 ? errno : 0;
}

#define ROW(call, code)	{ #call, (call), (code) }

START_TEST(test_misuse_has_its_documented_code)
{
	struct nursery_token *out;
	struct nursery *open;
	struct nursery_callback cb = { 0 };
	struct nursery_stats stats = { 0 };
	struct nursery_stop stop = NURSERY_STOP_INIT;
	struct nursery_channel *channel;
	struct iovec iov = { NULL, 0 };
	struct msghdr msg;
	sigset_t set;
	int fd;
	size_t i;

	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGKILL);
	memset(&msg, 0, sizeof msg);
	stop.drain_for = -1;
	const struct { const char *what; int got, want; } rows[] = {
		ROW(nursery_token_new(NULL, NULL), EINVAL),
		ROW(new_at(NURSERY_LIVE), EINVAL),
		ROW(new_at(4), EINVAL),
		ROW(nursery_token_new_at(&out, NULL, NURSERY_DRAIN), EINVAL),
		ROW(shield_root(), EINVAL),
		ROW(nursery_token_new_any(&out, &t, 1), ENOTSUP),
		ROW(nursery_token_fd(t, &fd), ENOTSUP),
		ROW(nursery_token_level_fd(t, NURSERY_DRAIN, &fd), ENOTSUP),
		ROW(nursery_signal_arm(), ENOTSUP),
		ROW(nursery_token_cancel(NULL), 0),
		ROW(nursery_token_raise(t, NURSERY_LIVE, 0, NULL), 0),
		ROW(nursery_token_raise(t, (enum nursery_level)4, 0, NULL), 0),
		ROW(nursery_token_cause(NULL, NURSERY_CANCEL, NULL), 0),
		ROW(nursery_token_wait(NULL, 0), EINVAL),
		ROW(nursery_token_wait_level(t, NURSERY_LIVE, 0), EINVAL),
		ROW(nursery_token_set_deadline(NULL, 0), EINVAL),
		ROW(nursery_token_on_cancel(NULL, &cb, no_callback, 0),
		    EINVAL),
		ROW(nursery_token_on_cancel(t, NULL, no_callback, 0), EINVAL),
		ROW(nursery_token_on_cancel(t, &cb, NULL, 0), EINVAL),
		ROW(callback_level(0), EINVAL),
		ROW(callback_level(4), EINVAL),
		ROW(nursery_callback_try_remove(NULL), EINVAL),
		ROW(nursery_callback_try_remove(&cb), 0),
		ROW(nursery_token_run(t, NULL, NULL, NULL), EINVAL),
		ROW(nursery_open(NULL, NULL), EINVAL),
		ROW(open_with(8, 0, 0, 0), EINVAL),
		ROW(open_with(NURSERY_SHIELD, 0, 0, 0), EINVAL),
		ROW(open_with(0, 0, 0, 5), EINVAL),
		ROW(open_with(0, 3, 0, 0), EINVAL),
		ROW(open_with(0, 0, 3, 0), EINVAL),
		ROW(open_with(0, NURSERY_FIRST_SUCCESS, 0, 0), ENOTSUP),
		ROW(open_with(0, 0, NURSERY_COMPUTE, 0), ENOTSUP),
		ROW(open_long(1), E2BIG),
		ROW(open_long(0), 0),
		ROW(open_short(), EINVAL),
		ROW(nursery_open_child(&open, NULL, NULL), EINVAL),
		ROW(nursery_open_under(&open, NULL, NULL), EINVAL),
		ROW(nursery_adopt(NULL), EINVAL),
		ROW(nursery_spawn(NULL, nothing, NULL), EINVAL),
		ROW(nursery_spawn(n, NULL, NULL), EINVAL),
		ROW(nursery_try_spawn(n, NULL, NULL), EINVAL),
		ROW(nursery_spawn_copy(n, nothing, NULL, 1), EINVAL),
		ROW(spawn_flags(32, 0, 0), EINVAL),
		ROW(spawn_flags(NURSERY_TASK_FINAL, 0, 0), EINVAL),
		ROW(spawn_flags(NURSERY_TASK_SERVICE, 0, 0), ENOTSUP),
		ROW(spawn_flags(NURSERY_TASK_MAY_INLINE, 0, 0), ENOTSUP),
		ROW(spawn_flags(0, 0, 1), ENOTSUP),
		ROW(spawn_flags(0, -1, 0), EINVAL),
		ROW(spawn_handle(), ENOTSUP),
		ROW(nursery_start(n, NULL, nothing, NULL, NULL, 0), ENOTSUP),
		ROW(nursery_started(NULL), ENOTSUP),
		ROW(nursery_wait(NULL, 0), EINVAL),
		ROW(nursery_report_counts(NULL, NULL), EINVAL),
		ROW(nursery_report_print(NULL, stdout), EINVAL),
		ROW(nursery_stop(&n, &stop, NULL), EINVAL),
		ROW(nursery_stop_on_signals(n, &set, NURSERY_DRAIN), EINVAL),
		ROW(nursery_stop_on_signals(n, NULL, NURSERY_DRAIN), EINVAL),
		ROW(nursery_on_signal(n, 1, NULL, NULL), ENOTSUP),
		ROW(nursery_spawn_process(n, NULL, NULL, NULL), ENOTSUP),
		ROW(nursery_notify("READY=1"), ENOTSUP),
		ROW(nursery_dump(NULL, NURSERY_TEXT), EINVAL),
		ROW(nursery_dump(stdout, (enum nursery_format)7), EINVAL),
		ROW(nursery_get_stats(NULL), EINVAL),
		ROW(nursery_get_stats(&stats), EINVAL),
		ROW(nursery_cond_wait(t, NULL, NULL, 0), ENOTSUP),
		ROW(nursery_sem_wait(t, NULL, 0), ENOTSUP),
		ROW(nursery_channel_new(&channel, 1, 1), ENOTSUP),
		ROW(error_of(nursery_readv(t, 0, &iov, 1, 0)), ENOTSUP),
		ROW(error_of(nursery_writev(t, 1, &iov, 1, 0)), ENOTSUP),
		ROW(error_of(nursery_recvmsg(t, 0, &msg, 0, 0)), ENOTSUP),
		ROW(error_of(nursery_sendmsg(t, 0, &msg, 0, 0)), ENOTSUP),
		ROW(error_of(nursery_waitpid(t, 1, NULL, 0)), ENOTSUP),
		ROW(error_of(nursery_poll(t, NULL, 1, 0)), EINVAL),
	};
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		ck_assert_msg(rows[i].got == rows[i].want, "%s: %d, not %d",
		    rows[i].what, rows[i].got, rows[i].want);
	printf("%zu misuses, each with its code\n", i);
	ck_assert(!nursery_token_is_cancelled(t));
	nursery_token_unref(t);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_misuse_null_is_a_no_op_where_promised)
{
	struct nursery_token *none = NULL;
	struct nursery *no = NULL;

	ck_assert_ptr_null(nursery_token_ref(NULL));
	nursery_token_unref(NULL);
	nursery_token_drop(&none);
	nursery_token_drop(NULL);
	nursery_guard_drop(&none);
	ck_assert_ptr_null(nursery_token_take(&none));
	ck_assert(!nursery_token_is_cancelled(NULL));
	ck_assert_ptr_null(nursery_ref(NULL));
	nursery_unref(NULL);
	nursery_drop(&no);
	ck_assert_int_eq(nursery_close(NULL), 0);
	ck_assert_int_eq(nursery_close(&no), 0);
	ck_assert_int_eq(nursery_stop(&no, NULL, NULL), 0);
	nursery_cancel(NULL);
	nursery_drain(NULL);
	nursery_report_free(NULL);
	nursery_channel_close(NULL);
	nursery_channel_free(NULL);
}
END_TEST

START_TEST(test_misuse_too_many_unrefs_aborts)
{
	struct nursery_token *p, *k;

	ck_assert_int_eq(nursery_token_new(&p, NULL), 0);
	ck_assert_int_eq(nursery_token_new(&k, p), 0);
	ck_assert_int_eq(nursery_token_new(&k, p), 0);
	/* Two children keep the parent's memory: the second one is seen. */
	nursery_token_unref(p);
	nursery_token_unref(p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("misuse");
	TCase *c = leakless_case("misuse");
	TCase *fatal = tcase_create("fatal");

	tcase_add_test(c, test_misuse_has_its_documented_code);
	tcase_add_test(c, test_misuse_null_is_a_no_op_where_promised);
	tcase_add_test_raise_signal(fatal, test_misuse_too_many_unrefs_aborts,
	    SIGABRT);
	suite_add_tcase(s, c);
	suite_add_tcase(s, fatal);
	return run_suite(s);
}
