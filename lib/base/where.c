/* SPDX-License-Identifier: MIT */
/*
 * /proc/self/task/TID/syscall has the number and the arguments of the system
 * call in which a thread of one's own sleeps, without any privilege; a kernel
 * that lacks it may have `wchan`, the function it sleeps in.  Read by bare
 * system calls: the C library's are points of cancellation, and the callers
 * hold locks.
 */
#include "config.h"

#include "base/where.h"

#include "base/sys.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Those in which a thread may stay; others are told by their number. */
static const struct {
	short number;
	bool fd;		/* the first argument is a descriptor */
	char name[18];
} calls[] = {
#define ON_FD(name)	{ SYS_##name, true, #name }
#define CALL(name)	{ SYS_##name, false, #name }
	ON_FD(accept4), ON_FD(close), ON_FD(connect), ON_FD(epoll_pwait),
	ON_FD(fcntl), ON_FD(fdatasync), ON_FD(flock), ON_FD(fsync),
	ON_FD(ioctl), ON_FD(pread64), ON_FD(preadv), ON_FD(pwrite64),
	ON_FD(pwritev), ON_FD(read), ON_FD(readv), ON_FD(recvfrom),
	ON_FD(recvmmsg), ON_FD(recvmsg), ON_FD(sendfile), ON_FD(sendmsg),
	ON_FD(sendto), ON_FD(splice), ON_FD(write), ON_FD(writev),
	CALL(clock_nanosleep), CALL(futex), CALL(nanosleep), CALL(openat),
	CALL(ppoll), CALL(pselect6), CALL(restart_syscall),
	CALL(rt_sigsuspend), CALL(rt_sigtimedwait), CALL(sync), CALL(wait4),
	CALL(waitid),
#ifdef SYS_accept
	ON_FD(accept),
#endif
#ifdef SYS_pause	/* the older machines have all of these */
	ON_FD(epoll_wait), CALL(open), CALL(pause), CALL(poll), CALL(select),
#endif
};

/* The file's text, without the end of its line; 0: there is none. */
static size_t
read_file(int tid, const char *file, char *to, size_t size)
{
	char path[64];
	long fd, len;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid,
	    file);
	fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = syscall(SYS_read, fd, to, size - 1);
	nur_close((int)fd);
	to[len > 0 ? len : 0] = '\0';
	return strcspn(to, "\n");
}

/* "NUMBER ARGUMENT ARGUMENT ..." */
static void
name_call(const char *text, char *to, size_t size)
{
	char *rest;
	long number = strtol(text, &rest, 10);
	int fd = (int)strtoul(rest, NULL, 16);
	size_t i;

	for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		if (calls[i].number != number)
			continue;
		(void)snprintf(to, size, calls[i].fd ?
		    "system call %s(fd %d)" : "system call %s",
		    calls[i].name, fd);
		return;
	}
	(void)snprintf(to, size, "system call %ld", number);
}

void
nur_where(int tid, char *to, size_t size)
{
	char text[160];

	to[0] = '\0';
	if (read_file(tid, "syscall", text, sizeof text) != 0) {
		if (text[0] >= '0' && text[0] <= '9')
			name_call(text, to, size);
		else		/* on a processor, or waiting for a page */
			(void)snprintf(to, size, "running");
	} else if (read_file(tid, "wchan", text, sizeof text) != 0) {
		(void)snprintf(to, size, strcmp(text, "0") == 0 ? "running" :
		    "in %.40s", text);
	}
}

/* "TID (NAME) STATE ...", where the name may have brackets, too. */
bool
nur_sleeps(int tid)
{
	char text[160];
	const char *end;

	if (read_file(tid, "stat", text, sizeof text) == 0)
		return false;
	end = strrchr(text, ')');
	return end != NULL && (end[2] == 'S' || end[2] == 'D');
}
