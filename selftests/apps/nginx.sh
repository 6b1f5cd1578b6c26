#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# nginx: files, uploads, a cache and logs on the mount, for a client on the
# machine and for one outside, which is told of an upload when it is durable.

. "$(dirname "$0")/lib.sh"

configuration() {
	cat <<-END
	user www-data;
	worker_processes 2;
	pid $WORK/pid;
	error_log $PWD/error.log;
	events { }
	http {
		log_format short '\$request_method \$uri \$status \$body_bytes_sent';
		access_log $PWD/access.log short;
		client_body_temp_path $PWD/body;
		proxy_temp_path $PWD/proxy;
		proxy_cache_path $PWD/cache keys_zone=cache:1m;
		fastcgi_temp_path $PWD/t1; uwsgi_temp_path $PWD/t2;
		scgi_temp_path $PWD/t3;
		sendfile on;
		server {
			listen 8080;
			root $PWD/www;
			location /up/ {
				root $PWD;
				dav_methods PUT DELETE MKCOL COPY MOVE;
				create_full_put_path on;
			}
		}
		server {
			listen 8081;
			location / {
				proxy_pass http://127.0.0.1:8080;
				proxy_cache cache;
				proxy_cache_valid 200 1h;
			}
		}
	}
	END
}

# client ADDRESS DIR: fetch all, upload, fetch what was uploaded, by the cache
client() {
	seq "$files" | sed "s,.*,url = http://$1:8080/&\noutput = $2/&," >"$2.get"
	curl -sS --no-progress-meter --fail --parallel --parallel-max 4 -K "$2.get" 2>&1
	seq 30 | sed "s,.*,upload-file = $2/&\nurl = http://$1:8080/up/$2-&," \
		>"$2.put"
	curl -sS --fail -K "$2.put" 2>&1
	seq 30 | sed "s,.*,url = http://$1:8080/up/$2-&\noutput = $2/up-&," >"$2.up"
	curl -sS --fail -K "$2.up" 2>&1
	seq 40 | sed "s,.*,url = http://$1:8081/&\noutput = $2/cached-&," >"$2.cached"
	curl -sS --fail -K "$2.cached" 2>&1
	curl -sS -o /dev/null -w '%{http_code}\n' "http://$1:8080/absent"
	curl -sS -o /dev/null -w '%{http_code}\n' -X DELETE "http://$1:8080/up/$2-1"
}

app() {
	local i server

	export files=${FILES:-150}
	export -f client
	outside_up

	mkdir www up
	for ((i = 1; i <= files; i++)); do
		seq $((i * i)) >www/$i
	done
	chown -R www-data: .
	configuration >"$WORK/conf"
	nginx -t -c "$WORK/conf" >&2 || return
	nginx -c "$WORK/conf" -g 'daemon off;' >&2 &
	server=$!
	until_ready 30 curl -s http://127.0.0.1:8080/1
	(
		cd "$WORK" || exit
		mkdir inside outside
		client 127.0.0.1 inside &
		outside bash -c 'client 10.99.0.1 outside' >outside.said &
		wait
		cat outside.said
		tree_of inside
		tree_of outside
	)
	mv access.log access.1
	kill -USR1 $server
	until_ready 30 [ -e access.log ]
	curl -sS http://127.0.0.1:8080/1 >&2
	kill -QUIT $server
	wait $server
	outside_down
	LC_ALL=C sort access.1 | uniq -c
	cat access.log
	grep -c . error.log
	tree_of www | sha256sum
	tree_of up
	find cache -type f | wc -l
}

again() {
	tree_of up | sha256sum
	LC_ALL=C sort access.1 | sha256sum
}

compare_mounts
