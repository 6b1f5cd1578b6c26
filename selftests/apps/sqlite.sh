#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# SQLite with each journal: processes that compete, one that is killed in the
# middle, a database with all kinds of tables and indexes.

. "$(dirname "$0")/lib.sh"

rows=${ROWS:-40}
# All but the log, whose order is a matter of time.
dump='.dump t w audit words box sum'

# compete DATABASE NAME: one of several, a row and a sum in each transaction
compete() {
	local i

	echo ".timeout 60000"
	for ((i = 0; i < rows; i++)); do
		echo "begin immediate;
		update sum set n = n + $i, times = times + 1;
		insert into log values ('$2', $i, hex(zeroblob($i)));
		commit;"
	done | cat
}

features() {
	cat <<-'END'
	create table t (id integer primary key, a text unique, b real, c blob);
	create index tb on t (b, c) where id % 3;
	create table audit (what text, id integer);
	create trigger tr after delete on t begin
		insert into audit values ('deleted', old.id); end;
	with recursive n (i) as (select 1 union all select i + 1 from n
		where i < 3000)
		insert into t select i, 'text ' || i, i / 7.0, zeroblob(i % 200)
		from n;
	create virtual table words using fts5 (w);
	insert into words select a from t;
	insert into words (words) values ('optimize');
	create virtual table box using rtree (id, x0, x1);
	insert into box select id, b, b + 1 from t;
	delete from t where id % 5 = 0;
	savepoint s; update t set c = randomblob(50000) where id < 60; rollback to s;
	update t set b = b * 2 where id % 7 = 0;
	alter table t add column d default 'd';
	create table w (k text primary key, v) without rowid;
	insert into w select a, json_object('id', id) from t;
	reindex; analyze; vacuum;
	select count(*) from words where words match '"17"*';
	select count(*), round(sum(x0), 2) from box;
	select sum(json_extract(v, '$.id')) from w;
	select count(*), sum(length(c)), round(sum(b), 3) from t;
	END
}

app() {
	local mode i writer

	for mode in delete truncate persist wal; do
		echo "journal $(sqlite3 $mode.db "pragma journal_mode=$mode;")"
		sqlite3 $mode.db "create table sum (n, times);
			insert into sum values (0, 0);
			create table log (who, i, filler);"
		for i in a b c; do
			compete $mode.db $i | sqlite3 -bail $mode.db >&2 &
		done
		wait
		sqlite3 $mode.db 'select * from sum; select who, count(*),
			sum(i), sum(length(filler)) from log group by who;
			pragma integrity_check;'
		features | sqlite3 $mode.db
		sqlite3 $mode.db "$dump" | sha256sum
		sqlite3 $mode.db ".backup backup-$mode.db"
		sqlite3 backup-$mode.db "$dump" | sha256sum

		# One that is killed: what is there are its first rows.
		sqlite3 $mode.db 'create table kill (n integer primary key);'
		{
			echo ".timeout 60000"
			for ((i = 0; ; i++)); do
				echo "insert into kill values ($i);"
			done
		} 2>&- | sqlite3 $mode.db >&2 &
		writer=$!
		until_ready 60 eval "[ \$(sqlite3 -cmd '.timeout 60000' $mode.db \
			'select count(*) from kill') -gt 20 ]"
		kill -KILL $writer
		wait $writer
		sqlite3 $mode.db 'pragma integrity_check;
			select count(*) > 20, min(n), max(n) = count(*) - 1 from kill;'
	done
}

again() {
	local mode

	for mode in delete truncate persist wal; do
		sqlite3 $mode.db 'pragma integrity_check; pragma journal_mode;
			select * from sum;'
	done
}

compare_mounts
