// SPDX-License-Identifier: GPL-2.0
/*
 * The journal as a commit source.
 *
 * Every modification of an ext4 file system happens under a jbd2 handle, and
 * jbd2_handle_start fires in the modifying task, with the transaction, before
 * the modification can be seen. With data=journal the commit of that
 * transaction holds all of it, mmap stores included: a page is made writable
 * under a handle, and write-protected again when the transaction commits.
 *
 * jbd2_end_commit fires after the commit record is on the medium behind a
 * flush. It also fires for an aborted journal, which has written nothing.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/cache.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/iversion.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rculist.h>
#include <linux/tracepoint.h>
#include "hook.h"
#include "trace.h"
#include "../compat/bdev.h"
#include "../compat/fs.h"

struct ext4_iloc;

DEFINE_HOOK_OFFSETS

/* What ext4_dirty_inode() reserves in the journal. */
#define DIRTY_INODE_BLOCKS 2

/* Armed mounts. Written under list_lock, walked under RCU. */
static LIST_HEAD(armed);
static DEFINE_SPINLOCK(list_lock);
static struct workqueue_struct *commit_wq;

/**
 * struct finder - a mount that asks its super block for the journal
 * @task: who asks
 * @sb: whose journal
 * @journal: the answer
 */
struct finder {
	struct task_struct *task;
	struct super_block *sb;
	journal_t *journal;
};

static struct finder finder;
static DEFINE_MUTEX(finder_lock);

/* Caller holds rcu_read_lock(), or has preemption disabled. */
static __always_inline struct xsync_mount *
mount_of_journal(const journal_t *journal)
{
	struct xsync_mount *x;

	list_for_each_entry_rcu(x, &armed, node)
		if (x->journal == journal)
			return x;
	return NULL;
}

/*
 * Tasks that are updating an access time. A sync mount does not promise those,
 * and else every reader would depend on what it has not written. When two tasks
 * want one place, the later one is not listed: needless, but harmless.
 */
#define ATIME_BITS 8
static struct task_struct *atime_tasks[1 << ATIME_BITS];

static struct task_struct **atime_place(void)
{
	return &atime_tasks[hash_ptr(current, ATIME_BITS)];
}

static bool updating_atime(void)
{
	return READ_ONCE(*atime_place()) == current;
}

/*
 * Every read comes here, so not even rcu_read_lock(): who frees the mount waits
 * with synchronize_rcu_tasks(), and nothing here sleeps before the look is over.
 */
DEFINE_HOOK_IF(touch_atime, (const struct path *path), (path),
	       xsync_mount_of(path->dentry->d_sb))
{
	struct task_struct **place = atime_place();
	bool listed = !cmpxchg(place, NULL, current);

	hook_orig_touch_atime(path);
	if (listed)
		WRITE_ONCE(*place, NULL);
}

/*
 * Commit requests.
 */

static void start_commit(struct xsync_mount *x, tid_t tid)
{
	journal_t *journal = x->journal;
	transaction_t *running;
	bool due;

	/*
	 * jbd2 starts whatever is running. If that is later than what was asked
	 * for, @tid is being committed already, and the next transaction shall
	 * collect modifications until somebody needs it.
	 */
	read_lock(&journal->j_state_lock);
	running = journal->j_running_transaction;
	due = running && tid_geq(tid, running->t_tid) &&
	      !tid_geq(journal->j_commit_request, running->t_tid);
	read_unlock(&journal->j_state_lock);
	if (due)
		jbd2_journal_start_commit(journal, &tid);
}

static void start_commit_fn(struct work_struct *work)
{
	struct xsync_mount *x = container_of(work, struct xsync_mount, work);

	start_commit(x, READ_ONCE(x->wanted));
}

static void queue_commit(struct xsync_mount *x, tid_t tid)
{
	tid_t old = READ_ONCE(x->wanted);

	while (tid_gt(tid, old)) {
		tid_t seen = cmpxchg(&x->wanted, old, tid);

		if (seen == old)
			break;
		old = seen;
	}
	queue_work(commit_wq, &x->work);
}

static void request_commit(struct speculator_source *source, u32 seq,
			   enum speculator_reason reason)
{
	struct xsync_mount *x = container_of(source, struct xsync_mount,
					     source);

	if (tid_geq(READ_ONCE(x->journal->j_commit_request), seq))
		return;
	xsync_stats_asked(x, seq, reason == SPECULATOR_WAIT ? XSYNC_BY_WAIT :
			  XSYNC_BY_OUTPUT);
	/*
	 * j_state_lock is taken with softirqs on everywhere else: spinning on
	 * it with a socket's lock held can wait for a CPU whose softirq spins
	 * on that socket.
	 */
	if (preemptible())
		start_commit(x, seq);
	else
		queue_commit(x, seq);
}

static const struct speculator_source_ops source_ops = {
	.request_commit = request_commit,
};

/*
 * Probes. They run for every jbd2 file system.
 */

/* A mount that asks is not armed yet. */
static __always_inline void find_journal(journal_t *journal)
{
	if (unlikely(READ_ONCE(finder.task) == current) &&
	    journal->j_private == finder.sb)
		finder.journal = journal;
}

static noinline void taint_eagerly(struct xsync_mount *x, tid_t tid)
{
	if (!speculator_taint(&x->source, tid) || READ_ONCE(x->eager_tid) == tid)
		return;
	WRITE_ONCE(x->eager_tid, tid);
	xsync_stats_asked(x, tid, XSYNC_BY_EAGER);
	/* From a work item: the handle gets a chance to close. */
	queue_commit(x, tid);
}

/*
 * For every handle.  The functions of a tracepoint are called with preemption
 * disabled, which is as good as rcu_read_lock() here.
 */
static notrace void probe_handle(void *data, dev_t dev, tid_t tid,
				 unsigned int type, unsigned int line_no,
				 int requested_blocks)
{
	const handle_t *handle = current->journal_info;
	const transaction_t *transaction;
	struct xsync_mount *x;

	/* A restart that failed has left none. */
	transaction = handle ? handle->h_transaction : NULL;
	if (!transaction)
		return;
	x = mount_of_journal(transaction->t_journal);
	if (!x) {
		find_journal(transaction->t_journal);
		return;
	}
	if (!READ_ONCE(x->tainting) || updating_atime())
		return;
	if (unlikely(READ_ONCE(x->eager)))
		taint_eagerly(x, transaction->t_tid);
	else
		speculator_taint(&x->source, transaction->t_tid);
}

static void fail(struct xsync_mount *x, int error)
{
	trace_abort(x, error);
	speculator_failed(&x->source, error);
}

static void probe_end_commit(void *data, journal_t *journal,
			     transaction_t *transaction)
{
	struct xsync_mount *x;

	rcu_read_lock();
	x = mount_of_journal(journal);
	if (x) {
		/*
		 * A write error of this commit has aborted the journal by now.
		 * If another task is just aborting it, the transaction may be
		 * durable but counts as lost: errs to the safe side.
		 */
		if (is_journal_aborted(journal))
			fail(x, READ_ONCE(journal->j_errno) ?: -EIO);
		else
			speculator_released(&x->source, transaction->t_tid);
		xsync_stats_committed(x, transaction);
	}
	rcu_read_unlock();
}

DEFINE_HOOK_INSTEAD_VOID(jbd2_journal_abort, (journal_t *journal, int errno),
			 (journal, errno))
{
	struct xsync_mount *x;
	bool ours;

	rcu_read_lock();
	ours = mount_of_journal(journal);
	rcu_read_unlock();
	if (!ours)
		return HOOK_ORIGINAL;
	hook_orig_jbd2_journal_abort(journal, errno);
	if (!is_journal_aborted(journal))
		return 0;
	rcu_read_lock();
	x = mount_of_journal(journal);
	if (x)
		fail(x, errno ?: -EIO);
	rcu_read_unlock();
	return 0;
}

/*
 * jbd2 does not look at the result of the flush that makes home locations durable
 * before it gives up the journal's copies of them. Who sent it does not matter:
 * after a flush that failed nobody knows what the disk still has, so the journal
 * must keep what it has.
 */
static struct xsync_mount *mount_on(const struct block_device *bdev)
{
	struct xsync_mount *x;

	list_for_each_entry_rcu(x, &armed, node)
		if (x->sb->s_bdev == bdev || x->journal->j_dev == bdev)
			return x;
	return NULL;
}

DEFINE_HOOK_INSTEAD(blkdev_issue_flush, int, (struct block_device *bdev),
		    (bdev))
{
	struct xsync_mount *x;
	int err;

	rcu_read_lock();
	x = mount_on(bdev);
	if (x)
		atomic_inc(&x->users);
	rcu_read_unlock();
	if (!x)
		return HOOK_ORIGINAL;
	err = hook_orig_blkdev_issue_flush(bdev);
	if (err && !is_journal_aborted(x->journal)) {
		pr_err("%s: a flush has failed (%d)\n", x->source.name, err);
		jbd2_journal_abort(x->journal, err);
	}
	atomic_dec(&x->users);
	return err;
}

/*
 * What a reader of an inode takes over is put there before it can be read.
 */

/* Preemption is disabled. */
static __always_inline struct xsync_recent *
recent_place(const struct xsync_mount *x, const struct inode *inode)
{
	return this_cpu_ptr(x->recent) + (inode->i_ino & (XSYNC_RECENT - 1));
}

static __always_inline bool is_recent(const struct xsync_mount *x,
				      const struct inode *inode, tid_t tid)
{
	const struct xsync_recent *recent = recent_place(x, inode);

	return recent->inode == inode && recent->tid == tid &&
	       recent->ino == inode->i_ino &&
	       recent->generation == inode->i_generation;
}

static void put_inode(struct inode *inode, tid_t tid)
{
	struct xsync_recent *recent;
	struct xsync_mount *x;

	rcu_read_lock_sched();
	x = xsync_mount_of(inode->i_sb);
	if (x && READ_ONCE(x->tainting) && !is_recent(x, inode, tid)) {
		speculator_taint_inode(&x->source, inode, tid);
		recent = recent_place(x, inode);
		*recent = (struct xsync_recent){
			.inode = inode,
			.ino = inode->i_ino,
			.generation = inode->i_generation,
			.tid = tid,
		};
	}
	rcu_read_unlock_sched();
}

/* Nothing may have slept yet: not under RCU, as in touch_atime(). */
static __always_inline bool is_ours(const struct inode *inode)
{
	return xsync_mount_of(inode->i_sb);
}

/*
 * Is there nothing to put that has not just been put?  Without a journal ext4 has
 * numbers for handles: only those of our mounts may be looked into.
 */
static __always_inline bool is_put(const handle_t *handle,
				   const struct inode *inode)
{
	const transaction_t *transaction;
	const struct xsync_mount *x;
	bool put = true;

	rcu_read_lock_sched();
	x = xsync_mount_of(inode->i_sb);
	if (x) {
		transaction = READ_ONCE(handle->h_transaction);
		put = !transaction || is_recent(x, inode, transaction->t_tid);
	}
	rcu_read_unlock_sched();
	return put;
}

/*
 * All that is in the inode: metadata, sizes, block maps.  ext4 says so several
 * times for each operation.
 */
DEFINE_HOOK_BEFORE_ALWAYS_UNLESS(ext4_mark_iloc_dirty, int,
				 (handle_t *handle, struct inode *inode,
				  struct ext4_iloc *iloc),
				 (handle, inode, iloc), is_put(handle, inode))
{
	if (!updating_atime())
		put_inode(inode, handle->h_transaction->t_tid);
}

/*
 * An overwrite within the file does not touch the inode.  The handle has been
 * started when this returns, and the data is not in the page yet, where whoever
 * maps it would see it. @pagep is a folio's on later kernels.
 */
DEFINE_HOOK_INSTEAD(ext4_write_begin, int,
		    (struct file *file, struct address_space *mapping,
		     loff_t pos, unsigned int len, void **pagep, void **fsdata),
		    (file, mapping, pos, len, pagep, fsdata))
{
	handle_t *handle;
	int ret;

	if (!is_ours(mapping->host))
		return HOOK_ORIGINAL;
	ret = hook_orig_ext4_write_begin(file, mapping, pos, len, pagep,
					 fsdata);
	handle = current->journal_info;
	if (!ret && handle && !is_put(handle, mapping->host))
		put_inode(mapping->host, handle->h_transaction->t_tid);
	return ret;
}

/* The transaction that a handle would join which was started now. */
static tid_t joined_now(journal_t *journal)
{
	tid_t tid;

	read_lock(&journal->j_state_lock);
	tid = journal->j_running_transaction ?
		journal->j_running_transaction->t_tid :
		journal->j_transaction_sequence;
	read_unlock(&journal->j_state_lock);
	return tid;
}

/*
 * A store through a mapping becomes possible when this returns, with the page
 * locked and the handle closed. The commit will write-protect the page, so that
 * no store comes later than what it writes: but it looks for pages that are
 * dirty, and before 6.4 this one becomes dirty only when the fault goes on. A
 * commit in between would leave it writable, and what is stored from then on
 * would be in no transaction. So the page is made dirty here; and if the
 * transaction is not the running one any more, which a commit may have looked
 * through by then, the fault is tried again.
 */
DEFINE_HOOK_INSTEAD(ext4_page_mkwrite, vm_fault_t, (struct vm_fault *vmf),
		    (vmf))
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	journal_t *journal = NULL;
	struct xsync_mount *x;
	vm_fault_t ret;
	tid_t tid;

	if (!is_ours(inode))
		return HOOK_ORIGINAL;
	rcu_read_lock();
	x = xsync_mount_of(inode->i_sb);
	if (x)
		journal = READ_ONCE(x->journal);
	rcu_read_unlock();
	if (!journal)
		return HOOK_ORIGINAL;
	/* The open file keeps the super block, and that the journal. */
	tid = joined_now(journal);
	ret = hook_orig_ext4_page_mkwrite(vmf);
	if (!(ret & VM_FAULT_LOCKED))
		return (__force long)ret;
	set_page_dirty(vmf->page);
	if (joined_now(journal) != tid) {
		unlock_page(vmf->page);
		return (__force long)VM_FAULT_NOPAGE;
	}
	rcu_read_lock();
	x = xsync_mount_of(inode->i_sb);
	if (x && READ_ONCE(x->tainting))
		speculator_taint_inode(&x->source, inode, tid);
	rcu_read_unlock();
	return (__force long)ret;
}

/*
 * The time of modification can be seen before the handle is started that makes
 * it durable, which may take long, and who asks for it would take too little: the
 * handle may join a later transaction than any that is known by then. And for a
 * store through a mapping there is no lock to look at. So a handle is started
 * first, with what ext4_dirty_inode() will want of it.
 */
DEFINE_HOOK_INSTEAD_FILE(file_update_time, int, (struct file *file), (file))
{
	struct inode *inode = file_inode(file);
	journal_t *journal = NULL;
	struct xsync_mount *x;
	struct timespec64 now, mtime, ctime;
	handle_t *handle;
	int err;

	if (!is_ours(inode) || current->journal_info)
		return HOOK_ORIGINAL;
	now = current_time(inode);
	mtime = compat_mtime(inode);
	ctime = compat_ctime(inode);
	/* As the original would find: most often there is nothing to do. */
	if (timespec64_equal(&mtime, &now) && timespec64_equal(&ctime, &now))
		return inode_iversion_need_inc(inode) ? HOOK_ORIGINAL : 0;
	rcu_read_lock();
	x = xsync_mount_of(inode->i_sb);
	if (x && READ_ONCE(x->tainting))
		journal = x->journal;
	rcu_read_unlock();
	if (!journal)
		return HOOK_ORIGINAL;
	handle = jbd2_journal_start(journal, DIRTY_INODE_BLOCKS);
	if (IS_ERR(handle))
		return HOOK_ORIGINAL;
	put_inode(inode, handle->h_transaction->t_tid);
	err = hook_orig_file_update_time(file);
	jbd2_journal_stop(handle);
	return err;
}

/* As the original, in two steps: the second is the above. */
DEFINE_HOOK_INSTEAD_FILE(file_modified, int, (struct file *file), (file))
{
	int err;

	if (!is_ours(file_inode(file)))
		return HOOK_ORIGINAL;
	err = file_remove_privs(file);
	if (err || file->f_mode & FMODE_NOCMTIME)
		return err;
	return file_update_time(file);
}

/*
 * The ends of a hole, or of a range of zeros, in blocks that stay: zeroed in the
 * page, where whoever maps it sees it, and long before the inode is changed.
 */
DEFINE_HOOK_BEFORE_ALWAYS_UNLESS(ext4_zero_partial_blocks, int,
				 (handle_t *handle, struct inode *inode,
				  loff_t start, loff_t len),
				 (handle, inode, start, len),
				 is_put(handle, inode))
{
	put_inode(inode, handle->h_transaction->t_tid);
}

/*
 * The pages that were stored to through a mapping in a transaction are
 * write-protected in its commit, so that the next store joins the next
 * transaction. But jbd2 does that after the next one has begun: a store to a page
 * whose turn has not come still gets into the old one, and what the same process
 * did before, to a page whose turn had come or with a call, is in the new one.
 * After a crash in between the later is there, the earlier is not. So we protect
 * them before, while no transaction is open, and jbd2 finds nothing left to do.
 *
 * That waits for the lock of each page. Its holder does not wait for a transaction
 * to open: in ext4 that comes before the lock of a page.
 */
static void protect_mapped(journal_t *journal)
{
	transaction_t *transaction = journal->j_running_transaction;
	struct jbd2_inode *jinode;

	/* As journal_submit_data_buffers(). */
	spin_lock(&journal->j_list_lock);
	list_for_each_entry(jinode, &transaction->t_inode_list, i_list) {
		if (!(jinode->i_flags & JI_WRITE_DATA))
			continue;
		jinode->i_flags |= JI_COMMIT_RUNNING;
		spin_unlock(&journal->j_list_lock);
		journal->j_submit_inode_data_buffers(jinode);
		spin_lock(&journal->j_list_lock);
		jinode->i_flags &= ~JI_COMMIT_RUNNING;
		/* Pairs with the wait in jbd2_journal_release_jbd_inode(). */
		smp_mb();
		wake_up_bit(&jinode->i_flags, __JI_COMMIT_RUNNING);
	}
	spin_unlock(&journal->j_list_lock);
}

/* Called in the commit only, when the transaction is closed for new handles. */
DEFINE_HOOK_VOID(jbd2_journal_switch_revoke_table, (journal_t *journal),
		 (journal))
{
	bool ours;

	rcu_read_lock();
	ours = mount_of_journal(journal);
	rcu_read_unlock();
	if (ours)
		protect_mapped(journal);
	hook_orig_jbd2_journal_switch_revoke_table(journal);
}

/* Versions, extents, the map of the whole file system: who asks learns all. */
DEFINE_HOOK_INSTEAD(__ext4_ioctl, long,
		    (struct file *file, unsigned int cmd, unsigned long arg),
		    (file, cmd, arg))
{
	struct xsync_mount *x;
	long ret;

	if (!is_ours(file_inode(file)))
		return HOOK_ORIGINAL;
	ret = hook_orig___ext4_ioctl(file, cmd, arg);
	rcu_read_lock();
	x = xsync_mount_of(file_inode(file)->i_sb);
	if (x && READ_ONCE(x->tainting))
		speculator_take_source(&x->source);
	rcu_read_unlock();
	return ret;
}

struct spec_hook *const xsync_journal_hooks[] = {
	&hook_touch_atime,
	&hook_jbd2_journal_abort,
	&hook_blkdev_issue_flush,
	&hook_ext4_mark_iloc_dirty,
	&hook_ext4_write_begin,
	&hook_ext4_page_mkwrite,
	&hook_file_update_time,
	&hook_file_modified,
	&hook_ext4_zero_partial_blocks,
	&hook_jbd2_journal_switch_revoke_table,
	&hook___ext4_ioctl,
};

const int xsync_journal_nr_hooks = ARRAY_SIZE(xsync_journal_hooks);

/*
 * The life of a journal with us.
 */

/**
 * xsync_journal_newest - the latest transaction that is not durable
 * @x: an armed mount
 * @tid: receives it
 *
 * Context: any but softirq; does not sleep.
 * Return: false when all is durable; @tid is untouched then.
 */
bool xsync_journal_newest(const struct xsync_mount *x, tid_t *tid)
{
	journal_t *journal = x->journal;
	transaction_t *transaction;

	read_lock(&journal->j_state_lock);
	transaction = journal->j_running_transaction;
	if (!transaction)
		transaction = journal->j_committing_transaction;
	if (transaction)
		*tid = transaction->t_tid;
	read_unlock(&journal->j_state_lock);
	return transaction;
}

/**
 * xsync_journal_on - does an xsync mount, or its journal, live on this device?
 * @sb: super block of the mapping's inode
 * @mapping: any mapping
 *
 * Context: any.
 * Return: whether @mapping is the page cache of such a block device.
 */
bool xsync_journal_on(const struct super_block *sb, const void *mapping)
{
	struct xsync_mount *x;
	bool found = false;

	if (sb != blockdev_superblock)
		return false;
	rcu_read_lock();
	list_for_each_entry_rcu(x, &armed, node)
		if (compat_bdev_mapping(x->sb->s_bdev) == mapping ||
		    compat_bdev_mapping(x->journal->j_dev) == mapping)
			found = true;
	rcu_read_unlock();
	return found;
}

/**
 * xsync_journal_find - the journal of a super block
 * @sb: an ext4 mounted read-write, s_umount held
 *
 * ext4 keeps it in a private structure. But marking an inode dirty makes ext4
 * start a handle in this task, and the probe sees its journal.
 *
 * Context: process.
 * Return: the journal, or NULL: there is none, or it has failed.
 */
journal_t *xsync_journal_find(struct super_block *sb)
{
	journal_t *journal;

	mutex_lock(&finder_lock);
	finder.sb = sb;
	finder.journal = NULL;
	WRITE_ONCE(finder.task, current);
	mark_inode_dirty_sync(d_inode(sb->s_root));
	WRITE_ONCE(finder.task, NULL);
	journal = finder.journal;
	mutex_unlock(&finder_lock);
	return journal;
}

/**
 * xsync_journal_arm - modifications make dependent from now on
 * @x: its journal has been found
 * @why: receives the reason on failure
 * @why_len: size of @why
 *
 * Context: process, s_umount held for write.
 * Return: 0 or the error of speculator_source_register().
 */
int xsync_journal_arm(struct xsync_mount *x, char *why, size_t why_len)
{
	int err;

	INIT_WORK(&x->work, start_commit_fn);
	x->source.sb = x->sb;
	x->source.ops = &source_ops;
	x->wanted = READ_ONCE(x->journal->j_commit_sequence);
	x->eager_tid = x->wanted;
	err = speculator_source_register(&x->source, x->wanted, why, why_len);
	if (err)
		return err;
	spin_lock(&list_lock);
	list_add_rcu(&x->node, &armed);
	spin_unlock(&list_lock);
	WRITE_ONCE(x->tainting, true);
	/* What ran before we looked is durable when the mount returns. */
	x->orig->sync_fs(x->sb, 1);
	return 0;
}

/**
 * xsync_journal_disarm - modifications no longer make dependent
 * @x: an armed mount
 *
 * Context: process, s_umount held for write; the journal still works.
 */
void xsync_journal_disarm(struct xsync_mount *x)
{
	tid_t tid;

	WRITE_ONCE(x->tainting, false);
	synchronize_rcu();
	/* Nobody becomes dependent any more. Now let all be durable. */
	if (xsync_journal_newest(x, &tid))
		xsync_stats_asked(x, tid, XSYNC_BY_SYNC);
	x->orig->sync_fs(x->sb, 1);
	/* And at home, while a flush that fails is still noticed. */
	jbd2_journal_lock_updates(x->journal);
	jbd2_journal_flush(x->journal, 0);
	jbd2_journal_unlock_updates(x->journal);

	/*
	 * Off the list before the source goes: its slot may get another owner.
	 * A release that we miss by this is made good by the unregistering, but
	 * a failure must be on record by then.
	 */
	spin_lock(&list_lock);
	list_del_rcu(&x->node);
	spin_unlock(&list_lock);
	synchronize_rcu();
	/* A flush may be under way. */
	while (atomic_read(&x->users))
		msleep(20);
	if (is_journal_aborted(x->journal))
		speculator_failed(&x->source, -EIO);
	speculator_source_unregister(&x->source);
	cancel_work_sync(&x->work);
}

/*
 * jbd2's tracepoints. They are not exported, but may be looked up.
 */

/**
 * struct probe - a tracepoint and our function for it
 * @name: the tracepoint
 * @fn: called there
 * @tp: the tracepoint while @fn is registered
 */
struct probe {
	const char *name;
	void *fn;
	struct tracepoint *tp;
};

static struct probe probes[] = {
	{ "jbd2_handle_start", probe_handle },
	{ "jbd2_handle_restart", probe_handle },
	{ "jbd2_end_commit", probe_end_commit },
};

static void probe_add(struct tracepoint *tp)
{
	struct probe *p;

	for (p = probes; p < probes + ARRAY_SIZE(probes); p++)
		if (!p->tp && !strcmp(p->name, tp->name) &&
		    !tracepoint_probe_register(tp, p->fn, NULL))
			p->tp = tp;
}

static int module_event(struct notifier_block *nb, unsigned long event,
			void *data)
{
	struct tp_module *tp_mod = data;
	struct module *mod = tp_mod->mod;
	int i;

	/* No need to look for it going: ext4 holds jbd2, and we hold ext4. */
	if (event == MODULE_STATE_COMING)
		for (i = 0; i < mod->num_tracepoints; i++)
			probe_add(tracepoint_ptr_deref(mod->tracepoints_ptrs + i));
	return NOTIFY_OK;
}

static struct notifier_block module_nb = { .notifier_call = module_event };

static void core_tracepoint(struct tracepoint *tp, void *data)
{
	probe_add(tp);
}

/**
 * xsync_journal_ready - are all probes in place?
 *
 * Context: process.
 */
bool xsync_journal_ready(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!probes[i].tp)
			return false;
	return true;
}

/**
 * xsync_journal_init - probe jbd2
 *
 * It need not be loaded yet.
 *
 * Context: process.
 * Return: 0 or an error.
 */
int xsync_journal_init(void)
{
	int err;

	/* The commit may be what frees memory, and output waits for it. */
	commit_wq = alloc_workqueue("xsync", WQ_UNBOUND | WQ_HIGHPRI |
				    WQ_MEM_RECLAIM, 0);
	if (!commit_wq)
		return -ENOMEM;
	/* jbd2 may be built in. */
	for_each_kernel_tracepoint(core_tracepoint, NULL);
	/* Calls back for modules that are loaded already, too. */
	err = register_tracepoint_module_notifier(&module_nb);
	if (err)
		destroy_workqueue(commit_wq);
	return err;
}

/**
 * xsync_journal_exit - let jbd2 alone
 *
 * Context: process.
 */
void xsync_journal_exit(void)
{
	struct probe *p;

	unregister_tracepoint_module_notifier(&module_nb);
	for (p = probes; p < probes + ARRAY_SIZE(probes); p++)
		if (p->tp)
			tracepoint_probe_unregister(p->tp, p->fn, NULL);
	tracepoint_synchronize_unregister();
	destroy_workqueue(commit_wq);
}
