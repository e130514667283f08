/* SPDX-License-Identifier: MIT */
/* The one signal the library owns, and the mask of its threads. */
#ifndef NUR_BASE_SIGNO_H
#define NUR_BASE_SIGNO_H

#include <signal.h>

/* SIGRTMIN+5, or NURSERY_SIGNAL_NUMBER from the environment. */
int nur_interrupt_signo(void);

/* What the library's own threads block: all asynchronous signals; faults stay
 * deliverable. */
void nur_signals_for_threads(sigset_t *set);
/* The same without ours: what they block in a wait that it may break. */
void nur_signals_while_polling(sigset_t *set);

/* Installs our empty handler, without SA_RESTART, once.  0, or EBUSY when
 * the program has a handler of its own for that signal. */
int nur_interrupt_install(void);

#endif
