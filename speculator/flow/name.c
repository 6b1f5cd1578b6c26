// SPDX-License-Identifier: GPL-2.0
/*
 * Names: path lookup, also when the answer is 'no such file'.
 *
 * inode_permission() (flow/file.c) is called for every directory on the way,
 * before the name is looked up in it.  That is enough unless somebody changes
 * the directory in between.  So every change of a directory counts up @changes
 * after it has been put on the directory and on the one object of all names,
 * and before it can be seen; a lookup during which the count has moved takes
 * that object.  Exact, but for a needless dependency when two unrelated
 * directories meet in the same microsecond.
 *
 * ext4 puts a directory before its change can be seen: under the rwsem of the
 * directory, before the dentry becomes positive, negative or moves.
 */

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/path.h>
#include <linux/sched.h>
#include "../../compat/fs.h"
#include "../main.h"
#include "../object.h"
#include "../source.h"
#include "../trace.h"
#include "file.h"

static atomic_t changes;

/**
 * spec_name_changed - a directory is about to be changed
 * @dir: the directory; what the change depends on is on its inode already
 *
 * Context: any.
 */
void spec_name_changed(const struct inode *dir)
{
	spec_pass(dir, &changes, SPEC_CH_NAME);
	atomic_inc_return(&changes);	/* a full barrier: put, count, change */
}

static __always_inline int walk_begin(void)
{
	int seen = atomic_read(&changes);

	smp_rmb();	/* the count, then the directories */
	return seen;
}

static __always_inline void walk_end(int seen, long ret)
{
	smp_rmb();	/* the directories, then the count */
	if (unlikely(atomic_read(&changes) != seen))
		spec_take(&changes, SPEC_CH_NAME);
	/* It comes from the mode of an inode on the way, nobody knows which. */
	if (unlikely(ret == -EACCES))
		spec_take_all(SPEC_CH_NAME);
}

/**
 * spec_take_names - the running process saw names, nobody knows of which directory
 *
 * Context: any.
 */
void spec_take_names(void)
{
	spec_take(&changes, SPEC_CH_NAME);
}

struct filename;
struct open_flags;

DEFINE_HOOK(filename_lookup, int,
	    (int dfd, struct filename *name, unsigned int flags,
	     struct path *path, struct path *root),
	    (dfd, name, flags, path, root))
{
	int seen = walk_begin();
	int err = hook_orig_filename_lookup(dfd, name, flags, path, root);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_filp_open, struct file *,
	    (int dfd, struct filename *name, const struct open_flags *op),
	    (dfd, name, op))
{
	int seen = walk_begin();
	struct file *file = hook_orig_do_filp_open(dfd, name, op);

	walk_end(seen, PTR_ERR(file));
	return file;
}

DEFINE_HOOK(do_mknodat, int,
	    (int dfd, struct filename *name, umode_t mode, unsigned int dev),
	    (dfd, name, mode, dev))
{
	int seen = walk_begin();
	int err = hook_orig_do_mknodat(dfd, name, mode, dev);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_mkdirat, int, (int dfd, struct filename *name, umode_t mode),
	    (dfd, name, mode))
{
	int seen = walk_begin();
	int err = hook_orig_do_mkdirat(dfd, name, mode);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_rmdir, int, (int dfd, struct filename *name), (dfd, name))
{
	int seen = walk_begin();
	int err = hook_orig_do_rmdir(dfd, name);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_unlinkat, int, (int dfd, struct filename *name), (dfd, name))
{
	int seen = walk_begin();
	int err = hook_orig_do_unlinkat(dfd, name);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_symlinkat, int,
	    (struct filename *from, int newdfd, struct filename *to),
	    (from, newdfd, to))
{
	int seen = walk_begin();
	int err = hook_orig_do_symlinkat(from, newdfd, to);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_linkat, int,
	    (int olddfd, struct filename *old, int newdfd,
	     struct filename *new, int flags),
	    (olddfd, old, newdfd, new, flags))
{
	int seen = walk_begin();
	int err = hook_orig_do_linkat(olddfd, old, newdfd, new, flags);

	walk_end(seen, err);
	return err;
}

DEFINE_HOOK(do_renameat2, int,
	    (int olddfd, struct filename *from, int newdfd,
	     struct filename *to, unsigned int flags),
	    (olddfd, from, newdfd, to, flags))
{
	int seen = walk_begin();
	int err = hook_orig_do_renameat2(olddfd, from, newdfd, to, flags);

	walk_end(seen, err);
	return err;
}

/* Those that ask for permission after the lookup. */
#define EACCES_SYSCALL(name)						\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	int seen = walk_begin();					\
	long ret = hook_orig_##name(regs);				\
									\
	walk_end(seen, ret);						\
	return ret;							\
}

EACCES_SYSCALL(__x64_sys_access)
EACCES_SYSCALL(__ia32_sys_access)
EACCES_SYSCALL(__x64_sys_faccessat)
EACCES_SYSCALL(__ia32_sys_faccessat)
EACCES_SYSCALL(__x64_sys_faccessat2)
EACCES_SYSCALL(__ia32_sys_faccessat2)
EACCES_SYSCALL(__x64_sys_chdir)
EACCES_SYSCALL(__ia32_sys_chdir)
EACCES_SYSCALL(__x64_sys_fchdir)
EACCES_SYSCALL(__ia32_sys_fchdir)

/*
 * The other way round: what an open file, a mapping or the working directory is
 * called now, or that it has no name any more.  Whoever has renamed or removed a
 * directory on the way has put that on the one above.
 */
static void take_ancestors(const struct path *path)
{
	const struct fs_struct *fs = current->fs;
	const struct dentry *dentry = path->dentry;
	struct inode *inode;

	if (likely(!atomic_read(&speculator_active)))
		return;
	rcu_read_lock();
	while (!IS_ROOT(dentry)) {
		dentry = READ_ONCE(dentry->d_parent);
		inode = d_inode_rcu(dentry);
		if (inode)
			spec_take_inode(inode);
	}
	rcu_read_unlock();
	/* On another mount than the root, which of them lead to it is not seen. */
	if (!fs || path->mnt != READ_ONCE(fs->root.mnt))
		spec_take_names();
}

/* Links and mappings in /proc, those of the process itself included. */
DEFINE_HOOK(d_path, char *, (const struct path *path, char *buf, int len),
	    (path, buf, len))
{
	char *name = hook_orig_d_path(path, buf, len);

	take_ancestors(path);
	return name;
}

static void take_pwd(void)
{
	struct path pwd;

	if (likely(!atomic_read(&speculator_active)))
		return;
	get_fs_pwd(current->fs, &pwd);
	take_ancestors(&pwd);
	path_put(&pwd);
}

DEFINE_HOOK(__x64_sys_getcwd, long, (const struct pt_regs *regs), (regs))
{
	long ret = hook_orig___x64_sys_getcwd(regs);

	take_pwd();
	return ret;
}

DEFINE_HOOK(__ia32_sys_getcwd, long, (const struct pt_regs *regs), (regs))
{
	long ret = hook_orig___ia32_sys_getcwd(regs);

	take_pwd();
	return ret;
}

/* By handle: whether the file is still there. */
DEFINE_HOOK(do_handle_open, long,
	    (int mountdirfd, struct file_handle __user *handle, int flags),
	    (mountdirfd, handle, flags))
{
	long ret = hook_orig_do_handle_open(mountdirfd, handle, flags);

	if (unlikely(ret < 0 && atomic_read(&speculator_active)))
		spec_take_all(SPEC_CH_NAME);
	return ret;
}

/*
 * The writing side on local file systems that are no source's, where no handle
 * tells: the security hooks, called under the directory's rwsem before anything
 * has changed.
 */
static bool is_put(const struct super_block *sb)
{
	const void *self;

	if (likely(spec_is_only(sb)))
		return false;
	self = spec_self();
	return self && spec_maybe(self) && spec_place(sb) == SPEC_PLACE_LOCAL;
}

static void put_dir(struct inode *dir)
{
	spec_put_inode(dir);
	spec_name_changed(dir);
}

static void put_dentry(struct dentry *dentry)
{
	if (d_really_is_positive(dentry))
		spec_put(d_inode(dentry), SPEC_CH_FILE);
}

static void change(struct inode *dir, struct dentry *dentry)
{
	if (!is_put(dir->i_sb))
		return;
	put_dentry(dentry);
	put_dir(dir);
}

DEFINE_HOOK_BEFORE(security_inode_create, int,
		   (struct inode *dir, struct dentry *dentry, umode_t mode),
		   (dir, dentry, mode))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_link, int,
		   (struct dentry *old, struct inode *dir, struct dentry *new),
		   (old, dir, new))
{
	change(dir, old);
}

DEFINE_HOOK_BEFORE(security_inode_unlink, int,
		   (struct inode *dir, struct dentry *dentry), (dir, dentry))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_symlink, int,
		   (struct inode *dir, struct dentry *dentry, const char *to),
		   (dir, dentry, to))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_mkdir, int,
		   (struct inode *dir, struct dentry *dentry, umode_t mode),
		   (dir, dentry, mode))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_rmdir, int,
		   (struct inode *dir, struct dentry *dentry), (dir, dentry))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_mknod, int,
		   (struct inode *dir, struct dentry *dentry, umode_t mode,
		    dev_t dev),
		   (dir, dentry, mode, dev))
{
	change(dir, dentry);
}

DEFINE_HOOK_BEFORE(security_inode_rename, int,
		   (struct inode *old_dir, struct dentry *old,
		    struct inode *new_dir, struct dentry *new,
		    unsigned int flags),
		   (old_dir, old, new_dir, new, flags))
{
	if (!is_put(old_dir->i_sb))
		return;
	put_dentry(old);
	put_dentry(new);
	put_dir(old_dir);
	if (new_dir != old_dir)
		put_dir(new_dir);
}

static void change_inode(struct dentry *dentry)
{
	struct inode *inode = d_backing_inode(dentry);

	if (is_put(inode->i_sb))
		spec_put_inode(inode);
}

DEFINE_HOOK_BEFORE(security_inode_setattr, int,
		   (struct compat_idmap *idmap, struct dentry *dentry,
		    struct iattr *attr),
		   (idmap, dentry, attr))
{
	change_inode(dentry);
}

DEFINE_HOOK_BEFORE(security_inode_setxattr, int,
		   (struct compat_idmap *idmap, struct dentry *dentry,
		    const char *name, const void *value, size_t size,
		    int flags),
		   (idmap, dentry, name, value, size, flags))
{
	change_inode(dentry);
}

DEFINE_HOOK_BEFORE(security_inode_removexattr, int,
		   (struct compat_idmap *idmap, struct dentry *dentry,
		    const char *name),
		   (idmap, dentry, name))
{
	change_inode(dentry);
}

static struct spec_hook *const hooks[] = {
	&hook_filename_lookup,
	&hook_do_filp_open,
	&hook_do_mknodat,
	&hook_do_mkdirat,
	&hook_do_rmdir,
	&hook_do_unlinkat,
	&hook_do_symlinkat,
	&hook_do_linkat,
	&hook_do_renameat2,
	&hook___x64_sys_access,
	&hook___ia32_sys_access,
	&hook___x64_sys_faccessat,
	&hook___ia32_sys_faccessat,
	&hook___x64_sys_faccessat2,
	&hook___ia32_sys_faccessat2,
	&hook___x64_sys_chdir,
	&hook___ia32_sys_chdir,
	&hook___x64_sys_fchdir,
	&hook___ia32_sys_fchdir,
	&hook_d_path,
	&hook___x64_sys_getcwd,
	&hook___ia32_sys_getcwd,
	&hook_do_handle_open,
	&hook_security_inode_create,
	&hook_security_inode_link,
	&hook_security_inode_unlink,
	&hook_security_inode_symlink,
	&hook_security_inode_mkdir,
	&hook_security_inode_rmdir,
	&hook_security_inode_mknod,
	&hook_security_inode_rename,
	&hook_security_inode_setattr,
	&hook_security_inode_setxattr,
	&hook_security_inode_removexattr,
};

const struct spec_channel spec_flow_name = {
	.name = "name",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
