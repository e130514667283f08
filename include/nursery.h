/* SPDX-License-Identifier: MIT */
/* Structured concurrency for threads: nursery(7). */
#ifndef NURSERY_H
#define NURSERY_H

#include <nursery/daemon.h>
#include <nursery/debug.h>
#include <nursery/io.h>
#include <nursery/scope.h>
#include <nursery/time.h>
#include <nursery/token.h>

#endif
