#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# fio writes with each engine, in random order, with fsync and O_DIRECT, and
# verifies what it has written; and again after umount.

. "$(dirname "$0")/lib.sh"

engines="psync pvsync2 mmap libaio io_uring posixaio"

# jobs_of OPTION...: for each engine
jobs_of() {
	local engine

	for engine in $engines; do
		fio --name="$engine" --ioengine="$engine" --filename="$engine" \
			--rw=randwrite --bsrange=4k-64k --blockalign=4k --size=4m \
			--iodepth=8 --randseed=1 --verify=crc32c --verify_fatal=1 \
			"$@" >"$WORK/$engine" 2>&1
		echo "$engine: $? $(grep -c 'err= 0' "$WORK/$engine")"
		cat "$WORK/$engine" >&2
	done
}

# What fio writes has the time in it: it is not the same on two mounts, but before
# and after umount.
app() {
	jobs_of --fsync=16
	# shellcheck disable=SC2086
	stat -c '%n %F %A %U:%G %h %s' $engines
	# shellcheck disable=SC2086
	sha256sum $engines >"$WORK/sums"
	fio --name=direct --filename=direct --ioengine=libaio --direct=1 --rw=randrw \
		--bs=4k --size=4m --iodepth=16 --verify=sha1 --numjobs=1 \
		--io_size=4m >&2
	echo "direct: $?"
	fio --name=sync --filename=sync --ioengine=psync --sync=dsync --rw=write \
		--bs=4k --size=1m --verify=md5 >&2
	echo "sync: $?"
}

again() {
	WORK=/tmp/apps-work
	sha256sum -c $WORK/sums
	jobs_of --verify_only
}

compare_mounts
