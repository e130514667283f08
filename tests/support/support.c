/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>

int
run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void
assert_nothing_lives(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.nurseries, 0);
	ck_assert_uint_eq(s.tasks_running, 0);
	ck_assert_uint_eq(s.tasks_queued, 0);
	ck_assert_uint_eq(s.tokens, 0);
}

TCase *
leakless_case(const char *name)
{
	TCase *c = tcase_create(name);

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, NULL, assert_nothing_lives);
	return c;
}

void
gate_init(struct gate *g)
{
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	g->arrived = g->open = 0;
}

void
gate_pass(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->arrived++;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void
gate_await(struct gate *g, int count)
{
	pthread_mutex_lock(&g->lock);
	while (g->arrived < count)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void
gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = 1;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

static int
count_in_dump(const char *op)
{
	char *text = NULL, where[64];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	const char *at;
	int n = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(nursery_dump(f, NURSERY_TEXT), 0);
	fclose(f);
	snprintf(where, sizeof where, " in %s", op);
	for (at = text; (at = strstr(at, where)) != NULL; at++)
		n++;
	free(text);
	return n;
}

void
await_tasks_in(const char *op, int count)
{
	int64_t until = nursery_after(30 * NURSERY_SECOND);

	while (count_in_dump(op) != count) {
		ck_assert_msg(nursery_now() < until, "no %d tasks in %s",
		    count, op);
		sched_yield();
	}
}
