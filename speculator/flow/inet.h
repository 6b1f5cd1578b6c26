/* SPDX-License-Identifier: GPL-2.0 */
/* IP over loopback: what flow/inet.c does for others. */
#ifndef _SPEC_INET_H
#define _SPEC_INET_H

#include <linux/skbuff.h>
#include <net/sock.h>

void spec_inet_take(const struct sock *sk);
void spec_inet_pass(const struct sock *sk, const struct sk_buff *skb, u8 pf);

#endif /* _SPEC_INET_H */
