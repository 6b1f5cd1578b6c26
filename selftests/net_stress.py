#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180
"""Streams under commits all the time: no stall, no loss, no disorder, no leak.

Several senders each make themselves dependent again and again and send, to the
outside and over loopback, while commits come a few milliseconds after they are
asked for.  A release that is lost shows as a stall.
"""

import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402
from tap import SLOWNESS                                    # noqa: E402

SECONDS = 12
RECORD = 1009

setup()
with open(f"{SOURCE}/delay_ms", "w") as file:
    file.write("3")
with open(f"{SOURCE}/auto", "w") as file:
    file.write("1")
before = netstat("TCPTimeouts")

# On one CPU: a virtual device keeps the order of packets only per CPU, with or
# without us.
SENDER = f"""
import os, random, select
os.sched_setaffinity(0, [os.getpid() % os.cpu_count()])
end = time.monotonic() + {SECONDS}
n = 0
while time.monotonic() < end:
    if random.random() < .3: taint()
    if tcp:
        for k in range(random.choice((1, 1, 5, 40))):
            s.sendall(struct.pack('I', n) * {RECORD}); n += 1
    else:
        for k in range(random.choice((1, 1, 5))):
            s.sendto(struct.pack('I', n), addr); n += 1
        time.sleep(.002)
result = n
s.close()
"""


class Reader(threading.Thread):
    """Checks the numbers as they come; the longest silence is .gap."""

    def __init__(self, sock, tcp):
        super().__init__(daemon=True)
        self.sock, self.tcp = sock, tcp
        self.count = self.gap = 0
        self.good = True
        self.start()

    def run(self):
        last = time.monotonic()
        self.sock.settimeout(15)
        while True:
            try:
                data = receive(self.sock, RECORD * 4, 15) if self.tcp \
                    else self.sock.recv(100)
            except OSError:
                return
            now = time.monotonic()
            if not data or self.tcp and len(data) < RECORD * 4:
                return
            self.gap, last = max(self.gap, now - last), now
            number = struct.unpack("I", data[:4])[0]
            if self.tcp:
                self.good &= data == data[:4] * RECORD
                self.good &= number == self.count
            else:
                self.good &= number >= self.count
            self.count = number + 1


work = []
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_INET):
    inner, outer, port = connected(family)
    child = Child(s=inner, tcp=True)
    inner.close()
    work.append((f"TCP {port}", child, Reader(outer, True)))
    out = udp_outside(family)
    out.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    child = Child(s=socket.socket(family, socket.SOCK_DGRAM), tcp=False,
                  addr=out.getsockname()[:2])
    work.append((f"UDP {out.getsockname()[1]}", child, Reader(out, False)))
for _, child, _ in work:
    child.do(SENDER, sleeps=0)
time.sleep(SECONDS + 2)
commit()
for name, child, reader in work:
    entry = child.last()
    reader.join(10)
    check(entry["result"] and reader.good and
          (reader.count == entry["result"] or name.startswith("UDP")),
          f"{name}: all arrived in order",
          (entry, reader.count, reader.good))
    # A machine without KVM and with other work stalls by itself.
    check(reader.gap < 4 * SLOWNESS,
          f"{name}: the longest silence is below {4 * SLOWNESS} s",
          reader.gap)
    print(f"# {name}: {reader.count} records, longest silence "
          f"{reader.gap:.2f} s", flush=True)
    child.end()
check(soon(lambda: held("tcp sockets") == 0 and held("datagram packets") == 0),
      "nothing is held any more")
check(held("tcp leaks_stopped") == 0, "the safety net had nothing to do",
      held("tcp leaks_stopped"))
print(f"# retransmission timeouts: {before} {netstat('TCPTimeouts')}")
done()
