/* SPDX-License-Identifier: MIT */
/*
 * Stopping services: N9 in scope/nursery.h.
 *
 * A service's token is shielded, so that it hears an ABORT and nothing else
 * of the nursery's.  Who closes the nursery stops them, in between his own
 * sleeps; no timer and no thread is needed.
 */
#include "config.h"

#include "scope/nursery.h"

#include "base/sys.h"

/* With the nursery's own cause, when it is cancelled.  Lets the lock go
 * meanwhile. */
static void
tell_locked(struct nursery *n, struct nursery_task *t,
    enum nursery_level level)
{
	struct nursery_cause c = NURSERY_CAUSE_INIT;

	nur_task_hold(t);
	nur_nursery_unlock(n);
	if (nursery_token_cause(&n->token, NURSERY_CANCEL, &c) == 0)
		c.why = level == NURSERY_CANCEL ? "all tasks have ended" :
		    "grace is over";
	(void)nursery_token_raise(t->token, level, c.code, c.why);
	nur_task_let_go(t);
	nur_lock(&n->lock);
}

/* The newest that is there, in the queue or running, and was not told. */
static struct nursery_task *
newest_locked(const struct nursery *n)
{
	const struct nur_link *lists[] = { &n->queue, &n->tasks };
	struct nursery_task *t;
	struct nur_link *l;
	int i;

	for (i = 0; i < 2; i++)
		for (l = lists[i]->prev; l != lists[i]; l = l->prev) {
			t = NUR_CONTAINER(l, struct nursery_task, link);
			if (nur_is_service(t) && !t->more.told)
				return t;
		}
	return NULL;
}

static void
stop_locked(struct nursery *n, struct nursery_task *t)
{
	int64_t now;

	t->more.told = true;
	if (t->queued) {
		/* It is told by never being run. */
		nur_drop_queued_locked(n, t);
		return;
	}
	now = nur_now();
	n->stopping = t;
	n->stop_by = t->more.grace == 0 || t->more.grace > NURSERY_NEVER - now
	    ? NURSERY_NEVER : now + t->more.grace;
	tell_locked(n, t, NURSERY_CANCEL);
}

/* Its grace is over: the next one need not wait for it any longer. */
static void
abort_locked(struct nursery *n, struct nursery_task *t)
{
	n->stopping = NULL;
	tell_locked(n, t, NURSERY_ABORT);
}

int64_t
nur_stop_services_locked(struct nursery *n)
{
	struct nursery_task *t;

	while (n->services > 0 && nur_only_services_locked(n)) {
		t = n->stopping;
		if (t != NULL && (n->stop_by == NURSERY_NEVER || nur_now() <
		    n->stop_by))
			return n->stop_by;
		if (t != NULL) {
			abort_locked(n, t);
			continue;
		}
		t = newest_locked(n);
		if (t == NULL)
			break;
		stop_locked(n, t);
	}
	return NURSERY_NEVER;
}
