/* SPDX-License-Identifier: MIT */
/*
 * A clock that the test owns: it stands still while anybody works, and when
 * every thread of the process is asleep it jumps to the next time that one
 * of them waits for.  So a wait of an hour takes no time and ends exactly
 * when it should, and who spins sees no time pass.
 *
 * A program that links clock.c has the library's time from it.  What does
 * not come from the library keeps the system's time: gates, alarm.
 */
#ifndef CLOCK_H
#define CLOCK_H

/* First in a test, before any thread of the library runs. */
void clock_take(void);
/* Last in a test: the time is the system's again. */
void clock_give_back(void);

#endif
