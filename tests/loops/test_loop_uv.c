/* SPDX-License-Identifier: MIT */
/* Tokens in a libuv loop. */
#include "config.h"

#include "loop.h"

#ifdef HAVE_LIBUV
#include <uv.h>

static struct story story;
static uv_poll_t watch[2];

static void
readable(uv_poll_t *w, int status, int events)
{
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(events, UV_READABLE);
	(void)story_told(&story, (int)(w - watch));
	/* The loop ends when nothing is left to be watched. */
	uv_close((uv_handle_t *)w, NULL);
}

START_TEST(test_loop_uv_is_told_of_tokens)
{
	uv_loop_t loop;
	int i;

	story_begin(&story);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(uv_poll_init(&loop, &watch[i], story.fd[i]),
		    0);
		ck_assert_int_eq(uv_poll_start(&watch[i], UV_READABLE,
		    readable), 0);
	}
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	story_end(&story);
	uv_library_shutdown();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("loop_uv");
	TCase *c = leakless_case("loop_uv");

	tcase_add_test(c, test_loop_uv_is_told_of_tokens);
	suite_add_tcase(s, c);
	return run_suite(s);
}
#else
LOOP_IS_MISSING
#endif
