#!/bin/bash
# vm: timeout=180
# Terminal output that depends on a file system which cannot commit: the serial
# line, a virtual console, the console.
#
# The law: on an xsync mount it is not seen before the commit and is seen soon
# after. The control: on plain ext4 the same programs' output is seen while
# nothing can be durable, so the test would notice if it were not held.
. "$(dirname "$0")/lib.sh"

# Write to the file system, then tell all three. One process, and a file that is
# there already: with the gate shut, a second modification may have to wait for
# the first one's commit. It must neither exit nor start a program before that:
# by SIGCHLD, or with an address that it left behind, we would depend on it, and
# wait with the gate still shut.
write_and_tell() {
	bash -c 'echo data >>"$2"
		for tty in "$3" /dev/tty11 /dev/tty0; do echo "$1" >$tty; done
		read -r <>"$4"' - "$1" $GATE_MNT/file "$XSYNC_SERIAL2" $for_ever &
	writer=$!
}

end_writer() {
	kill $writer
	wait $writer 2>/dev/null
}

make_file() {
	echo data >$GATE_MNT/file && sync -f $GATE_MNT
}

# on_screen N TEXT: on virtual console N; 0 is the one in the foreground
on_screen() {
	local vcs=/dev/vcs${1#0}

	grep -aq -e "$2" "$vcs"
}

wait_on_screen() {
	local end=$((SECONDS + $3))

	until on_screen "$1" "$2"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

not_on_screen_for() {
	! wait_on_screen "$@"
}

for_ever=$(mktemp -u) && mkfifo "$for_ever" || exit
# The virtual consoles exist only when somebody has them open.
exec 7>/dev/tty11 8>/dev/tty0

gate_setup plain && make_file || exit
gate_suspend
write_and_tell told-plain
ksft_test "plain ext4: seen on the serial line before the commit" \
	wait_observed serial told-plain 10
ksft_test "plain ext4: seen on a virtual console before the commit" \
	wait_on_screen 11 told-plain 10
ksft_test "plain ext4: seen on the console before the commit" \
	wait_on_screen 0 told-plain 10
gate_resume
end_writer
gate_teardown

load_modules || exit
gate_setup xsync && make_file || exit
# (A fsync is only a promise here. dmsetup waits for it before it suspends.)
gate_suspend
write_and_tell told-xsync
ksft_test "xsync: not on the serial line before the commit" \
	not_observed_for serial told-xsync 3
ksft_test "xsync: not on a virtual console before the commit" \
	not_on_screen_for 11 told-xsync 1
ksft_test "xsync: not on the console before the commit" \
	not_on_screen_for 0 told-xsync 1
# Another terminal, which nobody with dependencies has written to.
exec 9>/dev/tty12
echo told-clean >&9
ksft_test "xsync: output that depends on nothing is seen" \
	wait_on_screen 12 told-clean 5
gate_resume
ksft_test "xsync: on the serial line after the commit" \
	wait_observed serial told-xsync 10
ksft_test "xsync: on a virtual console after the commit" \
	wait_on_screen 11 told-xsync 10
ksft_test "xsync: on the console after the commit" \
	wait_on_screen 0 told-xsync 10
end_writer
exec 7>&- 8>&- 9>&-
ksft_test "the gate is taken down" gate_teardown
ksft_test "the modules are unloaded" unload_modules
ksft_done
