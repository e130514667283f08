# SPDX-License-Identifier: MIT
# Programs to copy from.
noinst_PROGRAMS += examples/httpd

examples_httpd_SOURCES = \
	examples/httpd-conn.c \
	examples/httpd-file.c \
	examples/httpd-request.c \
	examples/httpd.c \
	examples/httpd.h
examples_httpd_LDADD = libnursery.la
EXTRA_DIST += tools/demo
