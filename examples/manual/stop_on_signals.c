/* SPDX-License-Identifier: MIT */
/* Works until SIGTERM or SIGINT, and says who sent it. */
#include <err.h>
#include <errno.h>
#include <nursery.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
work(struct nursery_token *token, void *arg)
{
	(void)arg;
	return nursery_sleep(token, NURSERY_NEVER);
}

int
main(void)
{
	struct nursery_cause cause = NURSERY_CAUSE_INIT;
	nursery_auto struct nursery *n = NULL;
	struct nursery_report *report;
	sigset_t signals;
	int rc;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	rc = nursery_open(&n, NULL);
	if (rc == 0)
		rc = nursery_stop_on_signals(n, &signals, NURSERY_CANCEL);
	if (rc == 0)
		rc = nursery_spawn(n, work, NULL);
	if (rc != 0)
		errx(1, "%s", strerror(rc));
	kill(getpid(), SIGTERM);	/* stands for the administrator */
	rc = nursery_close_with(&n, &report);
	if (n != NULL)
		errx(1, "nursery_close_with: %s", strerror(rc));
	if (nursery_report_cause(report, &cause) == 0 &&
	    cause.code == NURSERY_SIGNAL(SIGTERM))
		printf("SIGTERM, from %s\n", cause.by_pid == getpid() ?
		    "myself" : "somebody else");
	nursery_report_free(report);
	return 0;
}
