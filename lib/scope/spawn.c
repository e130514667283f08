/* SPDX-License-Identifier: MIT */
/* The ways to spawn.  Who gets in is decided in scope/admit.c. */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"
#include "scope/attr.h"

#include <string.h>

static int
submit(struct nursery_task *t, bool try_only, int64_t spawn_by)
{
	int rc = nur_admit(t->nursery, t, try_only, spawn_by);

	if (rc != 0)
		nur_task_free(t);
	return rc;
}

int
nursery_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	struct nursery_task *t;
	int rc = nur_task_new(&t, n, fn, arg);

	return rc != 0 ? rc : submit(t, false, NURSERY_NEVER);
}

int
nursery_try_spawn(struct nursery *n, nursery_fn *fn, void *arg)
{
	struct nursery_task *t;
	int rc = nur_task_new(&t, n, fn, arg);

	return rc != 0 ? rc : submit(t, true, NURSERY_NEVER);
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
	return submit(t, false, NURSERY_NEVER);
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
nursery_spawn_with(struct nursery *n, const struct nursery_task_attr *attr,
    nursery_fn *fn, void *arg, struct nursery_task **out)
{
	struct nursery_task_attr a;
	struct nursery_task *t;
	int rc;

	if (n == NULL || fn == NULL)
		return EINVAL;
	rc = nur_task_attr_read(&a, attr);
	if (rc != 0)
		return rc;
	if (out != NULL)
		return ENOTSUP;
	rc = nur_task_new(&t, n, fn, arg);
	if (rc != 0)
		return rc;
	t->flags = a.flags;
	t->discard = a.discard;
	t->named = a.name != NULL && a.name[0] != '\0';
	if (t->named)
		nur_copy_name(t->name, a.name);
	rc = give_token(t, &a);
	if (rc != 0) {
		nur_task_free(t);
		return rc;
	}
	return submit(t, false, a.spawn_by == 0 ? NURSERY_NEVER :
	    a.spawn_by);
}
