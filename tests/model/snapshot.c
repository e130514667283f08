/* SPDX-License-Identifier: MIT */
/*
 * The program's static data, as it was when the exploration began: the
 * library's locks, lists and counters, and the static variables of the body.
 * The machine's own state lies elsewhere and is reached through one static
 * pointer that does not change.
 */
#include "config.h"

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

/* The linker's: from the first initialised byte to the last zeroed one; and
 * the counters of a fuzzer in between, if there are any, which go on. */
extern char __data_start[], _end[];
extern char __start___sancov_cntrs[] __attribute__((weak));
extern char __stop___sancov_cntrs[] __attribute__((weak));

void
eng_snapshot_init(void)
{
	eng->static_start = __data_start;
	eng->static_size = (size_t)(_end - __data_start);
	eng->static_copy = malloc(eng->static_size);
	eng->counters = eng->static_start;
	if (__start___sancov_cntrs != NULL) {
		eng->counters = __start___sancov_cntrs;
		eng->counters_size = (size_t)(__stop___sancov_cntrs -
		    __start___sancov_cntrs);
	}
	if (eng->static_copy == NULL) {
		fprintf(stderr, "model: no memory\n");
		exit(2);
	}
}

void
eng_snapshot_take(void)
{
	memcpy(eng->static_copy, eng->static_start, eng->static_size);
}

void
eng_snapshot_restore(void)
{
	size_t before = (size_t)(eng->counters - eng->static_start);
	size_t rest = before + eng->counters_size;

	memcpy(eng->static_start, eng->static_copy, before);
	memcpy(eng->static_start + rest, eng->static_copy + rest,
	    eng->static_size - rest);
}
