/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calling a function of the kernel that is not exported.
 *
 * Not through a pointer: a kernel with IBT overwrites ("seals") the endbr of
 * every function whose address nobody takes, and an indirect call to it would
 * be a #CP panic.  A push and a ret are no indirect branch.
 *
 *	DEFINE_KERNEL_CALL(tcp_current_mss, unsigned int, (struct sock *sk));
 *	...
 *	if (!kernel_call_find(tcp_current_mss))
 *		return -ENOENT;
 *	mss = call_tcp_current_mss(sk);
 */
#ifndef _SPEC_CALL_H
#define _SPEC_CALL_H

#include <linux/linkage.h>
#include <linux/objtool.h>
#include <speculator_hook.h>

#define DEFINE_KERNEL_CALL(fn, ret, proto)				\
	ret call_##fn proto;						\
	extern unsigned long call_target_##fn;				\
	unsigned long call_target_##fn __used;				\
	asm(".pushsection .text,\"ax\",@progbits\n"			\
	    ".type call_" #fn ",@function\n"				\
	    "call_" #fn ":\n"						\
	    "	push call_target_" #fn "(%rip)\n"			\
	    "	" ASM_RET						\
	    ".size call_" #fn ",.-call_" #fn "\n"			\
	    ".popsection\n");						\
	STACK_FRAME_NON_STANDARD(call_##fn)

/* The address, or 0 when this kernel has no such function. */
#define kernel_call_find(fn) (call_target_##fn = speculator_symbol(#fn))

#endif /* _SPEC_CALL_H */
