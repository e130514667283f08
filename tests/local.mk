# Tests with Check; each program is one area.  They link the library with
# its internals.
TEST_LIBS = libtest.la libnursery-core.la $(CHECK_LIBS)
TEST_FLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/lib -I$(top_srcdir)/tests/support

check_LTLIBRARIES += libtest.la
libtest_la_SOURCES = \
	tests/support/support.c \
	tests/support/support.h
libtest_la_CPPFLAGS = $(TEST_FLAGS)
libtest_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)

check_PROGRAMS += \
	test_fault \
	test_io \
	test_misuse \
	test_regress \
	test_scope \
	test_stop \
	test_token

test_fault_SOURCES = tests/fault/test_fault.c
test_fault_CPPFLAGS = $(TEST_FLAGS)
test_fault_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_fault_LDADD = $(TEST_LIBS)

test_io_SOURCES = tests/api/test_io.c
test_io_CPPFLAGS = $(TEST_FLAGS)
test_io_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_io_LDADD = $(TEST_LIBS)

test_misuse_SOURCES = tests/api/test_misuse.c
test_misuse_CPPFLAGS = $(TEST_FLAGS)
test_misuse_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_misuse_LDADD = $(TEST_LIBS)

test_regress_SOURCES = tests/api/test_regress.c
test_regress_CPPFLAGS = $(TEST_FLAGS)
test_regress_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_regress_LDADD = $(TEST_LIBS)

test_scope_SOURCES = tests/api/test_scope.c
test_scope_CPPFLAGS = $(TEST_FLAGS)
test_scope_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_scope_LDADD = $(TEST_LIBS)

test_stop_SOURCES = tests/api/test_stop.c
test_stop_CPPFLAGS = $(TEST_FLAGS)
test_stop_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_stop_LDADD = $(TEST_LIBS)

test_token_SOURCES = tests/api/test_token.c
test_token_CPPFLAGS = $(TEST_FLAGS)
test_token_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_token_LDADD = $(TEST_LIBS)

TESTS += $(check_PROGRAMS)
