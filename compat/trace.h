/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in tracepoints between the kernels we run on. */
#ifndef _COMPAT_TRACE_H
#define _COMPAT_TRACE_H

#include <linux/tracepoint.h>
#include <linux/version.h>

/* Since 6.10 the source of a string is what __string() was given. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define compat_assign_str(field, from) __assign_str(field, from)
#else
#define compat_assign_str(field, from) __assign_str(field)
#endif

#endif /* _COMPAT_TRACE_H */
