/* SPDX-License-Identifier: MIT */
/*
 * GLib: a token is a GCancellable.  It has no children; a program that wants
 * one connects the child's cancel to the parent's signal.  A channel is a
 * GAsyncQueue, which has no bound, no end and no cancel.
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

/* ---- GAsyncQueue ---- */

struct stream {
	GAsyncQueue *q;
	unsigned senders, receivers;
	gint sending;
	guint64 sum[16];
};

/* The last sender sends each receiver its end. */
static void
send_or_receive(void *arg, unsigned i)
{
	struct stream *s = arg;
	guint64 sum = 0, item;

	if (i < s->senders) {
		for (item = 1; item <= PEER_ITEMS; item++)
			g_async_queue_push(s->q, GSIZE_TO_POINTER(item));
		if (g_atomic_int_dec_and_test(&s->sending))
			for (unsigned k = 0; k < s->receivers; k++)
				g_async_queue_push(s->q, GSIZE_TO_POINTER(
				    PEER_ITEMS + 1));
		return;
	}
	while ((item = GPOINTER_TO_SIZE(g_async_queue_pop(s->q))) <=
	    PEER_ITEMS)
		sum += item;
	s->sum[i - s->senders] = sum;
}

static double
queue(unsigned senders, unsigned receivers)
{
	struct stream s = { g_async_queue_new(), senders, receivers,
		(gint)senders, { 0 } };
	guint64 sum = 0;
	int64_t took;

	took = bench_now();
	(void)bench_together(senders + receivers, send_or_receive, &s);
	took = bench_now() - took;
	for (unsigned i = 0; i < receivers; i++)
		sum += s.sum[i];
	BENCH_CHECK(sum == (guint64)senders * PEER_ITEMS * (PEER_ITEMS + 1) /
	    2);
	g_async_queue_unref(s.q);
	return (double)took / ((double)senders * PEER_ITEMS);
}

double
glib_queue_1_1(void)
{
	return queue(1, 1);
}

double
glib_queue_2_2(void)
{
	return queue(2, 2);
}

double
glib_queue_4_4(void)
{
	return queue(4, 4);
}
