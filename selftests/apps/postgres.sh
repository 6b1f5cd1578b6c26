#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# PostgreSQL with checksums: postgres.sql, pgbench, a crash under load (kill -9 of
# all its processes), a base backup, dump and restore, and its own checks.

. "$(dirname "$0")/lib.sh"

clients=4 transactions=${TRANSACTIONS:-50}
sql=$LIB_REPO/selftests/apps/postgres.sql

query() {
	as postgres psql -h "$WORK" -XqAt "$@" postgres 2>&1
}

start() {
	rm -f "$WORK"/.s.*
	as postgres postgres -D "$PWD/data" -k "$WORK" -c listen_addresses= \
		-c shared_buffers=32MB -c timezone=UTC -c wal_level=replica \
		-c max_prepared_transactions=4 -c max_wal_size=64MB \
		-c checkpoint_timeout=30s >&2 &
	server=$!
	until_ready 120 as postgres psql -h "$WORK" -c 'select 1' postgres
}

balances() {
	query -c 'select (select sum(abalance) from pgbench_accounts) =
		(select sum(delta) from pgbench_history),
		(select sum(bbalance) from pgbench_branches) =
		(select sum(tbalance) from pgbench_tellers),
		(select sum(bbalance) from pgbench_branches) =
		(select sum(delta) from pgbench_history)'
}

bench() {
	as postgres pgbench -h "$WORK" -n -c $clients "$@" postgres
}

app() {
	local bench told

	chown postgres: . "$WORK"
	as postgres initdb -k --no-locale -E UTF8 -A trust -D "$PWD/data" >&2 ||
		return
	start || return
	query -f "$sql"
	as postgres pgbench -h "$WORK" -i -s 1 -q postgres >&2
	bench -t "$transactions" --random-seed=1 >&2
	query -c 'select count(*) from pgbench_history'
	balances

	# What a client has been told is there after a crash.
	query -c 'create table told (n int)'
	for ((told = 0; ; told++)); do
		echo "insert into told values ($told) returning n;"
	done 2>&- | as postgres psql -h "$WORK" -XqAt postgres \
		>"$WORK/told" 2>&- &
	bench -T 300 >/dev/null 2>&1 &
	bench=$!
	# shellcheck disable=SC2016
	until_ready 120 eval '[ $(wc -l <"$WORK/told") -gt 100 ]'
	# shellcheck disable=SC2046
	kill -KILL $server $(ps -o pid= --ppid $server)
	wait $server $bench
	told=$(grep -c '^[0-9]' "$WORK/told")
	rm -f data/postmaster.pid
	start || return
	query -c "select max(n) = count(*) - 1, count(*) >= $told from told"
	balances
	query -c 'select gid from pg_prepared_xacts' \
		-c "commit prepared 'prepared'" -c 'select count(*), sum(n) from child' \
		-c 'select md5(string_agg(p::text, $$,$$ order by id)) from parent p'
	query -c 'create extension amcheck'
	as postgres pg_amcheck -h "$WORK" --all --heapallindexed \
		--parent-check 2>&1
	as postgres pg_basebackup -h "$WORK" -D "$PWD/backup" -c fast 2>&1
	as postgres pg_verifybackup "$PWD/backup" 2>&1
	# But for a key that is another one each time.
	as postgres pg_dump -h "$WORK" -T told -T 'pgbench*' postgres |
		grep -v '^.\(un\)\?restrict' >dump.sql
	sha256sum dump.sql
	as postgres createdb -h "$WORK" restored
	as postgres psql -h "$WORK" -Xq restored <dump.sql 2>&1
	as postgres pg_dump -h "$WORK" restored |
		grep -v '^.\(un\)\?restrict' | sha256sum
	as postgres pg_ctl -D "$PWD/data" -m fast stop >&2
	wait $server
	as postgres pg_checksums --check -D "$PWD/data" |
		grep -E 'Bad|version'
}

again() {
	as postgres pg_checksums --check -D "$PWD/data" | grep Bad
	as postgres pg_verifybackup "$PWD/backup" 2>&1
}

compare_mounts
