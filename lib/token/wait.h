/* SPDX-License-Identifier: MIT */
/* Parking until a token reaches a level. */
#ifndef NUR_TOKEN_WAIT_H
#define NUR_TOKEN_WAIT_H

#include "base/thr.h"
#include "token/token.h"

/* Sleeps until t (may be NULL) reaches `level`: 0; or until the deadline:
 * ETIMEDOUT; or ENOMEM. `op` is what the dump shows. */
int nur_token_wait(struct nursery_token *t, enum nursery_level level,
    int64_t deadline, enum nur_op op);

#endif
