// SPDX-License-Identifier: GPL-2.0
/*
 * Pages on their way to their place on the disk, under data=journal.
 *
 * When all buffers of a transaction have been written to their places it is dropped
 * from the journal. jbd2 takes a buffer for written that is neither dirty nor
 * locked. But ext4_bio_write_page(), which writes a page of a file, clears the dirty
 * bit first, and locks nothing: until the disk has answered, jbd2 may drop the
 * transaction, flush the disk's cache without that write in it, and move the tail
 * of the journal. A power cut then finds the page neither here nor there: what was
 * durable is lost. And whoever stores to the page meanwhile may get what is not
 * committed yet to the disk with it. This is a defect of data=journal in stock 6.1;
 * the power cut (tools/powercut) has found it.
 *
 * So the pages of an xsync mount are written by a function of ours, which keeps each
 * buffer locked until the disk has answered, as jbd2 expects it and does itself when
 * it checkpoints. The kernel's generic one (__block_write_full_page()) does it too,
 * but it takes the dirty bit of what is behind the end of the file away without a
 * write, as ext4's own does in the page in which the file ends: if the truncation
 * that has put the end there is not committed before a power cut, this is a part of
 * the file still.
 */

#include <linux/backing-dev.h>
#include <linux/buffer_head.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/jbd2.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/writeback.h>
#include "../compat/fs.h"
#include "hook.h"
#include "xsync.h"

/* As in fs/ext4/ext4.h (the test prototypes compares it); no more is looked at. */
struct ext4_io_submit {
	struct writeback_control *io_wbc;
};

/*
 * Lock the dirty buffers of a folio and mark them for submit().
 * Returns false if one has to stay dirty; @found tells if there is any to submit.
 */
static bool prepare(struct folio *folio, struct writeback_control *wbc,
		    bool *found)
{
	struct buffer_head *head = folio_buffers(folio), *bh = head;
	bool all = true;

	do {
		if (!buffer_mapped(bh)) {
			/* A hole: none of the journal's. */
			clear_buffer_dirty(bh);
			continue;
		}
		if (buffer_delay(bh) || buffer_unwritten(bh)) {
			all = all && !buffer_dirty(bh);
			continue;
		}
		if (wbc->sync_mode == WB_SYNC_ALL) {
			lock_buffer(bh);
		} else if (!trylock_buffer(bh)) {
			/* jbd2 writes it, or changes it. */
			all = false;
			continue;
		}
		if (test_clear_buffer_dirty(bh)) {
			clear_buffer_new(bh);
			mark_buffer_async_write(bh);
			*found = true;
		} else {
			unlock_buffer(bh);
			if (COMPAT_BIO_WRITE_CALLER_GOES_ON &&
			    buffer_jbd(bh) && buffer_jbddirty(bh))
				all = false;
		}
	} while ((bh = bh->b_this_page) != head);
	return all;
}

/* The writes are those of the cgroup that has made the folio dirty. */
static void charge_to(struct writeback_control *wbc)
{
#ifdef CONFIG_CGROUP_WRITEBACK
	if (current->flags & PF_KTHREAD)
		kthread_associate_blkcg(wbc && wbc->wb ? wbc->wb->blkcg_css :
							 NULL);
#endif
}

static void submit(struct folio *folio, struct writeback_control *wbc)
{
	struct buffer_head *head = folio_buffers(folio), *bh = head;

	charge_to(wbc);
	do {
		if (!buffer_async_write(bh))
			continue;
		compat_account_owner(wbc, folio, bh->b_size);
		submit_bh(REQ_OP_WRITE | wbc_to_write_flags(wbc), bh);
	} while ((bh = bh->b_this_page) != head);
	charge_to(NULL);
}

/*
 * May the folio be written as it is? Nothing but zeros reaches the disk behind the
 * end of the file, where a mapping may have stored something. But as long as
 * somebody has locked the inode, the end may be that of a truncation which has not
 * got to this folio yet, or has not joined it to its transaction: what is committed
 * must not be overwritten then. Who wants it now (WB_SYNC_ALL) has mostly locked
 * the inode himself, and so gets it with what is there.
 */
static bool settle_end(struct folio *folio, struct inode *inode,
		       struct writeback_control *wbc)
{
	loff_t left = i_size_read(inode) - folio_pos(folio);

	/* Wholly behind it: about to be truncated, or the tree of fs-verity. */
	if (left <= 0 || left >= folio_size(folio))
		return true;
	if (inode_is_locked(inode))
		return wbc->sync_mode == WB_SYNC_ALL;
	folio_zero_segment(folio, left, folio_size(folio));
	return true;
}

DEFINE_HOOK_INSTEAD(compat_ext4_bio_write, int, COMPAT_BIO_WRITE_PROTO,
		    COMPAT_BIO_WRITE_ARGS)
{
	struct folio *folio = COMPAT_BIO_WRITE_FOLIO;
	struct inode *inode = folio->mapping->host;
	struct writeback_control *wbc = io->io_wbc;
	bool ours, found = false, all;

	rcu_read_lock();
	ours = xsync_mount_of(inode->i_sb);
	rcu_read_unlock();
	/* The contents of encrypted files are not journalled. */
	if (!ours || IS_ENCRYPTED(inode))
		return HOOK_ORIGINAL;
	/* What a mapping has stored since is journalled next, and all buffers so. */
	if (COMPAT_BIO_WRITE_CALLER_GOES_ON && folio_test_checked(folio))
		all = true;
	else
		all = settle_end(folio, inode, wbc) &&
		      prepare(folio, wbc, &found);
	if (!all)
		folio_redirty_for_writepage(wbc, folio);
	__folio_start_writeback(folio, COMPAT_BIO_WRITE_KEEP || !all);
	if (found)
		submit(folio, wbc);
	if (!COMPAT_BIO_WRITE_CALLER_GOES_ON)
		folio_unlock(folio);
	if (!found)
		folio_end_writeback(folio);
	return 0;
}

#define HOOK_OF_(fn) &hook_##fn
#define HOOK_OF(fn) HOOK_OF_(fn)

struct spec_hook *const xsync_writeback_hooks[] = {
	HOOK_OF(compat_ext4_bio_write)
};

const int xsync_writeback_nr_hooks = ARRAY_SIZE(xsync_writeback_hooks);
