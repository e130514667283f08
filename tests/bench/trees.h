/* SPDX-License-Identifier: MIT */
/* Trees of tokens, or of whatever a peer has for one, to be cancelled. */
#ifndef BENCH_TREES_H
#define BENCH_TREES_H

#include "bench.h"

struct tree_ops {
	void *(*make)(void *parent);	/* parent NULL: a root */
	void (*cancel)(void *root);
	bool (*cancelled)(void *node);
	void (*release)(void *node);
};

enum tree_shape {
	TREE_FLAT,	/* all under the root */
	TREE_CHAIN,	/* each under the one before */
	TREE_BINARY	/* heap order: the parent of i is (i - 1) / 2 */
};

enum tree_end {
	TREE_LEAVES_FIRST,
	TREE_ROOT_FIRST
};

/*
 * Builds a tree of n nodes, the root included, cancels the root and releases
 * every node.  Returns the time of the cancel in nanoseconds a node.
 */
double tree_cancel(const struct tree_ops *ops, enum tree_shape shape,
    size_t n, enum tree_end end);

/* The same on a thread of its own with that much stack, see
 * bench_on_stack(). */
double tree_cancel_on_stack(const struct tree_ops *ops, enum tree_shape shape,
    size_t n, enum tree_end end, size_t stack, bool warm);

/* Bytes of resident memory a child, with n children alive. */
double tree_bytes(const struct tree_ops *ops, size_t n);

#endif
