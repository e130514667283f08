/* SPDX-License-Identifier: MIT */
/* The door to the system: futex, threads, parking, fault points, signal. */
#include "support.h"

#include "base/signo.h"
#include "base/sync.h"
#include "base/sys.h"
#include "base/thr.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- futex ---- */

START_TEST(test_sync_futex_wait_looks_before_it_sleeps)
{
	uint32_t word = 1;

	ck_assert_int_eq(nur_futex_wait(&word, 0, INT64_MAX), EAGAIN);
}
END_TEST

START_TEST(test_sync_futex_wait_ends_at_its_deadline)
{
	int64_t until = nur_now() + 2 * NURSERY_MS;
	uint32_t word = 0;

	ck_assert_int_eq(nur_futex_wait(&word, 0, until), ETIMEDOUT);
	ck_assert(nur_now() >= until);
	ck_assert_int_eq(nur_futex_wait(&word, 0, 0), ETIMEDOUT);
	ck_assert_int_eq(nur_futex_wait(&word, 0, -5), ETIMEDOUT);
}
END_TEST

/* ---- parking ---- */

START_TEST(test_sync_wake_up_before_the_sleep_is_kept)
{
	struct nur_thr *self = nur_thr_self();

	ck_assert_ptr_nonnull(self);
	ck_assert_ptr_eq(nur_thr_self(), self);
	nur_unpark(self);
	nur_unpark(self);
	ck_assert_int_eq(nur_park(self, INT64_MAX), 0);
	/* Two were one. */
	ck_assert_int_eq(nur_park(self, nur_now() + NURSERY_MS), ETIMEDOUT);
}
END_TEST

struct sleeper {
	struct nur_thr *thr;	/* atomic */
	uint32_t woken;		/* atomic */
};

static void *
park_many_times(void *arg)
{
	struct sleeper *s = arg;
	struct nur_thr *self = nur_thr_self();
	int i;

	__atomic_store_n(&s->thr, self, __ATOMIC_SEQ_CST);
	for (i = 0; i < 2000; i++) {
		(void)nur_park(self, INT64_MAX);
		__atomic_add_fetch(&s->woken, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

START_TEST(test_sync_no_wake_up_is_lost)
{
	struct sleeper s = { NULL, 0 };
	pthread_t id = start_thread(park_many_times, &s);
	struct nur_thr *thr;
	uint32_t i;

	while ((thr = __atomic_load_n(&s.thr, __ATOMIC_SEQ_CST)) == NULL)
		;
	for (i = 0; i < 2000; i++) {
		while (__atomic_load_n(&s.woken, __ATOMIC_SEQ_CST) != i)
			;
		nur_unpark(thr);
	}
	(void)end_thread(id);
	ck_assert_uint_eq(s.woken, 2000);
}
END_TEST

START_TEST(test_sync_what_a_thread_does_nests)
{
	struct nur_thr *self = nur_thr_self();
	uint32_t before, inner;
	int op;

	before = nur_op_enter(self, NUR_OP_RUN, -1);
	ck_assert_uint_eq(before, NUR_OP_NONE);
	inner = nur_op_enter(self, NUR_OP_READ, 7);
	ck_assert_uint_eq(inner, NUR_OP_RUN);
	ck_assert_uint_eq(self->op, NUR_OP_READ);
	ck_assert_int_eq(self->op_fd, 7);
	nur_op_leave(self, inner);
	ck_assert_uint_eq(self->op, NUR_OP_RUN);
	nur_op_leave(self, before);
	ck_assert_uint_eq(self->op, NUR_OP_NONE);
	for (op = 0; op < NUR_OP_COUNT; op++)
		ck_assert_ptr_nonnull(nur_op_names[op]);
}
END_TEST

static void *
take_record(void *arg)
{
	(void)arg;
	return nur_thr_self();
}

/* Given back at the end of the thread, it serves the next one. */
START_TEST(test_sync_record_of_a_thread_goes_with_it)
{
	void *first = end_thread(start_thread(take_record, NULL));
	int i;

	ck_assert_ptr_nonnull(first);
	for (i = 0; i < 20; i++)
		ck_assert_ptr_eq(end_thread(start_thread(take_record, NULL)),
		    first);
}
END_TEST

/* ---- threads ---- */

struct started {
	sigset_t mask;
	size_t stack;
	int cancel_state;
	uint32_t done;		/* atomic; the futex of the test */
};

static void
look_at_thread(void *arg)
{
	struct started *s = arg;
	pthread_attr_t a;
	void *addr;

	pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
	pthread_getattr_np(pthread_self(), &a);
	pthread_attr_getstack(&a, &addr, &s->stack);
	pthread_attr_destroy(&a);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE,
	    &s->cancel_state);
	__atomic_store_n(&s->done, 1, __ATOMIC_SEQ_CST);
	nur_futex_wake(&s->done, 1);
}

NUR_THREAD(looking_thread, look_at_thread)

START_TEST(test_sync_thread_starts_with_signals_blocked_and_no_cancel)
{
	struct started s = { .stack = 0 };
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	ck_assert_int_eq(nur_thread_start(looking_thread, &s, 1 << 20), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	while (__atomic_load_n(&s.done, __ATOMIC_SEQ_CST) == 0)
		(void)nur_futex_wait(&s.done, 0, INT64_MAX);
	ck_assert(same_signals(&before, &after));
	ck_assert_int_eq(sigismember(&s.mask, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&s.mask, SIGUSR1), 1);
	ck_assert_int_eq(sigismember(&s.mask, SIGSEGV), 0);
	ck_assert_int_eq(sigismember(&s.mask, nur_interrupt_signo()), 1);
	ck_assert_uint_ge(s.stack, 1 << 20);
	ck_assert_int_eq(s.cancel_state, PTHREAD_CANCEL_DISABLE);
}
END_TEST

/* ---- fault points ---- */

static enum nur_resource forbidden;

static bool
forbid(enum nur_resource r)
{
	return r == forbidden;
}

static void
never(void *arg)
{
	(void)arg;
	ck_abort_msg("a thread that was refused runs");
}

NUR_THREAD(never_thread, never)

START_TEST(test_sync_refused_thread_leaves_the_mask_as_it_was)
{
	sigset_t before, after;

	nur_fault_hook = forbid;
	forbidden = NUR_RES_THREAD;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	ck_assert_int_eq(nur_thread_start(never_thread, NULL, 1 << 18),
	    EAGAIN);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert(same_signals(&before, &after));
	nur_fault_hook = NULL;
	/* The system refuses, too. */
	ck_assert_int_eq(nur_thread_start(never_thread, NULL, SIZE_MAX / 2),
	    EAGAIN);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert(same_signals(&before, &after));
}
END_TEST

START_TEST(test_sync_fault_points_refuse_what_the_hook_says)
{
	void *p;
	int fd;

	nur_fault_hook = forbid;
	forbidden = NUR_RES_MEMORY;
	ck_assert_ptr_null(nur_alloc(1));
	ck_assert_ptr_null(nur_map_aligned(1 << 16));
	fd = nur_eventfd();
	ck_assert_int_ge(fd, 0);
	close(fd);
	forbidden = NUR_RES_FD;
	ck_assert_int_eq(nur_eventfd(), -1);
	p = nur_alloc(100);
	ck_assert_ptr_nonnull(p);
	nur_free(p);
	nur_fault_hook = NULL;
}
END_TEST

START_TEST(test_sync_memory_comes_zeroed_and_aligned)
{
	static const unsigned char zero[1000];
	unsigned char *p = nur_alloc(sizeof zero), *m;

	ck_assert_int_eq(memcmp(p, zero, sizeof zero), 0);
	nur_free(p);
	m = nur_map_aligned(1 << 16);
	ck_assert_uint_eq((uintptr_t)m % (1 << 16), 0);
	ck_assert_int_eq(m[0] + m[(1 << 16) - 1], 0);
}
END_TEST

START_TEST(test_sync_eventfd_is_close_on_exec_and_does_not_block)
{
	uint64_t value;
	int fd = nur_eventfd();

	ck_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	ck_assert((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	ck_assert_int_eq(read(fd, &value, sizeof value), -1);
	ck_assert_int_eq(errno, EAGAIN);
	close(fd);
}
END_TEST

/* ---- the signal ---- */

static void
foreign(int signo)
{
	(void)signo;
}

START_TEST(test_sync_signal_is_installed_once_and_not_over_a_foreign_one)
{
	struct sigaction now;
	int signo = nur_interrupt_signo();

	signal(signo, foreign);
	ck_assert_int_eq(nur_interrupt_install(), EBUSY);
	sigaction(signo, NULL, &now);
	ck_assert(now.sa_handler == foreign);
	signal(signo, SIG_DFL);
	ck_assert_int_eq(nur_interrupt_install(), 0);
	ck_assert_int_eq(nur_interrupt_install(), 0);
	sigaction(signo, NULL, &now);
	ck_assert(now.sa_handler != SIG_DFL);
	/* Its purpose is to make a call return. */
	ck_assert((now.sa_flags & SA_RESTART) == 0);
	ck_assert_int_eq(raise(signo), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sync");
	TCase *c = leakless_case("sync");

	tcase_add_test(c, test_sync_futex_wait_looks_before_it_sleeps);
	tcase_add_test(c, test_sync_futex_wait_ends_at_its_deadline);
	tcase_add_test(c, test_sync_wake_up_before_the_sleep_is_kept);
	tcase_add_test(c, test_sync_no_wake_up_is_lost);
	tcase_add_test(c, test_sync_what_a_thread_does_nests);
	tcase_add_test(c, test_sync_record_of_a_thread_goes_with_it);
	tcase_add_test(c,
	    test_sync_thread_starts_with_signals_blocked_and_no_cancel);
	tcase_add_test(c,
	    test_sync_refused_thread_leaves_the_mask_as_it_was);
	tcase_add_test(c,
	    test_sync_fault_points_refuse_what_the_hook_says);
	tcase_add_test(c, test_sync_memory_comes_zeroed_and_aligned);
	tcase_add_test(c,
	    test_sync_eventfd_is_close_on_exec_and_does_not_block);
	tcase_add_test(c,
	    test_sync_signal_is_installed_once_and_not_over_a_foreign_one);
	suite_add_tcase(s, c);
	return run_suite(s);
}
