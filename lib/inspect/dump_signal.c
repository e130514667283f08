/* SPDX-License-Identifier: MIT */
/* NURSERY_DUMP_SIGNAL: the tree on standard error whenever that signal comes.
 * Looked up when the first nursery of a process is opened. */
#include "config.h"

#include "base/sys.h"
#include "daemon/signals.h"
#include "nursery/debug.h"
#include "scope/nursery.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	int signo;
} names[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM }, { "CHLD", SIGCHLD },
	{ "CONT", SIGCONT }, { "HUP", SIGHUP }, { "INT", SIGINT },
	{ "IO", SIGIO }, { "PROF", SIGPROF }, { "PWR", SIGPWR },
	{ "QUIT", SIGQUIT }, { "TERM", SIGTERM }, { "TSTP", SIGTSTP },
	{ "TTIN", SIGTTIN }, { "TTOU", SIGTTOU }, { "URG", SIGURG },
	{ "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "VTALRM", SIGVTALRM },
	{ "WINCH", SIGWINCH }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
};

/* "USR1", "SIGUSR1" or a number; 0 for anything else. */
static int
parse_signal(const char *text)
{
	char *end;
	long v = strtol(text, &end, 10);
	size_t i;

	if (*text != '\0' && *end == '\0')
		return v > 0 && v <= SIGRTMAX ? (int)v : 0;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcasecmp(names[i].name, text) == 0)
			return names[i].signo;
	return 0;
}

static void
dump(int signo, void *arg)
{
	(void)signo;
	(void)arg;
	(void)nursery_dump(stderr, NURSERY_TEXT);
}

void
nur_first_open(void)
{
	const char *text = nur_getenv("NURSERY_DUMP_SIGNAL");
	int signo;

	if (text == NULL)
		return;
	signo = parse_signal(text);
	if (signo == 0)
		nur_bad_env("NURSERY_DUMP_SIGNAL", text,
		    "a signal's name or number");
	else if (nur_signals_call(signo, dump) != 0)
		nur_bad_env("NURSERY_DUMP_SIGNAL", text,
		    "a signal that can be taken");
}
