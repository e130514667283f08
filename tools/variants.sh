#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and tests the variants, each in build/NAME: tools/variants.sh [NAME ...]
# Prints one line a variant; exits 1 if one failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
top=$PWD
jobs=$(nproc)

configure_and() { # configure_and NAME OPTIONS -- COMMAND
	local name=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	rm -rf "build/$name"
	mkdir -p "build/$name"
	(cd "build/$name" && "$top/configure" "${options[@]}" && make -j"$jobs" &&
	    "$@")
}

run_gcc() { configure_and gcc CC=gcc --enable-werror -- make -j"$jobs" check VERBOSE=1; }
run_clang() { configure_and clang CC=clang CXX=clang++ --enable-werror -- make -j"$jobs" check VERBOSE=1; }
run_checks() { configure_and checks --enable-checks -- make -j"$jobs" check VERBOSE=1; }
run_asan() {
	configure_and asan --disable-shared --with-sanitizer=address,undefined -- \
	    env ASAN_OPTIONS=detect_stack_use_after_return=1 \
	    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 make -j"$jobs" check VERBOSE=1
}
run_tsan() {
	configure_and tsan --disable-shared --with-sanitizer=thread -- \
	    setarch -R make -j"$jobs" check VERBOSE=1
}
run_model() { configure_and model --enable-werror -- make model; }
run_headers() {
	local h rc=0
	for h in include/nursery.h include/nursery/*.h; do
		gcc -std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c "$h" || rc=1
		g++ -std=c++17 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ "$h" || rc=1
		clang -std=gnu11 -Wall -Wextra -Werror -Iinclude -Wno-pragma-once-outside-header -fsyntax-only -x c "$h" || rc=1
	done
	return $rc
}
run_symbols() { # the library exports what the map names, and nothing else
	make -C build/gcc -j"$jobs" >/dev/null &&
	    diff <(sed -n 's/^[[:space:]]*\(nursery_[a-z0-9_]*\);.*/\1/p' lib/nursery.map | sort) \
	    <(nm -D --defined-only build/gcc/.libs/libnursery.so | sed -n 's/.* [TDBR] \(nursery_[a-z0-9_]*\).*/\1/p' | sort)
}
run_distcheck() { configure_and dist -- make -j"$jobs" distcheck DISTCHECK_CONFIGURE_FLAGS=--disable-static; }
run_manual() { mandoc -Tlint -Wwarning man/*.[0-9]; }
run_demo() { ./quickstart demo; }

variants="gcc clang checks asan tsan model headers symbols"
compgen -G 'man/*.[0-9]' >/dev/null && variants="$variants manual"
[ -e examples/httpd.c ] && variants="$variants demo"
variants="$variants distcheck"
[ $# -eq 0 ] || variants="$*"
[ -x configure ] || ./bootstrap >/dev/null 2>&1 || exit 1
mkdir -p build
failed=0
for v in $variants; do
	if "run_$v" >"build/$v.log" 2>&1; then
		echo "variant $v: passed"
	else
		echo "variant $v: FAILED; the end of build/$v.log:"
		tail -n 40 "build/$v.log"
		failed=1
	fi
done
exit $failed
