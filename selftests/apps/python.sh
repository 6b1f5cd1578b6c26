#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own mem=3072 timeout=1200
#
# Python's own tests of files, mappings and processes.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/regrtest.sh"

app() {
	regrtest test_os test_posix test_io test_fileio test_file test_mmap \
		test_subprocess test_pty test_fcntl test_shutil test_tempfile \
		test_mailbox
}

compare_mounts
