// SPDX-License-Identifier: GPL-2.0
/*
 * /proc: what it tells of a process is taken from that process; see task.c.
 *
 * Which one that is, is in the name: /proc/PID/...  The rest of /proc is about
 * the machine as a whole and takes nothing, but for some tables of what
 * processes have made.
 */

#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/magic.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../source.h"
#include "task.h"

static bool is(const struct dentry *dentry, const char *name)
{
	return dentry && !strcmp(dentry->d_name.name, name);
}

/* Names of /proc never change, and a dentry stays with its parents. */
static noinline void take_proc(const struct dentry *dentry)
{
	const struct dentry *top = NULL, *second = NULL;
	struct task_struct *task;
	bool shared = false;
	int nr;

	while (!IS_ROOT(dentry)) {
		/* What open files are shared with others, and locks on them. */
		shared |= is(dentry, "fdinfo");
		second = top;
		top = dentry;
		dentry = dentry->d_parent;
	}
	if (!top)
		return;
	if (kstrtoint(top->d_name.name, 10, &nr)) {
		if (is(top, "locks") || is(top, "sysvipc") ||
		    is(top, "keys") || is(top, "key-users"))
			spec_take_all(SPEC_CH_PROCESS);
		return;
	}
	if (shared || is(second, "net")) {
		spec_take_all(SPEC_CH_PROCESS);
		return;
	}
	rcu_read_lock();
	task = pid_task(find_pid_ns(nr, proc_pid_ns(top->d_sb)), PIDTYPE_PID);
	if (task)
		spec_task_take(task);
	else
		spec_task_take_exits();
	rcu_read_unlock();
}

static __always_inline void take(const struct dentry *dentry)
{
	if (unlikely(atomic_read(&speculator_active)) &&
	    dentry->d_sb->s_magic == PROC_SUPER_MAGIC)
		take_proc(dentry);
}

DEFINE_HOOK(seq_read_iter, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *iter), (iocb, iter))
{
	ssize_t n = hook_orig_seq_read_iter(iocb, iter);

	take(iocb->ki_filp->f_path.dentry);
	return n;
}

/*
 * Files of a memory, which may have been opened long before, and which stay when
 * their process has begun another program.  Who exits, or begins one, has passed
 * on to all exits before the entry of the memory is forgotten.
 */
static void take_memory(const struct file *file)
{
	const void *mm = file->private_data;

	if (!mm || mm == current->mm)
		return;
	spec_take(mm, SPEC_CH_PTRACE);
	spec_task_take_exits();
}

/* Files of a process that are no seq_file. */
#define PROC_READ(name, observed)					\
DEFINE_HOOK(name, ssize_t,						\
	    (struct file *file, char __user *buf, size_t size,		\
	     loff_t *pos),						\
	    (file, buf, size, pos))					\
{									\
	ssize_t n = hook_orig_##name(file, buf, size, pos);		\
									\
	observed;							\
	return n;							\
}

PROC_READ(proc_pid_cmdline_read, take(file->f_path.dentry))
PROC_READ(oom_score_adj_read, take(file->f_path.dentry))
PROC_READ(oom_adj_read, take(file->f_path.dentry))
PROC_READ(proc_coredump_filter_read, take(file->f_path.dentry))
PROC_READ(proc_loginuid_read, take(file->f_path.dentry))
PROC_READ(proc_sessionid_read, take(file->f_path.dentry))
PROC_READ(environ_read, take_memory(file))
PROC_READ(auxv_read, take_memory(file))
PROC_READ(pagemap_read, take_memory(file))

DEFINE_HOOK(mem_rw, ssize_t,
	    (struct file *file, char __user *buf, size_t count, loff_t *pos,
	     int write),
	    (file, buf, count, pos, write))
{
	ssize_t n;

	if (write && file->private_data)
		spec_put(file->private_data, SPEC_CH_PTRACE);
	n = hook_orig_mem_rw(file, buf, count, pos, write);
	take_memory(file);
	return n;
}

/* Is there such a process, thread, descriptor, mapping? */
#define PROC_LOOKUP(name)						\
DEFINE_HOOK(name, struct dentry *,					\
	    (struct inode *dir, struct dentry *dentry, unsigned int flags), \
	    (dir, dentry, flags))					\
{									\
	struct dentry *ret = hook_orig_##name(dir, dentry, flags);	\
									\
	take(dentry);							\
	return ret;							\
}

PROC_LOOKUP(proc_lookupfd)
PROC_LOOKUP(proc_lookupfdinfo)
PROC_LOOKUP(proc_task_lookup)
PROC_LOOKUP(proc_map_files_lookup)

DEFINE_HOOK(proc_pid_lookup, struct dentry *,
	    (struct dentry *dentry, unsigned int flags), (dentry, flags))
{
	struct dentry *ret = hook_orig_proc_pid_lookup(dentry, flags);

	take(dentry);
	return ret;
}

DEFINE_HOOK(tid_fd_revalidate, int, (struct dentry *dentry, unsigned int flags),
	    (dentry, flags))
{
	int ret = hook_orig_tid_fd_revalidate(dentry, flags);

	take(dentry);
	return ret;
}

/* What a link leads to; permission was asked for before it was read. */
#define PROC_READLINK(name)						\
DEFINE_HOOK(name, int,							\
	    (struct dentry *dentry, char __user *buf, int size),	\
	    (dentry, buf, size))					\
{									\
	int n = hook_orig_##name(dentry, buf, size);			\
									\
	take(dentry);							\
	return n;							\
}

PROC_READLINK(proc_pid_readlink)
PROC_READLINK(proc_ns_readlink)

/* Without a dentry it will be called again with one. */
DEFINE_HOOK(proc_pid_get_link, const char *,
	    (struct dentry *dentry, struct inode *inode,
	     struct delayed_call *done),
	    (dentry, inode, done))
{
	const char *ret = hook_orig_proc_pid_get_link(dentry, inode, done);

	if (dentry)
		take(dentry);
	return ret;
}

/* Whose it is. */
DEFINE_HOOK(pid_getattr, int,
	    (struct compat_idmap *idmap, const struct path *path,
	     struct kstat *stat, u32 request, unsigned int flags),
	    (idmap, path, stat, request, flags))
{
	int err = hook_orig_pid_getattr(idmap, path, stat, request, flags);

	take(path->dentry);
	return err;
}

/* Who is not listed has gone, and who is may be new: of anybody's making. */
DEFINE_HOOK(proc_pid_readdir, int, (struct file *file, struct dir_context *ctx),
	    (file, ctx))
{
	int err = hook_orig_proc_pid_readdir(file, ctx);

	spec_take_all(SPEC_CH_PROCESS);
	return err;
}

/* The threads, descriptors and mappings of a process. */
#define PROC_LIST(name)							\
DEFINE_HOOK(name, int, (struct file *file, struct dir_context *ctx),	\
	    (file, ctx))						\
{									\
	int err = hook_orig_##name(file, ctx);				\
									\
	take(file->f_path.dentry);					\
	return err;							\
}

PROC_LIST(proc_readfd)
PROC_LIST(proc_readfdinfo)
PROC_LIST(proc_task_readdir)
PROC_LIST(proc_map_files_readdir)

static struct spec_hook *const hooks[] = {
	&hook_seq_read_iter,
	&hook_proc_pid_cmdline_read,
	&hook_oom_score_adj_read,
	&hook_oom_adj_read,
	&hook_proc_coredump_filter_read,
	&hook_proc_loginuid_read,
	&hook_proc_sessionid_read,
	&hook_mem_rw,
	&hook_environ_read,
	&hook_auxv_read,
	&hook_pagemap_read,
	&hook_proc_lookupfd,
	&hook_proc_lookupfdinfo,
	&hook_proc_task_lookup,
	&hook_proc_map_files_lookup,
	&hook_proc_pid_lookup,
	&hook_tid_fd_revalidate,
	&hook_proc_pid_readlink,
	&hook_proc_ns_readlink,
	&hook_proc_pid_get_link,
	&hook_pid_getattr,
	&hook_proc_pid_readdir,
	&hook_proc_readfd,
	&hook_proc_readfdinfo,
	&hook_proc_task_readdir,
	&hook_proc_map_files_readdir,
};

const struct spec_channel spec_flow_proc = {
	.name = "proc",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
