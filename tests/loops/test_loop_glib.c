/* SPDX-License-Identifier: MIT */
/* Tokens in a GLib main loop. */
#include "config.h"

#include "loop.h"

#ifdef HAVE_GLIB
#include <glib-unix.h>

static GMainLoop *loop;
static struct story story;

static gboolean
readable(gint fd, GIOCondition condition, gpointer i)
{
	(void)fd;
	(void)condition;
	if (story_told(&story, GPOINTER_TO_INT(i)))
		g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

START_TEST(test_loop_glib_is_told_of_tokens)
{
	int i;

	story_begin(&story);
	loop = g_main_loop_new(NULL, FALSE);
	for (i = 0; i < 2; i++)
		g_unix_fd_add(story.fd[i], G_IO_IN, readable,
		    GINT_TO_POINTER(i));
	g_main_loop_run(loop);
	g_main_loop_unref(loop);
	story_end(&story);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("loop_glib");
	TCase *c = leakless_case("loop_glib");

	/* GLib keeps descriptors of its own: let it have them before. */
	(void)g_main_context_default();
	tcase_add_test(c, test_loop_glib_is_told_of_tokens);
	suite_add_tcase(s, c);
	return run_suite(s);
}
#else
LOOP_IS_MISSING
#endif
