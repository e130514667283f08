/* SPDX-License-Identifier: MIT */
/* A tree of three tokens, and a guard: what reaches whom. */
#include <err.h>
#include <nursery.h>
#include <stdio.h>
#include <string.h>

static struct nursery_token *program, *acceptor, *request;

static void
show(const char *when)
{
	printf("%-14s program %d, acceptor %d, request %d\n", when,
	    nursery_token_level(program), nursery_token_level(acceptor),
	    nursery_token_level(request));
}

/* Whoever still holds `request` is told to stop when this returns. */
static int
serve(void)
{
	nursery_guard_auto struct nursery_token *guard = NULL;
	int rc;

	rc = nursery_token_new(&request, program);
	if (rc != 0)
		return rc;
	guard = nursery_token_ref(request);
	show("serving:");
	nursery_token_raise(program, NURSERY_DRAIN, 0, "no new work");
	show("draining:");
	return 0;
}

int
main(void)
{
	int rc;

	rc = nursery_token_new(&program, NULL);
	if (rc != 0)
		errx(1, "nursery_token_new: %s", strerror(rc));
	rc = nursery_token_new_at(&acceptor, program, NURSERY_DRAIN);
	if (rc != 0)
		errx(1, "nursery_token_new_at: %s", strerror(rc));
	rc = serve();
	if (rc != 0)
		errx(1, "serve: %s", strerror(rc));
	show("served:");
	nursery_token_cancel(program);
	show("cancelled:");
	nursery_token_drop(&request);
	nursery_token_drop(&acceptor);
	nursery_token_drop(&program);
	return 0;
}
