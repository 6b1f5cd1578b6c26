#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# dpkg and apt in a minimal Debian on the mount, from a repository there.

. "$(dirname "$0")/lib.sh"

app() {
	tar -xpf "$LIB_REPO/build/apps/chroot.tar" || return
	cp -r "$LIB_REPO/build/apps/debs" debs
	rm -f etc/apt/sources.list.d/*
	echo "deb [trusted=yes] file:/debs ./" >etc/apt/sources.list
	cat >usr/sbin/inside <<-'END'
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update
	apt-get -qq -y --no-install-recommends install less ed bc
	dpkg -i /debs/hello_*.deb
	hello
	apt-get -qq -y install --reinstall ed
	echo "2^100" | bc
	printf 'a\nline\n.\nw /etc/made-by-ed\nq\n' | ed -s
	apt-get -qq -y purge less
	apt-get -qq -y autoremove
	dpkg -r bc
	dpkg --audit
	dpkg --verify hello ed
	apt-get check
	dpkg-query -W -f '${Package} ${Version} ${Status}\n'
	END
	# ext4 has no terminal, and the path of a log its date.
	TERM=dumb chroot . /bin/sh -e /usr/sbin/inside 2>&1
	tree_of . | grep -Ev ' (\./)?var/(log|cache)/|^var/(log|cache)' | sha256sum
	tree_of var/lib/dpkg | sha256sum
	sed 's/^[^ ]* [^ ]* //' var/log/dpkg.log
}

again() {
	chroot . dpkg --audit
	chroot . dpkg --verify 2>&1 | grep -v /usr/share/ | sha256sum
}

compare_mounts
