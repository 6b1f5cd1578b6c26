/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in the VFS between the kernels we run on. */
#ifndef _COMPAT_FS_H
#define _COMPAT_FS_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define compat_idmap	user_namespace
#else
#define compat_idmap	mnt_idmap
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define compat_ctime(inode)	((inode)->i_ctime)
#else
#define compat_ctime(inode)	inode_get_ctime(inode)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define compat_mtime(inode)	((inode)->i_mtime)
#else
#define compat_mtime(inode)	inode_get_mtime(inode)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define fd_file(f) ((f).file)

/* Is the file also held by the fd, apart from the table of descriptors? */
static inline bool compat_fd_cloned(struct fd f)
{
	return f.flags & FDPUT_FPUT;
}
#else
static inline bool compat_fd_cloned(struct fd f)
{
	return f.word & FDPUT_FPUT;
}
#endif

/* Direct I/O without iomap; what is left out is passed on as it comes. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define COMPAT_DIRECT_IO_PROTO \
	(struct kiocb *iocb, struct inode *inode, struct block_device *bdev, \
	 struct iov_iter *iter, void *get_block, void *end_io, \
	 void *submit_io, int flags)
#define COMPAT_DIRECT_IO_ARGS \
	(iocb, inode, bdev, iter, get_block, end_io, submit_io, flags)
#define compat_lease_type long
#else
#define COMPAT_DIRECT_IO_PROTO \
	(struct kiocb *iocb, struct inode *inode, struct block_device *bdev, \
	 struct iov_iter *iter, void *get_block, void *end_io, int flags)
#define COMPAT_DIRECT_IO_ARGS \
	(iocb, inode, bdev, iter, get_block, end_io, flags)
#define compat_lease_type int
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define COMPAT_PAGE_MKWRITE_PROTO (struct vm_fault *vmf)
#define COMPAT_PAGE_MKWRITE_ARGS (vmf)
#else
#define COMPAT_PAGE_MKWRITE_PROTO (struct vm_fault *vmf, struct folio *folio)
#define COMPAT_PAGE_MKWRITE_ARGS (vmf, folio)
#endif

#endif /* _COMPAT_FS_H */
