/* SPDX-License-Identifier: MIT */
/*
 * The steps of a run, for a person: who did what to which variable, and
 * where in the source.  Code addresses are looked up by addr2line, static
 * variables by nm; without these programs the numbers are printed.
 */
#include "config.h"

#include "engine.h"

#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CODE_TEXT	128
#define DATA_TEXT	64

struct event {
	int thread, preempted;
	long step;
	int64_t now;
	const void *pc;
	char text[96], address[96];
};

/* What the two programs said, kept for the life of this one. */
struct symbols {
	struct { uintptr_t at; char text[CODE_TEXT]; } code[1024];
	size_t code_count;
	struct { uintptr_t at; char text[DATA_TEXT]; } data[2048];
	size_t data_count;
	bool data_read;
};

static int
first_base(struct dl_phdr_info *info, size_t size, void *base)
{
	(void)size;
	*(uintptr_t *)base = info->dlpi_addr;
	return 1;		/* the first is the program */
}

/* What has been added to the addresses in the program's file. */
static uintptr_t
load_base(void)
{
	uintptr_t base = 0;

	(void)dl_iterate_phdr(first_base, &base);
	return base;
}

static struct symbols *
symbols(void)
{
	if (eng->symbols == NULL)
		eng->symbols = calloc(1, sizeof *eng->symbols);
	if (eng->symbols == NULL)
		abort();
	return eng->symbols;
}

/* Starts "tool options program arguments"; NULL if it cannot. */
static FILE *
ask(const char *tool, const char *arguments)
{
	char path[512], *command;
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	size_t size;
	FILE *p;

	if (n < 0)
		return NULL;
	path[n] = '\0';
	if (strchr(path, '\'') != NULL)
		return NULL;
	size = strlen(tool) + strlen(path) + strlen(arguments) + 32;
	command = malloc(size);
	if (command == NULL)
		return NULL;
	snprintf(command, size, "%s '%s' %s 2>/dev/null", tool, path,
	    arguments);
	p = popen(command, "r");
	free(command);
	return p;
}

static void
chomp(char *line)
{
	line[strcspn(line, "\n")] = '\0';
}

/* ---- code ---- */

/* Thin wrappers: the place of interest is where they are called. */
static bool
is_wrapper(const char *place)
{
	return strstr(place, "lock.h:") != NULL ||
	    strstr(place, "sync.h:") != NULL ||
	    strstr(place, "token.h:") != NULL ||
	    strstr(place, "sys_model.c:") != NULL;
}

static const char *
known_code(uintptr_t at)
{
	const struct symbols *s = symbols();
	size_t i;

	for (i = 0; i < s->code_count; i++)
		if (s->code[i].at == at)
			return s->code[i].text;
	return NULL;
}

static char *
add_code(uintptr_t at)
{
	struct symbols *s = symbols();

	s->code[s->code_count].at = at;
	snprintf(s->code[s->code_count].text, CODE_TEXT, "%#lx",
	    (unsigned long)at);
	return s->code[s->code_count++].text;
}

/* Reads what addr2line -afi says: an address, then pairs of lines, function
 * and place, innermost first. */
static void
read_code(FILE *from)
{
	char line[256], place[256], *name, *text = NULL;
	bool found = false;

	while (fgets(line, sizeof line, from) != NULL) {
		chomp(line);
		if (strncmp(line, "0x", 2) == 0) {
			if (symbols()->code_count == 1024)
				return;
			text = add_code(strtoul(line, NULL, 16));
			found = false;
			continue;
		}
		if (fgets(place, sizeof place, from) == NULL)
			return;
		chomp(place);
		place[strcspn(place, " ")] = '\0';
		name = strrchr(place, '/');
		name = name == NULL ? place : name + 1;
		if (text == NULL || found)
			continue;
		snprintf(text, CODE_TEXT, "%.60s %.50s", line, name);
		found = !is_wrapper(text);
	}
}

/* Looks up those of the n code addresses that are not known yet. */
static void
look_up(const uintptr_t *at, size_t n)
{
	char *list = malloc(n * 20 + 1);
	size_t i, used = 0;
	FILE *p;

	if (list == NULL)
		return;
	list[0] = '\0';
	for (i = 0; i < n; i++)
		if (known_code(at[i]) == NULL)
			used += (size_t)snprintf(list + used, 20, " %#lx",
			    (unsigned long)at[i]);
	p = used == 0 ? NULL : ask("addr2line -afi -e", list);
	free(list);
	if (p == NULL)
		return;
	read_code(p);
	(void)pclose(p);
}

/* An address in the file, of the call that returns to pc. */
static uintptr_t
call_at(const void *pc)
{
	return (uintptr_t)pc - load_base() - 1;
}

const char *
eng_code_text(const void *pc)
{
	uintptr_t at = call_at(pc);
	const char *text;

	look_up(&at, 1);
	text = known_code(at);
	if (text == NULL && symbols()->code_count < 1024)
		text = add_code(at);
	return text == NULL ? "?" : text;
}

/* ---- data ---- */

static void
read_data(void)
{
	struct symbols *s = symbols();
	char line[256], name[128], type;
	unsigned long value;
	FILE *p;

	if (s->data_read)
		return;
	s->data_read = true;
	p = ask("nm", "");
	if (p == NULL)
		return;
	while (s->data_count < 2048 && fgets(line, sizeof line, p) != NULL) {
		if (sscanf(line, "%lx %c %127s", &value, &type, name) != 3 ||
		    strchr("bBdD", type) == NULL)
			continue;
		s->data[s->data_count].at = value;
		snprintf(s->data[s->data_count++].text, DATA_TEXT, "%.60s",
		    name);
	}
	(void)pclose(p);
}

static bool
static_name(uintptr_t address, char *text, size_t size)
{
	const struct symbols *s = symbols();
	uintptr_t at = address - load_base();
	size_t i, best = SIZE_MAX;

	read_data();
	for (i = 0; i < s->data_count; i++)
		if (s->data[i].at <= at && (best == SIZE_MAX || s->data[i].at >
		    s->data[best].at))
			best = i;
	if (best == SIZE_MAX)
		return false;
	if (at == s->data[best].at)
		snprintf(text, size, "%s", s->data[best].text);
	else
		snprintf(text, size, "%s+%lu", s->data[best].text,
		    (unsigned long)(at - s->data[best].at));
	return true;
}

static const char *
given_name(uintptr_t start)
{
	int i;

	for (i = 0; i < eng->names; i++)
		if (eng->name[i].at == start)
			return eng->name[i].name;
	return NULL;
}

static void
block_name(const struct block *b, uintptr_t at, char *text, size_t size)
{
	const char *name = given_name(b->start);
	char number[32];

	snprintf(number, sizeof number, "block%d", (int)(b - eng->block));
	snprintf(text, size, "%s%s+%zu (of %zu bytes)", name != NULL ? name :
	    number, b->live || b->kind == BLOCK_MAP ? "" : " (freed)",
	    (size_t)(at - b->start), b->size);
}

const char *
eng_address_text(const void *address)
{
	static char text[4][96];
	static int next;
	uintptr_t at = (uintptr_t)address;
	uintptr_t in_memory = at - (uintptr_t)eng->memory;
	uintptr_t in_static = at - (uintptr_t)eng->static_start;
	const struct block *b = eng_block_at(at);
	char *to = text[next++ % 4];

	if (b != NULL)
		block_name(b, at, to, sizeof text[0]);
	else if (in_memory < MODEL_THREADS * MODEL_STACK)
		snprintf(to, sizeof text[0], "stack of thread %d, -%lu",
		    (int)(in_memory / MODEL_STACK), (unsigned long)
		    (MODEL_STACK - in_memory % MODEL_STACK));
	else if (in_static >= eng->static_size ||
	    !static_name(at, to, sizeof text[0]))
		snprintf(to, sizeof text[0], "static data+%#lx",
		    (unsigned long)in_static);
	return to;
}

void
model_name(const void *p, const char *name)
{
	if (eng->names == MODEL_NAMES)
		model_fail("more than %d names", MODEL_NAMES);
	eng->name[eng->names].at = (uintptr_t)p;
	eng->name[eng->names++].name = name;
}

/* ---- events ---- */

void
eng_events_reset(void)
{
	eng->event_count = 0;
}

static struct event *
event_new(const void *pc)
{
	struct event *e;

	if (eng->event_count == eng->event_room) {
		eng->event_room = eng->event_room * 2 + 256;
		eng->events = realloc(eng->events, eng->event_room *
		    sizeof *eng->events);
		if (eng->events == NULL)
			abort();
	}
	e = &eng->events[eng->event_count++];
	memset(e, 0, sizeof *e);
	e->thread = eng->current == NULL ? 0 : eng->current->id;
	e->preempted = eng->preempted;
	e->step = eng->steps;
	e->now = eng->now;
	e->pc = pc;
	return e;
}

void
eng_event(const void *pc, const void *address, const char *format, ...)
{
	struct event *e = event_new(pc);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
	if (address != NULL)
		snprintf(e->address, sizeof e->address, " %s",
		    eng_address_text(address));
}

void
model_note(const char *format, ...)
{
	struct event *e;
	va_list ap;

	if (!eng->tracing)
		return;
	e = event_new(CALLER);
	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof e->text, format, ap);
	va_end(ap);
}

static void
print_switch(const struct event *e, const struct event *before)
{
	if (before->thread != e->thread)
		printf("  -- thread %d%s\n", e->thread, e->preempted !=
		    before->preempted ? ", by preemption" : "");
	if (before->now != e->now)
		printf("  -- %g s have passed\n", (double)(e->now -
		    before->now) / 1e9);
}

static int
by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* One question for all code addresses of the events. */
static void
look_up_all(void)
{
	uintptr_t *at = malloc((eng->event_count + 1) * sizeof *at);
	size_t i, n = 0;

	if (at == NULL)
		return;
	for (i = 0; i < eng->event_count; i++)
		at[i] = call_at(eng->events[i].pc);
	qsort(at, eng->event_count, sizeof *at, by_address);
	for (i = 0; i < eng->event_count; i++)
		if (n == 0 || at[n - 1] != at[i])
			at[n++] = at[i];
	look_up(at, n);
	free(at);
}

void
eng_events_print(void)
{
	const struct event *e, *end = eng->events + eng->event_count;
	char what[200];

	look_up_all();
	for (e = eng->events; e < end; e++) {
		if (e > eng->events)
			print_switch(e, e - 1);
		snprintf(what, sizeof what, "%s%s", e->text, e->address);
		printf("%5ld %d  %-58s  %s\n", e->step, e->thread, what,
		    eng_code_text(e->pc));
	}
}
