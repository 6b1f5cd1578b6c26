#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own mem=3072 timeout=1800
#
# Python's own tests of files, mappings and processes.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/regrtest.sh"

app() {
	regrtest test_os test_posix test_fileio test_file test_mmap test_pty \
		test_fcntl test_shutil test_tempfile
	# Of these not all, which would take too long.
	# shellcheck disable=SC2046
	regrtest test_io $(printf -- '-m %s ' \
		CIOTest CBufferedWriterTest CBufferedRandomTest CTextIOWrapperTest)
	regrtest test_subprocess -m '*communicate*' -m '*pipe*' -m '*fds*'
	regrtest test_mailbox -m TestMaildir -m TestMbox
}

compare_mounts
