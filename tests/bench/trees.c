/* SPDX-License-Identifier: MIT */
#include "trees.h"

#include <stdlib.h>

static size_t
parent_of(enum tree_shape shape, size_t i)
{
	switch (shape) {
	case TREE_FLAT:
		return 0;
	case TREE_CHAIN:
		return i - 1;
	case TREE_BINARY:
		break;
	}
	return (i - 1) / 2;
}

double
tree_cancel(const struct tree_ops *ops, enum tree_shape shape, size_t n,
    enum tree_end end)
{
	void **nodes = malloc(n * sizeof *nodes);
	int64_t start, took;

	BENCH_CHECK(nodes != NULL);
	nodes[0] = ops->make(NULL);
	for (size_t i = 1; i < n; i++)
		nodes[i] = ops->make(nodes[parent_of(shape, i)]);
	for (size_t i = 0; i < n; i++)
		BENCH_CHECK(!ops->cancelled(nodes[i]));

	start = bench_now();
	ops->cancel(nodes[0]);
	took = bench_now() - start;

	for (size_t i = 0; i < n; i++)
		BENCH_CHECK(ops->cancelled(nodes[i]));
	for (size_t i = 0; i < n; i++)
		ops->release(nodes[end == TREE_ROOT_FIRST ? i : n - 1 - i]);
	free(nodes);
	return (double)took / (double)n;
}

struct job {
	const struct tree_ops *ops;
	enum tree_shape shape;
	size_t n;
	enum tree_end end;
	double ns;
};

static void
run_job(void *arg)
{
	struct job *j = arg;

	j->ns = tree_cancel(j->ops, j->shape, j->n, j->end);
}

double
tree_cancel_on_stack(const struct tree_ops *ops, enum tree_shape shape,
    size_t n, enum tree_end end, size_t stack, bool warm)
{
	struct job j = { ops, shape, n, end, 0 };

	bench_on_stack(stack, warm, run_job, &j);
	return j.ns;
}

double
tree_bytes(const struct tree_ops *ops, size_t n)
{
	void **nodes = malloc(n * sizeof *nodes);
	double before, after;
	void *root;

	BENCH_CHECK(nodes != NULL);
	for (size_t i = 0; i < n; i++)
		nodes[i] = &nodes[i];	/* resident before it counts */
	root = ops->make(NULL);
	before = bench_rss();
	for (size_t i = 0; i < n; i++)
		nodes[i] = ops->make(root);
	after = bench_rss();
	for (size_t i = 0; i < n; i++) {
		BENCH_CHECK(!ops->cancelled(nodes[i]));
		ops->release(nodes[i]);
	}
	ops->release(root);
	free(nodes);
	return (after - before) / (double)n;
}
