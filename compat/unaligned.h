/* SPDX-License-Identifier: GPL-2.0 */
/* Where unaligned access is declared in the kernels we run on. */
#ifndef _COMPAT_UNALIGNED_H
#define _COMPAT_UNALIGNED_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

#endif /* _COMPAT_UNALIGNED_H */
