# SPDX-License-Identifier: MIT
# httpd under real clients.  functional is part of `make check`; the accept-*
# scripts put load on it, and are run by hand or by tools/variants.sh.
noinst_PROGRAMS += tests/httpd/callers tests/httpd/no-openat2
TESTS += tests/httpd/functional
EXTRA_DIST += \
	tests/bench/httpd-nginx \
	tests/bench/httpd-nginx.conf \
	tests/httpd/accept-callers \
	tests/httpd/accept-drain \
	tests/httpd/accept-wrk \
	tests/httpd/functional \
	tests/httpd/lib.sh

tests_httpd_callers_SOURCES = tests/httpd/callers.c
tests_httpd_no_openat2_SOURCES = tests/httpd/no-openat2.c
