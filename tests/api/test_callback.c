/* SPDX-License-Identifier: MIT */
/* Callbacks of tokens: exactly once, after the levels, under no lock. */
#include "tasks.h"

#include <stdlib.h>

static void
on_cancel(struct nursery_token *t, struct nursery_callback *cb,
    void (*fn)(void *), void *arg)
{
	ck_assert_int_eq(nursery_token_on_cancel(t, cb, fn, arg), 0);
}

/* ---- when it runs ---- */

START_TEST(test_callback_runs_once)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_callback a = { 0 };
	int ran = 0;

	on_cancel(t, &a, count_up, &ran);
	nursery_token_raise(t, NURSERY_DRAIN, 0, NULL);
	ck_assert_int_eq(ran, 0);
	nursery_token_cancel(t);
	nursery_token_cancel(t);
	nursery_token_raise(t, NURSERY_ABORT, 0, NULL);
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&a);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_callback_of_a_reached_level_runs_at_once)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_callback a = { 0 };
	int ran = 0;

	nursery_token_cancel(t);
	on_cancel(t, &a, count_up, &ran);
	ck_assert_int_eq(ran, 1);
	ck_assert_int_eq(nursery_callback_try_remove(&a), 0);
	/* The storage is free: registered again it runs again. */
	on_cancel(t, &a, count_up, &ran);
	ck_assert_int_eq(ran, 2);
	nursery_callback_remove(&a);
	nursery_token_unref(t);
}
END_TEST

/* One step at a time (0), or all at once (1). */
START_TEST(test_callback_of_each_level_runs_at_its_level)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_callback cb[NURSERY_ABORT + 1] = { 0 };
	int ran[NURSERY_ABORT + 1] = { 0 }, level, l;

	for (level = NURSERY_DRAIN; level <= NURSERY_ABORT; level++)
		ck_assert_int_eq(nursery_token_on_level(t,
		    (enum nursery_level)level, &cb[level], count_up,
		    &ran[level]), 0);
	for (level = _i == 0 ? NURSERY_DRAIN : NURSERY_ABORT; level <=
	    NURSERY_ABORT; level++) {
		nursery_token_raise(t, (enum nursery_level)level, 0, NULL);
		for (l = NURSERY_DRAIN; l <= NURSERY_ABORT; l++)
			ck_assert_int_eq(ran[l], l <= level);
	}
	for (level = NURSERY_DRAIN; level <= NURSERY_ABORT; level++)
		nursery_callback_remove(&cb[level]);
	nursery_token_unref(t);
}
END_TEST

struct look {
	struct nursery_token **all;
	int count, live, ran;
	pthread_t on;
};

static void
look_at_all(void *arg)
{
	struct look *l = arg;
	int i;

	for (i = 0; i < l->count; i++)
		l->live += !nursery_token_is_cancelled(l->all[i]);
	l->on = pthread_self();
	l->ran++;
}

/* Whatever the order of callbacks, the whole tree is cancelled before. */
START_TEST(test_callback_runs_after_all_levels_on_the_cancelling_thread)
{
	struct nursery_callback cb[7] = { 0 };
	struct nursery_token *t[7];
	struct look l = { t, 7, 0, 0, pthread_self() };
	int i;

	for (i = 0; i < 7; i++) {
		t[i] = new_token(i == 0 ? NULL : t[(i - 1) / 2]);
		on_cancel(t[i], &cb[i], look_at_all, &l);
	}
	nursery_token_cancel(t[0]);
	ck_assert_int_eq(l.ran, 7);
	ck_assert_int_eq(l.live, 0);
	ck_assert(pthread_equal(l.on, pthread_self()));
	for (i = 7; i-- > 0;) {
		nursery_callback_remove(&cb[i]);
		nursery_token_unref(t[i]);
	}
}
END_TEST

START_TEST(test_callback_a_thousand_on_one_token_each_once)
{
	struct nursery_callback *cb = calloc(1000, sizeof *cb);
	struct nursery_token *t = new_token(NULL);
	int ran[1000] = { 0 }, i;

	for (i = 0; i < 1000; i++)
		on_cancel(t, &cb[i], count_up, &ran[i]);
	for (i = 0; i < 1000; i += 3)
		nursery_callback_remove(&cb[i]);
	nursery_token_cancel(t);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(ran[i], i % 3 != 0);
		nursery_callback_remove(&cb[i]);
	}
	nursery_token_unref(t);
	free(cb);
}
END_TEST

/* ---- removing ---- */

START_TEST(test_callback_removed_never_runs)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_callback a = { 0 }, b = { 0 };
	int ran = 0;

	on_cancel(t, &a, count_up, &ran);
	on_cancel(t, &b, count_up, &ran);
	nursery_callback_remove(&a);
	ck_assert_int_eq(nursery_callback_try_remove(&b), 0);
	nursery_token_cancel(t);
	ck_assert_int_eq(ran, 0);
	/* Twice is no harm. */
	nursery_callback_remove(&a);
	nursery_token_unref(t);
}
END_TEST

START_TEST(test_callback_never_registered_may_be_removed)
{
	struct nursery_callback a = { 0 };

	nursery_callback_remove(&a);
	nursery_callback_remove(NULL);
	ck_assert_int_eq(nursery_callback_try_remove(&a), 0);
}
END_TEST

START_TEST(test_callback_registered_twice_is_ebusy)
{
	struct nursery_token *t = new_token(NULL), *other = new_token(NULL);
	struct nursery_callback a = { 0 };
	int ran = 0;

	on_cancel(t, &a, count_up, &ran);
	ck_assert_int_eq(nursery_token_on_cancel(t, &a, count_up, &ran),
	    EBUSY);
	ck_assert_int_eq(nursery_token_on_cancel(other, &a, count_up, &ran),
	    EBUSY);
	nursery_token_cancel(other);
	ck_assert_int_eq(ran, 0);
	nursery_token_cancel(t);
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&a);
	nursery_token_unref(other);
	nursery_token_unref(t);
}
END_TEST

struct held {
	struct gate gate;
	struct nursery_token *t;
	struct nursery_callback cb;
	pid_t remover;		/* atomic */
	int finished;		/* atomic: fn has returned from the gate */
	int finished_at_remove;
};

static void
held_fn(void *arg)
{
	struct held *h = arg;

	gate_pass(&h->gate);
	__atomic_store_n(&h->finished, 1, __ATOMIC_SEQ_CST);
}

static void *
cancel_token(void *t)
{
	(void)nursery_token_cancel(t);
	return NULL;
}

static void *
remove_held(void *arg)
{
	struct held *h = arg;

	__atomic_store_n(&h->remover, own_tid(), __ATOMIC_SEQ_CST);
	nursery_callback_remove(&h->cb);
	h->finished_at_remove = __atomic_load_n(&h->finished,
	    __ATOMIC_SEQ_CST);
	return NULL;
}

static void
await_remover(struct held *h)
{
	pid_t tid;

	while ((tid = __atomic_load_n(&h->remover, __ATOMIC_SEQ_CST)) == 0)
		;
	await_asleep(tid);
}

START_TEST(test_callback_remove_waits_for_the_running_one)
{
	struct held h = { .t = new_token(NULL) };
	pthread_t canceller, remover;

	gate_init(&h.gate);
	on_cancel(h.t, &h.cb, held_fn, &h);
	canceller = start_thread(cancel_token, h.t);
	gate_await(&h.gate, 1);
	ck_assert_int_eq(nursery_callback_try_remove(&h.cb), EBUSY);
	remover = start_thread(remove_held, &h);
	await_remover(&h);
	ck_assert_int_eq(nursery_callback_try_remove(&h.cb), EBUSY);
	gate_open(&h.gate);
	(void)end_thread(remover);
	(void)end_thread(canceller);
	ck_assert_int_eq(h.finished_at_remove, 1);
	nursery_token_unref(h.t);
}
END_TEST

static void *
register_on_cancelled(void *arg)
{
	struct held *h = arg;

	(void)nursery_token_on_cancel(h->t, &h->cb, held_fn, h);
	return NULL;
}

/* The same when fn runs because the token was cancelled before. */
START_TEST(test_callback_remove_waits_for_one_that_runs_at_once)
{
	struct held h = { .t = new_token(NULL) };
	pthread_t registrar, remover;

	gate_init(&h.gate);
	nursery_token_cancel(h.t);
	registrar = start_thread(register_on_cancelled, &h);
	gate_await(&h.gate, 1);
	ck_assert_int_eq(nursery_callback_try_remove(&h.cb), EBUSY);
	remover = start_thread(remove_held, &h);
	await_remover(&h);
	gate_open(&h.gate);
	(void)end_thread(remover);
	(void)end_thread(registrar);
	ck_assert_int_eq(h.finished_at_remove, 1);
	nursery_token_unref(h.t);
}
END_TEST

/* A callback that stands in the queue behind a running one is removed
 * without waiting. */
START_TEST(test_callback_queued_behind_another_can_be_removed)
{
	struct held h = { .t = new_token(NULL) };
	struct nursery_callback more[2] = { 0 };
	pthread_t canceller;
	int ran = 0, i;

	gate_init(&h.gate);
	/* One of the two stands behind, whatever the order is. */
	on_cancel(h.t, &more[0], count_up, &ran);
	on_cancel(h.t, &h.cb, held_fn, &h);
	on_cancel(h.t, &more[1], count_up, &ran);
	canceller = start_thread(cancel_token, h.t);
	gate_await(&h.gate, 1);
	i = ran;
	ck_assert_int_le(i, 2);
	ck_assert_int_eq(nursery_callback_try_remove(&more[0]), 0);
	ck_assert_int_eq(nursery_callback_try_remove(&more[1]), 0);
	gate_open(&h.gate);
	(void)end_thread(canceller);
	ck_assert_int_eq(ran, i);
	nursery_callback_remove(&h.cb);
	nursery_token_unref(h.t);
}
END_TEST

/* ---- what a callback may do ---- */

struct self_removal {
	struct nursery_callback *cb;
	struct nursery_token *t;
	int ran, wrong;
};

static void
reentrant(void *arg)
{
	struct self_removal *s = arg;
	struct nursery_token *kid;

	s->ran++;
	nursery_callback_remove(s->cb);
	free(s->cb);
	s->wrong += nursery_token_cancel(s->t);
	s->wrong += nursery_token_new(&kid, s->t) != 0;
	s->wrong += !nursery_token_is_cancelled(kid);
	s->wrong += nursery_token_ref(kid) != kid;
	nursery_token_unref(kid);
	nursery_token_unref(kid);
	s->wrong += nursery_token_set_deadline(s->t, 5) != ECANCELED;
	s->wrong += nursery_token_wait(s->t, 0) != 0;
	s->wrong += nursery_token_cause(s->t, NURSERY_CANCEL, NULL) !=
	    ECANCELED;
}

START_TEST(test_callback_may_free_itself_and_use_its_token)
{
	struct self_removal s = { calloc(1, sizeof *s.cb), new_token(NULL),
		0, 0 };

	on_cancel(s.t, s.cb, reentrant, &s);
	nursery_token_cancel(s.t);
	ck_assert_int_eq(s.ran, 1);
	ck_assert_int_eq(s.wrong, 0);
	nursery_token_unref(s.t);
}
END_TEST

struct mover {
	struct nursery_callback cb;
	struct nursery_token *next;
	int ran, wrong;
};

static void
move_on(void *arg)
{
	struct mover *m = arg;
	struct nursery_token *next = m->next;

	m->ran++;
	m->next = NULL;
	nursery_callback_remove(&m->cb);
	if (next != NULL)
		m->wrong += nursery_token_on_cancel(next, &m->cb, move_on,
		    m) != 0;
}

/* Removed from inside, the storage serves again at once, on another token. */
START_TEST(test_callback_may_register_itself_anew)
{
	struct nursery_token *a = new_token(NULL), *b = new_token(NULL);
	struct mover m = { .next = b };

	on_cancel(a, &m.cb, move_on, &m);
	nursery_token_cancel(a);
	ck_assert_int_eq(m.ran, 1);
	ck_assert_int_eq(m.wrong, 0);
	nursery_token_cancel(b);
	ck_assert_int_eq(m.ran, 2);
	nursery_token_unref(a);
	nursery_token_unref(b);
}
END_TEST

struct again {
	struct nursery_callback cb;
	struct nursery_token *other;
	int ran, wrong;
};

static void
register_while_running(void *arg)
{
	struct again *a = arg;
	struct nursery_token *other = a->other;

	a->ran++;
	a->other = NULL;
	if (other != NULL)
		a->wrong += nursery_token_on_cancel(other, &a->cb,
		    register_while_running, a) != 0;
}

/* Without a removal, too: once it runs, the registration is used up. */
START_TEST(test_callback_may_register_itself_anew_without_removal)
{
	struct nursery_token *t = new_token(NULL), *other = new_token(NULL);
	struct again a = { .other = other };

	on_cancel(t, &a.cb, register_while_running, &a);
	nursery_token_cancel(t);
	ck_assert_int_eq(a.ran, 1);
	ck_assert_int_eq(a.wrong, 0);
	/* It is registered again, and says so. */
	ck_assert_int_eq(nursery_token_on_cancel(other, &a.cb, count_up,
	    &a.ran), EBUSY);
	nursery_token_cancel(other);
	ck_assert_int_eq(a.ran, 2);
	nursery_callback_remove(&a.cb);
	nursery_token_unref(t);
	nursery_token_unref(other);
}
END_TEST

struct adder {
	struct nursery_token *t;
	struct nursery_callback more, *victim;
	int ran, removed;
};

static void
add_and_remove(void *arg)
{
	struct adder *a = arg;

	(void)nursery_token_on_cancel(a->t, &a->more, count_up, &a->ran);
	if (a->victim != NULL) {
		nursery_callback_remove(a->victim);
		a->removed = 1;
	}
}

START_TEST(test_callback_may_add_and_remove_others_of_its_token)
{
	struct nursery_token *t = new_token(NULL);
	struct nursery_callback first = { 0 }, second = { 0 };
	struct adder a[2] = { { .t = t }, { .t = t } };

	/* Whichever runs first removes the other, which then never runs. */
	a[0].victim = &second;
	a[1].victim = &first;
	on_cancel(t, &first, add_and_remove, &a[0]);
	on_cancel(t, &second, add_and_remove, &a[1]);
	nursery_token_cancel(t);
	ck_assert_int_eq(a[0].ran + a[1].ran, 1);
	ck_assert_int_eq(a[0].removed + a[1].removed, 1);
	nursery_callback_remove(&first);
	nursery_callback_remove(&second);
	nursery_callback_remove(&a[0].more);
	nursery_callback_remove(&a[1].more);
	nursery_token_unref(t);
}
END_TEST

struct link {
	struct nursery_token *next;
	int rc;
};

static void
cancel_next(void *arg)
{
	struct link *l = arg;

	l->rc = nursery_token_cancel(l->next);
}

/* A callback that cancels a token whose callback cancels one ... */
START_TEST(test_callback_may_cancel_others)
{
	struct nursery_callback cb[100] = { 0 };
	struct nursery_token *t[101];
	struct link l[100];
	int i;

	for (i = 0; i <= 100; i++)
		t[i] = new_token(NULL);
	for (i = 0; i < 100; i++) {
		l[i] = (struct link){ t[i + 1], 0 };
		on_cancel(t[i], &cb[i], cancel_next, &l[i]);
	}
	nursery_token_cancel(t[0]);
	for (i = 0; i < 100; i++) {
		ck_assert_int_eq(l[i].rc, 1);
		nursery_callback_remove(&cb[i]);
	}
	for (i = 0; i <= 100; i++) {
		ck_assert(nursery_token_is_cancelled(t[i]));
		nursery_token_unref(t[i]);
	}
}
END_TEST

/* A callback raises its own token, and its ancestor, further. */
static void
abort_root(void *root)
{
	(void)nursery_token_raise(root, NURSERY_ABORT, 13, "from inside");
}

START_TEST(test_callback_may_raise_its_own_ancestors)
{
	struct nursery_token *root = new_token(NULL), *leaf = new_token(root);
	struct nursery_callback cb = { 0 }, at_abort = { 0 };
	int ran = 0;

	on_cancel(leaf, &cb, abort_root, root);
	ck_assert_int_eq(nursery_token_on_level(leaf, NURSERY_ABORT,
	    &at_abort, count_up, &ran), 0);
	nursery_token_cancel(root);
	ck_assert_int_eq(nursery_token_level(leaf), NURSERY_ABORT);
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_cause(leaf, NURSERY_ABORT, NULL), 13);
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&cb);
	nursery_callback_remove(&at_abort);
	nursery_token_unref(leaf);
	nursery_token_unref(root);
}
END_TEST

/* ---- no lock is held while it runs ---- */

START_TEST(test_callback_that_blocks_holds_nobody_up)
{
	struct held h = { .t = new_token(NULL) };
	struct nursery_token *child = new_token(h.t), *late, *other;
	struct nursery_callback cb = { 0 };
	struct nursery *n;
	pthread_t canceller;
	int ran = 0;

	gate_init(&h.gate);
	on_cancel(h.t, &h.cb, held_fn, &h);
	canceller = start_thread(cancel_token, h.t);
	gate_await(&h.gate, 1);
	/* Descendants are cancelled, callbacks still running or not. */
	ck_assert(nursery_token_is_cancelled(child));
	ck_assert(!nursery_token_cancel(h.t));
	ck_assert(!nursery_token_cancel(child));
	late = new_token(h.t);
	other = new_token(NULL);
	on_cancel(h.t, &cb, count_up, &ran);
	ck_assert_int_eq(ran, 1);
	nursery_callback_remove(&cb);
	ck_assert_int_eq(nursery_token_cause(h.t, NURSERY_CANCEL, NULL),
	    ECANCELED);
	ck_assert_int_eq(nursery_token_set_deadline(other, 1), 0);
	ck_assert_int_eq(nursery_token_wait(other, patience()), 0);
	n = open_root(NULL);
	ck_assert_int_eq(nursery_spawn(n, task_count, &ran), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	nursery_token_unref(other);
	nursery_token_unref(late);
	nursery_token_unref(child);
	gate_open(&h.gate);
	(void)end_thread(canceller);
	nursery_callback_remove(&h.cb);
	nursery_token_unref(h.t);
}
END_TEST

struct duel {
	pthread_barrier_t *together;
	struct nursery_callback cb, *rival;
	struct nursery_token *t;
	int rc;
};

static void
try_to_remove_rival(void *arg)
{
	struct duel *d = arg;

	pthread_barrier_wait(d->together);
	d->rc = nursery_callback_try_remove(d->rival);
	/* Neither leaves before both have tried. */
	pthread_barrier_wait(d->together);
}

START_TEST(test_callback_two_that_try_to_remove_each_other_are_ebusy)
{
	pthread_barrier_t together;
	struct duel d[2];
	pthread_t id[2];
	int i;

	pthread_barrier_init(&together, NULL, 2);
	for (i = 0; i < 2; i++) {
		d[i] = (struct duel){ .together = &together,
			.t = new_token(NULL), .rival = &d[1 - i].cb,
			.rc = -1 };
		on_cancel(d[i].t, &d[i].cb, try_to_remove_rival, &d[i]);
	}
	for (i = 0; i < 2; i++)
		id[i] = start_thread(cancel_token, d[i].t);
	for (i = 0; i < 2; i++)
		(void)end_thread(id[i]);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(d[i].rc, EBUSY);
		nursery_callback_remove(&d[i].cb);
		nursery_token_unref(d[i].t);
	}
	pthread_barrier_destroy(&together);
}
END_TEST

static int
forget_a_callback(void *unused)
{
	static struct nursery_callback cb;
	struct nursery_token *t;
	int ran = 0;

	(void)unused;
	if (nursery_token_new(&t, NULL) != 0)
		return 1;
	(void)nursery_token_on_cancel(t, &cb, count_up, &ran);
	nursery_token_unref(t);
	return 0;
}

START_TEST(test_callback_left_registered_at_the_last_unref_aborts)
{
	struct outcome o;

	run_forked(&o, forget_a_callback, NULL);
	assert_aborted(&o, "nursery_token_unref");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("callback");
	TCase *c = leakless_case("callback");

	tcase_add_test(c, test_callback_runs_once);
	tcase_add_test(c, test_callback_of_a_reached_level_runs_at_once);
	tcase_add_loop_test(c, test_callback_of_each_level_runs_at_its_level,
	    0, 2);
	tcase_add_test(c,
	    test_callback_runs_after_all_levels_on_the_cancelling_thread);
	tcase_add_test(c, test_callback_a_thousand_on_one_token_each_once);
	tcase_add_test(c, test_callback_removed_never_runs);
	tcase_add_test(c, test_callback_never_registered_may_be_removed);
	tcase_add_test(c, test_callback_registered_twice_is_ebusy);
	tcase_add_test(c, test_callback_remove_waits_for_the_running_one);
	tcase_add_test(c,
	    test_callback_remove_waits_for_one_that_runs_at_once);
	tcase_add_test(c, test_callback_queued_behind_another_can_be_removed);
	tcase_add_test(c, test_callback_may_free_itself_and_use_its_token);
	tcase_add_test(c, test_callback_may_register_itself_anew);
	tcase_add_test(c,
	    test_callback_may_register_itself_anew_without_removal);
	tcase_add_test(c,
	    test_callback_may_add_and_remove_others_of_its_token);
	tcase_add_test(c, test_callback_may_cancel_others);
	tcase_add_test(c, test_callback_may_raise_its_own_ancestors);
	tcase_add_test(c, test_callback_that_blocks_holds_nobody_up);
	tcase_add_test(c,
	    test_callback_two_that_try_to_remove_each_other_are_ebusy);
	tcase_add_test(c,
	    test_callback_left_registered_at_the_last_unref_aborts);
	suite_add_tcase(s, c);
	return run_suite(s);
}
