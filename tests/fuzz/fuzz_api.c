/* SPDX-License-Identifier: MIT */
/*
 * Sequences of calls, each run and compared with the reference.
 *
 * Without arguments: the corpus, and some by lot, in which each kind of call
 * has to occur.  Exit status 0: no violation (-e: one); 1: not so; 2: usage.
 */
#include "config.h"

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST	4096	/* bytes of a sequence */
#define LOT	20000	/* sequences, without arguments */

static const char help[] =
    "usage: fuzz_api [options] [FILE ...]\n"
    "  FILE       the sequence that is in it; a folder: each file in it\n"
    "  -n COUNT   so many by lot, with the numbers from that of -s on\n"
    "  -s SEED    (1)\n"
    "  -x HEX     the sequence that is written so\n"
    "  -m         make one that fails smaller\n"
    "  -p         print the calls of each and what they return\n"
    "  -t         print the machine's steps of one that fails, too\n"
    "  -o FOLDER  write those that fail there\n"
    "  -k COUNT   go on until so many have failed (1); 0: to the end\n"
    "  -e         one that fails is expected\n"
    "  -v         how often each call was made, and the speed\n"
    "Exit status 0: none has failed (-e: one has); 1: not so; 2: usage.\n";

static struct {
	long count, most;
	uint64_t seed;
	bool minimise, print, trace, expect, verbose;
	const char *folder;
} options = { .seed = 1, .most = 1 };

static long sequences, violations, steps;
static double begun;

static void __attribute__((noreturn))
usage(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "fuzz_api: %s %s: expected %s\n", option, value,
	    expected);
	exit(2);
}

/* ---- one sequence ---- */

static void
print_hex(const uint8_t *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

/* Fails, and says the same but for numbers. */
static bool
fails_so(const uint8_t *bytes, size_t size, const char *how)
{
	struct model_result r;
	size_t i;

	if (fuzz_run(bytes, size, &r))
		return false;
	for (i = 0; how[i] != '\0' && (how[i] < '0' || how[i] > '9'); i++)
		if (r.failure[i] != how[i])
			return false;
	return true;
}

static bool
cut(uint8_t *bytes, size_t *size, size_t at, size_t length, const char *how)
{
	uint8_t rest[MOST];

	if (at + length > *size)
		return false;
	memcpy(rest, bytes, at);
	memcpy(rest + at, bytes + at + length, *size - at - length);
	/* A call less. */
	if (at >= 2 && length == 2 && at < 2 + 2 * (size_t)(rest[1] >> 3))
		rest[1] = (uint8_t)(rest[1] - 8);
	if (!fails_so(rest, *size - length, how))
		return false;
	*size -= length;
	memcpy(bytes, rest, *size);
	return true;
}

static bool
change(uint8_t *bytes, size_t size, size_t at, uint8_t to, const char *how)
{
	uint8_t was = bytes[at];

	if (was == to)
		return false;
	bytes[at] = to;
	if (fails_so(bytes, size, how))
		return true;
	bytes[at] = was;
	return false;
}

/* Until nothing can be left out, and no byte be less. */
static void
minimise(uint8_t *bytes, size_t *size, const char *how)
{
	static const uint8_t less[] = { 1, 2, 4, 8, 16, 32, 64, 128 };
	bool better = true;
	size_t at, i;

	while (better) {
		better = false;
		for (at = *size; at-- > 2; ) {
			better |= cut(bytes, size, at, 2, how);
			better |= cut(bytes, size, at, 1, how);
		}
		for (at = 0; at < *size; at++) {
			better |= change(bytes, *size, at, 0, how);
			for (i = 0; i < sizeof less; i++)
				if ((bytes[at] & less[i]) != 0)
					better |= change(bytes, *size, at,
					    (uint8_t)(bytes[at] & ~less[i]),
					    how);
		}
	}
}

static void
write_to(const char *folder, const uint8_t *bytes, size_t size)
{
	char path[512];
	FILE *to;

	snprintf(path, sizeof path, "%s/violation-%ld", folder, violations);
	to = fopen(path, "wb");
	if (to == NULL || fwrite(bytes, 1, size, to) != size ||
	    fclose(to) != 0) {
		fprintf(stderr, "fuzz_api: %s: %s\n", path, strerror(errno));
		exit(2);
	}
}

static void
report(uint8_t *bytes, size_t size, const char *name, const char *how)
{
	printf("%s: %s\n", name, how);
	if (options.minimise)
		minimise(bytes, &size, how);
	printf("    replay: fuzz_api -p -x ");
	print_hex(bytes, size);
	if (options.print || options.trace)
		fuzz_show(bytes, size, options.trace);
	if (options.folder != NULL)
		write_to(options.folder, bytes, size);
}

static double
seconds(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
print_made(void)
{
	double took = seconds() - begun;
	int i;

	for (i = 0; i < CALL_KINDS; i++)
		printf("%-20s %ld\n", call_name[i], fuzz_made[i]);
	printf("%ld steps of the machine, %.1f s, %.0f sequences a second\n",
	    steps, took, (double)sequences / took);
}

static void __attribute__((noreturn))
finish(void)
{
	bool good = (violations > 0) == options.expect && sequences > 0;

	if (options.verbose && sequences > 0)
		print_made();
	printf("%ld sequences, %ld violations\n", sequences, violations);
	exit(good ? 0 : 1);
}

static void
run(uint8_t *bytes, size_t size, const char *name)
{
	struct model_result r;

	sequences++;
	if (fuzz_run(bytes, size, &r)) {
		steps += r.steps;
		if (options.print)
			fuzz_show(bytes, size, false);
		return;
	}
	violations++;
	report(bytes, size, name, r.failure);
	if (violations == options.most)
		finish();
}

/* ---- where they come from ---- */

static void
run_file(const char *path)
{
	uint8_t bytes[MOST];
	FILE *from = fopen(path, "rb");
	size_t size;

	if (from == NULL) {
		fprintf(stderr, "fuzz_api: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	size = fread(bytes, 1, sizeof bytes, from);
	if (!feof(from))
		usage("FILE", path, "at most 4095 bytes");
	(void)fclose(from);
	run(bytes, size, path);
}

static void
run_folder(const char *path, DIR *d)
{
	struct dirent *e;
	char name[1024];

	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", path, e->d_name);
		run_file(name);
	}
	(void)closedir(d);
}

static void
run_path(const char *path)
{
	DIR *d = opendir(path);

	if (d != NULL)
		run_folder(path, d);
	else
		run_file(path);
}

static void
run_hex(const char *hex)
{
	uint8_t bytes[MOST];
	size_t size = strlen(hex) / 2, i;
	unsigned byte;

	if (size > sizeof bytes || strlen(hex) % 2 != 0)
		usage("-x", hex, "two digits a byte");
	for (i = 0; i < size; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			usage("-x", hex, "hexadecimal digits");
		bytes[i] = (uint8_t)byte;
	}
	run(bytes, size, "-x");
}

static void
run_by_lot(void)
{
	uint8_t bytes[PROGRAM_MAX];
	uint64_t seed;
	char name[64];
	long i;

	for (i = 0; i < options.count; i++) {
		/* A sequence of its own for each, whatever came before. */
		seed = (options.seed + (uint64_t)i) *
		    UINT64_C(0xd1342543de82ef95);
		snprintf(name, sizeof name, "-n 1 -s %llu",
		    (unsigned long long)(options.seed + (uint64_t)i));
		run(bytes, program_random(bytes, &seed), name);
		if (options.verbose && sequences % 100000 == 0)
			printf("%ld sequences, %ld violations so far\n",
			    sequences, violations);
	}
}

/* What never happens is not tested. */
static bool
made_all(void)
{
	bool all = true;
	int i;

	for (i = 0; i < CALL_KINDS; i++)
		if (fuzz_made[i] == 0) {
			printf("never: %s\n", call_name[i]);
			all = false;
		}
	return all;
}

/* Three checks: the corpus, those by lot, and that all was there. */
static void __attribute__((noreturn))
run_default(void)
{
	long of_corpus;
	int failures;

	options.most = 0;
	run_path(FUZZ_CORPUS);
	of_corpus = violations;
	options.count = LOT;
	run_by_lot();
	failures = (of_corpus > 0) + (violations > of_corpus) + !made_all();
	printf("%ld sequences, %ld violations\n", sequences, violations);
	printf("%d%%: Checks: 3, Failures: %d, Errors: 0\n",
	    100 * (3 - failures) / 3, failures);
	exit(failures == 0 ? 0 : 1);
}

static long
number(const char *option, const char *text)
{
	char *end;
	long n = strtol(text, &end, 0);

	if (end == text || *end != '\0' || n < 0)
		usage(option, text, "a number");
	return n;
}

int
main(int argc, char **argv)
{
	const char *hex = NULL;
	int o;

	setvbuf(stdout, NULL, _IOLBF, 0);
	begun = seconds();
	if (argc == 1)
		run_default();
	while ((o = getopt(argc, argv, "n:s:x:mpto:k:evh")) != -1)
		switch (o) {
		case 'n':
			options.count = number("-n", optarg);
			break;
		case 's':
			options.seed = (uint64_t)number("-s", optarg);
			break;
		case 'x':
			hex = optarg;
			break;
		case 'm':
			options.minimise = true;
			break;
		case 'p':
			options.print = true;
			break;
		case 't':
			options.trace = true;
			break;
		case 'o':
			options.folder = optarg;
			break;
		case 'k':
			options.most = number("-k", optarg);
			break;
		case 'e':
			options.expect = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			fputs(help, stderr);
			exit(2);
		}
	if (hex != NULL)
		run_hex(hex);
	for (; optind < argc; optind++)
		run_path(argv[optind]);
	run_by_lot();
	finish();
}
