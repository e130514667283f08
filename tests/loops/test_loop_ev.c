/* SPDX-License-Identifier: MIT */
/* Tokens in a libev loop. */
#include "config.h"

#include "loop.h"

#ifdef HAVE_LIBEV
/* Its macros cast away what the compiler would warn of. */
#pragma GCC diagnostic ignored "-Wstrict-aliasing"
#include <ev.h>

static struct story story;
static ev_io watch[2];

static void
readable(struct ev_loop *loop, ev_io *w, int events)
{
	ck_assert_int_eq(events, EV_READ);
	ev_io_stop(loop, w);
	(void)story_told(&story, (int)(w - watch));
}

START_TEST(test_loop_ev_is_told_of_tokens)
{
	struct ev_loop *loop;
	int i;

	story_begin(&story);
	loop = ev_loop_new(EVFLAG_AUTO);
	ck_assert_ptr_nonnull(loop);
	for (i = 0; i < 2; i++) {
		ev_io_init(&watch[i], readable, story.fd[i], EV_READ);
		ev_io_start(loop, &watch[i]);
	}
	/* It ends when nothing is left to be watched. */
	ev_run(loop, 0);
	ev_loop_destroy(loop);
	story_end(&story);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("loop_ev");
	TCase *c = leakless_case("loop_ev");

	tcase_add_test(c, test_loop_ev_is_told_of_tokens);
	suite_add_tcase(s, c);
	return run_suite(s);
}
#else
LOOP_IS_MISSING
#endif
