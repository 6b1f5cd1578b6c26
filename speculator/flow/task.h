/* SPDX-License-Identifier: GPL-2.0 */
/* Other processes: who looks at one, and who notices that it has gone. */
#ifndef _SPEC_TASK_H
#define _SPEC_TASK_H

#include <linux/sched.h>

const void *spec_task_mm(const struct task_struct *task);
void spec_task_exits(const void *self);
void spec_task_take(const struct task_struct *task);
void spec_task_take_exits(void);

#endif /* _SPEC_TASK_H */
