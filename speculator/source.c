// SPDX-License-Identifier: GPL-2.0
/* Commit sources: who is registered, how far each is, and waiting for them. */

#include <linux/freezer.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "channel.h"
#include "main.h"
#include "source.h"
#include "stats.h"
#include "trace.h"

/*
 * Registration is serialised by this mutex; it is the outermost lock of the
 * module (the file system's s_umount may be held by the caller).  Lookups use
 * RCU.
 */
static DEFINE_MUTEX(source_mutex);
static struct speculator_source __rcu *sources[SPEC_SOURCES];
static int next_slot;
static struct workqueue_struct *release_wq;
const struct super_block *spec_only_sb;

DECLARE_WAIT_QUEUE_HEAD(spec_released_wq);

static void release_fn(struct work_struct *work)
{
	spec_channels_released();
}

static DECLARE_WORK(release_work, release_fn);

/* Stale entries cost a compare each; there is no hurry. */
static void sweep_fn(struct work_struct *work)
{
	spec_sweep(0);
}

static DECLARE_DELAYED_WORK(sweep_work, sweep_fn);

/**
 * spec_source_of_slot - the source in a slot of the dependency vector
 * @slot: below SPEC_SOURCES
 *
 * Context: any; the caller holds rcu_read_lock() for as long as it uses it.
 * Return: the source or NULL.
 */
struct speculator_source *spec_source_of_slot(int slot)
{
	return rcu_dereference_check(sources[slot], rcu_read_lock_sched_held());
}

/**
 * spec_source_of_sb - the source that commits a file system's modifications
 * @sb: any super block
 *
 * Context: any; the caller holds rcu_read_lock(), or rcu_read_lock_sched(), for
 * as long as it uses it.
 * Return: the source, or NULL when @sb is not an external-synchrony mount.
 */
struct speculator_source *spec_source_of_sb(const struct super_block *sb)
{
	u32 left = READ_ONCE(spec_marks.live);

	while (left) {
		struct speculator_source *source =
			spec_source_of_slot(__builtin_ctz(left));

		left &= left - 1;
		if (source && source->sb == sb)
			return source;
	}
	return NULL;
}

/**
 * spec_source_bit - of the source that commits a file system's modifications
 * @sb: any super block
 *
 * Context: any.
 * Return: its bit in the dependency vector, or 0 when there is none.
 */
u32 spec_source_bit(const struct super_block *sb)
{
	const struct speculator_source *source;
	u32 bit;

	rcu_read_lock_sched();
	source = spec_source_of_sb(sb);
	bit = source ? 1U << source->slot : 0;
	rcu_read_unlock_sched();
	return bit;
}

/**
 * spec_source_any - is any source registered?
 */
bool spec_source_any(void)
{
	return READ_ONCE(spec_marks.live);
}

/**
 * speculator_source_register - a commit source joins
 * @source: filled in by the caller but for the private part
 * @committed: all up to here is durable already
 * @why: receives the reason when the source is refused
 * @why_len: size of @why
 *
 * The first source makes the hooks be placed.  If any of them cannot be, or is
 * found not to be in the code afterwards, the source is refused: a guarantee
 * with a hole is none.
 *
 * Context: process, may sleep.
 * Return: 0, -ENOSPC (too many sources), or the error of the hook.
 */
int speculator_source_register(struct speculator_source *source, u32 committed,
			       char *why, size_t why_len)
{
	int i, slot = -1, err;

	mutex_lock(&source_mutex);
	for (i = 0; i < SPEC_SOURCES && slot < 0; i++) {
		int try = (next_slot + i) % SPEC_SOURCES;

		if (!rcu_access_pointer(sources[try]))
			slot = try;
	}
	if (slot < 0) {
		snprintf(why, why_len, "more than %d sources", SPEC_SOURCES);
		err = -ENOSPC;
		goto out;
	}
	if (!spec_marks.live) {
		err = spec_channels_install(why, why_len);
		if (err)
			goto out;
	}
	next_slot = (slot + 1) % SPEC_SOURCES;
	source->slot = slot;
	source->latest = committed;
	source->requested = committed;
	atomic64_set(&source->taints, 0);
	WRITE_ONCE(spec_marks.released[slot], committed);
	WRITE_ONCE(spec_marks.failed, spec_marks.failed & ~(1U << slot));
	/* With a second one these two are given up until all have gone. */
	WRITE_ONCE(spec_only_sb, spec_marks.live ? NULL : source->sb);
	WRITE_ONCE(spec_latest, spec_marks.live ? 0 :
		   (u64)(1U << slot) << 32 | committed);
	rcu_assign_pointer(sources[slot], source);
	/* All of the slot is set up before it counts. */
	smp_store_release(&spec_marks.live, spec_marks.live | 1U << slot);
	err = 0;
out:
	mutex_unlock(&source_mutex);
	return err;
}
EXPORT_SYMBOL_GPL(speculator_source_register);

/**
 * speculator_source_unregister - a commit source leaves
 * @source: a registered source of which all is durable, or which has failed
 *
 * What still waits for it is let go.  For a failed source that is the end of
 * the quarantine of the processes that depended on what was lost; everything
 * they wrote out while it lasted has been dropped.
 *
 * Context: process, may sleep.  The caller may free @source afterwards.
 */
void speculator_source_unregister(struct speculator_source *source)
{
	u32 bit = 1U << source->slot;

	mutex_lock(&source_mutex);
	/* Drop what is lost while the failure is still on record. */
	spec_channels_released();
	WRITE_ONCE(spec_marks.live, spec_marks.live & ~bit);
	WRITE_ONCE(spec_only_sb, NULL);
	RCU_INIT_POINTER(sources[source->slot], NULL);
	synchronize_rcu();
	wake_up_all(&spec_released_wq);
	spec_channels_released();
	spec_sweep(bit);
	WRITE_ONCE(spec_marks.failed, spec_marks.failed & ~bit);
	if (!spec_marks.live)
		spec_channels_remove();
	mutex_unlock(&source_mutex);
}
EXPORT_SYMBOL_GPL(speculator_source_unregister);

/* Raise @spec_latest to @seq, unless there is another source. */
static void raise_word(const struct speculator_source *source, u32 seq)
{
	u64 bit = (u64)(1U << source->slot) << 32;
	u64 old = READ_ONCE(spec_latest);

	while ((old >> 32) << 32 == bit && spec_seq_after(seq, (u32)old)) {
		u64 seen = cmpxchg64(&spec_latest, old, bit | seq);

		if (seen == old)
			break;
		old = seen;
	}
}

/* Raise @source->latest to @seq; racing callers settle on the highest. */
static void raise_latest(struct speculator_source *source, u32 seq)
{
	u32 old = READ_ONCE(source->latest);

	while (spec_seq_after(seq, old)) {
		u32 seen = cmpxchg(&source->latest, old, seq);

		if (seen == old)
			break;
		old = seen;
	}
	/* Not only who has raised it: another may rely on it a moment before. */
	raise_word(source, seq);
}

/**
 * speculator_exempt - is the running task one that is never held back?
 *
 * Kernel threads, memory reclaim and the user-space half of a block device.
 * Their modifications make nobody dependent, and their fsync is the real one.
 *
 * Context: any.
 */
bool speculator_exempt(void)
{
	return !spec_self();
}
EXPORT_SYMBOL_GPL(speculator_exempt);

static noinline bool taint(struct speculator_source *source, const void *self,
			   u32 seq)
{
	struct spec_dep dep;

	raise_latest(source, seq);
	spec_dep_one(&dep, source->slot, seq);
	if (spec_merge(self, SPEC_CH_PROCESS, &dep, dep.mask)) {
		atomic64_inc(&source->taints);
		trace_taint(source, self, seq);
	}
	return true;
}

static noinline bool taint_special(struct speculator_source *source, u32 seq)
{
	const void *self = spec_self_kernel();

	return self && taint(source, self, seq);
}

/**
 * speculator_taint - the running process depends on @seq from now on
 * @source: a registered source
 * @seq: the commit its modification will be part of
 *
 * To be called before the modification can be seen by anyone.
 *
 * Context: any, handle open and file-system locks held included. Lock-free when
 * the process depends on @seq already.
 * Return: false when it is exempt; see speculator_exempt().
 */
notrace bool speculator_taint(struct speculator_source *source, u32 seq)
{
	const void *self;

	if (unlikely(spec_self_special()))
		return taint_special(source, seq);
	self = spec_self_user();
	/* What is in the table has raised @source->latest before. */
	return likely(spec_has(self, source->slot, seq)) ||
	       taint(source, self, seq);
}
EXPORT_SYMBOL_GPL(speculator_taint);

static noinline void taint_inode(struct speculator_source *source,
				 struct inode *inode, u32 seq)
{
	struct spec_dep dep;

	raise_latest(source, seq);
	spec_dep_one(&dep, source->slot, seq);
	if (spec_merge(inode, SPEC_CH_FILE, &dep, dep.mask))
		trace_modify(source, inode, seq);
	if (S_ISDIR(inode->i_mode))
		spec_name_changed(inode);
}

/**
 * speculator_taint_inode - whoever reads @inode depends on @seq from now on
 * @source: a registered source
 * @inode: of the source's super block
 * @seq: the commit the modification will be part of
 *
 * To be called before the modification can be seen, or while the inode's rwsem
 * is held for write (readers look at that too, see flow/file.c).  A directory
 * is also put on the list of names (flow/name.c).
 *
 * Context: any.
 */
notrace void speculator_taint_inode(struct speculator_source *source,
				    struct inode *inode, u32 seq)
{
	/* A directory is also counted, each time. */
	if (likely(!S_ISDIR(inode->i_mode) &&
		   spec_has(inode, source->slot, seq)))
		return;
	taint_inode(source, inode, seq);
}
EXPORT_SYMBOL_GPL(speculator_taint_inode);

/**
 * speculator_take_source - the running process saw the state of a whole source
 * @source: a registered source
 *
 * Free space, or a promise about everything (sync).
 *
 * Context: any.
 */
void speculator_take_source(struct speculator_source *source)
{
	spec_take_source(source, SPEC_CH_FILE);
}
EXPORT_SYMBOL_GPL(speculator_take_source);

/**
 * spec_take_source - the running process depends on all of a source so far
 * @source: a registered source
 * @ch: for statistics
 *
 * Context: any.
 */
void spec_take_source(struct speculator_source *source, enum spec_channel_id ch)
{
	const void *self = spec_self();
	struct spec_dep dep;

	spec_dep_one(&dep, source->slot, READ_ONCE(source->latest));
	if (!self || !spec_dep_pending(&dep, &spec_marks))
		return;
	if (spec_merge(self, ch, &dep, dep.mask))
		trace_take(source, self, ch, dep.mask);
	spec_count(takes, ch);
}

/**
 * spec_read_all - all that is not durable yet
 * @out: receives the latest sequence of each source that has such
 *
 * For what nobody can tell on whom it depends.
 *
 * Context: any.
 * Return: the mask of sources in @out.
 */
u32 spec_read_all(struct spec_dep *out)
{
	u32 left = READ_ONCE(spec_marks.live);

	out->mask = 0;
	rcu_read_lock();
	while (left) {
		int slot = __builtin_ctz(left);
		struct speculator_source *source = spec_source_of_slot(slot);

		left &= left - 1;
		if (!source)
			continue;
		out->mask |= 1U << slot;
		out->seq[slot] = READ_ONCE(source->latest);
	}
	rcu_read_unlock();
	return out->mask = spec_dep_pending(out, &spec_marks);
}

/**
 * spec_take_all - the running process saw something, nobody knows whose
 * @ch: for statistics
 *
 * Context: any.
 */
void spec_take_all(enum spec_channel_id ch)
{
	const void *self = spec_self();
	struct spec_dep dep;
	u32 mask = self ? spec_read_all(&dep) : 0;

	if (!mask)
		return;
	spec_merge(self, ch, &dep, mask);
	spec_count(takes, ch);
	trace_take(NULL, self, ch, mask);
}

/**
 * speculator_released - all up to @seq is durable, barriers included
 * @source: a registered source
 * @seq: its highest durable sequence
 *
 * Context: the commit thread; does not sleep.  Held output goes out from a work
 * item, since writing a terminal from the journal's thread could block the next
 * commit for as long as somebody presses ^S.
 */
void speculator_released(struct speculator_source *source, u32 seq)
{
	u32 *mark = &spec_marks.released[source->slot];

	/* One thread commits, so there is one writer. A failure is final. */
	if (READ_ONCE(spec_marks.failed) & (1U << source->slot))
		return;
	if (!spec_seq_after(seq, READ_ONCE(*mark)))
		return;
	WRITE_ONCE(*mark, seq);
	trace_committed(source, seq);
	/* Pairs with prepare_to_wait() of a waiter: mark first, then look. */
	smp_mb();	/* for waitqueue_active() */
	if (waitqueue_active(&spec_released_wq))
		wake_up_all(&spec_released_wq);
	queue_work(release_wq, &release_work);
	queue_delayed_work(release_wq, &sweep_work, HZ / 4);
}
EXPORT_SYMBOL_GPL(speculator_released);

/**
 * speculator_failed - nothing that is not durable now ever will be
 * @source: a registered source
 * @error: why, for the log
 *
 * Context: any that may take a mutex-free path: does not sleep.  May be called
 * again.
 */
void speculator_failed(struct speculator_source *source, int error)
{
	u32 bit = 1U << source->slot;
	u32 old = READ_ONCE(spec_marks.failed);

	do {
		if (old & bit)
			return;
	} while (!try_cmpxchg(&spec_marks.failed, &old, old | bit));
	pr_err("%s: the journal has failed (%d): output that depends on what it lost is dropped, and refused until the file system is unmounted\n",
	       source->name, error);
	wake_up_all(&spec_released_wq);
	queue_work(release_wq, &release_work);
}
EXPORT_SYMBOL_GPL(speculator_failed);

static void request(const struct spec_dep *dep, u32 mask,
		    enum speculator_reason reason)
{
	rcu_read_lock();
	while (mask) {
		int i = __builtin_ctz(mask);
		struct speculator_source *source = rcu_dereference(sources[i]);
		u32 seq = READ_ONCE(dep->seq[i]);

		mask &= mask - 1;
		if (!source || !spec_seq_after(seq, READ_ONCE(source->requested)))
			continue;
		/* A race asks twice, which is cheap and harmless. */
		WRITE_ONCE(source->requested, seq);
		trace_commit_request(source, seq);
		source->ops->request_commit(source, seq, reason);
	}
	rcu_read_unlock();
}

/**
 * spec_request_commit - dependent output has appeared
 * @dep: what it depends on
 * @mask: the components that are pending
 *
 * The output-triggered commit of the paper (section 4.6).
 *
 * Context: any, softirq included.
 */
void spec_request_commit(const struct spec_dep *dep, u32 mask)
{
	request(dep, mask, SPECULATOR_OUTPUT);
}

/* May this context sleep for a commit without being what the commit needs? */
static bool may_wait(void)
{
	/*
	 * journal_info: a handle is open, the commit waits for it to close.
	 */
	return preemptible() && !current->journal_info;
}

/* Durable, or never to be. */
static bool decided(const struct spec_dep *dep, u32 *pending)
{
	*pending = spec_dep_pending(dep, &spec_marks);
	return !*pending || spec_dep_lost(*pending);
}

/**
 * spec_wait - sleep until @dep is durable
 * @dep: what to wait for
 * @why: the channel, for statistics
 * @mode: what may end it early
 *
 * Context: process, no file-system locks, no open handle.
 * Return: 0; -EIO when it will never be durable; -EINTR (killable mode only).
 *	Unless 0, the caller must not let the operation through.
 */
int spec_wait(const struct spec_dep *dep, enum spec_channel_id why,
	      enum spec_wait_mode mode)
{
	u32 pending = spec_dep_pending(dep, &spec_marks);
	ktime_t since;
	int err = 0;

	if (!pending)
		return 0;
	if (spec_dep_lost(pending))
		return -EIO;
	if (WARN_ON_ONCE(!may_wait()))
		return -EIO;
	since = ktime_get();
	request(dep, pending, SPECULATOR_WAIT);
	if (mode == SPEC_WAIT_KILLABLE)
		err = wait_event_killable(spec_released_wq,
					  decided(dep, &pending));
	else
		wait_event(spec_released_wq, decided(dep, &pending));
	if (err)
		err = -EINTR;
	else if (pending)
		err = -EIO;
	spec_waited(why, since);
	trace_wait(why, dep->mask, ktime_us_delta(ktime_get(), since), err);
	return err;
}

/**
 * spec_wait_self - sleep until the running process is committed
 * @why: the channel, for statistics
 * @mode: what may end it early
 *
 * Context and return: as spec_wait().
 */
int spec_wait_self(enum spec_channel_id why, enum spec_wait_mode mode)
{
	struct spec_dep dep;

	if (!spec_self_pending(&dep))
		return 0;
	return spec_wait(&dep, why, mode);
}

/**
 * speculator_wait_current - sleep until the running process is committed
 *
 * Context and return: as spec_wait(), killable.
 */
int speculator_wait_current(void)
{
	return spec_wait_self(SPEC_CH_OTHER, SPEC_WAIT_KILLABLE);
}
EXPORT_SYMBOL_GPL(speculator_wait_current);

/**
 * spec_source_show - debugfs "sources"
 * @m: seq_file
 *
 * Context: process.
 */
void spec_source_show(struct seq_file *m)
{
	int i;

	seq_puts(m, "source latest requested committed taints state\n");
	rcu_read_lock();
	for (i = 0; i < SPEC_SOURCES; i++) {
		struct speculator_source *s = rcu_dereference(sources[i]);

		if (s)
			seq_printf(m, "%s %u %u %u %lld %s\n", s->name,
				   READ_ONCE(s->latest), READ_ONCE(s->requested),
				   READ_ONCE(spec_marks.released[i]),
				   atomic64_read(&s->taints),
				   spec_marks.failed & (1U << i) ?
				   "failed" : "live");
	}
	rcu_read_unlock();
}

/**
 * spec_self_show - debugfs "self": what the process that reads it depends on
 * @m: seq_file
 *
 * Context: process.
 */
void spec_self_show(struct seq_file *m)
{
	struct spec_dep dep;
	u32 left = spec_self_pending(&dep);

	seq_puts(m, "source sequence\n");
	rcu_read_lock();
	while (left) {
		int i = __builtin_ctz(left);
		struct speculator_source *s = rcu_dereference(sources[i]);

		left &= left - 1;
		if (s)
			seq_printf(m, "%s %u\n", s->name, dep.seq[i]);
	}
	rcu_read_unlock();
}

/**
 * spec_source_init - make the queue from which held output goes out
 *
 * Return: 0 or -ENOMEM.
 */
int spec_source_init(void)
{
	/* One at a time: the channels' released() need no lock among them. */
	release_wq = alloc_ordered_workqueue("speculator",
					     WQ_HIGHPRI | WQ_MEM_RECLAIM);
	return release_wq ? 0 : -ENOMEM;
}

/**
 * spec_source_exit - nothing is registered any more
 */
void spec_source_exit(void)
{
	cancel_delayed_work_sync(&sweep_work);
	destroy_workqueue(release_wq);
}
