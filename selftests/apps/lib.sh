# SPDX-License-Identifier: GPL-2.0
# Other people's programs on an xsync mount, to be sourced: the same is done on a
# plain ext4 (data=ordered) and on an xsync mount, one after the other in the same
# machine, and has to come to the same results, soon, and leave a clean file
# system and no process.
#
# A test defines
#	app	runs the programs; it begins in an empty folder of the mount, with
#		$WORK, another one, in memory. What it prints has to be the same on
#		both mounts, a result a line; stderr is shown when it fails. Its
#		status is 0 if all went well, and nothing of it runs any more.
#	again	optional: the same after umount and mount, for what has to be
#		there then; it begins in the folder that app has left
#	count	optional: what to say about the results, which are its stdin
# and calls compare_mounts.

# shellcheck source=selftests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

export LC_ALL=C.UTF-8

# An xsync mount may take this many times as long, and a little more: programs
# wait for commits where they talk to the outside, and the data goes to the disk
# twice.
APPS_FACTOR=3
APPS_SLACK=20

# In memory: to write to a file of the host would wait for a commit.
APPS_OUT=/tmp/apps-$(basename "$0" .sh)

# Where Debian has servers that are not in the path.
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)

# as USER COMMAND...
as() {
	local user=$1

	shift
	setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
}

# until_ready SECONDS COMMAND...: until it succeeds
until_ready() {
	local end=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return
		sleep 0.2
	done
}

# tree_of DIR: names, types, modes, owners, links, contents of all in it
tree_of() {
	(
		cd "$1" || exit
		find . -printf '%P %y %m %U:%G %n %l\n' | LC_ALL=C sort
		find . -type f -print0 | LC_ALL=C sort -z | xargs -r0 sha256sum
	)
}

# A host outside, where `outside COMMAND` runs: what it gets from us, 10.99.0.1, has
# left the machine, and nobody here depends on what it has seen.
outside_up() {
	ip netns add outside
	ip link add veth0 type veth peer name veth1 netns outside
	ip addr add 10.99.0.1/24 dev veth0
	ip link set veth0 up
	ip -n outside addr add 10.99.0.2/24 dev veth1
	ip -n outside link set veth1 up
}

outside_down() {
	ip link del veth0
	ip netns del outside
}

outside() {
	unseen ip netns exec outside "$@"
}

now() {
	echo "${EPOCHREALTIME/./}"
}

run_on() {
	local mount=$1 out=$APPS_OUT/$1 status=0 from to

	if [ "$mount" = xsync ]; then
		load_modules || return
	fi
	gate_setup "$mount" || return
	# As it is outside of tests with a gate that is shut.
	echo 500 >/proc/sys/vm/dirty_writeback_centisecs
	WORK=/tmp/apps-work
	mkdir -m 777 "$GATE_MNT/dir" $WORK
	from=$(now)
	(cd "$GATE_MNT/dir" && app) >"$out" 2>"$out.log" </dev/null || status=$?
	# Until all is durable: on an xsync mount sync makes dependent, and
	# sethostname waits. Not the umount, which removes the hooks.
	sync -f "$GATE_MNT"
	hostname "$(hostname)"
	to=$(now)
	umount "$GATE_MNT" || status=umount
	if [ "$(type -t again)" = function ]; then
		mount -t ext4 -o "${mount/plain/defaults}" "$GATE_DEV" "$GATE_MNT" &&
			(cd "$GATE_MNT/dir" && again) >>"$out" 2>>"$out.log" \
				</dev/null || status=again
		umount "$GATE_MNT" || status=umount
	fi
	echo $(((to - from) / 1000000)) >"$out.time"
	echo $status >"$out.status"
	e2fsck -fn "$GATE_DEV" >"$out.fsck" 2>&1
	echo $? >"$out.fsck.status"
	rm -rf $WORK
	gate_teardown || return
	if [ "$mount" = xsync ]; then
		unload_modules
	fi
}

# row DESCRIPTION LOG COMMAND...: as ksft_test, and the end of LOG if it fails
row() {
	local failed=$KSFT_FAILED

	ksft_test "$1" "${@:3}"
	[ "$KSFT_FAILED" = "$failed" ] || tail -n 60 "$2" | sed 's/^/# /'
}

in_time() {
	[ "$(cat "$APPS_OUT/xsync.time")" -le \
		$(($(cat "$APPS_OUT/plain.time") * APPS_FACTOR + APPS_SLACK)) ]
}

results() {
	if [ "$(type -t count)" = function ]; then
		count
	else
		echo "$(wc -l) lines"
	fi
}

same() {
	diff -u0 "$1" "$2" >"$1.diff"
}

compare_mounts() {
	local mount plain=$APPS_OUT/plain xsync=$APPS_OUT/xsync

	mkdir -p "$APPS_OUT"
	rm -f "$APPS_OUT"/*
	for mount in plain xsync; do
		run_on $mount
		row "$mount: all ran" "$APPS_OUT/$mount.log" \
			[ "$(cat "$APPS_OUT/$mount.status")" = 0 ]
		row "$mount: the file system is clean" "$APPS_OUT/$mount.fsck" \
			[ "$(cat "$APPS_OUT/$mount.fsck.status")" = 0 ]
	done
	ksft_test "there are results" [ -s "$plain" ]
	row "xsync has the results of plain ext4" "$plain.diff" \
		same "$plain" "$xsync"
	ksft_test "xsync takes no more than $APPS_FACTOR times as long" in_time
	echo "# $(results <"$xsync"); plain $(cat "$plain.time") s," \
		"xsync $(cat "$xsync.time") s"
	ksft_done
}
