/* SPDX-License-Identifier: GPL-2.0 */
/* What flow/pty.c and output/tty.c both know of a terminal. */
#ifndef _SPEC_PTY_H
#define _SPEC_PTY_H

#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>

/* The tty of an open tty file, for as long as the file is. */
static inline struct tty_struct *spec_file_tty(const struct file *file)
{
	struct tty_file_private *priv = file->private_data;

	return priv ? priv->tty : NULL;
}

static inline bool spec_is_pty(const struct tty_struct *tty)
{
	return tty->driver->type == TTY_DRIVER_TYPE_PTY;
}

/*
 * The two ends of a pty have one key: what is written at one end comes out at the
 * other, and as echo at the same.  Of any other terminal this is the key of who
 * is in its foreground.
 */
static inline const void *spec_tty_key(struct tty_struct *tty)
{
	return tty->link ? min(tty, tty->link) : tty;
}

#endif /* _SPEC_PTY_H */
