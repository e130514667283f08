/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "nursery/time.h"

#include "base/sys.h"

int64_t
nursery_now(void)
{
	return nur_now();
}

int64_t
nursery_after(int64_t ns)
{
	int64_t now = nur_now(), at;

	if (__builtin_add_overflow(now, ns, &at))
		return ns > 0 ? NURSERY_NEVER : 0;
	return at < 0 ? 0 : at;
}

const char *
nursery_version(void)
{
	return PACKAGE_VERSION;
}
