/* SPDX-License-Identifier: MIT */
/*
 * Waits against the cancel: no post, signal or item is lost, or comes twice.
 * What was given is what was taken and what is still there.
 */
#include "race.h"
#include "tasks.h"

#include <string.h>

#define ROUNDS	400

/* How a wait is to be ended, besides by what it waits for. */
enum { BY_TOKEN, BY_ANCESTOR, BY_DEADLINE, BY_ITS_OWN_DEADLINE, WAYS };

/* ---- one place, two waiters, the first of which is cancelled ---- */

struct place {
	struct nursery_token *above, *t;
	pthread_mutex_t m;
	pthread_cond_t c;
	sem_t sem;
	struct nursery_channel *ch;
	int items, taken[2], given;	/* under m, or each one's own */
	int rc[2], way;
};

static void
make_place(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	memset(p, 0, sizeof *p);
	p->above = new_token(NULL);
	p->t = new_token(p->above);
	p->way = (int)rng_below(r, WAYS);
	pthread_mutex_init(&p->m, NULL);
	pthread_cond_init(&p->c, NULL);
	sem_init(&p->sem, 0, 0);
	ck_assert_int_eq(nursery_channel_new(&p->ch, sizeof(int), 1), 0);
}

static void
end_place(struct place *p)
{
	nursery_channel_free(p->ch);
	sem_destroy(&p->sem);
	pthread_cond_destroy(&p->c);
	pthread_mutex_destroy(&p->m);
	nursery_token_unref(p->t);
	nursery_token_unref(p->above);
}

static int64_t
own_deadline(const struct place *p, struct rng *r)
{
	return p->way == BY_ITS_OWN_DEADLINE ? nursery_after((int64_t)
	    rng_below(r, 60) * NURSERY_US) : NURSERY_NEVER;
}

static void
end_wait(struct place *p, struct rng *r)
{
	switch (p->way) {
	case BY_TOKEN:
		(void)nursery_token_cancel(p->t);
		break;
	case BY_ANCESTOR:
		(void)nursery_token_cancel(p->above);
		break;
	case BY_DEADLINE:
		(void)nursery_token_set_deadline(p->above, nursery_after(
		    (int64_t)rng_below(r, 30) * NURSERY_US));
		break;
	default:
		break;
	}
}

static int
ended(const struct place *p)
{
	return p->way == BY_ITS_OWN_DEADLINE ? ETIMEDOUT : ECANCELED;
}

/* The one who was not cancelled has what there was, unless the other had it:
 * then it gets one more. */
static void
assert_one_each(const struct place *p)
{
	ck_assert(p->rc[0] == 0 || p->rc[0] == ended(p));
	ck_assert_int_eq(p->rc[1], 0);
	ck_assert_int_eq(p->taken[0], p->rc[0] == 0);
	ck_assert_int_eq(p->taken[1], 1);
	ck_assert_int_eq(p->taken[0] + p->taken[1], p->given);
}

/* ---- condition variables ---- */

static int
take_item(struct place *p, struct nursery_token *t, int i, int64_t deadline)
{
	int rc = 0;

	pthread_mutex_lock(&p->m);
	while (p->items == 0 && rc == 0)
		rc = nursery_cond_wait(t, &p->c, &p->m, deadline);
	if (rc == 0) {
		p->items--;
		p->taken[i]++;
	}
	pthread_mutex_unlock(&p->m);
	return rc;
}

static void
give_item(struct place *p)
{
	pthread_mutex_lock(&p->m);
	p->items++;
	p->given++;
	pthread_cond_signal(&p->c);
	pthread_mutex_unlock(&p->m);
}

static void
cond_cancelled(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	p->rc[0] = take_item(p, p->t, 0, own_deadline(p, r));
	if (p->rc[0] == 0)
		give_item(p);	/* for the other */
}

static void
cond_stays(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	(void)r;
	p->rc[1] = take_item(p, NULL, 1, patience());
}

/* Gives and cancels, now and then with the mutex held throughout. */
static void
cond_give_and_cancel(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	if (rng_below(r, 4) == 0) {
		pthread_mutex_lock(&p->m);
		end_wait(p, r);
		p->items++;
		p->given++;
		pthread_cond_signal(&p->c);
		pthread_mutex_unlock(&p->m);
	} else if (rng_below(r, 2) == 0) {
		give_item(p);
		linger(r, 100);
		end_wait(p, r);
	} else {
		end_wait(p, r);
		linger(r, 3000);
		give_item(p);
	}
}

static void
look_at_cond(void *ctx)
{
	struct place *p = ctx;

	assert_one_each(p);
	ck_assert_int_eq(p->items, 0);
	end_place(p);
}

START_TEST(test_sync_no_signal_is_lost)
{
	struct place p;
	const struct race race = { .racers = 3, .run = { cond_cancelled,
		cond_stays, cond_give_and_cancel }, .before = make_place,
		.after = look_at_cond };

	race_run(&race, &p, rounds(ROUNDS));
}
END_TEST

/* ---- semaphores ---- */

static void
sem_cancelled(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	p->rc[0] = nursery_sem_wait(p->t, &p->sem, own_deadline(p, r));
	p->taken[0] = p->rc[0] == 0;
	if (p->rc[0] == 0) {
		p->given++;	/* the giver has given */
		sem_post(&p->sem);
	}
}

static void
sem_stays(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	(void)r;
	p->rc[1] = nursery_sem_wait(NULL, &p->sem, patience());
	p->taken[1] = p->rc[1] == 0;
}

static void
sem_post_and_cancel(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	if (rng_below(r, 2) == 0) {
		sem_post(&p->sem);
		linger(r, 100);
		end_wait(p, r);
	} else {
		end_wait(p, r);
		linger(r, 3000);
		sem_post(&p->sem);
	}
}

static void
look_at_sem(void *ctx)
{
	struct place *p = ctx;
	int value = -1;

	p->given++;
	assert_one_each(p);
	sem_getvalue(&p->sem, &value);
	ck_assert_int_eq(value, 0);
	end_place(p);
}

START_TEST(test_sync_no_post_is_lost)
{
	struct place p;
	const struct race race = { .racers = 3, .run = { sem_cancelled,
		sem_stays, sem_post_and_cancel }, .before = make_place,
		.after = look_at_sem };

	race_run(&race, &p, rounds(ROUNDS));
}
END_TEST

/* ---- channels ---- */

static void
recv_cancelled(void *ctx, struct rng *r)
{
	struct place *p = ctx;
	int item = 0;

	p->rc[0] = nursery_channel_recv(p->t, p->ch, &item,
	    own_deadline(p, r));
	p->taken[0] = item;
	if (p->rc[0] == 0) {
		p->given++;
		(void)nursery_channel_send(NULL, p->ch, &item, patience());
	}
}

static void
recv_stays(void *ctx, struct rng *r)
{
	struct place *p = ctx;
	int item = 0;

	(void)r;
	p->rc[1] = nursery_channel_recv(NULL, p->ch, &item, patience());
	p->taken[1] = item;
}

static void
send_and_cancel(void *ctx, struct rng *r)
{
	struct place *p = ctx;
	int item = 1;

	if (rng_below(r, 2) == 0) {
		(void)nursery_channel_send(NULL, p->ch, &item, patience());
		linger(r, 100);
		end_wait(p, r);
	} else {
		end_wait(p, r);
		linger(r, 3000);
		(void)nursery_channel_send(NULL, p->ch, &item, patience());
	}
}

static void
look_at_channel(void *ctx)
{
	struct place *p = ctx;
	int item;

	p->given++;
	assert_one_each(p);
	ck_assert_int_eq(nursery_channel_recv(NULL, p->ch, &item, 0),
	    ETIMEDOUT);
	end_place(p);
}

START_TEST(test_sync_no_item_is_lost)
{
	struct place p;
	const struct race race = { .racers = 3, .run = { recv_cancelled,
		recv_stays, send_and_cancel }, .before = make_place,
		.after = look_at_channel };

	race_run(&race, &p, rounds(ROUNDS));
}
END_TEST

/* ---- one wait alone: the cancel comes before, during and after ---- */

static void
wait_alone(void *ctx, struct rng *r)
{
	struct place *p = ctx;

	switch (rng_below(r, 3)) {
	case 0:
		p->rc[0] = take_item(p, p->t, 0, own_deadline(p, r));
		break;
	case 1:
		p->rc[0] = nursery_sem_wait(p->t, &p->sem, own_deadline(p,
		    r));
		break;
	default:
		p->rc[0] = nursery_channel_recv(p->t, p->ch, &p->items,
		    own_deadline(p, r));
	}
}

static void
end_alone(void *ctx, struct rng *r)
{
	end_wait(ctx, r);
}

static void
look_alone(void *ctx)
{
	struct place *p = ctx;

	ck_assert_int_eq(p->rc[0], ended(p));
	end_place(p);
}

START_TEST(test_sync_every_wait_returns)
{
	struct place p;
	const struct race race = { .racers = 2, .run = { wait_alone,
		end_alone }, .before = make_place, .after = look_alone };

	race_run(&race, &p, rounds(2 * ROUNDS));
}
END_TEST

/* ---- streams through a channel, some of whose ends are cancelled ---- */

#define STREAM	400

struct stream {
	struct nursery_channel *c;
	struct nursery_token *t;
	uint32_t seen[2 * STREAM];	/* atomic: how often each one came */
	uint32_t sent[2 * STREAM];
	uint32_t wrong;			/* atomic */
};

static void
send_stream(struct stream *s, struct rng *r, int from)
{
	int i, rc;

	for (i = from; i < from + STREAM; i++) {
		rc = nursery_channel_send(from == 0 ? s->t : NULL, s->c, &i,
		    rng_below(r, 4) == 0 ? nursery_after((int64_t)
		    rng_below(r, 20) * NURSERY_US) : patience());
		s->sent[i] = rc == 0;
		/* Only the low one may be cancelled, or find the end. */
		if (from == 0 && (rc == ECANCELED || rc == EPIPE))
			break;
		if (rc != 0 && rc != ETIMEDOUT)
			__atomic_store_n(&s->wrong, 1, __ATOMIC_SEQ_CST);
	}
}

static void
send_low(void *ctx, struct rng *r)
{
	send_stream(ctx, r, 0);
}

/* The last words of the stream, and the end. */
static void
send_high(void *ctx, struct rng *r)
{
	struct stream *s = ctx;

	send_stream(s, r, STREAM);
	nursery_channel_close(s->c);
}

static void
receive_stream(struct stream *s, struct nursery_token *t, struct rng *r)
{
	int rc, item, last = -1;

	for (;;) {
		rc = nursery_channel_recv(t, s->c, &item, rng_below(r, 4) ==
		    0 ? nursery_after((int64_t)rng_below(r, 20) *
		    NURSERY_US) : NURSERY_NEVER);
		if (rc == EPIPE || rc == ECANCELED)
			return;
		if (rc == ETIMEDOUT)
			continue;
		/* In the order in which one sender sent them. */
		if (rc != 0 || (item >= STREAM && item <= last))
			__atomic_store_n(&s->wrong, 1, __ATOMIC_SEQ_CST);
		if (item >= STREAM)
			last = item;
		__atomic_add_fetch(&s->seen[item], 1, __ATOMIC_SEQ_CST);
	}
}

static void
receive_all(void *ctx, struct rng *r)
{
	receive_stream(ctx, NULL, r);
}

/* Until it is cancelled, by itself after a while. */
static void
receive_some(void *ctx, struct rng *r)
{
	struct stream *s = ctx;

	(void)nursery_token_set_deadline(s->t, nursery_after((int64_t)
	    rng_below(r, 200) * NURSERY_US));
	receive_stream(s, s->t, r);
}

static void
make_stream(void *ctx, struct rng *r)
{
	struct stream *s = ctx;

	memset(s, 0, sizeof *s);
	s->t = new_token(NULL);
	ck_assert_int_eq(nursery_channel_new(&s->c, sizeof(int), 1 +
	    rng_below(r, 8)), 0);
}

static void
look_at_stream(void *ctx)
{
	struct stream *s = ctx;
	int item, i;

	/* What the low sender got in after the end of the receivers. */
	while (nursery_channel_recv(NULL, s->c, &item, 0) == 0)
		s->seen[item]++;
	ck_assert_uint_eq(s->wrong, 0);
	for (i = 0; i < 2 * STREAM; i++)
		ck_assert_uint_eq(s->seen[i], s->sent[i]);
	nursery_channel_free(s->c);
	nursery_token_unref(s->t);
}

START_TEST(test_sync_streams_arrive_whole)
{
	struct stream s;
	const struct race race = { .racers = 4, .run = { send_low, send_high,
		receive_all, receive_some }, .before = make_stream,
		.after = look_at_stream };

	race_run(&race, &s, rounds(ROUNDS / 10));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync");
	TCase *c = leakless_case("sync");

	tcase_add_test(c, test_sync_no_signal_is_lost);
	tcase_add_test(c, test_sync_no_post_is_lost);
	tcase_add_test(c, test_sync_no_item_is_lost);
	tcase_add_test(c, test_sync_every_wait_returns);
	tcase_add_test(c, test_sync_streams_arrive_whole);
	suite_add_tcase(s, c);
	announce_seed("stress_sync");
	return run_suite(s);
}
