/* SPDX-License-Identifier: MIT */
/* Foreign blocking calls, announced: the dump shows them, and on the compute
 * lane another task has the place meanwhile. */
#include "config.h"

#include "base/thr.h"
#include "nursery/io.h"

void
nursery_blocking_begin(void)
{
	struct nur_thr *self = nur_thr_peek();

	if (self == NULL || self->blocking++ != 0)
		return;
	(void)nur_op_enter(self, NUR_OP_BLOCKING, -1);
	self->blocking_paused = nur_thr_pause(self);
}

void
nursery_blocking_end(void)
{
	struct nur_thr *self = nur_thr_peek();

	if (self == NULL || self->blocking == 0 || --self->blocking != 0)
		return;
	nur_thr_resume(self, self->blocking_paused);
	nur_op_leave(self, NUR_OP_NONE);
}
