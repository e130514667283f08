/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/thr.h"

#include "base/sys.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const nur_op_names[NUR_OP_COUNT] = {
	"running", "token_wait", "sleep", "poll", "read", "write", "recv",
	"send", "sendfile", "accept", "connect", "token_run", "spawn",
	"wait", "close", "blocking", "callback", "cond_wait", "sem_wait",
	"channel_send", "channel_recv", "join", "start", "waitpid"
};

void
nur_op_text(char to[NUR_OP_TEXT], uint32_t op, int fd)
{
	(void)snprintf(to, NUR_OP_TEXT, fd >= 0 ? "%s(fd %d)" : "%s",
	    nur_op_names[op & ~NUR_OP_BUSY], fd);
}

void (*nur_thr_exit_hook[NUR_EXITS])(struct nur_thr *self);
void (*nur_thr_pause_hook)(struct nur_thr *self);
void (*nur_thr_resume_hook)(struct nur_thr *self);

static struct nur_slab records =
    NUR_SLAB_INIT("thread", NUR_SLAB_THREAD, sizeof(struct nur_thr), 0);

/* Waits for descriptors are woken by an eventfd, which takes half the time of a
 * signal, in so many threads of the pool at most. */
#define MOST_WAKE_FDS	64
static uint32_t wake_fds;	/* atomic */

static struct nur_mutex list_lock = NUR_MUTEX_INIT(NUR_RANK_THR);
/* under list_lock */
static struct nur_link threads = { &threads, &threads };

static void
list_thread(struct nur_thr *thr)
{
	nur_lock(&list_lock);
	nur_list_append(&threads, &thr->all);
	nur_unlock(&list_lock);
}

static void
unlist_thread(struct nur_thr *thr)
{
	nur_lock(&list_lock);
	nur_list_remove(&thr->all);
	nur_unlock(&list_lock);
}

/* Threads of the pool can be many; the program's descriptors are not ours. */
static bool
may_have_fd(const struct nur_thr *self)
{
	/* Relaxed: a few more than that do no harm. */
	return !nur_thr_is_worker(self) ||
	    nur_load_relaxed(&wake_fds) < MOST_WAKE_FDS;
}

int
nur_thr_wake_fd(struct nur_thr *self)
{
	if (self->wake_fd >= 0 || !may_have_fd(self))
		return self->wake_fd;
	/* Relaxed: read by others only in a forked child. */
	nur_store_relaxed(&self->wake_fd, nur_eventfd());
	self->rang = false;
	if (self->wake_fd >= 0 && nur_thr_is_worker(self))
		(void)nur_fetch_add_relaxed(&wake_fds, 1);
	return self->wake_fd;
}

static void
close_wake_fd(struct nur_thr *self)
{
	int fd = nur_load_relaxed(&self->wake_fd);

	if (fd < 0)
		return;
	(void)close(fd);
	nur_store_relaxed(&self->wake_fd, -1);
	if (nur_thr_is_worker(self))
		(void)nur_fetch_add_relaxed(&wake_fds, UINT32_MAX);
}

void
nur_thr_ends(void *p)
{
	struct nur_thr *self = p;
	int i;

	/* Another key's destructor may call us again: the record comes back
	 * into force for the hooks and is gone afterwards. */
	nur_tls_set(self);
	for (i = 0; i < NUR_EXITS; i++)
		if (nur_thr_exit_hook[i] != NULL)
			nur_thr_exit_hook[i](self);
	nur_thr_await_late(self);
	nur_tls_set(NULL);
	nur_slab_thread_ends(self);
	unlist_thread(self);
	close_wake_fd(self);
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
	int i;

	if (thr == NULL)
		return NULL;
	/* `park` may be touched by a late waker (H1): only atomically. */
	nur_store_relaxed(&thr->park, 0);
	memset((char *)thr + sizeof thr->park, 0,
	    sizeof *thr - sizeof thr->park);
	thr->wake_fd = -1;
	/* Relaxed: in the child it changes before there is a thread. */
	thr->forked = nur_load_relaxed(&nur_generation) != 0;
	nur_list_init(&thr->opened);
	nur_list_init(&thr->idle);
	nur_list_init(&thr->all);
	for (i = 0; i < NUR_ALL_HOOKS; i++)
		thr->hook[i].entry.next = thr->hook[i].entry.prev = NULL;
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
	list_thread(thr);
	return register_exit(thr);
}

struct nur_thr *
nur_thr_make_self(void)
{
	struct nur_thr *self = nur_thr_new();

	if (self == NULL || nur_thr_become(self))
		return self;
	nur_tls_set(NULL);
	unlist_thread(self);
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

void
nur_unpark_gather(struct nur_thr *thr, uint32_t *at)
{
	/* Release: as in nur_unpark(). */
	if (nur_exchange_acq_rel(&thr->park, 1) == 0)
		nur_futex_gather(&thr->park, at);
}

void
nur_thr_late_ends(struct nur_thr *thr)
{
	/* Release: publishes what the call did to nur_thr_await_late(). */
	if (nur_fetch_sub_acq_rel(&thr->late, 1) == (NUR_LATE_AWAITED | 1))
		nur_futex_wake(&thr->late, 1);
}

void
nur_thr_await_late(struct nur_thr *self)
{
	/* Acquire: pairs with nur_thr_late_ends(). */
	uint32_t late = nur_load_acquire(&self->late);

	if (late == 0)
		return;
	(void)nur_fetch_add_acq_rel(&self->late, NUR_LATE_AWAITED);
	while ((late = nur_load_acquire(&self->late)) != NUR_LATE_AWAITED)
		(void)nur_futex_wait(&self->late, late, INT64_MAX);
	nur_store_relaxed(&self->late, 0);
}

void
nur_thr_each(void (*fn)(const struct nur_thr *thr, void *arg), void *arg)
{
	struct nur_link *l;

	nur_lock(&list_lock);
	NUR_LIST_FOREACH(l, &threads)
		fn(NUR_CONTAINER(l, struct nur_thr, all), arg);
	nur_unlock(&list_lock);
}

int64_t
nur_thr_sum_live(enum nur_slab_kind kind)
{
	struct nur_link *l;
	int64_t sum = 0;

	nur_lock(&list_lock);
	NUR_LIST_FOREACH(l, &threads)
		sum += nur_load_relaxed(&NUR_CONTAINER(l, struct nur_thr,
		    all)->live[kind]);
	nur_unlock(&list_lock);
	return sum;
}

void
nur_thr_lock_list(void)
{
	nur_lock(&list_lock);
}

void
nur_thr_unlock_list(void)
{
	nur_unlock(&list_lock);
}

void
nur_thr_after_fork(void)
{
	struct nur_thr *self = nur_tls_get();
	struct nur_link *l;

	/* The parent reads from the same eventfds. */
	NUR_LIST_FOREACH(l, &threads)
		close_wake_fd(NUR_CONTAINER(l, struct nur_thr, all));
	nur_unlock(&list_lock);
	nur_slab_after_fork(&records);
	nur_list_init(&threads);
	if (self == NULL)
		return;
	/* The record is the parent's memory and goes on serving us. */
	self->tid = nur_gettid();
	self->forked = true;
	self->wake = NULL;
	nur_store_relaxed(&self->late, 0);
	self->vacant.count = 0;
	memset(self->hook, 0, sizeof self->hook);
	memset(self->hook_at_hand, 0, sizeof self->hook_at_hand);
	self->spare_count = 0;
	nur_list_append(&threads, &self->all);
}
