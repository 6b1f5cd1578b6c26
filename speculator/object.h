/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who depends on what: one table from a pointer to a dependency.
 *
 * The key of a process is its mm (all threads share, paper section 3.5), of a
 * pipe its pipe_inode_info, of a file its inode, of a socket its sock, and so
 * on.  The pointer is only compared, never followed, and no reference is held:
 * an entry that outlives its object is a needless dependency, and it dies when
 * its sequence has been released.  So there are no lifetime hooks.
 *
 * When memory for an entry cannot be had the dependency goes to
 * @spec_everyone, which every lookup merges in: all wait a little, nobody leaks.
 */
#ifndef _SPEC_OBJECT_H
#define _SPEC_OBJECT_H

#include <linux/hash.h>
#include <linux/list.h>
#include <linux/sched.h>
#include "channel.h"
#include "deps.h"

#define SPEC_BUCKET_BITS	14

/**
 * struct spec_entry - one key and its dependency
 * @node:	in its bucket; RCU for readers, the bucket's lock for writers
 * @key:	the pointer, compared only
 * @ch:		the channel that made the entry, for statistics
 * @dep:	raised under the bucket's lock, read without
 * @only:	@dep in a word when it is on a single source: two entries that have
 *		the same word depend on the same.  Else, and while @dep is being
 *		raised, the address of the entry, which is no other's word:
 *		whoever has seen anything of what is new must not find the old
 *		word and pass on too little
 * @rcu:	frees the entry
 */
struct spec_entry {
	struct hlist_node node;
	const void *key;
	enum spec_channel_id ch;
	struct spec_dep dep;
	u64 only;
	struct rcu_head rcu;
};

extern struct hlist_head spec_buckets[1 << SPEC_BUCKET_BITS];
extern struct spec_dep spec_everyone;
extern struct spec_marks spec_marks;

/* Most lookups end here: an empty bucket is "no dependency". */
static __always_inline bool spec_empty(const void *key)
{
	return !READ_ONCE(spec_buckets[hash_ptr(key, SPEC_BUCKET_BITS)].first) &&
	       likely(!READ_ONCE(spec_everyone.mask));
}

static __always_inline bool spec_maybe(const void *key)
{
	return unlikely(atomic_read(&speculator_active)) && !spec_empty(key);
}

/*
 * Readers are under rcu_read_lock_sched(), which is an increment and a decrement
 * where rcu_read_lock() is two calls, and for which call_rcu() waits as well.
 */
static __always_inline struct spec_entry *spec_find(const void *key)
{
	struct spec_entry *e;

	hlist_for_each_entry_rcu(e, &spec_buckets[hash_ptr(key, SPEC_BUCKET_BITS)],
				 node)
		if (e->key == key)
			return e;
	return NULL;
}

/*
 * While there is a single source: the dependency on the latest that anything
 * depends on, in the form of @only; else 0, which is nobody's.
 */
extern u64 spec_latest;

const void *spec_self_kernel(void);

static __always_inline bool spec_self_special(void)
{
	return current->flags & (PF_KTHREAD | PF_MEMALLOC | PF_LOCAL_THROTTLE);
}

static __always_inline const void *spec_self_user(void)
{
	const void *mm = READ_ONCE(current->mm);

	return likely(mm) ? mm : current;
}

/*
 * The key of the running process; NULL for what must never be held back: kernel
 * threads, memory reclaim, and the user-space half of a block device
 * (PR_SET_IO_FLUSHER), all of which a commit may be waiting for.
 * A task that is past exit_mm() is its own holder (see flow/process.c), and so
 * is a thread of nfsd: it acts for somebody outside.
 */
static __always_inline const void *spec_self(void)
{
	if (unlikely(spec_self_special()))
		return spec_self_kernel();
	return spec_self_user();
}

#define SPEC_LINK_BITS	13

/* Shared memory (flow/memory.c): how many links lead on from keys with this hash. */
extern atomic_t spec_links[1 << SPEC_LINK_BITS];

/*
 * Reasons why what two entries say is not all: a dependency is just being spread
 * along links, or everybody has one.
 */
extern atomic_t spec_unsettled;

/*
 * Does @key depend on @seq of the source in @slot already, and all that it
 * shares memory with?  If so, anybody may be told without another look.
 */
static __always_inline bool spec_has(const void *key, int slot, u32 seq)
{
	const struct spec_entry *e;
	bool has;

	rcu_read_lock_sched();
	e = spec_find(key);
	has = e && spec_dep_has(&e->dep, slot, seq);
	rcu_read_unlock_sched();
	/* As in spec_merge(); also before @only, see spec_merge_one(). */
	smp_rmb();
	return has && !atomic_read(&spec_unsettled);
}

/*
 * Does the running process depend on the latest there is?  Then it depends on
 * all that it has just observed, whatever that was, and need not look: who makes
 * something dependent has raised @spec_latest before.  (Nor need the tasks that
 * take nothing anyway, for which the answer may be either.)
 */
static __always_inline bool spec_self_is_latest(void)
{
	const struct spec_entry *e;
	bool latest;
	u64 word;

	smp_rmb();	/* the observation, then the latest */
	word = READ_ONCE(spec_latest);
	rcu_read_lock_sched();
	e = spec_find(spec_self_user());
	latest = e && READ_ONCE(e->only) == word;
	rcu_read_unlock_sched();
	smp_rmb();	/* as in spec_merge() */
	return latest && !atomic_read(&spec_unsettled);
}

/* Does what comes to @key go on to others at once? */
static __always_inline bool spec_mapped(const void *key)
{
	return atomic_read(&spec_links[hash_ptr(key, SPEC_LINK_BITS)]);
}

bool spec_mapped_merge(const void *key, enum spec_channel_id ch,
		       const struct spec_dep *dep, u32 mask);
void spec_mapped_wait(void);
bool spec_merge_one(const void *key, enum spec_channel_id ch,
		    const struct spec_dep *dep, u32 mask);
void spec_merge_everyone(const struct spec_dep *dep, u32 mask);
u32 spec_mask(const void *key);
u32 spec_read(const void *key, struct spec_dep *out);
bool spec_merge(const void *key, enum spec_channel_id ch,
		const struct spec_dep *dep, u32 mask);
void spec_forget(const void *key);
void spec_sweep(u32 drop);
void __spec_pass(const void *from, const void *to, enum spec_channel_id ch);
void __spec_put(const void *key, enum spec_channel_id ch);
void __spec_take(const void *key, enum spec_channel_id ch);
int spec_object_init(void);
void spec_object_exit(void);
void spec_object_show(struct seq_file *m);

/* @to now depends on what @from depends on.  Any context. */
static __always_inline void spec_pass(const void *from, const void *to,
				      enum spec_channel_id ch)
{
	if (unlikely(atomic_read(&speculator_active)))
		__spec_pass(from, to, ch);
}

/* The object now depends on what the running process depends on.  To be called
 * before the operation makes anything visible.  Any context.
 */
static __always_inline void spec_put(const void *key, enum spec_channel_id ch)
{
	if (unlikely(atomic_read(&speculator_active)))
		__spec_put(key, ch);
}

/* The running process now depends on what the object depends on.  To be called
 * after the operation observed.  Any context.
 */
static __always_inline void spec_take(const void *key, enum spec_channel_id ch)
{
	if (unlikely(atomic_read(&speculator_active)))
		__spec_take(key, ch);
}

/* What the running process still waits for: 0, or the mask and a copy. */
static __always_inline u32 spec_self_pending(struct spec_dep *out)
{
	const void *self = spec_self();

	if (!self || !spec_maybe(self))
		return 0;
	return spec_read(self, out);
}

#endif /* _SPEC_OBJECT_H */
