/* SPDX-License-Identifier: GPL-2.0 */
/* Commit sources, and waiting for them. */
#ifndef _SPEC_SOURCE_H
#define _SPEC_SOURCE_H

#include <speculator.h>
#include "channel.h"
#include "object.h"

/**
 * enum spec_wait_mode - how spec_wait() may end early
 * @SPEC_WAIT_KILLABLE: a fatal signal ends it with -EINTR; the caller must then
 *	fail the operation, never let it through
 * @SPEC_WAIT_ALWAYS: only the commit, or its failure, ends it (exit path)
 */
enum spec_wait_mode { SPEC_WAIT_KILLABLE, SPEC_WAIT_ALWAYS };

struct speculator_source *spec_source_of_slot(int slot);
struct speculator_source *spec_source_of_sb(const struct super_block *sb);
u32 spec_source_bit(const struct super_block *sb);
void spec_request_commit(const struct spec_dep *dep, u32 mask);
int spec_wait(const struct spec_dep *dep, enum spec_channel_id why,
	      enum spec_wait_mode mode);
int spec_wait_self(enum spec_channel_id why, enum spec_wait_mode mode);
void spec_take_source(struct speculator_source *source,
		      enum spec_channel_id ch);
u32 spec_read_all(struct spec_dep *out);
void spec_take_all(enum spec_channel_id ch);
void spec_source_show(struct seq_file *m);
void spec_self_show(struct seq_file *m);
bool spec_source_any(void);

/*
 * While there is a single source: the file system that it commits, else NULL.
 */
extern const struct super_block *spec_only_sb;

/*
 * Does @sb belong to the only source there is?  Then nobody owes anything to
 * another before it is modified (see spec_owed()).
 */
static __always_inline bool spec_is_only(const struct super_block *sb)
{
	return sb == READ_ONCE(spec_only_sb);
}

/* Is any component of @dep one that will never commit? */
static inline bool spec_dep_lost(u32 pending)
{
	return pending & READ_ONCE(spec_marks.failed);
}

extern struct wait_queue_head spec_released_wq;

#endif /* _SPEC_SOURCE_H */
