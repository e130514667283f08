/* SPDX-License-Identifier: MIT */
/* A tree of stop levels: a token only rises, and raises its descendants. */
#ifndef NURSERY_TOKEN_H
#define NURSERY_TOKEN_H

#include <nursery/time.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum nursery_level {
	NURSERY_LIVE = 0,
	NURSERY_DRAIN = 1,	/* finish what you have, take nothing new */
	NURSERY_CANCEL = 2,	/* stop */
	NURSERY_ABORT = 3	/* stop now: pierces shields */
};
#define NURSERY_SIGNAL(signo)	(0x10000 | (signo))	/* code: a signal */
#define NURSERY_EXIT(status)	(0x20000 | (status))	/* code: a process's non-zero exit status */
struct nursery_token;
struct nursery_cause {
	size_t size;
	int code;			/* ECANCELED plain, ETIMEDOUT deadline, a task's error, NURSERY_SIGNAL(n), yours */
	int level;
	const char *why;		/* static text, or NULL */
	uint64_t by_task;		/* id of the task that did it, 0: none of ours */
	pid_t by_pid;			/* sender of the signal, or 0 */
	int64_t when;
};
#define NURSERY_CAUSE_INIT	{ sizeof(struct nursery_cause), 0, 0, 0, 0, 0, 0 }
struct nursery_callback { union { void *p[8]; uint64_t align; } opaque; };	/* all zero: not registered */

int nursery_token_new(struct nursery_token **out, struct nursery_token *parent);
int nursery_token_new_any(struct nursery_token **out, struct nursery_token *const *parents, size_t n);
int nursery_token_new_at(struct nursery_token **out, struct nursery_token *parent, enum nursery_level level);
int nursery_token_new_shielded(struct nursery_token **out, struct nursery_token *parent, int64_t until);
struct nursery_token *nursery_token_ref(struct nursery_token *t);
void nursery_token_unref(struct nursery_token *t);

/* The poll: one acquire load of the level word.  A model build replaces it. */
#ifndef NURSERY_LOAD_LEVEL_
#define NURSERY_LOAD_LEVEL_(t) \
	__atomic_load_n((const uint32_t *)(const void *)(t), __ATOMIC_ACQUIRE)
#endif

static inline enum nursery_level
nursery_token_level(const struct nursery_token *t)
{
	return (enum nursery_level)(t == NULL ? 0u :
	    NURSERY_LOAD_LEVEL_(t) & 3u);
}

static inline bool
nursery_token_is_cancelled(const struct nursery_token *t)
{
	return t != NULL && (NURSERY_LOAD_LEVEL_(t) & 2u) != 0;
}

bool nursery_token_cancel(struct nursery_token *t);
bool nursery_token_cancel_with(struct nursery_token *t, int code, const char *why);
bool nursery_token_raise(struct nursery_token *t, enum nursery_level level, int code, const char *why);
int nursery_signal_arm(void);						/* before installing a handler that uses the next */
void nursery_token_cancel_from_signal(struct nursery_token *t);		/* async-signal-safe */
int nursery_token_cause(const struct nursery_token *t, enum nursery_level level, struct nursery_cause *out);
int nursery_token_wait(struct nursery_token *t, int64_t deadline);
int nursery_token_wait_level(struct nursery_token *t, enum nursery_level level, int64_t deadline);
int nursery_token_fd(struct nursery_token *t, int *out_fd);
int nursery_token_level_fd(struct nursery_token *t, enum nursery_level level, int *out_fd);
int nursery_token_set_deadline(struct nursery_token *t, int64_t deadline);
int64_t nursery_token_deadline(const struct nursery_token *t);
int nursery_token_on_cancel(struct nursery_token *t, struct nursery_callback *cb, void (*fn)(void *), void *arg);
int nursery_token_on_level(struct nursery_token *t, enum nursery_level level, struct nursery_callback *cb,
    void (*fn)(void *), void *arg);
void nursery_callback_remove(struct nursery_callback *cb);
int nursery_callback_try_remove(struct nursery_callback *cb);
int nursery_token_run(struct nursery_token *t, int (*fn)(void *), void *arg, int *out_result);
int nursery_interrupt_signal(void);

void nursery_token_drop(struct nursery_token **t);			/* unref, set to NULL */
void nursery_guard_drop(struct nursery_token **t);			/* cancel, unref, set to NULL */
struct nursery_token *nursery_token_take(struct nursery_token **t);	/* hands the reference over: disarms a guard */
#define nursery_token_auto	__attribute__((cleanup(nursery_token_drop)))
#define nursery_guard_auto	__attribute__((cleanup(nursery_guard_drop)))

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
