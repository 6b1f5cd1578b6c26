#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150 expect="(JBD2|EXT4-fs|Buffer I/O|Aborting|block nbd0|I/O error|nbd0).*"
#
# Why xsync refuses journal_async_commit, which would save one of the two flushes
# of a commit, shown on the stock kernel without our modules. If one of these
# fails on a new kernel, the refusal deserves another look.

. "$(dirname "$0")/lib.sh"

IMG=/dev/shm/async_commit.img
MNT=/mnt/async_commit
SECRET=async-commit-payload

# power_cut OPTIONS: an image of a disk that lost power when the commit of a file had
# ended, and nothing was checkpointed
power_cut() {
	truncate -s 64M $IMG.disk
	mkfs.ext4 -q -F -b 4096 -J size=8 $IMG.disk &&
		mount -o "loop,data=journal,$1" $IMG.disk $MNT || return
	python3 - $MNT/file $SECRET <<-'PYTHON'
		import os, sys
		with open(sys.argv[1], "wb", 0) as file:
		    file.write(sys.argv[2].encode().ljust(4096, b"."))
		    os.fsync(file.fileno())
	PYTHON
	cp --sparse=always $IMG.disk $IMG
	umount $MNT
	rm $IMG.disk
}

# The block of the journal with the file's data did not make it: any order is
# possible between two flushes, and an asynchronous commit has only one.
tear() {
	local at

	at=$(grep -obaF -m 1 $SECRET $IMG | head -n 1 | cut -d : -f 1)
	[ -n "$at" ] && dd if=/dev/zero of=$IMG bs=4096 count=1 \
		seek=$((at / 4096)) conv=notrunc status=none
}

mounts() {
	mount -o loop,"$1" $IMG $MNT && grep -q $SECRET $MNT/file && umount $MNT
}

torn_is_refused() {
	! mount -o loop,"$1" $IMG $MNT 2> /dev/null ||
		{ umount $MNT; return 1; }
}

# The name made it to its place, which is another block of the transaction.
replayed_in_part() {
	debugfs -c -R "ls -p /" $IMG 2> /dev/null | grep -q "/file/"
}

# A disk whose FLUSH fails from the moment /dev/shm/fail exists.
flaky_up() {
	truncate -s 64M /dev/shm/flaky
	mkfs.ext4 -q -F -J size=4 /dev/shm/flaky
	nbdkit -U /dev/shm/flaky.sock -P /dev/shm/flaky.pid eval \
		get_size='echo 64M' can_write='exit 0' can_flush='exit 0' \
		pread='dd if=/dev/shm/flaky skip=$4 count=$3 \
			iflag=count_bytes,skip_bytes status=none' \
		pwrite='dd of=/dev/shm/flaky seek=$4 conv=notrunc \
			oflag=seek_bytes status=none' \
		flush='[ ! -e /dev/shm/fail ] || { echo EIO >&2; exit 1; }' &&
		sleep 1 && nbd-client -unix /dev/shm/flaky.sock /dev/nbd0 >&2
}

flaky_down() {
	nbd-client -d /dev/nbd0 >&2
	kill "$(cat /dev/shm/flaky.pid)"
	rm -f /dev/shm/fail /dev/shm/flaky.sock
}

# fsync_over OPTIONS: the status of an fsync whose flush fails
fsync_over() {
	local status

	flaky_up && mount -t ext4 -o "data=journal,$1" /dev/nbd0 $MNT || return 2
	echo text > $MNT/file
	touch /dev/shm/fail
	sync $MNT/file 2> /dev/null
	status=$?
	umount $MNT
	flaky_down
	return $status
}

promises_nothing() {
	fsync_over "$1"
	[ $? -eq 1 ]
}

command -v nbdkit nbd-client debugfs > /dev/null ||
	ksft_skip_all "no nbdkit, nbd-client or debugfs"
modprobe -a loop nbd || ksft_skip_all "no nbd"
mkdir -p $MNT

power_cut journal_async_commit
ksft_test "an asynchronous commit is recovered (control)" \
	mounts data=journal,journal_async_commit
power_cut journal_async_commit
tear
ksft_test "torn, it makes the file system impossible to mount" \
	torn_is_refused data=journal,journal_async_commit
ksft_test "and a part of it has been replayed" replayed_in_part

ksft_test "a synchronous commit reports a failed flush (control)" \
	promises_nothing defaults
ksft_test "an asynchronous commit ignores it: fsync succeeds" \
	fsync_over journal_async_commit
rm -f $IMG /dev/shm/flaky
ksft_done
