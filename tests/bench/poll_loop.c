/* SPDX-License-Identifier: MIT */
/*
 * A loop that polls, for poll-object to look at.  The planted forms are
 * there to show that it would notice.
 */
#include <stdint.h>

#if defined(PLANT_CALL)
uint32_t load_word(const void *t);
#define NURSERY_LOAD_LEVEL_(t)	load_word(t)
#elif defined(PLANT_LOAD)
#define NURSERY_LOAD_LEVEL_(t)						\
	(__atomic_load_n((const uint32_t *)(const void *)(t),		\
	    __ATOMIC_ACQUIRE) |						\
	    __atomic_load_n((const uint32_t *)(const void *)(t) + 1,	\
	    __ATOMIC_ACQUIRE))
#elif defined(PLANT_RMW)
#define NURSERY_LOAD_LEVEL_(t)						\
	__atomic_fetch_or((uint32_t *)(uintptr_t)(t), 4, __ATOMIC_ACQUIRE)
#endif

#include <nursery/token.h>

unsigned long polls_until_cancelled(const struct nursery_token *t);

unsigned long
polls_until_cancelled(const struct nursery_token *t)
{
	unsigned long n = 0;

	while (!nursery_token_is_cancelled(t))
		n++;
	return n;
}
