/* SPDX-License-Identifier: MIT */
/*
 * The end of a child.  Only waitpid(2) reaps, so that of any number of
 * waiters one has the status and the others ECHILD.
 *
 * W1  A pidfd of another process than the child is readable: the child's
 *     number is in use again only after the one it was opened for has been
 *     reaped.  The wait is then short, and waitpid is asked again.
 * W2  A child that has ended and cannot be reaped, because a debugger has
 *     it, leaves the pidfd readable: then waitpid itself blocks, in an
 *     interrupt region, as it does where no pidfd is to be had.
 */
#include "config.h"

#include "io/call.h"

#include "base/sys.h"

#include <sys/wait.h>
#include <unistd.h>

static ssize_t
do_waitpid(struct nur_call *c, enum nur_way way)
{
	pid_t pid = waitpid(c->pid, c->status, way == NUR_NOWAIT ? WNOHANG :
	    0);

	if (pid != 0)
		return pid;
	if (c->fd < 0)
		c->fd = nur_pidfd(c->pid);
	errno = EAGAIN;
	return -1;
}

pid_t
nursery_waitpid(struct nursery_token *t, pid_t pid, int *status,
    int64_t deadline)
{
	struct nur_call c = { .token = t, .deadline = deadline,
		.op = NUR_OP_WAITPID, .fd = -1, .events = POLLIN,
		.fn = do_waitpid, .pid = pid, .status = status };
	ssize_t n;
	int error, state;

	if (pid <= 0)
		return nur_fail(EINVAL);
	/* A thread that was told to end must not leave the pidfd open. */
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	n = nur_call_run(&c);
	error = errno;
	if (c.fd >= 0)
		(void)close(c.fd);
	(void)pthread_setcancelstate(state, NULL);
	errno = error;
	return (pid_t)n;
}
