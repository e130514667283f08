/* SPDX-License-Identifier: MIT */
/* Tells AddressSanitizer, valgrind and the model which slots are free, and
 * LeakSanitizer where slots are. */
#ifndef NUR_BASE_POISON_H
#define NUR_BASE_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * nur_kept and nur_kept_no_more speak of slots in a thread's magazine, which
 * only the model sees: the others are given none to see.
 */
#ifdef NUR_MODEL
#define nur_poison(p, n)	model_poison((p), (n))
#define nur_unpoison(p, n)	model_unpoison((p), (n))
#define nur_announce_alloc(p, n)	model_object_made((p), (n))
#define nur_announce_free(p)	model_object_freed(p)
#define nur_kept(p, n)	(model_object_freed(p), model_poison((p), (n)))
#define nur_kept_no_more(p, n) \
	(model_unpoison((p), (n)), model_object_made((p), (n)))
#else

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define NUR_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define NUR_ASAN 1
#endif

#ifdef NUR_ASAN
#include <sanitizer/asan_interface.h>
#define nur_poison(p, n)	__asan_poison_memory_region((p), (n))
#define nur_unpoison(p, n)	__asan_unpoison_memory_region((p), (n))
#else
#define nur_poison(p, n)	((void)(p), (void)(n))
#define nur_unpoison(p, n)	((void)(p), (void)(n))
#endif

/*
 * Under valgrind a slot is a heap block: a leaked one is reported as lost,
 * a freed one may not be touched.  The requests cost a few instructions
 * where valgrind does not run.
 */
#if defined HAVE_VALGRIND_MEMCHECK_H && !defined NUR_ASAN
#include <valgrind/memcheck.h>
#define nur_announce_alloc(p, n) \
	VALGRIND_MALLOCLIKE_BLOCK((p), (n), 0, 0)
#define nur_announce_free(p)	VALGRIND_FREELIKE_BLOCK((p), 0)
#undef nur_unpoison
#define nur_unpoison(p, n)	VALGRIND_MAKE_MEM_DEFINED((p), (n))
#undef nur_poison
#define nur_poison(p, n)	VALGRIND_MAKE_MEM_NOACCESS((p), (n))
#else
#define nur_announce_alloc(p, n)	((void)(p), (void)(n))
#define nur_announce_free(p)	((void)(p))
#endif

#define nur_kept(p, n)		((void)(p), (void)(n))
#define nur_kept_no_more(p, n)	((void)(p), (void)(n))

#endif /* NUR_MODEL */

/*
 * LeakSanitizer follows pointers out of the heap, the stacks and the global
 * variables, not out of mappings it was not told of: what only an object in
 * a slot points to would be lost to it.  A free slot is wiped, lest it hides
 * a leak.  Weak: a program may be checked where the library is not.
 */
#ifdef NUR_ASAN
#define nur_wipe(p, n)		memset((p), 0, (n))
#else
#define nur_wipe(p, n)		((void)(p), (void)(n))
#endif

#ifdef NUR_MODEL
#define nur_show_slots(p, n)	((void)(p), (void)(n))
#else
extern void __lsan_register_root_region(const void *p, size_t n)
    __attribute__((weak));

static inline void
nur_show_slots(const void *p, size_t n)
{
	if (__lsan_register_root_region != NULL)
		__lsan_register_root_region(p, n);
}
#endif

/* Whether one of the first two looks on. */
static inline bool
nur_memory_is_watched(void)
{
#if defined NUR_ASAN
	return true;
#elif defined HAVE_VALGRIND_MEMCHECK_H && !defined NUR_MODEL
	return RUNNING_ON_VALGRIND != 0;
#else
	return false;
#endif
}

#endif
