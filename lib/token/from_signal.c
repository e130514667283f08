/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/from_signal.h"

#include "base/check.h"
#include "base/sys.h"
#include "token/tree.h"

/* Of a time the handler keeps 32 bits, in about a microsecond each: enough to
 * find the whole of it again for an hour. */
#define TICK_SHIFT	10

/* Of a handler's: what others must keep. */
#define BY_HANDLER	(NUR_TOKEN_QUEUED | NUR_TOKEN_BASE_MASK)

bool nur_words_are_shared;
/* under the tree lock */
static bool relay_runs;
/* atomic: whether handlers may cancel; set last by the arming */
static uint32_t armed;
/* atomic: tokens that a handler cancelled, newest first */
static struct nursery_token *queue;
/* atomic: changes with each of them; the relay sleeps on it */
static uint32_t rings;

static struct nur_mark *
mark_of(const struct nursery_token *t)
{
	return (struct nur_mark *)(void *)((struct nur_record *)
	    nur_slab_aux(t) + NURSERY_ABORT);
}

/* F4: sets all but what a handler may have changed meanwhile. */
void
nur_token_merge_word(struct nursery_token *t, uint32_t word)
{
	uint32_t before = nur_load_relaxed(&t->word), merged;

	do {
		merged = word | (before & BY_HANDLER);
		if ((before & NUR_LEVEL_MASK) > (word & NUR_LEVEL_MASK))
			merged = (merged & ~NUR_LEVEL_MASK) |
			    (before & NUR_LEVEL_MASK);
		/* Release: as in nur_token_set_word(). */
	} while (!nur_cas_acq_rel(&t->word, &before, merged));
}

/* What nobody but the holder of the tree lock takes away. */
static void
clear_locked(struct nursery_token *t, uint32_t bits)
{
	uint32_t before = nur_load_relaxed(&t->word);

	while (!nur_cas_acq_rel(&t->word, &before, before & ~bits))
		;
}

/* ---- in the handler ---- */

/* F1: true for the one that did it. */
static bool
mark(struct nursery_token *t)
{
	uint32_t before = nur_load_acquire(&t->word), after;

	do {
		if ((before & NUR_LEVEL_MASK) >= NURSERY_CANCEL)
			return false;
		/* Relaxed: published by the swap.  Of two handlers that get
		 * here at a time it does not matter whose time is taken. */
		nur_store_relaxed(&mark_of(t)->when,
		    (uint32_t)(nur_now() >> TICK_SHIFT));
		after = (before & ~NUR_LEVEL_MASK) | NURSERY_CANCEL |
		    NUR_TOKEN_QUEUED | (((before & NUR_LEVEL_MASK) + 1) <<
		    NUR_TOKEN_BASE_SHIFT);
		/* Release: publishes the time and what the handler's thread
		 * did before; pairs with nur_token_level(). */
	} while (!nur_cas_acq_rel(&t->word, &before, after));
	return true;
}

/* F2.  The queue is only ever taken as a whole, so that a head that looks
 * as before is as before. */
static void
push(struct nursery_token *t)
{
	struct nursery_token *head = nur_load_acquire(&queue);

	do
		nur_store_relaxed(&mark_of(t)->next, head);
		/* Release: publishes `next`; pairs with serve_all(). */
	while (!nur_cas_acq_rel(&queue, &head, t));
	/* The relay reads `rings`, then the queue, then sleeps; this is the
	 * other way round, so it sees the token or does not sleep. */
	(void)nur_fetch_add_acq_rel(&rings, 1);
	nur_futex_wake(&rings, 1);
}

void
nursery_token_cancel_from_signal(struct nursery_token *t)
{
	int error = errno;

	if (t == NULL || nur_inherited(t))
		return;
	if (nur_load_acquire(&armed) == 0)
		NUR_MISUSE("nursery_token_cancel_from_signal: "
		    "nursery_signal_arm() was not called");
	if (mark(t))
		push(t);
	errno = error;
}

/* ---- the cause ---- */

/* The latest time, not after now, with these low bits. */
static int64_t
whole_time(uint32_t ticks)
{
	int64_t now = nur_now();
	uint32_t ago = (uint32_t)(now >> TICK_SHIFT) - ticks;

	return now - ((int64_t)ago << TICK_SHIFT);
}

void
nur_token_write_marked_locked(struct nursery_token *t)
{
	uint32_t word = nur_token_word(t), origins = 0;
	const struct nur_record rec = {
		.code = ECANCELED,
		.why = "signal handler",
		.when = whole_time(nur_load_relaxed(&mark_of(t)->when)),
		.level = NURSERY_CANCEL,
	};
	unsigned l;

	/* BASE is one more than the level before: the first it reached. */
	l = (word & NUR_TOKEN_BASE_MASK) >> NUR_TOKEN_BASE_SHIFT;
	for (; l <= NURSERY_CANCEL; l++) {
		/* A raise that held the lock meanwhile was before us. */
		if ((word & NUR_ORIGIN(l)) != 0)
			continue;
		*nur_record_of(t, l) = rec;
		origins |= NUR_ORIGIN(l);
	}
	nur_token_merge_word(t, word | origins);
	clear_locked(t, NUR_TOKEN_BASE_MASK);
}

/* ---- the relay ---- */

static void
serve(struct nursery_token *t)
{
	nur_token_publish(t);
	nur_lock(&nur_tree_lock);
	nur_token_adopt_mark_locked(t);
	/* A pin in the place of QUEUED: the spread settles t. */
	clear_locked(t, NUR_TOKEN_QUEUED);
	nur_spread_and_unlock(t);
}

static void
serve_all(void)
{
	/* Acquire: pairs with push(). */
	struct nursery_token *t = nur_exchange_acq_rel(&queue, NULL);
	struct nursery_token *next, *first = NULL;

	for (; t != NULL; t = next) {	/* oldest first */
		next = nur_load_relaxed(&mark_of(t)->next);
		nur_store_relaxed(&mark_of(t)->next, first);
		first = t;
	}
	for (t = first; t != NULL; t = next) {
		/* Read first: t may be gone when it has been served. */
		next = nur_load_relaxed(&mark_of(t)->next);
		serve(t);
	}
}

static void
relay_main(void *arg)
{
	uint32_t seen;

	(void)arg;
	for (;;) {
		/* Acquire: pairs with push(). */
		seen = nur_load_acquire(&rings);
		serve_all();
		(void)nur_futex_wait(&rings, seen, INT64_MAX);
	}
}

NUR_THREAD(relay_thread, relay_main)

int
nursery_signal_arm(void)
{
	int rc = 0;

	nur_lock(&nur_tree_lock);
	if (!relay_runs) {
		rc = nur_thread_start(relay_thread, NULL, NUR_SERVANT_STACK);
		relay_runs = rc == 0;
	}
	if (rc == 0) {
		nur_words_are_shared = true;
		/* Release: pairs with the acquire in the handler. */
		nur_store_release(&armed, 1);
	}
	nur_unlock(&nur_tree_lock);
	return rc;
}

/* The child has no relay and arms anew; what is queued is inherited. */
void
nur_signal_after_fork(void)
{
	nur_store_relaxed(&queue, NULL);
	nur_store_relaxed(&armed, 0);
	relay_runs = false;
}
