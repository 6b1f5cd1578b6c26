/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of speculator call in each other at the two ends of life. */
#ifndef _SPEC_MAIN_H
#define _SPEC_MAIN_H

#include "channel.h"

int spec_channels_install(char *why, size_t why_len);
void spec_channels_remove(void);
void spec_channels_released(void);
void spec_channels_show(struct seq_file *m);

int spec_source_init(void);
void spec_source_exit(void);

int spec_hook_init(void);

void spec_net_init(void);

/* flow/name.c: some directory was changed; its readers may be on their way */
void spec_name_changed(const struct inode *dir);

#endif /* _SPEC_MAIN_H */
