/* SPDX-License-Identifier: MIT */
/* What a task does with tokens of its own below the one it was given. */
#include "soak.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define CHAIN	4

static struct nursery_token *
child_of(struct nursery_token *parent)
{
	struct nursery_token *t = NULL;
	int rc = nursery_token_new(&t, parent);

	if (rc != 0)
		broken(RETURNS, "nursery_token_new says %d", rc);
	return t;
}

/* One in the middle is cancelled: all below it are. */
static void
cancel_in_chain(struct nursery_token *t, struct rng *r)
{
	struct nursery_token *c[CHAIN];
	unsigned at = rng_below(r, CHAIN), first = rng_below(r, CHAIN), i;

	for (i = 0; i < CHAIN; i++)
		c[i] = child_of(i == 0 ? t : c[i - 1]);
	(void)nursery_token_cancel(c[at]);
	for (i = at; i < CHAIN; i++)
		if (!nursery_token_is_cancelled(c[i]))
			broken(RETURNS, "a descendant is not cancelled");
	for (i = 0; i < CHAIN; i++)
		nursery_token_unref(c[(first + i) % CHAIN]);
}

static void
let_deadline_come(struct nursery_token *t, struct rng *r)
{
	struct nursery_token *c = child_of(t);
	int rc = nursery_token_set_deadline(c, soon(r, 400)), code;

	if (rc == 0 && once_in(r, 4))
		rc = nursery_token_set_deadline(c, soon(r, 400));
	if (rc != 0 && rc != ECANCELED)
		broken(RETURNS, "nursery_token_set_deadline says %d", rc);
	rc = nursery_token_wait(c, NURSERY_NEVER);
	if (rc != 0)
		broken(RETURNS, "nursery_token_wait says %d", rc);
	code = nursery_token_cause(c, NURSERY_CANCEL, NULL);
	if (code == 0 || (code != ETIMEDOUT && t == NULL))
		broken(RETURNS, "the cause of a deadline is %d", code);
	nursery_token_unref(c);
}

static void
count_call(void *times)
{
	atom_add(times, 1);
}

static void
call_back(struct nursery_token *t, struct rng *r)
{
	struct nursery_callback cb;
	struct nursery_token *c = child_of(t);
	bool before = once_in(r, 3), after = once_in(r, 2);
	uint32_t times = 0, seen;

	memset(&cb, 0, sizeof cb);
	if (before)
		(void)nursery_token_cancel(c);
	if (nursery_token_on_level(c, once_in(r, 2) ? NURSERY_DRAIN :
	    NURSERY_CANCEL, &cb, count_call, &times) != 0)
		broken(RETURNS, "nursery_token_on_level fails");
	if (before && atom_get(&times) != 1)
		broken(CALLBACKS, "one on a cancelled token did not run");
	if (after)
		(void)nursery_token_raise(c, NURSERY_ABORT, 0, NULL);
	(void)nursery_sleep(NULL, soon(r, 60));
	nursery_callback_remove(&cb);
	seen = atom_get(&times);
	/* Who raises has run it before he returns, unless he was not first. */
	if (seen > 1)
		broken(CALLBACKS, "one ran %u times", seen);
	memset(&cb, 0x5a, sizeof cb);
	nursery_token_unref(c);
	if (atom_get(&times) != seen)
		broken(CALLBACKS, "one ran after its removal");
}

static void
have_two_parents(struct nursery_token *t, struct rng *r)
{
	struct nursery_token *own = child_of(NULL), *both = NULL;
	struct nursery_token *parents[2] = { t, own };

	if (nursery_token_new_any(&both, parents, 2) != 0)
		broken(RETURNS, "nursery_token_new_any fails");
	if (once_in(r, 2))
		nursery_token_unref(nursery_token_ref(own));
	(void)nursery_token_cancel(own);
	if (!nursery_token_is_cancelled(both))
		broken(RETURNS, "a token does not hear one of two parents");
	nursery_token_unref(own);
	nursery_token_unref(both);
}

static void
take_shelter(struct nursery_token *t, struct rng *r)
{
	struct nursery_token *s = NULL;
	int64_t until = soon(r, 800);
	int rc = nursery_token_new_shielded(&s, t, until);

	if (rc != 0) {
		broken(RETURNS, "nursery_token_new_shielded says %d", rc);
		return;
	}
	check_wait("nursery_sleep", nursery_sleep(s, until), s, until);
	/* Beyond the bound it hears what the parent has heard. */
	if (nursery_token_is_cancelled(t) &&
	    nursery_token_wait(s, NURSERY_NEVER) != 0)
		broken(RETURNS, "nursery_token_wait fails");
	nursery_token_unref(s);
}

static void
look_at_descriptor(struct nursery_token *t, struct rng *r)
{
	struct nursery_token *c = child_of(t);
	struct pollfd p = { .fd = -1, .events = POLLIN };

	if (nursery_token_fd(c, &p.fd) != 0)
		broken(RETURNS, "nursery_token_fd fails");
	if (once_in(r, 2))
		(void)nursery_token_set_deadline(c, soon(r, 300));
	else
		(void)nursery_token_cancel(c);
	if (nursery_poll(NULL, &p, 1, NURSERY_NEVER) != 1)
		broken(RETURNS, "a token's descriptor: errno %d", errno);
	nursery_token_unref(c);
}

struct deaf {
	struct nursery_token *t;
	int fd;
};

/* Blocks in a call that knows no token, until that is broken. */
static int
read_nothing(void *arg)
{
	const struct deaf *d = arg;
	char byte;

	while (read(d->fd, &byte, 1) < 0 && errno == EINTR)
		if (nursery_token_is_cancelled(d->t))
			return 4711;
	return 0;
}

static void
break_a_call(struct nursery_token *t, struct rng *r)
{
	struct deaf d = { .t = child_of(t) };
	int fds[2], result = 0, rc;

	if (pipe(fds) == 0) {
		d.fd = fds[0];
		(void)nursery_token_set_deadline(d.t, soon(r, 500));
		rc = nursery_token_run(d.t, read_nothing, &d, &result);
		if (rc != ECANCELED && (rc != 0 || result != 4711))
			broken(RETURNS, "nursery_token_run says %d, and the "
			    "function %d", rc, result);
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
	nursery_token_unref(d.t);
}

static void
drain_only(struct nursery_token *t)
{
	struct nursery_token *c = child_of(t), *at = NULL;

	if (nursery_token_new_at(&at, c, NURSERY_DRAIN) != 0)
		broken(RETURNS, "nursery_token_new_at fails");
	(void)nursery_token_raise(c, NURSERY_DRAIN, 0, "soaked");
	if (!nursery_token_is_cancelled(at))
		broken(RETURNS, "an acceptor's token does not hear the drain");
	nursery_token_unref(c);
	nursery_token_unref(at);
}

void
play_with_tokens(struct nursery_token *t, struct rng *r)
{
	switch (rng_below(r, 9)) {
	case 0:
		cancel_in_chain(t, r);
		break;
	case 1:
		let_deadline_come(t, r);
		break;
	case 2:
		call_back(t, r);
		break;
	case 3:
		have_two_parents(t, r);
		break;
	case 4:
		take_shelter(t, r);
		break;
	case 5:
		look_at_descriptor(t, r);
		break;
	case 6:
		break_a_call(t, r);
		break;
	case 7:
		drain_only(t);
		break;
	default:
		(void)nursery_token_deadline(t);
		break;
	}
}
