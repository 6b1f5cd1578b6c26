#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: host timeout=400
# tools/vm/vm itself: what its exit status says can be relied upon.
. "$(dirname "$0")/lib.sh"

cd "$LIB_REPO" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# vm STATUS ARGS...: run a machine, expect this exit status
vm() {
	local expected=$1 status
	shift

	tools/vm/vm "$@" > "$work/output" 2>&1
	status=$?
	[ $status = "$expected" ] && return
	echo "# exit status $status instead of $expected:"
	sed 's/^/# /' "$work/output"
	return 1
}

printed() {
	grep -q "$1" "$work/output"
}

ksft_test "the command's exit status is passed on" \
	vm 42 -- bash -c 'echo out; echo err >&2; exit 42'
ksft_test "and its stdout" printed '^out$'
ksft_test "and its stderr" printed '^err$'

ksft_test "a warning of the kernel fails the run" \
	vm 125 -- bash -c 'echo "WARNING: fake" > /dev/kmsg'
ksft_test "and is shown" printed '^> .*WARNING: fake'
ksft_test "a warning that is expected doesn't" \
	vm 0 --expect 'WARNING: fa.e' -- \
	bash -c 'echo "WARNING: fake" > /dev/kmsg'

ksft_test "a machine that hangs is ended" \
	vm 124 --timeout 60 --scratch 1G --console-log "$work/console" -- \
	bash -c '. selftests/lib.sh; gate_setup plain; gate_suspend;
		dd if=/dev/zero of=$GATE_MNT/file count=1 conv=fsync'
ksft_test "and its blocked tasks are shown" printed 'task:dd .*state:D'
ksft_test "and all its tasks are in the console's log" \
	grep -q 'task:systemd\|task:bash' "$work/console"

# A power cut, as soon as the command runs.
mkdir "$work/share"
(
	until [ -e "$work/share/running" ]; do sleep 0.1; done
	kill -9 "$(cat "$work/pid")"
) &
ksft_test "a power cut is told from an end" \
	vm 137 --pidfile "$work/pid" --share "$work/share" -- \
	bash -c 'touch $XSYNC_SHARE/running; sleep 1000'

ksft_done
