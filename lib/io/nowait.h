/* SPDX-License-Identifier: MIT */
/* preadv2 and pwritev2 of the kernel, where the C library has none: musl
 * before 1.2.5. */
#ifndef NUR_IO_NOWAIT_H
#define NUR_IO_NOWAIT_H

#include <sys/uio.h>

#ifndef RWF_NOWAIT
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* At the file's own position only: -1, in both halves. */
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

#endif
