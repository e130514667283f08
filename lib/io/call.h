/* SPDX-License-Identifier: MIT */
/*
 * The engine behind every cancellable system call.
 *
 *   descriptor                          way
 *   socket (recv, send, ...msg)         MSG_DONTWAIT, then ppoll, and again
 *   O_NONBLOCK                          the plain call, then ppoll, and again
 *   file, pipe, socket (read, write)    RWF_NOWAIT, then ppoll, and again; then
 *                                       the plain call in an interrupt region
 *   listener, connect, terminal, ...    ppoll, then the plain call in an
 *   sendfile to a blocking socket       interrupt region: a rival may win
 *   child process                       WNOHANG, then ppoll on a pidfd; then, or
 *                                       without one, waitpid in such a region
 *
 * A ppoll of one of our threads is broken by the signal, which it lets in for
 * as long as it sleeps; of another thread by an eventfd of the thread's own.
 *
 * I1  A cancelled token fails before any work; work done beats a later cancel.
 * I2  The flags of the descriptor are never changed.
 * I3  pthread_cancel does not act while anything of ours is registered.
 */
#ifndef NUR_IO_CALL_H
#define NUR_IO_CALL_H

#include "base/thr.h"
#include "nursery/io.h"

#include <errno.h>

enum nur_way {
	NUR_NOWAIT,	/* must not block: EAGAIN, or ENOTSUP: cannot promise */
	NUR_MAY_BLOCK	/* inside an interrupt region: EINTR when broken */
};

struct nur_call {
	struct nursery_token *token;
	int64_t deadline;
	enum nur_op op;
	int fd;
	short events;
	/* Returns the call's result, or -1 with errno. */
	ssize_t (*fn)(struct nur_call *c, enum nur_way way);
	/* NUR_NOWAIT never blocks, and after EAGAIN ppoll tells: no region. */
	bool pollable;
	/* EAGAIN is the answer: nothing is waited for. */
	bool once;
	/* the arguments of fn */
	const struct iovec *iov;
	int iov_count;
	struct msghdr *msg;
	const struct msghdr *cmsg;
	void *buf;
	const void *cbuf;
	size_t len;
	int flags, fd2;
	off_t *offset;
	struct sockaddr *addr;
	const struct sockaddr *caddr;
	socklen_t *addr_len;
	pid_t pid;
	int *status;
};

/* -1, as the system's calls return it, with errno. */
static inline int
nur_fail(int error)
{
	errno = error;
	return -1;
}

ssize_t nur_call_run(struct nur_call *c);
/* True if the descriptor has O_NONBLOCK. */
bool nur_fd_nonblocking(int fd);
/* Waits for fds or the token: ppoll's result, or -1 with ECANCELED,
 * ETIMEDOUT or ppoll's error. */
int nur_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, enum nur_op op);

#endif
