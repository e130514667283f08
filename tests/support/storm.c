/* SPDX-License-Identifier: MIT */
/*
 * A storm of signals, where NUR_STORM is set: every 100 us some threads that
 * the library knows get one that breaks their system calls (no SA_RESTART).
 * Threads of the library block all but the library's own: they get that one,
 * as if it came late from an earlier wait.
 */
#include "config.h"

#include "storm.h"

#include "base/signo.h"
#include "base/thr.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAUSE	100000	/* ns */

static pthread_t storm;
static bool blows;
static uint32_t ends;		/* atomic */
static struct rng rng;

static void
strike(int signo)
{
	(void)signo;
}

/* The library installs its handler when it first needs it; until then the
 * signal would end the process. */
static bool
is_handled(int signo)
{
	struct sigaction now;

	return sigaction(signo, NULL, &now) == 0 && now.sa_handler !=
	    SIG_DFL && now.sa_handler != SIG_IGN;
}

static void
strike_thread(const struct nur_thr *thr, void *unused)
{
	int signo = SIGURG;

	(void)unused;
	if (rng_below(&rng, 3) != 0)
		return;
	if (nur_thr_is_worker(thr)) {
		signo = nur_interrupt_signo();
		if (!is_handled(signo))
			return;
	}
	/* It lives as long as it is in the list. */
	(void)syscall(SYS_tgkill, getpid(), thr->tid, signo);
}

static void *
blow(void *unused)
{
	const struct timespec pause = { 0, PAUSE };

	(void)unused;
	while (__atomic_load_n(&ends, __ATOMIC_SEQ_CST) == 0) {
		nur_thr_each(strike_thread, NULL);
		(void)nanosleep(&pause, NULL);
	}
	return NULL;
}

void
storm_begin(void)
{
	struct sigaction sa = { .sa_handler = strike };
	sigset_t all, old;

	if (getenv("NUR_STORM") == NULL)
		return;
	rng_init(&rng, 77);
	(void)sigemptyset(&sa.sa_mask);
	ck_assert_int_eq(sigaction(SIGURG, &sa, NULL), 0);
	__atomic_store_n(&ends, 0, __ATOMIC_SEQ_CST);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	storm = start_thread(blow, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	blows = true;
}

void
storm_end(void)
{
	if (!blows)
		return;
	blows = false;
	__atomic_store_n(&ends, 1, __ATOMIC_SEQ_CST);
	(void)end_thread(storm);
}

bool
storm_blows(void)
{
	return blows;
}
