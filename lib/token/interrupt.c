/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/interrupt.h"

#include "base/signo.h"
#include "base/sys.h"

#include <string.h>

#define RESEND_AFTER	NURSERY_MS

_Static_assert(sizeof(sigset_t) >= 8, "a signal mask has 64 bits");

static void
send_signal(const struct nur_region *r)
{
	(void)pthread_kill((pthread_t)r->thr->system_thread,
	    nur_interrupt_signo());
}

static void
cancelled(void *arg)
{
	struct nur_region *r = arg;

	/* Relaxed: read by the region's own thread after it was broken out;
	 * a late sight only costs another signal. */
	nur_store_relaxed(&r->hit, 1);
	send_signal(r);
	nur_timer_arm(&r->resend, nur_now() + RESEND_AFTER);
}

void
nur_interrupt_again_locked(struct nur_region *r)
{
	nur_store_relaxed(&r->hit, 1);
	send_signal(r);
	r->resend.when = nur_now() + RESEND_AFTER;
}

static void
unblock_signal(struct nur_region *r)
{
	sigset_t ours, old;

	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, nur_interrupt_signo());
	(void)pthread_sigmask(SIG_UNBLOCK, &ours, &old);
	r->unblocked = sigismember(&old, nur_interrupt_signo()) == 1;
}

static void
block_signal_again(const struct nur_region *r)
{
	sigset_t ours;

	if (!r->unblocked)
		return;
	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, nur_interrupt_signo());
	(void)pthread_sigmask(SIG_BLOCK, &ours, NULL);
}

int
nur_region_enter(struct nur_region *r, struct nursery_token *t,
    int64_t deadline)
{
	int rc;

	memset(r, 0, sizeof *r);
	if (nursery_token_is_cancelled(t))
		return ECANCELED;
	r->token = t;
	r->thr = nur_thr_self();
	if (r->thr == NULL)
		return ENOMEM;
	rc = nur_interrupt_install();
	if (rc != 0)
		return rc;
	rc = nur_timer_reserve(1);
	if (rc != 0)
		return rc;
	nur_timer_init(&r->resend, NUR_TIMER_RESEND, r);
	/* A signal that is on its way for an earlier poll is none of fn's. */
	nur_thr_await_late(r->thr);
	unblock_signal(r);
	if (deadline != NURSERY_NEVER)
		nur_timer_arm(&r->resend, deadline);
	if (t != NULL)
		(void)nursery_token_on_cancel(t, &r->cb, cancelled, r);
	return 0;
}

void
nur_region_leave(struct nur_region *r)
{
	if (r->token != NULL)
		nursery_callback_remove(&r->cb);
	nur_timer_disarm(&r->resend);
	nur_timer_unreserve(1);
	/* R2: a signal that is on its way arrives on return from this call. */
	if (nur_load_relaxed(&r->hit) != 0)
		(void)nur_gettid();
	block_signal_again(r);
}

/* fn may be left by pthread_exit or pthread_cancel, too. */
static void
leave(void *region)
{
	nur_region_leave(region);
}

int
nursery_interrupt_signal(void)
{
	return nur_interrupt_signo();
}

int
nursery_token_run(struct nursery_token *t, int (*fn)(void *), void *arg,
    int *out_result)
{
	struct nur_region r;
	uint32_t op;
	int rc, result;

	if (fn == NULL)
		return EINVAL;
	if (t != NULL && nur_inherited(t))
		return EOWNERDEAD;
	rc = nur_region_enter(&r, t, NURSERY_NEVER);
	if (rc != 0)
		return rc;
	op = nur_op_enter(r.thr, NUR_OP_RUN, -1);
	pthread_cleanup_push(leave, &r);
	result = fn(arg);
	pthread_cleanup_pop(1);
	nur_op_leave(r.thr, op);
	if (out_result != NULL)
		*out_result = result;
	return 0;
}
