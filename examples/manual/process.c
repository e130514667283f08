/* SPDX-License-Identifier: MIT */
/* Runs a program as a task: a cancel of the task ends the program. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Threads of the library block all signals; a program shall not. */
static int
start(pid_t *pid, char *const argv[])
{
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	rc = posix_spawnattr_init(&attr);
	if (rc != 0)
		return rc;
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(pid, argv[0], NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* 0, NURSERY_EXIT or NURSERY_SIGNAL, or an error number. */
static int
run(struct nursery_token *token, void *arg)
{
	int rc, status;
	pid_t pid, got;

	rc = start(&pid, arg);
	if (rc != 0)
		return rc;
	got = nursery_waitpid(token, pid, &status, NURSERY_NEVER);
	if (got < 0) {
		kill(pid, SIGTERM);	/* now wait to the end */
		got = nursery_waitpid(NULL, pid, &status, NURSERY_NEVER);
	}
	if (got < 0)
		return errno;
	if (WIFSIGNALED(status))
		return NURSERY_SIGNAL(WTERMSIG(status));
	return WEXITSTATUS(status) == 0 ? 0 :
	    NURSERY_EXIT(WEXITSTATUS(status));
}

static int
run_for(char *argv[], int64_t time)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	nursery_auto struct nursery *n = NULL;
	int rc;

	attr.deadline = nursery_after(time);
	rc = nursery_open(&n, &attr);
	if (rc == 0)
		rc = nursery_spawn(n, run, argv);
	if (rc == 0)
		rc = nursery_close(&n);
	return rc;
}

int
main(void)
{
	char *quick[] = { "sh", "-c", "exit 3", NULL };
	char *slow[] = { "sleep", "1000", NULL };
	int rc;

	rc = run_for(quick, 60 * NURSERY_SECOND);
	if (rc == NURSERY_EXIT(3))
		puts("exit status 3");
	rc = run_for(slow, 50 * NURSERY_MS);
	if (rc == NURSERY_SIGNAL(SIGTERM))
		puts("ended by SIGTERM");
	return 0;
}
