#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# xsyncstat tells what happens, and what is missing when it can't; its man page
# is one.
. "$(dirname "$0")/lib.sh"

XSYNCSTAT=$LIB_REPO/build/xsyncstat
PAGE=$LIB_REPO/tools/xsyncstat.8
SOURCE=/sys/kernel/debug/speculator-test/0

[ -x "$XSYNCSTAT" ] || make -s -C "$LIB_REPO/tools" >&2 ||
	ksft_skip_all "xsyncstat cannot be built"

out=$(mktemp)
err=$(mktemp)
trap 'rm -f "$out" "$err"' EXIT

# fails STATUS TEXT COMMAND...: COMMAND fails so, and says TEXT on stderr only
fails() {
	local status=$1 text=$2
	shift 2
	"$@" > "$out" 2> "$err"
	[ $? -eq "$status" ] && [ ! -s "$out" ] && grep -q -e "$text" "$err" &&
		return
	echo "# $(cat "$out" "$err")"
	return 1
}

# run ARGS...: its output is in $out, and stderr is empty
run() {
	timeout 60 "$XSYNCSTAT" "$@" > "$out" 2> "$err" && [ ! -s "$err" ] &&
		return
	echo "# $(cat "$err")"
	return 1
}

columns() {
	sed -n 2p "$out"
}

# The rows below the headers.
rows() {
	grep -v -e '^--' -e taint "$out"
}

headers() {
	grep -c '^--' "$out"
}

# --- without modules ---

help_names_every_column() {
	local word text
	text=$("$XSYNCSTAT" --help) || return
	for word in taint fsync outp eager sync timer jrnl put take items KiB \
		rel wait p50ms p99ms; do
		grep -q -w -e "$word" <<< "$text" || return
	done
}

page_names_every_option() {
	local option
	for option in $("$XSYNCSTAT" --help | grep -o -e '--[a-z-]*' | sort -u)
	do
		case $option in
		--help | --version | --device | --no-repeat) ;;
		*) echo "# $option"; return 1 ;;
		esac
		man -l "$PAGE" | col -b | grep -q -e "$option" || return
	done
}

page_renders() {
	MANWIDTH=80 man -l --warnings -Tutf8 "$PAGE" > "$out" 2> "$err" &&
		[ -s "$out" ] && [ ! -s "$err" ]
}

ksft_test "--help names every column" help_names_every_column
ksft_test "--version" "$XSYNCSTAT" --version
if command -v man col > /dev/null; then
	ksft_test "the man page renders without a warning" page_renders
	ksft_test "and names every option" page_names_every_option
else
	ksft_skip "the man page renders without a warning" "no man"
fi
ksft_test "a wrong option" fails 2 "Try 'xsyncstat --help'" "$XSYNCSTAT" -x
ksft_test "a wrong interval" fails 1 "interval 'often'" "$XSYNCSTAT" often
ksft_test "a wrong count" fails 1 "count '0'" "$XSYNCSTAT" 1 0
ksft_test "says that the modules are not loaded" \
	fails 1 "speculator is not loaded" "$XSYNCSTAT" 1 1
ksft_test "says that debugfs is not mounted" \
	fails 1 "mount -t debugfs" \
	unshare -m sh -c 'umount -l /sys/kernel/debug && exec "$0"' "$XSYNCSTAT"
ksft_test "says that one has to be root" \
	fails 1 "only root" setpriv --reuid 65534 --clear-groups "$XSYNCSTAT"

# --- with a source that isn't xsync ---

three_rows() {
	run 0.2 3 && [ "$(headers)" -eq 1 ] && [ "$(rows | wc -l)" -eq 3 ]
}

rows_are_as_wide_as_the_header() {
	local fields
	fields=$(columns | wc -w)
	rows | awk -v n="$fields" 'NF != n { bad = 1 } END { exit bad || !NR }'
}

# A rate that stays below 9.95 has a digit behind the point.
taint_column() {
	rows | awk '{ n += $1 } END { print n + 0 }'
}

nothing_is_seen() {
	run 0.3 1 && [ "$(taint_column)" = 0 ]
}

taints_are_seen() {
	# Children, so that nothing of ours is held or waits.
	(for _ in $(seq 20); do
		sleep 0.1
		read -r < $SOURCE/taint
	done) &
	run 1 2
	wait $!
	[ "$(taint_column)" != 0 ]
}

header_is_repeated() {
	run 0.01 25 && [ "$(headers)" -eq 2 ] &&
		run -n 0.01 25 && [ "$(headers)" -eq 1 ]
}

interrupted_in_order() {
	timeout -s INT 2 "$XSYNCSTAT" 0.5 > "$out" 2> "$err"
	[ $? -eq 124 ] && [ "$(rows | wc -l)" -ge 1 ] && [ ! -s "$err" ]
}

if load_modules speculator testsource; then
	echo 1 > $SOURCE/auto
	ksft_test "three rows" three_rows
	ksft_test "as wide as the header" rows_are_as_wide_as_the_header
	ksft_test "no taint while there is none" nothing_is_seen
	ksft_test "taints while there are some" taints_are_seen
	ksft_test "the header is repeated, or not" header_is_repeated
	ksft_test "stops when it is interrupted" interrupted_in_order
	ksft_test "a device needs xsync" \
		fails 1 "xsync is not loaded" "$XSYNCSTAT" -d sda1
else
	ksft_not_ok "speculator and the test source are loaded"
fi
ksft_test "the modules are unloaded" unload_modules

# --- with an xsync mount ---

commits_are_seen() {
	(for i in $(seq 20); do
		echo "$i" >> $GATE_MNT/file
		sleep 0.1
		# Waits, hence starts the commit: proc is not ours.
		echo stat > /proc/self/comm
	done) &
	run "$@" 1 3
	wait $!
	rows | awk '$1 { taints = 1 } $3 + $4 + $5 + $6 + $7 + $8 { commits = 1 }
		    END { exit !(taints && commits) }'
}

if load_modules && gate_setup xsync; then
	device=$(ls /sys/kernel/debug/xsync)
	ksft_test "taints and commits of an xsync mount" commits_are_seen
	ksft_test "of one device" commits_are_seen -d "$device"
	ksft_test "with a path" run -d "/dev/$device" 0.1 1
	ksft_test "not of another one" \
		fails 1 "not mounted with -o xsync" "$XSYNCSTAT" -d sdz
	ksft_test "the mount is taken down" gate_teardown
else
	ksft_not_ok "an xsync mount"
fi
ksft_test "the modules are unloaded again" unload_modules

ksft_done
