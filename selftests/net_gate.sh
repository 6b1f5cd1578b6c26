#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150
#
# What the host sees of a program that writes a file and then tells about it,
# while no I/O reaches the disk: nothing on an xsync mount, all on a plain one
# (the control), and all of a program that wrote nothing (the other control).

. "$(dirname "$0")/lib.sh"

[ -n "$XSYNC_OBS_LOG" ] || ksft_skip_all "no observer"

# tell CH TEXT [FILE]: a process that writes FILE first, if given. It must neither
# exit nor start a program before the commit: by SIGCHLD, or with an address that
# it left behind, we would depend on it.
tell() {
	bash -c '[ -z "$3" ] || echo "$2" >>"$3"
		 exec 3<>/dev/$1/$XSYNC_OBS_HOST/$4
		 echo "$2" >&3
		 read -r <>"$5"' - \
		"$1" "$2" "$3" "$(port "$1")" "$for_ever" 2>/dev/null
}

# The same, but connected before it writes: TCP data, not a connect() that waits.
tell_connected() {
	bash -c 'exec 3<>/dev/$1/$XSYNC_OBS_HOST/$4
		 echo "before $2" >&3
		 echo "$2" >>"$3"
		 echo "$2" >&3
		 read -r <>"$5"' - \
		"$1" "$2" "$3" "$(port "$1")" "$for_ever" 2>/dev/null
}

# After the commit.
end_all() {
	sync
	# shellcheck disable=SC2046
	kill $(jobs -p)
	wait 2>/dev/null
}

port() {
	[ "$1" = udp ] && echo "$XSYNC_OBS_UDP" || echo "$XSYNC_OBS_TCP"
}

retransmits() {
	unseen awk '$1 == "Tcp:" && $13 ~ /^[0-9]+$/ { print $13 }' \
		/proc/net/snmp
}

for_ever=$(mktemp -u)
mkfifo "$for_ever"

load_modules || ksft_skip_all "no modules"

gate_setup plain && echo >"$GATE_MNT/file" && sync && gate_suspend
for ch in udp tcp; do
	tell $ch "plain $ch." "$GATE_MNT/file" &
	ksft_test "$ch: a plain mount tells at once (control)" \
		wait_observed $ch "plain $ch\." 5
done
gate_resume
end_all
gate_teardown

gate_setup xsync
echo >"$GATE_MNT/file"
sync
gate_suspend
before=$(retransmits)
for ch in udp tcp; do
	tell $ch "held $ch." "$GATE_MNT/file" &
	tell_connected $ch "late $ch." "$GATE_MNT/file" &
	tell $ch "clean $ch." "" &
done
for ch in udp tcp; do
	ksft_test "$ch: who wrote nothing tells at once (control)" \
		wait_observed $ch "clean $ch\." 5
	ksft_test "$ch: what was said before the write goes at once" \
		wait_observed $ch "before late $ch\." 5
done
for ch in udp tcp; do
	ksft_test "$ch: nothing is told while the disk is shut" \
		not_observed_for $ch "held $ch\." 2
	ksft_test "$ch: nor on a connection that was there before" \
		not_observed_for $ch "^late $ch\." 0
done
gate_resume
for ch in udp tcp; do
	ksft_test "$ch: told when it is open again" \
		wait_observed $ch "held $ch\." 3
	ksft_test "$ch: on the old connection, too" \
		wait_observed $ch "^late $ch\." 3
done
ksft_test "nothing was retransmitted" [ "$before" = "$(retransmits)" ]
end_all
gate_teardown
unload_modules
rm "$for_ever"
ksft_done
