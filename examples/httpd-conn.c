/* SPDX-License-Identifier: MIT */
/*
 * Taking connections, and what one of them lives through.
 *
 * Functions that talk to the client return -1 and errno when the connection
 * is over.  ECANCELED then means that a request was cut; all else is the
 * client's own doing, or the end.
 */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SMALL		16384	/* files up to this leave in one send */
#define HEADERS_MAX	6144	/* of an answer: a Location may be long */
#define CHUNK		(1 << 20)	/* a cancel is seen after each */

/* What may still come once the server drains: the first request of a new
 * connection, and the end of a handshake that has begun. */
#define LAST_CALL	NURSERY_SECOND
#define HANDSHAKE	(20 * NURSERY_MS)
/* For a client to read the answer after which we close. */
#define LINGER		(2 * NURSERY_SECOND)

struct conn {
	struct server *server;
	struct nursery_token *token;
	int fd;
	bool fresh;		/* no request yet */
	char peer[64];
	int64_t size, sent;	/* of the answer's body */
	time_t dated;		/* the second that `date` shows */
	char date[40];
	size_t have;		/* bytes in `in` */
	/* from here on not cleared at birth */
	struct request r;
	char in[HEAD_MAX];
	char out[HEADERS_MAX + SMALL];
};

/* ---- sending ---- */

static int
send_all(struct conn *c, const char *data, size_t len)
{
	ssize_t n;

	for (; len > 0; data += n, len -= (size_t)n) {
		n = nursery_send(c->token, c->fd, data, len, 0,
		    nursery_after(c->server->idle_time));
		if (n < 0)
			return -1;
	}
	return 0;
}

static int
send_file(struct conn *c, int file, int64_t from)
{
	off_t at = (off_t)from;
	int64_t left;
	ssize_t n;

	for (; (left = c->size - c->sent) > 0; c->sent += n) {
		n = nursery_sendfile(c->token, c->fd, file, &at, left < CHUNK
		    ? (size_t)left : CHUNK, nursery_after(
		    c->server->idle_time));
		if (n == 0)
			errno = EIO;	/* the file became shorter */
		if (n <= 0)
			return -1;
	}
	return 0;
}

/* ---- the head of an answer ---- */

static const char *
reason(int status)
{
	static const struct { int status; const char *text; } all[] = {
		{ 200, "200 OK" },
		{ 206, "206 Partial Content" },
		{ 301, "301 Moved Permanently" },
		{ 400, "400 Bad Request" },
		{ 403, "403 Forbidden" },
		{ 404, "404 Not Found" },
		{ 405, "405 Method Not Allowed" },
		{ 408, "408 Request Timeout" },
		{ 411, "411 Length Required" },
		{ 413, "413 Content Too Large" },
		{ 414, "414 URI Too Long" },
		{ 416, "416 Range Not Satisfiable" },
		{ 431, "431 Request Header Fields Too Large" },
		{ 501, "501 Not Implemented" },
		{ 503, "503 Service Unavailable" },
		{ 505, "505 HTTP Version Not Supported" },
		{ 500, "500 Internal Server Error" },
	};
	size_t i = 0;

	while (all[i].status != status && all[i].status != 500)
		i++;
	return all[i].text;
}

static char *
put_number(char *to, int64_t value)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
	} while ((value /= 10) > 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

static const char *
date(struct conn *c)
{
	time_t now = time(NULL);
	struct tm tm;

	if (now != c->dated && gmtime_r(&now, &tm) != NULL) {
		(void)strftime(c->date, sizeof c->date,
		    "%a, %d %b %Y %H:%M:%S GMT", &tm);
		c->dated = now;
	}
	return c->date;
}

/* All but the empty line, which the caller adds.  Here it is decided whether
 * the connection goes on: not once the server drains. */
static char *
put_head(struct conn *c, int status, const char *type, int64_t length)
{
	char *p = stpcpy(c->out, "HTTP/1.1 ");

	if (nursery_token_level(c->token) >= NURSERY_DRAIN)
		c->r.keep = false;
	p = stpcpy(p, reason(status));
	p = stpcpy(stpcpy(p, "\r\nDate: "), date(c));
	p = stpcpy(stpcpy(p, "\r\nContent-Type: "), type);
	p = put_number(stpcpy(p, "\r\nContent-Length: "), length);
	if (!c->r.keep)
		p = stpcpy(p, "\r\nConnection: close");
	else if (c->r.old)
		p = stpcpy(p, "\r\nConnection: keep-alive");
	return stpcpy(p, "\r\n");
}

/* ---- answers ---- */

static int
answer_status(struct conn *c, int status)
{
	const char *text = reason(status);
	char *p;

	p = put_head(c, status, "text/plain", (int64_t)strlen(text) + 1);
	if (status == 301)
		p = stpcpy(stpcpy(stpcpy(p, "Location: /"), c->r.target),
		    "/\r\n");
	else if (status == 405)
		p = stpcpy(p, "Allow: GET, HEAD\r\n");
	else if (status == 416)
		p = stpcpy(put_number(stpcpy(p, "Content-Range: bytes */"),
		    c->size), "\r\n");
	else if (status == 503)
		p = stpcpy(p, "Retry-After: 1\r\n");
	p = stpcpy(p, "\r\n");
	if (!c->r.head)
		p = stpcpy(stpcpy(p, text), "\n");
	return send_all(c, c->out, (size_t)(p - c->out));
}

static int
answer_file(struct conn *c, int file, int64_t size)
{
	int64_t from = 0, len = size;
	int status;
	char *p;

	c->size = size;
	status = file_range(c->r.range, size, &from, &len);
	if (status == 416)
		return answer_status(c, status);
	p = put_head(c, status, file_type(c->r.path), len);
	p = stpcpy(p, "Accept-Ranges: bytes\r\n");
	if (status == 206) {
		p = put_number(stpcpy(p, "Content-Range: bytes "), from);
		p = put_number(stpcpy(p, "-"), from + len - 1);
		p = put_number(stpcpy(p, "/"), size);
		p = stpcpy(p, "\r\n");
	}
	p = stpcpy(p, "\r\n");
	c->size = c->r.head ? 0 : len;
	/* The head goes out alone: behind it, in one packet with MSG_MORE,
	 * the pages of the file would not lie aligned, and the whole takes a
	 * third longer on loopback. */
	if (c->size > SMALL)
		return send_all(c, c->out, (size_t)(p - c->out)) != 0 ||
		    send_file(c, file, from) != 0 ? -1 : 0;
	if (pread(file, p, (size_t)c->size, (off_t)from) != c->size) {
		errno = EIO;
		return -1;
	}
	return send_all(c, c->out, (size_t)(p - c->out + c->size));
}

static int
status_of(int error, const char *path)
{
	size_t len = strlen(path);

	switch (error) {
	case ENOENT: case ENOTDIR: case ENAMETOOLONG:
		return 404;
	case EISDIR:		/* relative links want the slash */
		return len > 0 && path[len - 1] != '/' ? 301 : 403;
	case EXDEV:		/* it leads out of the root */
	case EACCES: case EPERM: case ELOOP: case ENXIO:
		return 403;
	case EMFILE: case ENFILE: case ENOMEM: case EAGAIN:
		return 503;
	default:
		return 500;
	}
}

static int
answer(struct conn *c)
{
	struct stat st;
	int file, rc;

	file = file_open(c->server->root, c->r.path, &st);
	if (file < 0)
		return answer_status(c, status_of(errno, c->r.path));
	rc = answer_file(c, file, st.st_size);
	(void)close(file);
	return rc;
}

/* ---- requests ---- */

/* The first bytes of a request.  The wait for them ends when the server
 * drains; what had come before that is still taken. */
static ssize_t
first_bytes(struct conn *c, int64_t deadline)
{
	ssize_t n;

	n = nursery_recv(c->server->taking, c->fd, c->in, sizeof c->in, 0,
	    deadline);
	if (n < 0 && errno == ECANCELED)
		n = nursery_recv(c->token, c->fd, c->in, sizeof c->in, 0,
		    c->fresh ? nursery_after(LAST_CALL) : 0);
	if (n < 0)
		errno = ESHUTDOWN;	/* nothing asked, nothing cut */
	return n;
}

/* Reads until a whole head is there: 0, the status to refuse with, or -1. */
static int
read_head(struct conn *c, size_t *len)
{
	const struct server *s = c->server;
	int64_t deadline;
	ssize_t n;

	deadline = nursery_after(c->have > 0 || c->fresh ? s->header_time :
	    s->idle_time);
	while ((*len = request_head_length(c->in, c->have)) == 0) {
		if (c->have == sizeof c->in)
			return memchr(c->in, '\n', c->have) ? 431 : 414;
		n = c->have == 0 ? first_bytes(c, deadline) :
		    nursery_recv(c->token, c->fd, c->in + c->have,
		    sizeof c->in - c->have, 0, deadline);
		if (n < 0 && errno == ETIMEDOUT)
			return 408;
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		if (c->have == 0 && !c->fresh)
			deadline = nursery_after(s->header_time);
		c->have += (size_t)n;
	}
	return 0;
}

/* We close first: a client that has sent more than we read would lose the
 * answer to a reset, unless it has time to take it. */
static void
linger(struct conn *c)
{
	int64_t deadline = nursery_after(LINGER);

	(void)shutdown(c->fd, SHUT_WR);
	while (nursery_recv(c->token, c->fd, c->out, sizeof c->out, 0,
	    deadline) > 0)
		;
}

/* One request and its answer: 0, or -1 when the connection is over. */
static int
exchange(struct conn *c)
{
	int status, rc;
	size_t head;

	memset(&c->r, 0, offsetof(struct request, path));
	c->size = c->sent = 0;
	status = read_head(c, &head);
	if (status < 0)
		return -1;
	c->fresh = false;
	if (status == 0)
		status = request_parse(&c->r, c->in, head);
	if (status != 0)	/* where its body ends is not ours to know */
		c->r.keep = false;
	rc = status == 0 ? answer(c) : answer_status(c, status);
	if (rc == 0 && !c->r.keep) {
		linger(c);
		errno = ESHUTDOWN;
		return -1;
	}
	c->have -= head;
	memmove(c->in, c->in + head, c->have);
	return rc;
}

/* ---- connections ---- */

static void
conn_free(void *arg)
{
	struct conn *c = arg;

	(void)close(c->fd);
	free(c);
}

static int
conn_serve(struct nursery_token *token, void *arg)
{
	struct conn *c = arg;
	int rc = 0;

	c->token = token;
	while (exchange(c) == 0)
		;
	if (errno == ECANCELED) {
		rc = ECANCELED;
		(void)fprintf(stderr, "httpd: cut: %s after %lld of %lld "
		    "bytes of /%s\n", c->peer, (long long)c->sent,
		    (long long)c->size, c->r.target == NULL ?
		    "... (half a request)" : c->r.target);
	}
	conn_free(c);
	return rc;
}

static struct conn *
conn_new(struct server *s, int fd, const struct sockaddr_storage *addr,
    socklen_t len)
{
	char host[48] = "?", port[8] = "?";
	struct conn *c = malloc(sizeof *c);

	if (c == NULL)
		return NULL;
	memset(c, 0, offsetof(struct conn, r));
	c->server = s;
	c->fd = fd;
	c->fresh = true;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)getnameinfo((const struct sockaddr *)addr, len, host,
	    sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	(void)snprintf(c->peer, sizeof c->peer, addr->ss_family == AF_INET6 ?
	    "[%s]:%s" : "%s:%s", host, port);
	return c;
}

/* A task for the connection; waits for room when -c of them run.  IN_DRAIN:
 * those that were in the backlog when the server began to drain. */
static void
conn_start(struct server *s, struct nursery *conns, int fd,
    const struct sockaddr_storage *addr, socklen_t len)
{
	struct nursery_task_attr attr = NURSERY_TASK_ATTR_INIT;
	struct conn *c = conn_new(s, fd, addr, len);
	int rc;

	if (c == NULL) {
		(void)close(fd);
		return;
	}
	attr.name = c->peer;
	attr.flags = NURSERY_TASK_IN_DRAIN;
	attr.discard = conn_free;
	rc = nursery_spawn_with(conns, &attr, conn_serve, c, NULL);
	if (rc == 0)
		return;
	if (rc == ECANCELED) {
		s->cut++;
	} else {		/* no thread, no memory */
		memset(&c->r, 0, offsetof(struct request, path));
		(void)answer_status(c, 503);
	}
	conn_free(c);
}

/* ---- the acceptor ---- */

/* ECANCELED, ETIMEDOUT, or what is wrong with the listener. */
static int
accept_until(struct server *s, struct nursery *conns,
    struct nursery_token *token, int64_t deadline)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd;

	for (;;) {
		len = sizeof addr;
		fd = nursery_accept(token, s->listener,
		    (struct sockaddr *)&addr, &len, deadline);
		if (fd >= 0) {
			conn_start(s, conns, fd, &addr, len);
			continue;
		}
		switch (errno) {
		case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
			/* Until others give some back: nothing tells when. */
			(void)nursery_sleep(token, nursery_after(20 *
			    NURSERY_MS));
			break;
		case ECONNABORTED: case EHOSTDOWN: case EHOSTUNREACH:
		case ENETDOWN: case ENETUNREACH: case ENONET:
		case ENOPROTOOPT: case EPERM: case EPROTO:
			break;		/* an error of that one connection */
		default:
			return errno;
		}
	}
}

/*
 * From here on the kernel drops the packets that ask for a connection: who
 * sent one asks again, and is refused once the listener is closed.  So the
 * backlog has an end, and nobody is connected and then left alone.
 */
static void
stop_handshakes(int listener)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),	/* TCP's flags */
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1), /* SYN? */
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog program = { sizeof code / sizeof code[0],
		code };

	(void)setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program,
	    sizeof program);
}

/* Waits for the connections to end, and counts those that were cut. */
static int
close_connections(struct server *s, struct nursery **conns)
{
	struct nursery_counts counts = NURSERY_COUNTS_INIT;
	struct nursery_report *report = NULL;
	int rc;

	rc = nursery_close_with(conns, &report);
	if (rc == ENOMEM && *conns != NULL)	/* for the report */
		return nursery_close(conns);
	(void)nursery_report_counts(report, &counts);
	nursery_report_free(report);
	s->connections = (unsigned)counts.spawned;
	s->cut += (unsigned)(counts.cancelled + counts.discarded);
	return rc;
}

int
httpd_accept(struct nursery_token *token, void *arg)
{
	struct nursery_attr attr = NURSERY_ATTR_INIT;
	struct server *s = arg;
	struct nursery *conns;
	int rc, error;

	attr.name = "connections";
	attr.policy = NURSERY_COLLECT;	/* one that fails stops no other */
	attr.max_running = s->max_connections;
	attr.max_queued = 1;
	rc = nursery_open_child(&conns, s->nursery, &attr);
	if (rc != 0)
		return rc;
	error = accept_until(s, conns, s->taking, NURSERY_NEVER);
	stop_handshakes(s->listener);
	if (error == ECANCELED)
		error = accept_until(s, conns, token, nursery_after(
		    HANDSHAKE));
	(void)close(s->listener);
	if (error != ECANCELED && error != ETIMEDOUT)
		(void)nursery_token_raise(nursery_token_of(s->nursery),
		    NURSERY_DRAIN, error, "accept failed");
	rc = close_connections(s, &conns);
	if (error != ECANCELED && error != ETIMEDOUT)
		return error;
	return rc == ECANCELED ? 0 : rc;
}
