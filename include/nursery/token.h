/* SPDX-License-Identifier: MIT */
/*
 * Tokens: a tree of stop levels.
 *
 * A token carries one of four levels, and the level only rises.  Raising it
 * raises its descendants too and never its parent.  When any raise of a
 * token has returned, every descendant that existed at the call and stands
 * behind no shield has the level; one that is being made meanwhile is never
 * missed.  A poll is one load and is never held up by a raise.
 *
 * A token is reference-counted and may be used by any number of threads.
 * NULL is a no-op in ref, unref, take and the drops, and polls as
 * NURSERY_LIVE.  None of the calls here is async-signal-safe but the polls
 * and nursery_token_cancel_from_signal.  See nursery_cancellation(7).
 */
#ifndef NURSERY_TOKEN_H
#define NURSERY_TOKEN_H

#include <nursery/time.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- what a token can say ---- */

enum nursery_level {
	NURSERY_LIVE = 0,	/* go on */
	NURSERY_DRAIN = 1,	/* finish what you have, take nothing new */
	NURSERY_CANCEL = 2,	/* stop */
	NURSERY_ABORT = 3	/* stop now: pierces shields */
};

/* Codes of a cause or of a task's result that are no error numbers: a
 * signal's number; a process's exit status other than 0. */
#define NURSERY_SIGNAL(signo)	(0x10000 | (signo))
#define NURSERY_EXIT(status)	(0x20000 | (status))

struct nursery_token;		/* opaque */

/*
 * Why a level was reached, and through whom.  `code` is ECANCELED for a
 * plain cancel, ETIMEDOUT for a deadline, a task's error when its failure
 * did it, NURSERY_SIGNAL(n), or whatever the program gave.
 */
struct nursery_cause {
	size_t size;		/* set by NURSERY_CAUSE_INIT */
	int code;		/* see above */
	int level;		/* that the raise went to */
	const char *why;	/* static text, or NULL */
	uint64_t by_task;	/* id of the task that did it, 0: none */
	pid_t by_pid;		/* sender of the signal, or 0 */
	int64_t when;		/* nursery_now() of the raise */
};
#define NURSERY_CAUSE_INIT	{ sizeof(struct nursery_cause), 0, 0, 0, 0, 0, 0 }

/*
 * Storage of one callback, the caller's own: registering allocates nothing.
 * All zero means not registered.  While registered it must stay where it is.
 */
struct nursery_callback { union { void *p[8]; uint64_t align; } opaque; };

/* ---- making one, keeping it, letting it go ---- */

/*
 * Makes a token below `parent`, or a root when `parent` is NULL.  It is born
 * at the parent's level, and hears each later raise of any ancestor.  The
 * parent may be released first: its descendants go on hearing the ancestors.
 * *out is a reference for nursery_token_unref().  EINVAL: out is NULL.
 * ENOMEM; EOWNERDEAD: the parent was inherited across fork.
 */
int nursery_token_new(struct nursery_token **out,
    struct nursery_token *parent);

/*
 * As nursery_token_new, below several parents: a raise of any of the `n`
 * raises it.  It is born at the highest of their levels; each level has the
 * cause of the parent that was first at it.  The parents may be released.
 * EINVAL: n is 0, or out, parents or one of them is NULL.  ENOMEM.
 */
int nursery_token_new_any(struct nursery_token **out,
    struct nursery_token *const *parents, size_t n);

/*
 * As nursery_token_new, but a raise of the parent to `level` or above
 * cancels it and a lower one leaves it alone: with NURSERY_DRAIN, the token
 * of an acceptor, which is to stop as soon as no new work is taken.
 * EINVAL: no parent, or `level` is not DRAIN, CANCEL or ABORT.
 */
int nursery_token_new_at(struct nursery_token **out,
    struct nursery_token *parent, enum nursery_level level);

/*
 * As nursery_token_new, but it hears nothing from above, deadlines included,
 * until the time `until`; then it takes the parent's level at once.  An
 * ABORT pierces the shield.  Raising the token itself works as ever.  For a
 * clean-up that must be allowed to talk, within a bound.
 * EINVAL: no parent.  EAGAIN: no thread for the timer service.
 */
int nursery_token_new_shielded(struct nursery_token **out,
    struct nursery_token *parent, int64_t until);

/* One more reference to t, which is returned.  Cannot fail.  Any thread that
 * holds a reference or borrows one that outlasts the call. */
struct nursery_token *nursery_token_ref(struct nursery_token *t);

/*
 * Gives a reference back; with the last one the token may not be used any
 * more.  Releasing never cancels.  Allocates nothing, cannot fail.  No
 * callback may be registered when the last reference goes: that is misuse,
 * reported in one line, and the program is aborted.
 */
void nursery_token_unref(struct nursery_token *t);

/* ---- the poll ---- */

/*
 * The first 32 bits of a token are its level word, and bits 0 and 1 of the
 * word are the level; this is part of the ABI, for bindings to other
 * languages.  Who sees a level sees everything the raiser did before.
 * Builds that run the library on a simulated machine replace the load.
 */
#ifndef NURSERY_LOAD_LEVEL_
#define NURSERY_LOAD_LEVEL_(t) \
	__atomic_load_n((const uint32_t *)(const void *)(t), __ATOMIC_ACQUIRE)
#endif

/* The level of t: one acquire load, never held up.  NULL: NURSERY_LIVE. */
static inline enum nursery_level
nursery_token_level(const struct nursery_token *t)
{
	return (enum nursery_level)(t == NULL ? 0u :
	    NURSERY_LOAD_LEVEL_(t) & 3u);
}

/* Whether t is at NURSERY_CANCEL or above: one acquire load, cheap enough
 * for an inner loop.  NULL: false. */
static inline bool
nursery_token_is_cancelled(const struct nursery_token *t)
{
	/* Bit 1 is set in CANCEL and ABORT and in no lower level. */
	return t != NULL && (NURSERY_LOAD_LEVEL_(t) & 2u) != 0;
}

/* ---- raising ---- */

/*
 * Raises t to NURSERY_CANCEL with the cause ECANCELED.  True for the one
 * call that raised t itself, false when t was there already, is NULL or was
 * inherited across fork.  On return, true or false, every descendant that
 * existed at the call shows the level; then the callbacks of the levels
 * reached run on this thread.  Allocates nothing, cannot fail; any thread.
 */
bool nursery_token_cancel(struct nursery_token *t);

/*
 * As nursery_token_cancel, with a cause.  `code` is an error number, a
 * NURSERY_SIGNAL or a number of your own; 0 means ECANCELED.  `why` is NULL
 * or text that is never freed: the pointer is kept.
 */
bool nursery_token_cancel_with(struct nursery_token *t, int code,
    const char *why);

/*
 * As nursery_token_cancel_with, to any level: NURSERY_DRAIN to ask for an
 * orderly end, NURSERY_ABORT to reach behind shields.  Levels that are
 * passed over get the same cause.  False also when `level` is none of these.
 */
bool nursery_token_raise(struct nursery_token *t, enum nursery_level level,
    int code, const char *why);

/*
 * Prepares for nursery_token_cancel_from_signal, which may then need nothing
 * more: call it before a handler that uses that is installed, and again in
 * the child of a fork.  Once is enough, more do no harm.
 * EAGAIN: no thread.
 */
int nursery_signal_arm(void);

/*
 * Cancels t from a signal handler, or anywhere else: level and cause
 * (ECANCELED) of t are set on return; its descendants, waiters, callbacks and
 * descriptors follow from a thread of the library.  Async-signal-safe, and
 * leaves errno alone.  A handle must be held until it returns.  Without
 * nursery_signal_arm it is misuse: one line, and the program is aborted.
 */
void nursery_token_cancel_from_signal(struct nursery_token *t);

/*
 * The code with which t first reached `level`, or 0 when it is below it;
 * NURSERY_LIVE asks about the highest level reached.  Who sees a level sees
 * its cause.  `out`, unless NULL, gets the whole cause and needs its `size`
 * set; it is untouched when 0 is returned.
 */
int nursery_token_cause(const struct nursery_token *t,
    enum nursery_level level, struct nursery_cause *out);

/* ---- waiting, being told ---- */

/*
 * Blocks until t is cancelled: 0, also at once when it already is; ETIMEDOUT
 * at the deadline.  Any number of threads may wait.  EINVAL: t is NULL.
 * ENOMEM: this thread's first call into the library found no memory.
 */
int nursery_token_wait(struct nursery_token *t, int64_t deadline);

/* As nursery_token_wait, until t is at `level` or above.  EINVAL too when
 * `level` is not DRAIN, CANCEL or ABORT. */
int nursery_token_wait_level(struct nursery_token *t,
    enum nursery_level level, int64_t deadline);

/*
 * A descriptor that becomes readable when t is cancelled and stays so, for
 * poll(2), epoll and event loops; readable at once when t is cancelled
 * already.  Made on the first call, the same one ever after.  The token owns
 * it: never read, write or close it, and take it out of the loop before the
 * last handle of t goes, which closes it.
 * EMFILE: no descriptor, nothing is lost, ask again.  ENOMEM; EINVAL: t or
 * out_fd is NULL.
 */
int nursery_token_fd(struct nursery_token *t, int *out_fd);

/* As nursery_token_fd, when t is at `level` or above: another descriptor for
 * each level.  EINVAL too when `level` is not DRAIN, CANCEL or ABORT. */
int nursery_token_level_fd(struct nursery_token *t, enum nursery_level level,
    int *out_fd);

/*
 * Cancels t with the cause ETIMEDOUT at the given time.  May be moved, also
 * to NURSERY_NEVER, until it fired; a time in the past fires soon, from the
 * timer thread.  ECANCELED: t is cancelled already.  ENOMEM; EAGAIN: no
 * thread for the timer service; EINVAL: t is NULL.
 */
int nursery_token_set_deadline(struct nursery_token *t, int64_t deadline);

/* The earliest deadline of t and of the ancestors it hears, NURSERY_NEVER
 * when there is none.  An expired one still counts. */
int64_t nursery_token_deadline(const struct nursery_token *t);

/*
 * Registers fn(arg) to run once when t is cancelled: on the cancelling
 * thread, after all levels are set, with no lock of the library held; now,
 * on this thread, when t is cancelled already.  fn may use any token, its
 * own included, and must not block for long.  `cb` is all zero or removed,
 * and keep it until fn has run or it is removed.
 * EINVAL: an argument is NULL.  EBUSY: cb is registered.
 */
int nursery_token_on_cancel(struct nursery_token *t,
    struct nursery_callback *cb, void (*fn)(void *), void *arg);

/* As nursery_token_on_cancel, when t reaches `level` or above.  EINVAL too
 * when `level` is not DRAIN, CANCEL or ABORT. */
int nursery_token_on_level(struct nursery_token *t, enum nursery_level level,
    struct nursery_callback *cb, void (*fn)(void *), void *arg);

/*
 * Unregisters cb.  On return fn runs on no other thread and will not run:
 * the storage is free.  Waits for an fn that runs elsewhere; from inside fn
 * itself it returns at once.  NULL, or never registered: a no-op.  Two
 * callbacks that remove each other wait for ever: use the next one.
 */
void nursery_callback_remove(struct nursery_callback *cb);

/* As nursery_callback_remove, but EBUSY instead of waiting for fn; cb is
 * then still in use.  EINVAL: cb is NULL. */
int nursery_callback_try_remove(struct nursery_callback *cb);

/* ---- blocking calls that know nothing of tokens ---- */

/*
 * Runs fn(arg) on this thread; a cancel of t breaks the system call fn
 * blocks in, with EINTR, again and again until fn returns.  fn must come
 * back when a call fails with EINTR and t is cancelled.  0 when fn ran: its
 * result is in *out_result (which may be NULL), and a late cancel does not
 * take it away.  ECANCELED: fn was not started.  EBUSY: the program has a
 * handler for the library's signal.  ENOMEM, EAGAIN, EINVAL.
 */
int nursery_token_run(struct nursery_token *t, int (*fn)(void *), void *arg,
    int *out_result);

/*
 * The signal that the library owns for that: SIGRTMIN+5, or what
 * NURSERY_SIGNAL_NUMBER in the environment says.  Programs leave it alone.
 */
int nursery_interrupt_signal(void);

/* ---- references that go with their scope ---- */

/* Gives the reference *t back and sets *t to NULL. */
void nursery_token_drop(struct nursery_token **t);

/* Cancels *t, gives the reference back and sets *t to NULL. */
void nursery_guard_drop(struct nursery_token **t);

/* Returns *t and sets *t to NULL: the reference is the caller's to give back
 * now.  Disarms a guard. */
struct nursery_token *nursery_token_take(struct nursery_token **t);

/*
 * A variable so marked is dropped when its scope is left:
 *	nursery_guard_auto struct nursery_token *g = nursery_token_ref(t);
 * Build with -fexceptions (pkg-config adds it) to have that on pthread_exit
 * and pthread_cancel, too.  longjmp runs no guard.
 */
#define nursery_token_auto	__attribute__((cleanup(nursery_token_drop)))
#define nursery_guard_auto	__attribute__((cleanup(nursery_guard_drop)))

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
