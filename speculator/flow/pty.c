// SPDX-License-Identifier: GPL-2.0
/*
 * Pseudo-terminals are inside the machine: the master is a process, not a
 * screen.  A dependency goes through in both directions.
 *
 * Writes are seen by the hook on tty_write(), of which there can be only one:
 * it is in output/tty.c, which also looks after poll and ioctl.
 *
 * Of other terminals only job control passes on here: whom ^C is for, and who may
 * read, somebody has chosen.
 */

#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include "../channel.h"
#include "../object.h"
#include "pty.h"
#include "task.h"

/* After the original, whatever it returned: end of file is also news. */
DEFINE_HOOK(tty_read, ssize_t, (struct kiocb *iocb, struct iov_iter *to),
	    (iocb, to))
{
	struct tty_struct *tty = spec_file_tty(iocb->ki_filp);
	ssize_t n = hook_orig_tty_read(iocb, to);

	if (tty)
		spec_take(spec_tty_key(tty), SPEC_CH_PTY);
	return n;
}

/* After a hangup an open file has these instead: they tell of it, and no more. */
static void take_hangup(const struct file *file)
{
	struct tty_struct *tty = spec_file_tty(file);

	if (tty)
		spec_take(spec_tty_key(tty), SPEC_CH_PTY);
}

DEFINE_HOOK_BEFORE(hung_up_tty_read, ssize_t,
		   (struct kiocb *iocb, struct iov_iter *to), (iocb, to))
{
	take_hangup(iocb->ki_filp);
}

DEFINE_HOOK_BEFORE(hung_up_tty_write, ssize_t,
		   (struct kiocb *iocb, struct iov_iter *from), (iocb, from))
{
	take_hangup(iocb->ki_filp);
}

DEFINE_HOOK_BEFORE(hung_up_tty_poll, __poll_t,
		   (struct file *file, struct poll_table_struct *wait), (file, wait))
{
	take_hangup(file);
}

DEFINE_HOOK_BEFORE(hung_up_tty_ioctl, long,
		   (struct file *file, unsigned int cmd, unsigned long arg),
		   (file, cmd, arg))
{
	take_hangup(file);
}

DEFINE_HOOK_BEFORE(hung_up_tty_compat_ioctl, long,
		   (struct file *file, unsigned int cmd, unsigned long arg),
		   (file, cmd, arg))
{
	take_hangup(file);
}

/* The last close of one end is what the other end reads as a hangup. */
DEFINE_HOOK_BEFORE(tty_release, int, (struct inode *inode, struct file *file),
		   (inode, file))
{
	struct tty_struct *tty = spec_file_tty(file);

	if (tty && spec_is_pty(tty))
		spec_put(spec_tty_key(tty), SPEC_CH_PTY);
}

/*
 * ^C, ^\ and ^Z, written at the master, become a signal in a kernel thread
 * that depends on nothing.  So whoever gets it is handed what the terminal holds.
 */
static void pass_to_foreground(struct tty_struct *tty)
{
	const void *key = spec_tty_key(tty);
	struct task_struct *task;
	struct pid *pgrp;

	if (!spec_maybe(key))
		return;
	pgrp = tty_get_pgrp(tty);
	rcu_read_lock();
	do_each_pid_task(pgrp, PIDTYPE_PGID, task) {
		const void *mm = spec_task_mm(task);

		/* Only compared: it may be gone by now, see object.h. */
		spec_pass(key, mm ?: task, SPEC_CH_PTY);
	} while_each_pid_task(pgrp, PIDTYPE_PGID, task);
	rcu_read_unlock();
	put_pid(pgrp);
}

DEFINE_HOOK_VOID(isig, (int sig, struct tty_struct *tty), (sig, tty))
{
	pass_to_foreground(tty);
	hook_orig_isig(sig, tty);
}

static struct spec_hook *const hooks[] = {
	&hook_tty_read,
	&hook_hung_up_tty_read,
	&hook_hung_up_tty_write,
	&hook_hung_up_tty_poll,
	&hook_hung_up_tty_ioctl,
	&hook_hung_up_tty_compat_ioctl,
	&hook_tty_release,
	&hook_isig,
};

const struct spec_channel spec_flow_pty = {
	.name = "pty",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
