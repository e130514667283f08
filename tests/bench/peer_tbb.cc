// SPDX-License-Identifier: MIT
// oneTBB: a token is a task_group_context.  It is bound to its parent, the
// context of the running task, when its first task is run; one that never
// ran a task hears nothing from its parent.
#include "peers.h"

#include <atomic>
#include <memory>
#include <oneapi/tbb/task_group.h>
#include <vector>

using tbb::task_group;
using tbb::task_group_context;

namespace {

task_group_context::kind_type const root_kind = task_group_context::isolated;

// fn() inside a task whose context is the root.
template <typename F>
void
under(task_group_context &root, F fn)
{
	task_group(root).run_and_wait(fn);
}

void
bind(task_group_context &child)
{
	task_group(child).run_and_wait([] {});
}

template <typename F>
double
per_op(F fn)
{
	int64_t start = bench_now();

	for (size_t k = 0; k < PEER_OPS; k++)
		fn();
	return double(bench_now() - start) / PEER_OPS;
}

void
check_cancel(task_group_context &root)
{
	under(root, [&] {
		task_group_context child;

		bind(child);
		root.cancel_group_execution();
		BENCH_CHECK(child.is_group_execution_cancelled());
	});
}

// fn() in two tasks at once under one root, the mean of their times.
template <typename F>
double
both(task_group_context &root, F fn)
{
	std::atomic<unsigned> there{0};
	double ns[2];
	task_group group(root);

	for (double &mine : ns)
		group.run([&there, &mine, &fn] {
			there++;
			while (there.load() < 2)
				;
			mine = fn();
		});
	group.wait();
	return (ns[0] + ns[1]) / 2;
}

double
children()
{
	return per_op([] {
		task_group_context child;

		bind(child);
	});
}

void
poll(void *arg, unsigned)
{
	auto root = static_cast<task_group_context *>(arg);

	for (size_t k = 0; k < PEER_OPS; k++)
		BENCH_CHECK(!root->is_group_execution_cancelled());
}

double
poll_with(unsigned threads)
{
	task_group_context root(root_kind);

	return bench_together(threads, poll, &root) / PEER_OPS;
}

using contexts = std::vector<std::unique_ptr<task_group_context>>;

void
fill(contexts &all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		all.push_back(std::make_unique<task_group_context>());
		bind(*all.back());
	}
}

} // namespace

double
tbb_poll(void)
{
	return poll_with(1);
}

double
tbb_poll_2(void)
{
	return poll_with(2);
}

double
tbb_child(void)
{
	task_group_context root(root_kind);
	double ns = 0;

	under(root, [&] { ns = children(); });
	check_cancel(root);
	return ns;
}

double
tbb_child_unbound(void)
{
	task_group_context root(root_kind);
	double ns = 0;

	under(root, [&] {
		ns = per_op([] {
			task_group_context child;
			task_group_context *p = &child;

			BENCH_HIDE(p);
		});
	});
	return ns;
}

double
tbb_child_2(void)
{
	task_group_context root(root_kind);
	double ns = both(root, children);

	check_cancel(root);
	return ns;
}

double
tbb_flat(void)
{
	task_group_context root(root_kind);
	int64_t took = 0;

	under(root, [&] {
		contexts all;

		all.reserve(PEER_FLAT);
		fill(all, PEER_FLAT);
		took = bench_now();
		root.cancel_group_execution();
		took = bench_now() - took;
		for (auto &c : all)
			BENCH_CHECK(c->is_group_execution_cancelled());
	});
	return double(took) / PEER_FLAT;
}

double
tbb_bytes(void)
{
	task_group_context root(root_kind);
	double grown = 0;

	under(root, [&] {
		contexts all(PEER_FLAT);	// resident before it counts

		all.clear();
		grown = bench_rss();
		fill(all, PEER_FLAT);
		grown = bench_rss() - grown;
	});
	return grown / PEER_FLAT;
}

static double
groups()
{
	return per_op([] {
		task_group group;

		group.wait();
	});
}

double
tbb_group(void)
{
	return groups();
}

double
tbb_group_in_task(void)
{
	task_group_context root(root_kind);
	double ns = 0;

	under(root, [&] { ns = groups(); });
	return ns;
}

// ---- the compute lane's workloads ----

namespace {

double
tasks(int cpus)
{
	bench_use_cpus(cpus);

	task_group group;
	int64_t took = bench_now();

	for (size_t i = 0; i < PEER_TASKS; i++)
		group.run([] {});
	group.wait();
	return double(bench_now() - took) / PEER_TASKS;
}

long
fib(int n)
{
	if (n < 2)
		return n;

	task_group group;
	long a = 0;

	group.run([&a, n] { a = fib(n - 1); });
	long b = fib(n - 2);
	group.wait();
	return a + b;
}

double
fork_join(int cpus)
{
	bench_use_cpus(cpus);

	int64_t took = bench_now();
	long result = fib(PEER_FIB);

	took = bench_now() - took;
	BENCH_CHECK(result == PEER_FIB_RESULT);
	return double(took) / PEER_FIB_FORKS;
}

void
node(task_group &group, unsigned left)
{
	if (left < 2)
		return;
	group.run([&group, left] { node(group, left - 1); });
	group.run([&group, left] { node(group, left - 2); });
}

double
tree(int cpus)
{
	bench_use_cpus(cpus);

	task_group group;
	int64_t took = bench_now();

	group.run([&group] { node(group, PEER_FIB); });
	group.wait();
	return double(bench_now() - took) / (2 * PEER_FIB_FORKS + 1);
}

void
nested_node(unsigned left)
{
	if (left < 2)
		return;

	task_group group;

	group.run([left] { nested_node(left - 1); });
	group.run([left] { nested_node(left - 2); });
	group.wait();
}

double
nested_tree(int cpus)
{
	bench_use_cpus(cpus);

	int64_t took = bench_now();

	nested_node(PEER_FIB);
	return double(bench_now() - took) / (2 * PEER_FIB_FORKS + 1);
}

void
run_share(void *group, unsigned)
{
	for (size_t k = 0; k < PEER_TASKS / 4; k++)
		static_cast<task_group *>(group)->run([] {});
}

} // namespace

double
tbb_tasks_1(void)
{
	return tasks(1);
}

double
tbb_tasks_2(void)
{
	return tasks(2);
}

double
tbb_fork_join_1(void)
{
	return fork_join(1);
}

double
tbb_fork_join_2(void)
{
	return fork_join(2);
}

double
tbb_tree_1(void)
{
	return tree(1);
}

double
tbb_tree_2(void)
{
	return tree(2);
}

double
tbb_nested_tree_1(void)
{
	return nested_tree(1);
}

double
tbb_nested_tree_2(void)
{
	return nested_tree(2);
}

double
tbb_one_task(void)
{
	bench_use_cpus(2);

	task_group outer;
	double ns = 0;

	outer.run_and_wait([&ns] {
		ns = per_op([] {
			task_group group;

			group.run([] {});
			group.wait();
		});
	});
	return ns;
}

double
tbb_four_spawners(void)
{
	bench_use_cpus(2);

	task_group group;
	int64_t took = bench_now();

	(void)bench_together(4, run_share, &group);
	group.wait();
	return double(bench_now() - took) / PEER_TASKS;
}
