/* SPDX-License-Identifier: MIT */
/*
 * What each floor does around a fork.
 *
 * Before it the locks are taken, outermost first, so that the child finds
 * every structure whole; in the child what was there is inert: the slabs
 * start afresh, and old objects are known by their chunk's generation (S3).
 */
#ifndef NUR_BASE_FORK_H
#define NUR_BASE_FORK_H

enum nur_fork_floor {
	NUR_FORK_DAEMON, NUR_FORK_IO, NUR_FORK_SCOPE, NUR_FORK_TOKEN,
	NUR_FORK_FLOORS
};

struct nur_fork_hooks {
	void (*before)(void);
	void (*in_parent)(void);
	void (*in_child)(void);	/* the locks are held, as in the parent */
};

/* From constructors, before there are threads. */
void nur_fork_hook(enum nur_fork_floor floor,
    const struct nur_fork_hooks *hooks);

#endif
