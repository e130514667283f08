/* SPDX-License-Identifier: MIT */
/*
 * Signals that stop a nursery, and the one that dumps.
 *
 * G1  The handler stores the sender and rings an eventfd, nothing else; a
 *     library thread does the work.
 * G2  A handler is in place from the call until the nursery closes; then the
 *     old action is back.
 * G3  The relay holds a reference while it raises: no lock is held then.
 */
#include "config.h"

#include "base/signo.h"
#include "base/sys.h"
#include "nursery/daemon.h"
#include "nursery/debug.h"
#include "scope/init.h"
#include "scope/nursery.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SIGNALS	65
#define STACK	((size_t)256 * 1024)

struct slot {
	struct nursery *nursery;	/* NULL: not ours */
	enum nursery_level first;
	unsigned seen;
	struct sigaction old;
};

static struct nur_mutex signals_lock = NUR_MUTEX_INIT(NUR_RANK_SIGNALS);
/* under signals_lock */
static struct slot slots[SIGNALS];
static bool relay_runs;
static int dump_signo;
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
	/* Release: publishes the sender to relay_one(). */
	(void)nur_exchange_acq_rel(&pending[signo], 1);
	(void)!write(bell, &one, sizeof one);
	errno = error;
}

static void
default_and_again(int signo)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(signo, &sa, NULL);
	(void)kill(getpid(), signo);
}

static void
relay_one(int signo)
{
	struct slot *s = &slots[signo];
	struct nur_raise r = { .code = NURSERY_SIGNAL(signo),
		.by_pid = nur_load_relaxed(&senders[signo]),
		.why = "signal" };
	struct nursery *n;
	unsigned times;

	nur_lock(&signals_lock);
	n = nursery_ref(s->nursery);
	times = ++s->seen;
	r.level = times == 1 ? (int)s->first : NURSERY_CANCEL;
	nur_unlock(&signals_lock);
	if (n == NULL) {
		if (signo == dump_signo)
			(void)nursery_dump(stderr, NURSERY_TEXT);
		return;
	}
	if (times >= 3)
		default_and_again(signo);
	else
		(void)nur_token_raise(&n->token, &r);
	nursery_unref(n);
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
			/* Acquire: pairs with the handler's release. */
			if (nur_load_relaxed(&pending[signo]) != 0 &&
			    nur_exchange_acq_rel(&pending[signo], 0) != 0)
				relay_one(signo);
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

static int
take_signal_locked(int signo, struct nursery *n, enum nursery_level first)
{
	struct sigaction sa = { .sa_sigaction = handler,
		.sa_flags = SA_SIGINFO | SA_RESTART }, old;

	if (slots[signo].nursery != NULL || signo == nur_interrupt_signo() ||
	    (signo == dump_signo && n != NULL))
		return EBUSY;
	(void)sigfillset(&sa.sa_mask);
	if (sigaction(signo, NULL, &old) != 0)
		return EINVAL;
	if ((old.sa_flags & SA_SIGINFO) == 0 && old.sa_handler == SIG_IGN)
		return 0;	/* ignored at start stays ignored */
	if (sigaction(signo, &sa, NULL) != 0)
		return EINVAL;
	slots[signo].nursery = n;
	slots[signo].first = first;
	slots[signo].seen = 0;
	slots[signo].old = old;
	return 0;
}

static void
release_locked(int signo)
{
	(void)sigaction(signo, &slots[signo].old, NULL);
	slots[signo].nursery = NULL;
}

static void
release_all(struct nursery *n)
{
	int signo;

	nur_lock(&signals_lock);
	for (signo = 1; signo < SIGNALS; signo++)
		if (slots[signo].nursery == n)
			release_locked(signo);
	nur_unlock(&signals_lock);
}

int
nursery_stop_on_signals(struct nursery *n, const sigset_t *signals,
    enum nursery_level first)
{
	int rc, signo, undo;

	if (n == NULL || signals == NULL || (int)first < NURSERY_DRAIN ||
	    (int)first > NURSERY_ABORT || sigismember(signals, SIGKILL) == 1
	    || sigismember(signals, SIGSTOP) == 1)
		return EINVAL;
	if (nur_inherited(n))
		return EOWNERDEAD;
	nur_nursery_share(n);
	nur_lock(&signals_lock);
	rc = need_relay_locked();
	n->has_signals = true;
	for (signo = 1; rc == 0 && signo < SIGNALS; signo++) {
		if (sigismember(signals, signo) != 1)
			continue;
		rc = take_signal_locked(signo, n, first);
		for (undo = 1; rc != 0 && undo < signo; undo++)
			if (sigismember(signals, undo) == 1 &&
			    slots[undo].nursery == n)
				release_locked(undo);
	}
	nur_unlock(&signals_lock);
	return rc;
}

/* "USR1", "SIGUSR1" or a number; 0 for anything else. */
static int
parse_signal(const char *text)
{
	const char *abbrev;
	char *end;
	long v;
	int signo;

	v = strtol(text, &end, 10);
	if (*text != '\0' && *end == '\0')
		return v > 0 && v < SIGNALS ? (int)v : 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (signo = 1; signo < SIGNALS; signo++) {
		abbrev = sigabbrev_np(signo);
		if (abbrev != NULL && strcasecmp(abbrev, text) == 0)
			return signo;
	}
	return 0;
}

static void
set_up(void)
{
	const char *text = nur_getenv("NURSERY_DUMP_SIGNAL");
	int signo;

	nur_signals_release = release_all;
	if (text == NULL)
		return;
	signo = parse_signal(text);
	if (signo == 0)
		nur_bad_env("NURSERY_DUMP_SIGNAL", text,
		    "a signal's name or number");
	nur_lock(&signals_lock);
	if (signo != 0 && need_relay_locked() == 0 &&
	    take_signal_locked(signo, NULL, NURSERY_DRAIN) == 0)
		dump_signo = signo;
	nur_unlock(&signals_lock);
}

/* Before main, and before any thread: scope/ calls it at the first open. */
__attribute__((constructor)) static void
register_set_up(void)
{
	nur_daemon_init = set_up;
}
