/* SPDX-License-Identifier: MIT */
/*
 * Channels: every item arrives once, and nobody sleeps beside what it waits
 * for, whoever is cancelled, late, or hears of the end.
 */
#include "config.h"

#include "scenario.h"

static struct nursery_channel *channel;
static struct nursery_token *token;

struct party {
	struct nursery_token *t;
	int64_t deadline;
	int item, rc;
};

static void
begin(size_t capacity)
{
	MODEL_ASSERT(nursery_channel_new(&channel, sizeof(int), capacity) ==
	    0);
	token = new_token(NULL);
	model_name(channel, "channel");
	model_name(token, "token");
}

static void
end(void)
{
	nursery_channel_free(channel);
	nursery_token_unref(token);
}

static void
send_one(void *arg)
{
	struct party *p = arg;

	p->rc = nursery_channel_send(p->t, channel, &p->item, p->deadline);
}

static void
receive_one(void *arg)
{
	struct party *p = arg;

	p->rc = nursery_channel_recv(p->t, channel, &p->item, p->deadline);
}

static void
cancel(void *unused)
{
	(void)unused;
	MODEL_ASSERT(nursery_token_cancel(token));
}

static void
send_now(int item)
{
	struct party p = { NULL, NURSERY_NEVER, item, -1 };

	send_one(&p);
	MODEL_ASSERT(p.rc == 0);
}

static int
receive_now(void)
{
	struct party p = { NULL, NURSERY_NEVER, 0, -1 };

	receive_one(&p);
	MODEL_ASSERT(p.rc == 0);
	return p.item;
}

/* Two items through one place, in order. */
static void
send_two(void *unused)
{
	(void)unused;
	send_now(1);
	send_now(2);
}

static void
channel_of_one(void)
{
	struct model_thread *a;

	begin(1);
	a = model_start(send_two, NULL);
	MODEL_ASSERT(receive_now() == 1);
	MODEL_ASSERT(receive_now() == 2);
	model_join(a);
	end();
}

/* Who gets the last item frees the channel, while its sender may be on its
 * way out. */
static void
channel_freed_by_the_last(void)
{
	struct model_thread *a;
	struct party p = { NULL, NURSERY_NEVER, 7, -1 };

	begin(1);
	a = model_start(send_one, &p);
	MODEL_ASSERT(receive_now() == 7);
	end();
	model_join(a);
	MODEL_ASSERT(p.rc == 0);
}

/* One of two receivers is cancelled; the item is for whoever is left. */
static void
channel_cancel_and_item(void)
{
	struct party one = { NULL, NURSERY_NEVER, 0, -1 };
	struct party two = { NULL, NURSERY_NEVER, 0, -1 };
	struct model_thread *a, *b, *c;

	begin(1);
	one.t = token;
	a = model_start(receive_one, &one);
	b = model_start(receive_one, &two);
	c = model_start(cancel, NULL);
	send_now(5);
	model_join(c);
	model_join(a);
	MODEL_ASSERT(one.rc == 0 || one.rc == ECANCELED);
	if (one.rc == 0) {
		model_cover("work beat the cancel");
		MODEL_ASSERT(one.item == 5);
		send_now(6);
	} else {
		model_cover("cancelled");
	}
	model_join(b);
	MODEL_ASSERT(two.rc == 0 && two.item == (one.rc == 0 ? 6 : 5));
	end();
}

/* The same on the other side: the room is for whoever is left. */
static void
channel_cancel_and_room(void)
{
	struct party one = { NULL, NURSERY_NEVER, 8, -1 };
	struct party two = { NULL, NURSERY_NEVER, 9, -1 };
	struct model_thread *a, *b, *c;
	int first;

	begin(1);
	one.t = token;
	send_now(7);
	a = model_start(send_one, &one);
	b = model_start(send_one, &two);
	c = model_start(cancel, NULL);
	MODEL_ASSERT(receive_now() == 7);
	model_join(c);
	model_join(a);
	first = receive_now();
	if (one.rc == 0) {
		model_cover("work beat the cancel");
		MODEL_ASSERT(first + receive_now() == 8 + 9);
	} else {
		model_cover("cancelled");
		MODEL_ASSERT(one.rc == ECANCELED && first == 9);
	}
	model_join(b);
	MODEL_ASSERT(two.rc == 0);
	end();
}

/* One receiver gives up just when its item comes. */
static void
channel_deadline_and_item(void)
{
	struct party one = { NULL, nursery_after(1000), 0, -1 };
	struct party two = { NULL, NURSERY_NEVER, 0, -1 };
	struct model_thread *a, *b;

	begin(1);
	a = model_start(receive_one, &one);
	b = model_start(receive_one, &two);
	send_now(5);
	model_join(a);
	MODEL_ASSERT(one.rc == 0 || one.rc == ETIMEDOUT);
	model_cover(one.rc == 0 ? "in time" : "late");
	if (one.rc == 0)
		send_now(6);
	model_join(b);
	MODEL_ASSERT(two.rc == 0 && two.item == (one.rc == 0 ? 6 : 5));
	end();
}

/* Two sleep, two items come: both are woken. */
static void
channel_two_and_two(void)
{
	struct party one = { NULL, NURSERY_NEVER, 0, -1 };
	struct party two = { NULL, NURSERY_NEVER, 0, -1 };
	struct model_thread *a, *b;

	begin(2);
	a = model_start(receive_one, &one);
	b = model_start(receive_one, &two);
	send_now(1);
	send_now(2);
	model_join(a);
	model_join(b);
	MODEL_ASSERT(one.rc == 0 && two.rc == 0);
	MODEL_ASSERT(one.item + two.item == 3);
	end();
}

/* The end against an item that waits for room and a receiver. */
static void
close_channel(void *unused)
{
	(void)unused;
	nursery_channel_close(channel);
}

static void
channel_closed(void)
{
	struct party sender = { NULL, NURSERY_NEVER, 8, -1 };
	struct party item = { NULL, NURSERY_NEVER, 0, -1 };
	struct model_thread *a, *b;

	begin(1);
	send_now(7);
	a = model_start(send_one, &sender);
	b = model_start(close_channel, NULL);
	receive_one(&item);
	MODEL_ASSERT(item.rc == 0 && item.item == 7);
	receive_one(&item);
	model_join(a);
	model_join(b);
	MODEL_ASSERT(sender.rc == 0 || sender.rc == EPIPE);
	model_cover(sender.rc == 0 ? "sent before" : "turned away");
	/* What was accepted is what arrived. */
	MODEL_ASSERT(item.rc == sender.rc);
	MODEL_ASSERT(item.rc != 0 || item.item == 8);
	receive_one(&item);
	MODEL_ASSERT(item.rc == EPIPE);
	end();
}

static void
channel_close_wakes_all(void)
{
	struct party one = { NULL, NURSERY_NEVER, 0, -1 };
	struct party two = { NULL, NURSERY_NEVER, 0, -1 };
	struct model_thread *a, *b;

	begin(1);
	a = model_start(receive_one, &one);
	b = model_start(receive_one, &two);
	nursery_channel_close(channel);
	model_join(a);
	model_join(b);
	MODEL_ASSERT(one.rc == EPIPE && two.rc == EPIPE);
	end();
}

const struct scenario channel_scenarios[] = {
	{ "channel-of-one", channel_of_one, { .spurious = 1 }, { NULL },
	    2, 3 },
	{ "channel-freed-by-the-last", channel_freed_by_the_last, { 0 },
	    { NULL }, 2, -1 },
	{ "channel-cancel-and-item", channel_cancel_and_item, { 0 },
	    { "work beat the cancel", "cancelled" }, 2, 2 },
	{ "channel-cancel-and-room", channel_cancel_and_room, { 0 },
	    { "work beat the cancel", "cancelled" }, 2, 2 },
	{ "channel-deadline-and-item", channel_deadline_and_item,
	    { .early = 1 }, { "in time", "late" }, 2, 2 },
	{ "channel-two-and-two", channel_two_and_two, { 0 }, { NULL }, 2, 2 },
	{ "channel-closed", channel_closed, { 0 },
	    { "sent before", "turned away" }, 2, 2 },
	{ "channel-close-wakes-all", channel_close_wakes_all, { 0 },
	    { NULL }, 2, 3 },
	{ NULL, NULL, { 0 }, { NULL }, 0, 0 }
};
