/* SPDX-License-Identifier: MIT */
/* Options, the listener, start and stop.  The map is in httpd.h. */
#define _GNU_SOURCE	/* SCHED_BATCH, dup3 */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DRAINED = 0, FAILED = 1, USAGE = 2, CUT = 3 };

#define KNOWN		"-l, -h, -i, -d, -c, -b, --help or --version"
#define BACKLOG		1024
#define OWN_FILES	32	/* descriptors that are no connection's */
#define CANCEL_FOR	(5 * NURSERY_SECOND)
#define ABORT_FOR	NURSERY_SECOND

struct options {
	const char *listen, *root;
	long header, idle, drain;	/* seconds */
	long connections, send_buffer;
};

__attribute__((noreturn, format(printf, 2, 3))) static void
die(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("httpd: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	exit(status);
}

/* ---- options ---- */

static void
help(void)
{
	(void)printf(
"usage: httpd [-l ADDR:PORT] [-h HEADER-TIMEOUT] [-i IDLE-TIMEOUT]\n"
"             [-d DRAIN-TIME] [-c MAX-CONNECTIONS] [-b SEND-BUFFER] ROOT\n"
"Serves the files beneath ROOT over HTTP/1.1.\n"
"\n"
"  -l ADDR:PORT        where to listen [127.0.0.1:8080]; [::1]:8080 for IPv6;\n"
"                      port 0 picks a free one\n"
"  -h HEADER-TIMEOUT   seconds for a request to arrive whole [10]\n"
"  -i IDLE-TIMEOUT     seconds in which nothing moves: between two requests,\n"
"                      or while the client takes no byte [60]\n"
"  -d DRAIN-TIME       seconds for requests under way, once stopped [30]\n"
"  -c MAX-CONNECTIONS  at once; others wait in the backlog [1024]\n"
"  -b SEND-BUFFER      bytes the kernel holds for each connection [its choice]\n"
"      --help, --version\n"
"\n"
"SIGTERM or SIGINT: what is asked is answered, nothing new is taken; a second\n"
"one cuts.  SIGHUP: ROOT is opened anew, as when a link leads elsewhere now.\n"
"Exit: 0 all was answered, 1 an error, 2 wrong usage, 3 something was cut.\n");
}

static long
number(int option, const char *text, long min, long max, const char *what)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || v < min || v > max)
		die(USAGE, "-%c '%s': expected %s, %ld to %ld", option, text,
		    what, min, max);
	return v;
}

static void
parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "help", no_argument, NULL, 'H' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;	/* the words are ours */
	while ((c = getopt_long(argc, argv, ":l:h:i:d:c:b:", names, NULL)) !=
	    -1)
		switch (c) {
		case 'l':
			o->listen = optarg;
			break;
		case 'h':
			o->header = number(c, optarg, 1, 86400, "seconds");
			break;
		case 'i':
			o->idle = number(c, optarg, 1, 86400, "seconds");
			break;
		case 'd':
			o->drain = number(c, optarg, 0, 86400, "seconds");
			break;
		case 'c':
			o->connections = number(c, optarg, 1, 1000000,
			    "a number of connections");
			break;
		case 'b':
			o->send_buffer = number(c, optarg, 4096, 1 << 30,
			    "bytes");
			break;
		case 'H':
			help();
			exit(DRAINED);
		case 'V':
			(void)printf("httpd %s\n", nursery_version());
			exit(DRAINED);
		case ':':
			die(USAGE, "-%c: expected a value after it", optopt);
		default:
			if (optopt == 0 || strncmp(argv[optind - 1], "--", 2)
			    == 0)
				die(USAGE, "%s: unknown; expected " KNOWN,
				    argv[optind - 1]);
			die(USAGE, "-%c: unknown; expected " KNOWN, optopt);
		}
	if (optind == argc)
		die(USAGE, "ROOT is missing: expected the folder to serve");
	if (optind + 1 < argc)
		die(USAGE, "'%s': expected nothing after ROOT '%s'",
		    argv[optind + 1], argv[optind]);
	o->root = argv[optind];
}

/* ---- what it needs ---- */

/* Three descriptors for each connection, if they can be had: its socket, the
 * file it sends, the one that wakes its thread.  With fewer, most connections
 * are between two files; a quarter is kept for those that are not. */
static unsigned
raise_limit(long wanted)
{
	rlim_t need = (rlim_t)wanted * 3 + OWN_FILES, before;
	struct rlimit l;
	long fit;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		die(FAILED, "getrlimit: %s", strerror(errno));
	before = l.rlim_cur;
	if (before < need && before < l.rlim_max) {
		l.rlim_cur = need < l.rlim_max ? need : l.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &l) != 0)
			die(FAILED, "cannot raise the descriptor limit from "
			    "%ju: %s", (uintmax_t)before, strerror(errno));
		(void)fprintf(stderr, "httpd: descriptor limit raised from "
		    "%ju to %ju\n", (uintmax_t)before, (uintmax_t)l.rlim_cur);
	}
	if (l.rlim_cur >= need)
		return (unsigned)wanted;
	fit = (long)l.rlim_cur / 4 * 3 - OWN_FILES;
	fit = fit < 1 ? 1 : fit < wanted ? fit : wanted;
	(void)fprintf(stderr, "httpd: descriptor limit %ju: at most %ld "
	    "connections at once\n", (uintmax_t)l.rlim_cur, fit);
	return (unsigned)fit;
}

/* -1 and errno unless it is a folder that can be served. */
static int
open_root(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;

	if (fd < 0 || faccessat(fd, ".", X_OK, AT_EACCESS) == 0)
		return fd;
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

/* SIGHUP, on a thread of the library: another folder has the name now. */
static void
reopen_root(int signo, void *arg)
{
	const struct server *s = arg;
	int fd = open_root(s->root_path);
	bool done = fd >= 0 && dup3(fd, s->root, O_CLOEXEC) >= 0;

	(void)fprintf(stderr, "httpd: %s: ROOT '%s' %s%s\n",
	    strsignal(signo), s->root_path, done ? "is opened anew" :
	    "stays what it was: ", done ? "" : strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

/* "ADDR:PORT" or "[ADDR]:PORT", numbers only. */
static struct addrinfo *
resolve(const char *text)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
	const char *colon = strrchr(text, ':'), *addr = text;
	struct addrinfo *found = NULL;
	size_t len, digits;
	char host[64];

	len = colon == NULL ? 0 : (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && colon[-1] == ']') {
		addr++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		len = 0;	/* which colon ends the address? */
	}
	digits = len == 0 ? 0 : strspn(colon + 1, "0123456789");
	if (digits == 0 || colon[1 + digits] != '\0' || len >= sizeof host ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		goto bad;
	memcpy(host, addr, len);
	host[len] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) == 0)
		return found;
bad:
	die(USAGE, "-l '%s': expected ADDR:PORT in numbers, as 127.0.0.1:8080 "
	    "or [::1]:8080", text);
}

/* Accepted connections inherit NODELAY and the buffer's size. */
static int
open_listener(const struct options *o)
{
	const int on = 1, size = (int)o->send_buffer;
	struct addrinfo *a = resolve(o->listen);
	int fd, error = 0;

	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
	    (size > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof
	    size) != 0) ||
	    bind(fd, a->ai_addr, a->ai_addrlen) != 0 ||
	    listen(fd, BACKLOG) != 0)
		error = errno;
	freeaddrinfo(a);
	if (error != 0)
		die(FAILED, "-l '%s': expected an address to listen on: %s",
		    o->listen, strerror(error));
	return fd;
}

static void
say_listening(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof addr;
	char host[64], port[8];

	if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
	    getnameinfo((struct sockaddr *)&addr, len, host, sizeof host,
	    port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0 ||
	    printf(addr.ss_family == AF_INET6 ? "listening on [%s]:%s\n" :
	    "listening on %s:%s\n", host, port) < 0 || fflush(stdout) != 0)
		die(FAILED, "cannot say where it listens: %s",
		    strerror(errno));
}

/* ---- start and stop ---- */

static int
start(struct server *s)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	struct nursery_task_attr acceptor = NURSERY_TASK_ATTR_INIT;
	sigset_t stop;
	int rc;

	attr.name = "httpd";
	acceptor.name = "acceptor";
	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGINT);
	(void)sigaddset(&stop, SIGTERM);
	rc = nursery_open(&s->nursery, &attr);
	if (rc == 0)
		rc = nursery_stop_on_signals(s->nursery, &stop,
		    NURSERY_DRAIN);
	if (rc == 0)
		rc = nursery_on_signal(s->nursery, SIGHUP, reopen_root, s);
	if (rc == 0)
		rc = nursery_token_new_at(&s->taking, nursery_token_of(
		    s->nursery), NURSERY_DRAIN);
	if (rc == 0)
		rc = nursery_spawn_with(s->nursery, &acceptor, httpd_accept,
		    s, NULL);
	return rc;
}

static void
say_stopping(const struct server *s, long seconds)
{
	struct nursery_cause c = NURSERY_CAUSE_INIT;
	int signo;

	(void)nursery_token_cause(nursery_token_of(s->nursery),
	    NURSERY_DRAIN, &c);
	signo = c.code & ~NURSERY_SIGNAL(0);
	if (c.code == NURSERY_SIGNAL(signo))
		(void)fprintf(stderr, "httpd: %s from process %d: finishing "
		    "what was asked, for at most %ld s\n", strsignal(signo),
		    (int)c.by_pid, seconds);
}

/* Waits for the signal, then for the rest.  Returns the exit status. */
static int
run(struct server *s, long drain)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery_report *report = NULL;
	int rc;

	(void)nursery_token_wait_level(nursery_token_of(s->nursery),
	    NURSERY_DRAIN, NURSERY_NEVER);
	say_stopping(s, drain);
	how.drain_for = drain * NURSERY_SECOND;
	how.cancel_for = CANCEL_FOR;
	how.abort_for = ABORT_FOR;
	how.why = "the drain time is over";
	rc = nursery_stop(&s->nursery, &how, &report);
	if (rc == ETIMEDOUT)
		(void)nursery_report_print(report, stderr);
	nursery_report_free(report);
	if (rc != 0 && rc != ECANCELED)
		die(FAILED, "stopped by an error: %s", strerror(rc));
	nursery_token_unref(s->taking);
	(void)fprintf(stderr, "httpd: %u of %u connections were cut\n",
	    s->cut, s->connections);
	return s->cut > 0 ? CUT : DRAINED;
}

int
main(int argc, char **argv)
{
	struct options o = { .listen = "127.0.0.1:8080", .header = 10,
		.idle = 60, .drain = 30, .connections = 1024 };
	struct server s = { 0 };
	int rc;

	parse(&o, argc, argv);
	/* If nobody reads our messages any more, we still serve. */
	(void)signal(SIGPIPE, SIG_IGN);
	/* A thread that a packet woke lets the one that sent it go on: so
	 * many are served in a row, where one by one the processor would be
	 * handed to and fro. */
	(void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
	s.header_time = o.header * NURSERY_SECOND;
	s.idle_time = o.idle * NURSERY_SECOND;
	s.root_path = o.root;
	s.root = open_root(o.root);
	if (s.root < 0)
		die(FAILED, "ROOT '%s': expected a readable folder: %s",
		    o.root, strerror(errno));
	s.listener = open_listener(&o);
	s.max_connections = raise_limit(o.connections);
	rc = start(&s);
	if (rc != 0)
		die(FAILED, "cannot start: %s", strerror(rc));
	say_listening(s.listener);
	return run(&s, o.drain);
}
