/* SPDX-License-Identifier: MIT */
/* The dump and the counts: what they show, and whom they hold up. */
#include "tasks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct nursery *
open_named(const char *name, struct nursery *parent, unsigned max_running)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.name = name;
	a.max_running = max_running;
	return parent == NULL ? open_root(&a) : open_inside(parent, &a);
}

/* The line of the dump that has the text, or NULL; for free(). */
static char *
dump_line(const char *wanted)
{
	char *text = dump_text(), *line, *save = NULL, *found = NULL;

	for (line = strtok_r(text, "\n", &save); line != NULL && found ==
	    NULL; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, wanted) != NULL)
			found = strdup(line);
	free(text);
	return found;
}

static void
assert_in_line(const char *of, const char *wanted)
{
	char *line = dump_line(of);

	ck_assert_msg(line != NULL && strstr(line, wanted) != NULL,
	    "no \"%s\" in \"%s\"", wanted, line == NULL ? "(none)" : line);
	free(line);
}

/* ---- what it shows ---- */

START_TEST(test_dump_of_nothing_is_empty)
{
	char *text = dump_text();

	ck_assert_str_eq(text, "");
	free(text);
}
END_TEST

START_TEST(test_dump_shows_the_tree)
{
	struct nursery *n = open_named("outer", NULL, 0),
	    *inner = open_named("inner", n, 0), *other = open_named("other",
	    NULL, 0);
	char *text, *at_outer, *at_inner, *at_sleeper;

	spawn_named(inner, "sleeper", task_until_cancelled, NULL);
	await_tasks_in("sleep", 1);
	text = dump_text();
	at_outer = strstr(text, "nursery \"outer\"");
	at_inner = strstr(text, "nursery \"inner\"");
	at_sleeper = strstr(text, "\"sleeper\"");
	/* Each below its parent, and further to the right. */
	ck_assert(at_outer != NULL && at_inner > at_outer && at_sleeper >
	    at_inner);
	ck_assert_ptr_nonnull(strstr(text, "\n  nursery \"inner\""));
	ck_assert_ptr_nonnull(strstr(text, "\n    task "));
	ck_assert_ptr_nonnull(strstr(text, "nursery \"other\""));
	free(text);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&inner), ECANCELED);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_eq(nursery_close(&other), 0);
}
END_TEST

START_TEST(test_dump_shows_state_age_place_and_thread)
{
	struct nursery *n = open_named("watched", NULL, 1);

	spawn_named(n, "runs", task_until_cancelled, NULL);
	spawn_named(n, "queues", task_until_cancelled, NULL);
	await_tasks_in("sleep", 1);
	assert_in_line("\"watched\"", "open");
	assert_in_line("\"watched\"", "live");
	assert_in_line("\"watched\"", "running 1 queued 1");
	assert_in_line("\"runs\"", " running ");
	assert_in_line("\"runs\"", "s in sleep");
	assert_in_line("\"runs\"", " thread ");
	assert_in_line("\"queues\"", " queued ");
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_dump_shows_who_cancelled_and_why)
{
	struct nursery *n = open_named("told", NULL, 0);

	nursery_drain(n);
	assert_in_line("\"told\"", " drain");
	nursery_cancel_with(n, 4242, "a reason");
	assert_in_line("\"told\"", " cancel");
	assert_in_line("\"told\"", "4242");
	assert_in_line("\"told\"", "a reason");
	nursery_token_raise(nursery_token_of(n), NURSERY_ABORT,
	    NURSERY_SIGNAL(15), NULL);
	assert_in_line("\"told\"", " abort");
	assert_in_line("\"told\"", "signal 15");
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

static int
cancel_mine(struct nursery_token *t, void *id)
{
	(void)t;
	*(uint64_t *)id = nursery_task_id(nursery_self());
	nursery_cancel(nursery_current());
	return 0;
}

START_TEST(test_dump_shows_the_task_that_cancelled)
{
	struct nursery *n = open_named("suicidal", NULL, 0);
	char wanted[64];
	uint64_t id = 0;

	ck_assert_int_eq(nursery_spawn(n, cancel_mine, &id), 0);
	ck_assert_int_eq(nursery_wait(n, NURSERY_NEVER), 0);
	snprintf(wanted, sizeof wanted, "task %llu", (unsigned long long)id);
	assert_in_line("\"suicidal\"", wanted);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

/* Visible to dladdr, as functions of programs linked with -rdynamic are. */
int task_with_a_symbol(struct nursery_token *t, void *arg);

__attribute__((visibility("default"))) int
task_with_a_symbol(struct nursery_token *t, void *arg)
{
	return task_until_cancelled(t, arg);
}

START_TEST(test_dump_names_a_task_by_its_function)
{
	struct nursery *n = open_root(NULL);

	ck_assert_int_eq(nursery_spawn(n, task_with_a_symbol, NULL), 0);
	await_in_dump("\"task_with_a_symbol\"");
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

START_TEST(test_dump_cuts_long_names)
{
	struct nursery *n = open_named(
	    "0123456789012345678901234567890123456789", NULL, 0);

	assert_in_line("nursery", "\"0123456789012345678901234567890\"");
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- while things happen ---- */

static int
churn(struct nursery_token *t, void *arg)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *inner;
	int rc = 0;

	a.name = "inner";
	a.max_running = 2;
	while (!nursery_token_is_cancelled(t) && rc == 0) {
		rc = nursery_open_child(&inner, nursery_current(), &a);
		if (rc != 0)
			break;
		(void)nursery_spawn(inner, task_count, arg);
		(void)nursery_spawn(inner, task_count, arg);
		(void)nursery_spawn(inner, task_count, arg);
		rc = nursery_close(&inner);
	}
	return rc;
}

/* Every line is a nursery or a task, whatever goes on meanwhile. */
static bool
well_formed(char *text)
{
	char *line, *save = NULL;
	size_t blanks;

	for (line = strtok_r(text, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save)) {
		blanks = strspn(line, " ");
		if (blanks % 2 != 0 || blanks > 6)
			return false;
		if (strncmp(line + blanks, "nursery \"", 9) != 0 &&
		    strncmp(line + blanks, "task ", 5) != 0)
			return false;
	}
	return true;
}

START_TEST(test_dump_is_whole_while_things_happen)
{
	struct nursery *n = open_named("busy", NULL, 0);
	int ran = 0, i;
	char *text;

	for (i = 0; i < 3; i++)
		ck_assert_int_eq(nursery_spawn(n, churn, &ran), 0);
	/* On a busy machine the tasks may begin late. */
	for (i = 0; i < (int)scaled(500) || __atomic_load_n(&ran,
	    __ATOMIC_SEQ_CST) == 0; i++) {
		text = dump_text();
		ck_assert(well_formed(text));
		free(text);
	}
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	ck_assert_int_gt(ran, 0);
}
END_TEST

/* ---- streams ---- */

static void *
dump_to_pipe(void *arg)
{
	FILE *f = fdopen(*(int *)arg, "w");

	if (f == NULL)
		return NULL;
	setvbuf(f, NULL, _IONBF, 0);
	(void)nursery_dump(f, NURSERY_TEXT);
	fclose(f);
	return arg;
}

/*
 * The reader of the dump has gone to sleep: its pipe is full.  Whoever works
 * must not notice.
 */
START_TEST(test_dump_to_a_stream_that_blocks_stops_nobody)
{
	struct nursery *n = open_named("goes on", NULL, 0), *other;
	int fds[2], ran = 0;
	pthread_t id;
	char page[4096] = { 0 };

	ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], page, sizeof page) > 0)
		;
	while (write(fds[1], page, 1) > 0)
		;
	fcntl(fds[1], F_SETFL, 0);
	ck_assert_int_eq(nursery_spawn(n, task_until_cancelled, NULL), 0);
	await_tasks_in("sleep", 1);
	id = start_thread(dump_to_pipe, &fds[1]);
	await_others_asleep();
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	other = open_root(NULL);
	ck_assert_int_eq(nursery_close(&other), 0);
	nursery_cancel(n);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
	/* The reader wakes up. */
	while (read(fds[0], page, sizeof page) > 0)
		;
	fcntl(fds[0], F_SETFL, 0);
	while (read(fds[0], page, sizeof page) > 0)
		;
	ck_assert_ptr_nonnull(end_thread(id));
	close(fds[0]);
}
END_TEST

START_TEST(test_dump_to_a_full_device_is_eio)
{
	struct nursery *n = open_root(NULL);
	FILE *f = fopen("/dev/full", "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(nursery_dump(f, NURSERY_TEXT), EIO);
	fclose(f);
	/* No lock was left behind. */
	f = fopen("/dev/null", "we");
	ck_assert_int_eq(nursery_dump(f, NURSERY_TEXT), 0);
	fclose(f);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

START_TEST(test_dump_from_signal_says_that_it_is_not_built)
{
	char text[200] = { 0 };
	int fds[2];
	ssize_t n;

	ck_assert_int_eq(pipe(fds), 0);
	nursery_dump_from_signal(fds[1]);
	n = read(fds[0], text, sizeof text - 1);
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(text[n - 1], '\n');
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* ---- counts ---- */

static struct nursery_stats
stats(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	ck_assert_int_eq(nursery_get_stats(&s), 0);
	return s;
}

START_TEST(test_stats_count_what_there_is)
{
	struct nursery *n = open_named("counted", NULL, 2),
	    *inner = open_named("inner", n, 0);
	struct nursery_token *t = new_token(NULL), *k = new_token(t);
	struct gate g;
	int i;

	gate_init(&g);
	ck_assert_uint_eq(stats().nurseries, 2);
	/* A nursery's own token is not counted. */
	ck_assert_uint_eq(stats().tokens, 2);
	for (i = 0; i < 5; i++)
		ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	ck_assert_int_eq(nursery_spawn(inner, task_at_gate, &g), 0);
	gate_await(&g, 3);
	ck_assert_uint_eq(stats().tasks_running, 3);
	ck_assert_uint_eq(stats().tasks_queued, 3);
	ck_assert_uint_eq(stats().threads, 3);
	ck_assert_uint_eq(stats().idle_threads, 0);
	/* The task's own token is one more. */
	spawn_named(n, "with token", task_at_gate, &g);
	ck_assert_uint_eq(stats().tokens, 3);
	ck_assert_uint_eq(stats().tasks_queued, 4);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&inner), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_uint_eq(stats().nurseries, 0);
	ck_assert_uint_eq(stats().tasks_running, 0);
	ck_assert_uint_eq(stats().tasks_queued, 0);
	await_idle_threads(3);
	nursery_token_unref(k);
	nursery_token_unref(t);
	ck_assert_uint_eq(stats().tokens, 0);
}
END_TEST

START_TEST(test_stats_fill_structs_of_any_size)
{
	struct { struct nursery_stats s; uint64_t newer; } longer = {
		NURSERY_STATS_INIT, 77 };
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nursery *n = open_root(NULL);

	longer.s.size = sizeof longer;
	ck_assert_int_eq(nursery_get_stats(&longer.s), 0);
	ck_assert_uint_eq(longer.s.nurseries, 1);
	ck_assert_uint_eq(longer.newer, 77);
	s.size = offsetof(struct nursery_stats, tokens);
	s.tokens = 99;
	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.nurseries, 1);
	ck_assert_uint_eq(s.tokens, 99);
	ck_assert_uint_eq(s.size, offsetof(struct nursery_stats, tokens));
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("dump");
	TCase *c = leakless_case("dump");

	tcase_add_test(c, test_dump_of_nothing_is_empty);
	tcase_add_test(c, test_dump_shows_the_tree);
	tcase_add_test(c, test_dump_shows_state_age_place_and_thread);
	tcase_add_test(c, test_dump_shows_who_cancelled_and_why);
	tcase_add_test(c, test_dump_shows_the_task_that_cancelled);
	tcase_add_test(c, test_dump_names_a_task_by_its_function);
	tcase_add_test(c, test_dump_cuts_long_names);
	tcase_add_test(c, test_dump_is_whole_while_things_happen);
	tcase_add_test(c, test_dump_to_a_stream_that_blocks_stops_nobody);
	tcase_add_test(c, test_dump_to_a_full_device_is_eio);
	tcase_add_test(c, test_dump_from_signal_says_that_it_is_not_built);
	tcase_add_test(c, test_stats_count_what_there_is);
	tcase_add_test(c, test_stats_fill_structs_of_any_size);
	suite_add_tcase(s, c);
	return run_suite(s);
}
