#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# make -j2 of libraries of the kernel's tools/, and again after a change.

. "$(dirname "$0")/lib.sh"

libraries=${LIBRARIES:-subcmd api}

app() {
	local library

	mkdir source
	tar -xf "$LIB_REPO/build/apps/source.tar" -C source ./tools ./scripts
	cd source || return
	for library in $libraries; do
		make -j2 -s -C tools/lib/"$library" 2>&1
	done
	touch tools/lib/api/fs/fs.c
	make -j2 -C tools/lib/api V=1 | grep -c 'fs\.c'
	make -j2 -C tools/lib/api V=1 | grep -c 'fs\.c'
	find . -name '*.[ao]' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
	make -s -C tools/lib/subcmd clean
	tree_of . | sha256sum
}

compare_mounts
