/* SPDX-License-Identifier: GPL-2.0 */
/* Files: what flow/file.c knows that others ask for. */
#ifndef _SPEC_FILE_H
#define _SPEC_FILE_H

#include <linux/fs.h>
#include "../source.h"

/**
 * enum spec_place - where a modification of a file system ends up
 * @SPEC_PLACE_SOURCE: under a commit source: its handles say all
 * @SPEC_PLACE_LOCAL: in this machine: the dependency goes to the inode
 * @SPEC_PLACE_FOREIGN: another machine, another process, or unknown: wait
 */
enum spec_place { SPEC_PLACE_SOURCE, SPEC_PLACE_LOCAL, SPEC_PLACE_FOREIGN };

enum spec_place spec_place(const struct super_block *sb);
enum spec_place spec_place_of(const struct super_block *sb, u32 own);
bool spec_has_disk(const struct super_block *sb);
u32 spec_owed(const struct super_block *sb, struct spec_dep *dep);
int spec_modify_of(const struct super_block *sb, u32 own,
		   enum spec_channel_id ch);
void spec_put_inode(struct inode *inode);
void spec_take_names(void);

/* As spec_modify_of(), which is for who knows the source. */
static inline int spec_modify(const struct super_block *sb,
			      enum spec_channel_id ch)
{
	return likely(spec_is_only(sb)) ? 0 :
		spec_modify_of(sb, spec_source_bit(sb), ch);
}

/* Does nothing depend on the inode, so that a look at its state takes nothing? */
static __always_inline bool spec_nothing_of_inode(const struct inode *inode)
{
	if (unlikely(inode_is_locked((struct inode *)inode)))
		return false;
	smp_rmb();	/* as in spec_take_inode() */
	return spec_empty(inode);
}

/* The running process saw the inode's state; call it after the observation. */
static __always_inline void spec_take_inode(struct inode *inode)
{
	if (likely(!atomic_read(&speculator_active)))
		return;
	/*
	 * An inode of a source may be in the middle of a change that can be
	 * seen but has not been put yet (speculator_taint_inode()): then its
	 * rwsem is held, and the change is in the latest transaction or before.
	 * Looking at the lock before the table: when it is free the put is done.
	 */
	if (unlikely(inode_is_locked(inode))) {
		struct speculator_source *source;

		/* Most often it is held by the running process. */
		if (spec_self_is_latest())
			return;

		rcu_read_lock();
		source = spec_source_of_sb(inode->i_sb);
		if (source)
			spec_take_source(source, SPEC_CH_FILE);
		rcu_read_unlock();
	}
	smp_rmb();	/* the lock before the table */
	spec_take(inode, SPEC_CH_FILE);
}

#endif /* _SPEC_FILE_H */
