/* SPDX-License-Identifier: MIT */
/*
 * What the library knows of one thread: how to wake it, where it waits,
 * which task it runs.
 *
 * H1  A record lives in a slab: it may be woken late, by one who read the
 *     pointer before the thread ended (last-touch rule).
 * H2  `park` has one sleeper, the record's thread.
 */
#ifndef NUR_BASE_THR_H
#define NUR_BASE_THR_H

#include "base/list.h"
#include "base/lock.h"

#include <sys/types.h>

/* Where a thread waits; the names are in base/thr.c. */
enum nur_op {
	NUR_OP_NONE, NUR_OP_TOKEN_WAIT, NUR_OP_SLEEP, NUR_OP_POLL,
	NUR_OP_READ, NUR_OP_WRITE, NUR_OP_RECV, NUR_OP_SEND,
	NUR_OP_SENDFILE, NUR_OP_ACCEPT, NUR_OP_CONNECT, NUR_OP_RUN,
	NUR_OP_SPAWN, NUR_OP_WAIT, NUR_OP_CLOSE, NUR_OP_BLOCKING,
	NUR_OP_CALLBACK, NUR_OP_COUNT
};
extern const char *const nur_op_names[NUR_OP_COUNT];

struct nursery_task;

struct nur_thr {
	/* atomic */
	uint32_t park, unused;	/* 0 empty, 1 a wake-up waits to be taken */
	uint32_t op;		/* enum nur_op; with op_fd, for the dump */
	int op_fd;
	/* constant while the thread lives */
	int tid;
	uint64_t system_thread;	/* pthread_t, for tgkill's library twin */
	/* the thread's own */
	int wake_fd;		/* eventfd, -1 until first needed */
	struct nursery_task *task;	/* that runs here */
	struct nur_link opened;	/* nurseries open in this thread, newest last */
	/* under the lock of thr.c */
	struct nur_link all;
	/* the pool's: sched/pool.c */
	struct nur_link idle;
	struct nursery_task *handed;
	size_t stack_size;
	char name[16];
};

/* The calling thread's record, made on first use; NULL without memory. */
struct nur_thr *nur_thr_self(void);

/* A record for a thread that is about to start, so that it cannot lack one;
 * NULL without memory. */
struct nur_thr *nur_thr_new(void);
void nur_thr_free(struct nur_thr *thr);
/* In that thread, first: false if the system will not tell of its end, and
 * the thread must call nur_thr_ends() itself. */
bool nur_thr_become(struct nur_thr *thr);
void nur_thr_ends(void *thr);

/* The calling thread's record, but only if there is one already. */
static inline struct nur_thr *
nur_thr_peek(void)
{
	return nur_tls_get();
}

/* Sleeps until a wake-up is there, and takes it: 0, or ETIMEDOUT. */
int nur_park(struct nur_thr *self, int64_t deadline);
/* Lets the thread's current or next nur_park() return. */
void nur_unpark(struct nur_thr *thr);

/* The thread's eventfd, made on first use; -1 without a descriptor. */
int nur_thr_wake_fd(struct nur_thr *self);

/* What runs when a thread that opened nurseries ends; set by scope/. */
extern void (*nur_thr_exit_hook)(struct nur_thr *self);

/* Marks where the thread waits; returns what was marked before. */
uint32_t nur_op_enter(struct nur_thr *self, enum nur_op op, int fd);
void nur_op_leave(struct nur_thr *self, uint32_t before);

void nur_thr_after_fork(void);
uint64_t nur_thr_live(void);

#endif
