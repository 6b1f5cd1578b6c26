// SPDX-License-Identifier: GPL-2.0
/*
 * FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE under data=journal.
 *
 * Before 6.4 (c000dfec7e88), ext4 commits the journal and only then writes the
 * pages out, before it drops them and shifts the blocks below. A page stored to
 * through a mapping is dirty without the journal knowing its newest content:
 * writing it out just puts it into the next transaction, and dropping it takes
 * it out again. The store is lost, without any crash; selftests/fsx finds it in
 * most of its runs on stock data=journal.
 *
 * Written out once before, the pages are in the transaction which ext4 then
 * commits, and its own writing goes to the disk.
 */

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include "hook.h"
#include "xsync.h"

DEFINE_HOOK_INSTEAD(ext4_fallocate, long,
		    (struct file *file, int mode, loff_t offset, loff_t len),
		    (file, mode, offset, len))
{
	struct inode *inode = file_inode(file);
	bool ours;
	int err;

	if (!(mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)))
		return HOOK_ORIGINAL;
	rcu_read_lock();
	ours = xsync_mount_of(inode->i_sb);
	rcu_read_unlock();
	if (!ours)
		return HOOK_ORIGINAL;
	err = filemap_write_and_wait(inode->i_mapping);
	return err ? err : HOOK_ORIGINAL;
}

struct spec_hook *const xsync_shift_hooks[] = { &hook_ext4_fallocate };

const int xsync_shift_nr_hooks = ARRAY_SIZE(xsync_shift_hooks);
