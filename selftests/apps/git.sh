#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: own timeout=1200
#
# git: clone, commit, merge, rebase, repack, gc, fsck, with fsync everywhere.

. "$(dirname "$0")/lib.sh"

app() {
	local i

	export HOME=$WORK GIT_AUTHOR_DATE='1700000000 +0000'
	export GIT_COMMITTER_DATE='1700000000 +0000'
	git config --global user.name name
	git config --global user.email name@example.org
	git config --global safe.directory '*'
	git config --global core.fsync all
	git config --global pack.threads 1
	git config --global gc.autoDetach false

	git clone -q --branch main "file://$LIB_REPO/build/apps/repository.git" clone
	cd clone || return
	git switch -q -c side main~2
	for i in {1..5}; do
		echo "line $i" | tee -a fs/{ext4,proc}/*.h >>"new $i"
		git add . && git commit -q -m "commit $i"
	done
	git switch -q -c other main
	git mv fs/ext4 fs/moved && git rm -q -r fs/nfsd &&
		git commit -q -m "move and remove"
	git merge -q -m merge side
	git rebase -q main side
	git tag -m tag tag
	git repack -q -a -d
	git worktree add -q ../worktree side~2
	git reset -q --hard side~3
	git reflog expire --expire=now --all
	git gc -q --prune=now
	git push -q ../clone other~1:refs/heads/pushed
	git fsck --full --strict --no-dangling 2>&1
	git status --short --branch
	git count-objects -v | grep -v ^size
	git for-each-ref
	git rev-list --objects --all | LC_ALL=C sort | sha256sum
	cd ..
	git -C clone bundle create -q "$WORK/bundle" side main
	git clone -q -b side "$WORK/bundle" from-bundle
	git -C from-bundle rev-parse HEAD
	tree_of worktree | grep -v ' f 644 .* 1 $\|/.git$' | sha256sum
	git -C worktree diff --stat HEAD
}

again() {
	export HOME=/tmp
	git config --global safe.directory '*'
	git -C clone fsck --full 2>&1
	git -C clone status --short
	git -C clone rev-parse HEAD side main
}

compare_mounts
