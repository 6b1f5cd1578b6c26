#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# Trees of files: tar, cp -a, rsync, find and rm, with links, holes, attributes
# and long names.

. "$(dirname "$0")/lib.sh"

compare() {
	tree_of "$1" >"$WORK/$1"
	echo "$1: $(grep -c . "$WORK/$1") $(sha256sum <"$WORK/$1")"
	(
		cd "$1" || exit
		find . ! -type l -print0 | LC_ALL=C sort -z >"$WORK/names"
		xargs -0 getfattr -d <"$WORK/names" | sha256sum
		xargs -0 getfacl <"$WORK/names" | sha256sum
	)
}

app() {
	local long
	long=$(printf '%0250d' 1)

	mkdir source
	tar -xf "$LIB_REPO/build/apps/source.tar" -C source ./fs/{ext4,jbd2,nfsd,btrfs,proc} \
		./kernel/{locking,rcu,sched,trace} ./scripts/{dtc,kconfig}
	cd source || return
	mkdir "$long" sticky
	chmod 1777 sticky
	ln -s "../$long" link
	ln -s absent dangling
	ln fs/ext4/inode.c hard
	mkfifo fifo
	mknod null c 1 3
	truncate -s 3M hole
	echo middle | dd of=hole bs=1k seek=1500 conv=notrunc status=none
	echo >"name with a
newline"
	setfattr -n user.a -v "$long" hard
	setfacl -m u:nobody:r fs/jbd2
	chown nobody: fs/proc/*.c
	touch -d '2001-02-03 04:05:06.789' fs/ext4/ext4.h
	cd ..

	cp -a source copy
	compare copy
	tar -C source --acls --xattrs --sparse -czf all.tar.gz .
	mkdir unpacked
	tar -C unpacked --acls --xattrs -xzpf all.tar.gz
	compare unpacked
	rsync -aHAXS --fsync source/ synced
	echo more >>source/fs/ext4/inode.c
	rm -r source/fs/jbd2
	mv source/kernel source/renamed
	rsync -aHAX --delete --checksum --itemize-changes source/ synced |
		LC_ALL=C sort | sha256sum
	rsync -aHAXn --delete --itemize-changes source/ synced
	compare source
	compare synced
	diff -r --no-dereference source synced 2>&1
	find synced -newer source/fs/ext4/ext4.h -name '*.c' | wc -l
	du -s --apparent-size copy unpacked
	find copy -name '*.h' -delete
	rm -rf unpacked
	find copy | wc -l
	cp --sparse=always source/hole .
	stat -c %s hole
	dd if=copy/hard of=direct bs=64k oflag=sync conv=fsync status=none
	sha256sum direct hole
	shred -u direct
	ls
}

again() {
	rm -rf "$WORK"
	mkdir "$WORK"
	compare source
	compare synced
}

compare_mounts
