// SPDX-License-Identifier: GPL-2.0
/*
 * Files without a name that tell one process of another: timerfd, userfaultfd,
 * the listener of seccomp.  All of them have the same inode, so the key of a
 * timer is the open file.  Writes to such a file and its ioctls wait
 * (output/wait.c).
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/time64.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../source.h"

/* The open file of a descriptor, only to compare; NULL if there is none. */
static const void *file_key(int fd)
{
	struct fd f = fdget(fd);
	const void *key = fd_file(f);

	fdput(f);
	return key;
}

DEFINE_HOOK(do_timerfd_settime, int,
	    (int fd, int flags, const struct itimerspec64 *new,
	     struct itimerspec64 *old),
	    (fd, flags, new, old))
{
	const void *key = NULL;
	int err;

	if (unlikely(atomic_read(&speculator_active))) {
		key = file_key(fd);
		if (key)
			spec_put(key, SPEC_CH_FILE);
	}
	err = hook_orig_do_timerfd_settime(fd, flags, new, old);
	if (key)
		spec_take(key, SPEC_CH_FILE);	/* the old time */
	return err;
}

DEFINE_HOOK(do_timerfd_gettime, int, (int fd, struct itimerspec64 *time),
	    (fd, time))
{
	int err = hook_orig_do_timerfd_gettime(fd, time);
	const void *key;

	if (unlikely(atomic_read(&speculator_active))) {
		key = file_key(fd);
		if (key)
			spec_take(key, SPEC_CH_FILE);
	}
	return err;
}

DEFINE_HOOK(timerfd_read, ssize_t,
	    (struct file *file, char __user *buf, size_t count, loff_t *pos),
	    (file, buf, count, pos))
{
	ssize_t n = hook_orig_timerfd_read(file, buf, count, pos);

	spec_take(file, SPEC_CH_FILE);
	return n;
}

/* A fault or a fork of the process that is watched. */
DEFINE_HOOK(userfaultfd_read, ssize_t,
	    (struct file *file, char __user *buf, size_t count, loff_t *pos),
	    (file, buf, count, pos))
{
	ssize_t n = hook_orig_userfaultfd_read(file, buf, count, pos);

	if (n > 0)
		spec_take_all(SPEC_CH_PTRACE);
	return n;
}

/* A system call of the process that is watched. */
DEFINE_HOOK(seccomp_notify_ioctl, long,
	    (struct file *file, unsigned int cmd, unsigned long arg),
	    (file, cmd, arg))
{
	long ret = hook_orig_seccomp_notify_ioctl(file, cmd, arg);

	spec_take_all(SPEC_CH_PTRACE);
	return ret;
}

static struct spec_hook *const hooks[] = {
	&hook_do_timerfd_settime,
	&hook_do_timerfd_gettime,
	&hook_timerfd_read,
	&hook_userfaultfd_read,
	&hook_seccomp_notify_ioctl,
};

const struct spec_channel spec_flow_anon = {
	.name = "files without a name",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
