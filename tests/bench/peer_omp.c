/* SPDX-License-Identifier: MIT */
/* OpenMP tasks, of whatever runtime the compiler brings.  One that has many
 * queued runs the next ones at once. */
#include "peers.h"

#include <omp.h>

/* So many threads, which are there already. */
static void
use(int cpus)
{
	bench_use_cpus(cpus);
	omp_set_num_threads(cpus);
#pragma omp parallel
	{
		int here = omp_get_num_threads();

		BENCH_CHECK(here == cpus);
	}
}

static void
nothing(const size_t *i)
{
	BENCH_HIDE(i);
}

static double
tasks(int cpus)
{
	int64_t took;
	size_t i;

	use(cpus);
	took = bench_now();
#pragma omp parallel
#pragma omp single
	for (i = 0; i < PEER_TASKS; i++) {
#pragma omp task firstprivate(i)
		nothing(&i);
	}
	return (double)(bench_now() - took) / PEER_TASKS;
}

double
omp_tasks_1(void)
{
	return tasks(1);
}

double
omp_tasks_2(void)
{
	return tasks(2);
}

static long
fib(int n)
{
	long a, b;

	if (n < 2)
		return n;
#pragma omp task shared(a)
	a = fib(n - 1);
	b = fib(n - 2);
#pragma omp taskwait
	return a + b;
}

static double
fork_join(int cpus)
{
	long result = 0;
	int64_t took;

	use(cpus);
	took = bench_now();
#pragma omp parallel
#pragma omp single
	result = fib(PEER_FIB);
	took = bench_now() - took;
	BENCH_CHECK(result == PEER_FIB_RESULT);
	return (double)took / PEER_FIB_FORKS;
}

double
omp_fork_join_1(void)
{
	return fork_join(1);
}

double
omp_fork_join_2(void)
{
	return fork_join(2);
}

static void
node(unsigned left)
{
	if (left < 2)
		return;
#pragma omp task
	node(left - 1);
#pragma omp task
	node(left - 2);
}

static double
tree(int cpus)
{
	int64_t took;

	use(cpus);
	took = bench_now();
#pragma omp parallel
#pragma omp single
	node(PEER_FIB);
	return (double)(bench_now() - took) / (2 * PEER_FIB_FORKS + 1);
}

double
omp_tree_1(void)
{
	return tree(1);
}

double
omp_tree_2(void)
{
	return tree(2);
}
