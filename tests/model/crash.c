/* SPDX-License-Identifier: MIT */
/*
 * A run that crashes is a run that fails: the processor's exception ends it,
 * and the next one begins with everything as new.  The handler has a stack of
 * its own, since the thread's may be what overflowed.
 */
#include "config.h"

#include "engine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char *
what(int signo)
{
	switch (signo) {
	case SIGSEGV:
	case SIGBUS:
		return "access to no memory";
	case SIGFPE:
		return "arithmetic exception";
	default:
		return "wild jump";
	}
}

static void
crashed(int signo, siginfo_t *info, void *unused)
{
	int id;

	(void)unused;
	if (eng->current == NULL) {
		/* Our own: nothing to go back to. */
		(void)signal(signo, SIG_DFL);
		return;
	}
	id = eng->current->id;
	model_fail("crash: %s at %s by thread %d", what(signo),
	    info->si_addr < (void *)4096 ? "NULL" : "some address", id);
}

void
eng_crash_init(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction sa = { .sa_sigaction = crashed,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t stack = { .ss_size = (size_t)64 * 1024 };
	size_t i;

	stack.ss_sp = malloc(stack.ss_size);
	if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0) {
		fprintf(stderr, "model: no signal stack\n");
		exit(2);
	}
	(void)sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof signals / sizeof signals[0]; i++)
		(void)sigaction(signals[i], &sa, NULL);
}
