/* SPDX-License-Identifier: MIT */
/*
 * The nursery and its tasks, as the library sees them.
 *
 * N1  close returns only when unfinished == 0 and inner == 0, and both can
 *     no longer rise: from then on the state is CLOSED.
 * N2  Every accepted arg goes to exactly one of fn and discard.
 * N3  Who makes unfinished or inner zero touches the nursery no more after it
 *     has let the lock go; the wake-up names an address only, in a slab.
 * N4  An error is recorded before siblings are cancelled.
 * N5  `opened` of a thread nests: newer nurseries stand later.
 * N6  A place that is given up goes on at once: to a member that comes back
 *     from waiting, else to the oldest task in the queue.  A task is in the
 *     queue only while max_running places are taken, or because no thread
 *     was to be had; then the next who spawns or waits tries again.
 * N7  A nursery is private until anybody but its opener could know of it:
 *     scope/nest.c.  Whatever looks at its token, its lists or its counts
 *     makes it shared first.
 * N8  A task's block has one reference of the run, which its end gives back,
 *     and one a handle.  Each handle also holds the nursery, so that it may
 *     be asked for what belongs to the task whenever it likes.  A task for
 *     which nobody asked ends without touching a reference.
 * N9  Services are counted apart, and so are the nurseries opened by them:
 *     when nothing else is left, and n is to be closed, who closes stops the
 *     newest, and the next when that one has ended or had its grace.
 *
 * Tasks of the compute lane that are light are counted in `light` alone:
 * scope/light.c.
 */
#ifndef NUR_SCOPE_NURSERY_H
#define NUR_SCOPE_NURSERY_H

#include "base/thr.h"
#include "nursery/scope.h"
#include "sched/deque.h"
#include "token/token.h"

#define NUR_NAME_MAX	32
#define NUR_INLINE_COPY	64
#define NUR_FIRST_ERRORS	16
#define NUR_FORKED_AND_BACK	127	/* code of ours forked, and the child
					 * came back from it: its status */

enum nur_nursery_state { NUR_OPEN, NUR_CLOSING, NUR_CLOSED };

struct nur_failure {
	uint64_t task;
	int64_t started, ended;
	int code, cancelled;
	char name[NUR_NAME_MAX];
};

struct nursery {
	/* first: the block is freed with it; aligned, for what comes next is
	 * all that a private nursery needs: one line */
	_Alignas(64) struct nursery_token token;
	/* atomic */
	uint32_t refs;		/* handles: the opener's, users', inner ones */
	uint32_t shared;	/* N7 */
	uint32_t done_seq;	/* moves when unfinished or inner gets 0 */
	uint32_t room_seq;	/* moves when a spawn may look again */
	struct nursery *parent;	/* constant */
	/* the opener's thread */
	struct nur_thr *opener;	/* NULL: any one thread may close; atomic */
	struct nur_link opened;
	struct nursery_task *host;	/* atomic: that opened it, or NULL */
	uint32_t exact;		/* atomic: scope/light.c, W5 */
	bool light_tasks;	/* constant once shared: plain ones are light */
	struct {		/* what the opener counts: scope/light.c, W8 */
		_Alignas(64) uint64_t spawned;	/* atomic */
		uint64_t ended;		/* atomic */
		uint32_t counts;	/* atomic: 0: is not to be used */
	} mine;

	struct nur_mutex lock;
	/* under lock; the state is also read by the opener without */
	uint32_t state;		/* enum nur_nursery_state */
	unsigned running, queued, unfinished, inner;
	unsigned room_waiters, done_waiters;
	unsigned returning;	/* members that want their place back */
	unsigned services;	/* of the unfinished, N9 */
	unsigned inner_services;	/* of the inner ones, N9 */
	bool wake_room, wake_done;	/* by who lets the lock go */
	bool violated;		/* closed by an outer close */
	bool sealed;		/* CLOSING, for the close that comes next */
	bool has_signals;	/* daemon/signals.c */
	bool reporting;		/* somebody runs on_done */
	bool joined;		/* somebody waited for one in the queue */
	bool won;		/* the first success was there */
	int64_t stop_by;	/* `stopping`'s grace ends */
	struct nursery_task *stopping;	/* a service, N9; NULL: none */
	struct nur_link tasks;	/* that run */
	struct nur_link queue;	/* that wait for a place */
	struct nur_link reports;	/* that wait for on_done */
	struct nursery_counts counts;
	int first_error;
	struct nur_failure first;
	struct nur_failure *failures;	/* the others */
	size_t failed, failures_room;	/* kept; beside the first */
	unsigned signals_seen;	/* under the lock of daemon/signals.c */

	/* constant */
	uint64_t id;
	struct nursery_attr attr;
	char name[NUR_NAME_MAX];
	bool for_service;	/* opened by a service of the parent, N9 */
	struct nursery_callback on_drain, on_cancel;
	/* under the registry lock */
	struct nur_link inside;	/* shared nurseries opened in this one */
	struct nur_link beside;	/* in the parent's `inside`, or the roots */
	struct nursery *below;	/* while this and that are being shared */

	_Alignas(64) uint64_t light;	/* atomic: scope/light.c, W2 */
	uint64_t light_spawned, light_discarded;	/* atomic: as told */
	uint64_t light_bad;	/* lock: that failed or were cancelled */
};

/* nursery_task.state */
#define NUR_TASK_ENDED		1u	/* the result is there */
#define NUR_TASK_AWAITED	2u	/* somebody may sleep on the state */
#define NUR_TASK_STARTED	4u	/* said nursery_started() */
#define NUR_TASK_GIVEN_UP	8u	/* the start does not wait for that */
#define NUR_TASK_LOOK		16u	/* counted: who sleeps looks again */

/* nursery_task.flags */
#define NUR_TASK_HANDSHAKE	(1u << 31)	/* nursery_start() waits for it */
#define NUR_TASK_LIGHT	(1u << 30)	/* scope/light.c, W1 */
#define NUR_TASK_WHOLE	(1u << 29)	/* a light one, with all of this */

struct nursery_task {
	/* what the start of a task needs: one line */
	struct nur_link link;	/* tasks, queue or reports of the nursery */
	struct nursery *nursery;
	struct nursery_token *token;
	nursery_fn *fn;
	void *arg;
	unsigned flags;		/* constant, but for WHOLE */
	bool own_token, started, named;
	bool queued;		/* nursery's lock: it is in the queue */
	uint32_t refs;		/* atomic: N8 */
	uint32_t state;		/* atomic: what its handles wait for */

	/* a light one has nothing of this */
	uint64_t id;
	struct nur_job job;	/* of the compute lane */
	int64_t since, ended;	/* atomic: since; queued or started */
	int result, cancelled;
	struct nur_thr *thr;	/* atomic */
	int lane;
	bool called_off;	/* atomic: not to begin on the compute lane */
	void (*discard)(void *arg);
	void *copy;		/* spawn_copy's, when too long for `inline_` */
	char name[NUR_NAME_MAX];	/* if named */
	union {
		_Alignas(max_align_t) unsigned char inline_[NUR_INLINE_COPY];
		struct {		/* of those with attributes */
			int64_t grace;
			void *value;	/* that nursery_started() was given */
			struct nursery_task *outer;	/* if `inlined` */
			bool inlined;	/* the thread's own: runs in another */
			bool told;	/* nursery's lock: to stop, N9 */
		} more;
	};
};

static inline unsigned
nur_is_service(const struct nursery_task *t)
{
	return (t->flags & NURSERY_TASK_SERVICE) / NURSERY_TASK_SERVICE;
}

extern struct nur_mutex nur_registry_lock;
/* under the registry lock: shared ones with no parent, oldest first */
extern struct nur_link nur_roots;

/* ---- nursery.c ---- */

struct nursery *nur_nursery_alloc(void);
/* Where its tasks run, once its parent and its attributes are known. */
void nur_nursery_set_lane(struct nursery *n);
/* Fills one that nobody knows; NULL: the default attributes. */
void nur_nursery_prepare(struct nursery *n, const struct nursery_attr *a);
/* Frees one that was never shared. */
void nur_nursery_free(struct nursery *n);
/* Lets the lock go, and wakes whom the holder wanted to wake: N3. */
static inline void
nur_nursery_unlock(struct nursery *n)
{
	bool room = n->wake_room, done = n->wake_done;

	n->wake_room = n->wake_done = false;
	nur_unlock(&n->lock);
	if (room)
		nur_futex_wake(&n->room_seq, INT32_MAX);
	if (done)
		nur_futex_wake(&n->done_seq, INT32_MAX);
}

/* unfinished or inner may have got 0.  Lock held. */
void nur_done_changed_locked(struct nursery *n);
/* Waits until no task and no inner nursery is left, and lets none in after:
 * 0, and the close is at once; or ETIMEDOUT. */
int nur_nursery_seal(struct nursery *n, int64_t deadline);
static inline bool
nur_light_done(const struct nursery *n)
{
	/* Acquire: sees what the tasks did; pairs with tell() in light.c. */
	return nur_load_acquire(&n->light) == 0;
}

/* No task is left, nor a nursery inside.  Lock held. */
static inline bool
nur_is_empty_locked(const struct nursery *n)
{
	return n->unfinished + n->inner == 0 && nur_light_done(n);
}

/* Whether nothing but services is left in n, N9.  Lock held. */
static inline bool
nur_only_services_locked(const struct nursery *n)
{
	return n->unfinished == n->services && n->inner ==
	    n->inner_services && nur_light_done(n);
}

/* nursery_open_child with any attributes, or none. */
int nur_nursery_open_child(struct nursery **out, struct nursery *parent,
    const struct nursery_attr *attr);
/* Counts one that opens inside n: 0 or ESHUTDOWN. */
int nur_nursery_join(struct nursery *n, bool for_service);
/* Whether the caller may close n: 0, EDEADLK, EPERM; and whether it can be
 * closed: ENOTEMPTY, EBUSY. */
int nur_nursery_may_close(const struct nursery *n);
int nur_nursery_closable(struct nursery *n);
/* nursery_close_with, with a report (or NULL) that is filled if it closed. */
int nur_nursery_close(struct nursery **np, struct nursery_report *report);
/* Takes a shared nursery out of everything but its handles. */
void nur_nursery_withdraw(struct nursery *n);
/* A thread ends, or a task on it, that left nurseries open: they are
 * cancelled and closed.  With a host, only those that it opened. */
void nur_nursery_opener_ends(struct nur_thr *self,
    const struct nursery_task *host);
/* The shared nursery after n in the tree below `root`, NULL at the end; with
 * root NULL, of all trees.  Registry lock held. */
struct nursery *nur_nursery_after(struct nursery *n,
    const struct nursery *root);
uint64_t nur_nurseries_open(void);
/* The first time in each process that a nursery is opened; defined above all
 * floors, in inspect/dump_signal.c. */
void nur_first_open(void);
/* Set by daemon/: n has closed, its signals go back. */
extern void (*nur_signals_release)(struct nursery *n);

/* ---- nest.c ---- */

void nur_nest_share(struct nursery *n);

/* N7: called first by whoever does more than open and close. */
static inline void
nur_nursery_share(struct nursery *n)
{
	/* Acquire: pairs with the release in nest.c. */
	if (nur_load_acquire(&n->shared) == 0)
		nur_nest_share(n);
}

/* ---- task.c ---- */

/* Whether it was `host` that left n open, which is this thread's newest. */
bool nur_opened_by(const struct nursery *n, const struct nursery_task *host);
/* True if `task` belongs to n or to a nursery inside it. */
bool nur_is_member(const struct nursery_task *task, const struct nursery *n);
/* The same for the task that runs here or one that it runs inside of. */
bool nur_is_member_here(const struct nursery *n);
/* True if p is not to wait for `task` before it stops services, N9. */
bool nur_serves(const struct nursery_task *task, const struct nursery *p);
struct nursery_task *nur_task_current(void);
/* A block for one; NULL without memory. */
struct nursery_task *nur_task_block(void);
/* Whether there is a nursery here that t opened. */
bool nur_task_left_open(const struct nur_thr *self,
    const struct nursery_task *t);
/* A light task's result is an error: recorded, and the others told. */
void nur_task_failed(struct nursery_task *t);
/* The run's reference, N8. */
void nur_task_release(struct nursery_task *t);
/* Runs it, and says who runs next on this thread. */
struct nursery_task *nur_task_run(struct nursery_task *t);
/* An id that no task or nursery has had. */
uint64_t nur_task_more_ids(struct nur_thr *self);
static inline uint64_t
nur_task_next_id(struct nur_thr *self)
{
	return self == NULL || self->next_id == self->last_id ?
	    nur_task_more_ids(self) : ++self->next_id;
}
int nur_task_new(struct nursery_task **out, struct nursery *n, nursery_fn *fn,
    void *arg);
void nur_task_free(struct nursery_task *t);
/* N8 */
static inline void
nur_task_hold(struct nursery_task *t)
{
	/* Relaxed: the caller knows of a reference that stays. */
	(void)nur_fetch_add_relaxed(&t->refs, 1);
}
void nur_task_let_go(struct nursery_task *t);
void nur_task_count_handles(int change);
/* Runs t on this thread, in the middle of what it does: 0 or ENOMEM. */
int nur_task_run_inline(struct nursery_task *t);
/* The end of a task, or of one that never ran; a queued one that takes over
 * the thread comes back in *next. */
void nur_task_finish(struct nursery_task *t, struct nursery_task **next);
/* Copies a name, cut to what is kept. */
void nur_copy_name(char *to, const char *from);
/* Its name, or its function's, or that one's address; NUR_NAME_MAX bytes. */
void nur_task_label(const struct nursery_task *t, char *to);
void nur_task_after_fork(void);

/* ---- admit.c ---- */

/* Gives t a thread or a place in the queue.  0, or an error number, and t is
 * as it was. */
int nur_admit(struct nursery *n, struct nursery_task *t, bool try_only,
    int64_t spawn_by);
/* t has a place: gives it a thread of its own, or its turn on the compute
 * lane; 0 or EAGAIN. */
int nur_start(struct nursery_task *t, size_t stack_size);
/* Why n takes no task with these flags now, or 0.  Lock held. */
int nur_refusal_locked(const struct nursery *n, unsigned flags, bool member);
/* t, which has not begun, is not to begin any more. */
bool nur_is_called_off(const struct nursery_task *t);
/* One with a place that is called off: who has the place next. */
struct nursery_task *nur_call_off(struct nursery_task *t);
/* A running task of n ended: who has its place next, on this thread; NULL:
 * nobody.  Lock held. */
struct nursery_task *nur_pass_place_locked(struct nursery *n);
/* t got a place just now, but no thread. */
void nur_requeue(struct nursery *n, struct nursery_task *t);
/* Gives threads to queued tasks that have places; false if one was not to be
 * had.  Lock held; it is let go meanwhile. */
bool nur_fill_places_locked(struct nursery *n);
/* For who waits until `until` and had false of the above: when to try again,
 * if nobody is there who could hand his thread on (N6). */
int64_t nur_try_again_by(int64_t until);

/* A wait for a task: the dump shows `op`, and a member of a nursery gives its
 * place away meanwhile. */
struct nur_pause {
	struct nur_thr *self;
	struct nursery *gave;	/* the place is to be taken back; or NULL */
	uint32_t op;
};
void nur_pause_begin(struct nur_pause *p, enum nur_op op);
void nur_pause_end(struct nur_pause *p);
/* Discards t if it is in the queue still.  Lock held; it is let go
 * meanwhile. */
void nur_drop_queued_locked(struct nursery *n, struct nursery_task *t);
/* Who sleeps for t looks at the queue, where t may be: false if nobody is
 * there to run it. */
bool nur_look_after(struct nursery_task *t);
void nur_discard(struct nursery_task *t);
/* Wakes those who wait for room.  Lock held. */
void nur_room_changed_locked(struct nursery *n);
/* The callbacks of a nursery's own token. */
void nur_nursery_drained(void *nursery);
void nur_nursery_cancelled(void *nursery);

/* ---- spawn.c ---- */

/* A task with checked attributes, and one that comes with them. */
int nur_spawn_prepare(struct nursery_task **out, struct nursery *n,
    const struct nursery_task_attr *a, nursery_fn *fn, void *arg);
/* Spawns it, with a handle if wanted; the task is gone if refused. */
int nur_spawn_prepared(struct nursery_task *t, bool handle, int64_t spawn_by);

/* ---- handle.c ---- */

/* Sets bits; what was there before.  Wakes whoever sleeps. */
uint32_t nur_task_say(struct nursery_task *t, uint32_t bits);
/* Who sleeps for t is to look again. */
void nur_task_look_again(void *task);
/* Sleeps until one of the bits is set: 0; or the deadline: ETIMEDOUT; or
 * `told` is true or becomes so, which says nur_task_look_again: ECANCELED. */
int nur_task_await(struct nursery_task *t, uint32_t bits, int64_t deadline,
    bool (*told)(const struct nursery_task *t));

static inline uint32_t
nur_task_state(const struct nursery_task *t)
{
	/* Acquire: pairs with nur_task_say(); who sees a bit sees what came
	 * with it: the result, the value. */
	return nur_load_acquire(&t->state);
}

/* ---- service.c ---- */

/* N9, for who closes n: stops what is to be stopped now, and says when to
 * come again.  Lock held; it is let go meanwhile. */
int64_t nur_stop_services_locked(struct nursery *n);

/* ---- report.c ---- */

struct nursery_report *nur_report_new(void);
/* For n that is closed: fills the report with what n knows and takes it over.
 * Never fails: memory was had before. */
void nur_report_take(struct nursery_report *r, struct nursery *n);
/* The same for n that stays open, with its unfinished tasks. */
void nur_report_of_open(struct nursery_report *r, struct nursery *n);
void nur_failure_keep_locked(struct nursery *n, const struct nursery_task *t);

#endif
