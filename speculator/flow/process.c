// SPDX-License-Identifier: GPL-2.0
/*
 * Processes: fork, exec, exit to the parent, signals, ptrace.
 *
 * The holder is the mm, shared by all threads (paper section 3.5).  A task that
 * has dropped its mm on its way out still closes files and sends SIGCHLD: it
 * is then its own holder, under its task_struct as key.
 */

#include <linux/binfmts.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/tracepoint.h>
#include "../object.h"
#include "../source.h"
#include "../trace.h"
#include "memory.h"

static void pass_to_task(const void *from, struct task_struct *task,
			 enum spec_channel_id ch)
{
	/* Only the pointer is used, so it does not matter if it goes away. */
	const void *mm = READ_ONCE(task->mm);

	if (mm && mm != from)
		spec_pass(from, mm, ch);
}

/* Before the child runs for the first time. */
static void probe_fork(void *data, struct task_struct *parent,
		       struct task_struct *child)
{
	const void *self = spec_self();

	if (child->mm && child->mm != parent->mm)
		spec_map_fork(parent->mm, child->mm);
	if (self)
		pass_to_task(self, child, SPEC_CH_PROCESS);
}

/*
 * In the sender, under the siglock of the target, which it needs in order to
 * see the signal.  SIGCHLD of an exiting or stopped child comes this way, too.
 */
static void probe_signal(void *data, int sig, struct kernel_siginfo *info,
			 struct task_struct *task, int group, int result)
{
	const void *self;

	if (!in_task())		/* a timer or a device, not this process */
		return;
	/* EPIPE: whoever closed the far end has told us, and is not known. */
	if (sig == SIGPIPE && task == current)
		spec_take_all(SPEC_CH_SIGNAL);
	self = spec_self();
	if (self)
		pass_to_task(self, task, SPEC_CH_SIGNAL);
}

/* Is the caller alone in its address space, and will it be gone with him? */
static bool last_user(const struct mm_struct *mm)
{
	return atomic_read(&mm->mm_users) == 1;
}

DEFINE_HOOK(begin_new_exec, int, (struct linux_binprm *bprm), (bprm))
{
	const void *old = spec_self();
	struct spec_dep dep;
	bool last = false;
	u32 mask = 0;
	int err;

	if (old && spec_maybe(old)) {
		mask = spec_read(old, &dep);
		last = old == current->mm && last_user(old);
	}
	err = hook_orig_begin_new_exec(bprm);
	if (mask && current->mm != old) {
		spec_merge(current->mm, SPEC_CH_PROCESS, &dep, mask);
		trace_put(old, current->mm, SPEC_CH_PROCESS, mask);
		if (last)
			spec_forget(old);
	}
	return err;
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
	/*
	 * The next process may get the same mm: do not let it inherit, least of
	 * all after a failure, when entries do not die by themselves.
	 */
	if (self == current->mm && last_user(self))
		spec_forget(self);
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
	const void *mm = READ_ONCE(child->mm);

	if (!self || !mm || self == mm)
		return;
	spec_take(mm, SPEC_CH_PTRACE);
	if (mode & PTRACE_MODE_ATTACH)
		spec_pass(self, mm, SPEC_CH_PTRACE);
}

/* Each request of a tracer; the tracee is stopped. */
DEFINE_HOOK_BEFORE(arch_ptrace, long,
		   (struct task_struct *child, long request,
		    unsigned long addr, unsigned long data),
		   (child, request, addr, data))
{
	const void *self = spec_self();
	const void *mm = READ_ONCE(child->mm);

	if (!self || !mm || self == mm)
		return;
	spec_take(mm, SPEC_CH_PTRACE);
	spec_pass(self, mm, SPEC_CH_PTRACE);
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
	&hook_begin_new_exec,
	&hook_do_exit,
	&hook_security_ptrace_access_check,
	&hook_arch_ptrace,
};

const struct spec_channel spec_flow_process = {
	.name = "process",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.install = install,
	.remove = remove,
};
