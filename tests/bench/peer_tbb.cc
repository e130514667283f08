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
