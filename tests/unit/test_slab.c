/* SPDX-License-Identifier: MIT */
/* Invariants S1 to S4 of base/slab.h.  No task runs in this program, so that
 * the slab of tasks, which is kept in magazines and counted, can be ours. */
#include "config.h"

#include "support.h"

#include "base/poison.h"
#include "base/slab.h"
#include "base/thr.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE	192
#define AUX	40

static struct nur_slab slab = NUR_SLAB_INIT("test",
    NUR_SLAB_TASK, SIZE, AUX);

START_TEST(test_slab_gives_apart_slots_that_are_aligned)
{
	enum { COUNT = 2000 };	/* several chunks */
	static unsigned char *obj[COUNT];
	int i, k;

	for (i = 0; i < COUNT; i++) {
		obj[i] = nur_slab_get(&slab);
		ck_assert_ptr_nonnull(obj[i]);
		ck_assert_uint_eq((uintptr_t)obj[i] % 64, 0);
		memset(obj[i], i & 0xff, SIZE);
		memset(nur_slab_aux(obj[i]), ~i & 0xff, AUX);
	}
	for (i = 0; i < COUNT; i++) {
		for (k = 0; k < SIZE; k++)
			ck_assert_int_eq(obj[i][k], i & 0xff);
		for (k = 0; k < AUX; k++)
			ck_assert_int_eq(((unsigned char *)nur_slab_aux(
			    obj[i]))[k], ~i & 0xff);
		ck_assert_ptr_eq(nur_chunk_of(obj[i])->slab, &slab);
		ck_assert(!nur_inherited(obj[i]));
	}
	for (i = 0; i < COUNT; i++)
		nur_slab_put(&slab, obj[i]);
}
END_TEST

/* S1: memory is used again, not given back. */
START_TEST(test_slab_reuses_its_slots)
{
	void *first = nur_slab_get(&slab), *again;
	int i;

	nur_slab_put(&slab, first);
	for (i = 0; i < 10000; i++) {
		again = nur_slab_get(&slab);
		ck_assert_ptr_eq(again, first);
		nur_slab_put(&slab, again);
	}
}
END_TEST

/* S1: the state word of a freed object of a stable slab may still be read. */
START_TEST(test_slab_stable_slots_stay_readable)
{
	static struct nur_slab stable = NUR_SLAB_INIT("stable",
	    NUR_SLAB_THREAD, SIZE, 0);
	uint32_t *obj = nur_slab_get(&stable);

	*obj = 0x12345678;
	nur_slab_put(&stable, obj);
	ck_assert_uint_eq(*obj, 0x12345678);
}
END_TEST

struct churn {
	pthread_barrier_t *start;
	int number, wrong;
};

/* More than a magazine holds, so that the slab is asked again and again. */
static void *
get_and_put(void *arg)
{
	struct churn *c = arg;
	void *obj[100];
	int round, i;

	/* The first one has no record, and so no magazine (S4). */
	if (c->number > 0)
		(void)nur_thr_self();
	pthread_barrier_wait(c->start);
	for (round = 0; round < 500; round++) {
		for (i = 0; i < 100; i++) {
			obj[i] = nur_slab_get(&slab);
			*(int *)obj[i] = 1000 * c->number + i;
			nur_slab_count(&slab, 1);
		}
		for (i = 0; i < 100; i++) {
			c->wrong += *(int *)obj[i] != 1000 * c->number + i;
			nur_slab_count(&slab, -1);
			nur_slab_put(&slab, obj[i]);
		}
	}
	return NULL;
}

START_TEST(test_slab_gives_each_slot_to_one_thread)
{
	pthread_barrier_t start;
	struct churn c[3];
	pthread_t id[3];
	int i;

	pthread_barrier_init(&start, NULL, 3);
	for (i = 0; i < 3; i++) {
		c[i] = (struct churn){ &start, i, 0 };
		id[i] = start_thread(get_and_put, &c[i]);
	}
	for (i = 0; i < 3; i++) {
		(void)end_thread(id[i]);
		ck_assert_int_eq(c[i].wrong, 0);
	}
	ck_assert_uint_eq(nur_slab_live(&slab), 0);
	pthread_barrier_destroy(&start);
}
END_TEST

struct counter {
	int change;
	bool with_record;
};

static void *
count_some(void *arg)
{
	const struct counter *c = arg;
	int i;

	if (c->with_record)
		(void)nur_thr_self();
	for (i = 0; i < 100; i++)
		nur_slab_count(&slab, c->change);
	return NULL;
}

/* S4: whoever counts where, and also when the counting thread is gone. */
START_TEST(test_slab_count_is_the_sum_over_all_threads)
{
	struct counter up = { 1, true }, down = { -1, true }, bare = { 1,
		false };

	/* Counting begins with an object. */
	nur_slab_put(&slab, nur_slab_get(&slab));
	(void)end_thread(start_thread(count_some, &up));
	ck_assert_uint_eq(nur_slab_live(&slab), 100);
	(void)nur_thr_self();
	nur_slab_count(&slab, 1);
	ck_assert_uint_eq(nur_slab_live(&slab), 101);
	(void)end_thread(start_thread(count_some, &down));
	ck_assert_uint_eq(nur_slab_live(&slab), 1);
	(void)end_thread(start_thread(count_some, &bare));
	ck_assert_uint_eq(nur_slab_live(&slab), 101);
	(void)end_thread(start_thread(count_some, &down));
	nur_slab_count(&slab, -1);
	ck_assert_uint_eq(nur_slab_live(&slab), 0);
}
END_TEST

/* What a thread kept ready is there for others when it is gone. */
static void *
fill_magazine(void *out)
{
	void **obj = out;
	int i;

	(void)nur_thr_self();
	for (i = 0; i < NUR_MAGAZINE; i++)
		obj[i] = nur_slab_get(&slab);
	for (i = 0; i < NUR_MAGAZINE; i++)
		nur_slab_put(&slab, obj[i]);
	return NULL;
}

START_TEST(test_slab_magazine_of_a_thread_that_ends_is_given_back)
{
	void *first[NUR_MAGAZINE], *again[NUR_MAGAZINE];
	int i, k, same = 0;

	(void)end_thread(start_thread(fill_magazine, first));
	(void)end_thread(start_thread(fill_magazine, again));
	for (i = 0; i < NUR_MAGAZINE; i++)
		for (k = 0; k < NUR_MAGAZINE; k++)
			same += first[i] == again[k];
	ck_assert_int_eq(same, NUR_MAGAZINE);
}
END_TEST

/* S3: what was made before a fork is told from what is made after it. */
static int
in_child(void *old)
{
	void *fresh, *again;

	nur_generation++;
	nur_slab_after_fork(&slab);
	fresh = nur_slab_get(&slab);
	if (!nur_inherited(old) || nur_inherited(fresh) || fresh == old ||
	    nur_slab_live(&slab) != 0)
		return 1;
	/* Giving back what was inherited does nothing. */
	nur_slab_put(&slab, old);
	again = nur_slab_get(&slab);
	if (again == old)
		return 2;
	nur_slab_put(&slab, again);
	nur_slab_put(&slab, fresh);
	return 0;
}

START_TEST(test_slab_knows_what_was_made_before_a_fork)
{
	void *obj = nur_slab_get(&slab);
	struct outcome o;

	nur_slab_count(&slab, 1);
	run_forked(&o, in_child, obj);
	nur_slab_count(&slab, -1);
	nur_slab_put(&slab, obj);
	assert_good(&o);
}
END_TEST

/* As under a sanitizer, which is to see each use of what has gone. */
START_TEST(test_slab_no_token_is_kept_where_nothing_is_kept_ready)
{
	struct nursery_token *t, *k;
	bool kept = nur_keep_ready;

	nur_keep_ready = false;
	ck_assert_int_eq(nursery_token_new(&t, NULL), 0);
	ck_assert_int_eq(nursery_token_new(&k, t), 0);
	nursery_token_unref(k);
	ck_assert_uint_eq(nur_thr_self()->vacant.count, 0);
	nursery_token_unref(t);
	nur_keep_ready = kept;
}
END_TEST

#ifdef NUR_ASAN
static int
use_after_put(void *unused)
{
	volatile int *obj = nur_slab_get(&slab);

	(void)unused;
	nur_slab_put(&slab, (void *)(uintptr_t)obj);
	return *obj;
}

/* A freed slot is poisoned: AddressSanitizer ends the program. */
START_TEST(test_slab_use_after_put_is_caught)
{
	struct outcome o;

	run_forked(&o, use_after_put, NULL);
	ck_assert(!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0);
	ck_assert_ptr_nonnull(strstr(o.text, "use-after-poison"));
}
END_TEST
#endif

int
main(void)
{
	Suite *s = suite_create("slab");
	TCase *c = tcase_create("slab");

	tcase_set_timeout(c, 60);
	tcase_add_test(c, test_slab_gives_apart_slots_that_are_aligned);
	tcase_add_test(c, test_slab_reuses_its_slots);
	tcase_add_test(c, test_slab_stable_slots_stay_readable);
	tcase_add_test(c, test_slab_gives_each_slot_to_one_thread);
	tcase_add_test(c, test_slab_count_is_the_sum_over_all_threads);
	tcase_add_test(c,
	    test_slab_magazine_of_a_thread_that_ends_is_given_back);
	tcase_add_test(c, test_slab_knows_what_was_made_before_a_fork);
	tcase_add_test(c,
	    test_slab_no_token_is_kept_where_nothing_is_kept_ready);
#ifdef NUR_ASAN
	tcase_add_test(c, test_slab_use_after_put_is_caught);
#endif
	suite_add_tcase(s, c);
	return run_suite(s);
}
