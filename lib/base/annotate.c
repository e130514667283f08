/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/annotate.h"

#ifdef NUR_ANNOTATE
#include "base/sync.h"

#include <valgrind/helgrind.h>

#include <valgrind/drd.h>

/* Each tool knows its own requests and ignores the other's. */
#define ASK_DRD(what, p, n) \
	VALGRIND_DO_CLIENT_REQUEST_STMT(VG_USERREQ__DRD_##what, (p), (n), 0, \
	    0, 0)

void
nur_hb_before(const void *p)
{
	DO_CREQ_v_W(_VG_USERREQ__HG_USERSO_SEND_PRE, unsigned long,
	    (unsigned long)p);
	ASK_DRD(ANNOTATE_HAPPENS_BEFORE, p, 0);
}

void
nur_hb_after(const void *p)
{
	DO_CREQ_v_W(_VG_USERREQ__HG_USERSO_RECV_POST, unsigned long,
	    (unsigned long)p);
	ASK_DRD(ANNOTATE_HAPPENS_AFTER, p, 0);
}

void
nur_hb_atomic(const void *p, size_t n)
{
	VALGRIND_HG_DISABLE_CHECKING(p, n);
	ASK_DRD(START_SUPPRESSION, p, n);
}

uint32_t
nur_hb_load(const void *p)
{
	return nur_load_acquire((const uint32_t *)p);
}
#endif
