#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own smp=2 timeout=900
#
# Mixed load while modules and mounts come and go, for XSYNC_STRESS_SECONDS (60
# by default): nothing hangs, nothing is refused, and the kernel has nothing to
# say. The full five minutes:
#
#	tools/vm/vm --smp 2 --mem 2560 --scratch 1G --observe /tmp/observed \
#		--timeout 900 -- env XSYNC_STRESS_SECONDS=300 selftests/stress.sh
. "$(dirname "$0")/lib.sh"

DURATION=${XSYNC_STRESS_SECONDS:-60}
CYCLE=10			# seconds of load between mount and umount
BOUND=$((150 * SLOWNESS))	# for anything that has to end: emulation is slow
TOP=/mnt/stress
SMALL=/mnt/small
GO=/run/stress-go		# see stress_load.py
TESTSOURCE=/sys/kernel/debug/speculator-test/0
LOAD=$LIB_REPO/selftests/stress_load.py
SAID=/run/stress-said		# .lasting, .passing: what the loads said

# Stay there while the modules are not.
LASTING="pipes splice unix tcp udp outside serial pty processes waiters sleepers"
# Hold files of the mount open.
PASSING="files files readers"

declare -A failed		# what failed: how often
cycles=0
mounts=0

# try WHAT COMMAND...: count a failure, and show what is blocked after a timeout
try() {
	local what=$1 status began=$SECONDS
	shift
	timeout -k 5 $BOUND "$@"
	status=$?
	[ $((SECONDS - began)) -lt 20 ] ||
		echo "# '$*' took $((SECONDS - began)) s"
	[ $status -eq 0 ] && return
	((++failed[$what]))
	echo "# $what: '$*' failed with status $status"
	if [ $status -ge 124 ]; then
		echo w > /proc/sysrq-trigger
		dmesg | tail -n 60 | sed 's/^/# /'
	fi
	return 1
}

# insmod through try, which runs programs only
load() {
	try insmod insmod "$LIB_REPO/$1.ko"
}

# Somebody may just be looking at a file: not an error, but not for ever.
unmount() {
	local i
	for ((i = 0; i < 200; i++)); do
		umount "$1" 2> /dev/null && return
		sleep 0.1
	done
	try umount umount "$1" || who_is_there "$1"
}

who_is_there() {
	local fd
	for fd in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd; do
		case $(readlink "$fd") in
		"$1"*) echo "# $fd: $(tr '\0' ' ' < "${fd%%/fd*}/cmdline")" ;;
		esac
	done
}

unload() {
	local i
	for ((i = 0; i < 100; i++)); do
		[ -d "/sys/module/$1" ] || return 0
		[ "$(cat "/sys/module/$1/refcnt")" -eq 0 ] && break
		sleep 0.1
	done
	try rmmod rmmod "$1"
}

stop_loads() {
	local pid=$1 i
	kill "$pid"
	for ((i = 0; i < (BOUND + 30) * 10; i++)); do
		kill -0 "$pid" 2> /dev/null || { wait "$pid"; return; }
		sleep 0.1
	done
	((++failed[hang]))
	return 1
}

# A second file system, mounted, remounted and unmounted all the time.
small_once() {
	try mount mount -t ext4 -o xsync "$loop" $SMALL || return
	((++mounts))
	date > $SMALL/file
	try remount mount -o remount,noxsync $SMALL
	date > $SMALL/file
	try remount mount -o remount,xsync $SMALL
	date >> $SMALL/file
	if rmmod xsync 2> /dev/null || rmmod speculator 2> /dev/null; then
		((++failed[busy]))
	fi
	unmount $SMALL
}

cycle() {
	local passing end

	load speculator/speculator && load xsync/xsync || return
	try mount mount -t ext4 -o xsync "$disk" $TOP || return
	mkdir -p $TOP/load
	if [ $((cycles % 2)) -eq 1 ]; then
		load selftests/testsource/testsource &&
			echo 1 > $TESTSOURCE/auto
	fi
	touch $GO
	# shellcheck disable=SC2086
	python3 "$LOAD" $TOP/load $PASSING >> "$SAID.passing" 2>&1 &
	passing=$!
	end=$((SECONDS + CYCLE))
	while [ $SECONDS -lt $end ]; do
		small_once || break
	done
	rm $GO
	stop_loads $passing || ((++failed[passing]))
	unmount $TOP
	unload testsource
	unload xsync
	unload speculator
	((++cycles))
}

disk=$(scratch_disk scratch0) || ksft_skip_all "no scratch disk"
modprobe -a ext4 loop
mkdir -p $TOP $SMALL
mkfs.ext4 -q -F -J size=256 "$disk" || ksft_skip_all "no file system"
truncate -s 300M /run/small.img
# With less than 128M xsync says that the journal is small, which is no matter.
mkfs.ext4 -q -F -J size=64 /run/small.img || ksft_skip_all "no file system"
loop=$(losetup --find --show /run/small.img) || ksft_skip_all "no loop device"
sync
dmesg_before=$(dmesg | wc -l)

# shellcheck disable=SC2086
python3 "$LOAD" $TOP/load $LASTING >> "$SAID.lasting" 2>&1 &
lasting=$!
while [ $SECONDS -lt "$DURATION" ]; do
	cycle
	# One that failed once would fail at every turn.
	[ ${#failed[@]} -eq 0 ] || break
done
stop_loads $lasting || ((++failed[lasting]))
losetup -d "$loop"
rm -f /run/small.img

echo "# $cycles cycles, $mounts mounts beside, $SECONDS s"
none() {
	[ "${failed[$1]:-0}" -eq 0 ]
}
ksft_test "cycles were made" [ $cycles -gt 0 ]
ksft_test "the second file system was mounted" [ $mounts -gt 0 ]
ksft_test "insmod" none insmod
ksft_test "mount" none mount
ksft_test "remount noxsync, xsync" none remount
ksft_test "umount" none umount
ksft_test "the modules are not unloaded while there is a mount" none busy
ksft_test "rmmod under load" none rmmod
# Behind the row: what made it fail is told again at the end of the whole run.
loads() {
	ksft_test "$2" none "$1"
	grep '^#' "$SAID.$1"
	sed '/^#/d; s/^/# /' "$SAID.$1"
}
loads passing "the loads with open files went on, and ended"
loads lasting "the lasting loads went on, and ended"
ksft_test "nothing hangs" none hang
fs_is_clean() {
	e2fsck -fn "$disk" > /run/fsck.out 2>&1 || { sed 's/^/# /' /run/fsck.out; false; }
}
ksft_test "the file system is clean" fs_is_clean
quiet() {
	! dmesg | tail -n +$((dmesg_before + 1)) |
		grep -E 'WARNING:|\bBUG\b|Oops|general protection|blocked for more|stall|lockup|EXT4-fs error|Aborting journal|I/O error'
}
ksft_test "the kernel has nothing to say" quiet
ksft_done
