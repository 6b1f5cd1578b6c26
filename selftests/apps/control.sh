#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# The negative control of this folder: programs that do differ on an xsync mount,
# each of which must fail in its row and in no other.

. "$(dirname "$0")/lib.sh"

on_xsync() {
	grep -q "^$GATE_DEV .*xsync" /proc/mounts
}

agrees() { echo result; }

differs() { on_xsync && echo one || echo two; }

fails() {
	echo result
	! on_xsync
}

slow() {
	echo result
	! on_xsync || sleep 30
}

damages() {
	echo result
	! on_xsync || debugfs -w -R 'sif dir links_count 77' "$GATE_DEV" >&2
}

silent() { :; }

# expect APP [ROW]
expect() {
	local said=$APPS_OUT-$1.said

	(
		# shellcheck disable=SC2034
		KSFT_RESULTS=0 KSFT_FAILED=0
		eval "app() { $1; }"
		# shellcheck disable=SC2034
		APPS_SLACK=8 APPS_OUT+=-$1
		compare_mounts
	) >"$said" 2>&1
	row "$1: ${2:-nothing} is found" "$said" \
		[ "$(sed -n 's/^not ok [0-9]* //p' "$said")" = "${2:-}" ]
}

expect agrees
expect differs "xsync has the results of plain ext4"
expect fails "xsync: all ran"
expect slow "xsync takes no more than $APPS_FACTOR times as long"
expect damages "xsync: the file system is clean"
expect silent "there are results"
ksft_done
