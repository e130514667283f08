/* SPDX-License-Identifier: MIT */
/*
 * Tasks by handle: N8 in scope/nursery.h.
 *
 * Whoever waits for a task sleeps on its state word.  No wake-up is lost: the
 * sleeper writes AWAITED, and sleeps only while the word is as it was read
 * after that; the task's end writes ENDED, and wakes if it found AWAITED.
 */
#include "config.h"

#include "scope/nursery.h"

#include "base/check.h"
#include "base/sys.h"
#include "token/callback.h"

uint32_t
nur_task_say(struct nursery_task *t, uint32_t bits)
{
	uint32_t was = nur_task_state(t);

	/* Release: publishes what comes with the bits; pairs with
	 * nur_task_state(). */
	while (!nur_cas_acq_rel(&t->state, &was, was | bits))
		;
	if ((was & NUR_TASK_AWAITED) != 0)
		nur_futex_wake(&t->state, INT32_MAX);
	return was;
}

void
nur_task_look_again(void *task)
{
	struct nursery_task *t = task;

	/* Release: whoever looks sees why. */
	if ((nur_fetch_add_acq_rel(&t->state, NUR_TASK_LOOK) &
	    NUR_TASK_AWAITED) != 0)
		nur_futex_wake(&t->state, INT32_MAX);
}

/* ---- waiting ---- */

int
nur_task_await(struct nursery_task *t, uint32_t bits, int64_t deadline,
    bool (*told)(const struct nursery_task *t))
{
	struct nur_thr *self = nur_thr_peek();
	int64_t until;
	uint32_t seen;
	bool paused;
	int rc = 0;

	while (((seen = nur_task_state(t)) & bits) == 0) {
		if (told != NULL && told(t))
			return ECANCELED;
		if (rc == ETIMEDOUT && deadline <= nur_now())
			return ETIMEDOUT;
		if ((seen & NUR_TASK_AWAITED) == 0) {
			(void)nur_task_say(t, NUR_TASK_AWAITED);
			continue;
		}
		until = deadline;
		/* N6: nobody ends who could hand his thread on. */
		if (!nur_look_after(t))
			until = nur_try_again_by(deadline);
		paused = nur_thr_pause(self);
		rc = nur_futex_wait(&t->state, seen, until);
		nur_thr_resume(self, paused);
	}
	return 0;
}

/*
 * Whether t waits for the caller: it runs on this thread, further out, or it
 * opened a nursery that the caller belongs to and cannot end before that.
 */
static bool
waits_for_caller(const struct nursery_task *t, const struct nur_thr *self)
{
	const struct nursery *m;

	if (self == NULL || self->task == NULL)
		return false;
	if (nur_load_acquire(&t->thr) == self)
		return true;
	for (m = self->task->nursery; m != NULL; m = m->parent)
		/* Relaxed: t is there, so nobody else has its address. */
		if (nur_load_relaxed(&m->host) == t)
			return true;
	return false;
}

/* Until t has ended: 0, ETIMEDOUT, EDEADLK. */
static int
await_end(struct nursery_task *t, int64_t deadline)
{
	struct nur_pause pause;
	int rc;

	if ((nur_task_state(t) & NUR_TASK_ENDED) != 0)
		return 0;
	if (waits_for_caller(t, nur_thr_peek()))
		return EDEADLK;
	nur_pause_begin(&pause, NUR_OP_JOIN);
	rc = nur_task_await(t, NUR_TASK_ENDED, deadline, NULL);
	nur_pause_end(&pause);
	return rc;
}

int
nursery_task_wait(struct nursery_task *t, int64_t deadline)
{
	if (t == NULL)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	return await_end(t, deadline);
}

int
nursery_task_join(struct nursery_task **t, int *out_result)
{
	int rc;

	if (t == NULL || *t == NULL)
		return EINVAL;
	rc = nursery_task_wait(*t, NURSERY_NEVER);
	if (rc != 0)
		return rc;
	if (out_result != NULL)
		*out_result = (*t)->result;
	nursery_task_unref(*t);
	*t = NULL;
	return 0;
}

/* ---- telling it to stop ---- */

bool
nursery_task_cancel(struct nursery_task *t)
{
	struct nursery *n;
	bool did;

	if (t == NULL || nur_inherited(t) || (nur_task_state(t) &
	    NUR_TASK_ENDED) != 0 || t->token == &t->nursery->token)
		return false;
	did = nursery_token_cancel(t->token);
	n = t->nursery;
	nur_store_relaxed(&t->called_off, true);
	nur_lock(&n->lock);
	nur_drop_queued_locked(n, t);
	nur_nursery_unlock(n);
	return did;
}

/* ---- holding it ---- */

struct nursery_task *
nursery_task_ref(struct nursery_task *t)
{
	if (t == NULL || nur_inherited(t))
		return t;
	nur_task_hold(t);
	(void)nursery_ref(t->nursery);
	nur_task_count_handles(1);
	return t;
}

void
nursery_task_unref(struct nursery_task *t)
{
	struct nursery *n;
	uint32_t before;

	if (t == NULL || nur_inherited(t))
		return;
	n = t->nursery;
	/* Acquire and release: the last one sees what all others did. */
	before = nur_fetch_sub_acq_rel(&t->refs, 1);
	if (before == 0 || (before == 1 && (nur_task_state(t) &
	    NUR_TASK_ENDED) == 0))
		NUR_MISUSE("nursery_task_unref: more unrefs than refs");
	if (before == 1)
		nur_task_free(t);
	nur_task_count_handles(-1);
	nursery_unref(n);
}

/* ---- asking ---- */

uint64_t
nursery_task_id(const struct nursery_task *t)
{
	return t == NULL ? 0 : t->id;
}

const char *
nursery_task_name(const struct nursery_task *t)
{
	return t == NULL ? NULL : t->name;
}

struct nursery_token *
nursery_task_token(struct nursery_task *t)
{
	return t == NULL ? NULL : t->token;
}
