/* SPDX-License-Identifier: MIT */
/*
 * The compute lane next to oneTBB and OpenMP: what a task, a fork and a join cost.  Each
 * run has one processor or two, by its affinity, and so as many workers.  The
 * bars are the project's acceptance.
 */
#include "bench.h"
#include "peers.h"

#include <errno.h>
#include <nursery.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

static struct nursery *
open_compute(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n;

	a.lane = NURSERY_COMPUTE;
	BENCH_CHECK(nursery_open(&n, &a) == 0);
	return n;
}

static void
close_and_check(struct nursery *n, uint64_t tasks)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r;

	BENCH_CHECK(nursery_close_with(&n, &r) == 0);
	BENCH_CHECK(nursery_report_counts(r, &c) == 0);
	BENCH_CHECK(c.succeeded == tasks);
	nursery_report_free(r);
}

static int
nothing(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return 0;
}

/* ---- W1: one nursery, many empty tasks ---- */

static void
spawn_all(struct nursery *n)
{
	size_t i;

	for (i = 0; i < PEER_TASKS; i++)
		BENCH_CHECK(nursery_spawn(n, nothing, NULL) == 0);
}

static double
flat(int cpus)
{
	struct nursery *n;
	int64_t took;

	bench_use_cpus(cpus);
	n = open_compute();
	took = bench_now();
	spawn_all(n);
	close_and_check(n, PEER_TASKS);
	return (double)(bench_now() - took) / PEER_TASKS;
}

static double
flat_1(void)
{
	return flat(1);
}

static double
flat_2(void)
{
	return flat(2);
}

/* ---- W2: a nursery a call ---- */

struct fib {
	int n;
	long result;
};

static int
fib(struct nursery_token *t, void *arg)
{
	struct fib *f = arg, a = { f->n - 1, 0 }, b = { f->n - 2, 0 };
	struct nursery *n;

	if (f->n < 2) {
		f->result = f->n;
		return 0;
	}
	BENCH_CHECK(nursery_open_child(&n, nursery_current(), NULL) == 0);
	BENCH_CHECK(nursery_spawn(n, fib, &a) == 0);
	(void)fib(t, &b);
	BENCH_CHECK(nursery_close(&n) == 0);
	f->result = a.result + b.result;
	return 0;
}

static double
fork_join(int cpus)
{
	struct fib f = { PEER_FIB, 0 };
	struct nursery *n;
	int64_t took;

	bench_use_cpus(cpus);
	n = open_compute();
	took = bench_now();
	BENCH_CHECK(nursery_spawn(n, fib, &f) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	took = bench_now() - took;
	BENCH_CHECK(f.result == PEER_FIB_RESULT);
	return (double)took / PEER_FIB_FORKS;
}

static double
fork_join_1(void)
{
	return fork_join(1);
}

static double
fork_join_2(void)
{
	return fork_join(2);
}

/* ---- W3b: a nursery with one task ---- */

static double
one_task(struct nursery *parent)
{
	int64_t took = bench_now();
	struct nursery *n;
	size_t i;

	for (i = 0; i < PEER_OPS; i++) {
		BENCH_CHECK(nursery_open_child(&n, parent, NULL) == 0);
		BENCH_CHECK(nursery_spawn(n, nothing, NULL) == 0);
		BENCH_CHECK(nursery_close(&n) == 0);
	}
	return (double)(bench_now() - took) / PEER_OPS;
}

static int
one_task_inside(struct nursery_token *t, void *ns)
{
	(void)t;
	*(double *)ns = one_task(nursery_current());
	return 0;
}

static double
one_task_on_worker(void)
{
	struct nursery *n;
	double ns = 0;

	bench_use_cpus(2);
	n = open_compute();
	BENCH_CHECK(nursery_spawn(n, one_task_inside, &ns) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	return ns;
}

static double
one_task_from_outside(void)
{
	struct nursery *n;
	double ns;

	bench_use_cpus(2);
	n = open_compute();
	ns = one_task(n);
	BENCH_CHECK(nursery_close(&n) == 0);
	return ns;
}

/* ---- W9: four threads spawn into one nursery ---- */

static void
spawn_share(void *n, unsigned i)
{
	size_t k;

	(void)i;
	for (k = 0; k < PEER_TASKS / 4; k++)
		BENCH_CHECK(nursery_spawn(n, nothing, NULL) == 0);
}

static double
four_spawners(void)
{
	struct nursery *n;
	int64_t took;

	bench_use_cpus(2);
	n = open_compute();
	took = bench_now();
	(void)bench_together(4, spawn_share, n);
	close_and_check(n, PEER_TASKS);
	return (double)(bench_now() - took) / PEER_TASKS;
}

/* ---- W10: a tree of tasks, no two of its subtrees alike ---- */

#define TREE_NODES	(2 * PEER_FIB_FORKS + 1)

static int
node(struct nursery_token *t, void *arg)
{
	unsigned left = (unsigned)(uintptr_t)arg;
	struct nursery *n = nursery_current();

	(void)t;
	if (left < 2)
		return 0;
	BENCH_CHECK(nursery_spawn(n, node, (void *)(uintptr_t)(left - 1)) ==
	    0);
	BENCH_CHECK(nursery_spawn(n, node, (void *)(uintptr_t)(left - 2)) ==
	    0);
	return 0;
}

/* From the root on; so many tasks are in the nursery itself. */
static double
tree(int cpus, nursery_fn *root, uint64_t tasks)
{
	struct nursery *n;
	int64_t took;

	bench_use_cpus(cpus);
	n = open_compute();
	took = bench_now();
	BENCH_CHECK(nursery_spawn(n, root, (void *)(uintptr_t)PEER_FIB) == 0);
	close_and_check(n, tasks);
	return (double)(bench_now() - took) / TREE_NODES;
}

static double
tree_1(void)
{
	return tree(1, node, TREE_NODES);
}

static double
tree_2(void)
{
	return tree(2, node, TREE_NODES);
}

/* ---- W10n: the same, and each node opens a nursery for its children ---- */

static int
nested_node(struct nursery_token *t, void *arg)
{
	unsigned left = (unsigned)(uintptr_t)arg;
	struct nursery *n;

	(void)t;
	if (left < 2)
		return 0;
	BENCH_CHECK(nursery_open_child(&n, nursery_current(), NULL) == 0);
	BENCH_CHECK(nursery_spawn(n, nested_node, (void *)(uintptr_t)(left -
	    1)) == 0);
	BENCH_CHECK(nursery_spawn(n, nested_node, (void *)(uintptr_t)(left -
	    2)) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	return 0;
}

static double
nested_tree_1(void)
{
	return tree(1, nested_node, 1);
}

static double
nested_tree_2(void)
{
	return tree(2, nested_node, 1);
}

/* ---- W3: an empty nursery, in a task ---- */

static int
open_and_close(struct nursery_token *t, void *ns)
{
	int64_t took = bench_now();
	struct nursery *n;
	size_t i;

	(void)t;
	for (i = 0; i < PEER_OPS; i++) {
		BENCH_CHECK(nursery_open_child(&n, nursery_current(), NULL) ==
		    0);
		BENCH_CHECK(nursery_close(&n) == 0);
	}
	*(double *)ns = (double)(bench_now() - took) / PEER_OPS;
	return 0;
}

static double
empty_on_worker(void)
{
	struct nursery *n = open_compute();
	double ns = 0;

	BENCH_CHECK(nursery_spawn(n, open_and_close, &ns) == 0);
	BENCH_CHECK(nursery_close(&n) == 0);
	return ns;
}

/* ---- a long queue: its memory, and its end ---- */

/* Holds a place without blocking, until the cancel. */
static int
hold(struct nursery_token *t, void *there)
{
	atomic_fetch_add((atomic_uint *)there, 1);
	while (!nursery_token_is_cancelled(t))
		;
	return 0;
}

/* Nobody runs what is spawned then. */
static struct nursery *
open_held(unsigned cpus)
{
	static atomic_uint there;
	struct nursery *n;
	unsigned i;

	bench_use_cpus((int)cpus);
	n = open_compute();
	for (i = 0; i < cpus; i++)
		BENCH_CHECK(nursery_spawn(n, hold, &there) == 0);
	while (atomic_load(&there) < cpus)
		sched_yield();
	return n;
}

static void
close_held(struct nursery *n)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r;

	nursery_cancel(n);
	BENCH_CHECK(nursery_close_with(&n, &r) == ECANCELED);
	BENCH_CHECK(nursery_report_counts(r, &c) == 0);
	BENCH_CHECK(c.discarded == PEER_TASKS);
	nursery_report_free(r);
}

static double
queued_bytes(void)
{
	struct nursery *n = open_held(2);
	double before = bench_rss(), grown;

	spawn_all(n);
	grown = bench_rss() - before;
	close_held(n);
	return grown / PEER_TASKS;
}

static double
cancel_queued(void)
{
	struct nursery *n = open_held(2);
	int64_t took;

	spawn_all(n);
	took = bench_now();
	close_held(n);
	return (double)(bench_now() - took) / 1e6;
}

/* ---- a pool with nothing to do ---- */

/* Times that any thread of this process went to sleep, or was made to. */
static double
switches(void)
{
	struct rusage u;

	BENCH_CHECK(getrusage(RUSAGE_SELF, &u) == 0);
	return (double)(u.ru_nvcsw + u.ru_nivcsw);
}

/* Less than what an idle worker stays for.  The one who measures sleeps
 * once. */
#define IDLE_S	5

static double
idle_switches(void)
{
	const struct timespec ts = { IDLE_S, 0 };
	struct nursery *n = open_compute();
	double before;
	size_t i;

	for (i = 0; i < 1000; i++)
		BENCH_CHECK(nursery_spawn(n, nothing, NULL) == 0);
	BENCH_CHECK(nursery_wait(n, INT64_MAX) == 0);
	bench_wait_asleep();
	before = switches();
	BENCH_CHECK(nanosleep(&ts, NULL) == 0);
	before = switches() - before - 1;
	BENCH_CHECK(nursery_close(&n) == 0);
	return before;
}

#ifdef BENCH_TBB
#define TBB(fn, bar)	{ "oneTBB", tbb_##fn, bar },
#else
#define TBB(fn, bar)
#endif
#ifdef BENCH_OMP
#define OMP(fn)		{ "OpenMP", omp_##fn, 0 },
#else
#define OMP(fn)
#endif
#define NO_MORE		{ NULL, NULL, 0 }

static const struct bench_case cases[] = {
	{ "flat_1", "ns", flat_1, 0, 0, {
		TBB(tasks_1, 1.0 / 3)
		OMP(tasks_1)
		NO_MORE
	} },
	{ "flat_2", "ns", flat_2, 0, 0, {
		TBB(tasks_2, 1.0 / 8)
		OMP(tasks_2)
		NO_MORE
	} },
	{ "fork_join_1", "ns", fork_join_1, 0, 0, {
		TBB(fork_join_1, 1.0 / 9)
		OMP(fork_join_1)
		NO_MORE
	} },
	{ "fork_join_2", "ns", fork_join_2, 0, 0, {
		TBB(fork_join_2, 1.0 / 6)
		OMP(fork_join_2)
		NO_MORE
	} },
	{ "empty_on_worker", "ns", empty_on_worker, 0, 0, {
		TBB(group_in_task, 1.0 / 8)
		NO_MORE
	} },
	{ "one_task_on_worker", "ns", one_task_on_worker, 0, 0, {
		TBB(one_task, 1.0 / 4)
		NO_MORE
	} },
	{ "one_task_from_outside", "ns", one_task_from_outside, 300, 0, {
		NO_MORE
	} },
	{ "four_spawners", "ns", four_spawners, 0, 0, {
		TBB(four_spawners, 1.0 / 5)
		NO_MORE
	} },
	{ "tree_1", "ns", tree_1, 0, 0, {
		TBB(tree_1, 1.0 / 4)
		OMP(tree_1)
		NO_MORE
	} },
	{ "tree_2", "ns", tree_2, 0, 0, {
		TBB(tree_2, 1.0 / 4)
		OMP(tree_2)
		NO_MORE
	} },
	{ "nested_tree_1", "ns", nested_tree_1, 0, 0, {
		TBB(nested_tree_1, 1.0 / 3)
		NO_MORE
	} },
	{ "nested_tree_2", "ns", nested_tree_2, 0, 0, {
		TBB(nested_tree_2, 1.0 / 3)
		NO_MORE
	} },
	{ "queued_bytes", "B", queued_bytes, 66, 0, { NO_MORE } },
	{ "cancel_queued", "ms", cancel_queued, 100, 0, { NO_MORE } },
	{ "idle_switches", "", idle_switches, 0.5, 0, { NO_MORE } },
};

int
main(int argc, char **argv)
{
	return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
