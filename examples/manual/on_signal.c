/* SPDX-License-Identifier: MIT */
/* Reads its settings anew on SIGHUP; workers see them at their next turn. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct settings {
	int version;		/* atomic */
	sem_t reloaded;
};

static void
reload(int signo, void *arg)
{
	struct settings *s = arg;

	(void)signo;
	/* A daemon would read its file here. */
	__atomic_add_fetch(&s->version, 1, __ATOMIC_RELEASE);
	sem_post(&s->reloaded);
}

int
main(void)
{
	static struct settings settings = { .version = 1 };
	nursery_auto struct nursery *n = NULL;
	int rc;

	sem_init(&settings.reloaded, 0, 0);
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_on_signal(n, SIGHUP, reload, &settings);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	kill(getpid(), SIGHUP);		/* stands for the administrator */
	while (sem_wait(&settings.reloaded) != 0)
		;
	printf("settings: version %d\n",
	    __atomic_load_n(&settings.version, __ATOMIC_ACQUIRE));
	rc = nursery_close(&n);	/* from here on nothing is reloaded */
	printf("closed: %s\n", rc == 0 ? "well" : strerror(rc));
	return 0;
}
