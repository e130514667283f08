/* SPDX-License-Identifier: MIT */
/*
 * Time, version, and the environment, which is read once: each part that
 * depends on it is a new process.
 */
#include "tasks.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- time and version ---- */

START_TEST(test_time_never_goes_back)
{
	int64_t last = nursery_now(), now;
	int i;

	ck_assert(last > 0);
	for (i = 0; i < 10000; i++) {
		now = nursery_now();
		ck_assert(now >= last);
		last = now;
	}
}
END_TEST

START_TEST(test_time_after_adds_and_saturates)
{
	int64_t before = nursery_now(), at = nursery_after(NURSERY_SECOND);

	ck_assert(at >= before + NURSERY_SECOND);
	ck_assert(at <= nursery_now() + NURSERY_SECOND);
	ck_assert(nursery_after(NURSERY_NEVER) == NURSERY_NEVER);
	ck_assert(nursery_after(NURSERY_NEVER - 1) == NURSERY_NEVER);
	ck_assert(nursery_after(0) <= nursery_now());
	ck_assert(nursery_after(-1) <= nursery_now());
	ck_assert(nursery_after(INT64_MIN) <= nursery_now());
	ck_assert_int_eq(nursery_sleep(NULL, nursery_after(INT64_MIN)), 0);
}
END_TEST

START_TEST(test_version_is_three_numbers)
{
	unsigned major, minor, patch;
	char rest;

	ck_assert_int_eq(sscanf(nursery_version(), "%u.%u.%u%c", &major,
	    &minor, &patch, &rest), 3);
}
END_TEST

START_TEST(test_codes_of_signals_and_exits_are_apart_from_errors)
{
	int i;

	for (i = 1; i < 128; i++) {
		ck_assert_int_gt(NURSERY_SIGNAL(i), 4095);
		ck_assert_int_gt(NURSERY_EXIT(i), NURSERY_SIGNAL(127));
		ck_assert_int_eq(NURSERY_SIGNAL(i) & 0xffff, i);
		ck_assert_int_eq(NURSERY_EXIT(i) & 0xffff, i);
	}
}
END_TEST

/* ---- NURSERY_SIGNAL_NUMBER ---- */

/* Prints the signal that is in use, and breaks a call with it. */
static int
break_a_call(void *fd)
{
	char byte;

	return read(*(int *)fd, &byte, 1) < 0 ? errno : 0;
}

static int
signal_part(void)
{
	struct nursery_token *t;
	struct sigaction now;
	int fds[2], result = 0;

	fprintf(stderr, "signal %d\n", nursery_interrupt_signal());
	if (pipe(fds) != 0 || nursery_token_new(&t, NULL) != 0 ||
	    nursery_token_set_deadline(t, nursery_after(NURSERY_MS)) != 0)
		return 1;
	(void)nursery_token_run(t, break_a_call, &fds[0], &result);
	nursery_token_unref(t);
	close(fds[0]);
	close(fds[1]);
	if (result != 0 && result != EINTR)
		return 2;
	sigaction(nursery_interrupt_signal(), NULL, &now);
	return result == EINTR && now.sa_handler == SIG_DFL ? 3 : 0;
}

START_TEST(test_environment_signal_number)
{
	static const char *const given[] = { "NURSERY_SIGNAL_NUMBER=12",
		"NURSERY_SIGNAL_NUMBER=", "NURSERY_SIGNAL_NUMBER=x",
		"NURSERY_SIGNAL_NUMBER=9", "NURSERY_SIGNAL_NUMBER=19",
		"NURSERY_SIGNAL_NUMBER=0", "NURSERY_SIGNAL_NUMBER=-3",
		"NURSERY_SIGNAL_NUMBER=1000", "NURSERY_SIGNAL_NUMBER=12x",
		NULL };
	const char *env[] = { given[_i], NULL };
	struct outcome o;
	char line[32];

	run_again(&o, "signal", env);
	assert_good(&o);
	/* What cannot be is not taken: the default stands, and one line says
	 * so. */
	snprintf(line, sizeof line, "signal %d\n", _i == 0 ? 12 : SIGRTMIN +
	    5);
	ck_assert_ptr_nonnull(strstr(o.text, line));
	ck_assert((strstr(o.text, "NURSERY_SIGNAL_NUMBER") != NULL) == (_i >
	    0 && given[_i] != NULL));
}
END_TEST

/* ---- a set-user-ID program reads none of it ---- */

static int
secure_part(void)
{
	fprintf(stderr, "signal %d\n", nursery_interrupt_signal());
	/* LeakSanitizer cannot look at such a process, and would say so. */
	_exit(getauxval(AT_SECURE) != 0 ? 0 : 77);
}

static void
copy_self(const char *to)
{
	char buf[65536];
	ssize_t n;
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	ck_assert(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof buf)) > 0)
		ck_assert_int_eq(write(out, buf, (size_t)n), n);
	close(in);
	close(out);
}

static int
exec_copy(void *path)
{
	setenv("NUR_CHILD", "secure", 1);
	setenv("NURSERY_SIGNAL_NUMBER", "12", 1);
	execl(path, path, (char *)NULL);
	return 126;
}

/* Only root can make such a program; others skip it, and say so. */
START_TEST(test_environment_is_not_read_in_a_set_user_id_program)
{
	char dir[] = "/tmp/nursery-test-XXXXXX", path[64];
	struct outcome o;

	if (geteuid() != 0) {
		printf("not root: no set-user-ID program is tried\n");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	snprintf(path, sizeof path, "%s/suid", dir);
	copy_self(path);
	ck_assert_int_eq(chown(path, 65534, 65534), 0);
	ck_assert_int_eq(chmod(path, 04755), 0);
	run_forked(&o, exec_copy, path);
	unlink(path);
	rmdir(dir);
	if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77) {
		printf("mounted nosuid: no set-user-ID program is tried\n");
		return;
	}
	assert_good(&o);
	snprintf(path, sizeof path, "signal %d\n", SIGRTMIN + 5);
	ck_assert_str_eq(o.text, path);
}
END_TEST

static int
play(const char *part)
{
	if (strcmp(part, "signal") == 0)
		return signal_part();
	return strcmp(part, "secure") == 0 ? secure_part() : 99;
}

int
main(void)
{
	Suite *s;
	TCase *c;

	if (child_part() != NULL)
		return play(child_part());
	s = suite_create("environment");
	c = leakless_case("environment");
	tcase_add_test(c, test_time_never_goes_back);
	tcase_add_test(c, test_time_after_adds_and_saturates);
	tcase_add_test(c, test_version_is_three_numbers);
	tcase_add_test(c,
	    test_codes_of_signals_and_exits_are_apart_from_errors);
	tcase_add_loop_test(c, test_environment_signal_number, 0, 10);
	tcase_add_test(c,
	    test_environment_is_not_read_in_a_set_user_id_program);
	suite_add_tcase(s, c);
	return run_suite(s);
}
