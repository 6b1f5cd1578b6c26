/* SPDX-License-Identifier: GPL-2.0 */
/* Gates that system calls share. */
#ifndef _SPEC_WAIT_H
#define _SPEC_WAIT_H

struct file;
struct super_block;

void spec_close_gate(struct file *file);
int spec_fsync_gate(struct super_block *sb);
int spec_truncate_gate(struct super_block *sb);
int spec_fd_gate(unsigned int fd, int (*gate)(struct super_block *sb));

#endif /* _SPEC_WAIT_H */
