/* SPDX-License-Identifier: MIT */
/*
 * The library loaded by dlopen and left by dlclose, again and again, with
 * all that it keeps: idle threads, the timer's and the signals' thread, a
 * thread of the program whose end it has to be told, a nursery that is open.
 * It is never unmapped, so all of that goes on.
 *
 * reopen [LIBRARY]
 */
#include <dlfcn.h>
#include <nursery.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIBRARY	"./.libs/libnursery.so"
#define SKIPPED	77

static struct {
	__typeof__(&nursery_open) open;
	__typeof__(&nursery_spawn) spawn;
	__typeof__(&nursery_cancel) cancel;
	__typeof__(&nursery_close) close;
	__typeof__(&nursery_sleep) sleep;
	__typeof__(&nursery_on_signal) on_signal;
	__typeof__(&nursery_token_new) token_new;
	__typeof__(&nursery_token_set_deadline) set_deadline;
	__typeof__(&nursery_token_unref) token_unref;
	__typeof__(&nursery_after) after;
} lib;
static sem_t heard, used, left;

#define EXPECT(what)	expect((what), #what, __LINE__)
static void
expect(int holds, const char *what, int line)
{
	if (holds)
		return;
	(void)fprintf(stderr, "reopen.c:%d: not so: %s\n", line, what);
	exit(1);
}

static void *
load(const char *path)
{
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	EXPECT(h != NULL);
#define FIND(member, name)	(*(void **)&lib.member = dlsym(h, #name)); \
	EXPECT(lib.member != NULL)
	FIND(open, nursery_open);
	FIND(spawn, nursery_spawn);
	FIND(cancel, nursery_cancel);
	FIND(close, nursery_close);
	FIND(sleep, nursery_sleep);
	FIND(on_signal, nursery_on_signal);
	FIND(token_new, nursery_token_new);
	FIND(set_deadline, nursery_token_set_deadline);
	FIND(token_unref, nursery_token_unref);
	FIND(after, nursery_after);
	return h;
}

static void
wait_for(sem_t *s)
{
	while (sem_wait(s) != 0)
		;
}

static int
until_cancelled(struct nursery_token *token, void *unused)
{
	(void)unused;
	return lib.sleep(token, NURSERY_NEVER);
}

static int
nothing(struct nursery_token *token, void *unused)
{
	(void)token;
	(void)unused;
	return 0;
}

static void
hear(int signo, void *unused)
{
	(void)signo;
	(void)unused;
	sem_post(&heard);
}

/* A thread of the program's: its end is told to a library that was left. */
static void *
outlive(void *unused)
{
	struct nursery *n;

	EXPECT(lib.open(&n, NULL) == 0);
	EXPECT(lib.spawn(n, nothing, NULL) == 0);
	EXPECT(lib.close(&n) == 0);
	sem_post(&used);
	wait_for(&left);
	return unused;
}

static void
use_and_leave(const char *path)
{
	struct nursery_token *t;
	struct nursery *n;
	pthread_t thread;
	void *h = load(path), *same;

	EXPECT(pthread_create(&thread, NULL, outlive, NULL) == 0);
	wait_for(&used);
	EXPECT(lib.token_new(&t, NULL) == 0);
	EXPECT(lib.set_deadline(t, lib.after(20 * NURSERY_MS)) == 0);
	EXPECT(lib.open(&n, NULL) == 0);
	EXPECT(lib.on_signal(n, SIGUSR1, hear, NULL) == 0);
	EXPECT(lib.spawn(n, until_cancelled, NULL) == 0);
	EXPECT(lib.spawn(n, nothing, NULL) == 0);

	EXPECT(dlclose(h) == 0);
	sem_post(&left);
	EXPECT(pthread_join(thread, NULL) == 0);
	EXPECT(kill(getpid(), SIGUSR1) == 0);
	wait_for(&heard);

	same = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
	EXPECT(same != NULL);
	EXPECT(dlsym(same, "nursery_close") == *(void **)&lib.close);
	EXPECT(lib.sleep(t, NURSERY_NEVER) == ECANCELED);
	lib.token_unref(t);
	lib.cancel(n);
	EXPECT(lib.close(&n) == ECANCELED);
	EXPECT(dlclose(same) == 0);
}

int
main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : LIBRARY;
	int i;

	if (access(path, R_OK) != 0) {
		(void)printf("skipped: no %s\n", path);
		return SKIPPED;
	}
	(void)alarm(60);
	sem_init(&heard, 0, 0);
	sem_init(&used, 0, 0);
	sem_init(&left, 0, 0);
	for (i = 0; i < 3; i++)
		use_and_leave(path);
	return 0;
}
