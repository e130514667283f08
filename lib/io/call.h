/* SPDX-License-Identifier: MIT */
/*
 * The engine behind every cancellable system call.
 *
 *   descriptor                          way
 *   socket (recv, send, ...msg)         MSG_DONTWAIT, then ppoll, and again
 *   O_NONBLOCK                          the plain call, then ppoll, and again
 *   socket (read, write)                as recv and send, once it is known
 *   file, pipe, socket (read, write)    RWF_NOWAIT, then ppoll, and again; then
 *                                       the plain call in an interrupt region
 *   listener, connect, terminal, ...    ppoll, then the plain call in an
 *   sendfile to a blocking socket       interrupt region: a rival may win
 *   child process                       WNOHANG, then ppoll on a pidfd; then, or
 *                                       without one, waitpid in such a region
 *
 * A ppoll is broken by an eventfd of the thread's own.  One of our threads that
 * has none lets the signal in for as long as it sleeps; another is sent it
 * again and again.
 *
 * I1  A cancelled token fails before any work; work done beats a later cancel.
 * I2  The flags of the descriptor are never changed.
 * I3  pthread_cancel does not act while anything of ours is registered.
 */
#ifndef NUR_IO_CALL_H
#define NUR_IO_CALL_H

#include "base/slab.h"
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
/* The same after a first try, which gave n: the result, or a negative error
 * number. */
ssize_t nur_call_go_on(struct nur_call *c, ssize_t n);

/*
 * The quick way of a call that may be ready at once: its checks and one
 * system call in the frame of the public function, and of few pages, as where
 * the kernel has page tables of its own each is looked up anew after a call.
 * False: the token, or a thread that has no record yet, wants nur_call_run().
 */
#define NUR_QUICK	__attribute__((aligned(512)))	/* in one page */

struct nur_quick {
	struct nur_thr *self;
	uint32_t before;
};

static inline bool
nur_quick_begin(struct nur_quick *q, struct nursery_token *t, enum nur_op op,
    int fd)
{
	q->self = nur_thr_peek();
	if (q->self == NULL || (t != NULL && q->self->forked &&
	    nur_inherited(t)) || nursery_token_is_cancelled(t))
		return false;
	if (!nur_thr_is_worker(q->self))	/* where it does not act */
		pthread_testcancel();
	/* A large transfer takes its time though it does not wait. */
	q->before = nur_op_enter(q->self, op | NUR_OP_BUSY, fd);
	return true;
}

static inline void
nur_quick_end(const struct nur_quick *q)
{
	nur_op_leave(q->self, q->before);
}

/* True if the descriptor has O_NONBLOCK. */
bool nur_fd_nonblocking(int fd);

#define NUR_FD_REMEMBERED	64	/* uses of others that share the slot */

/*
 * Whether the descriptor may be a socket: of one not seen lately, yes.  For
 * those there are calls that are cheaper than the ones for any descriptor,
 * and that say ENOTSOCK.  A number that has become a socket's meanwhile is
 * served the dearer way; of several that share a slot, one at a time is known.
 */
static inline bool
nur_fd_maybe_socket(struct nur_thr *self, int fd)
{
	struct nur_fd_seen *s = &self->fd_seen[(unsigned)fd % NUR_FDS_SEEN];

	if (s->fd != fd) {
		if (s->others > 0) {
			s->others--;
			return false;
		}
		s->fd = fd;
		s->others = NUR_FD_REMEMBERED;
		s->no_socket = false;
	}
	return !s->no_socket;
}

/* nur_fd_maybe_socket() said what is not so, or knew it. */
static inline void
nur_fd_no_socket(struct nur_thr *self, int fd)
{
	struct nur_fd_seen *s = &self->fd_seen[(unsigned)fd % NUR_FDS_SEEN];

	if (s->fd == fd)
		s->no_socket = true;
}

/* Waits for fds or the token: ppoll's result, or -1 with ECANCELED,
 * ETIMEDOUT or ppoll's error. */
int nur_poll(struct nursery_token *t, struct pollfd *fds, nfds_t nfds,
    int64_t deadline, enum nur_op op);

#endif
