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

/*
 * ext4 writes a page of a file. KEEP: the tag TOWRITE stays. Under data=journal the
 * caller of 6.12 goes on with the page: journals what a mapping has stored since,
 * wants it dirty if its buffers are in a transaction, and unlocks it.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#define compat_ext4_bio_write ext4_bio_write_page
#define COMPAT_BIO_WRITE_PROTO \
	(struct ext4_io_submit *io, struct page *page, int len, \
	 bool keep_towrite)
#define COMPAT_BIO_WRITE_ARGS (io, page, len, keep_towrite)
#define COMPAT_BIO_WRITE_FOLIO page_folio(page)
#define COMPAT_BIO_WRITE_KEEP keep_towrite
#define COMPAT_BIO_WRITE_CALLER_GOES_ON 0
#else
#define compat_ext4_bio_write ext4_bio_write_folio
#define COMPAT_BIO_WRITE_PROTO \
	(struct ext4_io_submit *io, struct folio *arg, size_t len)
#define COMPAT_BIO_WRITE_ARGS (io, arg, len)
#define COMPAT_BIO_WRITE_FOLIO arg
#define COMPAT_BIO_WRITE_KEEP false
#define COMPAT_BIO_WRITE_CALLER_GOES_ON 1
#endif

/* Takes a struct page * first, later a folio: a pointer to the same. */
#define compat_account_owner(wbc, folio, bytes) \
	wbc_account_cgroup_owner(wbc, (void *)(folio), bytes)

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
