/* SPDX-License-Identifier: MIT */
/* What the soak counts with: sequentially consistent, and shown to helgrind
 * and DRD where the library's own operations are, in lib/base/annotate.h. */
#ifndef SOAK_ATOM_H
#define SOAK_ATOM_H

#include "base/annotate.h"

#include <stdint.h>

static inline uint32_t
atom_get(const uint32_t *p)
{
	uint32_t v;

	nur_hb_atomic(p, sizeof *p);
	v = __atomic_load_n(p, __ATOMIC_SEQ_CST);
	nur_hb_after(p);
	return v;
}

static inline void
atom_set(uint32_t *p, uint32_t v)
{
	nur_hb_atomic(p, sizeof *p);
	nur_hb_before(p);
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

/* The value before. */
static inline uint32_t
atom_add(uint32_t *p, uint32_t v)
{
	nur_hb_atomic(p, sizeof *p);
	nur_hb_before(p);
	v = __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
	nur_hb_after(p);
	return v;
}

static inline uint32_t
atom_swap(uint32_t *p, uint32_t v)
{
	nur_hb_atomic(p, sizeof *p);
	nur_hb_before(p);
	v = __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
	nur_hb_after(p);
	return v;
}

#endif
