/* SPDX-License-Identifier: MIT */
/*
 * Ten thousand random graphs of tokens against a reference that knows nothing
 * of trees, walks or joins: it keeps for each token whom it hears and how, and
 * after each event goes over all of them, oldest first, until nothing changes.
 *
 * Everything a program can ask is compared after every step: the level, each
 * level's cause, the deadline.  Where an event reaches a token of several
 * parents through more than one of them at once, with different causes, any
 * of these is right; what the library says then must be said ever after.
 */
#include "support.h"

#include <string.h>

#define NODES	24
#define PARENTS	4
#define STEPS	60
#define CODES	8	/* causes that are right */

struct why {
	int count, code[CODES];
};

struct node {
	struct nursery_token *t;	/* NULL: released */
	int parents, parent[PARENTS];
	unsigned at;			/* of new_at, or 0 */
	bool shielded;
	unsigned level;
	struct why why[NURSERY_ABORT + 1];
	int64_t deadline, earliest;
};

struct graph {
	struct node node[NODES];
	int count, next_code;
	bool timed;	/* things happen by the clock: takes longer */
	int64_t past;	/* a time that is over, later with each use */
};

/* ---- the reference ---- */

static void
add_code(struct why *w, int code)
{
	int i;

	for (i = 0; i < w->count; i++)
		if (w->code[i] == code)
			return;
	ck_assert_int_lt(w->count, CODES);
	w->code[w->count++] = code;
}

/* The level of a parent at which n would come to `level`; 0: none. */
static unsigned
takes(const struct node *n, unsigned level)
{
	if (n->at == 0)
		return level;
	return level == NURSERY_ABORT ? NURSERY_ABORT : n->at;
}

/* Whether n hears p say `level`, which p has. */
static unsigned
heard(const struct node *n, const struct node *p)
{
	unsigned l;

	if (n->shielded)
		return p->level == NURSERY_ABORT ? NURSERY_ABORT : 0;
	if (n->at == 0)
		return p->level;
	for (l = NURSERY_ABORT; l > NURSERY_DRAIN; l--)
		if (p->level >= takes(n, l))
			return l;
	return 0;
}

/* From all parents, level by level. */
static void
hear(struct graph *g, struct node *n)
{
	struct why more[NURSERY_ABORT + 1];
	const struct node *p;
	unsigned l, to = n->level;
	int i, k;

	memset(more, 0, sizeof more);
	for (i = 0; i < n->parents; i++) {
		p = &g->node[n->parent[i]];
		for (l = n->level + 1; l <= heard(n, p); l++)
			for (k = 0; k < p->why[takes(n, l)].count; k++)
				add_code(&more[l], p->why[takes(n, l)].code[k]);
		if (heard(n, p) > to)
			to = heard(n, p);
	}
	for (l = n->level + 1; l <= to; l++)
		n->why[l] = more[l];
	n->level = to;
}

static void
hear_all(struct graph *g)
{
	int i;

	/* Parents are older than their children. */
	for (i = 0; i < g->count; i++)
		hear(g, &g->node[i]);
}

static void
raised(struct graph *g, struct node *n, unsigned level, int code)
{
	unsigned l;

	for (l = n->level + 1; l <= level; l++)
		add_code(&n->why[l], code);
	if (level > n->level)
		n->level = level;
	hear_all(g);
}

/* Of all, oldest first: the earliest of its own and of those it hears. */
static void
deadlines(struct graph *g)
{
	struct node *n;
	int i;

	for (n = g->node; n < g->node + g->count; n++) {
		n->earliest = n->deadline;
		if (n->shielded || n->at == NURSERY_ABORT)
			continue;
		for (i = 0; i < n->parents; i++)
			if (g->node[n->parent[i]].earliest < n->earliest)
				n->earliest = g->node[n->parent[i]].earliest;
	}
}

/* ---- comparing ---- */

static void
compare_level(struct node *n, unsigned l)
{
	int code = nursery_token_cause(n->t, (enum nursery_level)l, NULL), i;

	if (l > n->level) {
		ck_assert_int_eq(code, 0);
		return;
	}
	for (i = 0; i < n->why[l].count; i++)
		if (n->why[l].code[i] == code)
			break;
	ck_assert_msg(i < n->why[l].count, "level %u: cause %d, not %d", l,
	    code, n->why[l].code[0]);
	n->why[l] = (struct why){ 1, { code } };
}

static void
compare(struct graph *g)
{
	struct node *n;
	unsigned l;
	int i;

	deadlines(g);
	for (i = 0; i < g->count; i++) {
		n = &g->node[i];
		if (n->t == NULL)
			continue;
		ck_assert_msg(nursery_token_level(n->t) == n->level,
		    "token %d: level %d, not %u", i,
		    (int)nursery_token_level(n->t), n->level);
		ck_assert_int_eq(nursery_token_is_cancelled(n->t),
		    n->level >= NURSERY_CANCEL);
		for (l = NURSERY_DRAIN; l <= NURSERY_ABORT; l++)
			compare_level(n, l);
		/* Afterwards it is that of those who are still there. */
		if (n->level < NURSERY_CANCEL)
			ck_assert_int_eq(nursery_token_deadline(n->t),
			    n->earliest);
	}
}

/* ---- steps ---- */

static struct node *
pick(struct graph *g, struct rng *r)
{
	struct node *n;
	int tries;

	for (tries = 0; tries < 20 && g->count > 0; tries++) {
		n = &g->node[rng_below(r, (unsigned)g->count)];
		if (n->t != NULL)
			return n;
	}
	return NULL;
}

static int64_t
next_past(struct graph *g)
{
	return g->past++;
}

/* What was armed for a time that is over has fired when this returns: timers
 * fire in the order of their times, on one thread. */
static void
await_timers(struct graph *g)
{
	struct nursery_token *last;

	ck_assert_int_eq(nursery_token_new(&last, NULL), 0);
	ck_assert_int_eq(nursery_token_set_deadline(last, next_past(g)), 0);
	ck_assert_int_eq(nursery_token_wait(last, patience()), 0);
	nursery_token_unref(last);
}

static struct node *
add_node(struct graph *g)
{
	struct node *n = &g->node[g->count];

	memset(n, 0, sizeof *n);
	n->deadline = NURSERY_NEVER;
	return n;
}

static void
step_new(struct graph *g, struct rng *r)
{
	struct node *p = rng_below(r, 6) == 0 ? NULL : pick(g, r), *n;
	int64_t until = NURSERY_NEVER;
	int rc;

	if (g->count == NODES)
		return;
	n = add_node(g);
	if (p != NULL)
		n->parent[n->parents++] = (int)(p - g->node);
	if (p != NULL && rng_below(r, 5) == 0) {
		n->at = NURSERY_DRAIN + rng_below(r, 3);
		rc = nursery_token_new_at(&n->t, p->t,
		    (enum nursery_level)n->at);
	} else if (p != NULL && rng_below(r, 5) == 0) {
		n->shielded = true;
		if (g->timed && rng_below(r, 2) == 0)
			until = next_past(g);
		rc = nursery_token_new_shielded(&n->t, p->t, until);
		if (until != NURSERY_NEVER) {
			await_timers(g);
			n->shielded = false;
		}
	} else {
		rc = nursery_token_new(&n->t, p == NULL ? NULL : p->t);
	}
	ck_assert_int_eq(rc, 0);
	g->count++;
	hear_all(g);
}

static void
step_new_any(struct graph *g, struct rng *r)
{
	struct nursery_token *parent[PARENTS];
	struct node *n, *p;
	unsigned want = 1 + rng_below(r, PARENTS);

	if (g->count == NODES)
		return;
	n = add_node(g);
	while (n->parents < (int)want) {
		p = pick(g, r);
		if (p == NULL)
			return;
		parent[n->parents] = p->t;
		n->parent[n->parents++] = (int)(p - g->node);
	}
	ck_assert_int_eq(nursery_token_new_any(&n->t, parent, want), 0);
	g->count++;
	hear_all(g);
}

static void
step_raise(struct graph *g, struct rng *r)
{
	struct node *n = pick(g, r);
	unsigned level = NURSERY_DRAIN + rng_below(r, 3);
	int code = g->next_code++;

	/* Seldom, or all would be over soon. */
	if (n == NULL || rng_below(r, 3) != 0)
		return;
	ck_assert_int_eq(nursery_token_raise(n->t, (enum nursery_level)level,
	    code, NULL), level > n->level);
	raised(g, n, level, code);
}

static void
step_deadline(struct graph *g, struct rng *r)
{
	struct node *n = pick(g, r);
	bool over = g->timed && rng_below(r, 3) == 0;
	int64_t when = over ? next_past(g) : rng_below(r, 3) == 0 ?
	    NURSERY_NEVER : nursery_after((3600 + (int64_t)rng_below(r, 99)) *
	    NURSERY_SECOND);
	int rc;

	if (n == NULL || (over && rng_below(r, 4) != 0))
		return;
	rc = nursery_token_set_deadline(n->t, when);
	ck_assert_int_eq(rc, n->level >= NURSERY_CANCEL ? ECANCELED : 0);
	if (rc != 0)
		return;
	n->deadline = when;
	if (over) {
		await_timers(g);
		raised(g, n, NURSERY_CANCEL, ETIMEDOUT);
	}
}

static void
step_release(struct graph *g, struct rng *r)
{
	struct node *n = pick(g, r);

	if (n != NULL && rng_below(r, 2) == 0)
		nursery_token_drop(&n->t);
}

static void
release_all(struct graph *g, struct rng *r)
{
	int left = g->count;
	struct node *n;

	while (left > 0) {
		n = &g->node[rng_below(r, (unsigned)g->count)];
		if (n->t != NULL && rng_below(r, 2) == 0)
			nursery_token_drop(&n->t);
		for (left = 0, n = g->node; n < g->node + g->count; n++)
			left += n->t != NULL;
	}
}

static void
run_graph(struct rng *r)
{
	static void (*const step[])(struct graph *, struct rng *) = {
		step_new, step_new, step_new_any, step_raise, step_deadline,
		step_release
	};
	static struct graph g;
	int i;

	memset(&g, 0, sizeof g);
	g.next_code = 1000;
	g.timed = rng_below(r, 16) == 0;
	g.past = nursery_now() - 3600 * NURSERY_SECOND;
	for (i = 0; i < STEPS; i++) {
		step[rng_below(r, sizeof step / sizeof step[0])](&g, r);
		compare(&g);
	}
	release_all(&g, r);
}

START_TEST(test_reference_and_library_say_the_same)
{
	struct rng r;
	unsigned i;

	rng_init(&r, (uint64_t)_i);
	for (i = 0; i < scaled(rounds(1000)); i++)
		run_graph(&r);
	assert_nothing_lives();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reference");
	TCase *c = leakless_case("reference");

	announce_seed("stress_reference");
	/* Ten lots, lest one takes too long on a busy machine. */
	tcase_add_loop_test(c, test_reference_and_library_say_the_same, 0,
	    10);
	suite_add_tcase(s, c);
	return run_suite(s);
}
