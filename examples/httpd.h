/* SPDX-License-Identifier: MIT */
/*
 * httpd: static files over HTTP/1.1, a task for each connection.
 *
 *   httpd.c          options, the listener, start and stop
 *   httpd-conn.c     taking connections; what one of them lives through
 *   httpd-request.c  what a client asks for
 *   httpd-file.c     files beneath the root, their types, byte ranges
 *
 * The tree while it runs:
 *
 *   nursery "httpd"                      opened by main()
 *     task "acceptor"                    opens, and closes in the end:
 *       nursery "connections"            at most -c of them
 *         task "192.0.2.7:40312" ...     one a connection
 *
 * A signal raises the outer nursery to NURSERY_DRAIN.  One token, `taking`,
 * is cancelled by that: whoever waits for something new waits with it, and
 * stops waiting.  Work under way has its task's token, which only the end of
 * the drain time cancels.
 *
 * SIGHUP opens ROOT anew, for when another folder has taken its place: under
 * the same descriptor, so that whoever opens a file there meanwhile has one
 * of the two.
 */
#ifndef HTTPD_H
#define HTTPD_H

#include <nursery.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define HEAD_MAX	8192	/* bytes of request line and headers */

struct server {
	struct nursery *nursery;
	struct nursery_token *taking;
	int listener, root;
	const char *root_path;
	int64_t header_time, idle_time;	/* durations */
	unsigned max_connections;
	unsigned connections, cut;	/* written when all have ended */
};

struct request {
	bool head;		/* HEAD: no body, please */
	bool keep;		/* the connection may serve another request */
	bool old;		/* HTTP/1.0 */
	const char *range;	/* NULL: all of it */
	const char *target;	/* as it was sent, without slashes in front */
	char path[4096];	/* the same, decoded; valid with target */
};

/* The acceptor's task; arg is the server. */
nursery_fn httpd_accept;

/* The head's length with its empty line, or 0 when some is missing. */
size_t request_head_length(const char *in, size_t len);
/* 0, or the status to refuse it with.  *r points into the head. */
int request_parse(struct request *r, char *head, size_t len);

/* Opens a file beneath root, a folder's index.html; -1 and errno.  EISDIR: a
 * folder whose path does not end in a slash. */
int file_open(int root, const char *path, struct stat *st);
const char *file_type(const char *path);
/* 206 and the range; 200: send all, as nothing was set; 416. */
int file_range(const char *range, int64_t size, int64_t *from, int64_t *len);

#endif
