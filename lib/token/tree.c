/* SPDX-License-Identifier: MIT */
/* The tree: birth, raise, release.  Invariants in token/token.h. */
#include "config.h"

#include "token/token.h"

#include "base/check.h"
#include "base/sys.h"
#include "base/thr.h"
#include "base/task_id.h"
#include "token/callback.h"
#include "token/timer.h"

#include <string.h>

struct nur_mutex nur_tree_lock = NUR_MUTEX_INIT(NUR_RANK_TREE);
void (*nur_token_embedded_free)(struct nursery_token *t);

static struct nur_slab tokens = NUR_SLAB_INIT("token",
    sizeof(struct nursery_token), NUR_TOKEN_AUX, false);

_Static_assert(sizeof(void *) != 8 || sizeof(struct nursery_token) == 64,
    "a token is one cache line");

/* One walk in progress; on the walker's stack. */
struct walk {
	struct walk *next;
	struct nursery_token *root;
};

/* under the tree lock */
static struct walk *walks;
/* atomic: counts finished walks; those who wait for one sleep on it */
static uint32_t walks_done;
/* under the tree lock */
static unsigned walk_waiters;

static unsigned
level_of(const struct nursery_token *t)
{
	/* Relaxed: the caller holds the tree lock, under which it changes. */
	return nur_load_relaxed(&t->word) & NUR_LEVEL_MASK;
}

/* What a token hears when its parent stands at `level`. */
static unsigned
hears(const struct nursery_token *t, unsigned level)
{
	unsigned at = (t->flags & NUR_TOKEN_AT_MASK) >> NUR_TOKEN_AT_SHIFT;

	if ((t->flags & NUR_TOKEN_SHIELDED) != 0)
		return level >= NURSERY_ABORT ? level : NURSERY_LIVE;
	if (at == 0)
		return level;
	if (level < at)
		return NURSERY_LIVE;
	return level > NURSERY_CANCEL ? level : NURSERY_CANCEL;
}

/* The parent's level that made t reach `level`: the reverse of hears(). */
static unsigned
heard_as(const struct nursery_token *t, unsigned level)
{
	unsigned at = (t->flags & NUR_TOKEN_AT_MASK) >> NUR_TOKEN_AT_SHIFT;

	return at != 0 && level <= NURSERY_CANCEL ? at : level;
}

static void
set_level_locked(struct nursery_token *t, unsigned level, uint32_t origin)
{
	uint32_t w = nur_load_relaxed(&t->word);

	/* Release: publishes the cause; pairs with nur_token_level(). */
	nur_store_release(&t->word, (w & ~NUR_LEVEL_MASK) | level | origin);
}

static struct nur_record *
record_of(const struct nursery_token *t, unsigned level)
{
	return (struct nur_record *)nur_slab_aux(t) + (level - 1);
}

/* ---- shape ---- */

static void
link_locked(struct nursery_token *t, struct nursery_token *parent)
{
	t->parent = parent;
	t->prev = NULL;
	t->next = parent->kids;
	if (t->next != NULL)
		t->next->prev = t;
	parent->kids = t;
}

static void
unlink_locked(struct nursery_token *t)
{
	if (t->next != NULL)
		t->next->prev = t->prev;
	if (t->prev != NULL)
		t->prev->next = t->next;
	else if (t->parent != NULL)
		t->parent->kids = t->next;
}

/* Puts `kid`, the only child of t, where t stands. */
static void
replace_locked(struct nursery_token *t, struct nursery_token *kid)
{
	kid->parent = t->parent;
	kid->next = t->next;
	kid->prev = t->prev;
	if (kid->next != NULL)
		kid->next->prev = kid;
	if (kid->prev != NULL)
		kid->prev->next = kid;
	else if (t->parent != NULL)
		t->parent->kids = kid;
}

/* T3: what t knows and its child found through it goes to the child. */
static void
bequeath_locked(struct nursery_token *t, struct nursery_token *kid)
{
	uint32_t mine = nur_load_relaxed(&t->word);
	uint32_t its = nur_load_relaxed(&kid->word);
	unsigned l, from;

	for (l = 1; l <= (its & NUR_LEVEL_MASK); l++) {
		from = heard_as(kid, l);
		if ((mine & NUR_ORIGIN(from)) == 0 ||
		    (its & NUR_ORIGIN(l)) != 0)
			continue;
		*record_of(kid, l) = *record_of(t, from);
		set_level_locked(kid, level_of(kid), NUR_ORIGIN(l));
	}
}

static void
free_locked(struct nursery_token *t)
{
	if (t->side != NULL) {
		nur_timer_disarm(&t->side->deadline);
		nur_timer_disarm(&t->side->shield);
		nur_timer_unreserve(2);
		nur_free(t->side);
	}
	if ((t->flags & NUR_TOKEN_EMBEDDED) != 0)
		nur_token_embedded_free(t);
	else
		nur_slab_put(&tokens, t);
}

static bool
tells_something(const struct nursery_token *t)
{
	return (t->flags & (NUR_TOKEN_SHIELDED | NUR_TOKEN_AT_MASK)) != 0 ||
	    (t->side != NULL && t->side->deadline.when != NURSERY_NEVER &&
	    level_of(t) < NURSERY_CANCEL);
}

/*
 * T4, for a token without handles and its ancestors: leaves go, single
 * children take their parent's place.  Iterative: a chain may be long.
 */
static void
settle_locked(struct nursery_token *t)
{
	struct nursery_token *parent, *kid;

	while (t != NULL && (t->flags & NUR_TOKEN_RELEASED) != 0 &&
	    t->pins == 0) {
		parent = t->parent;
		kid = t->kids;
		if (kid == NULL) {
			unlink_locked(t);
			free_locked(t);
			t = parent;
			continue;
		}
		if (kid->next != NULL || tells_something(t))
			return;
		bequeath_locked(t, kid);
		replace_locked(t, kid);
		free_locked(t);
		return;
	}
}

/* ---- walks ---- */

static bool
above_or_same(const struct nursery_token *a, const struct nursery_token *t)
{
	for (; t != NULL; t = t->parent)
		if (t == a)
			return true;
	return false;
}

/*
 * T1 for the caller who came second: waits until no walk by another that
 * covers t, or runs below it, is under way.  `mine` is the caller's own.
 */
static void
await_walks_locked(const struct nursery_token *t, const struct walk *mine)
{
	const struct walk *w;
	uint32_t seen;

	for (;;) {
		/* Relaxed: it changes under the tree lock. */
		seen = nur_load_relaxed(&walks_done);
		for (w = walks; w != NULL; w = w->next)
			if (w != mine && (above_or_same(w->root, t) ||
			    above_or_same(t, w->root)))
				break;
		if (w == NULL)
			return;
		walk_waiters++;
		nur_unlock(&nur_tree_lock);
		(void)nur_futex_wait(&walks_done, seen, INT64_MAX);
		nur_lock(&nur_tree_lock);
		walk_waiters--;
	}
}

static void
end_walk_locked(struct walk *w)
{
	struct walk **p;

	for (p = &walks; *p != w; p = &(*p)->next)
		;
	*p = w->next;
	nur_store_relaxed(&walks_done, nur_load_relaxed(&walks_done) + 1);
	if (walk_waiters > 0)
		nur_futex_wake(&walks_done, INT32_MAX);
}

/* The token after c's subtree in the walk of `root`, or NULL. */
static struct nursery_token *
after_locked(struct nursery_token *c, const struct nursery_token *root)
{
	while (c != root && c->next == NULL)
		c = c->parent;
	return c == root ? NULL : c->next;
}

/* Lets others have the tree lock; `c` keeps the place.  Returns where to go
 * on: c itself, or its heir when it was released meanwhile. */
static struct nursery_token *
breathe_locked(struct nursery_token *c, const struct nursery_token *root)
{
	struct nursery_token *heir = c;

	c->pins++;
	nur_unlock(&nur_tree_lock);
	nur_lock(&nur_tree_lock);
	c->pins--;
	if ((c->flags & NUR_TOKEN_RELEASED) == 0 || c->pins > 0)
		return c;
	if (c->kids == NULL)
		heir = after_locked(c, root);
	else if (c->kids->next == NULL && !tells_something(c))
		heir = c->kids;
	settle_locked(c);
	return heir;
}

/* Raises all that hear `root`, whose own level is set: a walk in order with
 * the tree's own links, no stack and no memory. */
static void
propagate_locked(struct nursery_token *root, struct nur_run *run)
{
	struct nursery_token *c = root->kids;
	unsigned to, steps = 0;

	while (c != NULL) {
		to = hears(c, level_of(c->parent));
		if (to > level_of(c)) {
			set_level_locked(c, to, 0);
			if (c->cbs != NULL)
				nur_callbacks_collect_locked(run, c, to);
			if (c->kids != NULL) {
				c = c->kids;
				continue;
			}
		}
		c = after_locked(c, root);
		if (c != NULL && ++steps % NUR_WALK_SLICE == 0)
			c = breathe_locked(c, root);
	}
}

/* t's level has just been set: tells all below, lets the lock go and runs
 * what has to run. */
static void
spread_and_unlock(struct nursery_token *t)
{
	struct nur_run run = { 0 };
	struct walk walk = { .next = walks, .root = t };

	walks = &walk;
	t->pins++;
	if (t->cbs != NULL)
		nur_callbacks_collect_locked(&run, t, level_of(t));
	if (t->kids != NULL)
		propagate_locked(t, &run);
	await_walks_locked(t, &walk);
	t->pins--;
	end_walk_locked(&walk);
	settle_locked(t);
	nur_unlock(&nur_tree_lock);
	nur_callbacks_run(&run);
}

static void
write_records_locked(struct nursery_token *t, const struct nur_raise *r)
{
	const struct nur_record rec = {
		.code = r->code == 0 ? ECANCELED : r->code,
		.by_pid = r->by_pid,
		.why = r->why,
		.by_task = nur_current_task_id(),
		.when = nur_now(),
		.level = r->level,
	};
	uint32_t origin = 0;
	unsigned l;

	for (l = level_of(t) + 1; l <= (unsigned)r->level; l++) {
		*record_of(t, l) = rec;
		origin |= NUR_ORIGIN(l);
	}
	set_level_locked(t, (unsigned)r->level, origin);
}

bool
nur_token_raise(struct nursery_token *t, const struct nur_raise *r)
{
	nur_lock(&nur_tree_lock);
	if (level_of(t) >= (unsigned)r->level) {
		await_walks_locked(t, NULL);
		nur_unlock(&nur_tree_lock);
		return false;
	}
	write_records_locked(t, r);
	spread_and_unlock(t);
	return true;
}

/* ---- birth and release ---- */

void
nur_token_init(struct nursery_token *t, struct nursery_token *parent,
    uint32_t flags)
{
	memset(t, 0, sizeof *t);
	t->flags = flags;
	nur_store_relaxed(&t->refs, 1);
	if (parent == NULL)
		return;
	nur_lock(&nur_tree_lock);
	link_locked(t, parent);
	set_level_locked(t, hears(t, level_of(parent)), 0);
	nur_unlock(&nur_tree_lock);
}

int
nur_token_need_side(struct nursery_token *t)
{
	struct nur_side *side;
	int rc;

	nur_lock(&nur_tree_lock);
	side = t->side;
	nur_unlock(&nur_tree_lock);
	if (side != NULL)
		return 0;
	side = nur_alloc(sizeof *side);
	if (side == NULL)
		return ENOMEM;
	rc = nur_timer_reserve(2);
	if (rc != 0) {
		nur_free(side);
		return rc;
	}
	nur_timer_init(&side->deadline, NUR_TIMER_DEADLINE, t);
	nur_timer_init(&side->shield, NUR_TIMER_SHIELD, t);
	nur_lock(&nur_tree_lock);
	if (t->side == NULL) {
		t->side = side;
		side = NULL;
	}
	nur_unlock(&nur_tree_lock);
	if (side != NULL) {
		nur_timer_unreserve(2);
		nur_free(side);
	}
	return 0;
}

static bool
usable_parent(const struct nursery_token *parent)
{
	return parent == NULL || !nur_inherited(parent);
}

static int
make(struct nursery_token **out, struct nursery_token *parent, uint32_t flags)
{
	struct nursery_token *t;

	if (out == NULL)
		return EINVAL;
	if (!usable_parent(parent))
		return EOWNERDEAD;
	t = nur_slab_get(&tokens);
	if (t == NULL)
		return ENOMEM;
	nur_token_init(t, parent, flags);
	*out = t;
	return 0;
}

int
nursery_token_new(struct nursery_token **out, struct nursery_token *parent)
{
	return make(out, parent, 0);
}

int
nursery_token_new_at(struct nursery_token **out, struct nursery_token *parent,
    enum nursery_level level)
{
	if (parent == NULL || level < NURSERY_DRAIN || level > NURSERY_ABORT)
		return EINVAL;
	return make(out, parent, (uint32_t)level << NUR_TOKEN_AT_SHIFT);
}

int
nur_token_shield_until(struct nursery_token *t, int64_t until)
{
	int rc;

	if (until == NURSERY_NEVER)
		return 0;
	rc = nur_token_need_side(t);
	if (rc != 0)
		return rc;
	nur_lock(&nur_tree_lock);
	nur_timer_arm(&t->side->shield, until);
	nur_unlock(&nur_tree_lock);
	return 0;
}

int
nursery_token_new_shielded(struct nursery_token **out,
    struct nursery_token *parent, int64_t until)
{
	struct nursery_token *t;
	int rc;

	if (out == NULL || parent == NULL)
		return EINVAL;
	rc = make(&t, parent, NUR_TOKEN_SHIELDED);
	if (rc != 0)
		return rc;
	rc = nur_token_shield_until(t, until);
	if (rc != 0) {
		nursery_token_unref(t);
		return rc;
	}
	*out = t;
	return 0;
}

int
nursery_token_new_any(struct nursery_token **out,
    struct nursery_token *const *parents, size_t n)
{
	(void)out;
	(void)parents;
	(void)n;
	return ENOTSUP;
}

struct nursery_token *
nursery_token_ref(struct nursery_token *t)
{
	if (t != NULL && !nur_inherited(t))
		/* Relaxed: the caller's own reference keeps t alive. */
		(void)nur_fetch_add_relaxed(&t->refs, 1);
	return t;
}

void
nursery_token_unref(struct nursery_token *t)
{
	uint32_t before;

	if (t == NULL || nur_inherited(t))
		return;
	/* Acquire and release: the last one sees what all others did. */
	before = nur_fetch_sub_acq_rel(&t->refs, 1);
	if (before == 0)
		NUR_MISUSE("nursery_token_unref: more unrefs than refs");
	if (before != 1)
		return;
	nur_lock(&nur_tree_lock);
	t->flags |= NUR_TOKEN_RELEASED;
	if (t->cbs != NULL) {
		nur_unlock(&nur_tree_lock);
		NUR_MISUSE("nursery_token_unref: callbacks still registered");
	}
	settle_locked(t);
	nur_unlock(&nur_tree_lock);
}

/* ---- raising and asking ---- */

static bool
raise_checked(struct nursery_token *t, int level, int code, const char *why)
{
	const struct nur_raise r = { .level = level, .code = code,
		.why = why };

	if (t == NULL || nur_inherited(t))
		return false;
	return nur_token_raise(t, &r);
}

bool
nursery_token_cancel(struct nursery_token *t)
{
	return raise_checked(t, NURSERY_CANCEL, 0, NULL);
}

bool
nursery_token_cancel_with(struct nursery_token *t, int code, const char *why)
{
	return raise_checked(t, NURSERY_CANCEL, code, why);
}

bool
nursery_token_raise(struct nursery_token *t, enum nursery_level level,
    int code, const char *why)
{
	if ((int)level < NURSERY_DRAIN || (int)level > NURSERY_ABORT)
		return false;
	return raise_checked(t, (int)level, code, why);
}

int
nursery_signal_arm(void)
{
	return ENOTSUP;
}

void
nursery_token_cancel_from_signal(struct nursery_token *t)
{
	(void)t;
	NUR_MISUSE("nursery_token_cancel_from_signal: not built, and "
	    "nursery_signal_arm() said ENOTSUP");
}

/* The nearest token from t upwards whose record tells t's level, T3; *level
 * becomes the level it has there. */
static const struct nursery_token *
origin_locked(const struct nursery_token *t, unsigned *level)
{
	for (; t != NULL; t = t->parent) {
		if ((nur_load_relaxed(&t->word) & NUR_ORIGIN(*level)) != 0)
			return t;
		*level = heard_as(t, *level);
	}
	return NULL;
}

static int
copy_cause(struct nursery_cause *out, const struct nur_record *rec)
{
	struct nursery_cause full = NURSERY_CAUSE_INIT;
	size_t size = out->size;

	full.code = rec->code;
	full.level = rec->level;
	full.why = rec->why;
	full.by_task = rec->by_task;
	full.by_pid = rec->by_pid;
	full.when = rec->when;
	memcpy(out, &full, size < sizeof full ? size : sizeof full);
	out->size = size;
	return rec->code;
}

int
nursery_token_cause(const struct nursery_token *t, enum nursery_level level,
    struct nursery_cause *out)
{
	const struct nursery_token *origin;
	struct nur_record rec;
	unsigned l = (unsigned)level;

	if (t == NULL || l > NURSERY_ABORT)
		return 0;
	if (l == NURSERY_LIVE)
		l = nur_token_level(t);
	if (l == NURSERY_LIVE || nur_token_level(t) < l)
		return 0;
	nur_lock(&nur_tree_lock);
	origin = origin_locked(t, &l);
	NUR_ASSERT(origin != NULL);
	rec = *record_of(origin, l);
	nur_unlock(&nur_tree_lock);
	if (out != NULL && out->size >= sizeof out->size)
		return copy_cause(out, &rec);
	return rec.code;
}

/* ---- deadlines ---- */

int
nursery_token_set_deadline(struct nursery_token *t, int64_t deadline)
{
	int rc;

	if (t == NULL)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	if (deadline != NURSERY_NEVER || t->side != NULL) {
		rc = nur_token_need_side(t);
		if (rc != 0)
			return rc;
	}
	nur_lock(&nur_tree_lock);
	if (level_of(t) >= NURSERY_CANCEL) {
		nur_unlock(&nur_tree_lock);
		return ECANCELED;
	}
	if (t->side != NULL)
		nur_timer_arm(&t->side->deadline, deadline);
	nur_unlock(&nur_tree_lock);
	return 0;
}

int64_t
nursery_token_deadline(const struct nursery_token *t)
{
	int64_t earliest = NURSERY_NEVER;

	if (t == NULL)
		return NURSERY_NEVER;
	nur_lock(&nur_tree_lock);
	for (; t != NULL; t = t->parent) {
		if (t->side != NULL && t->side->deadline.when < earliest)
			earliest = t->side->deadline.when;
		if ((t->flags & NUR_TOKEN_SHIELDED) != 0)
			break;
	}
	nur_unlock(&nur_tree_lock);
	return earliest;
}

static void
deadline_passed_locked(struct nursery_token *t)
{
	const struct nur_raise r = { .level = NURSERY_CANCEL,
		.code = ETIMEDOUT, .why = "deadline" };

	if (level_of(t) >= NURSERY_CANCEL) {
		nur_unlock(&nur_tree_lock);
		return;
	}
	write_records_locked(t, &r);
	spread_and_unlock(t);
}

/* The shield falls: t hears what its parent has said meanwhile. */
static void
shield_ended_locked(struct nursery_token *t)
{
	unsigned to;

	t->flags &= ~NUR_TOKEN_SHIELDED;
	to = t->parent == NULL ? NURSERY_LIVE : hears(t, level_of(t->parent));
	if (to <= level_of(t)) {
		settle_locked(t);
		nur_unlock(&nur_tree_lock);
		return;
	}
	set_level_locked(t, to, 0);
	spread_and_unlock(t);
}

void
nur_token_timer_fired_locked(struct nur_timer *timer)
{
	if (timer->kind == NUR_TIMER_SHIELD)
		shield_ended_locked(timer->owner);
	else
		deadline_passed_locked(timer->owner);
}

/* ---- guards ---- */

void
nursery_token_drop(struct nursery_token **t)
{
	if (t == NULL)
		return;
	nursery_token_unref(*t);
	*t = NULL;
}

void
nursery_guard_drop(struct nursery_token **t)
{
	if (t == NULL)
		return;
	(void)nursery_token_cancel(*t);
	nursery_token_drop(t);
}

struct nursery_token *
nursery_token_take(struct nursery_token **t)
{
	struct nursery_token *taken;

	if (t == NULL)
		return NULL;
	taken = *t;
	*t = NULL;
	return taken;
}

uint64_t
nur_token_live(void)
{
	return nur_slab_live(&tokens);
}

void
nur_token_after_fork(void)
{
	nur_slab_after_fork(&tokens);
	walks = NULL;
	walk_waiters = 0;
}
