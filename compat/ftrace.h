/* SPDX-License-Identifier: GPL-2.0 */
/* What differs in ftrace between the kernels we run on. */
#ifndef _COMPAT_FTRACE_H
#define _COMPAT_FTRACE_H

#include <linux/ftrace.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
static inline int compat_register_direct(struct ftrace_ops *ops,
					 unsigned long addr)
{
	return register_ftrace_direct_multi(ops, addr);
}

static inline void compat_unregister_direct(struct ftrace_ops *ops,
					    unsigned long addr)
{
	unregister_ftrace_direct_multi(ops, addr);
	ftrace_free_filter(ops);
}
#else
static inline int compat_register_direct(struct ftrace_ops *ops,
					 unsigned long addr)
{
	return register_ftrace_direct(ops, addr);
}

static inline void compat_unregister_direct(struct ftrace_ops *ops,
					    unsigned long addr)
{
	/* Frees the filter, too: freeing it again would be a double free. */
	unregister_ftrace_direct(ops, addr, true);
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define compat_set_ip(fregs, ip) ftrace_instruction_pointer_set(fregs, ip)
#else
#define compat_set_ip(fregs, ip) ftrace_regs_set_instruction_pointer(fregs, ip)
#endif

#endif /* _COMPAT_FTRACE_H */
