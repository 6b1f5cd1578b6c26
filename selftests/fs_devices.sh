#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150
#
# xsync mounts on stacked devices, and devices on files of xsync mounts: what is
# written becomes durable, nobody waits for himself.

. "$(dirname "$0")/lib.sh"

MNT=/mnt/fs_devices
IMG=/tmp/fs_devices.img
KEY=$(printf '%064d' 7)

# commits DIR: a process that has written waits until it is committed, and the
# wait ends.
commits() {
	timeout 20 bash -c 'echo text > "$1/file" && sync "$1/file" &&
			    echo 60 > /proc/sys/vm/swappiness' - "$1"
}

# A new file system on a device, in use.
works_on() {
	mkfs.ext4 -q -F -J size=16 "$1" && mount -t ext4 -o xsync "$1" $MNT &&
		commits $MNT && timeout 20 cp -r "$LIB_REPO/xsync" $MNT &&
		timeout 20 sync && timeout 20 umount $MNT
}

# stack NAME TABLE: a device mapper target with an xsync mount on it
stack() {
	dmsetup create "$1" --table "$2" && works_on "/dev/mapper/$1" &&
		dmsetup remove --retry "$1"
}

has_nbd() {
	command -v nbdkit nbd-client && modprobe nbd
} > /dev/null 2>&1

over_nbd() {
	local status

	nbdkit -U /tmp/fs_devices.sock -P /tmp/fs_devices.pid memory 128M &&
		sleep 1 && nbd-client -unix /tmp/fs_devices.sock /dev/nbd0 >&2 &&
		works_on /dev/nbd0
	status=$?
	nbd-client -d /dev/nbd0 >&2
	kill "$(cat /tmp/fs_devices.pid)"
	return $status
}

swap_is_refused() {
	dd if=/dev/zero of="$GATE_MNT/swap" bs=1M count=4 status=none &&
		chmod 600 "$GATE_MNT/swap" && mkswap -q "$GATE_MNT/swap" &&
		! swapon "$GATE_MNT/swap" 2> /dev/null &&
		rm "$GATE_MNT/swap"
}

# A loop device on a file of the xsync mount: a plain file system, then another
# xsync mount, whose commits need those of the first.
plain_above() {
	mkfs.ext4 -q -F "$loop" && mount -t ext4 "$loop" $MNT &&
		commits $MNT && timeout 20 cp -r "$LIB_REPO/xsync" $MNT &&
		timeout 20 sync && timeout 20 umount $MNT
}

both_at_once() {
	mkfs.ext4 -q -F -J size=16 "$loop" && mount -t ext4 -o xsync "$loop" $MNT &&
		timeout 60 bash -c 'for i in {1..20}; do
			echo "$i" >> "$1/file" && echo "$i" >> "$2/file" || exit
		done' - "$GATE_MNT" $MNT && commits $MNT && umount $MNT
}

load_modules || ksft_skip_all "no modules"
modprobe -a loop dm_mod dm_crypt dm_raid overlay
mkdir -p $MNT
gate_setup xsync || ksft_skip_all "no scratch disk"
truncate -s 128M $IMG $IMG.2
disk=$(losetup -f --show $IMG)
disk2=$(losetup -f --show $IMG.2)
sectors=$(blockdev --getsz "$disk")

ksft_test "on a loop device" works_on "$disk"
ksft_test "on dm-crypt" stack fs_crypt \
	"0 $sectors crypt aes-xts-plain64 $KEY$KEY 0 $disk 0"
ksft_test "on dm-raid1 (md)" stack fs_raid \
	"0 $((sectors - 2048)) raid raid1 1 0 2 - $disk - $disk2"
if has_nbd; then
	ksft_test "on nbd" over_nbd
else
	ksft_skip "on nbd" "no nbdkit or nbd-client"
fi
losetup -d "$disk" "$disk2"

ksft_test "a swap file on it is refused" swap_is_refused

truncate -s 64M "$GATE_MNT/img"
loop=$(losetup -f --show "$GATE_MNT/img")
ksft_test "a plain file system on a file of it" plain_above
ksft_test "an xsync mount on a file of it" both_at_once
losetup -d "$loop"

ksft_test "umount" gate_teardown
ksft_test "unload" unload_modules
rm $IMG $IMG.2
ksft_done
