// SPDX-License-Identifier: GPL-2.0
/*
 * Terminals: serial lines, virtual consoles, /dev/console.  Somebody outside
 * looks at them, so what a process with dependencies writes is held.
 *
 * The write is copied into the queue of its tty and returns its length.  Once
 * there is a queue, everybody's output to that tty goes behind it, so that the
 * order of the writes stays.  When the head of a queue has become durable the
 * tty's work item writes it.  A work item per tty: one that was stopped by ^S
 * does not hold up the others.
 *
 * Not held: echo, which is not the process's output (n_tty does not pass
 * tty_write() for it), and the kernel's own messages, but for those on the
 * caller's terminal that a quota is exceeded.
 *
 * Ptys are inside and only pass on, see flow/pty.c.
 */

#include <linux/fs.h>
#include <linux/file.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_ldisc.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include "../../compat/tty.h"
#include "../flow/pty.h"
#include "../channel.h"
#include "../object.h"
#include "../source.h"
#include "../stats.h"
#include "memcg.h"

/* A hangup does not wait longer for a tty that takes nothing (closing_wait). */
#define HANGUP_PATIENCE	30	/* seconds */
/* Unloading: when to overrule ^S, and when to give up. */
#define UNLOAD_START	1
#define UNLOAD_GIVE_UP	5

/* n_tty has trouble with more in one piece; see do_tty_write(). */
#define LDISC_CHUNK	2048

static struct spec_limit tty_limit = {
	.value = 256 << 10, .min = PAGE_SIZE, .size = 1,
};
module_param_cb(tty_limit, &spec_limit_ops, &tty_limit, 0644);
MODULE_PARM_DESC(tty_limit, "bytes of memory for the held output of one terminal, writers sleep beyond (default 262144)");

/**
 * struct held_write - a write, or a piece of a large one
 * @node:	in tty_queue.writes or .dead
 * @dep:	what it waits for; the mask only shrinks, so that a source which
 *		comes later in the same slot does not count
 * @file:	through which it was written; the reference delays the last close
 *		of the tty until the output is out. NULL: by the kernel
 * @held:	its account
 * @seq:	its number in the queue
 * @len:	bytes in @data
 * @done:	of which so many are out
 * @writing:	the work item is at it: it stays in the list until it is out
 * @flushed:	the work item shall leave the rest
 * @data:	what was written
 *
 * All but the constant part is protected by queues_lock.
 */
struct held_write {
	struct list_head node;
	struct spec_dep dep;
	struct file *file;
	struct spec_held held;
	u64 seq;
	size_t len;
	size_t done;
	bool writing;
	bool flushed;
	u8 data[];
};

/* A piece that fills a page. */
#define CHUNK		(PAGE_SIZE - sizeof(struct held_write))
/* A line discipline that knows frames gets them whole; see do_tty_write(). */
#define CHUNK_FRAME	65536

/**
 * struct tty_queue - the held output of one tty
 * @node:	in queues
 * @tty:	whose; a reference is held
 * @users:	who may still look at this: each item, a queued work item, each
 *		running call.  The last one frees it
 * @writes:	held items, in order
 * @dead:	items which the work item shall free: the last reference to a
 *		file may sleep long for the tty to drain
 * @bytes:	not yet written bytes of @writes
 * @cost:	the memory of @writes
 * @last_seq:	number of the youngest item
 * @pushed:	bytes written so far; it moves as long as the tty takes anything
 * @seen:	@pushed at the last look of somebody who waits for it to move
 * @stalled:	looks since it moved
 * @lost_bytes:	dropped because of a journal failure, not yet reported
 * @lost_writes: the same in items
 * @hopeless:	nobody will ever write what is left: the module goes away
 * @order:	held by a call for all its pieces, as atomic_write_lock is in
 *		do_tty_write().  Outside queues_lock; its holder may sleep for
 *		room.  Writers that must not wait for a commit do without
 * @wait:	writers that wait for room, and who waits for the items to go
 * @work:	writes what is durable
 *
 * Protected by queues_lock, except @tty, @order, @wait and @work.
 */
struct tty_queue {
	struct list_head node;
	struct tty_struct *tty;
	unsigned int users;
	struct list_head writes;
	struct list_head dead;
	size_t bytes;
	size_t cost;
	u64 last_seq;
	u64 pushed;
	u64 seen;
	unsigned int stalled;
	size_t lost_bytes;
	unsigned int lost_writes;
	bool hopeless;
	struct mutex order;		/* see above */
	wait_queue_head_t wait;
	struct work_struct work;
};

/*
 * Terminals with held output are few: one list, one lock.  The locks of the
 * dependency table, of held-output accounting, of the work queue and of a tty's
 * flow are taken inside; nothing that sleeps.
 */
static DEFINE_SPINLOCK(queues_lock);
static LIST_HEAD(queues);
static unsigned int nr_queues;	/* read without the lock: is there any? */
static DECLARE_WAIT_QUEUE_HEAD(queue_gone);
static struct workqueue_struct *push_wq;

/* The tty that writes to the console go to since TIOCCONS; tty_io.c. */
static struct file **console_redirect;
static spinlock_t *console_lock;

static void push_fn(struct work_struct *work);

/* --- queues --- */

static struct tty_queue *find_queue(const struct tty_struct *tty)
{
	struct tty_queue *q;

	lockdep_assert_held(&queues_lock);
	list_for_each_entry(q, &queues, node)
		if (q->tty == tty)
			return q;
	return NULL;
}

/* The key of what is held for @tty: others see it by TIOCOUTQ and as full. */
static const void *queue_key(const struct tty_struct *tty)
{
	return &tty->write_wait;
}

/* The queue of @tty with a reference, or NULL when nothing is held. */
static struct tty_queue *get_queue(const struct tty_struct *tty)
{
	struct tty_queue *q;

	if (likely(!READ_ONCE(nr_queues)))
		return NULL;
	spin_lock(&queues_lock);
	q = find_queue(tty);
	if (q && list_empty(&q->writes))
		q = NULL;
	if (q)
		q->users++;
	spin_unlock(&queues_lock);
	return q;
}

static void put_queue(struct tty_queue *q)
{
	bool last;

	spin_lock(&queues_lock);
	last = !--q->users;
	if (last) {
		list_del(&q->node);
		WRITE_ONCE(nr_queues, nr_queues - 1);
	}
	spin_unlock(&queues_lock);
	if (!last)
		return;
	tty_kref_put(q->tty);
	kfree(q);
	wake_up_all(&queue_gone);
}

/* The same, for a write that has to be held: made when there is none. */
static struct tty_queue *make_queue(struct tty_struct *tty)
{
	struct tty_queue *q, *new;

	spin_lock(&queues_lock);
	q = find_queue(tty);
	if (q)
		q->users++;
	spin_unlock(&queues_lock);
	if (q)
		return q;

	/* A handle may be open; see the hook of tty_write_message(). */
	new = kzalloc(sizeof(*new), GFP_NOFS | __GFP_ACCOUNT);
	if (!new)
		return NULL;
	INIT_LIST_HEAD(&new->writes);
	INIT_LIST_HEAD(&new->dead);
	mutex_init(&new->order);
	init_waitqueue_head(&new->wait);
	INIT_WORK(&new->work, push_fn);

	spin_lock(&queues_lock);
	q = find_queue(tty);
	if (!q) {
		q = new;
		new = NULL;
		q->tty = tty_kref_get(tty);
		list_add(&q->node, &queues);
		WRITE_ONCE(nr_queues, nr_queues + 1);
	}
	q->users++;
	spin_unlock(&queues_lock);
	kfree(new);
	return q;
}

static void kick(struct tty_queue *q)
{
	lockdep_assert_held(&queues_lock);
	if (queue_work(push_wq, &q->work))
		q->users++;
}

/* An empty queue takes one piece of any size: everybody gets on at some time. */
static bool has_room(const struct tty_queue *q, size_t cost)
{
	return !READ_ONCE(q->cost) ||
	       READ_ONCE(q->cost) + cost <= READ_ONCE(tty_limit.value);
}

static bool may_hold(const struct tty_queue *q, size_t cost)
{
	return has_room(q, cost) &&
	       spec_held_room(spec_user(current_uid())) &&
	       spec_memcg_room_self();
}

/* Take @w out of the queue and account for it.  The caller disposes of it. */
static void unqueue(struct tty_queue *q, struct held_write *w, bool lost)
{
	lockdep_assert_held(&queues_lock);
	list_del(&w->node);
	q->bytes -= w->len - w->done;
	WRITE_ONCE(q->cost, q->cost - w->held.memory);
	spec_held_uncharge(SPEC_CH_TTY, &w->held, lost);
}

/* Something was taken out: there may be room, or nothing left. */
static void tell_waiters(struct tty_queue *q)
{
	wake_up_all(&q->wait);
	/* Those in poll(); see the hook of tty_poll(). */
	wake_up_interruptible_poll(&q->tty->write_wait,
				   EPOLLOUT | EPOLLWRNORM);
}

/* Is what was held when @seq was the last gone?  @pending: not even durable. */
static bool gone_until(struct tty_queue *q, u64 seq, bool *pending)
{
	struct held_write *w;
	bool gone;

	spin_lock(&queues_lock);
	w = list_first_entry_or_null(&q->writes, struct held_write, node);
	gone = !w || w->seq > seq;
	if (pending)
		*pending = !gone && spec_dep_pending(&w->dep, &spec_marks);
	spin_unlock(&queues_lock);
	return gone;
}

static u64 last_seq(struct tty_queue *q)
{
	u64 seq;

	spin_lock(&queues_lock);
	seq = q->last_seq;
	spin_unlock(&queues_lock);
	return seq;
}

/* Throw all output away.  The work item leaves what it is writing. */
static void discard(struct tty_queue *q)
{
	struct held_write *w, *tmp;

	lockdep_assert_held(&queues_lock);
	list_for_each_entry_safe(w, tmp, &q->writes, node) {
		if (w->writing) {
			WRITE_ONCE(w->flushed, true);
			continue;
		}
		unqueue(q, w, false);
		list_add_tail(&w->node, &q->dead);
	}
	kick(q);
}

/* --- writing what is durable --- */

/*
 * Write as much of @w as the tty takes without sleeping.  Does what
 * file_tty_write() and do_tty_write() do, but for two things:
 *
 * - It never sleeps for the other end: a flush or the module's removal must be
 *   able to get us out of a stopped tty.  Whether to sleep is a flag of the
 *   file, which belongs to the process, so the line discipline is shown a copy.
 * - The copy would not notice that its file was hung up.  So that is checked
 *   under the reference to the line discipline, for which a hangup waits.
 *
 * Returns what was written, -EAGAIN when the tty takes nothing now, or another
 * error when it never will.
 */
static ssize_t push_some(struct tty_struct *tty, struct held_write *w)
{
	size_t chunk = test_bit(TTY_NO_WRITE_SPLIT, &tty->flags) ?
		       CHUNK_FRAME : LDISC_CHUNK;
	struct tty_ldisc *ld;
	struct file file;
	ssize_t n = -EIO;

	ld = tty_ldisc_ref_wait(tty);
	if (!ld)
		return -EIO;
	if (tty_io_error(tty) || !ld->ops->write || !tty->count ||
	    (w->file && tty_hung_up_p(w->file)))
		goto out;
	n = -EAGAIN;
	if (!mutex_trylock(&tty->atomic_write_lock))
		goto out;
	if (w->file) {
		file = *w->file;
		file.f_flags |= O_NONBLOCK;
		n = ld->ops->write(tty, &file, w->data + w->done,
				   min(w->len - w->done, chunk));
	} else {
		n = tty->ops->write(tty, w->data + w->done, w->len - w->done);
	}
	mutex_unlock(&tty->atomic_write_lock);
	wake_up_interruptible_poll(&tty->write_wait, EPOLLOUT);
out:
	tty_ldisc_deref(ld);
	return n ?: -EAGAIN;
}

static bool may_take(struct tty_struct *tty)
{
	return !mutex_is_locked(&tty->atomic_write_lock) &&
	       tty_write_room(tty) > 0;
}

/* Write all of @w, however long the tty is stopped. */
static void push(struct tty_queue *q, struct held_write *w)
{
	struct tty_struct *tty = q->tty;
	bool again = false;
	ssize_t n;

	while (w->done < w->len && !READ_ONCE(w->flushed)) {
		n = push_some(tty, w);
		if (n > 0) {
			spin_lock(&queues_lock);
			w->done += n;
			q->bytes -= n;
			q->pushed += n;
			spin_unlock(&queues_lock);
			again = false;
			cond_resched();
			continue;
		}
		if (n != -EAGAIN) {
			/* Hung up: a plain kernel would not show it either. */
			if (n != -EIO)
				pr_warn_ratelimited("%s: %s: error %zd, lost %zu bytes\n",
						    KBUILD_MODNAME,
						    tty_name(tty), n,
						    w->len - w->done);
			break;
		}
		/*
		 * There may be room, but too little for what comes next (a
		 * newline is two characters).  Then we look again now and then.
		 */
		if (again)
			schedule_timeout_interruptible(HZ / 50 + 1);
		wait_event_interruptible_timeout(tty->write_wait,
						 may_take(tty) ||
						 READ_ONCE(w->flushed), HZ);
		again = true;
	}
}

static void free_write(struct tty_queue *q, struct held_write *w)
{
	/*
	 * The last reference closes the tty, which may sleep for half a minute.
	 * Do it here, where only this tty waits for it: fput() would let one
	 * thread do it for the whole system.
	 */
	if (w->file)
		__fput_sync(w->file);
	mem_cgroup_put(w->held.memcg);
	kvfree(w);
	put_queue(q);
}

static void free_dead(struct tty_queue *q)
{
	struct held_write *w, *tmp;
	LIST_HEAD(dead);

	spin_lock(&queues_lock);
	list_splice_init(&q->dead, &dead);
	spin_unlock(&queues_lock);
	list_for_each_entry_safe(w, tmp, &dead, node)
		free_write(q, w);
}

/* The oldest item, if it may be shown now. */
static struct held_write *next_ready(struct tty_queue *q)
{
	struct held_write *w;

	spin_lock(&queues_lock);
	w = list_first_entry_or_null(&q->writes, struct held_write, node);
	/* What is lost stays pending; tty_released() drops it. */
	if (w && spec_dep_pending(&w->dep, &spec_marks))
		w = NULL;
	if (w)
		w->writing = true;
	spin_unlock(&queues_lock);
	return w;
}

/*
 * What has been pushed may still be in the driver, which throws it away if the
 * last who closes the tty was killed: he does not wait for it.  He was told that
 * it is written, maybe long ago.  So the tty is kept open until it is out.
 */
static void push_fn(struct work_struct *work)
{
	struct tty_queue *q = container_of(work, struct tty_queue, work);
	struct held_write *w, *last = NULL;

	while ((w = next_ready(q))) {
		push(q, w);
		spin_lock(&queues_lock);
		unqueue(q, w, false);
		spin_unlock(&queues_lock);
		tell_waiters(q);
		if (!last || w->file)
			swap(w, last);
		if (w)
			free_write(q, w);
	}
	free_dead(q);
	if (last) {
		if (last->file)
			tty_wait_until_sent(q->tty, HANGUP_PATIENCE * HZ);
		free_write(q, last);
	}
	put_queue(q);
}

/* --- holding a write --- */

static bool no_sleep(const struct file *file, const struct kiocb *iocb)
{
	return file->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT;
}

/*
 * Queue @w.  Whether its writer depends on anything is asked under queues_lock:
 * a commit or a failure after the answer is followed by tty_released(), which
 * then finds @w in the list.
 *
 * Returns 0, -EAGAIN when there is no room, or -EIO.
 */
static int enqueue(struct tty_queue *q, struct held_write *w, bool force)
{
	struct spec_dep dep;
	u32 pending;
	int err;

	spin_lock(&queues_lock);
	pending = spec_self_pending(&w->dep);
	err = -EIO;
	if (spec_dep_lost(pending) || q->hopeless)
		goto out;
	err = -EAGAIN;
	if (!force && !has_room(q, w->held.memory))
		goto out;
	if (!spec_held_charge(SPEC_CH_TTY, spec_self(), &w->held,
			      force || list_empty(&q->writes)))
		goto out;
	err = 0;
	if (pending)
		spec_put(queue_key(q->tty), SPEC_CH_TTY);
	w->dep.mask = pending;
	w->seq = ++q->last_seq;
	if (w->file)
		get_file(w->file);
	q->users++;
	q->bytes += w->len;
	WRITE_ONCE(q->cost, q->cost + w->held.memory);
	list_add_tail(&w->node, &q->writes);
	if (!pending && list_is_first(&w->node, &q->writes))
		kick(q);
	/* @w may be gone when the lock is. */
	dep = w->dep;
out:
	spin_unlock(&queues_lock);
	if (!err && pending)
		spec_request_commit(&dep, pending);
	return err;
}

/* Hold the next piece of @from; returns its length. */
static ssize_t hold_piece(struct tty_queue *q, struct file *file,
			  struct iov_iter *from, bool nowait, bool force)
{
	size_t len = min_t(size_t, iov_iter_count(from),
			   test_bit(TTY_NO_WRITE_SPLIT, &q->tty->flags) ?
			   CHUNK_FRAME : CHUNK);
	struct held_write *w;
	int err;

	/* As do_tty_write(): rather no memory than the OOM killer. */
	w = kvmalloc(struct_size(w, data, len),
		     GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL);
	if (!w)
		return -ENOMEM;
	w->file = file;
	w->len = len;
	w->held.bytes = len;
	w->held.memory = struct_size(w, data, len);
	w->held.user = spec_user(current_uid());
	w->held.memcg = get_mem_cgroup_from_mm(current->mm);
	w->done = 0;
	w->writing = false;
	w->flushed = false;
	err = -EFAULT;
	if (copy_from_iter(w->data, len, from) != len)
		goto out;
	while ((err = enqueue(q, w, force)) == -EAGAIN && !nowait) {
		/*
		 * The limit for all output may be what is short; then nobody
		 * wakes us, so look again.
		 */
		err = wait_event_interruptible_timeout(q->wait,
						       may_hold(q, w->held.memory),
						       HZ / 10);
		if (err < 0)
			break;
	}
	if (!err)
		return len;
out:
	mem_cgroup_put(w->held.memcg);
	kvfree(w);
	return err;
}

/*
 * No memory, or none left to the cgroup: what is held is what can give way.  So
 * until it has, and what is written next depends on nothing.
 */
static int wait_for_memory(struct tty_queue *q, bool nowait)
{
	struct spec_dep dep;
	u32 pending = spec_self_pending(&dep);
	u64 seq = last_seq(q);
	int err;

	if (nowait) {
		spec_request_commit(&dep, pending);
		return -EAGAIN;
	}
	err = spec_wait_self(SPEC_CH_TTY, SPEC_WAIT_KILLABLE);
	return err ?: wait_event_interruptible(q->wait,
					       gone_until(q, seq, NULL));
}

/* Hold all of @from, as one piece of output. */
static ssize_t hold(struct tty_queue *q, struct file *file,
		    struct iov_iter *from, bool nowait)
{
	/*
	 * What a commit may be waiting for must not wait for a commit.  It is
	 * only queued, and is not among those who fill the memory.
	 */
	bool force = !spec_self();
	bool again = !force;
	ssize_t n = 0, held = 0;

	if (!force && !mutex_trylock(&q->order)) {
		if (nowait)
			return -EAGAIN;
		if (mutex_lock_interruptible(&q->order))
			return -ERESTARTSYS;
	}
	while (iov_iter_count(from)) {
		n = hold_piece(q, file, from, nowait, force);
		if (n == -ENOMEM && again) {
			again = false;
			n = wait_for_memory(q, nowait);
			if (!n)
				continue;
		}
		if (n < 0)
			break;
		again = !force;
		held += n;
		if (!iov_iter_count(from))
			break;
		n = -ERESTARTSYS;
		if (signal_pending(current))
			break;
		cond_resched();
	}
	if (!force)
		mutex_unlock(&q->order);
	if (!held && n == -EAGAIN)
		spec_take(queue_key(q->tty), SPEC_CH_TTY);
	return held ?: n;
}

/*
 * Would the original refuse this write?  Then it shall do so itself.  But for
 * job control, which has to stop the writer, not our work item.
 *
 * Returns 1: take it; 0: leave it to the original; or the error.
 */
static int may_write(struct tty_struct *tty, struct file *file, bool console)
{
	struct tty_ldisc *ld;
	int ret = 0;

	if (tty_hung_up_p(file) || !tty->ops->write || tty_io_error(tty))
		return 0;
	ld = tty_ldisc_ref_wait(tty);
	if (!ld)
		return 0;
	if (ld->ops->write) {
		ret = 1;
		/* As n_tty_write(), which lets the console pass. */
		if (ld->ops->num == N_TTY && L_TOSTOP(tty) && !console)
			ret = tty_check_change(tty) ?: 1;
	}
	tty_ldisc_deref(ld);
	return ret;
}

static ssize_t tty_output(struct kiocb *iocb, struct file *file,
			  struct iov_iter *from, bool console);

DEFINE_HOOK(tty_write, ssize_t, (struct kiocb *iocb, struct iov_iter *from),
	    (iocb, from))
{
	return tty_output(iocb, iocb->ki_filp, from, false);
}

static ssize_t write_now(struct kiocb *iocb, struct file *file,
			 struct iov_iter *from)
{
	struct kiocb kiocb;

	if (likely(file == iocb->ki_filp))
		return hook_orig_tty_write(iocb, from);
	init_sync_kiocb(&kiocb, file);
	return hook_orig_tty_write(&kiocb, from);
}

/*
 * The way of a write to @file, which need not be the one of @iocb.
 * @console: it has come through redirected_tty_write(), and is not redirected.
 */
static ssize_t tty_output(struct kiocb *iocb, struct file *file,
			  struct iov_iter *from, bool console)
{
	struct tty_struct *tty = spec_file_tty(file);
	struct spec_dep dep;
	struct tty_queue *q;
	u32 pending;
	ssize_t ret;

	if (!tty)
		return write_now(iocb, file, from);
	if (spec_is_pty(tty)) {
		spec_put(spec_tty_key(tty), SPEC_CH_PTY);
		return write_now(iocb, file, from);
	}

	/* Who is in the foreground may go on, others may have to stop. */
	if (unlikely(L_TOSTOP(tty)))
		spec_take(spec_tty_key(tty), SPEC_CH_PTY);
	pending = spec_self_pending(&dep);
	if ((likely(!pending && !READ_ONCE(nr_queues))) ||
	    !iov_iter_count(from))
		return write_now(iocb, file, from);
	if (spec_dep_lost(pending))
		return -EIO;
	q = pending ? make_queue(tty) : get_queue(tty);
	/* No memory even for that: then nothing is held, nor needs to be later. */
	if (!q && pending) {
		if (no_sleep(file, iocb)) {
			spec_request_commit(&dep, pending);
			return -EAGAIN;
		}
		ret = spec_wait_self(SPEC_CH_TTY, SPEC_WAIT_KILLABLE);
		if (ret)
			return ret;
		q = get_queue(tty);
	}
	if (!q)
		return write_now(iocb, file, from);
	ret = may_write(tty, file, console);
	if (ret > 0)
		ret = hold(q, file, from, no_sleep(file, iocb));
	else if (!ret)
		ret = write_now(iocb, file, from);
	put_queue(q);
	return ret;
}

/*
 * /dev/console and /dev/tty0.  What counts is the tty that is written in the
 * end, and it must not change between our look and the write.  So this does
 * all that the original does, and never calls it.
 */
DEFINE_HOOK(redirected_tty_write, ssize_t,
	    (struct kiocb *iocb, struct iov_iter *from), (iocb, from))
{
	struct file *file = NULL;
	ssize_t ret;

	spin_lock(console_lock);
	if (*console_redirect)
		file = get_file(*console_redirect);
	spin_unlock(console_lock);
	if (!file)
		return tty_output(iocb, iocb->ki_filp, from, true);
	ret = tty_output(iocb, file, from, false);
	fput(file);
	return ret;
}

/*
 * Quotas only: the caller has exceeded one by what is not durable yet.  It has a
 * handle open and must not wait; without room there is no message.
 */
DEFINE_HOOK_VOID(tty_write_message, (struct tty_struct *tty, char *msg),
		 (tty, msg))
{
	struct held_write *w;
	struct tty_queue *q;
	struct spec_dep dep;
	size_t len;

	if (tty && spec_is_pty(tty))
		spec_put(spec_tty_key(tty), SPEC_CH_PTY);
	if (!tty || spec_is_pty(tty) ||
	    (!spec_self_pending(&dep) && !READ_ONCE(nr_queues))) {
		hook_orig_tty_write_message(tty, msg);
		return;
	}
	len = strlen(msg);
	w = kzalloc(struct_size(w, data, len),
		    GFP_NOFS | __GFP_ACCOUNT | __GFP_NOWARN);
	q = w ? make_queue(tty) : NULL;
	if (!q) {
		kfree(w);
		return;
	}
	w->len = len;
	w->held.bytes = len;
	w->held.memory = struct_size(w, data, len);
	w->held.user = spec_user(current_uid());
	w->held.memcg = get_mem_cgroup_from_mm(current->mm);
	memcpy(w->data, msg, len);
	if (enqueue(q, w, false)) {
		mem_cgroup_put(w->held.memcg);
		kfree(w);
	}
	put_queue(q);
}

/* A full queue is not writable; it is tell_waiters() who says that it is. */
DEFINE_HOOK(tty_poll, __poll_t,
	    (struct file *file, struct poll_table_struct *wait), (file, wait))
{
	__poll_t mask = hook_orig_tty_poll(file, wait);
	struct tty_struct *tty = spec_file_tty(file);
	struct tty_queue *q;

	if (!tty)
		return mask;
	if (spec_is_pty(tty)) {
		if (mask & (EPOLLIN | EPOLLPRI | EPOLLHUP))
			spec_take(spec_tty_key(tty), SPEC_CH_PTY);
		return mask;
	}
	q = get_queue(tty);
	if (!q)
		return mask;
	if (!may_hold(q, PAGE_SIZE)) {
		mask &= ~(EPOLLOUT | EPOLLWRNORM);
		spec_take(queue_key(tty), SPEC_CH_TTY);
	}
	put_queue(q);
	return mask;
}

/* --- waiting for the output, or throwing it away --- */

/* For a process that asks for it: until what is held now is in the driver. */
static int drain(struct tty_struct *tty)
{
	struct tty_queue *q = get_queue(tty);
	u64 seq;
	int err;

	if (!q)
		return 0;
	seq = last_seq(q);
	err = wait_event_interruptible(q->wait, gone_until(q, seq, NULL));
	put_queue(q);
	/* What tty_ioctl() says to a signal; the kick on unload is none. */
	return err && task_sigpending(current) ? -EINTR : err;
}

/*
 * Before a hangup that would throw the output away: until what is held now has
 * been committed (or has failed) and is in the driver.  Not for ever when the
 * tty takes nothing: a plain kernel loses its output then, too.
 */
static void drain_for_hangup(struct tty_struct *tty, bool killable)
{
	struct tty_queue *q;
	u64 seq, pushed = 0;
	bool pending = false;
	int idle = 0;

	/* What a commit may be waiting for does not wait for it. */
	if (spec_is_pty(tty) || !spec_self())
		return;
	q = get_queue(tty);
	if (!q)
		return;
	seq = last_seq(q);
	while (idle < HANGUP_PATIENCE &&
	       !(killable && fatal_signal_pending(current)) &&
	       !wait_event_timeout(q->wait, gone_until(q, seq, &pending), HZ)) {
		u64 now = READ_ONCE(q->pushed);

		idle = pending || now != pushed ? 0 : idle + 1;
		pushed = now;
	}
	put_queue(q);
}

static void flush(struct tty_struct *tty)
{
	struct tty_queue *q = get_queue(tty);
	u64 seq;

	if (!q)
		return;
	spin_lock(&queues_lock);
	discard(q);
	seq = q->last_seq;
	spin_unlock(&queues_lock);
	tell_waiters(q);
	/*
	 * What is being written goes to the driver before the original flushes
	 * that, or not at all.
	 */
	wait_event_killable(q->wait, gone_until(q, seq, NULL));
	put_queue(q);
}

static size_t held_bytes(struct tty_struct *tty)
{
	struct tty_queue *q = get_queue(tty);
	size_t bytes;

	if (!q)
		return 0;
	bytes = READ_ONCE(q->bytes);
	put_queue(q);
	return bytes;
}

static long ioctl_held(struct file *file, struct tty_struct *tty,
		       unsigned int cmd, unsigned long arg);

/* Requests without an effect that are so common that it pays to know them. */
static bool only_asks(unsigned int cmd)
{
	switch (cmd) {
	case TCGETS:		/* isatty() */
	case TCGETS2:
	case TIOCGWINSZ:
	case TIOCGPGRP:
	case FIONREAD:
		return true;
	}
	return false;
}

/* 32-bit callers come here, too: tty_compat_ioctl() hands all of these on. */
DEFINE_HOOK(tty_ioctl, long,
	    (struct file *file, unsigned int cmd, unsigned long arg),
	    (file, cmd, arg))
{
	struct tty_struct *tty = spec_file_tty(file);
	long ret;

	if (likely(!tty))
		return hook_orig_tty_ioctl(file, cmd, arg);
	/* What one end, or one process, sets another can ask for. */
	if (!only_asks(cmd))
		spec_put(spec_tty_key(tty), SPEC_CH_PTY);
	if (spec_is_pty(tty) || likely(!READ_ONCE(nr_queues)))
		ret = hook_orig_tty_ioctl(file, cmd, arg);
	else
		ret = ioctl_held(file, tty, cmd, arg);
	spec_take(spec_tty_key(tty), SPEC_CH_PTY);
	return ret;
}

static long ioctl_outq(struct file *file, struct tty_struct *tty,
		       unsigned long arg)
{
	/* First the queue: what moves on meanwhile is counted twice, not never. */
	size_t held = held_bytes(tty);
	long ret = hook_orig_tty_ioctl(file, TIOCOUTQ, arg);
	int __user *p = (int __user *)arg;
	int n;

	spec_take(queue_key(tty), SPEC_CH_TTY);
	if (ret || !held)
		return ret;
	if (get_user(n, p))
		return -EFAULT;
	return put_user((int)min_t(size_t, held + n, INT_MAX), p);
}

static long ioctl_held(struct file *file, struct tty_struct *tty,
		       unsigned int cmd, unsigned long arg)
{
	long err = 0;

	switch (cmd) {
	case TIOCOUTQ:
		return ioctl_outq(file, tty, arg);
	/* Those that wait for the output to be sent. */
	case TIOCSETD:
	case TIOCSBRK:
	case TCSBRK:		/* tcdrain(), tcsendbreak() */
	case TCSBRKP:
	case TCSETSW:
	case TCSETSF:
	case TCSETSW2:
	case TCSETSF2:
	case TCSETAW:
	case TCSETAF:
		/* Stop a background process before it waits, not after. */
		err = tty_check_change(tty) ?: drain(tty);
		break;
	case TCFLSH:
		if (arg != TCOFLUSH && arg != TCIOFLUSH)
			break;
		err = tty_check_change(tty);
		if (!err)
			flush(tty);
		break;
	case TIOCVHANGUP:
		if (capable(CAP_SYS_ADMIN))
			drain_for_hangup(tty, true);
		break;
	}
	return err ?: hook_orig_tty_ioctl(file, cmd, arg);
}

static void before_own_hangup(bool killable)
{
	struct tty_struct *tty = get_current_tty();

	if (!tty)
		return;
	if (READ_ONCE(nr_queues))
		drain_for_hangup(tty, killable);
	/* Who has it open reads the end of the file. */
	spec_put(spec_tty_key(tty), SPEC_CH_PTY);
	tty_kref_put(tty);
}

/* The exit of a session leader hangs up its terminal. */
DEFINE_HOOK_VOID(disassociate_ctty, (int on_exit), (on_exit))
{
	if (on_exit && current->signal->leader)
		before_own_hangup(false);
	hook_orig_disassociate_ctty(on_exit);
}

/* vhangup(2) */
DEFINE_HOOK_VOID(tty_vhangup_self, (void), ())
{
	before_own_hangup(true);
	hook_orig_tty_vhangup_self();
}

/* --- the channel --- */

/* Drop what is lost; what is durable needs nothing any more, for ever. */
static void settle(struct tty_queue *q)
{
	struct held_write *w, *tmp;
	bool dropped = false;
	u32 pending;

	lockdep_assert_held(&queues_lock);
	list_for_each_entry_safe(w, tmp, &q->writes, node) {
		if (w->writing)
			continue;
		pending = spec_dep_pending(&w->dep, &spec_marks);
		if (spec_dep_lost(pending)) {
			q->lost_bytes += w->len;
			q->lost_writes++;
			unqueue(q, w, true);
			list_add_tail(&w->node, &q->dead);
			dropped = true;
		} else {
			w->dep.mask = pending;
		}
	}
	w = list_first_entry_or_null(&q->writes, struct held_write, node);
	if (dropped || (w && !w->writing && !w->dep.mask))
		kick(q);
}

/* The log may be slow, so not under the lock. */
static void report_lost(void)
{
	struct tty_queue *q;
	unsigned int writes;
	size_t bytes;

again:
	spin_lock(&queues_lock);
	list_for_each_entry(q, &queues, node) {
		if (!q->lost_writes)
			continue;
		bytes = q->lost_bytes;
		writes = q->lost_writes;
		q->lost_bytes = 0;
		q->lost_writes = 0;
		q->users++;
		spin_unlock(&queues_lock);
		pr_err("%s: %s: dropped %zu bytes in %u writes: what they depended on was lost with its journal\n",
		       KBUILD_MODNAME, tty_name(q->tty), bytes, writes);
		tell_waiters(q);
		put_queue(q);
		goto again;
	}
	spin_unlock(&queues_lock);
}

/*
 * All that is dropped is dropped here, not in the work item: when this returns
 * the source may be unregistered, and then nobody knows that it had failed.
 */
static void tty_released(void)
{
	struct tty_queue *q;

	if (!READ_ONCE(nr_queues))
		return;
	spin_lock(&queues_lock);
	list_for_each_entry(q, &queues, node)
		settle(q);
	spin_unlock(&queues_lock);
	report_lost();
}

static bool no_queue(void)
{
	return !READ_ONCE(nr_queues);
}

/* One look a second: has the tty taken anything?  Returns for how many not. */
static unsigned int look(struct tty_queue *q)
{
	lockdep_assert_held(&queues_lock);
	if (q->pushed != q->seen || list_empty(&q->writes))
		q->stalled = 0;
	else
		q->stalled++;
	q->seen = q->pushed;
	return q->stalled;
}

/* As ^Q does, and TCOON. */
static void start_output(struct tty_struct *tty)
{
	spin_lock_irq(&tty->flow.lock);
	tty->flow.tco_stopped = false;
	spin_unlock_irq(&tty->flow.lock);
	start_tty(tty);
}

static void give_up(struct tty_queue *q)
{
	lockdep_assert_held(&queues_lock);
	pr_warn("%s: %s takes no output: dropped %zu bytes, since the module is unloaded\n",
		KBUILD_MODNAME, tty_name(q->tty), q->bytes);
	q->hopeless = true;
	discard(q);
	tell_waiters(q);
}

/*
 * The last source is gone, so all that is left is durable and on its way.  New
 * output no longer goes behind it: wait while the terminals take it.  One that
 * takes nothing (^S) would hold up umount, so there it is written later.
 */
static void tty_remove(void)
{
	struct tty_queue *q;
	bool moving = true;

	while (moving &&
	       !wait_event_timeout(queue_gone, no_queue(), HZ)) {
		moving = false;
		spin_lock(&queues_lock);
		list_for_each_entry(q, &queues, node)
			moving |= !look(q) && !list_empty(&q->writes);
		spin_unlock(&queues_lock);
	}
}

/*
 * The code is going away, so every byte has to be out.  A terminal that was
 * stopped by ^S is started: better a screen that scrolls on than lost output.
 * Where that does not help either (a serial line whose other end is not ready)
 * the output is dropped with a message, as the close of such a line does.
 */
static void tty_drain(void)
{
	struct tty_queue *q;

	while (!wait_event_timeout(queue_gone, no_queue(), HZ)) {
		spin_lock(&queues_lock);
		list_for_each_entry(q, &queues, node) {
			unsigned int stalled = look(q);

			if (stalled >= UNLOAD_GIVE_UP)
				give_up(q);
			else if (stalled >= UNLOAD_START)
				start_output(q->tty);
		}
		spin_unlock(&queues_lock);
	}
	if (push_wq)
		destroy_workqueue(push_wq);
	push_wq = NULL;
}

static int tty_install(char *why, size_t why_len)
{
	unsigned long neighbour = speculator_symbol("console_cdev");

	console_redirect = (void *)speculator_symbol("redirect");
	console_lock = (void *)speculator_symbol("redirect_lock");
	/*
	 * "redirect" is a common word; in tty_io.c it is next to the other.  (Not
	 * to the lock: one that is debugged is initialised, and so elsewhere.)
	 */
	if (!console_redirect || !console_lock || !neighbour ||
	    abs((long)console_redirect - (long)neighbour) > PAGE_SIZE) {
		snprintf(why, why_len,
			 "cannot see where TIOCCONS sends the console's output: no symbols redirect, redirect_lock");
		return -ENOENT;
	}
	/* It outlives the hooks for as long as anything is held. */
	if (!push_wq)
		push_wq = alloc_workqueue("speculator_tty", WQ_UNBOUND,
					  WQ_UNBOUND_MAX_ACTIVE);
	if (!push_wq) {
		snprintf(why, why_len, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

static void tty_show(struct seq_file *m)
{
	struct held_write *w;
	struct tty_queue *q;

	if (!READ_ONCE(nr_queues))
		return;
	seq_puts(m, "tty bytes memory state\n");
	spin_lock(&queues_lock);
	list_for_each_entry(q, &queues, node) {
		w = list_first_entry_or_null(&q->writes, struct held_write,
					     node);
		seq_printf(m, "%s %zu %zu %s\n", tty_name(q->tty), q->bytes,
			   q->cost, !w ? "empty" : w->writing ? "writing" :
			   "held");
	}
	spin_unlock(&queues_lock);
}

static struct spec_hook *const hooks[] = {
	&hook_tty_write,
	&hook_redirected_tty_write,
	&hook_tty_write_message,
	&hook_tty_poll,
	&hook_tty_ioctl,
	&hook_disassociate_ctty,
	&hook_tty_vhangup_self,
};

const struct spec_channel spec_output_tty = {
	.name = "tty",
	.rule = "holds",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = tty_install,
	.remove = tty_remove,
	.released = tty_released,
	.drain = tty_drain,
	.show = tty_show,
};
