// SPDX-License-Identifier: GPL-2.0
/*
 * Hold a program up where it calls a function of the kernel, so that a test can look
 * at what is between two steps of it: function=NAME comm=PROGRAM. The program's
 * processor is held with it, until `go` is written or BOUND is over; there must be
 * another one.
 */

#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

#define BOUND (10 * HZ)

static char *function = "";
module_param(function, charp, 0444);
MODULE_PARM_DESC(function, "where it is held up");

static char *comm = "";
module_param(comm, charp, 0444);
MODULE_PARM_DESC(comm, "the program, as in /proc/PID/comm");

static bool there;
module_param(there, bool, 0444);
MODULE_PARM_DESC(there, "is it held up?");

static bool go;
module_param(go, bool, 0644);
MODULE_PARM_DESC(go, "it may go on, and is not held up again");

static int hold_up(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long end = jiffies + BOUND;

	if (READ_ONCE(go) || strcmp(current->comm, comm))
		return 0;
	WRITE_ONCE(there, true);
	while (!READ_ONCE(go) && time_before(jiffies, end))
		cpu_relax();
	WRITE_ONCE(go, true);
	return 0;
}

static struct kprobe probe = {
	.pre_handler = hold_up
};

static int __init pause_init(void)
{
	probe.symbol_name = function;
	return register_kprobe(&probe);
}
module_init(pause_init);

static void __exit pause_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(pause_exit);

MODULE_DESCRIPTION("Test module: holds a program up within the kernel");
MODULE_LICENSE("GPL");
