// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes that leave memory while something is not committed, and come back.
 *
 * The dependency of a file is on its struct inode (flow/file.c), and the kernel
 * frees that when it needs the memory: by then what was changed may be in buffers
 * of a journal, or on another disk, and the next reader makes a new one of it. So
 * the dependency stays at the number of the inode meanwhile.
 */

#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/magic.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../source.h"
#include "file.h"

/*
 * The key of an inode that is not in memory.  It is no address of the kernel's,
 * whose first bit is set: spec_forget() for one must not meet it.  Two inodes that
 * share it cost a needless dependency.
 */
static const void *place_of(const struct inode *inode)
{
	u64 sb = hash_64((uintptr_t)inode->i_sb, 64);

	return (const void *)(uintptr_t)(hash_64(sb ^ inode->i_ino, 64) >> 1 | 1);
}

/* By another number each time it is read in? */
static bool has_no_number(const struct super_block *sb)
{
	return sb->s_magic == MSDOS_SUPER_MAGIC || sb->s_magic == EXFAT_SUPER_MAGIC;
}

static void leave(const struct inode *inode, const struct spec_dep *dep, u32 mask)
{
	const struct super_block *sb = inode->i_sb;

	if (!spec_has_disk(sb))
		return;
	/* Mounted again it is another super block. */
	if ((sb->s_flags & SB_ACTIVE) && !has_no_number(sb)) {
		spec_pass(inode, place_of(inode), SPEC_CH_FILE);
		return;
	}
	/*
	 * Nobody knows by what key it will be looked for.  What a failure has lost
	 * must not stop all that runs on the machine, though.
	 */
	mask &= ~READ_ONCE(spec_marks.failed);
	if (mask)
		spec_merge_everyone(dep, mask);
}

static noinline void evict(const struct inode *inode)
{
	struct spec_dep dep;
	u32 mask = spec_read(inode, &dep);

	if (mask && inode->i_nlink)
		leave(inode, &dep, mask);
	/* The next inode may get this address. */
	spec_forget(inode);
}

/*
 * Every file system calls it for an inode that is evicted, before the next reader
 * can make another of it (remove_inode_hash()).
 */
DEFINE_HOOK_BEFORE_VOID(clear_inode, (struct inode *inode), (inode))
{
	if (spec_maybe(inode))
		evict(inode);
}

/* It has been read from the disk; before anybody can look at it. */
DEFINE_HOOK_BEFORE_VOID(unlock_new_inode, (struct inode *inode), (inode))
{
	spec_pass(place_of(inode), inode, SPEC_CH_FILE);
}

static struct spec_hook *const hooks[] = {
	&hook_clear_inode,
	&hook_unlock_new_inode,
};

const struct spec_channel spec_flow_inode = {
	.name = "inode",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
