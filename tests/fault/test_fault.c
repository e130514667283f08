/* SPDX-License-Identifier: MIT */
/*
 * Shortage.  Each public function is called with its 1st, 2nd, 3rd ...
 * request for memory, a thread or a descriptor refused, until a call comes
 * through untouched: once with that request alone refused, once with all
 * later ones, too, and once with each later one.  Each point is tried in a process of its own, so that
 * nothing is warm, and must have been reached.  The call gives a documented
 * code, a refused one leaves no trace, and nothing is left in the end.  A
 * function that promises to need nothing must have no point at all.
 */
#include "tasks.h"

#include "base/sys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR		(3600 * NURSERY_SECOND)
#define NOT_REACHED	100	/* exit status: all well, but no such point */
#define UNTOUCHED	((void *)&sentinel)

static char sentinel;

/* ---- refusing ---- */

/* Refused are the requests fail_at and [also_from, also_to]; from 0 on. */
static int armed, calls, fail_at, also_from, also_to, hits;	/* atomic */

static bool
refuse(enum nur_resource r)
{
	int k;

	(void)r;
	if (__atomic_load_n(&armed, __ATOMIC_SEQ_CST) == 0)
		return false;
	k = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
	if (k != fail_at && (k < also_from || k > also_to))
		return false;
	__atomic_fetch_add(&hits, 1, __ATOMIC_SEQ_CST);
	return true;
}

static void
arm(int yes)
{
	__atomic_store_n(&armed, yes, __ATOMIC_SEQ_CST);
}

/* ---- expecting; in processes where no test runs ---- */

static int faults;

#define EXPECT(e) \
	((e) ? (void)0 : (void)(faults++, fprintf(stderr, \
	    "line %d: not so: %s\n", __LINE__, #e)))

static bool
is_shortage(int rc)
{
	return rc == ENOMEM || rc == EAGAIN || rc == EMFILE;
}

static int
error_of(ssize_t rc)
{
	return rc < 0 ? errno : 0;
}

static struct nursery_stats
stats(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	EXPECT(nursery_get_stats(&s) == 0);
	return s;
}

/* Whether the counts are what they were; threads may idle meanwhile. */
static bool
no_trace(const struct nursery_stats *before)
{
	struct nursery_stats now = stats();

	return now.nurseries == before->nurseries && now.tokens ==
	    before->tokens && now.tasks_running == before->tasks_running &&
	    now.tasks_queued == before->tasks_queued;
}

/* The call under test: 0, `also` or a shortage, and then no trace. */
#define TRY(rc, also, call) do { \
	struct nursery_stats before_ = stats(); \
	arm(1); \
	(rc) = (call); \
	arm(0); \
	EXPECT((rc) == 0 || (rc) == (also) || is_shortage(rc)); \
	if (is_shortage(rc)) \
		EXPECT(no_trace(&before_)); \
} while (0)

static struct nursery_token *
token(struct nursery_token *parent)
{
	struct nursery_token *t = NULL;

	EXPECT(nursery_token_new(&t, parent) == 0);
	return t;
}

static struct nursery *
root(void)
{
	struct nursery *n = NULL;

	EXPECT(nursery_open(&n, NULL) == 0);
	return n;
}

static void
close_ok(struct nursery *n)
{
	EXPECT(nursery_close(&n) == 0);
}

/* ---- tokens ---- */

static void
try_token_new(void)
{
	struct nursery_token *p = token(NULL), *t = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_token_new(&t, p));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0)
		nursery_token_unref(t);
	nursery_token_unref(p);
}

static void
try_token_new_first(void)
{
	struct nursery_token *t = UNTOUCHED;
	int rc;

	/* The very first: there is no slab yet. */
	TRY(rc, 0, nursery_token_new(&t, NULL));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0)
		nursery_token_unref(t);
}

static void
try_token_new_at(void)
{
	struct nursery_token *p = token(NULL), *t = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_token_new_at(&t, p, NURSERY_DRAIN));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0)
		nursery_token_unref(t);
	nursery_token_unref(p);
}

static void
try_token_new_shielded(void)
{
	struct nursery_token *p = token(NULL), *t = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_token_new_shielded(&t, p, nursery_after(HOUR)));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0)
		nursery_token_unref(t);
	nursery_token_unref(p);
}

static void
try_token_new_any(void)
{
	struct nursery_token *const p[] = { token(NULL), token(NULL) };
	struct nursery_token *t = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_token_new_any(&t, p, 2));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0) {
		EXPECT(nursery_token_cancel(p[1]));
		EXPECT(nursery_token_is_cancelled(t));
		nursery_token_unref(t);
	}
	nursery_token_unref(p[0]);
	nursery_token_unref(p[1]);
}

static void
try_token_fd(void)
{
	struct nursery_token *t = token(NULL);
	int fd = -77, other = -77, rc;

	TRY(rc, 0, nursery_token_fd(t, &fd));
	EXPECT((rc == 0) == (fd != -77));
	TRY(rc, 0, nursery_token_level_fd(t, NURSERY_DRAIN, &other));
	EXPECT((rc == 0) == (other != -77));
	/* What failed is had on the next try; what was had stays. */
	EXPECT(nursery_token_fd(t, &rc) == 0 && (fd == -77 || fd == rc));
	EXPECT(nursery_token_cancel(t));
	EXPECT(poll(&(struct pollfd){ .fd = rc, .events = POLLIN }, 1, 0) ==
	    1);
	nursery_token_unref(t);
}

static void
try_signal_arm(void)
{
	struct nursery_token *t = token(NULL), *k = token(t);
	int rc;

	TRY(rc, 0, nursery_signal_arm());
	if (rc == 0) {
		/* What the handler does needs nothing. */
		arm(1);
		nursery_token_cancel_from_signal(t);
		EXPECT(nursery_token_is_cancelled(t));
		arm(0);
		EXPECT(nursery_token_wait(k, patience()) == 0);
	}
	nursery_token_unref(k);
	nursery_token_unref(t);
}

static void
try_token_set_deadline(void)
{
	struct nursery_token *t = token(NULL);
	int64_t when = nursery_after(HOUR);
	int rc;

	TRY(rc, 0, nursery_token_set_deadline(t, when));
	EXPECT(nursery_token_deadline(t) == (rc == 0 ? when :
	    NURSERY_NEVER));
	nursery_token_unref(t);
}

static void
try_token_wait(void)
{
	struct nursery_token *t = token(NULL);
	int rc;

	TRY(rc, ETIMEDOUT, nursery_token_wait(t, 1));
	EXPECT(rc == ETIMEDOUT || rc == ENOMEM);
	/* Reached already: nothing is needed. */
	nursery_token_cancel(t);
	arm(1);
	EXPECT(nursery_token_wait(t, NURSERY_NEVER) == 0);
	arm(0);
	nursery_token_unref(t);
}

static void
try_token_wait_level(void)
{
	struct nursery_token *t = token(NULL);
	int rc;

	TRY(rc, ETIMEDOUT, nursery_token_wait_level(t, NURSERY_DRAIN, 1));
	EXPECT(rc == ETIMEDOUT || rc == ENOMEM);
	nursery_token_unref(t);
}

static int
give_seven(void *arg)
{
	(void)arg;
	return 7;
}

static void
try_token_run(void)
{
	struct nursery_token *t = token(NULL);
	int rc, result = -1;

	TRY(rc, 0, nursery_token_run(t, give_seven, NULL, &result));
	EXPECT(result == (rc == 0 ? 7 : -1));
	nursery_token_unref(t);
}

/* Registering allocates nothing, and says so by having no other code. */
static void
try_token_on_cancel(void)
{
	struct nursery_token *t = token(NULL);
	struct nursery_callback cb[2] = { 0 };
	int ran = 0;

	arm(1);
	EXPECT(nursery_token_on_cancel(t, &cb[0], count_up, &ran) == 0);
	EXPECT(nursery_token_on_level(t, NURSERY_DRAIN, &cb[1], count_up,
	    &ran) == 0);
	EXPECT(nursery_token_cancel(t));
	nursery_callback_remove(&cb[0]);
	EXPECT(nursery_callback_try_remove(&cb[1]) == 0);
	arm(0);
	EXPECT(ran == 2);
	nursery_token_unref(t);
}

/* "Cancel, unref and the poll never allocate." */
static void
raise_without_anything(void)
{
	struct nursery_token *a = token(NULL), *b = token(a), *c = token(b),
	    *same, *guarded = token(a), *taken = token(a);
	struct nursery_cause cause = NURSERY_CAUSE_INIT;

	EXPECT(nursery_token_set_deadline(b, nursery_after(HOUR)) == 0);
	arm(1);
	same = nursery_token_ref(c);
	EXPECT(!nursery_token_is_cancelled(c));
	EXPECT(nursery_token_raise(a, NURSERY_DRAIN, 0, NULL));
	EXPECT(nursery_token_cancel(c));
	EXPECT(nursery_token_cancel_with(a, 5, "why"));
	EXPECT(nursery_token_level(b) == NURSERY_CANCEL);
	EXPECT(nursery_token_cause(b, NURSERY_CANCEL, &cause) == 5);
	EXPECT(nursery_token_deadline(c) != 0);
	nursery_guard_drop(&guarded);
	same = nursery_token_take(&same);
	nursery_token_drop(&same);
	nursery_token_drop(&taken);
	nursery_token_unref(b);
	nursery_token_unref(c);
	nursery_token_unref(a);
	EXPECT(nursery_interrupt_signal() > 0);
	arm(0);
}

/* ---- nurseries ---- */

static void
try_open(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = UNTOUCHED;
	int rc;

	a.deadline = nursery_after(HOUR);
	TRY(rc, 0, nursery_open(&n, &a));
	EXPECT((rc == 0) == (n != UNTOUCHED));
	if (rc == 0)
		close_ok(n);
}

static void
try_open_compute(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = UNTOUCHED;
	int rc;

	a.lane = NURSERY_COMPUTE;
	TRY(rc, 0, nursery_open(&n, &a));
	EXPECT((rc == 0) == (n != UNTOUCHED));
	if (rc == 0)
		close_ok(n);
}

static void
try_open_child(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *p = root(), *n = UNTOUCHED;
	int rc;

	a.flags = NURSERY_SHIELD;
	a.shield_until = nursery_after(HOUR);
	TRY(rc, 0, nursery_open_child(&n, p, &a));
	EXPECT((rc == 0) == (n != UNTOUCHED));
	if (rc == 0)
		close_ok(n);
	/* What failed inside does not hold the parent up. */
	close_ok(p);
}

static void
try_open_under(void)
{
	struct nursery_token *t = token(NULL);
	struct nursery *n = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_open_under(&n, t, NULL));
	EXPECT((rc == 0) == (n != UNTOUCHED));
	if (rc == 0)
		close_ok(n);
	nursery_token_unref(t);
}

struct adopter {
	struct nursery *n;
	int rc, close;
};

static void *
adopt_in_a_new_thread(void *arg)
{
	struct adopter *a = arg;

	TRY(a->rc, 0, nursery_adopt(a->n));
	if (a->rc == 0)
		a->close = nursery_close(&a->n);
	return NULL;
}

static void
try_adopt(void)
{
	struct nursery *n = root();
	struct adopter a = { n, -1, -1 };
	pthread_t id;

	EXPECT(pthread_create(&id, NULL, adopt_in_a_new_thread, &a) == 0);
	pthread_join(id, NULL);
	if (a.rc == 0)
		EXPECT(a.close == 0);
	else
		close_ok(n);
}

/* Spawns with arg once; it went to fn exactly if that was accepted. */
static void
spawn_into(struct nursery *n, int (*spawn)(struct nursery *n, int *ran))
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_report *r = NULL;
	int rc, ran = 0;

	TRY(rc, 0, spawn(n, &ran));
	EXPECT(nursery_close_with(&n, &r) == 0);
	EXPECT(nursery_report_counts(r, &c) == 0);
	EXPECT(c.spawned == (rc == 0));
	EXPECT(ran == (rc == 0));
	nursery_report_free(r);
}

static void
spawn_by(int (*spawn)(struct nursery *n, int *ran))
{
	spawn_into(root(), spawn);
}

/* There is a worker already; a thread for one more is not what it takes. */
static struct nursery *
compute_root(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery *n = NULL;

	a.lane = NURSERY_COMPUTE;
	EXPECT(nursery_open(&n, &a) == 0);
	return n;
}

static void
compute_by(int (*spawn)(struct nursery *n, int *ran))
{
	struct nursery *n = compute_root();

	if (n != NULL)
		spawn_into(n, spawn);
}

static int
spawn_plain(struct nursery *n, int *ran)
{
	return nursery_spawn(n, task_count, ran);
}

static int
spawn_try(struct nursery *n, int *ran)
{
	return nursery_try_spawn(n, task_count, ran);
}

static int
count_from_copy(struct nursery_token *t, void *arg)
{
	int *ran;

	memcpy(&ran, arg, sizeof ran);
	return task_count(t, ran);
}

static int
spawn_long_copy(struct nursery *n, int *ran)
{
	unsigned char data[500] = { 0 };

	memcpy(data, &ran, sizeof ran);
	return nursery_spawn_copy(n, count_from_copy, data, sizeof data);
}

/* An ordinary task with a deadline, and one that outlives a cancel. */
static int
spawn_deadline(struct nursery *n, int *ran)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.deadline = nursery_after(HOUR);
	a.flags = NURSERY_TASK_ENDS_ON_DRAIN;
	return nursery_spawn_with(n, &a, task_count, ran, NULL);
}

static int
spawn_final(struct nursery *n, int *ran)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;

	a.deadline = nursery_after(HOUR);
	a.flags = NURSERY_TASK_FINAL;
	return nursery_spawn_with(n, &a, task_count, ran, NULL);
}

static void
try_spawn(void)
{
	spawn_by(spawn_plain);
}

static void
try_spawn_compute(void)
{
	compute_by(spawn_plain);
}

/* Into a nursery inside, which is private as long as nothing goes wrong. */
static int
spawn_inside(struct nursery *n, int *ran)
{
	struct nursery *inner;
	int rc = nursery_open_child(&inner, n, NULL);

	if (rc != 0)
		return rc;
	rc = nursery_spawn(inner, task_count, ran);
	EXPECT(nursery_close(&inner) == 0);
	return rc;
}

static void
try_spawn_inside_compute(void)
{
	struct nursery *n = compute_root();
	int rc, ran = 0;

	if (n == NULL)
		return;
	TRY(rc, 0, spawn_inside(n, &ran));
	close_ok(n);
	EXPECT(ran == (rc == 0));
}

static void
try_spawn_copy_compute(void)
{
	compute_by(spawn_long_copy);
}

static void
try_spawn_with_compute(void)
{
	compute_by(spawn_deadline);
}

static void
try_try_spawn(void)
{
	spawn_by(spawn_try);
}

static void
try_spawn_copy(void)
{
	spawn_by(spawn_long_copy);
}

static void
try_spawn_with(void)
{
	spawn_by(spawn_deadline);
}

static void
try_spawn_final(void)
{
	spawn_by(spawn_final);
}

static void
try_spawn_with_handle(void)
{
	struct nursery_task *t = UNTOUCHED;
	struct nursery *n = root();
	int rc, ran = 0;

	TRY(rc, 0, nursery_spawn_with(n, NULL, task_count, &ran, &t));
	EXPECT((rc == 0) == (t != UNTOUCHED));
	if (rc == 0)
		EXPECT(nursery_task_join(&t, NULL) == 0);
	EXPECT(ran == (rc == 0));
	close_ok(n);
}

/* A service needs no more than others, and none to be stopped. */
static void
try_spawn_service(void)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = root();
	int rc;

	a.flags = NURSERY_TASK_SERVICE;
	a.grace = HOUR;
	TRY(rc, 0, nursery_spawn_with(n, &a, task_ends_well_when_cancelled,
	    NULL, NULL));
	if (rc == 0)
		while (!tasks_are_in("sleep", 1))
			;
	arm(1);
	EXPECT(nursery_close(&n) == 0);
	arm(0);
}

struct used {
	int ran, discarded;
};

static int
start_and_say(struct nursery_token *t, void *arg)
{
	struct used *u = arg;

	(void)t;
	count_up(&u->ran);
	return nursery_started(u);
}

static void
discard_used(void *arg)
{
	count_up(&((struct used *)arg)->discarded);
}

/* Whatever it returns, the argument was used once. */
static void
try_start(void)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct nursery *n = root();
	struct used u = { 0, 0 };
	void *value = UNTOUCHED;
	int rc;

	a.discard = discard_used;
	arm(1);
	rc = nursery_start(n, &a, start_and_say, &u, &value, NURSERY_NEVER);
	arm(0);
	EXPECT(rc == 0 || is_shortage(rc));
	EXPECT(value == (rc == 0 ? (void *)&u : UNTOUCHED));
	close_ok(n);
	EXPECT(u.ran == (rc == 0) && u.discarded == (rc != 0));
}

static void
use_handles_without_anything(void)
{
	struct nursery_task *t = NULL;
	struct nursery *n = root();
	int result = 0;

	EXPECT(nursery_spawn_with(n, NULL, task_until_cancelled, NULL, &t) ==
	    0);
	while (!tasks_are_in("sleep", 1))
		;
	arm(1);
	nursery_task_unref(nursery_task_ref(t));
	EXPECT(nursery_task_wait(t, 1) == ETIMEDOUT);
	EXPECT(nursery_task_cancel(t));
	EXPECT(nursery_task_join(&t, &result) == 0);
	EXPECT(result == ECANCELED);
	arm(0);
	close_ok(n);
}

/* "ENOMEM: no memory for it, and nothing happened." */
static void
try_close_with(void)
{
	struct nursery_report *r = UNTOUCHED;
	struct nursery *n = root();
	int rc, ran = 0;

	EXPECT(nursery_spawn(n, task_count, &ran) == 0);
	/* Its end is not the trace that is looked for. */
	EXPECT(nursery_wait(n, NURSERY_NEVER) == 0);
	TRY(rc, 0, nursery_close_with(&n, &r));
	EXPECT((rc == 0) == (n == NULL));
	EXPECT((rc == 0) == (r != UNTOUCHED));
	if (rc == 0) {
		nursery_report_free(r);
	} else {
		EXPECT(nursery_spawn(n, task_count, &ran) == 0);
		close_ok(n);
	}
	EXPECT(ran == (rc == 0 ? 1 : 2));
}

/* Close, cancel and the rest of a nursery's end need nothing. */
static void
end_without_anything(void)
{
	struct nursery *n = root(), *inner = NULL, *kept, *dropped = root();
	struct nursery_token *t;
	int ran = 0;

	EXPECT(nursery_open_child(&inner, n, NULL) == 0);
	EXPECT(nursery_spawn(inner, task_until_cancelled, NULL) == 0);
	EXPECT(nursery_spawn(n, task_count, &ran) == 0);
	EXPECT(nursery_spawn(dropped, task_until_cancelled, NULL) == 0);
	/* The tasks are past what they need for themselves. */
	while (!tasks_are_in("sleep", 2))
		;
	arm(1);
	kept = nursery_ref(n);
	t = nursery_token_of(n);
	EXPECT(nursery_wait(n, NURSERY_NEVER) == 0);
	EXPECT(nursery_current() == NULL && nursery_self() == NULL);
	EXPECT(nursery_task_id(NULL) == 0);
	EXPECT(nursery_task_name(NULL) == NULL);
	EXPECT(nursery_task_token(NULL) == NULL);
	nursery_drain(n);
	EXPECT(nursery_token_level(t) == NURSERY_DRAIN);
	nursery_cancel_with(inner, 5, NULL);
	EXPECT(nursery_close(&inner) == ECANCELED);
	nursery_cancel(n);
	EXPECT(nursery_close(&n) == ECANCELED);
	nursery_unref(kept);
	nursery_drop(&dropped);
	arm(0);
}

static int
fail_task(struct nursery_token *t, void *arg)
{
	(void)t;
	(void)arg;
	return EIO;
}

/* What ends while nothing can be had: errors, of which the first is kept. */
static int
fail_at_gate(struct nursery_token *t, void *gate)
{
	(void)t;
	gate_pass(gate);
	return EIO;
}

static void
keep_errors(void)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n = NULL;
	struct gate g;
	int i;

	gate_init(&g);
	a.policy = NURSERY_COLLECT;
	EXPECT(nursery_open(&n, &a) == 0);
	for (i = 0; i < 5; i++)
		EXPECT(nursery_spawn(n, fail_at_gate, &g) == 0);
	EXPECT(gate_await_by(&g, 5, patience()));
	arm(1);
	gate_open(&g);
	EXPECT(nursery_wait(n, NURSERY_NEVER) == 0);
	arm(0);
	EXPECT(nursery_close_with(&n, &r) == EIO);
	EXPECT(nursery_report_counts(r, &c) == 0);
	EXPECT(c.failed == 5);
	EXPECT(nursery_report_failed(r) >= 1);
	EXPECT(nursery_report_failure(r, 0, &f) == 0);
	EXPECT(f.code == EIO);
	nursery_report_free(r);
}

/* Reading a report needs nothing. */
static void
read_report(void)
{
	struct nursery_counts c = NURSERY_COUNTS_INIT;
	struct nursery_result f = NURSERY_RESULT_INIT;
	struct nursery_cause w = NURSERY_CAUSE_INIT;
	struct nursery_report *r = NULL;
	struct nursery *n = root();
	FILE *nowhere = fopen("/dev/null", "we");

	EXPECT(nursery_spawn(n, fail_task, NULL) == 0);
	EXPECT(nursery_close_with(&n, &r) == EIO);
	arm(1);
	EXPECT(nursery_report_counts(r, &c) == 0);
	EXPECT(nursery_report_failed(r) == 1);
	EXPECT(nursery_report_failure(r, 0, &f) == 0);
	EXPECT(nursery_report_unfinished(r) == 0);
	EXPECT(nursery_report_stuck(r, 0, &f) == EINVAL);
	EXPECT(nursery_report_cause(r, &w) == 0);
	EXPECT(nursery_report_print(r, nowhere) == 0);
	nursery_report_free(r);
	arm(0);
	fclose(nowhere);
}

/* ---- calls ---- */

struct ends {
	int fd[2];
};

static struct ends
sockets(void)
{
	struct ends e;

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, e.fd) == 0);
	return e;
}

static struct ends
pipes(void)
{
	struct ends e;

	EXPECT(pipe(e.fd) == 0);
	return e;
}

static void
fill(int fd)
{
	char page[4096] = { 0 };
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, page, sizeof page) > 0)
		;
	while (write(fd, page, 1) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void
close_ends(struct ends *e)
{
	close(e->fd[0]);
	close(e->fd[1]);
}

/* A call that would block, up to a deadline that is over soon. */
#define TRY_CALL(call) do { \
	struct nursery_token *t = token(NULL); \
	int64_t by = nursery_after(NURSERY_MS); \
	int rc_; \
	TRY(rc_, ETIMEDOUT, error_of(call)); \
	EXPECT(rc_ == ETIMEDOUT || is_shortage(rc_)); \
	nursery_token_unref(t); \
} while (0)

static void
try_sleep(void)
{
	struct nursery_token *t = token(NULL);
	int rc;

	TRY(rc, 0, nursery_sleep(t, 1));
	nursery_token_unref(t);
}

static void
try_poll(void)
{
	struct nursery_token *t = token(NULL);
	struct pollfd p[100];
	struct ends e = pipes();
	int rc, i;

	/* More than have room on the stack. */
	for (i = 0; i < 100; i++)
		p[i] = (struct pollfd){ .fd = e.fd[0], .events = POLLIN };
	TRY(rc, 0, error_of(nursery_poll(t, p, 100,
	    nursery_after(NURSERY_MS))));
	close_ends(&e);
	nursery_token_unref(t);
}

static void
try_read(void)
{
	struct ends e = pipes();
	char byte = 0;

	TRY_CALL(nursery_read(t, e.fd[0], &byte, 1, by));
	/* Nothing is lost by it. */
	EXPECT(write(e.fd[1], "x", 1) == 1);
	EXPECT(nursery_read(NULL, e.fd[0], &byte, 1, NURSERY_NEVER) == 1);
	EXPECT(byte == 'x');
	close_ends(&e);
}

/* A descriptor that only an interrupt can wake. */
static void
try_read_interrupted(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t value;

	TRY_CALL(nursery_read(t, fd, &value, sizeof value, by));
	close(fd);
}

static void
try_write(void)
{
	struct ends e = pipes();

	fill(e.fd[1]);
	TRY_CALL(nursery_write(t, e.fd[1], "x", 1, by));
	close_ends(&e);
}

static void
try_recv(void)
{
	struct ends e = sockets();
	char byte;

	TRY_CALL(nursery_recv(t, e.fd[0], &byte, 1, 0, by));
	close_ends(&e);
}

static void
try_send(void)
{
	struct ends e = sockets();

	fill(e.fd[1]);
	TRY_CALL(nursery_send(t, e.fd[1], "x", 1, 0, by));
	close_ends(&e);
}

static void
try_sendfile(void)
{
	struct ends e = sockets();
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	off_t at = 0;

	fill(e.fd[1]);
	TRY_CALL(nursery_sendfile(t, e.fd[1], file, &at, 1000, by));
	EXPECT(at == 0);
	close(file);
	close_ends(&e);
}

static int
listener(struct sockaddr_in *a, int backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *a;

	*a = (struct sockaddr_in){ .sin_family = AF_INET };
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	EXPECT(bind(fd, (struct sockaddr *)a, len) == 0);
	EXPECT(listen(fd, backlog) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)a, &len) == 0);
	return fd;
}

static void
try_accept(void)
{
	struct sockaddr_in a;
	int fd = listener(&a, 8);

	TRY_CALL(nursery_accept(t, fd, NULL, NULL, by));
	close(fd);
}

static void
try_connect(void)
{
	enum { FILLERS = 24 };
	int filler[FILLERS], fd, s, i;
	struct sockaddr_in a;

	fd = listener(&a, 0);
	for (i = 0; i < FILLERS; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(filler[i], (struct sockaddr *)&a, sizeof a);
	}
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	TRY_CALL(nursery_connect(t, s, (struct sockaddr *)&a, sizeof a, by));
	for (i = 0; i < FILLERS; i++)
		close(filler[i]);
	close(s);
	close(fd);
}

static void
try_read_full(void)
{
	struct ends e = pipes();
	struct nursery_token *t = token(NULL);
	size_t done = 99;
	char got[4];
	int rc;

	EXPECT(write(e.fd[1], "ab", 2) == 2);
	TRY(rc, ETIMEDOUT, nursery_read_full(t, e.fd[0], got, 4, &done,
	    nursery_after(NURSERY_MS)));
	EXPECT(rc != 0);
	/* What was read is counted, shortage or not. */
	EXPECT(done == 2 || (done == 0 && read(e.fd[0], got, 4) == 2));
	EXPECT(memcmp(got, "ab", 2) == 0);
	nursery_token_unref(t);
	close_ends(&e);
}

static void
try_write_all(void)
{
	struct ends e = pipes();
	struct nursery_token *t = token(NULL);
	static char data[1 << 20];
	size_t done = 99;
	int rc;

	TRY(rc, ETIMEDOUT, nursery_write_all(t, e.fd[1], data, sizeof data,
	    &done, nursery_after(NURSERY_MS)));
	EXPECT(rc != 0);
	EXPECT(done < sizeof data);
	fcntl(e.fd[0], F_SETFL, O_NONBLOCK);
	EXPECT((size_t)read(e.fd[0], data, sizeof data) == done ||
	    (done == 0 && errno == EAGAIN));
	nursery_token_unref(t);
	close_ends(&e);
}

static void
try_readv(void)
{
	struct ends e = pipes();
	char got[2] = { 0 };
	const struct iovec v[2] = { { got, 1 }, { got + 1, 1 } };

	TRY_CALL(nursery_readv(t, e.fd[0], v, 2, by));
	EXPECT(write(e.fd[1], "xy", 2) == 2);
	EXPECT(nursery_readv(NULL, e.fd[0], v, 2, NURSERY_NEVER) == 2);
	EXPECT(memcmp(got, "xy", 2) == 0);
	close_ends(&e);
}

static void
try_writev(void)
{
	struct ends e = pipes();
	char byte = 0;
	const struct iovec v[2] = { { &byte, 1 }, { &byte, 1 } };

	fill(e.fd[1]);
	TRY_CALL(nursery_writev(t, e.fd[1], v, 2, by));
	close_ends(&e);
}

static void
try_recvmsg(void)
{
	struct ends e = sockets();
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	TRY_CALL(nursery_recvmsg(t, e.fd[0], &m, 0, by));
	EXPECT(send(e.fd[1], "x", 1, 0) == 1);
	EXPECT(nursery_recvmsg(NULL, e.fd[0], &m, 0, NURSERY_NEVER) == 1);
	EXPECT(byte == 'x');
	close_ends(&e);
}

static void
try_sendmsg(void)
{
	struct ends e = sockets();
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	fill(e.fd[1]);
	TRY_CALL(nursery_sendmsg(t, e.fd[1], &m, 0, by));
	close_ends(&e);
}

/* Without a descriptor for it the call itself waits; without anything the
 * child is left to the next. */
static void
try_waitpid(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		for (;;)
			pause();
	TRY_CALL(nursery_waitpid(t, pid, NULL, by));
	kill(pid, SIGKILL);
	EXPECT(nursery_waitpid(NULL, pid, &status, NURSERY_NEVER) == pid);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What can be done at once needs nothing. */
static void
work_without_anything(void)
{
	struct nursery_token *t = token(NULL);
	struct ends e = sockets();
	struct sockaddr_in a;
	char pair[2] = "ab";
	struct iovec v[2] = { { pair, 1 }, { pair + 1, 1 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	int fd = listener(&a, 8), s[2], file = open("/proc/self/exe",
	    O_RDONLY | O_CLOEXEC);
	char got[8];
	off_t at = 0;
	size_t done;

	s[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)nursery_poll(t, NULL, 0, 1);	/* this thread is known */
	arm(1);
	EXPECT(nursery_send(t, e.fd[0], "ab", 2, 0, 0) == 2);
	EXPECT(nursery_write(t, e.fd[0], "cd", 2, 0) == 2);
	EXPECT(nursery_write_all(t, e.fd[0], "ef", 2, &done, 0) == 0);
	EXPECT(nursery_recv(t, e.fd[1], got, 2, 0, 0) == 2);
	EXPECT(nursery_read(t, e.fd[1], got, 2, 0) == 2);
	EXPECT(nursery_read_full(t, e.fd[1], got, 2, &done, 0) == 0);
	EXPECT(nursery_writev(t, e.fd[0], v, 2, 0) == 2);
	EXPECT(nursery_sendmsg(t, e.fd[0], &m, 0, 0) == 2);
	EXPECT(nursery_readv(t, e.fd[1], v, 2, 0) == 2);
	EXPECT(nursery_recvmsg(t, e.fd[1], &m, 0, 0) == 2);
	nursery_blocking_begin();
	nursery_blocking_end();
	EXPECT(nursery_now() > 0 && nursery_after(1) > 0);
	EXPECT(nursery_version() != NULL);
	arm(0);
	EXPECT(nursery_sendfile(t, e.fd[0], file, &at, 1, nursery_after(HOUR))
	    == 1);
	EXPECT(nursery_connect(t, s[0], (struct sockaddr *)&a, sizeof a,
	    nursery_after(HOUR)) == 0);
	s[1] = nursery_accept(t, fd, NULL, NULL, nursery_after(HOUR));
	EXPECT(s[1] >= 0);
	close(s[0]);
	close(s[1]);
	close(fd);
	close(file);
	close_ends(&e);
	nursery_token_unref(t);
}

/* ---- daemons and inspection ---- */

/* "ENOMEM as nursery_close_with": nothing happened. */
static void
try_stop(void)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_report *r = UNTOUCHED;
	struct nursery *n = root();
	int rc;

	how.cancel_for = HOUR;
	EXPECT(nursery_spawn(n, task_until_cancelled, NULL) == 0);
	TRY(rc, ECANCELED, nursery_stop(&n, &how, &r));
	EXPECT((rc == ECANCELED) == (n == NULL));
	EXPECT((rc == ECANCELED) == (r != UNTOUCHED));
	if (n == NULL) {
		nursery_report_free(r);
		return;
	}
	EXPECT(nursery_token_level(nursery_token_of(n)) == NURSERY_LIVE);
	nursery_drop(&n);
}

/* The nursery inside is in the tree, or at least counted. */
static void
print_in_vain(const struct nursery_report *r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	arm(0);
	f = open_memstream(&text, &len);
	EXPECT(f != NULL && nursery_report_print(r, f) == 0);
	fclose(f);
	EXPECT(strstr(text, "\n  nursery \"\" open, 1 tasks unfinished\n") !=
	    NULL || (hits > 0 && strstr(text, "1 nurseries inside are open")
	    != NULL));
	free(text);
}

/* Those who stay are named, one at least, or nothing happened. */
static void
try_stop_in_vain(void)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_report *r = UNTOUCHED;
	struct nursery *n = root(), *inner;
	struct gate g;
	int rc, i;

	gate_init(&g);
	how.drain_for = how.cancel_for = how.abort_for = NURSERY_MS;
	EXPECT(nursery_open_child(&inner, n, NULL) == 0);
	for (i = 0; i < 3; i++)
		EXPECT(nursery_spawn(i == 0 ? inner : n, task_at_gate,
		    &g) == 0);
	EXPECT(gate_await_by(&g, 3, patience()));
	TRY(rc, ETIMEDOUT, nursery_stop(&n, &how, &r));
	EXPECT(rc == ETIMEDOUT || rc == ENOMEM);
	EXPECT(n != NULL);
	EXPECT((rc == ETIMEDOUT) == (r != UNTOUCHED));
	if (rc == ETIMEDOUT) {
		EXPECT(nursery_report_unfinished(r) == 3 ||
		    (nursery_report_unfinished(r) == 1 && hits > 0));
		print_in_vain(r);
		nursery_report_free(r);
	} else {
		EXPECT(nursery_token_level(nursery_token_of(n)) ==
		    NURSERY_LIVE);
	}
	gate_open(&g);
	nursery_drop(&inner);
	nursery_drop(&n);
}

static void
try_stop_on_signals(void)
{
	struct nursery *n = root();
	struct sigaction old, now;
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaction(SIGUSR1, NULL, &old);
	TRY(rc, 0, nursery_stop_on_signals(n, &set, NURSERY_DRAIN));
	sigaction(SIGUSR1, NULL, &now);
	EXPECT((rc == 0) == (now.sa_handler != old.sa_handler));
	if (rc == 0) {
		kill(getpid(), SIGUSR1);
		EXPECT(nursery_token_wait_level(nursery_token_of(n),
		    NURSERY_DRAIN, patience()) == 0);
	}
	close_ok(n);
}

static void
pass(int signo, void *gate)
{
	(void)signo;
	gate_pass(gate);
}

static void
try_on_signal(void)
{
	struct nursery *n = root();
	struct sigaction old, now;
	struct gate g;
	int rc;

	gate_init(&g);
	gate_open(&g);
	sigaction(SIGUSR1, NULL, &old);
	TRY(rc, 0, nursery_on_signal(n, SIGUSR1, pass, &g));
	sigaction(SIGUSR1, NULL, &now);
	EXPECT((rc == 0) == (now.sa_handler != old.sa_handler));
	if (rc == 0) {
		kill(getpid(), SIGUSR1);
		EXPECT(gate_await_by(&g, 1, patience()));
	}
	close_ok(n);
}

/* A nursery inside that only its opener knows is shown, too. */
static void
try_dump(void)
{
	struct nursery *n = root(), *inner = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	EXPECT(nursery_open_child(&inner, n, NULL) == 0);
	TRY(rc, 0, nursery_dump(f, NURSERY_TEXT));
	fclose(f);
	/* Nothing is better than a part that looks like all. */
	EXPECT(rc == 0 || len == 0);
	free(text);
	close_ok(inner);
	close_ok(n);
}

static void
look_without_anything(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	struct nursery *n = root();

	arm(1);
	nursery_dump_from_signal(-1);
	EXPECT(nursery_get_stats(&s) == 0);
	arm(0);
	close_ok(n);
}

/* ---- waits ---- */

/* The mutex is held after whatever is returned. */
/* Not over before the wait has begun, though memcheck looks on. */
#define A_WHILE	(50 * NURSERY_MS)

static void
try_cond_wait(void)
{
	struct nursery_token *t = token(NULL);
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	int rc;

	pthread_mutex_lock(&m);
	TRY(rc, ETIMEDOUT, nursery_cond_wait(t, &c, &m, nursery_after(
	    A_WHILE)));
	EXPECT(rc != 0);
	EXPECT(pthread_mutex_trylock(&m) == EBUSY);
	pthread_mutex_unlock(&m);
	nursery_token_unref(t);
}

static void
try_sem_wait(void)
{
	struct nursery_token *t = token(NULL);
	int rc, value = -1;
	sem_t s;

	sem_init(&s, 0, 0);
	TRY(rc, ETIMEDOUT, nursery_sem_wait(t, &s, nursery_after(
	    A_WHILE)));
	EXPECT(rc != 0);
	sem_post(&s);
	sem_getvalue(&s, &value);
	EXPECT(value == 1);
	sem_destroy(&s);
	nursery_token_unref(t);
}

static void
try_channel_new(void)
{
	struct nursery_channel *c = UNTOUCHED;
	int rc;

	TRY(rc, 0, nursery_channel_new(&c, 100, 100));
	EXPECT((rc == 0) == (c != UNTOUCHED));
	if (rc == 0)
		nursery_channel_free(c);
}

/* In a thread that has no record yet. */
static void *
wait_in_channel(void *channel)
{
	int rc, item = 5;

	TRY(rc, ETIMEDOUT, nursery_channel_recv(NULL, channel, &item,
	    nursery_after(NURSERY_MS)));
	EXPECT(rc != 0 && item == 5);
	EXPECT(nursery_channel_send(NULL, channel, &item, 0) == 0);
	TRY(rc, ETIMEDOUT, nursery_channel_send(NULL, channel, &item,
	    nursery_after(NURSERY_MS)));
	EXPECT(rc != 0);
	return NULL;
}

static void
try_channel_wait(void)
{
	struct nursery_channel *c = NULL;
	pthread_t id;
	int item = 0;

	EXPECT(nursery_channel_new(&c, sizeof(int), 1) == 0);
	EXPECT(pthread_create(&id, NULL, wait_in_channel, c) == 0);
	pthread_join(id, NULL);
	EXPECT(nursery_channel_recv(NULL, c, &item, 0) == 0 && item == 5);
	EXPECT(nursery_channel_recv(NULL, c, &item, 0) == ETIMEDOUT);
	nursery_channel_free(c);
}

/* What need not be waited for needs nothing. */
static void
pass_without_anything(void)
{
	struct nursery_channel *c = NULL;
	struct nursery_token *t = token(NULL);
	int item = 5;
	sem_t s;

	EXPECT(nursery_channel_new(&c, sizeof(int), 1) == 0);
	sem_init(&s, 0, 1);
	arm(1);
	EXPECT(nursery_channel_send(t, c, &item, NURSERY_NEVER) == 0);
	EXPECT(nursery_channel_recv(t, c, &item, NURSERY_NEVER) == 0);
	nursery_channel_close(c);
	EXPECT(nursery_channel_recv(t, c, &item, NURSERY_NEVER) == EPIPE);
	nursery_channel_free(c);
	EXPECT(nursery_sem_wait(t, &s, NURSERY_NEVER) == 0);
	arm(0);
	sem_destroy(&s);
	nursery_token_unref(t);
}

/* What is not built says so, whatever there is to be had. */
static void
not_built(void)
{
	struct nursery *n = root();

	arm(1);
	EXPECT(nursery_spawn_process(n, NULL, NULL, NULL) == ENOTSUP);
	EXPECT(nursery_notify("READY=1") == ENOTSUP);
	arm(0);
	close_ok(n);
}

/* ---- the table ---- */

enum { SOME, NONE, ANY };	/* points that there are */

static const struct {
	void (*run)(void);
	int points;
	const char *functions;	/* without the prefix */
} scenarios[] = {
	{ try_token_new_first, SOME, "token_new" },
	{ try_token_new, SOME, "token_new" },
	{ try_token_new_at, SOME, "token_new_at" },
	{ try_token_new_shielded, SOME, "token_new_shielded" },
	{ try_token_new_any, SOME, "token_new_any" },
	{ try_token_fd, SOME, "token_fd token_level_fd" },
	{ try_signal_arm, SOME, "signal_arm token_cancel_from_signal" },
	{ try_token_set_deadline, SOME, "token_set_deadline" },
	/* These may find what they need in the thread's record. */
	{ try_token_wait, ANY, "token_wait" },
	{ try_token_wait_level, ANY, "token_wait_level" },
	{ try_token_run, SOME, "token_run" },
	/* A record of the thread is tried for, and done without. */
	{ try_token_on_cancel, ANY, "token_on_cancel token_on_level "
	    "callback_remove callback_try_remove" },
	{ raise_without_anything, NONE, "token_ref token_unref token_raise "
	    "token_cancel token_cancel_with token_cause token_deadline "
	    "token_drop token_take guard_drop interrupt_signal" },
	{ try_open, SOME, "open" },
	{ try_open_compute, SOME, "open" },
	{ try_open_child, SOME, "open_child" },
	{ try_open_under, SOME, "open_under" },
	{ try_adopt, SOME, "adopt" },
	{ try_spawn, SOME, "spawn" },
	{ try_spawn_compute, SOME, "spawn" },
	{ try_spawn_inside_compute, SOME, "spawn" },
	{ try_spawn_copy_compute, SOME, "spawn_copy" },
	{ try_spawn_with_compute, SOME, "spawn_with" },
	{ try_try_spawn, SOME, "try_spawn" },
	{ try_spawn_copy, SOME, "spawn_copy" },
	{ try_spawn_with, SOME, "spawn_with" },
	{ try_spawn_final, SOME, "spawn_with" },
	{ try_spawn_with_handle, SOME, "spawn_with" },
	{ try_spawn_service, SOME, "spawn_with" },
	{ try_start, SOME, "start started" },
	{ use_handles_without_anything, NONE, "task_join task_wait "
	    "task_cancel task_ref task_unref" },
	{ try_close_with, SOME, "close_with" },
	{ end_without_anything, NONE, "ref unref wait close cancel "
	    "cancel_with drain token_of current self drop task_id task_name "
	    "task_token" },
	{ keep_errors, SOME, "close_with" },
	{ read_report, NONE, "report_counts report_failed report_failure "
	    "report_unfinished report_stuck report_cause report_print "
	    "report_free" },
	{ try_sleep, ANY, "sleep" },
	{ try_poll, SOME, "poll" },
	{ try_read, SOME, "read" },
	{ try_read_interrupted, SOME, "read" },
	{ try_write, SOME, "write" },
	{ try_recv, SOME, "recv" },
	{ try_send, SOME, "send" },
	{ try_sendfile, SOME, "sendfile" },
	{ try_accept, SOME, "accept" },
	{ try_connect, SOME, "connect" },
	{ try_read_full, SOME, "read_full" },
	{ try_write_all, SOME, "write_all" },
	{ try_cond_wait, SOME, "cond_wait" },
	{ try_sem_wait, SOME, "sem_wait" },
	{ try_channel_new, SOME, "channel_new" },
	{ try_channel_wait, ANY, "channel_send channel_recv" },
	{ pass_without_anything, NONE, "channel_send channel_recv "
	    "channel_close channel_free sem_wait" },
	{ try_readv, SOME, "readv" },
	{ try_writev, SOME, "writev" },
	{ try_recvmsg, SOME, "recvmsg" },
	{ try_sendmsg, SOME, "sendmsg" },
	{ try_waitpid, SOME, "waitpid" },
	{ work_without_anything, NONE, "blocking_begin blocking_end now "
	    "after version" },
	{ try_stop, SOME, "stop" },
	{ try_stop_in_vain, SOME, "stop" },
	{ try_stop_on_signals, SOME, "stop_on_signals" },
	{ try_on_signal, SOME, "on_signal" },
	{ try_dump, SOME, "dump" },
	{ look_without_anything, NONE, "dump_from_signal get_stats" },
	{ not_built, NONE, "spawn_process notify" },
};
#define SCENARIOS	((int)(sizeof scenarios / sizeof scenarios[0]))

/* ---- running it, a process a point ---- */

static bool
nothing_lives(void)
{
	struct nursery_stats s = stats();

	return s.nurseries == 0 && s.tasks_running == 0 && s.tasks_queued ==
	    0 && s.tokens == 0;
}

static int
one_point(void *arg)
{
	scenarios[*(int *)arg].run();
	EXPECT(nothing_lives());
	if (faults > 0)
		return faults < NOT_REACHED ? faults : NOT_REACHED - 1;
	return hits > (also_from == also_to) ? 0 : NOT_REACHED;
}

/* False: there is no such point. */
static bool
is_point(int which)
{
	struct outcome o;

	run_forked(&o, one_point, &which);
	ck_assert_msg(WIFEXITED(o.status) && (WEXITSTATUS(o.status) == 0 ||
	    WEXITSTATUS(o.status) == NOT_REACHED),
	    "%s: point %d, also %d to %d: status 0x%x\n%s",
	    scenarios[which].functions, fail_at, also_from, also_to,
	    (unsigned)o.status, o.text);
	return WEXITSTATUS(o.status) == 0;
}

/* Each alone; or with all that come after it. */
static int
points_of(int which, bool lasting)
{
	for (fail_at = 0;; fail_at++) {
		also_from = fail_at + 1;
		also_to = lasting ? INT_MAX : fail_at;
		if (!is_point(which))
			return fail_at;
	}
}

static int
pairs_of(int which, int singles)
{
	int count = 0;

	for (fail_at = 0; fail_at < singles; fail_at++)
		for (also_to = fail_at + 1;; also_to++, count++) {
			also_from = also_to;
			if (!is_point(which))
				break;
		}
	return count;
}

START_TEST(test_fault_every_point)
{
	int single, all, pairs;

	nur_fault_hook = refuse;
	single = points_of(_i, false);
	all = points_of(_i, true);
	pairs = pairs_of(_i, single);
	nur_fault_hook = NULL;
	if (scenarios[_i].points == SOME)
		ck_assert(single > 0 && all > 0);
	if (scenarios[_i].points == NONE)
		ck_assert(single == 0 && all == 0);
	printf("%s: %d points alone, %d with all later ones, %d pairs\n",
	    scenarios[_i].functions, single, all, pairs);
	fflush(stdout);
}
END_TEST

static bool
has_scenario(const char *name)
{
	size_t len = strlen(name);
	const char *at;
	int i;

	for (i = 0; i < SCENARIOS; i++)
		for (at = scenarios[i].functions; at != NULL; at =
		    strchr(at, ' ')) {
			at += *at == ' ';
			if (strncmp(at, name, len) == 0 && (at[len] == '\0' ||
			    at[len] == ' '))
				return true;
		}
	return false;
}

/* What aborts needs no scenario. */
START_TEST(test_fault_every_exported_function_has_a_scenario)
{
	char line[200], name[128];
	FILE *map = fopen(EXPORT_MAP, "re");
	int missing = 0, exported = 0;

	ck_assert_ptr_nonnull(map);
	while (fgets(line, sizeof line, map) != NULL) {
		if (sscanf(line, " nursery_%127[a-z0-9_];", name) != 1)
			continue;
		exported++;
		if (has_scenario(name))
			continue;
		missing++;
		fprintf(stderr, "no scenario for nursery_%s\n", name);
	}
	fclose(map);
	ck_assert_int_gt(exported, 90);
	ck_assert_int_eq(missing, 0);
}
END_TEST

/* ---- what must go on although something was refused ---- */

static struct nursery *crowded;
static int behind, ran_behind;

/* While the thread of one task is being refused, another queues behind. */
static bool
queue_behind_and_refuse(enum nur_resource r)
{
	if (r != NUR_RES_THREAD || behind != 0)
		return false;
	behind = 1;
	behind = nursery_spawn(crowded, task_count, &ran_behind) == 0 ? 1 :
	    -1;
	return true;
}

static int
refuse_one_before_another(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int ran = 0, rc;

	(void)unused;
	a.max_running = 1;
	EXPECT(nursery_open(&crowded, &a) == 0);
	nur_fault_hook = queue_behind_and_refuse;
	rc = nursery_spawn(crowded, task_count, &ran);
	nur_fault_hook = NULL;
	EXPECT(rc == EAGAIN);
	EXPECT(behind == 1);
	/* It was accepted: it must run. */
	EXPECT(nursery_wait(crowded, nursery_after(5 * NURSERY_SECOND)) ==
	    0);
	EXPECT(ran == 0 && ran_behind == 1);
	if (ran_behind == 1)
		close_ok(crowded);
	return faults;
}

START_TEST(test_fault_task_behind_a_refused_one_runs)
{
	struct outcome o;

	run_forked(&o, refuse_one_before_another, NULL);
	assert_good(&o);
}
END_TEST

static bool
refuse_threads(enum nur_resource r)
{
	return r == NUR_RES_THREAD;
}

/* The same, and it is joined: nobody else looks after it. */
static struct nursery_task *behind_handle;
static int refused;

static bool
queue_behind_and_refuse_more(enum nur_resource r)
{
	if (r != NUR_RES_THREAD)
		return false;
	if (behind == 0) {
		behind = 1;
		behind = nursery_spawn_with(crowded, NULL, task_count,
		    &ran_behind, &behind_handle) == 0 ? 1 : -1;
	}
	return ++refused < 5;
}

static int
join_one_that_was_left(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int ran = 0;

	(void)unused;
	a.max_running = 1;
	EXPECT(nursery_open(&crowded, &a) == 0);
	nur_fault_hook = queue_behind_and_refuse_more;
	EXPECT(nursery_spawn(crowded, task_count, &ran) == EAGAIN);
	EXPECT(behind == 1);
	EXPECT(nursery_task_join(&behind_handle, NULL) == 0);
	nur_fault_hook = NULL;
	EXPECT(ran_behind == 1 && refused == 5);
	close_ok(crowded);
	return faults;
}

START_TEST(test_fault_join_of_a_task_left_without_a_thread_runs_it)
{
	struct outcome o;

	run_forked(&o, join_one_that_was_left, NULL);
	assert_good(&o);
}
END_TEST

/* The one who would have gone on with the queue leaves; the cancel comes while
 * a thread for it is being refused. */
static bool
cancel_and_refuse(enum nur_resource r)
{
	if (r != NUR_RES_THREAD)
		return false;
	nursery_cancel(crowded);
	refused++;
	return true;
}

static int
exit_when_told(struct nursery_token *t, void *told)
{
	(void)t;
	while (counted(told) == 0)
		sched_yield();
	pthread_exit(NULL);
}

static int
cancel_one_without_a_thread(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	int ran = 0, told = 0;

	(void)unused;
	a.policy = NURSERY_COLLECT;	/* its exit cancels nobody */
	a.max_running = 1;
	EXPECT(nursery_open(&crowded, &a) == 0);
	EXPECT(nursery_spawn(crowded, exit_when_told, &told) == 0);
	EXPECT(nursery_spawn(crowded, task_count, &ran) == 0);
	nur_fault_hook = cancel_and_refuse;
	count_up(&told);
	EXPECT(nursery_close(&crowded) != 0);
	nur_fault_hook = NULL;
	EXPECT(ran == 0 && refused == 1);
	return faults;
}

START_TEST(test_fault_cancelled_task_without_a_thread_is_discarded)
{
	struct outcome o;

	run_forked(&o, cancel_one_without_a_thread, NULL);
	assert_good(&o);
}
END_TEST

/* ---- tasks that may run in the spawner ---- */

struct inline_run {
	struct nursery *n;
	struct nursery_token *token;
	struct nursery_task *self;
	int ran, tid, depth, rc;
	int join, wait, close;
};

static int
spawn_inline(struct nursery *n, nursery_fn *fn, void *arg,
    struct nursery_task **out)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	bool (*hook)(enum nur_resource) = nur_fault_hook;
	int rc;

	a.flags = NURSERY_TASK_MAY_INLINE;
	a.name = "inline";
	nur_fault_hook = refuse_threads;
	rc = nursery_spawn_with(n, &a, fn, arg, out);
	nur_fault_hook = hook;
	return rc;
}

static int
note_where(struct nursery_token *t, void *arg)
{
	struct inline_run *r = arg;

	r->ran++;
	r->tid = own_tid();
	r->token = t;
	EXPECT(nursery_current() == r->n);
	EXPECT(strcmp(nursery_task_name(nursery_self()), "inline") == 0);
	EXPECT(!nursery_token_is_cancelled(t));
	if (r->depth-- > 0)
		EXPECT(spawn_inline(r->n, note_where, r, NULL) == 0);
	return r->depth < 0 ? r->rc : 0;
}

static int
run_in_the_spawner(void *unused)
{
	struct inline_run r = { .n = root(), .depth = 2 };
	struct nursery *kept = NULL;
	struct nursery_task *t = NULL;
	int result = -1;

	(void)unused;
	/* With a thread to be had it has its own. */
	EXPECT(nursery_open_child(&kept, r.n, NULL) == 0);
	EXPECT(spawn_inline(r.n, note_where, &r, &t) == 0);
	EXPECT(r.ran == 3 && r.tid == own_tid());
	EXPECT(nursery_task_join(&t, &result) == 0 && result == 0);
	EXPECT(nursery_self() == NULL && nursery_current() == NULL);
	/* What the spawner has open stays open. */
	EXPECT(nursery_close(&kept) == 0);
	r.depth = 0;
	r.rc = 9;
	EXPECT(spawn_inline(r.n, note_where, &r, NULL) == 0);
	EXPECT(nursery_close(&r.n) == 9);
	return faults;
}

START_TEST(test_fault_task_that_may_runs_in_the_spawner)
{
	struct outcome o;

	run_forked(&o, run_in_the_spawner, NULL);
	assert_good(&o);
}
END_TEST

static int
leave_open(struct nursery_token *t, void *arg)
{
	struct nursery *inner = NULL;

	(void)t;
	EXPECT(nursery_open_child(&inner, nursery_current(), NULL) == 0);
	EXPECT(nursery_spawn(inner, task_ends_well_when_cancelled, NULL) ==
	    EAGAIN);
	(void)arg;
	return 0;
}

static int
ask_about_the_outer(struct nursery_token *t, void *arg)
{
	struct inline_run *r = arg;

	(void)t;
	/* It would wait for the spawner, which waits for it. */
	r->join = nursery_task_wait(r->self, NURSERY_NEVER);
	r->wait = nursery_wait(r->n, NURSERY_NEVER);
	r->close = nursery_close(&(struct nursery *){ r->n });
	return 0;
}

static int
spawn_inline_from_task(struct nursery_token *t, void *arg)
{
	struct inline_run *r = arg;
	struct nursery *own = NULL;

	(void)t;
	r->self = nursery_task_ref(nursery_self());
	EXPECT(nursery_open(&own, NULL) == 0);
	EXPECT(spawn_inline(own, leave_open, NULL, NULL) == 0);
	EXPECT(spawn_inline(own, ask_about_the_outer, r, NULL) == ECANCELED);
	EXPECT(nursery_self() == r->self);
	EXPECT(nursery_close(&own) == ENOTEMPTY);
	EXPECT(nursery_open(&own, NULL) == 0);
	EXPECT(spawn_inline(own, ask_about_the_outer, r, NULL) == 0);
	EXPECT(nursery_close(&own) == 0);
	nursery_task_unref(r->self);
	return 0;
}

static int
run_inside_a_task(void *unused)
{
	struct inline_run r = { .n = root() };

	(void)unused;
	EXPECT(nursery_spawn(r.n, spawn_inline_from_task, &r) == 0);
	EXPECT(nursery_close(&r.n) == 0);
	EXPECT(r.join == EDEADLK && r.wait == EDEADLK && r.close == EDEADLK);
	return faults;
}

START_TEST(test_fault_inline_task_knows_the_one_around_it)
{
	struct outcome o;

	run_forked(&o, run_inside_a_task, NULL);
	assert_good(&o);
}
END_TEST

static int
exit_thread(struct nursery_token *t, void *arg)
{
	(void)t;
	count_up(arg);
	pthread_exit(NULL);
}

static void *
spawn_one_that_exits(void *arg)
{
	struct inline_run *r = arg;

	(void)spawn_inline(r->n, exit_thread, &r->ran, NULL);
	r->depth = -1;	/* not reached */
	return NULL;
}

static int
exit_in_the_spawner(void *unused)
{
	struct inline_run r = { .n = root() };
	pthread_t id;

	(void)unused;
	EXPECT(pthread_create(&id, NULL, spawn_one_that_exits, &r) == 0);
	EXPECT(pthread_join(id, NULL) == 0);
	nur_fault_hook = NULL;
	EXPECT(r.ran == 1 && r.depth == 0);
	EXPECT(nursery_close(&r.n) == ENOTRECOVERABLE);
	return faults;
}

START_TEST(test_fault_inline_task_that_exits_takes_the_spawner_along)
{
	struct outcome o;

	run_forked(&o, exit_in_the_spawner, NULL);
	assert_good(&o);
}
END_TEST

/* Full, nobody runs and nobody can: it does not wait, it runs. */
static int
run_inline_past_the_queue(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct inline_run r = { .depth = 0 };
	int ran = 0;

	(void)unused;
	a.max_running = a.max_queued = 1;
	EXPECT(nursery_open(&crowded, &a) == 0);
	refused = -1000;
	nur_fault_hook = queue_behind_and_refuse_more;
	EXPECT(nursery_spawn(crowded, task_count, &ran) == EAGAIN);
	EXPECT(behind == 1);
	r.n = crowded;
	nur_fault_hook = refuse_threads;
	EXPECT(spawn_inline(crowded, note_where, &r, NULL) == 0);
	nur_fault_hook = NULL;
	EXPECT(r.ran == 1);
	nursery_task_unref(behind_handle);
	close_ok(crowded);
	EXPECT(ran_behind == 1);
	return faults;
}

START_TEST(test_fault_inline_task_does_not_wait_for_what_cannot_come)
{
	struct outcome o;

	run_forked(&o, run_inline_past_the_queue, NULL);
	assert_good(&o);
}
END_TEST

struct waiting_member {
	int rc, ran;
};

static int
spawn_twice_without_threads(struct nursery_token *t, void *arg)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	struct waiting_member *m = arg;

	(void)t;
	m->rc = nursery_spawn(nursery_current(), task_count, &m->ran);
	if (m->rc != 0)
		return 0;
	/* Full now: this one gives its place away, but to whom? */
	nur_fault_hook = refuse_threads;
	a.spawn_by = nursery_after(5 * NURSERY_SECOND);
	m->rc = nursery_spawn_with(nursery_current(), &a, task_count,
	    &m->ran, NULL);
	nur_fault_hook = NULL;
	return 0;
}

static int
give_a_place_away_in_vain(void *unused)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;
	struct waiting_member m = { -1, 0 };
	struct nursery *n = NULL;

	(void)unused;
	a.max_running = a.max_queued = 1;
	EXPECT(nursery_open(&n, &a) == 0);
	EXPECT(nursery_spawn(n, spawn_twice_without_threads, &m) == 0);
	close_ok(n);
	/* It must not wait for what cannot come. */
	EXPECT(m.rc == 0 || m.rc == EAGAIN);
	EXPECT(m.ran == (m.rc == 0 ? 2 : 1));
	return faults;
}

START_TEST(test_fault_member_that_waits_without_a_thread_to_be_had)
{
	struct outcome o;

	run_forked(&o, give_a_place_away_in_vain, NULL);
	assert_good(&o);
}
END_TEST

static int
read_one(struct nursery_token *t, void *fd)
{
	char byte;

	return error_of(nursery_read(t, *(int *)fd, &byte, 1,
	    NURSERY_NEVER));
}

/* At the system's own limit of descriptors a cancel still ends a read. */
static int
cancel_without_descriptors(void *unused)
{
	struct nursery *n = root();
	struct ends e = pipes();
	struct rlimit none = { 0, 0 };

	(void)unused;
	EXPECT(getrlimit(RLIMIT_NOFILE, &none) == 0);
	none.rlim_cur = (rlim_t)dup(0);
	close((int)none.rlim_cur);
	EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0);
	EXPECT(dup(0) == -1);
	EXPECT(nursery_spawn(n, read_one, &e.fd[0]) == 0);
	EXPECT(nursery_spawn(n, read_one, &e.fd[0]) == 0);
	nursery_cancel(n);
	EXPECT(nursery_close(&n) == ECANCELED);
	close_ends(&e);
	return faults;
}

START_TEST(test_fault_cancel_ends_a_read_when_there_are_no_descriptors)
{
	struct outcome o;

	run_forked(&o, cancel_without_descriptors, NULL);
	assert_good(&o);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fault");
	TCase *c = leakless_case("fault");

	tcase_add_loop_test(c, test_fault_every_point, 0, SCENARIOS);
	tcase_add_test(c,
	    test_fault_every_exported_function_has_a_scenario);
	tcase_add_test(c, test_fault_task_behind_a_refused_one_runs);
	tcase_add_test(c,
	    test_fault_join_of_a_task_left_without_a_thread_runs_it);
	tcase_add_test(c,
	    test_fault_cancelled_task_without_a_thread_is_discarded);
	tcase_add_test(c, test_fault_task_that_may_runs_in_the_spawner);
	tcase_add_test(c, test_fault_inline_task_knows_the_one_around_it);
	tcase_add_test(c,
	    test_fault_inline_task_that_exits_takes_the_spawner_along);
	tcase_add_test(c,
	    test_fault_inline_task_does_not_wait_for_what_cannot_come);
	tcase_add_test(c,
	    test_fault_member_that_waits_without_a_thread_to_be_had);
	tcase_add_test(c,
	    test_fault_cancel_ends_a_read_when_there_are_no_descriptors);
	suite_add_tcase(s, c);
	return run_suite(s);
}
