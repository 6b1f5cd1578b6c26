/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in the VFS between the kernels we run on. */
#ifndef _COMPAT_FS_H
#define _COMPAT_FS_H

#include <linux/fs.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define compat_idmap	user_namespace
#else
#define compat_idmap	mnt_idmap
#endif

#endif /* _COMPAT_FS_H */
