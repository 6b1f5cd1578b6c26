/* SPDX-License-Identifier: GPL-2.0 */
/* IP over loopback: what flow/inet.c does for others. */
#ifndef _SPEC_INET_H
#define _SPEC_INET_H

#include <linux/skbuff.h>
#include <net/sock.h>
#include "../deps.h"

void spec_inet_take(const struct sock *sk);
void spec_inet_pass(const struct sock *sk, const struct sk_buff *skb, u8 pf);
bool spec_inet_error(const struct sk_buff *skb, u8 pf, bool inside);
void spec_inet_unbound(const struct sock *sk, const struct spec_dep *dep,
		       u32 mask);
void spec_inet_bind(const struct sock *sk, const struct sockaddr *address,
		    int len);

#endif /* _SPEC_INET_H */
