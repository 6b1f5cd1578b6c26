/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wrapping functions of a running stock kernel.
 *
 * A hook replaces a function by a wrapper of the same prototype, which may call
 * the original.  The way in is an ftrace direct call to a stub that drops the
 * return address into the original and jumps to the wrapper: ten instructions.
 * Where another direct user holds the function, ftrace's IPMODIFY is used: 45.
 * The way to the original is a push and a ret behind its fentry, never an
 * indirect branch: there is no endbr to land on, and with IBT an indirect call
 * would be a #CP panic.  See Documentation/design.rst, "Hooks".
 *
 * Use:
 *	DEFINE_HOOK(pipe_read, ssize_t, (struct kiocb *iocb, struct iov_iter *to),
 *		    (iocb, to))
 *	{
 *		ssize_t n = hook_orig_pipe_read(iocb, to);
 *		...
 *		return n;
 *	}
 *
 * A wrapper may sleep where the original may.  Every call is counted while it
 * is inside the module's text, so that the module can wait for the last one to
 * leave (speculator_hooks_drain()).
 */
#ifndef _SPECULATOR_HOOK_H
#define _SPECULATOR_HOOK_H

#include <linux/ftrace.h>
#include <linux/linkage.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/percpu.h>
#include <asm/ibt.h>

/**
 * enum spec_hook_way - how a hook is placed on this kernel
 * @HOOK_OFF: not placed
 * @HOOK_DIRECT: ftrace direct call
 * @HOOK_IPMODIFY: ftrace callback that changes the instruction pointer
 */
enum spec_hook_way { HOOK_OFF, HOOK_DIRECT, HOOK_IPMODIFY };

/**
 * struct spec_hook - one wrapped function
 * @name:	symbol of the function; must not be a compiler-made clone
 * @stub:	where ftrace's direct call goes
 * @wrapper:	the C wrapper, for IPMODIFY
 * @target:	read by the "call the original" thunk: the byte behind the fentry
 * @ip:		address of the fentry while placed
 * @way:	how it is placed
 * @ops:	ftrace's handle
 */
struct spec_hook {
	const char *name;
	void (*stub)(void);
	void *wrapper;
	unsigned long *target;
	unsigned long ip;
	enum spec_hook_way way;
	struct ftrace_ops ops;
};

/* Calls inside this module's wrappers; summed over CPUs when unloading. */
DECLARE_PER_CPU(long, hook_inflight);

/*
 * How many dependencies there are, of anything, on this machine.  While there
 * are none, a wrapper that only looks before has nothing to do, and its stub
 * returns at once: four instructions.  A wrapper that looks after may not: what
 * it is to see may come while the original sleeps.
 */
extern atomic_t speculator_active;

#define __HOOK_ALWAYS	""
#define __HOOK_IF_ACTIVE						\
	    "	cmpl $0,speculator_active(%rip)\n"			\
	    "	jne 1f\n"						\
	    "	" ASM_RET						\
	    "1:\n"

#define __HOOK_ASM(fn, test)						\
	asm(".pushsection .text,\"ax\",@progbits\n"			\
	    ".type hook_stub_" #fn ",@function\n"			\
	    "hook_stub_" #fn ":\n"					\
	    "	" ASM_ENDBR "\n"					\
	    test							\
	    "	add $8,%rsp\n"						\
	    "	jmp hook_entry_" #fn "\n"				\
	    ".size hook_stub_" #fn ",.-hook_stub_" #fn "\n"		\
	    ".type hook_orig_" #fn ",@function\n"			\
	    "hook_orig_" #fn ":\n"					\
	    "	push hook_target_" #fn "(%rip)\n"			\
	    "	" ASM_RET						\
	    ".size hook_orig_" #fn ",.-hook_orig_" #fn "\n"		\
	    ".popsection\n");						\
	STACK_FRAME_NON_STANDARD(hook_stub_##fn);			\
	STACK_FRAME_NON_STANDARD(hook_orig_##fn)

#define __HOOK_DECLARE(fn, ret, proto, test)				\
	ret hook_orig_##fn proto;					\
	ret hook_entry_##fn proto;					\
	void hook_stub_##fn(void);					\
	extern unsigned long hook_target_##fn;				\
	unsigned long hook_target_##fn __used;				\
	static __always_inline ret hook_body_##fn proto;		\
	static struct spec_hook hook_##fn = {				\
		.name = #fn, .stub = hook_stub_##fn,			\
		.wrapper = hook_entry_##fn,				\
		.target = &hook_target_##fn,				\
	};								\
	__HOOK_ASM(fn, test)

/* A wrapper of a function that returns a value. */
#define DEFINE_HOOK(fn, ret, proto, args)				\
	__HOOK_DECLARE(fn, ret, proto, __HOOK_ALWAYS);			\
	__used notrace ret hook_entry_##fn proto				\
	{								\
		ret __r;						\
		this_cpu_inc(hook_inflight);				\
		__r = hook_body_##fn args;				\
		this_cpu_dec(hook_inflight);				\
		return __r;						\
	}								\
	static __always_inline ret hook_body_##fn proto

/* The same for a function that returns nothing. */
#define DEFINE_HOOK_VOID(fn, proto, args)				\
	__HOOK_DECLARE(fn, void, proto, __HOOK_ALWAYS);			\
	__used notrace void hook_entry_##fn proto				\
	{								\
		this_cpu_inc(hook_inflight);				\
		hook_body_##fn args;					\
		this_cpu_dec(hook_inflight);				\
	}								\
	static __always_inline void hook_body_##fn proto

/*
 * A wrapper that only looks before, at what the running process depends on: it
 * is not called while nothing depends on anything.  The body returns void and the original is
 * entered by a jump, so that a task asleep in it is not on the wrapper's stack.
 */
#define DEFINE_HOOK_BEFORE(fn, ret, proto, args)			\
	__HOOK_DECLARE(fn, ret, proto, __HOOK_IF_ACTIVE);		\
	static __always_inline void hook_before_##fn proto;		\
	static __always_inline ret hook_body_##fn proto			\
	{								\
		return hook_orig_##fn args;				\
	}								\
	__used notrace ret hook_entry_##fn proto				\
	{								\
		this_cpu_inc(hook_inflight);				\
		hook_before_##fn args;					\
		this_cpu_dec(hook_inflight);				\
		return hook_body_##fn args;				\
	}								\
	static __always_inline void hook_before_##fn proto

/*
 * For a function that is called very often: while the condition @settled holds
 * there is nothing to do.  It must not sleep: such a call is not counted, and is
 * waited for by hooks_synchronize().
 */
#define DEFINE_HOOK_BEFORE_UNLESS(fn, ret, proto, args, settled)	\
	__DEFINE_HOOK_BEFORE_UNLESS(fn, ret, proto, args, settled,	\
				    __HOOK_IF_ACTIVE)

/* One that looks at something else as well, and is always called. */
#define DEFINE_HOOK_BEFORE_ALWAYS_UNLESS(fn, ret, proto, args, settled)	\
	__DEFINE_HOOK_BEFORE_UNLESS(fn, ret, proto, args, settled,	\
				    __HOOK_ALWAYS)

#define __DEFINE_HOOK_BEFORE_UNLESS(fn, ret, proto, args, settled, test) \
	__HOOK_DECLARE(fn, ret, proto, test);				\
	static __always_inline void hook_before_##fn proto;		\
	static __always_inline ret hook_body_##fn proto			\
	{								\
		return hook_orig_##fn args;				\
	}								\
	static noinline notrace ret hook_unsettled_##fn proto		\
	{								\
		this_cpu_inc(hook_inflight);				\
		hook_before_##fn args;					\
		this_cpu_dec(hook_inflight);				\
		return hook_body_##fn args;				\
	}								\
	__used notrace ret hook_entry_##fn proto			\
	{								\
		if (likely(settled))					\
			return hook_body_##fn args;			\
		return hook_unsettled_##fn args;			\
	}								\
	static __always_inline void hook_before_##fn proto

/* DEFINE_HOOK_BEFORE for a function that returns nothing, or never returns. */
#define DEFINE_HOOK_BEFORE_VOID(fn, proto, args)			\
	__HOOK_DECLARE(fn, void, proto, __HOOK_IF_ACTIVE);		\
	static __always_inline void hook_body_##fn proto		\
	{								\
		hook_orig_##fn args;					\
	}								\
	static __always_inline void hook_before_##fn proto;		\
	__used notrace void hook_entry_##fn proto				\
	{								\
		this_cpu_inc(hook_inflight);				\
		hook_before_##fn args;					\
		this_cpu_dec(hook_inflight);				\
		hook_body_##fn args;					\
	}								\
	static __always_inline void hook_before_##fn proto

/*
 * A wrapper that may refuse, in the same condition: the body returns 0 to go
 * on, or the value the caller gets instead.
 */
#define DEFINE_HOOK_GATE(fn, proto, args)				\
	__DEFINE_HOOK_GATE(fn, int, proto, args, __HOOK_IF_ACTIVE)

#define DEFINE_HOOK_GATE_LONG(fn, proto, args)				\
	__DEFINE_HOOK_GATE(fn, long, proto, args, __HOOK_IF_ACTIVE)

#define DEFINE_HOOK_GATE_ALWAYS(fn, proto, args)			\
	__DEFINE_HOOK_GATE(fn, int, proto, args, __HOOK_ALWAYS)

#define __HOOK_GATE_DECLARE(fn, ret, proto, args, test)			\
	__HOOK_DECLARE(fn, ret, proto, test);				\
	static __always_inline ret hook_gate_##fn proto;		\
	static __always_inline ret hook_body_##fn proto			\
	{								\
		return hook_orig_##fn args;				\
	}

#define __HOOK_GATE_BODY(fn, ret, args)					\
	{								\
		ret __r;						\
		this_cpu_inc(hook_inflight);				\
		__r = hook_gate_##fn args;				\
		this_cpu_dec(hook_inflight);				\
		return __r ? __r : hook_body_##fn args;			\
	}

#define __DEFINE_HOOK_GATE(fn, ret, proto, args, test)			\
	__HOOK_GATE_DECLARE(fn, ret, proto, args, test)			\
	__used notrace ret hook_entry_##fn proto			\
	__HOOK_GATE_BODY(fn, ret, args)					\
	static __always_inline ret hook_gate_##fn proto

/*
 * For a function that is called very often: while the condition @open holds the
 * gate is not asked.  (What is not counted does not sleep, and is waited for by
 * hooks_synchronize().)
 */
#define DEFINE_HOOK_GATE_UNLESS(fn, ret, proto, args, open)		\
	__HOOK_GATE_DECLARE(fn, ret, proto, args, __HOOK_IF_ACTIVE)	\
	static noinline notrace ret hook_shut_##fn proto		\
	__HOOK_GATE_BODY(fn, ret, args)					\
	__used notrace ret hook_entry_##fn proto			\
	{								\
		if (likely(open))					\
			return hook_body_##fn args;			\
		return hook_shut_##fn args;				\
	}								\
	static __always_inline ret hook_gate_##fn proto

unsigned long speculator_symbol(const char *name);
int speculator_hooks_install(struct spec_hook *const *hooks, int n,
			     char *why, size_t why_len);
void speculator_hooks_remove(struct spec_hook *const *hooks, int n);
void speculator_hooks_drain(struct module *module, long __percpu *inflight);

#endif /* _SPECULATOR_HOOK_H */
