/* SPDX-License-Identifier: GPL-2.0 */
/* Local sockets: what flow/unix.c does for the close of any socket. */
#ifndef _SPEC_UNIX_H
#define _SPEC_UNIX_H

#include <linux/fs.h>
#include <net/sock.h>

void spec_unix_closed(const struct file *file, const struct sock *sk);

#endif /* _SPEC_UNIX_H */
