/* SPDX-License-Identifier: MIT */
/* What went wrong in other libraries, once each: the name of the report is
 * with the test. */
#include "tasks.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct nursery *
open_on(int lane, struct nursery *parent)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.lane = lane;
	return parent == NULL ? open_root(&a) : open_inside(parent, &a);
}

/* ---- a tree of tasks that asks for all kinds of rest ---- */

struct branch {
	unsigned depth;
	int *ran;
};

static int
branch(struct nursery_token *t, void *arg)
{
	const struct branch *b = arg;
	struct branch kid = { b->depth - 1, b->ran };
	struct nursery *n;
	int rc = 0, i;

	count_up(b->ran);
	if (b->depth == 0)
		return nursery_sleep(t, nursery_after(NURSERY_MS)) == 0 ? 0 :
		    errno;
	if (b->depth % 2 == 0)
		usleep(100);	/* nobody is told */
	if (nursery_open_child(&n, nursery_current(), NULL) != 0)
		return ENOMEM;
	for (i = 0; i < 3 && rc == 0; i++)
		rc = nursery_spawn(n, branch, &kid);
	return nursery_close(&n) != 0 ? EIO : rc;
}

/* 3^0 + 3^1 + ... + 3^depth */
static int
branches(unsigned depth)
{
	int all = 1, row = 1;

	while (depth-- > 0)
		all += row *= 3;
	return all;
}

static void
grow(int lane)
{
	struct nursery *n = open_on(lane, NULL);
	int ran = 0;
	struct branch b = { 4, &ran };

	ck_assert_int_eq(nursery_spawn(n, branch, &b), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_int_eq(ran, branches(4));
}

/* oneTBB #2056: no worker in a container with one processor. */
START_TEST(test_peers_all_runs_on_one_cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	grow(_i == 0 ? NURSERY_BLOCKING : NURSERY_COMPUTE);
}
END_TEST

START_TEST(test_peers_all_runs_with_four_workers_a_cpu)
{
	char number[16];

	(void)snprintf(number, sizeof number, "%ld", 4 * sysconf(
	    _SC_NPROCESSORS_ONLN));
	ck_assert_int_eq(setenv("NURSERY_WORKERS", number, 1), 0);
	grow(NURSERY_COMPUTE);
}
END_TEST

/* ---- wake-ups ---- */

struct meeting {
	pthread_mutex_t lock;
	pthread_cond_t there;
	bool came;
};

static int
come(struct nursery_token *t, void *arg)
{
	struct meeting *m = arg;

	(void)t;
	pthread_mutex_lock(&m->lock);
	m->came = true;
	pthread_cond_signal(&m->there);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int
spawn_and_block(struct nursery_token *t, void *arg)
{
	struct meeting *m = arg;
	int rc = nursery_spawn(nursery_current(), come, m);

	(void)t;
	pthread_mutex_lock(&m->lock);
	while (rc == 0 && !m->came)
		pthread_cond_wait(&m->there, &m->lock);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

/* stdexec #1305: what a task pushes before it blocks wakes nobody. */
START_TEST(test_peers_who_spawns_and_blocks_is_served)
{
	struct meeting m = { PTHREAD_MUTEX_INITIALIZER,
		PTHREAD_COND_INITIALIZER, false };
	struct nursery *n;

	ck_assert_int_eq(setenv("NURSERY_WORKERS", _i == 0 ? "1" : "2", 1),
	    0);
	n = open_on(NURSERY_COMPUTE, NULL);
	ck_assert_int_eq(nursery_spawn(n, spawn_and_block, &m), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- more than one ---- */

struct pair {
	int lane;
	int ran;
};

static void *
open_and_close_often(void *arg)
{
	struct pair *p = arg;
	struct nursery *n;
	int i, k;

	for (i = 0; i < 200; i++) {
		n = open_on(p->lane, NULL);
		for (k = 0; k < 4; k++)
			ck_assert_int_eq(nursery_spawn(n, task_count,
			    &p->ran), 0);
		ck_assert_int_eq(nursery_close(&n), 0);
		ck_assert_int_eq(counted(&p->ran), 4 * (i + 1));
	}
	return NULL;
}

/* C-Thread-Pool #88: the end of one pool ends the other; glibc 12674, last
 * touch: a task that ends touches what its close has freed. */
START_TEST(test_peers_two_roots_come_and_go)
{
	struct pair p[2] = { { _i % 2 == 0 ? NURSERY_COMPUTE :
	    NURSERY_BLOCKING, 0 }, { _i / 2 == 0 ? NURSERY_COMPUTE :
	    NURSERY_BLOCKING, 0 } };
	pthread_t id = start_thread(open_and_close_often, &p[0]);

	(void)open_and_close_often(&p[1]);
	(void)end_thread(id);
}
END_TEST

/* oneTBB: a map of all that is open is searched at each step. */
START_TEST(test_peers_ten_thousand_nurseries_are_open)
{
	const unsigned count = scaled(10000);
	struct nursery **all = calloc(count, sizeof(struct nursery *));
	struct nursery *root = open_on(NURSERY_COMPUTE, NULL);
	unsigned i;
	int ran = 0;

	ck_assert_ptr_nonnull(all);
	for (i = 0; i < count; i++) {
		all[i] = open_on(i % 100 == 0 ? NURSERY_BLOCKING :
		    NURSERY_LANE_INHERIT, root);
		ck_assert_int_eq(nursery_spawn(all[i], task_count, &ran), 0);
	}
	for (i = count; i-- > 0; )
		ck_assert_int_eq(nursery_close(&all[i]), 0);
	ck_assert_int_eq(nursery_close(&root), 0);
	ck_assert_int_eq(ran, (int)count);
	free(all);
}
END_TEST

/* A quarter of what the system lets this container have, or `wanted`. */
static unsigned
threads_to_be_had(unsigned wanted)
{
	static const char *const limits[] = { "/sys/fs/cgroup/pids.max",
		"/sys/fs/cgroup/pids/pids.max", "/proc/sys/kernel/threads-max",
		/* a stack is two mappings */
		"/proc/sys/vm/max_map_count" };
	unsigned i, limit;
	FILE *f;

	for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		f = fopen(limits[i], "r");
		if (f == NULL)
			continue;
		if (fscanf(f, "%u", &limit) == 1 && limit / 4 < wanted)
			wanted = limit / 4;
		fclose(f);
	}
	return wanted;
}

/* C-Thread-Pool #135: an end that takes a second a thread. */
START_TEST(test_peers_four_thousand_threads_end)
{
	const int count = (int)threads_to_be_had(scaled(4000));
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;
	struct gate g;
	int i;

	gate_init(&g);
	a.stack_size = 64 * 1024;
	n = open_root(&a);
	for (i = 0; i < count; i++)
		ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, count);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
}
END_TEST

/* ---- ends ---- */

static void *
wait_for(void *arg)
{
	int rc = nursery_wait(arg, NURSERY_NEVER);

	nursery_unref(arg);
	return (void *)(intptr_t)rc;
}

/* libdill #215: a close while another waits. */
START_TEST(test_peers_one_closes_while_another_waits)
{
	struct nursery *n = open_on(_i == 0 ? NURSERY_BLOCKING :
	    NURSERY_COMPUTE, NULL);
	struct gate g;
	pthread_t id;

	gate_init(&g);
	ck_assert_int_eq(nursery_spawn(n, task_at_gate, &g), 0);
	gate_await(&g, 1);
	id = start_thread(wait_for, nursery_ref(n));
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), 0);
	ck_assert_ptr_null(end_thread(id));
}
END_TEST

static pthread_key_t key;

/* The library may have taken leave of the thread already. */
static void
use_all_again(void *ran)
{
	struct nursery_token *t, *kid;
	struct nursery *n;

	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	ck_assert_int_eq(nursery_token_new(&kid, t), 0);
	ck_assert_int_eq(nursery_sleep(kid, nursery_now()), 0);
	nursery_token_unref(kid);
	nursery_token_unref(t);
	n = open_on(NURSERY_COMPUTE, NULL);
	ck_assert_int_eq(nursery_spawn(n, task_count, ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	n = open_on(NURSERY_BLOCKING, NULL);
	ck_assert_int_eq(nursery_spawn(n, task_count, ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
}

static void *
set_key(void *arg)
{
	struct nursery_token *t;

	/* Either was here first. */
	if (*(int *)arg == 0)
		pthread_setspecific(key, arg);
	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	ck_assert_int_eq(nursery_token_wait(t, nursery_now()), ETIMEDOUT);
	nursery_token_unref(t);
	pthread_setspecific(key, arg);
	return NULL;
}

/* nsync #12: what a thread has is used after its destructor ran. */
START_TEST(test_peers_destructors_of_threads_use_the_library)
{
	int ran = 0, i;

	ck_assert_int_eq(pthread_key_create(&key, use_all_again), 0);
	for (i = 0; i < 20; i++)
		(void)end_thread(start_thread(set_key, &ran));
	ck_assert_int_eq(ran, 40);
	pthread_key_delete(key);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("peers");
	TCase *c = leakless_case("peers");

	tcase_add_loop_test(c, test_peers_all_runs_on_one_cpu, 0, 2);
	tcase_add_test(c, test_peers_all_runs_with_four_workers_a_cpu);
	tcase_add_loop_test(c, test_peers_who_spawns_and_blocks_is_served, 0,
	    2);
	tcase_add_loop_test(c, test_peers_two_roots_come_and_go, 0, 4);
	tcase_add_test(c, test_peers_ten_thousand_nurseries_are_open);
	tcase_add_test(c, test_peers_four_thousand_threads_end);
	tcase_add_loop_test(c, test_peers_one_closes_while_another_waits, 0,
	    2);
	tcase_add_test(c, test_peers_destructors_of_threads_use_the_library);
	suite_add_tcase(s, c);
	return run_suite(s);
}
