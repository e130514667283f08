/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "bench.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUN_SECONDS	60	/* then a run counts as hung */
#define MAX_ROUNDS	200
#define TRIES		20	/* of a run that says BENCH_AGAIN */
#define EXIT_OVER	1
#define EXIT_USAGE	2
#define EXIT_WRONG	3

struct figures {
	const char *name;
	bench_fn *run;
	double bar;
	double v[MAX_ROUNDS];
	size_t n;
	const char *failed;	/* why there are no more figures, or NULL */
	double median, min, max;
};

static struct {
	unsigned rounds;
	bool csv, fork;
	char **only;		/* names or beginnings of names */
	int n_only;
} opt = { 7, false, true, NULL, 0 };

void
bench_wrong(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: wrong result: %s does not hold\n", file, line,
	    what);
	fflush(NULL);
	_exit(EXIT_WRONG);
}

int64_t
bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, by_value);
	return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

struct together {
	void (*fn)(void *, unsigned);
	void *arg;
	unsigned n;
	atomic_uint there;
	pthread_barrier_t barrier;
};

struct one {
	pthread_t id;
	struct together *all;
	unsigned i;
	double ns;
};

static void *
together_main(void *arg)
{
	struct one *o = arg;
	struct together *all = o->all;
	int64_t start;

	/* The barrier brings them near, the spin makes it the same moment:
	 * a wake-up takes longer than many a workload. */
	pthread_barrier_wait(&all->barrier);
	atomic_fetch_add(&all->there, 1);
	while (atomic_load(&all->there) < all->n)
		;
	start = bench_now();
	all->fn(all->arg, o->i);
	o->ns = (double)(bench_now() - start);
	return NULL;
}

void
bench_use_cpus(int n)
{
	cpu_set_t all, some;
	size_t cpu;

	CPU_ZERO(&some);
	BENCH_CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
	for (cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&some) < n; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &some);
	BENCH_CHECK(sched_setaffinity(0, sizeof some, &some) == 0);
}

double
bench_together(unsigned n, void (*fn)(void *, unsigned), void *arg)
{
	struct together all = { fn, arg, n, 0, { { 0 } } };
	struct one ones[16];
	double sum = 0;

	BENCH_CHECK(n >= 1 && n <= 16);
	BENCH_CHECK(pthread_barrier_init(&all.barrier, NULL, n) == 0);
	for (unsigned i = 0; i < n; i++) {
		ones[i].all = &all;
		ones[i].i = i;
		BENCH_CHECK(pthread_create(&ones[i].id, NULL, together_main,
		    &ones[i]) == 0);
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(ones[i].id, NULL);
		sum += ones[i].ns;
	}
	pthread_barrier_destroy(&all.barrier);
	return sum / n;
}

struct on_stack {
	void (*fn)(void *);
	void *arg;
};

static void *
on_stack_main(void *arg)
{
	struct on_stack *s = arg;

	s->fn(s->arg);
	return NULL;
}

void
bench_on_stack(size_t bytes, bool warm, void (*fn)(void *), void *arg)
{
	struct on_stack s = { fn, arg };
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	pthread_attr_t attr;
	pthread_t id;
	char *mem;

	mem = mmap(NULL, guard + bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_STACK | (warm ? MAP_POPULATE : 0), -1, 0);
	BENCH_CHECK(mem != MAP_FAILED);
	BENCH_CHECK(mprotect(mem, guard, PROT_NONE) == 0);
	BENCH_CHECK(pthread_attr_init(&attr) == 0);
	BENCH_CHECK(pthread_attr_setstack(&attr, mem + guard, bytes) == 0);
	BENCH_CHECK(pthread_create(&id, &attr, on_stack_main, &s) == 0);
	pthread_join(id, NULL);
	pthread_attr_destroy(&attr);
	munmap(mem, guard + bytes);
}

/* The state letter of a thread; 0 when it is gone. */
static char
thread_state(const char *tid)
{
	char path[64], line[128];
	const char *end;
	FILE *f;
	size_t n;

	snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", tid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	n = fread(line, 1, sizeof line - 1, f);
	fclose(f);
	line[n] = '\0';
	end = strrchr(line, ')');	/* a name may hold anything */
	return end != NULL && end[1] == ' ' ? end[2] : 0;
}

bool
bench_asleep(void)
{
	long self = syscall(SYS_gettid);
	struct dirent *e;
	bool asleep = true;
	DIR *d;

	d = opendir("/proc/self/task");
	BENCH_CHECK(d != NULL);
	while (asleep && (e = readdir(d)) != NULL) {
		char state;

		if (!isdigit((unsigned char)e->d_name[0]) ||
		    atol(e->d_name) == self)
			continue;
		state = thread_state(e->d_name);
		asleep = state == 'S' || state == 0;
	}
	closedir(d);
	return asleep;
}

void
bench_wait_asleep(void)
{
	const struct timespec pause = { 0, 2000000 };
	unsigned in_a_row = 0;

	/* Twice: a thread on its way to sleep may block for a moment. */
	while (in_a_row < 2) {
		in_a_row = bench_asleep() ? in_a_row + 1 : 0;
		nanosleep(&pause, NULL);
	}
}

double
bench_rss(void)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	BENCH_CHECK(f != NULL);
	BENCH_CHECK(fscanf(f, "%lu %lu", &size, &resident) == 2);
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* One run in a process of its own; false when it has to be taken again. */
static bool
try_once(struct figures *c)
{
	int fds[2], status;
	double v = 0;
	ssize_t got;
	pid_t pid;

	fflush(NULL);
	if (pipe(fds) != 0 || (pid = fork()) < 0) {
		perror("fork");
		exit(EXIT_WRONG);
	}
	if (pid == 0) {
		close(fds[0]);
		alarm(RUN_SECONDS);
		v = c->run();
		_exit(write(fds[1], &v, sizeof v) == sizeof v ? 0 : EXIT_WRONG);
	}
	close(fds[1]);
	got = read(fds[0], &v, sizeof v);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		c->failed = WTERMSIG(status) == SIGALRM ? "hung" : "crashed";
	else if (WEXITSTATUS(status) != 0 || got != sizeof v)
		c->failed = "wrong";
	else if (v >= 0)
		c->v[c->n++] = v;
	else
		return false;
	return true;
}

static void
run_once(struct figures *c)
{
	double v;

	for (int i = 0; i < TRIES; i++) {
		if (opt.fork) {
			if (try_once(c))
				return;
		} else if ((v = c->run()) >= 0) {
			c->v[c->n++] = v;
			return;
		}
	}
	c->failed = "no run";
}

static void
sum_up(struct figures *c)
{
	double sorted[MAX_ROUNDS];

	if (c->n == 0 || c->failed != NULL)
		return;
	memcpy(sorted, c->v, c->n * sizeof *sorted);
	c->median = bench_median(sorted, c->n);
	c->min = sorted[0];
	c->max = sorted[c->n - 1];
}

static void
csv_figures(const struct bench_case *k, const struct figures *c)
{
	for (size_t i = 0; i < c->n; i++)
		printf("%s,%s,%s,%zu,%.4g\n", k->name, k->unit, c->name, i + 1,
		    c->v[i]);
	if (c->failed != NULL)
		printf("%s,%s,%s,%zu,%s\n", k->name, k->unit, c->name, c->n + 1,
		    c->failed);
}

static void
print_figures(const char *name, const char *unit, const struct figures *c)
{
	printf("%-21s %-8s %-27s", name, unit, c->name);
	if (c->failed != NULL)
		printf(" %9s %9s %9s", c->failed, "", "");
	else
		printf(" %9.4g %9.4g %9.4g", c->median, c->min, c->max);
}

static const char *
verdict(double value, double bar)
{
	return value <= bar ? "PASS" : "over";
}

/* Prints the rows of a case; false when a bar is missed. */
static bool
print_case(const struct bench_case *k, const struct figures *c, size_t n)
{
	bool met = true;

	print_figures(k->name, k->unit, &c[0]);
	if (k->limit > 0 && c[0].failed == NULL) {
		printf(" %7s %7.4g %s", "", k->limit,
		    verdict(c[0].median, k->limit));
		met = c[0].median <= k->limit;
	}
	putchar('\n');
	for (size_t i = 1; i < n; i++) {
		double ratio = c[0].median / c[i].median;

		print_figures("", "", &c[i]);
		if (c[0].failed == NULL && c[i].failed == NULL) {
			printf(" %7.3f", ratio);
			if (c[i].bar > 0) {
				printf(" %7.4g %s", c[i].bar,
				    verdict(ratio, c[i].bar));
				met = met && ratio <= c[i].bar;
			}
		} else if (c[i].bar > 0) {
			printf(" %7s %7.4g unjudged", "", c[i].bar);
			met = false;
		}
		putchar('\n');
	}
	return met;
}

static int
run_case(const struct bench_case *k)
{
	static struct figures c[1 + BENCH_PEERS];
	unsigned rounds = opt.rounds * (k->rounds != 0 ? k->rounds : 1);
	size_t n = 0;
	bool met = true;

	memset(c, 0, sizeof c);
	c[n++] = (struct figures){ .name = "libnursery", .run = k->run };
	for (size_t i = 0; i < BENCH_PEERS && k->peers[i].name != NULL; i++)
		c[n++] = (struct figures){ .name = k->peers[i].name,
		    .run = k->peers[i].run, .bar = k->peers[i].bar };
	if (rounds > MAX_ROUNDS)
		rounds = MAX_ROUNDS;
	for (unsigned r = 0; r < rounds; r++)
		for (size_t i = 0; i < n; i++)
			if (c[i].failed == NULL)
				run_once(&c[i]);
	for (size_t i = 0; i < n; i++)
		sum_up(&c[i]);
	if (opt.csv)
		for (size_t i = 0; i < n; i++)
			csv_figures(k, &c[i]);
	else
		met = print_case(k, c, n);
	fflush(stdout);
	/* A peer may crash, that is its figure; nobody may be wrong. */
	for (size_t i = 0; i < n; i++)
		if (c[i].failed != NULL && (i == 0 || !strcmp(c[i].failed,
		    "wrong")))
			return EXIT_WRONG;
	return met ? 0 : EXIT_OVER;
}

static bool
wanted(const char *name)
{
	for (int i = 0; i < opt.n_only; i++)
		if (strncmp(name, opt.only[i], strlen(opt.only[i])) == 0)
			return true;
	return opt.n_only == 0;
}

static int
usage(const char *self, FILE *to, int status)
{
	fprintf(to,
	    "usage: %s [--csv] [--no-fork] [--rounds N] [--list] [CASE...]\n"
	    "CASE is a name or its beginning.  Exit status: 0 all bars met,\n"
	    "1 a bar was missed, 2 usage, 3 a wrong result or a crash.\n"
	    "With --csv every round is printed and no bar is judged.\n",
	    self);
	return status;
}

static int
parse(int argc, char **argv, const struct bench_case *cases, size_t n)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--csv") == 0) {
			opt.csv = true;
		} else if (strcmp(argv[i], "--no-fork") == 0) {
			opt.fork = false;
		} else if (strcmp(argv[i], "--list") == 0) {
			for (size_t k = 0; k < n; k++)
				puts(cases[k].name);
			return 0;
		} else if (strcmp(argv[i], "--help") == 0) {
			return usage(argv[0], stdout, 0);
		} else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
			opt.rounds = (unsigned)strtoul(argv[++i], NULL, 10);
			if (opt.rounds < 1 || opt.rounds > MAX_ROUNDS)
				return usage(argv[0], stderr, EXIT_USAGE);
		} else {
			return usage(argv[0], stderr, EXIT_USAGE);
		}
	}
	opt.only = argv + i;
	opt.n_only = argc - i;
	return -1;
}

int
bench_main(int argc, char **argv, const struct bench_case *cases, size_t n)
{
	int worst = 0, rc;
	bool any = false;

	rc = parse(argc, argv, cases, n);
	if (rc >= 0)
		return rc;
	if (opt.csv)
		printf("case,unit,contestant,round,figure\n");
	else
		printf("%-21s %-8s %-27s %9s %9s %9s %7s %7s\n", "case", "unit",
		    "contestant", "median", "min", "max", "ratio", "bar");
	for (size_t i = 0; i < n; i++) {
		if (!wanted(cases[i].name))
			continue;
		any = true;
		rc = run_case(&cases[i]);
		if (rc > worst)
			worst = rc;
	}
	return any ? worst : usage(argv[0], stderr, EXIT_USAGE);
}
