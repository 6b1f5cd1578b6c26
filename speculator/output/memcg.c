// SPDX-License-Identifier: GPL-2.0
/*
 * Memory cgroups: held output is the writer's memory, and must not kill him.
 *
 * The kernel charges what is held to the cgroup of its writer, and answers a
 * cgroup that is full by killing somebody in it: at the next page that anyone
 * there touches, long after the write.  So writers stop at half of what the
 * cgroup may have, and where it fills up all the same the OOM killer has to wait
 * until what is held has given way, as it waits for pages that are written back.
 */

#include <linux/hash.h>
#include <linux/page_counter.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include "../channel.h"
#include "../object.h"
#include "../source.h"
#include "memcg.h"

/* Ticks for which the OOM killer waits for what is durable to leave. */
#define PATIENCE	(3 * HZ)

/*
 * Held memory of each cgroup and all below it.  Those whose addresses have the
 * same hash share a counter, and stop at the share of the smaller.
 */
#define MEMCG_BITS	10
static atomic64_t held_in[1 << MEMCG_BITS];

static atomic64_t *counter(const struct mem_cgroup *memcg)
{
	return &held_in[hash_ptr(memcg, MEMCG_BITS)];
}

/**
 * spec_memcg_add - something is held, or no longer
 * @memcg: whose memory it is, or NULL; the caller holds a reference from the one
 *	call to the other
 * @memory: its size, negative in the end
 *
 * Context: any.
 */
void spec_memcg_add(struct mem_cgroup *memcg, s64 memory)
{
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		atomic64_add(memory, counter(memcg));
}

/*
 * Half: the rest is for the writer's own, which held output cannot push out.  An
 * eighth is free before he goes on, as of a user's share.
 */
static bool has_room(struct mem_cgroup *memcg)
{
	unsigned long pages = min(READ_ONCE(memcg->memory.max),
				  READ_ONCE(memcg->memory.high));
	s64 share = pages * PAGE_SIZE / 2;

	return pages == PAGE_COUNTER_MAX ||
	       atomic64_read(counter(memcg)) <= share - share / 8;
}

/**
 * spec_memcg_room - may more output of a cgroup be held?
 * @memcg: which, or NULL
 *
 * Context: any; somebody holds a reference.
 */
bool spec_memcg_room(struct mem_cgroup *memcg)
{
	for (; memcg; memcg = parent_mem_cgroup(memcg))
		if (!has_room(memcg))
			return false;
	return true;
}

/**
 * spec_memcg_room_self - the same for what the running task allocates
 *
 * Context: process.
 */
bool spec_memcg_room_self(void)
{
	bool ret;

	rcu_read_lock();
	ret = spec_memcg_room(mem_cgroup_from_task(current));
	rcu_read_unlock();
	return ret;
}

static bool is_full(struct mem_cgroup *memcg, int order)
{
	return page_counter_read(&memcg->memory) + (1UL << order) >
	       READ_ONCE(memcg->memory.max);
}

/*
 * Who may enter a file system for memory may wait for a journal: an inode that
 * is evicted starts a handle.  The commit itself is not bounded, but what comes
 * after it is: a terminal may be stopped, or a socket locked by this very task.
 */
static void give_way(struct mem_cgroup *memcg, gfp_t gfp_mask, int order)
{
	const gfp_t need = __GFP_FS | __GFP_IO;
	long left = PATIENCE;
	struct spec_dep dep;

	if (!atomic64_read(counter(memcg)) || !spec_self() || !preemptible() ||
	    current->journal_info ||
	    (current_gfp_context(gfp_mask) & need) != need)
		return;
	/* What a failed journal has lost is dropped without a wait. */
	dep.mask = spec_read_all(&dep) & ~READ_ONCE(spec_marks.failed);
	if (spec_wait(&dep, SPEC_CH_OTHER, SPEC_WAIT_KILLABLE) == -EINTR)
		return;
	while (left-- && is_full(memcg, order) &&
	       atomic64_read(counter(memcg)) && !fatal_signal_pending(current))
		schedule_timeout_killable(1);
}

/* It looks once more whether there is room before it kills. */
DEFINE_HOOK(mem_cgroup_out_of_memory, bool,
	    (struct mem_cgroup *memcg, gfp_t gfp_mask, int order),
	    (memcg, gfp_mask, order))
{
	give_way(memcg, gfp_mask, order);
	return hook_orig_mem_cgroup_out_of_memory(memcg, gfp_mask, order);
}

static struct spec_hook *const hooks[] = {
	&hook_mem_cgroup_out_of_memory,
};

const struct spec_channel spec_output_memcg = {
	.name = "memcg",
	.rule = "waits",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
