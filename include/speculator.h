/* SPDX-License-Identifier: GPL-2.0 */
/*
 * speculator: dependency tracking and output buffering.
 *
 * The interface between the dependency core and a commit source.  A commit
 * source is anything with a sequence of commits: a jbd2 journal (xsync.ko), the
 * test source of the selftests, one day a replicated log.  The core never
 * learns what is behind it.
 *
 * "Rethink the Sync", OSDI 2006, section 3; Documentation/design.rst.
 */
#ifndef _SPECULATOR_H
#define _SPECULATOR_H

#include <linux/types.h>
#include <linux/fs.h>

struct speculator_source;

/**
 * enum speculator_reason - why a commit is asked for
 * @SPECULATOR_OUTPUT: dependent output is held
 * @SPECULATOR_WAIT: a process waits
 */
enum speculator_reason { SPECULATOR_OUTPUT, SPECULATOR_WAIT };

/**
 * struct speculator_source_ops - what the core asks of a commit source
 * @request_commit: dependent output (or a waiter) on @seq has appeared: start
 *	the commit that makes it durable and return.  Called from any context,
 *	softirq and spinlocks held included; must not sleep.  Asking again for a
 *	sequence already asked for must be cheap.
 *
 * Durability is told, not asked for: a source calls speculator_released() and
 * speculator_failed(), so that there is one place that says what is durable.
 */
struct speculator_source_ops {
	void (*request_commit)(struct speculator_source *source, u32 seq,
			       enum speculator_reason reason);
};

/**
 * struct speculator_source - one ordered sequence of commits
 * @name:	for messages, debugfs and tracepoints (the block device)
 * @sb:		the file system whose modifications it commits, or NULL.  Reads
 *		of its inodes are looked at; writes to it need no other hook
 * @ops:	see above; constant while registered
 * @slot:	index in the dependency vector; owned by the core
 * @latest:	highest sequence anything was made dependent on; owned by the core
 * @requested:	highest sequence a commit was requested for; owned by the core
 * @taints:	number of speculator_taint() calls that raised a dependency
 *
 * Sequences are 32 bit and wrap; they are compared by signed difference, as
 * jbd2 compares tids.  The memory belongs to the source and must stay until
 * speculator_source_unregister() has returned.
 */
struct speculator_source {
	char name[32];
	struct super_block *sb;
	const struct speculator_source_ops *ops;
	/* private: */
	int slot;
	u32 latest;
	u32 requested;
	atomic64_t taints;
};

int speculator_source_register(struct speculator_source *source, u32 committed,
			       char *why, size_t why_len);
void speculator_source_unregister(struct speculator_source *source);
bool speculator_taint(struct speculator_source *source, u32 seq);
void speculator_taint_inode(struct speculator_source *source,
			    struct inode *inode, u32 seq);
void speculator_take_source(struct speculator_source *source);
void speculator_released(struct speculator_source *source, u32 seq);
void speculator_failed(struct speculator_source *source, int error);
int speculator_wait_current(void);
bool speculator_exempt(void);

#endif /* _SPECULATOR_H */
