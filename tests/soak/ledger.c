/* SPDX-License-Identifier: MIT */
/*
 * What was seen, and whether it may be so: of each nursery when the round is
 * over, of the process between rounds.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Threads that are not counted in nursery_stats: main and the watchdog; the
 * timer, the monitor, the one that knocks, three that serve signals; one that
 * ThreadSanitizer has. */
#define OTHER_THREADS	9
/* Of the pool that may have an eventfd each (64, and a few that ask at the
 * same moment), and what is left: main's own, two bells, a few of threads
 * that end. */
#define POOL_EVENTFDS	72
#define OTHER_EVENTFDS	4
/* Threads that stay when all have been idle for long: a worker. */
#define KEPT_THREADS	1

static const char *const names[PROMISES] = {
	"counts", "once", "late", "returns", "bytes", "items", "tickets",
	"callbacks", "live", "descriptors", "threads", "children"
};
static uint32_t times_broken[PROMISES];	/* atomic */
static unsigned descriptors_before;
static int own_codes[] = { 1001, 1002, 1003, 1004 };

void
broken(enum promise p, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	atom_add(&times_broken[p], 1);
	printf("violation: seed %llu round %u: %s: %s\n",
	    (unsigned long long)now.seed, now.number, names[p], text);
	(void)fflush(stdout);
}

unsigned
broken_promises(void)
{
	unsigned n = 0, p;

	for (p = 0; p < PROMISES; p++)
		n += atom_get(&times_broken[p]);
	return n;
}

void
print_promises(void)
{
	unsigned p, bad = 0;

	for (p = 0; p < PROMISES; p++)
		bad += atom_get(&times_broken[p]) != 0;
	printf("%u%%: Checks: %d, Failures: %u, Errors: 0\n",
	    (PROMISES - bad) * 100 / PROMISES, PROMISES, bad);
}

/* ---- books ---- */

static void *
must_calloc(size_t n)
{
	void *p = calloc(1, n);

	if (p == NULL) {
		perror("soak");
		exit(2);
	}
	return p;
}

struct book *
book_new(struct book *outer, unsigned depth)
{
	struct book *b = must_calloc(sizeof *b);

	b->outer = outer;
	b->depth = depth;
	b->counts.size = sizeof b->counts;
	pthread_mutex_lock(&now.lock);
	b->next = now.books;
	now.books = b;
	pthread_mutex_unlock(&now.lock);
	return b;
}

struct item *
item_new(struct book *b, const struct task_role *role, void *what,
    uint64_t seed)
{
	struct item *it = must_calloc(sizeof *it);

	it->book = b;
	it->role = role;
	it->what = what;
	it->seed = seed;
	pthread_mutex_lock(&now.lock);
	it->next = b->items;
	b->items = it;
	pthread_mutex_unlock(&now.lock);
	return it;
}

/* What the items say. */
struct sums {
	uint64_t accepted, unsure, succeeded, failed, cancelled, dropped;
	uint64_t won;		/* successes, not of services */
};

static void
verify_item(const struct item *it)
{
	uint32_t times = it->runs + it->drops;

	if (times > 1)
		broken(ONCE, "a task ran %u times and was discarded %u times",
		    it->runs, it->drops);
	else if (times == 0 && (it->by_start || (it->accepted &&
	    it->discards)))
		broken(ONCE, "an accepted task neither ran nor was discarded");
	else if (times > 0 && !it->accepted && !it->by_start)
		broken(ONCE, "a refused task %s", it->runs != 0 ? "ran" :
		    "was discarded");
}

static void
sum_up(const struct item *it, struct sums *s)
{
	bool ran = it->runs != 0;

	verify_item(it);
	/* A start that fails does not tell whether it was refused. */
	if (it->by_start && !it->accepted && !ran) {
		s->unsure++;
		return;
	}
	if (!it->accepted && !ran)
		return;
	s->accepted++;
	s->dropped += !ran;
	s->succeeded += ran && it->outcome == 0;
	s->won += ran && it->outcome == 0 && !it->role->serves;
	s->cancelled += ran && it->outcome == ECANCELED;
	s->failed += ran && it->outcome != 0 && it->outcome != ECANCELED;
}

bool
is_own_code(int rc)
{
	size_t i;

	for (i = 0; i < sizeof own_codes / sizeof own_codes[0]; i++)
		if (rc == own_codes[i])
			return true;
	return false;
}

static void
verify_counts(const struct book *b, const struct sums *s)
{
	const struct nursery_counts *c = &b->counts;

	if (c->spawned < s->accepted || c->spawned > s->accepted + s->unsure ||
	    c->succeeded != s->succeeded || c->failed != s->failed ||
	    c->cancelled != s->cancelled || c->discarded < s->dropped ||
	    c->discarded - s->dropped != c->spawned - s->accepted)
		broken(COUNTS, "the report has %llu = %llu + %llu + %llu + "
		    "%llu, the tasks %llu (or %llu more) = %llu + %llu + "
		    "%llu + %llu", (unsigned long long)c->spawned,
		    (unsigned long long)c->succeeded,
		    (unsigned long long)c->failed,
		    (unsigned long long)c->cancelled,
		    (unsigned long long)c->discarded,
		    (unsigned long long)s->accepted,
		    (unsigned long long)s->unsure,
		    (unsigned long long)s->succeeded,
		    (unsigned long long)s->failed,
		    (unsigned long long)s->cancelled,
		    (unsigned long long)s->dropped);
	if (b->reports && b->reported != c->spawned)
		broken(COUNTS, "on_done was called %u times for %llu tasks",
		    b->reported, (unsigned long long)c->spawned);
}

static void
verify_book(const struct book *b)
{
	struct sums s = { 0 };
	const struct item *it;

	for (it = b->items; it != NULL; it = it->next)
		sum_up(it, &s);
	if (b->counted)
		verify_counts(b, &s);
	if (b->inside != 0)
		broken(LATE, "%u tasks of a closed nursery still run",
		    b->inside);
	if (b->rc == 0 && s.failed > 0 && b->policy !=
	    NURSERY_FIRST_SUCCESS)
		broken(COUNTS, "close says 0, and %llu tasks have failed",
		    (unsigned long long)s.failed);
	if (is_own_code(b->rc) && s.failed == 0)
		broken(COUNTS, "close says %d, and no task has failed", b->rc);
	if (is_own_code(b->rc) && b->policy == NURSERY_FIRST_SUCCESS && s.won >
	    0)
		broken(RETURNS, "close says %d, and a task has succeeded",
		    b->rc);
	atom_add(&figures.tasks, (uint32_t)s.accepted);
}

static void
book_free(struct book *b)
{
	struct item *it;

	while ((it = b->items) != NULL) {
		b->items = it->next;
		free(it);
	}
	free(b);
}

void
books_verify(void)
{
	struct book *b;

	while ((b = now.books) != NULL) {
		now.books = b->next;
		verify_book(b);
		book_free(b);
	}
}

/* ---- the process ---- */

struct descriptors {
	unsigned eventfds, others;
};

static void
add_descriptor(struct descriptors *d, const char *name)
{
	char path[300], what[64];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/self/fd/%s", name);
	n = readlink(path, what, sizeof what - 1);
	if (n < 0)
		return;		/* closed meanwhile, by a thread that ends */
	what[n] = '\0';
	/* Valgrind and its kind have theirs far up. */
	if (atoi(name) >= 1000)
		return;
	if (strstr(what, "eventfd") != NULL)
		d->eventfds++;
	else
		d->others++;
}

/* ThreadSanitizer does not see that opendir opens a descriptor, and takes it
 * for one that was closed before. */
DIR *
open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && dir == NULL)
		(void)close(fd);
	return dir;
}

static struct descriptors
count_descriptors(void)
{
	struct descriptors d = { 0, 0 };
	DIR *dir = open_folder("/proc/self/fd");
	const struct dirent *e;

	if (dir == NULL)
		return d;
	while ((e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			add_descriptor(&d, e->d_name);
	(void)closedir(dir);
	return d;
}

static unsigned
count_threads(void)
{
	DIR *dir = open_folder("/proc/self/task");
	const struct dirent *e;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((e = readdir(dir)) != NULL)
		n += e->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

void
ledger_begin(void)
{
	descriptors_before = count_descriptors().others;
}

static struct nursery_stats
stats_now(void)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	if (nursery_get_stats(&s) != 0)
		broken(RETURNS, "nursery_get_stats fails");
	return s;
}

static void
verify_live(const struct nursery_stats *s)
{
	if (s->nurseries != 0 || s->tasks_running != 0 ||
	    s->tasks_queued != 0 || s->tokens != 0)
		broken(LIVE, "%llu nurseries, %llu tasks that run, %llu "
		    "queued, %llu tokens", (unsigned long long)s->nurseries,
		    (unsigned long long)s->tasks_running,
		    (unsigned long long)s->tasks_queued,
		    (unsigned long long)s->tokens);
}

/* A thread's last steps are after what it served has ended. */
static bool
threads_are_fine(unsigned most, bool idle_is_fine)
{
	struct nursery_stats s = stats_now();
	struct descriptors d = count_descriptors();
	unsigned eventfds = (unsigned)s.threads < POOL_EVENTFDS ?
	    (unsigned)s.threads : POOL_EVENTFDS;

	return (idle_is_fine ? s.idle_threads == s.threads : s.threads <=
	    most) && count_threads() <= s.threads + OTHER_THREADS &&
	    d.eventfds <= eventfds + OTHER_EVENTFDS;
}

static bool
await_threads(unsigned most, bool idle_is_fine, unsigned seconds)
{
	int64_t until = nursery_after(seconds * NURSERY_SECOND);

	while (!threads_are_fine(most, idle_is_fine)) {
		if (nursery_now() >= until)
			return false;
		atom_add(&progress, 1);
		(void)sched_yield();
		(void)nursery_sleep(NULL, nursery_after(NURSERY_MS));
	}
	return true;
}

static void
say_threads(const char *when)
{
	struct nursery_stats s = stats_now();

	broken(THREADS, "%s: %llu threads, of these %llu idle, %u in all, "
	    "%u eventfds", when, (unsigned long long)s.threads,
	    (unsigned long long)s.idle_threads, count_threads(),
	    count_descriptors().eventfds);
}

static void
verify_children(void)
{
	siginfo_t info;
	int rc;

	memset(&info, 0, sizeof info);
	do {
		rc = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
	} while (rc != 0 && errno == EINTR);
	if (rc == 0 || errno != ECHILD)
		broken(CHILDREN, "child %d is left", (int)info.si_pid);
}

void
verify_process(void)
{
	struct nursery_stats s = stats_now();
	struct descriptors d;

	verify_live(&s);
	verify_children();
	if (!await_threads(0, true, patience()))
		say_threads("after a round");
	d = count_descriptors();
	if (d.others != descriptors_before)
		broken(DESCRIPTORS, "%u descriptors, %u before", d.others,
		    descriptors_before);
	descriptors_before = d.others;
}

void
verify_settled(void)
{
	/* Idle threads leave after 10 s. */
	if (!await_threads(KEPT_THREADS, false, 15 + patience()))
		say_threads("after a pause");
}
