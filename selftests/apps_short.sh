#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240
#
# A little of what selftests/apps does (make check-apps): git and SQLite have the
# same results on an xsync mount as on plain ext4, the control.

. "$(dirname "$0")/apps/lib.sh"

app() {
	local i who

	export HOME=$WORK GIT_AUTHOR_DATE='1700000000 +0000'
	export GIT_COMMITTER_DATE='1700000000 +0000'
	git config --global user.name name
	git config --global user.email name@example.org
	git config --global core.fsync all
	git init -q -b main tree
	cp "$LIB_REPO"/Documentation/*.rst tree
	git -C tree add .
	git -C tree commit -q -m all
	for i in 1 2; do
		echo "$i" | tee "tree/$i" >>tree/testing.rst
		git -C tree add .
		git -C tree commit -q -m "$i"
	done
	git clone -q "file://$PWD/tree" clone
	git -C tree gc -q
	git -C tree fsck --full --strict
	git -C tree rev-list --objects --all | LC_ALL=C sort | sha256sum
	git -C clone status --short --branch

	for i in delete wal; do
		sqlite3 $i.db "pragma journal_mode=$i; create table t (who, n);"
		for who in a b; do
			{
				echo ".timeout 60000"
				seq -f "insert into t values ('$who', %g);" 20
			} | sqlite3 $i.db >&2 &
		done
		wait
		sqlite3 $i.db 'select who, count(*), sum(n) from t group by who;
			pragma integrity_check;'
	done
}

again() {
	tree_of clone | grep -v '/.git\|^\.git' | sha256sum
	sqlite3 wal.db 'pragma integrity_check; select count(*) from t;'
}

compare_mounts
