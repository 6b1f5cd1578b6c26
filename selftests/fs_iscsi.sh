#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=200 expect="connection\d+:\d+: detected conn error \(\d+\)"
#
# An xsync mount on an iSCSI disk whose target is another host: a network
# namespace behind a veth pair, all of whose packets are external output. The
# packets of the commit itself must never be held, not even while processes are
# held that depend on it, and iscsid must get through when the connection breaks.

. "$(dirname "$0")/lib.sh"

[ -n "$XSYNC_OBS_LOG" ] || ksft_skip_all "no observer"
command -v tgtd iscsid iscsiadm > /dev/null || ksft_skip_all "no tgtd or iscsid"

MNT=/mnt/fs_iscsi
LUN=/dev/shm/fs_iscsi.lun
IQN=iqn.2026-11.org.example:fs-iscsi
INSIDE=10.97.3.1
OUTSIDE=10.97.3.2

target() {
	ip netns exec target tgtadm --lld iscsi "$@"
}

network_up() {
	ip link set lo up
	ip netns add target &&
		ip link add iscsi0 type veth peer name eth0 netns target &&
		ip addr add $INSIDE/24 dev iscsi0 && ip link set iscsi0 up &&
		ip -n target addr add $OUTSIDE/24 dev eth0 &&
		ip -n target link set eth0 up && ip -n target link set lo up
}

target_up() {
	truncate -s 128M $LUN
	# Another host depends on nothing here, though it is a process here.
	unseen ip netns exec target tgtd -f > /dev/null 2>&1 &
	tgtd=$!
	for _ in {1..50}; do
		target --op show --mode target 2> /dev/null && break
		sleep 0.2
	done
	target --op new --mode target --tid 1 -T $IQN &&
		target --op new --mode logicalunit --tid 1 --lun 1 -b $LUN &&
		target --op bind --mode target --tid 1 -I ALL
}

# A broken connection is noticed after seconds, not minutes.
login() {
	mkdir -p /run/lock/iscsi
	[ -e /etc/iscsi/initiatorname.iscsi ] ||
		echo "InitiatorName=$IQN.initiator" > /etc/iscsi/initiatorname.iscsi
	# When told to end it ends its process group.
	setsid iscsid -f > /dev/null 2>&1 &
	iscsid=$!
	sleep 1
	iscsiadm -m discovery -t sendtargets -p $OUTSIDE &&
		iscsiadm -m node -T $IQN -p $OUTSIDE -o update \
			-n 'node.conn[0].timeo.noop_out_interval' -v 2 &&
		iscsiadm -m node -T $IQN -p $OUTSIDE -o update \
			-n 'node.conn[0].timeo.noop_out_timeout' -v 2 &&
		iscsiadm -m node -T $IQN -p $OUTSIDE --login
}

# The disk, by its size: the machine's own ones are larger.
find_disk() {
	local size

	for _ in {1..50}; do
		for size in /sys/block/sd*/size; do
			[ "$(cat "$size" 2> /dev/null)" = 262144 ] || continue
			disk=/dev/$(basename "$(dirname "$size")")
			return
		done
		sleep 0.2
	done
	return 1
}

# tell TEXT [FILE]: a process that writes FILE first, if given; see net_gate.sh
tell() {
	bash -c '[ -z "$2" ] || echo "$1" >>"$2"
		 exec 3<>/dev/udp/$XSYNC_OBS_HOST/$XSYNC_OBS_UDP
		 echo "$1" >&3
		 read -r <>"$3"' - "$1" "$2" "$for_ever" 2> /dev/null &
	tellers+=($!)
}

tellers_end() {
	kill "${tellers[@]}"
	wait "${tellers[@]}" 2> /dev/null
	tellers=()
}

cable() {
	ip -n target link set eth0 "$1"
}

# The target ends the connection: iscsid has to connect and log in anew, while
# commits wait for it.
cut_connection() {
	target --op show --mode conn --tid 1 |
		awk '/Session:/ { sid = $2 } /Connection:/ { print sid, $2 }' |
		while read -r sid cid; do
			target --op delete --mode conn --tid 1 --sid "$sid" \
				--cid "$cid"
		done
}

# Keeps committing, with processes held all the time.
busy() {
	timeout $((60 * SLOWNESS)) bash -c 'for i in {1..40}; do
		echo "$i" >> "$1/busy" &&
		echo "busy $i." > /dev/udp/$XSYNC_OBS_HOST/$XSYNC_OBS_UDP &&
		sync "$1/busy" && sleep 0.05 || exit
	done' - $MNT &
	local pid=$!

	sleep 0.5
	cut_connection
	wait $pid && wait_observed udp "busy 40\." 40
}

for_ever=$(mktemp -u)
mkfifo "$for_ever"
tellers=()

modprobe -a iscsi_tcp sd_mod || ksft_skip_all "no iscsi_tcp"
load_modules || ksft_skip_all "no modules"
mkdir -p $MNT
{
	network_up && target_up && login && find_disk
} >&2 || ksft_skip_all "no iSCSI target"

mkfs.ext4 -q -F -J size=16 "$disk"
mount -t ext4 "$disk" $MNT && echo > $MNT/file && sync
cable down
tell "iscsi plain." $MNT/file
ksft_test "a plain mount tells at once (control)" \
	wait_observed udp "iscsi plain\." 5
cable up
sleep 1
sync
tellers_end
umount $MNT

ksft_test "mount" mount -t ext4 -o xsync "$disk" $MNT
ksft_test "files are copied and made durable" timeout 60 \
	sh -c "cp -r $LIB_REPO/xsync $MNT && sync && echo >$MNT/file && sync"

cable down
tell "iscsi held." $MNT/file
tell "iscsi clean." ""
ksft_test "who wrote nothing tells at once (control)" \
	wait_observed udp "iscsi clean\." 5
ksft_test "nothing is seen while the target cannot be reached" \
	not_observed_for udp "iscsi held\." 3
cable up
ksft_test "it is seen when it can be reached again" \
	wait_observed udp "iscsi held\." 60
tellers_end

ksft_test "a connection that breaks comes back under commits" busy

ksft_test "umount" timeout 60 umount $MNT
ksft_test "logout" timeout 60 iscsiadm -m node -T $IQN -p $OUTSIDE --logout >&2
ksft_test "unload" unload_modules
kill $iscsid $tgtd
wait 2> /dev/null
ip netns del target
rm $LUN "$for_ever"
ksft_done
