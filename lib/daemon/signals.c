/* SPDX-License-Identifier: MIT */
/*
 * Signals that stop a nursery, and the relay that serves them.
 *
 * G1  The handler counts the signal, stores the sender and rings an eventfd,
 *     nothing else; a library thread does the work.
 * G2  A handler is in place from the call until the nursery closes, or the
 *     process forks: then the old action is back.
 * G3  The relay holds a reference while it raises: no lock is held then.
 * G4  A nursery that has signals says so under its lock before it can be
 *     closed, and the close gives them back after.
 * G5  A signal goes to the nursery that had it when it came, or to none.
 */
#include "config.h"

#include "daemon/signals.h"

#include "base/fork.h"
#include "base/signo.h"
#include "base/sys.h"
#include "nursery/daemon.h"
#include "scope/nursery.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define SIGNALS	65
#define STACK	((size_t)256 * 1024)

struct slot {
	bool taken;
	struct nursery *nursery;	/* to be stopped, or NULL: */
	void (*fn)(void);
	enum nursery_level first;
	struct sigaction old;
};

static struct nur_mutex signals_lock = NUR_MUTEX_INIT(NUR_RANK_SIGNALS);
/* under signals_lock */
static struct slot slots[SIGNALS];
static bool relay_runs;
/* set before any handler is */
static int bell = -1;
/* atomic: written by the handler */
static uint32_t pending[SIGNALS];
static int senders[SIGNALS];

static void
handler(int signo, siginfo_t *info, void *context)
{
	const uint64_t one = 1;
	int error = errno;

	(void)context;
	nur_store_relaxed(&senders[signo], info->si_code <= 0 ?
	    (int)info->si_pid : 0);
	/* Release: publishes the sender; pairs with the exchange in the relay.
	 * Several threads may be in here. */
	(void)nur_fetch_add_acq_rel(&pending[signo], 1);
	(void)!write(bell, &one, sizeof one);
	errno = error;
}

/* ---- the relay ---- */

static void
default_and_again(int signo)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(signo, &sa, NULL);
	(void)kill(getpid(), signo);
}

/* The first, second and third of all the signals of n. */
static void
stop_by(struct nursery *n, int signo, enum nursery_level first, unsigned time)
{
	struct nur_raise r = { .code = NURSERY_SIGNAL(signo),
		.by_pid = nur_load_relaxed(&senders[signo]),
		.why = "signal" };

	r.level = time == 1 ? (int)first : NURSERY_CANCEL;
	if (time >= 3)
		default_and_again(signo);
	else
		(void)nur_token_raise(&n->token, &r);
}

/* What has come, and to whom: one step, or a signal that stopped a nursery
 * would stop the next one that takes its slot (G5). */
static uint32_t
fetch(int signo, struct slot *s, unsigned *first_time)
{
	uint32_t times;

	nur_lock(&signals_lock);
	*s = slots[signo];
	/* Acquire: pairs with the handler's release. */
	times = nur_exchange_acq_rel(&pending[signo], 0);
	if (!s->taken)
		times = 0;
	if (times > 0 && s->nursery != NULL) {
		(void)nursery_ref(s->nursery);
		*first_time = s->nursery->signals_seen + 1;
		s->nursery->signals_seen += times;
	}
	nur_unlock(&signals_lock);
	return times;
}

static void
relay(int signo)
{
	unsigned first_time = 0;
	uint32_t i, times;
	struct slot s;

	times = fetch(signo, &s, &first_time);
	for (i = 0; i < times; i++) {
		if (s.nursery == NULL)
			s.fn();
		else
			stop_by(s.nursery, signo, s.first, first_time + i);
	}
	if (times > 0 && s.nursery != NULL)
		nursery_unref(s.nursery);
}

static void
relay_main(void *arg)
{
	struct pollfd p = { .fd = bell, .events = POLLIN };
	uint64_t rings;
	int signo;

	(void)arg;
	for (;;) {
		(void)poll(&p, 1, -1);
		(void)!read(bell, &rings, sizeof rings);
		for (signo = 1; signo < SIGNALS; signo++)
			if (nur_load_relaxed(&pending[signo]) != 0)
				relay(signo);
	}
}

static int
need_relay_locked(void)
{
	int rc;

	if (relay_runs)
		return 0;
	if (bell < 0)
		bell = nur_eventfd();
	if (bell < 0)
		return EMFILE;
	rc = nur_thread_start(relay_main, NULL, STACK);
	relay_runs = rc == 0;
	return rc;
}

/* ---- taking and giving back ---- */

/* Takes a signal as `s` says; one that is ignored stays ignored. */
static int
take_locked(int signo, const struct slot *s)
{
	struct sigaction sa = { .sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_RESTART }, old;

	if (slots[signo].taken || signo == nur_interrupt_signo())
		return EBUSY;
	(void)sigfillset(&sa.sa_mask);
	if (sigaction(signo, NULL, &old) != 0)
		return EINVAL;
	if ((old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_IGN)
		return 0;
	nur_store_relaxed(&pending[signo], 0);
	slots[signo] = *s;
	slots[signo].old = old;
	slots[signo].taken = true;
	if (sigaction(signo, &sa, NULL) == 0)
		return 0;
	slots[signo].taken = false;
	return EINVAL;
}

static void
give_back_locked(int signo)
{
	(void)sigaction(signo, &slots[signo].old, NULL);
	slots[signo].taken = false;
}

/* All of them or none. */
static int
take_all_locked(const sigset_t *signals, const struct slot *s)
{
	int rc = 0, signo;

	for (signo = 1; signo < SIGNALS; signo++)
		if (sigismember(signals, signo) == 1 && (slots[signo].taken ||
		    signo == nur_interrupt_signo()))
			return EBUSY;
	for (signo = 1; rc == 0 && signo < SIGNALS; signo++)
		if (sigismember(signals, signo) == 1)
			rc = take_locked(signo, s);
	while (rc != 0 && --signo > 0)
		if (sigismember(signals, signo) == 1 && slots[signo].taken)
			give_back_locked(signo);
	return rc;
}

static void
release_all(struct nursery *n)
{
	int signo;

	nur_lock(&signals_lock);
	for (signo = 1; signo < SIGNALS; signo++)
		if (slots[signo].taken && slots[signo].nursery == n)
			give_back_locked(signo);
	nur_unlock(&signals_lock);
}

/* G4 */
static int
announce(struct nursery *n)
{
	int rc = 0;

	nur_lock(&n->lock);
	if (n->state == NUR_CLOSED)
		rc = ESHUTDOWN;
	else
		n->has_signals = true;
	nur_nursery_unlock(n);
	return rc;
}

int
nursery_stop_on_signals(struct nursery *n, const sigset_t *signals,
    enum nursery_level first)
{
	struct slot s = { .nursery = n, .first = first };
	int rc;

	if (n == NULL || signals == NULL || (int)first < NURSERY_DRAIN ||
	    (int)first > NURSERY_ABORT || sigismember(signals, SIGKILL) == 1
	    || sigismember(signals, SIGSTOP) == 1)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	nur_nursery_share(n);
	nur_lock(&signals_lock);
	rc = announce(n);
	if (rc == 0)
		rc = need_relay_locked();
	if (rc == 0)
		rc = take_all_locked(signals, &s);
	nur_unlock(&signals_lock);
	return rc;
}

int
nur_signals_call(int signo, void (*fn)(void))
{
	struct slot s = { .fn = fn };
	int rc;

	nur_lock(&signals_lock);
	rc = need_relay_locked();
	if (rc == 0)
		rc = take_locked(signo, &s);
	nur_unlock(&signals_lock);
	return rc;
}

/* ---- fork ---- */

static void
before_fork(void)
{
	nur_lock(&signals_lock);
}

static void
after_fork(void)
{
	nur_unlock(&signals_lock);
}

/* The child has no relay: what was taken acts as before. */
static void
in_child(void)
{
	int signo;

	for (signo = 1; signo < SIGNALS; signo++)
		if (slots[signo].taken)
			give_back_locked(signo);
	if (bell >= 0)
		(void)close(bell);
	bell = -1;
	relay_runs = false;
	after_fork();
}

__attribute__((constructor)) static void
register_floor(void)
{
	static const struct nur_fork_hooks hooks = { before_fork, after_fork,
		in_child };

	nur_signals_release = release_all;
	nur_fork_hook(NUR_FORK_DAEMON, &hooks);
}
