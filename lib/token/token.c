/* SPDX-License-Identifier: MIT */
/* The life of a token: birth, handles, raises, causes, guards. */
#include "config.h"

#include "token/tree.h"

#include "base/check.h"
#include "base/fork.h"
#include "base/sys.h"
#include "base/thr.h"
#include "token/callback.h"
#include "token/from_signal.h"
#include "token/timer.h"
#include "token/vacant.h"

#include <string.h>

void (*nur_token_embedded_free)(struct nursery_token *t);
void (*nur_token_publish_hook)(struct nursery_token *t);

static struct nur_slab tokens = NUR_SLAB_INIT("token", NUR_SLAB_TOKEN,
    sizeof(struct nursery_token), NUR_TOKEN_AUX);

_Static_assert(sizeof(void *) != 8 || sizeof(struct nursery_token) == 64,
    "a token is one cache line");

/* ---- birth ---- */

void
nur_token_init(struct nursery_token *t, uint32_t flags)
{
	memset(t, 0, sizeof *t);
	nur_store_relaxed(&t->word, flags);
	nur_store_relaxed(&t->refs, 1);
}

struct nursery_token *
nur_token_alloc(uint32_t flags)
{
	struct nursery_token *t = nur_slab_get(&tokens);

	if (t != NULL)
		nur_token_init(t, flags);
	return t;
}

static int
make(struct nursery_token **out, struct nursery_token *parent, uint32_t flags)
{
	struct nursery_token *t;

	if (out == NULL)
		return EINVAL;
	if (parent != NULL && nur_inherited(parent))
		return EOWNERDEAD;
	nur_token_publish(parent);
	/* A thread with a record keeps children ready; it need not have one. */
	(void)nur_thr_self();
	t = nur_token_alloc(parent == NULL ? NUR_TOKEN_ROOT : flags);
	if (t == NULL)
		return ENOMEM;
	if (parent != NULL) {
		nur_lock(&nur_tree_lock);
		nur_token_link_locked(t, parent);
		nur_unlock(&nur_tree_lock);
	}
	nur_slab_count(&tokens, 1);
	*out = t;
	return 0;
}

int
nursery_token_new(struct nursery_token **out, struct nursery_token *parent)
{
	struct nur_thr *self = nur_thr_peek();
	struct nursery_token *t;

	if (self == NULL || parent == NULL || out == NULL)
		return make(out, parent, 0);
	t = nur_vacant_take(self, parent);
	if (t == NULL)
		return make(out, parent, 0);
	nur_thr_count(self, NUR_SLAB_TOKEN, 1);
	*out = t;
	return 0;
}

int
nursery_token_new_at(struct nursery_token **out, struct nursery_token *parent,
    enum nursery_level level)
{
	if (parent == NULL || (int)level < NURSERY_DRAIN ||
	    (int)level > NURSERY_ABORT)
		return EINVAL;
	return make(out, parent, (uint32_t)level << NUR_TOKEN_AT_SHIFT);
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

/* ---- handles ---- */

struct nursery_token *
nursery_token_ref(struct nursery_token *t)
{
	if (t == NULL || nur_inherited(t))
		return t;
	nur_token_publish(t);
	/* Relaxed: the caller's own handle keeps t alive. */
	(void)nur_fetch_add_relaxed(&t->refs, 1);
	return t;
}

void
nur_token_free_locked(struct nursery_token *t)
{
	nur_slab_put(&tokens, t);
}

/* Nobody ever found t through the tree: no lock is needed to let it go.  That
 * it has no parent says nothing: its parent may have left a moment ago. */
static bool
never_shared(const struct nursery_token *t)
{
	return t->side == NULL && (nur_token_word(t) & (NUR_TOKEN_ROOT |
	    NUR_TOKEN_SHARED | NUR_TOKEN_QUEUED)) == NUR_TOKEN_ROOT;
}

static void
release(struct nursery_token *t)
{
	nur_store_relaxed(&t->refs, 0);
	if (never_shared(t)) {
		nur_token_free_locked(t);
		return;
	}
	nur_lock(&nur_tree_lock);
	if (nur_callbacks_any_locked(t)) {
		nur_unlock(&nur_tree_lock);
		NUR_MISUSE("nursery_token_unref: callbacks still registered");
	}
	nur_token_set_word(t, nur_token_word(t) | NUR_TOKEN_RELEASED);
	nur_token_settle_locked(t);
	nur_unlock(&nur_tree_lock);
}

static void
last_handle_went(struct nursery_token *t)
{
	struct nur_thr *self = nur_thr_peek();

	if ((nur_token_word(t) & NUR_TOKEN_EMBEDDED) != 0) {
		release(t);
		return;
	}
	if (self != NULL)
		nur_thr_count(self, NUR_SLAB_TOKEN, -1);
	else
		nur_slab_count(&tokens, -1);
	if (self == NULL || !nur_vacant_give(self, t))
		release(t);
}

void
nursery_token_unref(struct nursery_token *t)
{
	uint32_t before;

	if (t == NULL || nur_inherited(t))
		return;
	/* Acquire: the last one sees what all others did.  One handle is the
	 * caller's, and makes no more, so there is nothing to race with. */
	before = nur_load_acquire(&t->refs);
	if (before > 1)
		before = nur_fetch_sub_acq_rel(&t->refs, 1);
	if (before == 0)
		NUR_MISUSE("nursery_token_unref: more unrefs than refs");
	if (before == 1)
		last_handle_went(t);
}

/* ---- raising ---- */

static bool
raise_checked(struct nursery_token *t, int level, int code, const char *why)
{
	struct nur_raise r = { .level = level, .code = code,
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

/* ---- causes ---- */

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
	struct nursery_token *origin;
	struct nur_record rec;
	unsigned l = (unsigned)level;

	if (t == NULL || l > NURSERY_ABORT)
		return 0;
	if (l == NURSERY_LIVE)
		l = nur_token_level(t);
	if (l == NURSERY_LIVE || nur_token_level(t) < l)
		return 0;
	nur_lock(&nur_tree_lock);
	/* That it is const says that the caller does not raise it. */
	origin = nur_origin_locked((struct nursery_token *)(uintptr_t)t, &l);
	NUR_ASSERT(origin != NULL);
	rec = *nur_record_of(origin, l);
	nur_unlock(&nur_tree_lock);
	if (out != NULL && out->size >= sizeof out->size)
		return copy_cause(out, &rec);
	return rec.code;
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

/* ---- the floor's own ---- */

uint64_t
nur_token_live(void)
{
	return nur_slab_live(&tokens);
}

static void
before_fork(void)
{
	nur_lock(&nur_tree_lock);
	nur_lock(&nur_timer_lock);
}

static void
after_fork(void)
{
	nur_unlock(&nur_timer_lock);
	nur_unlock(&nur_tree_lock);
}

static void
in_child(void)
{
	nur_slab_after_fork(&tokens);
	nur_callbacks_after_fork();
	nur_walks_after_fork();
	nur_signal_after_fork();
	nur_timer_after_fork();
	after_fork();
}

static void
thread_ends(struct nur_thr *self)
{
	nur_hooks_thread_ends(self);
	nur_vacant_release(self, NULL);
}

__attribute__((constructor)) static void
register_floor(void)
{
	static const struct nur_fork_hooks hooks = { before_fork, after_fork,
		in_child };

	nur_thr_exit_hook[NUR_EXIT_TOKEN] = thread_ends;
	nur_fork_hook(NUR_FORK_TOKEN, &hooks);
}
