/* SPDX-License-Identifier: MIT */
/*
 * The zoo: small programs, most of them broken in a known way, that show
 * what the machine finds.  Each broken one has a corrected twin, which must
 * pass, so that the machine invents nothing.
 */
#ifndef MODEL_ZOO_H
#define MODEL_ZOO_H

#include "model.h"

/* So that an animal shares the program with library headers or none. */
#include "model_sync.h"

struct animal {
	const char *name;
	void (*body)(void);
	const char *expected;	/* part of the failure; NULL: it passes */
	struct model_config config;	/* preemptions: 0 means 2 here */
	const char *reaches[4];	/* covers that must occur */
};

extern const struct animal zoo_sleep[], zoo_order[], zoo_life[], zoo_limit[];

#endif
