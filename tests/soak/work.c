/* SPDX-License-Identifier: MIT */
/*
 * Tasks: how one is spawned, what it does.  A task waits without a deadline
 * only where somebody will end the wait: in a nursery that is cancelled
 * before it is closed, and where nobody needs its place first.
 */
#include "soak.h"

#include <errno.h>
#include <sched.h>

#define FIRST_CODE	1001	/* ledger.c knows them, too */
#define CODES		4

/* ---- running ---- */

static bool
told_to_stop(struct nursery_token *t)
{
	return nursery_token_is_cancelled(t);
}

static void
check_alive(const struct book *b, const char *what)
{
	if (atom_get(&b->closed) != 0)
		broken(LATE, "%s after the close", what);
}

static int
run_item(struct nursery_token *t, struct item *it)
{
	struct book *b = it->book;
	struct rng r;
	int rc;

	rng_init(&r, it->seed);
	atom_add(&progress, 1);
	atom_add(&b->services, it->role->serves);
	atom_add(&b->inside, 1);
	atom_add(&it->runs, 1);
	check_alive(b, "a task begins");
	if (once_in(&r, 4) && nursery_current() != b->n)
		broken(RETURNS, "nursery_current is another one");
	rc = it->role->fn(t, it, &r);
	if (it->role->over != NULL)
		it->role->over(it);
	it->outcome = rc;
	check_alive(b, "a task ends");
	atom_add(&b->inside, UINT32_MAX);
	if (it->role->serves)
		atom_add(&b->services, UINT32_MAX);
	atom_add(&progress, 1);
	return rc;
}

static int
run_pointed(struct nursery_token *t, void *arg)
{
	return run_item(t, arg);
}

static int
run_copied(struct nursery_token *t, void *arg)
{
	return run_item(t, *(struct item *const *)arg);
}

static void
discard(void *arg)
{
	struct item *it = arg;

	atom_add(&it->drops, 1);
	/* What a start gives back it may give back late. */
	if (!it->by_start)
		check_alive(it->book, "a task is discarded");
	if (it->role->over != NULL)
		it->role->over(it);
	atom_add(&progress, 1);
}

/* ---- spawning ---- */

static void
random_attr(struct nursery_task_attr *a, const struct book *b,
    bool may_wait, struct rng *r)
{
	static const unsigned flags[] = { 0, 0, 0, NURSERY_TASK_MAY_INLINE,
		NURSERY_TASK_IN_DRAIN, NURSERY_TASK_ENDS_ON_DRAIN,
		NURSERY_TASK_FINAL };

	a->discard = discard;
	a->lane = once_in(r, 4) ? (int)(1 + rng_below(r, 2)) : 0;
	a->flags = flags[rng_below(r, sizeof flags / sizeof flags[0])];
	if (once_in(r, 3))
		a->name = "soaked";
	if (a->flags == NURSERY_TASK_FINAL || once_in(r, 6))
		a->deadline = soon(r, 3000);
	if (!may_wait || (b->limited && once_in(r, 3)))
		a->spawn_by = soon(r, 500);
}

/* What a spawn may say. */
static void
check_refusal(int rc, struct nursery *n, bool tries, bool timed)
{
	switch (rc) {
	case ECANCELED:
		if (!told_to_stop(nursery_token_of(n)) &&
		    !told_to_stop(nursery_task_token(nursery_self())))
			broken(RETURNS, "a spawn says ECANCELED, and nobody "
			    "is cancelled");
		return;
	case ESHUTDOWN:
		return;
	case EAGAIN:
		if (tries)
			return;
		break;
	case ETIMEDOUT:
		if (timed)
			return;
		break;
	default:
		break;
	}
	broken(RETURNS, "a spawn says %d", rc);
}

static int
spawn_with(struct item *it, struct nursery *n, bool may_wait, struct rng *r,
    struct nursery_task **handle)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	int rc;

	random_attr(&a, it->book, may_wait, r);
	it->discards = true;
	rc = nursery_spawn_with(n, &a, run_pointed, it, handle);
	if (rc != 0)
		check_refusal(rc, n, false, a.spawn_by != 0 ||
		    a.flags == NURSERY_TASK_FINAL);
	return rc;
}

/* It always takes the argument, and says what the task said. */
static int
start(struct item *it, struct nursery *n, struct rng *r)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	void *value = NULL;
	int rc;

	a.discard = discard;
	it->by_start = it->discards = true;
	rc = nursery_start(n, &a, run_pointed, it, &value,
	    it->book->limited || it->book->cancelled || once_in(r, 2) ?
	    soon(r, 2000) : NURSERY_NEVER);
	if (rc == 0 && value != it)
		broken(RETURNS, "nursery_start gives another value");
	if (rc != 0 && rc != ECANCELED && rc != ETIMEDOUT && rc != EPROTO &&
	    rc != ESHUTDOWN && (rc < FIRST_CODE || rc >= FIRST_CODE + CODES))
		broken(RETURNS, "nursery_start says %d", rc);
	return rc;
}

struct item *
spawn_one(struct book *b, struct nursery *n, const struct task_role *role,
    void *what, bool may_wait, struct rng *r, struct nursery_task **handle)
{
	struct item *it;
	unsigned how = rng_below(r, 8);
	int rc;

	if (role == &role_work && atom_get(&now.budget) == 0)
		return NULL;
	it = item_new(b, role, what, rng_next(r));
	if (b->cancelled && b->limited)
		may_wait = false;
	if (handle != NULL || role->over != NULL)
		how = how == 7 && handle == NULL ? 7 : 6;
	else if (!may_wait)	/* a start may wait for its task's place */
		how = how < 4 ? 4 : how == 7 ? 6 : how;
	if (how < 3)
		rc = nursery_spawn(n, run_pointed, it);
	else if (how == 3)
		rc = nursery_spawn_copy(n, run_copied, &it, sizeof it);
	else if (how == 4)
		rc = nursery_try_spawn(n, run_pointed, it);
	else if (how < 7)
		rc = spawn_with(it, n, may_wait, r, handle);
	else
		rc = start(it, n, r);
	if (rc != 0 && how < 5)
		check_refusal(rc, n, how == 4, false);
	it->accepted = rc == 0;
	if (rc != 0 && !it->by_start && role->over != NULL)
		role->over(it);
	if (rc == 0 && role == &role_work && atom_get(&now.budget) > 0)
		atom_add(&now.budget, UINT32_MAX);
	return rc == 0 ? it : NULL;
}

/* ---- telling to stop ---- */

void
cancel_somehow(struct nursery *n, struct rng *r)
{
	struct nursery_token *t = nursery_token_of(n);

	atom_add(&figures.cancels, 1);
	switch (rng_below(r, 6)) {
	case 0:
		nursery_cancel_with(n, 7777, "soaked");
		break;
	case 1:
		(void)nursery_token_cancel(t);
		break;
	case 2:
		(void)nursery_token_raise(t, NURSERY_ABORT, 0, NULL);
		break;
	case 3:
		nursery_drain(n);
		nursery_cancel(n);
		break;
	case 4:
		cancel_by_handler(t);
		break;
	default:
		nursery_cancel(n);
		break;
	}
	if (!told_to_stop(t))
		broken(RETURNS, "a cancel has returned and is not to be seen");
}

/* ---- what a task does ---- */

void
check_wait(const char *call, int rc, struct nursery_token *t, int64_t until)
{
	if (rc == ECANCELED && !told_to_stop(t))
		broken(RETURNS, "%s says ECANCELED, and nobody is", call);
	else if ((rc == 0 || rc == ETIMEDOUT) && until != NURSERY_NEVER &&
	    nursery_now() < until && !told_to_stop(t))
		broken(RETURNS, "%s returns %d before its time", call, rc);
	else if (rc != 0 && rc != ECANCELED && rc != ETIMEDOUT)
		broken(RETURNS, "%s says %d", call, rc);
}

static void
pause_somehow(struct nursery_token *t, const struct book *b, struct rng *r)
{
	bool for_ever = b->cancelled && !b->limited && once_in(r, 2);
	int64_t until = for_ever ? NURSERY_NEVER : soon(r, 600);

	switch (rng_below(r, 4)) {
	case 0:
		check_wait("nursery_token_wait", nursery_token_wait(t, until),
		    t, until);
		break;
	case 1:
		if (nursery_poll(t, NULL, 0, until) != 0)
			check_wait("nursery_poll", errno, t, until);
		break;
	default:
		check_wait("nursery_sleep", nursery_sleep(t, until), t,
		    until);
		break;
	}
}

static void
spawn_kids(const struct item *it, struct rng *r)
{
	unsigned kids = 1 + rng_below(r, 3);

	while (kids-- > 0)
		(void)spawn_one(it->book, it->book->n, &role_work, NULL, true,
		    r, NULL);
}

/* A nursery further out: it is open, for this task runs in the midst of a
 * task of it. */
static struct book *
some_outer(struct book *b, struct rng *r)
{
	while (b->outer != NULL && once_in(r, 2))
		b = b->outer;
	return b;
}

static void
reach_out(struct item *it, struct rng *r)
{
	struct book *b = some_outer(it->book, r);

	switch (rng_below(r, 8)) {
	case 0:
		cancel_somehow(b->n, r);
		break;
	case 1:
		nursery_drain(b->n);
		break;
	default:
		(void)spawn_one(b, b->n, &role_work, NULL, false, r, NULL);
		break;
	}
}

static void
know_thyself(const struct book *b)
{
	struct nursery_task *self = nursery_self();

	if (self == NULL || nursery_task_id(self) == 0)
		broken(RETURNS, "nursery_self knows no task");
	if (nursery_wait(b->n, NURSERY_NEVER) != EDEADLK)
		broken(RETURNS, "a member waits for its nursery");
	nursery_task_unref(nursery_task_ref(self));
}

static void
block_a_while(void)
{
	nursery_blocking_begin();
	(void)sched_yield();
	nursery_blocking_end();
}

static void
act(struct nursery_token *t, struct item *it, struct rng *r)
{
	switch (rng_below(r, 40)) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		spawn_kids(it, r);
		break;
	case 6: case 7: case 8:
		reach_out(it, r);
		break;
	case 9: case 10: case 11: case 12: case 13:
		pause_somehow(t, it->book, r);
		break;
	case 14: case 15: case 16: case 17: case 18:
		if (it->book->depth > 0)
			grow_tree(it->book, t, it->book->depth - 1, r);
		break;
	case 19: case 20: case 21:
		play_with_tokens(t, r);
		break;
	case 22:
		block_a_while();
		break;
	case 23:
		know_thyself(it->book);
		break;
	case 24:
		if (forks_are_safe() && once_in(r, 4))
			fork_one(t);
		break;
	case 25:
		if (once_in(r, 8))
			dump_somewhere();
		break;
	default:
		break;
	}
}

static int
work(struct nursery_token *t, struct item *it, struct rng *r)
{
	int rc = 0;

	if (!once_in(r, 8))
		rc = nursery_started(it);
	if (rc != 0 && rc != ECANCELED)
		broken(RETURNS, "nursery_started says %d", rc);
	act(t, it, r);
	if (once_in(r, 60))
		return FIRST_CODE + (int)rng_below(r, CODES);
	/* Who says ECANCELED has been told to stop: it counts as cancelled. */
	return told_to_stop(t) && once_in(r, 2) ? ECANCELED : 0;
}

const struct task_role role_work = { work, NULL, false };

/* Told to stop: no other task is left, unless it was an abort. */
static void
check_alone(const struct nursery_token *t, const struct book *b)
{
	uint32_t services = atom_get(&b->services);
	uint32_t inside = atom_get(&b->inside);

	/* Nothing is said of a moment when another service comes or goes. */
	if (nursery_token_level(t) < NURSERY_ABORT && inside > services &&
	    atom_get(&b->services) == services)
		broken(RETURNS, "a service is stopped beside %u tasks",
		    inside - services);
}

static int
serve(struct nursery_token *t, struct item *it, struct rng *r)
{
	if (once_in(r, 2))
		check_wait("nursery_sleep", nursery_sleep(t, NURSERY_NEVER),
		    t, NURSERY_NEVER);
	else
		check_wait("nursery_token_wait", nursery_token_wait(t,
		    NURSERY_NEVER), t, NURSERY_NEVER);
	check_alone(t, it->book);
	return told_to_stop(t) && once_in(r, 2) ? ECANCELED : 0;
}

static const struct task_role role_service = { serve, NULL, true };

void
spawn_service(struct book *b, struct rng *r)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct item *it = item_new(b, &role_service, NULL, rng_next(r));
	int rc;

	a.flags = NURSERY_TASK_SERVICE;
	a.discard = discard;
	a.grace = once_in(r, 2) ? NURSERY_MS : 0;
	a.name = "service";
	it->discards = true;
	rc = nursery_spawn_with(b->n, &a, run_pointed, it, NULL);
	it->accepted = rc == 0;
	if (rc != 0)
		check_refusal(rc, b->n, false, false);
}
