/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <unistd.h>

static struct nursery_token *target;

static void
on_usr1(int signo)
{
	(void)signo;
	nursery_token_cancel_from_signal(target);
}

static void *
cancel_when_asleep(void *arg)
{
	struct story *s = arg;

	await_asleep(getpid());
	nursery_token_cancel(s->first);
	return NULL;
}

void
story_begin(struct story *s)
{
	struct sigaction sa = { .sa_handler = on_usr1 };

	*s = (struct story){ .told = { 0 } };
	ck_assert_int_eq(nursery_token_new(&s->first, NULL), 0);
	ck_assert_int_eq(nursery_token_new(&s->second, NULL), 0);
	ck_assert_int_eq(nursery_token_fd(s->first, &s->fd[0]), 0);
	ck_assert_int_eq(nursery_token_fd(s->second, &s->fd[1]), 0);
	ck_assert_int_eq(nursery_signal_arm(), 0);
	target = s->second;
	ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	s->canceller = start_thread(cancel_when_asleep, s);
}

bool
story_told(struct story *s, int i)
{
	s->told[i]++;
	ck_assert(nursery_token_is_cancelled(i == 0 ? s->first : s->second));
	if (i == 0)
		raise(SIGUSR1);
	return i == 1;
}

void
story_end(struct story *s)
{
	(void)end_thread(s->canceller);
	ck_assert_int_eq(s->told[0], 1);
	ck_assert_int_eq(s->told[1], 1);
	nursery_token_unref(s->first);
	nursery_token_unref(s->second);
}
