/* SPDX-License-Identifier: GPL-2.0 */
/* Events: what flow/event.c knows that others ask for. */
#ifndef _SPEC_EVENT_H
#define _SPEC_EVENT_H

#include <linux/types.h>

struct file;

bool spec_is_eventfd(const struct file *file);

#endif /* _SPEC_EVENT_H */
