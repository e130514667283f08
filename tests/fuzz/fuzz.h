/* SPDX-License-Identifier: MIT */
/*
 * One sequence of calls: a program of bytes, run on the machine of tests/model
 * and compared with the reference.
 *
 *	program.c	bytes and programs
 *	act.c		calls, as a thread or a task makes them
 *	tasks.c		nurseries and tasks
 *	run.c		a run: threads, their end, what must hold then
 *	reference.c, ref_scope.c, ref_channel.c
 *			the reference
 *	fuzz_api.c	the programs that use it
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "engine.h"
#include "program.h"
#include "reference.h"

#include <nursery.h>

/* ---- for the programs ---- */

/* Runs the bytes; true if all was as it should be. */
bool fuzz_run(const uint8_t *bytes, size_t size, struct model_result *result);
/* The same once more, with each call printed, or each step of the machine. */
void fuzz_show(const uint8_t *bytes, size_t size, bool steps);
/* How often each call was made, since the beginning; it outlives the runs. */
extern long *fuzz_made;

/* ---- for the runs ---- */

#define HELD	6
#define OPENED	3
#define HOOKS	2
#define HANDLES	3
#define SHARED	3
#define JOBS	10

struct held {
	struct nursery_token *t;
	int id, pins;		/* pins: callbacks use it */
};

struct hook {
	struct nursery_callback cb;
	int id;			/* REF_NONE: free */
	struct held *token, *other;
	unsigned what;
	uint64_t mark;
};

struct opened {
	struct nursery *n;
	int id;
};

struct job;
struct handle {
	struct nursery_task *t;
	struct job *job;
};

/* A thread, or a task as it runs. */
struct actor {
	char name[16];
	int task;		/* REF_NONE: a thread */
	struct nursery_token *token;	/* a task's */
	int token_id;
	struct opened in;	/* its nursery, n NULL: none */
	int helds, opens, handles;
	struct held held[HELD];
	struct opened open[OPENED];	/* the newest last */
	struct handle handle[HANDLES];
	struct hook hook[HOOKS];
	int result;
	bool returned;
};

/* A nursery that all know, with references that last. */
struct shared {
	struct nursery *n;	/* atomic; NULL: none yet */
	int id;
	struct nursery_token *t;
};

struct pick {
	struct nursery_token *t;	/* NULL: none */
	int id;
};

/* act.c */
void actor_init(struct actor *a, int task);
void actor_run(struct actor *a, const struct call_at *calls, int count);
/* Gives all back. */
void actor_end(struct actor *a);
struct pick pick_token(struct actor *a, unsigned arg);
void say(const struct actor *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int next_code(void);
/* Deadlines; no time is to pass but until them. */
#define SHORT	(2 * NURSERY_MS)
#define LONG	(500 * NURSERY_MS)
int64_t in_time(int64_t ns);
void check_time(void);
/* What one does before, and another has to see after. */
void mark_write(const uint64_t *mark);
void mark_read(const uint64_t *mark);
/* The raise numbered so is about to be made, and has been read of. */
void raise_mark(int raise);
void raise_seen(int raise);
void read_token(struct actor *a, struct pick t);
void look_around(struct actor *a);
void hold(struct actor *a, struct nursery_token *t, int id);

/* tasks.c */
bool act_open(struct actor *a, enum call how, unsigned arg);
bool act_nursery(struct actor *a, enum call what, unsigned arg);
bool act_spawn(struct actor *a, enum call how, unsigned arg);
bool act_task(struct actor *a, enum call what, unsigned arg);
void close_newest(struct actor *a, bool report);
void drop_handles(struct actor *a);

/* run.c */
extern struct program program;
extern struct shared shared[SHARED];
extern struct nursery_channel *channel;
extern bool fuzz_prints;
/* There may be no more of something. */
bool is_full(void);

#endif
