/* SPDX-License-Identifier: MIT */
/*
 * Waits on plain POSIX objects.
 *
 * A condition variable cannot be asked whether its signal was meant for this
 * waiter, so one that leaves for a cancel or a deadline may have swallowed
 * it: it wakes the others, who look again.  With a broadcast, for glibc
 * before 2.41 may lose a signal when several wait (its bug 25847), never a
 * broadcast.
 */
#include "config.h"

#include "base/slab.h"
#include "base/sys.h"
#include "io/knock.h"
#include "nursery/io.h"
#include "token/interrupt.h"

static int
check_token(struct nursery_token *t)
{
	if (t != NULL && nur_inherited(t))
		return EOWNERDEAD;
	return nursery_token_is_cancelled(t) ? ECANCELED : 0;
}

/* A sleep that a cancel or the deadline ends. */
static int
wait_knocked(struct nur_thr *self, struct nursery_token *t,
    pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline)
{
	struct nur_knock k;
	uint32_t op;
	bool late, paused;
	int rc;

	rc = nur_knock_begin(&k, c, t, deadline);
	if (rc != 0)
		return rc;
	op = nur_op_enter(self, NUR_OP_COND_WAIT, -1);
	paused = nur_thr_pause(self);
	/* A cancel that came before the callback was there has run it. */
	rc = nursery_token_is_cancelled(t) ? 0 : nur_cond_wait(c, m);
	nur_thr_resume(self, paused);
	nur_op_leave(self, op);
	late = nur_knock_end(&k);
	if (rc != 0)
		return rc;
	if (nursery_token_is_cancelled(t))
		return ECANCELED;
	return late ? ETIMEDOUT : 0;
}

int
nursery_cond_wait(struct nursery_token *t, pthread_cond_t *c,
    pthread_mutex_t *m, int64_t deadline)
{
	struct nur_thr *self;
	int rc, state;

	if (c == NULL || m == NULL)
		return EINVAL;
	rc = check_token(t);
	if (rc != 0)
		return rc;
	self = nur_thr_self();
	if (self == NULL)
		return ENOMEM;
	/* What is registered meanwhile lies on this stack: pthread_cancel has
	 * to wait. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	if (deadline != NURSERY_NEVER && deadline <= nur_now())
		rc = nur_cond_try(c, m);
	else
		rc = wait_knocked(self, t, c, m, deadline);
	if (rc == ECANCELED || rc == ETIMEDOUT)
		nur_cond_broadcast(c);
	(void)pthread_setcancelstate(state, NULL);
	return rc;
}

static int
wait_interrupted(struct nursery_token *t, sem_t *s, int64_t deadline)
{
	struct nur_region r;
	uint32_t op;
	bool paused;
	int rc;

	rc = nur_region_enter(&r, t, deadline);
	if (rc != 0)
		return rc;
	op = nur_op_enter(r.thr, NUR_OP_SEM_WAIT, -1);
	paused = nur_thr_pause(r.thr);
	do {
		rc = sem_wait(s) == 0 ? 0 : errno;
	} while (rc == EINTR && nur_load_relaxed(&r.hit) == 0);
	nur_thr_resume(r.thr, paused);
	nur_op_leave(r.thr, op);
	nur_region_leave(&r);
	if (rc == EINTR)
		rc = nursery_token_is_cancelled(t) ? ECANCELED : ETIMEDOUT;
	return rc;
}

/* Whether a post is there: 0, EAGAIN, EINVAL. */
static int
try_semaphore(sem_t *s)
{
	int rc;

	do {
		rc = sem_trywait(s) == 0 ? 0 : errno;
	} while (rc == EINTR);
	return rc;
}

int
nursery_sem_wait(struct nursery_token *t, sem_t *s, int64_t deadline)
{
	int rc, state;

	if (s == NULL)
		return EINVAL;
	rc = check_token(t);
	if (rc == 0)
		rc = try_semaphore(s);
	if (rc != EAGAIN)
		return rc;
	if (deadline != NURSERY_NEVER && deadline <= nur_now())
		return ETIMEDOUT;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	rc = wait_interrupted(t, s, deadline);
	(void)pthread_setcancelstate(state, NULL);
	return rc;
}
