// SPDX-License-Identifier: GPL-2.0
/*
 * What a debug kernel has to report, done on purpose when it is loaded: the
 * negative control of `make check-debug`. Never loads: only the report is wanted.
 */

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "slab, vmalloc, locks, sleep, leak, refcount, timer, race");

static DEFINE_MUTEX(lock_a);
static DEFINE_MUTEX(lock_b);
static DEFINE_SPINLOCK(spinlock);
static unsigned long shared;

static void provoke_slab(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
	kfree(p);
	if (p)
		pr_info("%d\n", READ_ONCE(*p));
}

static void provoke_vmalloc(void)
{
	char *p = vmalloc(PAGE_SIZE / 2);

	OPTIMIZER_HIDE_VAR(p);
	/* Not behind the page: a fault would leave the module half loaded. */
	if (p)
		pr_info("%d\n", READ_ONCE(p[PAGE_SIZE / 2]));
	vfree(p);
}

static void provoke_locks(void)
{
	mutex_lock(&lock_a);
	mutex_lock(&lock_b);
	mutex_unlock(&lock_b);
	mutex_unlock(&lock_a);
	mutex_lock(&lock_b);
	mutex_lock(&lock_a);
	mutex_unlock(&lock_a);
	mutex_unlock(&lock_b);
}

static void provoke_sleep(void)
{
	spin_lock(&spinlock);
	might_sleep();
	spin_unlock(&spinlock);
}

static void provoke_leak(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
}

static void provoke_refcount(void)
{
	refcount_t r = REFCOUNT_INIT(1);

	refcount_dec(&r);
	refcount_inc(&r);
}

static void nothing(struct timer_list *timer)
{
}

static void provoke_timer(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, nothing, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
}

static int racer(void *unused)
{
	while (!kthread_should_stop()) {
		shared++;
		cond_resched();
	}
	return 0;
}

static void provoke_race(void)
{
	struct task_struct *task = kthread_run(racer, NULL, "provoke");
	unsigned long end = jiffies + 2 * HZ;

	while (time_before(jiffies, end)) {
		shared++;
		cond_resched();
	}
	if (!IS_ERR(task))
		kthread_stop(task);
}

static const struct {
	const char *what;
	void (*provoke)(void);
} kinds[] = {
	{ "slab", provoke_slab },
	{ "vmalloc", provoke_vmalloc },
	{ "locks", provoke_locks },
	{ "sleep", provoke_sleep },
	{ "leak", provoke_leak },
	{ "refcount", provoke_refcount },
	{ "timer", provoke_timer },
	{ "race", provoke_race },
};

static int __init provoke_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(what, kinds[i].what)) {
			kinds[i].provoke();
			return -ECANCELED;
		}
	return -EINVAL;
}
module_init(provoke_init);

static void __exit provoke_exit(void)
{
}
module_exit(provoke_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Negative control of the debug kernels");
