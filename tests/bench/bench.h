/* SPDX-License-Identifier: MIT */
/*
 * A driver for comparing one operation of the library with the same
 * operation elsewhere.
 *
 * A case is one workload; its contestants are the library and its peers.
 * Each round runs every contestant once, in turn, so that what the machine
 * does meanwhile hits all of them; the figures are medians over the rounds.
 * Each run is a process of its own, made by a fork() before anything was
 * set up: it starts with a fresh heap, and a crash costs one figure only.
 *
 * A run checks its own result with BENCH_CHECK: a wrong answer ends the
 * program with status 3, a fast wrong answer being worth nothing.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_PEERS	6

/* Returns the figure, in the unit of the case; smaller is better. */
typedef double bench_fn(void);
/* Instead of a figure: the machine got in the way, take this run again. */
#define BENCH_AGAIN	(-1.0)

struct bench_peer {
	const char *name;
	bench_fn *run;
	double bar;		/* ours at most so much of theirs; 0: no bar */
};

struct bench_case {
	const char *name;
	const char *unit;
	bench_fn *run;		/* the library's own */
	double limit;		/* of our own figure; 0: none */
	unsigned rounds;	/* times the rounds asked for; 0: once */
	struct bench_peer peers[BENCH_PEERS];	/* ends at a NULL name */
};

/* Exit status: 0 all bars met, 1 one was not, 2 usage, 3 a wrong result. */
int bench_main(int argc, char **argv, const struct bench_case *cases,
    size_t n);

#define BENCH_CHECK(cond)						\
	do {								\
		if (!(cond))						\
			bench_wrong(__FILE__, __LINE__, #cond);		\
	} while (0)
void bench_wrong(const char *file, int line, const char *what)
    __attribute__((noreturn));

/* The compiler must assume that anything happened to what p points to. */
#define BENCH_HIDE(p)	__asm__ volatile("" : "+r"(p) : : "memory")

int64_t bench_now(void);

/*
 * fn(arg, i) on n threads at once, each started when all are there.  Returns
 * the mean of their times in nanoseconds.
 */
double bench_together(unsigned n, void (*fn)(void *arg, unsigned i),
    void *arg);

/* This process runs on so many processors from now on. */
void bench_use_cpus(int n);

/* fn(arg) on a thread whose stack has that many bytes, touched beforehand
 * if `warm`. */
void bench_on_stack(size_t bytes, bool warm, void (*fn)(void *arg), void *arg);

/* Whether every other thread of this process is asleep; the second returns
 * once they are, having seen it twice. */
bool bench_asleep(void);
void bench_wait_asleep(void);

/* Resident memory of this process in bytes. */
double bench_rss(void);

double bench_median(double *v, size_t n);

#ifdef __cplusplus
}
#endif

#endif
