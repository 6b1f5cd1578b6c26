#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=120
"""Held until the commit, then prompt and in order; what is clean is not held."""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

setup()
sniffer_start()

# --- datagrams, both families ----------------------------------------------
for family, name in ((socket.AF_INET, "UDP"), (socket.AF_INET6, "UDP6")):
    out = udp_outside(family)
    addr = out.getsockname()[:2]
    child = Child(s=socket.socket(family, socket.SOCK_DGRAM), addr=addr)

    start = time.monotonic()
    child.do("s.sendto(b'clean', addr)")
    check(datagrams(out, 1) == [b"clean"], f"{name}: without a dependency it goes")
    child.do("taint()")
    before = requested()
    t0 = time.monotonic()
    child.do("for i in range(3): s.sendto(b'held%d' % i, addr)")
    time.sleep(1)
    check(not with_data(t0, proto=17), f"{name}: held for a second")
    check(requested() > before, f"{name}: held output asks for the commit")
    check(held("datagram packets") == 3, f"{name}: three packets are held")
    committed = commit()
    got = datagrams(out, 3)
    check(got == [b"held0", b"held1", b"held2"],
          f"{name}: out after the commit, in order", got)
    check(time.monotonic() - committed < 0.5, f"{name}: promptly")
    log = child.answer()
    check(all("errno" not in e and e["end"] - e["start"] < 0.5 for e in log),
          f"{name}: the sender did not wait", log)
    check(held("datagram packets") == 0, f"{name}: nothing is held any more")
    child.end()

# --- TCP -------------------------------------------------------------------
for family, name in ((socket.AF_INET, "TCP"), (socket.AF_INET6, "TCP6")):
    inner, outer, port = connected(family)
    child = Child(s=inner)
    child.do("s.sendall(b'clean')")
    check(receive(outer, 5) == b"clean", f"{name}: without a dependency it goes")
    counters = ("TcpRetransSegs", "TCPTimeouts", "TCPSpuriousRtxHostQueues")
    stats = netstat(*counters)
    child.do("taint()")
    t0 = time.monotonic()
    child.do("for i in range(3): s.sendall(b'held%d' % i)")
    time.sleep(2)
    check(not with_data(t0, port=port), f"{name}: held for two seconds")
    check(held("tcp marks") == 1, f"{name}: by one mark", held("tcp marks"))
    committed = commit()
    check(receive(outer, 15) == b"held0held1held2",
          f"{name}: out after the commit")
    check(time.monotonic() - committed < 0.5, f"{name}: promptly")
    check(netstat(*counters) == stats, f"{name}: nothing was sent twice",
          (stats, netstat(*counters)))
    log = child.answer()
    check(all("errno" not in e and e["end"] - e["start"] < 0.5 for e in log),
          f"{name}: the sender did not wait", log)
    check(soon(lambda: held("tcp sockets") == 0), f"{name}: nothing is held any more")
    child.end()
    inner.close()
    outer.close()

done()
