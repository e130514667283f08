/* SPDX-License-Identifier: MIT */
/* The workloads as the peers do them; each file is built if configure found
 * its library. */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "bench.h"

#define PEER_OPS	400000		/* loops of single operations */
#define PEER_FLAT	1000000		/* children of one token */
#define PEER_ITEMS	200000		/* that each sender sends */
#define PEER_CHAIN	100000
#define PEER_BINARY	((size_t)1 << 20)
#define PEER_DEADLINES	100000
/* Of the i-th: from 30 s to an hour from now, in no order. */
#define PEER_SECONDS(i)	(30 + (unsigned)((i) * 7919 % 3571))
#define PEER_TASKS	((size_t)1000000)
#define PEER_FIB	27
#define PEER_FIB_RESULT	196418
#define PEER_FIB_FORKS	317810	/* calls that are not the last */
#define PEER_STACK	((size_t)64 << 20)	/* for those that recurse */

#ifdef __cplusplus
extern "C" {
#endif

bench_fn nsync_poll, nsync_poll_2;
bench_fn nsync_child, nsync_child_2;
bench_fn nsync_flat, nsync_chain, nsync_binary;
bench_fn nsync_bytes;
bench_fn nsync_deadline, nsync_deadlines;

bench_fn glib_poll, glib_poll_2;
bench_fn glib_child, glib_child_2;
bench_fn glib_callback;
bench_fn glib_bytes;
bench_fn glib_queue_1_1, glib_queue_2_2, glib_queue_4_4;

bench_fn tbb_poll, tbb_poll_2;
bench_fn tbb_child, tbb_child_2, tbb_child_unbound;
bench_fn tbb_flat;
bench_fn tbb_bytes;
bench_fn tbb_group, tbb_group_in_task;
bench_fn tbb_tasks_1, tbb_tasks_2, tbb_four_spawners;
bench_fn tbb_fork_join_1, tbb_fork_join_2, tbb_one_task;
bench_fn omp_tasks_1, omp_tasks_2, omp_fork_join_1, omp_fork_join_2;
bench_fn omp_tree_1, omp_tree_2;
bench_fn tbb_tree_1, tbb_tree_2, tbb_nested_tree_1, tbb_nested_tree_2;

#ifdef __cplusplus
}
#endif

#endif
