#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and tests the variants, each in build/NAME with its log in
# build/NAME.log.  One line a variant; the last line counts the tests that ran
# in them and the variants themselves.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
top=$PWD
jobs=$(nproc)
# A variant that hangs must not hang the rest, and a slow
# machine must not be taken for one that hangs.
limit=2400

# Name, Debian packages beyond those of quickstart, what it shows.
table() {
	cat <<'TABLE'
gcc|wrk libglib2.0-dev libuv1-dev libev-dev|gcc without a warning, static and shared, the tests
clang|clang wrk|clang without a warning, static and shared, the tests
checks|wrk|lock ranks and invariants verified while the tests run
asan|wrk|the tests under AddressSanitizer, LeakSanitizer and UBSan
tsan|wrk|the tests under ThreadSanitizer
model||the library's own code under the deterministic scheduler
valgrind|valgrind|a subset of the tests under memcheck: a leak is an error
headers|g++ clang|each public header alone, as gnu11 and C++17
floors|binutils|lib/ includes and calls downwards only
api|binutils mandoc|what is exported, declared, mapped and documented agrees
manual|mandoc|the manual pages lint clean
scripts|shellcheck|shellcheck over every script
install||README by hand: build, install, a program with pkg-config
demo||./quickstart demo
distcheck|xz-utils|the release tarball builds and passes without git
TABLE
}

usage() {
	cat <<'USAGE'
usage: tools/variants.sh [NAME ...]      these variants, or all
       tools/variants.sh --list          what there is
       tools/variants.sh --packages      Debian packages that they need
       tools/variants.sh --show NAME     one variant, its log on the terminal
USAGE
}

say_and_fail() {
	echo "$*"
	return 1
}

built() { # built NAME [CONFIGURE-OPTION ...]
	local name=$1
	shift
	rm -rf "build/$name"
	mkdir -p "build/$name"
	(cd "build/$name" && "$top/configure" "$@")
	make -C "build/$name" -j"$jobs"
}

# Some variants look at a finished plain build; another one may have left it.
plain_build() {
	[ -e build/gcc/config.status ] || built gcc CC=gcc --enable-werror
	make -C build/gcc -j"$jobs"
}

counted() { # counted FOLDER: tests ran there, and none failed
	tools/test-counts "$1" | grep -E '^[1-9][0-9]* passed, 0 failed$' ||
	    say_and_fail "no test ran, or one failed"
}

# What may be skipped where: test_lock is about what only a checks build has,
# functional about signals in time, which ThreadSanitizer withholds,
# test_api about the shared library.
may_skip() { # may_skip NAME TEST
	case $2 in
	test_lock) [ "$1" != checks ] ;;
	functional) [ "$1" = tsan ] ;;
	test_api) ! compgen -G "build/$1/.libs/libnursery.so" >/dev/null ;;
	*) false ;;
	esac
}

tested() { # tested NAME [ENV ...]: make check; a test skipped is a failure
	local name=$1 t
	shift
	env "$@" make -C "build/$name" -j"$jobs" check VERBOSE=1
	counted "build/$name"
	grep -rl --include='*.trs' '^:test-result: SKIP' "build/$name" >"build/$name/skipped" || true
	while read -r t; do
		t=$(basename "$t" .trs)
		may_skip "$name" "$t" || say_and_fail "skipped: $t"
	done <"build/$name/skipped"
}

linked_with() { # linked_with NAME SYMBOL: what the variant is for is there
	local t
	for t in "build/$1"/test_*.trs; do
		t=${t%.trs}
		[ -x "$t" ] || continue
		[ "$(nm "$t" | grep -c " $2\$")" -gt 0 ] ||
		    say_and_fail "$t has no $2"
	done
}

memcheck="valgrind --quiet --leak-check=full --error-exitcode=99 \
    --errors-for-leak-kinds=definite,possible --suppressions=$top/tools/valgrind.supp"

# A token that is forgotten lies in a slab: only the library's own notes tell
# memcheck that it is lost.
notices_a_leak() {
	local rc=0
	printf '%s\n' '#include <nursery.h>' 'static struct nursery_token *t;' \
	    'int main(void) { int rc = nursery_token_new(&t, 0); t = 0; return rc; }' \
	    >build/valgrind/leak.c
	gcc -g -pthread -Iinclude build/valgrind/leak.c \
	    build/valgrind/.libs/libnursery.a -o build/valgrind/leak
	build/valgrind/leak
	$memcheck build/valgrind/leak || rc=$?
	[ "$rc" = 99 ] || say_and_fail "a leaked token goes unnoticed"
}

# Each test in its own process, whose leaks are its errors.  Left out: what
# says how long something may take; the model, which switches stacks; what runs
# itself again, which valgrind cannot; test_fork, whose children leave what they
# inherited; test_where, for the kernel sees threads wait for valgrind; stress, long under memcheck and done under AddressSanitizer.
under_memcheck() {
	local t tests=
	notices_a_leak
	make -C build/valgrind -j"$jobs" check TESTS=
	for t in build/valgrind/test_*; do
		t=${t##*/}
		case $t in
		*.* | test_cost | test_fork | test_lock | test_model* | test_signals | \
			test_where) ;;
		*) tests="$tests $t" ;;
		esac
	done
	# Memcheck is some twenty times slower, and so are the timeouts.
	CK_TIMEOUT_MULTIPLIER=20 make -C build/valgrind -j"$jobs" check \
	    VERBOSE=1 TESTS="$tests" LOG_COMPILER="$memcheck"
	counted build/valgrind
}

headers_alone() {
	local h
	for h in include/nursery.h include/nursery/*.h; do
		echo "$h"
		for cc in gcc clang; do
			$cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror \
			    -Iinclude -fsyntax-only -x c - <<<"#include \"${h#include/}\""
		done
		for cxx in g++ clang++; do
			$cxx -std=c++17 -Wall -Wextra -Wpedantic -Werror \
			    -Iinclude -fsyntax-only -x c++ - <<<"#include \"${h#include/}\""
		done
	done
}

sources() { # the files of this tree, one a line, without what is generated
	git ls-files -co --exclude-standard 2>/dev/null ||
	    find . \( -path ./.git -o -path ./build -o -path ./build-aux -o -path ./m4 \
	    -o -path ./autom4te.cache \) -prune -o -type f -not -name configure \
	    -not -name 'configure~' -not -name 'aclocal.m4' \
	    -not -name Makefile.in -not -name 'config.h.in*' -printf '%P\n'
}

scripts_lint() {
	local scripts
	mapfile -t scripts < <(sources | xargs -d '\n' grep -lE '^#! ?/(usr/)?bin/(env )?(ba)?sh' --)
	[ "${#scripts[@]}" -ge 5 ] || say_and_fail "too few scripts found: ${scripts[*]}"
	shellcheck --version
	shellcheck --severity=warning --external-sources \
	    --source-path=SCRIPTDIR "${scripts[@]}"
	echo "${#scripts[@]} scripts: ${scripts[*]}"
}

# What README tells a newcomer to type, typed, in a copy of the sources; then
# README's program, built by pkg-config against what was installed.
by_hand() {
	local work=$top/build/install root flags
	rm -rf "$work"
	mkdir -p "$work/source"
	root=$work/root
	sources | tar cf - --no-recursion -T - | tar xf - -C "$work/source"
	awk '/^## / { in_part = $0 == "## Building by hand" }
	    /^```/ { in_code = !in_code; next }
	    in_part && in_code' README.md >"$work/commands"
	cat "$work/commands"
	grep -q '\./bootstrap' "$work/commands"
	grep -q 'make check' "$work/commands"
	grep -q 'make install' "$work/commands"
	(cd "$work/source" && DESTDIR=$root MAKEFLAGS=-j$jobs sh -e "$work/commands")
	counted "$work/source"

	diff <(cd include && find . -name '*.h' | sort) \
	    <(cd "$root/usr/local/include" && find . -name '*.h' | sort)
	readelf -d "$root/usr/local/lib/libnursery.so" >"$work/dynamic"
	grep 'SONAME.*libnursery.so.0' "$work/dynamic"
	grep 'NODELETE' "$work/dynamic"

	export PKG_CONFIG_LIBDIR=$root/usr/local/lib/pkgconfig
	export PKG_CONFIG_SYSROOT_DIR=$root
	pkg-config --validate libnursery
	flags=$(pkg-config --cflags --libs libnursery)
	echo "$flags"
	for f in -pthread -fexceptions; do
		[[ " $flags " == *" $f "* ]] || say_and_fail "pkg-config misses $f"
	done
	{
		awk '/^```c$/ { in_code = 1; next }
		    /^```/ { in_code = 0 }
		    in_code' README.md
		cat tests/install/main.c
	} >"$work/program.c"
	# shellcheck disable=SC2086
	gcc -std=gnu11 -Wall -Wextra -Werror "$work/program.c" -o "$work/shared" $flags
	flags=$(pkg-config --static --cflags --libs libnursery)
	# shellcheck disable=SC2086
	gcc -std=gnu11 -Wall -Wextra -Werror -static "$work/program.c" -o "$work/static" $flags
	readelf -d "$work/shared" | grep 'NEEDED.*libnursery.so.0'
	readelf -d "$work/static" | grep 'no dynamic section'
	NURSERY_DUMP_SIGNAL=USR1 LD_LIBRARY_PATH=$root/usr/local/lib "$work/shared"
	NURSERY_DUMP_SIGNAL=USR1 "$work/static"
}

# A tarball is a whole project too: README's commands work in it.
from_tarball() {
	tar xf build/distcheck/libnursery-*.tar.xz -C build/distcheck
	(
		cd build/distcheck/libnursery-*/
		export GIT_DIR=/nonexistent
		./quickstart check >check.out || { cat check.out; false; }
		counted build/quickstart
		[ ! -e examples/httpd.c ] || ./quickstart demo
	)
}

variant() { # the work of one, under set -e
	case $1 in
	gcc)
		built gcc CC=gcc --enable-werror
		tested gcc
		;;
	clang)
		built clang CC=clang CXX=clang++ --enable-werror
		tested clang
		;;
	checks)
		built checks --enable-checks --disable-static
		grep '^#define NUR_CHECKS 1$' build/checks/config.h
		tested checks
		;;
	asan)
		built asan --with-sanitizer=address,undefined --disable-static
		tested asan ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1 \
		    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
		linked_with asan __asan_init
		;;
	tsan)
		built tsan --with-sanitizer=thread --disable-static
		# Gcc 12's needs addresses where they always were; the tests
		# start threads in forked children.
		tested tsan \
		    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0 \
		    setarch -R
		linked_with tsan __tsan_init
		;;
	model)
		built model --disable-shared
		make -C build/model -j"$jobs" model
		counted build/model
		;;
	valgrind)
		built valgrind --disable-shared CFLAGS='-g -O1'
		grep '^#define HAVE_VALGRIND_MEMCHECK_H 1$' build/valgrind/config.h
		under_memcheck
		;;
	headers) headers_alone ;;
	floors)
		plain_build
		tools/check-floors build/gcc
		;;
	api)
		plain_build
		tools/check-api build/gcc
		;;
	manual) mandoc -Tlint -Wwarning man/*.[0-9] ;;
	scripts) scripts_lint ;;
	install) by_hand ;;
	demo) ./quickstart demo ;;
	distcheck)
		built distcheck
		GIT_DIR=/nonexistent make -C build/distcheck -j"$jobs" distcheck VERBOSE=1 \
		    DISTCHECK_CONFIGURE_FLAGS=--disable-static |
		    tee build/distcheck/out
		grep -E '^# PASS: +[1-9]' build/distcheck/out
		from_tarball
		;;
	esac
}

# Not every variant exists before its part of the tree does.
here() {
	case $1 in
	api) [ -x tools/check-api ] ;;
	model) [ -d tests/model ] ;;
	manual) compgen -G 'man/*.[0-9]' >/dev/null ;;
	demo) [ -e examples/httpd.c ] ;;
	esac
}

names() {
	local name rest
	while IFS='|' read -r name rest; do
		here "$name" && echo "$name"
	done < <(table)
}

field() { # field NAME N: a column of the table
	table | awk -F'|' -v name="$1" -v n="$2" '$1 == name { print $n }'
}

known() {
	local name all
	all=" $(names | xargs) "
	for name; do
		[[ $all == *" $name "* ]] || {
			echo "variants.sh: '$name' is no variant; there are:$all" >&2
			exit 2
		}
	done
}

bootstrapped() {
	[ -x configure ] && [ -z "$(find configure.ac Makefile.am lib examples \
	    man tests tools \( -name configure.ac -o -name Makefile.am -o \
	    -name local.mk \) -newer configure)" ]
}

case ${1-} in
--list)
	for v in $(names); do
		printf '%-10s %s\n' "$v" "$(field "$v" 3)"
	done
	exit 0
	;;
--packages)
	for v in $(names); do
		field "$v" 2
	done | xargs -n1 | sort -u
	exit 0
	;;
--show)
	[ $# -eq 2 ] || { usage >&2; exit 2; }
	known "$2"
	set -e
	bootstrapped || ./bootstrap
	variant "$2"
	exit 0
	;;
-h | --help)
	usage
	exit 0
	;;
-*)
	echo "variants.sh: unknown option $1" >&2
	usage >&2
	exit 2
	;;
esac

known "$@"
[ $# -gt 0 ] || mapfile -t chosen < <(names)
[ $# -eq 0 ] || chosen=("$@")
mkdir -p build

passed=0
failed=0
begin=$SECONDS
for v in "${chosen[@]}"; do
	start=$SECONDS
	find "build/$v" -name '*.trs' -delete 2>/dev/null
	if timeout --kill-after=10 "$limit" "$0" --show "$v" \
	    >"build/$v.log" 2>&1 </dev/null; then
		result=passed
		passed=$((passed + 1))
	else
		result=FAILED
		failed=$((failed + 1))
	fi
	tests=
	if [ -d "build/$v" ]; then
		tests=$(tools/test-counts "build/$v")
		passed=$((passed + ${tests%% *}))
		tests=${tests#*, }
		failed=$((failed + ${tests%% *}))
		tests=$(tools/test-counts "build/$v")
	fi
	[ "$tests" != "0 passed, 0 failed" ] || tests=
	echo "variant $v: $result in $((SECONDS - start)) s${tests:+ (tests: $tests)}"
	[ $result = passed ] || {
		echo "of build/$v.log, without what make says of itself:"
		grep -vE '^(  (CC|CCLD|CXX|CXXLD|AR|GEN) |make(\[[0-9]+\])?: (Enter|Leav)ing|(PASS|# [A-Z]*): |checking |rm -f )' \
		    "build/$v.log" | tail -n 80
	}
done
echo "variants took $((SECONDS - begin)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
