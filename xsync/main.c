// SPDX-License-Identifier: GPL-2.0
/* xsync.ko: the parts, in order. */

#include <linux/module.h>
#include "hook.h"
#include "xsync.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

DEFINE_PER_CPU(long, hook_inflight);

static int __init xsync_init(void)
{
	int err;

	err = xsync_zeroout_init();
	if (err)
		return err;
	xsync_stats_init();
	err = xsync_journal_init();
	if (err)
		goto out_stats;
	/* Last: from here on there may be mounts. */
	err = xsync_options_init();
	if (err)
		goto out_journal;
	return 0;

out_journal:
	xsync_journal_exit();
out_stats:
	xsync_stats_exit();
	xsync_zeroout_exit();
	return err;
}

static void __exit xsync_exit(void)
{
	/* A mount or an open context holds the module: there is none. */
	xsync_options_exit();
	xsync_journal_exit();
	speculator_hooks_drain(THIS_MODULE, &hook_inflight);
	xsync_stats_exit();
	xsync_zeroout_exit();
}

module_init(xsync_init);
module_exit(xsync_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("External synchrony for ext4: mount -o xsync");
MODULE_SOFTDEP("pre: ext4");
