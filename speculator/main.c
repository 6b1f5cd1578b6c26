// SPDX-License-Identifier: GPL-2.0
/* speculator.ko: the parts, in order. */

#include <linux/module.h>
#include <linux/seq_file.h>
#include "flow/memory.h"
#include "main.h"
#include "object.h"
#include "stats.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

DEFINE_PER_CPU(long, hook_inflight);

/* What is tracked on this kernel; Documentation/channels.rst is this table. */
static const struct spec_channel *const channels[] = {
	&spec_flow_process,
	&spec_flow_task,
	&spec_flow_proc,
	&spec_flow_memory,
	&spec_flow_file,
	&spec_flow_inode,
	&spec_flow_name,
	&spec_flow_open,
	&spec_flow_pipe,
	&spec_flow_unix,
	&spec_flow_inet,
	&spec_flow_packet,
	&spec_flow_pty,
	&spec_flow_sysv,
	&spec_flow_mqueue,
	&spec_flow_event,
	&spec_flow_poll,
	&spec_flow_anon,
	&spec_output_tty,
	&spec_output_net,
	&spec_output_wait,
	&spec_output_syscall,
	&spec_output_memcg,
};

/* All hooks in one table, so that removing them needs one grace period. */
static struct spec_hook *hooks[512];
static int nr_hooks;

static void channels_off(int n)
{
	while (n--)
		if (channels[n]->remove)
			channels[n]->remove();
}

/**
 * spec_channels_install - place all hooks, for the first source
 * @why: receives the reason on failure
 * @why_len: size of @why
 *
 * Context: process; the source mutex is held.
 * Return: 0, or an error; then none is in place.
 */
int spec_channels_install(char *why, size_t why_len)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(channels); i++) {
		if (!channels[i]->install)
			continue;
		err = channels[i]->install(why, why_len);
		if (err)
			goto out;
	}
	err = speculator_hooks_install(hooks, nr_hooks, why, why_len);
	if (err)
		goto out;
	for (i = 0; i < ARRAY_SIZE(channels) && !err; i++)
		if (channels[i]->ready)
			err = channels[i]->ready(why, why_len);
	if (err)
		spec_channels_remove();
	return err;
out:
	channels_off(i);
	return err;
}

/**
 * spec_channels_remove - remove all hooks, after the last source
 *
 * Context: process; the source mutex is held.
 */
void spec_channels_remove(void)
{
	speculator_hooks_remove(hooks, nr_hooks);
	channels_off(ARRAY_SIZE(channels));
}

/**
 * spec_channels_released - something is durable or has failed: look at what is
 * held
 *
 * Context: process, may sleep.
 */
void spec_channels_released(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->released)
			channels[i]->released();
}

/**
 * spec_channels_show - the channels' own lines for debugfs "held"
 * @m: seq_file
 *
 * Context: process.
 */
void spec_channels_show(struct seq_file *m)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->show)
			channels[i]->show(m);
}

static int __init collect_hooks(void)
{
	int i, j;

	for (i = 0; i < ARRAY_SIZE(channels); i++)
		for (j = 0; j < channels[i]->nr_hooks; j++) {
			if (WARN_ON(nr_hooks == ARRAY_SIZE(hooks)))
				return -E2BIG;
			hooks[nr_hooks++] = channels[i]->hooks[j];
		}
	return 0;
}

static int __init speculator_init(void)
{
	int err;

	err = collect_hooks();
	if (err)
		return err;
	err = spec_hook_init();
	if (err)
		return err;
	err = spec_object_init();
	if (err)
		return err;
	err = spec_memory_init();
	if (err)
		goto out_object;
	spec_net_init();
	err = spec_source_init();
	if (err)
		goto out_memory;
	err = spec_stats_init();
	if (err)
		goto out_source;
	return 0;

out_source:
	spec_source_exit();
out_memory:
	spec_memory_exit();
out_object:
	spec_object_exit();
	return err;
}

static void __exit speculator_exit(void)
{
	int i;

	/* A source holds the module, so the hooks are gone. */
	for (i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->drain)
			channels[i]->drain();
	speculator_hooks_drain(THIS_MODULE, &hook_inflight);
	spec_stats_exit();
	spec_source_exit();
	spec_memory_exit();
	spec_object_exit();
}

module_init(speculator_init);
module_exit(speculator_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Dependency tracking and output buffering for external synchrony");
