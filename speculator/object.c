// SPDX-License-Identifier: GPL-2.0
/* The table from a pointer to what it depends on; see object.h. */

#include <linux/log2.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include "object.h"
#include "source.h"
#include "stats.h"
#include "trace.h"

struct hlist_head spec_buckets[1 << SPEC_BUCKET_BITS];
struct spec_dep spec_everyone;
struct spec_marks spec_marks;
atomic_t spec_unsettled;
u64 spec_latest;

/*
 * Bucket locks are the innermost locks of all: they are taken under the siglock
 * (with interrupts off), socket locks, in softirq, and under the lock of
 * flow/memory.c.  Nothing is taken under one.  Two are never held together.
 */
#define LOCK_BITS 8
static raw_spinlock_t bucket_locks[1 << LOCK_BITS];
static DEFINE_RAW_SPINLOCK(everyone_lock);
static struct kmem_cache *entry_cache;

/* Entries of the table, and one more while @spec_everyone depends on anything. */
atomic_t speculator_active;
EXPORT_SYMBOL_GPL(speculator_active);

/* The user can spend this much memory on dependencies; beyond it all wait. */
static struct spec_limit max_objects = {
	.value = 1 << 18, .min = 0, .size = sizeof(struct spec_entry),
};
module_param_cb(max_objects, &spec_limit_ops, &max_objects, 0644);
MODULE_PARM_DESC(max_objects, "entries of the dependency table; beyond it new dependencies are shared by all (default 262144)");

/* Copy the components of @from in @mask into the empty or used @out. */
static u32 collect(struct spec_dep *out, u32 have, const struct spec_dep *from,
		   u32 mask)
{
	if (!have)
		out->mask = 0;
	spec_dep_merge(out, have, from, mask);
	return have | mask;
}

/**
 * spec_read - what a key still waits for
 * @key: any key
 * @out: receives the pending components; untouched when there are none
 *
 * Context: any. Lock-free.
 * Return: the mask of sources in @out, 0 when nothing is pending.
 */
u32 spec_read(const void *key, struct spec_dep *out)
{
	u32 have = 0, mask;
	struct spec_entry *e;

	rcu_read_lock_sched();
	e = spec_find(key);
	if (e) {
		mask = spec_dep_pending(&e->dep, &spec_marks);
		if (mask)
			have = collect(out, 0, &e->dep, mask);
	}
	rcu_read_unlock_sched();
	if (unlikely(READ_ONCE(spec_everyone.mask))) {
		mask = spec_dep_pending(&spec_everyone, &spec_marks);
		if (mask)
			have = collect(out, have, &spec_everyone, mask);
	}
	return have;
}

/**
 * spec_mask - what a key depends on, or has depended on a moment ago
 * @key: any key
 *
 * Cheaper than spec_read(), for who is content when it is little.
 *
 * Context: any. Lock-free.
 * Return: the mask of sources; those that are pending are all in it.
 */
u32 spec_mask(const void *key)
{
	const struct spec_entry *e;
	u32 mask;

	rcu_read_lock_sched();
	e = spec_find(key);
	mask = e ? READ_ONCE(e->dep.mask) : 0;
	rcu_read_unlock_sched();
	return mask | READ_ONCE(spec_everyone.mask);
}

/**
 * spec_merge_everyone - make everybody and everything depend on @dep
 * @dep: what to depend on
 * @mask: the components of @dep that count
 *
 * Where it would take too much memory, or too long, to tell who depends on it.
 *
 * Context: any, interrupts off included.
 */
void spec_merge_everyone(const struct spec_dep *dep, u32 mask)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&everyone_lock, flags);
	if (!spec_everyone.mask) {
		atomic_inc(&speculator_active);
		atomic_inc(&spec_unsettled);
	}
	spec_dep_merge(&spec_everyone,
		       spec_dep_pending(&spec_everyone, &spec_marks), dep, mask);
	raw_spin_unlock_irqrestore(&everyone_lock, flags);
}

/* Does @key depend on all of @dep already? */
static bool covered(const void *key, const struct spec_dep *dep, u32 mask)
{
	struct spec_entry *e;
	bool is;

	rcu_read_lock_sched();
	e = spec_find(key);
	/*
	 * An entry that covers something pending cannot be swept before that
	 * has been released, and then it no longer matters.
	 */
	is = e && spec_dep_covers(&e->dep, dep, mask);
	rcu_read_unlock_sched();
	/*
	 * What is everybody's is this one's, too.  Where no entry can be made
	 * that also ends the way of a dependency through shared memory, which
	 * would go round in circles.
	 */
	if (unlikely(READ_ONCE(spec_everyone.mask)))
		is = is || spec_dep_covers(&spec_everyone, dep, mask);
	return is;
}

/* After a change of @e->dep; the bucket's lock is held. */
static void note_only(struct spec_entry *e)
{
	u32 mask = e->dep.mask;
	u64 only = is_power_of_2(mask) ?
		(u64)mask << 32 | e->dep.seq[__builtin_ctz(mask)] : (uintptr_t)e;

	smp_store_release(&e->only, only);	/* with is_as_late() */
}

/* Make the entry of @key depend on @dep, or make one. */
static bool raise(const void *key, enum spec_channel_id ch,
		  const struct spec_dep *dep, u32 mask)
{
	unsigned int bucket = hash_ptr(key, SPEC_BUCKET_BITS);
	raw_spinlock_t *lock = &bucket_locks[bucket & ((1 << LOCK_BITS) - 1)];
	struct spec_entry *e, *new = NULL;
	unsigned long flags;

again:
	rcu_read_lock_sched();
	e = spec_find(key);
	rcu_read_unlock_sched();
	if (!e) {
		if (atomic_read(&speculator_active) <
		    READ_ONCE(max_objects.value))
			new = kmem_cache_alloc(entry_cache,
					       GFP_ATOMIC | __GFP_NOWARN);
		if (!new) {
			spec_merge_everyone(dep, mask);
			return true;
		}
	}

	raw_spin_lock_irqsave(lock, flags);
	e = spec_find(key);
	if (e) {
		/*
		 * Another thread may find the new dependency at once, take that
		 * as told and pass it on: it must not compare the old word.
		 */
		WRITE_ONCE(e->only, (uintptr_t)e);
		smp_wmb();	/* with smp_rmb() in spec_merge(), spec_has() */
		spec_dep_merge(&e->dep, spec_dep_pending(&e->dep, &spec_marks),
			       dep, mask);
		note_only(e);
	} else if (new) {
		new->key = key;
		new->ch = ch;
		new->dep.mask = 0;
		spec_dep_merge(&new->dep, 0, dep, mask);
		note_only(new);
		hlist_add_head_rcu(&new->node, &spec_buckets[bucket]);
		atomic_inc(&speculator_active);
		e = new;
		new = NULL;
	}
	raw_spin_unlock_irqrestore(lock, flags);

	if (new)
		kmem_cache_free(entry_cache, new);
	if (!e)			/* swept between the look and the lock */
		goto again;
	return true;
}

/**
 * spec_merge_one - make a key depend on @dep, and no other
 * @key: any key
 * @ch: the channel, for statistics
 * @dep: what to depend on
 * @mask: the components of @dep that count
 *
 * Never fails: without memory the dependency becomes everybody's.
 *
 * Context: any, interrupts off included.
 * Return: whether the key depended on less before.
 */
bool spec_merge_one(const void *key, enum spec_channel_id ch,
		    const struct spec_dep *dep, u32 mask)
{
	return !covered(key, dep, mask) && raise(key, ch, dep, mask);
}

/**
 * spec_merge - make a key depend on @dep, and whoever sees what it stores
 * @key: any key
 * @ch: the channel, for statistics
 * @dep: what to depend on
 * @mask: the components of @dep that count
 *
 * The way of a repeated call is a lookup and a compare.
 *
 * Context: any, interrupts off included.
 * Return: whether the key depended on less before.
 */
bool spec_merge(const void *key, enum spec_channel_id ch,
		const struct spec_dep *dep, u32 mask)
{
	if (covered(key, dep, mask)) {
		/*
		 * Then all that shares memory with it is covered, too: unless
		 * somebody is about to see to that.  The entry before the mark;
		 * pairs with smp_mb__after_atomic() in flow/memory.c.
		 */
		smp_rmb();
		if (unlikely(atomic_read(&spec_unsettled)))
			spec_mapped_wait();
		return false;
	}
	if (unlikely(spec_mapped(key)))
		return spec_mapped_merge(key, ch, dep, mask);
	raise(key, ch, dep, mask);
	/* The entry before the link; pairs with smp_mb() in flow/memory.c. */
	smp_mb();
	if (unlikely(spec_mapped(key)))
		spec_mapped_merge(key, ch, dep, mask);
	return true;
}

/* Does @to depend on all that @from depends on, pending or not? */
static __always_inline bool is_as_late(const struct spec_entry *to,
				       const struct spec_entry *from)
{
	u64 only = READ_ONCE(from->only);
	u32 mask;

	/* Who finds the word of @to finds its dependency. */
	if (likely(only == smp_load_acquire(&to->only)))
		return true;
	/* The mask of @from before its sequences. */
	mask = smp_load_acquire(&from->dep.mask);
	return spec_dep_covers(&to->dep, &from->dep, mask);
}

/*
 * Is there nothing to pass on, or has it been passed on before?  The way of all
 * repeated calls: two lookups and a compare, without a copy.  Whether @from still
 * waits for what it depends on does not matter when @to has it, too.  Else, and
 * in all special cases, the answer is no.
 */
static __always_inline bool settled(const void *from, const void *to,
				    u64 __percpu *count)
{
	const struct spec_entry *f, *t;
	bool arrived;

	rcu_read_lock_sched();
	f = spec_find(from);
	if (!f) {
		rcu_read_unlock_sched();
		smp_rmb();	/* as in spec_merge() */
		return likely(!atomic_read(&spec_unsettled));
	}
	t = spec_find(to);
	arrived = t && is_as_late(t, f);
	rcu_read_unlock_sched();
	smp_rmb();	/* as in spec_merge() */
	if (unlikely(!arrived || atomic_read(&spec_unsettled)))
		return false;
	this_cpu_inc(*count);
	return true;
}

static noinline void pass(const void *from, const void *to,
			  enum spec_channel_id ch)
{
	struct spec_dep dep;
	u32 mask = spec_read(from, &dep);

	if (!mask)
		return;
	if (spec_merge(to, ch, &dep, mask))
		trace_put(from, to, ch, mask);
	spec_count(puts, ch);
}

static noinline void take(const void *key, const void *self,
			  enum spec_channel_id ch)
{
	struct spec_dep dep;
	u32 mask = spec_read(key, &dep);

	if (!mask)
		return;
	if (spec_merge(self, ch, &dep, mask))
		trace_take(key, self, ch, mask);
	spec_count(takes, ch);
}

static __always_inline void try_pass(const void *from, const void *to,
				     enum spec_channel_id ch)
{
	if (!settled(from, to, &spec_stats.puts[ch]))
		pass(from, to, ch);
}

static __always_inline void try_take(const void *key, const void *self,
				     enum spec_channel_id ch)
{
	if (!settled(key, self, &spec_stats.takes[ch]))
		take(key, self, ch);
}

/*
 * nfsd alone among the kernel threads: what it reads and promises leaves by the
 * socket on which it answers, after all locks have been let go, and there it
 * can wait.  (A name that no process can give to a kernel thread.)
 */
const void *spec_self_kernel(void)
{
	const unsigned int flags = current->flags &
		(PF_KTHREAD | PF_MEMALLOC | PF_LOCAL_THROTTLE);

	return flags == PF_KTHREAD && !strcmp(current->comm, "nfsd") ?
		current : NULL;
}

static noinline void put_special(const void *key, enum spec_channel_id ch)
{
	const void *self = spec_self_kernel();

	if (self)
		try_pass(self, key, ch);
}

static noinline void take_special(const void *key, enum spec_channel_id ch)
{
	const void *self = spec_self_kernel();

	if (self)
		try_take(key, self, ch);
}

/*
 * What the inlines in object.h do when anything depends on anything.  All that
 * is rare is a tail call, so that no register needs saving.
 */
notrace void __spec_pass(const void *from, const void *to, enum spec_channel_id ch)
{
	try_pass(from, to, ch);
}

notrace void __spec_put(const void *key, enum spec_channel_id ch)
{
	if (unlikely(spec_self_special()))
		put_special(key, ch);
	else
		try_pass(spec_self_user(), key, ch);
}

notrace void __spec_take(const void *key, enum spec_channel_id ch)
{
	if (unlikely(spec_self_special()))
		take_special(key, ch);
	else
		try_take(key, spec_self_user(), ch);
}

static void free_entry(struct rcu_head *rcu)
{
	kmem_cache_free(entry_cache, container_of(rcu, struct spec_entry, rcu));
}

/* Caller holds the lock of the entry's bucket. */
static void drop_entry(struct spec_entry *e)
{
	hlist_del_rcu(&e->node);
	atomic_dec(&speculator_active);
	call_rcu(&e->rcu, free_entry);
}

/**
 * spec_forget - the object of a key has gone and its address will be reused
 * @key: any key
 *
 * Saves a needless dependency of the next owner; flow/process.c uses it for a
 * process that exits, flow/inode.c for an inode that is evicted.  Must not be
 * called while the object can still be seen.
 *
 * Context: any.
 */
void spec_forget(const void *key)
{
	unsigned int bucket = hash_ptr(key, SPEC_BUCKET_BITS);
	raw_spinlock_t *lock = &bucket_locks[bucket & ((1 << LOCK_BITS) - 1)];
	struct spec_entry *e;
	unsigned long flags;

	raw_spin_lock_irqsave(lock, flags);
	e = spec_find(key);
	if (e)
		drop_entry(e);
	raw_spin_unlock_irqrestore(lock, flags);
}

/**
 * spec_sweep - forget what has been released
 * @drop: sources that are gone: their components go too
 *
 * Context: process; may sleep.
 */
void spec_sweep(u32 drop)
{
	unsigned int bucket;
	u32 left;

	for (bucket = 0; bucket < ARRAY_SIZE(spec_buckets); bucket++) {
		raw_spinlock_t *lock =
			&bucket_locks[bucket & ((1 << LOCK_BITS) - 1)];
		struct hlist_node *tmp;
		struct spec_entry *e;

		if (hlist_empty(&spec_buckets[bucket]))
			continue;
		raw_spin_lock_irq(lock);
		hlist_for_each_entry_safe(e, tmp, &spec_buckets[bucket], node) {
			/* Also so that no component gets old enough to wrap. */
			WRITE_ONCE(e->dep.mask, ~drop &
				   spec_dep_pending(&e->dep, &spec_marks));
			note_only(e);
			if (!e->dep.mask)
				drop_entry(e);
		}
		raw_spin_unlock_irq(lock);
		cond_resched();
	}
	raw_spin_lock_irq(&everyone_lock);
	left = spec_dep_pending(&spec_everyone, &spec_marks) & ~drop;
	if (spec_everyone.mask && !left) {
		atomic_dec(&speculator_active);
		atomic_dec(&spec_unsettled);
	}
	WRITE_ONCE(spec_everyone.mask, left);
	raw_spin_unlock_irq(&everyone_lock);
}

/**
 * spec_object_show - debugfs "objects": entries per channel that made them
 * @m: seq_file
 *
 * Context: process.
 */
void spec_object_show(struct seq_file *m)
{
	unsigned int count[SPEC_CH_NR] = {}, bucket, i;
	struct spec_entry *e;

	for (bucket = 0; bucket < ARRAY_SIZE(spec_buckets); bucket++) {
		rcu_read_lock_sched();
		hlist_for_each_entry_rcu(e, &spec_buckets[bucket], node)
			count[e->ch]++;
		rcu_read_unlock_sched();
	}
	seq_puts(m, "made_by entries\n");
	for (i = 0; i < SPEC_CH_NR; i++)
		seq_printf(m, "%s %u\n", spec_channel_names[i], count[i]);
	seq_printf(m, "all %d\n", atomic_read(&speculator_active));
	seq_printf(m, "limit %lu\n", READ_ONCE(max_objects.value));
	seq_printf(m, "shared_by_all 0x%x\n",
		   spec_dep_pending(&spec_everyone, &spec_marks));
}

/**
 * spec_object_init - make the table
 *
 * Return: 0 or -ENOMEM.
 */
int spec_object_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(bucket_locks); i++)
		raw_spin_lock_init(&bucket_locks[i]);
	entry_cache = KMEM_CACHE(spec_entry, 0);
	return entry_cache ? 0 : -ENOMEM;
}

/**
 * spec_object_exit - empty and free the table
 *
 * No source is registered any more, so a sweep takes everything.
 */
void spec_object_exit(void)
{
	spec_sweep(~0U);
	rcu_barrier();
	kmem_cache_destroy(entry_cache);
}
