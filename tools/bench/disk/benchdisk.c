// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/benchdisk: a disk in memory that takes as long as a real one.
 *
 * For benchmarks in virtual time (tools/bench): a request is served at once, and
 * is completed by a timer when the modelled disk would have completed it. One
 * server, first in, first out; a volatile write cache, which FLUSH empties in a
 * fixed time whatever is in it. There is no seek model, and what a power cut
 * would take away is not modelled: tools/demo has a disk for that.
 *
 * The parameter `model` chooses the disk and can be written at any time; a file
 * system is made fastest on "zero". What was served is counted in debugfs,
 * benchdisk/stat; writing to it starts at zero.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/debugfs.h>
#include <linux/highmem.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/xarray.h>
#include "../../../compat/blkmq.h"

#define QUEUE_DEPTH	32
#define MAX_SECTORS	2048	/* in a request */

/**
 * struct model - how long a disk takes, in nanoseconds
 * @name: value of the parameter
 * @read: a read that does not begin where the last request ended
 * @write: a write; to the cache, so its place does not matter
 * @kib: transfer of 1024 bytes, for both
 * @flush: FLUSH after anything was written
 * @clean: FLUSH of an empty cache, and everything else
 * @fua: what a FUA write takes longer than a write
 * @has_fua: it knows FUA; else the block layer sends a FLUSH after the write
 */
struct model {
	const char *name;
	u64 read;
	u64 write;
	u64 kib;
	u64 flush;
	u64 clean;
	u64 fua;
	bool has_fua;
};

#define USEC 1000ULL

static const struct model models[] = {
	{	/* 7200 rpm, 120 MiB/s; libata does not use FUA by default */
		.name = "hdd",
		.read = 8333 * USEC, .write = 60 * USEC, .kib = 8138,
		.flush = 8333 * USEC, .clean = 20 * USEC,
	}, {	/* network volume, 250 MiB/s */
		.name = "cloud",
		.read = 500 * USEC, .write = 50 * USEC, .kib = 3906,
		.flush = 1500 * USEC, .clean = 20 * USEC,
		.fua = 1500 * USEC, .has_fua = true,
	}, {	/* consumer's, 2 GiB/s */
		.name = "nvme",
		.read = 80 * USEC, .write = 15 * USEC, .kib = 477,
		.flush = 100 * USEC, .clean = 20 * USEC,
		.fua = 100 * USEC, .has_fua = true,
	}, {	/* the same with power-loss protection */
		.name = "plp",
		.read = 80 * USEC, .write = 15 * USEC, .kib = 477,
		.flush = 20 * USEC, .clean = 20 * USEC,
		.fua = 5 * USEC, .has_fua = true,
	}, {
		.name = "zero",
	},
};

/**
 * struct counters - what was served
 * @reads: requests
 * @writes: requests, those with FUA among them
 * @flushes: FLUSH requests
 * @clean_flushes: those among them that found the cache empty
 * @fuas: FUA writes
 * @read_bytes: bytes
 * @written_bytes: bytes
 * @busy_ns: sum of the service times
 */
struct counters {
	u64 reads;
	u64 writes;
	u64 flushes;
	u64 clean_flushes;
	u64 fuas;
	u64 read_bytes;
	u64 written_bytes;
	u64 busy_ns;
};

/**
 * struct benchdisk - the disk
 * @tags: of its one queue
 * @gendisk: NULL before it is there and after it is gone
 * @pages: contents by page number; what was never written is not there
 * @timer: expires when @current_rq is to be completed
 * @lock: protects all below, and @timer against two starts; taken in the timer
 * @queue: requests that wait for the server, struct command
 * @current_rq: the one that is being served, or NULL
 * @next: where the last request ended
 * @dirty: something was written since the last FLUSH
 * @model: how long it all takes
 * @count: what was served
 * @debugfs: the folder
 * @major: device number
 */
struct benchdisk {
	struct blk_mq_tag_set tags;
	struct gendisk *gendisk;
	struct xarray pages;
	struct hrtimer timer;
	spinlock_t lock;	/* of the server */
	struct list_head queue;
	struct request *current_rq;
	sector_t next;
	bool dirty;
	const struct model *model;
	struct counters count;
	struct dentry *debugfs;
	int major;
};

/**
 * struct command - our part of a request
 * @node: in benchdisk.queue
 */
struct command {
	struct list_head node;
};

static struct benchdisk disk = {
	.lock = __SPIN_LOCK_UNLOCKED(disk.lock),
	.queue = LIST_HEAD_INIT(disk.queue),
	.model = models,
};

static unsigned long size_mb = 1024;
module_param(size_mb, ulong, 0444);
MODULE_PARM_DESC(size_mb, "size in MiB; memory is used for what was written only (default 1024)");

/* --- the model ---------------------------------------------------------- */

static int model_set(const char *val, const struct kernel_param *kp)
{
	const struct model *m;

	for (m = models; m < models + ARRAY_SIZE(models); m++) {
		if (!sysfs_streq(val, m->name))
			continue;
		spin_lock_irq(&disk.lock);
		disk.model = m;
		spin_unlock_irq(&disk.lock);
		/* At load time the parameters come before the disk. */
		if (disk.gendisk)
			compat_write_cache(disk.gendisk, m->has_fua);
		return 0;
	}
	return -EINVAL;
}

static int model_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", READ_ONCE(disk.model)->name);
}

static const struct kernel_param_ops model_ops = {
	.set = model_set,
	.get = model_get,
};
module_param_cb(model, &model_ops, NULL, 0644);
MODULE_PARM_DESC(model, "hdd (default), cloud, nvme, plp or zero");

/* Nanoseconds that @rq takes from now; counts it. Needs the lock. */
static u64 service_time(struct request *rq)
{
	const struct model *m = disk.model;
	struct counters *c = &disk.count;
	unsigned int bytes = blk_rq_bytes(rq);
	u64 ns = m->kib * bytes / 1024;

	switch (req_op(rq)) {
	case REQ_OP_FLUSH:
		c->flushes++;
		if (!disk.dirty)
			c->clean_flushes++;
		ns = disk.dirty ? m->flush : m->clean;
		disk.dirty = false;
		break;
	case REQ_OP_WRITE:
		c->writes++;
		c->written_bytes += bytes;
		ns += m->write;
		if (rq->cmd_flags & REQ_FUA) {
			c->fuas++;
			ns += m->fua;
		} else {
			disk.dirty = true;
		}
		disk.next = blk_rq_pos(rq) + blk_rq_sectors(rq);
		break;
	case REQ_OP_READ:
		c->reads++;
		c->read_bytes += bytes;
		if (blk_rq_pos(rq) != disk.next)
			ns += m->read;
		disk.next = blk_rq_pos(rq) + blk_rq_sectors(rq);
		break;
	default:
		ns = m->clean;
	}
	c->busy_ns += ns;
	/* A timer cannot expire now. */
	return max(ns, 1ULL);
}

/*
 * Begin with the first request that waits. Returns the time it takes, or 0 when
 * there is none. Needs the lock.
 */
static u64 serve_next(void)
{
	struct command *cmd = list_first_entry_or_null(&disk.queue,
						       struct command, node);

	if (!cmd) {
		disk.current_rq = NULL;
		return 0;
	}
	list_del(&cmd->node);
	disk.current_rq = blk_mq_rq_from_pdu(cmd);
	return service_time(disk.current_rq);
}

static enum hrtimer_restart served(struct hrtimer *timer)
{
	struct request *done;
	unsigned long flags;
	u64 ns;

	spin_lock_irqsave(&disk.lock, flags);
	done = disk.current_rq;
	ns = serve_next();
	if (ns)
		hrtimer_forward_now(timer, ns_to_ktime(ns));
	spin_unlock_irqrestore(&disk.lock, flags);

	blk_mq_complete_request(done);
	return ns ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

/* --- requests ----------------------------------------------------------- */

/* The page of @sector; with @alloc it is made if it was never written. */
static struct page *page_of(sector_t sector, bool alloc)
{
	unsigned long index = sector >> PAGE_SECTORS_SHIFT;
	struct page *page = xa_load(&disk.pages, index);
	struct page *old;

	if (page || !alloc)
		return page;
	page = alloc_page(GFP_NOIO | __GFP_ZERO);
	if (!page)
		return NULL;
	old = xa_cmpxchg(&disk.pages, index, NULL, page, GFP_NOIO);
	if (!old)
		return page;
	__free_page(page);
	return xa_is_err(old) ? NULL : old;
}

static blk_status_t copy_segment(struct bio_vec *bv, sector_t sector,
				 bool write)
{
	char *data = bvec_kmap_local(bv);
	blk_status_t status = BLK_STS_OK;
	unsigned int done, offset, len;
	struct page *page;

	for (done = 0; done < bv->bv_len; done += len) {
		offset = (sector & (PAGE_SECTORS - 1)) << SECTOR_SHIFT;
		len = min_t(unsigned int, bv->bv_len - done,
			    PAGE_SIZE - offset);
		page = page_of(sector, write);
		if (!page && write) {
			status = BLK_STS_RESOURCE;
			break;
		}
		if (!page)
			memset(data + done, 0, len);
		else if (write)
			memcpy(page_address(page) + offset, data + done, len);
		else
			memcpy(data + done, page_address(page) + offset, len);
		sector += len >> SECTOR_SHIFT;
	}
	kunmap_local(data);
	return status;
}

static blk_status_t transfer(struct request *rq)
{
	bool write = req_op(rq) == REQ_OP_WRITE;
	sector_t sector = blk_rq_pos(rq);
	struct req_iterator iter;
	blk_status_t status;
	struct bio_vec bv;

	if (!write && req_op(rq) != REQ_OP_READ)
		return BLK_STS_OK;
	rq_for_each_segment(bv, rq, iter) {
		status = copy_segment(&bv, sector, write);
		if (status)
			return status;
		sector += bv.bv_len >> SECTOR_SHIFT;
	}
	return BLK_STS_OK;
}

static blk_status_t disk_queue_rq(struct blk_mq_hw_ctx *hctx,
				  const struct blk_mq_queue_data *bd)
{
	struct command *cmd = blk_mq_rq_to_pdu(bd->rq);
	blk_status_t status;
	unsigned long flags;

	blk_mq_start_request(bd->rq);
	status = transfer(bd->rq);
	if (status)
		return BLK_STS_IOERR;

	spin_lock_irqsave(&disk.lock, flags);
	list_add_tail(&cmd->node, &disk.queue);
	if (!disk.current_rq)
		hrtimer_start(&disk.timer, ns_to_ktime(serve_next()),
			      HRTIMER_MODE_REL);
	spin_unlock_irqrestore(&disk.lock, flags);
	return BLK_STS_OK;
}

static void disk_complete(struct request *rq)
{
	blk_mq_end_request(rq, BLK_STS_OK);
}

static const struct blk_mq_ops queue_ops = {
	.queue_rq = disk_queue_rq,
	.complete = disk_complete,
};

static const struct block_device_operations disk_ops = {
	.owner = THIS_MODULE,
};

/* --- debugfs ------------------------------------------------------------ */

static int stat_show(struct seq_file *m, void *unused)
{
	struct counters c;

	spin_lock_irq(&disk.lock);
	c = disk.count;
	spin_unlock_irq(&disk.lock);
	seq_printf(m, "reads: %llu\n", c.reads);
	seq_printf(m, "writes: %llu\n", c.writes);
	seq_printf(m, "flushes: %llu\n", c.flushes);
	seq_printf(m, "clean_flushes: %llu\n", c.clean_flushes);
	seq_printf(m, "fuas: %llu\n", c.fuas);
	seq_printf(m, "read_bytes: %llu\n", c.read_bytes);
	seq_printf(m, "written_bytes: %llu\n", c.written_bytes);
	seq_printf(m, "busy_ns: %llu\n", c.busy_ns);
	return 0;
}

static int stat_open(struct inode *inode, struct file *file)
{
	return single_open(file, stat_show, NULL);
}

static ssize_t stat_write(struct file *file, const char __user *data,
			  size_t size, loff_t *pos)
{
	spin_lock_irq(&disk.lock);
	memset(&disk.count, 0, sizeof(disk.count));
	spin_unlock_irq(&disk.lock);
	return size;
}

static const struct file_operations stat_fops = {
	.owner = THIS_MODULE,
	.open = stat_open,
	.read = seq_read,
	.write = stat_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* --- life --------------------------------------------------------------- */

static void free_pages_of_disk(void)
{
	struct page *page;
	unsigned long index;

	xa_for_each(&disk.pages, index, page)
		__free_page(page);
	xa_destroy(&disk.pages);
}

static int make_gendisk(void)
{
	struct gendisk *gendisk = compat_alloc_disk(&disk.tags, MAX_SECTORS);
	int err;

	if (IS_ERR(gendisk))
		return PTR_ERR(gendisk);
	gendisk->major = disk.major;
	gendisk->minors = 1;
	gendisk->fops = &disk_ops;
	strscpy(gendisk->disk_name, KBUILD_MODNAME, DISK_NAME_LEN);
	set_capacity(gendisk, size_mb << (20 - SECTOR_SHIFT));
	compat_write_cache(gendisk, disk.model->has_fua);
	err = add_disk(gendisk);
	if (err) {
		put_disk(gendisk);
		return err;
	}
	disk.gendisk = gendisk;
	return 0;
}

static int __init benchdisk_init(void)
{
	int err;

	xa_init(&disk.pages);
	hrtimer_init(&disk.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	disk.timer.function = served;

	disk.major = register_blkdev(0, KBUILD_MODNAME);
	if (disk.major < 0)
		return disk.major;
	disk.tags.ops = &queue_ops;
	disk.tags.nr_hw_queues = 1;
	disk.tags.queue_depth = QUEUE_DEPTH;
	disk.tags.numa_node = NUMA_NO_NODE;
	disk.tags.cmd_size = sizeof(struct command);
	/* Blocking: a write may allocate pages. */
	disk.tags.flags = BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_BLOCKING;
	err = blk_mq_alloc_tag_set(&disk.tags);
	if (err)
		goto unregister;
	err = make_gendisk();
	if (err)
		goto free_tags;
	disk.debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("stat", 0644, disk.debugfs, NULL, &stat_fops);
	return 0;

free_tags:
	blk_mq_free_tag_set(&disk.tags);
unregister:
	unregister_blkdev(disk.major, KBUILD_MODNAME);
	return err;
}

static void __exit benchdisk_exit(void)
{
	struct gendisk *gendisk = disk.gendisk;

	debugfs_remove(disk.debugfs);
	del_gendisk(gendisk);
	put_disk(gendisk);
	hrtimer_cancel(&disk.timer);
	blk_mq_free_tag_set(&disk.tags);
	unregister_blkdev(disk.major, KBUILD_MODNAME);
	free_pages_of_disk();
}

module_init(benchdisk_init);
module_exit(benchdisk_exit);

MODULE_DESCRIPTION("Disk in memory with the timing of a real one");
MODULE_LICENSE("GPL");
