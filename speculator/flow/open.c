// SPDX-License-Identifier: GPL-2.0
/*
 * Open files: the position and the flags, which processes share that have
 * inherited or were sent the same one.  The key is the struct file; what is in
 * it is the inode's (flow/file.c).
 */

#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "file.h"
#include "open.h"

/**
 * spec_open_position - a process reads or writes at a shared position
 * @file: open in more than one process, or held by another thread
 * @mask: MAY_READ or MAY_WRITE
 *
 * Context: process; the position's lock is held, so who has moved it before has
 * put that on the file.  A write does not tell its caller where it went.
 */
void spec_open_position(struct file *file, int mask)
{
	if (mask & MAY_READ)
		spec_take(file, SPEC_CH_FILE);
	spec_put(file, SPEC_CH_FILE);
}

/*
 * Where the data is, and the holes, and the end; and the position, which
 * processes may share.
 */
static __always_inline struct fd seek_begin(unsigned int fd)
{
	struct fd f = fdget(fd);

	if (fd_file(f))
		spec_put(fd_file(f), SPEC_CH_FILE);
	return f;
}

static __always_inline void seek_end(struct fd f)
{
	if (!fd_file(f))
		return;
	spec_take(fd_file(f), SPEC_CH_FILE);
	spec_take_inode(file_inode(fd_file(f)));
	fdput(f);
}

DEFINE_HOOK(ksys_lseek, off_t,
	    (unsigned int fd, off_t offset, unsigned int whence),
	    (fd, offset, whence))
{
	struct fd f = seek_begin(fd);
	off_t ret = hook_orig_ksys_lseek(fd, offset, whence);

	seek_end(f);
	return ret;
}

DEFINE_HOOK(__ia32_sys_llseek, long, (const struct pt_regs *regs), (regs))
{
	struct fd f = seek_begin(regs->bx);
	long ret = hook_orig___ia32_sys_llseek(regs);

	seek_end(f);
	return ret;
}

DEFINE_HOOK(do_fcntl, long,
	    (int fd, unsigned int cmd, unsigned long arg, struct file *file),
	    (fd, cmd, arg, file))
{
	struct inode *inode = file_inode(file);
	long ret;

	switch (cmd) {
	case F_SETFL:
	case F_SETOWN:
	case F_SETOWN_EX:
	case F_SETSIG:
	case F_NOTIFY:
		spec_put(file, SPEC_CH_FILE);
		break;
	case F_ADD_SEALS:
		spec_put(inode, SPEC_CH_FILE);
		break;
	case F_GETFL:
	case F_GETOWN:
	case F_GETOWN_EX:
	case F_GETSIG:
	case F_GET_SEALS:
		break;
	default:
		return hook_orig_do_fcntl(fd, cmd, arg, file);
	}
	ret = hook_orig_do_fcntl(fd, cmd, arg, file);
	spec_take(file, SPEC_CH_FILE);
	if (cmd == F_ADD_SEALS || cmd == F_GET_SEALS)
		spec_take_inode(inode);
	return ret;
}

/* The next open file will have the same address soon. */
DEFINE_HOOK_BEFORE_VOID(security_file_free, (struct file *file), (file))
{
	if (spec_maybe(file))
		spec_forget(file);
}

static struct spec_hook *const hooks[] = {
	&hook_ksys_lseek,
	&hook___ia32_sys_llseek,
	&hook_do_fcntl,
	&hook_security_file_free,
};

const struct spec_channel spec_flow_open = {
	.name = "open",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
