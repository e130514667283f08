/* SPDX-License-Identifier: MIT */
/* One-time set-up: joins the floors and registers the fork handlers. */
#ifndef NUR_SCOPE_INIT_H
#define NUR_SCOPE_INIT_H

/* 0 or ENOMEM.  Cheap when done. */
int nur_init(void);

/* Set by daemon/: reads the environment, starts nothing. */
extern void (*nur_daemon_init)(void);

#endif
