/* SPDX-License-Identifier: MIT */
/*
 * Every call that blocks, against everything that ends it: a cancel of the
 * nursery, from a signal handler, too, its own deadline, an ancestor's, a
 * drain, which ends none; and against a rival that gives it what it waits for.  All three happen at once.
 * The call returns a documented code, and what was given is either what it
 * took or still there: never both, never neither.
 */
#include "race.h"
#include "tasks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS	40	/* of each call and each end */
#define BYTES	16	/* written at a time */
#define SOON	40000	/* ns */

enum end {
	CANCEL, FROM_HANDLER, OWN_DEADLINE, ANCESTORS_DEADLINE, DRAIN, ENDS
};

struct world;
struct row {
	const char *name;
	void (*make)(struct world *w);
	int (*call)(struct world *w, struct nursery_token *t, int64_t by);
	void (*give)(struct world *w);
	/* After the race: fails the test unless what is there fits rc. */
	void (*check)(struct world *w);
	bool no_deadline;	/* it has none of its own */
};

struct world {
	const struct row *row;
	enum end end;
	unsigned round;
	struct nursery *n;
	struct nursery_token *token;	/* below n's */
	int fd[2], file, listener, peer, got_fd;
	struct sockaddr_in to;
	struct sockaddr_un path;
	socklen_t path_len;
	int waiting[2];		/* connections that fill the backlog */
	pid_t child;
	sem_t posts;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int there;		/* under lock */
	struct nursery_channel *channel;
	struct nursery_task *task;
	size_t filled, taken, marks, wrote;
	struct gate gate;
	struct nursery *small;
	int ran;
	int rc, descriptors;
	int64_t by;
};

static int
error_of(ssize_t n)
{
	return n < 0 ? errno : 0;
}

/* ---- what there is to take: one byte, perhaps with a descriptor ---- */

static void
make_pipe(struct world *w)
{
	ck_assert_int_eq(pipe(w->fd), 0);
}

static void
make_sockets(struct world *w)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, w->fd), 0);
}

static void
give_byte(struct world *w)
{
	(void)!write(w->fd[1], "x", 1);
}

static ssize_t
take_byte(int fd)
{
	char byte;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	return read(fd, &byte, 1);
}

static void
check_byte(struct world *w)
{
	ck_assert_int_eq(take_byte(w->fd[0]), w->rc == 0 ? -1 : 1);
}

static void
check_looked(struct world *w)
{
	ck_assert_int_eq(take_byte(w->fd[0]), 1);
}

static int
call_poll(struct world *w, struct nursery_token *t, int64_t by)
{
	struct pollfd p = { .fd = w->fd[0], .events = POLLIN };
	int n = nursery_poll(t, &p, 1, by);

	return n == 0 ? ETIMEDOUT : error_of(n);
}

static int
call_read(struct world *w, struct nursery_token *t, int64_t by)
{
	char byte = 0;
	int rc = error_of(nursery_read(t, w->fd[0], &byte, 1, by));

	return rc == 0 && byte != 'x' ? EBADMSG : rc;
}

static int
call_read_full(struct world *w, struct nursery_token *t, int64_t by)
{
	char byte = 0;
	size_t done = 99;
	int rc = nursery_read_full(t, w->fd[0], &byte, 1, &done, by);

	return done == (rc == 0 ? 1 : 0) ? rc : EBADMSG;
}

static int
call_readv(struct world *w, struct nursery_token *t, int64_t by)
{
	char bytes[2] = { 0 };
	const struct iovec v[2] = { { bytes, 1 }, { bytes + 1, 1 } };
	int rc = error_of(nursery_readv(t, w->fd[0], v, 2, by));

	return rc == 0 && bytes[0] != 'x' ? EBADMSG : rc;
}

static int
call_recv(struct world *w, struct nursery_token *t, int64_t by)
{
	char byte = 0;
	int rc = error_of(nursery_recv(t, w->fd[0], &byte, 1, 0, by));

	return rc == 0 && byte != 'x' ? EBADMSG : rc;
}

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void
give_descriptor(struct world *w)
{
	union control u = { { 0 } };
	struct iovec v = { (char[]){ 'x' }, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
		.msg_control = u.bytes, .msg_controllen = sizeof u.bytes };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &w->fd[0], sizeof(int));
	(void)sendmsg(w->fd[1], &m, 0);
}

static int
descriptor_in(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	int fd = -1;

	if (c != NULL && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

static int
call_recvmsg(struct world *w, struct nursery_token *t, int64_t by)
{
	union control u;
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
		.msg_control = u.bytes, .msg_controllen = sizeof u.bytes };
	int rc = error_of(nursery_recvmsg(t, w->fd[0], &m, 0, by));

	if (rc == 0)
		w->got_fd = descriptor_in(&m);
	return rc == 0 && byte != 'x' ? EBADMSG : rc;
}

static void
check_descriptor(struct world *w)
{
	if (w->rc == 0)
		ck_assert_int_ge(w->got_fd, 0);
	else
		ck_assert_int_eq(call_recvmsg(w, NULL, 0), 0);
	ck_assert_int_ge(w->got_fd, 0);
	close(w->got_fd);
	ck_assert_int_eq(take_byte(w->fd[0]), -1);
}

/* ---- room to be had: of what was filled all is taken ---- */

static void
fill(struct world *w)
{
	char page[4096] = { 0 };
	int flags = fcntl(w->fd[1], F_GETFL);
	ssize_t n;

	fcntl(w->fd[1], F_SETFL, flags | O_NONBLOCK);
	while ((n = write(w->fd[1], page, sizeof page)) > 0)
		w->filled += (size_t)n;
	while (write(w->fd[1], page, 1) > 0)
		w->filled++;
	fcntl(w->fd[1], F_SETFL, flags);
}

static void
full_pipe(struct world *w)
{
	make_pipe(w);
	fill(w);
}

static void
full_sockets(struct world *w)
{
	make_sockets(w);
	fill(w);
}

static void
full_sockets_and_file(struct world *w)
{
	char name[] = "/tmp/nursery-test-XXXXXX", marks[BYTES];

	full_sockets(w);
	memset(marks, 'w', sizeof marks);
	w->file = mkstemp(name);
	ck_assert_int_ge(w->file, 0);
	unlink(name);
	ck_assert_int_eq(write(w->file, marks, BYTES), BYTES);
}

static void
take_all(struct world *w)
{
	char got[4096];
	ssize_t n, i;

	while ((n = recv(w->fd[0], got, sizeof got, MSG_DONTWAIT)) > 0 || (n <
	    0 && errno == ENOTSOCK && (n = read(w->fd[0], got, sizeof got)) >
	    0)) {
		w->taken += (size_t)n;
		for (i = 0; i < n; i++)
			w->marks += got[i] == 'w';
	}
}

static void
give_room(struct world *w)
{
	fcntl(w->fd[0], F_SETFL, O_NONBLOCK);
	take_all(w);
}

static void
check_marks(struct world *w)
{
	take_all(w);
	ck_assert_uint_eq(w->taken, w->filled + w->wrote);
	ck_assert_uint_eq(w->marks, w->wrote);
}

static int
wrote(struct world *w, ssize_t n)
{
	w->wrote = n < 0 ? 0 : (size_t)n;
	return error_of(n);
}

static int
call_write(struct world *w, struct nursery_token *t, int64_t by)
{
	return wrote(w, nursery_write(t, w->fd[1], "wwwwwwwwwwwwwwww", BYTES,
	    by));
}

static int
call_write_all(struct world *w, struct nursery_token *t, int64_t by)
{
	return nursery_write_all(t, w->fd[1], "wwwwwwwwwwwwwwww", BYTES,
	    &w->wrote, by);
}

static int
call_writev(struct world *w, struct nursery_token *t, int64_t by)
{
	char marks[] = "wwwwwwwwwwwwwwww";
	const struct iovec v[2] = { { marks, 5 }, { marks, BYTES - 5 } };

	return wrote(w, nursery_writev(t, w->fd[1], v, 2, by));
}

static int
call_send(struct world *w, struct nursery_token *t, int64_t by)
{
	return wrote(w, nursery_send(t, w->fd[1], "wwwwwwwwwwwwwwww", BYTES,
	    0, by));
}

static int
call_sendmsg(struct world *w, struct nursery_token *t, int64_t by)
{
	char marks[] = "wwwwwwwwwwwwwwww";
	struct iovec v[2] = { { marks, 5 }, { marks, BYTES - 5 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	return wrote(w, nursery_sendmsg(t, w->fd[1], &m, 0, by));
}

static int
call_sendfile(struct world *w, struct nursery_token *t, int64_t by)
{
	off_t at = 0;
	int rc = wrote(w, nursery_sendfile(t, w->fd[1], w->file, &at, BYTES,
	    by));

	return (size_t)at == w->wrote ? rc : EBADMSG;
}

/* ---- connections ---- */

static void
make_listener(struct world *w)
{
	socklen_t len = sizeof w->to;

	w->to = (struct sockaddr_in){ .sin_family = AF_INET };
	w->to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(w->listener, (struct sockaddr *)&w->to, len),
	    0);
	ck_assert_int_eq(listen(w->listener, 8), 0);
	ck_assert_int_eq(getsockname(w->listener, (struct sockaddr *)&w->to,
	    &len), 0);
	w->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void
give_connection(struct world *w)
{
	while (connect(w->peer, (const struct sockaddr *)&w->to, sizeof
	    w->to) != 0 && errno == EINTR)
		;
}

static int
call_accept(struct world *w, struct nursery_token *t, int64_t by)
{
	int fd = nursery_accept(t, w->listener, NULL, NULL, by);

	w->got_fd = fd;
	return error_of(fd);
}

static void
check_connection(struct world *w)
{
	const struct linger now = { 1, 0 };
	int fd;

	fcntl(w->listener, F_SETFL, O_NONBLOCK);
	fd = accept(w->listener, NULL, NULL);
	ck_assert((fd >= 0) == (w->rc != 0));
	if (fd < 0)
		fd = w->got_fd;
	/* Reset: no port is kept waiting. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

/* A backlog that is full, of a socket that has a name but no file. */
static void
make_full_backlog(struct world *w)
{
	int i;

	w->path_len = sizeof(sa_family_t);
	w->path = (struct sockaddr_un){ .sun_family = AF_UNIX };
	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(w->listener, (struct sockaddr *)&w->path,
	    w->path_len), 0);
	w->path_len = sizeof w->path;
	ck_assert_int_eq(getsockname(w->listener, (struct sockaddr *)&w->path,
	    &w->path_len), 0);
	ck_assert_int_eq(listen(w->listener, 0), 0);
	for (i = 0; i < 2; i++) {
		w->waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
		    SOCK_CLOEXEC, 0);
		(void)connect(w->waiting[i], (struct sockaddr *)&w->path,
		    w->path_len);
	}
	w->peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void
give_backlog(struct world *w)
{
	w->got_fd = accept(w->listener, NULL, NULL);
}

static int
call_connect(struct world *w, struct nursery_token *t, int64_t by)
{
	return error_of(nursery_connect(t, w->peer, (const struct sockaddr *)
	    &w->path, w->path_len, by));
}

/* The one that filled the backlog, and ours if it says so. */
static void
check_backlog(struct world *w)
{
	int fd, pending = 0;

	ck_assert_int_ge(w->got_fd, 0);
	close(w->got_fd);
	fcntl(w->listener, F_SETFL, O_NONBLOCK);
	while ((fd = accept(w->listener, NULL, NULL)) >= 0) {
		pending++;
		close(fd);
	}
	ck_assert_int_eq(pending, w->rc == 0);
	close(w->waiting[0]);
	close(w->waiting[1]);
}

/* ---- children ---- */

static void
make_child(struct world *w)
{
	w->child = fork();
	if (w->child == 0) {
		/* No assertion here: it is killed at any moment, and half of
		 * what libcheck notes of it would be read as something else. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	ck_assert_int_ge(w->child, 0);
}

static void
give_death(struct world *w)
{
	kill(w->child, SIGKILL);
}

static int
call_waitpid(struct world *w, struct nursery_token *t, int64_t by)
{
	int status = -1;
	pid_t pid = nursery_waitpid(t, w->child, &status, by);

	if (pid == w->child)
		return WIFSIGNALED(status) ? 0 : EBADMSG;
	return status == -1 ? error_of(pid) : EBADMSG;
}

static void
check_child(struct world *w)
{
	ck_assert_int_eq(waitpid(w->child, NULL, 0), w->rc == 0 ? -1 :
	    w->child);
}

/* ---- waits ---- */

static void
nothing(struct world *w)
{
	(void)w;
}

static int
call_sleep(struct world *w, struct nursery_token *t, int64_t by)
{
	int64_t until = by == NURSERY_NEVER && w->end == DRAIN ?
	    nursery_after(SOON) : by;
	int rc = nursery_sleep(t, until);

	return rc == 0 && nursery_now() < until ? EBADMSG : rc;
}

static void
give_cancel(struct world *w)
{
	nursery_token_cancel(w->token);
}

static int
call_token_wait(struct world *w, struct nursery_token *t, int64_t by)
{
	int rc = nursery_token_wait(t, by);

	(void)w;
	return rc == 0 && !nursery_token_is_cancelled(t) ? EBADMSG : rc;
}

static int
call_token_wait_level(struct world *w, struct nursery_token *t, int64_t by)
{
	int rc = nursery_token_wait_level(t, NURSERY_DRAIN, by);

	(void)w;
	return rc == 0 && nursery_token_level(t) < NURSERY_DRAIN ? EBADMSG :
	    rc;
}

/* ---- plain objects ---- */

static void
make_semaphore(struct world *w)
{
	ck_assert_int_eq(sem_init(&w->posts, 0, 0), 0);
}

static void
give_post(struct world *w)
{
	(void)sem_post(&w->posts);
}

static int
call_sem_wait(struct world *w, struct nursery_token *t, int64_t by)
{
	return nursery_sem_wait(t, &w->posts, by);
}

static void
check_post(struct world *w)
{
	int posts = -1;

	sem_getvalue(&w->posts, &posts);
	ck_assert_int_eq(posts, w->rc != 0);
	sem_destroy(&w->posts);
}

static void
make_condition(struct world *w)
{
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

static void
give_signal(struct world *w)
{
	pthread_mutex_lock(&w->lock);
	w->there = 1;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static int
call_cond_wait(struct world *w, struct nursery_token *t, int64_t by)
{
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	while (w->there == 0 && rc == 0)
		rc = nursery_cond_wait(t, &w->changed, &w->lock, by);
	if (rc == 0)
		w->there--;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static void
check_condition(struct world *w)
{
	ck_assert_int_eq(w->there, w->rc != 0);
	ck_assert_int_eq(pthread_cond_destroy(&w->changed), 0);
	ck_assert_int_eq(pthread_mutex_destroy(&w->lock), 0);
}

/* ---- channels ---- */

static void
make_channel(struct world *w)
{
	ck_assert_int_eq(nursery_channel_new(&w->channel, 1, 1), 0);
}

static int
send_item(struct world *w, struct nursery_token *t, char item, int64_t by)
{
	return nursery_channel_send(t, w->channel, &item, by);
}

/* 0, or the item. */
static char
item_there(struct world *w)
{
	char item = 0;

	(void)nursery_channel_recv(NULL, w->channel, &item, 0);
	return item;
}

static void
make_full_channel(struct world *w)
{
	make_channel(w);
	ck_assert_int_eq(send_item(w, NULL, 'f', 0), 0);
}

static void
give_item(struct world *w)
{
	(void)send_item(w, NULL, 'x', NURSERY_NEVER);
}

static void
give_place(struct world *w)
{
	w->taken = item_there(w) == 'f';
}

static int
call_channel_recv(struct world *w, struct nursery_token *t, int64_t by)
{
	char item = 0;
	int rc = nursery_channel_recv(t, w->channel, &item, by);

	return item == (rc == 0 ? 'x' : 0) ? rc : EBADMSG;
}

static int
call_channel_send(struct world *w, struct nursery_token *t, int64_t by)
{
	return send_item(w, t, 'x', by);
}

static void
check_received(struct world *w)
{
	ck_assert_int_eq(item_there(w), w->rc == 0 ? 0 : 'x');
	nursery_channel_free(w->channel);
}

static void
check_sent(struct world *w)
{
	ck_assert_uint_eq(w->taken, 1);
	ck_assert_int_eq(item_there(w), w->rc == 0 ? 'x' : 0);
	ck_assert_int_eq(item_there(w), 0);
	nursery_channel_free(w->channel);
}

/* ---- a system call of the program's own ---- */

static int
read_a_byte(void *ctx)
{
	struct world *w = ctx;
	char byte;
	ssize_t n;

	do {
		n = read(w->fd[0], &byte, 1);
	} while (n < 0 && errno == EINTR && !nursery_token_is_cancelled(
	    w->token));
	return n == 1 ? 0 : ECANCELED;
}

static int
call_token_run(struct world *w, struct nursery_token *t, int64_t by)
{
	int result = EBADMSG, rc;

	(void)by;
	rc = nursery_token_run(t, read_a_byte, w, &result);
	return rc != 0 ? rc : result;
}

/* ---- tasks ---- */

static void
make_small(struct world *w)
{
	struct nursery_attr a = NURSERY_ATTR_INIT;

	a.flags = NURSERY_UNBOUND;
	a.max_running = 1;
	a.max_queued = 1;
	gate_init(&w->gate);
	ck_assert_int_eq(nursery_open_child(&w->small, w->n, &a), 0);
}

static void
make_gate_task(struct world *w)
{
	make_small(w);
	ck_assert_int_eq(nursery_spawn_with(w->small, NULL, task_at_gate,
	    &w->gate, &w->task), 0);
	gate_await(&w->gate, 1);
}

static void
make_full_nursery(struct world *w)
{
	make_gate_task(w);
	ck_assert_int_eq(nursery_try_spawn(w->small, task_count, &w->ran),
	    0);
}

static void
give_end(struct world *w)
{
	gate_open(&w->gate);
}

static int
call_nursery_wait(struct world *w, struct nursery_token *t, int64_t by)
{
	(void)t;
	return nursery_wait(w->small, by);
}

static int
call_spawn(struct world *w, struct nursery_token *t, int64_t by)
{
	(void)t;
	(void)by;
	return nursery_spawn(w->small, task_count, &w->ran);
}

static int
call_task_wait(struct world *w, struct nursery_token *t, int64_t by)
{
	(void)t;
	return nursery_task_wait(w->task, by);
}

static int
call_task_join(struct world *w, struct nursery_token *t, int64_t by)
{
	int result = -1, rc;

	(void)t;
	(void)by;
	rc = nursery_task_join(&w->task, &result);
	return rc != 0 || (result == 0 && w->task == NULL) ? rc : EBADMSG;
}

static int
call_close(struct world *w, struct nursery_token *t, int64_t by)
{
	int rc;

	(void)t;
	(void)by;
	rc = nursery_close(&w->small);
	return w->small == NULL ? rc : EBADMSG;
}

static int
task_that_starts(struct nursery_token *t, void *ctx)
{
	struct world *w = ctx;

	(void)task_at_gate(t, &w->gate);
	return nursery_started(&w->ran);
}

static void
count_discarded(void *ctx)
{
	struct world *w = ctx;

	w->filled++;
}

static int
call_start(struct world *w, struct nursery_token *t, int64_t by)
{
	struct nursery_task_attr a = NURSERY_TASK_ATTR_INIT;
	void *value = NULL;
	int rc;

	(void)t;
	a.discard = count_discarded;
	rc = nursery_start(w->small, &a, task_that_starts, w, &value, by);
	return value == (rc == 0 ? &w->ran : NULL) ? rc : EBADMSG;
}

static void
check_closes(struct world *w)
{
	int rc = nursery_close(&w->small);

	ck_assert(rc == 0 || rc == ECANCELED);
	nursery_task_unref(w->task);
}

/* It ran, or it was discarded. */
static void
check_started(struct world *w)
{
	ck_assert_uint_eq((size_t)w->gate.arrived + w->filled, 1);
	check_closes(w);
}

static void
check_spawned(struct world *w)
{
	int rc = nursery_close(&w->small);

	nursery_task_unref(w->task);
	/* What a cancel finds queued does not run. */
	if (rc == 0)
		ck_assert_int_eq(counted(&w->ran), 1 + (w->rc == 0));
	else
		ck_assert(rc == ECANCELED && counted(&w->ran) <= 1 + (w->rc ==
		    0));
}

static const struct row rows[] = {
	{ "sleep", nothing, call_sleep, nothing, nothing, 0 },
	{ "poll", make_pipe, call_poll, give_byte, check_looked, 0 },
	{ "read", make_pipe, call_read, give_byte, check_byte, 0 },
	{ "read", make_sockets, call_read, give_byte, check_byte, 0 },
	{ "read_full", make_pipe, call_read_full, give_byte, check_byte, 0 },
	{ "readv", make_pipe, call_readv, give_byte, check_byte, 0 },
	{ "recv", make_sockets, call_recv, give_byte, check_byte, 0 },
	{ "recvmsg", make_sockets, call_recvmsg, give_descriptor,
		check_descriptor, 0 },
	{ "write", full_pipe, call_write, give_room, check_marks, 0 },
	{ "write", full_sockets, call_write, give_room, check_marks, 0 },
	{ "write_all", full_pipe, call_write_all, give_room, check_marks, 0 },
	{ "writev", full_pipe, call_writev, give_room, check_marks, 0 },
	{ "writev", full_sockets, call_writev, give_room, check_marks, 0 },
	{ "send", full_sockets, call_send, give_room, check_marks, 0 },
	{ "sendmsg", full_sockets, call_sendmsg, give_room, check_marks, 0 },
	{ "sendfile", full_sockets_and_file, call_sendfile, give_room,
		check_marks, 0 },
	{ "accept", make_listener, call_accept, give_connection,
		check_connection, 0 },
	{ "connect", make_full_backlog, call_connect, give_backlog,
		check_backlog, 0 },
	{ "waitpid", make_child, call_waitpid, give_death, check_child, 0 },
	{ "sem_wait", make_semaphore, call_sem_wait, give_post, check_post,
		0 },
	{ "cond_wait", make_condition, call_cond_wait, give_signal,
		check_condition, 0 },
	{ "channel_recv", make_channel, call_channel_recv, give_item,
		check_received, 0 },
	{ "channel_send", make_full_channel, call_channel_send, give_place,
		check_sent, 0 },
	{ "token_run", make_pipe, call_token_run, give_byte, check_byte, 1 },
	{ "token_wait", nothing, call_token_wait, give_cancel, nothing, 0 },
	{ "token_wait_level", nothing, call_token_wait_level, give_cancel,
		nothing, 0 },
	{ "wait", make_gate_task, call_nursery_wait, give_end, check_closes,
		0 },
	{ "task_wait", make_gate_task, call_task_wait, give_end, check_closes,
		0 },
	{ "task_join", make_gate_task, call_task_join, give_end, check_closes,
		1 },
	{ "close", make_gate_task, call_close, give_end, check_closes, 1 },
	{ "start", make_small, call_start, give_end, check_started, 0 },
	{ "spawn", make_full_nursery, call_spawn, give_end, check_spawned,
		1 },
};
#define ROWS	((int)(sizeof rows / sizeof rows[0]))

/* ---- the race ---- */

static struct nursery_token *to_cancel;	/* by the handler */

static void
before(void *ctx, struct rng *r)
{
	struct world *w = ctx;
	const struct row *row = w->row;
	enum end end = w->end;
	unsigned round = w->round;

	memset(w, 0, sizeof *w);
	w->row = row;
	w->end = end;
	w->round = round + 1;
	w->descriptors = count_descriptors();
	w->fd[0] = w->fd[1] = w->file = w->listener = w->peer = w->got_fd =
	    -1;
	w->by = NURSERY_NEVER;
	w->n = open_root(NULL);
	w->token = new_token(nursery_token_of(w->n));
	row->make(w);
	to_cancel = nursery_token_of(w->n);
	if (end == OWN_DEADLINE)
		w->by = nursery_after(rng_below(r, SOON));
	w->rc = -1;
}

static int
run_call(struct nursery_token *t, void *ctx)
{
	struct world *w = ctx;

	(void)t;
	w->rc = w->row->call(w, w->token, w->by);
	return 0;
}

/* In a task, which is woken by a signal, and on a thread of the program,
 * which is woken by a descriptor. */
static void
caller(void *ctx, struct rng *r)
{
	struct world *w = ctx;
	struct nursery *apart;

	(void)r;
	if (w->round % 2 == 0) {
		(void)run_call(NULL, w);
		return;
	}
	if (nursery_open(&apart, NULL) != 0)
		return;
	if (nursery_spawn(apart, run_call, w) == 0)
		(void)nursery_close(&apart);
}

static void
cancel_in_handler(int signo)
{
	(void)signo;
	nursery_token_cancel_from_signal(to_cancel);
}

static void
ender(void *ctx, struct rng *r)
{
	struct world *w = ctx;

	if (w->end == CANCEL)
		nursery_cancel(w->n);
	else if (w->end == FROM_HANDLER)
		raise(SIGUSR1);
	else if (w->end == ANCESTORS_DEADLINE)
		(void)nursery_token_set_deadline(nursery_token_of(w->n),
		    nursery_after(rng_below(r, SOON)));
	else if (w->end == DRAIN)
		nursery_drain(w->n);
}

static void
giver(void *ctx, struct rng *r)
{
	struct world *w = ctx;

	(void)r;
	w->row->give(w);
}

/* Of a task, a nursery or a token: no cancel ends the wait itself. */
static bool
waits_for_an_end(const struct row *row)
{
	return row->call == call_token_wait ||
	    row->call == call_token_wait_level ||
	    row->call == call_nursery_wait || row->call == call_task_wait ||
	    row->call == call_task_join;
}

/* The codes of the contract. */
static bool
documented(const struct world *w)
{
	if (w->row->call == call_sleep)
		return w->rc == (w->end == DRAIN || w->end == OWN_DEADLINE ?
		    0 : ECANCELED);
	if (w->rc == 0)
		return true;
	if (w->end == OWN_DEADLINE)
		return w->rc == ETIMEDOUT;
	if (waits_for_an_end(w->row))
		return false;
	/* Draining turns outsiders back who spawn. */
	if (w->end == DRAIN)
		return (w->row->call == call_spawn || w->row->call ==
		    call_start) && w->rc == ESHUTDOWN;
	return w->rc == ECANCELED;
}

static void
after(void *ctx)
{
	struct world *w = ctx;
	int *fds[] = { &w->fd[0], &w->fd[1], &w->file, &w->listener,
		&w->peer };
	int rc;
	size_t i;

	ck_assert_msg(documented(w), "%s, end %d: %d", w->row->name,
	    (int)w->end, w->rc);
	w->row->check(w);
	rc = nursery_close(&w->n);
	ck_assert(rc == 0 || rc == ECANCELED || rc == ETIMEDOUT);
	nursery_token_unref(w->token);
	for (i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	ck_assert_int_eq(count_descriptors(), w->descriptors);
}

START_TEST(test_matrix_of_calls_and_ends)
{
	struct race race = { 3, { caller, ender, giver }, before, after,
		20000 };
	struct world w = { .row = &rows[_i / ENDS], .end = (enum end)(_i %
		ENDS) };

	if (w.row->no_deadline && w.end == OWN_DEADLINE)
		return;
	ck_assert_int_eq(nursery_signal_arm(), 0);
	signal(SIGUSR1, cancel_in_handler);
	race_run(&race, &w, rounds(ROUNDS));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("matrix");
	TCase *c = leakless_case("matrix");

	tcase_add_loop_test(c, test_matrix_of_calls_and_ends, 0, ROWS * ENDS);
	suite_add_tcase(s, c);
	announce_seed("stress_matrix");
	return run_suite(s);
}
