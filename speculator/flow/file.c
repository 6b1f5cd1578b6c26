// SPDX-License-Identifier: GPL-2.0
/*
 * Files: data, attributes, locks.  The inode carries the dependency.
 *
 * On the mount of a source the writing side is the source's own
 * (speculator_taint(), speculator_taint_inode()); on other local file systems
 * every modification by a dependent process is put on the inode.  The reading
 * side is the same for all.
 */

#include <linux/blkdev.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/uio.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../output/wait.h"
#include "../source.h"
#include "file.h"

/* Their file systems keep them private. */
#define XFS_SUPER_MAGIC_LOCAL	0x58465342
#define MQUEUE_MAGIC_LOCAL	0x19800202

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
	bool source;

	rcu_read_lock();
	source = spec_source_of_sb(sb);
	rcu_read_unlock();
	if (source)
		return SPEC_PLACE_SOURCE;
	switch (sb->s_magic) {
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
		return SPEC_PLACE_LOCAL;
	}
	return SPEC_PLACE_FOREIGN;
}

/**
 * spec_put_inode - the running process is about to change an inode
 * @inode: of a local file system that is no source's
 *
 * Context: any; locks may be held.
 */
void spec_put_inode(struct inode *inode)
{
	spec_put(inode, SPEC_CH_FILE);
}

/**
 * spec_modify - a process with dependencies is about to modify a file system
 * @sb: which
 * @ch: for statistics
 *
 * On a source it must first be rid of what it owes to other sources: commits of
 * two file systems have no order (paper section 2.4).
 *
 * Context: process, no file-system lock held, may sleep.
 * Return: 0 to go on, or the error of spec_wait().
 */
int spec_modify(struct super_block *sb, enum spec_channel_id ch)
{
	struct speculator_source *source;
	struct spec_dep dep;
	u32 mask = spec_self_pending(&dep);

	if (!mask)
		return 0;
	switch (spec_place(sb)) {
	case SPEC_PLACE_LOCAL:
		return 0;
	case SPEC_PLACE_SOURCE:
		rcu_read_lock();
		source = spec_source_of_sb(sb);
		if (source)
			mask &= ~(1U << source->slot);
		rcu_read_unlock();
		dep.mask = mask;
		return mask ? spec_wait(&dep, SPEC_CH_FILE, SPEC_WAIT_KILLABLE) : 0;
	default:
		return spec_wait(&dep, ch, SPEC_WAIT_KILLABLE);
	}
}

/* A raw read of the disk below a source sees what is only in its page cache. */
static void take_blkdev(struct inode *inode)
{
	u32 left = READ_ONCE(spec_marks.live);

	rcu_read_lock();
	while (left) {
		struct speculator_source *source =
			spec_source_of_slot(__builtin_ctz(left));

		left &= left - 1;
		if (source && source->sb && source->sb->s_dev == inode->i_rdev)
			spec_take_source(source, SPEC_CH_FILE);
	}
	rcu_read_unlock();
}

static noinline void take_mapping(struct address_space *mapping)
{
	struct inode *inode = mapping->host;

	spec_take_inode(inode);
	if (unlikely(S_ISBLK(inode->i_mode)))
		take_blkdev(inode);
}

DEFINE_HOOK(filemap_read, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *iter, ssize_t already_read),
	    (iocb, iter, already_read))
{
	ssize_t n = hook_orig_filemap_read(iocb, iter, already_read);

	if (unlikely(atomic_read(&speculator_active)))
		take_mapping(iocb->ki_filp->f_mapping);
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

DEFINE_HOOK(iterate_dir, int, (struct file *file, struct dir_context *ctx),
	    (file, ctx))
{
	int err = hook_orig_iterate_dir(file, ctx);

	spec_take_inode(file_inode(file));
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
DEFINE_HOOK_BEFORE(security_inode_permission, int,
		   (struct inode *inode, int mask), (inode, mask))
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
	    (unsigned int fd, struct file *file, long type), (fd, file, type))
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
	umode_t mode = file_inode(file)->i_mode;

	spec_put(lock_key(file_inode(file)), SPEC_CH_LOCK);
	if (S_ISFIFO(mode) || S_ISSOCK(mode))
		spec_put(file, SPEC_CH_FILE);
	spec_close_gate(file);
}

static struct spec_hook *const hooks[] = {
	&hook_filemap_read,
	&hook_shmem_file_read_iter,
	&hook_iomap_dio_rw,
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
};

const struct spec_channel spec_flow_file = {
	.name = "file",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
