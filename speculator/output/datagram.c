// SPDX-License-Identifier: GPL-2.0
/*
 * UDP, raw and ICMP sockets: packets are held behind the output routing.
 *
 * The netfilter hook steals them, a work item lets them go on from there.  They
 * stay charged to the socket's send buffer, which is the back-pressure, and they
 * carry their own dependency.  Behind a packet that is held all later ones of
 * the socket wait, whoever sent them: order first.
 *
 * Packets without a socket share a queue.
 */

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <net/dst.h>
#include <net/sock.h>
#include "../object.h"
#include "../source.h"
#include "../stats.h"
#include "memcg.h"
#include "net.h"

/* Packets sent before others may use the CPU. */
#define SEND_BATCH	32

/*
 * Ticks until order is given up: a ksoftirqd that has not had the CPU for so long
 * may never get it, under a real-time task, and others wait behind us.
 */
#define BACKLOG_WAIT	HZ

/**
 * struct datagram - one held packet
 * @list:	in its socket's queue
 * @skb:	the packet; it is charged to the socket and holds its route
 * @net:	for @okfn; the socket keeps it alive, or a reference without one
 * @sk:		for @okfn, a reference, or NULL
 * @okfn:	how the packet goes on
 * @held:	its account
 * @dep:	what it depends on; empty if it only waits behind others
 */
struct datagram {
	struct list_head list;
	struct sk_buff *skb;
	struct net *net;
	struct sock *sk;
	int (*okfn)(struct net *net, struct sock *sk, struct sk_buff *skb);
	struct spec_held held;
	struct spec_dep dep;
};

/**
 * struct datagram_queue - the held packets of a socket
 * @node:	in its bucket
 * @sk:		the socket, a reference; NULL: of packets without one
 * @items:	packets, oldest first
 * @sender:	the task that is sending packets taken off @items, or NULL: new
 *		ones must queue even if @items is empty
 * @wake:	a writer was refused: tell it when there is room
 *
 * All under the bucket's lock, which is taken in softirq and with the socket
 * locked.  Only the release frees a queue.
 */
struct datagram_queue {
	struct hlist_node node;
	struct sock *sk;
	struct list_head items;
	const struct task_struct *sender;
	bool wake;
};

struct datagram_bucket {
	struct hlist_head head;
	spinlock_t lock;	/* see struct datagram_queue */
};

static struct datagram_bucket buckets[1 << SPEC_NET_BITS];

static __always_inline struct datagram_bucket *bucket_of(const struct sock *sk)
{
	return &buckets[hash_ptr(sk, SPEC_NET_BITS)];
}

/* Copies of packets are charged to root. */
static unsigned int user_of(const struct sock *sk)
{
	return spec_user(sk ? sk->sk_uid : GLOBAL_ROOT_UID);
}

static bool has_room(const struct sock *sk)
{
	return spec_held_room(user_of(sk)) &&
	       (!sk || spec_memcg_room(sk->sk_memcg));
}

/* Where the packet was charged, with a reference. */
static struct mem_cgroup *get_memcg(const struct sock *sk)
{
	struct mem_cgroup *memcg = sk ? sk->sk_memcg : NULL;

	if (in_task())
		return get_mem_cgroup_from_mm(current->mm);
	if (memcg)
		css_get(&memcg->css);
	return memcg;
}

static struct datagram_queue *find(struct datagram_bucket *b,
				   const struct sock *sk)
{
	struct datagram_queue *q;

	lockdep_assert_held(&b->lock);
	hlist_for_each_entry(q, &b->head, node)
		if (q->sk == sk)
			return q;
	return NULL;
}

/* The socket's queue, a new one if need be; NULL without memory. */
static struct datagram_queue *get_queue(struct datagram_bucket *b,
					struct sock *sk)
{
	struct datagram_queue *q = find(b, sk);

	if (q)
		return q;
	q = kzalloc(sizeof(*q), GFP_ATOMIC | __GFP_NOWARN | __GFP_ACCOUNT);
	if (!q)
		return NULL;
	if (sk)
		sock_hold(sk);
	q->sk = sk;
	INIT_LIST_HEAD(&q->items);
	hlist_add_head(&q->node, &b->head);
	return q;
}

/**
 * spec_datagram_hold - steal a packet
 * @sk: its socket, or NULL
 * @skb: the packet
 * @state: the hook's
 * @dep: what it depends on
 * @mask: the pending components of @dep; 0: hold it only behind others
 *
 * Context: any that sends.
 * Return: the verdict of netfilter: stolen, accepted if there is nothing to
 *	wait for, dropped without memory (as a full device queue drops).
 */
unsigned int spec_datagram_hold(struct sock *sk, struct sk_buff *skb,
				const struct nf_hook_state *state,
				const struct spec_dep *dep, u32 mask)
{
	struct datagram_bucket *b = bucket_of(sk);
	struct datagram_queue *q;
	struct datagram *d;
	unsigned int verdict = NF_DROP;

	d = kzalloc(sizeof(*d), GFP_ATOMIC | __GFP_NOWARN | __GFP_ACCOUNT);
	if (!d)
		return NF_DROP;
	d->skb = skb;
	d->net = state->net;
	d->sk = state->sk;
	d->okfn = state->okfn;
	d->held.bytes = skb->len;
	d->held.memory = skb->truesize + sizeof(*d);
	d->held.user = user_of(sk);
	d->held.memcg = get_memcg(sk);

	spin_lock_bh(&b->lock);
	/* With preemption off, see spec_tcp_mark(). */
	if (mask)
		mask = spec_dep_pending(dep, &spec_marks);
	if (mask)
		spec_dep_merge(&d->dep, 0, dep, mask);
	q = mask ? get_queue(b, sk) : find(b, sk);
	if (!mask && (!q || (list_empty(&q->items) && !q->sender))) {
		verdict = NF_ACCEPT;
	} else if (q && q->sender == current && !in_serving_softirq()) {
		/*
		 * What we just let go comes by a second time, inside a tunnel or
		 * an IPsec transform.
		 */
		verdict = NF_ACCEPT;
	} else if (q && (!skb_dst(skb) || skb_dst_force(skb)) &&
		   (sk || maybe_get_net(d->net))) {
		if (d->sk)
			sock_hold(d->sk);
		list_add_tail(&d->list, &q->items);
		/* The packet is there already; the limit is for the next one. */
		spec_held_charge(SPEC_CH_DATAGRAM, sk, &d->held, true);
		verdict = NF_STOLEN;
	}
	spin_unlock_bh(&b->lock);

	if (verdict != NF_STOLEN) {
		mem_cgroup_put(d->held.memcg);
		kfree(d);
		return verdict;
	}
	if (!mask)
		return NF_STOLEN;
	spec_request_commit(dep, mask);
	spec_net_recheck(dep, mask);
	return NF_STOLEN;
}

/**
 * spec_datagram_local_out - a packet of a socket that isn't TCP
 * @sk: the socket
 * @skb: on its way out, not over loopback
 * @state: the hook's
 *
 * What counts is the dependency of the socket, not of the running process: the
 * packet may be an uncorked one, or be sent by a softirq or after the exit.
 *
 * Context: any that sends.
 * Return: the verdict of netfilter.
 */
unsigned int spec_datagram_local_out(struct sock *sk, struct sk_buff *skb,
				     const struct nf_hook_state *state)
{
	struct spec_dep dep;
	u32 mask = 0;

	if (spec_maybe(sk))
		mask = spec_read(sk, &dep);
	if (likely(!mask) && hlist_empty(&bucket_of(sk)->head))
		return NF_ACCEPT;
	if (unlikely(spec_dep_lost(mask))) {
		spec_count(drops, SPEC_CH_DATAGRAM);
		return NF_DROP_ERR(-EIO);
	}
	return spec_datagram_hold(sk, skb, state, &dep, mask);
}

/**
 * spec_datagram_hold_copy - a packet of nobody knows whom
 * @skb: on its way out, without a socket
 * @state: the hook's
 *
 * Context: any that sends.
 * Return: the verdict of netfilter.
 */
unsigned int spec_datagram_hold_copy(struct sk_buff *skb,
				     const struct nf_hook_state *state)
{
	struct spec_dep dep;
	u32 mask;

	if (likely(!atomic_read(&speculator_active)) &&
	    hlist_empty(&bucket_of(NULL)->head))
		return NF_ACCEPT;
	mask = spec_read_all(&dep);
	/* No sender can be made to wait for room. */
	if (spec_dep_lost(mask) || (mask && !spec_held_room(user_of(NULL)))) {
		spec_count(drops, SPEC_CH_DATAGRAM);
		return NF_DROP;
	}
	return spec_datagram_hold(NULL, skb, state, &dep, mask);
}

static void wake_writer(struct sock *sk)
{
	/* As long as we hold it the socket cannot become an orphan. */
	read_lock_bh(&sk->sk_callback_lock);
	if (sk->sk_socket)
		sk->sk_write_space(sk);
	read_unlock_bh(&sk->sk_callback_lock);
}

/**
 * spec_datagram_wake_later - a writer got EAGAIN though poll() says writable
 * @sk: the socket, of any protocol
 *
 * An edge-triggered epoll would never report it again: the release does.
 *
 * Context: process.
 */
void spec_datagram_wake_later(struct sock *sk)
{
	struct datagram_bucket *b = bucket_of(sk);
	struct datagram_queue *q;

	if (sk->sk_socket)
		set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	spin_lock_bh(&b->lock);
	q = spec_source_any() ? get_queue(b, sk) : NULL;
	if (q)
		q->wake = true;
	spin_unlock_bh(&b->lock);
	/* No memory to remember it: rather at once than never. */
	if (!q)
		wake_writer(sk);
	smp_mb();	/* as in spec_net_recheck() */
	/* Room again before we were on the list? */
	if (has_room(sk))
		spec_net_kick();
}

/* @d has been taken off; the packet is somebody else's. */
static void free_datagram(struct datagram *d, const struct datagram_queue *q)
{
	if (d->sk)
		sock_put(d->sk);
	if (!q->sk)
		put_net(d->net);
	mem_cgroup_put(d->held.memcg);
	kfree(d);
}

static void discard(struct datagram *d, const struct datagram_queue *q)
{
	spec_held_uncharge(SPEC_CH_DATAGRAM, &d->held, true);
	kfree_skb(d->skb);
	free_datagram(d, q);
}

/* The environment of a softirq, and the same CPU for all: see send_all(). */
static void send_some(struct list_head *ready, const struct datagram_queue *q)
{
	struct datagram *d, *tmp;
	int n = 0;

	rcu_read_lock();
	local_bh_disable();
	list_for_each_entry_safe(d, tmp, ready, list) {
		if (n++ == SEND_BATCH)
			break;
		list_del(&d->list);
		spec_held_uncharge(SPEC_CH_DATAGRAM, &d->held, false);
		/* Copies are not copied again. */
		if (!q->sk)
			__this_cpu_write(nf_skb_duplicated, true);
		/* If the device has gone, the route leads to the black hole. */
		d->okfn(d->net, d->sk, d->skb);
		if (!q->sk)
			__this_cpu_write(nf_skb_duplicated, false);
		free_datagram(d, q);
	}
	local_bh_enable();
	rcu_read_unlock();
}

/* The end of this CPU's backlog, and whether all before @end has left it. */
static unsigned int backlog_end(void)
{
	return READ_ONCE(this_cpu_ptr(&softnet_data)->input_queue_tail);
}

static bool backlog_passed(unsigned int end)
{
	return (int)(READ_ONCE(this_cpu_ptr(&softnet_data)->input_queue_head) -
		     end) >= 0;
}

/*
 * A virtual device puts packets on the backlog of the CPU, which is worked off
 * when softirqs are enabled again; or by ksoftirqd, if there is a lot to do.
 * Then the owner of the socket, on another CPU, would overtake us: wait until
 * ours have left it, as receive packet steering does before it moves a flow.
 * Real devices keep a socket on one queue.
 */
static void send_all(struct list_head *ready, const struct datagram_queue *q)
{
	int ticks = BACKLOG_WAIT;
	unsigned int end;

	migrate_disable();
	while (!list_empty(ready)) {
		send_some(ready, q);
		cond_resched();
	}
	end = backlog_end();
	while (!backlog_passed(end) && ticks--)
		schedule_timeout_uninterruptible(1);
	migrate_enable();
}

/* Take the packets that need not wait any longer off the queue. */
static void take_ready(struct datagram_queue *q, struct list_head *ready,
		       struct list_head *lost)
{
	struct datagram *d, *tmp;

	list_for_each_entry_safe(d, tmp, &q->items, list) {
		u32 pending = spec_dep_pending(&d->dep, &spec_marks);
		bool never = spec_dep_lost(pending);

		if (pending && !never)
			break;
		list_move_tail(&d->list, never ? lost : ready);
	}
}

/* Has it something to do, or nothing to do any more and can be freed? */
static bool is_ready(struct datagram_queue *q, struct list_head *ready,
		     struct list_head *lost, bool *wake)
{
	take_ready(q, ready, lost);
	*wake = q->wake && has_room(q->sk);
	if (*wake)
		q->wake = false;
	return !list_empty(ready) || !list_empty(lost) || *wake ||
	       (list_empty(&q->items) && !q->wake);
}

/*
 * What is ready now, and no more: whoever keeps a socket busy must not keep us
 * from the others.  The caller holds the lock, which is let go in between.
 */
static void release_queue(struct datagram_bucket *b, struct datagram_queue *q,
			  struct spec_net_drops *drops)
	__must_hold(&b->lock)
{
	struct datagram *d, *tmp;
	LIST_HEAD(ready);
	LIST_HEAD(lost);
	bool wake;

	if (!is_ready(q, &ready, &lost, &wake))
		return;
	q->sender = current;
	spin_unlock_bh(&b->lock);
	if (!list_empty(&ready))
		send_all(&ready, q);
	list_for_each_entry_safe(d, tmp, &lost, list) {
		drops->packets++;
		drops->bytes += d->skb->len;
		discard(d, q);
	}
	if (wake)
		wake_writer(q->sk);

	spin_lock_bh(&b->lock);
	q->sender = NULL;
	d = list_first_entry_or_null(&q->items, struct datagram, list);
	if (d && !spec_dep_pending(&d->dep, &spec_marks))
		spec_net_kick();
	if (d || q->wake)
		return;
	hlist_del(&q->node);
	spin_unlock_bh(&b->lock);
	if (q->sk)
		sock_put(q->sk);
	kfree(q);
	spin_lock_bh(&b->lock);
}

/* Returns whether a writer is still refused. */
static bool release_bucket(struct datagram_bucket *b,
			   struct spec_net_drops *drops)
{
	struct datagram_queue *q;
	struct hlist_node *next;
	bool refused = false;

	if (hlist_empty(&b->head))
		return false;
	spin_lock_bh(&b->lock);
	/* New ones come in front, and only we take any out. */
	hlist_for_each_entry_safe(q, next, &b->head, node)
		release_queue(b, q, drops);
	hlist_for_each_entry(q, &b->head, node)
		refused |= q->wake;
	spin_unlock_bh(&b->lock);
	return refused;
}

/**
 * spec_datagram_released - something is durable or has failed
 * @drops: the account of what is lost
 *
 * Context: process, may sleep; one call at a time.
 * Return: whether nothing is held any more.
 */
bool spec_datagram_released(struct spec_net_drops *drops)
{
	bool empty = true, refused = false;
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		refused |= release_bucket(&buckets[i], drops);
		if (!hlist_empty(&buckets[i].head))
			empty = false;
	}
	/* It may be a terminal that gives way. */
	if (refused)
		spec_net_kick_later();
	return empty;
}

/**
 * spec_datagram_init - make the table
 */
void spec_datagram_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++)
		spin_lock_init(&buckets[i].lock);
}

/**
 * spec_datagram_show - debugfs "held"
 * @m: seq_file
 */
void spec_datagram_show(struct seq_file *m)
{
	unsigned int sockets = 0, packets = 0;
	struct datagram_queue *q;
	int i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		spin_lock_bh(&buckets[i].lock);
		hlist_for_each_entry(q, &buckets[i].head, node) {
			sockets++;
			packets += list_count_nodes(&q->items);
		}
		spin_unlock_bh(&buckets[i].lock);
	}
	seq_printf(m, "datagram sockets %u packets %u\n", sockets, packets);
}
