# Tests with Check; each program is one area.  tests/api sees the public
# headers only; the others see the library's internals, too.
TEST_LIBS = libtest.la libnursery-core.la $(CHECK_LIBS)
TEST_FLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE -I$(top_srcdir)/tests/support
INNER_FLAGS = $(TEST_FLAGS) -I$(top_srcdir)/lib
# Tables that must have a row for each exported function read their list.
MAP_FLAG = -DEXPORT_MAP='"$(abs_top_srcdir)/lib/nursery.map"'
TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)

check_LTLIBRARIES += libtest.la
libtest_la_SOURCES = \
	tests/support/race.c \
	tests/support/race.h \
	tests/support/storm.c \
	tests/support/storm.h \
	tests/support/support.c \
	tests/support/support.h \
	tests/support/tasks.c \
	tests/support/tasks.h
libtest_la_CPPFLAGS = $(INNER_FLAGS)
libtest_la_CFLAGS = $(TEST_CFLAGS)

API_TESTS = \
	test_any \
	test_callback \
	test_channel \
	test_close \
	test_compute \
	test_cond \
	test_cost \
	test_dump \
	test_ends \
	test_environment \
	test_failure \
	test_fd \
	test_fork \
	test_from_signal \
	test_guard \
	test_handle \
	test_inner \
	test_io \
	test_limits \
	test_message \
	test_misuse \
	test_peers \
	test_regress \
	test_scope \
	test_service \
	test_signals \
	test_start \
	test_stop \
	test_token \
	test_wait \
	test_waitpid
UNIT_TESTS = \
	test_attr \
	test_clock \
	test_cpus \
	test_list \
	test_lock \
	test_slab \
	test_sync \
	test_timer \
	test_where
STRESS_TESTS = \
	stress_callback \
	stress_compute \
	stress_deadline \
	stress_fork \
	stress_handle \
	stress_io \
	stress_matrix \
	stress_reference \
	stress_release \
	stress_scope \
	stress_signal \
	stress_sync \
	stress_tree
# Event loops of others; those that configure did not find are skipped.
LOOP_TESTS = \
	test_loop_ev \
	test_loop_glib \
	test_loop_uv
check_PROGRAMS += $(API_TESTS) $(LOOP_TESTS) $(UNIT_TESTS) $(STRESS_TESTS) test_fault

stress_callback_SOURCES = tests/stress/stress_callback.c
stress_callback_CPPFLAGS = $(TEST_FLAGS)
stress_callback_CFLAGS = $(TEST_CFLAGS)
stress_callback_LDADD = $(TEST_LIBS)

stress_compute_SOURCES = tests/stress/stress_compute.c
stress_compute_CPPFLAGS = $(TEST_FLAGS)
stress_compute_CFLAGS = $(TEST_CFLAGS)
stress_compute_LDADD = $(TEST_LIBS)

stress_deadline_SOURCES = tests/stress/stress_deadline.c
stress_deadline_CPPFLAGS = $(TEST_FLAGS)
stress_deadline_CFLAGS = $(TEST_CFLAGS)
stress_deadline_LDADD = $(TEST_LIBS)

stress_fork_SOURCES = tests/stress/stress_fork.c
stress_fork_CPPFLAGS = $(TEST_FLAGS)
stress_fork_CFLAGS = $(TEST_CFLAGS)
stress_fork_LDADD = $(TEST_LIBS)

stress_handle_SOURCES = tests/stress/stress_handle.c
stress_handle_CPPFLAGS = $(TEST_FLAGS)
stress_handle_CFLAGS = $(TEST_CFLAGS)
stress_handle_LDADD = $(TEST_LIBS)

stress_io_SOURCES = tests/stress/stress_io.c
stress_io_CPPFLAGS = $(TEST_FLAGS)
stress_io_CFLAGS = $(TEST_CFLAGS)
stress_io_LDADD = $(TEST_LIBS)

stress_matrix_SOURCES = tests/stress/stress_matrix.c
stress_matrix_CPPFLAGS = $(TEST_FLAGS)
stress_matrix_CFLAGS = $(TEST_CFLAGS)
stress_matrix_LDADD = $(TEST_LIBS)

stress_reference_SOURCES = tests/stress/stress_reference.c
stress_reference_CPPFLAGS = $(TEST_FLAGS)
stress_reference_CFLAGS = $(TEST_CFLAGS)
stress_reference_LDADD = $(TEST_LIBS)

stress_release_SOURCES = tests/stress/stress_release.c
stress_release_CPPFLAGS = $(TEST_FLAGS)
stress_release_CFLAGS = $(TEST_CFLAGS)
stress_release_LDADD = $(TEST_LIBS)

stress_scope_SOURCES = tests/stress/stress_scope.c
stress_scope_CPPFLAGS = $(TEST_FLAGS)
stress_scope_CFLAGS = $(TEST_CFLAGS)
stress_scope_LDADD = $(TEST_LIBS)

stress_signal_SOURCES = tests/stress/stress_signal.c
stress_signal_CPPFLAGS = $(TEST_FLAGS)
stress_signal_CFLAGS = $(TEST_CFLAGS)
stress_signal_LDADD = $(TEST_LIBS)

stress_sync_SOURCES = tests/stress/stress_sync.c
stress_sync_CPPFLAGS = $(TEST_FLAGS)
stress_sync_CFLAGS = $(TEST_CFLAGS)
stress_sync_LDADD = $(TEST_LIBS)

stress_tree_SOURCES = tests/stress/stress_tree.c
stress_tree_CPPFLAGS = $(TEST_FLAGS)
stress_tree_CFLAGS = $(TEST_CFLAGS)
stress_tree_LDADD = $(TEST_LIBS)

test_any_SOURCES = tests/api/test_any.c
test_any_CPPFLAGS = $(TEST_FLAGS)
test_any_CFLAGS = $(TEST_CFLAGS)
test_any_LDADD = $(TEST_LIBS)

test_callback_SOURCES = tests/api/test_callback.c
test_callback_CPPFLAGS = $(TEST_FLAGS)
test_callback_CFLAGS = $(TEST_CFLAGS)
test_callback_LDADD = $(TEST_LIBS)

test_channel_SOURCES = tests/api/test_channel.c
test_channel_CPPFLAGS = $(TEST_FLAGS)
test_channel_CFLAGS = $(TEST_CFLAGS)
test_channel_LDADD = $(TEST_LIBS)

test_close_SOURCES = tests/api/test_close.c
test_close_CPPFLAGS = $(TEST_FLAGS)
test_close_CFLAGS = $(TEST_CFLAGS)
test_close_LDADD = $(TEST_LIBS)

test_cond_SOURCES = tests/api/test_cond.c
test_cond_CPPFLAGS = $(TEST_FLAGS)
test_cond_CFLAGS = $(TEST_CFLAGS)
test_cond_LDADD = $(TEST_LIBS)

test_cost_SOURCES = tests/api/test_cost.c
test_cost_CPPFLAGS = $(TEST_FLAGS)
test_cost_CFLAGS = $(TEST_CFLAGS)
test_cost_LDADD = $(TEST_LIBS)

test_dump_SOURCES = tests/api/test_dump.c
test_dump_CPPFLAGS = $(TEST_FLAGS)
test_dump_CFLAGS = $(TEST_CFLAGS)
test_dump_LDADD = $(TEST_LIBS)
# So that the dump finds the names of functions.
test_dump_LDFLAGS = $(AM_LDFLAGS) -export-dynamic

test_ends_SOURCES = tests/api/test_ends.c
test_ends_CPPFLAGS = $(TEST_FLAGS)
test_ends_CFLAGS = $(TEST_CFLAGS)
test_ends_LDADD = $(TEST_LIBS)

test_environment_SOURCES = tests/api/test_environment.c
test_environment_CPPFLAGS = $(TEST_FLAGS)
test_environment_CFLAGS = $(TEST_CFLAGS)
test_environment_LDADD = $(TEST_LIBS)

test_failure_SOURCES = tests/api/test_failure.c
test_failure_CPPFLAGS = $(TEST_FLAGS)
test_failure_CFLAGS = $(TEST_CFLAGS)
test_failure_LDADD = $(TEST_LIBS)

test_fault_SOURCES = tests/fault/test_fault.c
test_fault_CPPFLAGS = $(INNER_FLAGS) $(MAP_FLAG)
test_fault_CFLAGS = $(TEST_CFLAGS)
test_fault_LDADD = $(TEST_LIBS)

test_fd_SOURCES = tests/api/test_fd.c
test_fd_CPPFLAGS = $(TEST_FLAGS)
test_fd_CFLAGS = $(TEST_CFLAGS)
test_fd_LDADD = $(TEST_LIBS)

test_fork_SOURCES = tests/api/test_fork.c
test_fork_CPPFLAGS = $(TEST_FLAGS)
test_fork_CFLAGS = $(TEST_CFLAGS)
test_fork_LDADD = $(TEST_LIBS)

test_from_signal_SOURCES = tests/api/test_from_signal.c
test_from_signal_CPPFLAGS = $(TEST_FLAGS)
test_from_signal_CFLAGS = $(TEST_CFLAGS)
test_from_signal_LDADD = $(TEST_LIBS)

test_guard_SOURCES = tests/api/test_guard.c
test_guard_CPPFLAGS = $(TEST_FLAGS)
test_guard_CFLAGS = $(TEST_CFLAGS)
test_guard_LDADD = $(TEST_LIBS)

test_inner_SOURCES = tests/api/test_inner.c
test_inner_CPPFLAGS = $(TEST_FLAGS)
test_inner_CFLAGS = $(TEST_CFLAGS)
test_inner_LDADD = $(TEST_LIBS)

test_peers_SOURCES = tests/api/test_peers.c
test_peers_CPPFLAGS = $(TEST_FLAGS)
test_peers_CFLAGS = $(TEST_CFLAGS)
test_peers_LDADD = $(TEST_LIBS)

test_handle_SOURCES = tests/api/test_handle.c
test_handle_CPPFLAGS = $(TEST_FLAGS)
test_handle_CFLAGS = $(TEST_CFLAGS)
test_handle_LDADD = $(TEST_LIBS)

test_io_SOURCES = tests/api/test_io.c
test_io_CPPFLAGS = $(TEST_FLAGS)
test_io_CFLAGS = $(TEST_CFLAGS)
test_io_LDADD = $(TEST_LIBS)

test_limits_SOURCES = tests/api/test_limits.c
test_limits_CPPFLAGS = $(TEST_FLAGS)
test_limits_CFLAGS = $(TEST_CFLAGS)
test_limits_LDADD = $(TEST_LIBS)

test_loop_ev_SOURCES = tests/loops/loop.c tests/loops/loop.h \
	tests/loops/test_loop_ev.c
test_loop_ev_CPPFLAGS = $(TEST_FLAGS)
test_loop_ev_CFLAGS = $(TEST_CFLAGS)
test_loop_ev_LDADD = $(TEST_LIBS) $(EV_LIBS)

test_loop_glib_SOURCES = tests/loops/loop.c tests/loops/loop.h \
	tests/loops/test_loop_glib.c
test_loop_glib_CPPFLAGS = $(TEST_FLAGS)
test_loop_glib_CFLAGS = $(TEST_CFLAGS) $(GLIB_CFLAGS)
test_loop_glib_LDADD = $(TEST_LIBS) $(GLIB_LIBS)

test_loop_uv_SOURCES = tests/loops/loop.c tests/loops/loop.h \
	tests/loops/test_loop_uv.c
test_loop_uv_CPPFLAGS = $(TEST_FLAGS)
test_loop_uv_CFLAGS = $(TEST_CFLAGS) $(UV_CFLAGS)
test_loop_uv_LDADD = $(TEST_LIBS) $(UV_LIBS)

test_message_SOURCES = tests/api/test_message.c
test_message_CPPFLAGS = $(TEST_FLAGS)
test_message_CFLAGS = $(TEST_CFLAGS)
test_message_LDADD = $(TEST_LIBS)

test_misuse_SOURCES = tests/api/test_misuse.c
test_misuse_CPPFLAGS = $(TEST_FLAGS) $(MAP_FLAG)
test_misuse_CFLAGS = $(TEST_CFLAGS)
test_misuse_LDADD = $(TEST_LIBS)

test_regress_SOURCES = tests/api/test_regress.c
test_regress_CPPFLAGS = $(TEST_FLAGS)
test_regress_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
test_regress_LDADD = $(TEST_LIBS)

test_compute_SOURCES = tests/api/test_compute.c
test_compute_CPPFLAGS = $(TEST_FLAGS)
test_compute_CFLAGS = $(TEST_CFLAGS)
test_compute_LDADD = $(TEST_LIBS)

test_scope_SOURCES = tests/api/test_scope.c
test_scope_CPPFLAGS = $(TEST_FLAGS)
test_scope_CFLAGS = $(TEST_CFLAGS)
test_scope_LDADD = $(TEST_LIBS)

test_service_SOURCES = tests/api/test_service.c
test_service_CPPFLAGS = $(TEST_FLAGS)
test_service_CFLAGS = $(TEST_CFLAGS)
test_service_LDADD = $(TEST_LIBS)

test_signals_SOURCES = tests/api/test_signals.c
test_signals_CPPFLAGS = $(TEST_FLAGS)
test_signals_CFLAGS = $(TEST_CFLAGS)
test_signals_LDADD = $(TEST_LIBS)

test_start_SOURCES = tests/api/test_start.c
test_start_CPPFLAGS = $(TEST_FLAGS)
test_start_CFLAGS = $(TEST_CFLAGS)
test_start_LDADD = $(TEST_LIBS)

test_stop_SOURCES = tests/api/test_stop.c
test_stop_CPPFLAGS = $(TEST_FLAGS)
test_stop_CFLAGS = $(TEST_CFLAGS)
test_stop_LDADD = $(TEST_LIBS)

test_token_SOURCES = tests/api/test_token.c
test_token_CPPFLAGS = $(TEST_FLAGS)
test_token_CFLAGS = $(TEST_CFLAGS)
test_token_LDADD = $(TEST_LIBS)

test_wait_SOURCES = tests/api/test_wait.c
test_wait_CPPFLAGS = $(TEST_FLAGS)
test_wait_CFLAGS = $(TEST_CFLAGS)
test_wait_LDADD = $(TEST_LIBS)

test_waitpid_SOURCES = tests/api/test_waitpid.c
test_waitpid_CPPFLAGS = $(TEST_FLAGS)
test_waitpid_CFLAGS = $(TEST_CFLAGS)
test_waitpid_LDADD = $(TEST_LIBS)

test_attr_SOURCES = tests/unit/test_attr.c
test_attr_CPPFLAGS = $(INNER_FLAGS)
test_attr_CFLAGS = $(TEST_CFLAGS)
test_attr_LDADD = $(TEST_LIBS)

# A clock of its own, linked in the place of lib/base/clock.c.
test_clock_SOURCES = \
	tests/support/clock.c \
	tests/support/clock.h \
	tests/unit/test_clock.c
test_clock_CPPFLAGS = $(INNER_FLAGS)
test_clock_CFLAGS = $(TEST_CFLAGS)
test_clock_LDADD = $(TEST_LIBS)

test_list_SOURCES = tests/unit/test_list.c
test_list_CPPFLAGS = $(INNER_FLAGS)
test_list_CFLAGS = $(TEST_CFLAGS)
test_list_LDADD = $(TEST_LIBS)

test_lock_SOURCES = tests/unit/test_lock.c
test_lock_CPPFLAGS = $(INNER_FLAGS)
test_lock_CFLAGS = $(TEST_CFLAGS)
test_lock_LDADD = $(TEST_LIBS)

test_slab_SOURCES = tests/unit/test_slab.c
test_slab_CPPFLAGS = $(INNER_FLAGS)
test_slab_CFLAGS = $(TEST_CFLAGS)
test_slab_LDADD = $(TEST_LIBS)

test_sync_SOURCES = tests/unit/test_sync.c
test_sync_CPPFLAGS = $(INNER_FLAGS)
test_sync_CFLAGS = $(TEST_CFLAGS)
test_sync_LDADD = $(TEST_LIBS)

test_timer_SOURCES = tests/unit/test_timer.c
test_timer_CPPFLAGS = $(INNER_FLAGS)
test_timer_CFLAGS = $(TEST_CFLAGS)
test_timer_LDADD = $(TEST_LIBS)

test_cpus_SOURCES = tests/unit/test_cpus.c
test_cpus_CPPFLAGS = $(INNER_FLAGS)
test_cpus_CFLAGS = $(TEST_CFLAGS)
test_cpus_LDADD = $(TEST_LIBS)

test_where_SOURCES = tests/unit/test_where.c
test_where_CPPFLAGS = $(INNER_FLAGS)
test_where_CFLAGS = $(TEST_CFLAGS)
test_where_LDADD = $(TEST_LIBS)

# A daemon with a task that hears nothing, and its end.
noinst_PROGRAMS += tests/daemon/deaf
tests_daemon_deaf_SOURCES = tests/daemon/deaf.c
tests_daemon_deaf_LDADD = libnursery.la
TESTS += tests/daemon/ends-in-time

# It has nothing of the library but what it loads.
noinst_PROGRAMS += tests/daemon/reopen
tests_daemon_reopen_SOURCES = tests/daemon/reopen.c
tests_daemon_reopen_CFLAGS = $(AM_CFLAGS) -Wno-pedantic
TESTS += tests/daemon/reopen$(EXEEXT)
EXTRA_DIST += tests/daemon/ends-in-time

TESTS += $(check_PROGRAMS)

# The long runs: make stress [ROUNDS=N], make seeds [SEEDS=N]; and make plant,
# which shows that each race finds a bug.  make storm: the API's tests while
# signals break the system calls of all threads.
ROUNDS = 10000
SEEDS = 50
.PHONY: stress seeds plant storm
stress: $(STRESS_TESTS)
	for t in $(STRESS_TESTS); do \
		NUR_ROUNDS=$(ROUNDS) NUR_TEST_TIMEOUT=3600 ./$$t || exit 1; \
	done

seeds: $(STRESS_TESTS)
	for s in `seq $(SEEDS)`; do for t in $(STRESS_TESTS); do \
		NUR_SEED=$$s ./$$t || exit 1; \
	done; done

storm: $(API_TESTS)
	rc=0; for t in $(API_TESTS); do NUR_STORM=1 ./$$t || rc=1; done; \
	exit $$rc

plant:
	$(top_srcdir)/tools/plant
