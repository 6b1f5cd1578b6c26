/* SPDX-License-Identifier: GPL-2.0 */
/* What the tty layer exports without a public declaration. */
#ifndef _COMPAT_TTY_H
#define _COMPAT_TTY_H

struct tty_struct;

/* drivers/tty/tty.h, 6.1 and 6.12 */
int tty_check_change(struct tty_struct *tty);

#endif /* _COMPAT_TTY_H */
