/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "io/call.h"

#include "base/clock.h"
#include "base/signo.h"
#include "base/sys.h"
#include "token/callback.h"
#include "token/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FEW	16	/* descriptors polled without an allocation */

bool
nur_fd_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

/* ---- on the library's threads that have no descriptor: the signal ---- */

static void
kick(struct nur_thr *thr)
{
	/* pthread_kill would mask all signals before and after; H4 says that
	 * the thread lives. */
	(void)syscall(SYS_tgkill, getpid(), thr->tid, nur_interrupt_signo());
}

/* The kick that was for this wait need not break the next one.  One that
 * comes later still does, and the next one looks at its own token. */
static void
take_kick(void)
{
	const struct timespec none = { 0, 0 };
	sigset_t ours;

	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, nur_interrupt_signo());
	while (sigtimedwait(&ours, NULL, &none) < 0 && errno == EINTR)
		;
}

/* Our threads block the signal but for the time of the ppoll, which lets it
 * in and goes to sleep in one step: a single one suffices, and there is no
 * descriptor to be had. */
static int
poll_with_kick(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, struct nur_thr *self)
{
	struct nursery_callback cb = { { { 0 } } };
	sigset_t mask;
	int n, error;

	nur_signals_while_polling(&mask);
	self->wake = kick;
	(void)nur_token_tell(t, NURSERY_CANCEL, &cb, NULL, self);
	do {
		n = nur_ppoll(fds, nfds, deadline, &mask);
	} while (n < 0 && errno == EINTR && nur_token_level(t) <
	    NURSERY_CANCEL);
	error = errno;
	nursery_callback_remove(&cb);
	self->wake = NULL;
	/* After EINTR it is taken: ppoll let nothing else in. */
	if (n >= 0 && nur_token_level(t) >= NURSERY_CANCEL)
		take_kick();
	errno = error;
	return n < 0 && error == EINTR ? 0 : n;
}

/* ---- a descriptor wakes; on other threads that have none, the signal, again
 * and again ---- */

/* A cancel that arrives during ppoll makes the wake descriptor readable. */
static void
ring(struct nur_thr *thr)
{
	nur_eventfd_ring(thr->wake_fd);
}

/* Not before the next wait: who was cancelled is in a hurry. */
static void
silence(struct nur_thr *self)
{
	uint64_t rings;

	if (self->rang)
		(void)!read(self->wake_fd, &rings, sizeof rings);
	self->rang = false;
}

/* It was for an earlier wait, and nothing else has happened. */
static bool
rang_late(struct nursery_token *t, const struct pollfd *all, nfds_t nfds,
    int n, struct nur_thr *self)
{
	if (n != 1 || all[nfds].revents == 0 || nur_token_level(t) >=
	    NURSERY_CANCEL)
		return false;
	self->rang = true;
	silence(self);
	return true;
}

static int
poll_with_wake(struct nursery_token *t, struct pollfd *all, nfds_t nfds,
    int64_t deadline, struct nur_thr *self)
{
	struct nursery_callback cb = { { { 0 } } };
	int n, error;

	all[nfds].fd = self->wake_fd;
	all[nfds].events = POLLIN;
	all[nfds].revents = 0;
	silence(self);
	self->wake = ring;
	(void)nur_token_tell(t, NURSERY_CANCEL, &cb, NULL, self);
	do {
		n = nur_ppoll(all, nfds + 1, deadline, NULL);
	} while ((n < 0 && errno == EINTR) || rang_late(t, all, nfds, n,
	    self));
	error = errno;
	nursery_callback_remove(&cb);
	self->wake = NULL;
	if (n > 0 && all[nfds].revents != 0) {
		self->rang = true;
		n--;
	}
	errno = error;
	return n;
}

/* No descriptor was to be had for the wake-up: a signal does it. */
static int
poll_with_signal(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline)
{
	struct nur_region r;
	int n, rc;

	rc = nur_region_enter(&r, t, NURSERY_NEVER);
	if (rc != 0)
		return nur_fail(rc);
	do {
		n = nur_ppoll(fds, nfds, deadline, NULL);
	} while (n < 0 && errno == EINTR && !nursery_token_is_cancelled(t));
	if (n < 0 && errno == EINTR)
		n = 0;
	rc = errno;
	nur_region_leave(&r);
	errno = rc;
	return n;
}

static int
poll_plainly(struct pollfd *fds, nfds_t nfds, int64_t deadline)
{
	int n;

	do {
		n = nur_ppoll(fds, nfds, deadline, NULL);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int
poll_copied(struct nursery_token *t, struct pollfd *fds, struct pollfd *all,
    nfds_t nfds, int64_t deadline, struct nur_thr *self)
{
	int n;

	if (nfds > 0)
		memcpy(all, fds, nfds * sizeof *fds);
	n = poll_with_wake(t, all, nfds, deadline, self);
	if (nfds > 0)
		memcpy(fds, all, nfds * sizeof *fds);
	return n;
}

static int
poll_few(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, struct nur_thr *self)
{
	struct pollfd all[FEW + 1];

	return poll_copied(t, fds, all, nfds, deadline, self);
}

static int
poll_many(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, struct nur_thr *self)
{
	struct pollfd *all = NULL;
	int n;

	if (nur_thr_wake_fd(self) >= 0)
		all = nur_alloc((nfds + 1) * sizeof *all);
	if (all == NULL)
		return poll_with_signal(t, fds, nfds, deadline);
	n = poll_copied(t, fds, all, nfds, deadline, self);
	nur_free(all);
	return n;
}

static int
poll_any(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, struct nur_thr *self)
{
	if (t == NULL)
		return poll_plainly(fds, nfds, deadline);
	if (nfds <= FEW && nur_thr_wake_fd(self) >= 0)
		return poll_few(t, fds, nfds, deadline, self);
	if (nur_thr_is_worker(self) && nur_interrupt_install() == 0)
		return poll_with_kick(t, fds, nfds, deadline, self);
	return poll_many(t, fds, nfds, deadline, self);
}

int
nur_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, enum nur_op op)
{
	struct nur_thr *self = nur_thr_self();
	uint32_t before;
	bool paused;
	int n, state;

	if (self == NULL)
		return nur_fail(ENOMEM);
	/* What is registered meanwhile lies on this stack: pthread_cancel has
	 * to wait. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	before = nur_op_enter(self, op, nfds > 0 ? fds[0].fd : -1);
	paused = nur_thr_pause(self);
	n = poll_any(t, fds, nfds, deadline, self);
	nur_thr_resume(self, paused);
	nur_op_leave(self, before);
	(void)pthread_setcancelstate(state, NULL);
	if (n != 0)
		return n;
	return nur_fail(nursery_token_is_cancelled(t) ? ECANCELED : ETIMEDOUT);
}

/* The plain call, which a cancel or the deadline breaks. */
static ssize_t
run_in_region(struct nur_call *c)
{
	struct nur_region r;
	struct nur_thr *self;
	uint32_t before;
	bool paused;
	ssize_t n;
	int rc, state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	rc = nur_region_enter(&r, c->token, c->deadline);
	if (rc != 0) {
		(void)pthread_setcancelstate(state, NULL);
		return nur_fail(rc);
	}
	self = r.thr;
	before = nur_op_enter(self, c->op, c->fd);
	paused = nur_thr_pause(self);
	do {
		n = c->fn(c, NUR_MAY_BLOCK);
		rc = n < 0 ? errno : 0;
	} while (rc == EINTR && nur_load_relaxed(&r.hit) == 0);
	nur_thr_resume(self, paused);
	nur_op_leave(self, before);
	nur_region_leave(&r);
	(void)pthread_setcancelstate(state, NULL);
	if (rc == EINTR)
		rc = nursery_token_is_cancelled(c->token) ? ECANCELED :
		    ETIMEDOUT;
	return rc != 0 ? nur_fail(rc) : n;
}

static ssize_t
try_now(struct nur_call *c)
{
	ssize_t n;

	do {
		n = c->fn(c, NUR_NOWAIT);
	} while (n < 0 && errno == EINTR);
	return n;
}

static bool
would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* No call for this descriptor promises not to block, unless the descriptor
 * itself does. */
static ssize_t
try_unpromised(struct nur_call *c)
{
	int flags = fcntl(c->fd, F_GETFL);

	if (flags < 0)
		return -1;
	c->pollable = (flags & O_NONBLOCK) != 0;
	if (c->pollable)
		return try_now(c);
	if (c->events == 0)	/* readiness says nothing */
		return run_in_region(c);
	errno = EAGAIN;
	return -1;
}

/* After the first try. */
static ssize_t
go_on(struct nur_call *c, ssize_t n)
{
	struct pollfd p = { .fd = -1 };

	if (n < 0 && errno == ENOTSUP)
		n = try_unpromised(c);
	while (would_block(n) && !c->once) {
		if (c->fd < 0)		/* nothing tells */
			return run_in_region(c);
		p.fd = c->fd;
		p.events = c->events;
		if (nur_poll(c->token, &p, 1, c->deadline, c->op) < 0)
			return -1;
		n = try_now(c);
		/* A rival was faster, or readiness says nothing here. */
		if (!c->pollable && n < 0 && (errno == ENOTSUP ||
		    would_block(n)))
			return run_in_region(c);
	}
	return n;
}

ssize_t
nur_call_run(struct nur_call *c)
{
	struct nur_thr *self = nur_thr_self();
	uint32_t before = 0;
	ssize_t n;

	if (c->token != NULL) {
		if (nur_inherited(c->token))
			return nur_fail(EOWNERDEAD);
		if (nursery_token_is_cancelled(c->token))
			return nur_fail(ECANCELED);
	}
	if (self != NULL)
		before = nur_op_enter(self, c->op | NUR_OP_BUSY, c->fd);
	n = go_on(c, try_now(c));
	if (self != NULL)
		nur_op_leave(self, before);
	return n;
}

ssize_t
nur_call_go_on(struct nur_call *c, ssize_t n)
{
	struct nur_thr *self = nur_thr_peek();
	uint32_t before = nur_op_enter(self, c->op | NUR_OP_BUSY, c->fd);

	if (n == -EINTR) {
		n = try_now(c);
	} else if (n < 0) {
		errno = (int)-n;
		n = -1;
	}
	n = go_on(c, n);
	nur_op_leave(self, before);
	return n;
}
