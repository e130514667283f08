/* SPDX-License-Identifier: MIT */
/* What io.h promises and this release does not have yet: refused. */
#include "config.h"

#include "nursery/io.h"

#include <errno.h>

int
nursery_cond_wait(struct nursery_token *t, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)m;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_sem_wait(struct nursery_token *t, sem_t *s, int64_t deadline)
{
	(void)t;
	(void)s;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_channel_new(struct nursery_channel **out, size_t item_size, size_t capacity)
{
	(void)out;
	(void)item_size;
	(void)capacity;
	return ENOTSUP;
}

int
nursery_channel_send(struct nursery_token *t, struct nursery_channel *c, const void *item, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)item;
	(void)deadline;
	return ENOTSUP;
}

int
nursery_channel_recv(struct nursery_token *t, struct nursery_channel *c, void *item, int64_t deadline)
{
	(void)t;
	(void)c;
	(void)item;
	(void)deadline;
	return ENOTSUP;
}

void
nursery_channel_close(struct nursery_channel *c)
{
	(void)c;
}

void
nursery_channel_free(struct nursery_channel *c)
{
	(void)c;
}
