// SPDX-License-Identifier: GPL-2.0
/*
 * System calls: what is not listed here waits.
 *
 * Every call of a program comes through one of three functions, by its number
 * in one of three tables.  The lists below are of the calls that may go on: they
 * stay inside the process, or something further down passes on, holds or waits
 * (Documentation/channels.rst, "System calls", tells what).  All the others
 * wait, and so does a call that a later kernel adds.  At the entry no lock is
 * held, and there is no second way in for 32-bit programs.
 */

#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/pid.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <asm/unistd.h>
#include <asm/unistd_32_ia32.h>
#include "../flow/task.h"
#include "../object.h"
#include "../source.h"
#include "wait.h"

/*
 * What to do at the entry.
 * WAIT	wait; what is in no list
 * GO	nothing
 * PID	wait if the first argument is another process
 * TRUNCATE, SYNCFS	the first argument is a descriptor: as its file system
 * SYNC	the same; also when only the file depends on something
 * FCNTL, PRCTL	by the command
 */
enum { WAIT, GO, PID, SYNC, SYNCFS, TRUNCATE, FCNTL, PRCTL };

/* Both tables have them by this name. */
#define CALLS_OF_BOTH(X)						\
	/* files: data */						\
	X(read, GO) X(write, GO) X(pread64, GO) X(pwrite64, GO)		\
	X(readv, GO) X(writev, GO) X(preadv, GO) X(pwritev, GO)		\
	X(preadv2, GO) X(pwritev2, GO) X(splice, GO) X(tee, GO)		\
	X(vmsplice, GO) X(sendfile, GO) X(copy_file_range, GO)		\
	X(readahead, GO) X(fadvise64, GO) X(fallocate, GO)		\
	X(truncate, GO) X(ftruncate, TRUNCATE) X(lseek, GO)		\
	X(fsync, GO) X(fdatasync, SYNC) X(syncfs, SYNCFS) X(sync, GO)	\
	X(sync_file_range, GO) X(msync, GO) X(flock, GO)		\
	X(fcntl, FCNTL) X(ioctl, GO)					\
	/* files: names and attributes */				\
	X(open, GO) X(openat, GO) X(openat2, GO) X(creat, GO)		\
	X(open_by_handle_at, GO) X(name_to_handle_at, GO) X(close, GO)	\
	X(close_range, GO) X(dup, GO) X(dup2, GO) X(dup3, GO)		\
	X(stat, GO) X(lstat, GO) X(fstat, GO) X(statx, GO)		\
	X(statfs, GO) X(fstatfs, GO) X(ustat, GO) X(access, GO)		\
	X(faccessat, GO) X(faccessat2, GO) X(readlink, GO)		\
	X(readlinkat, GO) X(getdents, GO) X(getdents64, GO)		\
	X(getcwd, GO) X(chdir, GO) X(fchdir, GO) X(chroot, GO)		\
	X(umask, GO) X(mkdir, GO) X(mkdirat, GO) X(rmdir, GO)		\
	X(mknod, GO) X(mknodat, GO) X(link, GO) X(linkat, GO)		\
	X(symlink, GO) X(symlinkat, GO) X(unlink, GO) X(unlinkat, GO)	\
	X(rename, GO) X(renameat, GO) X(renameat2, GO) X(chmod, GO)	\
	X(fchmod, GO) X(fchmodat, GO) X(chown, GO) X(fchown, GO)	\
	X(lchown, GO) X(fchownat, GO) X(utime, GO) X(utimes, GO)	\
	X(futimesat, GO) X(utimensat, GO) X(getxattr, GO)		\
	X(lgetxattr, GO) X(fgetxattr, GO) X(listxattr, GO)		\
	X(llistxattr, GO) X(flistxattr, GO) X(setxattr, GO)		\
	X(lsetxattr, GO) X(fsetxattr, GO) X(removexattr, GO)		\
	X(lremovexattr, GO) X(fremovexattr, GO)				\
	/* The way out of a failed journal: security_sb_umount() looks. */	\
	X(umount2, GO) X(mq_open, GO) X(mq_unlink, GO)			\
	/* files without a name, readiness */				\
	X(pipe, GO) X(pipe2, GO) X(eventfd, GO) X(eventfd2, GO)		\
	X(signalfd, GO) X(signalfd4, GO) X(timerfd_create, GO)		\
	X(timerfd_settime, GO) X(timerfd_gettime, GO)			\
	X(userfaultfd, GO) X(inotify_init, GO) X(inotify_init1, GO)	\
	X(inotify_add_watch, GO) X(inotify_rm_watch, GO)		\
	X(fanotify_init, GO) X(fanotify_mark, GO) X(select, GO)		\
	X(pselect6, GO) X(poll, GO) X(ppoll, GO) X(epoll_create, GO)	\
	X(epoll_create1, GO) X(epoll_ctl, GO) X(epoll_wait, GO)		\
	X(epoll_pwait, GO) X(epoll_pwait2, GO) X(io_setup, GO)		\
	X(io_destroy, GO) X(io_submit, GO) X(io_cancel, GO)		\
	X(io_getevents, GO) X(io_pgetevents, GO) X(io_uring_setup, GO)	\
	X(io_uring_enter, GO) X(io_uring_register, GO)			\
	/* sockets */							\
	X(socket, GO) X(socketpair, GO) X(bind, GO) X(listen, GO)	\
	X(accept4, GO) X(connect, GO) X(shutdown, GO) X(sendto, GO)	\
	X(sendmsg, GO) X(sendmmsg, GO) X(recvfrom, GO) X(recvmsg, GO)	\
	X(recvmmsg, GO) X(getsockname, GO) X(getpeername, GO)		\
	X(getsockopt, GO) X(setsockopt, GO)				\
	/* System V and POSIX, futexes */				\
	X(msgget, GO) X(msgsnd, GO) X(msgrcv, GO) X(msgctl, GO)		\
	X(semget, GO) X(semctl, GO) X(shmget, GO) X(shmctl, GO)		\
	X(shmat, GO) X(shmdt, GO) X(mq_timedsend, GO)			\
	X(mq_timedreceive, GO) X(mq_notify, GO) X(mq_getsetattr, GO)	\
	X(futex, GO) X(futex_waitv, GO) X(set_robust_list, GO)		\
	X(get_robust_list, GO)						\
	/* memory */							\
	X(brk, GO) X(mmap, GO) X(munmap, GO) X(mremap, GO)		\
	X(mprotect, GO) X(remap_file_pages, GO) X(pkey_alloc, GO)	\
	X(pkey_free, GO) X(pkey_mprotect, GO) X(madvise, GO)	\
	X(mincore, GO) X(mlock, GO) X(mlock2, GO) X(mlockall, GO)	\
	X(munlock, GO) X(munlockall, GO) X(membarrier, GO)		\
	X(memfd_create, GO) X(memfd_secret, GO) X(get_mempolicy, GO)	\
	X(set_mempolicy, GO) X(move_pages, PID) X(migrate_pages, PID)	\
	/* processes */							\
	X(fork, GO) X(vfork, GO) X(clone, GO) X(clone3, GO)		\
	X(execve, GO) X(execveat, GO) X(exit, GO) X(exit_group, GO)	\
	X(wait4, GO) X(waitid, GO) X(kill, GO) X(tkill, GO)		\
	X(tgkill, GO) X(rt_sigqueueinfo, GO) X(rt_tgsigqueueinfo, GO)	\
	X(pidfd_open, GO) X(pidfd_send_signal, GO) X(pidfd_getfd, GO)	\
	X(ptrace, GO) X(process_vm_readv, GO) X(process_vm_writev, GO)	\
	X(kcmp, GO) X(prctl, PRCTL) X(arch_prctl, GO)			\
	X(modify_ldt, GO) X(personality, GO) X(rseq, GO)		\
	X(seccomp, GO) X(landlock_create_ruleset, GO)			\
	X(landlock_restrict_self, GO) X(setns, GO) X(unshare, GO)	\
	X(set_tid_address, GO) X(getpid, GO) X(getppid, GO)		\
	X(gettid, GO) X(getpgrp, GO) X(getpgid, GO) X(setpgid, GO)	\
	X(getsid, GO) X(setsid, GO) X(getuid, GO) X(geteuid, GO)	\
	X(getgid, GO) X(getegid, GO) X(getresuid, GO)			\
	X(getresgid, GO) X(getgroups, GO) X(setuid, GO) X(setgid, GO)	\
	X(setreuid, GO) X(setregid, GO) X(setresuid, GO)		\
	X(setresgid, GO) X(setgroups, GO) X(setfsuid, GO)		\
	X(setfsgid, GO) X(capget, GO) X(capset, GO) X(getrlimit, GO)	\
	X(setrlimit, GO) X(prlimit64, PID) X(getrusage, GO)		\
	X(times, GO) X(getpriority, GO) X(ioprio_get, GO)		\
	X(sched_yield, GO) X(sched_getaffinity, GO)			\
	X(sched_getattr, GO) X(sched_getparam, GO)			\
	X(sched_getscheduler, GO) X(sched_rr_get_interval, GO)		\
	X(sched_get_priority_max, GO) X(sched_get_priority_min, GO)	\
	X(setpriority, GO) X(ioprio_set, GO)		\
	X(sched_setaffinity, GO) X(sched_setattr, GO)			\
	X(sched_setparam, GO) X(sched_setscheduler, GO)			\
	/* signals to oneself, time */					\
	X(rt_sigaction, GO) X(rt_sigpending, GO) X(rt_sigprocmask, GO)	\
	X(rt_sigreturn, GO) X(rt_sigsuspend, GO)			\
	X(rt_sigtimedwait, GO) X(sigaltstack, GO) X(pause, GO)		\
	X(restart_syscall, GO) X(time, GO) X(gettimeofday, GO)		\
	X(clock_gettime, GO) X(clock_getres, GO)			\
	X(clock_nanosleep, GO) X(nanosleep, GO) X(alarm, GO)		\
	X(getitimer, GO) X(setitimer, GO) X(timer_create, GO)		\
	X(timer_delete, GO) X(timer_getoverrun, GO)			\
	X(timer_gettime, GO) X(timer_settime, GO)			\
	/* the machine; what is seen is what others waited to set */	\
	X(vhangup, GO) X(uname, GO) X(sysinfo, GO) X(sysfs, GO)		\
	X(getrandom, GO) X(getcpu, GO)

#define CALLS_OF_64(X)							\
	X(accept, GO) X(newfstatat, GO) X(semop, GO) X(semtimedop, GO)

#define CALLS_OF_32(X)							\
	/* files */							\
	X(_llseek, GO) X(fadvise64_64, GO) X(truncate64, GO)		\
	X(ftruncate64, TRUNCATE) X(fcntl64, FCNTL) X(sendfile64, GO)	\
	X(uselib, GO) X(umount, GO) X(readdir, GO) X(oldstat, GO)	\
	X(oldlstat, GO) X(oldfstat, GO) X(stat64, GO) X(lstat64, GO)	\
	X(fstat64, GO) X(fstatat64, GO) X(statfs64, GO)			\
	X(fstatfs64, GO) X(chown32, GO) X(fchown32, GO)			\
	X(lchown32, GO) X(utimensat_time64, GO)				\
	/* readiness, sockets, System V and POSIX */			\
	X(_newselect, GO) X(pselect6_time64, GO) X(ppoll_time64, GO)	\
	X(io_pgetevents_time64, GO) X(timerfd_gettime64, GO)		\
	X(timerfd_settime64, GO) X(socketcall, GO)			\
	X(recvmmsg_time64, GO) X(mq_timedreceive_time64, GO)		\
	X(mq_timedsend_time64, GO) X(semtimedop_time64, GO)		\
	X(ipc, GO)							\
	X(futex_time64, GO)						\
	/* memory, processes */						\
	X(nice, GO) X(mmap2, GO) X(waitpid, GO) X(get_thread_area, GO)		\
	X(set_thread_area, GO) X(getuid32, GO) X(geteuid32, GO)		\
	X(getgid32, GO) X(getegid32, GO) X(getresuid32, GO)		\
	X(getresgid32, GO) X(getgroups32, GO) X(setuid32, GO)		\
	X(setgid32, GO) X(setreuid32, GO) X(setregid32, GO)		\
	X(setresuid32, GO) X(setresgid32, GO) X(setgroups32, GO)	\
	X(setfsuid32, GO) X(setfsgid32, GO) X(ugetrlimit, GO)		\
	X(sched_rr_get_interval_time64, GO)				\
	/* signals to oneself, time, the machine */			\
	X(signal, GO) X(sigaction, GO) X(sigpending, GO)		\
	X(sigprocmask, GO) X(sigreturn, GO) X(sigsuspend, GO)		\
	X(sgetmask, GO) X(ssetmask, GO) X(rt_sigtimedwait_time64, GO)	\
	X(clock_gettime64, GO) X(clock_getres_time64, GO)		\
	X(clock_nanosleep_time64, GO) X(timer_gettime64, GO)		\
	X(timer_settime64, GO) X(olduname, GO) X(oldolduname, GO)

static const u8 calls_64[] = {
#define X(name, action)							\
	[__NR_##name] = action,
	CALLS_OF_BOTH(X)
	CALLS_OF_64(X)
#undef X
};

static const u8 calls_32[] = {
#define X(name, action)							\
	[__NR_ia32_##name] = action,
	CALLS_OF_BOTH(X)
	CALLS_OF_32(X)
#undef X
};

/* What only asks, or what fcntl_setlk() and the like take care of. */
static bool fcntl_goes_on(unsigned int cmd)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_SETFL:
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case 12:		/* F_GETLK64, F_SETLK64, F_SETLKW64 */
	case 13:
	case 14:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
	case F_GETOWN:
	case F_SETOWN:
	case F_GETOWN_EX:
	case F_SETOWN_EX:
	case F_GETOWNER_UIDS:
	case F_GETSIG:
	case F_SETSIG:
	case F_GETLEASE:
	case F_NOTIFY:
	case F_GETPIPE_SZ:
	case F_GET_SEALS:
	case F_GET_RW_HINT:
	case F_GET_FILE_RW_HINT:
		return true;
	}
	return false;
}

/*
 * The process's own, up to the last that has been looked at.  Whoever becomes
 * exempt must have nothing left to hide.
 */
static bool prctl_goes_on(unsigned int option)
{
	switch (option) {
	case PR_SET_IO_FLUSHER:
	case PR_SCHED_CORE:
		return false;
	case PR_SET_VMA:
	case PR_SET_PTRACER:
		return true;
	}
	return option < PR_SCHED_CORE;
}

static bool is_self(pid_t nr)
{
	struct task_struct *task;
	bool self;

	if (!nr)
		return true;
	rcu_read_lock();
	task = pid_task(find_vpid(nr), PIDTYPE_PID);
	self = task && spec_task_mm(task) == current->mm;
	rcu_read_unlock();
	return self;
}

static noinline long call_gate(unsigned int action, unsigned int first,
			       unsigned int second)
{
	switch (action) {
	case PID:
		if (is_self(first))
			return 0;
		break;
	case SYNC:
		return spec_fd_gate(first, spec_fsync_gate);
	case SYNCFS:
		return spec_fd_gate(first, spec_syncfs_gate);
	case TRUNCATE:
		return spec_fd_gate(first, spec_truncate_gate);
	case FCNTL:
		if (fcntl_goes_on(second))
			return 0;
		break;
	case PRCTL:
		if (prctl_goes_on(first))
			return 0;
		break;
	}
	return spec_wait_self(SPEC_CH_SYSTEM, SPEC_WAIT_KILLABLE);
}

static __always_inline bool pending(void)
{
	const void *self = spec_self();

	return self && spec_maybe(self);
}

/* x32 programs use these numbers as well, and some above, which all wait. */
static __always_inline unsigned int action_64(unsigned int nr)
{
	return likely(nr < ARRAY_SIZE(calls_64)) ? calls_64[nr] : WAIT;
}

static __always_inline unsigned int action_32(unsigned int nr)
{
	return likely(nr < ARRAY_SIZE(calls_32)) ? calls_32[nr] : WAIT;
}

static __always_inline long gate(unsigned int action, unsigned int first,
				 unsigned int second)
{
	return action == SYNC || pending() ?
		call_gate(action, first, second) : 0;
}

DEFINE_HOOK_GATE_UNLESS(x64_sys_call, long,
			(const struct pt_regs *regs, unsigned int nr),
			(regs, nr), action_64(nr) == GO)
{
	return gate(action_64(nr), regs->di, regs->si);
}

DEFINE_HOOK_GATE_UNLESS(x32_sys_call, long,
			(const struct pt_regs *regs, unsigned int nr),
			(regs, nr), action_64(nr) == GO)
{
	return gate(action_64(nr), regs->di, regs->si);
}

DEFINE_HOOK_GATE_UNLESS(ia32_sys_call, long,
			(const struct pt_regs *regs, unsigned int nr),
			(regs, nr), action_32(nr) == GO)
{
	return gate(action_32(nr), regs->bx, regs->cx);
}

static struct spec_hook *const hooks[] = {
	&hook_x64_sys_call,
	&hook_x32_sys_call,
	&hook_ia32_sys_call,
};

const struct spec_channel spec_output_syscall = {
	.name = "system call",
	.rule = "waits",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
