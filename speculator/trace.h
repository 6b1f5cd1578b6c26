/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM speculator

#if !defined(_SPEC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _SPEC_TRACE_H

#include <linux/tracepoint.h>
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
 * where the kernel keeps anything.
 */
TRACE_EVENT(taint,
	TP_PROTO(const struct speculator_source *source, const void *holder,
		 u32 seq),
	TP_ARGS(source, holder, seq),
	TP_STRUCT__entry(
		__string(source, source->name)
		__field(const void *, holder)
		__field(u32, seq)
	),
	TP_fast_assign(
		__assign_str(source, source->name);
		__entry->holder = holder;
		__entry->seq = seq;
	),
	TP_printk("source=%s seq=%u holder=%p", __get_str(source), __entry->seq,
		  __entry->holder)
);

DECLARE_EVENT_CLASS(spec_edge,
	TP_PROTO(const void *from, const void *to, enum spec_channel_id ch,
		 u32 mask),
	TP_ARGS(from, to, ch, mask),
	TP_STRUCT__entry(
		__field(const void *, from)
		__field(const void *, to)
		__field(int, ch)
		__field(u32, mask)
	),
	TP_fast_assign(
		__entry->from = from;
		__entry->to = to;
		__entry->ch = ch;
		__entry->mask = mask;
	),
	TP_printk("channel=%s from=%p to=%p sources=0x%x",
		  spec_show_channel(__entry->ch), __entry->from, __entry->to,
		  __entry->mask)
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
		__field(size_t, bytes)
		__field(u64, usecs)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->key = key;
		__entry->bytes = bytes;
		__entry->usecs = usecs;
	),
	TP_printk("channel=%s key=%p bytes=%zu held_us=%llu",
		  spec_show_channel(__entry->ch), __entry->key, __entry->bytes,
		  __entry->usecs)
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
		__field(int, ch)
		__field(u32, mask)
		__field(u64, usecs)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->mask = mask;
		__entry->usecs = usecs;
		__entry->error = error;
	),
	TP_printk("channel=%s sources=0x%x waited_us=%llu error=%d",
		  spec_show_channel(__entry->ch), __entry->mask,
		  __entry->usecs, __entry->error)
);

DECLARE_EVENT_CLASS(spec_commit,
	TP_PROTO(const struct speculator_source *source, u32 seq),
	TP_ARGS(source, seq),
	TP_STRUCT__entry(
		__string(source, source->name)
		__field(u32, seq)
	),
	TP_fast_assign(
		__assign_str(source, source->name);
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
