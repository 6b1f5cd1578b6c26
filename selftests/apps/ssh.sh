#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# An ssh server on the mount: commands, terminals, scp, sftp and rsync by a client
# on the machine and by one outside.

. "$(dirname "$0")/lib.sh"

# session ADDRESS NAME
session() {
	local ssh="-F none -i $WORK/key -p 2222 -o StrictHostKeyChecking=no
		-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"

	# shellcheck disable=SC2086
	{
		ssh $ssh "$1" "cd $top && mkdir $2 && seq 20000 | tee $2/seq | tail -1"
		ssh $ssh -tt "$1" "cd $top/$2 && stty size >size; tty >tty;
			for i in 1 2 3; do echo line \$i | tee -a lines; done;
			exit 3" | tr -d '\r'
		echo "status ${PIPESTATUS[0]}"
		seq 50000 | ssh $ssh "$1" "cat >$top/$2/stdin; wc -l <$top/$2/stdin"
		scp -q $ssh -P 2222 -r "$top/source" "$1:$top/$2/scp" 2>&1
		scp -q $ssh -P 2222 -r "$1:$top/$2/scp" "$top/$2/back" 2>&1
		diff -r "$top/source" "$top/$2/back" && echo scp the same
		sftp -q $ssh -P 2222 -b - "$1" 2>&1 <<-END | grep -v '^sftp>'
		cd $top/$2
		mkdir sftp
		put -f seq sftp/seq
		rename sftp/seq sftp/renamed
		ls sftp
		END
		rsync -a -e "ssh ${ssh//[$'\n\t']/ }" "$top/source/" \
			"$1:$top/$2/rsync" 2>&1
		diff -r "$top/source" "$top/$2/rsync" && echo rsync the same
	}
}

app() {
	local server

	export top=$PWD WORK
	export -f session
	outside_up
	mkdir -p /run/sshd source
	tar -xf "$LIB_REPO/build/apps/source.tar" -C source ./fs/{ext4,jbd2}
	ssh-keygen -q -t ed25519 -N '' -f "$WORK/key" >&2
	ssh-keygen -q -t ed25519 -N '' -f "$WORK/host" >&2
	chmod 700 "$WORK"
	cp "$WORK/key.pub" "$WORK/authorized"
	chmod 600 "$WORK/authorized"
	cat >"$WORK/config" <<-END
	Port 2222
	HostKey $WORK/host
	AuthorizedKeysFile $WORK/authorized
	StrictModes no
	PermitRootLogin yes
	UsePAM no
	PidFile none
	UseDNS no
	Subsystem sftp internal-sftp
	END
	/usr/sbin/sshd -D -e -f "$WORK/config" 2>"$PWD/log" &
	server=$!
	until_ready 30 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2222'
	session 127.0.0.1 inside
	outside bash -c 'session 10.99.0.1 outside'
	kill $server
	wait $server
	outside_down
	grep -c 'Accepted publickey' log
	rm -rf inside/tty outside/tty
	tree_of inside
	tree_of outside
}

again() {
	tree_of outside
}

compare_mounts
