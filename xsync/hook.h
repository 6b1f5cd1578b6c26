/* SPDX-License-Identifier: GPL-2.0 */
/* Wrappers that answer instead of the original, or step aside. */
#ifndef _XSYNC_HOOK_H
#define _XSYNC_HOOK_H

#include <linux/limits.h>
#include <speculator_hook.h>

/* The body's answer when the call is none of ours. */
#define HOOK_ORIGINAL LONG_MIN

/*
 * The body returns the value for the caller, or HOOK_ORIGINAL. The original is
 * then entered by a jump: a task asleep in an fsync of somebody else's file
 * system is not on our stack and does not hold up an unload. A body that calls
 * the original itself does so for an xsync mount only, which holds the module.
 */
#define DEFINE_HOOK_INSTEAD(fn, ret, proto, args)			\
	__DEFINE_HOOK_INSTEAD(fn, ret, proto, args, __HOOK_ALWAYS)

/*
 * The same for a function whose first argument is a file, and which is called for
 * every write, to a pipe as well: its entry returns at once, after six instructions,
 * when the file is not on an xsync mount. The offsets come from hook_offsets().
 */
#define DEFINE_HOOK_INSTEAD_FILE(fn, ret, proto, args)			\
	__DEFINE_HOOK_INSTEAD(fn, ret, proto, args, __HOOK_IF_FILE_OURS)

#define __HOOK_IF_FILE_OURS						\
	    "	mov hook_f_inode(%rdi),%rax\n"				\
	    "	mov hook_i_sb(%rax),%rax\n"				\
	    "	mov hook_s_op(%rax),%rax\n"				\
	    "	cmpq $xsync_put_super,hook_put_super(%rax)\n"		\
	    "	je 1f\n"						\
	    "	" ASM_RET						\
	    "1:\n"

#define __HOOK_OFFSET(struct_name, member)				\
	asm volatile(".set hook_" #member ", %c0" : :			\
		     "i" (offsetof(struct struct_name, member)))

/* Never called: in a file that uses it, tells the assembler where things are. */
#define DEFINE_HOOK_OFFSETS						\
	static void __used hook_offsets(void)				\
	{								\
		__HOOK_OFFSET(file, f_inode);				\
		__HOOK_OFFSET(inode, i_sb);				\
		__HOOK_OFFSET(super_block, s_op);			\
		__HOOK_OFFSET(super_operations, put_super);		\
	}

#define __DEFINE_HOOK_INSTEAD(fn, ret, proto, args, test)		\
	__HOOK_DECLARE(fn, ret, proto, test);				\
	static __always_inline long hook_instead_##fn proto;		\
	static __always_inline ret hook_body_##fn proto			\
	{								\
		return hook_orig_##fn args;				\
	}								\
	__used notrace ret hook_entry_##fn proto				\
	{								\
		long __r;						\
		this_cpu_inc(hook_inflight);				\
		__r = hook_instead_##fn args;				\
		this_cpu_dec(hook_inflight);				\
		if (__r != HOOK_ORIGINAL)				\
			return (__force ret)__r;			\
		return hook_body_##fn args;				\
	}								\
	static __always_inline long hook_instead_##fn proto

/* The same for a function that returns nothing. */
#define DEFINE_HOOK_INSTEAD_VOID(fn, proto, args)			\
	__HOOK_DECLARE(fn, void, proto, __HOOK_ALWAYS);			\
	static __always_inline long hook_instead_##fn proto;		\
	static __always_inline void hook_body_##fn proto		\
	{								\
		hook_orig_##fn args;					\
	}								\
	__used notrace void hook_entry_##fn proto				\
	{								\
		long __r;						\
		this_cpu_inc(hook_inflight);				\
		__r = hook_instead_##fn args;				\
		this_cpu_dec(hook_inflight);				\
		if (__r == HOOK_ORIGINAL)				\
			hook_body_##fn args;				\
	}								\
	static __always_inline long hook_instead_##fn proto

/*
 * For a function that returns nothing and is called often: the body runs only
 * when the condition holds, and calls the original itself. It is counted, since
 * the original may sleep on our stack while the mount it was called for lets go
 * of the module (remount with noxsync).
 */
#define DEFINE_HOOK_IF(fn, proto, args, condition)			\
	__HOOK_DECLARE(fn, void, proto, __HOOK_ALWAYS);			\
	static noinline void hook_if_##fn proto;			\
	static __always_inline void hook_body_##fn proto		\
	{								\
		hook_orig_##fn args;					\
	}								\
	__used notrace void hook_entry_##fn proto			\
	{								\
		if (unlikely(condition)) {				\
			this_cpu_inc(hook_inflight);			\
			hook_if_##fn args;				\
			this_cpu_dec(hook_inflight);			\
		} else {						\
			hook_body_##fn args;				\
		}							\
	}								\
	static noinline void hook_if_##fn proto

#endif /* _XSYNC_HOOK_H */
