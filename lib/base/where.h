/* SPDX-License-Identifier: MIT */
/* Where the kernel has a thread, in words. */
#ifndef NUR_BASE_WHERE_H
#define NUR_BASE_WHERE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes what the thread `tid` of this process does just now, as "system call
 * read(fd 7)", "running" or "in do_wait", at most `size` bytes; nothing, if
 * the system does not tell.  Never waits, and no pthread_cancel acts in it.
 */
void nur_where(int tid, char *to, size_t size);

/* Whether a thread of this process sleeps in the kernel, or waits there. */
bool nur_sleeps(int tid);

#endif
