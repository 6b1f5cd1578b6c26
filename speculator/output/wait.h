/* SPDX-License-Identifier: GPL-2.0 */
/* Gates that system calls share. */
#ifndef _SPEC_WAIT_H
#define _SPEC_WAIT_H

struct file;

void spec_close_gate(struct file *file);
int spec_fsync_gate(struct file *file);
int spec_syncfs_gate(struct file *file);
int spec_truncate_gate(struct file *file);
int spec_fd_gate(unsigned int fd, int (*gate)(struct file *file));

#endif /* _SPEC_WAIT_H */
