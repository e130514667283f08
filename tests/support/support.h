/* SPDX-License-Identifier: MIT */
/*
 * What the tests share: one way to run a suite, the teardown that asserts
 * that nothing is left, and the means to make a state certain instead of
 * sleeping until it is likely.
 *
 * Waits here are bounded, so that a lost wake-up is a failed test and not a
 * test that never ends; CK_TIMEOUT_MULTIPLIER stretches the bounds.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>

#include <check.h>
#include <nursery.h>

/* ---- assertions ---- */

/* An assertion that holds costs nothing: libcheck's own writes to a file that
 * it was there, which is most of what a test that asserts in a loop does. */
#undef ck_assert
#undef ck_assert_msg
#define ck_assert(expr)		ck_assert_msg((expr), "'%s' failed", #expr)
#define ck_assert_msg(expr, ...)	do {				\
	if (!(expr))							\
		ck_abort_msg(__VA_ARGS__);				\
} while (0)

/* ---- suites ---- */

/* NUR_TEST in the environment names one test: then the others are left out. */
#undef tcase_add_test
#undef tcase_add_loop_test
#define tcase_add_test(c, test)			add_test((c), (test), 0, 1)
#define tcase_add_loop_test(c, test, from, to)	add_test((c), (test), (from), \
	(to))
void add_test(TCase *c, const TTest *test, int from, int to);

/* Runs one suite; the program's exit status. */
int run_suite(Suite *s);
/*
 * A case whose tests must leave no token, nursery, task or descriptor.  A
 * test that hangs writes the tree before it is killed.
 */
TCase *leakless_case(const char *name);
/* Fails the test if any object lives; for the middle of a test. */
void assert_nothing_lives(void);
/* How long a test waits for what must come: a deadline.  NUR_PATIENCE and
 * NUR_TEST_TIMEOUT, in seconds, shorten it and the life of a test where bugs
 * are planted on purpose. */
int64_t patience(void);
/* `n`, or a tenth where every instruction costs more. */
unsigned scaled(unsigned n);
/* True under valgrind or a sanitizer: costs mean nothing there. */
bool costs_are_distorted(void);
/* True under ThreadSanitizer, which runs a handler only when the thread next
 * passes one of its interceptors: not while it sleeps in a futex. */
bool handlers_are_delayed(void);
/* False under a sanitizer, whose own locks may be held by a thread that
 * the child of a fork does not have. */
bool fork_is_safe_while_threads_work(void);

/* ---- gates ---- */

/* A gate holds threads until it is opened. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int arrived;
	int open;
};
void gate_init(struct gate *g);
/* Called by what is to be held: counts itself, waits until it is open. */
void gate_pass(struct gate *g);
/* Waits until `count` stand at the gate. */
void gate_await(struct gate *g, int count);
/* The same by the deadline: false if they did not come. */
bool gate_await_by(struct gate *g, int count, int64_t deadline);
void gate_open(struct gate *g);

/* ---- looking from outside ---- */

/* The dump as text, for free(). */
char *dump_text(void);
/* Waits until the dump contains the text. */
void await_in_dump(const char *text);
/* Waits until exactly `count` tasks are recorded in `op` and their threads
 * are asleep in the kernel. */
void await_tasks_in(const char *op, int count);
/* Whether it is so now; asserts nothing, so that it may be asked where no
 * test runs: in another process. */
bool tasks_are_in(const char *op, int count);
/* Waits until the thread with this kernel id is asleep. */
void await_asleep(pid_t tid);
/* Waits until every other thread of the process is asleep. */
void await_others_asleep(void);
/* Waits until the library has that many idle threads and no others. */
void await_idle_threads(unsigned count);
pid_t own_tid(void);
/* Memory that the process holds now, in KiB. */
long resident_memory(void);
/* Open descriptors, the library's eventfds apart. */
int count_descriptors(void);

/* Whether two signal masks hold the same signals; memcmp also sees what the
 * system never writes. */
bool same_signals(const sigset_t *a, const sigset_t *b);

/* ---- threads of the application ---- */

pthread_t start_thread(void *(*fn)(void *), void *arg);
/* Joins; what fn returned. */
void *end_thread(pthread_t id);

/* ---- chance ---- */

struct rng {
	uint64_t state;
};
/* NUR_SEED from the environment, else drawn; printed by main through
 * announce_seed(), so that a run can be repeated. */
uint64_t test_seed(void);
void announce_seed(const char *program);
void rng_init(struct rng *r, uint64_t salt);
unsigned rng_below(struct rng *r, unsigned bound);
/* NUR_ROUNDS from the environment, else `quick`. */
unsigned rounds(unsigned quick);

/* ---- processes ---- */

/* What a child process said and how it ended (as waitpid has it). */
struct outcome {
	int status;
	char text[8192];
};
/* Runs fn(arg) in a forked child that is killed after a while; its standard
 * error is kept.  The child exits with what fn returns. */
void run_forked(struct outcome *o, int (*fn)(void *), void *arg);
/* Runs this very program again, as `part` (see child_part), with `env`
 * ("NAME=value", NULL at the end, may be NULL) in its environment. */
void run_again(struct outcome *o, const char *part, const char *const *env);
/* The path of this program; valgrind cannot run /proc/self/exe. */
void own_path(char *to, size_t size);
/* In main: the part to play, or NULL for the suite. */
const char *child_part(void);
/* As waitpid with a pid and no flags, whatever signals come meanwhile. */
pid_t reap(pid_t pid, int *status);
/* The child exited with 0. */
void assert_good(const struct outcome *o);
/* The child wrote one line with `message` in it and aborted. */
void assert_aborted(const struct outcome *o, const char *message);

#endif
