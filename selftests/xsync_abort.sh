#!/bin/bash
# vm: timeout=180 expect='.*(Aborting journal|I/O error|EXT4-fs error).*'
# Law: when the journal dies, nothing more is promised, everybody is told, and
# nothing hangs. Control: the same steps on a healthy disk show none of it.
# (What becomes of held output is the matter of the tests of the outputs.)
#
# Who depends on what is lost can tell nobody until the file system is
# unmounted. So one process, the victim, touches the file system; it keeps what
# it has seen until then, and the rest looks at debugfs and the log only.
. "$(dirname "$0")/lib.sh"

STAT=/sys/kernel/debug/xsync/dm-0/stat
TRACE=/sys/kernel/tracing
LOG_MARK="xsync_abort mark $RANDOM$RANDOM"
RUN=$(mktemp -d)

not() {
	! "$@"
}

logged() {
	dmesg | sed "1,/$LOG_MARK/d" | grep -q -e "$1"
}

state_becomes() {
	local end=$((SECONDS + $2))

	until grep -qx "state: $1" $STAT; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

# The gate leads to TARGET from now on; error: all I/O fails.
gate_target() {
	dmsetup load gate --table "0 $(blockdev --getsz $GATE_DEV) $1" &&
		dmsetup suspend --nolockfs --noflush gate &&
		dmsetup resume gate
}

aborts_traced() {
	grep -q "abort: source=dm-0 error=" $TRACE/trace
}

victim() {
	exec python3 - "$GATE_MNT" "$RUN" $STAT << 'EOF'
import ctypes, os, sys, time
mnt, run, stat = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
seen = []
def until(condition):
    while not condition():
        time.sleep(0.2)
def call(name, function):
    try:
        function()
        seen.append(name + " ok")
    except OSError as error:
        seen.append(f"{name} {error.strerror}")
def syncfs():
    if libc.syncfs(fd):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
fd = os.open(mnt + "/a", os.O_RDWR | os.O_CREAT)
def write_and_fsync():
    os.pwrite(fd, os.urandom(65536), 0)
    os.fsync(fd)
call("healthy-fsync", write_and_fsync)
call("healthy-syncfs", syncfs)
until(lambda: os.path.exists(run + "/broken"))
call("promise", write_and_fsync)
until(lambda: "state: failed" in open(stat).read())
call("fsync", lambda: os.fsync(fd))
call("fsync-again", lambda: os.fsync(fd))
call("syncfs", syncfs)
call("syncfs-again", syncfs)
call("sync", os.sync)
call("create", lambda: os.open(mnt + "/new", os.O_RDWR | os.O_CREAT))
os.close(fd)
until(lambda: not os.path.exists("/sys/fs/ext4/dm-0"))
with open(run + "/seen", "w") as file:
    file.write("\n".join(seen) + "\n")
EOF
}

saw() {
	grep -qx "$1" "$RUN/seen"
}

load_modules || ksft_not_ok "the modules are loaded"
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mountpoint -q $TRACE || mount -t tracefs tracefs $TRACE
echo 1 > $TRACE/events/xsync/abort/enable
echo "$LOG_MARK" > /dev/kmsg

gate_setup xsync commit=1 || ksft_not_ok "the file system is mounted"
victim &
ksft_test "a healthy journal is not said to have failed" \
	not state_becomes failed 5
ksft_test "nor in the log" not logged "the journal has failed"
ksft_test "nor in the trace" not aborts_traced

gate_target error
touch "$RUN/broken"
ksft_test "a failed commit is noticed" state_becomes failed 30
ksft_test "the log names the device" logged "dm-0: the journal has failed (-"
ksft_test "the trace, too" aborts_traced
sleep 4
ksft_test "umount works" timeout 60 umount $GATE_MNT
wait
ksft_test "fsync and syncfs succeeded on the healthy disk" \
	sh -c "grep -qx 'healthy-fsync ok' $RUN/seen && grep -qx 'healthy-syncfs ok' $RUN/seen"
for call in fsync fsync-again syncfs syncfs-again create; do
	ksft_test "$call fails after the failure" not saw "$call ok"
done
ksft_test "sync(2) returns" saw "sync ok"

gate_target "linear $(scratch_disk scratch0) 0"
e2fsck -fy $GATE_DEV > /dev/null 2>&1
ksft_test "once repaired it can be mounted again" \
	mount -t ext4 -o xsync $GATE_DEV $GATE_MNT
ksft_test "and fsync works" dd if=/dev/zero of=$GATE_MNT/b bs=4k count=1 \
	conv=fsync status=none
ksft_test "live" state_becomes live 1
echo 0 > $TRACE/events/xsync/abort/enable
ksft_test "the gate is taken down" gate_teardown
ksft_test "the modules can be unloaded" unload_modules
sed 's/^/# /' "$RUN/seen"
rm -r "$RUN"
ksft_done
