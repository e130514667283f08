/* SPDX-License-Identifier: MIT */
/* Foreign blocking calls, announced.  On the blocking lane every task has
 * its own thread, so there is no place to give away: the dump shows it. */
#include "config.h"

#include "base/thr.h"
#include "nursery/io.h"

void
nursery_blocking_begin(void)
{
	struct nur_thr *self = nur_thr_peek();

	if (self != NULL && self->blocking++ == 0)
		(void)nur_op_enter(self, NUR_OP_BLOCKING, -1);
}

void
nursery_blocking_end(void)
{
	struct nur_thr *self = nur_thr_peek();

	if (self != NULL && self->blocking > 0 && --self->blocking == 0)
		nur_op_leave(self, NUR_OP_NONE);
}
