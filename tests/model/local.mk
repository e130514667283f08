# The library on a deterministic machine: tests/model/README.md.  The sources
# are the library's own, with the model's side of base/sync.h.  What
# -fsanitize=thread is for here is the call at each memory access; the machine
# answers it, and ThreadSanitizer's library is not linked.
EXTRA_DIST += tests/model/README.md tests/model/mutants.harmless \
	tests/model/plant tests/model/plants

if HAVE_MODEL
check_LIBRARIES = libmodel_engine.a libmodel_nursery.a libmodel_scenarios.a \
	libmodel_zoo.a
check_PROGRAMS += test_model test_model_zoo

MODEL_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/lib \
	-I$(top_srcdir)/tests/model -include config.h -include model_sync.h \
	-U_FORTIFY_SOURCE -DNUR_MODEL -DNUR_CHECKS=1 -DNUR_CHUNK_SIZE=16384 \
	-DNUR_MAGAZINE=4 -DNUR_WALK_SLICE=1 -DNUR_DEQUE_ROOM=4 \
	-DNUR_SEARCHES=1 -DNUR_MOST_SEARCHES=1 -DNUR_KEPT_WORKERS=0 \
	-DNUR_HELP_ROUNDS=2
MODEL_WATCHED = -Dmemset=model_memset -Dmemcpy=model_memcpy \
	-Dmemmove=model_memmove
MODEL_CFLAGS = $(AM_CFLAGS) -fsanitize=thread

libmodel_engine_a_SOURCES = \
	tests/model/atomic.c \
	tests/model/cache.c \
	tests/model/choice.c \
	tests/model/coroutine.c \
	tests/model/crash.c \
	tests/model/engine.h \
	tests/model/explore.c \
	tests/model/heap.c \
	tests/model/model.h \
	tests/model/model_sync.h \
	tests/model/mutex.c \
	tests/model/race.c \
	tests/model/sched.c \
	tests/model/snapshot.c \
	tests/model/trace.c
libmodel_engine_a_CPPFLAGS = $(AM_CPPFLAGS) -U_FORTIFY_SOURCE

libmodel_zoo_a_SOURCES = \
	tests/model/zoo.h \
	tests/model/zoo_life.c \
	tests/model/zoo_limit.c \
	tests/model/zoo_order.c \
	tests/model/zoo_sleep.c
libmodel_zoo_a_CPPFLAGS = $(MODEL_CPPFLAGS) $(MODEL_WATCHED)
libmodel_zoo_a_CFLAGS = $(MODEL_CFLAGS)

# lib/base/clock.c, cpus.c, sync.c, sys.c and where.c and lib/sched/monitor.c
# have their counterpart in sys_model.c.
libmodel_nursery_a_SOURCES = \
	lib/base/fork.c \
	lib/base/signo.c \
	lib/base/slab.c \
	lib/base/task_id.c \
	lib/base/thr.c \
	lib/base/time.c \
	lib/io/blocking.c \
	lib/io/channel.c \
	lib/sched/deque.c \
	lib/sched/lane.c \
	lib/sched/pool.c \
	lib/scope/admit.c \
	lib/scope/attr.c \
	lib/scope/handle.c \
	lib/scope/light.c \
	lib/scope/look.c \
	lib/scope/nest.c \
	lib/scope/nursery.c \
	lib/scope/report.c \
	lib/scope/service.c \
	lib/scope/spawn.c \
	lib/scope/start.c \
	lib/scope/task.c \
	lib/scope/work.c \
	lib/token/callback.c \
	lib/token/deadline.c \
	lib/token/fd.c \
	lib/token/from_signal.c \
	lib/token/interrupt.c \
	lib/token/join.c \
	lib/token/raise.c \
	lib/token/timer.c \
	lib/token/token.c \
	lib/token/tree.c \
	lib/token/vacant.c \
	lib/token/wait.c
libmodel_nursery_a_CPPFLAGS = $(MODEL_CPPFLAGS) $(MODEL_WATCHED)
libmodel_nursery_a_CFLAGS = $(MODEL_CFLAGS)

libmodel_scenarios_a_SOURCES = \
	tests/model/scenario.h \
	tests/model/scn_callback.c \
	tests/model/scn_channel.c \
	tests/model/scn_deque.c \
	tests/model/scn_private.c \
	tests/model/scn_join.c \
	tests/model/scn_nursery.c \
	tests/model/scn_token.c
libmodel_scenarios_a_CPPFLAGS = $(MODEL_CPPFLAGS) $(MODEL_WATCHED)
libmodel_scenarios_a_CFLAGS = $(MODEL_CFLAGS)

test_model_SOURCES = \
	tests/model/sys_model.c \
	tests/model/test_model.c
test_model_CPPFLAGS = $(MODEL_CPPFLAGS)
test_model_LDADD = libmodel_scenarios.a libmodel_nursery.a libmodel_engine.a

test_model_zoo_SOURCES = tests/model/test_model_zoo.c
test_model_zoo_LDADD = libmodel_zoo.a libmodel_engine.a

# The planted builds compile one file anew, as the library was compiled, and
# link it before the rest.
MODEL_PLANTED = CC='$(CC)' BUILD='$(abs_builddir)' \
	COMPILE='$(DEFS) $(DEFAULT_INCLUDES) $(MODEL_CPPFLAGS) $(MODEL_WATCHED) $(MODEL_CFLAGS) $(CPPFLAGS) $(CFLAGS)' \
	SOURCES='$(libmodel_nursery_a_SOURCES) $(libmodel_scenarios_a_SOURCES)'
MODEL_PLANT = $(MODEL_PLANTED) \
	LINK='$(test_model_OBJECTS) $(test_model_LDADD) $(LDFLAGS) $(LIBS)' \
	$(SHELL) $(top_srcdir)/tests/model/plant

# All of it: the machine's own tests, every scenario at its deep bound, with
# threads that keep nothing ready, with older values; every planted bug.
# Parts, for make -j; the deep bounds in two, every second scenario each.
MODEL_PARTS = model-deep-0 model-deep-1 model-plants-all model-bare model-weak \
	model-zoo
model: $(MODEL_PARTS)
model-zoo: test_model_zoo
	@$(MODEL_LOG) test_model_zoo; ./test_model_zoo >$$log 2>&1; $(MODEL_END)
model-deep-0 model-deep-1: test_model
	@$(MODEL_LOG) test_$@; ./test_model -d -p $(@:model-deep-%=%) >$$log 2>&1; \
	    $(MODEL_END)
model-bare: test_model
	@$(MODEL_LOG) test_$@; ./test_model -k >$$log 2>&1; $(MODEL_END)
model-weak: test_model
	@$(MODEL_LOG) test_$@; ./test_model -w 1 >$$log 2>&1; $(MODEL_END)
model-plants-all: test_model
	@$(MODEL_LOG) test_$@; $(MODEL_PLANT) >$$log 2>&1; $(MODEL_END)
model-plants: test_model
	@$(MODEL_PLANT) $(PLANTS)
MODEL_LOG = begin() { log=$$1.log; echo "== $$1"; }; begin
MODEL_END = rc=$$?; cat $$log; exit $$rc
CLEANFILES += test_model-bare.log test_model-deep-0.log test_model-deep-1.log \
	test_model-plants-all.log test_model-weak.log test_model_zoo.log
else
model model-plants:
	@echo "no model in this build: see the summary of configure"
	@false
endif
.PHONY: model model-plants model-deep-0 model-deep-1 model-plants-all \
	model-bare model-weak model-zoo
clean-local:
	rm -rf model-plants.d fuzz-plants.d fuzz.d
