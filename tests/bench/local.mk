# Benchmarks: `make bench`.  Not part of `make check`: they judge the machine
# as much as the library.  Each peer is compared with when configure found it.
EXTRA_PROGRAMS += bench_compute bench_io bench_scope bench_token bench_wait
EXTRA_LTLIBRARIES += libbench.la libbench_omp.la libbench_tbb.la
EXTRA_DIST += \
	tests/bench/httpd-nginx \
	tests/bench/httpd-nginx.conf \
	tests/bench/poll-object \
	tests/bench/poll_loop.c
CLEANFILES += $(EXTRA_PROGRAMS)

BENCH_FLAGS = $(AM_CPPFLAGS)
BENCH_LIBS = libbench.la libnursery.la
if HAVE_NSYNC
BENCH_FLAGS += -DBENCH_NSYNC
BENCH_LIBS += -lnsync
endif
if HAVE_GIO
BENCH_FLAGS += -DBENCH_GLIB
BENCH_LIBS += $(GIO_LIBS)
endif
if HAVE_TBB
BENCH_FLAGS += -DBENCH_TBB
BENCH_LIBS += libbench_tbb.la $(TBB_LIBS) -lstdc++
endif

# Which only the compute lane is compared with.
BENCH_OMP_LIBS =
if HAVE_OPENMP
BENCH_FLAGS += -DBENCH_OMP
BENCH_OMP_LIBS += libbench_omp.la $(OPENMP_CFLAGS)
endif

libbench_la_SOURCES = \
	tests/bench/bench.c \
	tests/bench/bench.h \
	tests/bench/peers.h \
	tests/bench/sleepers.c \
	tests/bench/sleepers.h \
	tests/bench/trees.c \
	tests/bench/trees.h
if HAVE_GIO
libbench_la_SOURCES += tests/bench/peer_glib.c
endif
if HAVE_NSYNC
libbench_la_SOURCES += tests/bench/peer_nsync.c
endif
libbench_la_CPPFLAGS = $(BENCH_FLAGS)
libbench_la_CFLAGS = $(AM_CFLAGS) $(GIO_CFLAGS)

# Apart, so that a machine without a C++ compiler builds the rest.
libbench_tbb_la_SOURCES = tests/bench/peer_tbb.cc
libbench_tbb_la_CPPFLAGS = $(BENCH_FLAGS)
libbench_tbb_la_CXXFLAGS = $(AM_CXXFLAGS) $(TBB_CFLAGS)

libbench_omp_la_SOURCES = tests/bench/peer_omp.c
libbench_omp_la_CPPFLAGS = $(BENCH_FLAGS)
libbench_omp_la_CFLAGS = $(AM_CFLAGS) $(OPENMP_CFLAGS)

bench_compute_SOURCES = tests/bench/bench_compute.c
bench_compute_CPPFLAGS = $(BENCH_FLAGS)
bench_compute_LDADD = $(BENCH_OMP_LIBS) $(BENCH_LIBS)

bench_io_SOURCES = tests/bench/bench_io.c
bench_io_CPPFLAGS = $(BENCH_FLAGS)
bench_io_LDADD = $(BENCH_LIBS)

bench_scope_SOURCES = tests/bench/bench_scope.c
bench_scope_CPPFLAGS = $(BENCH_FLAGS)
bench_scope_LDADD = $(BENCH_LIBS)

bench_token_SOURCES = tests/bench/bench_token.c
bench_token_CPPFLAGS = $(BENCH_FLAGS)
bench_token_LDADD = $(BENCH_LIBS)

bench_wait_SOURCES = tests/bench/bench_wait.c
bench_wait_CPPFLAGS = $(BENCH_FLAGS)
bench_wait_LDADD = $(BENCH_LIBS)

# All run even when one misses a bar; BENCH_ARGS goes to the programs.
bench: bench_compute bench_io bench_scope bench_token bench_wait
	@rc=0; \
	CC="$(CC)" OBJDUMP="$(OBJDUMP)" \
	    $(srcdir)/tests/bench/poll-object || rc=1; \
	./bench_token $(BENCH_ARGS) || rc=1; \
	./bench_scope $(BENCH_ARGS) || rc=1; \
	./bench_wait $(BENCH_ARGS) || rc=1; \
	./bench_io $(BENCH_ARGS) || rc=1; \
	./bench_compute $(BENCH_ARGS) || rc=1; \
	exit $$rc

# The same figures as bars: bench.svg, drawn from what each program has put into a .csv.
bench-plot: bench_compute bench_io bench_scope bench_token bench_wait
	for b in bench_token bench_scope bench_wait bench_io bench_compute; do \
		./$$b --csv $(BENCH_ARGS) >$$b.csv || exit 1; \
	done
	$(srcdir)/tools/plot-bench bench_*.csv >bench.svg
CLEANFILES += bench.svg bench_compute.csv bench_io.csv bench_scope.csv \
	bench_token.csv bench_wait.csv
.PHONY: bench bench-plot
