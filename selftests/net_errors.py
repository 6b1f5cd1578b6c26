#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150
"""What the kernel answers because a dependent process has closed a port.

Outside nobody answers before the commit, as if the port were still open; inside
the answer passes the dependency on. The control is a clean process that closes
its port: the answer comes at once.
"""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

setup()
sniffer_start()
for net in ("ipv4.icmp_ratelimit", "ipv4.icmp_msgs_per_sec=100000",
            "ipv6.icmp.ratelimit"):
    run("sysctl", "-qw", "net." + (net if "=" in net else net + "=0"))


def answers(outer, addr, proto, seconds=1):
    """How often does the kernel answer that @addr is closed?"""
    t0 = time.monotonic()
    # Not those by which IPv6 finds its neighbours.
    unreachable = 3 if proto == 1 else 1
    outer.sendto(b"knock", addr)

    def count():
        return [f.data[0] for f in seen(t0, proto=proto)].count(unreachable)
    soon(lambda: count() > 0, seconds)
    time.sleep(0.2)
    return count()


for name, family, here, proto in (
        ("UDP", socket.AF_INET, IN4, 1), ("UDP6", socket.AF_INET6, IN6, 58)):
    for how, code in (
            ("close", "s.close()"), ("connect", "s.connect((here, 9))"),
            ("exit", "os._exit(0)"),
            ("SO_BINDTODEVICE", "s.setsockopt(1, 25, b'lo')")):
        for dependent in (False, True):
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.bind((here, 0))
            outer = udp_outside(family)
            addr = s.getsockname()[:2]
            child = Child(nursed=True, s=s, here=here)
            s.close()
            if not dependent:
                check(answers(outer, addr, proto, 0.3) == 0,
                      f"{name}, {how}: an open port does not answer")
            else:
                child.do("taint()")
            child.do(code, sleeps=0.2 if how == "exit" else None)
            # Without an error for the second one to read.
            outer.close()
            outer = udp_outside(family)
            if not dependent:
                check(answers(outer, addr, proto) == 1,
                      f"{name}, {how}: clean, the port answers at once")
            else:
                check(answers(outer, addr, proto, 0.3) == 0,
                      f"{name}, {how}: no answer before the commit")
                commit()
                outer.close()
                outer = udp_outside(family)
                check(answers(outer, addr, proto) == 1,
                      f"{name}, {how}: an answer after it")
            outer.close()
            child.end()

# A listening port: its close waits, or SYNs were answered by RST.
l = socket.socket()
l.bind((IN4, 0))
l.listen()
addr = l.getsockname()
child = Child(l=l)
l.close()
child.do("taint()")
child.do("l.close()", sleeps=0.3)
with outside():
    peer = socket.socket()
peer.settimeout(1)
t0 = time.monotonic()
check(peer.connect_ex(addr) == 0 and not seen(t0, proto=6, flag="R"),
      "TCP listener: no RST before the commit")
committed = commit()
check((entry := child.last())["end"] >= committed, "TCP listener: close waits",
      entry)
with outside():
    late = socket.socket()
check(late.connect_ex(addr) == 111, "TCP listener: RST after it")
child.end()

# --- inside ----------------------------------------------------------------
out = udp_outside()
for way, code in (("recv", "s.recv(1)"),
                  ("send", "time.sleep(0.2); s.send(b'again')"),
                  ("SO_ERROR", "time.sleep(0.2); n = s.getsockopt(1, 4)\n"
                   "if n: raise OSError(n, '')")):
    for dependent in (False, True):
        l = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        l.bind(("127.0.0.1", 0))
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(l.getsockname())
        report = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        closer = Child(l=l)
        asker = Child(s=s, report=report, out=out.getsockname())
        for thing in (l, s, report):
            thing.close()
        if dependent:
            closer.do("taint()")
        closer.do("l.close()")
        asker.do("s.send(b'anybody?')\n"
                 "try:\n  " + code.replace("\n", "\n  ") +
                 "\nexcept OSError as e: result = e.errno\n"
                 "report.sendto(b'nobody', out)")
        if not dependent:
            check(datagrams(out, 1) == [b"nobody"],
                  f"error on lo by {way}: clean, told at once")
        else:
            got = datagrams(out, 1, 0.6)
            check(got == [], f"error on lo by {way}: held", got)
            committed = commit()
            check(datagrams(out, 1) == [b"nobody"],
                  f"error on lo by {way}: told after the commit")
            entry = asker.last()
            check(entry["result"] == 111 and entry["end"] < committed,
                  f"error on lo by {way}: known at once inside", entry)
        closer.end()
        asker.end()

# The port is free again: who binds it learns of the close.
for dependent in (False, True):
    l = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    l.bind(("127.0.0.1", 0))
    report = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closer = Child(l=l)
    binder = Child(addr=l.getsockname(), report=report, out=out.getsockname())
    l.close()
    report.close()
    if dependent:
        closer.do("taint()")
    closer.do("l.close()")
    binder.do("s = socket.socket(2, 2); s.bind(addr)\n"
              "report.sendto(b'free', out)")
    got = datagrams(out, 1, 0.6)
    if not dependent:
        check(got == [b"free"], "bind of a port just closed: clean, told at once")
    else:
        check(got == [], "bind of a port just closed: held", got)
        committed = commit()
        check(datagrams(out, 1) == [b"free"],
              "bind of a port just closed: told after the commit")
        check((entry := binder.last())["end"] < committed,
              "bind of a port just closed: it did not wait", entry)
    closer.end()
    binder.end()
out.close()
done()
