#!/bin/bash
# vm: timeout=400
# Law: -o xsync either gives the whole promise or says what to do instead.
# Every refusal is checked by its message, so that it can't be refused for
# another reason; the same mount without the culprit is the control.
. "$(dirname "$0")/lib.sh"

DISK=$(scratch_disk scratch0) || ksft_skip_all "no scratch disk"
MNT=/mnt/xsync
mkdir -p $MNT $MNT.2

# --- the kernel log since log_start ------------------------------------------
log_start() {
	LOG_MARK="xsync_mount mark $RANDOM$RANDOM"
	echo "$LOG_MARK" > /dev/kmsg
}

logged() {
	dmesg | sed "1,/$LOG_MARK/d" | grep -q -e "$1"
}

not() {
	! "$@"
}

make_fs() {
	case $* in
	*^has_journal*) ;;
	*) set -- -J size=8 "$@" ;;
	esac
	mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=1 "$@" \
		"$DISK" 160M
}

mounted_with() {
	local options

	options=$(findmnt -n -o FS-OPTIONS "${2:-$MNT}") || return
	case ,$options, in *,$1,*) ;; *) return 1 ;; esac
}

knob() {
	cat "/sys/fs/ext4/$(basename "$DISK")/extent_max_zeroout_kb"
}

knob_is() {
	[ "$(knob)" = "$1" ]
}

stat_has() {
	grep -qx "$1" "/sys/kernel/debug/xsync/$(basename "$DISK")/stat"
}

# refused OPTIONS MESSAGE [MOUNT ARGUMENT...]
refused() {
	log_start
	if mount -t ext4 -o "$1" "${@:3}" "$DISK" $MNT 2> /dev/null; then
		echo "# mounted: $(findmnt -n -o FS-OPTIONS $MNT)"
		umount $MNT
		return 1
	fi
	logged "xsync: .*$2" && return
	dmesg | tail -n 4 | sed 's/^/# /'
	return 1
}

accepted() {
	mount -t ext4 -o "$1" "$DISK" $MNT && mounted_with xsync &&
		umount $MNT
}

# Where there is no journal the hooks get numbers for handles.
without_a_journal() {
	local image=/tmp/nojournal.img dir=/tmp/nojournal status

	modprobe loop && mkdir -p $dir
	truncate -s 32M $image
	mkfs.ext4 -q -F -O ^has_journal $image && mount -o loop $image $dir ||
		return
	# created, written, a hole with incomplete blocks at its ends, removed
	dd if=/dev/zero of=$dir/file bs=64k count=1 status=none &&
		fallocate -p -o 100 -l 20000 $dir/file && rm $dir/file
	status=$?
	umount $dir && return $status
}

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
modprobe ext4
make_fs

# --- without the module ------------------------------------------------------
log_start
ksft_test "without the module xsync is refused" \
	not mount -t ext4 -o xsync "$DISK" $MNT 2> /dev/null
ksft_test "by ext4 itself" logged "Unknown parameter 'xsync'"

load_modules || ksft_not_ok "the modules are loaded"

# --- the option --------------------------------------------------------------
log_start
ksft_test "mount -o xsync" mount -t ext4 -o xsync "$DISK" $MNT
ksft_test "/proc/mounts shows xsync" mounted_with xsync
ksft_test "data=journal is implied" mounted_with data=journal
ksft_test "commit_mode=output is the default" not mounted_with commit_mode=eager
ksft_test "extent_max_zeroout_kb is 0" knob_is 0
ksft_test "a small journal is warned of" \
	logged "xsync: $DISK: a journal of 8 MiB.*tune2fs -J size=256 $DISK"
ksft_test "rmmod says in use" \
	sh -c 'rmmod xsync 2>&1 | grep -q "in use"'
ksft_test "debugfs xsync/DEVICE/stat: live" stat_has "state: live"
ksft_test "debugfs xsync/DEVICE/stat: mode" stat_has "mode: output"
ksft_test "the journal's size" stat_has "journal_bytes: 8388608"

# --- remount -----------------------------------------------------------------
ksft_test "remount,commit_mode=eager" mount -o remount,commit_mode=eager $MNT
ksft_test "is shown" mounted_with commit_mode=eager
ksft_test "and used" stat_has "mode: eager"
ksft_test "remount,ro" mount -o remount,ro $MNT
ksft_test "keeps xsync" mounted_with xsync
ksft_test "remount,rw" mount -o remount,rw $MNT
ksft_test "keeps it too" mounted_with xsync
ksft_test "remount,noxsync" mount -o remount,noxsync $MNT
ksft_test "takes it away" not mounted_with xsync
ksft_test "and restores extent_max_zeroout_kb" knob_is 32
ksft_test "and debugfs is empty" \
	not test -e "/sys/kernel/debug/xsync/$(basename "$DISK")"
ksft_test "the module can be unloaded now" rmmod xsync
load_modules xsync
ksft_test "remount,xsync" mount -o remount,xsync $MNT
ksft_test "brings it back" mounted_with xsync
ksft_test "and the knob is 0 again" knob_is 0
log_start
ksft_test "remount,nobarrier is refused" \
	not mount -o remount,nobarrier $MNT 2> /dev/null
ksft_test "with a message" logged "xsync: .*nobarrier cannot go with xsync"
ksft_test "the barriers are still there" not mounted_with nobarrier
ksft_test "umount" umount $MNT
ksft_test "the next mount without it is plain" \
	mount -t ext4 "$DISK" $MNT
ksft_test "and shows no xsync" not mounted_with xsync
ksft_test "and has its own knob" knob_is 32
log_start
ksft_test "data=ordered cannot be remounted with xsync" \
	not mount -o remount,xsync $MNT 2> /dev/null
ksft_test "the message says what to do" \
	logged "xsync: .*without data=journal.*umount it everywhere, then mount"
log_start
ksft_test "a second mount with xsync of a plain one is refused" \
	not mount -t ext4 -o xsync "$DISK" $MNT.2 2> /dev/null
ksft_test "with the same message" logged "xsync: .*without data=journal"
ksft_test "and leaves the first one working" touch $MNT/file
umount $MNT

# --- values, order, fstab, no -t ---------------------------------------------
ksft_test "xsync,noxsync: the last wins" \
	mount -t ext4 -o xsync,noxsync "$DISK" $MNT
ksft_test "plain" not mounted_with xsync
umount $MNT
ksft_test "noxsync,xsync" accepted noxsync,xsync
ksft_test "commit_mode=output" accepted xsync,commit_mode=output
ksft_test "commit_mode=eager" accepted xsync,commit_mode=eager
ksft_test "data=journal given" accepted xsync,data=journal
ksft_test "barrier=0,barrier=1,xsync: the last wins" \
	accepted barrier=0,barrier=1,xsync
ksft_test "dax=never" accepted xsync,dax=never
ksft_test "without -t" sh -c "mount -o xsync $DISK $MNT && umount $MNT"
echo "$DISK $MNT ext4 xsync,noatime 0 0" >> /etc/fstab
ksft_test "fstab" sh -c "mount $MNT && grep ' $MNT .*noatime.*xsync' /proc/mounts > /dev/null"
umount $MNT
sed -i "\\,^$DISK ,d" /etc/fstab

# --- refusals ----------------------------------------------------------------
ksft_test "commit_mode=lazy is refused" \
	refused xsync,commit_mode=lazy "commit_mode=lazy is unknown: use commit_mode=output or commit_mode=eager"
ksft_test "commit_mode= without xsync is refused" \
	refused commit_mode=eager "commit_mode= means nothing without xsync"
ksft_test "xsync=1 is refused" refused xsync=1 "xsync takes no value"
for option in data=ordered data=writeback; do
	ksft_test "$option is refused" \
		refused "xsync,$option" "data=... cannot go with xsync: only data=journal"
done
ksft_test "nobarrier is refused" refused nobarrier,xsync "nobarrier cannot go"
ksft_test "barrier=0 is refused" refused xsync,barrier=0 "barrier=0 cannot go"
for option in noload norecovery; do
	ksft_test "$option is refused" \
		refused "ro,xsync,$option" "$option cannot go with xsync: without its journal"
done
ksft_test "dax is refused" refused xsync,dax "dax cannot go with xsync"
ksft_test "dax=always is refused" refused xsync,dax=always "dax=... cannot go"
ksft_test "delalloc is refused" refused xsync,delalloc "delalloc cannot go"
ksft_test "journal_async_commit is refused" \
	refused xsync,journal_async_commit "journal_async_commit cannot go.*ignores the result"
ksft_test "sync is refused" refused xsync,sync "sync makes every call wait"
ksft_test "dirsync is refused" refused xsync,dirsync "dirsync makes every call wait"
ksft_test "lazytime is refused" refused xsync,lazytime "lazytime keeps times in memory"
ksft_test "no mount is left by a refusal" not mountpoint -q $MNT
ksft_test "and no module reference" rmmod xsync
load_modules xsync

make_fs
mount -t ext4 -o xsync "$DISK" $MNT
ksft_test "one without a journal beside an xsync mount" without_a_journal
umount $MNT
make_fs -O ^has_journal
ksft_test "no journal is refused" refused xsync "no journal: make one with tune2fs -j $DISK"
tune2fs -j "$DISK" > /dev/null 2>&1
ksft_test "what the message says helps" accepted xsync
make_fs -O fast_commit
ksft_test "fast_commit is refused" refused xsync "fast_commit.*tune2fs -O ^fast_commit $DISK"
tune2fs -O ^fast_commit "$DISK" > /dev/null 2>&1
ksft_test "what the message says helps, too" accepted xsync
make_fs
tune2fs -o journal_data "$DISK" > /dev/null 2>&1
ksft_test "data=journal by the file system's default" accepted xsync
tune2fs -o ^journal_data,nobarrier "$DISK" > /dev/null 2>&1
ksft_test "nobarrier by the file system's default is refused" \
	refused xsync "without barriers"
ksft_test "barrier=1 overrides it" accepted xsync,barrier=1
make_fs

# --- second mount ------------------------------------------------------------
mount -t ext4 -o data=journal "$DISK" $MNT
ksft_test "a second mount with xsync of a data=journal one" \
	mount -t ext4 -o xsync "$DISK" $MNT.2
ksft_test "makes both xsync" mounted_with xsync $MNT
umount $MNT
ksft_test "the first one's umount changes nothing" mounted_with xsync $MNT.2
ksft_test "a mount without xsync" mount -t ext4 "$DISK" $MNT
ksft_test "does not take it away" mounted_with xsync $MNT.2
umount $MNT $MNT.2

# --- read-only ---------------------------------------------------------------
ksft_test "ro,xsync" mount -t ext4 -o ro,xsync "$DISK" $MNT
ksft_test "shows xsync" mounted_with xsync
ksft_test "stat says so" stat_has "state: readonly"
ksft_test "remount,rw makes it work" mount -o remount,rw $MNT
ksft_test "stat says live" stat_has "state: live"
touch $MNT/file
ksft_test "modifications taint" not stat_has "taints: 0"
umount $MNT
ksft_test "ro,xsync and umount" sh -c "mount -t ext4 -o ro,xsync $DISK $MNT && umount $MNT"

# --- fsopen ------------------------------------------------------------------
fsopen() {
	python3 - "$DISK" "$@" << 'EOF'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(430, b"ext4", 1)
def config(cmd, key=None, value=None):
    return libc.syscall(431, fd, cmd, key, value, 0)
config(1, b"source", sys.argv[1].encode())
for option in sys.argv[3:]:
    key, _, value = option.partition("=")
    if config(1 if value else 0, key.encode(), value.encode() or None):
        break
else:
    if not config(6, None, None):
        mnt = libc.syscall(432, fd, 1, 0)
        libc.syscall(429, mnt, b"", -100, sys.argv[2].encode(), 4)
        sys.exit(0)
try:
    while True:
        print(os.read(fd, 4096).decode().strip())
except OSError:
    sys.exit(1)
EOF
}
ksft_test "fsopen, fsconfig" fsopen $MNT xsync commit_mode=eager
ksft_test "mounts it" mounted_with commit_mode=eager
umount $MNT
log_start
fsopen $MNT xsync nobarrier > /tmp/fsopen.log
ksft_test "a refusal is in the context's log" grep -q "xsync: $DISK: nobarrier cannot go" /tmp/fsopen.log
ksft_test "and in the kernel's" logged "xsync: $DISK: nobarrier cannot go"

# --- a hook that cannot be placed --------------------------------------------
# An IPMODIFY user is hard to get without a module: take all of ftrace away.
mount -t tracefs tracefs /sys/kernel/tracing 2> /dev/null
sysctl -q kernel.ftrace_enabled=0
ksft_test "no ftrace: refused with the function's name" \
	refused xsync "cannot hook [a-z_0-9]*()"
sysctl -q kernel.ftrace_enabled=1
ksft_test "and accepted with it" accepted xsync

# --- encrypted files ---------------------------------------------------------
# A file opened before the policy exists would be the hole.
make_fs -O encrypt
mount -t ext4 -o xsync,test_dummy_encryption "$DISK" $MNT 2> /dev/null
if mountpoint -q $MNT; then
	log_start
	ksft_test "an encrypted file is not opened for writing" \
		not sh -c "echo secret > $MNT/file" 2> /dev/null
	ksft_test "the message names device, inode and reason" \
		logged "xsync: $(basename "$DISK"): inode [0-9]* refused.*encrypted"
	umount $MNT
else
	ksft_skip "an encrypted file is not opened for writing" "no encryption"
fi

ksft_test "both modules can be unloaded" unload_modules
ksft_done
