// SPDX-License-Identifier: GPL-2.0
/*
 * extent_max_zeroout_kb := 0 while a file system is mounted with xsync.
 *
 * When ext4 writes into a preallocated extent it zeroes up to 32 KiB around the
 * write directly on the disk, outside the journal. An older journalled copy of
 * such a block is replayed over it after a crash: stale data. This is a defect
 * of stock data=journal, and the knob avoids it.
 *
 * There is no interface but sysfs. It is mounted for ourselves, since the one
 * at /sys need not exist in the mount namespace of whoever mounts.
 */

#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init_task.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include "xsync.h"

static struct vfsmount *sysfs;

static struct file *knob_open(const struct super_block *sb)
{
	const struct cred *old;
	struct cred *cred;
	struct path root = { .mnt = sysfs, .dentry = sysfs->mnt_root };
	struct file *file;
	char *path;

	/* ext4 has turned the slashes of s_id into '!' as sysfs does. */
	path = kasprintf(GFP_KERNEL, "fs/ext4/%s/extent_max_zeroout_kb",
			 sb->s_id);
	if (!path)
		return ERR_PTR(-ENOMEM);
	/* The right to mount need not be a right to our sysfs (AppArmor). */
	cred = prepare_kernel_cred(&init_task);
	if (!cred) {
		kfree(path);
		return ERR_PTR(-ENOMEM);
	}
	old = override_creds(cred);
	file = file_open_root(&root, path, O_RDWR, 0);
	revert_creds(old);
	put_cred(cred);
	kfree(path);
	return file;
}

static int knob_write(struct file *file, const char *value)
{
	loff_t pos = 0;
	ssize_t n = kernel_write(file, value, strlen(value), &pos);

	return n < 0 ? n : 0;
}

/**
 * xsync_zeroout_off - set the knob to 0 and remember what it was
 * @x: a mount that is being attached
 *
 * Context: process, s_umount held.
 * Return: 0 or an error; then the mount must be refused.
 */
int xsync_zeroout_off(struct xsync_mount *x)
{
	struct file *file = knob_open(x->sb);
	loff_t pos = 0;
	ssize_t n;
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_read(file, x->zeroout, sizeof(x->zeroout) - 1, &pos);
	if (n < 0) {
		err = n;
	} else {
		x->zeroout[n] = '\0';
		err = knob_write(file, "0");
	}
	fput(file);
	return err;
}

/**
 * xsync_zeroout_restore - the knob is as it was before
 * @x: a mount that is being detached while the super block stays
 *
 * Context: process, s_umount held.
 */
void xsync_zeroout_restore(struct xsync_mount *x)
{
	struct file *file = knob_open(x->sb);

	if (IS_ERR(file))
		return;
	knob_write(file, x->zeroout);
	fput(file);
}

/**
 * xsync_zeroout_init - get a sysfs
 *
 * Return: 0 or an error.
 */
int xsync_zeroout_init(void)
{
	struct file_system_type *type = get_fs_type("sysfs");

	if (!type)
		return -ENODEV;
	sysfs = kern_mount(type);
	module_put(type->owner);
	return PTR_ERR_OR_ZERO(sysfs);
}

/**
 * xsync_zeroout_exit - let sysfs go
 */
void xsync_zeroout_exit(void)
{
	kern_unmount(sysfs);
}
