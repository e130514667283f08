# Sequences of calls on the deterministic machine, compared with a reference:
# tests/fuzz/README.md.
EXTRA_DIST += tests/fuzz/README.md tests/fuzz/build-libfuzzer \
	tests/fuzz/fuzz_entry.c \
	tests/fuzz/corpus

if HAVE_MODEL
check_LIBRARIES += libfuzz.a
check_PROGRAMS += fuzz_api

# Not instrumented: it stands beside the threads, and sees one order of all.
libfuzz_a_SOURCES = \
	tests/fuzz/act.c \
	tests/fuzz/fuzz.h \
	tests/fuzz/program.c \
	tests/fuzz/program.h \
	tests/fuzz/ref.h \
	tests/fuzz/ref_channel.c \
	tests/fuzz/ref_scope.c \
	tests/fuzz/reference.c \
	tests/fuzz/reference.h \
	tests/fuzz/run.c \
	tests/fuzz/tasks.c
libfuzz_a_CPPFLAGS = $(MODEL_CPPFLAGS)

fuzz_api_SOURCES = \
	tests/fuzz/fuzz_api.c \
	tests/model/sys_model.c
fuzz_api_CPPFLAGS = $(MODEL_CPPFLAGS) \
	-DFUZZ_CORPUS='"$(abs_top_srcdir)/tests/fuzz/corpus"'
fuzz_api_LDADD = libfuzz.a libmodel_nursery.a libmodel_engine.a

# A long run, guided by what of lib/ it reaches if FUZZ_CC can do that, else by
# lot: make fuzz [FUZZ_SEQUENCES=N] [FUZZ_SEED=N] [FUZZ_CC=clang].
FUZZ_SEQUENCES = 1000000
FUZZ_SEED = 1
fuzz: fuzz_api
	./fuzz_api -v -k 0 -n $(FUZZ_SEQUENCES) -s $(FUZZ_SEED)
fuzz-guided: fuzz_libfuzzer
	mkdir -p fuzz.d/corpus
	./fuzz_libfuzzer -runs=$(FUZZ_SEQUENCES) -seed=$(FUZZ_SEED) \
	    -max_len=160 -artifact_prefix=fuzz.d/ -print_final_stats=1 \
	    fuzz.d/corpus $(top_srcdir)/tests/fuzz/corpus
fuzz_libfuzzer: $(libmodel_engine_a_SOURCES) $(libmodel_nursery_a_SOURCES) \
	$(libfuzz_a_SOURCES) tests/fuzz/fuzz_entry.c tests/model/sys_model.c
	FUZZ_CC='$(FUZZ_CC)' TOP='$(top_srcdir)' \
	FLAGS='$(DEFS) $(DEFAULT_INCLUDES) $(MODEL_CPPFLAGS) $(AM_CFLAGS) $(CPPFLAGS) $(CFLAGS)' \
	WATCHED='$(MODEL_WATCHED)' \
	GUIDED='$(libmodel_nursery_a_SOURCES)' \
	ENGINE='$(libmodel_engine_a_SOURCES)' \
	REST='$(libfuzz_a_SOURCES) tests/fuzz/fuzz_entry.c tests/model/sys_model.c' \
	$(SHELL) $(top_srcdir)/tests/fuzz/build-libfuzzer $@

# The fuzzer finds these, of the bugs of tests/model/plants.
FUZZ_PLANTS = born-live both-drop-the-queued cause-overwritten \
	closed-takes-tasks discarded-uncounted done-not-serial drained-unseen \
	failure-beats-success last-error-wins last-light-one-tells-nobody \
	member-turned-away refused-and-discarded release-without-lock \
	remove-does-not-wait shared-without-lock unpark-looks-first
FUZZ_BUDGET = 20000
FUZZ_PLANT = $(MODEL_PLANTED) FUZZ=$(FUZZ_BUDGET) \
	LINK='$(fuzz_api_OBJECTS) $(fuzz_api_LDADD) $(LDFLAGS) $(LIBS)' \
	$(SHELL) $(top_srcdir)/tests/model/plant $(FUZZ_PLANTS)
fuzz-plants: fuzz_api
	@$(FUZZ_PLANT)
model: fuzz-plants-all
fuzz-plants-all: fuzz_api
	@$(MODEL_LOG) test_$@; $(FUZZ_PLANT) >$$log 2>&1; $(MODEL_END)
CLEANFILES += test_fuzz-plants-all.log
else
fuzz fuzz-guided fuzz-plants:
	@echo "no model in this build: see the summary of configure"
	@false
endif
.PHONY: fuzz fuzz-guided fuzz-plants fuzz-plants-all
CLEANFILES += fuzz_libfuzzer
