// SPDX-License-Identifier: GPL-2.0
/*
 * Packets that a program gets to see on their way: by a packet socket, or from
 * netfilter (NFQUEUE, NFLOG).
 *
 * What leaves the machine is held before a device sees it, so a packet socket
 * shows nothing new of it.  What stays inside is put on the loopback device by
 * spec_inet_pass(), and taken from there.  Netfilter may hand over a packet
 * before we have looked at it, so its reader takes everything; the hook is in
 * mqueue.c.
 */

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/poll.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include "../object.h"
#include "../source.h"
#include "packet.h"

static __always_inline void take_loopback(const struct sock *sk)
{
	spec_take(sock_net(sk)->loopback_dev, SPEC_CH_LOOPBACK);
}

DEFINE_HOOK(packet_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t len, int flags),
	    (sock, msg, len, flags))
{
	int ret = hook_orig_packet_recvmsg(sock, msg, len, flags);

	take_loopback(sock->sk);
	return ret;
}

/* A mapped ring is read without a call; but somebody waits for it to fill. */
DEFINE_HOOK(packet_poll, __poll_t,
	    (struct file *file, struct socket *sock,
	     struct poll_table_struct *wait),
	    (file, sock, wait))
{
	__poll_t mask = hook_orig_packet_poll(file, sock, wait);

	if (mask & (EPOLLIN | EPOLLRDNORM))
		take_loopback(sock->sk);
	return mask;
}

/**
 * spec_packet_take - the running process has received from netlink
 * @sk: a netlink socket
 *
 * Context: process.
 */
void spec_packet_take(const struct sock *sk)
{
	if (sk->sk_protocol == NETLINK_NETFILTER &&
	    atomic_read(&speculator_active))
		spec_take_all(SPEC_CH_LOOPBACK);
}

static struct spec_hook *const hooks[] = {
	&hook_packet_recvmsg,
	&hook_packet_poll,
};

const struct spec_channel spec_flow_packet = {
	.name = "packet",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
