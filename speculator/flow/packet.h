/* SPDX-License-Identifier: GPL-2.0 */
/* Packets on their way: what flow/packet.c does for netlink's one hook. */
#ifndef _SPEC_PACKET_H
#define _SPEC_PACKET_H

#include <net/sock.h>

void spec_packet_take(const struct sock *sk);

#endif /* _SPEC_PACKET_H */
