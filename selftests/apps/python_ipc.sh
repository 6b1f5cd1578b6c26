#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own mem=3072 timeout=1800
#
# Python's own tests of sockets, asyncio and multiprocessing. Of the latter two
# not all, which would take too long.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/regrtest.sh"

app() {
	regrtest test_socket test_epoll test_asyncio.test_{subprocess,streams} \
		test_asyncio.test_{unix_events,server,sock_lowlevel}
	# shellcheck disable=SC2046
	regrtest test_multiprocessing_fork $(printf -- '-m WithProcessesTest%s ' \
		Queue Connection SharedMemory Pool Lock Heap Value Barrier)
}

compare_mounts
