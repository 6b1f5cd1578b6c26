/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in block devices between the kernels we run on. */
#ifndef _COMPAT_BDEV_H
#define _COMPAT_BDEV_H

#include <linux/blkdev.h>
#include <linux/version.h>

/* The page cache of a block device. */
static inline struct address_space *compat_bdev_mapping(struct block_device *b)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	return b->bd_inode->i_mapping;
#else
	return b->bd_mapping;
#endif
}

#endif /* _COMPAT_BDEV_H */
