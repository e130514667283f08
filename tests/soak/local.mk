# Random trees of nurseries under random traffic: tests/soak/soak.h.  It uses
# the public interface only, and no Check, which not every C library has.
# make check runs a few rounds; tools/soak runs it for long, in many builds.
check_PROGRAMS += soak
soak_SOURCES = \
	tests/soak/atom.h \
	tests/soak/channel.c \
	tests/soak/forks.c \
	tests/soak/ledger.c \
	tests/soak/link.c \
	tests/soak/link.h \
	tests/soak/outside.c \
	tests/soak/play.c \
	tests/soak/soak.c \
	tests/soak/soak.h \
	tests/soak/stream.c \
	tests/soak/tickets.c \
	tests/soak/tree.c \
	tests/soak/work.c
soak_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE -I$(top_srcdir)/lib
soak_LDADD = libnursery.la
