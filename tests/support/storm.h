/* SPDX-License-Identifier: MIT */
/* Signals to all and sundry while a test runs, if NUR_STORM is set. */
#ifndef STORM_H
#define STORM_H

#include <stdbool.h>

#include "support.h"

void storm_begin(void);
void storm_end(void);
/* Whether one blows: then threads do wake up for nothing. */
bool storm_blows(void);

#endif
