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

struct child {
	struct nursery_token *token;
	pid_t pid;
	int status;
};

static int
await_child(void *arg)
{
	struct child *c = arg;

	while (waitpid(c->pid, &c->status, 0) < 0)
		if (errno != EINTR || nursery_token_is_cancelled(c->token))
			return errno;
	return 0;
}

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
	struct child c = { .token = token };
	int rc, result = 0;

	rc = start(&c.pid, arg);
	if (rc != 0)
		return rc;
	rc = nursery_token_run(token, await_child, &c, &result);
	if (rc != 0 || result != 0) {
		kill(c.pid, SIGTERM);
		c.token = NULL;		/* now wait to the end */
		result = await_child(&c);
	}
	if (result != 0)
		return result;
	if (WIFSIGNALED(c.status))
		return NURSERY_SIGNAL(WTERMSIG(c.status));
	return WEXITSTATUS(c.status) == 0 ? 0 :
	    NURSERY_EXIT(WEXITSTATUS(c.status));
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
