# SPDX-License-Identifier: MIT
# Manual pages, the programs in them, and what checks both.
#
# `man nursery_try_spawn` and the like: a page for each function, which only
# names the page that has it under NAME.  tools/check-api compares this list
# with the pages.
manual_aliases = \
	man/alias/nursery_adopt.3 \
	man/alias/nursery_after.3 \
	man/alias/nursery_auto.3 \
	man/alias/nursery_blocking_end.3 \
	man/alias/nursery_callback_remove.3 \
	man/alias/nursery_callback_try_remove.3 \
	man/alias/nursery_cancel_with.3 \
	man/alias/nursery_channel_close.3 \
	man/alias/nursery_channel_free.3 \
	man/alias/nursery_channel_new.3 \
	man/alias/nursery_channel_recv.3 \
	man/alias/nursery_channel_send.3 \
	man/alias/nursery_close_with.3 \
	man/alias/nursery_connect.3 \
	man/alias/nursery_drain.3 \
	man/alias/nursery_drop.3 \
	man/alias/nursery_dump_from_signal.3 \
	man/alias/nursery_get_stats.3 \
	man/alias/nursery_guard_auto.3 \
	man/alias/nursery_guard_drop.3 \
	man/alias/nursery_interrupt_signal.3 \
	man/alias/nursery_on_signal.3 \
	man/alias/nursery_open_child.3 \
	man/alias/nursery_open_under.3 \
	man/alias/nursery_poll.3 \
	man/alias/nursery_read_full.3 \
	man/alias/nursery_readv.3 \
	man/alias/nursery_recvmsg.3 \
	man/alias/nursery_ref.3 \
	man/alias/nursery_report_cause.3 \
	man/alias/nursery_report_counts.3 \
	man/alias/nursery_report_failed.3 \
	man/alias/nursery_report_failure.3 \
	man/alias/nursery_report_free.3 \
	man/alias/nursery_report_print.3 \
	man/alias/nursery_report_stuck.3 \
	man/alias/nursery_report_unfinished.3 \
	man/alias/nursery_self.3 \
	man/alias/nursery_sem_wait.3 \
	man/alias/nursery_send.3 \
	man/alias/nursery_sendfile.3 \
	man/alias/nursery_sendmsg.3 \
	man/alias/nursery_signal_arm.3 \
	man/alias/nursery_spawn_copy.3 \
	man/alias/nursery_spawn_with.3 \
	man/alias/nursery_start.3 \
	man/alias/nursery_started.3 \
	man/alias/nursery_task_cancel.3 \
	man/alias/nursery_task_id.3 \
	man/alias/nursery_task_join.3 \
	man/alias/nursery_task_name.3 \
	man/alias/nursery_task_ref.3 \
	man/alias/nursery_task_token.3 \
	man/alias/nursery_task_unref.3 \
	man/alias/nursery_task_wait.3 \
	man/alias/nursery_token_auto.3 \
	man/alias/nursery_token_cancel_from_signal.3 \
	man/alias/nursery_token_cancel_with.3 \
	man/alias/nursery_token_cause.3 \
	man/alias/nursery_token_deadline.3 \
	man/alias/nursery_token_drop.3 \
	man/alias/nursery_token_fd.3 \
	man/alias/nursery_token_is_cancelled.3 \
	man/alias/nursery_token_level.3 \
	man/alias/nursery_token_level_fd.3 \
	man/alias/nursery_token_new_any.3 \
	man/alias/nursery_token_new_at.3 \
	man/alias/nursery_token_new_shielded.3 \
	man/alias/nursery_token_of.3 \
	man/alias/nursery_token_on_level.3 \
	man/alias/nursery_token_raise.3 \
	man/alias/nursery_token_ref.3 \
	man/alias/nursery_token_take.3 \
	man/alias/nursery_token_unref.3 \
	man/alias/nursery_token_wait_level.3 \
	man/alias/nursery_try_spawn.3 \
	man/alias/nursery_unref.3 \
	man/alias/nursery_version.3 \
	man/alias/nursery_wait.3 \
	man/alias/nursery_waitpid.3 \
	man/alias/nursery_write.3 \
	man/alias/nursery_write_all.3 \
	man/alias/nursery_writev.3

dist_man_MANS = \
	man/nursery.7 \
	man/nursery_accept.3 \
	man/nursery_blocking_begin.3 \
	man/nursery_cancel.3 \
	man/nursery_cancellation.7 \
	man/nursery_channel.3 \
	man/nursery_close.3 \
	man/nursery_cond_wait.3 \
	man/nursery_current.3 \
	man/nursery_dump.3 \
	man/nursery_notify.3 \
	man/nursery_now.3 \
	man/nursery_open.3 \
	man/nursery_read.3 \
	man/nursery_recv.3 \
	man/nursery_report.3 \
	man/nursery_sleep.3 \
	man/nursery_spawn.3 \
	man/nursery_spawn_process.3 \
	man/nursery_stop.3 \
	man/nursery_stop_on_signals.3 \
	man/nursery_token_cancel.3 \
	man/nursery_token_new.3 \
	man/nursery_token_on_cancel.3 \
	man/nursery_token_run.3 \
	man/nursery_token_set_deadline.3 \
	man/nursery_token_wait.3
nodist_man_MANS = $(manual_aliases)
CLEANFILES += $(manual_aliases)

$(manual_aliases): $(dist_man_MANS)
	$(AM_V_GEN)$(MKDIR_P) man/alias && \
	name=`basename $@ .3` && \
	page=`grep -l -x "\.Nm $$name\( ,\)*" $(srcdir)/man/*.3` && \
	echo ".so man3/`basename $$page`" >$@

# A program runs as it is printed: against the library, with public headers
# only.  They are built for the test alone, and are no tests themselves as
# check_PROGRAMS would make them.
manual_examples = \
	examples/manual/accept \
	examples/manual/blocking \
	examples/manual/cancel \
	examples/manual/cancellation \
	examples/manual/channel \
	examples/manual/close \
	examples/manual/cond_wait \
	examples/manual/current \
	examples/manual/daemon \
	examples/manual/dump \
	examples/manual/now \
	examples/manual/on_signal \
	examples/manual/open \
	examples/manual/poll \
	examples/manual/process \
	examples/manual/read \
	examples/manual/recv \
	examples/manual/report \
	examples/manual/sleep \
	examples/manual/spawn \
	examples/manual/stop \
	examples/manual/stop_on_signals \
	examples/manual/token_cancel \
	examples/manual/token_deadline \
	examples/manual/token_fd \
	examples/manual/token_new \
	examples/manual/token_on_cancel \
	examples/manual/token_run \
	examples/manual/token_wait
EXTRA_PROGRAMS += $(manual_examples)
check_DATA = $(manual_examples)
CLEANFILES += $(manual_examples)

examples_manual_accept_LDADD = libnursery.la
examples_manual_blocking_LDADD = libnursery.la
examples_manual_cancel_LDADD = libnursery.la
examples_manual_cancellation_LDADD = libnursery.la
examples_manual_channel_LDADD = libnursery.la
examples_manual_close_LDADD = libnursery.la
examples_manual_cond_wait_LDADD = libnursery.la
examples_manual_current_LDADD = libnursery.la
examples_manual_daemon_LDADD = libnursery.la
examples_manual_dump_LDADD = libnursery.la
examples_manual_now_LDADD = libnursery.la
examples_manual_on_signal_LDADD = libnursery.la
examples_manual_open_LDADD = libnursery.la
examples_manual_poll_LDADD = libnursery.la
examples_manual_process_LDADD = libnursery.la
examples_manual_read_LDADD = libnursery.la
examples_manual_recv_LDADD = libnursery.la
examples_manual_report_LDADD = libnursery.la
examples_manual_sleep_LDADD = libnursery.la
examples_manual_spawn_LDADD = libnursery.la
examples_manual_stop_LDADD = libnursery.la
examples_manual_stop_on_signals_LDADD = libnursery.la
examples_manual_token_cancel_LDADD = libnursery.la
examples_manual_token_deadline_LDADD = libnursery.la
examples_manual_token_fd_LDADD = libnursery.la
examples_manual_token_new_LDADD = libnursery.la
examples_manual_token_on_cancel_LDADD = libnursery.la
examples_manual_token_run_LDADD = libnursery.la
examples_manual_token_wait_LDADD = libnursery.la

EXTRA_DIST += \
	examples/manual/accept.expected \
	examples/manual/blocking.expected \
	examples/manual/cancel.expected \
	examples/manual/cancellation.expected \
	examples/manual/channel.expected \
	examples/manual/close.expected \
	examples/manual/cond_wait.expected \
	examples/manual/current.expected \
	examples/manual/dump.expected \
	examples/manual/now.expected \
	examples/manual/on_signal.expected \
	examples/manual/open.expected \
	examples/manual/poll.expected \
	examples/manual/process.expected \
	examples/manual/read.in \
	examples/manual/read.expected \
	examples/manual/recv.expected \
	examples/manual/report.expected \
	examples/manual/sleep.expected \
	examples/manual/spawn.expected \
	examples/manual/stop.expected \
	examples/manual/stop_on_signals.expected \
	examples/manual/token_cancel.expected \
	examples/manual/token_deadline.expected \
	examples/manual/token_fd.expected \
	examples/manual/token_new.expected \
	examples/manual/token_on_cancel.expected \
	examples/manual/token_run.expected \
	examples/manual/token_wait.expected \
	examples/manual/test_examples \
	man/test_api \
	man/test_lint \
	tools/check-api

TESTS += \
	examples/manual/test_examples \
	man/test_api \
	man/test_lint
