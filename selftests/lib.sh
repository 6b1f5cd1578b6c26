# SPDX-License-Identifier: GPL-2.0
# Helpers for tests, to be sourced: TAP output, our modules, the gate, the
# observer. gate.h offers the same to C programs.

LIB_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# How much longer things may take: a debug kernel has more to do.
case $(uname -r) in
*-kasan | *-kcsan | *-faults) SLOWNESS=6 ;;
*) SLOWNESS=1 ;;
esac

# --- TAP -------------------------------------------------------------------
# ksft_ok, ksft_not_ok and ksft_skip give one result; ksft_done ends the test.

KSFT_RESULTS=0
KSFT_FAILED=0

ksft_ok() {
	echo "ok $((++KSFT_RESULTS)) $*"
}

ksft_not_ok() {
	((++KSFT_FAILED))
	echo "not ok $((++KSFT_RESULTS)) $*"
}

ksft_skip() {
	echo "ok $((++KSFT_RESULTS)) $1 # SKIP $2"
}

# ksft_test DESCRIPTION COMMAND...: ok if the command succeeds
ksft_test() {
	local description=$1
	shift
	if "$@"; then
		ksft_ok "$description"
	else
		ksft_not_ok "$description"
	fi
}

ksft_skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

ksft_done() {
	echo "1..$KSFT_RESULTS"
	exit $((KSFT_FAILED > 0))
}

# --- modules ---------------------------------------------------------------

# load_modules [NAME...]: default speculator xsync; also testsource, which commits
# by itself when nobody has for $PATIENCE seconds (45)
load_modules() {
	local name dir options patience=$((${PATIENCE:-45} * SLOWNESS))

	[ $# -gt 0 ] || set -- speculator xsync
	# With failing allocations tests wait for it (tap.py); else they must not
	# meet it.
	[ -z "$FAULTS" ] || patience=10
	# insmod doesn't load what a module of ours depends on.
	modprobe ext4 || return
	for name; do
		dir=$LIB_REPO/$name
		[ -d "$dir" ] || dir=$LIB_REPO/selftests/$name
		options=
		[ "$name" != testsource ] || options=patience=$patience
		insmod "$dir/$name.ko" $options || return
	done
	# It is a source, so that the hooks are placed now.
	[ ! -d /sys/module/testsource ] || faults_on
}

# Unload those of our modules that are loaded.
unload_modules() {
	local name status=0

	faults_off
	for name in testsource xsync speculator; do
		if [ -d "/sys/module/$name" ]; then
			rmmod "$name" || status=1
		fi
	done
	return $status
}

# --- allocations that fail --------------------------------------------------
# With FAULTS=speculator or xsync on a debug kernel (make check-debug) one in ten
# objects that the module itself allocates is not to be had, once it is at work. Only
# what calls kmem_cache_alloc() itself: one call further away are those of functions
# that it wraps, and a fork that fails is no test.

FAULTS_DEPTH=4
FAULTS_TIMES=1000000000

faults_on() {
	local module=/sys/module/$FAULTS kind start

	[ -n "$FAULTS" ] && [ -d "$module" ] || return 0
	start=$(cat "$module/sections/.text")
	for kind in failslab fail_page_alloc; do
		(
			cd "/sys/kernel/debug/$kind" || exit
			echo $FAULTS_DEPTH > stacktrace-depth
			echo "$start" > require-start
			printf '%#x\n' $((start + $(cat "$module/coresize"))) \
				> require-end
			echo N > ignore-gfp-wait
			[ ! -e min-order ] || echo 0 > min-order
			echo 1 > verbose
			echo $FAULTS_TIMES > ./times
			echo "${FAULT_PERCENT:-10}" > probability
		)
	done
}

# How many have failed since.
faults_failed() {
	local kind failed=0

	for kind in failslab fail_page_alloc; do
		((failed += FAULTS_TIMES - $(cat /sys/kernel/debug/$kind/times)))
	done
	echo $failed
}

faults_off() {
	local file

	if [ -n "$FAULTS" ] &&
			[ "$(cat /sys/kernel/debug/failslab/probability)" -gt 0 ]; then
		echo "# $(faults_failed) allocations have failed"
	fi
	# Without FAULTS as well: alloc_failures may have died with it on.
	for file in /sys/kernel/debug/fail{slab,_page_alloc}/probability; do
		[ ! -e "$file" ] || echo 0 > "$file"
	done
}

# unseen COMMAND...: as an exempt task, which takes nothing over from what it
# looks at, nor does who waits for it
unseen() {
	python3 -c 'import ctypes, os, sys
ctypes.CDLL(None).prctl(57, 1, 0, 0, 0)		# PR_SET_IO_FLUSHER
os.execvp(sys.argv[1], sys.argv[1:])' "$@"
}

# --- the gate --------------------------------------------------------------
# An ext4 on a scratch disk below a device mapper target that can be shut: no
# I/O reaches the disk, and nothing can become durable, until it is opened.

# gate_use NAME [DEVICE]: which gate the functions below are about, where a
# test has several. A device below it, if it is not the first scratch disk.
gate_use() {
	GATE=$1
	GATE_DISK=$2
	GATE_DEV=/dev/mapper/$GATE
	GATE_MNT=/mnt/$GATE
}

gate_use gate

# There is no udevd in the guest: dmsetup has to make the nodes.
export DM_DISABLE_UDEV=1

# scratch_disk NAME: the device of a scratch disk (scratch0...), by its serial
scratch_disk() {
	local serial

	for serial in /sys/block/vd*/serial; do
		# virtio-blk: no newline at the end
		if [ "$(cat "$serial")" = "$1" ]; then
			basename "$(dirname "$serial")" | sed 's,^,/dev/,'
			return
		fi
	done
	return 1
}

# gate_setup xsync|plain [MOUNT_OPTIONS]: a new file system on $GATE_MNT
gate_setup() {
	local disk options

	# ext4 zeroes the inode tables after a mount. A shut gate would hold that
	# up, with a handle and a lock that a mkdir in the same group waits for.
	options=noinit_itable${2:+,$2}
	case $1 in
	xsync) options=xsync,$options ;;
	plain) ;;
	*) echo "gate_setup: xsync or plain?" >&2; return 2 ;;
	esac
	disk=${GATE_DISK:-$(scratch_disk scratch0)} || return
	modprobe -a dm_mod ext4 || return
	dmsetup create "$GATE" \
		--table "0 $(blockdev --getsz "$disk") linear $disk 0" || return
	mkfs.ext4 -q -F -b "${GATE_BLOCK:-4096}" -J size="${GATE_JOURNAL:-128}" \
		-E lazy_itable_init=1,lazy_journal_init=1,nodiscard \
		"$GATE_DEV" || return
	mkdir -p "$GATE_MNT"
	mount -t ext4 -o "$options" "$GATE_DEV" "$GATE_MNT" || return
	# Nothing is written in the background: what is under way when the gate
	# is shut stays locked, and holds up who wants to look at it.
	echo 0 > /proc/sys/vm/dirty_writeback_centisecs
	# The shut gate holds reads up too: have the root directory, the bitmaps
	# and the first inodes in memory, so that only what has to become
	# durable can block. A test does the same for its own directories.
	dd if=/dev/zero of="$GATE_MNT/warm" bs=4k count=1 status=none &&
		rm "$GATE_MNT/warm" && sync -f "$GATE_MNT" || return
	[ "$1" = plain ] || faults_on
}

# Shut the gate. --nolockfs: don't freeze the file system, --noflush: don't
# wait for what is queued.
gate_suspend() {
	dmsetup suspend --nolockfs --noflush "$GATE"
}

gate_resume() {
	dmsetup resume "$GATE"
}

gate_teardown() {
	faults_off
	gate_resume
	if mountpoint -q "$GATE_MNT"; then
		umount "$GATE_MNT" || return
	fi
	dmsetup remove --retry "$GATE"
	echo 500 > /proc/sys/vm/dirty_writeback_centisecs
}

# --- the observer ----------------------------------------------------------
# What the host has received from us; CH is udp, tcp or serial. The log lasts
# as long as the machine: look for texts that no other test sends.

# observed CH PATTERN: has PATTERN (a grep regex) been seen up to now?
observed() {
	grep -aq -e "$2" "$XSYNC_OBS_LOG.$1"
}

# wait_observed CH PATTERN SECONDS
wait_observed() {
	local end=$((SECONDS + $3 * SLOWNESS))

	until observed "$1" "$2"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# not_observed_for CH PATTERN SECONDS
not_observed_for() {
	! wait_observed "$@"
}
