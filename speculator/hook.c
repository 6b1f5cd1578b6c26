// SPDX-License-Identifier: GPL-2.0
/* Placing and removing the wrappers of speculator_hook.h. */

#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <speculator_hook.h>
#include "../compat/ftrace.h"
#include "call.h"
#include "main.h"
#include "stats.h"

DEFINE_KERNEL_CALL(kallsyms_lookup_name, unsigned long, (const char *name));
DEFINE_KERNEL_CALL(ftrace_location, unsigned long, (unsigned long ip));
DEFINE_KERNEL_CALL(wake_up_state, int, (struct task_struct *task, unsigned int state));

/**
 * struct hook_set - hooks that were placed together, for debugfs
 * @node:	in hook_sets, under hook_mutex
 * @hooks:	the table
 * @n:		its length
 */
struct hook_set {
	struct list_head node;
	struct spec_hook *const *hooks;
	int n;
};

/* Held while hooks are placed and removed; taken inside the source mutex. */
static DEFINE_MUTEX(hook_mutex);
static LIST_HEAD(hook_sets);

/**
 * speculator_symbol - the address of any kernel or module symbol
 * @name: exact name
 *
 * Context: process.
 * Return: the address, 0 when there is none.
 */
unsigned long speculator_symbol(const char *name)
{
	return call_kallsyms_lookup_name(name);
}
EXPORT_SYMBOL_GPL(speculator_symbol);

static void notrace ipmodify_fn(unsigned long ip, unsigned long parent_ip,
				struct ftrace_ops *ops,
				struct ftrace_regs *fregs)
{
	struct spec_hook *hook = container_of(ops, struct spec_hook, ops);

	compat_set_ip(fregs, (unsigned long)hook->wrapper);
}

/* Does the code at the fentry go where it was told to? */
static int check_bytes(struct spec_hook *hook)
{
	unsigned char insn[MCOUNT_INSN_SIZE];
	s32 rel;

	if (copy_from_kernel_nofault(insn, (void *)hook->ip, sizeof(insn)))
		return -EFAULT;
	if (insn[0] != 0xe8)	/* still a nop: attached, but never fires */
		return -ENOEXEC;
	memcpy(&rel, insn + 1, sizeof(rel));
	/*
	 * A direct call goes to the stub. It goes to a trampoline of ftrace
	 * when somebody traces the function as well; that one ends in the stub.
	 */
	if (hook->way == HOOK_DIRECT &&
	    hook->ip + MCOUNT_INSN_SIZE + rel != (unsigned long)hook->stub)
		pr_info("%s is traced by somebody else as well: slower\n",
			hook->name);
	return 0;
}

static void remove_one(struct spec_hook *hook)
{
	if (hook->way == HOOK_OFF)
		return;
	/*
	 * The ops and the stubs stay until hooks_synchronize(): ftrace need not
	 * wait for each of a hundred, at a grace period of tasks RCU each.
	 * (IPMODIFY has a trampoline of ftrace's own and must wait.)
	 */
	hook->ops.flags &= ~FTRACE_OPS_FL_PERMANENT;
	if (hook->way == HOOK_DIRECT) {
		hook->ops.flags &= ~FTRACE_OPS_FL_DYNAMIC;
		compat_unregister_direct(&hook->ops, (unsigned long)hook->stub);
	} else {
		unregister_ftrace_function(&hook->ops);
		ftrace_free_filter(&hook->ops);
	}
	hook->way = HOOK_OFF;
}

static int place_one(struct spec_hook *hook, const char **reason)
{
	static const char taken[] =
		"a BPF program or live patch holds it, or ftrace_enabled is 0";
	unsigned long addr = call_kallsyms_lookup_name(hook->name);
	int err;

	*reason = "no such function in this kernel";
	if (!addr)
		return -ENOENT;
	hook->ip = call_ftrace_location(addr);
	*reason = "the function cannot be traced";
	if (!hook->ip)
		return -EINVAL;
	*hook->target = hook->ip + MCOUNT_INSN_SIZE;

	*reason = "ftrace refuses it";
	memset(&hook->ops, 0, sizeof(hook->ops));
	err = ftrace_set_filter_ip(&hook->ops, hook->ip, 0, 0);
	if (err)
		return err;
	err = compat_register_direct(&hook->ops, (unsigned long)hook->stub);
	if (!err) {
		hook->way = HOOK_DIRECT;
		/*
		 * Or "sysctl kernel.ftrace_enabled=0" silently takes every hook
		 * away. Registration overwrites the flags, so only now.
		 */
		hook->ops.flags |= FTRACE_OPS_FL_PERMANENT;
	} else {
		ftrace_free_filter(&hook->ops);
		memset(&hook->ops, 0, sizeof(hook->ops));
		hook->ops.func = ipmodify_fn;
		hook->ops.flags = FTRACE_OPS_FL_IPMODIFY |
				  FTRACE_OPS_FL_PERMANENT;
		err = ftrace_set_filter_ip(&hook->ops, hook->ip, 0, 0);
		if (!err)
			err = register_ftrace_function(&hook->ops);
		if (err) {
			if (err == -EBUSY)
				*reason = taken;
			ftrace_free_filter(&hook->ops);
			return err;
		}
		hook->way = HOOK_IPMODIFY;
	}
	*reason = "it was placed but the code does not call it";
	err = check_bytes(hook);
	if (err)
		remove_one(hook);
	return err;
}

/* No task is preempted between a fentry and the counter of a wrapper. */
static void hooks_synchronize(void)
{
	synchronize_rcu_tasks_rude();
	synchronize_rcu_tasks();
}

static void remove_hooks(struct spec_hook *const *hooks, int n)
{
	while (n--)
		remove_one(hooks[n]);
	hooks_synchronize();
}

/**
 * speculator_hooks_install - place a table of hooks, all or none
 * @hooks: the table
 * @n: its length
 * @why: receives the function and the reason on failure
 * @why_len: size of @why
 *
 * Context: process, may sleep.
 * Return: 0 or the error of the first that could not be placed.
 */
int speculator_hooks_install(struct spec_hook *const *hooks, int n, char *why,
			     size_t why_len)
{
	struct hook_set *set = kmalloc(sizeof(*set), GFP_KERNEL);
	const char *reason;
	int i, err = 0;

	if (!set) {
		snprintf(why, why_len, "out of memory");
		return -ENOMEM;
	}
	mutex_lock(&hook_mutex);
	for (i = 0; i < n; i++) {
		err = place_one(hooks[i], &reason);
		if (err) {
			snprintf(why, why_len, "cannot hook %s(): %s (%d)",
				 hooks[i]->name, reason, err);
			remove_hooks(hooks, i);
			kfree(set);
			goto out;
		}
	}
	set->hooks = hooks;
	set->n = n;
	list_add_tail(&set->node, &hook_sets);
out:
	mutex_unlock(&hook_mutex);
	return err;
}
EXPORT_SYMBOL_GPL(speculator_hooks_install);

/**
 * speculator_hooks_remove - the reverse of speculator_hooks_install()
 * @hooks: the table
 * @n: its length
 *
 * Afterwards no new call enters a wrapper, but some may still be inside: see
 * speculator_hooks_drain().
 *
 * Context: process, may sleep.
 */
void speculator_hooks_remove(struct spec_hook *const *hooks, int n)
{
	struct hook_set *set, *tmp;

	mutex_lock(&hook_mutex);
	remove_hooks(hooks, n);
	list_for_each_entry_safe(set, tmp, &hook_sets, node)
		if (set->hooks == hooks) {
			list_del(&set->node);
			kfree(set);
		}
	mutex_unlock(&hook_mutex);
}
EXPORT_SYMBOL_GPL(speculator_hooks_remove);

static long inflight(const long __percpu *count)
{
	long sum = 0;
	int cpu;

	/* A task may enter on one CPU and leave on another: only the sum counts. */
	for_each_possible_cpu(cpu)
		sum += *per_cpu_ptr(count, cpu);
	return sum;
}

/*
 * Does @task's kernel stack hold an address of the module's text, as the stack
 * of a task asleep in a wrapper does?  An old address left behind makes us kick
 * a task for nothing, which it survives.
 */
static bool sleeps_in(struct task_struct *task, struct module *module)
{
	unsigned long *sp = (unsigned long *)READ_ONCE(task->thread.sp);
	unsigned long *end = task->stack + THREAD_SIZE;
	unsigned long word;

	/* The task may be gone at any moment, and its stack with it. */
	for (; sp < end; sp++) {
		if (copy_from_kernel_nofault(&word, sp, sizeof(word)))
			return false;
		if (within_module_core(word, module))
			return true;
	}
	return false;
}

/* The kick of live patching: a fake signal; the system call restarts. */
static void kick_sleepers(struct module *module)
{
	struct task_struct *group, *task;

	rcu_read_lock();
	for_each_process_thread(group, task) {
		if (task == current || task_is_running(task) ||
		    (task->flags & PF_KTHREAD) || !sleeps_in(task, module))
			continue;
		set_tsk_thread_flag(task, TIF_NOTIFY_SIGNAL);
		if (!call_wake_up_state(task, TASK_INTERRUPTIBLE))
			kick_process(task);
	}
	rcu_read_unlock();
}

/**
 * speculator_hooks_drain - wait until nobody is inside a module's wrappers
 * @module: whose text they are in
 * @count: its hook_inflight
 *
 * Called on unload after speculator_hooks_remove().  A reader of a pipe may
 * sleep for ever, so sleepers are kicked: their system call returns to the
 * border of user space and restarts in the unwrapped function.
 *
 * Context: process, may sleep.
 */
void speculator_hooks_drain(struct module *module, long __percpu *count)
{
	while (inflight(count)) {
		kick_sleepers(module);
		msleep(20);
	}
	/* The last one may be preempted between its decrement and its return. */
	hooks_synchronize();
}
EXPORT_SYMBOL_GPL(speculator_hooks_drain);

/**
 * spec_hooks_show - debugfs "hooks"
 * @m: seq_file
 *
 * Context: process.
 */
void spec_hooks_show(struct seq_file *m)
{
	static const char *const way[] = { "off", "direct", "ipmodify" };
	struct hook_set *set;
	int i;

	mutex_lock(&hook_mutex);
	list_for_each_entry(set, &hook_sets, node)
		for (i = 0; i < set->n; i++)
			seq_printf(m, "- %s %s\n", set->hooks[i]->name,
				   way[set->hooks[i]->way]);
	mutex_unlock(&hook_mutex);
}

/**
 * spec_hook_init - find what is not exported
 *
 * Return: 0, or a negative error after a message.
 */
int spec_hook_init(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	int err = register_kprobe(&kp);

	if (err) {
		pr_err("cannot find kallsyms_lookup_name (%d): CONFIG_KPROBES and CONFIG_KALLSYMS are needed\n",
		       err);
		return err;
	}
	call_target_kallsyms_lookup_name = (unsigned long)kp.addr;
	unregister_kprobe(&kp);

	if (!kernel_call_find(ftrace_location) ||
	    !kernel_call_find(wake_up_state)) {
		pr_err("ftrace_location or wake_up_state is not in this kernel\n");
		return -ENOENT;
	}
	return 0;
}
