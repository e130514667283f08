/* SPDX-License-Identifier: MIT */
/* Signals that the library takes: those that stop a nursery, and one for each
 * who gives a function. */
#ifndef NUR_DAEMON_SIGNALS_H
#define NUR_DAEMON_SIGNALS_H

/* Calls fn on the relay thread whenever the signal comes.  0; EBUSY: taken;
 * EINVAL, EAGAIN, EMFILE.  One that is ignored stays ignored. */
int nur_signals_call(int signo, void (*fn)(int signo, void *arg));

#endif
