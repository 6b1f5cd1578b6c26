/* SPDX-License-Identifier: GPL-2.0 */
/* The ways by which a dependency spreads or output leaves, as a table. */
#ifndef _SPEC_CHANNEL_H
#define _SPEC_CHANNEL_H

#include <linux/types.h>
#include <speculator_hook.h>

/*
 * One list for the enum, the names in debugfs and tracepoints, and the
 * statistics.  Keep it in the order of Documentation/channels.rst.
 */
#define SPEC_CHANNELS(X)						\
	X(PROCESS, "process") X(MEMORY, "memory")			\
	X(FILE, "file") X(NAME, "name")					\
	X(PIPE, "pipe") X(UNIX, "unix") X(LOOPBACK, "loopback")		\
	X(PTY, "pty") X(SIGNAL, "signal") X(EXIT, "exit")		\
	X(PTRACE, "ptrace") X(LOCK, "lock")				\
	X(TTY, "tty") X(TCP, "tcp") X(DATAGRAM, "datagram")		\
	X(FSYNC, "fsync") X(DEVICE, "device") X(IOCTL, "ioctl")		\
	X(SOCKET, "socket") X(IPC, "ipc") X(SYSTEM, "system")		\
	X(FOREIGN, "foreign") X(OTHER, "other")

enum spec_channel_id {
#define X(id, name) SPEC_CH_##id,
	SPEC_CHANNELS(X)
#undef X
	SPEC_CH_NR
};

extern const char *const spec_channel_names[SPEC_CH_NR];

/**
 * struct spec_channel - one file of flow/ or output/: what it wraps and does
 * @name:	the file's noun
 * @rule:	"passes on", "holds" or "waits"; shown in debugfs
 * @hooks:	functions it wraps
 * @nr_hooks:	how many
 * @install:	called once before the hooks are placed, may be NULL; returns 0
 *		or a negative error after writing the reason to @why
 * @ready:	called once when the hooks are in place, before anything can depend
 *		on anything; may be NULL; as @install; may sleep
 * @remove:	undoes @install after the hooks are gone and the last source has
 *		been unregistered; may sleep
 * @released:	something became durable or failed: look at what is held.
 *		Called from a work item, may sleep, one call at a time
 * @drain:	the module is going: nothing may be held or queued when this
 *		returns; may sleep.  May be NULL
 * @show:	extra lines for debugfs "held", or NULL
 */
struct spec_channel {
	const char *name;
	const char *rule;
	struct spec_hook *const *hooks;
	int nr_hooks;
	int (*install)(char *why, size_t why_len);
	int (*ready)(char *why, size_t why_len);
	void (*remove)(void);
	void (*released)(void);
	void (*drain)(void);
	void (*show)(struct seq_file *m);
};

/* flow/: passed on inside the machine */
extern const struct spec_channel spec_flow_process;
extern const struct spec_channel spec_flow_task;
extern const struct spec_channel spec_flow_proc;
extern const struct spec_channel spec_flow_memory;
extern const struct spec_channel spec_flow_file;
extern const struct spec_channel spec_flow_inode;
extern const struct spec_channel spec_flow_name;
extern const struct spec_channel spec_flow_open;
extern const struct spec_channel spec_flow_pipe;
extern const struct spec_channel spec_flow_unix;
extern const struct spec_channel spec_flow_inet;
extern const struct spec_channel spec_flow_packet;
extern const struct spec_channel spec_flow_pty;
extern const struct spec_channel spec_flow_sysv;
extern const struct spec_channel spec_flow_mqueue;
extern const struct spec_channel spec_flow_event;
extern const struct spec_channel spec_flow_poll;
extern const struct spec_channel spec_flow_anon;
/* output/: held, or waited for */
extern const struct spec_channel spec_output_tty;
extern const struct spec_channel spec_output_net;
extern const struct spec_channel spec_output_wait;
extern const struct spec_channel spec_output_syscall;
extern const struct spec_channel spec_output_memcg;

#endif /* _SPEC_CHANNEL_H */
