// SPDX-License-Identifier: GPL-2.0
/*
 * Readiness: who is told by poll, select or epoll that there is something, or
 * how much, takes what the object carries as if he had read it.
 *
 * All of them end in the object's own poll operation, in the process that is
 * told.  That of terminals is in output/tty.c.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io_uring_types.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <net/sock.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../source.h"
#include "inet.h"

DEFINE_HOOK(pipe_poll, __poll_t,
	    (struct file *file, struct poll_table_struct *wait), (file, wait))
{
	__poll_t events = hook_orig_pipe_poll(file, wait);

	spec_take(file->private_data, SPEC_CH_PIPE);
	return events;
}

/* FIONREAD */
DEFINE_HOOK(pipe_ioctl, long,
	    (struct file *file, unsigned int cmd, unsigned long arg),
	    (file, cmd, arg))
{
	long ret = hook_orig_pipe_ioctl(file, cmd, arg);

	spec_take(file->private_data, SPEC_CH_PIPE);
	return ret;
}

static void take_socket(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	if (likely(!atomic_read(&speculator_active)) || !sk)
		return;
	switch (sk->sk_family) {
	case AF_UNIX:
		spec_take(sk, SPEC_CH_UNIX);
		break;
	case AF_INET:
	case AF_INET6:
		spec_inet_take(sk);
		break;
	default:
		spec_take(sk, SPEC_CH_SOCKET);
	}
}

DEFINE_HOOK(sock_poll, __poll_t,
	    (struct file *file, struct poll_table_struct *wait), (file, wait))
{
	__poll_t events = hook_orig_sock_poll(file, wait);

	take_socket(file->private_data);
	return events;
}

/* FIONREAD, SIOCOUTQ, SIOCATMARK */
DEFINE_HOOK(sock_ioctl, long,
	    (struct file *file, unsigned int cmd, unsigned long arg),
	    (file, cmd, arg))
{
	long ret = hook_orig_sock_ioctl(file, cmd, arg);

	take_socket(file->private_data);
	return ret;
}

DEFINE_HOOK(compat_sock_ioctl, long,
	    (struct file *file, unsigned int cmd, unsigned long arg),
	    (file, cmd, arg))
{
	long ret = hook_orig_compat_sock_ioctl(file, cmd, arg);

	take_socket(file->private_data);
	return ret;
}

DEFINE_HOOK(sock_getsockopt, int,
	    (struct socket *sock, int level, int option, char __user *val,
	     int __user *len),
	    (sock, level, option, val, len))
{
	int ret = hook_orig_sock_getsockopt(sock, level, option, val, len);

	if (option == SO_ERROR || option == SO_MEMINFO)
		take_socket(sock);
	return ret;
}

/* Their private data is the key; see flow/event.c. */
#define EVENT_POLL(name)						\
DEFINE_HOOK(name, __poll_t,						\
	    (struct file *file, struct poll_table_struct *wait),	\
	    (file, wait))						\
{									\
	__poll_t events = hook_orig_##name(file, wait);			\
									\
	spec_take(file->private_data, SPEC_CH_IPC);			\
	return events;							\
}

EVENT_POLL(eventfd_poll)
EVENT_POLL(inotify_poll)
EVENT_POLL(fanotify_poll)
EVENT_POLL(pidfd_poll)		/* the struct pid; see flow/process.c */

#define EVENT_IOCTL(name)						\
DEFINE_HOOK(name, long,							\
	    (struct file *file, unsigned int cmd, unsigned long arg),	\
	    (file, cmd, arg))						\
{									\
	long ret = hook_orig_##name(file, cmd, arg);			\
									\
	spec_take(file->private_data, SPEC_CH_IPC);			\
	return ret;							\
}

EVENT_IOCTL(inotify_ioctl)
EVENT_IOCTL(fanotify_ioctl)

DEFINE_HOOK(mqueue_poll_file, __poll_t,
	    (struct file *file, struct poll_table_struct *wait), (file, wait))
{
	__poll_t events = hook_orig_mqueue_poll_file(file, wait);

	spec_take(file_inode(file), SPEC_CH_IPC);
	return events;
}

/*
 * A poll of io_uring may believe what it was woken with, and not ask again.
 * The put was before the wakeup, so something is dependent now if it counts.
 */
DEFINE_HOOK_BEFORE(io_poll_check_events, int,
		   (struct io_kiocb *req, bool *locked), (req, locked))
{
	struct poll_table_struct wait = { ._key = req->apoll_events };

	if (file_can_poll(req->file))
		vfs_poll(req->file, &wait);
}

/*
 * What an epoll set says is its own, unless processes share it: then who adds
 * to it can tell anything to who waits on it, and nothing tells us of that one.
 */
static noinline int shared_set_gate(int epfd, bool nonblock)
{
	struct fd f = fdget(epfd);
	bool shared;

	if (!fd_file(f))
		return 0;
	/* One for the table of descriptors, one for us if we have threads. */
	shared = file_count(fd_file(f)) > (compat_fd_cloned(f) ? 2 : 1);
	fdput(f);
	if (!shared)
		return 0;
	if (nonblock)
		return -EAGAIN;	/* io_uring asks again where it may sleep */
	return spec_wait_self(SPEC_CH_IPC, SPEC_WAIT_KILLABLE);
}

DEFINE_HOOK_GATE(do_epoll_ctl,
		 (int epfd, int op, int fd, struct epoll_event *event,
		  bool nonblock),
		 (epfd, op, fd, event, nonblock))
{
	struct spec_dep dep;

	return spec_self_pending(&dep) ? shared_set_gate(epfd, nonblock) : 0;
}

static struct spec_hook *const hooks[] = {
	&hook_pipe_poll,
	&hook_pipe_ioctl,
	&hook_sock_poll,
	&hook_sock_ioctl,
	&hook_compat_sock_ioctl,
	&hook_sock_getsockopt,
	&hook_eventfd_poll,
	&hook_inotify_poll,
	&hook_fanotify_poll,
	&hook_pidfd_poll,
	&hook_inotify_ioctl,
	&hook_fanotify_ioctl,
	&hook_mqueue_poll_file,
	&hook_io_poll_check_events,
	&hook_do_epoll_ctl,
};

const struct spec_channel spec_flow_poll = {
	.name = "poll",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
