// SPDX-License-Identifier: GPL-2.0
/*
 * Processes: fork, exec, exit to the parent, signals, ptrace.
 *
 * The holder is the mm, shared by all threads (paper section 3.5).  A task that
 * has dropped its mm on its way out still closes files and sends SIGCHLD: it
 * is then its own holder, under its task_struct as key.
 */

#include <linux/binfmts.h>
#include <linux/compat.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/tracepoint.h>
#include "../object.h"
#include "../source.h"
#include "memory.h"
#include "task.h"

static void pass_to_task(const void *from, struct task_struct *task,
			 enum spec_channel_id ch)
{
	/* Only the pointer is used, so it does not matter if it goes away. */
	const void *mm = spec_task_mm(task);

	if (mm && mm != from)
		spec_pass(from, mm, ch);
}

/* Before the child runs for the first time. */
static void probe_fork(void *data, struct task_struct *parent,
		       struct task_struct *child)
{
	const void *self = spec_self();

	if (child->mm && child->mm != parent->mm &&
	    !spec_map_fork(parent->mm, child->mm)) {
		pr_err("no memory to tell what process %d shares: killed before it runs\n",
		       child->pid);
		send_sig(SIGKILL, child, 1);
	}
	if (self)
		pass_to_task(self, child, SPEC_CH_PROCESS);
}

/*
 * The child can be found by its number before the tracepoint of the above; this is
 * called shortly before it gets its place among the processes.
 */
DEFINE_HOOK_BEFORE(cgroup_can_fork, int,
		   (struct task_struct *child, struct kernel_clone_args *args),
		   (child, args))
{
	const void *self = spec_self();

	if (self)
		pass_to_task(self, child, SPEC_CH_PROCESS);
}

/* Did the kernel send it because a file has become ready (fasync)? */
static bool is_sigio(int sig, const struct kernel_siginfo *info)
{
	return sig == SIGIO || sig == SIGURG ||
	       (info > SEND_SIG_PRIV && info->si_code >= POLL_IN &&
		info->si_code <= POLL_HUP);
}

/* @task saw something, nobody knows whose. */
static void pass_all_to_task(struct task_struct *task)
{
	const void *mm = spec_task_mm(task);
	u32 left = READ_ONCE(spec_marks.live);
	struct spec_dep dep = {};
	u32 mask;

	rcu_read_lock();
	while (left) {
		int i = __builtin_ctz(left);
		struct speculator_source *source = spec_source_of_slot(i);

		left &= left - 1;
		if (!source)
			continue;
		dep.mask |= 1U << i;
		dep.seq[i] = READ_ONCE(source->latest);
	}
	mask = spec_dep_pending(&dep, &spec_marks);
	if (mm && mask)
		spec_merge(mm, SPEC_CH_SIGNAL, &dep, mask);
	rcu_read_unlock();
}

/*
 * In the sender, under the siglock of the target, which it needs in order to
 * see the signal.  SIGCHLD of an exiting or stopped child comes this way, too.
 */
static void probe_signal(void *data, int sig, struct kernel_siginfo *info,
			 struct task_struct *task, int group, int result)
{
	const void *self;

	if (likely(!atomic_read(&speculator_active)))
		return;
	self = in_task() ? spec_self() : NULL;
	if (!self) {
		/*
		 * A timer or a device, not this process; but what was written
		 * to a terminal or to loopback may be delivered by a softirq or
		 * a kernel thread.
		 */
		if (is_sigio(sig, info) && !(task->flags & PF_KTHREAD))
			pass_all_to_task(task);
		return;
	}
	/* EPIPE: whoever closed the far end has told us, and is not known. */
	if (sig == SIGPIPE && task == current) {
		spec_take_all(SPEC_CH_SIGNAL);
		self = spec_self();
	}
	pass_to_task(self, task, SPEC_CH_SIGNAL);
}

/* Is the caller alone in its address space, and will it be gone with him? */
static bool last_user(const struct mm_struct *mm)
{
	return atomic_read(&mm->mm_users) == 1;
}

/*
 * The new mm is put on before others can see what the task has become, and once
 * more after, for what another thread has done until it was killed.
 */
DEFINE_HOOK(begin_new_exec, int, (struct linux_binprm *bprm), (bprm))
{
	const void *old = spec_self(), *new = bprm->mm;
	bool last;
	int err;

	if (!old)
		return hook_orig_begin_new_exec(bprm);
	/* The task itself: a program that the kernel starts, see below. */
	last = old == current || last_user(old);
	spec_pass(old, new, SPEC_CH_PROCESS);
	err = hook_orig_begin_new_exec(bprm);
	if (current->mm == new) {
		spec_pass(old, new, SPEC_CH_PROCESS);
		if (last && spec_maybe(old)) {
			/* /proc/PID/mem may still be reading it. */
			spec_task_exits(old);
			spec_forget(old);
		}
	} else if (spec_maybe(new)) {
		spec_forget(new);
	}
	return err;
}

static rwlock_t *tasks_lock;

/* They see that their parent is another one from now on. */
static void pass_to_children(const void *self)
{
	struct task_struct *child;

	read_lock(tasks_lock);
	list_for_each_entry(child, &current->children, sibling)
		pass_to_task(self, child, SPEC_CH_EXIT);
	read_unlock(tasks_lock);
}

DEFINE_HOOK_BEFORE_VOID(do_exit, (long code), (code))
{
	const void *self = spec_self();

	if (!self || !spec_maybe(self))
		return;
	/* For what it still does after exit_mm(). */
	if (self != current)
		__spec_pass(self, current, SPEC_CH_EXIT);
	rcu_read_lock();
	pass_to_task(self, rcu_dereference(current->real_parent), SPEC_CH_EXIT);
	pass_to_task(self, rcu_dereference(current->parent), SPEC_CH_EXIT);
	rcu_read_unlock();
	pass_to_children(self);
	spec_task_exits(self);
	/*
	 * The next process may get the same mm: do not let it inherit, least of
	 * all after a failure, when entries do not die by themselves.
	 */
	if (self == current->mm && last_user(self))
		spec_forget(self);
}

/* The next task will have the same address; see the wait below. */
DEFINE_HOOK_BEFORE_VOID(security_task_free, (struct task_struct *task), (task))
{
	if (spec_maybe(task))
		spec_forget(task);
}

struct wait_opts;

/*
 * What wait() has to tell of one child or tracee: an exit, a stop, that it goes
 * on.  There need not have been a signal (SA_NOCLDSTOP).
 */
DEFINE_HOOK(wait_consider_task, int,
	    (struct wait_opts *wo, int ptrace, struct task_struct *task),
	    (wo, ptrace, task))
{
	const void *mm = spec_task_mm(task);
	int ret;

	/* Its end would forget what it depends on. */
	get_task_struct(task);
	ret = hook_orig_wait_consider_task(wo, ptrace, task);
	if (ret) {
		if (mm && mm != current->mm)
			spec_take(mm, SPEC_CH_PROCESS);
		spec_take(task, SPEC_CH_EXIT);
	}
	put_task_struct(task);
	return ret;
}

/*
 * /proc/PID/mem, process_vm_readv and _writev, PTRACE_ATTACH, pidfd_getfd: the
 * one who may look takes, the one who may write gives as well.
 */
DEFINE_HOOK_BEFORE(security_ptrace_access_check, int,
		   (struct task_struct *child, unsigned int mode),
		   (child, mode))
{
	const void *self = spec_self();
	const void *mm = spec_task_mm(child);

	if (!self || !mm || self == mm)
		return;
	spec_take(mm, SPEC_CH_PTRACE);
	if (mode & PTRACE_MODE_ATTACH)
		spec_pass(self, mm, SPEC_CH_PTRACE);
}

static void trace_begin(const struct task_struct *child)
{
	const void *self = spec_self();
	const void *mm = READ_ONCE(child->mm);

	if (self && mm && self != mm)
		spec_pass(self, mm, SPEC_CH_PTRACE);
}

/* The tracee is stopped, but its other threads are not. */
static void trace_end(const struct task_struct *child)
{
	const void *mm = READ_ONCE(child->mm);

	if (mm && mm != current->mm)
		spec_take(mm, SPEC_CH_PTRACE);
}

/* Each request of a tracer. */
DEFINE_HOOK(arch_ptrace, long,
	    (struct task_struct *child, long request, unsigned long addr,
	     unsigned long data),
	    (child, request, addr, data))
{
	long ret;

	trace_begin(child);
	ret = hook_orig_arch_ptrace(child, request, addr, data);
	trace_end(child);
	return ret;
}

DEFINE_HOOK(compat_arch_ptrace, long,
	    (struct task_struct *child, compat_long_t request,
	     compat_ulong_t addr, compat_ulong_t data),
	    (child, request, addr, data))
{
	long ret;

	trace_begin(child);
	ret = hook_orig_compat_arch_ptrace(child, request, addr, data);
	trace_end(child);
	return ret;
}

/*
 * A program that the kernel starts (modprobe, a core dump handler, a request_key
 * helper) runs because of what the running process did.  It is a child of a
 * kernel thread, but the request names it.  Not with a handle open: the helper
 * might wait, and who asked waits for the helper.
 */
DEFINE_HOOK_BEFORE(call_usermodehelper_exec, int,
		   (struct subprocess_info *info, int wait), (info, wait))
{
	if (!current->journal_info)
		spec_put(info, SPEC_CH_PROCESS);
}

DEFINE_HOOK_BEFORE(call_usermodehelper_exec_async, int, (void *info), (info))
{
	if (spec_maybe(info)) {
		__spec_take(info, SPEC_CH_PROCESS);
		spec_forget(info);
	}
}

/* The tracepoints of the core kernel are not exported, but can be found. */
static struct {
	const char *name;
	void *probe;
	struct tracepoint *tp;
} probes[] = {
	{ "sched_process_fork", probe_fork },
	{ "signal_generate", probe_signal },
};

static void match(struct tracepoint *tp, void *data)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(tp->name, probes[i].name))
			probes[i].tp = tp;
}

static void remove_probes(int n)
{
	while (n--)
		tracepoint_probe_unregister(probes[n].tp, probes[n].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int install(char *why, size_t why_len)
{
	int i, err;

	tasks_lock = (rwlock_t *)speculator_symbol("tasklist_lock");
	if (!tasks_lock) {
		snprintf(why, why_len, "tasklist_lock is not in this kernel");
		return -ENOENT;
	}
	for_each_kernel_tracepoint(match, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = probes[i].tp ?
			tracepoint_probe_register(probes[i].tp, probes[i].probe,
						  NULL) : -ENOENT;
		if (err) {
			snprintf(why, why_len, "cannot use tracepoint %s (%d)",
				 probes[i].name, err);
			remove_probes(i);
			return err;
		}
	}
	return 0;
}

static void remove(void)
{
	remove_probes(ARRAY_SIZE(probes));
}

static struct spec_hook *const hooks[] = {
	&hook_cgroup_can_fork,
	&hook_begin_new_exec,
	&hook_do_exit,
	&hook_security_task_free,
	&hook_wait_consider_task,
	&hook_security_ptrace_access_check,
	&hook_arch_ptrace,
	&hook_compat_arch_ptrace,
	&hook_call_usermodehelper_exec,
	&hook_call_usermodehelper_exec_async,
};

const struct spec_channel spec_flow_process = {
	.name = "process",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = install,
	.remove = remove,
};
