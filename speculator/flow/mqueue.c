// SPDX-License-Identifier: GPL-2.0
/*
 * POSIX message queues.  The key is the inode of the queue; making, finding and
 * removing one is done with names (flow/name.c), since a queue is a file of a
 * file system in memory.  A notification is a signal, sent by the process whose
 * message it tells of (flow/process.c), or a message to a netlink socket.
 */

#include <linux/file.h>
#include <linux/mqueue.h>
#include <linux/net.h>
#include <net/sock.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "packet.h"

/* Whatever @fd is: only compared, also when it is gone afterwards. */
static struct inode *queue_of(mqd_t fd)
{
	struct fd f = fdget(fd);
	struct inode *inode = NULL;

	if (fd_file(f)) {
		inode = file_inode(fd_file(f));
		fdput(f);
	}
	return inode;
}

static void put(const void *key)
{
	spec_put(key, SPEC_CH_IPC);
}

static void take(const void *key)
{
	spec_take(key, SPEC_CH_IPC);
}

/*
 * Whoever uses a queue learns of all others: senders whether there is room, and
 * receivers whether somebody else was faster.
 */
DEFINE_HOOK(do_mq_timedsend, int,
	    (mqd_t fd, const char __user *text, size_t len, unsigned int prio,
	     struct timespec64 *timeout),
	    (fd, text, len, prio, timeout))
{
	struct inode *queue = queue_of(fd);
	int ret;

	put(queue);
	ret = hook_orig_do_mq_timedsend(fd, text, len, prio, timeout);
	take(queue);
	return ret;
}

DEFINE_HOOK(do_mq_timedreceive, int,
	    (mqd_t fd, char __user *text, size_t len,
	     unsigned int __user *prio, struct timespec64 *timeout),
	    (fd, text, len, prio, timeout))
{
	struct inode *queue = queue_of(fd);
	int ret;

	put(queue);
	ret = hook_orig_do_mq_timedreceive(fd, text, len, prio, timeout);
	take(queue);
	return ret;
}

/* There can be one that is notified: others are told that he is there. */
DEFINE_HOOK(do_mq_notify, int,
	    (mqd_t fd, const struct sigevent *notification),
	    (fd, notification))
{
	struct inode *queue = queue_of(fd);
	int ret;

	put(queue);
	ret = hook_orig_do_mq_notify(fd, notification);
	take(queue);
	return ret;
}

/* It tells how many messages there are, and what the open file is set to. */
DEFINE_HOOK(do_mq_getsetattr, int,
	    (int fd, struct mq_attr *new, struct mq_attr *old), (fd, new, old))
{
	struct inode *queue = queue_of(fd);
	int ret;

	if (new)
		put(queue);
	ret = hook_orig_do_mq_getsetattr(fd, new, old);
	take(queue);
	return ret;
}

/* The queue's file says how full it is, and who is to be notified. */
DEFINE_HOOK(mqueue_read_file, ssize_t,
	    (struct file *file, char __user *buf, size_t size, loff_t *pos),
	    (file, buf, size, pos))
{
	ssize_t n = hook_orig_mqueue_read_file(file, buf, size, pos);

	take(file_inode(file));
	return n;
}

/* SIGEV_THREAD: the cookie goes to the socket of the one to be notified. */
DEFINE_HOOK_BEFORE(netlink_sendskb, int,
		   (struct sock *sk, struct sk_buff *skb), (sk, skb))
{
	put(sk);
}

DEFINE_HOOK(netlink_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t len, int flags),
	    (sock, msg, len, flags))
{
	int n = hook_orig_netlink_recvmsg(sock, msg, len, flags);

	if (sock->sk) {
		take(sock->sk);
		spec_packet_take(sock->sk);
	}
	return n;
}

static struct spec_hook *const hooks[] = {
	&hook_do_mq_timedsend,
	&hook_do_mq_timedreceive,
	&hook_do_mq_notify,
	&hook_do_mq_getsetattr,
	&hook_mqueue_read_file,
	&hook_netlink_sendskb,
	&hook_netlink_recvmsg,
};

const struct spec_channel spec_flow_mqueue = {
	.name = "mqueue",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
