/* SPDX-License-Identifier: MIT */
/*
 * Tasks that pass something to each other: a stream of bytes through a pipe
 * or a socket, items through a channel, tickets under a condition variable,
 * posts of a semaphore.  What was given is what was taken and what is still
 * there when all have ended.
 *
 * Each waits without a deadline: for when the last giver has left, the takers
 * are told in the link's own way, and when the last taker has left, or never
 * came, the link's token is cancelled.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE	1500
#define MOST_BYTES	60000
#define MOST_IDS	400
#define MOST_TICKETS	2

enum kind { STREAM, CHANNEL, TICKETS_OF_COND, TICKETS_OF_SEM, KINDS };

struct stream {
	int from, to;
	bool socket;
	uint64_t salt, sent, got;	/* of its one writer, its one reader */
};

struct parcel {
	uint32_t id;
	uint32_t check;		/* of the id and the rest */
	unsigned char rest[24];
};

struct lane {
	struct nursery_channel *c;
	uint32_t next;		/* atomic */
	/* atomic */
	uint32_t sent[MOST_IDS], got[MOST_IDS];
};

struct tickets {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	uint32_t there, made, taken;
	bool last;
	sem_t sem;
	uint32_t posted, fetched;	/* atomic */
};

struct link {
	struct link *next;
	enum kind kind;
	struct nursery_token *t;
	uint32_t givers, takers;	/* atomic: that are to end */
	unsigned goal;			/* of each giver */
	union {
		struct stream stream;
		struct lane lane;
		struct tickets tickets;
	} of;
};

/* As long as the work of both tokens is wanted. */
static struct nursery_token *
token_of_both(struct nursery_token *t, struct link *l)
{
	struct nursery_token *parents[2] = { t, l->t }, *both = NULL;
	int rc = nursery_token_new_any(&both, parents, 2);

	if (rc != 0)
		broken(RETURNS, "nursery_token_new_any says %d", rc);
	return both;
}

/* ---- streams ---- */

static unsigned char
byte_at(uint64_t salt, uint64_t at)
{
	return (unsigned char)((salt + at * 131 + at / 251) >> 1);
}

static void
open_stream(struct link *l, struct rng *r)
{
	struct stream *s = &l->of.stream;
	int fds[2], size = 4096, flags = once_in(r, 2) ? O_NONBLOCK : 0;

	s->socket = once_in(r, 2);
	s->salt = rng_next(r) >> 32;
	if (s->socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    fds) != 0 : pipe2(fds, O_CLOEXEC | flags) != 0) {
		broken(DESCRIPTORS, "none is left: errno %d", errno);
		exit(1);
	}
	/* Narrow, so that both ends have to wait. */
	if (s->socket)
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size,
		    sizeof size);
	else
		(void)fcntl(fds[1], F_SETPIPE_SZ, size);
	s->from = fds[0];
	s->to = fds[1];
}

static ssize_t
send_message(struct nursery_token *t, int fd, unsigned char *buf, size_t len,
    int64_t until)
{
	struct iovec iov[2] = { { buf, len / 2 }, { buf + len / 2, len -
		len / 2 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	return nursery_sendmsg(t, fd, &m, 0, until);
}

/* What was written, and the error number, or 0. */
static size_t
write_piece(const struct stream *s, struct nursery_token *t,
    unsigned char *buf, size_t len, struct rng *r, int *error)
{
	struct iovec iov[2] = { { buf, len / 3 }, { buf + len / 3, len -
		len / 3 } };
	int64_t until = once_in(r, 4) ? soon(r, 200) : NURSERY_NEVER;
	size_t done = 0;
	ssize_t n;

	switch (rng_below(r, s->socket ? 5 : 3)) {
	case 0:
		*error = nursery_write_all(t, s->to, buf, len, &done, until);
		return done;
	case 1:
		n = nursery_writev(t, s->to, iov, 2, until);
		break;
	case 2:
		n = nursery_write(t, s->to, buf, len, until);
		break;
	case 3:
		n = nursery_send(t, s->to, buf, len, 0, until);
		break;
	default:
		n = send_message(t, s->to, buf, len, until);
		break;
	}
	*error = n < 0 ? errno : 0;
	return n < 0 ? 0 : (size_t)n;
}

static void
write_stream(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	uint64_t goal = l->goal * 100;
	size_t len, i;
	int error = 0;

	while (s->sent < goal && (error == 0 || error == ETIMEDOUT)) {
		len = 1 + rng_below(r, PIECE);
		if (len > goal - s->sent)
			len = (size_t)(goal - s->sent);
		for (i = 0; i < len; i++)
			buf[i] = byte_at(s->salt, s->sent + i);
		s->sent += write_piece(s, t, buf, len, r, &error);
		atom_add(&progress, 1);
	}
	if (error == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a write says ECANCELED, and nobody is");
	if (error != 0 && error != ETIMEDOUT && error != ECANCELED)
		broken(BYTES, "a write fails with %d", error);
}

static ssize_t
receive_message(struct nursery_token *t, int fd, unsigned char *buf,
    size_t len, int flags, int64_t until)
{
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return nursery_recvmsg(t, fd, &m, flags, until);
}

/* What was read; *error is 0, or EPIPE at the end of the stream. */
static size_t
read_piece(const struct stream *s, struct nursery_token *t,
    unsigned char *buf, size_t len, struct rng *r, int *error)
{
	struct iovec iov[2] = { { buf, len / 3 }, { buf + len / 3, len -
		len / 3 } };
	int64_t until = once_in(r, 4) ? soon(r, 200) : NURSERY_NEVER;
	int flags = once_in(r, 2) ? MSG_WAITALL : 0;
	size_t done = 0;
	ssize_t n;

	switch (rng_below(r, s->socket ? 5 : 3)) {
	case 0:
		*error = nursery_read_full(t, s->from, buf, len, &done,
		    until);
		return done;
	case 1:
		n = nursery_readv(t, s->from, iov, 2, until);
		break;
	case 2:
		n = nursery_read(t, s->from, buf, len, until);
		break;
	case 3:
		n = nursery_recv(t, s->from, buf, len, flags, until);
		break;
	default:
		n = receive_message(t, s->from, buf, len, flags, until);
		break;
	}
	*error = n < 0 ? errno : n == 0 ? EPIPE : 0;
	return n < 0 ? 0 : (size_t)n;
}

static void
check_bytes(struct stream *s, const unsigned char *buf, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (buf[i] != byte_at(s->salt, s->got + i)) {
			broken(BYTES, "byte %llu is another one",
			    (unsigned long long)(s->got + i));
			break;
		}
	s->got += n;
}

static void
read_stream(struct link *l, struct nursery_token *t, struct rng *r)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	int error = 0;
	size_t n;

	/* Now and then one that leaves early. */
	while ((error == 0 || error == ETIMEDOUT) && !once_in(r, 200)) {
		n = read_piece(s, t, buf, 1 + rng_below(r, PIECE), r, &error);
		check_bytes(s, buf, n);
		atom_add(&progress, 1);
	}
	if (error == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a read says ECANCELED, and nobody is");
	if (error != 0 && error != EPIPE && error != ETIMEDOUT && error !=
	    ECANCELED)
		broken(BYTES, "a read fails with %d", error);
}

static void
verify_stream(struct link *l)
{
	struct stream *s = &l->of.stream;
	unsigned char buf[PIECE];
	ssize_t n;

	while ((n = read(s->from, buf, sizeof buf)) > 0 || (n < 0 && errno ==
	    EINTR))
		if (n > 0)
			check_bytes(s, buf, (size_t)n);
	if (s->got != s->sent)
		broken(BYTES, "%llu were sent, %llu received",
		    (unsigned long long)s->sent, (unsigned long long)s->got);
	(void)close(s->from);
	atom_add(&figures.hundreds, (uint32_t)(s->got / 100));
}

/* ---- channels ---- */

static void
open_channel(struct link *l, struct rng *r)
{
	int rc = nursery_channel_new(&l->of.lane.c, sizeof(struct parcel),
	    1 + rng_below(r, 5));

	if (rc != 0)
		broken(RETURNS, "nursery_channel_new says %d", rc);
}

static uint32_t
checksum(const struct parcel *p)
{
	uint32_t sum = p->id * 2654435761u;
	size_t i;

	for (i = 0; i < sizeof p->rest; i++)
		sum = sum * 31 + p->rest[i];
	return sum;
}

static int
give_item(struct lane *c, struct nursery_token *t, struct rng *r)
{
	struct parcel p = { .id = atom_add(&c->next, 1) };
	size_t i;
	int rc;

	if (p.id >= MOST_IDS)
		return EPIPE;
	for (i = 0; i < sizeof p.rest; i++)
		p.rest[i] = (unsigned char)rng_next(r);
	p.check = checksum(&p);
	rc = nursery_channel_send(t, c->c, &p, once_in(r, 3) ? soon(r, 200) :
	    NURSERY_NEVER);
	if (rc == 0)
		atom_add(&c->sent[p.id], 1);
	return rc;
}

static void
note_item(struct lane *c, const struct parcel *p)
{
	if (p->id >= MOST_IDS || p->check != checksum(p))
		broken(ITEMS, "one came damaged");
	else
		atom_add(&c->got[p->id], 1);
}

static int
take_item(struct lane *c, struct nursery_token *t, struct rng *r)
{
	struct parcel p;
	int rc = nursery_channel_recv(t, c->c, &p, once_in(r, 3) ?
	    soon(r, 200) : NURSERY_NEVER);

	if (rc == 0)
		note_item(c, &p);
	return rc;
}

static void
verify_channel(struct link *l)
{
	struct lane *c = &l->of.lane;
	struct parcel p;
	uint32_t id, items = 0;

	nursery_channel_close(c->c);
	while (nursery_channel_recv(NULL, c->c, &p, 0) == 0)
		note_item(c, &p);
	for (id = 0; id < MOST_IDS; id++) {
		items += c->got[id];
		if (c->sent[id] != c->got[id])
			broken(ITEMS, "item %u was sent %u times, received "
			    "%u times", id, c->sent[id], c->got[id]);
	}
	nursery_channel_free(c->c);
	atom_add(&figures.items, items);
}

/* ---- tickets ---- */

static void
open_tickets(struct link *l, struct rng *r)
{
	struct tickets *k = &l->of.tickets;
	pthread_condattr_t a;

	(void)pthread_condattr_init(&a);
	if (once_in(r, 2))
		(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&k->lock, NULL);
	(void)pthread_cond_init(&k->changed, &a);
	(void)pthread_condattr_destroy(&a);
	(void)sem_init(&k->sem, 0, 0);
}

/* Waits till the condition may be another: 0, or the error. */
static int
await_change(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	return nursery_cond_wait(t, &k->changed, &k->lock, once_in(r, 3) ?
	    soon(r, 300) : NURSERY_NEVER);
}

/* A broadcast: glibc before 2.41 loses a signal when several wait. */
static int
give_ticket(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	(void)pthread_mutex_lock(&k->lock);
	while (k->there >= MOST_TICKETS && (rc == 0 || rc == ETIMEDOUT))
		rc = await_change(k, t, r);
	if (k->there < MOST_TICKETS) {
		rc = 0;
		k->there++;
		k->made++;
		(void)pthread_cond_broadcast(&k->changed);
	}
	(void)pthread_mutex_unlock(&k->lock);
	return rc;
}

static int
take_ticket(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	(void)pthread_mutex_lock(&k->lock);
	while (k->there == 0 && !k->last && (rc == 0 || rc == ETIMEDOUT))
		rc = await_change(k, t, r);
	if (k->there > 0) {
		rc = 0;
		k->there--;
		k->taken++;
		(void)pthread_cond_broadcast(&k->changed);
	} else if (k->last) {
		rc = EPIPE;
	}
	(void)pthread_mutex_unlock(&k->lock);
	return rc;
}

static int
give_post(struct tickets *k, struct nursery_token *t)
{
	atom_add(&k->posted, 1);
	(void)sem_post(&k->sem);
	return nursery_token_is_cancelled(t) ? ECANCELED : 0;
}

static int
take_post(struct tickets *k, struct nursery_token *t, struct rng *r)
{
	int rc = nursery_sem_wait(t, &k->sem, once_in(r, 3) ? soon(r, 300) :
	    NURSERY_NEVER);

	if (rc == 0)
		atom_add(&k->fetched, 1);
	return rc;
}

/* The takers of posts have no other way to hear of the end. */
static void
no_more_tickets(struct link *l)
{
	struct tickets *k = &l->of.tickets;

	(void)pthread_mutex_lock(&k->lock);
	k->last = true;
	(void)pthread_cond_broadcast(&k->changed);
	(void)pthread_mutex_unlock(&k->lock);
	if (l->kind == TICKETS_OF_SEM)
		(void)nursery_token_cancel(l->t);
}

static void
verify_tickets(struct link *l)
{
	struct tickets *k = &l->of.tickets;
	int left = -1;

	(void)sem_getvalue(&k->sem, &left);
	if (k->made != k->taken + k->there)
		broken(TICKETS, "%u made, %u taken, %u left", k->made,
		    k->taken, k->there);
	if (left < 0 || k->posted != k->fetched + (unsigned)left)
		broken(TICKETS, "%u posts, %u taken, %d left", k->posted,
		    k->fetched, left);
	(void)pthread_mutex_destroy(&k->lock);
	(void)pthread_cond_destroy(&k->changed);
	(void)sem_destroy(&k->sem);
}

/* ---- givers and takers ---- */

static int
give_one(struct link *l, struct nursery_token *t, struct rng *r)
{
	if (l->kind == CHANNEL)
		return give_item(&l->of.lane, t, r);
	return l->kind == TICKETS_OF_COND ?
	    give_ticket(&l->of.tickets, t, r) :
	    give_post(&l->of.tickets, t);
}

static int
take_one(struct link *l, struct nursery_token *t, struct rng *r)
{
	if (l->kind == CHANNEL)
		return take_item(&l->of.lane, t, r);
	return l->kind == TICKETS_OF_COND ?
	    take_ticket(&l->of.tickets, t, r) :
	    take_post(&l->of.tickets, t, r);
}

static void
check_end(int rc, struct nursery_token *t)
{
	if (rc == ECANCELED && !nursery_token_is_cancelled(t))
		broken(RETURNS, "a link says ECANCELED, and nobody is");
	if (rc != 0 && rc != EPIPE && rc != ETIMEDOUT && rc != ECANCELED)
		broken(RETURNS, "a link says %d", rc);
}

static void
give_all(struct link *l, struct nursery_token *t, struct rng *r)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < l->goal && (rc == 0 || rc == ETIMEDOUT); i++) {
		rc = give_one(l, t, r);
		atom_add(&progress, 1);
	}
	check_end(rc, t);
}

static void
take_all(struct link *l, struct nursery_token *t, struct rng *r)
{
	int rc = 0;

	while ((rc == 0 || rc == ETIMEDOUT) && !once_in(r, 300)) {
		rc = take_one(l, t, r);
		atom_add(&progress, 1);
	}
	check_end(rc, t);
}

/* Whoever ends by a cancel was told to, by one token or the other. */
static int
give(struct nursery_token *t, struct item *it, struct rng *r)
{
	struct link *l = it->what;
	struct nursery_token *both = token_of_both(t, l);

	(void)nursery_started(it);
	if (l->kind == STREAM)
		write_stream(l, both, r);
	else
		give_all(l, both, r);
	nursery_token_unref(both);
	return 0;
}

static int
take(struct nursery_token *t, struct item *it, struct rng *r)
{
	struct link *l = it->what;
	struct nursery_token *both = token_of_both(t, l);

	(void)nursery_started(it);
	if (l->kind == STREAM)
		read_stream(l, both, r);
	else
		take_all(l, both, r);
	nursery_token_unref(both);
	return 0;
}

static void
giver_over(struct item *it)
{
	struct link *l = it->what;

	if (atom_add(&l->givers, UINT32_MAX) != 1)
		return;
	if (l->kind == STREAM)
		(void)close(l->of.stream.to);
	else if (l->kind == CHANNEL)
		nursery_channel_close(l->of.lane.c);
	else
		no_more_tickets(l);
}

static void
taker_over(struct item *it)
{
	struct link *l = it->what;

	if (atom_add(&l->takers, UINT32_MAX) == 1)
		(void)nursery_token_cancel(l->t);
}

static const struct task_role role_giver = { give, giver_over, false };
static const struct task_role role_taker = { take, taker_over, false };

/* ---- from the nursery ---- */

static void
open_link(struct link *l, struct rng *r)
{
	switch (l->kind) {
	case STREAM:
		open_stream(l, r);
		l->goal = rng_below(r, MOST_BYTES / 1000 * scale());
		break;
	case CHANNEL:
		open_channel(l, r);
		l->goal = rng_below(r, MOST_IDS / 40 * scale());
		break;
	default:
		open_tickets(l, r);
		l->goal = rng_below(r, 6 * scale());
		break;
	}
}

void
add_link(struct book *b, struct rng *r)
{
	struct link *l = calloc(1, sizeof *l);
	uint32_t i, givers, takers;

	if (l == NULL || nursery_token_new(&l->t, nursery_token_of(b->n)) !=
	    0) {
		free(l);
		return;
	}
	l->kind = (enum kind)rng_below(r, KINDS);
	givers = l->kind == STREAM ? 1 : 1 + rng_below(r, 3);
	takers = l->kind == STREAM ? 1 : 1 + rng_below(r, 3);
	atom_set(&l->givers, givers);
	atom_set(&l->takers, takers);
	open_link(l, r);
	l->next = b->links;
	b->links = l;
	for (i = 0; i < givers || i < takers; i++) {
		if (i < givers)
			(void)spawn_one(b, b->n, &role_giver, l, true, r,
			    NULL);
		if (i < takers)
			(void)spawn_one(b, b->n, &role_taker, l, true, r,
			    NULL);
	}
}

void
links_verify(struct book *b)
{
	struct link *l;

	while ((l = b->links) != NULL) {
		b->links = l->next;
		if (l->kind == STREAM)
			verify_stream(l);
		else if (l->kind == CHANNEL)
			verify_channel(l);
		else
			verify_tickets(l);
		nursery_token_unref(l->t);
		free(l);
	}
}
