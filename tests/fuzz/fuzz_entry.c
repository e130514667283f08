/* SPDX-License-Identifier: MIT */
/* The same for libFuzzer, or another that gives bytes: it brings main(). */
#include "config.h"

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct model_result r;
	size_t i;

	if (fuzz_run(bytes, size, &r))
		return 0;
	printf("violation: %s\n    replay: fuzz_api -p -x ", r.failure);
	for (i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
	fuzz_show(bytes, size, false);
	(void)fflush(stdout);
	abort();
}
