// SPDX-License-Identifier: GPL-2.0
/*
 * TCP, UDP and raw IP over loopback: the dependency goes with the packet.
 *
 * A packet cannot carry it, and the sender does not know the receiver's socket.
 * Both know the ports.  So the object is the flow: the dependency of the sending
 * socket goes to the key of the flow when the packet passes the netfilter hook,
 * which is before the receiver can see it, and whoever receives takes the key of
 * his own socket after.  Addresses and namespaces are not part of the key: where
 * two flows share one that costs a needless dependency.
 *
 * What the kernel answers because a port is closed has a key, too: that of the
 * port, which whoever closes it has filled.
 */

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/netfilter/nf_conntrack.h>
#include "../../compat/net.h"
#include "../object.h"
#include "inet.h"

/**
 * enum flow_kind - what a key of the object table that is no pointer means
 * @FLOW_PORTS: a TCP connection by both ports, UDP by the receiver's
 * @FLOW_NAT: any flow of the protocol whose ports the two ends may see
 *	differently, or of which we do not see the ports
 * @FLOW_RAW: any packet of the protocol: what raw sockets get
 * @FLOW_CLOSED: the port, or without one the protocol, which nobody listens to
 *	any more: errors that say so
 *
 * Counted from one, above the bits that hold protocol and ports; the result is
 * below all addresses of the kernel.
 */
enum flow_kind { FLOW_PORTS = 1, FLOW_NAT, FLOW_RAW, FLOW_CLOSED };

static __always_inline const void *flow_key(enum flow_kind kind, u8 proto,
					    __be16 dest, __be16 source)
{
	return (const void *)((unsigned long)kind << 40 |
			      (unsigned long)proto << 32 |
			      (unsigned long)(__force u16)dest << 16 |
			      (__force u16)source);
}

/* UDP-Lite has a number of its own, but nothing else that differs. */
static __always_inline bool is_udp(u8 proto)
{
	return proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

/* Where the transport header is; -1 when this is not the first fragment. */
static int transport(const struct sk_buff *skb, u8 pf, u8 *proto)
{
	int offset = skb_network_offset(skb);
	__be16 frag;

	if (pf == NFPROTO_IPV4) {
		const struct iphdr *iph = ip_hdr(skb);

		*proto = iph->protocol;
		if (iph->frag_off & htons(IP_OFFSET))
			return -1;
		return offset + iph->ihl * 4;
	}
	*proto = ipv6_hdr(skb)->nexthdr;
	offset = ipv6_skip_exthdr(skb, offset + sizeof(struct ipv6hdr), proto,
				  &frag);
	return frag & htons(IP6_OFFSET) ? -1 : offset;
}

static bool has_nat(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	enum ip_conntrack_info info;
	const struct nf_conn *ct = nf_ct_get(skb, &info);

	return ct && (READ_ONCE(ct->status) & IPS_NAT_MASK);
#else
	return false;
#endif
}

/**
 * spec_inet_pass - a packet is about to be delivered inside the machine
 * @sk: the socket that sends it
 * @skb: the packet, in the output hook
 * @pf: NFPROTO_IPV4 or NFPROTO_IPV6
 *
 * Context: any that sends.
 */
void spec_inet_pass(const struct sock *sk, const struct sk_buff *skb, u8 pf)
{
	__be16 buf[2], *ports = NULL;	/* source, destination */
	const void *key;
	int offset;
	u8 proto;

	if (likely(!spec_maybe(sk)))
		return;
	offset = transport(skb, pf, &proto);
	if (offset >= 0)
		ports = skb_header_pointer(skb, offset, sizeof(buf), buf);
	if (proto == IPPROTO_TCP || is_udp(proto)) {
		if (!ports || has_nat(skb))
			key = flow_key(FLOW_NAT, proto, 0, 0);
		else
			key = flow_key(FLOW_PORTS, proto, ports[1],
				       is_udp(proto) ? 0 : ports[0]);
		spec_pass(sk, key, SPEC_CH_LOOPBACK);
	}
	/* Who polls a listener sees that somebody connects, but not who. */
	if (proto == IPPROTO_TCP && ports)
		spec_pass(sk, flow_key(FLOW_PORTS, proto, ports[1], 0),
			  SPEC_CH_LOOPBACK);
	/* Raw sockets get copies of everything, of TCP and UDP, too. */
	spec_pass(sk, flow_key(FLOW_RAW, proto, 0, 0), SPEC_CH_LOOPBACK);
	/* And packet sockets of everything on the device: flow/packet.c. */
	spec_pass(sk, skb_dst(skb)->dev, SPEC_CH_LOOPBACK);
}

/*
 * The key of the port whose being closed an ICMP error tells, and the port of
 * the socket that it tells; NULL if @skb is something else.
 */
static const void *error_key(const struct sk_buff *skb, u8 pf, u8 *proto,
			     __be16 *teller)
{
	__be16 buf[2], *ports;	/* of the packet that was not wanted */
	struct icmphdr icmp, *h;
	bool port, protocol;
	int offset;

	offset = transport(skb, pf, proto);
	if (offset < 0 || (*proto != IPPROTO_ICMP && *proto != IPPROTO_ICMPV6))
		return NULL;
	/* Both begin with type, code and eight bytes in all. */
	h = skb_header_pointer(skb, offset, sizeof(icmp), &icmp);
	if (!h)
		return NULL;
	offset += sizeof(icmp);
	if (pf == NFPROTO_IPV4) {
		struct iphdr inner, *iph;

		port = h->type == ICMP_DEST_UNREACH && h->code == ICMP_PORT_UNREACH;
		protocol = h->type == ICMP_DEST_UNREACH &&
			   h->code == ICMP_PROT_UNREACH;
		iph = skb_header_pointer(skb, offset, sizeof(inner), &inner);
		if (!iph)
			return NULL;
		*proto = iph->protocol;
		offset += iph->ihl * 4;
	} else {
		struct ipv6hdr inner, *iph;
		__be16 frag;

		port = h->type == ICMPV6_DEST_UNREACH &&
		       h->code == ICMPV6_PORT_UNREACH;
		protocol = h->type == ICMPV6_PARAMPROB &&
			   h->code == ICMPV6_UNK_NEXTHDR;
		iph = skb_header_pointer(skb, offset, sizeof(inner), &inner);
		if (!iph)
			return NULL;
		*proto = iph->nexthdr;
		offset = ipv6_skip_exthdr(skb, offset + sizeof(inner), proto,
					  &frag);
		if (offset < 0)
			return NULL;
	}
	*teller = 0;
	if (protocol)
		return flow_key(FLOW_CLOSED, *proto, 0, 0);
	if (!port || !is_udp(*proto))
		return NULL;
	ports = skb_header_pointer(skb, offset, sizeof(buf), buf);
	if (!ports)
		return NULL;
	*teller = ports[0];
	return flow_key(FLOW_CLOSED, *proto, ports[1], 0);
}

/**
 * spec_inet_error - an ICMP error of the kernel's own
 * @skb: the packet, in the output hook
 * @pf: NFPROTO_IPV4 or NFPROTO_IPV6
 * @inside: it stays in the machine: pass on what it tells
 *
 * Context: any that sends.
 * Return: whether it tells that a port is closed, and that may not be known
 *	outside yet.
 */
bool spec_inet_error(const struct sk_buff *skb, u8 pf, bool inside)
{
	struct spec_dep dep;
	const void *key;
	__be16 teller;
	u8 proto;

	if (likely(!atomic_read(&speculator_active)))
		return false;
	key = error_key(skb, pf, &proto, &teller);
	if (!key || !spec_maybe(key) || !spec_read(key, &dep))
		return false;
	if (!inside)
		return true;
	if (is_udp(proto))
		spec_pass(key, flow_key(FLOW_PORTS, proto, teller, 0),
			  SPEC_CH_LOOPBACK);
	spec_pass(key, flow_key(FLOW_RAW, pf == NFPROTO_IPV4 ? IPPROTO_ICMP :
				IPPROTO_ICMPV6, 0, 0), SPEC_CH_LOOPBACK);
	spec_pass(key, skb_dst(skb)->dev, SPEC_CH_LOOPBACK);
	return false;
}

/**
 * spec_inet_unbound - from now on packets for @sk may be refused
 * @sk: a socket that is not TCP; it is being closed, or connected
 * @dep: because of what
 * @mask: the pending components of @dep
 *
 * Context: process.
 */
void spec_inet_unbound(const struct sock *sk, const struct spec_dep *dep,
		       u32 mask)
{
	__be16 port = is_udp(sk->sk_protocol) ? inet_sk(sk)->inet_sport : 0;

	if (port || sk->sk_type == SOCK_RAW)
		spec_merge(flow_key(FLOW_CLOSED, sk->sk_protocol, port, 0),
			   SPEC_CH_LOOPBACK, dep, mask);
}

/**
 * spec_inet_bind - the running process will know whether a port is free
 * @sk: a socket of IP
 * @address: to be bound to
 * @len: of @address
 *
 * Context: process.
 */
void spec_inet_bind(const struct sock *sk, const struct sockaddr *address,
		    int len)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)address;

	/* The port is at the same place in both families. */
	if (is_udp(sk->sk_protocol) && sk->sk_type != SOCK_RAW &&
	    len >= (int)offsetofend(struct sockaddr_in, sin_port))
		spec_take(flow_key(FLOW_CLOSED, sk->sk_protocol, sin->sin_port,
				   0), SPEC_CH_LOOPBACK);
}

/**
 * spec_inet_take - the running process saw something in a socket
 * @sk: of AF_INET or AF_INET6
 *
 * inet_sport instead of inet_num: it stays when the connection has gone and its
 * last data is read.  A listener has no peer: see spec_inet_pass().
 *
 * Context: any.
 */
void spec_inet_take(const struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);
	u8 proto = sk->sk_protocol;

	if (sk->sk_type == SOCK_RAW ||
	    proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		spec_take(flow_key(FLOW_RAW, proto, 0, 0), SPEC_CH_LOOPBACK);
		return;
	}
	if (proto != IPPROTO_TCP && !is_udp(proto))
		return;		/* they wait when they send */
	spec_take(flow_key(FLOW_PORTS, proto, inet->inet_sport,
			   is_udp(proto) ? 0 : inet->inet_dport),
		  SPEC_CH_LOOPBACK);
	spec_take(flow_key(FLOW_NAT, proto, 0, 0), SPEC_CH_LOOPBACK);
}

/*
 * read(), readv(), recvmmsg() and io_uring end here, of TCP (kernel TLS
 * included), UDP and ping sockets in both families, and of raw ones in IPv4.
 */
DEFINE_HOOK(inet_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t size, int flags),
	    (sock, msg, size, flags))
{
	int ret = hook_orig_inet_recvmsg(sock, msg, size, flags);

	spec_inet_take(sock->sk);
	return ret;
}

DEFINE_HOOK(inet6_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t size, int flags),
	    (sock, msg, size, flags))
{
	int ret = hook_orig_inet6_recvmsg(sock, msg, size, flags);

	spec_inet_take(sock->sk);
	return ret;
}

/* Raw sockets of IPv6, and of families that are not ours. */
DEFINE_HOOK(sock_common_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t size, int flags),
	    (sock, msg, size, flags))
{
	int ret = hook_orig_sock_common_recvmsg(sock, msg, size, flags);

	if (sock->sk->sk_family == AF_INET6)
		spec_inet_take(sock->sk);
	return ret;
}

static bool is_ip(const struct sock *sk)
{
	return sk->sk_family == AF_INET || sk->sk_family == AF_INET6;
}

/*
 * Of any protocol: kernel TLS has a splice of its own.  The pipe is locked:
 * nobody reads from it what it has not got yet.
 */
DEFINE_HOOK(sock_splice_read, ssize_t,
	    (struct file *file, loff_t *ppos, struct pipe_inode_info *pipe,
	     size_t len, unsigned int flags),
	    (file, ppos, pipe, len, flags))
{
	const struct socket *sock = file->private_data;
	ssize_t ret;

	ret = hook_orig_sock_splice_read(file, ppos, pipe, len, flags);
	if (sock->sk && is_ip(sock->sk))
		spec_inet_take(sock->sk);
	spec_put(pipe, SPEC_CH_PIPE);
	return ret;
}

/* TCP_ZEROCOPY_RECEIVE maps received data; TCP_INFO counts it. */
DEFINE_HOOK(tcp_getsockopt, int,
	    (struct sock *sk, int level, int optname, char __user *optval,
	     int __user *optlen),
	    (sk, level, optname, optval, optlen))
{
	int ret = hook_orig_tcp_getsockopt(sk, level, optname, optval, optlen);

	spec_inet_take(sk);
	return ret;
}

/* That somebody has connected, and what he may have sent already. */
DEFINE_HOOK(inet_csk_accept, struct sock *, COMPAT_ACCEPT_PROTO,
	    COMPAT_ACCEPT_ARGS)
{
	struct sock *newsk = hook_orig_inet_csk_accept COMPAT_ACCEPT_ARGS;

	if (newsk)
		spec_inet_take(newsk);
	return newsk;
}

static struct spec_hook *const hooks[] = {
	&hook_inet_recvmsg,
	&hook_inet6_recvmsg,
	&hook_sock_common_recvmsg,
	&hook_sock_splice_read,
	&hook_tcp_getsockopt,
	&hook_inet_csk_accept,
};

const struct spec_channel spec_flow_inet = {
	.name = "inet",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
