# The library: floors, lowest first.  A file includes only what stands on its
# own floor or lower.
noinst_LTLIBRARIES += libnursery-core.la
lib_LTLIBRARIES = libnursery.la

libnursery_core_la_SOURCES = \
	lib/base/annotate.c \
	lib/base/annotate.h \
	lib/base/check.h \
	lib/base/clock.c \
	lib/base/clock.h \
	lib/base/cpus.c \
	lib/base/cpus.h \
	lib/base/fork.c \
	lib/base/fork.h \
	lib/base/kernel.h \
	lib/base/list.h \
	lib/base/lock.h \
	lib/base/poison.h \
	lib/base/signo.c \
	lib/base/signo.h \
	lib/base/slab.c \
	lib/base/slab.h \
	lib/base/sync.c \
	lib/base/sync.h \
	lib/base/sys.c \
	lib/base/sys.h \
	lib/base/task_id.c \
	lib/base/task_id.h \
	lib/base/thr.c \
	lib/base/thr.h \
	lib/base/time.c \
	lib/base/where.c \
	lib/base/where.h \
	lib/daemon/later.c \
	lib/daemon/signals.c \
	lib/daemon/signals.h \
	lib/daemon/stop.c \
	lib/inspect/dump.c \
	lib/inspect/dump_signal.c \
	lib/io/blocking.c \
	lib/io/call.c \
	lib/io/call.h \
	lib/io/channel.c \
	lib/io/io.c \
	lib/io/knock.c \
	lib/io/knock.h \
	lib/io/message.c \
	lib/io/posix.c \
	lib/io/waitpid.c \
	lib/sched/deque.c \
	lib/sched/deque.h \
	lib/sched/lane.c \
	lib/sched/lane.h \
	lib/sched/monitor.c \
	lib/sched/monitor.h \
	lib/sched/pool.c \
	lib/sched/pool.h \
	lib/scope/admit.c \
	lib/scope/attr.c \
	lib/scope/attr.h \
	lib/scope/handle.c \
	lib/scope/light.c \
	lib/scope/light.h \
	lib/scope/look.c \
	lib/scope/nest.c \
	lib/scope/look.h \
	lib/scope/nest.h \
	lib/scope/nursery.c \
	lib/scope/nursery.h \
	lib/scope/report.c \
	lib/scope/service.c \
	lib/scope/spawn.c \
	lib/scope/start.c \
	lib/scope/task.c \
	lib/scope/work.c \
	lib/token/callback.c \
	lib/token/callback.h \
	lib/token/deadline.c \
	lib/token/fd.c \
	lib/token/fd.h \
	lib/token/from_signal.c \
	lib/token/from_signal.h \
	lib/token/interrupt.c \
	lib/token/interrupt.h \
	lib/token/join.c \
	lib/token/join.h \
	lib/token/timer.c \
	lib/token/timer.h \
	lib/token/raise.c \
	lib/token/token.c \
	lib/token/token.h \
	lib/token/tree.c \
	lib/token/tree.h \
	lib/token/vacant.c \
	lib/token/vacant.h \
	lib/token/wait.c \
	lib/token/wait.h
libnursery_core_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/lib

libnursery_la_SOURCES =
libnursery_la_LIBADD = libnursery-core.la
libnursery_la_DEPENDENCIES = libnursery-core.la $(top_srcdir)/lib/nursery.map
libnursery_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/lib/nursery.map -Wl,-z,nodelete -Wl,-Bsymbolic-functions
EXTRA_DIST += lib/nursery.map lib/base/park.pml lib/sched/lane_call.pml \
	lib/token/token_wait.pml lib/token/token_word.pml

include_HEADERS = include/nursery.h
nurseryincludedir = $(includedir)/nursery
nurseryinclude_HEADERS = \
	include/nursery/daemon.h \
	include/nursery/debug.h \
	include/nursery/io.h \
	include/nursery/scope.h \
	include/nursery/time.h \
	include/nursery/token.h
