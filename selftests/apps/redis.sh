#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# Redis with its append-only file, always and each second: what clients have
# been told is there after kill -9, after a rewrite, and in a snapshot.

. "$(dirname "$0")/lib.sh"

requests=${REQUESTS:-400}

cli() {
	redis-cli -s "$WORK/socket" "$@"
}

# start POLICY
start() {
	redis-server --dir "$PWD" --port 0 --unixsocket "$WORK/socket" --save '' \
		--appendonly yes --appendfsync "$1" --enable-debug-command yes \
		--auto-aof-rewrite-percentage 0 >&2 &
	server=$!
	until_ready 60 cli ping
	until_ready 60 [ "$(cli ping)" = PONG ]
}

end() {
	kill "-$1" "$server"
	wait "$server"
	rm -f "$WORK/socket"
}

app() {
	local policy digest

	for policy in always everysec; do
		mkdir $policy
		cd $policy || return
		start $policy
		redis-benchmark -s "$WORK/socket" -n "$requests" -c 10 --csv \
			-t set,incr,lpush,rpop,sadd,hset,zadd,mset >&2
		redis-benchmark -s "$WORK/socket" -n "$requests" -c 10 -P 8 -d 500 \
			-r 10000 --csv -t set >&2
		cli incr counter
		cli eval 'for i = 1, 500 do
			redis.call("hset", "hash", i, string.rep("x", i)) end' 0
		cli xadd stream 1-1 field value
		cli multi >&2
		# Each second: what was told less than a second ago may be lost.
		[ $policy = always ] || sleep 3
		digest=$(cli debug digest)
		end KILL
		redis-check-aof "$(find . -name '*.manifest')" | grep -c 'is valid'
		start $policy
		[ "$digest" = "$(cli debug digest)" ] && echo "$policy: all is there"
		cli get counter
		cli hlen hash
		cli xlen stream
		cli bgrewriteaof
		until_ready 60 eval 'cli info persistence |
			grep -q aof_rewrite_in_progress:0'
		cli incr counter
		cli save
		redis-check-rdb dump.rdb | grep -c 'RDB looks OK'
		digest=$(cli debug digest)
		cli debug loadaof
		[ "$digest" = "$(cli debug digest)" ] && echo "$policy: rewritten"
		end TERM
		cd ..
	done
}

again() {
	local policy

	for policy in always everysec; do
		cd $policy || return
		redis-check-aof "$(find . -name '*.manifest')" | grep -c 'is valid'
		cd ..
	done
}

compare_mounts
