/* SPDX-License-Identifier: MIT */
/*
 * Callbacks added and removed against a cancel: each runs once or was
 * removed before, and never after its removal has returned.
 */
#include "race.h"
#include "tasks.h"

#include <stdlib.h>
#include <string.h>

/* One callback and its story. */
struct story {
	struct nursery_callback *cb;	/* freed as soon as it is removed */
	uint32_t removed;	/* atomic: the removal has returned */
	uint32_t ran;		/* atomic */
	uint32_t late;		/* atomic: ran after the removal */
};

#define STORIES	40

struct scene {
	struct nursery_token *t, *child;
	struct story story[STORIES];
	uint32_t shared;	/* atomic: stories [0, shared) may be removed */
	int wrong;
};

/* Takes a while, in which it must not be removed by others. */
static void
tell_story(void *arg)
{
	struct story *s = arg;
	volatile int turns = 300;

	__atomic_add_fetch(&s->ran, 1, __ATOMIC_SEQ_CST);
	while (turns-- > 0)
		if (turns % 100 == 0 && __atomic_load_n(&s->removed,
		    __ATOMIC_SEQ_CST))
			__atomic_store_n(&s->late, 1, __ATOMIC_SEQ_CST);
}

static bool
begin_story(struct scene *sc, struct story *s, struct rng *r)
{
	s->cb = calloc(1, sizeof *s->cb);
	return s->cb != NULL && nursery_token_on_level(rng_below(r, 2) ?
	    sc->t : sc->child, rng_below(r, 4) == 0 ? NURSERY_DRAIN :
	    NURSERY_CANCEL, s->cb, tell_story, s) == 0;
}

static void
end_story(struct story *s, struct rng *r)
{
	if (rng_below(r, 3) == 0 && nursery_callback_try_remove(s->cb) != 0)
		nursery_callback_remove(s->cb);
	else
		nursery_callback_remove(s->cb);
	__atomic_store_n(&s->removed, 1, __ATOMIC_SEQ_CST);
	memset(s->cb, 0x5a, sizeof *s->cb);
	free(s->cb);
	s->cb = NULL;
}

static void
set_scene(void *ctx, struct rng *r)
{
	struct scene *sc = ctx;

	(void)r;
	memset(sc, 0, sizeof *sc);
	sc->t = new_token(NULL);
	sc->child = new_token(sc->t);
}

static void
clear_scene(void *ctx)
{
	struct scene *sc = ctx;
	struct story *s;
	int i;

	ck_assert_int_eq(sc->wrong, 0);
	for (i = 0; i < STORIES; i++) {
		s = &sc->story[i];
		ck_assert_uint_eq(s->late, 0);
		ck_assert_uint_le(s->ran, 1);
		if (s->cb == NULL)
			continue;
		/* Never removed, and the token is cancelled. */
		ck_assert_uint_eq(s->ran, 1);
		nursery_callback_remove(s->cb);
		free(s->cb);
	}
	nursery_token_unref(sc->child);
	nursery_token_unref(sc->t);
}

/* Adds all, removes some at once, some later, leaves some. */
static void
add_and_remove(void *ctx, struct rng *r)
{
	struct scene *sc = ctx;
	int i, k;

	for (i = 0; i < STORIES; i++) {
		if (!begin_story(sc, &sc->story[i], r))
			sc->wrong++;
		if (rng_below(r, 3) == 0)
			end_story(&sc->story[i], r);
		k = (int)rng_below(r, (unsigned)i + 1);
		if (sc->story[k].cb != NULL && rng_below(r, 4) == 0)
			end_story(&sc->story[k], r);
	}
}

static void
cancel_in_steps(void *ctx, struct rng *r)
{
	struct scene *sc = ctx;

	linger(r, 3000);
	if (rng_below(r, 2))
		(void)nursery_token_raise(sc->t, NURSERY_DRAIN, 0, NULL);
	linger(r, 500);
	(void)nursery_token_cancel(sc->t);
}

START_TEST(test_callback_is_run_once_or_removed)
{
	static struct scene sc;
	const struct race race = { .racers = 2, .run = { add_and_remove,
		cancel_in_steps }, .before = set_scene,
		.after = clear_scene };

	race_run(&race, &sc, rounds(2000));
}
END_TEST

START_TEST(test_callback_is_run_once_whoever_cancels)
{
	static struct scene sc;
	const struct race race = { .racers = 3, .run = { add_and_remove,
		cancel_in_steps, cancel_in_steps }, .before = set_scene,
		.after = clear_scene };

	race_run(&race, &sc, rounds(1000));
}
END_TEST

/* ---- one thread adds, another removes ---- */

static void
add_for_another(void *ctx, struct rng *r)
{
	struct scene *sc = ctx;
	uint32_t i;

	for (i = 0; i < STORIES; i++) {
		if (!begin_story(sc, &sc->story[i], r))
			sc->wrong++;
		__atomic_store_n(&sc->shared, i + 1, __ATOMIC_SEQ_CST);
	}
}

static void
remove_anothers(void *ctx, struct rng *r)
{
	struct scene *sc = ctx;
	unsigned turns = 0;
	uint32_t i;

	for (i = 0; i < STORIES; i++) {
		while (__atomic_load_n(&sc->shared, __ATOMIC_SEQ_CST) <= i)
			spin(&turns);
		if (rng_below(r, 2))
			end_story(&sc->story[i], r);
	}
}

START_TEST(test_callback_is_removed_by_another_thread)
{
	static struct scene sc;
	const struct race race = { .racers = 3, .run = { add_for_another,
		remove_anothers, cancel_in_steps }, .before = set_scene,
		.after = clear_scene };

	race_run(&race, &sc, rounds(1000));
}
END_TEST

/* ---- a thread that waits on one token again and again, and ends ---- */

struct short_lived {
	struct scene *sc;
	struct rng rng;
};

static void *
one_short_life(void *arg)
{
	struct short_lived *l = arg;
	struct story *s = l->sc->story;
	int i;

	for (i = 0; i < 10; i++)
		if (!begin_story(l->sc, &s[i], &l->rng))
			return NULL;
	for (i = 0; i < 10; i += 2)
		end_story(&s[i], &l->rng);
	/* It ends; what it registered stays. */
	return arg;
}

static void
live_shortly(void *ctx, struct rng *r)
{
	struct short_lived l = { .sc = ctx, .rng = *r };
	pthread_t id;

	if (pthread_create(&id, NULL, one_short_life, &l) != 0)
		((struct scene *)ctx)->wrong++;
	else
		pthread_join(id, NULL);
	*r = l.rng;
}

START_TEST(test_callback_outlives_the_thread_that_registered_it)
{
	static struct scene sc;
	const struct race race = { .racers = 2, .run = { live_shortly,
		cancel_in_steps }, .before = set_scene,
		.after = clear_scene, .lag = 2000 };

	race_run(&race, &sc, rounds(300));
}
END_TEST

/* ---- many waiters ---- */

struct waiting {
	struct nursery_token *t;
	int rc[2];
};

static void
wait_0(void *ctx, struct rng *r)
{
	struct waiting *w = ctx;

	(void)r;
	w->rc[0] = nursery_token_wait(w->t, NURSERY_NEVER);
}

static void
wait_1(void *ctx, struct rng *r)
{
	struct waiting *w = ctx;
	int rc = ETIMEDOUT;

	/* With deadlines of its own, which may come first. */
	while (rc == ETIMEDOUT)
		rc = nursery_token_wait(w->t, nursery_after((int64_t)
		    rng_below(r, 50) * NURSERY_US));
	w->rc[1] = rc;
}

static void
cancel_waited(void *ctx, struct rng *r)
{
	linger(r, 3000);
	(void)nursery_token_cancel(((struct waiting *)ctx)->t);
}

static void
fresh_wait(void *ctx, struct rng *r)
{
	(void)r;
	*(struct waiting *)ctx = (struct waiting){ new_token(NULL), { -1,
		-1 } };
}

static void
end_wait(void *ctx)
{
	struct waiting *w = ctx;

	ck_assert_int_eq(w->rc[0], 0);
	ck_assert_int_eq(w->rc[1], 0);
	nursery_token_unref(w->t);
}

START_TEST(test_callback_no_waiter_is_forgotten)
{
	struct waiting w;
	const struct race race = { .racers = 3, .run = { wait_0, wait_1,
		cancel_waited }, .before = fresh_wait, .after = end_wait };

	race_run(&race, &w, rounds(1000));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("callback");
	TCase *c = leakless_case("callback");

	tcase_add_test(c, test_callback_is_run_once_or_removed);
	tcase_add_test(c, test_callback_is_run_once_whoever_cancels);
	tcase_add_test(c, test_callback_is_removed_by_another_thread);
	tcase_add_test(c,
	    test_callback_outlives_the_thread_that_registered_it);
	tcase_add_test(c, test_callback_no_waiter_is_forgotten);
	suite_add_tcase(s, c);
	announce_seed("stress_callback");
	return run_suite(s);
}
