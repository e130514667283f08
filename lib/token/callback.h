/* SPDX-License-Identifier: MIT */
/*
 * Callbacks of a token.
 *
 * C1  A registered callback is in its token's list (tree lock) or armed in a
 *     hook; a raise moves it to the raiser's run (both locks), from which it
 *     is taken and run (callback lock).  Each transition has one owner: fn
 *     runs once.
 * C2  remove() returns when fn does not run elsewhere: it unlinks (registered
 *     or queued) or waits for the running one, unless it runs right here.
 * C3  After fn the runner touches the caller's storage only if nobody removed
 *     the callback meanwhile: remove() clears `current` of the run.
 * C4  Instead of a function a callback may name a thread to be woken.  The
 *     runner says DONE before it wakes, touches the storage no more, and
 *     wakes those that follow one another by the dozen.  Where the thread
 *     has set `wake`, it is called: the thread would otherwise be woken, find
 *     fn still running and have to sleep again.
 * C5  A callback that has been armed may have run, removed itself and given
 *     its storage up before the call that registers it is through.  So that
 *     call looks at its hook, and at the storage only while it is in there.
 *
 * A hook is a thread's own place in a token's list.  It stays there between
 * callbacks, so that a thread that waits on one token again and again pays
 * for no lock and no read-modify-write.
 *
 * K1  `armed` is the callback in the hook, NULL: none.  Only the thread arms;
 *     it disarms, or the tree and the callback lock are held.
 * K2  Arming and disarming are the light side of an asymmetric barrier, of
 *     which the heavy side is passed between raising and looking at hooks.
 *     The thread writes `armed` and then reads the level; the raiser writes
 *     the level and then reads `armed`.  So a thread that sees LIVE after
 *     arming is seen armed by every later raise, and one that sees LIVE after
 *     disarming is seen disarmed: fn will not run.  One that sees a level
 *     does not know, and asks under the locks.  Hooks of waits have full
 *     fences on both sides: who goes to sleep can afford one, and who
 *     cancels need not interrupt every processor for the heavy side.
 * K3  A raise of a token takes its hooks out of the list, into its run;
 *     hooks serve live tokens only.
 */
#ifndef NUR_TOKEN_CALLBACK_H
#define NUR_TOKEN_CALLBACK_H

#include "base/thr.h"
#include "token/token.h"

/* nur_entry.kind; views are in token/fd.h */
enum { NUR_ENTRY_CALLBACK, NUR_ENTRY_HOOK, NUR_ENTRY_VIEW };

enum nur_cb_state {
	NUR_CB_NONE, NUR_CB_DONE,	/* free */
	NUR_CB_HOOKED, NUR_CB_REGISTERED, NUR_CB_QUEUED, NUR_CB_RUNNING
};

/* Lies in the caller's struct nursery_callback. */
struct nur_callback {
	struct nur_entry entry;
	struct nursery_token *token;
	struct nur_run *run;	/* QUEUED, RUNNING */
	struct nur_hook *hook;	/* HOOKED */
	void (*fn)(void *);	/* NULL: arg is a thread to be woken, C4 */
	void *arg;
};

/* One raise and the callbacks it has to run; on the raiser's stack. */
struct nur_run {
	struct nur_entry *head, *tail;	/* callback lock */
	struct nur_callback *current;
	struct nur_entry *hooks;	/* tree lock */
	struct nur_entry *views;	/* tree lock while the walk lasts */
	/* the raiser's own */
	bool found, hooked;		/* anything; hooks */
	bool hooked_lightly;		/* hooks that are not of waits */
	uint32_t gather;		/* atomic: woken threads sleep here, C4 */
	unsigned gathered;		/* so many */
	uintptr_t thread;	/* nur_thread_mark() of the raiser's */
};

/* As nursery_token_on_level; with fn NULL it wakes the thread `arg`, perhaps
 * a little after remove() has returned (H1). */
int nur_token_tell(struct nursery_token *t, unsigned level,
    struct nursery_callback *storage, void (*fn)(void *), void *arg);

/* Registers without looking at the level, for a token that nobody else knows
 * yet.  Tree lock held. */
void nur_callback_list_locked(struct nursery_callback *storage,
    struct nursery_token *t, unsigned level, void (*fn)(void *), void *arg);

/* Tree lock held: moves t's callbacks of levels <= level to the run. */
void nur_callbacks_collect_locked(struct nur_run *run,
    struct nursery_token *t, unsigned level);
/* Runs them; no lock held. */
void nur_callbacks_run(struct nur_run *run);

/* Lists of entries; the head has no prev.  Tree lock held. */
void nur_entry_add_locked(struct nur_entry **head, struct nur_entry *e);
void nur_entry_take_out_locked(struct nur_entry **head, struct nur_entry *e);

/* Whether a callback is still to be told by t.  Tree lock held. */
bool nur_callbacks_any_locked(const struct nursery_token *t);
/* t goes: its list is emptied, the hooks of threads in it are free for other
 * tokens. */
void nur_entries_forget_locked(struct nursery_token *t);
/* A thread goes: what its hooks hold is registered without them. */
void nur_hooks_thread_ends(struct nur_thr *thr);
void nur_callbacks_after_fork(void);

#endif
