// SPDX-License-Identifier: GPL-2.0
/*
 * The calls that promise durability.
 *
 * On an xsync mount they return at once, and the caller depends on the newest
 * transaction: whoever is told of the promise learns of it after the commit
 * (paper, section 3.4). Data stored through a mapping needs no writing first:
 * it is part of the transaction in which its page was made writable.
 *
 * Kernel threads get the real thing. What they promise (loop, nfsd, md) is told
 * to somebody whom nothing tracks.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>
#include "hook.h"
#include "trace.h"
#include "../compat/bdev.h"

struct fsync_iocb;
struct iocb;

/* Caller holds rcu_read_lock(). */
static struct xsync_mount *async_mount(const struct super_block *sb)
{
	struct xsync_mount *x = xsync_mount_of(sb);

	if (!x || !READ_ONCE(x->tainting))
		return NULL;
	/* A failed file system reports its error by itself. */
	if (sb_rdonly(sb) || is_journal_aborted(x->journal))
		return NULL;
	return x;
}

/*
 * Has the journal of this xsync mount failed? The original would find nothing
 * to commit and report success; but we have promised what is lost now.
 */
static bool promise_broken(const struct super_block *sb)
{
	struct xsync_mount *x;
	bool broken;

	rcu_read_lock();
	x = xsync_mount_of(sb);
	broken = x && x->journal && is_journal_aborted(x->journal);
	rcu_read_unlock();
	return broken;
}

/* Caller holds rcu_read_lock(). */
static void promise(struct xsync_mount *x, enum xsync_call call)
{
	tid_t tid = 0;

	/*
	 * Not only up to the last taint: what a kernel thread has written
	 * taints nobody, but is promised as well.
	 */
	if (xsync_journal_newest(x, &tid))
		speculator_taint(&x->source, tid);
	atomic64_inc(&x->stats.async[call]);
	trace_async_sync(x, call, tid);
}

static bool promise_sb(const struct super_block *sb, enum xsync_call call)
{
	struct xsync_mount *x;

	rcu_read_lock();
	x = async_mount(sb);
	if (x)
		promise(x, call);
	rcu_read_unlock();
	return x;
}

/* A real one is coming: for the statistics. */
static void note_real(const struct super_block *sb)
{
	struct xsync_mount *x;
	tid_t tid;

	rcu_read_lock();
	x = async_mount(sb);
	if (x) {
		atomic64_inc(&x->stats.real);
		if (xsync_journal_newest(x, &tid))
			xsync_stats_asked(x, tid, XSYNC_BY_SYNC);
	}
	rcu_read_unlock();
}

/*
 * The AIO interface hands an fsync to a kworker. What it does there is not its
 * own promise but that of the task which submitted it and became dependent in
 * aio_fsync(); if this is the file it was for, and not one that is below it on
 * an overlay.
 */
static bool in_aio_fsync(const struct file *file)
{
	static unsigned long aio_fsync_work;
	struct work_struct *work;

	if (!(current->flags & PF_WQ_WORKER))
		return false;
	if (unlikely(!aio_fsync_work))
		aio_fsync_work = speculator_symbol("aio_fsync_work");
	work = current_work();
	/* In struct fsync_iocb (fs/aio.c) the file is before the work. */
	return work && aio_fsync_work &&
	       (unsigned long)work->func == aio_fsync_work &&
	       ((struct file **)work)[-1] == file;
}

DEFINE_HOOK_INSTEAD(ext4_sync_file, int,
		    (struct file *file, loff_t start, loff_t end, int datasync),
		    (file, start, end, datasync))
{
	struct super_block *sb = file->f_mapping->host->i_sb;
	bool aio, async;

	rcu_read_lock();
	async = async_mount(sb);
	rcu_read_unlock();
	if (!async) {
		if (likely(!promise_broken(sb)))
			return HOOK_ORIGINAL;
		return file_check_and_advance_wb_err(file) ?: -EIO;
	}
	aio = in_aio_fsync(file);
	if (!aio && speculator_exempt()) {
		note_real(sb);
		return HOOK_ORIGINAL;
	}
	if (!aio && !promise_sb(sb, XSYNC_FSYNC))
		return HOOK_ORIGINAL;
	/* A write error of the past is reported once, as always. */
	return file_check_and_advance_wb_err(file);
}

/* Each of the iocb's union members has the file first (fs/aio.c). */
DEFINE_HOOK_INSTEAD(aio_fsync, int,
		    (struct fsync_iocb *req, const struct iocb *iocb,
		     bool datasync), (req, iocb, datasync))
{
	struct file *file = *(struct file **)req;
	struct super_block *sb = file->f_mapping->host->i_sb;
	bool async;

	rcu_read_lock();
	async = async_mount(sb);
	rcu_read_unlock();
	if (!async) {
		/* A commit on another disk, by a kworker nobody holds back. */
		int err = speculator_wait_current();

		return err ? err : HOOK_ORIGINAL;
	}
	if (speculator_exempt()) {
		/* The kworker cannot know: do the real one here and now. */
		int err = vfs_fsync(file, datasync);

		return err ? err : HOOK_ORIGINAL;
	}
	promise_sb(sb, XSYNC_FSYNC);
	return HOOK_ORIGINAL;
}

DEFINE_HOOK_INSTEAD(sync_file_range, int,
		    (struct file *file, loff_t offset, loff_t nbytes,
		     unsigned int flags), (file, offset, nbytes, flags))
{
	const unsigned int valid = SYNC_FILE_RANGE_WAIT_BEFORE |
				   SYNC_FILE_RANGE_WRITE |
				   SYNC_FILE_RANGE_WAIT_AFTER;
	struct super_block *sb = file->f_mapping->host->i_sb;

	/* The original knows what to say to bad arguments. */
	if (flags & ~valid || offset < 0 || nbytes < 0 ||
	    nbytes > LLONG_MAX - offset)
		return HOOK_ORIGINAL;
	if (speculator_exempt())
		return HOOK_ORIGINAL;
	if (!promise_sb(sb, XSYNC_RANGE)) {
		/* To another disk. */
		int err = speculator_wait_current();

		return err ? err : HOOK_ORIGINAL;
	}
	if (flags & (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER))
		return file_check_and_advance_wb_err(file);
	return 0;
}

/*
 * umount, remount and freeze call the same functions as sync(2) and syncfs(2)
 * and need what they say. They hold s_umount for write, sync and syncfs for
 * read. So the lock is asked: a second reader gets in unless there is a writer.
 * A writer who is waiting keeps us out, too; then this sync is a real one.
 */
static bool held_for_read(struct super_block *sb)
{
	if (!down_read_trylock(&sb->s_umount))
		return false;
	up_read(&sb->s_umount);
	return true;
}

static bool sync_async(struct super_block *sb)
{
	bool ours;

	rcu_read_lock();
	ours = async_mount(sb);
	rcu_read_unlock();
	if (!ours)
		return false;
	if (!speculator_exempt() && held_for_read(sb))
		return true;
	note_real(sb);
	return false;
}

/* syncfs(2) */
DEFINE_HOOK_INSTEAD(sync_filesystem, int, (struct super_block *sb), (sb))
{
	if (sync_async(sb) && promise_sb(sb, XSYNC_SYNC))
		return 0;
	if (unlikely(promise_broken(sb)) && held_for_read(sb))
		return hook_orig_sync_filesystem(sb) ?: -EIO;
	return HOOK_ORIGINAL;
}

/*
 * A disk that is taken away in an orderly manner is synced before. By then a
 * promise is of no use any more.
 */
DEFINE_HOOK_INSTEAD(fsync_bdev, int, (struct block_device *bdev), (bdev))
{
	unsigned int was = current->flags & PF_LOCAL_THROTTLE;
	int err;

	if (!xsync_journal_on(blockdev_superblock, compat_bdev_mapping(bdev)))
		return HOOK_ORIGINAL;
	/* As an exempt task, for which it is a real one. */
	current->flags |= PF_LOCAL_THROTTLE;
	err = hook_orig_fsync_bdev(bdev);
	current->flags = (current->flags & ~PF_LOCAL_THROTTLE) | was;
	return err;
}

/* sync(2), first part: the promise is made in the last. */
DEFINE_HOOK_INSTEAD_VOID(sync_inodes_sb, (struct super_block *sb), (sb))
{
	return sync_async(sb) ? 0 : HOOK_ORIGINAL;
}

/**
 * xsync_sync_fs_async - may the super operation sync_fs return at once?
 * @sb: an xsync mount, s_umount held
 * @wait: the caller wants durability
 *
 * sync(2), second part.
 *
 * Context: process.
 * Return: true if the caller depends on the commit now and need not wait.
 */
bool xsync_sync_fs_async(struct super_block *sb, int wait)
{
	if (!sync_async(sb))
		return false;
	return wait ? promise_sb(sb, XSYNC_SYNC) : true;
}

/*
 * sync(2), third part: the page cache of the block device, where the blocks sit
 * whose commit is done or promised. It is written, but not waited for.
 */
static bool skip_bdev(struct address_space *mapping)
{
	return mapping->host &&
	       xsync_journal_on(mapping->host->i_sb, mapping) &&
	       !speculator_exempt();
}

DEFINE_HOOK_INSTEAD(filemap_fdatawrite, int, (struct address_space *mapping),
		    (mapping))
{
	/* The original waits for pages that are under writeback. */
	return skip_bdev(mapping) ? filemap_flush(mapping) : HOOK_ORIGINAL;
}

DEFINE_HOOK_INSTEAD(filemap_fdatawait_keep_errors, int,
		    (struct address_space *mapping), (mapping))
{
	return skip_bdev(mapping) ? 0 : HOOK_ORIGINAL;
}

/*
 * Operations on O_SYNC files and in dirsync directories mark their handle, and
 * its end waits for the commit. The task has become dependent at its start.
 */
DEFINE_HOOK_BEFORE_ALWAYS_UNLESS(jbd2_journal_stop, int, (handle_t *handle),
				 (handle), !handle->h_sync)
{
	struct xsync_mount *x;
	struct super_block *sb;

	if (!handle->h_transaction || speculator_exempt())
		return;
	sb = handle->h_transaction->t_journal->j_private;
	rcu_read_lock();
	x = sb ? async_mount(sb) : NULL;
	if (x && x->journal == handle->h_transaction->t_journal) {
		handle->h_sync = 0;
		atomic64_inc(&x->stats.async[XSYNC_HANDLE]);
		trace_async_sync(x, XSYNC_HANDLE,
				 handle->h_transaction->t_tid);
	}
	rcu_read_unlock();
}

/* fallocate of an O_SYNC file waits by itself. It is no fast commit here. */
DEFINE_HOOK_INSTEAD(ext4_fc_commit, int, (journal_t *journal, tid_t tid),
		    (journal, tid))
{
	struct super_block *sb = journal->j_private;

	if (speculator_exempt() || !promise_sb(sb, XSYNC_HANDLE))
		return HOOK_ORIGINAL;
	return 0;
}

/*
 * Files whose data bypasses the journal.
 */
DEFINE_HOOK_GATE_ALWAYS(ext4_file_open,
			(struct inode *inode, struct file *file), (inode, file))
{
	static unsigned long journalled;
	bool ours;

	if (!(file->f_mode & FMODE_WRITE) || !S_ISREG(inode->i_mode))
		return 0;
	rcu_read_lock_sched();
	ours = xsync_mount_of(inode->i_sb);
	rcu_read_unlock_sched();
	if (likely(!ours))
		return 0;
	if (unlikely(!journalled))
		journalled = speculator_symbol("ext4_journalled_aops");
	if (likely((unsigned long)inode->i_mapping->a_ops == journalled))
		return 0;
	pr_warn_ratelimited("%s: inode %lu refused for writing: its data is not journalled%s\n",
			    inode->i_sb->s_id, inode->i_ino,
			    IS_ENCRYPTED(inode) ? " because it is encrypted" :
			    "");
	return -EOPNOTSUPP;
}

/*
 * Swapping writes to the blocks below the journal, which would then write old
 * contents of the file over it.
 */
DEFINE_HOOK_GATE_ALWAYS(ext4_iomap_swap_activate,
			(struct swap_info_struct *sis, struct file *file,
			 sector_t *span), (sis, file, span))
{
	struct super_block *sb = file_inode(file)->i_sb;
	bool ours;

	rcu_read_lock();
	ours = xsync_mount_of(sb);
	rcu_read_unlock();
	if (likely(!ours))
		return 0;
	pr_warn("%s: no swap file on an xsync mount\n", sb->s_id);
	return -EOPNOTSUPP;
}

struct spec_hook *const xsync_sync_hooks[] = {
	&hook_ext4_sync_file,
	&hook_aio_fsync,
	&hook_sync_file_range,
	&hook_sync_filesystem,
	&hook_fsync_bdev,
	&hook_sync_inodes_sb,
	&hook_filemap_fdatawrite,
	&hook_filemap_fdatawait_keep_errors,
	&hook_jbd2_journal_stop,
	&hook_ext4_fc_commit,
	&hook_ext4_file_open,
	&hook_ext4_iomap_swap_activate,
};

const int xsync_sync_nr_hooks = ARRAY_SIZE(xsync_sync_hooks);
