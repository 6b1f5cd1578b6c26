// SPDX-License-Identifier: GPL-2.0
/*
 * Events that are read from a descriptor: eventfd, inotify, fanotify.
 *
 * Timers tell nothing but the time.  A signalfd hands its reader the signals
 * that were sent to him, with which the dependency has come already
 * (flow/process.c); dnotify is a signal, too.
 */

#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include "../../compat/ipc.h"
#include "../object.h"
#include "../source.h"
#include "event.h"

static const void *eventfd_write_fn;

/* The ways in which processes wait for an eventfd. */
static struct {
	const char *name;
	const void *fn;
} wakers[] = {
	{ "autoremove_wake_function" },
	{ "default_wake_function" },
	{ "woken_wake_function" },
	{ "pollwake" },
	{ "ep_poll_callback" },
	{ "io_poll_wake" },
	{ "aio_poll_wake" },
};

static bool is_process(const struct wait_queue_entry *entry)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(wakers); i++)
		if (entry->func == wakers[i].fn)
			return true;
	return false;
}

/*
 * Does somebody in the kernel listen, who then acts for the process: vhost, which
 * sends its packets, KVM, or who knows what?
 */
static bool is_doorbell(const void *event)
{
	struct compat_eventfd *head = (struct compat_eventfd *)event;
	struct wait_queue_entry *entry;
	unsigned long flags;
	bool is = false;

	spin_lock_irqsave(&head->wqh.lock, flags);
	list_for_each_entry(entry, &head->wqh.head, entry)
		is |= !is_process(entry);
	spin_unlock_irqrestore(&head->wqh.lock, flags);
	return is;
}

static __always_inline bool rings(const void *event)
{
	const void *self = spec_self();

	return self && unlikely(spec_maybe(self)) && is_doorbell(event);
}

/**
 * spec_is_eventfd - is it a file that eventfd() has made?
 * @file: any open file
 *
 * Context: any.
 */
bool spec_is_eventfd(const struct file *file)
{
	const void *fn = file->f_op->write;

	return fn && fn == eventfd_write_fn;
}

/* A reader takes something away that others wait for; a writer may wait, too. */
DEFINE_HOOK(eventfd_write, ssize_t,
	    (struct file *file, const char __user *buf, size_t size,
	     loff_t *pos),
	    (file, buf, size, pos))
{
	const void *event = file->private_data;
	ssize_t n;
	int err;

	if (rings(event)) {
		err = spec_wait_self(SPEC_CH_DEVICE, SPEC_WAIT_KILLABLE);
		if (err)
			return err;
	}
	spec_put(event, SPEC_CH_IPC);
	n = hook_orig_eventfd_write(file, buf, size, pos);
	spec_take(event, SPEC_CH_IPC);
	return n;
}

DEFINE_HOOK(eventfd_read, ssize_t, (struct kiocb *iocb, struct iov_iter *to),
	    (iocb, to))
{
	const void *event = iocb->ki_filp->private_data;
	ssize_t n;

	spec_put(event, SPEC_CH_IPC);
	n = hook_orig_eventfd_read(iocb, to);
	spec_take(event, SPEC_CH_IPC);
	return n;
}

/*
 * The kernel writes: something that was started by a process is complete, or a
 * virtual processor rings (ioeventfd of KVM), which may sleep.
 */
DEFINE_HOOK_GATE_LONG(eventfd_signal_mask, COMPAT_EVENTFD_SIGNAL_PROTO,
		      COMPAT_EVENTFD_SIGNAL_ARGS)
{
	if (!in_task())
		return 0;
	/* Who is killed while it waits has rung as far as the caller knows. */
	if (rings(event) && preemptible() && !rcu_preempt_depth() &&
	    !current->journal_info &&
	    spec_wait_self(SPEC_CH_DEVICE, SPEC_WAIT_KILLABLE))
		return 1;
	spec_put(event, SPEC_CH_IPC);
	return 0;
}

struct fsnotify_group;
struct fsnotify_event;

/* In the process that has done what the event tells. */
DEFINE_HOOK_BEFORE(fsnotify_insert_event, int,
		   (struct fsnotify_group *group, struct fsnotify_event *event,
		    int (*merge)(struct fsnotify_group *group,
				 struct fsnotify_event *event),
		    void (*insert)(struct fsnotify_group *group,
				   struct fsnotify_event *event)),
		   (group, event, merge, insert))
{
	spec_put(group, SPEC_CH_IPC);
}

DEFINE_HOOK(inotify_read, ssize_t,
	    (struct file *file, char __user *buf, size_t size, loff_t *pos),
	    (file, buf, size, pos))
{
	ssize_t n = hook_orig_inotify_read(file, buf, size, pos);

	spec_take(file->private_data, SPEC_CH_IPC);
	return n;
}

DEFINE_HOOK(fanotify_read, ssize_t,
	    (struct file *file, char __user *buf, size_t size, loff_t *pos),
	    (file, buf, size, pos))
{
	ssize_t n = hook_orig_fanotify_read(file, buf, size, pos);

	spec_take(file->private_data, SPEC_CH_IPC);
	return n;
}

static int install(char *why, size_t why_len)
{
	int i;

	/* One that is not in this kernel does not wait for anything, either. */
	for (i = 0; i < ARRAY_SIZE(wakers); i++)
		wakers[i].fn = (void *)speculator_symbol(wakers[i].name);
	eventfd_write_fn = (void *)speculator_symbol("eventfd_write");
	if (eventfd_write_fn)
		return 0;
	snprintf(why, why_len, "eventfd_write is not in this kernel");
	return -ENOENT;
}

static struct spec_hook *const hooks[] = {
	&hook_eventfd_write,
	&hook_eventfd_read,
	&hook_eventfd_signal_mask,
	&hook_fsnotify_insert_event,
	&hook_inotify_read,
	&hook_fanotify_read,
};

const struct spec_channel spec_flow_event = {
	.name = "event",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = install,
};
