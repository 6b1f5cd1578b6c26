// SPDX-License-Identifier: GPL-2.0
/*
 * Everything else: a process with dependencies that does something outward
 * which is neither passed on (flow/) nor held (tty.c, net.c) waits until it is
 * committed (paper section 2.2).  Each gate ends in a default branch that
 * waits: a kind of file, ioctl or file system nobody listed cannot leak.
 */

#include <linux/backing-dev.h>
#include <linux/file.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/kernel_read_file.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/net.h>
#include <linux/sockios.h>
#include <linux/tty.h>
#include <net/sock.h>
#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include "../../compat/fs.h"
#include "../flow/event.h"
#include "../call.h"
#include "../flow/file.h"
#include "../flow/open.h"
#include "../object.h"
#include "../source.h"
#include "wait.h"

static __always_inline bool pending(void)
{
	const void *self = spec_self();

	return self && unlikely(spec_maybe(self));
}

static int wait_for(enum spec_channel_id ch)
{
	return spec_wait_self(ch, SPEC_WAIT_KILLABLE);
}

static const void *tty_write_fn, *redirected_tty_write_fn;

static bool is_tty(struct file *file)
{
	const void *fn = file->f_op->write_iter;

	return fn && (fn == tty_write_fn || fn == redirected_tty_write_fn);
}

/* null, zero, full, random, urandom */
static bool is_harmless_device(dev_t dev)
{
	return MAJOR(dev) == MEM_MAJOR &&
	       (MINOR(dev) == 3 || MINOR(dev) == 5 || MINOR(dev) == 7 ||
		MINOR(dev) == 8 || MINOR(dev) == 9);
}

/* A disk of its own, whose writes and commits nobody orders after ours. */
static bool is_other_disk(const struct super_block *sb)
{
	return spec_has_disk(sb) && spec_place(sb) != SPEC_PLACE_SOURCE;
}

/* Is what is written on the disk when the write returns? */
static bool is_written_through(struct file *file)
{
	return (file->f_flags & (O_DIRECT | O_DSYNC)) ||
	       IS_SYNC(file_inode(file));
}

static noinline int write_gate(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct socket *sock;
	u32 own;

	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
		if (likely(spec_is_only(inode->i_sb)))
			return 0;
		own = spec_source_bit(inode->i_sb);
		if (spec_place_of(inode->i_sb, own) == SPEC_PLACE_LOCAL) {
			spec_put_inode(inode);
			return is_written_through(file) &&
			       is_other_disk(inode->i_sb) ?
				wait_for(SPEC_CH_FSYNC) : 0;
		}
		return spec_modify_of(inode->i_sb, own, SPEC_CH_FOREIGN);
	case S_IFIFO:		/* flow/pipe.c */
		return 0;
	case S_IFSOCK:
		sock = SOCKET_I(inode);
		switch (sock->sk ? sock->sk->sk_family : AF_UNSPEC) {
		case AF_UNIX:	/* flow/unix.c */
		case AF_INET:	/* output/net.c */
		case AF_INET6:
			return 0;
		}
		return wait_for(SPEC_CH_SOCKET);
	case S_IFCHR:
		if (is_tty(file) || is_harmless_device(inode->i_rdev))
			return 0;
		return wait_for(SPEC_CH_DEVICE);
	case S_IFBLK:
		return wait_for(SPEC_CH_DEVICE);
	default:
		if (spec_is_eventfd(file))	/* flow/event.c */
			return 0;
		return wait_for(SPEC_CH_OTHER);
	}
}

DEFINE_HOOK_GATE(security_file_permission, (struct file *file, int mask),
		 (file, mask))
{
	spec_open_moves(file, mask);
	if (!(mask & MAY_WRITE) || !pending())
		return 0;
	return write_gate(file);
}

/*
 * To open or to close some device does something: it rewinds, starts a clock,
 * raises a line.  The drivers are many, so only those known to be harmless are
 * let through, and terminals, which have their own rules.
 */
static bool opens_quietly(const struct inode *inode)
{
	if (S_ISBLK(inode->i_mode))
		return false;
	if (!S_ISCHR(inode->i_mode) || is_harmless_device(inode->i_rdev))
		return true;
	switch (MAJOR(inode->i_rdev)) {
	case TTY_MAJOR:
	case TTYAUX_MAJOR:
	case UNIX98_PTY_SLAVE_MAJOR ... UNIX98_PTY_SLAVE_MAJOR + 7:
		return true;
	}
	return false;
}

DEFINE_HOOK_GATE(security_file_open, (struct file *file), (file))
{
	if (opens_quietly(file_inode(file)) || !pending())
		return 0;
	return wait_for(SPEC_CH_DEVICE);
}

/**
 * spec_close_gate - the running process closes a file
 * @file: which
 *
 * Waits if it is a device.
 *
 * Context: process, may sleep.
 */
void spec_close_gate(struct file *file)
{
	if (!opens_quietly(file_inode(file)) && !is_tty(file) &&
	    !(file->f_mode & FMODE_PATH))
		spec_wait_self(SPEC_CH_DEVICE, SPEC_WAIT_ALWAYS);
}

/* What only asks, or only concerns the process itself. */
static bool is_harmless_ioctl(struct file *file, unsigned int cmd)
{
	switch (cmd) {
	case FIOCLEX:
	case FIONCLEX:
	case FIONBIO:
	case FIOASYNC:
	case FIOQSIZE:
	case FIONREAD:
	case TIOCOUTQ:
	case TCGETS:
	case TCGETS2:
	case TCGETA:
	case TIOCGWINSZ:
	case TIOCGPGRP:
	case TIOCGSID:
	case TIOCGETD:
	case TIOCGPTN:
	case TIOCGPTPEER:
	case TIOCGLCKTRMIOS:
	case TIOCGEXCL:
	case TIOCGPKT:
	case TIOCGPTLCK:
	case TIOCGDEV:
	case TIOCSPTLCK:
	case TIOCSCTTY:
	case TIOCNOTTY:
	case TIOCSPGRP:
		return true;
	case SIOCGIFNAME:
	case SIOCGIFCONF:
	case SIOCGIFFLAGS:
	case SIOCGIFADDR:
	case SIOCGIFINDEX:
	case SIOCGIFMTU:
	case SIOCGIFHWADDR:
	case SIOCGIFTXQLEN:
		return S_ISSOCK(file_inode(file)->i_mode);
	}
	return false;
}

/* Settings of a pseudo-terminal stay in the machine; a line's do not. */
static bool is_pty_setting(struct file *file, unsigned int cmd)
{
	struct tty_file_private *priv = file->private_data;

	if (!is_tty(file) || !priv || !priv->tty ||
	    priv->tty->driver->type != TTY_DRIVER_TYPE_PTY)
		return false;
	switch (cmd) {
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
	case TCSETS2:
	case TCSETSW2:
	case TCSETSF2:
	case TCSETA:
	case TCSETAW:
	case TCSETAF:
	case TCSBRK:
	case TCFLSH:
	case TCXONC:
	case TIOCSWINSZ:
	case TIOCPKT:
	case TIOCSETD:
		return true;
	}
	return false;
}

/* Of any file system: a question, or a modification like others. */
static bool is_file_ioctl(const struct inode *inode, unsigned int cmd)
{
	if (!S_ISREG(inode->i_mode) && !S_ISDIR(inode->i_mode))
		return false;
	switch (cmd) {
	case FIGETBSZ:
	case FIBMAP:
	case FICLONE:
	case FICLONERANGE:
	case FIDEDUPERANGE:
	case FS_IOC_FIEMAP:
	case FS_IOC_GETFLAGS:
	case FS_IOC_SETFLAGS:
	case FS_IOC32_GETFLAGS:
	case FS_IOC32_SETFLAGS:
	case FS_IOC_GETVERSION:
	case FS_IOC32_GETVERSION:
	case FS_IOC_FSGETXATTR:
	case FS_IOC_FSSETXATTR:
	case FS_IOC_GETFSLABEL:
		return true;
	}
	return false;
}

static noinline int ioctl_gate(struct file *file, unsigned int cmd)
{
	struct inode *inode = file_inode(file);

	if (cmd == FIONBIO || cmd == FIOASYNC)
		spec_put(file, SPEC_CH_FILE);	/* its flags */
	if (is_harmless_ioctl(file, cmd) || is_pty_setting(file, cmd))
		return 0;
	/* Waiting for a line to drain is output/tty.c's, with its queue. */
	if (is_file_ioctl(inode, cmd)) {
		if (spec_place(inode->i_sb) == SPEC_PLACE_LOCAL)
			spec_put_inode(inode);
		return spec_modify(inode->i_sb, SPEC_CH_IOCTL);
	}
	return wait_for(SPEC_CH_IOCTL);
}

DEFINE_HOOK_GATE(security_file_ioctl,
		 (struct file *file, unsigned int cmd, unsigned long arg),
		 (file, cmd, arg))
{
	return pending() ? ioctl_gate(file, cmd) : 0;
}

DEFINE_HOOK_GATE(security_file_ioctl_compat,
		 (struct file *file, unsigned int cmd, unsigned long arg),
		 (file, cmd, arg))
{
	return pending() ? ioctl_gate(file, cmd) : 0;
}

/*
 * Every modification of names and attributes asks for write access first,
 * before any lock of a file system is taken.
 */
static int change_gate(struct super_block *sb)
{
	if (likely(spec_is_only(sb)) || !pending())
		return 0;
	if ((sb->s_flags & (SB_SYNCHRONOUS | SB_DIRSYNC)) && is_other_disk(sb))
		return wait_for(SPEC_CH_FSYNC);
	return spec_modify(sb, SPEC_CH_FOREIGN);
}

DEFINE_HOOK_GATE(mnt_want_write, (struct vfsmount *mnt), (mnt))
{
	return change_gate(mnt->mnt_sb);
}

DEFINE_HOOK_GATE(mnt_want_write_file, (struct file *file), (file))
{
	return change_gate(file_inode(file)->i_sb);
}

/*
 * The first store through a shared mapping to a page of another source, or of a
 * foreign file system.  The page is not locked yet.  mmap_lock is let go, as
 * the kernel does when a fault waits for the disk, and the fault is tried again.
 * Where the caller does not allow that we wait with it: no commit needs it.
 */
DEFINE_HOOK_GATE(do_page_mkwrite, COMPAT_PAGE_MKWRITE_PROTO,
		 COMPAT_PAGE_MKWRITE_ARGS)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct spec_dep dep;
	u32 mask;

	if (!pending())
		return 0;
	if (spec_place(inode->i_sb) == SPEC_PLACE_LOCAL) {
		spec_put_inode(inode);
		return 0;
	}
	mask = spec_owed(inode->i_sb, &dep);
	if (!mask)
		return 0;
	if (spec_dep_lost(mask))
		return (__force int)VM_FAULT_SIGBUS;
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return spec_wait(&dep, SPEC_CH_FOREIGN, SPEC_WAIT_KILLABLE) ?
			(__force int)VM_FAULT_SIGBUS : 0;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT) {
		spec_request_commit(&dep, mask);
	} else {
		mmap_read_unlock(vmf->vma->vm_mm);
		spec_wait(&dep, SPEC_CH_FOREIGN, SPEC_WAIT_KILLABLE);
	}
	return (__force int)(VM_FAULT_RETRY | VM_FAULT_NOPAGE);
}

/**
 * spec_fsync_gate - the running process asks for a commit of a file
 * @file: which
 *
 * On another disk it is external output, of the process and of what others have
 * written to the file.
 *
 * Context: process, may sleep.
 * Return: 0 to go on, or the error of spec_wait().
 */
int spec_fsync_gate(struct file *file)
{
	struct inode *inode = file_inode(file);

	if (spec_place(inode->i_sb) == SPEC_PLACE_SOURCE)
		return spec_modify(inode->i_sb, SPEC_CH_FSYNC);
	if (!is_other_disk(inode->i_sb))
		return 0;
	spec_take_inode(inode);
	return pending() ? wait_for(SPEC_CH_FSYNC) : 0;
}

DEFINE_HOOK_GATE(vfs_fsync_range,
		 (struct file *file, loff_t start, loff_t end, int datasync),
		 (file, start, end, datasync))
{
	return spec_fsync_gate(file);
}

/* Some kernels inline the above here, and into fdatasync(). */
DEFINE_HOOK_GATE(vfs_fsync, (struct file *file, int datasync), (file, datasync))
{
	return spec_fsync_gate(file);
}

/**
 * spec_syncfs_gate - the running process asks for a commit of a file system
 * @file: of it
 *
 * Context: process, may sleep.
 * Return: 0 to go on, or the error of spec_wait().
 */
int spec_syncfs_gate(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (spec_place(sb) == SPEC_PLACE_SOURCE)
		return spec_modify(sb, SPEC_CH_FSYNC);
	/* What is below an overlay is only known under its s_umount. */
	if (!is_other_disk(sb) && sb->s_magic != OVERLAYFS_SUPER_MAGIC)
		return 0;
	return pending() ? wait_for(SPEC_CH_FSYNC) : 0;
}

DEFINE_KERNEL_CALL(iterate_supers, void,
		   (void (*fn)(struct super_block *sb, void *arg), void *arg));

static void look_for_disk(struct super_block *sb, void *found)
{
	/* noop: those without a device of their own, proc and the like. */
	if (sb->s_bdi == &noop_backing_dev_info || sb_rdonly(sb) ||
	    !is_other_disk(sb))
		return;
	if (sb->s_op->sync_fs || bdi_has_dirty_io(sb->s_bdi))
		*(bool *)found = true;
}

/* Only where another disk, or a server, may have something to write. */
DEFINE_HOOK_VOID(ksys_sync, (void), ())
{
	bool found = false;

	if (pending())
		call_iterate_supers(look_for_disk, &found);
	if (!found || !wait_for(SPEC_CH_FSYNC))
		hook_orig_ksys_sync();
}

/**
 * spec_truncate_gate - the running process is about to cut a file
 * @file: which
 *
 * Context: process, may sleep.
 * Return: 0 to go on, or the error of spec_wait().
 */
int spec_truncate_gate(struct file *file)
{
	return spec_modify(file_inode(file)->i_sb, SPEC_CH_FOREIGN);
}

/**
 * spec_fd_gate - the gate of a system call that has a descriptor
 * @fd: the descriptor
 * @gate: what to ask
 *
 * Context: process, may sleep.
 * Return: what @gate has said, or 0 if there is no such file.
 */
int spec_fd_gate(unsigned int fd, int (*gate)(struct file *file))
{
	struct fd f = fdget(fd);
	int err = 0;

	if (fd_file(f)) {
		err = gate(fd_file(f));
		fdput(f);
	}
	return err;
}

/* A mapping through which a device can be written, unseen by us later. */
DEFINE_HOOK_GATE(security_mmap_file,
		 (struct file *file, unsigned long prot, unsigned long flags),
		 (file, prot, flags))
{
	if (!file || !pending())
		return 0;
	switch (file_inode(file)->i_mode & S_IFMT) {
	case S_IFREG:
		return 0;
	case S_IFCHR:
		if (is_harmless_device(file_inode(file)->i_rdev))
			return 0;
		break;
	}
	return wait_for(SPEC_CH_DEVICE);
}

DEFINE_HOOK_GATE(security_sb_mount,
		 (const char *dev_name, const struct path *path,
		  const char *type, unsigned long flags, void *data),
		 (dev_name, path, type, flags, data))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

/* The way out of a failed journal: what was lost must not forbid it. */
DEFINE_HOOK_GATE(security_sb_umount, (struct vfsmount *mnt, int flags),
		 (mnt, flags))
{
	int err = pending() ? wait_for(SPEC_CH_SYSTEM) : 0;

	return err == -EIO ? 0 : err;
}

DEFINE_HOOK_GATE(security_move_mount,
		 (const struct path *from, const struct path *to), (from, to))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

DEFINE_HOOK_GATE(security_settime64,
		 (const struct timespec64 *ts, const struct timezone *tz),
		 (ts, tz))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

union bpf_attr;

DEFINE_HOOK_GATE(security_bpf,
		 (int cmd, union bpf_attr *attr, unsigned int size),
		 (cmd, attr, size))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

/* Limits and usage; what is set goes to a disk. */
DEFINE_HOOK(quotactl_block, struct super_block *,
	    (const char __user *special, int cmd), (special, cmd))
{
	int err = pending() ? wait_for(SPEC_CH_SYSTEM) : 0;

	return err ? ERR_PTR(err) : hook_orig_quotactl_block(special, cmd);
}

/* Modules, firmware, kexec images: from memory and from a file. */
DEFINE_HOOK_GATE(security_kernel_read_file,
		 (struct file *file, enum kernel_read_file_id id,
		  bool contents),
		 (file, id, contents))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

DEFINE_HOOK_GATE(security_kernel_load_data,
		 (enum kernel_load_data_id id, bool contents), (id, contents))
{
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

/* Everybody sees a page go away. */
DEFINE_HOOK_GATE(do_madvise,
		 (struct mm_struct *mm, unsigned long start, size_t len,
		  int behavior),
		 (mm, start, len, behavior))
{
	if (behavior != MADV_HWPOISON && behavior != MADV_SOFT_OFFLINE)
		return 0;
	return pending() ? wait_for(SPEC_CH_SYSTEM) : 0;
}

/* Commands to a device and messages to another ring, without a system call. */
struct io_kiocb;

DEFINE_HOOK_GATE(io_uring_cmd, (struct io_kiocb *req, unsigned int issue_flags),
		 (req, issue_flags))
{
	return pending() ? wait_for(SPEC_CH_IOCTL) : 0;
}

DEFINE_HOOK_GATE(io_msg_ring, (struct io_kiocb *req, unsigned int issue_flags),
		 (req, issue_flags))
{
	return pending() ? wait_for(SPEC_CH_IPC) : 0;
}

static int install(char *why, size_t why_len)
{
	tty_write_fn = (void *)speculator_symbol("tty_write");
	redirected_tty_write_fn =
		(void *)speculator_symbol("redirected_tty_write");
	if (tty_write_fn && redirected_tty_write_fn &&
	    kernel_call_find(iterate_supers))
		return 0;
	snprintf(why, why_len, "tty_write, redirected_tty_write or iterate_supers is not in this kernel");
	return -ENOENT;
}

static struct spec_hook *const hooks[] = {
	&hook_security_file_permission,
	&hook_security_file_open,
	&hook_security_file_ioctl,
	&hook_security_file_ioctl_compat,
	&hook_mnt_want_write,
	&hook_mnt_want_write_file,
	&hook_do_page_mkwrite,
	&hook_vfs_fsync_range,
	&hook_vfs_fsync,
	&hook_ksys_sync,
	&hook_security_mmap_file,
	&hook_security_sb_mount,
	&hook_security_sb_umount,
	&hook_security_move_mount,
	&hook_security_settime64,
	&hook_quotactl_block,
	&hook_security_bpf,
	&hook_security_kernel_load_data,
	&hook_security_kernel_read_file,
	&hook_do_madvise,
	&hook_io_uring_cmd,
	&hook_io_msg_ring,
};

const struct spec_channel spec_output_wait = {
	.name = "everything else",
	.rule = "waits",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = install,
};
