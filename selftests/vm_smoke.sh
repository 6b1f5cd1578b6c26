#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The tools the other tests stand on work: the machine, the gate (on plain
# ext4, without our modules) and the observer.
. "$(dirname "$0")/lib.sh"

fsync_ended_within() {
	local end=$((SECONDS + $1))

	while kill -0 $fsync 2> /dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# In fsync, that is, not in a read on the way to it.
fsync_is_blocked() {
	! fsync_ended_within 3 && grep -q fsync "/proc/$fsync/stack"
}

if [ "$SLOWNESS" -eq 1 ]; then
	ksft_test "the kernel is Debian's" \
		grep -q 'Debian 6\.1\.' /proc/version
else
	ksft_skip "the kernel is Debian's" "a debug kernel"
fi

ksft_test "a file system behind the gate" gate_setup plain
gate_suspend
dd if=/dev/zero of="$GATE_MNT/file" bs=4k count=1 conv=fsync status=none &
fsync=$!
ksft_test "fsync blocks while the gate is shut" fsync_is_blocked
gate_resume
ksft_test "fsync ends after the gate is opened" fsync_ended_within 20
ksft_test "and has succeeded" wait "$fsync"
ksft_test "the gate is taken down" gate_teardown

# The negative control first: nothing is seen that wasn't sent.
ksft_test "nothing is observed before it is sent" \
	not_observed_for udp smoke-udp 1
echo smoke-udp > "/dev/udp/$XSYNC_OBS_HOST/$XSYNC_OBS_UDP"
ksft_test "UDP is observed" wait_observed udp smoke-udp 10
echo smoke-tcp > "/dev/tcp/$XSYNC_OBS_HOST/$XSYNC_OBS_TCP"
ksft_test "TCP is observed" wait_observed tcp smoke-tcp 10
echo smoke-serial > "$XSYNC_SERIAL2"
ksft_test "the serial line is observed" wait_observed serial smoke-serial 10

ksft_done
