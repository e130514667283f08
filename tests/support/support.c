/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "support.h"

#include "storm.h"

#include "base/poison.h"
#include "base/slab.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND	0
#define VALGRIND_DISABLE_ERROR_REPORTING	((void)0)
#define VALGRIND_ENABLE_ERROR_REPORTING	((void)0)
#endif

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN	1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN	1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN	1
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN	1
#endif

#ifdef UNDER_TSAN
/* Tests fork while threads run, and the children start threads; each test is a
 * process and need not wait for stragglers; one report is enough. */
const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *
__tsan_default_options(void)
{
	return "die_after_fork=0:atexit_sleep_ms=0:halt_on_error=1:"
	    "exitcode=66";
}
#endif

#define CASE_TIMEOUT	60
#define PATIENCE	20	/* seconds */

static int descriptors_before;

/* ---- suites ---- */

static unsigned
multiplier(void)
{
	const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
	int v = text == NULL ? 1 : atoi(text);

	return v < 1 ? 1u : (unsigned)v;
}

static unsigned
patience_in_seconds(void)
{
	const char *text = getenv("NUR_PATIENCE");
	int v = text == NULL ? 0 : atoi(text);

	return (v > 0 ? (unsigned)v : PATIENCE) * multiplier();
}

int64_t
patience(void)
{
	return nursery_after(patience_in_seconds() * NURSERY_SECOND);
}

bool
costs_are_distorted(void)
{
#if defined UNDER_TSAN || defined UNDER_ASAN
	return true;
#else
	return RUNNING_ON_VALGRIND != 0;
#endif
}

bool
handlers_are_delayed(void)
{
#ifdef UNDER_TSAN
	return true;
#else
	return false;
#endif
}

/* A thread that begins or ends, or allocates, may hold a lock of the
 * sanitizer's own: gcc 12's ThreadSanitizer takes that of its inner allocator
 * for no fork, and the child's first new thread waits for it for ever. */
bool
fork_is_safe_while_threads_work(void)
{
#if defined UNDER_ASAN || defined UNDER_TSAN
	return false;
#else
	return true;
#endif
}

unsigned
scaled(unsigned n)
{
#if defined UNDER_TSAN || defined UNDER_ASAN
	return n / 10;
#else
	return RUNNING_ON_VALGRIND ? n / 10 : n;
#endif
}

void
add_test(TCase *c, const TTest *test, int from, int to)
{
	const char *only = getenv("NUR_TEST");

	if (only == NULL || strcmp(only, test->name) == 0)
		_tcase_add_test(c, test, 0, 0, from, to);
}

/* nohup, and a shell for what it puts in the background, let a program start
 * with these ignored, and such a signal stays so. */
__attribute__((constructor)) static void
ignore_nothing(void)
{
	(void)signal(SIGHUP, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
}

int
run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Slots that were taken and not given back.  Threads keep some ready for
 * their next use, but not where memory is watched; and there free slots are
 * poisoned, which this must not see.
 */
__attribute__((no_sanitize_address)) static uint64_t
slots_in_use(struct nur_slab *s)
{
	const struct nur_chunk *c;
	void **slot;
	uint64_t n = 0;

	nur_lock(&s->lock);
	VALGRIND_DISABLE_ERROR_REPORTING;
	for (c = s->chunks; c != NULL; c = c->next)
		n += c->used;
	for (slot = s->free; slot != NULL; slot = slot[1])
		n--;
	VALGRIND_ENABLE_ERROR_REPORTING;
	nur_unlock(&s->lock);
	return n;
}

/* The last touch of a task is the end of its memory, after the close. */
static void
await_threads_to_idle(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	int64_t until = patience();

	do {
		ck_assert_int_eq(nursery_get_stats(&s), 0);
		ck_assert_msg(nursery_now() < until, "%u of %u threads idle",
		    (unsigned)s.idle_threads, (unsigned)s.threads);
		sched_yield();
	} while (s.idle_threads != s.threads);
}

static void
assert_slab_is_empty(const void *object)
{
	struct nur_slab *s = nur_chunk_of(object)->slab;
	int64_t until = patience();

	ck_assert_msg(nur_slab_live(s) == 0, "%s: %u live", s->name,
	    (unsigned)nur_slab_live(s));
	if (!nur_memory_is_watched())
		return;
	/* A thread of the library's, which has served it, lets it go. */
	while (slots_in_use(s) != 0 && nursery_now() < until)
		sched_yield();
	ck_assert_msg(slots_in_use(s) == 0, "%s: %u slots leaked", s->name,
	    (unsigned)slots_in_use(s));
}

static int
note_self(struct nursery_token *t, void *arg)
{
	(void)t;
	*(struct nursery_task **)arg = nursery_self();
	return 0;
}

/* What the counters cannot show.  A token, a nursery and a task made for the
 * purpose say which slabs those are. */
static void
assert_slabs_are_empty(void)
{
	struct nursery_task *task = NULL;
	struct nursery_token *t;
	struct nursery *n;
	const void *nursery;

	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	ck_assert_int_eq(nursery_open(&n, NULL), 0);
	nursery = n;
	ck_assert_int_eq(nursery_spawn(n, note_self, &task), 0);
	ck_assert_int_eq(nursery_close(&n), 0);
	nursery_token_unref(t);
	await_threads_to_idle();
	assert_slab_is_empty(t);
	assert_slab_is_empty(nursery);
	assert_slab_is_empty(task);
}

static void
assert_counters_are_zero(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	ck_assert_int_eq(nursery_get_stats(&s), 0);
	ck_assert_uint_eq(s.nurseries, 0);
	ck_assert_uint_eq(s.tasks_running, 0);
	ck_assert_uint_eq(s.tasks_queued, 0);
	ck_assert_uint_eq(s.tokens, 0);
}

void
assert_nothing_lives(void)
{
	assert_counters_are_zero();
	assert_slabs_are_empty();
}

static int
case_timeout(void)
{
	const char *text = getenv("NUR_TEST_TIMEOUT");
	int v = text == NULL ? 0 : atoi(text);

	return v > 0 ? v : CASE_TIMEOUT;
}

/* The test is about to be killed as hanging: show on what. */
static void
show_and_die(int signo)
{
	static const char text[] = "the test hangs; the tree:\n";

	(void)signo;
	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(1);
	(void)nursery_dump(stderr, NURSERY_TEXT);
	abort();
}

static void
before_test(void)
{
	int timeout = case_timeout() * (int)multiplier();

	(void)signal(SIGALRM, show_and_die);
	(void)alarm((unsigned)(timeout - 2));
	descriptors_before = count_descriptors();
	storm_begin();
}

static void
after_test(void)
{
	storm_end();
	assert_nothing_lives();
	ck_assert_int_eq(count_descriptors(), descriptors_before);
	(void)alarm(0);
}

TCase *
leakless_case(const char *name)
{
	TCase *c = tcase_create(name);

	tcase_set_timeout(c, case_timeout());
	tcase_add_checked_fixture(c, before_test, after_test);
	return c;
}

/* ---- gates ---- */

void
gate_init(struct gate *g)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, &a);
	pthread_condattr_destroy(&a);
	g->arrived = g->open = 0;
}

void
gate_pass(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->arrived++;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

bool
gate_await_by(struct gate *g, int count, int64_t deadline)
{
	struct timespec until = {
		.tv_sec = (time_t)(deadline / NURSERY_SECOND),
		.tv_nsec = (long)(deadline % NURSERY_SECOND)
	};
	bool came;
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	while (g->arrived < count && rc == 0)
		rc = pthread_cond_timedwait(&g->changed, &g->lock, &until);
	came = g->arrived >= count;
	pthread_mutex_unlock(&g->lock);
	return came;
}

void
gate_await(struct gate *g, int count)
{
	ck_assert_msg(gate_await_by(g, count, patience()),
	    "fewer than %d came to the gate", count);
}

void
gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = 1;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

/* ---- looking from outside ---- */

/* No assertion: also used where no test runs. */
static char *
try_dump_text(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return NULL;
	if (nursery_dump(f, NURSERY_TEXT) != 0)
		len = 0;
	fclose(f);
	return text;
}

char *
dump_text(void)
{
	char *text = try_dump_text();

	ck_assert_ptr_nonnull(text);
	return text;
}

void
await_in_dump(const char *wanted)
{
	int64_t until = patience();
	char *text;
	bool found = false;

	while (!found) {
		text = dump_text();
		found = strstr(text, wanted) != NULL;
		if (!found && nursery_now() >= until)
			ck_abort_msg("\"%s\" is not in the dump:\n%s", wanted,
			    text);
		free(text);
		sched_yield();
	}
}

static bool
is_asleep(pid_t tid)
{
	char path[64], line[512], state = '?';
	const char *after;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	/* The name before the state may hold blanks, but ends in ')'. */
	if (fgets(line, sizeof line, f) != NULL &&
	    (after = strrchr(line, ')')) != NULL && after[1] == ' ')
		state = after[2];
	fclose(f);
	return state == 'S';
}

void
await_asleep(pid_t tid)
{
	int64_t until = patience();

	while (!is_asleep(tid)) {
		ck_assert_msg(nursery_now() < until,
		    "thread %d does not sleep", (int)tid);
		sched_yield();
	}
}

static bool
others_sleep(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	bool all = true;
	pid_t tid;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		tid = atoi(e->d_name);
		if (tid > 0 && tid != own_tid() && !is_asleep(tid))
			all = false;
	}
	closedir(d);
	return all;
}

void
await_others_asleep(void)
{
	int64_t until = patience();

	while (!others_sleep()) {
		ck_assert_msg(nursery_now() < until, "somebody is busy");
		sched_yield();
	}
}

bool
tasks_are_in(const char *op, int count)
{
	char *text = try_dump_text(), *line, *save = NULL, where[2][64];
	const char *thread;
	int n = 0;

	snprintf(where[0], sizeof where[0], " in %s ", op);
	snprintf(where[1], sizeof where[1], " in %s(", op);
	for (line = text == NULL ? NULL : strtok_r(text, "\n", &save);
	    line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (strstr(line, where[0]) == NULL &&
		    strstr(line, where[1]) == NULL)
			continue;
		thread = strstr(line, " thread ");
		if (thread != NULL && is_asleep(atoi(thread + 8)))
			n++;
	}
	free(text);
	return n == count;
}

void
await_tasks_in(const char *op, int count)
{
	int64_t until = patience();

	while (!tasks_are_in(op, count)) {
		ck_assert_msg(nursery_now() < until, "no %d tasks in %s",
		    count, op);
		sched_yield();
	}
}

void
await_idle_threads(unsigned count)
{
	struct nursery_stats s = NURSERY_STATS_INIT;
	int64_t until = patience();

	for (;;) {
		ck_assert_int_eq(nursery_get_stats(&s), 0);
		if (s.threads == count && s.idle_threads == count)
			return;
		ck_assert_msg(nursery_now() < until,
		    "%u of %u threads are idle", (unsigned)s.idle_threads,
		    (unsigned)s.threads);
		sched_yield();
	}
}

pid_t
own_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

long
resident_memory(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long total = 0, resident = -1;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld %ld", &total, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Or none any more: a thread that ends closes its own meanwhile. */
static bool
is_eventfd(const char *name)
{
	char path[300], what[64];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/self/fd/%s", name);
	n = readlink(path, what, sizeof what - 1);
	what[n < 0 ? 0 : n] = '\0';
	return n < 0 || strstr(what, "eventfd") != NULL;
}

int
count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && !is_eventfd(e->d_name))
			n++;
	closedir(d);
	return n;
}

bool
same_signals(const sigset_t *a, const sigset_t *b)
{
	int signo;

	for (signo = 1; signo <= SIGRTMAX; signo++)
		if (sigismember(a, signo) != sigismember(b, signo))
			return false;
	return true;
}

/* ---- threads of the application ---- */

pthread_t
start_thread(void *(*fn)(void *), void *arg)
{
	pthread_t id;

	ck_assert_int_eq(pthread_create(&id, NULL, fn, arg), 0);
	return id;
}

void *
end_thread(pthread_t id)
{
	void *result;

	ck_assert_int_eq(pthread_join(id, &result), 0);
	return result;
}

/* ---- chance ---- */

uint64_t
test_seed(void)
{
	static uint64_t seed;
	const char *text = getenv("NUR_SEED");

	if (seed != 0)
		return seed;
	if (text != NULL)
		seed = strtoull(text, NULL, 10);
	else
		seed = (uint64_t)nursery_now() * 2654435761u % 1000000007u;
	if (seed == 0)
		seed = 1;
	return seed;
}

void
announce_seed(const char *program)
{
	printf("%s: NUR_SEED=%llu\n", program,
	    (unsigned long long)test_seed());
	fflush(stdout);
}

void
rng_init(struct rng *r, uint64_t salt)
{
	unsigned i;

	r->state = test_seed() * UINT64_C(0x9e3779b97f4a7c15) ^
	    (salt + 1) * UINT64_C(0xbf58476d1ce4e5b9);
	if (r->state == 0)
		r->state = 1;
	for (i = 0; i < 8; i++)
		(void)rng_below(r, 2);
}

unsigned
rng_below(struct rng *r, unsigned bound)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (unsigned)((r->state >> 32) % bound);
}

unsigned
rounds(unsigned quick)
{
	const char *text = getenv("NUR_ROUNDS");
	long v = text == NULL ? 0 : atol(text);

	return v > 0 ? (unsigned)v : quick;
}

/* ---- processes ---- */

pid_t
reap(pid_t pid, int *status)
{
	pid_t got;

	do {
		got = waitpid(pid, status, 0);
	} while (got < 0 && errno == EINTR);
	return got;
}

/* Reads what the child says until its last descriptor is closed. */
static void
collect(struct outcome *o, int from, pid_t pid)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(from, o->text + len, sizeof o->text - 1 - len)) > 0
	    || (n < 0 && errno == EINTR))
		len += n > 0 ? (size_t)n : 0;
	o->text[len] = '\0';
	close(from);
	ck_assert_int_eq(reap(pid, &o->status), pid);
}

static pid_t
fork_with_pipe(int ends[2])
{
	pid_t pid;

	if (!fork_is_safe_while_threads_work())
		await_others_asleep();
	fflush(NULL);
	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid != 0) {
		close(ends[1]);
		return pid;
	}
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(patience_in_seconds());
	dup2(ends[1], STDERR_FILENO);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

void
run_forked(struct outcome *o, int (*fn)(void *), void *arg)
{
	int ends[2];
	pid_t pid = fork_with_pipe(ends);

	if (pid == 0)
		_exit(fn(arg));
	collect(o, ends[0], pid);
}

void
own_path(char *to, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", to, size - 1);

	ck_assert_int_gt(len, 0);
	to[len] = '\0';
}

void
run_again(struct outcome *o, const char *part, const char *const *env)
{
	char self[4096];
	int ends[2];
	pid_t pid;

	own_path(self, sizeof self);
	pid = fork_with_pipe(ends);
	if (pid == 0) {
		setenv("NUR_CHILD", part, 1);
		for (; env != NULL && *env != NULL; env++)
			putenv((char *)(uintptr_t)*env);
		execl(self, self, (char *)NULL);
		_exit(126);
	}
	collect(o, ends[0], pid);
}

const char *
child_part(void)
{
	return getenv("NUR_CHILD");
}

void
assert_good(const struct outcome *o)
{
	ck_assert_msg(WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0,
	    "child: status 0x%x, said \"%s\"", (unsigned)o->status, o->text);
}

void
assert_aborted(const struct outcome *o, const char *message)
{
	const char *end = strchr(o->text, '\n');

	ck_assert_msg(WIFSIGNALED(o->status) && WTERMSIG(o->status) ==
	    SIGABRT, "child: status 0x%x, said \"%s\"", (unsigned)o->status,
	    o->text);
	ck_assert_msg(strstr(o->text, message) != NULL, "said \"%s\"",
	    o->text);
	ck_assert_msg(end != NULL && end[1] == '\0', "not one line: \"%s\"",
	    o->text);
}
