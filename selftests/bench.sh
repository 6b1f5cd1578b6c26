#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: host timeout=900
# tools/bench: results repeat, the simulated disk takes its time, and xsync does
# not wait for it.
. "$(dirname "$0")/lib.sh"

cd "$LIB_REPO" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# bench STATUS ARGS...: run benchmarks, expect this exit status
bench() {
	local expected=$1 status
	shift

	tools/bench/bench -o "$work/csv" "$@" >"$work/output" 2>&1
	status=$?
	sed 's/^/# /' "$work/output"
	[ $status = "$expected" ]
}

# is MOUNT EXPRESSION: awk's, about the row of this mount
is() {
	awk -F , -v mount="$1" '
		$3 == "ordered" { ordered = $4 }
		$3 == mount { found = 1; time = $4; commits = $6; flushes = $8
			if (!('"$2"')) exit 1 }
		END { if (!found) exit 1 }' "$work/csv"
}

ksft_test "two runs take the same virtual time" \
	bench 0 -r 2 -w sqlite:delete -d hdd -m ordered,xsync
ksft_test "200 transactions are at least 200 commits and 400 flushes" \
	is ordered 'commits >= 200 && flushes >= 400'
ksft_test "a FLUSH takes a turn of the disk" \
	is ordered 'time >= flushes * 0.00833'
ksft_test "xsync waits for none" is xsync 'time < ordered / 20'
ksft_test "a workload that fails is told" \
	bench 1 -w fails -d hdd -m ordered

ksft_done
