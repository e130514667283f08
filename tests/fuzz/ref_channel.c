/* SPDX-License-Identifier: MIT */
/* A channel: each item comes out once, in order.  See reference.h. */
#include "config.h"

#include "ref.h"

#include <errno.h>
#include <string.h>

void
ref_channel(unsigned capacity)
{
	ref.capacity = capacity;
	ref.channel_closing = REF_NEVER;
}

int
ref_send(void)
{
	struct ref_item *i = &ref.item[ref.items];

	if (ref.items == REF_ITEMS)
		model_fail("reference: more than %d items", REF_ITEMS);
	memset(i, 0, sizeof *i);
	i->begin = ref_begin();
	i->end = i->got_begin = i->got_end = REF_NEVER;
	i->since = model_now();
	return ref.items++;
}

/* What both may return but 0. */
static void
check_refusal(const char *what, long begun, int rc, int token,
    int64_t deadline)
{
	bool good = rc == ENOMEM && model_refused();

	if (rc == ECANCELED)
		good = token != REF_NONE && ref_may(token, begun) >=
		    NURSERY_CANCEL;
	if (rc == ETIMEDOUT)
		good = deadline <= model_now();
	if (rc == EPIPE)
		good = ref.channel_closing != REF_NEVER;
	if (!good)
		model_fail("%s returns %d without a reason", what, rc);
}

static void
check_cancel(const char *what, long begun, int token)
{
	if (token != REF_NONE && ref_must(token, begun) >= NURSERY_CANCEL)
		model_fail("%s succeeds, and its token was cancelled before",
		    what);
}

/* There are more in it than it holds, whoever is taking one out. */
static void
check_room(void)
{
	const struct ref_item *i;
	unsigned count = 0;
	int getting = ref.receiving;

	for (i = ref.item; i < ref.item + ref.items; i++)
		count += i->sent && !i->got;
	if (count > ref.capacity + (unsigned)getting)
		model_fail("a channel for %u has %u items", ref.capacity,
		    count);
}

/* Time passes when nobody can run: a sender who sleeps until then though there
 * is room was not woken. */
static void
check_room_before(const struct ref_item *late, int64_t deadline)
{
	const struct ref_item *i;
	unsigned count = 0;

	if (model_hurried() || late->since >= deadline)
		return;
	for (i = ref.item; i < ref.item + ref.items; i++)
		count += i != late && (i->sent || i->end == REF_NEVER) &&
		    (!i->got || i->got_at >= deadline);
	if (count < ref.capacity)
		model_fail("a send sleeps on, and there is room");
}

void
ref_sent(int item, int rc, int token, int64_t deadline)
{
	struct ref_item *i = &ref.item[item];

	i->end = ref_begin();
	i->sent_at = model_now();
	i->sent = rc == 0;
	if (rc != 0) {
		check_refusal("send", i->begin, rc, token, deadline);
		if (rc == ETIMEDOUT)
			check_room_before(i, deadline);
		if (i->got)
			model_fail("item %d was received, and send returns %d",
			    item, rc);
		return;
	}
	check_cancel("send", i->begin, token);
	if (ref.channel_closing < i->begin && ref.channel_closed)
		model_fail("item %d is sent into a closed channel", item);
	check_room();
}

struct ref_wait
ref_receive(void)
{
	ref.receiving++;
	return ref_wait_begins();
}

/* What is in it for sure may not be passed over. */
static void
check_left(long begun)
{
	const struct ref_item *i;

	for (i = ref.item; i < ref.item + ref.items; i++)
		if (i->sent && i->end < begun && !i->got && ref.receiving == 0)
			model_fail("receive says EPIPE, and item %d is left",
			    (int)(i - ref.item));
}

static bool
sleeps_on(struct ref_wait w, int64_t deadline)
{
	return !model_hurried() && w.since < deadline && model_now() >=
	    deadline;
}

/* The same for a receiver: nobody else is about to take it. */
static void
check_items_before(struct ref_wait w, int64_t deadline)
{
	const struct ref_item *i;

	if (!sleeps_on(w, deadline) || ref.receiving > 0)
		return;
	for (i = ref.item; i < ref.item + ref.items; i++)
		if (i->sent && !i->got && i->sent_at < deadline)
			model_fail("a receive sleeps on, and item %d is there",
			    (int)(i - ref.item));
}

void
ref_received(struct ref_wait w, int rc, int item, int token, int64_t deadline)
{
	struct ref_item *i, *o;
	long begun = w.begun;

	ref.receiving--;
	(void)ref_begin();
	if (rc != 0) {
		check_refusal("receive", begun, rc, token, deadline);
		if (rc == ETIMEDOUT)
			check_items_before(w, deadline);
		if (rc == EPIPE)
			check_left(begun);
		return;
	}
	check_cancel("receive", begun, token);
	if (item < 0 || item >= ref.items || ref.item[item].got)
		model_fail("item %d is received, and is not there", item);
	i = &ref.item[item];
	if (i->end != REF_NEVER && !i->sent)
		model_fail("item %d is received, and was refused", item);
	if (i->sent && i->sent_at < deadline && sleeps_on(w, deadline))
		model_fail("a receive sleeps on, and item %d was there", item);
	i->got_at = model_now();
	i->got = true;
	i->got_begin = begun;
	i->got_end = ref.time;
	/* What was in before it comes out before it. */
	for (o = ref.item; o < ref.item + ref.items; o++)
		if (o->got && o != i && i->end < o->begin && o->got_end <
		    begun)
			model_fail("item %d is received after item %d", item,
			    (int)(o - ref.item));
}

void
ref_channel_closing(void)
{
	if (ref.channel_closing == REF_NEVER)
		ref.channel_closing = ref_begin();
}

void
ref_channel_closed(void)
{
	ref.channel_closed = true;
	(void)ref_begin();
}

/* Whatever came out, those that were in before it came out, too. */
void
ref_channel_end(void)
{
	const struct ref_item *i, *o;
	unsigned left = 0;

	for (i = ref.item; i < ref.item + ref.items; i++) {
		left += i->sent && !i->got;
		if (!i->sent || i->got)
			continue;
		for (o = ref.item; o < ref.item + ref.items; o++)
			if (o->got && i->end < o->begin)
				model_fail("item %d was left behind",
				    (int)(i - ref.item));
	}
	if (left > ref.capacity)
		model_fail("%u items are left in a channel for %u", left,
		    ref.capacity);
}
