/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in making a disk between the kernels we run on. */
#ifndef _COMPAT_BLKMQ_H
#define _COMPAT_BLKMQ_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/version.h>

/*
 * A disk that does not turn, with logical blocks of 512 bytes and physical ones of
 * a page, not yet added; requests have at most @max_sectors.
 */
static inline struct gendisk *compat_alloc_disk(struct blk_mq_tag_set *set,
						unsigned int max_sectors)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	struct gendisk *gendisk = blk_mq_alloc_disk(set, NULL);
	struct request_queue *q;

	if (IS_ERR(gendisk))
		return gendisk;
	q = gendisk->queue;
	blk_queue_logical_block_size(q, SECTOR_SIZE);
	blk_queue_physical_block_size(q, PAGE_SIZE);
	blk_queue_max_hw_sectors(q, max_sectors);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	return gendisk;
#else
	struct queue_limits limits = {
		.logical_block_size = SECTOR_SIZE,
		.physical_block_size = PAGE_SIZE,
		.max_hw_sectors = max_sectors,
	};

	return blk_mq_alloc_disk(set, &limits, NULL);
#endif
}

/* The disk has a volatile write cache, and knows FUA or not. */
static inline void compat_write_cache(struct gendisk *gendisk, bool fua)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	blk_queue_write_cache(gendisk->queue, true, fua);
#else
	struct queue_limits limits = queue_limits_start_update(gendisk->queue);

	limits.features |= BLK_FEAT_WRITE_CACHE;
	if (fua)
		limits.features |= BLK_FEAT_FUA;
	else
		limits.features &= ~BLK_FEAT_FUA;
	/* Cannot fail: no limit changes but these. */
	WARN_ON(queue_limits_commit_update(gendisk->queue, &limits));
#endif
}

#endif /* _COMPAT_BLKMQ_H */
