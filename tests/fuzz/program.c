/* SPDX-License-Identifier: MIT */
/* Bytes and programs; see program.h. */
#include "config.h"

#include "program.h"

#include <string.h>

const char *const call_name[CALL_KINDS] = {
	"token_new", "token_new_any", "token_new_at", "token_new_shielded",
	"token_unref", "token_cancel", "token_raise", "token_set_deadline",
	"read", "token_wait", "on_level", "callback_remove",
	"callback_try_remove", "open", "open_child", "open_under", "close",
	"close_with", "cancel", "drain", "wait", "spawn", "try_spawn",
	"spawn_copy", "spawn_with", "spawn_with, handle", "task_join",
	"task_cancel", "return", "channel_send", "channel_recv",
	"channel_close"
};

static uint8_t
take(const uint8_t **bytes, size_t *size)
{
	if (*size == 0)
		return 0;
	(*size)--;
	return *(*bytes)++;
}

static void
decode_call(struct program *p, uint8_t head, uint8_t arg)
{
	unsigned script = head >> 5;
	struct call_at *c;

	if (script < THREADS)
		script %= (unsigned)p->threads;
	c = &p->call[script][p->count[script]++];
	c->kind = head & 31;
	c->arg = arg;
}

void
program_decode(struct program *p, const uint8_t *bytes, size_t size)
{
	uint8_t how = take(&bytes, &size), odd = take(&bytes, &size), head;
	int calls = (odd >> 3) % (CALLS + 1), i;

	memset(p, 0, sizeof *p);
	p->threads = 1 + (how & 3) % THREADS;
	p->prologue = how >> 2 & 7;
	p->bare = (how >> 5) == 7;
	p->faults = odd & 1;
	p->spurious = odd >> 1 & 1;
	p->early = odd >> 2 & 1;
	for (i = 0; i < calls && size > 0; i++) {
		head = take(&bytes, &size);
		decode_call(p, head, take(&bytes, &size));
	}
	p->choices = bytes;
	p->choice_count = size;
}

void
program_print(const struct program *p, FILE *to)
{
	int s, i;
	size_t k;

	fprintf(to, "%d thread%s, the others after %d calls%s%s%s%s\n",
	    p->threads, p->threads == 1 ? "" : "s", p->prologue, p->bare ?
	    ", nothing kept ready" : "", p->faults ? ", a refusal" : "",
	    p->spurious ? ", a spurious wake-up" : "", p->early ?
	    ", an early deadline" : "");
	for (s = 0; s < SCRIPTS; s++) {
		if (p->count[s] == 0)
			continue;
		fprintf(to, "%s %d:", s < THREADS ? "thread" : "tasks", s);
		for (i = 0; i < p->count[s]; i++)
			fprintf(to, "%s %s(%d)", i == 0 ? "" : ",",
			    call_name[p->call[s][i].kind],
			    p->call[s][i].arg);
		fputc('\n', to);
	}
	fprintf(to, "choices:");
	for (k = 0; k < p->choice_count; k++)
		fprintf(to, " %02x", p->choices[k]);
	fputc('\n', to);
}

/* ---- by lot ---- */

static uint32_t
lot(uint64_t *seed, uint32_t n)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static const uint8_t weight[CALL_KINDS] = {
	6, 3, 3, 3, 5, 3, 5, 3, 6, 5,	/* tokens */
	6, 3, 2,			/* callbacks */
	6, 5, 3, 4, 3, 3, 2, 4,		/* nurseries */
	9, 4, 4, 6, 5,			/* spawns */
	4, 3, 4, 3, 3, 1
};

static uint8_t
lot_call(uint64_t *seed)
{
	unsigned sum = 0, at, i;

	for (i = 0; i < CALL_KINDS; i++)
		sum += weight[i];
	at = lot(seed, sum);
	for (i = 0; at >= weight[i]; i++)
		at -= weight[i];
	return (uint8_t)i;
}

size_t
program_random(uint8_t *bytes, uint64_t *seed)
{
	unsigned calls = 6 + lot(seed, CALLS - 5), i;
	/* One kind of odd thing in every second program. */
	unsigned odd = lot(seed, 2) == 0 ? 0 : 1u << lot(seed, 3);
	unsigned choices = lot(seed, 4) == 0 ? 0 : lot(seed, 64);
	size_t size = 0;

	bytes[size++] = (uint8_t)lot(seed, 256);
	bytes[size++] = (uint8_t)(calls << 3 | odd);
	for (i = 0; i < calls; i++) {
		/* The threads have more to do than the tasks. */
		bytes[size++] = (uint8_t)((lot(seed, 5) < 3 ? lot(seed, 3) :
		    3 + lot(seed, 5)) << 5 | lot_call(seed));
		bytes[size++] = (uint8_t)lot(seed, 256);
	}
	for (i = 0; i < choices; i++)
		bytes[size++] = (uint8_t)lot(seed, 256);
	return size;
}
