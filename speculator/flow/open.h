/* SPDX-License-Identifier: GPL-2.0 */
/* Open files that processes share: what the gate of read and write asks for. */
#ifndef _SPEC_OPEN_H
#define _SPEC_OPEN_H

#include <linux/file.h>
#include <linux/fs.h>

void spec_open_position(struct file *file, int mask);

/*
 * The running process is about to read or write @file, and moves its position.
 * Where somebody else has it open as well the position's lock is held, as here.
 */
static inline void spec_open_moves(struct file *file, int mask)
{
	if ((file->f_mode & FMODE_ATOMIC_POS) && file_count(file) > 1)
		spec_open_position(file, mask);
}

#endif /* _SPEC_OPEN_H */
