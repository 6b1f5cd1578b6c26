/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM xsync

#if !defined(_XSYNC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _XSYNC_TRACE_H

#include "../compat/trace.h"
#include "xsync.h"

TRACE_DEFINE_ENUM(XSYNC_BY_OUTPUT);
TRACE_DEFINE_ENUM(XSYNC_BY_WAIT);
TRACE_DEFINE_ENUM(XSYNC_BY_EAGER);
TRACE_DEFINE_ENUM(XSYNC_BY_SYNC);
TRACE_DEFINE_ENUM(XSYNC_BY_TIMER);
TRACE_DEFINE_ENUM(XSYNC_BY_JOURNAL);

#define xsync_show_trigger(by)			\
	__print_symbolic(by,			\
		{ XSYNC_BY_OUTPUT, "output" },	\
		{ XSYNC_BY_WAIT, "wait" },	\
		{ XSYNC_BY_EAGER, "eager" },	\
		{ XSYNC_BY_SYNC, "sync" },	\
		{ XSYNC_BY_TIMER, "timer" },	\
		{ XSYNC_BY_JOURNAL, "journal" })

TRACE_DEFINE_ENUM(XSYNC_FSYNC);
TRACE_DEFINE_ENUM(XSYNC_SYNC);
TRACE_DEFINE_ENUM(XSYNC_RANGE);
TRACE_DEFINE_ENUM(XSYNC_HANDLE);

#define xsync_show_call(call)			\
	__print_symbolic(call,			\
		{ XSYNC_FSYNC, "fsync" },	\
		{ XSYNC_SYNC, "sync" },		\
		{ XSYNC_RANGE, "range" },	\
		{ XSYNC_HANDLE, "handle" })

TRACE_EVENT(mount,
	TP_PROTO(const struct xsync_mount *x, const char *what),
	TP_ARGS(x, what),
	TP_STRUCT__entry(
		__string(source, x->source.name)
		__string(what, what)
	),
	TP_fast_assign(
		compat_assign_str(source, x->source.name);
		compat_assign_str(what, what);
	),
	TP_printk("source=%s %s", __get_str(source), __get_str(what))
);

TRACE_EVENT(commit_request,
	TP_PROTO(const struct xsync_mount *x, tid_t tid, enum xsync_trigger by),
	TP_ARGS(x, tid, by),
	TP_STRUCT__entry(
		__string(source, x->source.name)
		__field(tid_t, tid)
		__field(int, by)
	),
	TP_fast_assign(
		compat_assign_str(source, x->source.name);
		__entry->tid = tid;
		__entry->by = by;
	),
	TP_printk("source=%s tid=%u by=%s", __get_str(source), __entry->tid,
		  xsync_show_trigger(__entry->by))
);

TRACE_EVENT(committed,
	TP_PROTO(const struct xsync_mount *x, tid_t tid, enum xsync_trigger by,
		 u64 usecs),
	TP_ARGS(x, tid, by, usecs),
	TP_STRUCT__entry(
		__string(source, x->source.name)
		__field(tid_t, tid)
		__field(int, by)
		__field(u64, usecs)
	),
	TP_fast_assign(
		compat_assign_str(source, x->source.name);
		__entry->tid = tid;
		__entry->by = by;
		__entry->usecs = usecs;
	),
	TP_printk("source=%s tid=%u by=%s took_us=%llu", __get_str(source),
		  __entry->tid, xsync_show_trigger(__entry->by),
		  __entry->usecs)
);

TRACE_EVENT(async_sync,
	TP_PROTO(const struct xsync_mount *x, enum xsync_call call, tid_t tid),
	TP_ARGS(x, call, tid),
	TP_STRUCT__entry(
		__string(source, x->source.name)
		__field(int, call)
		__field(tid_t, tid)
	),
	TP_fast_assign(
		compat_assign_str(source, x->source.name);
		__entry->call = call;
		__entry->tid = tid;
	),
	TP_printk("source=%s call=%s tid=%u", __get_str(source),
		  xsync_show_call(__entry->call), __entry->tid)
);

TRACE_EVENT(abort,
	TP_PROTO(const struct xsync_mount *x, int error),
	TP_ARGS(x, error),
	TP_STRUCT__entry(
		__string(source, x->source.name)
		__field(int, error)
	),
	TP_fast_assign(
		compat_assign_str(source, x->source.name);
		__entry->error = error;
	),
	TP_printk("source=%s error=%d", __get_str(source), __entry->error)
);

#endif /* _XSYNC_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
