/* SPDX-License-Identifier: MIT */
/*
 * What tokens cost, next to the same work elsewhere.  The bars are the
 * project's acceptance; a case without a bar is there to be looked at.
 */
#include "bench.h"
#include "peers.h"
#include "sleepers.h"
#include "trees.h"

#include <limits.h>
#include <nursery.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPS		1000000		/* loops of our single operations */
#define POLL_BATCH	64
#define POLLS		((uint64_t)200 << 20)
#define DEEP		1000000		/* the chain on a small stack */
#define SMALL_STACK	((size_t)64 * 1024)
#define WAITERS		1000
/*
 * Two copies of one loop differ by some per cent on a machine that others
 * use too; the case poll_again shows by how much.  "Costs the same" is
 * judged with that much to spare.
 */
#define SAME		1.05

static struct nursery_token *
token_new(struct nursery_token *parent)
{
	struct nursery_token *t;

	BENCH_CHECK(nursery_token_new(&t, parent) == 0);
	return t;
}

/* ---- The poll ---- */

#define REPEAT_4(x)	x x x x
#define REPEAT_64(x)	REPEAT_4(REPEAT_4(REPEAT_4(x)))

/* Returns the batches left when a poll saw a cancel; 0: none did. */
static __attribute__((noinline, aligned(64))) uint64_t
poll_token(const struct nursery_token *t, uint64_t batches)
{
	for (; batches > 0; batches--) {
		REPEAT_64(if (nursery_token_is_cancelled(t)) return batches;)
	}
	return 0;
}

static __attribute__((noinline, aligned(64))) uint64_t
poll_bare(const _Atomic uint32_t *word, uint64_t batches)
{
	for (; batches > 0; batches--) {
		REPEAT_64(if ((atomic_load_explicit(word,
		    memory_order_acquire) & 2u) != 0) return batches;)
	}
	return 0;
}

static void
poll_token_thread(void *arg, unsigned i)
{
	(void)i;
	BENCH_CHECK(poll_token(arg, POLLS / POLL_BATCH) == 0);
}

static void
poll_bare_thread(void *arg, unsigned i)
{
	(void)i;
	BENCH_CHECK(poll_bare(arg, POLLS / POLL_BATCH) == 0);
}

static double
poll_tokens_with(unsigned threads)
{
	struct nursery_token *root = token_new(NULL);
	double ns = bench_together(threads, poll_token_thread, root);

	nursery_token_cancel(root);
	BENCH_CHECK(poll_token(root, 1) == 1);
	nursery_token_unref(root);
	return ns / (double)POLLS;
}

static double
poll_bare_with(unsigned threads)
{
	_Atomic uint32_t *word = aligned_alloc(64, 64);
	double ns;

	BENCH_CHECK(word != NULL);
	atomic_init(word, 0);
	ns = bench_together(threads, poll_bare_thread, word);
	atomic_store(word, 2);
	BENCH_CHECK(poll_bare(word, 1) == 1);
	free(word);
	return ns / (double)POLLS;
}

static double
poll_1(void)
{
	return poll_tokens_with(1);
}

static double
poll_2(void)
{
	return poll_tokens_with(2);
}

static double
bare_poll_1(void)
{
	return poll_bare_with(1);
}

static double
bare_poll_2(void)
{
	return poll_bare_with(2);
}

/* ---- Children, made and released ---- */

static void
make_children(void *root, unsigned i)
{
	(void)i;
	for (size_t k = 0; k < OPS; k++) {
		struct nursery_token *child = token_new(root);

		BENCH_HIDE(child);
		nursery_token_unref(child);
	}
}

static double
children_with(unsigned threads)
{
	struct nursery_token *root = token_new(NULL), *child;
	double ns = bench_together(threads, make_children, root);

	child = token_new(root);
	nursery_token_cancel(root);
	BENCH_CHECK(nursery_token_is_cancelled(child));
	nursery_token_unref(child);
	nursery_token_unref(root);
	return ns / OPS;
}

static double
child_1(void)
{
	return children_with(1);
}

static double
child_2(void)
{
	return children_with(2);
}

/* ---- Whole trees cancelled ---- */

static void *
op_make(void *parent)
{
	return token_new(parent);
}

static void
op_cancel(void *root)
{
	BENCH_CHECK(nursery_token_cancel(root));
}

static bool
op_cancelled(void *node)
{
	return nursery_token_is_cancelled(node);
}

static void
op_release(void *node)
{
	nursery_token_unref(node);
}

static const struct tree_ops tokens = {
	op_make, op_cancel, op_cancelled, op_release
};

static uint64_t
live_tokens(void)
{
	struct nursery_stats st = NURSERY_STATS_INIT;

	BENCH_CHECK(nursery_get_stats(&st) == 0);
	return st.tokens;
}

static double
flat(void)
{
	double ns = tree_cancel(&tokens, TREE_FLAT, PEER_FLAT,
	    TREE_LEAVES_FIRST);

	BENCH_CHECK(live_tokens() == 0);
	return ns;
}

static double
chain(void)
{
	double ns = tree_cancel_on_stack(&tokens, TREE_CHAIN, PEER_CHAIN,
	    TREE_LEAVES_FIRST, PEER_STACK, true);

	BENCH_CHECK(live_tokens() == 0);
	return ns;
}

static double
binary(void)
{
	double ns = tree_cancel(&tokens, TREE_BINARY, PEER_BINARY,
	    TREE_LEAVES_FIRST);

	BENCH_CHECK(live_tokens() == 0);
	return ns;
}

/* A step of recursion a token, in the cancel or in the release, would leave
 * this stack at once. */
static double
deep_from_the_leaf(void)
{
	double ns = tree_cancel_on_stack(&tokens, TREE_CHAIN, DEEP,
	    TREE_LEAVES_FIRST, SMALL_STACK, false);

	BENCH_CHECK(live_tokens() == 0);
	return ns;
}

static double
deep_from_the_root(void)
{
	double ns = tree_cancel_on_stack(&tokens, TREE_CHAIN, DEEP,
	    TREE_ROOT_FIRST, SMALL_STACK, false);

	BENCH_CHECK(live_tokens() == 0);
	return ns;
}

static double
bytes(void)
{
	double n = tree_bytes(&tokens, PEER_FLAT);

	BENCH_CHECK(live_tokens() == 0);
	return n;
}

/* ---- Callbacks ---- */

static void
count(void *arg)
{
	++*(int *)arg;
}

static double
callback(void)
{
	struct nursery_token *t = token_new(NULL);
	struct nursery_callback cb;
	int fired = 0;
	int64_t took = bench_now();

	memset(&cb, 0, sizeof cb);
	for (size_t k = 0; k < OPS; k++) {
		BENCH_CHECK(nursery_token_on_cancel(t, &cb, count, &fired)
		    == 0);
		nursery_callback_remove(&cb);
	}
	took = bench_now() - took;
	BENCH_CHECK(fired == 0);
	BENCH_CHECK(nursery_token_on_cancel(t, &cb, count, &fired) == 0);
	nursery_token_cancel(t);
	BENCH_CHECK(fired == 1);
	nursery_callback_remove(&cb);
	nursery_token_unref(t);
	return (double)took / OPS;
}

/* ---- A thousand threads ---- */

struct waiters {
	struct nursery_token *root, *child[WAITERS];
};

static void
wait_child(void *arg, unsigned i)
{
	struct waiters *w = arg;

	BENCH_CHECK(nursery_token_wait(w->child[i], NURSERY_NEVER) == 0);
}

static void
cancel_root(void *arg)
{
	struct waiters *w = arg;

	BENCH_CHECK(nursery_token_cancel(w->root));
}

static double
waiters(void)
{
	struct waiters w = { token_new(NULL), { NULL } };
	double ns;

	for (unsigned i = 0; i < WAITERS; i++)
		w.child[i] = token_new(w.root);
	ns = sleepers_wake(WAITERS, wait_child, cancel_root, &w);
	for (unsigned i = 0; i < WAITERS; i++)
		nursery_token_unref(w.child[i]);
	nursery_token_unref(w.root);
	BENCH_CHECK(live_tokens() == 0);
	return ns / 1e6;
}

static void
wait_word(void *arg, unsigned i)
{
	_Atomic uint32_t *word = arg;

	(void)i;
	while (atomic_load_explicit(word, memory_order_acquire) == 0)
		bench_futex_wait(word, 0);
}

static void
wake_word(void *arg)
{
	_Atomic uint32_t *word = arg;

	atomic_store_explicit(word, 1, memory_order_release);
	BENCH_CHECK(bench_futex_wake(word, INT_MAX) == WAITERS);
}

static double
bare_waiters(void)
{
	_Atomic uint32_t word = 0;

	return sleepers_wake(WAITERS, wait_word, wake_word, &word) / 1e6;
}

/* ---- Polls of a root while its tree is being cancelled ---- */

/*
 * A clock that is cheap next to a batch of 64 loads, in ticks of its own.
 * The fences keep the loads between the readings.
 */
static inline uint64_t
ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
	uint64_t t;

	__builtin_ia32_lfence();
	t = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return t;
#else
	return (uint64_t)bench_now();
#endif
}

#define MAX_SAMPLES	((size_t)4 << 20)
#define MIN_SAMPLES	10000	/* or the 99th percentile says nothing */
#define REST_NS		INT64_C(30000000)

enum { AT_REST, AT_WORK, AT_END };

struct poller {
	const _Atomic uint32_t *word;	/* polls this, or else: */
	const struct nursery_token *root;
	_Alignas(64) atomic_int phase;
	_Alignas(64) uint32_t *sample;
	size_t n;
	uint64_t seen;
	double ns_per_tick;
};

/* Either word or root is NULL; parameters, as each acquire load would have
 * a field read anew. */
static inline uint64_t
poll_batch(const _Atomic uint32_t *word, const struct nursery_token *root)
{
	uint64_t seen = 0;

	if (root != NULL) {
		REPEAT_64(seen += nursery_token_is_cancelled(root);)
	} else {
		REPEAT_64(seen += (atomic_load_explicit(word,
		    memory_order_acquire) & 2u) != 0;)
	}
	return seen;
}

static void *
poller_main(void *arg)
{
	struct poller *p = arg;
	const _Atomic uint32_t *word = p->word;
	const struct nursery_token *root = p->root;
	int64_t start = bench_now();
	uint64_t first = ticks(), from, to = first;
	int phase;

	/* Batches count only while the other thread is at it. */
	while ((phase = atomic_load(&p->phase)) != AT_END) {
		from = ticks();
		p->seen += poll_batch(word, root);
		to = ticks();
		if (phase == AT_WORK && p->n < MAX_SAMPLES)
			p->sample[p->n++] = (uint32_t)(to - from);
	}
	p->ns_per_tick = (double)(bench_now() - start) / (double)(to - first);
	return NULL;
}

static int
by_ticks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The 99th percentile of a batch, in ns, while work(arg) goes on. */
static double
p99_during(struct poller *p, void (*work)(void *), void *arg)
{
	const struct timespec settle = { 0, 5000000 };
	pthread_t id;
	double ns;

	p->sample = malloc(MAX_SAMPLES * sizeof *p->sample);
	BENCH_CHECK(p->sample != NULL);
	memset(p->sample, 1, MAX_SAMPLES * sizeof *p->sample);
	atomic_store(&p->phase, AT_REST);
	BENCH_CHECK(pthread_create(&id, NULL, poller_main, p) == 0);
	nanosleep(&settle, NULL);
	atomic_store(&p->phase, AT_WORK);
	work(arg);
	atomic_store(&p->phase, AT_END);
	pthread_join(id, NULL);
	qsort(p->sample, p->n, sizeof *p->sample, by_ticks);
	ns = p->sample[p->n / 100 * 99] * p->ns_per_tick;
	if (p->n < MIN_SAMPLES)
		ns = BENCH_AGAIN;	/* the poller had no CPU meanwhile */
	free(p->sample);
	return ns;
}

struct family {
	struct nursery_token *root, **child;
};

static void
family_init(struct family *f)
{
	f->root = token_new(NULL);
	f->child = malloc(PEER_FLAT * sizeof *f->child);
	BENCH_CHECK(f->child != NULL);
	for (size_t i = 0; i < PEER_FLAT; i++)
		f->child[i] = token_new(f->root);
}

static void
family_fini(struct family *f)
{
	for (size_t i = 0; i < PEER_FLAT; i++)
		nursery_token_unref(f->child[i]);
	nursery_token_unref(f->root);
	free(f->child);
}

static void
cancel_family(void *arg)
{
	struct family *f = arg;

	BENCH_CHECK(nursery_token_cancel(f->root));
}

static void
rest(void *arg)
{
	const struct timespec ts = { 0, REST_NS };

	(void)arg;
	nanosleep(&ts, NULL);
}

static double
p99_cancelling(void)
{
	struct family f;
	struct poller p = { .word = NULL };
	double ns;

	family_init(&f);
	p.root = f.root;
	ns = p99_during(&p, cancel_family, &f);
	for (size_t i = 0; i < PEER_FLAT; i++)
		BENCH_CHECK(nursery_token_is_cancelled(f.child[i]));
	BENCH_CHECK(ns < 0 || p.seen > 0);
	family_fini(&f);
	return ns;
}

static double
p99_resting(void)
{
	struct family f;
	struct poller p = { .word = NULL };
	double ns;

	family_init(&f);
	p.root = f.root;
	ns = p99_during(&p, rest, NULL);
	BENCH_CHECK(p.seen == 0);
	family_fini(&f);
	return ns;
}

struct node {
	_Alignas(64) struct node *next;
	uint32_t word;
};

static void
walk(void *arg)
{
	for (struct node *n = arg; n != NULL; n = n->next)
		n->word = 2;
}

/* What the other CPU costs a poller by walking as much memory, tokens or
 * not: no tree could be below it. */
static double
p99_bare_walk(void)
{
	struct node *nodes = aligned_alloc(64, PEER_FLAT * sizeof *nodes);
	_Atomic uint32_t *word = aligned_alloc(64, 64);
	struct poller p = { .word = word };
	double ns;

	BENCH_CHECK(nodes != NULL && word != NULL);
	atomic_init(word, 0);
	for (size_t i = 0; i < PEER_FLAT; i++)
		nodes[i] = (struct node){ i + 1 < PEER_FLAT ? &nodes[i + 1] :
		    NULL, 0 };
	ns = p99_during(&p, walk, nodes);
	BENCH_CHECK(nodes[PEER_FLAT - 1].word == 2);
	free(nodes);
	free(word);
	return ns;
}

/* ---- Deadlines ---- */

/* The clock is read once: it would be the same for all. */
static int64_t began;

static struct nursery_token *
token_by(struct nursery_token *parent, unsigned seconds)
{
	struct nursery_token *t = token_new(parent);

	BENCH_CHECK(nursery_token_set_deadline(t, began + seconds *
	    NURSERY_SECOND) == 0);
	return t;
}

/* One comes and goes while a hundred thousand others stand. */
static double
deadline(void)
{
	struct nursery_token *root = token_new(NULL);
	struct nursery_token **t = malloc(PEER_DEADLINES * sizeof *t);
	int64_t start;
	double ns;

	BENCH_CHECK(t != NULL);
	began = nursery_now();
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		t[i] = token_by(root, PEER_SECONDS(i));
	start = bench_now();
	for (size_t i = 0; i < OPS; i++)
		nursery_token_unref(token_by(root, PEER_SECONDS(i)));
	ns = (double)(bench_now() - start);
	BENCH_CHECK(nursery_token_deadline(t[9]) != NURSERY_NEVER);
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		nursery_token_unref(t[i]);
	nursery_token_unref(root);
	free(t);
	return ns / OPS;
}

/* A hundred thousand come, then go in that order. */
static double
deadlines(void)
{
	struct nursery_token *root = token_new(NULL);
	struct nursery_token **t = malloc(PEER_DEADLINES * sizeof *t);
	int64_t start;
	double ns;

	BENCH_CHECK(t != NULL);
	began = nursery_now();
	start = bench_now();
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		t[i] = token_by(root, PEER_SECONDS(i));
	for (size_t i = 0; i < PEER_DEADLINES; i++)
		nursery_token_unref(t[i]);
	ns = (double)(bench_now() - start);
	nursery_token_unref(root);
	free(t);
	return ns / PEER_DEADLINES;
}

/* The same with nobody else: the timer thread is not to be woken each time. */
static double
deadline_alone(void)
{
	struct nursery_token *root = token_new(NULL);
	int64_t start = bench_now();
	double ns;

	began = nursery_now();
	for (size_t i = 0; i < OPS; i++)
		nursery_token_unref(token_by(root, PEER_SECONDS(i)));
	ns = (double)(bench_now() - start);
	nursery_token_unref(root);
	return ns / OPS;
}

/* ---- The table ---- */

#ifdef BENCH_NSYNC
#define NSYNC(name, fn, bar)	{ "nsync " name, nsync_##fn, bar },
#else
#define NSYNC(name, fn, bar)
#endif
#ifdef BENCH_GLIB
#define GLIB(name, fn, bar)	{ "GLib " name, glib_##fn, bar },
#else
#define GLIB(name, fn, bar)
#endif
#ifdef BENCH_TBB
#define TBB(name, fn, bar)	{ "oneTBB " name, tbb_##fn, bar },
#else
#define TBB(name, fn, bar)
#endif
#define NO_MORE			{ NULL, NULL, 0 }

static const struct bench_case cases[] = {
	{ "poll/1", "ns", poll_1, 0, 0, {
		{ "bare acquire load", bare_poll_1, SAME },
		NSYNC("note", poll, 0)
		GLIB("GCancellable", poll, 0)
		TBB("context", poll, 0)
		NO_MORE
	} },
	{ "poll/2", "ns", poll_2, 0, 0, {
		{ "bare acquire load", bare_poll_2, SAME },
		NSYNC("note", poll_2, 0)
		GLIB("GCancellable", poll_2, 0)
		TBB("context", poll_2, 0)
		NO_MORE
	} },
	{ "poll_again", "ns", bare_poll_1, 0, 0, {
		{ "the same loop again", bare_poll_1, 0 },
		NO_MORE
	} },
	{ "child/1", "ns", child_1, 0, 0, {
		NSYNC("note", child, 1.0 / 8)
		GLIB("GCancellable", child, 0)
		TBB("bound context", child, 0)
		TBB("unbound context", child_unbound, 0)
		NO_MORE
	} },
	{ "child/2", "ns", child_2, 0, 0, {
		NSYNC("note", child_2, 1.0 / 12)
		GLIB("GCancellable", child_2, 0)
		TBB("bound context", child_2, 0)
		NO_MORE
	} },
	{ "bytes_per_child", "bytes", bytes, 64 * 1.02, 0, {
		NSYNC("note", bytes, 0)
		GLIB("GCancellable", bytes, 0)
		TBB("context", bytes, 0)
		NO_MORE
	} },
	{ "cancel/flat_1e6", "ns/token", flat, 0, 0, {
		NSYNC("note", flat, 1.0 / 3)
		TBB("context", flat, 0)
		NO_MORE
	} },
	{ "cancel/chain_1e5", "ns/token", chain, 0, 0, {
		NSYNC("note", chain, 1.0 / 4)
		NO_MORE
	} },
	{ "cancel/binary_2^20", "ns/token", binary, 0, 0, {
		NSYNC("note", binary, 1.0 / 5)
		NO_MORE
	} },
	{ "deep/leaf_first", "ns/token", deep_from_the_leaf, 0, 0, {
		NO_MORE
	} },
	{ "deep/root_first", "ns/token", deep_from_the_root, 0, 0, {
		NO_MORE
	} },
	{ "deadline_of_1e5", "ns", deadline, 0, 0, {
		NSYNC("note", deadline, 0.4)
		NO_MORE
	} },
	{ "deadlines_1e5", "ns", deadlines, 0, 0, {
		NSYNC("note", deadlines, 0)
		NO_MORE
	} },
	{ "deadline_alone", "ns", deadline_alone, 0, 0, {
		NO_MORE
	} },
	{ "callback", "ns", callback, 0, 0, {
		GLIB("GCancellable", callback, 1.0 / 40)
		NO_MORE
	} },
	{ "waiters_1000", "ms", waiters, 0, 3, {
		{ "one wake of one futex", bare_waiters, 1.1 },
		NO_MORE
	} },
	{ "root_polls_p99", "ns/64", p99_cancelling, 0, 0, {
		{ "the same at rest", p99_resting, 1.5 },
		{ "bare beside a bare walk", p99_bare_walk, 0 },
		NO_MORE
	} },
};

int
main(int argc, char **argv)
{
#ifndef BENCH_NSYNC
	fprintf(stderr, "built without nsync: its bars are not judged\n");
#endif
#ifndef BENCH_GLIB
	fprintf(stderr, "built without GLib: its bar is not judged\n");
#endif
	return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
