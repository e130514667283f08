/* SPDX-License-Identifier: MIT */
/* Files beneath the root, their types, byte ranges. */
#define _GNU_SOURCE	/* O_PATH */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INDEX	"index.html"
/* O_NONBLOCK: the open of a FIFO must not wait for its writer. */
#define FLAGS	(O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/*
 * For kernels without openat2: one name at a time, none of them `..` or a
 * symbolic link, so that nothing leads out.
 */
static int
walk(int root, char *path)
{
	char *name = path, *slash;
	int dir = root, next;

	for (;; dir = next, name = slash + 1) {
		slash = strchr(name, '/');
		if (slash != NULL)
			*slash = '\0';
		errno = EXDEV;
		if (strcmp(name, "..") != 0)
			next = openat(dir, *name == '\0' ? "." : name,
			    O_NOFOLLOW | (slash == NULL ? FLAGS : O_PATH |
			    O_DIRECTORY | O_CLOEXEC));
		else
			next = -1;
		if (dir != root)
			(void)close(dir);
		if (next < 0 || slash == NULL)
			return next;
	}
}

/* The kernel follows links, but none that leads out of the root. */
static int
open_beneath(int root, char *path)
{
	struct open_how how = { .flags = FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int tries = 8;
	long fd;

	/* EAGAIN: a rename elsewhere kept the kernel from being sure. */
	do {
		fd = syscall(SYS_openat2, root, *path == '\0' ? "." : path,
		    &how, sizeof how);
	} while (fd < 0 && errno == EAGAIN && --tries > 0);
	return fd < 0 && errno == ENOSYS ? walk(root, path) : (int)fd;
}

int
file_open(int root, const char *path, struct stat *st)
{
	size_t len = strlen(path);
	char full[PATH_MAX];
	int fd, error;

	if (len + sizeof INDEX > sizeof full) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(full, path, len + 1);
	if (len == 0 || path[len - 1] == '/')
		memcpy(full + len, INDEX, sizeof INDEX);
	fd = open_beneath(root, full);
	if (fd < 0)
		return -1;
	error = fstat(fd, st) != 0 ? errno : S_ISREG(st->st_mode) ? 0 :
	    S_ISDIR(st->st_mode) ? EISDIR : EACCES;
	if (error == 0)
		return fd;
	(void)close(fd);
	errno = error;
	return -1;
}

const char *
file_type(const char *path)
{
	static const struct { const char *ending, *type; } types[] = {
		{ "html", "text/html; charset=utf-8" },
		{ "css", "text/css; charset=utf-8" },
		{ "js", "text/javascript; charset=utf-8" },
		{ "txt", "text/plain; charset=utf-8" },
		{ "md", "text/markdown; charset=utf-8" },
		{ "c", "text/x-c; charset=utf-8" },
		{ "h", "text/x-c; charset=utf-8" },
		{ "json", "application/json" },
		{ "pdf", "application/pdf" },
		{ "gz", "application/gzip" },
		{ "svg", "image/svg+xml" },
		{ "png", "image/png" },
		{ "jpg", "image/jpeg" },
		{ "gif", "image/gif" },
		{ "ico", "image/x-icon" },
		{ "woff2", "font/woff2" },
		{ "mp4", "video/mp4" },
	};
	const char *name = strrchr(path, '/'), *dot;
	size_t i;

	name = name == NULL ? path : name + 1;
	if (*name == '\0')
		return types[0].type;	/* a folder's index.html */
	dot = strrchr(name, '.');
	for (i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++)
		if (strcasecmp(dot + 1, types[i].ending) == 0)
			return types[i].type;
	return "application/octet-stream";
}

/* A position, saturated; NULL when there is no digit. */
static const char *
parse_position(const char *s, int64_t *out)
{
	const char *first = s;

	for (*out = 0; *s >= '0' && *s <= '9'; s++)
		*out = *out > INT64_MAX / 10 - 1 ? INT64_MAX :
		    *out * 10 + (*s - '0');
	return s == first ? NULL : s;
}

int
file_range(const char *range, int64_t size, int64_t *from, int64_t *len)
{
	int64_t first, last = INT64_MAX;
	const char *s;

	if (range == NULL || strncasecmp(range, "bytes=", 6) != 0)
		return 200;
	range += 6;
	s = parse_position(range, &first);
	if (s == NULL) {		/* "-500": the last 500 */
		s = *range == '-' ? parse_position(range + 1, &last) : NULL;
		if (s == NULL || *s != '\0')
			return 200;
		first = last == 0 ? size : last < size ? size - last : 0;
		last = size - 1;
	} else {
		if (*s++ != '-' || (*s != '\0' && ((s = parse_position(s,
		    &last)) == NULL || *s != '\0')) || last < first)
			return 200;	/* several, or malformed: all of it */
	}
	if (first >= size)
		return 416;
	*from = first;
	*len = (last < size ? last + 1 : size) - first;
	return 206;
}
