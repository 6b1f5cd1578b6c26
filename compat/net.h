/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in networking between the kernels we run on. */
#ifndef _COMPAT_NET_H
#define _COMPAT_NET_H

#include <linux/netdevice.h>
#include <linux/socket.h>
#include <linux/version.h>
#include <net/inet_connection_sock.h>
#include <net/inet_sock.h>
#include <net/tcp.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#include <net/proto_memory.h>
#endif

/* Does splicing and sendfile go through sock->ops->sendpage? */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define COMPAT_SENDPAGE 1
#define COMPAT_MSG_PAGES 0
#else
#define COMPAT_SENDPAGE 0
#define COMPAT_MSG_PAGES MSG_SPLICE_PAGES
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define compat_defer_connect(sk) (inet_sk(sk)->defer_connect)
#else
#define compat_defer_connect(sk) inet_test_bit(DEFER_CONNECT, sk)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#define compat_rcv_reason int
#else
#define compat_rcv_reason enum skb_drop_reason
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define COMPAT_ACCEPT_PROTO (struct sock *sk, int flags, int *err, bool kern)
#define COMPAT_ACCEPT_ARGS (sk, flags, err, kern)
#define COMPAT_SOCK_ACCEPT_PROTO \
	(struct socket *sock, struct socket *newsock, int flags, bool kern)
#define COMPAT_SOCK_ACCEPT_ARGS (sock, newsock, flags, kern)
#else
#define COMPAT_ACCEPT_PROTO (struct sock *sk, struct proto_accept_arg *arg)
#define COMPAT_ACCEPT_ARGS (sk, arg)
#define COMPAT_SOCK_ACCEPT_PROTO \
	(struct socket *sock, struct socket *newsock, \
	 struct proto_accept_arg *arg)
#define COMPAT_SOCK_ACCEPT_ARGS (sock, newsock, arg)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define COMPAT_ACTIVE_RESET_PROTO (struct sock *sk, gfp_t gfp)
#define COMPAT_ACTIVE_RESET_ARGS(sk) sk, GFP_ATOMIC
#else
#define COMPAT_ACTIVE_RESET_PROTO \
	(struct sock *sk, gfp_t gfp, enum sk_rst_reason reason)
#define COMPAT_ACTIVE_RESET_ARGS(sk) \
	sk, GFP_ATOMIC, SK_RST_REASON_NOT_SPECIFIED
#endif

/* Does a classifier of tc, or a BPF program, see the packets of a device? */
static inline bool compat_net_classified(const struct net_device *dev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#ifdef CONFIG_NET_CLS_ACT
	return rcu_access_pointer(dev->miniq_ingress) ||
	       rcu_access_pointer(dev->miniq_egress);
#else
	return false;
#endif
#elif defined(CONFIG_NET_XGRESS)
	return rcu_access_pointer(dev->tcx_ingress) ||
	       rcu_access_pointer(dev->tcx_egress);
#else
	return false;
#endif
}

#endif /* _COMPAT_NET_H */
