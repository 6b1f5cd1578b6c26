// SPDX-License-Identifier: GPL-2.0
/*
 * System V messages and semaphores, and the names of all System V objects.
 *
 * The key is made of kind and id: the object itself is private to ipc/, and a
 * call that finds it gone has none.  Namespaces are not part of it: where two
 * objects share a key that costs a needless dependency.
 */

#include <linux/compat.h>
#include <linux/ipc.h>
#include <linux/msg.h>
#include <linux/sched/signal.h>
#include <linux/sem.h>
#include <linux/shm.h>
#include <linux/uaccess.h>
#include <uapi/linux/shm.h>
#include "../object.h"
#include "../source.h"

/**
 * enum sysv_kind - what a key of the object table that is no pointer means
 * @SYSV_MESSAGES: a message queue
 * @SYSV_SEMAPHORES: a set of semaphores
 *
 * Counted from above the kinds of flow/inet.c; below all addresses of the
 * kernel.
 */
enum sysv_kind { SYSV_MESSAGES = 16, SYSV_SEMAPHORES };

static const void *key_of(enum sysv_kind kind, int id)
{
	return (const void *)((unsigned long)kind << 40 | (u32)id);
}

static const char names;	/* which objects exist, and for whom */
static const char undos;	/* semaphores changed by an exit (SEM_UNDO) */

static void put(const void *key)
{
	spec_put(key, SPEC_CH_IPC);
}

static void take(const void *key)
{
	spec_take(key, SPEC_CH_IPC);
}

/*
 * Whoever uses a queue learns of all others: senders whether there is room, and
 * receivers whether somebody else was faster.
 */
DEFINE_HOOK(do_msgsnd, long,
	    (int id, long type, void __user *text, size_t size, int flags),
	    (id, type, text, size, flags))
{
	const void *key = key_of(SYSV_MESSAGES, id);
	long ret;

	put(key);
	ret = hook_orig_do_msgsnd(id, type, text, size, flags);
	take(key);
	return ret;
}

DEFINE_HOOK(do_msgrcv, long,
	    (int id, void __user *buf, size_t size, long type, int flags,
	     long (*handler)(void __user *, struct msg_msg *, size_t)),
	    (id, buf, size, type, flags, handler))
{
	const void *key = key_of(SYSV_MESSAGES, id);
	long ret;

	put(key);
	ret = hook_orig_do_msgrcv(id, buf, size, type, flags, handler);
	take(key);
	return ret;
}

/* The same: who goes on has changed what another waits for. */
DEFINE_HOOK(__do_semtimedop, long,
	    (int id, struct sembuf *ops, unsigned int n,
	     const struct timespec64 *timeout, struct ipc_namespace *ns),
	    (id, ops, n, timeout, ns))
{
	const void *key = key_of(SYSV_SEMAPHORES, id);
	long ret;

	put(key);
	ret = hook_orig___do_semtimedop(id, ops, n, timeout, ns);
	take(key);
	take(&undos);
	/* Kicked by speculator_hooks_drain(), or to run some task work. */
	if (ret == -EINTR && !task_sigpending(current))
		return -ERESTARTNOINTR;
	return ret;
}

/* Its list of what to undo says which semaphores, but is private to ipc/. */
DEFINE_HOOK_BEFORE_VOID(exit_sem, (struct task_struct *task), (task))
{
	if (task->sysvsem.undo_list)
		put(&undos);
}

/* msgget(), semget(), shmget(): also the answer that there is none. */
struct ipc_ids;
struct ipc_ops;
struct ipc_params;

DEFINE_HOOK(ipcget, int,
	    (struct ipc_namespace *ns, struct ipc_ids *ids,
	     const struct ipc_ops *ops, struct ipc_params *params),
	    (ns, ids, ops, params))
{
	int ret;

	put(&names);
	ret = hook_orig_ipcget(ns, ids, ops, params);
	take(&names);
	return ret;
}

static bool changes(int cmd)
{
	cmd &= ~IPC_64;
	return cmd == IPC_RMID || cmd == IPC_SET;
}

static void msgctl_begin(int id, int cmd)
{
	if (!changes(cmd))
		return;
	put(key_of(SYSV_MESSAGES, id));
	put(&names);
}

static void msgctl_end(int id, int cmd)
{
	/* Others ask for all objects, or for one by its place in the table. */
	if (!changes(cmd) && (cmd & ~IPC_64) != IPC_STAT) {
		spec_take_all(SPEC_CH_IPC);
		return;
	}
	take(key_of(SYSV_MESSAGES, id));
}

DEFINE_HOOK(__x64_sys_msgctl, long, (const struct pt_regs *regs), (regs))
{
	long ret;

	msgctl_begin(regs->di, regs->si);
	ret = hook_orig___x64_sys_msgctl(regs);
	msgctl_end(regs->di, regs->si);
	return ret;
}

DEFINE_HOOK(compat_ksys_msgctl, long,
	    (int id, int cmd, void __user *arg, int version),
	    (id, cmd, arg, version))
{
	long ret;

	msgctl_begin(id, cmd);
	ret = hook_orig_compat_ksys_msgctl(id, cmd, arg, version);
	msgctl_end(id, cmd);
	return ret;
}

static void semctl_begin(int id, int cmd)
{
	switch (cmd & ~IPC_64) {
	case IPC_RMID:
	case IPC_SET:
		put(&names);
		fallthrough;
	case SETVAL:
	case SETALL:
		put(key_of(SYSV_SEMAPHORES, id));
	}
}

static void semctl_end(int id, int cmd)
{
	switch (cmd & ~IPC_64) {
	case IPC_INFO:
	case SEM_INFO:		/* how many there are; dmsetup asks it */
		take(&names);
		return;
	case SEM_STAT:
	case SEM_STAT_ANY:
		spec_take_all(SPEC_CH_IPC);
		return;
	}
	take(key_of(SYSV_SEMAPHORES, id));
	take(&undos);
}

DEFINE_HOOK(__x64_sys_semctl, long, (const struct pt_regs *regs), (regs))
{
	long ret;

	semctl_begin(regs->di, regs->dx);
	ret = hook_orig___x64_sys_semctl(regs);
	semctl_end(regs->di, regs->dx);
	return ret;
}

DEFINE_HOOK(compat_ksys_semctl, long,
	    (int id, int num, int cmd, int arg, int version),
	    (id, num, cmd, arg, version))
{
	long ret;

	semctl_begin(id, cmd);
	ret = hook_orig_compat_ksys_semctl(id, num, cmd, arg, version);
	semctl_end(id, cmd);
	return ret;
}

/*
 * A segment tells how many have mapped it, and who was the last; mapping and
 * exit change that.  Nobody asks often: whoever does takes all.  How many there
 * are is a matter of names.
 */
static void shmctl_begin(int cmd)
{
	if (changes(cmd))
		put(&names);
}

static void shmctl_end(int cmd)
{
	switch (cmd & ~IPC_64) {
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY:
		spec_take_all(SPEC_CH_IPC);
		break;
	default:
		take(&names);
	}
}

DEFINE_HOOK(__x64_sys_shmctl, long, (const struct pt_regs *regs), (regs))
{
	long ret;

	shmctl_begin(regs->si);
	ret = hook_orig___x64_sys_shmctl(regs);
	shmctl_end(regs->si);
	return ret;
}

DEFINE_HOOK(compat_ksys_shmctl, long,
	    (int id, int cmd, void __user *arg, int version),
	    (id, cmd, arg, version))
{
	long ret;

	shmctl_begin(cmd);
	ret = hook_orig_compat_ksys_shmctl(id, cmd, arg, version);
	shmctl_end(cmd);
	return ret;
}

static struct spec_hook *const hooks[] = {
	&hook_do_msgsnd,
	&hook_do_msgrcv,
	&hook___do_semtimedop,
	&hook_exit_sem,
	&hook_ipcget,
	&hook___x64_sys_msgctl,
	&hook_compat_ksys_msgctl,
	&hook___x64_sys_semctl,
	&hook_compat_ksys_semctl,
	&hook___x64_sys_shmctl,
	&hook_compat_ksys_shmctl,
};

const struct spec_channel spec_flow_sysv = {
	.name = "sysv",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
