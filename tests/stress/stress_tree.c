/* SPDX-License-Identifier: MIT */
/*
 * Trees of tokens under random operations: one thread against a simple
 * model, then several against what must hold whatever the order was.
 *
 * The model knows nothing of handles: it keeps every token for ever under
 * the parent it was made for, and tells it what that one tells.  The library
 * takes released tokens out and puts others in their place; nobody who still
 * has a handle may notice.
 */
#include "race.h"
#include "tasks.h"

#include <string.h>

/* ---- the model ---- */

#define NODES	60

struct node {
	struct nursery_token *t;	/* NULL: the handle is given back */
	int parent;			/* -1: a root */
	unsigned at;			/* new_at's level, or 0 */
	bool shielded;
	bool behind_shield;	/* so are the causes it skipped: not checked */
	unsigned level;
	int cause[NURSERY_ABORT + 1];
	int64_t deadline;
	/* one callback */
	struct nursery_callback cb;
	unsigned cb_level;		/* 0: not registered */
	int ran, expected;
};

struct model {
	struct node node[NODES];
	int count;
	int next_code;
};

static unsigned
hears(const struct node *n, unsigned level)
{
	if (n->shielded)
		return level >= NURSERY_ABORT ? level : NURSERY_LIVE;
	if (n->at == 0)
		return level;
	if (level < n->at)
		return NURSERY_LIVE;
	return level > NURSERY_CANCEL ? level : NURSERY_CANCEL;
}

/* The parent's level that takes n to `level`. */
static unsigned
heard_as(const struct node *n, unsigned level)
{
	return n->at != 0 && level <= NURSERY_CANCEL ? n->at : level;
}

static void
rise(struct node *n, unsigned level, const int *cause)
{
	unsigned l;

	for (l = n->level + 1; l <= level; l++)
		n->cause[l] = cause[l];
	n->level = level;
	if (n->cb_level != 0 && n->cb_level <= level) {
		n->expected++;
		n->cb_level = 0;
	}
}

/* Children come after their parents: one pass down tells all. */
static void
tell_all(struct model *m)
{
	int cause[NURSERY_ABORT + 1], i;
	const struct node *p;
	struct node *n;
	unsigned to, l;

	for (i = 0; i < m->count; i++) {
		n = &m->node[i];
		if (n->parent < 0)
			continue;
		p = &m->node[n->parent];
		to = hears(n, p->level);
		if (to <= n->level)
			continue;
		for (l = 1; l <= to; l++)
			cause[l] = p->cause[heard_as(n, l)];
		rise(n, to, cause);
	}
}

static void
model_raise(struct model *m, int i, unsigned level, int code)
{
	int cause[NURSERY_ABORT + 1] = { 0, code, code, code };

	rise(&m->node[i], level, cause);
	tell_all(m);
}

static int64_t
model_deadline(const struct model *m, int i)
{
	int64_t earliest = NURSERY_NEVER;
	const struct node *n;

	for (; i >= 0; i = n->parent) {
		n = &m->node[i];
		if (n->deadline < earliest)
			earliest = n->deadline;
		if (hears(n, NURSERY_CANCEL) == NURSERY_LIVE)
			break;
	}
	return earliest;
}

/* ---- one random step in both ---- */

/* A token with a handle, or -1. */
static int
pick(const struct model *m, struct rng *r)
{
	int i, tries;

	for (tries = 0; tries < 20 && m->count > 0; tries++) {
		i = (int)rng_below(r, (unsigned)m->count);
		if (m->node[i].t != NULL)
			return i;
	}
	return -1;
}

static void
step_new(struct model *m, struct rng *r)
{
	struct node *n = &m->node[m->count];
	int p = rng_below(r, 8) == 0 ? -1 : pick(m, r), rc;
	struct nursery_token *parent = p < 0 ? NULL : m->node[p].t;

	if (m->count == NODES)
		return;
	memset(n, 0, sizeof *n);
	n->parent = p;
	n->deadline = NURSERY_NEVER;
	n->behind_shield = p >= 0 && m->node[p].behind_shield;
	if (p >= 0 && rng_below(r, 6) == 0) {
		n->at = 1 + rng_below(r, 3);
		rc = nursery_token_new_at(&n->t, parent,
		    (enum nursery_level)n->at);
	} else if (p >= 0 && rng_below(r, 8) == 0) {
		n->shielded = n->behind_shield = true;
		rc = nursery_token_new_shielded(&n->t, parent,
		    NURSERY_NEVER);
	} else {
		rc = nursery_token_new(&n->t, parent);
	}
	ck_assert_int_eq(rc, 0);
	m->count++;
	tell_all(m);
}

static void
step_raise(struct model *m, struct rng *r)
{
	static const char *const why[] = { NULL, "one", "two" };
	int i = pick(m, r), code = m->next_code++;
	unsigned level = 1 + rng_below(r, 3);
	bool first;

	/* Seldom, or all would be over soon. */
	if (i < 0 || rng_below(r, 4) != 0)
		return;
	first = level > m->node[i].level;
	ck_assert(nursery_token_raise(m->node[i].t, (enum nursery_level)level,
	    code, why[code % 3]) == first);
	if (first)
		model_raise(m, i, level, code);
}

static void
step_release(struct model *m, struct rng *r)
{
	int i = pick(m, r);
	struct node *n;

	if (i < 0)
		return;
	n = &m->node[i];
	nursery_callback_remove(&n->cb);
	n->cb_level = 0;
	nursery_token_unref(n->t);
	n->t = NULL;
}

static void
step_callback(struct model *m, struct rng *r)
{
	int i = pick(m, r);
	struct node *n;

	if (i < 0)
		return;
	n = &m->node[i];
	if (n->cb_level != 0) {
		ck_assert_int_eq(nursery_token_on_cancel(n->t, &n->cb,
		    count_up, &n->ran), EBUSY);
		nursery_callback_remove(&n->cb);
		n->cb_level = 0;
		return;
	}
	n->cb_level = 1 + rng_below(r, 3);
	ck_assert_int_eq(nursery_token_on_level(n->t,
	    (enum nursery_level)n->cb_level, &n->cb, count_up, &n->ran), 0);
	if (n->cb_level <= n->level) {
		n->expected++;
		n->cb_level = 0;
	}
}

static void
step_deadline(struct model *m, struct rng *r)
{
	int64_t when = rng_below(r, 3) == 0 ? NURSERY_NEVER :
	    nursery_after((3600 + (int64_t)rng_below(r, 1000)) *
	    NURSERY_SECOND);
	int i = pick(m, r);
	struct node *n;

	if (i < 0)
		return;
	n = &m->node[i];
	ck_assert_int_eq(nursery_token_set_deadline(n->t, when), n->level >=
	    NURSERY_CANCEL ? ECANCELED : 0);
	if (n->level < NURSERY_CANCEL)
		n->deadline = when;
}

static void
compare(const struct model *m, int i)
{
	const struct node *n = &m->node[i];
	unsigned l;

	ck_assert_uint_eq(nursery_token_level(n->t), n->level);
	ck_assert_int_eq(n->ran, n->expected);
	ck_assert_int_eq(nursery_token_wait(n->t, 0), n->level >=
	    NURSERY_CANCEL ? 0 : ETIMEDOUT);
	for (l = 1; l <= NURSERY_ABORT; l++)
		if (!n->behind_shield || l == n->level)
			ck_assert_int_eq(nursery_token_cause(n->t,
			    (enum nursery_level)l, NULL), n->cause[l]);
	/* Of a token that is cancelled the deadline may be forgotten, with
	 * the ancestor that had it. */
	if (n->level < NURSERY_CANCEL)
		ck_assert(nursery_token_deadline(n->t) == model_deadline(m,
		    i));
}

static void
compare_all(const struct model *m)
{
	int i;

	for (i = 0; i < m->count; i++)
		if (m->node[i].t != NULL)
			compare(m, i);
}

START_TEST(test_tree_behaves_like_the_model)
{
	static void (*const steps[])(struct model *m, struct rng *r) = {
		step_new, step_new, step_raise, step_release, step_callback,
		step_deadline };
	static struct model m;
	unsigned round, i, k;
	struct rng r;

	rng_init(&r, 1);
	for (round = 0; round < rounds(60); round++) {
		memset(&m, 0, sizeof m);
		m.next_code = 1000;
		for (i = 0; i < 300; i++) {
			k = rng_below(&r, sizeof steps / sizeof steps[0]);
			steps[k](&m, &r);
			if (i % 8 == 7)
				compare_all(&m);
		}
		compare_all(&m);
		for (i = 0; i < (unsigned)m.count; i++)
			if (m.node[i].t != NULL) {
				nursery_callback_remove(&m.node[i].cb);
				nursery_token_unref(m.node[i].t);
			}
	}
}
END_TEST

/* ---- several threads on one tree ---- */

/*
 *	0 - 1 - 3 - 7
 *	  \   \ 4 - 8 - 9		8 is for DRAIN, 6 behind a shield
 *	    2 - 5
 *	      \ 6 - 10 - 11
 */
#define FIXED	12
static const int fixed_parent[FIXED] = { -1, 0, 0, 1, 1, 2, 2, 3, 4, 8, 6,
	10 };
enum { FOR_DRAIN = 8, SHIELDED = 6 };

struct shared {
	struct nursery_token *t[FIXED];
	struct nursery_callback cb[FIXED];
	int ran[FIXED];			/* atomic */
	int raised[FIXED][NURSERY_ABORT + 1];	/* atomic: true answers */
	int wrong;			/* atomic */
};

static bool
is_below(int i, int top)
{
	for (; i >= 0; i = fixed_parent[i])
		if (i == top)
			return true;
	return false;
}

/* What the way from `top` down to i leaves of a level. */
static unsigned
arrives(int i, int top, unsigned level)
{
	struct node way[FIXED];
	int path[FIXED], len = 0;

	for (; i != top; i = fixed_parent[i])
		path[len++] = i;
	while (len-- > 0) {
		memset(way, 0, sizeof way[0]);
		way[0].at = path[len] == FOR_DRAIN ? NURSERY_DRAIN : 0;
		way[0].shielded = path[len] == SHIELDED;
		level = hears(&way[0], level);
	}
	return level;
}

static void
wrong_if(struct shared *s, bool is)
{
	if (is)
		__atomic_fetch_add(&s->wrong, 1, __ATOMIC_SEQ_CST);
}

/* Raises one; on return all below it have what they hear. */
static void
raise_one(struct shared *s, struct rng *r)
{
	int top = (int)rng_below(r, FIXED), i;
	unsigned level = 1 + rng_below(r, 3);

	if (nursery_token_raise(s->t[top], (enum nursery_level)level,
	    1000 * (top + 1) + (int)level, NULL))
		__atomic_fetch_add(&s->raised[top][level], 1,
		    __ATOMIC_SEQ_CST);
	for (i = 0; i < FIXED; i++)
		if (is_below(i, top))
			wrong_if(s, (unsigned)nursery_token_level(s->t[i]) <
			    arrives(i, top, level));
}

/* A chain of children whose middle is let go; its end hears all. */
static void
make_and_drop(struct shared *s, struct rng *r)
{
	struct nursery_token *chain[4], *top = s->t[rng_below(r, FIXED)];
	unsigned order[4] = { 0, 1, 2, 3 }, i, k, swap, least;

	/* Born at the level of the parent, which only rises. */
	least = (unsigned)nursery_token_level(top);
	for (i = 0; i < 4; i++)
		if (nursery_token_new(&chain[i], i == 0 ? top : chain[i - 1])
		    != 0) {
			wrong_if(s, true);
			return;
		}
	/* All but the last one, in any order. */
	for (i = 0; i < 2; i++) {
		k = i + rng_below(r, 3 - i);
		swap = order[i];
		order[i] = order[k];
		order[k] = swap;
	}
	for (i = 0; i < 3; i++)
		nursery_token_unref(chain[order[i]]);
	if (rng_below(r, 3) == 0) {
		(void)nursery_token_cancel_with(top, 5, NULL);
		least = least < NURSERY_CANCEL ? NURSERY_CANCEL : least;
	}
	wrong_if(s, (unsigned)nursery_token_level(chain[3]) < least);
	wrong_if(s, least > 0 && nursery_token_cause(chain[3],
	    (enum nursery_level)least, NULL) == 0);
	nursery_token_unref(chain[3]);
}

/* Whoever is cancelled by an ancestor: the ancestor shows it. */
static void
look_upwards(struct shared *s, struct rng *r)
{
	int i = (int)rng_below(r, FIXED), above;
	unsigned level = (unsigned)nursery_token_level(s->t[i]);
	int code = nursery_token_cause(s->t[i], NURSERY_LIVE, NULL);

	wrong_if(s, level > 0 && code == 0);
	if (code < 1000)
		return;
	above = code / 1000 - 1;
	wrong_if(s, !is_below(i, above));
	wrong_if(s, (int)nursery_token_level(s->t[above]) < code % 1000);
}

static void
on_the_tree(void *ctx, struct rng *r)
{
	struct shared *s = ctx;
	unsigned i;

	for (i = 0; i < 6; i++)
		switch (rng_below(r, 5)) {
		case 0:
			raise_one(s, r);
			break;
		case 1:
			look_upwards(s, r);
			break;
		default:
			make_and_drop(s, r);
		}
}

static void
plant_tree(void *ctx, struct rng *r)
{
	struct shared *s = ctx;
	struct nursery_token *parent;
	int i, rc;

	(void)r;
	memset(s, 0, sizeof *s);
	for (i = 0; i < FIXED; i++) {
		parent = i == 0 ? NULL : s->t[fixed_parent[i]];
		if (i == FOR_DRAIN)
			rc = nursery_token_new_at(&s->t[i], parent,
			    NURSERY_DRAIN);
		else if (i == SHIELDED)
			rc = nursery_token_new_shielded(&s->t[i], parent,
			    NURSERY_NEVER);
		else
			rc = nursery_token_new(&s->t[i], parent);
		ck_assert_int_eq(rc, 0);
		ck_assert_int_eq(nursery_token_on_cancel(s->t[i], &s->cb[i],
		    count_up, &s->ran[i]), 0);
	}
}

static void
fell_tree(void *ctx)
{
	struct shared *s = ctx;
	unsigned level, l;
	int i, p, answers;

	ck_assert_int_eq(s->wrong, 0);
	for (i = 0; i < FIXED; i++) {
		p = fixed_parent[i];
		level = (unsigned)nursery_token_level(s->t[i]);
		if (p >= 0)
			ck_assert_uint_ge(level, arrives(i, p,
			    (unsigned)nursery_token_level(s->t[p])));
		ck_assert_int_eq(s->ran[i], level >= NURSERY_CANCEL);
		for (answers = 0, l = 1; l <= NURSERY_ABORT; l++) {
			ck_assert((nursery_token_cause(s->t[i],
			    (enum nursery_level)l, NULL) != 0) == (l <=
			    level));
			ck_assert_int_le(s->raised[i][l], 1);
			answers += s->raised[i][l];
		}
		ck_assert_int_le(answers, (int)level);
		nursery_callback_remove(&s->cb[i]);
	}
	for (i = 0; i < FIXED; i++)
		nursery_token_unref(s->t[(i * 7) % FIXED]);
}

START_TEST(test_tree_holds_its_promises_under_three_threads)
{
	static struct shared s;
	const struct race race = {
		.racers = 3, .run = { on_the_tree, on_the_tree, on_the_tree },
		.before = plant_tree, .after = fell_tree };

	race_run(&race, &s, rounds(1500));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tree");
	TCase *c = leakless_case("tree");

	tcase_add_test(c, test_tree_behaves_like_the_model);
	tcase_add_test(c, test_tree_holds_its_promises_under_three_threads);
	suite_add_tcase(s, c);
	announce_seed("stress_tree");
	return run_suite(s);
}
