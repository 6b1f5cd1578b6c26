// SPDX-License-Identifier: GPL-2.0
/*
 * A super block becomes an xsync mount, changes, and goes.
 *
 * It gets a copy of ext4's super_operations with ours in between: /proc/mounts,
 * sync, statfs and umount come by without a hook. What ext4 keeps to itself is
 * read from what it tells everybody: the text of its mount options.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/buffer_head.h>
#include <linux/delay.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include "../compat/unaligned.h"
#include "hook.h"
#include "trace.h"

#define SMALL_JOURNAL	(128ULL << 20)
#define WHY_LEN		160

/*
 * The hooks.
 */

static DEFINE_MUTEX(hooks_lock);
static int hooks_users;
static struct spec_hook *hooks[32];
static int nr_hooks;

static void collect(struct spec_hook *const *table, int n)
{
	while (n-- && !WARN_ON(nr_hooks == ARRAY_SIZE(hooks)))
		hooks[nr_hooks++] = *table++;
}

/* One table, so that removing it needs one grace period. */
static void collect_hooks(void)
{
	if (nr_hooks)
		return;
	collect(xsync_journal_hooks, xsync_journal_nr_hooks);
	collect(xsync_sync_hooks, xsync_sync_nr_hooks);
	collect(xsync_shift_hooks, xsync_shift_nr_hooks);
	collect(xsync_writeback_hooks, xsync_writeback_nr_hooks);
}

/**
 * xsync_hooks_get - the hooks are placed until xsync_hooks_put()
 * @fc: to say why not
 *
 * Context: process.
 * Return: 0 or an error after a message.
 */
int xsync_hooks_get(struct fs_context *fc)
{
	char why[WHY_LEN] = "";
	int err = 0;

	mutex_lock(&hooks_lock);
	if (hooks_users)
		goto out;
	if (!xsync_journal_ready()) {
		strscpy(why, "jbd2 has no tracepoint jbd2_handle_start, jbd2_handle_restart or jbd2_end_commit",
			sizeof(why));
		err = -ENOENT;
		goto out;
	}
	collect_hooks();
	err = speculator_hooks_install(hooks, nr_hooks, why, sizeof(why));
out:
	if (!err)
		hooks_users++;
	mutex_unlock(&hooks_lock);
	if (err)
		xsync_refused(fc, "%s", why);
	return err;
}

/**
 * xsync_hooks_put - the reverse of xsync_hooks_get()
 *
 * Context: process.
 */
void xsync_hooks_put(void)
{
	mutex_lock(&hooks_lock);
	if (!--hooks_users)
		speculator_hooks_remove(hooks, nr_hooks);
	mutex_unlock(&hooks_lock);
}

/*
 * Is this a file system that can keep the promise?
 */

/* From Documentation/filesystems/ext4/super.rst, which is a disk format. */
#define DISK_SUPER			1024
#define DISK_COMPAT			0x5c
#define DISK_COMPAT_FAST_COMMIT		0x400
#define DISK_DEFAULTS			0x100
#define DISK_DEFAULTS_DATA		0x60
#define DISK_DEFAULTS_DATA_JOURNAL	0x20

static bool has_option(const char *options, const char *option)
{
	size_t len = strlen(option);
	const char *at = options;

	while ((at = strstr(at, option))) {
		if (at > options && at[-1] == ',' &&
		    (!at[len] || at[len] == ','))
			return true;
		at += len;
	}
	return false;
}

/* What ext4 puts into /proc/mounts; the caller frees it. */
static char *options_text(struct super_block *sb)
{
	struct seq_file m = { .size = PAGE_SIZE };

	m.buf = kzalloc(m.size + 1, GFP_KERNEL);
	if (!m.buf)
		return NULL;
	sb->s_op->show_options(&m, sb->s_root);
	m.buf[min(m.count, m.size)] = '\0';
	return m.buf;
}

static int check_options(struct fs_context *fc, struct super_block *sb,
			 u32 disk_defaults)
{
	static const char *const bad[] = {
		"nobarrier", "norecovery", "noload", "journal_async_commit",
		"dax", "dax=always", "dax=inode",
	};
	char *options = options_text(sb);
	bool journalled;
	int i, err = 0;

	if (!options)
		return -ENOMEM;
	/* ext4 does not show what is the file system's own default. */
	journalled = has_option(options, "data=journal") ||
		     (!strstr(options, ",data=") &&
		      (disk_defaults & DISK_DEFAULTS_DATA) ==
		      DISK_DEFAULTS_DATA_JOURNAL);
	if (!journalled) {
		xsync_refused(fc, "mounted without data=journal, which cannot be changed by remount: umount it everywhere, then mount it with xsync");
		err = -EINVAL;
	}
	for (i = 0; !err && i < ARRAY_SIZE(bad); i++) {
		if (!has_option(options, bad[i]))
			continue;
		xsync_refused(fc, "mounted with %s, which cannot go with xsync: umount it everywhere, then mount it with xsync",
			      bad[i]);
		err = -EINVAL;
	}
	if (!err && sb->s_flags & (SB_SYNCHRONOUS | SB_DIRSYNC)) {
		xsync_refused(fc, "mounted with sync or dirsync, which cannot go with xsync: remount it with async first");
		err = -EINVAL;
	}
	if (!err && sb->s_flags & SB_LAZYTIME) {
		xsync_refused(fc, "mounted with lazytime, which cannot go with xsync: remount it with nolazytime first");
		err = -EINVAL;
	}
	kfree(options);
	return err;
}

/* A super block that was in use may have a writer that we would have refused */
static int check_writers(struct fs_context *fc, struct super_block *sb)
{
	unsigned long journalled = speculator_symbol("ext4_journalled_aops");
	struct inode *inode;
	unsigned long ino = 0;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list)
		if (S_ISREG(inode->i_mode) && inode_is_open_for_write(inode) &&
		    (unsigned long)inode->i_mapping->a_ops != journalled)
			ino = inode->i_ino;
	spin_unlock(&sb->s_inode_list_lock);
	if (!ino)
		return 0;
	xsync_refused(fc, "inode %lu is open for writing and its data is not journalled: close it first",
		      ino);
	return -EBUSY;
}

/**
 * xsync_mount_check - could this super block be an xsync mount?
 * @fc: to say why not
 * @sb: an ext4, s_umount held
 *
 * Context: process.
 * Return: 0 or an error after a message.
 */
int xsync_mount_check(struct fs_context *fc, struct super_block *sb)
{
	struct buffer_head *bh;
	u32 compat, defaults;
	u8 *super;
	int err;

	bh = sb_bread(sb, DISK_SUPER / sb->s_blocksize);
	if (!bh)
		return -EIO;
	super = (u8 *)bh->b_data + DISK_SUPER % sb->s_blocksize;
	compat = get_unaligned_le32(super + DISK_COMPAT);
	defaults = get_unaligned_le32(super + DISK_DEFAULTS);
	brelse(bh);
	if (compat & DISK_COMPAT_FAST_COMMIT) {
		xsync_refused(fc, "the file system has the feature fast_commit, whose commits cannot be followed: umount it, then tune2fs -O ^fast_commit %s",
			      fc->source ?: "DEVICE");
		return -EINVAL;
	}
	err = check_options(fc, sb, defaults);
	if (!err && sb->s_flags & SB_BORN)
		err = check_writers(fc, sb);
	return err;
}

static int check_journal(struct fs_context *fc, const struct super_block *sb,
			 journal_t *journal)
{
	const char *device = fc->source ?: sb->s_id;
	u64 size;

	if (!journal) {
		xsync_refused(fc, "the file system has no journal, or it has failed: make one with tune2fs -j %s",
			      device);
		return -EINVAL;
	}
	if (is_journal_aborted(journal)) {
		xsync_refused(fc, "the journal has failed: umount it and run e2fsck %s",
			      device);
		return -EROFS;
	}
	if (!(journal->j_flags & JBD2_BARRIER)) {
		xsync_refused(fc, "the journal works without barriers: %s",
			      "mount it with barrier=1");
		return -EINVAL;
	}
	/* j_last is one beyond the last block. */
	size = (u64)journal->j_last * journal->j_blocksize;
	if (size < SMALL_JOURNAL)
		pr_warn("%s: a journal of %llu MiB is small for data journalling and will be slow. To enlarge it, umount and: tune2fs -O ^has_journal %s; tune2fs -J size=256 %s\n",
			device, size >> 20, device, device);
	return 0;
}

static struct xsync_mount *make_mount(void)
{
	struct xsync_mount *x = kzalloc(sizeof(*x), GFP_KERNEL);

	if (!x)
		return NULL;
	x->recent = __alloc_percpu(XSYNC_RECENT * sizeof(*x->recent),
				   __alignof__(*x->recent));
	if (!x->recent) {
		kfree(x);
		return NULL;
	}
	return x;
}

static void free_mount(struct xsync_mount *x)
{
	free_percpu(x->recent);
	kfree(x);
}

/*
 * Super operations.
 */

static int mount_show_options(struct seq_file *m, struct dentry *root)
{
	struct xsync_mount *x = xsync_mount_of(root->d_sb);
	int err;

	atomic_inc(&x->users);
	err = x->orig->show_options(m, root);
	seq_puts(m, ",xsync");
	if (READ_ONCE(x->eager))
		seq_puts(m, ",commit_mode=eager");
	atomic_dec(&x->users);
	return err;
}

static int mount_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct xsync_mount *x = xsync_mount_of(dentry->d_sb);
	int err;

	atomic_inc(&x->users);
	err = x->orig->statfs(dentry, buf);
	/* Free space tells of everybody's modifications. */
	rcu_read_lock();
	if (READ_ONCE(x->tainting))
		speculator_take_source(&x->source);
	rcu_read_unlock();
	atomic_dec(&x->users);
	return err;
}

static int mount_sync_fs(struct super_block *sb, int wait)
{
	struct xsync_mount *x = xsync_mount_of(sb);
	int err;

	atomic_inc(&x->users);
	err = xsync_sync_fs_async(sb, wait) ? 0 : x->orig->sync_fs(sb, wait);
	atomic_dec(&x->users);
	return err;
}

/**
 * xsync_put_super - the super block goes
 * @sb: an xsync mount, s_umount held for write, no inode left
 *
 * The sync before was a real one, but the eviction of the inodes may have
 * deleted some. When the original returns the journal is no more.
 *
 * Its address is also how an xsync mount is recognised.
 *
 * Context: process.
 */
void xsync_put_super(struct super_block *sb)
{
	struct xsync_mount *x = xsync_mount_of(sb);
	const struct super_operations *orig = x->orig;

	if (x->journal)
		xsync_journal_disarm(x);
	xsync_stats_remove(x);
	trace_mount(x, "umount");
	WRITE_ONCE(sb->s_op, orig);
	orig->put_super(sb);
	synchronize_rcu();
	free_mount(x);
	xsync_hooks_put();
	module_put(THIS_MODULE);
}

/*
 * Coming, changing, going.
 */

/* The file system is mounted read-write: become a commit source. */
static int arm(struct fs_context *fc, struct xsync_mount *x)
{
	journal_t *journal = xsync_journal_find(x->sb);
	char why[WHY_LEN] = "";
	int err;

	err = check_journal(fc, x->sb, journal);
	if (err)
		return err;
	x->journal = journal;
	err = xsync_journal_arm(x, why, sizeof(why));
	if (err) {
		x->journal = NULL;
		xsync_refused(fc, "%s", why);
	}
	return err;
}

/**
 * xsync_mount_attach - make a super block an xsync mount
 * @fc: to say why not
 * @sb: an ext4, s_umount held for write; new, or mounted before
 * @choice: what was asked for
 *
 * Context: process; the hooks are in place.
 * Return: 0 or an error after a message.
 */
int xsync_mount_attach(struct fs_context *fc, struct super_block *sb,
		       const struct xsync_choice *choice)
{
	struct xsync_mount *x = xsync_mount_of(sb);
	int err;

	if (x)
		return xsync_mount_change(fc, x, choice);
	err = xsync_mount_check(fc, sb);
	if (err)
		return err;
	if (sb->s_writers.frozen != SB_UNFROZEN) {
		xsync_refused(fc, "the file system is frozen: thaw it first");
		return -EBUSY;
	}
	err = xsync_hooks_get(fc);
	if (err)
		return err;
	x = make_mount();
	if (!x) {
		err = -ENOMEM;
		goto out_hooks;
	}
	x->sb = sb;
	x->orig = sb->s_op;
	x->ops = *sb->s_op;
	x->ops.show_options = mount_show_options;
	x->ops.statfs = mount_statfs;
	x->ops.sync_fs = mount_sync_fs;
	x->ops.put_super = xsync_put_super;
	x->eager = choice->eager;
	strscpy(x->source.name, sb->s_id, sizeof(x->source.name));
	spin_lock_init(&x->stats.lock);

	err = xsync_zeroout_off(x);
	if (err) {
		xsync_refused(fc, "cannot set extent_max_zeroout_kb to 0 (%d): without that data=journal recovers stale data after a crash",
			      err);
		goto out_free;
	}
	/* Read-only: there is nothing to commit until it is remounted. */
	if (!sb_rdonly(sb)) {
		/* Hooks must know the mount before it makes dependent. */
		WRITE_ONCE(sb->s_op, &x->ops);
		err = arm(fc, x);
		if (err)
			goto out_ops;
	}
	WRITE_ONCE(sb->s_op, &x->ops);
	xsync_stats_add(x);
	trace_mount(x, "mount");
	__module_get(THIS_MODULE);
	return 0;

out_ops:
	WRITE_ONCE(sb->s_op, x->orig);
	synchronize_rcu_tasks();
	while (atomic_read(&x->users))
		msleep(20);
	xsync_zeroout_restore(x);
	synchronize_rcu();
out_free:
	free_mount(x);
out_hooks:
	xsync_hooks_put();
	return err;
}

/**
 * xsync_mount_change - a remount, or a second mount, of an xsync mount
 * @fc: to say why not
 * @x: the mount; s_umount held for write
 * @choice: what was asked for
 *
 * Context: process.
 * Return: 0 or an error after a message.
 */
int xsync_mount_change(struct fs_context *fc, struct xsync_mount *x,
		       const struct xsync_choice *choice)
{
	int err = 0;

	if (choice->eager_set)
		WRITE_ONCE(x->eager, choice->eager);
	if (!x->journal && !sb_rdonly(x->sb)) {
		err = arm(fc, x);
		/*
		 * ext4 has gone read-write. The VFS has not let any writer in
		 * yet; it must stay so.
		 */
		if (err)
			x->sb->s_flags |= SB_RDONLY;
	}
	trace_mount(x, "remount");
	return err;
}

/**
 * xsync_mount_detach - the super block stays, but no longer as an xsync mount
 * @x: the mount, gone when this returns; s_umount held for write
 *
 * Context: process.
 */
void xsync_mount_detach(struct xsync_mount *x)
{
	if (x->journal)
		xsync_journal_disarm(x);
	xsync_stats_remove(x);
	xsync_zeroout_restore(x);
	trace_mount(x, "noxsync");
	WRITE_ONCE(x->sb->s_op, x->orig);
	/*
	 * Hooks are done after a grace period of RCU. A task that has read the
	 * pointer to one of our operations may be preempted on its way there,
	 * or be inside. None of them sleeps for long: sync_fs needs s_umount.
	 */
	synchronize_rcu();
	synchronize_rcu_tasks();
	while (atomic_read(&x->users))
		msleep(20);
	free_mount(x);
	xsync_hooks_put();
	module_put(THIS_MODULE);
}
