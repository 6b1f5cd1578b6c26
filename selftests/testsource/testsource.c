// SPDX-License-Identifier: GPL-2.0
/*
 * A commit source without a disk.
 *
 * Lets the selftests make a process dependent, decide when what it depends on
 * becomes durable and let the source die, so that every flow and every output
 * can be tested without a file system.  It is also the proof that the border
 * between speculator and its sources is right: nothing in the core knows it.
 *
 * Everything is in debugfs, a directory per source, speculator-test/<n>/:
 *
 *   taint	read: the reader depends on a new sequence, which is what it
 *		reads.  Every read from the start of the file makes a new one.
 *		write: the writer depends on the sequence written; on a new one
 *		if it writes "next" or an empty line
 *   commit	write N: all up to N is durable; "all": all there is
 *   abort	write anything: the source will never commit again
 *   requested	the highest sequence output asked a commit for, and how many
 *		times one was asked for; "none 0" before the first
 *   auto	1: commit @delay_ms after a request.  0 (default): wait for commit
 *   delay_ms	see auto; default 10
 *   wait	read: what speculator_wait_current() returned, when it did
 *   state	latest, committed, requested, requests, aborted: one line
 *
 * Tainting by a read is there because a process that is tainted already would
 * wait for itself in a write: debugfs is not a file system the core knows.
 * For the same reason commit and abort are for a process that is clean.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <speculator.h>

#define TEST_SOURCES	4

static int nr = 1;
module_param(nr, int, 0444);
MODULE_PARM_DESC(nr, "number of commit sources, 1 to 4 (default 1)");

static uint start = 1000;
module_param(start, uint, 0444);
MODULE_PARM_DESC(start, "sequence that is durable already; 4294967290 to see them wrap (default 1000)");

static uint patience = 45;
module_param(patience, uint, 0444);
MODULE_PARM_DESC(patience, "seconds without a commit after which one happens by itself, so that a test that has made itself dependent fails instead of hanging; 0: never (default 45)");

/**
 * struct test_source - one commit source
 * @source:	what the core knows of it
 * @commit_mutex: one commit, or the failure, at a time, as the core expects of
 *		a source; outside @lock
 * @lock:	protects the rest.  Innermost: the core is never called under it,
 *		and the core asks for commits with its own locks held
 * @work:	the commit by itself
 * @rescue:	the commit when nobody has committed for @patience seconds
 * @latest:	highest sequence handed out
 * @committed:	all up to here is durable
 * @requested:	highest sequence a commit was asked for; valid if @requests
 * @requests:	how many times one was asked for
 * @delay_ms:	time from the request to the commit by itself
 * @automatic:	commit by itself
 * @aborted:	will never commit again
 */
struct test_source {
	struct speculator_source source;
	struct mutex commit_mutex;	/* see above */
	spinlock_t lock;	/* see above */
	struct delayed_work work;
	struct delayed_work rescue;
	u32 latest;
	u32 committed;
	u32 requested;
	u64 requests;
	u32 delay_ms;
	bool automatic;
	bool aborted;
};

static struct test_source sources[TEST_SOURCES];
static struct dentry *test_dir;

static bool seq_after(u32 a, u32 b)
{
	return (s32)(a - b) > 0;
}

/* The sequence of a new modification. */
static u32 test_next(struct test_source *t)
{
	u32 seq;

	spin_lock_irq(&t->lock);
	seq = ++t->latest;
	spin_unlock_irq(&t->lock);
	if (patience)
		schedule_delayed_work(&t->rescue, patience * HZ);
	return seq;
}

static int test_commit(struct test_source *t, u32 seq)
{
	int err = 0;

	cancel_delayed_work(&t->rescue);
	mutex_lock(&t->commit_mutex);
	spin_lock_irq(&t->lock);
	if (t->aborted)
		err = -EIO;
	else if (seq_after(seq, t->committed))
		t->committed = seq;
	if (seq_after(seq, t->latest))
		t->latest = seq;
	spin_unlock_irq(&t->lock);

	if (!err)
		speculator_released(&t->source, seq);
	mutex_unlock(&t->commit_mutex);
	return err;
}

static void test_commit_work(struct work_struct *work)
{
	struct test_source *t = container_of(to_delayed_work(work),
					     struct test_source, work);

	test_commit(t, READ_ONCE(t->requested));
}

static void test_rescue_work(struct work_struct *work)
{
	struct test_source *t = container_of(to_delayed_work(work),
					     struct test_source, rescue);

	pr_notice("%s: nobody has committed for %u seconds: committing\n",
		  t->source.name, patience);
	test_commit(t, READ_ONCE(t->latest));
}

/* Called from any context, spinlocks of the core and softirq included. */
static void test_request_commit(struct speculator_source *source, u32 seq,
				enum speculator_reason reason)
{
	struct test_source *t = container_of(source, struct test_source, source);
	unsigned long flags;

	spin_lock_irqsave(&t->lock, flags);
	if (!t->requests || seq_after(seq, t->requested))
		t->requested = seq;
	t->requests++;
	if (t->automatic && !t->aborted)
		schedule_delayed_work(&t->work, msecs_to_jiffies(t->delay_ms));
	spin_unlock_irqrestore(&t->lock, flags);
}

static const struct speculator_source_ops test_source_ops = {
	.request_commit = test_request_commit,
};

/*
 * The sequence that a write asks for, or @none if it names none: an empty line
 * or @word.
 */
static int test_parse(const char __user *ubuf, size_t len, const char *word,
		      bool *none, u32 *seq)
{
	char buf[16];

	*none = false;
	if (len >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, len))
		return -EFAULT;
	buf[len] = '\0';
	if (!*buf || sysfs_streq(buf, "") || sysfs_streq(buf, word)) {
		*none = true;
		return 0;
	}
	return kstrtou32(buf, 10, seq);
}

static ssize_t taint_read(struct file *file, char __user *ubuf, size_t len,
			  loff_t *ppos)
{
	struct test_source *t = file_inode(file)->i_private;
	char text[16];
	u32 seq;

	if (!*ppos) {
		seq = test_next(t);
		speculator_taint(&t->source, seq);
		file->private_data = (void *)(unsigned long)seq;
	}
	seq = (unsigned long)file->private_data;
	return simple_read_from_buffer(ubuf, len, ppos, text,
				       scnprintf(text, sizeof(text), "%u\n", seq));
}

static ssize_t taint_write(struct file *file, const char __user *ubuf,
			   size_t len, loff_t *ppos)
{
	struct test_source *t = file_inode(file)->i_private;
	bool next;
	u32 seq;
	int err = test_parse(ubuf, len, "next", &next, &seq);

	if (err)
		return err;
	if (next) {
		seq = test_next(t);
	} else {
		spin_lock_irq(&t->lock);
		if (seq_after(seq, t->latest))
			t->latest = seq;
		spin_unlock_irq(&t->lock);
	}
	speculator_taint(&t->source, seq);
	return len;
}

/*
 * Processes share it that have nothing to do with each other, and read it with
 * pread(); a position that they share would be a channel.
 */
static int taint_open(struct inode *inode, struct file *file)
{
	file->f_mode &= ~FMODE_ATOMIC_POS;
	return simple_open(inode, file);
}

static const struct file_operations taint_fops = {
	.owner	= THIS_MODULE,
	.open	= taint_open,
	.read	= taint_read,
	.write	= taint_write,
	.llseek	= default_llseek,
};

static ssize_t commit_write(struct file *file, const char __user *ubuf,
			    size_t len, loff_t *ppos)
{
	struct test_source *t = file_inode(file)->i_private;
	bool all;
	u32 seq;
	int err = test_parse(ubuf, len, "all", &all, &seq);

	if (err)
		return err;
	err = test_commit(t, all ? READ_ONCE(t->latest) : seq);
	return err ?: len;
}

static const struct file_operations commit_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= commit_write,
	.llseek	= noop_llseek,
};

static ssize_t abort_write(struct file *file, const char __user *ubuf,
			   size_t len, loff_t *ppos)
{
	struct test_source *t = file_inode(file)->i_private;

	mutex_lock(&t->commit_mutex);
	spin_lock_irq(&t->lock);
	t->aborted = true;
	spin_unlock_irq(&t->lock);
	speculator_failed(&t->source, -EIO);
	mutex_unlock(&t->commit_mutex);
	return len;
}

static const struct file_operations abort_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= abort_write,
	.llseek	= noop_llseek,
};

static int auto_get(void *data, u64 *val)
{
	struct test_source *t = data;

	*val = READ_ONCE(t->automatic);
	return 0;
}

static int auto_set(void *data, u64 val)
{
	struct test_source *t = data;

	if (val > 1)
		return -EINVAL;
	spin_lock_irq(&t->lock);
	t->automatic = val;
	/* What was asked for while it was off. */
	if (val && t->requests && !t->aborted &&
	    seq_after(t->requested, t->committed))
		schedule_delayed_work(&t->work, msecs_to_jiffies(t->delay_ms));
	spin_unlock_irq(&t->lock);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(auto_fops, auto_get, auto_set, "%llu\n");

static int requested_show(struct seq_file *m, void *unused)
{
	struct test_source *t = m->private;
	u64 requests;
	u32 seq;

	spin_lock_irq(&t->lock);
	requests = t->requests;
	seq = t->requested;
	spin_unlock_irq(&t->lock);

	if (requests)
		seq_printf(m, "%u %llu\n", seq, requests);
	else
		seq_puts(m, "none 0\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(requested);

static int wait_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%d\n", speculator_wait_current());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(wait);

static int state_show(struct seq_file *m, void *unused)
{
	struct test_source *t = m->private;

	spin_lock_irq(&t->lock);
	seq_printf(m, "latest=%u committed=%u requested=%u requests=%llu aborted=%d\n",
		   t->latest, t->committed, t->requested, t->requests, t->aborted);
	spin_unlock_irq(&t->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static void test_source_files(struct test_source *t, int i)
{
	struct dentry *dir;
	char name[12];

	snprintf(name, sizeof(name), "%d", i);
	dir = debugfs_create_dir(name, test_dir);
	debugfs_create_file("taint", 0600, dir, t, &taint_fops);
	debugfs_create_file("commit", 0200, dir, t, &commit_fops);
	debugfs_create_file("abort", 0200, dir, t, &abort_fops);
	debugfs_create_file("requested", 0400, dir, t, &requested_fops);
	debugfs_create_file_unsafe("auto", 0600, dir, t, &auto_fops);
	debugfs_create_u32("delay_ms", 0600, dir, &t->delay_ms);
	debugfs_create_file("wait", 0400, dir, t, &wait_fops);
	debugfs_create_file("state", 0400, dir, t, &state_fops);
}

static void test_source_remove(struct test_source *t)
{
	spin_lock_irq(&t->lock);
	t->automatic = false;
	spin_unlock_irq(&t->lock);
	cancel_delayed_work_sync(&t->work);
	cancel_delayed_work_sync(&t->rescue);
	speculator_source_unregister(&t->source);
}

static int test_source_add(struct test_source *t, int i)
{
	char why[128] = "";
	int err;

	mutex_init(&t->commit_mutex);
	spin_lock_init(&t->lock);
	INIT_DELAYED_WORK(&t->work, test_commit_work);
	INIT_DELAYED_WORK(&t->rescue, test_rescue_work);
	t->latest = start;
	t->committed = start;
	t->delay_ms = 10;
	snprintf(t->source.name, sizeof(t->source.name), "test%d", i);
	t->source.ops = &test_source_ops;

	err = speculator_source_register(&t->source, start, why, sizeof(why));
	if (err)
		pr_err("test%d: not registered: %s (%d)\n", i, why, err);
	return err;
}

static int __init testsource_init(void)
{
	int err, i;

	if (nr < 1 || nr > TEST_SOURCES) {
		pr_err("nr=%d: must be 1 to %d\n", nr, TEST_SOURCES);
		return -EINVAL;
	}
	for (i = 0; i < nr; i++) {
		err = test_source_add(&sources[i], i);
		if (err)
			goto err_sources;
	}
	test_dir = debugfs_create_dir("speculator-test", NULL);
	if (IS_ERR(test_dir)) {
		err = PTR_ERR(test_dir);
		goto err_sources;
	}
	for (i = 0; i < nr; i++)
		test_source_files(&sources[i], i);
	return 0;

err_sources:
	while (i--)
		test_source_remove(&sources[i]);
	return err;
}

static void __exit testsource_exit(void)
{
	int i;

	debugfs_remove(test_dir);
	for (i = nr - 1; i >= 0; i--)
		test_source_remove(&sources[i]);
}

module_init(testsource_init);
module_exit(testsource_exit);
MODULE_DESCRIPTION("Commit source without a disk, for the selftests of speculator");
MODULE_LICENSE("GPL");
