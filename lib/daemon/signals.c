/* SPDX-License-Identifier: MIT */
/*
 * Signals that stop a nursery or call a function, and the relays that serve
 * them: the program's functions have one of their own, so that none of them
 * keeps the process from being stopped.
 *
 * G1  The handler counts the signal, stores the sender and rings an eventfd,
 *     nothing else; a library thread does the work.
 * G2  A handler is in place from the call until the nursery closes, or the
 *     process forks: then the old action is back.
 * G3  A relay holds a reference while it raises or calls: no lock is held
 *     then.
 * G4  A nursery that has signals says so under its lock before it can be
 *     closed, and the close gives them back after.
 * G5  A signal goes to the nursery that had it when it came, or to none.
 * G6  When the close has given the signals back, no function runs for them:
 *     it waits for one that does, but for the one that closes.
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

struct slot {
	bool taken;
	struct nursery *nursery;	/* until its close; NULL: for good */
	void (*fn)(int signo, void *arg);	/* NULL: stops the nursery */
	void *arg;
	enum nursery_level first;
	struct sigaction old;
};

static struct nur_mutex signals_lock = NUR_MUTEX_INIT(NUR_RANK_SIGNALS);
/* under signals_lock */
static struct slot slots[SIGNALS];
static struct relay {
	int bell;	/* eventfd; set before any handler is */
	bool runs;
} to_stop = { -1, false }, to_call = { -1, false };
static const struct nursery *served;	/* whose function runs, G6 */
/* atomic: moves when a function has run */
static uint32_t served_seq;
static uintptr_t caller_mark;	/* atomic: the thread of to_call */
/* atomic: written by the handler */
static uint32_t pending[SIGNALS];
static int senders[SIGNALS];
/* atomic: set before the handler is */
static int bells[SIGNALS];

static void
handler(int signo, siginfo_t *info, void *context)
{
	int error = errno;

	(void)context;
	nur_store_relaxed(&senders[signo], info->si_code <= 0 ?
	    (int)info->si_pid : 0);
	/* Release: publishes the sender; pairs with the exchange in the relay.
	 * Several threads may be in here. */
	(void)nur_fetch_add_acq_rel(&pending[signo], 1);
	nur_eventfd_ring(nur_load_relaxed(&bells[signo]));
	errno = error;
}

/* ---- the relays ---- */

static struct relay *
relay_of(const struct slot *s)
{
	return s->fn != NULL && s->nursery != NULL ? &to_call : &to_stop;
}

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
fetch_locked(int signo, struct slot *s, unsigned *first_time)
{
	uint32_t times;

	*s = slots[signo];
	/* Acquire: pairs with the handler's release. */
	times = nur_exchange_acq_rel(&pending[signo], 0);
	if (!s->taken || times == 0)
		return 0;
	(void)nursery_ref(s->nursery);
	if (s->fn == NULL) {
		*first_time = s->nursery->signals_seen + 1;
		s->nursery->signals_seen += times;
	} else if (s->nursery != NULL) {
		served = s->nursery;
	}
	return times;
}

static uint32_t
fetch(const struct relay *self, int signo, struct slot *s,
    unsigned *first_time)
{
	uint32_t times = 0;

	nur_lock(&signals_lock);
	if (relay_of(&slots[signo]) == self)
		times = fetch_locked(signo, s, first_time);
	nur_unlock(&signals_lock);
	return times;
}

/* One call for all that came; a fork in it does not come back. */
static void
call(const struct slot *s, int signo)
{
	uint32_t process = nur_load_relaxed(&nur_generation);

	s->fn(signo, s->arg);
	if (nur_load_relaxed(&nur_generation) != process)
		_exit(NUR_FORKED_AND_BACK);
	if (s->nursery == NULL)
		return;
	/* First: after the close nothing of it is left. */
	nursery_unref(s->nursery);
	nur_lock(&signals_lock);
	served = NULL;
	/* Relaxed: moves under the lock; sleepers read it there too. */
	nur_store_relaxed(&served_seq, nur_load_relaxed(&served_seq) + 1);
	nur_unlock(&signals_lock);
	nur_futex_wake(&served_seq, INT32_MAX);
}

static void
serve(const struct relay *self, int signo)
{
	unsigned first_time = 0;
	struct slot s = { .taken = false };
	uint32_t i, times;

	times = fetch(self, signo, &s, &first_time);
	if (times == 0)
		return;
	if (s.fn != NULL) {
		call(&s, signo);
		return;
	}
	for (i = 0; i < times; i++)
		stop_by(s.nursery, signo, s.first, first_time + i);
	nursery_unref(s.nursery);
}

static void
relay_main(void *arg)
{
	const struct relay *self = arg;
	struct pollfd p = { .fd = self->bell, .events = POLLIN };
	uint64_t rings;
	int signo;

	if (self == &to_call)
		nur_store_relaxed(&caller_mark, nur_thread_mark());
	for (;;) {
		(void)poll(&p, 1, -1);
		(void)!read(p.fd, &rings, sizeof rings);
		for (signo = 1; signo < SIGNALS; signo++)
			if (nur_load_relaxed(&pending[signo]) != 0)
				serve(self, signo);
	}
}

NUR_THREAD(relay_thread, relay_main)

static int
need_relay_locked(struct relay *r)
{
	int rc;

	if (r->runs)
		return 0;
	if (r->bell < 0)
		r->bell = nur_eventfd();
	if (r->bell < 0)
		return EMFILE;
	rc = nur_thread_start(relay_thread, r, NUR_SERVANT_STACK);
	r->runs = rc == 0;
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
	nur_store_relaxed(&bells[signo], relay_of(s)->bell);
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

/* G6 */
static void
await_call_locked(const struct nursery *n)
{
	uint32_t seen;

	if (nur_load_relaxed(&caller_mark) == nur_thread_mark())
		return;
	while (served == n) {
		seen = nur_load_relaxed(&served_seq);
		nur_unlock(&signals_lock);
		(void)nur_futex_wait(&served_seq, seen, NURSERY_NEVER);
		nur_lock(&signals_lock);
	}
}

static void
release_all(struct nursery *n)
{
	int signo;

	nur_lock(&signals_lock);
	for (signo = 1; signo < SIGNALS; signo++)
		if (slots[signo].taken && slots[signo].nursery == n)
			give_back_locked(signo);
	await_call_locked(n);
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

static int
take_for(struct nursery *n, const sigset_t *signals, const struct slot *s)
{
	int rc;

	if (sigismember(signals, SIGKILL) == 1 ||
	    sigismember(signals, SIGSTOP) == 1)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	nur_nursery_share(n);
	nur_lock(&signals_lock);
	rc = announce(n);
	if (rc == 0)
		rc = need_relay_locked(relay_of(s));
	if (rc == 0)
		rc = take_all_locked(signals, s);
	nur_unlock(&signals_lock);
	return rc;
}

int
nursery_stop_on_signals(struct nursery *n, const sigset_t *signals,
    enum nursery_level first)
{
	const struct slot s = { .nursery = n, .first = first };

	if (n == NULL || signals == NULL || (int)first < NURSERY_DRAIN ||
	    (int)first > NURSERY_ABORT)
		return EINVAL;
	return take_for(n, signals, &s);
}

int
nursery_on_signal(struct nursery *n, int signo,
    void (*fn)(int signo, void *arg), void *arg)
{
	const struct slot s = { .nursery = n, .fn = fn, .arg = arg };
	sigset_t one;

	(void)sigemptyset(&one);
	if (n == NULL || fn == NULL || signo >= SIGNALS ||
	    sigaddset(&one, signo) != 0)
		return EINVAL;
	return take_for(n, &one, &s);
}

int
nur_signals_call(int signo, void (*fn)(int signo, void *arg))
{
	const struct slot s = { .fn = fn };
	int rc;

	nur_lock(&signals_lock);
	rc = need_relay_locked(relay_of(&s));
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

static void
forget(struct relay *r)
{
	if (r->bell >= 0)
		(void)close(r->bell);
	r->bell = -1;
	r->runs = false;
}

/* The child has no relay: what was taken acts as before. */
static void
in_child(void)
{
	int signo;

	for (signo = 1; signo < SIGNALS; signo++)
		if (slots[signo].taken)
			give_back_locked(signo);
	forget(&to_stop);
	forget(&to_call);
	served = NULL;
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
