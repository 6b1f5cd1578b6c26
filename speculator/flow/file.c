// SPDX-License-Identifier: GPL-2.0
/*
 * Files: data, attributes, locks.  The inode carries the dependency.
 *
 * On the mount of a source the writing side is the source's own
 * (speculator_taint(), speculator_taint_inode()); on other local file systems
 * every modification by a dependent process is put on the inode.  The reading
 * side is the same for all.
 */

#include <linux/file.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/statfs.h>
#include <linux/uio.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../output/wait.h"
#include "../source.h"
#include "file.h"

/* Their file systems keep them private. */
#define XFS_SUPER_MAGIC_LOCAL	0x58465342
#define MQUEUE_MAGIC_LOCAL	0x19800202

/* File systems that are known to stay in this machine. */
static bool is_local(unsigned long magic)
{
	switch (magic) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case HUGETLBFS_MAGIC:
	case EXT4_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case XFS_SUPER_MAGIC_LOCAL:
	case MSDOS_SUPER_MAGIC:
	case EXFAT_SUPER_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case PIPEFS_MAGIC:
	case SOCKFS_MAGIC:
	case MQUEUE_MAGIC_LOCAL:
		return true;
	}
	return false;
}

/**
 * spec_place - where a modification of a file system ends up
 * @sb: any super block
 *
 * The list is of what is known to stay in this machine; anything else is
 * foreign, so that an unknown file system makes a process wait.
 *
 * Context: any.
 */
enum spec_place spec_place(const struct super_block *sb)
{
	return spec_place_of(sb, spec_source_bit(sb));
}

/**
 * spec_place_of - the same, for who knows the source
 * @sb: any super block
 * @own: its spec_source_bit()
 *
 * Context: any.
 */
enum spec_place spec_place_of(const struct super_block *sb, u32 own)
{
	if (own)
		return SPEC_PLACE_SOURCE;
	return is_local(sb->s_magic) ? SPEC_PLACE_LOCAL : SPEC_PLACE_FOREIGN;
}

/**
 * spec_has_disk - is what is written to a file system there without memory?
 * @sb: any super block
 *
 * Not of those in memory, and of an overlay only by way of the file systems below,
 * whose functions it calls.
 *
 * Context: any.
 */
bool spec_has_disk(const struct super_block *sb)
{
	switch (sb->s_magic) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case HUGETLBFS_MAGIC:
	case PIPEFS_MAGIC:
	case SOCKFS_MAGIC:
	case MQUEUE_MAGIC_LOCAL:
	case OVERLAYFS_SUPER_MAGIC:
		return false;
	}
	return true;
}

/* Of all local file systems that are no source's: how full they are. */
static char space;

/**
 * spec_put_inode - the running process is about to change an inode
 * @inode: of a local file system that is no source's
 *
 * Context: any; locks may be held.
 */
void spec_put_inode(struct inode *inode)
{
	spec_put(inode, SPEC_CH_FILE);
	spec_put(&space, SPEC_CH_FILE);
}

/* Most who write depend on nothing, or only on what they write to. */
static bool owes(const struct super_block *sb, u32 own)
{
	const void *self = spec_self();

	return self && (spec_mask(self) & ~own) &&
	       spec_place_of(sb, own) != SPEC_PLACE_LOCAL;
}

static u32 owed(u32 own, struct spec_dep *dep)
{
	u32 mask = spec_self_pending(dep) & ~own;

	dep->mask = mask;
	return mask;
}

/**
 * spec_owed - what has to be durable before a file system may be modified
 * @sb: which
 * @dep: receives a copy of what the running process depends on
 *
 * On a source it must first be rid of what it owes to other sources: commits of
 * two file systems have no order (paper section 2.4).
 *
 * Context: any.
 * Return: the components of @dep to wait for, or 0.
 */
u32 spec_owed(const struct super_block *sb, struct spec_dep *dep)
{
	u32 own = spec_source_bit(sb);

	return owes(sb, own) ? owed(own, dep) : 0;
}

static noinline int wait_for_owed(u32 own, enum spec_channel_id ch)
{
	struct spec_dep dep;

	return owed(own, &dep) ? spec_wait(&dep, ch, SPEC_WAIT_KILLABLE) : 0;
}

/**
 * spec_modify_of - a process with dependencies is about to modify a file system
 * @sb: which
 * @own: its spec_source_bit()
 * @ch: for statistics
 *
 * Context: process, no file-system lock held, may sleep.
 * Return: 0 to go on, or the error of spec_wait().
 */
int spec_modify_of(const struct super_block *sb, u32 own,
		   enum spec_channel_id ch)
{
	return owes(sb, own) ? wait_for_owed(own, ch) : 0;
}

DEFINE_HOOK(filemap_read, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *iter, ssize_t already_read),
	    (iocb, iter, already_read))
{
	ssize_t n = hook_orig_filemap_read(iocb, iter, already_read);

	spec_take_inode(iocb->ki_filp->f_mapping->host);
	return n;
}

DEFINE_HOOK(shmem_file_read_iter, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *to), (iocb, to))
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t n = hook_orig_shmem_file_read_iter(iocb, to);

	spec_take_inode(inode);
	return n;
}

/*
 * Whose disk is it?  That of a source, the whole disk of which a source has a
 * partition, a device below one, one that has a file of a source below it: a
 * read of any of them may see what is not durable.
 */
DEFINE_HOOK(blkdev_read_iter, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *to), (iocb, to))
{
	ssize_t n = hook_orig_blkdev_read_iter(iocb, to);

	spec_take_all(SPEC_CH_FILE);
	return n;
}

struct iomap_ops;
struct iomap_dio_ops;

DEFINE_HOOK(iomap_dio_rw, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *iter,
	     const struct iomap_ops *ops, const struct iomap_dio_ops *dops,
	     unsigned int dio_flags, void *private, size_t done_before),
	    (iocb, iter, ops, dops, dio_flags, private, done_before))
{
	/* An asynchronous read frees the iocb; the file it may have closed. */
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t n = hook_orig_iomap_dio_rw(iocb, iter, ops, dops, dio_flags,
					   private, done_before);

	spec_take(inode, SPEC_CH_FILE);
	return n;
}

/*
 * The same for file systems of the old kind (vfat, exfat). Later kernels have no
 * submit_io; what is passed on is the same, and one word more than is looked at.
 */
DEFINE_HOOK(__blockdev_direct_IO, ssize_t, COMPAT_DIRECT_IO_PROTO,
	    COMPAT_DIRECT_IO_ARGS)
{
	ssize_t n = hook_orig___blockdev_direct_IO COMPAT_DIRECT_IO_ARGS;

	spec_take(inode, SPEC_CH_FILE);
	return n;
}

DEFINE_HOOK(dax_iomap_rw, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *iter,
	     const struct iomap_ops *ops), (iocb, iter, ops))
{
	ssize_t n = hook_orig_dax_iomap_rw(iocb, iter, ops);

	spec_take(file_inode(iocb->ki_filp), SPEC_CH_FILE);
	return n;
}

DEFINE_HOOK(iterate_dir, int, (struct file *file, struct dir_context *ctx),
	    (file, ctx))
{
	struct inode *inode = file_inode(file);
	int err = hook_orig_iterate_dir(file, ctx);

	spec_take_inode(inode);
	/* Its list may be one that was made for somebody else. */
	if (inode->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC)
		spec_take_names();
	return err;
}

DEFINE_HOOK(vfs_getattr_nosec, int,
	    (const struct path *path, struct kstat *stat, u32 request_mask,
	     unsigned int query_flags),
	    (path, stat, request_mask, query_flags))
{
	int err = hook_orig_vfs_getattr_nosec(path, stat, request_mask,
					      query_flags);

	spec_take_inode(d_backing_inode(path->dentry));
	return err;
}

/*
 * Called at the end of inode_permission(), after it has seen mode and owner and
 * found them sufficient, for every directory of a path and for what it leads to.
 * Also in an RCU walk: the inode stays, and nothing here sleeps.
 */
DEFINE_HOOK_BEFORE_UNLESS(security_inode_permission, int,
			  (struct inode *inode, int mask), (inode, mask),
			  spec_nothing_of_inode(inode) || spec_self_is_latest())
{
	spec_take_inode(inode);
}

DEFINE_HOOK(vfs_getxattr, ssize_t,
	    (struct compat_idmap *idmap, struct dentry *dentry, const char *name,
	     void *value, size_t size),
	    (idmap, dentry, name, value, size))
{
	ssize_t n = hook_orig_vfs_getxattr(idmap, dentry, name, value, size);

	spec_take_inode(d_backing_inode(dentry));
	return n;
}

DEFINE_HOOK(vfs_listxattr, ssize_t,
	    (struct dentry *dentry, char *list, size_t size),
	    (dentry, list, size))
{
	ssize_t n = hook_orig_vfs_listxattr(dentry, list, size);

	spec_take_inode(d_backing_inode(dentry));
	return n;
}

/* Which pages of a file somebody has touched: it names no file. */
#define MINCORE(name)							\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	long ret = hook_orig_##name(regs);				\
									\
	spec_take_all(SPEC_CH_FILE);					\
	return ret;							\
}

MINCORE(__x64_sys_mincore)
MINCORE(__ia32_sys_mincore)

/* Flags, extents, what is left to read. */
DEFINE_HOOK(do_vfs_ioctl, int,
	    (struct file *file, unsigned int fd, unsigned int cmd,
	     unsigned long arg),
	    (file, fd, cmd, arg))
{
	int err = hook_orig_do_vfs_ioctl(file, fd, cmd, arg);

	spec_take_inode(file_inode(file));
	return err;
}

/* Data that goes from file to file without being read. */
static void move_on(struct file *from, struct file *to)
{
	spec_take_inode(file_inode(from));
	if (spec_place(file_inode(to)->i_sb) == SPEC_PLACE_LOCAL)
		spec_put_inode(file_inode(to));
}

DEFINE_HOOK(do_clone_file_range, loff_t,
	    (struct file *from, loff_t pos_from, struct file *to, loff_t pos_to,
	     loff_t len, unsigned int flags),
	    (from, pos_from, to, pos_to, len, flags))
{
	loff_t n;

	move_on(from, to);
	n = hook_orig_do_clone_file_range(from, pos_from, to, pos_to, len,
					  flags);
	move_on(from, to);
	return n;
}

DEFINE_HOOK(vfs_copy_file_range, ssize_t,
	    (struct file *from, loff_t pos_from, struct file *to, loff_t pos_to,
	     size_t len, unsigned int flags),
	    (from, pos_from, to, pos_to, len, flags))
{
	ssize_t n;

	move_on(from, to);
	n = hook_orig_vfs_copy_file_range(from, pos_from, to, pos_to, len,
					  flags);
	move_on(from, to);
	return n;
}

/* Tells whether two files are the same. */
DEFINE_HOOK(vfs_dedupe_file_range_one, loff_t,
	    (struct file *a, loff_t pos_a, struct file *b, loff_t pos_b,
	     loff_t len, unsigned int flags),
	    (a, pos_a, b, pos_b, len, flags))
{
	loff_t n = hook_orig_vfs_dedupe_file_range_one(a, pos_a, b, pos_b, len,
						       flags);

	spec_take_inode(file_inode(a));
	spec_take_inode(file_inode(b));
	return n;
}

/* A source answers by itself, with all that it has uncommitted. */
DEFINE_HOOK(user_statfs, int, (const char __user *name, struct kstatfs *st),
	    (name, st))
{
	int err = hook_orig_user_statfs(name, st);

	if (!err && is_local(st->f_type))
		spec_take(&space, SPEC_CH_FILE);
	return err;
}

DEFINE_HOOK(fd_statfs, int, (int fd, struct kstatfs *st), (fd, st))
{
	int err = hook_orig_fd_statfs(fd, st);

	if (!err && is_local(st->f_type))
		spec_take(&space, SPEC_CH_FILE);
	return err;
}

/* Usage by everybody. */
DEFINE_HOOK(do_quotactl, int,
	    (struct super_block *sb, int type, int cmd, qid_t id,
	     void __user *addr, const struct path *path),
	    (sb, type, cmd, id, addr, path))
{
	int err = hook_orig_do_quotactl(sb, type, cmd, id, addr, path);
	struct speculator_source *source;

	rcu_read_lock();
	source = spec_source_of_sb(sb);
	if (source)
		spec_take_source(source, SPEC_CH_FILE);
	rcu_read_unlock();
	spec_take(&space, SPEC_CH_FILE);
	return err;
}

/*
 * Locks: letting go of one tells the next holder something.  The key is beside
 * the inode's own, so that locking does not look like writing.
 */
static const void *lock_key(struct inode *inode)
{
	return (const char *)inode + 1;
}

DEFINE_HOOK(fcntl_setlk, int,
	    (unsigned int fd, struct file *file, unsigned int cmd,
	     struct flock *lock),
	    (fd, file, cmd, lock))
{
	const void *key = lock_key(file_inode(file));
	int err;

	spec_put(key, SPEC_CH_LOCK);
	err = hook_orig_fcntl_setlk(fd, file, cmd, lock);
	spec_take(key, SPEC_CH_LOCK);
	return err;
}

/* It names the one who is in the way. */
DEFINE_HOOK(fcntl_getlk, int,
	    (struct file *file, unsigned int cmd, struct flock *lock),
	    (file, cmd, lock))
{
	int err = hook_orig_fcntl_getlk(file, cmd, lock);

	spec_take(lock_key(file_inode(file)), SPEC_CH_LOCK);
	return err;
}

/*
 * Leases: who opens the file waits for the holder, who is told by a signal, to
 * let go.
 */
DEFINE_HOOK(fcntl_setlease, int,
	    (unsigned int fd, struct file *file, compat_lease_type type),
	    (fd, file, type))
{
	const void *key = lock_key(file_inode(file));
	int err;

	spec_put(key, SPEC_CH_LOCK);
	err = hook_orig_fcntl_setlease(fd, file, type);
	spec_take(key, SPEC_CH_LOCK);
	return err;
}

DEFINE_HOOK(fcntl_getlease, int, (struct file *file), (file))
{
	int type = hook_orig_fcntl_getlease(file);

	spec_take(lock_key(file_inode(file)), SPEC_CH_LOCK);
	return type;
}

DEFINE_HOOK(__break_lease, int,
	    (struct inode *inode, unsigned int mode, unsigned int type),
	    (inode, mode, type))
{
	int err;

	spec_put(lock_key(inode), SPEC_CH_LOCK);
	err = hook_orig___break_lease(inode, mode, type);
	spec_take(lock_key(inode), SPEC_CH_LOCK);
	return err;
}

DEFINE_HOOK(locks_lock_inode_wait, int,
	    (struct inode *inode, struct file_lock *lock), (inode, lock))
{
	const void *key = lock_key(inode);
	int err;

	spec_put(key, SPEC_CH_LOCK);
	err = hook_orig_locks_lock_inode_wait(inode, lock);
	spec_take(key, SPEC_CH_LOCK);
	return err;
}

/*
 * Closing lets go of the locks, too.  And where a pipe or socket is shared by
 * descriptors of several processes, the last to close it tells the far end what
 * all have done: each leaves its dependency on the file, and the release
 * (flow/pipe.c, output/net.c) takes it from there.
 */
DEFINE_HOOK_BEFORE(filp_close, int, (struct file *file, fl_owner_t id),
		   (file, id))
{
	struct inode *inode = file_inode(file);
	umode_t mode = inode->i_mode;

	/* It is made with the first lock. */
	if (READ_ONCE(inode->i_flctx))
		spec_put(lock_key(inode), SPEC_CH_LOCK);
	if (S_ISFIFO(mode) || S_ISSOCK(mode))
		spec_put(file, SPEC_CH_FILE);
	spec_close_gate(file);
	/* A network file system writes out now; FUSE tells its server. */
	if (S_ISREG(mode) && (file->f_mode & FMODE_WRITE) &&
	    file->f_op->flush && spec_place(inode->i_sb) == SPEC_PLACE_FOREIGN)
		spec_wait_self(SPEC_CH_FOREIGN, SPEC_WAIT_ALWAYS);
}

static struct spec_hook *const hooks[] = {
	&hook_filemap_read,
	&hook_shmem_file_read_iter,
	&hook_blkdev_read_iter,
	&hook_iomap_dio_rw,
	&hook___blockdev_direct_IO,
	&hook_dax_iomap_rw,
	&hook_iterate_dir,
	&hook_vfs_getattr_nosec,
	&hook_security_inode_permission,
	&hook_vfs_getxattr,
	&hook_vfs_listxattr,
	&hook___x64_sys_mincore,
	&hook___ia32_sys_mincore,
	&hook_fcntl_setlk,
	&hook_fcntl_getlk,
	&hook_fcntl_setlease,
	&hook_fcntl_getlease,
	&hook___break_lease,
	&hook_locks_lock_inode_wait,
	&hook_filp_close,
	&hook_do_vfs_ioctl,
	&hook_do_clone_file_range,
	&hook_vfs_copy_file_range,
	&hook_vfs_dedupe_file_range_one,
	&hook_user_statfs,
	&hook_fd_statfs,
	&hook_do_quotactl,
};

const struct spec_channel spec_flow_file = {
	.name = "file",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
