# SPDX-License-Identifier: MIT
# What the tests and load scripts of httpd share; sourced.  The program is
# $HTTPD, else the one built below the current folder.
httpd=${HTTPD:-./examples/httpd}
for need in curl "$httpd"; do
	if ! command -v "$need" >/dev/null 2>&1; then
		echo "skipped: $need is missing"
		exit 77
	fi
done
work=$(mktemp -d)
server=
children=()
port=

cleanup() {
	local pid
	# A child of this shell that is killed early comes here, too.
	[ "$BASHPID" = "$$" ] || return
	for pid in $server "${children[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

die() {
	echo "$0: $*" >&2
	exit 1
}

# until_true SECONDS COMMAND...: runs it again and again; 1 when it never held
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# start [OPTION...] ROOT: a server on a free port; sets server and port
start() {
	: >"$work/out"
	: >"$work/err"
	NURSERY_DUMP_SIGNAL=USR1 $wrapper "$httpd" -l "${address:-127.0.0.1}:0" "$@" \
	    >"$work/out" 2>"$work/err" &
	server=$!
	until_true 20 grep -q '^listening on ' "$work/out" ||
	    die "no server: $(cat "$work/err")"
	port=$(sed -n 's/^listening on .*://p' "$work/out")
	url=http://${address:-127.0.0.1}:$port
}
wrapper=

# stopped: waits for the server's end; its exit status is in $status
stopped() {
	status=0
	wait "$server" 2>/dev/null || status=$?
	server=
}

# Sends SIGTERM, waits.
stop() {
	kill -TERM "$server"
	stopped
}

heads() { grep -c '^nursery "httpd"' "$work/err"; }
has_heads() { [ "$(heads)" -ge "$1" ]; }

# tree: the tree of nurseries and tasks.  The dump has no end mark, but the
# next one begins only after it.
tree() {
	local n
	n=$(heads)
	kill -USR1 "$server"
	until_true 10 has_heads $((n + 1)) || die "no dump"
	kill -USR1 "$server"
	until_true 10 has_heads $((n + 2)) || die "no second dump"
	awk -v n=$((n + 1)) '/^nursery "httpd"/ { seen++ }
	    seen == n && !/^httpd: / && !/^Sanitizer/' "$work/err"
}

# How many tasks wait in one of these calls (an extended expression).
tasks_in() { tree | grep -cE "task .* in ($1)\\(fd"; }
tasks_are() { [ "$(tasks_in "$1")" = "$2" ]; }
# How many connections there are.
connections() { tree | sed -n 's/^ *nursery "connections".* running \([0-9]*\).*/\1/p'; }
connections_are() { [ "$(connections)" = "$1" ]; }
