/* SPDX-License-Identifier: GPL-2.0 */
/* io_uring, by hand: one request at a time. */
#ifndef SELFTESTS_URING_H
#define SELFTESTS_URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * One request on a ring made for it by @setup, with @flags; its result. The ring
 * stays: the process is about to end.
 */
static inline int uring_do(unsigned int setup, unsigned int flags, int op,
			   int fd, void *buf, unsigned int len)
{
	struct io_uring_params par = { .flags = setup, .sq_thread_idle = 2000 };
	int ring = syscall(SYS_io_uring_setup, 4, &par);
	bool poll = setup & IORING_SETUP_SQPOLL;
	struct io_uring_sqe *sqes;
	unsigned int *tail, head;
	char *sq, *cq;

	if (ring < 0)
		_exit(94);
	sq = mmap(0, par.sq_off.array + par.sq_entries * 4,
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(0,
		  par.cq_off.cqes +
			  par.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqes = mmap(0, par.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE,
		    MAP_SHARED, ring, IORING_OFF_SQES);
	memset(sqes, 0, sizeof(*sqes));
	sqes->opcode = op;
	sqes->flags = flags;
	sqes->fd = fd;
	sqes->addr = (unsigned long)buf;
	sqes->len = len;
	tail = (unsigned int *)(sq + par.sq_off.tail);
	((unsigned int *)(sq + par.sq_off.array))[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	while (syscall(SYS_io_uring_enter, ring, !poll, 1,
		       IORING_ENTER_GETEVENTS |
			       (poll ? IORING_ENTER_SQ_WAKEUP : 0),
		       NULL, 0) < 0)
		;
	head = *(unsigned int *)(cq + par.cq_off.head);
	return ((struct io_uring_cqe *)(cq + par.cq_off.cqes))
		[head & *(unsigned int *)(cq + par.cq_off.ring_mask)]
			.res;
}

#endif /* SELFTESTS_URING_H */
