/* SPDX-License-Identifier: MIT */
/*
 * Switching stacks.
 *
 * A run that is given up leaves its threads where they stand.  Their stacks
 * are used again: the loop at the bottom of each is still there to jump to,
 * so that only the first use of a stack costs a system call.
 */
#include "config.h"

#include "engine.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define GUARD	((size_t)4096)

static void
bottom(void)
{
	/* The current thread is read anew after each jump to here. */
	(void)_setjmp(eng->current->co.top);
	eng_thread_main();
}

void
eng_coroutine_init(struct coroutine *co, char *stack)
{
	co->stack = stack;
	co->fresh = true;
	/* What overflows hits the lowest page, not the neighbour. */
	(void)mprotect(stack, GUARD, PROT_NONE);
}

static void
resume(struct coroutine *co)
{
	ucontext_t first;

	if (!co->fresh)
		_longjmp(co->here, 1);
	co->fresh = false;
	if (co->made)
		_longjmp(co->top, 1);
	co->made = true;
	if (getcontext(&first) != 0)
		abort();
	first.uc_stack.ss_sp = co->stack + GUARD;
	first.uc_stack.ss_size = MODEL_STACK - GUARD;
	first.uc_link = NULL;
	makecontext(&first, bottom, 0);
	(void)setcontext(&first);
	abort();
}

void
eng_switch(struct model_thread *to)
{
	struct model_thread *from = eng->current;

	if (to == from)
		return;
	eng->current = to;
	/* A finished thread is never resumed; saving it costs nothing. */
	if (_setjmp(from->co.here) == 0)
		resume(&to->co);
}

void
eng_enter(struct model_thread *first)
{
	eng->current = first;
	resume(&first->co);
	abort();
}
