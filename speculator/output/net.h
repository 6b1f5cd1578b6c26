/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Network output: net.c decides, tcp.c and datagram.c hold.
 *
 * Locks, outermost first: the socket (lock_sock() or its spinlock), the bucket
 * of tcp.c, the bucket of datagram.c, the object table.
 */
#ifndef _SPEC_OUTPUT_NET_H
#define _SPEC_OUTPUT_NET_H

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/sock.h>
#include "../source.h"

/* Held sockets are as many as send within one commit: buckets of either. */
#define SPEC_NET_BITS	8

/**
 * struct spec_net_drops - what the failure of a source has cost
 * @sockets:	TCP connections reset
 * @packets:	packets thrown away
 * @bytes:	payload that was never sent
 */
struct spec_net_drops {
	unsigned long sockets;
	unsigned long packets;
	u64 bytes;
};

/*
 * The kernel's own sockets (NFS, wireguard) and those on which the kernel does
 * block I/O for a program (nbd, iSCSI): a commit may be waiting for them.
 */
static inline bool spec_net_exempt(const struct sock *sk)
{
	return sk->sk_kern_sock || sock_flag(sk, SOCK_MEMALLOC);
}

bool spec_net_inside(const struct dst_entry *dst);

/* Look at the held sockets again, from a work item. */
void spec_net_kick(void);
/* The same a moment later, for a socket that its owner has locked. */
void spec_net_kick_later(void);

/*
 * Something was put into a table of held things because of @dep.  If that
 * committed or failed at the same moment the release may have looked before.
 */
static inline void spec_net_recheck(const struct spec_dep *dep, u32 mask)
{
	/* Pairs with the one between the mark and the look of the release. */
	smp_mb();
	if (mask) {
		mask = spec_dep_pending(dep, &spec_marks);
		if (!mask || spec_dep_lost(mask))
			spec_net_kick();
	}
}

/* tcp.c */
extern struct spec_hook spec_hook_tcp_write_xmit;
extern struct spec_hook spec_hook_tcp_write_wakeup;
extern struct spec_hook spec_hook_tcp_send_loss_probe;
extern struct spec_hook spec_hook_tcp_cwnd_restart;
extern struct spec_hook spec_hook_tcp_rcv_state_process;
int spec_tcp_mark(struct sock *sk, const struct spec_dep *dep, u32 mask);
bool spec_tcp_outside(struct sock *sk);
unsigned int spec_tcp_local_out(struct sock *sk, struct sk_buff *skb,
				const struct nf_hook_state *state);
bool spec_tcp_released(struct spec_net_drops *drops);
void spec_tcp_init(void);
int spec_tcp_install(char *why, size_t why_len);
void spec_tcp_remove(void);
void spec_tcp_show(struct seq_file *m);

/* datagram.c */
unsigned int spec_datagram_hold(struct sock *sk, struct sk_buff *skb,
				const struct nf_hook_state *state,
				const struct spec_dep *dep, u32 mask);
unsigned int spec_datagram_local_out(struct sock *sk, struct sk_buff *skb,
				     const struct nf_hook_state *state);
unsigned int spec_datagram_hold_copy(struct sk_buff *skb,
				     const struct nf_hook_state *state);
void spec_datagram_wake_later(struct sock *sk);
bool spec_datagram_released(struct spec_net_drops *drops);
void spec_datagram_init(void);
void spec_datagram_show(struct seq_file *m);

#endif /* _SPEC_OUTPUT_NET_H */
