#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240
"""Over loopback nothing is held, and the receiver becomes dependent.

Each case: a receiver goes to sleep, a sender sends it something, the receiver
tells the outside.  If the sender depends on something that is not durable the
outside must not hear of it before the commit; if not, at once.
"""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

setup()
sniffer_start()
out = udp_outside()
outaddr = out.getsockname()


def case(name, receiver, sender, pairs):
    """pairs() makes the two ends; the code says what they do with r and s."""
    for dependent in (False, True):
        r, s, *more = pairs()
        report = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dest = Child(r=r, report=report, out=outaddr)
        source = Child(s=s, addr=more[0] if more else None)
        r.close()
        s.close()
        report.close()
        dest.do(receiver + "\nreport.sendto(b'got it', out)", sleeps=0.2)
        if dependent:
            source.do("taint()")
        t0 = time.monotonic()
        source.do(sender)
        if not dependent:
            got = datagrams(out, 1)
            check(got == [b"got it"], f"{name}: a clean sender, at once", got)
        else:
            got = datagrams(out, 1, 0.7)
            check(got == [], f"{name}: the receiver's output is held", got)
            committed = commit()
            got = datagrams(out, 1)
            check(got == [b"got it"], f"{name}: out after the commit", got)
            log = dest.answer()
            # It ended before the commit: it was not the data that was held.
            check("errno" not in log[-1] and log[-1]["end"] < committed,
                  f"{name}: the receiver got it at once", log[-1])
            log = source.answer()
            check("errno" not in log[-1] and log[-1]["end"] < committed,
                  f"{name}: the sender did not wait", log[-1])
        dest.end()
        source.end()


def udp_pair(family=socket.AF_INET, addr="127.0.0.1"):
    r = socket.socket(family, socket.SOCK_DGRAM)
    r.bind((addr, 0))
    s = socket.socket(family, socket.SOCK_DGRAM)
    return r, s, r.getsockname()[:2]


def tcp_pair(family=socket.AF_INET, addr="127.0.0.1"):
    l = socket.socket(family, socket.SOCK_STREAM)
    l.bind((addr, 0))
    l.listen()
    s = socket.socket(family, socket.SOCK_STREAM)
    s.connect(l.getsockname()[:2])
    r, _ = l.accept()
    l.close()
    return r, s


def reverse(pair):
    a, b = pair
    return b, a


case("UDP", "r.recv(100)", "s.sendto(b'x', addr)", udp_pair)
case("UDP6", "r.recv(100)", "s.sendto(b'x', addr)",
     lambda: udp_pair(socket.AF_INET6, "::1"))
case("UDP to our own address", "os.read(r.fileno(), 100)",
     "s.sendto(b'x', addr)", lambda: udp_pair(addr=IN4))
case("UDP connected", "r.recvmsg(100)", "s.connect(addr); s.send(b'x')",
     udp_pair)
case("TCP", "r.recv(100)", "s.send(b'x')", tcp_pair)
case("TCP6", "r.recv(100)", "s.send(b'x')",
     lambda: tcp_pair(socket.AF_INET6, "::1"))
case("TCP to our own address", "os.readv(r.fileno(), [bytearray(9)])",
     "os.write(s.fileno(), b'x')", lambda: tcp_pair(addr=IN4))
case("TCP to the one who connected", "r.recv(100)", "s.send(b'x')",
     lambda: reverse(tcp_pair()))
case("TCP splice", "a, b = os.pipe(); os.splice(r.fileno(), b, 100)",
     "s.send(b'x')", tcp_pair)
case("TCP sendfile", "r.recv(1)",
     "a, b = os.pipe(); os.write(b, b'xyz'); os.splice(a, s.fileno(), 3)",
     tcp_pair)
case("TCP peek", "r.recv(100, socket.MSG_PEEK)", "s.send(b'x')", tcp_pair)
case("TCP end of file", "assert r.recv(100) == b''", "s.shutdown(1)", tcp_pair)
case("TCP close", "assert r.recv(100) == b''", "s.close()", tcp_pair)
case("TCP reset", """
try:
  r.recv(100)
except ConnectionResetError: pass""",
     "s.setsockopt(1, 13, struct.pack('ii', 1, 0)); s.close()", tcp_pair)
case("TCP_ZEROCOPY_RECEIVE", """
import select, fcntl
p = select.poll(); p.register(r, select.POLLIN); p.poll()
try:
  r.getsockopt(6, 35, 64)
except OSError: pass""", "s.send(b'x')", tcp_pair)


def listener():
    l = socket.socket()
    l.bind(("127.0.0.1", 0))
    l.listen()
    return l, socket.socket(), l.getsockname()


case("accept", "n, _ = r.accept()", "s.connect(addr)", listener)
case("raw", "r.recv(100)", "s.sendto(b'x', addr)", lambda: (
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 253),
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 253), ("127.0.0.1", 0)))
case("raw6", "r.recv(100)", "s.sendto(b'x', addr)", lambda: (
    socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253),
    socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253), ("::1", 0)))
case("a raw socket that sees UDP", "r.recv(100)", "s.sendto(b'x', addr)",
     lambda: (socket.socket(socket.AF_INET, socket.SOCK_RAW, 17),
              socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
              ("127.0.0.1", 9)))



def sniffer():
    r = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    r.bind(("lo", 3))
    return r, socket.socket(socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", 9)


case("a packet socket on lo", "r.recv(100)", "s.sendto(b'x', addr)", sniffer)
case("a packet socket's ring, by poll",
     "import select; p = select.poll(); p.register(r, 1); p.poll()",
     "s.sendto(b'x', addr)", sniffer)


def tls_pair():
    r, s = tcp_pair()
    key = (struct.pack("HH", 0x303, 51) + b"i" * 8 + b"k" * 16 + b"salt" +
           bytes(8))
    for end, direction in ((s, 1), (r, 2)):
        end.setsockopt(6, 31, b"tls")
        end.setsockopt(282, direction, key)
    return r, s


run("modprobe", "tls")
case("kTLS", "r.recv(100)", "s.send(b'x')", tls_pair)
case("kTLS splice", "a, b = os.pipe(); os.splice(r.fileno(), b, 100)",
     "s.send(b'x')", tls_pair)
case("SIOCINQ", """
import fcntl
while not struct.unpack('i', fcntl.ioctl(r, 0x541b, bytes(4)))[0]:
  time.sleep(0.05)""", "s.send(b'x')", tcp_pair)

# A large transfer, both ends busy: nothing stalls, nothing is held.
r, s = tcp_pair()
dest, source = Child(r=r), Child(s=s)
source.do("taint()")
dest.do("n = 0\nwhile n < 20000000: n += len(r.recv(1 << 20))\nresult = n",
        sleeps=0)
source.do("for i in range(20): s.sendall(b'x' * 1000000); taint()")
time.sleep(2)
committed = commit()
log = dest.answer()
check(log[-1]["result"] == 20000000 and log[-1]["end"] < committed,
      "20 MB and 20 commits' dependencies go through", log)
source.answer()
source.end()
dest.end()

# A peer that has closed answers with an RST: a long send ends in its middle. One
# call, or the next would take over.
for dependent in (False, True):
    r, s = tcp_pair()
    source = Child(s=s)
    dest = Child(r=r, report=socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
                 out=outaddr)
    r.close()
    s.close()
    if dependent:
        source.do("taint()")
    source.do("s.close()")
    dest.do("try: r.send(b'x' * 20000000)\n"
            "except OSError: pass\n"
            "report.sendto(b'broken', out)", sleeps=0)
    if not dependent:
        got = datagrams(out, 1)
        check(got == [b"broken"], "a send to who has closed: clean, at once", got)
    else:
        got = datagrams(out, 1, 0.7)
        check(got == [], "a send to who has closed: what it tells is held", got)
        commit()
        got = datagrams(out, 1)
        check(got == [b"broken"], "a send to who has closed: out after the commit",
              got)
    dest.end()
    source.end()

# A raw socket gets copies of all UDP on lo. One that receives nothing, and only
# sends to the outside, is not held because of it.
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)
r.connect((OUT4, 0))
r.shutdown(socket.SHUT_RD)
source = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
sender = Child(r=r, port=out.getsockname()[1])
source.do("taint(); s.sendto(b'x', ('127.0.0.1', 9))")
sender.do("r.send(struct.pack('!HHHH', 9, port, 12, 0) + b'free')")
got = datagrams(out, 1)
check(got == [b"free"], "a raw socket that does not receive: sends at once", got)
commit()
source.end()
sender.end()

# Ports that the two ends see differently.
nat = subprocess.run(["nft", "add table ip t; add chain ip t out "
                      "{ type nat hook output priority -100; };"
                      "add rule ip t out ip daddr 127.0.0.1 tcp dport 7001 "
                      "redirect to :7002;"
                      "add rule ip t out ip daddr 127.0.0.1 udp dport 7001 "
                      "redirect to :7002"])
if nat.returncode == 0:
    def nat_pair():
        l = socket.socket()
        l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        l.bind(("127.0.0.1", 7002))
        l.listen()
        s = socket.socket()
        s.connect(("127.0.0.1", 7001))
        r, _ = l.accept()
        l.close()
        return r, s

    def nat_udp():
        r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        r.bind(("127.0.0.1", 7002))
        return r, socket.socket(socket.AF_INET, socket.SOCK_DGRAM), \
            ("127.0.0.1", 7001)

    case("redirected TCP", "r.recv(100)", "s.send(b'x')", nat_pair)
    case("redirected TCP, answer", "r.recv(100)", "s.send(b'x')",
         lambda: reverse(nat_pair()))
    case("redirected UDP", "r.recv(100)", "s.sendto(b'x', addr)", nat_udp)
    run("nft", "delete table ip t")
else:
    print("# no nft NAT on this machine")

check(held("tcp leaks_stopped") == 0, "the safety net had nothing to do")
out.close()
done()
