/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/thr.h"

#include "base/slab.h"
#include "base/sys.h"

#include <string.h>
#include <unistd.h>

const char *const nur_op_names[NUR_OP_COUNT] = {
	"running", "token_wait", "sleep", "poll", "read", "write", "recv",
	"send", "sendfile", "accept", "connect", "token_run", "spawn",
	"wait", "close", "blocking", "callback"
};

void (*nur_thr_exit_hook)(struct nur_thr *self);

static struct nur_slab records =
    NUR_SLAB_INIT("thread", sizeof(struct nur_thr), 0, true);

void
nur_thr_ends(void *p)
{
	struct nur_thr *self = p;

	/* Another key's destructor may call us again: the record comes back
	 * into force for the hook and is gone afterwards. */
	nur_tls_set(self);
	if (nur_thr_exit_hook != NULL && !nur_list_empty(&self->opened))
		nur_thr_exit_hook(self);
	nur_tls_set(NULL);
	if (self->wake_fd >= 0)
		(void)close(self->wake_fd);
	nur_slab_put(&records, self);
}

#ifndef NUR_MODEL
static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static bool exit_key_made;

static void
make_exit_key(void)
{
	exit_key_made = pthread_key_create(&exit_key, nur_thr_ends) == 0;
}

static bool
register_exit(struct nur_thr *self)
{
	(void)pthread_once(&exit_key_once, make_exit_key);
	return exit_key_made && pthread_setspecific(exit_key, self) == 0;
}
#else
#define register_exit(self)	((void)(self), true)
#endif

struct nur_thr *
nur_thr_new(void)
{
	struct nur_thr *thr = nur_slab_get(&records);

	if (thr == NULL)
		return NULL;
	/* `park` may be touched by a late waker (H1): only atomically. */
	nur_store_relaxed(&thr->park, 0);
	memset((char *)thr + sizeof thr->park, 0,
	    sizeof *thr - sizeof thr->park);
	thr->wake_fd = -1;
	nur_list_init(&thr->opened);
	nur_list_init(&thr->idle);
	nur_list_init(&thr->all);
	return thr;
}

void
nur_thr_free(struct nur_thr *thr)
{
	nur_slab_put(&records, thr);
}

bool
nur_thr_become(struct nur_thr *thr)
{
	thr->tid = nur_gettid();
#ifndef NUR_MODEL
	thr->system_thread = (uint64_t)pthread_self();
#endif
	nur_tls_set(thr);
	return register_exit(thr);
}

struct nur_thr *
nur_thr_self(void)
{
	struct nur_thr *self = nur_tls_get();

	if (self != NULL)
		return self;
	self = nur_thr_new();
	if (self == NULL || nur_thr_become(self))
		return self;
	nur_tls_set(NULL);
	nur_thr_free(self);
	return NULL;
}

/*
 * No wake-up is lost: the sleeper takes `park` by an exchange and sleeps
 * only if the futex still finds 0; the waker stores 1 before it wakes.
 */
int
nur_park(struct nur_thr *self, int64_t deadline)
{
	for (;;) {
		/* Acquire: pairs with the exchange in nur_unpark(); who takes
		 * the wake-up sees what the waker wrote before it. */
		if (nur_exchange_acq_rel(&self->park, 0) != 0)
			return 0;
		if (nur_futex_wait(&self->park, 0, deadline) == ETIMEDOUT)
			return nur_exchange_acq_rel(&self->park, 0) != 0 ?
			    0 : ETIMEDOUT;
	}
}

void
nur_unpark(struct nur_thr *thr)
{
	/* Release: publishes the waker's writes to nur_park(). */
	if (nur_exchange_acq_rel(&thr->park, 1) == 0)
		nur_futex_wake(&thr->park, 1);
}

int
nur_thr_wake_fd(struct nur_thr *self)
{
	if (self->wake_fd < 0)
		self->wake_fd = nur_eventfd();
	return self->wake_fd;
}

uint32_t
nur_op_enter(struct nur_thr *self, enum nur_op op, int fd)
{
	uint32_t before = nur_load_relaxed(&self->op);

	/* Relaxed: a reader of the dump may see a neighbouring state. */
	nur_store_relaxed(&self->op_fd, fd);
	nur_store_relaxed(&self->op, (uint32_t)op);
	return before;
}

void
nur_op_leave(struct nur_thr *self, uint32_t before)
{
	nur_store_relaxed(&self->op, before);
}

void
nur_thr_after_fork(void)
{
	struct nur_thr *self = nur_tls_get();

	nur_slab_after_fork(&records);
	if (self != NULL)
		self->tid = nur_gettid();
}

uint64_t
nur_thr_live(void)
{
	return nur_slab_live(&records);
}
