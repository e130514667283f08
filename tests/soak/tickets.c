/* SPDX-License-Identifier: MIT */
/* Tickets under a condition variable, and posts of a semaphore. */
#include "link.h"

#include <errno.h>

#define MOST_TICKETS	2

void
tickets_open(struct link *l, struct rng *r)
{
	struct tickets *k = &l->of.tickets;
	pthread_condattr_t a;

	(void)pthread_condattr_init(&a);
	if (once_in(r, 2))
		(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&k->lock, NULL);
	(void)pthread_cond_init(&k->changed, &a);
	(void)pthread_condattr_destroy(&a);
	(void)sem_init(&k->sem, 0, 0);
	l->goal = rng_below(r, 6 * scale());
}

/* Waits till the condition may be another: 0, or the error. */
static int
await_change(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	return nursery_cond_wait(t, &k->changed, &k->lock, once_in(r, 3) ?
	    soon(r, 300) : NURSERY_NEVER);
}

/* A broadcast: glibc before 2.41 loses a signal when several wait. */
static int
give_ticket(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	(void)pthread_mutex_lock(&k->lock);
	while (k->there >= MOST_TICKETS && (rc == 0 || rc == ETIMEDOUT))
		rc = await_change(k, t, r);
	if (k->there < MOST_TICKETS) {
		rc = 0;
		k->there++;
		k->made++;
		(void)pthread_cond_broadcast(&k->changed);
	}
	(void)pthread_mutex_unlock(&k->lock);
	return rc;
}

static int
take_ticket(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	(void)pthread_mutex_lock(&k->lock);
	while (k->there == 0 && !k->last && (rc == 0 || rc == ETIMEDOUT))
		rc = await_change(k, t, r);
	if (k->there > 0) {
		rc = 0;
		k->there--;
		k->taken++;
		(void)pthread_cond_broadcast(&k->changed);
	} else if (k->last) {
		rc = EPIPE;
	}
	(void)pthread_mutex_unlock(&k->lock);
	return rc;
}

static int
give_post(struct tickets *k, struct nursery_token *t)
{
	atom_add(&k->posted, 1);
	(void)sem_post(&k->sem);
	return nursery_token_is_cancelled(t) ? ECANCELED : 0;
}

static int
take_post(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = nursery_sem_wait(t, &k->sem, once_in(r, 3) ? soon(r, 300) :
	    NURSERY_NEVER);

	if (rc == 0)
		atom_add(&k->fetched, 1);
	return rc;
}

int
tickets_give(struct link *l, struct nursery_token *t, struct rng *r)
{
	return l->kind == TICKETS_OF_COND ?
	    give_ticket(&l->of.tickets, t, r) :
	    give_post(&l->of.tickets, t);
}

int
tickets_take(struct link *l, struct nursery_token *t, struct rng *r)
{
	return l->kind == TICKETS_OF_COND ?
	    take_ticket(&l->of.tickets, t, r) :
	    take_post(&l->of.tickets, t, r);
}

/* The takers of posts have no other way to hear of the end. */
void
tickets_last(struct link *l)
{
	struct tickets *k = &l->of.tickets;

	(void)pthread_mutex_lock(&k->lock);
	k->last = true;
	(void)pthread_cond_broadcast(&k->changed);
	(void)pthread_mutex_unlock(&k->lock);
	if (l->kind == TICKETS_OF_SEM)
		(void)nursery_token_cancel(l->t);
}

void
tickets_verify(struct link *l)
{
	struct tickets *k = &l->of.tickets;
	int left = -1;

	(void)sem_getvalue(&k->sem, &left);
	if (k->made != k->taken + k->there)
		broken(TICKETS, "%u made, %u taken, %u left", k->made,
		    k->taken, k->there);
	if (left < 0 || k->posted != k->fetched + (unsigned)left)
		broken(TICKETS, "%u posts, %u taken, %d left", k->posted,
		    k->fetched, left);
	(void)pthread_mutex_destroy(&k->lock);
	(void)pthread_cond_destroy(&k->changed);
	(void)sem_destroy(&k->sem);
}
