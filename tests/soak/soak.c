/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "soak.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND	0
#endif

#ifdef __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define UNDER_SANITIZER	1
#endif
#endif
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define UNDER_SANITIZER	1
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER	0
#endif

#ifdef __SANITIZE_THREAD__
/* Children start threads, too. */
const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *
__tsan_default_options(void)
{
	return "die_after_fork=0:halt_on_error=1:exitcode=66";
}
#endif

#define ROUNDS		40	/* without an option */
#define THREADS		3	/* outside */
#define DEPTH		4
#define BUDGET		60	/* tasks a round, times scale() */
#define PATIENCE	60	/* seconds */
#define MOST_BROKEN	5	/* then it makes no sense to go on */

struct figures figures;
uint32_t progress;
struct round now = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct options {
	uint64_t seed;
	int64_t seconds;	/* 0: so many rounds */
	unsigned long rounds, only;	/* only: 0: all, from 1 */
	unsigned threads;
	bool quiet, settle;
} options = { .rounds = ROUNDS, .threads = THREADS };

/* ---- chance ---- */

uint64_t
rng_next(struct rng *r)
{
	/* splitmix64's steps: any state is a good one. */
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void
rng_init(struct rng *r, uint64_t seed)
{
	r->state = seed;
}

unsigned
rng_below(struct rng *r, unsigned bound)
{
	return (unsigned)((rng_next(r) >> 32) % bound);
}

bool
once_in(struct rng *r, unsigned n)
{
	return rng_below(r, n) == 0;
}

int64_t
soon(struct rng *r, unsigned us)
{
	return nursery_after((int64_t)rng_below(r, us) * NURSERY_US);
}

/* ---- where we are ---- */

unsigned
scale(void)
{
	if (RUNNING_ON_VALGRIND)
		return 1;
	return UNDER_SANITIZER ? 3 : 10;
}

/* A thread that a sanitizer keeps waiting may hold a lock of its own, which
 * the child would find held. */
bool
forks_are_safe(void)
{
	return !UNDER_SANITIZER;
}

unsigned
patience(void)
{
	const char *text = getenv("NUR_PATIENCE");
	int v = text == NULL ? 0 : atoi(text);

	return (v > 0 ? (unsigned)v : PATIENCE) *
	    (RUNNING_ON_VALGRIND ? 10 : 1);
}

/* ---- the watchdog ---- */

/* The dump may wait for a lock that is part of what went wrong. */
static void
die_of_hanging(void)
{
	static const char text[] = "soak: the tree:\n";

	printf("violation: seed %llu round %u: progress: none in %u s\n",
	    (unsigned long long)now.seed, now.number, patience());
	(void)fflush(stdout);
	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(10 * (RUNNING_ON_VALGRIND ? 10 : 1));
	(void)nursery_dump(stderr, NURSERY_TEXT);
	abort();
}

static void *
watch(void *unused)
{
	uint32_t seen = 0, is;
	unsigned since = 0;

	(void)unused;
	for (;;) {
		(void)sleep(1);
		is = atom_get(&progress);
		since = is == seen ? since + 1 : 0;
		seen = is;
		if (since >= patience())
			die_of_hanging();
	}
	return NULL;
}

static void
start_watchdog(void)
{
	sigset_t all, old;
	pthread_t id;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	if (pthread_create(&id, NULL, watch, NULL) != 0)
		exit(2);
	(void)pthread_detach(id);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* ---- rounds ---- */

static void
one_round(unsigned number)
{
	struct rng r;
	unsigned trees, i;

	rng_init(&r, options.seed * UINT64_C(0x2545f4914f6cdd1d) + number);
	now.number = number;
	now.rng = r;
	atom_set(&now.budget, BUDGET * scale());
	atom_set(&now.over, 0);
	outside_begin(options.threads);
	trees = 1 + rng_below(&r, 3);
	for (i = 0; i < trees; i++)
		grow_tree(NULL, NULL, rng_below(&r, DEPTH + 1), &r);
	outside_end();
	reap_all();
	books_verify();
	if (!forks_are_safe() && once_in(&r, 8)) {
		verify_process();	/* waits until all are idle */
		fork_one(NULL);
		reap_all();
	}
	verify_process();
	atom_add(&figures.rounds, 1);
	atom_add(&progress, 1);
}

static bool
goes_on(unsigned number, int64_t until)
{
	if (broken_promises() >= MOST_BROKEN)
		return false;
	if (options.only != 0)
		return number == options.only;
	return options.seconds != 0 ? nursery_now() < until :
	    number <= options.rounds;
}

static void
all_rounds(void)
{
	int64_t until = nursery_after(options.seconds * NURSERY_SECOND);
	unsigned n = options.only != 0 ? (unsigned)options.only : 1;

	for (; goes_on(n, until); n++)
		one_round(n);
	if (options.settle)
		verify_settled();
}

static void
print_figures(void)
{
	printf("soak: seed %llu: %u rounds, %u nurseries, %u tasks, "
	    "%u cancels, %u forks, %u signals, %llu bytes, %u items, "
	    "%u dumps, %u violations\n", (unsigned long long)options.seed,
	    figures.rounds, figures.nurseries, figures.tasks,
	    figures.cancels, figures.forks, figures.signals,
	    (unsigned long long)figures.hundreds * 100, figures.items,
	    figures.dumps, broken_promises());
	print_promises();
}

/* ---- options ---- */

static void
usage(FILE *to)
{
	fputs("usage: soak [--seconds N | --rounds N | --round K] [--seed S]\n"
	    "            [--threads N] [--settle] [--quiet]\n"
	    "Random traffic over random trees of nurseries.  --round runs one"
	    " round of a seed,\n--threads says how many threads of the"
	    " application join in, --settle waits at the\nend until idle"
	    " threads have left.  NUR_SEED and NUR_ROUNDS in the environment,"
	    " too;\nNUR_PATIENCE: seconds without progress that are a"
	    " violation.\nExit status: 0 no violation, 1 a violation, 2 wrong"
	    " use or no memory; an abort:\nno progress.\n", to);
}

static unsigned long
number(const char *option, const char *text, unsigned long least,
    unsigned long most)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 ||
	    v < least || v > most) {
		fprintf(stderr, "soak: %s: \"%s\" is no number from %lu to "
		    "%lu\n", option, text, least, most);
		exit(2);
	}
	return v;
}

static void
read_environment(void)
{
	const char *text = getenv("NUR_SEED");

	options.seed = (uint64_t)nursery_now() * 2654435761u % 1000000007u;
	if (text != NULL)
		options.seed = number("NUR_SEED", text, 0, ULONG_MAX);
	text = getenv("NUR_ROUNDS");
	if (text != NULL)
		options.rounds = number("NUR_ROUNDS", text, 1, UINT32_MAX);
}

static void
read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "round", required_argument, NULL, 'k' },
		{ "rounds", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "settle", no_argument, NULL, 'w' },
		{ "threads", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'h':
			usage(stdout);
			exit(0);
		case 'q':
			options.quiet = true;
			break;
		case 'k':
			options.only = number("--round", optarg, 1,
			    UINT32_MAX);
			break;
		case 'n':
			options.rounds = number("--rounds", optarg, 1,
			    UINT32_MAX);
			break;
		case 't':
			options.seconds = (int64_t)number("--seconds",
			    optarg, 1, 1000000);
			break;
		case 's':
			options.seed = number("--seed", optarg, 0, ULONG_MAX);
			break;
		case 'w':
			options.settle = true;
			break;
		case 'p':
			options.threads = (unsigned)number("--threads",
			    optarg, 0, 64);
			break;
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "soak: what is \"%s\"?\n", argv[optind]);
		usage(stderr);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	read_environment();
	read_options(argc, argv);
	now.seed = options.seed;
	if (!options.quiet)
		printf("soak: NUR_SEED=%llu\n",
		    (unsigned long long)options.seed);
	(void)fflush(stdout);
	handlers_install();
	start_watchdog();
	if (nursery_signal_arm() != 0)
		return 2;
	ledger_begin();
	all_rounds();
	print_figures();
	return broken_promises() == 0 ? 0 : 1;
}
