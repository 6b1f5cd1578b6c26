#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180
"""UDP and raw: every way to send, order, limits, devices that go away."""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

LIMIT = "/sys/module/speculator/parameters/held_limit"

setup()
sniffer_start()
outs = {family: (out := udp_outside(family), out.getsockname()[:2])
        for family in (socket.AF_INET6, socket.AF_INET)}
out, addr = outs[socket.AF_INET]


def case(name, code, expect, sock=socket.SOCK_DGRAM, proto=0,
         family=socket.AF_INET):
    """@code sends @expect: at once without a dependency, held with one."""
    out, addr = outs[family]
    child = Child(s=socket.socket(family, sock, proto), addr=addr)
    child.do(code)
    got = datagrams(out, len(expect))
    check(got == expect, f"{name}: goes without a dependency", got)
    child.do("taint()")
    t0 = time.monotonic()
    child.do(code)
    time.sleep(0.7)
    check(not with_data(t0, proto=17, port=addr[1]), f"{name}: held")
    commit()
    got = datagrams(out, len(expect))
    check(got == expect, f"{name}: out after the commit", got)
    log = child.answer()
    check("errno" not in log[-1], f"{name}: without an error", log[-1])
    child.end()


for family, v6 in ((socket.AF_INET, ""), (socket.AF_INET6, ", IPv6")):
    case("connected" + v6, "s.connect(addr); s.send(b'one');"
         "os.write(s.fileno(), b'two')", [b"one", b"two"], family=family)
    case("UDP_CORK" + v6, "s.connect(addr); s.setsockopt(17, 1, 1);"
         "s.send(b'a'); s.send(b'b'); s.setsockopt(17, 1, 0)", [b"ab"],
         family=family)
    case("fragments" + v6, "s.sendto(b'f' * 20000, addr)", [b"f" * 20000],
         family=family)
    case("UDP_SEGMENT" + v6, "s.connect(addr); s.setsockopt(17, 103, 4);"
         "s.send(b'seg1seg2')", [b"seg1", b"seg2"], family=family)
case("sendmsg", "s.sendmsg([b'a', b'b'], [], 0, addr)", [b"ab"])
case("MSG_MORE", "s.connect(addr); s.send(b'a', 0x8000); s.send(b'b')", [b"ab"])
case("sendmmsg", """
import ctypes
class Iov(ctypes.Structure):
    _fields_ = [('base', ctypes.c_char_p), ('len', ctypes.c_size_t)]
class Msg(ctypes.Structure):
    _fields_ = [('name', ctypes.c_void_p), ('namelen', ctypes.c_uint),
                ('iov', ctypes.POINTER(Iov)), ('iovlen', ctypes.c_size_t),
                ('control', ctypes.c_void_p), ('controllen', ctypes.c_size_t),
                ('flags', ctypes.c_long), ('sent', ctypes.c_long)]
s.connect(addr)
msgs = (Msg * 3)()
for i in range(3):
    msgs[i].iov = ctypes.pointer(Iov(b'm%d' % i, 2))
    msgs[i].iovlen = 1
result = ctypes.CDLL(None).sendmmsg(s.fileno(), msgs, 3, 0)
assert result == 3
""", [b"m0", b"m1", b"m2"])
case("sendfile", "s.connect(addr); f = open('/proc/version', 'rb');"
     "r, w = os.pipe(); os.write(w, b'spliced'); os.splice(r, s.fileno(), 7)",
     [b"spliced"])
case("a raw socket with its own header",
     "udp = struct.pack('!HHHH', 9, addr[1], 11, 0) + b'raw'\n"
     "s.sendto(struct.pack('!BBHHHBBH4s4s', 0x45, 0, 31, 0, 0, 64, 17, 0,"
     f"socket.inet_aton('{IN4}'), socket.inet_aton(addr[0])) + udp, addr)",
     [b"raw"], sock=socket.SOCK_RAW, proto=socket.IPPROTO_RAW)

# --- ICMP, raw and ping sockets --------------------------------------------
with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
    file.write("0 0")
for name, sock in (("raw ICMP", socket.SOCK_RAW),
                   ("ping socket", socket.SOCK_DGRAM)):
    child = Child(s=socket.socket(socket.AF_INET, sock, socket.IPPROTO_ICMP),
                  addr=addr)
    echo = ("p = struct.pack('!BBHHH', 8, 0, 0, 7, 1)\n"
            "c = ~sum(struct.unpack('!4H', p)) & 0xffff\n"
            "s.sendto(struct.pack('!BBHHH', 8, 0, c, 7, 1), (addr[0], 0))")
    t0 = time.monotonic()
    child.do(echo)
    check(len(soon_seen(t0, count=1, proto=1)) == 1,
          f"{name}: goes without a dependency")
    child.do("taint()")
    t0 = time.monotonic()
    child.do(echo)
    time.sleep(0.7)
    check(not seen(t0, proto=1), f"{name}: held")
    commit()
    check(len(soon_seen(t0, count=1, proto=1)) == 1,
          f"{name}: out after the commit")
    child.end()

# --- order and others ------------------------------------------------------
shared = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dirty, clean = Child(s=shared, addr=addr), Child(s=shared, addr=addr)
free = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM), addr=addr)
dirty.do("taint()")
dirty.do("s.sendto(b'1', addr)")
clean.do("s.sendto(b'2', addr)")
dirty.do("s.sendto(b'3', addr)")
free.do("s.sendto(b'free', addr)")
check(datagrams(out, 4, 0.7) == [b"free"],
      "a clean process is not held, but behind held packets of its socket")
commit()
check(datagrams(out, 3) == [b"1", b"2", b"3"], "they keep their order")
for child in (dirty, clean, free):
    child.end()

out.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)      # SO_RCVBUFFORCE

# Many, with a sender that goes on while the held ones go out. Their order is
# looked at where they leave: behind a veth the softirqs of two processors may
# swap them, on a plain kernel as well.
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)     # SO_RCVBUFFORCE
tap.bind(("vin", 3))
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM), addr=addr)
child.do("s.setsockopt(1, 32, 4 << 20); taint()")   # SO_SNDBUFFORCE
child.do("for i in range(4000):\n"
         " s.sendto(b'%d' % i, addr)\n"
         " if i > 500: time.sleep(0.0005)", sleeps=0.5)
commit()
frames = (frame for frame in iter(lambda: datagrams(tap, 1, 3), [])
          for frame in frame)
got = [int(frame[42:]) for frame in frames      # behind Ethernet, IP and UDP
       if frame[12:14] == b"\x08\0" and frame[23] == socket.IPPROTO_UDP]
tap.close()
datagrams(out, 4000)
check(len(got) == 4000 and got == sorted(got),
      "4000 packets in order, none overtakes while others are released",
      (len(got), got == sorted(got)))
child.end()

# --- send buffer and limit -------------------------------------------------
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM), addr=addr)
child.do("taint(); s.setblocking(False)")
child.do("result = 0\n"
         "while True:\n"
         " s.sendto(b'x' * 1000, addr)\n")
child.do("s.setblocking(True); s.sendto(b'y', addr)", sleeps=0.7)
packets = held("datagram packets")
check(0 < packets < 1000, "the send buffer limits what is held", packets)
committed = commit()
got = datagrams(out, packets + 1)
log = child.answer()
check(got[-1] == b"y" and len(got) == packets + 1,
      "a blocked writer goes on after the commit", len(got))
check(log[-2].get("errno") == 11 and log[-1]["end"] >= committed,
      "a non-blocking one gets EAGAIN", log[-2:])
child.end()

with open(LIMIT) as file:
    limit = file.read()
with open(LIMIT, "w") as file:
    file.write("65536")
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM), addr=addr)
child.do("taint()\n"
         "for i in range(80): s.sendto(b'x', addr)", sleeps=1)
commit()
datagrams(out, 100, 1)
log = child.answer()
check(log[0]["end"] - log[0]["start"] > 0.5, "beyond the limit a writer waits",
      log)
child.do("taint(); s.setblocking(False)\n"
         "import select\n"
         "e = select.epoll(); e.register(s, select.EPOLLOUT | select.EPOLLET)\n"
         "e.poll(0)\n"
         "while True: s.sendto(b'x', addr)")
child.do("result = e.poll(5)", sleeps=0.7)
committed = commit()
datagrams(out, 1000, 1)
log = child.answer()
check(log[0].get("errno") == 11, "a non-blocking one gets EAGAIN", log)
check(log[1]["result"] and committed <= log[1]["end"] < committed + 1,
      "and an edge of epoll when there is room", (committed, log[1]))
with open(LIMIT, "w") as file:
    file.write(limit)
child.end()

# --- what tells others without a packet of ours ----------------------------
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
child.do("taint()")
child.do("s.setsockopt(0, 35, socket.inet_aton('239.1.2.3') + "
         f"socket.inet_aton('{IN4}'))", sleeps=0.5)
committed = commit()
check(child.last()["end"] >= committed, "joining a group waits")
child.do("taint(); s.setsockopt(0, 1, 16); s.setsockopt(1, 2, 1)")
committed = commit()
check(child.last()["end"] < committed, "harmless options do not")
child.do("taint(); n = socket.socket(16, 3, 0); n.bind((0, 0))\n"
         "n.send(struct.pack('IHHIIBxHiII', 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0))",
         sleeps=0.5)
committed = commit()
check((entry := child.last())["end"] >= committed, "netlink waits", entry)
child.do("p = socket.socket(17, 3, 0); p.bind(('vin', 0x800)); taint()\n"
         "t = time.monotonic()\n"
         "p.send(b'\\xff' * 60)", sleeps=0.5)
committed = commit()
check((entry := child.last())["end"] >= committed,
      "a packet socket waits", entry)
child.end()

# --- what it was going to go through has gone ------------------------------
run("ip", "link", "add", "vgone", "type", "veth", "peer", "name", "vgone2")
run("ip", "addr", "add", "10.78.0.1/24", "dev", "vgone")
run("ip", "link", "set", "vgone2", "up")
run("ip", "link", "set", "vgone", "up")
run("ip", "neigh", "add", "10.78.0.2", "lladdr", "02:00:00:00:00:02", "dev",
    "vgone")
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
child.do("taint(); s.sendto(b'lost', ('10.78.0.2', 9))")
check(held("datagram packets") == 1, "held for a device")
run("ip", "link", "del", "vgone", timeout=20)
check(True, "the device can go while its packets are held")
commit()
check(soon(lambda: held("datagram packets") == 0), "and they go after the commit")
child.end()

run("ip", "netns", "add", "doomed")
run("ip", "link", "add", "vd", "type", "veth", "peer", "name", "vd2", "netns",
    "doomed")
run("ip", "-n", "doomed", "addr", "add", "10.79.0.1/24", "dev", "vd2")
run("ip", "-n", "doomed", "link", "set", "vd2", "up")
run("ip", "link", "set", "vd", "up")
old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
new = os.open("/run/netns/doomed", os.O_RDONLY)
libc.setns(new, CLONE_NEWNET)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
libc.setns(old, CLONE_NEWNET)
os.close(new)
child = Child(nursed=True, s=s)
s.close()
child.do("taint(); s.sendto(b'lost', ('10.79.0.2', 9)); os._exit(0)", sleeps=0.5)
run("ip", "netns", "del", "doomed", timeout=20)
check(held("datagram packets") == 1, "held for a namespace that has gone")
commit()
check(soon(lambda: held("datagram packets") == 0), "and they go after the commit")
end = time.monotonic() + 20
while time.monotonic() < end and os.path.exists("/sys/class/net/vd"):
    time.sleep(0.2)
child.end()
check(subprocess.run(["ip", "link", "show", "vd"], capture_output=True)
      .returncode != 0, "and so does the namespace")

out.close()
done()
