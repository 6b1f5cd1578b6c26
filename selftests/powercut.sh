#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: host timeout=1200
# Law 1: after a power cut all is there that an observer outside was told of,
# and in order. The negative control is a mount without xsync. `make powercut`
# is the long form.
. "$(dirname "$0")/lib.sh"

output=$(mktemp)
trap 'rm -f "$output"' EXIT
"$LIB_REPO/tools/powercut/powercut" --short > "$output" 2>&1
status=$?
sed 's/^/# /' "$output"

# row NAME: the numbers of a row: cuts, then bad ones
row() {
	awk -F ' *[|] *' -v name="$1" '$1 == name { print $2, $3 }' "$output"
}

read -r cuts bad <<< "$(row "async ordered")"
ksft_test "async: steps that were told of are lost (negative control)" \
	test "${bad:-0}" -gt 0
read -r cuts bad <<< "$(row xsync)"
ksft_test "xsync: 50 cuts have been made" test "${cuts:-0}" -ge 50
ksft_test "xsync: nothing is lost, out of order or corrupt" \
	test "${bad:-1}" -eq 0
ksft_test "the tool says the same" test $status -eq 0
ksft_done
