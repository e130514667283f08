/* SPDX-License-Identifier: MIT */
/* Who owns a task's argument: the copy, the task, or still the caller. */
#include <err.h>
#include <nursery.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int sum;

/* The argument is the task's own copy. */
static int
square(struct nursery_token *token, void *arg)
{
	int i = *(int *)arg;

	(void)token;
	atomic_fetch_add(&sum, i * i);
	return 0;
}

/* The argument is from malloc, and the task's to free. */
static int
greet(struct nursery_token *token, void *arg)
{
	(void)token;
	printf("hello, %s\n", (char *)arg);
	free(arg);
	return 0;
}

static int
spawn_greeting(struct nursery *n, const char *whom)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	char *copy = strdup(whom);
	int rc;

	if (copy == NULL)
		err(1, NULL);
	attr.name = "greeting";
	attr.discard = free;	/* accepted, but cancelled before it ran */
	rc = nursery_spawn_with(n, &attr, greet, copy, NULL);
	if (rc != 0)
		free(copy);	/* refused: it is still ours */
	return rc;
}

int
main(void)
{
	nursery_auto struct nursery *n = NULL;
	int i, rc;

	rc = nursery_open(&n, NULL);
	for (i = 0; i < 10 && rc == 0; i++)
		rc = nursery_spawn_copy(n, square, &i, sizeof i);
	if (rc == 0)
		rc = spawn_greeting(n, "world");
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	nursery_wait(n, NURSERY_NEVER);
	printf("sum %d\n", atomic_load(&sum));
	nursery_cancel(n);
	rc = spawn_greeting(n, "nobody");
	printf("after the cancel: %s\n", strerror(rc));
	return 0;
}
