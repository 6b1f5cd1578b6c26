#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150
#
# xsyncwhy tells who modified what, and by which way the dependency came to the
# output that is late, or to the call that waits; and of a process that has
# nothing to do with it, nothing. Commits are real, so nothing is stuck.
. "$(dirname "$0")/lib.sh"

WHY=$LIB_REPO/tools/xsyncwhy
OUT=/tmp/xsyncwhy.out

# told COMMAND...: run it under xsyncwhy; what that says goes to $OUT
told() {
	timeout 60 "$WHY" -o "$OUT" -- "$@" > /tmp/xsyncwhy.log 2>&1 || return
	sleep 6		# this shell waited for it: become clean again
}

says() {
	grep -qE -- "$1" "$OUT" || { sed 's/^/# /' "$OUT"; return 1; }
}

says_nothing() {
	! grep -q . "$OUT" || { sed 's/^/# /' "$OUT"; return 1; }
}

ksft_test "without the module: a message" \
	eval '"$WHY" true 2>&1 | grep -q "speculator is not loaded"'
load_modules || ksft_skip_all "cannot load the modules"
gate_setup xsync || ksft_skip_all "no gate"
sleep 6

# A process of its own for each step, with a name of its own.
cp /bin/dd /tmp/modifier
cp /bin/cat /tmp/carrier
cp /bin/cat /tmp/printer
ksft_test "a held terminal write: runs" told bash -c \
	"{ sleep 1; echo x | /tmp/modifier of=$GATE_MNT/file status=none; echo done; } |
	 /tmp/carrier | /tmp/printer > /dev/ttyS1"
ksft_test "who printed, how much, for how long" \
	says '^printer\[[0-9]+\]: 5 bytes to tty, held for [0-9.]+ ms'
ksft_test "by which way" says '-> printer\[[0-9]+\] \(pipe'
ksft_test "through whom" says '^    carrier\[[0-9]+\] -> pipe'
ksft_test "who modified what" \
	says 'modifier\[[0-9]+\] modified inode [0-9, ]+ of [a-z0-9-]+, commit [0-9]+'

ksft_test "a call that waits: runs" told bash -c \
	"echo y > $GATE_MNT/file2; exec hostname xsyncwhy"
ksft_test "who waited, in what, for how long" \
	says '^hostname\[[0-9]+\] waited for [0-9.]+ ms \(system\)'
ksft_test "its exec" says 'bash\[[0-9]+\] -> hostname'
ksft_test "its own modification" \
	says 'bash\[[0-9]+\] modified inode [0-9, ]+ of'

ksft_test "a packet: runs" told bash -c \
	"echo z > $GATE_MNT/file3; ip link add why0 type dummy; exit 0"
ksft_test "a socket that waits" says 'waited for [0-9.]+ ms \(socket\)'

ksft_test "nothing to do with it: runs" told bash -c \
	"echo clean | cat > /dev/ttyS1; hostname other"
ksft_test "nothing is said" says_nothing

ksft_test "no trace instance is left" \
	eval '! ls /sys/kernel/tracing/instances | grep -q .'
gate_teardown
ksft_test "modules unload" unload_modules
ksft_done
