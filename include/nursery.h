/* SPDX-License-Identifier: MIT */
/*
 * libnursery: structured concurrency for threads, nursery(7).
 *
 * A nursery holds tasks; closing it waits for all of them.  A token tells
 * them to stop, and every blocking call of the library listens to one.  The
 * conventions (return values, time, attribute structs, what each error
 * number means) are in nursery(7), the details in one page per family.
 */
#ifndef NURSERY_H
#define NURSERY_H

#include <nursery/daemon.h>
#include <nursery/debug.h>
#include <nursery/io.h>
#include <nursery/scope.h>
#include <nursery/time.h>
#include <nursery/token.h>

#endif
