// SPDX-License-Identifier: GPL-2.0
/*
 * TCP is held before segmentation: the bytes stay in the socket's send queue.
 *
 * So the send buffer is the back-pressure, no timer runs, nothing is
 * retransmitted and the round-trip time is not polluted; FIN is a byte like any
 * other.  Before anything dependent is queued a mark remembers the sequence
 * number from which on bytes depend on something.  tcp_write_xmit(), through
 * which all new data leaves, then sees a window that ends at the first mark.
 * Bytes before it, pure ACKs and retransmissions go as ever.
 *
 * Over loopback the bytes go as well (flow/inet.c passes the dependency on),
 * but the marks are kept: a socket whose route moves to another device is
 * stopped by the netfilter hook.
 */

#include <linux/slab.h>
#include <linux/tcp.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include "../../compat/net.h"
#include "../call.h"
#include "../object.h"
#include "../source.h"
#include "../stats.h"
#include "memcg.h"
#include "net.h"

#define TCP_MARKS	4
#define DIVERTED_BITS	12

/* Of an empty buffer: __alloc_skb() takes all that kmalloc() gives it. */
#define BUFFER_MEMORY							\
	(SKB_DATA_ALIGN(sizeof(struct sk_buff)) +			\
	 roundup_pow_of_two(SKB_DATA_ALIGN(MAX_TCP_HEADER) +		\
			    SKB_DATA_ALIGN(sizeof(struct skb_shared_info))))

/**
 * struct tcp_mark - bytes from here on depend on something
 * @start:	sequence number of the first of them
 * @items:	number of charges made for them
 * @buffers:	number of buffers whose memory was charged
 * @held:	the sum of the charges, since the first
 * @dep:	what they depend on
 */
struct tcp_mark {
	u32 start;
	u32 items;
	u32 buffers;
	struct spec_held held;
	struct spec_dep dep;
};

/**
 * struct tcp_held - a socket with bytes that depend on something
 * @node:	in its bucket, under the bucket's lock
 * @sk:		the socket; we hold a reference
 * @user:	whose share it is charged to; fchown() changes that of the socket
 * @memcg:	the same of a cgroup; accept() sets that of the socket, which then
 *		keeps it
 * @nr:		number of marks
 * @dead:	the bytes will never be durable: nothing goes any more
 * @mark:	by ascending @start
 *
 * The marks are made and used with the socket locked, so that a segment is
 * never judged by an older set than the one its bytes were queued under.  The
 * bucket's lock is for those who look from outside: the release and the
 * netfilter hook.
 *
 * At most two sequences of a source are uncommitted at a time, so four marks
 * are exact for a socket between two sources.  Beyond that the last one is
 * raised, which holds some bytes longer than needed.
 */
struct tcp_held {
	struct hlist_node node;
	struct sock *sk;
	unsigned int user;
	struct mem_cgroup *memcg;
	u8 nr;
	bool dead;
	struct tcp_mark mark[TCP_MARKS];
};

struct tcp_bucket {
	struct hlist_head head;
	spinlock_t lock;	/* see struct tcp_held */
};

static struct tcp_bucket buckets[1 << SPEC_NET_BITS];
static atomic64_t leaks_stopped;
/*
 * Sockets whose packets a DNAT leads from loopback to the outside, by a hash:
 * who is taken for one of them is held without need.  Only the last source's end
 * clears it.
 */
static DECLARE_BITMAP(diverted, 1 << DIVERTED_BITS);

DEFINE_KERNEL_CALL(__tcp_push_pending_frames, void,
		   (struct sock *sk, unsigned int mss, int nonagle));
DEFINE_KERNEL_CALL(tcp_current_mss, unsigned int, (struct sock *sk));
DEFINE_KERNEL_CALL(tcp_send_active_reset, void, COMPAT_ACTIVE_RESET_PROTO);

static __always_inline struct tcp_bucket *bucket_of(const struct sock *sk)
{
	return &buckets[hash_ptr(sk, SPEC_NET_BITS)];
}

/* Nearly always false.  Exact for a socket that the caller has locked. */
static __always_inline bool maybe_held(const struct sock *sk)
{
	return !hlist_empty(&bucket_of(sk)->head);
}

static struct tcp_held *find(struct tcp_bucket *b, const struct sock *sk)
{
	struct tcp_held *h;

	lockdep_assert_held(&b->lock);
	hlist_for_each_entry(h, &b->head, node)
		if (h->sk == sk)
			return h;
	return NULL;
}

/* Each charge is undone by one call; the bytes go with the last. */
static void uncharge(struct tcp_mark *m, bool dropped)
{
	const struct spec_held nothing = { .since = m->held.since };

	for (; m->items > 1; m->items--)
		spec_held_uncharge(SPEC_CH_TCP, &nothing, dropped);
	if (m->items)
		spec_held_uncharge(SPEC_CH_TCP, &m->held, dropped);
	m->items = 0;
	m->held.bytes = 0;
}

/* Forget the marks that have become durable. */
static void prune(struct tcp_held *h)
{
	int n = 0;

	while (n < h->nr && !spec_dep_pending(&h->mark[n].dep, &spec_marks))
		uncharge(&h->mark[n++], false);
	if (!n)
		return;
	h->nr -= n;
	memmove(h->mark, h->mark + n, h->nr * sizeof(*h->mark));
}

static void add_mark(struct tcp_held *h, u32 start, const struct spec_dep *dep,
		     u32 mask)
{
	struct tcp_mark *m = h->mark + h->nr - 1;

	if (h->nr && (m->start == start || h->nr == TCP_MARKS)) {
		spec_dep_merge(&m->dep, spec_dep_pending(&m->dep, &spec_marks),
			       dep, mask);
		return;
	}
	m = &h->mark[h->nr++];
	memset(m, 0, sizeof(*m));
	m->start = start;
	spec_dep_merge(&m->dep, 0, dep, mask);
}

/*
 * Does the last mark say it already?  The bytes to come are behind it, since
 * sequence numbers only grow, and it stays as long as what it says matters.
 */
static bool covered(struct tcp_bucket *b, const struct sock *sk,
		    const struct spec_dep *dep, u32 mask, bool *known)
{
	struct tcp_held *h;
	bool ret = false;

	spin_lock_bh(&b->lock);
	h = find(b, sk);
	*known = h;
	if (h && h->dead)
		ret = true;
	else if (h && h->nr)
		ret = spec_dep_covers(&h->mark[h->nr - 1].dep, dep, mask);
	spin_unlock_bh(&b->lock);
	return ret;
}

/**
 * spec_tcp_mark - what @sk sends from now on depends on @dep
 * @sk: a TCP socket that the caller has not locked
 * @dep: the dependency
 * @mask: its pending components
 *
 * The socket is locked: a mark at a sequence number read without would be
 * behind bytes of another thread which this process has told what to write.
 *
 * Context: process, may sleep.
 * Return: 0; or 1 when no mark can be made (no connection, no memory): the
 *	caller must wait for the commit.
 */
int spec_tcp_mark(struct sock *sk, const struct spec_dep *dep, u32 mask)
{
	struct tcp_bucket *b = bucket_of(sk);
	struct tcp_held *h, *new = NULL;
	struct sk_buff *tail;
	bool known;
	int ret = 0;

again:
	if (covered(b, sk, dep, mask, &known))
		goto out_free;
	if (!known && !new) {
		new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
		if (!new)
			return 1;
	}

	lock_sock(sk);
	/* Sequence numbers mean nothing yet. */
	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN)) {
		release_sock(sk);
		ret = 1;
		goto out_free;
	}
	spin_lock_bh(&b->lock);
	/*
	 * Looked at with preemption off: when the last source has gone and a
	 * grace period is over, nothing comes into the table any more.
	 */
	mask = spec_dep_pending(dep, &spec_marks);
	h = find(b, sk);
	if (mask && !h && !new) {	/* released meanwhile */
		spin_unlock_bh(&b->lock);
		release_sock(sk);
		goto again;
	}
	if (mask && !h) {
		sock_hold(sk);
		new->sk = sk;
		new->user = spec_user(sk->sk_uid);
		new->memcg = sk->sk_memcg;
		hlist_add_head(&new->node, &b->head);
		h = new;
		new = NULL;
	}
	if (mask) {
		prune(h);
		add_mark(h, tcp_sk(sk)->write_seq, dep, mask);
	}
	spin_unlock_bh(&b->lock);
	/*
	 * Let the mark be the border of a buffer, or clean bytes that wait in
	 * the last one (Nagle) would be held with the dependent ones.
	 */
	tail = tcp_write_queue_tail(sk);
	if (mask && tail && tail->len)
		TCP_SKB_CB(tail)->eor = 1;
	release_sock(sk);
	spec_net_recheck(dep, mask);
out_free:
	kfree(new);
	return ret;
}

static __always_inline unsigned int diverted_bit(const struct sock *sk)
{
	return hash_ptr(sk, DIVERTED_BITS);
}

/**
 * spec_tcp_outside - may what @sk sends leave the machine?
 * @sk: a TCP socket
 *
 * Context: any.
 * Return: false if the route is known and goes over loopback.
 */
bool spec_tcp_outside(struct sock *sk)
{
	struct dst_entry *dst;
	bool ret;

	rcu_read_lock();
	dst = rcu_dereference(sk->sk_dst_cache);
	ret = !dst || !spec_net_inside(dst);
	rcu_read_unlock();
	return ret || unlikely(test_bit(diverted_bit(sk), diverted));
}

/* Buffers of the queue that are not charged; those before the marks are few. */
static u32 new_buffers(const struct tcp_held *h)
{
	u32 buffers = skb_queue_len(&h->sk->sk_write_queue);
	u32 charged = 0;
	int i;

	for (i = 0; i < h->nr; i++)
		charged += h->mark[i].buffers;
	return buffers > charged ? buffers - charged : 0;
}

/* The commit of all that waits here, and the account of it. */
static void hold(struct tcp_held *h, u32 write_seq)
{
	int i;

	for (i = 0; i < h->nr; i++) {
		struct tcp_mark *m = &h->mark[i];
		u32 end = i + 1 < h->nr ? m[1].start : write_seq;
		struct spec_held more = {
			.user = h->user, .memcg = h->memcg,
		};
		u32 bytes = end - m->start;
		u32 buffers, mask;

		if (bytes <= m->held.bytes || bytes > INT_MAX)
			continue;
		/* A byte of its own buffer (MSG_EOR) is not one byte of memory. */
		buffers = new_buffers(h);
		more.bytes = bytes - m->held.bytes;
		more.memory = more.bytes + buffers * BUFFER_MEMORY;
		spec_held_charge(SPEC_CH_TCP, h->sk, &more, true);
		if (!m->items++) {
			m->held = more;
		} else {
			m->held.bytes += more.bytes;
			m->held.memory += more.memory;
		}
		m->buffers += buffers;
		mask = spec_dep_pending(&m->dep, &spec_marks);
		if (mask)
			spec_request_commit(&m->dep, mask);
	}
}

/*
 * Up to where may @sk send?  The caller has locked it.  Returns false when
 * nothing is held.
 */
static bool send_limit(struct sock *sk, u32 *limit)
{
	struct tcp_bucket *b = bucket_of(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	struct tcp_held *h;
	bool held = false;

	if (!spec_tcp_outside(sk))
		return false;
	spin_lock_bh(&b->lock);
	h = find(b, sk);
	if (h && h->dead) {
		*limit = tp->snd_nxt;
		held = true;
	} else if (h) {
		prune(h);
		if (h->nr) {
			*limit = h->mark[0].start;
			held = true;
			hold(h, tp->write_seq);
		}
	}
	spin_unlock_bh(&b->lock);
	return held;
}

/**
 * struct narrowed - a send window made smaller for the time of one call
 * @limit:	where it ends now
 * @wnd:	tp->snd_wnd as it was
 * @chrono:	tp->chrono_type as it was
 */
struct narrowed {
	u32 limit;
	u32 wnd;
	u8 chrono;
};

/*
 * TCP lets the send buffer grow with what is under way.  What is held is not, and
 * a large answer would wait for one commit per buffer of the size at which a
 * connection begins.  So the buffer also grows with what is held, under the
 * conditions and up to the size of TCP (tcp_should_expand_sndbuf()).  Where the
 * user or the cgroup has no more room it shrinks as under memory pressure, or a
 * call that has begun could fill all that it had grown to.
 */
static void fit_sndbuf(struct sock *sk)
{
	int max = READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_wmem[2]);

	if (!spec_held_room(spec_user(sk->sk_uid)) ||
	    !spec_memcg_room(sk->sk_memcg)) {
		sk_stream_moderate_sndbuf(sk);
		return;
	}
	if (sk->sk_wmem_queued < sk->sk_sndbuf / 2 || sk->sk_sndbuf >= max ||
	    sk->sk_userlocks & SOCK_SNDBUF_LOCK ||
	    tcp_under_memory_pressure(sk) ||
	    sk_memory_allocated(sk) >= sk_prot_mem_limits(sk, 0))
		return;
	WRITE_ONCE(sk->sk_sndbuf, min(2 * sk->sk_sndbuf, max));
}

/*
 * Let the peer's window end at the first mark.  False: there is nothing to do.
 */
static bool narrow(struct sock *sk, struct narrowed *c)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct sk_buff *tail;
	u32 limit;

	/* Repair mode only moves buffers between queues. */
	if (!send_limit(sk, &limit) || unlikely(tp->repair))
		return false;
	/*
	 * A FIN rides on the last buffer and is not part of its length, by which
	 * TCP cuts it at the end of the window: a byte must stay behind to keep
	 * the FIN.
	 */
	tail = tcp_write_queue_tail(sk);
	if (tail && (TCP_SKB_CB(tail)->tcp_flags & TCPHDR_FIN) &&
	    TCP_SKB_CB(tail)->end_seq - 1 == limit)
		limit--;
	/* What is out is out; it was before the mark, or clean and raced. */
	if (before(limit, tp->snd_nxt))
		limit = tp->snd_nxt;
	if (!before(limit, tcp_wnd_end(tp)))
		return false;

	c->limit = limit;
	c->wnd = tp->snd_wnd;
	c->chrono = tp->chrono_type;
	tp->snd_wnd = limit - tp->snd_una;
	/* No sample of the path's bandwidth must include the time we held. */
	tp->app_limited = (tp->delivered + tcp_packets_in_flight(tp)) ? : 1;
	fit_sndbuf(sk);
	return true;
}

/* The socket is locked all the time, so no ACK has changed the window. */
static void widen(struct sock *sk, const struct narrowed *c)
{
	struct tcp_sock *tp = tcp_sk(sk);

	tp->snd_wnd = c->wnd;
	/* It is not the peer whose window limits us, whatever TCP_INFO says. */
	if (tp->chrono_type == TCP_CHRONO_RWND_LIMITED)
		tp->chrono_type = c->chrono;
}

/*
 * All new data and FINs: sendmsg, ACKs that open the window, TSQ, the uncorking,
 * the loss probe.
 */
DEFINE_HOOK(tcp_write_xmit, bool,
	    (struct sock *sk, unsigned int mss_now, int nonagle, int push_one,
	     gfp_t gfp),
	    (sk, mss_now, nonagle, push_one, gfp))
{
	const struct sk_buff *head;
	bool stuck = false;
	struct narrowed c;

	if (likely(!maybe_held(sk)) || !narrow(sk, &c))
		return hook_orig_tcp_write_xmit(sk, mss_now, nonagle, push_one,
						gfp);
	if (c.limit != tcp_sk(sk)->snd_nxt)
		stuck = hook_orig_tcp_write_xmit(sk, mss_now, nonagle,
						 push_one, gfp);
	/*
	 * True makes the caller start the zero-window probe.  The release will
	 * push, so nobody needs to probe for what is held; but free bytes that
	 * could not go for some other reason do.
	 */
	head = tcp_send_head(sk);
	if (stuck)
		stuck = head && !after(TCP_SKB_CB(head)->end_seq, c.limit);
	widen(sk, &c);
	return stuck;
}

/* Keepalive and zero-window probes, which take a byte of new data along. */
DEFINE_HOOK(tcp_write_wakeup, int, (struct sock *sk, int mib), (sk, mib))
{
	struct narrowed c;
	int ret;

	if (likely(!maybe_held(sk)) || !narrow(sk, &c))
		return hook_orig_tcp_write_wakeup(sk, mib);
	ret = hook_orig_tcp_write_wakeup(sk, mib);
	widen(sk, &c);
	return ret;
}

/*
 * A probe of the tail sends new data if there is any, and otherwise repeats the
 * last segment: held data is not any.
 */
DEFINE_HOOK_VOID(tcp_send_loss_probe, (struct sock *sk), (sk))
{
	struct narrowed c;

	if (likely(!maybe_held(sk)) || !narrow(sk, &c)) {
		hook_orig_tcp_send_loss_probe(sk);
		return;
	}
	hook_orig_tcp_send_loss_probe(sk);
	widen(sk, &c);
}

/*
 * TCP halves the congestion window for each RTO in which a sender was idle.
 * One whose bytes are held was not.
 */
DEFINE_HOOK_VOID(tcp_cwnd_restart, (struct sock *sk, s32 delta), (sk, delta))
{
	if (likely(!maybe_held(sk)) || !tcp_send_head(sk))
		hook_orig_tcp_cwnd_restart(sk, delta);
}

/*
 * Data for a socket that has been closed makes TCP answer RST, which would tell
 * of the close while its FIN is held.
 */
static bool refuse_data(struct sock *sk, const struct sk_buff *skb)
{
	u32 limit;

	if (!((1 << sk->sk_state) & (TCPF_FIN_WAIT1 | TCPF_CLOSING |
				     TCPF_LAST_ACK | TCPF_CLOSE_WAIT)) ||
	    !(sk->sk_shutdown & RCV_SHUTDOWN) || tcp_hdr(skb)->rst ||
	    TCP_SKB_CB(skb)->end_seq == TCP_SKB_CB(skb)->seq ||
	    !after(TCP_SKB_CB(skb)->end_seq - tcp_hdr(skb)->fin,
		   tcp_sk(sk)->rcv_nxt))
		return false;
	return send_limit(sk, &limit) && after(tcp_sk(sk)->write_seq, limit);
}

DEFINE_HOOK(tcp_rcv_state_process, compat_rcv_reason,
	    (struct sock *sk, struct sk_buff *skb), (sk, skb))
{
	if (likely(!maybe_held(sk)) || !refuse_data(sk, skb))
		return hook_orig_tcp_rcv_state_process(sk, skb);
	/* As if the network had lost it: the peer sends it again. */
	sk_drops_add(sk, skb);
	kfree_skb(skb);
	return 0;
}

/* For the table in net.c. */
extern struct spec_hook spec_hook_tcp_write_xmit __alias(hook_tcp_write_xmit);
extern struct spec_hook spec_hook_tcp_write_wakeup
	__alias(hook_tcp_write_wakeup);
extern struct spec_hook spec_hook_tcp_send_loss_probe
	__alias(hook_tcp_send_loss_probe);
extern struct spec_hook spec_hook_tcp_cwnd_restart
	__alias(hook_tcp_cwnd_restart);
extern struct spec_hook spec_hook_tcp_rcv_state_process
	__alias(hook_tcp_rcv_state_process);

/* The TCP header, NULL if @skb is the outside of a tunnel or not whole. */
static const struct tcphdr *tcp_header(const struct sk_buff *skb, u8 pf,
				       struct tcphdr *buf, u32 *len)
{
	int offset;

	if (pf == NFPROTO_IPV4) {
		if (ip_hdr(skb)->protocol != IPPROTO_TCP)
			return NULL;
		offset = skb_network_offset(skb) + ip_hdrlen(skb);
	} else {
		u8 next = ipv6_hdr(skb)->nexthdr;
		__be16 frag;

		offset = ipv6_skip_exthdr(skb, skb_network_offset(skb) +
					  sizeof(struct ipv6hdr), &next, &frag);
		if (offset < 0 || next != IPPROTO_TCP)
			return NULL;
	}
	*len = skb->len - offset;
	return skb_header_pointer(skb, offset, sizeof(*buf), buf);
}

/**
 * spec_tcp_local_out - the safety net under the gate, and the RSTs
 * @sk: the TCP socket that sends, locked
 * @skb: on its way out, not over loopback
 * @state: the hook's
 *
 * Context: any that sends.
 * Return: the verdict of netfilter.
 */
unsigned int spec_tcp_local_out(struct sock *sk, struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	struct tcp_bucket *b = bucket_of(sk);
	unsigned int verdict = NF_ACCEPT;
	const struct tcphdr *th;
	struct spec_dep dep;
	struct tcphdr buf;
	struct tcp_held *h;
	u32 mask = 0, len, end;
	int i;

	if (unlikely(!spec_tcp_outside(sk)))
		set_bit(diverted_bit(sk), diverted);
	if (likely(!maybe_held(sk)) && !spec_maybe(sk))
		return NF_ACCEPT;
	th = tcp_header(skb, state->pf, &buf, &len);
	if (!th)
		return NF_ACCEPT;
	/*
	 * Connecting to the outside waits for the commit.  This is one that was
	 * taken for local: let the peer not see it; the SYN will be repeated.
	 */
	if (th->syn) {
		if (!th->ack && spec_maybe(sk) && spec_read(sk, &dep))
			verdict = NF_DROP;
		goto out;
	}
	end = ntohl(th->seq) + len - th->doff * 4 + th->fin;

	spin_lock_bh(&b->lock);
	h = find(b, sk);
	if (h && th->rst && !h->dead) {
		dep.mask = 0;
		for (i = 0; i < h->nr; i++) {
			u32 more = spec_dep_pending(&h->mark[i].dep, &spec_marks);

			spec_dep_merge(&dep, mask, &h->mark[i].dep, more);
			mask |= more;
		}
	} else if (h && !th->rst && end != ntohl(th->seq)) {
		prune(h);
		if (h->nr && after(end, h->mark[0].start))
			verdict = NF_DROP;
	}
	spin_unlock_bh(&b->lock);
	if (mask)
		return spec_datagram_hold(sk, skb, state, &dep, mask);
out:
	if (verdict == NF_DROP)
		atomic64_inc(&leaks_stopped);
	return verdict;
}

/* Is there anything to send, to reset, or to forget? */
static bool is_ready(const struct tcp_held *h, bool *lost)
{
	int i;

	*lost = false;
	for (i = 0; i < h->nr; i++)
		if (spec_dep_lost(spec_dep_pending(&h->mark[i].dep,
						   &spec_marks)))
			*lost = true;
	return *lost || !h->nr ||
	       !spec_dep_pending(&h->mark[0].dep, &spec_marks);
}

static void forget(struct sock *sk, bool dropped, struct spec_net_drops *drops)
{
	struct tcp_bucket *b = bucket_of(sk);
	struct tcp_held *h;
	int i;

	spin_lock_bh(&b->lock);
	h = find(b, sk);
	if (h && !dropped)
		prune(h);
	if (h && h->nr && !dropped)
		h = NULL;
	if (h) {
		for (i = 0; i < h->nr; i++) {
			drops->bytes += h->mark[i].held.bytes;
			uncharge(&h->mark[i], true);
		}
		hlist_del(&h->node);
	}
	spin_unlock_bh(&b->lock);
	if (h) {
		sock_put(sk);
		kfree(h);
	}
}

/*
 * As tcp_abort(), but not lock_sock(): the owner of a socket may be asleep in a
 * page fault for as long as it likes, and others are waiting for us.  What it
 * queues meanwhile does not go, as the marks are dead.
 */
static bool abort_unowned(struct sock *sk, struct spec_net_drops *drops)
{
	bool ret = false;

	local_bh_disable();
	bh_lock_sock(sk);
	if (sock_owned_by_user(sk))
		goto out;
	ret = true;
	/* Disconnected since, and maybe listening: then nothing is queued. */
	if (sk->sk_state == TCP_CLOSE || sk->sk_state == TCP_LISTEN)
		goto out;
	drops->sockets++;
	if ((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT | TCPF_SYN_RECV |
				   TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2))
		call_tcp_send_active_reset(COMPAT_ACTIVE_RESET_ARGS(sk));
	WRITE_ONCE(sk->sk_err, ECONNRESET);
	tcp_done(sk);
	if (!sock_flag(sk, SOCK_DEAD))
		sk_error_report(sk);
out:
	bh_unlock_sock(sk);
	local_bh_enable();
	return ret;
}

/* What is queued will never be durable.  Returns false if the socket is in use. */
static bool reset(struct sock *sk, struct spec_net_drops *drops)
{
	struct tcp_bucket *b = bucket_of(sk);
	struct tcp_held *h;

	/* Inside the machine it has been passed on, and was not held. */
	if (spec_tcp_outside(sk)) {
		spin_lock_bh(&b->lock);
		h = find(b, sk);
		if (h)
			h->dead = true;
		spin_unlock_bh(&b->lock);
		if (!abort_unowned(sk, drops))
			return false;
	}
	forget(sk, true, drops);
	return true;
}

/* Send what has become durable.  Returns false if the socket is in use. */
static bool push(struct sock *sk)
{
	bool ret = true;

	/*
	 * Not lock_sock(): its owner may be asleep in a page fault for as long
	 * as it likes, and others are waiting for us.
	 */
	local_bh_disable();
	bh_lock_sock(sk);
	if (!sock_owned_by_user(sk)) {
		if (sk->sk_state != TCP_CLOSE && tcp_send_head(sk)) {
			/* As in tcp_cwnd_restart(): it was not idle. */
			tcp_sk(sk)->snd_cwnd_stamp = tcp_jiffies32;
			call___tcp_push_pending_frames(sk,
						       call_tcp_current_mss(sk),
						       tcp_sk(sk)->nonagle);
		}
	} else {
		/* As TSQ does: the owner sends when it unlocks. */
		if (!test_and_set_bit(TCP_TSQ_DEFERRED, &sk->sk_tsq_flags))
			sock_hold(sk);
		/* Later once more, for the zero-window probe. */
		ret = false;
	}
	bh_unlock_sock(sk);
	local_bh_enable();
	return ret;
}

static void release_bucket(struct tcp_bucket *b, struct spec_net_drops *drops)
{
	struct hlist_node *next;
	struct tcp_held *h;
	struct sock *sk;
	bool lost;

	if (hlist_empty(&b->head))
		return;
	spin_lock_bh(&b->lock);
	/* New ones come in front, and only we take any out. */
	hlist_for_each_entry_safe(h, next, &b->head, node) {
		if (!is_ready(h, &lost))
			continue;
		sk = h->sk;
		sock_hold(sk);
		spin_unlock_bh(&b->lock);
		if (lost ? !reset(sk, drops) : !push(sk))
			spec_net_kick_later();
		else if (!lost)
			forget(sk, false, drops);
		sock_put(sk);
		cond_resched();
		spin_lock_bh(&b->lock);
	}
	spin_unlock_bh(&b->lock);
}

/**
 * spec_tcp_released - something is durable or has failed
 * @drops: the account of what is lost
 *
 * Context: process, may sleep; one call at a time.
 * Return: whether nothing is held any more.
 */
bool spec_tcp_released(struct spec_net_drops *drops)
{
	bool empty = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		release_bucket(&buckets[i], drops);
		if (!hlist_empty(&buckets[i].head))
			empty = false;
	}
	return empty;
}

/**
 * spec_tcp_init - make the table
 */
void spec_tcp_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++)
		spin_lock_init(&buckets[i].lock);
}

/**
 * spec_tcp_install - find the kernel's functions
 * @why: receives what is missing
 * @why_len: size of @why
 *
 * Return: 0 or -ENOENT.
 */
int spec_tcp_install(char *why, size_t why_len)
{
	if (!kernel_call_find(__tcp_push_pending_frames) ||
	    !kernel_call_find(tcp_current_mss) ||
	    !kernel_call_find(tcp_send_active_reset)) {
		snprintf(why, why_len,
			 "no __tcp_push_pending_frames(), tcp_current_mss() or tcp_send_active_reset() in this kernel");
		return -ENOENT;
	}
	return 0;
}

/**
 * spec_tcp_remove - the last source has gone
 */
void spec_tcp_remove(void)
{
	bitmap_zero(diverted, 1 << DIVERTED_BITS);
}

/**
 * spec_tcp_show - debugfs "held"
 * @m: seq_file
 */
void spec_tcp_show(struct seq_file *m)
{
	unsigned int sockets = 0, marks = 0;
	struct tcp_held *h;
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		spin_lock_bh(&buckets[i].lock);
		hlist_for_each_entry(h, &buckets[i].head, node) {
			sockets++;
			marks += h->nr;
		}
		spin_unlock_bh(&buckets[i].lock);
	}
	seq_printf(m, "tcp sockets %u marks %u leaks_stopped %lld\n", sockets,
		   marks, atomic64_read(&leaks_stopped));
}
