/* SPDX-License-Identifier: MIT */
/*
 * The request line and the headers, taken to pieces in place.  Strict where
 * leniency has let two programs read one request in two ways: no folded
 * lines, no space before a colon, one Host, one length.  A line may end in
 * LF alone.
 */
#include "httpd.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX	65536	/* a GET needs none */

static size_t
empty_lines(const char *in, size_t len)
{
	size_t n = 0;

	while (n < len && (in[n] == '\r' || in[n] == '\n'))
		n++;
	return n;
}

size_t
request_head_length(const char *in, size_t len)
{
	const char *end = in + len, *p = in + empty_lines(in, len);

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - in);
		if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - in);
	}
	return 0;
}

/* ---- the target ---- */

/* -1: no hexadecimal digit. */
static int
hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = memchr(digits, tolower((unsigned char)c), 16);

	return at == NULL ? -1 : (int)(at - digits);
}

/* False for a bad escape and for an escaped NUL. */
static bool
percent_decode(char *to, const char *s)
{
	for (; *s != '\0'; s++, to++) {
		*to = *s;
		if (*s != '%')
			continue;
		if (hex(s[1]) < 0 || hex(s[2]) < 0)
			return false;
		*to = (char)(hex(s[1]) << 4 | hex(s[2]));
		if (*to == '\0')
			return false;
		s += 2;
	}
	*to = '\0';
	return true;
}

static int
parse_target(struct request *r, char *target)
{
	if (strncasecmp(target, "http://", 7) == 0) {
		target += 7;
		target += strcspn(target, "/?");
		if (*target != '/')
			target = strcpy(target - 1, "/");
	}
	if (*target != '/' || strchr(target, '#') != NULL)
		return 400;
	target[strcspn(target, "?")] = '\0';
	r->target = target + strspn(target, "/");
	if (strlen(r->target) >= sizeof r->path)
		return 414;	/* no file has such a name */
	return percent_decode(r->path, r->target) ? 0 : 400;
}

/* ---- the request line ---- */

static bool
is_token(const char *s)
{
	static const char chars[] = "!#$%&'*+-.^_`|~0123456789"
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *s != '\0' && s[strspn(s, chars)] == '\0';
}

/* Whether a comma-separated list has the word. */
static bool
list_has(const char *list, const char *word)
{
	size_t len, n = strlen(word);

	for (; *list != '\0'; list += len + (list[len] == ',')) {
		list += strspn(list, " \t");
		len = strcspn(list, ",");
		if (len >= n && strncasecmp(list, word, n) == 0 &&
		    strspn(list + n, " \t") == len - n)
			return true;
	}
	return false;
}

static int
parse_method(struct request *r, const char *method)
{
	r->head = strcmp(method, "HEAD") == 0;
	if (r->head || strcmp(method, "GET") == 0)
		return 0;
	if (!is_token(method))
		return 400;
	return list_has("CONNECT, DELETE, OPTIONS, PATCH, POST, PUT, TRACE",
	    method) ? 405 : 501;
}

static int
parse_version(struct request *r, const char *v)
{
	if (strncmp(v, "HTTP/", 5) != 0 || !isdigit((unsigned char)v[5]) ||
	    v[6] != '.' || !isdigit((unsigned char)v[7]) || v[8] != '\0')
		return 400;
	r->old = v[7] == '0';
	r->keep = !r->old;	/* unless the headers say otherwise */
	return v[5] == '1' ? 0 : 505;
}

static int
parse_request_line(struct request *r, char *line)
{
	char *target, *version;
	int status;

	target = line + strcspn(line, " ");
	if (*target != '\0')
		*target++ = '\0';
	version = target + strcspn(target, " ");
	if (*version != '\0')
		*version++ = '\0';
	status = parse_version(r, version);
	if (status == 0)
		status = parse_method(r, line);
	return status != 0 ? status : parse_target(r, target);
}

/* ---- headers ---- */

struct seen {
	unsigned hosts, lengths, codings;
	uint64_t body;
	bool chunked, close, if_range;
};

/* The status to refuse with, or 0. */
static int
parse_header(struct request *r, struct seen *seen, const char *name,
    const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (strcasecmp(name, "Host") == 0) {
		seen->hosts++;
	} else if (strcasecmp(name, "Content-Length") == 0) {
		if (digits == 0 || value[digits] != '\0')
			return 400;
		seen->lengths++;
		seen->body = digits > 18 ? UINT64_MAX : strtoull(value, NULL,
		    10);
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		seen->codings++;
		seen->chunked = strcasecmp(value, "chunked") == 0;
	} else if (strcasecmp(name, "Connection") == 0) {
		seen->close = seen->close || list_has(value, "close");
		r->keep = r->keep || list_has(value, "keep-alive");
	} else if (strcasecmp(name, "Range") == 0) {
		r->range = value;
	} else if (strcasecmp(name, "If-Range") == 0) {
		seen->if_range = true;
	}
	return 0;
}

static int
parse_header_line(struct request *r, struct seen *seen, char *line)
{
	char *value = strchr(line, ':'), *end;

	if (value == NULL)
		return 400;
	*value++ = '\0';
	if (!is_token(line))
		return 400;
	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	return parse_header(r, seen, line, value);
}

/* What the headers mean together. */
static int
check(struct request *r, const struct seen *seen)
{
	if (seen->hosts > 1 || (seen->hosts == 0 && !r->old) ||
	    seen->lengths > 1)
		return 400;
	if (seen->codings > 0) {
		if (seen->lengths > 0 || r->old)
			return 400;
		return seen->codings == 1 && seen->chunked ? 411 : 501;
	}
	if (seen->body > BODY_MAX)
		return 413;
	/* A body is not read: the connection ends with this request. */
	r->keep = r->keep && !seen->close && seen->body == 0;
	/* We give no validator, so none can match; a range is for GET. */
	if (seen->if_range || r->head)
		r->range = NULL;
	return 0;
}

/* The line at *next, ended by NUL; NULL if it has a control character. */
static char *
cut_line(char **next)
{
	char *line = *next, *end = strchr(line, '\n'), *p;

	*next = end + 1;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	for (p = line; p < end; p++)
		if (iscntrl((unsigned char)*p) && *p != '\t')
			return NULL;
	return line;
}

int
request_parse(struct request *r, char *head, size_t len)
{
	char *line, *next = head + empty_lines(head, len);
	struct seen seen = { 0 };
	int status;

	if (memchr(head, '\0', len) != NULL || (line = cut_line(&next)) ==
	    NULL)
		return 400;
	status = parse_request_line(r, line);
	while (status == 0) {
		line = cut_line(&next);
		if (line == NULL)
			return 400;
		if (*line == '\0')
			return check(r, &seen);
		status = parse_header_line(r, &seen, line);
	}
	return status;
}
