/* SPDX-License-Identifier: MIT */
/* nsync: a token is a note. */
#include "peers.h"
#include "trees.h"

#include <nsync.h>
#include <stdlib.h>

static void *
note_make(void *parent)
{
	nsync_note n = nsync_note_new(parent, nsync_time_no_deadline);

	BENCH_CHECK(n != NULL);
	return n;
}

static void
note_cancel(void *root)
{
	nsync_note_notify(root);
}

static bool
note_cancelled(void *node)
{
	return nsync_note_is_notified(node) != 0;
}

static void
note_release(void *node)
{
	nsync_note_free(node);
}

static const struct tree_ops notes = {
	note_make, note_cancel, note_cancelled, note_release
};

static void
poll_note(void *arg, unsigned i)
{
	(void)i;
	for (size_t k = 0; k < PEER_OPS; k++)
		BENCH_CHECK(!nsync_note_is_notified(arg));
}

static double
poll_with(unsigned threads)
{
	nsync_note root = note_make(NULL);
	double ns = bench_together(threads, poll_note, root);

	nsync_note_free(root);
	return ns / PEER_OPS;
}

double
nsync_poll(void)
{
	return poll_with(1);
}

double
nsync_poll_2(void)
{
	return poll_with(2);
}

static void
make_children(void *root, unsigned i)
{
	(void)i;
	for (size_t k = 0; k < PEER_OPS; k++)
		nsync_note_free(note_make(root));
}

static double
children_with(unsigned threads)
{
	nsync_note root = note_make(NULL), child;
	double ns = bench_together(threads, make_children, root);

	child = note_make(root);
	nsync_note_notify(root);
	BENCH_CHECK(nsync_note_is_notified(child));
	nsync_note_free(child);
	nsync_note_free(root);
	return ns / PEER_OPS;
}

double
nsync_child(void)
{
	return children_with(1);
}

double
nsync_child_2(void)
{
	return children_with(2);
}

double
nsync_flat(void)
{
	return tree_cancel(&notes, TREE_FLAT, PEER_FLAT, TREE_LEAVES_FIRST);
}

double
nsync_chain(void)
{
	return tree_cancel_on_stack(&notes, TREE_CHAIN, PEER_CHAIN,
	    TREE_LEAVES_FIRST, PEER_STACK, true);
}

double
nsync_binary(void)
{
	return tree_cancel(&notes, TREE_BINARY, PEER_BINARY,
	    TREE_LEAVES_FIRST);
}

double
nsync_bytes(void)
{
	return tree_bytes(&notes, PEER_FLAT);
}

/* ---- deadlines ---- */

/* The clock is read once: it would be the same for all. */
static nsync_time began;

static nsync_note
note_by(nsync_note parent, unsigned seconds)
{
	nsync_note n = nsync_note_new(parent, nsync_time_add(began,
	    nsync_time_s_ns((time_t)seconds, 0)));

	BENCH_CHECK(n != NULL);
	return n;
}

/* One comes and goes while a hundred thousand others stand. */
double
nsync_deadline(void)
{
	nsync_note root = note_make(NULL);
	nsync_note *n = malloc(PEER_DEADLINES * sizeof *n);
	int64_t start;
	double ns;

	BENCH_CHECK(n != NULL);
	began = nsync_time_now();
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		n[i] = note_by(root, PEER_SECONDS(i));
	start = bench_now();
	for (size_t i = 0; i < PEER_OPS; i++)
		nsync_note_free(note_by(root, PEER_SECONDS(i)));
	ns = (double)(bench_now() - start);
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		nsync_note_free(n[i]);
	nsync_note_free(root);
	free(n);
	return ns / PEER_OPS;
}

/* A hundred thousand come, then go in that order. */
double
nsync_deadlines(void)
{
	nsync_note root = note_make(NULL);
	nsync_note *n = malloc(PEER_DEADLINES * sizeof *n);
	int64_t start;
	double ns;

	BENCH_CHECK(n != NULL);
	began = nsync_time_now();
	start = bench_now();
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		n[i] = note_by(root, PEER_SECONDS(i));
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		nsync_note_free(n[i]);
	ns = (double)(bench_now() - start);
	nsync_note_free(root);
	free(n);
	return ns / PEER_DEADLINES;
}
