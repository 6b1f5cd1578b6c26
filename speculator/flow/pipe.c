// SPDX-License-Identifier: GPL-2.0
/*
 * Pipes and FIFOs: write, read, splice, tee, vmsplice, close.
 * The key is the pipe_inode_info, that of a FIFO being opened its inode.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/sched/signal.h>
#include <linux/splice.h>
#include <linux/wait.h>
#include <asm/syscall.h>
#include "../../compat/fs.h"
#include "../object.h"

static struct pipe_inode_info *pipe_of(struct file *file)
{
	return S_ISFIFO(file_inode(file)->i_mode) ? file->private_data : NULL;
}

/* Before: a reader may have it as soon as the first page is in. */
DEFINE_HOOK_BEFORE(pipe_write, ssize_t,
		   (struct kiocb *iocb, struct iov_iter *from), (iocb, from))
{
	spec_put(iocb->ki_filp->private_data, SPEC_CH_PIPE);
}

/* After: a reader asleep gets what was written meanwhile. */
DEFINE_HOOK(pipe_read, ssize_t, (struct kiocb *iocb, struct iov_iter *to),
	    (iocb, to))
{
	const void *pipe = iocb->ki_filp->private_data;
	ssize_t n = hook_orig_pipe_read(iocb, to);

	spec_take(pipe, SPEC_CH_PIPE);
	return n;
}

/* The other end sees end of file, or EPIPE. */
DEFINE_HOOK_BEFORE(pipe_release, int,
		   (struct inode *inode, struct file *file), (inode, file))
{
	/* Of those who closed it before, see filp_close(). */
	if (unlikely(spec_maybe(file))) {
		__spec_pass(file, file->private_data, SPEC_CH_PIPE);
		spec_forget(file);
	}
	spec_put(file->private_data, SPEC_CH_PIPE);
}

/* Each end of a FIFO waits for the other to be opened. */
DEFINE_HOOK(fifo_open, int, (struct inode *inode, struct file *file),
	    (inode, file))
{
	int err;

	spec_put(inode, SPEC_CH_PIPE);
	err = hook_orig_fifo_open(inode, file);
	spec_take(inode, SPEC_CH_PIPE);
	return err;
}

static bool has_data_or_end(const struct pipe_inode_info *pipe)
{
	return !pipe_empty(READ_ONCE(pipe->head), READ_ONCE(pipe->tail)) ||
	       !READ_ONCE(pipe->writers);
}

/*
 * What moves out of a pipe by splice or tee becomes visible at its destination
 * inside the call, so its dependency must be there before: wait for data, count
 * it and take its dependency under the pipe's lock, and let no more than that
 * go.  (Where two readers share the pipe the bytes may be others than those
 * counted; they are then what the other reader left behind, of the same pipe.)
 *
 * Return: the bytes that may go, 0 when there will be none, or an error.
 */
static ssize_t take_from_pipe(struct pipe_inode_info *pipe, size_t len,
			      bool nonblock)
{
	for (;;) {
		unsigned int slot, mask;
		size_t bytes = 0;
		bool writers;

		pipe_lock(pipe);
		mask = pipe->ring_size - 1;
		for (slot = pipe->tail; slot != pipe->head; slot++)
			bytes += pipe->bufs[slot & mask].len;
		writers = pipe->writers;
		spec_take(pipe, SPEC_CH_PIPE);
		pipe_unlock(pipe);

		if (bytes)
			return min(bytes, len);
		if (!writers)
			return 0;
		if (nonblock)
			return -EAGAIN;
		if (wait_event_interruptible_exclusive(pipe->rd_wait,
						       has_data_or_end(pipe)))
			return -ERESTARTSYS;
	}
}

DEFINE_HOOK(do_splice, long,
	    (struct file *in, loff_t *off_in, struct file *out, loff_t *off_out,
	     size_t len, unsigned int flags),
	    (in, off_in, out, off_out, len, flags))
{
	struct pipe_inode_info *ipipe = pipe_of(in), *opipe = pipe_of(out);
	bool nonblock = flags & SPLICE_F_NONBLOCK;

	if (ipipe && ipipe != opipe && len && (in->f_mode & FMODE_READ) &&
	    (out->f_mode & FMODE_WRITE)) {
		ssize_t n;

		if (opipe && ((in->f_flags | out->f_flags) & O_NONBLOCK))
			nonblock = true;
		n = take_from_pipe(ipipe, len, nonblock);
		if (n < 0)
			return n;
		if (n)
			len = n;
	}
	if (opipe)
		spec_put(opipe, SPEC_CH_PIPE);
	return hook_orig_do_splice(in, off_in, out, off_out, len, flags);
}

DEFINE_HOOK(do_tee, long,
	    (struct file *in, struct file *out, size_t len, unsigned int flags),
	    (in, out, len, flags))
{
	struct pipe_inode_info *ipipe = pipe_of(in), *opipe = pipe_of(out);

	if (ipipe && opipe && ipipe != opipe && len &&
	    (in->f_mode & FMODE_READ) && (out->f_mode & FMODE_WRITE)) {
		bool nonblock = (flags & SPLICE_F_NONBLOCK) ||
				((in->f_flags | out->f_flags) & O_NONBLOCK);
		ssize_t n = take_from_pipe(ipipe, len, nonblock);

		if (n < 0)
			return n;
		if (n)
			len = n;
		spec_put(opipe, SPEC_CH_PIPE);
	}
	return hook_orig_do_tee(in, out, len, flags);
}

/*
 * From a file or socket into a pipe, that of sendfile included: what was read
 * (and taken by the reader's hook) is in the pipe now, still under its lock.
 */
DEFINE_HOOK(do_splice_to, long,
	    (struct file *in, loff_t *pos, struct pipe_inode_info *pipe,
	     size_t len, unsigned int flags),
	    (in, pos, pipe, len, flags))
{
	long n = hook_orig_do_splice_to(in, pos, pipe, len, flags);

	spec_put(pipe, SPEC_CH_PIPE);
	return n;
}

static __always_inline const void *vmsplice_pipe(int fd, bool *write)
{
	struct fd f = fdget(fd);
	const void *pipe = NULL;

	if (fd_file(f)) {
		pipe = pipe_of(fd_file(f));
		*write = fd_file(f)->f_mode & FMODE_WRITE;
		fdput(f);
	}
	return pipe;
}

#define VMSPLICE(name, fd)						\
DEFINE_HOOK(name, long, (const struct pt_regs *regs), (regs))		\
{									\
	bool write = false;						\
	const void *pipe = vmsplice_pipe(fd, &write);			\
	long n;								\
									\
	if (pipe && write)						\
		spec_put(pipe, SPEC_CH_PIPE);				\
	n = hook_orig_##name(regs);					\
	if (pipe)							\
		spec_take(pipe, SPEC_CH_PIPE);				\
	return n;							\
}

VMSPLICE(__x64_sys_vmsplice, regs->di)
VMSPLICE(__ia32_sys_vmsplice, regs->bx)

static struct spec_hook *const hooks[] = {
	&hook_pipe_write,
	&hook_pipe_read,
	&hook_pipe_release,
	&hook_fifo_open,
	&hook_do_splice,
	&hook_do_tee,
	&hook_do_splice_to,
	&hook___x64_sys_vmsplice,
	&hook___ia32_sys_vmsplice,
};

const struct spec_channel spec_flow_pipe = {
	.name = "pipe",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
