#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# Postfix with its queue and the mail on the mount: what it has accepted, by SMTP
# from the machine and from outside, and by sendmail, is delivered.

. "$(dirname "$0")/lib.sh"

export messages=${MESSAGES:-20}

# Another mail server may be installed on the host: the package is only unpacked,
# in the guest.
install_postfix() {
	[ -e /tmp/postfix ] && return
	mkdir /tmp/postfix
	dpkg -x "$LIB_REPO"/build/apps/postfix/postfix_*.deb /tmp/postfix
	cp -a /tmp/postfix/usr /tmp/postfix/etc /
	getent group postdrop || groupadd -r postdrop
	id postfix || useradd -r -d /nonexistent postfix
	# as the package's script does
	chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop
	chmod g+s /usr/sbin/postqueue /usr/sbin/postdrop
}

configure() {
	mkdir "$WORK/etc"
	cp /usr/share/postfix/master.cf.dist "$WORK/etc/master.cf"
	cat >"$WORK/etc/main.cf" <<-END
	compatibility_level = 3.6
	myhostname = guest.example.org
	mydestination =
	mynetworks = 127.0.0.0/8 10.99.0.0/24
	inet_protocols = ipv4
	daemon_directory = /usr/lib/postfix/sbin
	queue_directory = $PWD/spool
	data_directory = $PWD/data
	maillog_file = $PWD/log
	maillog_file_prefixes = $PWD
	alias_maps =
	virtual_mailbox_domains = example.org
	virtual_mailbox_base = $PWD/mail
	virtual_mailbox_maps = regexp:$WORK/etc/boxes
	virtual_uid_maps = static:65534
	virtual_gid_maps = static:65534
	smtpd_relay_restrictions = permit_mynetworks, reject
	END
	printf '/^%s@/ %s\n' mbox mbox inside inside/ outside outside/ local local/ \
		>"$WORK/etc/boxes"
	postconf -c "$WORK/etc" -F '*/*/chroot=n'
	postconf -c "$WORK/etc" -P
}

# send ADDRESS TO
send() {
	smtp-source -m "$messages" -s 4 -l 3000 -f from@example.net \
		-t "$2@example.org" "$1:25" 2>&1
}

bodies() {
	local file

	find "mail/$1" -type f | while read -r file; do
		sed '1,/^$/d' "$file" | sha256sum
	done | sort | uniq -c
}

app() {
	local i

	export -f send
	install_postfix >&2
	mkdir spool data mail
	chown postfix data
	chown nobody:nogroup mail
	configure >&2
	outside_up

	postfix -c "$WORK/etc" start >&2 || return
	until_ready 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/25'
	send 127.0.0.1 inside
	outside bash -c 'send 10.99.0.1 outside'
	send 127.0.0.1 mbox
	for i in {1..10}; do
		seq "$((i * 100))" | MAIL_CONFIG=$WORK/etc sendmail -f me \
			local@example.org
	done
	# shellcheck disable=SC2016
	until_ready 300 eval 'postqueue -c "$WORK/etc" -p | grep "is empty"'
	postqueue -c "$WORK/etc" -p
	postfix -c "$WORK/etc" stop >&2
	until_ready 60 eval '! pgrep -x master'
	outside_down
	for i in inside outside local; do
		echo $i
		bodies $i
	done
	grep -c '^From ' mail/mbox
	grep -c 'status=sent' log
	# without the time and the number of the process
	grep -E 'fatal|panic|error|warning' log |
		sed -E 's/^.{15} //; s/\[[0-9]+\]//'
	find spool -type f | grep -v /pid/
	return 0
}

again() {
	local i

	for i in inside outside local; do
		bodies $i
	done
}

compare_mounts
