#!/bin/bash
# vm: timeout=400
# Law: what fsync has promised is in the file after a crash, to the byte; and
# without a crash a file has what was written to it.
# A reduced xfstests generic/455: random operations with fsync marks on top of
# dm-log-writes; the log is replayed up to each mark, the journal recovered, the
# file compared. The negative controls are stock data=journal, which fails both:
# - zeroing around a write into a preallocated extent bypasses the journal
#   (xsync/zeroout.c);
# - collapse and insert range lose stores made through a mapping
#   (xsync/shift.c); left out of the first control.
. "$(dirname "$0")/lib.sh"

MNT=/mnt/fsx
RUN=$(mktemp -d)
FSX=$RUN/fsx
DISK=$(scratch_disk scratch0) || ksft_skip_all "no scratch disk"
SEEDS=${SEEDS:-"1 2 3 4 5 6"}
OPS=${OPS:-100}

cc -O1 -D_GNU_SOURCE -o "$FSX" "$(dirname "$0")/fsx/fsx.c" ||
	ksft_skip_all "no compiler"
modprobe -a dm_mod dm_log_writes loop ext4
mkdir -p $MNT $MNT.crash

# To be run at each mark, with a copy: recovery writes to it.
cat > "$RUN/check" << EOF
case \$1 in dm-log-writes-end) exit 0 ;; esac
cp --sparse=always $RUN/image $RUN/crash
mount -t ext4 -o loop $RUN/crash $MNT.crash || exit 1
if cmp -s $MNT.crash/file $RUN/\$1; then
	echo same
else
	echo "different \$1"
fi >> $RUN/results
umount $MNT.crash
rm $RUN/\$1
EOF

# crash_test OPTIONS SEED [WITHOUT]: appends to $RUN/results and $RUN/live
crash_test() {
	dmsetup create fsxdata --table "0 65536 linear $DISK 0" &&
	dmsetup create fsxlog --table "0 1310720 linear $DISK 65536" &&
	dmsetup create fsx --table \
		"0 65536 log-writes /dev/mapper/fsxdata /dev/mapper/fsxlog" &&
	mkfs.ext4 -q -F -J size=8 -E nodiscard,lazy_itable_init=1 \
		/dev/mapper/fsx &&
	mount -t ext4 -o "$1" /dev/mapper/fsx $MNT || return
	"$FSX" run $MNT/file "$OPS" "$2" "$RUN/mark" fsx "$3" \
		> /dev/null 2>> "$RUN/live" ||
		echo "failed: fsx, seed $2" >> "$RUN/results"
	umount $MNT
	dmsetup remove --retry fsx
	rm -f "$RUN/image"
	truncate -s 32M "$RUN/image"
	"$FSX" replay /dev/mapper/fsxlog "$RUN/image" "sh $RUN/check" ||
		echo "failed: replay, seed $2" >> "$RUN/results"
	dmsetup remove --retry fsxdata
	dmsetup remove --retry fsxlog
}

# live_test OPTIONS SEED: the same without a log
live_test() {
	mkfs.ext4 -q -F -J size=8 -E nodiscard,lazy_itable_init=1 "$DISK" 32M &&
	mount -t ext4 -o "$1" "$DISK" $MNT || return
	"$FSX" run $MNT/file "$OPS" "$2" "$RUN/mark" - > /dev/null \
		2>> "$RUN/live"
	umount $MNT
}

summary() {
	echo "# $1: $(grep -c '^different' "$RUN/results") of" \
		"$(grep -c . "$RUN/results") marks differ after a crash," \
		"$(grep -c wrong "$RUN/live") without"
	grep '^failed' "$RUN/results" | sed 's/^/# /'
}

clear_results() {
	: > "$RUN/results"
	: > "$RUN/live"
}

load_modules || ksft_not_ok "the modules are loaded"

clear_results
for seed in $SEEDS; do
	crash_test data=journal "$seed" ci
	# One is enough to show that the test sees it.
	grep -q '^different' "$RUN/results" && break
done
summary "stock data=journal, seeds up to $seed"
ksft_test "stock data=journal recovers stale data (negative control)" \
	grep -q '^different' "$RUN/results"
ksft_test "the tools have not failed" \
	sh -c "! grep -q '^failed' $RUN/results"

clear_results
for seed in $SEEDS; do
	live_test data=journal "$seed"
	grep -q wrong "$RUN/live" && break
done
summary "stock data=journal, no crash, seeds up to $seed"
ksft_test "stock data=journal loses mapped stores (negative control)" \
	grep -q wrong "$RUN/live"

clear_results
crash_test xsync 1 ci
crash_test xsync 2
crash_test xsync 3
summary "xsync"
ksft_test "xsync: every mark has been compared" \
	test "$(grep -c '^same' "$RUN/results")" -ge 15
ksft_test "xsync: no stale data after a crash" \
	sh -c "! grep -q '^different' $RUN/results"
ksft_test "xsync: no store lost without one" \
	sh -c "! grep -q wrong $RUN/live"
ksft_test "the tools have not failed" \
	sh -c "! grep -q '^failed' $RUN/results"
rm -r "$RUN"
ksft_test "the modules can be unloaded" unload_modules
ksft_done
