// SPDX-License-Identifier: GPL-2.0
/*
 * Other processes: asking for what one has set, setting it for another, and
 * noticing that one is no longer there.
 *
 * Who looks at a process takes what it depends on.  When it has gone there is
 * nothing to take from: so each exit is put on one object of all exits, and
 * whoever asks for a process that is not there takes that one.
 */

#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/pid.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include "../../compat/fs.h"
#include "../object.h"
#include "../source.h"
#include "task.h"

static const char exits;

/**
 * spec_task_mm - the key of a process
 * @task: any of its threads, also one that has gone
 *
 * A process is named by its first thread, which may have exited long before the
 * others (pthread_exit() in main()).
 *
 * Context: any; @task must stay for the call.
 * Return: the key, or NULL: it is a kernel thread, or all threads have let go
 *	of their memory.
 */
const void *spec_task_mm(const struct task_struct *task)
{
	const void *mm = READ_ONCE(task->mm);
	const struct task_struct *thread;

	if (likely(mm) || task->flags & PF_KTHREAD)
		return mm;
	rcu_read_lock();
	for_each_thread(task, thread) {
		mm = READ_ONCE(thread->mm);
		if (mm)
			break;
	}
	rcu_read_unlock();
	return mm;
}

/**
 * spec_task_exits - the running process exits, or lets go of its memory
 * @self: its key, of which the entry may be forgotten after this
 *
 * Context: do_exit(), before anybody can notice; exec.
 */
void spec_task_exits(const void *self)
{
	spec_pass(self, &exits, SPEC_CH_EXIT);
	/* A pidfd; see pidfd_poll() in flow/poll.c. */
	spec_pass(self, task_tgid(current), SPEC_CH_EXIT);
}

/**
 * spec_task_take_exits - the running process saw that some process is not there
 *
 * Context: any.
 */
void spec_task_take_exits(void)
{
	spec_take(&exits, SPEC_CH_EXIT);
}

/**
 * spec_task_take - the running process saw the state of another
 * @task: the other
 *
 * Context: any; @task must stay for the call.
 */
void spec_task_take(const struct task_struct *task)
{
	const void *mm = spec_task_mm(task);

	if (mm && mm == current->mm)
		return;
	if (mm)
		spec_take(mm, SPEC_CH_PROCESS);
	else if (!(task->flags & PF_KTHREAD))
		spec_task_take_exits();	/* its last thread was another one */
	spec_take(task, SPEC_CH_PROCESS);
}

static void take_pid(pid_t nr)
{
	struct task_struct *task;

	if (likely(!atomic_read(&speculator_active)) || !nr)
		return;
	rcu_read_lock();
	task = pid_task(find_vpid(nr), PIDTYPE_PID);
	if (task)
		spec_task_take(task);
	else
		spec_task_take_exits();	/* it was there when it was asked */
	rcu_read_unlock();
}

/* System calls that ask for something of a process, by its number. */
#define PID_SYSCALL(name, nr)						\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	long ret = hook_orig_##name(regs);				\
									\
	take_pid(nr);							\
	return ret;							\
}

PID_SYSCALL(__x64_sys_getpgid, regs->di)
PID_SYSCALL(__ia32_sys_getpgid, regs->bx)
PID_SYSCALL(__x64_sys_getsid, regs->di)
PID_SYSCALL(__ia32_sys_getsid, regs->bx)
PID_SYSCALL(__x64_sys_prlimit64, regs->di)
PID_SYSCALL(__ia32_sys_prlimit64, regs->bx)
PID_SYSCALL(__x64_sys_sched_getscheduler, regs->di)
PID_SYSCALL(__ia32_sys_sched_getscheduler, regs->bx)
PID_SYSCALL(__x64_sys_sched_getparam, regs->di)
PID_SYSCALL(__ia32_sys_sched_getparam, regs->bx)
PID_SYSCALL(__x64_sys_sched_getattr, regs->di)
PID_SYSCALL(__ia32_sys_sched_getattr, regs->bx)
PID_SYSCALL(__x64_sys_get_robust_list, regs->di)
PID_SYSCALL(__ia32_compat_sys_get_robust_list, regs->bx)
PID_SYSCALL(__x64_sys_pidfd_open, regs->di)
PID_SYSCALL(__ia32_sys_pidfd_open, regs->bx)

DEFINE_HOOK(sched_getaffinity, long, (pid_t pid, struct cpumask *mask),
	    (pid, mask))
{
	long ret = hook_orig_sched_getaffinity(pid, mask);

	take_pid(pid);
	return ret;
}

/*
 * Permission is asked for before the copy (flow/process.c), and the other process
 * runs on meanwhile.
 */
DEFINE_HOOK(process_vm_rw, ssize_t,
	    (pid_t pid, const struct iovec __user *lvec, unsigned long liovcnt,
	     const struct iovec __user *rvec, unsigned long riovcnt,
	     unsigned long flags, int write),
	    (pid, lvec, liovcnt, rvec, riovcnt, flags, write))
{
	ssize_t n = hook_orig_process_vm_rw(pid, lvec, liovcnt, rvec, riovcnt,
					    flags, write);

	take_pid(pid);
	return n;
}

DEFINE_HOOK(pidfd_getfd, int, (struct pid *pid, int fd), (pid, fd))
{
	int ret = hook_orig_pidfd_getfd(pid, fd);
	const struct task_struct *task;

	rcu_read_lock();
	task = pid_task(pid, PIDTYPE_PID);
	if (task)
		spec_task_take(task);
	else
		spec_task_take_exits();
	rcu_read_unlock();
	return ret;
}

/* Of sched_rr_get_interval(), with the old and the new time. */
DEFINE_HOOK(sched_rr_get_interval, int, (pid_t pid, struct timespec64 *t),
	    (pid, t))
{
	int ret = hook_orig_sched_rr_get_interval(pid, t);

	take_pid(pid);
	return ret;
}

/* Of one process, or the highest of many. */
static void take_group(bool one, pid_t nr)
{
	if (one)
		take_pid(nr);
	else
		spec_take_all(SPEC_CH_PROCESS);
}

#define GROUP_SYSCALL(name, one, nr)					\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	long ret = hook_orig_##name(regs);				\
									\
	take_group(one, nr);						\
	return ret;							\
}

GROUP_SYSCALL(__x64_sys_getpriority, (int)regs->di == PRIO_PROCESS,
	      regs->si)
GROUP_SYSCALL(__ia32_sys_getpriority, (int)regs->bx == PRIO_PROCESS,
	      regs->cx)
GROUP_SYSCALL(__x64_sys_ioprio_get, (int)regs->di == IOPRIO_WHO_PROCESS,
	      regs->si)
GROUP_SYSCALL(__ia32_sys_ioprio_get, (int)regs->bx == IOPRIO_WHO_PROCESS,
	      regs->cx)

static void take_capget(const void __user *arg)
{
	const struct __user_cap_header_struct __user *header = arg;
	int pid;

	if (unlikely(atomic_read(&speculator_active)) &&
	    !get_user(pid, &header->pid))
		take_pid(pid);
}

DEFINE_HOOK(__x64_sys_capget, long, (const struct pt_regs *regs), (regs))
{
	long ret = hook_orig___x64_sys_capget(regs);

	take_capget((void __user *)regs->di);
	return ret;
}

DEFINE_HOOK(__ia32_sys_capget, long, (const struct pt_regs *regs), (regs))
{
	long ret = hook_orig___ia32_sys_capget(regs);

	take_capget((void __user *)(unsigned long)(u32)regs->bx);
	return ret;
}

/* It compares two, and neither need be the caller. */
#define KCMP_SYSCALL(name, one, two)					\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	long ret = hook_orig_##name(regs);				\
									\
	take_pid(one);							\
	take_pid(two);							\
	return ret;							\
}

KCMP_SYSCALL(__x64_sys_kcmp, regs->di, regs->si)
KCMP_SYSCALL(__ia32_sys_kcmp, regs->bx, regs->cx)

/*
 * Every call that names a process or group by its number looks it up by one of
 * these, and says ESRCH (or ENOENT, in /proc) when it gets NULL.
 */
DEFINE_HOOK(find_vpid, struct pid *, (int nr), (nr))
{
	struct pid *pid = hook_orig_find_vpid(nr);

	if (unlikely(!pid))
		spec_task_take_exits();
	return pid;
}

DEFINE_HOOK(find_get_pid, struct pid *, (pid_t nr), (nr))
{
	struct pid *pid = hook_orig_find_get_pid(nr);

	if (unlikely(!pid))
		spec_task_take_exits();
	return pid;
}

#define FIND_TASK(name)							\
DEFINE_HOOK(name, struct task_struct *, (pid_t nr), (nr))		\
{									\
	struct task_struct *task = hook_orig_##name(nr);		\
									\
	if (unlikely(!task))						\
		spec_task_take_exits();					\
	return task;							\
}

FIND_TASK(find_task_by_vpid)
FIND_TASK(find_get_task_by_vpid)

DEFINE_HOOK(find_task_by_pid_ns, struct task_struct *,
	    (pid_t nr, struct pid_namespace *ns), (nr, ns))
{
	struct task_struct *task = hook_orig_find_task_by_pid_ns(nr, ns);

	if (unlikely(!task))
		spec_task_take_exits();
	return task;
}

/*
 * Who holds on to a number (a pidfd, an open file of /proc/PID) says ESRCH, or
 * the end of the file, when it gets NULL.
 */
DEFINE_HOOK(get_pid_task, struct task_struct *,
	    (struct pid *pid, enum pid_type type), (pid, type))
{
	struct task_struct *task = hook_orig_get_pid_task(pid, type);

	if (unlikely(!task) && in_task())
		spec_task_take_exits();
	return task;
}

/*
 * The number is there, but its process is not, or nobody is in the group.  The
 * null signal asks just that; whoever made the process is in what it depends on.
 */
DEFINE_HOOK(kill_something_info, int,
	    (int sig, struct kernel_siginfo *info, pid_t pid),
	    (sig, info, pid))
{
	int ret = hook_orig_kill_something_info(sig, info, pid);

	if (unlikely(ret == -ESRCH))
		spec_task_take_exits();
	else if (!sig)
		take_group(pid > 0, pid);
	return ret;
}

DEFINE_HOOK(do_send_specific, int,
	    (pid_t tgid, pid_t pid, int sig, struct kernel_siginfo *info),
	    (tgid, pid, sig, info))
{
	int ret = hook_orig_do_send_specific(tgid, pid, sig, info);

	if (!sig)
		take_pid(pid);
	return ret;
}

/* pidfd_send_signal() */
DEFINE_HOOK(kill_pid_info, int,
	    (int sig, struct kernel_siginfo *info, struct pid *pid),
	    (sig, info, pid))
{
	int ret = hook_orig_kill_pid_info(sig, info, pid);

	if (unlikely(ret == -ESRCH))
		spec_task_take_exits();
	return ret;
}

/* Setting something for another process, before it is set. */
static void put_task(const struct task_struct *task)
{
	const void *mm = spec_task_mm(task);

	if (mm && mm != current->mm)
		spec_put(mm, SPEC_CH_PROCESS);
}

DEFINE_HOOK_BEFORE(security_task_setpgid, int,
		   (struct task_struct *task, pid_t pgid), (task, pgid))
{
	put_task(task);
}

DEFINE_HOOK_BEFORE(security_task_setnice, int,
		   (struct task_struct *task, int nice), (task, nice))
{
	put_task(task);
}

DEFINE_HOOK_BEFORE(security_task_setioprio, int,
		   (struct task_struct *task, int ioprio), (task, ioprio))
{
	put_task(task);
}

DEFINE_HOOK_BEFORE(security_task_setrlimit, int,
		   (struct task_struct *task, unsigned int resource,
		    struct rlimit *limit),
		   (task, resource, limit))
{
	put_task(task);
}

DEFINE_HOOK_BEFORE(security_task_setscheduler, int,
		   (struct task_struct *task), (task))
{
	put_task(task);
}

static struct spec_hook *const hooks[] = {
	&hook___x64_sys_getpgid,
	&hook___ia32_sys_getpgid,
	&hook___x64_sys_getsid,
	&hook___ia32_sys_getsid,
	&hook___x64_sys_prlimit64,
	&hook___ia32_sys_prlimit64,
	&hook___x64_sys_sched_getscheduler,
	&hook___ia32_sys_sched_getscheduler,
	&hook___x64_sys_sched_getparam,
	&hook___ia32_sys_sched_getparam,
	&hook___x64_sys_sched_getattr,
	&hook___ia32_sys_sched_getattr,
	&hook___x64_sys_get_robust_list,
	&hook___ia32_compat_sys_get_robust_list,
	&hook___x64_sys_pidfd_open,
	&hook___ia32_sys_pidfd_open,
	&hook_sched_getaffinity,
	&hook_process_vm_rw,
	&hook_pidfd_getfd,
	&hook_sched_rr_get_interval,
	&hook___x64_sys_getpriority,
	&hook___ia32_sys_getpriority,
	&hook___x64_sys_ioprio_get,
	&hook___ia32_sys_ioprio_get,
	&hook___x64_sys_capget,
	&hook___ia32_sys_capget,
	&hook___x64_sys_kcmp,
	&hook___ia32_sys_kcmp,
	&hook_find_vpid,
	&hook_find_get_pid,
	&hook_find_task_by_vpid,
	&hook_find_get_task_by_vpid,
	&hook_find_task_by_pid_ns,
	&hook_get_pid_task,
	&hook_kill_something_info,
	&hook_do_send_specific,
	&hook_kill_pid_info,
	&hook_security_task_setpgid,
	&hook_security_task_setnice,
	&hook_security_task_setioprio,
	&hook_security_task_setrlimit,
	&hook_security_task_setscheduler,
};

const struct spec_channel spec_flow_task = {
	.name = "task",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
