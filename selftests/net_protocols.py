#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300
"""Protocols beside plain TCP and UDP, and buffers that stay the sender's.

What can be held is held, what is not known waits, and what a process stores
after it has sent does not go out with it. Each is tried by a clean process
first: it neither waits nor is held.
"""

import mmap
import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2
KEY = struct.pack("HH", 0x303, 51) + b"i" * 8 + b"k" * 16 + b"salt" + bytes(8)
PAGE = mmap.PAGESIZE

network()


# --- buffers that stay the sender's ----------------------------------------
# The sender's page is in the queue behind a closed window.
QUEUED_ZEROCOPY = """
import mmap
page = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
page[:] = b'o' * PAGE
s.setsockopt(1, 60, 1)          # SO_ZEROCOPY
s.setsockopt(1, 7, 1 << 20)     # SO_SNDBUF
s.send(b'w' * 50000)
s.send(page, 0x4000000)         # MSG_ZEROCOPY
"""
STORE = "page[:] = b'n' * PAGE"


def queued_file():
    """A page of a file is in the queue behind a closed window."""
    inner, outer, _ = connected(rcvbuf=4096)
    inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    fd = os.open("/dev/shm/page", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"o" * PAGE, 0)
    inner.send(b"w" * 50000)
    os.sendfile(inner.fileno(), fd, 0, PAGE)
    return inner, outer, fd


def tail(outer):
    got = b""
    while len(got) < 50000 + PAGE:
        more = receive(outer, 50000 + PAGE - len(got))
        if not more:
            break
        got += more
    return got[50000:]


# The control, without our modules.
inner, outer, _ = connected(rcvbuf=4096)
exec(QUEUED_ZEROCOPY + STORE, dict(s=inner, PAGE=PAGE))
check(b"n" in tail(outer), "MSG_ZEROCOPY on a plain kernel shows later stores")
inner.close()
outer.close()
inner, outer, fd = queued_file()
os.pwrite(fd, b"n" * PAGE, 0)
check(b"n" in tail(outer), "sendfile on a plain kernel shows later writes")
for thing in (inner, outer):
    thing.close()
os.close(fd)

sys.excepthook = crash
lib("load_modules speculator testsource")
sniffer_start()

inner, outer, _ = connected(rcvbuf=4096)
child = Child(s=inner, PAGE=PAGE)
child.do(QUEUED_ZEROCOPY)
child.do("taint();" + STORE)
got = tail(outer)
check(got == b"o" * PAGE, "MSG_ZEROCOPY: a later store does not go out",
      got[:10])
commit()
child.do("import select\n"
         "p = select.poll(); p.register(s, 0); result = p.poll(3000)\n"
         "s.recvmsg(1, 100, socket.MSG_ERRQUEUE)")
entry = child.last()
check(entry["result"] and "errno" not in entry,
      "MSG_ZEROCOPY: its completion is told", entry)
child.end()
outer.close()

inner, outer, fd = queued_file()
child = Child(s=inner, fd=fd, PAGE=PAGE)
child.do("taint(); os.pwrite(fd, b'n' * PAGE, 0)")
got = tail(outer)
check(got == b"o" * PAGE, "sendfile: a later write does not go out", got[:10])
commit()
child.end()
outer.close()
os.close(fd)

out = udp_outside()
child = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
              addr=out.getsockname(), flags=0x4000000, PAGE=PAGE)
child.do("import mmap\n"
         "page = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | "
         "mmap.MAP_ANONYMOUS)\n"
         "s.setsockopt(1, 60, 1); s.connect(addr); taint()\n"
         "page[:1000] = b'o' * 1000; s.send(page[:1000], flags)\n"
         "m = memoryview(page)[:1000]; s.send(m, flags)\n"
         "page[:1000] = b'n' * 1000")
check(datagrams(out, 1, 0.6) == [], "UDP MSG_ZEROCOPY: held")
commit()
check(datagrams(out, 2) == [b"o" * 1000] * 2,
      "UDP MSG_ZEROCOPY: out after the commit, without the later store")
child.end()
out.close()


# --- held ------------------------------------------------------------------
def stream(name, pair, send, expect, at_least=1):
    """@send by a child is held; what outside gets is @expect."""
    inner, outer = pair()
    child = Child(s=inner, fd=inner.fileno(), KEY=KEY)
    inner.close()
    child.do(send)
    got = receive(outer, len(expect))
    check(got == expect, f"{name}: goes without a dependency", got[:40])
    child.do("taint()")
    child.do(send, sleeps=0.1)
    got = receive(outer, 1, 0.6)
    check(got == b"", f"{name}: held", got)
    commit()
    got = receive(outer, len(expect))
    check(got == expect, f"{name}: out after the commit", got[:40])
    entry = child.last()
    check("errno" not in entry, f"{name}: without an error", entry)
    child.end()
    outer.close()


def tls(family=socket.AF_INET, ends="both"):
    inner, outer, _ = connected(family)
    for s, direction in ((inner, TLS_TX), (outer, TLS_RX)):
        s.setsockopt(socket.IPPROTO_TCP, 31, b"tls")        # TCP_ULP
        s.setsockopt(SOL_TLS, direction, KEY)
    return inner, outer


run("modprobe", "-a", "tls", "sctp", "dccp_ipv4")
stream("kTLS", tls, "s.sendall(b'secret')", b"secret")
stream("kTLS, IPv6", lambda: tls(socket.AF_INET6), "s.sendall(b'secret')",
       b"secret")
stream("kTLS, large", tls, "s.sendall(b'L' * 50000)", b"L" * 50000)
stream("kTLS, MSG_MORE", tls, "s.send(b'one', 0x8000); s.send(b'two')",
       b"onetwo")
stream("kTLS, sendfile", tls,
       "f = os.open('/dev/shm/page', os.O_RDWR); os.write(f, b'f' * 99)\n"
       "os.sendfile(fd, f, 0, 99)", b"f" * 99)
stream("kTLS, splice", tls,
       "r, w = os.pipe(); os.write(w, b'p' * 99); os.splice(r, fd, 99)",
       b"p" * 99)

# An open record of clean bytes waits for more of them.
inner, outer = tls()
child = Child(s=inner)
inner.close()
child.do("s.send(b'clean', 0x8000); taint()")
child.do("s.send(b'held'); s.close()")
got = receive(outer, 9, 0.6)
check(b"held" not in got, "kTLS, close: a record that was open is held", got)
commit()
got += receive(outer, 9 - len(got))
check(got == b"cleanheld" and outer.recv(1) == b"",
      "kTLS, close: out after the commit, with the FIN", got)
child.end()
outer.close()

# kTLS set up by a process that is dependent already: that alone is no output.
inner, outer, _ = connected()
outer.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
outer.setsockopt(SOL_TLS, TLS_RX, KEY)
child = Child(s=inner, KEY=KEY)
inner.close()
child.do("taint(); s.setsockopt(6, 31, b'tls'); s.setsockopt(282, 1, KEY)\n"
         "s.send(b'late')")
check(receive(outer, 1, 0.6) == b"", "kTLS by a dependent process: held")
committed = commit()
check(receive(outer, 4) == b"late", "kTLS by a dependent process: out after")
check((entry := child.last())["end"] < committed,
      "kTLS by a dependent process: it did not wait", entry)
child.end()
outer.close()

# --- TCP fast open ---------------------------------------------------------
for where in ("", "ip netns exec outside "):
    run("bash", "-c", where + "sysctl -qw net.ipv4.tcp_fastopen=0x207")
server = tcp_outside()
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
FASTOPEN = "s = socket.socket(); s.sendto(b'syn', 0x20000000, addr)"
child = Child(addr=server.getsockname())
child.do(FASTOPEN)
peer, _ = server.accept()
check(receive(peer, 3) == b"syn", "fast open: goes without a dependency")
check((entry := child.last())["end"] - entry["start"] < 2,
      "fast open: and does not wait", entry)
peer.close()
child.do("taint()")
t0 = time.monotonic()
child.do(FASTOPEN, sleeps=0.6)
check(not (early := seen(t0, proto=6, flag="S")), "fast open: no SYN",
      early)
commit()
peer, _ = server.accept()
check(receive(peer, 3) == b"syn", "fast open: after the commit")
check(soon_seen(t0, proto=6, flag="S")[0].data == b"syn",
      "fast open: with its data")
child.end()
peer.close()
server.close()

server = socket.socket()
server.bind((IN4, 0))
server.listen()
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
with outside():
    client = socket.socket()
client.sendto(b"question", 0x20000000, server.getsockname())
child = Child(l=server)
child.do("s, _ = l.accept(); taint(); s.recv(9)\ns.send(b'answer')")
got = receive(client, 6, 0.6)
check(got == b"", "fast open of the other side: the answer is held", got)
committed = commit()
check(receive(client, 6) == b"answer",
      "fast open of the other side: out after the commit")
check((entry := child.last())["end"] < committed,
      "fast open of the other side: it did not wait", entry)
child.end()
client.close()
server.close()


# --- waits -----------------------------------------------------------------
def waits(name, code, more={}, prepare="", proto=None):
    """@code waits for the commit if its process depends on something."""
    child = Child(**more)
    if prepare:
        child.do(prepare)
    child.do(code)
    entry = child.last()
    good = check("errno" not in entry and entry["end"] - entry["start"] < 5,
                 f"{name}: does not wait without a dependency", entry)
    if good:
        child.do(prepare + "\ntaint()")
        t0 = time.monotonic()
        child.do(code, sleeps=0.6)
        if proto:
            check(not (early := seen(t0, proto=proto)),
                  f"{name}: nothing leaves", early)
        committed = commit()
        entry = child.last()
        check("errno" not in entry and entry["end"] >= committed,
              f"{name}: waits with one", entry)
    commit()
    child.end()


server = tcp_outside()
addr = server.getsockname()
waits("MPTCP connect", "s = socket.socket(2, 1, 262); s.connect(addr)",
      dict(addr=addr), proto=6)
waits("MPTCP send", "s.send(b'x')", dict(addr=addr),
      "s = socket.socket(2, 1, 262); s.connect(addr)", proto=6)
waits("MPTCP close", "s.close()", dict(addr=addr),
      "s = socket.socket(2, 1, 262); s.connect(addr)", proto=6)
with outside():
    sctp = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
    sctp.bind((OUT4, 0))
    sctp.listen()
    dccp = socket.socket(socket.AF_INET, 6, 33)
    dccp.setsockopt(269, 2, struct.pack("!I", 7))       # DCCP_SOCKOPT_SERVICE
    dccp.bind((OUT4, 0))
    dccp.listen()
for name, open_socket, addr, proto in (
        ("SCTP", "s = socket.socket(2, 1, 132)", sctp.getsockname(), 132),
        ("DCCP", "s = socket.socket(2, 6, 33);"
         "s.setsockopt(269, 2, struct.pack('!I', 7))", dccp.getsockname(), 33)):
    names = dict(addr=addr)
    waits(f"{name} connect", f"{open_socket}; s.connect(addr)", names,
          proto=proto)
    waits(f"{name} send", "s.send(b'x')", names,
          f"{open_socket}; s.connect(addr)", proto=proto)
    waits(f"{name} close", "s.close()", names,
          f"{open_socket}; s.connect(addr)", proto=proto)
waits("SCTP connectx",
      "s.getsockopt(132, 111, struct.pack('iiP', 0, 16, address))",
      dict(addr=sctp.getsockname()),
      "import ctypes\n"
      "s = socket.socket(2, 1, 132); s.setblocking(False)\n"
      "raw = ctypes.create_string_buffer(struct.pack('HH', 2, "
      "socket.htons(addr[1])) + socket.inet_aton(addr[0]) + bytes(8))\n"
      "address = ctypes.addressof(raw)\n"
      "class Quiet:\n"
      "  def getsockopt(self, level, name, value):\n"
      "    buf = ctypes.create_string_buffer(value)\n"
      "    size = ctypes.c_int(len(value))\n"
      "    ctypes.CDLL(None).getsockopt(fd, level, name, buf, "
      "ctypes.byref(size))\n"
      "fd = s.fileno(); keep = s; s = Quiet()", proto=132)

RING = """
import mmap
p = socket.socket(17, 3, 0); p.bind(('vin', 0x800))
p.setsockopt(263, 10, 0)
p.setsockopt(263, 13, struct.pack('IIII', 4096, 1, 2048, 2))
"""
FRAME = RING + """
ring = mmap.mmap(p.fileno(), 4096)
frame = b'\\xff' * 12 + b'\\x88\\xb5' + b'ring' * 20
ring[32:32 + len(frame)] = frame
ring[:12] = struct.pack('QI', 1, len(frame))
"""
waits("PACKET_TX_RING, mmap", "ring = mmap.mmap(p.fileno(), 4096)",
      prepare=RING)
waits("PACKET_TX_RING, send", "p.send(b'')", prepare=FRAME)
waits("AF_PACKET", "p.send(b'\\xff' * 60)", prepare=RING)
os.unlink("/dev/shm/page")
done()
