#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180
#
# fs-verity puts its tree of hashes behind the end of the file, at a multiple of
# 64 KiB. Stock data=journal writes that out as what is behind the end, so it zeroes
# the first page of the tree if the file ends there: the control. With xsync it is
# written.

. "$(dirname "$0")/lib.sh"

# protect FILE: FS_IOC_ENABLE_VERITY, SHA-256
protect() {
	python3 -c 'import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x40806685,
            struct.pack("IIIIQIIQ88x", 1, 1, 4096, 0, 0, 0, 0, 0))' "$1"
}

# survives KIND OPTIONS SIZE: can such a file be read, when nothing of it is in
# memory? Returns 2 if it could not be made.
survives() {
	local sum status=0

	gate_setup "$1" "$2" && umount "$GATE_MNT" &&
		tune2fs -O verity "$GATE_DEV" > /dev/null &&
		mount -o "$2" "$GATE_DEV" "$GATE_MNT" || return 2
	head -c "$3" /dev/urandom > "$GATE_MNT/file"
	sum=$(sha256sum < "$GATE_MNT/file")
	protect "$GATE_MNT/file" || return 2
	sync -f "$GATE_MNT"
	# On an xsync mount sync is over before; this is over when it is durable.
	hostname "$(hostname)"
	# All dirty pages are written out, as they are by and by.
	echo 1 > /proc/sys/vm/dirty_expire_centisecs
	echo 10 > /proc/sys/vm/dirty_writeback_centisecs
	sleep 3
	echo 3000 > /proc/sys/vm/dirty_expire_centisecs
	umount "$GATE_MNT" && mount -o "$2" "$GATE_DEV" "$GATE_MNT" || return 2
	[ "$(sha256sum < "$GATE_MNT/file")" = "$sum" ] || status=1
	gate_teardown || return 2
	return $status
}

# refuses COMMAND...: it fails, and not because it could not begin
refuses() {
	"$@"
	[ $? -eq 1 ]
}

ksft_test "data=ordered: 1 MiB" survives plain data=ordered 1M
ksft_test "data=journal: 1 MiB cannot be read (control)" \
	refuses survives plain data=journal 1M
load_modules
ksft_test "xsync: 1 MiB" survives xsync xsync 1M
ksft_test "xsync: 1,000,000 bytes" survives xsync xsync 1000000
ksft_test "the modules are unloaded" unload_modules
ksft_done
