#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own mem=3072 timeout=1800
#
# MariaDB's own tests, as Debian packages them: a part of the main suite, and of
# InnoDB's those that kill the server and look at what it recovers.

. "$(dirname "$0")/lib.sh"

tests="${TESTS:-main.create main.insert main.delete main.truncate main.loaddata
	main.outfile main.type_blob main.partition main.fulltext main.myisam
	innodb.innodb_force_recovery
	innodb.101_compatibility,16k maria.rollback}"

app() {
	chown mysql: . "$WORK"
	# A path of a socket must be short.
	# shellcheck disable=SC2086
	(
		data=$PWD
		cd /usr/share/mysql/mysql-test &&
			as mysql ./mysql-test-run --vardir="$data/var" \
				--tmpdir="$WORK/tmp" --force --nowarnings --retry=0 \
				--max-test-fail=0 --testcase-timeout=5 $tests
	) >"$WORK/said" 2>&1
	cat "$WORK/said" >&2
	# TEST ['VARIANT'] [ RESULT ] MILLISECONDS or why not
	sed -nE "s/^([a-z_]+\.[^ ]+( '[^']*')?) +(\[ [a-z]+ \]) *([0-9]+$)?/\1 \3 /p" \
		"$WORK/said" | LC_ALL=C sort
	grep -q '^Completed: All .* successful' "$WORK/said"
}

count() {
	awk '{ n[$(NF - 1)]++ } END { for (r in n) printf "%d %s ", n[r], r }'
}

compare_mounts
