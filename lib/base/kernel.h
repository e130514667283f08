/* SPDX-License-Identifier: MIT */
/*
 * System calls of the quick ways, in the caller's own frame: the result, or
 * a negative error number.
 *
 * On return from the kernel many a processor has forgotten where its callers
 * are, so that each frame between a call and its user costs a misprediction;
 * the C library adds two more for its cancellation points.  None of these is
 * one.  Where the instruction is not known here, or a sanitizer follows what
 * goes through descriptors, it is the C library's call.
 */
#ifndef NUR_BASE_KERNEL_H
#define NUR_BASE_KERNEL_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define NUR_FOLLOWED	1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || \
    __has_feature(memory_sanitizer)
#define NUR_FOLLOWED	1
#endif
#endif

#if defined(__x86_64__) && defined(__LP64__) && !defined(NUR_FOLLOWED)
#define NUR_KERNEL_CALL	1

static inline long
nur_kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long rc;

	__asm__ volatile("syscall" : "=a" (rc) : "0" (number), "D" (a),
	    "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9) :
	    "rcx", "r11", "memory");
	return rc;
}

#elif defined(__aarch64__) && defined(__LP64__) && !defined(NUR_FOLLOWED)
#define NUR_KERNEL_CALL	1

static inline long
nur_kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r" (x0) : "r" (x8), "r" (x1), "r" (x2),
	    "r" (x3), "r" (x4), "r" (x5) : "memory");
	return x0;
}

#endif

/* musl before 1.2.5 has neither of the two; at the file's own position only:
 * -1, in both halves. */
#ifndef RWF_NOWAIT
#include <linux/fs.h>

static inline ssize_t
preadv2(int fd, const struct iovec *iov, int n, off_t own, int flags)
{
	return syscall(SYS_preadv2, fd, iov, n, (long)own, (long)own, flags);
}

static inline ssize_t
pwritev2(int fd, const struct iovec *iov, int n, off_t own, int flags)
{
	return syscall(SYS_pwritev2, fd, iov, n, (long)own, (long)own, flags);
}
#endif

#ifdef NUR_KERNEL_CALL

/* At the file's own position. */
static inline long
nur_kernel_preadv2(int fd, const struct iovec *iov, int n, int flags)
{
	return nur_kernel_call(SYS_preadv2, fd, (long)iov, n, -1, -1, flags);
}

static inline long
nur_kernel_pwritev2(int fd, const struct iovec *iov, int n, int flags)
{
	return nur_kernel_call(SYS_pwritev2, fd, (long)iov, n, -1, -1, flags);
}

static inline long
nur_kernel_recv(int fd, void *buf, size_t len, int flags)
{
	return nur_kernel_call(SYS_recvfrom, fd, (long)buf, (long)len, flags,
	    0, 0);
}

static inline long
nur_kernel_send(int fd, const void *buf, size_t len, int flags)
{
	return nur_kernel_call(SYS_sendto, fd, (long)buf, (long)len, flags, 0,
	    0);
}

/* *timeout is lost. */
static inline long
nur_kernel_ppoll(struct pollfd *fds, nfds_t n, struct timespec *timeout,
    const sigset_t *mask)
{
	return nur_kernel_call(SYS_ppoll, (long)fds, (long)n, (long)timeout,
	    (long)mask, _NSIG / 8, 0);
}

#else

static inline long
nur_kernel_result(ssize_t n)
{
	return n < 0 ? -errno : n;
}

static inline long
nur_kernel_preadv2(int fd, const struct iovec *iov, int n, int flags)
{
	return nur_kernel_result(preadv2(fd, iov, n, -1, flags));
}

static inline long
nur_kernel_pwritev2(int fd, const struct iovec *iov, int n, int flags)
{
	return nur_kernel_result(pwritev2(fd, iov, n, -1, flags));
}

static inline long
nur_kernel_recv(int fd, void *buf, size_t len, int flags)
{
	return nur_kernel_result(recv(fd, buf, len, flags));
}

static inline long
nur_kernel_send(int fd, const void *buf, size_t len, int flags)
{
	return nur_kernel_result(send(fd, buf, len, flags));
}

static inline long
nur_kernel_ppoll(struct pollfd *fds, nfds_t n, struct timespec *timeout,
    const sigset_t *mask)
{
	return nur_kernel_result(ppoll(fds, n, timeout, mask));
}

#endif

#endif
