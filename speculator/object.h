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

extern struct hlist_head spec_buckets[1 << SPEC_BUCKET_BITS];
extern struct spec_dep spec_everyone;
extern struct spec_marks spec_marks;

/* Most lookups end here: an empty bucket is "no dependency". */
static __always_inline bool spec_maybe(const void *key)
{
	if (likely(!atomic_read(&speculator_active)))
		return false;
	return READ_ONCE(spec_buckets[hash_ptr(key, SPEC_BUCKET_BITS)].first) ||
	       unlikely(READ_ONCE(spec_everyone.mask));
}

const void *spec_self_kernel(void);

/*
 * The key of the running process; NULL for what must never be held back: kernel
 * threads, memory reclaim, and the user-space half of a block device
 * (PR_SET_IO_FLUSHER), all of which a commit may be waiting for.
 * A task that is past exit_mm() is its own holder (see flow/process.c), and so
 * is a thread of nfsd: it acts for somebody outside.
 */
static __always_inline const void *spec_self(void)
{
	if (unlikely(current->flags &
		     (PF_KTHREAD | PF_MEMALLOC | PF_LOCAL_THROTTLE)))
		return spec_self_kernel();
	if (likely(current->mm))
		return current->mm;
	return current;
}

#define SPEC_LINK_BITS	13

/*
 * Shared memory (flow/memory.c): how many links lead on from keys with this
 * hash, and whether a dependency is just being spread along them.
 */
extern atomic_t spec_links[1 << SPEC_LINK_BITS];
extern int spec_spreading;

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
	if (spec_maybe(from))
		__spec_pass(from, to, ch);
}

/* The object now depends on what the running process depends on.  To be called
 * before the operation makes anything visible.  Any context.
 */
static __always_inline void spec_put(const void *key, enum spec_channel_id ch)
{
	const void *self = spec_self();

	if (self && spec_maybe(self))
		__spec_put(key, ch);
}

/* The running process now depends on what the object depends on.  To be called
 * after the operation observed.  Any context.
 */
static __always_inline void spec_take(const void *key, enum spec_channel_id ch)
{
	if (spec_maybe(key))
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
