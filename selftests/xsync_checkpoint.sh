#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300
#
# Law 1: what is durable stays so. A transaction is not dropped from the journal
# while one of its pages is still on its way to its place on the disk, and not
# without that page having been written. The control is stock data=journal, which
# does both.

. "$(dirname "$0")/lib.sh"

# All of it as an exempt task: whatever it looks at it can open the gate, and its
# syncs are real. What ext4 does is the same.
[ -n "$UNSEEN" ] || { UNSEEN=1 unseen "$0"; exit; }

TRACE=/sys/kernel/tracing/instances/xsync_checkpoint
DROPS=$TRACE/events/jbd2/jbd2_drop_transaction
OPTIONS=commit=300
# A transaction of nothing but a page, which shares no block with a later one, comes
# by accident only, if a disk is faster than the clock that times are taken from;
# with this it comes always. xsync mounts have none of it.
PLAIN=data=journal,lazytime,$OPTIONS
PAUSE=/sys/module/pause/parameters
BEFORE="what is durable"
AFTER="what is DURABLE"

# The kernel begins to write out what is dirty, as it does by and by.
write_out() {
	echo 1 > /proc/sys/vm/dirty_expire_centisecs
	echo 10 > /proc/sys/vm/dirty_writeback_centisecs
}

no_write_out() {
	echo 0 > /proc/sys/vm/dirty_writeback_centisecs
	echo 3000 > /proc/sys/vm/dirty_expire_centisecs
}

# wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# checkpoint DIRECTORY: EXT4_IOC_CHECKPOINT
checkpoint() {
	python3 -c 'import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x4004662b, struct.pack("I", 0))' "$1"
}

drops() {
	grep -c jbd2_drop_transaction: $TRACE/trace
}

# durable_change: the file says AFTER and this is committed, in its place is BEFORE
durable_change() {
	echo "$BEFORE" 1<> "$GATE_MNT/file"
	# Everything is in its place then.
	sync -f "$GATE_MNT" && checkpoint "$GATE_MNT" || return
	block=$(filefrag -e -b1024 "$GATE_MNT/file" |
		awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 }')
	dd of="$GATE_MNT/file" conv=notrunc,fdatasync status=none <<< "$AFTER"
	echo > $TRACE/trace
	# The metadata of the transaction are out already, the page is not.
	sync "$GATE_DEV"
	! in_its_place "$AFTER"
}

# in_its_place TEXT: is it that what the file's first block has on the disk?
in_its_place() {
	[ "$(dd if="$GATE_DEV" bs=1024 skip="$block" count=1 iflag=direct \
		status=none | head -c ${#1})" = "$1" ]
}

# during KIND OPTIONS [SIZE]: prints how many transactions are dropped while a page
# is on its way, and then when it has arrived. SIZE: preallocated, seen as zeros.
during() {
	local checkpointer

	gate_setup "$1" "$2" || return
	if [ -n "$3" ]; then
		fallocate -l "$3" "$GATE_MNT/file" || return
		echo "$BEFORE" 1<> "$GATE_MNT/file"
		cmp -n "$3" -i ${#BEFORE} "$GATE_MNT/file" /dev/zero > /dev/null
	fi
	durable_change || return
	gate_suspend
	write_out
	wait_for 20 grep -q 'nr_writeback [1-9]' /proc/vmstat
	no_write_out
	checkpoint "$GATE_MNT" &
	checkpointer=$!
	sleep 2
	drops
	gate_resume
	wait $checkpointer
	drops
	gate_teardown
}

# truncated KIND OPTIONS SIZE: prints what is in the file's place when everything
# has been written out that the kernel will write while somebody is about to
# truncate the file to SIZE; and how many transactions are dropped when he has done
# it, and this is not committed
truncated() {
	local truncater found=neither

	gate_setup "$1" "$2" || return
	head -c 8192 /dev/zero > "$GATE_MNT/file"
	durable_change || return
	insmod "$LIB_REPO/selftests/pause/pause.ko" comm=truncate \
		function=truncate_pagecache || return
	truncate -s "$3" "$GATE_MNT/file" &
	truncater=$!
	wait_for 5 grep -q Y $PAUSE/there || return
	write_out
	wait_for 3 in_its_place "$AFTER"
	no_write_out
	in_its_place "$BEFORE" && found=before
	in_its_place "$AFTER" && found=after
	# Else it shows nothing: pause waits for a bounded time.
	grep -q N $PAUSE/go || found="too late"
	# No commit ends from here on: only ours can be dropped.
	gate_suspend
	echo 1 > $PAUSE/go
	wait $truncater
	echo "$found $(drops)"
	gate_resume
	rmmod pause
	[ "$(stat -c %s "$GATE_MNT/file")" -eq "$3" ] || echo "not truncated"
	gate_teardown
}

modprobe -a ext4 jbd2
mkdir -p $TRACE && echo 1 > $DROPS/enable
read -rd '' during after <<< "$(during plain $PLAIN)"
ksft_test "data=journal: dropped while the page is on its way (control)" \
	test "${during:-0}" -gt 0
ksft_test "data=journal: all is over then" test "${after:-0}" -ge "${during:-1}"
truncation=$(truncated plain $PLAIN 0)
ksft_test "data=journal: dropped, never written (control)" \
	grep -q '^before [1-9]' <<< "$truncation"
echo "# $truncation"
load_modules
for size in "" 4096; do
	# shellcheck disable=SC2086
	read -rd '' during after <<< "$(GATE_BLOCK=${size:+1024} during xsync $OPTIONS $size)"
	what=xsync${size:+, a preallocated page of small blocks}
	ksft_test "$what: not dropped while the page is on its way" \
		test "${during:-1}" -eq 0
	ksft_test "$what: dropped when it has arrived" test "${after:-0}" -gt 0
done
truncation=$(truncated xsync $OPTIONS 0)
ksft_test "xsync, the file is being truncated: the page is written" \
	grep -q '^after' <<< "$truncation"
echo "# $truncation"
truncation=$(truncated xsync $OPTIONS 100)
ksft_test "xsync, the page will be zeroed: left alone, not dropped" \
	grep -q '^before 0$' <<< "$truncation"
echo "# $truncation"
ksft_test "the modules are unloaded" unload_modules
rmdir $TRACE
ksft_done
