/* SPDX-License-Identifier: MIT */
/* The ways to spawn.  Who gets in is decided in scope/admit.c. */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "scope/attr.h"
#include "scope/light.h"

#include <string.h>

/* Who closes may hold a service that is refused for want of a thread. */
static int
submit(struct nursery_task *t, bool try_only, int64_t spawn_by)
{
	int rc = nur_admit(t->nursery, t, try_only, spawn_by);

	if (rc != 0)
		nur_task_let_go(t);
	return rc;
}

static bool
has_light_tasks(struct nursery *n)
{
	if (n == NULL || nur_inherited(n))
		return false;
	nur_nursery_share(n);
	return n->light_tasks;
}

static int
spawn_any(struct nursery *n, nursery_fn *fn, void *arg, bool try_only)
{
	struct nursery_task *t;
	int rc;

	if (fn != NULL && has_light_tasks(n))
		return nur_light_spawn(nur_thr_self(), n, fn, arg);
	rc = nur_task_new(&t, n, fn, arg);
	return rc != 0 ? rc : submit(t, try_only, NURSERY_NEVER);
}

/* Plain tasks of the compute lane have a way of their own; those of a nursery
 * of one's own, which is not inherited then, the quickest. */
static inline int
spawn(struct nursery *n, nursery_fn *fn, void *arg, bool try_only)
{
	struct nur_thr *self = nur_thr_peek();

	if (n != NULL && fn != NULL && nur_light_is_mine(self, n))
		return nur_light_spawn_mine(self, n, fn, arg);
	return spawn_any(n, fn, arg, try_only);
}

int
nursery_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	return spawn(n, fn, arg, false);
}

int
nursery_try_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	return spawn(n, fn, arg, true);
}

/* The task's own copy: in the task if it is small. */
static int
copy_arg(struct nursery_task *t, const void *data, size_t len)
{
	t->arg = t->inline_;
	if (len > sizeof t->inline_) {
		t->copy = nur_alloc(len);
		t->arg = t->copy;
	}
	if (t->arg == NULL)
		return ENOMEM;
	if (len > 0)
		memcpy(t->arg, data, len);
	return 0;
}

int
nursery_spawn_copy(struct nursery *n, nursery_fn *fn, const void *data,
    size_t len)
{
	struct nursery_task *t;
	int rc;

	if (data == NULL && len > 0)
		return EINVAL;
	rc = nur_task_new(&t, n, fn, NULL);
	if (rc != 0)
		return rc;
	rc = copy_arg(t, data, len);
	if (rc != 0) {
		nur_task_free(t);
		return rc;
	}
	return n->light_tasks ? nur_light_submit(t) : submit(t, false,
	    NURSERY_NEVER);
}

/* The token that spawn_with's task gets; its own child of the nursery's. */
static int
give_token(struct nursery_task *t, const struct nursery_task_attr *a)
{
	struct nursery_token *parent = &t->nursery->token;
	struct nursery_token *token;
	int rc;

	if ((a->flags & NURSERY_TASK_FINAL) != 0)
		rc = nursery_token_new_shielded(&token, parent, a->deadline);
	else if ((a->flags & NURSERY_TASK_SERVICE) != 0)
		rc = nursery_token_new_shielded(&token, parent,
		    NURSERY_NEVER);
	else if ((a->flags & NURSERY_TASK_ENDS_ON_DRAIN) != 0)
		rc = nursery_token_new_at(&token, parent, NURSERY_DRAIN);
	else
		rc = nursery_token_new(&token, parent);
	if (rc != 0)
		return rc;
	t->token = token;
	t->own_token = true;
	if (a->deadline == 0)
		return 0;
	rc = nursery_token_set_deadline(token, a->deadline);
	/* Already cancelled: admission says so, or FINAL runs shielded. */
	return rc == ECANCELED ? 0 : rc;
}

int
nur_spawn_prepare(struct nursery_task **out, struct nursery *n,
    const struct nursery_task_attr *a, nursery_fn *fn, void *arg)
{
	struct nursery_task *t;
	int rc = nur_task_new(&t, n, fn, arg);

	if (rc != 0)
		return rc;
	if (a->lane == NURSERY_COMPUTE && n->attr.stack_size >
	    NUR_LANE_STACK) {
		nur_task_free(t);
		return ENOTSUP;
	}
	t->flags = a->flags;
	if (a->lane != NURSERY_LANE_INHERIT)
		t->lane = a->lane;
	t->discard = a->discard;
	memset(&t->more, 0, sizeof t->more);
	t->more.grace = a->grace;
	t->named = a->name != NULL && a->name[0] != '\0';
	if (t->named)
		nur_copy_name(t->name, a->name);
	rc = give_token(t, a);
	if (rc == 0)
		*out = t;
	else
		nur_task_free(t);
	return rc;
}

int
nur_spawn_prepared(struct nursery_task *t, bool handle, int64_t spawn_by)
{
	struct nursery *n = t->nursery;
	int rc;

	if (!handle)
		return submit(t, false, spawn_by);
	/* N8; before the task can end. */
	nur_task_hold(t);
	(void)nursery_ref(n);
	rc = nur_admit(n, t, false, spawn_by);
	if (rc == 0) {
		nur_task_count_handles(1);
		return 0;
	}
	nur_task_let_go(t);
	nur_task_let_go(t);
	nursery_unref(n);
	return rc;
}

/* A last word need not wait for room longer than it may take. */
static int64_t
room_until(const struct nursery_task_attr *a)
{
	if (a->spawn_by != 0)
		return a->spawn_by;
	return (a->flags & NURSERY_TASK_FINAL) != 0 ? a->deadline :
	    NURSERY_NEVER;
}

int
nursery_spawn_with(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, struct nursery_task **out)
{
	struct nursery_task_attr a;
	struct nursery_task *t;
	int rc;

	if (n == NULL || fn == NULL)
		return EINVAL;
	rc = nur_task_attr_read(&a, attr);
	if (rc == 0 && a.lane == NURSERY_COMPUTE)
		rc = nur_lane_begin();
	if (rc == 0)
		rc = nur_spawn_prepare(&t, n, &a, fn, arg);
	if (rc == 0)
		rc = nur_spawn_prepared(t, out != NULL, room_until(&a));
	if (rc == 0 && out != NULL)
		*out = t;
	return rc;
}
