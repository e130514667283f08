/* SPDX-License-Identifier: MIT */
/*
 * Stands in the place of lib/base/clock.c.  Who waits for a time sleeps
 * without one, and stands in a list; the driver, a thread, wakes him.
 *
 * Everybody is asleep if two looks at all threads, one after the other, find
 * each of them asleep and with the same count of sleeps: then nobody ran
 * between the end of the first look and the beginning of the second.
 */
#include "config.h"

#include "clock.h"
#include "support.h"

#include "base/clock.h"
#include "base/sync.h"
#include "base/sys.h"

#include <dirent.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN	200000	/* ns */

struct sleeper {
	struct sleeper *next;
	int64_t deadline;
	uint32_t *word;		/* it sleeps on this, or */
	int fd;			/* polls this */
	bool over;		/* the deadline has come */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under the lock */
static struct sleeper *sleepers;
/* atomic */
static int64_t ours;		/* 0: the system's time is in force */
static int stop;
static pthread_t driver;
static pid_t driver_tid;	/* atomic */

static int64_t
system_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NURSERY_SECOND + ts.tv_nsec;
}

int64_t
nur_now(void)
{
	int64_t now = __atomic_load_n(&ours, __ATOMIC_ACQUIRE);

	return now != 0 ? now : system_now();
}

/* ---- sleeping ---- */

static void
enlist(struct sleeper *s)
{
	pthread_mutex_lock(&lock);
	s->next = sleepers;
	sleepers = s;
	pthread_mutex_unlock(&lock);
}

static void
delist(struct sleeper *s)
{
	struct sleeper **at = &sleepers;

	pthread_mutex_lock(&lock);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	pthread_mutex_unlock(&lock);
}

static int
futex_wait(uint32_t *word, uint32_t expected, int64_t deadline)
{
	struct timespec until = { .tv_sec = 0 };
	long rc;

	if (deadline > 0 && deadline != NURSERY_NEVER) {
		until.tv_sec = deadline / NURSERY_SECOND;
		until.tv_nsec = deadline % NURSERY_SECOND;
	}
	rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
	    deadline == NURSERY_NEVER ? NULL : &until, NULL,
	    FUTEX_BITSET_MATCH_ANY);
	return rc == 0 ? 0 : errno;
}

int
nur_futex_wait(uint32_t *word, uint32_t expected, int64_t deadline)
{
	struct sleeper s = { .deadline = deadline, .word = word };
	int rc;

	if (__atomic_load_n(&ours, __ATOMIC_ACQUIRE) == 0 ||
	    deadline == NURSERY_NEVER)
		return futex_wait(word, expected, deadline);
	if (deadline <= nur_now())
		return nur_load_relaxed(word) == expected ? ETIMEDOUT :
		    EAGAIN;
	enlist(&s);
	rc = futex_wait(word, expected, NURSERY_NEVER);
	delist(&s);
	return rc == 0 && s.over ? ETIMEDOUT : rc;
}

static int
poll_ours(struct pollfd *fds, nfds_t nfds, int64_t deadline,
    const sigset_t *mask)
{
	struct pollfd *all = calloc(nfds + 1, sizeof *all);
	struct sleeper s = { .deadline = deadline };
	int n, error;

	s.fd = eventfd(0, EFD_CLOEXEC);
	if (nfds > 0)
		memcpy(all, fds, nfds * sizeof *all);
	all[nfds] = (struct pollfd){ .fd = s.fd, .events = POLLIN };
	enlist(&s);
	n = ppoll(all, nfds + 1, NULL, mask);
	error = errno;
	delist(&s);
	if (n > 0 && all[nfds].revents != 0)
		n--;
	if (nfds > 0)
		memcpy(fds, all, nfds * sizeof *all);
	close(s.fd);
	free(all);
	errno = error;
	return n;
}

int
nur_ppoll(struct pollfd *fds, nfds_t nfds, int64_t deadline,
    const sigset_t *mask)
{
	int64_t now = nur_now(), left = deadline > now ? deadline - now : 0;
	struct timespec ts = { .tv_sec = 0 };

	if (deadline == NURSERY_NEVER)
		return ppoll(fds, nfds, NULL, mask);
	if (left > 0 && __atomic_load_n(&ours, __ATOMIC_ACQUIRE) != 0)
		return poll_ours(fds, nfds, deadline, mask);
	if (left > 0) {
		ts.tv_sec = left / NURSERY_SECOND;
		ts.tv_nsec = left % NURSERY_SECOND;
	}
	return ppoll(fds, nfds, &ts, mask);
}

/* ---- the driver ---- */

/* What a thread does: 0 if it works, else how often it has slept. */
static unsigned long
sleeps_of(pid_t tid)
{
	unsigned long count = 0;
	char path[64], line[128];
	bool asleep = false;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, "State:", 6) == 0)
			asleep = strstr(line, "(sleeping)") != NULL;
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &count) == 1)
			break;
	}
	if (f != NULL)
		fclose(f);
	return asleep ? count + 1 : 0;
}

/* All threads but the driver: 0 if one works, else a number that differs
 * when one has run. */
static unsigned long
look(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;
	unsigned long sum = 1, one;
	pid_t tid;

	while (d != NULL && sum != 0 && (e = readdir(d)) != NULL) {
		tid = atoi(e->d_name);
		if (tid <= 0 || tid == driver_tid)
			continue;
		one = sleeps_of(tid);
		sum = one == 0 ? 0 : (sum * 31 + (unsigned long)tid) * 31 +
		    one;
	}
	if (d != NULL)
		closedir(d);
	return sum;
}

static void
wake(struct sleeper *s)
{
	const uint64_t one = 1;

	s->over = true;
	if (s->word != NULL)
		(void)syscall(SYS_futex, s->word, FUTEX_WAKE_PRIVATE,
		    INT_MAX, NULL, NULL, 0);
	else
		(void)!write(s->fd, &one, sizeof one);
}

/* To the next time that somebody waits for. */
static void
jump(void)
{
	int64_t next = NURSERY_NEVER;
	struct sleeper *s;

	pthread_mutex_lock(&lock);
	for (s = sleepers; s != NULL; s = s->next)
		if (!s->over && s->deadline < next)
			next = s->deadline;
	if (next != NURSERY_NEVER && next > nur_now())
		__atomic_store_n(&ours, next, __ATOMIC_RELEASE);
	for (s = sleepers; s != NULL; s = s->next)
		if (s->deadline <= nur_now())
			wake(s);
	pthread_mutex_unlock(&lock);
}

static void *
drive(void *unused)
{
	const struct timespec a_while = { .tv_nsec = LOOK_AGAIN };
	unsigned long before = 0, now;

	(void)unused;
	__atomic_store_n(&driver_tid, own_tid(), __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		now = look();
		if (now != 0 && now == before)
			jump();
		before = now;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &a_while, NULL);
	}
	return NULL;
}

void
clock_take(void)
{
	stop = 0;
	__atomic_store_n(&ours, system_now(), __ATOMIC_RELEASE);
	driver = start_thread(drive, NULL);
}

void
clock_give_back(void)
{
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	(void)end_thread(driver);
	__atomic_store_n(&ours, 0, __ATOMIC_RELEASE);
}
