#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: own debug timeout=300
"""Laws 1 and 2 when memory cannot be had: nothing is early, and nothing hangs.

Of two dependent processes one writes to a pipe, to TCP and UDP, the other reads the
pipe and tells the outside, while a third of what the module allocates for them fails:
entries of the table, marks, queues. A process may wait then, others may be held who
need not, and a datagram may be dropped, which the sender is told (EPERM). The test
itself is exempt: what becomes everybody's would be its own.
"""

import contextlib
import os
import select
import socket
import sys
import time

sys.dont_write_bytecode = True
import netlib                                               # noqa: E402
from netlib import *                                        # noqa: E402

ROUNDS = 40
FAULTS = ("failslab", "fail_page_alloc")
TIMES = 1000000000      # as lib.sh

setup()
libc.prctl(57, 1, 0, 0, 0)      # PR_SET_IO_FLUSHER
netlib.exempt = contextlib.nullcontext


def put(name, value):
    with open(f"/sys/kernel/debug/{name}", "w") as file:
        file.write(str(value))


def failures():
    """How many allocations have failed."""
    total = 0
    for kind in FAULTS:
        with open(f"/sys/kernel/debug/{kind}/times") as file:
            total += TIMES - int(file.read())
    return total


def prepare(child):
    with open("/sys/module/speculator/sections/.text") as file:
        start = int(file.read(), 16)
    with open("/sys/module/speculator/coresize") as file:
        end = start + int(file.read())
    child.do("import ctypes; ctypes.CDLL(None).prctl(57, 0, 0, 0, 0)")
    with open(f"/proc/{child.runner}/make-it-fail", "w") as file:
        file.write("1")
    for kind in FAULTS:
        for name, value in (("task-filter", "Y"), ("verbose", 0),
                            ("ignore-gfp-wait", "N"), ("stacktrace-depth", 5),
                            ("require-start", start), ("require-end", end),
                            ("times", TIMES)):
            put(f"{kind}/{name}", value)


def probability(percent):
    for kind in FAULTS:
        put(f"{kind}/probability", percent)


def everything(out, outer, seconds, enough):
    """What comes by UDP and TCP, until it is enough."""
    got, stream, end = [], b"", time.monotonic() + seconds
    while time.monotonic() < end and not enough(got, stream):
        ready = select.select([out, outer], [], [],
                              max(end - time.monotonic(), 0))[0]
        if out in ready:
            got.append(out.recv(100))
        if outer in ready:
            stream += outer.recv(1000)
    return got, stream


out = udp_outside()
inner, outer, _ = connected()
r, w = os.pipe()
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for s in sockets:
    s.connect(out.getsockname())
writer = Child(u=sockets[0], s=inner, w=w)
reader = Child(u=sockets[1], r=r)
for s in (inner, *sockets):
    s.close()
prepare(writer)
prepare(reader)

early, twice, wrong, arrived, late = [], [], [], 0, []
for n in range(ROUNDS):
    text = b"%4d" % n
    want = {b"u" + text, b"r" + text}
    probability(33)
    reader.do("""
text = os.read(r, 4)
try:
    u.send(b'r' + text)
except PermissionError:
    pass
""", sleeps=0)
    writer.do(f"""
taint()
for f in (lambda: os.write(w, {text}), lambda: u.send(b'u' + {text}),
          lambda: s.send({text})):
    while True:
        try:
            f()
            break
        except OSError as error:
            if error.errno == 1:        # dropped, and the sender told so
                break
            if error.errno != 12:
                raise
""", sleeps=0)
    got, stream = everything(out, outer, 0.4, lambda *_: False)
    if got or stream:
        early.append((n, got, stream))
    commit()
    more, rest = everything(out, outer, 3, lambda g, s: len(s) >= 4 and
                            want <= set(g))
    probability(0)
    got += more
    stream += rest
    arrived += len(want & set(got))
    if len(got) != len(set(got)):
        twice.append((n, got))
    if set(got) - want:
        wrong.append((n, got))
    if stream != text:
        late.append((n, stream))
check(failures() > ROUNDS, "many allocations have failed", failures())
print("#", failures(), "allocations failed;", arrived, "of", 2 * ROUNDS,
      "datagrams have come")
check(not early, "nothing is early", early)
check(not late, "all bytes of TCP arrive, in order", late)
check(not twice and not wrong, "no datagram comes twice, or late", (twice, wrong))
check(arrived > ROUNDS, "most datagrams arrive", arrived)
check(held("datagram packets") == 0 and held("tcp sockets") == 0,
      "nothing is held in the end")
done()
