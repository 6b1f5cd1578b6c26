// SPDX-License-Identifier: GPL-2.0
/*
 * Sockets: what may be held is held, what is inside passes on, the rest waits.
 *
 * The security_socket_* functions see every call of a program before it does
 * anything, for every family: unknown ones end in the default branch and wait.
 * For IP the dependency is put on the socket there (and a mark in its stream,
 * tcp.c), since packets may leave later, from a softirq or after the exit.  A
 * netfilter hook behind the output routing then knows whether a packet stays in
 * the machine (flow/inet.c) or is to be held (datagram.c).
 */

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/inetdevice.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/pagemap.h>
#include <linux/seq_file.h>
#include <linux/skmsg.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/sch_generic.h>
#include <net/tcp.h>
#include "../../compat/net.h"
#include "../flow/file.h"
#include "../flow/inet.h"
#include "../flow/unix.h"
#include "../main.h"
#include "../object.h"
#include "../source.h"
#include "../stats.h"
#include "memcg.h"
#include "net.h"

/**
 * spec_net_inside - does what goes this way stay in the machine?
 * @dst: a route
 *
 * Not if anybody may divert packets on the loopback device: a classifier, a
 * chain of nftables, a BPF program, a queueing discipline with filters.
 *
 * Context: any, under RCU.
 */
bool spec_net_inside(const struct dst_entry *dst)
{
	const struct net_device *dev = dst->dev;
	const struct Qdisc *qdisc;

	if (!(dev->flags & IFF_LOOPBACK))
		return false;
	if (unlikely(dst->lwtstate || compat_net_classified(dev) ||
		     rcu_access_pointer(dev->xdp_prog) ||
		     rcu_access_pointer(dev->rx_handler)))
		return false;
#ifdef CONFIG_NETFILTER_INGRESS
	if (unlikely(rcu_access_pointer(dev->nf_hooks_ingress)))
		return false;
#endif
#ifdef CONFIG_NETFILTER_EGRESS
	if (unlikely(rcu_access_pointer(dev->nf_hooks_egress)))
		return false;
#endif
	/* It has none, unless somebody has set one. */
	qdisc = rcu_dereference(netdev_get_tx_queue(dev, 0)->qdisc);
	return !qdisc || !READ_ONCE(qdisc->enqueue);
}

/* The core calls released() from its own work item: one pass at a time. */
static DEFINE_MUTEX(release_mutex);

static bool release_all(void)
{
	struct spec_net_drops drops = {};
	bool empty;

	mutex_lock(&release_mutex);
	empty = spec_datagram_released(&drops);
	empty &= spec_tcp_released(&drops);
	mutex_unlock(&release_mutex);
	if (drops.sockets || drops.packets)
		pr_err("%s: %lu TCP connections reset, %lu packets dropped, %llu bytes never sent: what they depended on is lost\n",
		       KBUILD_MODNAME, drops.sockets, drops.packets, drops.bytes);
	return empty;
}

static void release_fn(struct work_struct *work)
{
	release_all();
}

static DECLARE_WORK(kick_work, release_fn);
static DECLARE_DELAYED_WORK(kick_later_work, release_fn);

void spec_net_kick(void)
{
	/* Not when a wrapper is late and the last source has gone. */
	preempt_disable();
	if (spec_source_any())
		queue_work(system_highpri_wq, &kick_work);
	preempt_enable();
}

void spec_net_kick_later(void)
{
	queue_delayed_work(system_highpri_wq, &kick_later_work, 1);
}

static struct pernet_operations net_ops;
/* Outside pernet_ops_rwsem, inside whatever a caller of sendmsg may hold. */
static DEFINE_MUTEX(arm_mutex);
static bool armed;

/*
 * The netfilter hooks cost a hundred instructions a packet, so they are not
 * there before the first socket has a dependency; from then on until the last
 * source goes.  To be called before a dependency is put on a socket.
 *
 * Returns 0, or an error: then the caller must wait for the commit.
 */
static int arm(void)
{
	int err = 0;

	/* The flag after the hooks. */
	if (likely(smp_load_acquire(&armed)))
		return 0;
	mutex_lock(&arm_mutex);
	if (!spec_source_any()) {
		err = -ENODEV;		/* remove() has been here */
	} else if (!armed) {
		err = register_pernet_subsys(&net_ops);
		if (err)
			pr_warn_ratelimited("%s: cannot register netfilter hooks (%d): senders wait\n",
					    KBUILD_MODNAME, err);
		else	/* the hooks before the flag */
			smp_store_release(&armed, true);
	}
	mutex_unlock(&arm_mutex);
	return err;
}

/**
 * enum socket_kind - what becomes of what a socket sends
 * @KIND_TCP: held by tcp.c
 * @KIND_DATAGRAM: held by datagram.c
 * @KIND_PASS: stays inside, and another file takes care
 * @KIND_WAIT: anything else: the sender waits for the commit
 */
enum socket_kind { KIND_TCP, KIND_DATAGRAM, KIND_PASS, KIND_WAIT };

static enum socket_kind kind_of(const struct sock *sk)
{
	enum socket_kind kind = KIND_WAIT;

	switch (sk->sk_family) {
	case AF_UNIX:
		return KIND_PASS;	/* flow/unix.c */
	case AF_INET:
	case AF_INET6:
		if (sk->sk_type == SOCK_RAW)
			return KIND_DATAGRAM;
		switch (sk->sk_protocol) {
		case IPPROTO_TCP:
			kind = KIND_TCP;
			break;
		case IPPROTO_UDP:
		case IPPROTO_UDPLITE:
		case IPPROTO_ICMP:
		case IPPROTO_ICMPV6:
			kind = KIND_DATAGRAM;
			break;
		default:
			return KIND_WAIT;
		}
		/* A BPF program may send it on through any other socket. */
		rcu_read_lock();
		if (sk_psock(sk))
			kind = KIND_WAIT;
		rcu_read_unlock();
		return kind;
	default:
		return KIND_WAIT;
	}
}

static int wait_self(void)
{
	return spec_wait_self(SPEC_CH_SOCKET, SPEC_WAIT_KILLABLE);
}

/*
 * The packets of other sockets are gone in a moment, and nobody is charged for
 * them.  Held ones are the memory of the sender's cgroup, as those of a local
 * socket are.  TCP charges its own.
 *
 * Returns false if the cgroup has no room: better wait than be killed for it.
 */
static bool charge_packets(struct sock *sk, size_t size)
{
	void *probe;

	if (!spec_memcg_room_self())
		return false;
	if (!(sk->sk_allocation & __GFP_ACCOUNT))
		sk->sk_allocation |= __GFP_ACCOUNT;
	probe = kvmalloc(min_t(size_t, size, U16_MAX) + SKB_TRUESIZE(0),
			 GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
			 __GFP_NOWARN);
	kvfree(probe);
	return probe;
}

/* The running process, which depends on @dep, sends @size bytes. */
static int send_gate(struct sock *sk, int flags, size_t size,
		     const struct spec_dep *dep, u32 mask)
{
	enum spec_channel_id ch;
	enum socket_kind kind;

	/* nfsd's answers leave by sockets of the kernel. */
	if (spec_net_exempt(sk))
		return current->flags & PF_KTHREAD ? wait_self() : 0;
	kind = kind_of(sk);
	if (kind == KIND_PASS)
		return 0;
	if (spec_dep_lost(mask))
		return -EIO;
	if (kind == KIND_WAIT)
		return wait_self();

	ch = kind == KIND_TCP ? SPEC_CH_TCP : SPEC_CH_DATAGRAM;
	if (!spec_held_room(spec_user(sk->sk_uid)) ||
	    !(kind == KIND_TCP ? spec_memcg_room(sk->sk_memcg) :
	      charge_packets(sk, size))) {
		if (!(flags & MSG_DONTWAIT))
			return wait_self();
		spec_request_commit(dep, mask);
		spec_datagram_wake_later(sk);
		return -EAGAIN;
	}
	if (arm())
		return wait_self();
	/* For loopback, and for packets. */
	spec_put(sk, ch);
	if (kind == KIND_DATAGRAM)
		return 0;
	/*
	 * Data in a SYN goes another way, and the urgent pointer tells of a byte
	 * in the header of those before it.
	 */
	if ((flags & (MSG_FASTOPEN | MSG_OOB)) || compat_defer_connect(sk) ||
	    spec_tcp_mark(sk, dep, mask))
		return wait_self();
	return 0;
}

DEFINE_HOOK_GATE(security_socket_sendmsg,
		 (struct socket *sock, struct msghdr *msg, int size),
		 (sock, msg, size))
{
	const struct sock *sk = sock->sk;
	struct spec_dep dep;
	u32 mask;

	/*
	 * EPIPE and ECONNREFUSED tell of what the peer did; of one that has sent
	 * its FIN maybe in the middle of this call, when its RST comes.  Others
	 * than streams are shut by who holds them, to receive no more is then
	 * nothing to a send.
	 */
	if ((sk->sk_family == AF_INET || sk->sk_family == AF_INET6) &&
	    unlikely(READ_ONCE(sk->sk_err) || READ_ONCE(sk->sk_shutdown) &
		     (sk->sk_type == SOCK_STREAM ? SHUTDOWN_MASK : SEND_SHUTDOWN)))
		spec_inet_take(sk);
	mask = spec_self_pending(&dep);
	if (likely(!mask))
		return 0;
	/* Pages of a file may change while they are held: send a copy. */
	msg->msg_flags &= ~COMPAT_MSG_PAGES;
	return send_gate(sock->sk, msg->msg_flags, size, &dep, mask);
}

/*
 * MSG_ZEROCOPY: what the process stores in its buffer before the packet leaves,
 * or before it is sent once more, goes out with it.  That may be long after the
 * call, by a process that has become dependent since.  So the socket gets a
 * copy; the process is told of the completion as ever.
 */
DEFINE_HOOK(__zerocopy_sg_from_iter, int,
	    (struct msghdr *msg, struct sock *sk, struct sk_buff *skb,
	     struct iov_iter *from, size_t length),
	    (msg, sk, skb, from, length))
{
	int frag = skb_shinfo(skb)->nr_frags;

	if (!sk || !spec_self() || spec_net_exempt(sk))
		return hook_orig___zerocopy_sg_from_iter(msg, sk, skb, from,
							 length);
	while (length && iov_iter_count(from)) {
		struct page *page;
		size_t n;

		if (frag == MAX_SKB_FRAGS)
			return -EMSGSIZE;
		page = alloc_page(sk->sk_allocation);
		if (!page)
			return -ENOMEM;
		n = copy_page_from_iter(page, 0, min_t(size_t, length,
						       PAGE_SIZE), from);
		if (!n) {
			put_page(page);
			return -EFAULT;
		}
		skb_fill_page_desc(skb, frag++, page, 0, n);
		length -= n;
		/* As the original, which counts whole pages. */
		skb->data_len += n;
		skb->len += n;
		skb->truesize += PAGE_SIZE;
		if (sk->sk_type == SOCK_STREAM) {
			sk_wmem_queued_add(sk, PAGE_SIZE);
			if (!skb_zcopy_pure(skb))
				sk_mem_charge(sk, PAGE_SIZE);
		} else {
			refcount_add(PAGE_SIZE, &sk->sk_wmem_alloc);
		}
	}
	return 0;
}

#if COMPAT_SENDPAGE
/* The running process also saw the page as it is now. */
static void take_page(struct page *page)
{
	struct address_space *mapping;

	rcu_read_lock();
	mapping = page_mapping(page);
	if (mapping && mapping->host)
		spec_take_inode(mapping->host);
	rcu_read_unlock();
}

/*
 * splice() and sendfile() send the page itself.  While it is held, or waits for
 * the window or a retransmission, somebody may write to it, and what goes out in
 * the end would be newer than what we know of.  So it is a copy that is sent.
 */
DEFINE_HOOK(kernel_sendpage, int,
	    (struct socket *sock, struct page *page, int offset, size_t size,
	     int flags),
	    (sock, page, offset, size, flags))
{
	struct page *copy;
	struct spec_dep dep;
	u32 mask;
	int ret;

	take_page(page);
	if (!spec_self() || spec_net_exempt(sock->sk))
		return hook_orig_kernel_sendpage(sock, page, offset, size, flags);

	/* Charged as what the socket allocates itself. */
	copy = offset + size <= PAGE_SIZE ?
		alloc_page(sock->sk->sk_allocation) : NULL;
	if (!copy) {
		ret = wait_self();
		return ret ? : hook_orig_kernel_sendpage(sock, page, offset,
							 size, flags);
	}
	memcpy_page(copy, offset, page, offset, size);
	take_page(page);	/* as of the copy */
	mask = spec_self_pending(&dep);
	ret = mask ? send_gate(sock->sk, flags, size, &dep, mask) : 0;
	if (!ret)
		ret = hook_orig_kernel_sendpage(sock, copy, offset, size, flags);
	put_page(copy);
	return ret;
}
#endif

/* Does @address lead back to this machine?  If we err, netfilter drops the SYN. */
static bool is_local(struct sock *sk, const struct sockaddr *address, int len)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)address;
	__be32 addr;

	if (address->sa_family == AF_INET && len >= (int)sizeof(*sin)) {
		addr = sin->sin_addr.s_addr;
	} else if (address->sa_family == AF_INET6 && len >= SIN6_LEN_RFC2133) {
		if (!ipv6_addr_v4mapped(&sin6->sin6_addr))
			return ipv6_addr_any(&sin6->sin6_addr) ||
			       ipv6_addr_loopback(&sin6->sin6_addr) ||
			       ipv6_chk_addr(sock_net(sk), &sin6->sin6_addr,
					     NULL, 0);
		addr = sin6->sin6_addr.s6_addr32[3];
	} else {
		return false;	/* AF_UNSPEC: a disconnect sends an RST */
	}
	return addr == htonl(INADDR_ANY) || ipv4_is_loopback(addr) ||
	       inet_addr_type(sock_net(sk), addr) == RTN_LOCAL;
}

/* May the running process do something with @sk that peers could notice? */
static int control_gate(struct sock *sk)
{
	if (spec_net_exempt(sk) || kind_of(sk) == KIND_PASS ||
	    sk->sk_family == AF_NETLINK || sk->sk_family == AF_PACKET)
		return 0;
	return wait_self();
}

/* Who connects to the outside waits, on a non-blocking socket, too. */
DEFINE_HOOK_GATE(security_socket_connect,
		 (struct socket *sock, struct sockaddr *address, int addrlen),
		 (sock, address, addrlen))
{
	struct sock *sk = sock->sk;
	struct spec_dep dep;
	u32 mask = spec_self_pending(&dep);

	if (likely(!mask))
		return 0;
	switch (kind_of(sk)) {
	case KIND_DATAGRAM:
		/* Who else sent to it is refused from now on. */
		if (arm())
			break;
		spec_inet_unbound(sk, &dep, mask);
		return 0;
	case KIND_TCP:
		if (addrlen < (int)sizeof(address->sa_family) ||
		    !is_local(sk, address, addrlen) || arm())
			break;
		spec_put(sk, SPEC_CH_LOOPBACK);
		return 0;
	default:
		break;
	}
	return control_gate(sk);
}

/* A port that opens can be found from outside. */
DEFINE_HOOK_GATE(security_socket_bind,
		 (struct socket *sock, struct sockaddr *address, int addrlen),
		 (sock, address, addrlen))
{
	struct sock *sk = sock->sk;
	struct spec_dep dep;
	int err = 0;

	if (spec_self_pending(&dep))
		err = control_gate(sk);
	/* Nobody outside sees that such a port was ever closed: no need to wait. */
	if (!err && (sk->sk_family == AF_INET || sk->sk_family == AF_INET6))
		spec_inet_bind(sk, address, addrlen);
	return err;
}

DEFINE_HOOK_GATE(security_socket_listen, (struct socket *sock, int backlog),
		 (sock, backlog))
{
	struct spec_dep dep;

	if (likely(!spec_self_pending(&dep)))
		return 0;
	return control_gate(sock->sk);
}

/* The FIN is a byte of the stream; of other families a shutdown is a message. */
DEFINE_HOOK_GATE(security_socket_shutdown, (struct socket *sock, int how),
		 (sock, how))
{
	struct spec_dep dep;
	u32 mask = spec_self_pending(&dep);
	struct sock *sk = sock->sk;

	if (likely(!mask))
		return 0;
	switch (kind_of(sk)) {
	case KIND_DATAGRAM:
		return 0;
	case KIND_TCP:
		if (sk->sk_state == TCP_LISTEN || spec_net_exempt(sk))
			return control_gate(sk);
		return send_gate(sk, 0, 0, &dep, mask);
	default:
		return control_gate(sk);
	}
}

/* Options of IP that only concern the packets of later calls, or reception. */
static bool ip_option_is_harmless(int optname)
{
	switch (optname) {
	case IP_TOS:
	case IP_TTL:
	case IP_HDRINCL:
	case IP_OPTIONS:
	case IP_RECVOPTS:
	case IP_RETOPTS:
	case IP_PKTINFO:
	case IP_MTU_DISCOVER:
	case IP_RECVERR:
	case IP_RECVTTL:
	case IP_RECVTOS:
	case IP_FREEBIND:
	case IP_PASSSEC:
	case IP_TRANSPARENT:
	case IP_ORIGDSTADDR:
	case IP_MINTTL:
	case IP_NODEFRAG:
	case IP_CHECKSUM:
	case IP_BIND_ADDRESS_NO_PORT:
	case IP_RECVFRAGSIZE:
	case IP_RECVERR_RFC4884:
	case IP_MULTICAST_IF:
	case IP_MULTICAST_TTL:
	case IP_MULTICAST_LOOP:
	case IP_MULTICAST_ALL:
	case IP_UNICAST_IF:
		return true;
	default:
		return false;
	}
}

static bool ipv6_option_is_harmless(int optname)
{
	switch (optname) {
	case IPV6_UNICAST_HOPS:
	case IPV6_MULTICAST_IF:
	case IPV6_MULTICAST_HOPS:
	case IPV6_MULTICAST_LOOP:
	case IPV6_MULTICAST_ALL:
	case IPV6_MTU_DISCOVER:
	case IPV6_MTU:
	case IPV6_RECVERR:
	case IPV6_RECVERR_RFC4884:
	case IPV6_V6ONLY:
	case IPV6_FLOWINFO:
	case IPV6_FLOWINFO_SEND:
	case IPV6_CHECKSUM:
	case IPV6_2292PKTINFO:
	case IPV6_2292HOPOPTS:
	case IPV6_2292DSTOPTS:
	case IPV6_2292RTHDR:
	case IPV6_2292HOPLIMIT:
	case IPV6_HDRINCL:
	case IPV6_RECVPKTINFO:
	case IPV6_PKTINFO:
	case IPV6_RECVHOPLIMIT:
	case IPV6_HOPLIMIT:
	case IPV6_RECVHOPOPTS:
	case IPV6_RECVRTHDR:
	case IPV6_RECVDSTOPTS:
	case IPV6_RECVPATHMTU:
	case IPV6_DONTFRAG:
	case IPV6_RECVTCLASS:
	case IPV6_TCLASS:
	case IPV6_AUTOFLOWLABEL:
	case IPV6_ADDR_PREFERENCES:
	case IPV6_MINHOPCOUNT:
	case IPV6_ORIGDSTADDR:
	case IPV6_TRANSPARENT:
	case IPV6_UNICAST_IF:
	case IPV6_RECVFRAGSIZE:
	case IPV6_FREEBIND:
		return true;
	default:
		return false;
	}
}

static bool option_is_harmless(const struct sock *sk, int level, int optname)
{
	if (level == SOL_SOCKET)
		return true;
	if (sk->sk_family != AF_INET && sk->sk_family != AF_INET6)
		return false;
	switch (level) {
	case SOL_TCP:
		/* The repair mode writes sequence numbers, and sends. */
		return optname != TCP_REPAIR && optname != TCP_REPAIR_QUEUE &&
		       optname != TCP_QUEUE_SEQ && optname != TCP_REPAIR_WINDOW;
	case SOL_UDP:
	case SOL_UDPLITE:
	case SOL_RAW:
	case SOL_ICMPV6:
	case SOL_TLS:
		return true;
	case SOL_IP:
		return ip_option_is_harmless(optname);
	case SOL_IPV6:
		return ipv6_option_is_harmless(optname);
	default:
		return false;
	}
}

/* Joining a group, for one, sends a report. */
DEFINE_HOOK_GATE(security_socket_setsockopt,
		 (struct socket *sock, int level, int optname),
		 (sock, level, optname))
{
	struct sock *sk = sock->sk;
	struct spec_dep dep;
	u32 mask = spec_self_pending(&dep);

	if (likely(!mask))
		return 0;
	/* As connect: what comes by another device is refused from now on. */
	if (level == SOL_SOCKET && kind_of(sk) == KIND_DATAGRAM &&
	    (optname == SO_BINDTODEVICE || optname == SO_BINDTOIFINDEX)) {
		if (arm())
			return wait_self();
		spec_inet_unbound(sk, &dep, mask);
		return 0;
	}
	return option_is_harmless(sk, level, optname) ? 0 : control_gate(sk);
}

/* SCTP connects and detaches associations by asking for an option. */
DEFINE_HOOK_GATE(security_socket_getsockopt,
		 (struct socket *sock, int level, int optname),
		 (sock, level, optname))
{
	struct spec_dep dep;

	if (likely(level != SOL_SCTP) || !spec_self_pending(&dep))
		return 0;
	return control_gate(sock->sk);
}

/* Will the close send an RST, or several? */
static bool closes_hard(struct sock *sk)
{
	if (sk->sk_state == TCP_LISTEN)
		return true;
	if (!spec_tcp_outside(sk))
		return false;
	return !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
	       (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime);
}

/* Closing such a socket reports that its host leaves the group. */
static bool in_group(const struct sock *sk)
{
	if (rcu_access_pointer(inet_sk(sk)->mc_list))
		return true;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6 &&
	    rcu_access_pointer(inet6_sk(sk)->ipv6_mc_list))
		return true;
#endif
	return false;
}

/*
 * The next socket will have the same address soon: what a failure has lost would
 * keep it from connecting for ever.
 */
DEFINE_HOOK_BEFORE_VOID(security_sk_free, (struct sock *sk), (sk))
{
	if (spec_maybe(sk))
		spec_forget(sk);
}

/*
 * The last close, by close(), by exit, by exec, or of a descriptor in flight.
 * It cannot be refused.
 */
DEFINE_HOOK_BEFORE(sock_close, int, (struct inode *inode, struct file *file),
		   (inode, file))
{
	struct sock *sk = SOCKET_I(inode)->sk;
	struct spec_dep dep, before;
	u32 mask = spec_self_pending(&dep);
	u32 more = spec_maybe(file) ? spec_read(file, &before) : 0;

	/* Of those who closed it before, see filp_close() in flow/file.c. */
	if (unlikely(more)) {
		if (!mask)
			dep.mask = 0;
		spec_dep_merge(&dep, mask, &before, more);
		mask |= more;
		if (sk && sk->sk_family == AF_UNIX)
			spec_unix_closed(file, sk);
		/* The next file may get this address. */
		spec_forget(file);
	}
	if (likely(!mask) || !sk || spec_net_exempt(sk))
		return;
	switch (kind_of(sk)) {
	case KIND_PASS:
		return;
	case KIND_DATAGRAM:
		if (in_group(sk) || arm())
			break;
		spec_inet_unbound(sk, &dep, mask);
		return;
	case KIND_TCP:
		if (sk->sk_state == TCP_CLOSE)
			return;
		if (arm())
			break;
		spec_merge(sk, SPEC_CH_TCP, &dep, mask);
		if (spec_dep_lost(mask)) {
			/* The FIN would be held, and in the end reset. */
			if (spec_tcp_outside(sk))
				tcp_abort(sk, ECONNRESET);
			return;
		}
		if (!closes_hard(sk) && !spec_tcp_mark(sk, &dep, mask))
			return;
		break;
	default:
		if (sk->sk_family == AF_NETLINK || sk->sk_family == AF_PACKET)
			return;
	}
	spec_wait(&dep, SPEC_CH_SOCKET, SPEC_WAIT_ALWAYS);
}

/*
 * The last hook behind the output routing: only what is really sent comes here,
 * and NAT has changed what it wants to change.
 */
static unsigned int local_out(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	/* Not state->out: a DNAT may have changed the route since. */
	bool inside = skb_dst(skb) && spec_net_inside(skb_dst(skb));
	struct sock *sk = skb->sk;

	/*
	 * The copy that a TEE or dup rule has made of somebody's packet.  The mark
	 * is set while softirqs are off, so that who can be preempted here finds
	 * none, on whatever CPU.
	 */
	if (!sk && unlikely(this_cpu_read(nf_skb_duplicated)))
		return spec_datagram_hold_copy(skb, state);
	/* Handshakes of sockets to be, and the kernel's own packets. */
	if (!sk || !sk_fullsock(sk))
		return NF_ACCEPT;
	if (spec_net_exempt(sk)) {
		/* As if the port were still open: nobody answers. */
		if (sk->sk_type == SOCK_RAW &&
		    unlikely(spec_inet_error(skb, state->pf, inside)))
			return NF_DROP;
		return NF_ACCEPT;
	}
	if (inside) {
		spec_inet_pass(sk, skb, state->pf);
		return NF_ACCEPT;
	}
	if (sk_is_tcp(sk))
		return spec_tcp_local_out(sk, skb, state);
	return spec_datagram_local_out(sk, skb, state);
}

static const struct nf_hook_ops nf_ops[] = {
	{
		.hook = local_out,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = INT_MAX,
	},
	{
		.hook = local_out,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = INT_MAX,
	},
};

static int __net_init netns_init(struct net *net)
{
	return nf_register_net_hooks(net, nf_ops, ARRAY_SIZE(nf_ops));
}

/* Held packets keep their socket, and the socket keeps the namespace. */
static void __net_exit netns_exit(struct net *net)
{
	nf_unregister_net_hooks(net, nf_ops, ARRAY_SIZE(nf_ops));
}

static struct pernet_operations net_ops = {
	.init = netns_init,
	.exit = netns_exit,
};

/**
 * spec_net_init - make the tables
 *
 * When the module is loaded, since debugfs shows them from then on.
 */
void spec_net_init(void)
{
	spec_tcp_init();
	spec_datagram_init();
}

static void remove(void)
{
	mutex_lock(&arm_mutex);
	if (armed)
		unregister_pernet_subsys(&net_ops);
	WRITE_ONCE(armed, false);
	mutex_unlock(&arm_mutex);
	synchronize_net();	/* nobody is inside local_out() */
	/*
	 * Nothing is live any more, so all may go; what does not yet is a socket
	 * that its owner has locked.
	 */
	while (!release_all())
		schedule_timeout_uninterruptible(1);
	/* In this order: the second may be queued by the first. */
	cancel_work_sync(&kick_work);
	cancel_delayed_work_sync(&kick_later_work);
	spec_tcp_remove();
}

static void released(void)
{
	release_all();
}

static void show(struct seq_file *m)
{
	spec_tcp_show(m);
	spec_datagram_show(m);
}

static struct spec_hook *const hooks[] = {
	&hook_security_socket_sendmsg,
	&hook___zerocopy_sg_from_iter,
#if COMPAT_SENDPAGE
	&hook_kernel_sendpage,
#endif
	&hook_security_socket_connect,
	&hook_security_socket_bind,
	&hook_security_socket_listen,
	&hook_security_socket_shutdown,
	&hook_security_socket_setsockopt,
	&hook_security_socket_getsockopt,
	&hook_sock_close,
	&hook_security_sk_free,
	&spec_hook_tcp_write_xmit,
	&spec_hook_tcp_write_wakeup,
	&spec_hook_tcp_send_loss_probe,
	&spec_hook_tcp_cwnd_restart,
	&spec_hook_tcp_rcv_state_process,
};

const struct spec_channel spec_output_net = {
	.name = "net",
	.rule = "holds",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = spec_tcp_install,
	.remove = remove,
	.released = released,
	.show = show,
};
