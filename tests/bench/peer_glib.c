/* SPDX-License-Identifier: MIT */
/*
 * GLib: a token is a GCancellable.  It has no children; a program that wants
 * one connects the child's cancel to the parent's signal.
 */
#include "peers.h"

#include <gio/gio.h>

static int fired;

static void
count(GCancellable *c, gpointer arg)
{
	(void)c;
	(void)arg;
	fired++;
}

static void
poll_cancellable(void *arg, unsigned i)
{
	(void)i;
	for (size_t k = 0; k < PEER_OPS; k++)
		BENCH_CHECK(!g_cancellable_is_cancelled(arg));
}

static double
poll_with(unsigned threads)
{
	GCancellable *c = g_cancellable_new();
	double ns = bench_together(threads, poll_cancellable, c);

	g_object_unref(c);
	return ns / PEER_OPS;
}

double
glib_poll(void)
{
	return poll_with(1);
}

double
glib_poll_2(void)
{
	return poll_with(2);
}

static void
pass_on(GCancellable *parent, gpointer child)
{
	(void)parent;
	g_cancellable_cancel(child);
}

struct child {
	GCancellable *c;
	gulong link;
};

static void
child_init(struct child *child, GCancellable *parent)
{
	child->c = g_cancellable_new();
	child->link = g_cancellable_connect(parent, G_CALLBACK(pass_on),
	    child->c, NULL);
}

static void
child_fini(struct child *child, GCancellable *parent)
{
	g_cancellable_disconnect(parent, child->link);
	g_object_unref(child->c);
}

static void
make_children(void *root, unsigned i)
{
	struct child child;

	(void)i;
	for (size_t k = 0; k < PEER_OPS / 4; k++) {
		child_init(&child, root);
		child_fini(&child, root);
	}
}

static double
children_with(unsigned threads)
{
	GCancellable *root = g_cancellable_new();
	double ns = bench_together(threads, make_children, root);
	struct child child;

	child_init(&child, root);
	g_cancellable_cancel(root);
	BENCH_CHECK(g_cancellable_is_cancelled(child.c));
	child_fini(&child, root);
	g_object_unref(root);
	return ns / (PEER_OPS / 4);
}

double
glib_child(void)
{
	return children_with(1);
}

double
glib_child_2(void)
{
	return children_with(2);
}

double
glib_callback(void)
{
	GCancellable *c = g_cancellable_new();
	int64_t start, took;
	gulong id;

	start = bench_now();
	for (size_t k = 0; k < PEER_OPS; k++) {
		id = g_cancellable_connect(c, G_CALLBACK(count), NULL, NULL);
		g_cancellable_disconnect(c, id);
	}
	took = bench_now() - start;
	id = g_cancellable_connect(c, G_CALLBACK(count), NULL, NULL);
	g_cancellable_cancel(c);
	BENCH_CHECK(fired == 1);
	g_cancellable_disconnect(c, id);
	g_object_unref(c);
	return (double)took / PEER_OPS;
}

/* With as many as fit a short run: the memory of each is the same. */
double
glib_bytes(void)
{
	const size_t n = PEER_FLAT / 10;
	struct child *children = g_new(struct child, n);
	GCancellable *root = g_cancellable_new();
	double before, after;

	for (size_t i = 0; i < n; i++)
		children[i].link = i + 1;	/* resident before it counts */
	before = bench_rss();
	for (size_t i = 0; i < n; i++)
		child_init(&children[i], root);
	after = bench_rss();
	BENCH_CHECK(!g_cancellable_is_cancelled(children[n - 1].c));
	/* The last first: the handlers of a signal are a list. */
	for (size_t i = n; i-- > 0;)
		child_fini(&children[i], root);
	g_object_unref(root);
	g_free(children);
	return (after - before) / (double)n;
}
