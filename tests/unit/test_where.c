/* SPDX-License-Identifier: MIT */
/* Where a thread is, as the kernel tells it; and as a report does. */
#include "tasks.h"

#include "base/thr.h"
#include "base/where.h"

#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <unistd.h>

struct waiter {
	void (*wait)(struct waiter *w);
	pid_t tid;		/* atomic */
	int fds[2], over;
	sem_t gate;
};

static void *
wait_somewhere(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, own_tid(), __ATOMIC_SEQ_CST);
	w->wait(w);
	return NULL;
}

static pthread_t
start_waiter(struct waiter *w, void (*wait)(struct waiter *w))
{
	pthread_t id;

	w->tid = w->over = 0;
	w->wait = wait;
	id = start_thread(wait_somewhere, w);
	while (__atomic_load_n(&w->tid, __ATOMIC_SEQ_CST) == 0)
		sched_yield();
	return id;
}

static void
in_read(struct waiter *w)
{
	char byte;

	(void)!read(w->fds[0], &byte, 1);
}

START_TEST(test_where_names_the_call_and_its_descriptor)
{
	char got[64], wanted[64];
	struct waiter w;
	pthread_t id;

	ck_assert_int_eq(pipe(w.fds), 0);
	id = start_waiter(&w, in_read);
	await_asleep(w.tid);
	nur_where(w.tid, got, sizeof got);
	snprintf(wanted, sizeof wanted, "system call read(fd %d)", w.fds[0]);
	ck_assert_str_eq(got, wanted);
	close(w.fds[1]);
	(void)end_thread(id);
	close(w.fds[0]);
	/* Nobody there. */
	nur_where(w.tid, got, sizeof got);
	ck_assert_str_eq(got, "");
}
END_TEST

static void
in_futex(struct waiter *w)
{
	while (sem_wait(&w->gate) != 0)
		;
}

START_TEST(test_where_names_a_call_without_descriptor)
{
	struct waiter w;
	pthread_t id;
	char got[64];

	sem_init(&w.gate, 0, 0);
	id = start_waiter(&w, in_futex);
	await_asleep(w.tid);
	nur_where(w.tid, got, sizeof got);
	ck_assert_str_eq(got, "system call futex");
	/* What does not fit is cut. */
	nur_where(w.tid, got, 8);
	ck_assert_str_eq(got, "system ");
	sem_post(&w.gate);
	(void)end_thread(id);
	sem_destroy(&w.gate);
}
END_TEST

#ifdef SYS_msgrcv
static void
in_msgrcv(struct waiter *w)
{
	struct { long type; char text[8]; } m;

	(void)!msgrcv(w->fds[0], &m, sizeof m.text, 0, 0);
}

/* One that is not in the table. */
START_TEST(test_where_gives_the_number_of_others)
{
	char got[64], wanted[64];
	struct waiter w;
	pthread_t id;

	w.fds[0] = msgget(IPC_PRIVATE, 0600);
	ck_assert_int_ge(w.fds[0], 0);
	id = start_waiter(&w, in_msgrcv);
	await_asleep(w.tid);
	nur_where(w.tid, got, sizeof got);
	ck_assert_int_eq(msgctl(w.fds[0], IPC_RMID, NULL), 0);
	snprintf(wanted, sizeof wanted, "system call %d", SYS_msgrcv);
	ck_assert_str_eq(got, wanted);
	(void)end_thread(id);
}
END_TEST
#endif

static void
nowhere(struct waiter *w)
{
	while (counted(&w->over) == 0)
		;
}

START_TEST(test_where_tells_who_runs)
{
	struct waiter w;
	pthread_t id;
	char got[64];

	id = start_waiter(&w, nowhere);
	nur_where(w.tid, got, sizeof got);
	ck_assert_str_eq(got, "running");
	/* Oneself, too. */
	nur_where(own_tid(), got, sizeof got);
	ck_assert(strncmp(got, "system call read", 16) == 0 ||
	    strcmp(got, "running") == 0);
	count_up(&w.over);
	(void)end_thread(id);
}
END_TEST

/* A call of the library that is under way and does not wait. */
static int
busy(struct nursery_token *t, void *gate)
{
	struct nur_thr *self = nur_thr_self();
	uint32_t before = nur_op_enter(self, NUR_OP_READ | NUR_OP_BUSY, 7);

	(void)t;
	gate_pass(gate);
	nur_op_leave(self, before);
	return 0;
}

START_TEST(test_where_a_busy_call_of_the_library_is_reported)
{
	struct nursery_stop how = NURSERY_STOP_INIT;
	struct nursery *n = open_root(NULL);
	struct nursery_report *r;
	char *text = NULL;
	size_t len = 0;
	struct gate g;
	FILE *f;

	gate_init(&g);
	how.drain_for = 1;
	spawn_named(n, "busy", busy, &g);
	gate_await(&g, 1);
	ck_assert_int_eq(nursery_stop(&n, &how, &r), ETIMEDOUT);
	f = open_memstream(&text, &len);
	ck_assert_int_eq(nursery_report_print(r, f), 0);
	fclose(f);
	ck_assert_msg(strstr(text, ", busy in read(fd 7)\n") != NULL, "%s",
	    text);
	free(text);
	nursery_report_free(r);
	gate_open(&g);
	ck_assert_int_eq(nursery_close(&n), ECANCELED);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("where");
	TCase *c = leakless_case("where");

	tcase_add_test(c, test_where_names_the_call_and_its_descriptor);
	tcase_add_test(c, test_where_names_a_call_without_descriptor);
#ifdef SYS_msgrcv
	tcase_add_test(c, test_where_gives_the_number_of_others);
#endif
	tcase_add_test(c, test_where_tells_who_runs);
	tcase_add_test(c, test_where_a_busy_call_of_the_library_is_reported);
	suite_add_tcase(s, c);
	return run_suite(s);
}
