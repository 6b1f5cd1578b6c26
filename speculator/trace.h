/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM speculator

#if !defined(_SPEC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _SPEC_TRACE_H

#include "../compat/trace.h"
#include "channel.h"
#include "deps.h"
#include "source.h"

/* The name of a channel survives in trace.dat: keep it a number plus a table. */
#define X(id, name) TRACE_DEFINE_ENUM(SPEC_CH_##id);
SPEC_CHANNELS(X)
#undef X
#define X(id, name) { SPEC_CH_##id, name },
#define spec_show_channel(ch) \
	__print_symbolic(ch, SPEC_CHANNELS(X) { -1, "?" })

/*
 * Keys are printed by %p: hashed, so that a trace joins them without telling
 * where the kernel keeps anything.  self is the key of the running process, which
 * the trace names.  An event is only fired for what the object or process did
 * not depend on before (tools/xsyncwhy joins them).
 */
#ifndef _SPEC_TRACE_COMM
#define _SPEC_TRACE_COMM
/* The trace's own table of names forgets who has exited, or was never asked. */
static inline void spec_trace_comm(char *comm)
{
	memcpy(comm, current->comm, TASK_COMM_LEN);
}
#endif

TRACE_EVENT(taint,
	TP_PROTO(const struct speculator_source *source, const void *holder,
		 u32 seq),
	TP_ARGS(source, holder, seq),
	TP_STRUCT__entry(
		__string(source, source->name)
		__field(const void *, holder)
		__field(u32, seq)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		compat_assign_str(source, source->name);
		__entry->holder = holder;
		__entry->seq = seq;
		spec_trace_comm(__entry->comm);
	),
	TP_printk("source=%s seq=%u holder=%p comm=%s", __get_str(source),
		  __entry->seq, __entry->holder, __entry->comm)
);

TRACE_EVENT(modify,
	TP_PROTO(const struct speculator_source *source,
		 const struct inode *inode, u32 seq),
	TP_ARGS(source, inode, seq),
	TP_STRUCT__entry(
		__string(source, source->name)
		__field(const void *, key)
		__field(unsigned long, ino)
		__field(u32, seq)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		compat_assign_str(source, source->name);
		__entry->key = inode;
		__entry->ino = inode->i_ino;
		__entry->seq = seq;
		spec_trace_comm(__entry->comm);
	),
	TP_printk("source=%s seq=%u inode=%lu key=%p comm=%s",
		  __get_str(source), __entry->seq, __entry->ino, __entry->key,
		  __entry->comm)
);

DECLARE_EVENT_CLASS(spec_edge,
	TP_PROTO(const void *from, const void *to, enum spec_channel_id ch,
		 u32 mask),
	TP_ARGS(from, to, ch, mask),
	TP_STRUCT__entry(
		__field(const void *, from)
		__field(const void *, to)
		__field(const void *, self)
		__field(int, ch)
		__field(u32, mask)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->from = from;
		__entry->to = to;
		__entry->self = in_task() ? spec_self() : NULL;
		__entry->ch = ch;
		__entry->mask = mask;
		spec_trace_comm(__entry->comm);
	),
	TP_printk("channel=%s from=%p to=%p self=%p sources=0x%x comm=%s",
		  spec_show_channel(__entry->ch), __entry->from, __entry->to,
		  __entry->self, __entry->mask, __entry->comm)
);

DEFINE_EVENT(spec_edge, put,
	TP_PROTO(const void *from, const void *to, enum spec_channel_id ch,
		 u32 mask),
	TP_ARGS(from, to, ch, mask));

DEFINE_EVENT(spec_edge, take,
	TP_PROTO(const void *from, const void *to, enum spec_channel_id ch,
		 u32 mask),
	TP_ARGS(from, to, ch, mask));

DECLARE_EVENT_CLASS(spec_output,
	TP_PROTO(enum spec_channel_id ch, const void *key, size_t bytes,
		 u64 usecs),
	TP_ARGS(ch, key, bytes, usecs),
	TP_STRUCT__entry(
		__field(int, ch)
		__field(const void *, key)
		__field(const void *, self)
		__field(size_t, bytes)
		__field(u64, usecs)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->key = key;
		__entry->self = in_task() ? spec_self() : NULL;
		__entry->bytes = bytes;
		__entry->usecs = usecs;
		spec_trace_comm(__entry->comm);
	),
	TP_printk("channel=%s key=%p self=%p bytes=%zu held_us=%llu comm=%s",
		  spec_show_channel(__entry->ch), __entry->key, __entry->self,
		  __entry->bytes, __entry->usecs, __entry->comm)
);

DEFINE_EVENT(spec_output, hold,
	TP_PROTO(enum spec_channel_id ch, const void *key, size_t bytes,
		 u64 usecs),
	TP_ARGS(ch, key, bytes, usecs));

DEFINE_EVENT(spec_output, release,
	TP_PROTO(enum spec_channel_id ch, const void *key, size_t bytes,
		 u64 usecs),
	TP_ARGS(ch, key, bytes, usecs));

DEFINE_EVENT(spec_output, drop,
	TP_PROTO(enum spec_channel_id ch, const void *key, size_t bytes,
		 u64 usecs),
	TP_ARGS(ch, key, bytes, usecs));

TRACE_EVENT(wait,
	TP_PROTO(enum spec_channel_id ch, u32 mask, u64 usecs, int error),
	TP_ARGS(ch, mask, usecs, error),
	TP_STRUCT__entry(
		__field(const void *, self)
		__field(int, ch)
		__field(u32, mask)
		__field(u64, usecs)
		__field(int, error)
		__array(char, comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->self = spec_self();
		__entry->ch = ch;
		__entry->mask = mask;
		__entry->usecs = usecs;
		__entry->error = error;
		spec_trace_comm(__entry->comm);
	),
	TP_printk("channel=%s self=%p sources=0x%x waited_us=%llu error=%d comm=%s",
		  spec_show_channel(__entry->ch), __entry->self,
		  __entry->mask, __entry->usecs, __entry->error, __entry->comm)
);

DECLARE_EVENT_CLASS(spec_commit,
	TP_PROTO(const struct speculator_source *source, u32 seq),
	TP_ARGS(source, seq),
	TP_STRUCT__entry(
		__string(source, source->name)
		__field(u32, seq)
	),
	TP_fast_assign(
		compat_assign_str(source, source->name);
		__entry->seq = seq;
	),
	TP_printk("source=%s seq=%u", __get_str(source), __entry->seq)
);

DEFINE_EVENT(spec_commit, commit_request,
	TP_PROTO(const struct speculator_source *source, u32 seq),
	TP_ARGS(source, seq));

DEFINE_EVENT(spec_commit, committed,
	TP_PROTO(const struct speculator_source *source, u32 seq),
	TP_ARGS(source, seq));

#undef X
#endif /* _SPEC_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
