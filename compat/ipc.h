/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in events and futexes between the kernels we run on. */
#ifndef _COMPAT_IPC_H
#define _COMPAT_IPC_H

#include <linux/kref.h>
#include <linux/version.h>
#include <linux/wait.h>

/**
 * struct compat_eventfd - how an eventfd begins; fs/eventfd.c keeps it private
 * @kref: references
 * @wqh: who waits
 *
 * The same in 6.1 and 6.12.
 */
struct compat_eventfd {
	struct kref kref;
	wait_queue_head_t wqh;
};

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define COMPAT_EVENTFD_SIGNAL_PROTO \
	(struct eventfd_ctx *event, __u64 n, __poll_t mask)
#define COMPAT_EVENTFD_SIGNAL_ARGS (event, n, mask)
#else
#define COMPAT_EVENTFD_SIGNAL_PROTO (struct eventfd_ctx *event, __poll_t mask)
#define COMPAT_EVENTFD_SIGNAL_ARGS (event, mask)
#endif

/* kernel/futex/futex.h keeps the flag private. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define COMPAT_FUTEX_SHARED 0x01
#define COMPAT_FUTEX_REQUEUE_PROTO \
	(u32 __user *uaddr1, unsigned int flags1, u32 __user *uaddr2, \
	 int nr_wake, int nr_requeue, u32 *cmpval, int requeue_pi)
#define COMPAT_FUTEX_REQUEUE_ARGS \
	(uaddr1, flags1, uaddr2, nr_wake, nr_requeue, cmpval, requeue_pi)
#define COMPAT_FUTEX_REQUEUE_FLAGS2 flags1
#else
#define COMPAT_FUTEX_SHARED 0x10
#define COMPAT_FUTEX_REQUEUE_PROTO \
	(u32 __user *uaddr1, unsigned int flags1, u32 __user *uaddr2, \
	 unsigned int flags2, int nr_wake, int nr_requeue, u32 *cmpval, \
	 int requeue_pi)
#define COMPAT_FUTEX_REQUEUE_ARGS \
	(uaddr1, flags1, uaddr2, flags2, nr_wake, nr_requeue, cmpval, \
	 requeue_pi)
#define COMPAT_FUTEX_REQUEUE_FLAGS2 flags2
#endif

#endif /* _COMPAT_IPC_H */
