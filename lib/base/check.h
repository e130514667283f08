/* SPDX-License-Identifier: MIT */
/* Broken invariants and misuse: one line on standard error, then abort. */
#ifndef NUR_BASE_CHECK_H
#define NUR_BASE_CHECK_H

void nur_panic(const char *what, const char *file, int line)
    __attribute__((noreturn));

#define NUR_ASSERT(e) \
	((e) ? (void)0 : nur_panic("broken invariant: " #e, __FILE__, __LINE__))
#define NUR_MISUSE(what)	nur_panic("misuse: " what, __FILE__, __LINE__)

#ifdef NUR_CHECKS
#define NUR_CHECK(e)	NUR_ASSERT(e)
#else
#define NUR_CHECK(e)	((void)sizeof(!(e)))
#endif

#endif
