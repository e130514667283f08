/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/signo.h"

#include "base/sync.h"
#include "base/sys.h"

#include <stdlib.h>

static uint32_t chosen;		/* 0: not yet looked up */
static uint32_t installed;

static uint32_t
choose(void)
{
	const char *text = nur_getenv("NURSERY_SIGNAL_NUMBER");
	char *end;
	long v;

	if (text == NULL)
		return (uint32_t)SIGRTMIN + 5;
	v = strtol(text, &end, 10);
	if (*text != '\0' && *end == '\0' && v > 0 && v <= SIGRTMAX &&
	    v != SIGKILL && v != SIGSTOP)
		return (uint32_t)v;
	nur_bad_env("NURSERY_SIGNAL_NUMBER", text, "a signal's number");
	return (uint32_t)SIGRTMIN + 5;
}

int
nur_interrupt_signo(void)
{
	/* Relaxed: every thread computes the same value. */
	uint32_t n = nur_load_relaxed(&chosen);

	if (n == 0) {
		n = choose();
		nur_store_relaxed(&chosen, n);
	}
	return (int)n;
}

void
nur_signals_while_polling(sigset_t *set)
{
	nur_signals_for_threads(set);
	(void)sigdelset(set, nur_interrupt_signo());
}

void
nur_signals_for_threads(sigset_t *set)
{
	static const int keep[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
		SIGSYS, SIGABRT };
	size_t i;

	(void)sigfillset(set);
	for (i = 0; i < sizeof keep / sizeof keep[0]; i++)
		(void)sigdelset(set, keep[i]);
}

/* Its whole purpose is to make a system call return EINTR. */
static void
interrupted(int signo)
{
	(void)signo;
}

int
nur_interrupt_install(void)
{
	struct sigaction sa = { .sa_handler = interrupted }, old;
	int signo = nur_interrupt_signo();

	if (nur_load_acquire(&installed) != 0)
		return 0;
	if (sigaction(signo, NULL, &old) != 0)
		return EINVAL;
	if ((old.sa_flags & SA_SIGINFO) != 0 || (old.sa_handler != SIG_DFL &&
	    old.sa_handler != interrupted))
		return EBUSY;
	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(signo, &sa, NULL);
	/* Release: pairs with the acquire above; who sees 1 has a handler. */
	nur_store_release(&installed, 1);
	return 0;
}
