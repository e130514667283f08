/* SPDX-License-Identifier: MIT */
/* A log that says which task speaks; one task spawns and joins another. */
#include <err.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

/* Works in any thread: outside tasks nursery_self() is NULL. */
static void
say(const char *text)
{
	const char *name = nursery_task_name(nursery_self());

	printf("[%s] %s\n", name == NULL ? "main" : name, text);
}

static int
second(struct nursery_token *token, void *arg)
{
	(void)token;
	(void)arg;
	say("spawned by the first");
	return 0;
}

static int
first(struct nursery_token *token, void *arg)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	struct nursery_task *sibling;
	int rc, result = 0;

	(void)token;
	(void)arg;
	say("spawning");
	attr.name = "second";
	rc = nursery_spawn_with(nursery_current(), &attr, second, NULL,
	    &sibling);
	if (rc == 0)
		rc = nursery_task_join(&sibling, &result);
	if (rc != 0)
		return rc;
	say("the second has ended");
	return result;
}

int
main(void)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	nursery_auto struct nursery *n = NULL;
	int rc;

	say("opening");
	attr.name = "first";
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_spawn_with(n, &attr, first, NULL, NULL);
	if (rc == 0)
		rc = nursery_close(&n);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	say("closed");
	return 0;
}
