/* SPDX-License-Identifier: GPL-2.0 */
/* Shared memory: what flow/memory.c knows that others ask for. */
#ifndef _SPEC_MEMORY_H
#define _SPEC_MEMORY_H

struct file;
struct mm_struct;

const void *spec_map_key(const struct file *file);
bool spec_map_fork(struct mm_struct *parent, struct mm_struct *child);
int spec_memory_init(void);
void spec_memory_exit(void);

#endif /* _SPEC_MEMORY_H */
