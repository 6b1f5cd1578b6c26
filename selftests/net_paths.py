#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300
"""Whatever way a packet takes to the outside, it is held, and comes out whole.

Bridges, macvlan, ipvlan, VRF, tun, conntrack, NAT, and what diverts packets:
nftables queue and dup, tc on the loopback device. Each way is tried by a clean
process first: what it sends goes at once.
"""

import fcntl
import select
import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

setup()
sniffer_start()


def ip(*words):
    run("ip", *" ".join(words).split())


def nft(text):
    run("nft", text)


def family_of(addr):
    return socket.AF_INET6 if ":" in addr[0] else socket.AF_INET


def make(where, kind, family=socket.AF_INET):
    """A socket in namespace @where; "" is ours."""
    if not where:
        return socket.socket(family, kind)
    with outside(where):
        return socket.socket(family, kind)


def udp_case(name, addr, out, where="", prepare=lambda s: None,
             receive=datagrams):
    """@addr leads to @out."""
    first, second = (make(where, socket.SOCK_DGRAM, family_of(addr))
                     for _ in range(2))
    for s in (first, second):
        prepare(s)
    child = Child(s=first, t=second, addr=addr)
    first.close()
    second.close()
    child.do("s.sendto(b'clean', addr)")
    got = receive(out, 1)
    check(got == [b"clean"], f"{name}, UDP: goes without a dependency", got)
    child.do("taint()")
    # A flow of its own: nobody has seen it yet.
    child.do("for i in range(3): t.sendto(b'held%d' % i, addr)")
    got = receive(out, 1, 0.6)
    check(got == [], f"{name}, UDP: held", got)
    committed = commit()
    got = receive(out, 3)
    check(got == [b"held0", b"held1", b"held2"],
          f"{name}, UDP: all out after the commit, in order", got)
    log = child.answer()
    check("errno" not in log[-1] and log[-1]["end"] < committed,
          f"{name}, UDP: the sender did not wait", log[-1])
    child.end()


def tcp_case(name, addr, bind, where="", outer_ns="outside",
             prepare=lambda s: None):
    """@addr leads to @bind in @outer_ns."""
    with outside(outer_ns):
        server = socket.socket(family_of(bind))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(bind)
        server.listen()
        server.settimeout(5)
    inner = make(where, socket.SOCK_STREAM, family_of(addr))
    prepare(inner)
    inner.settimeout(5)
    inner.connect(addr)
    inner.settimeout(None)
    outer, _ = server.accept()
    server.close()
    child = Child(s=inner)
    inner.close()
    child.do("s.sendall(b'clean')")
    check(receive(outer, 5) == b"clean",
          f"{name}, TCP: goes without a dependency")
    child.do("taint()")
    stats = netstat("TcpRetransSegs")
    child.do("s.sendall(b'held')")
    check(receive(outer, 1, 0.6) == b"", f"{name}, TCP: held")
    committed = commit()
    check(receive(outer, 4) == b"held", f"{name}, TCP: out after the commit")
    check(time.monotonic() - committed < 2, f"{name}, TCP: promptly")
    check(netstat("TcpRetransSegs") == stats, f"{name}, TCP: sent once")
    child.end()
    outer.close()


def bound(where, addr, port=7000):
    s = make(where, socket.SOCK_DGRAM, family_of((addr,)))
    s.bind((addr, port))
    return s


def both(name, addr, where="", outer_ns="outside", prepare=lambda s: None):
    out = bound(outer_ns, addr)
    udp_case(name, (addr, 7000), out, where, prepare)
    out.close()
    tcp_case(name, (addr, 7000), (addr, 7000), where, outer_ns, prepare)


# --- devices ---------------------------------------------------------------
ip("link add br0 type bridge")
ip("link set br0 up")
ip("addr add 10.81.0.1/24 dev br0")
for i in (2, 3):
    ip(f"netns add n{i}")
    ip(f"link add b{i} type veth peer name e{i} netns n{i}")
    ip(f"link set b{i} master br0 up")
    ip(f"-n n{i} addr add 10.81.0.{i}/24 dev e{i}")
    ip(f"-n n{i} addr add fd81::{i}/64 dev e{i} nodad")
    ip(f"-n n{i} link set e{i} up")
    ip(f"-n n{i} link set lo up")
both("bridge", "10.81.0.2", outer_ns="n2")
both("two namespaces and a bridge", "10.81.0.2", where="n3", outer_ns="n2")
both("two namespaces and a bridge, IPv6", "fd81::2", where="n3", outer_ns="n2")
for i in (2, 3):
    ip(f"netns del n{i}")
ip("link del br0")

for kind in ("macvlan", "ipvlan"):
    ip("netns add guest")
    ip(f"link add link vin name v0 netns guest type {kind} mode "
       f"{'bridge' if kind == 'macvlan' else 'l2'}")
    ip(f"-n guest addr add {NET4}.3/24 dev v0")
    ip("-n guest link set v0 up")
    ip("-n guest link set lo up")
    both(kind, OUT4, where="guest")
    ip("netns del guest")

ip("link add vrf1 type vrf table 10")
ip("link set vrf1 up")
ip("link add x0 type veth peer name x1 netns outside")
ip("link set x0 master vrf1 up")
ip("addr add 10.82.0.1/24 dev x0")
ip("-n outside addr add 10.82.0.2/24 dev x1")
ip("addr add fd82::1/64 dev x0 nodad")
ip("-n outside addr add fd82::2/64 dev x1 nodad")
ip("-n outside link set x1 up")
for name, addr in (("VRF", "10.82.0.2"), ("VRF, IPv6", "fd82::2")):
    both(name, addr, prepare=lambda s: s.setsockopt(
        socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"vrf1"))
ip("link del x0")
ip("link del vrf1")

# --- tun: the outside is a program -----------------------------------------
run("modprobe", "tun")
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH14x", b"tun7", 0x1001))
ip("addr add 10.83.0.1/24 dev tun7")
ip("link set tun7 up")


def from_tun(fd, count, seconds=3):
    end, got = time.monotonic() + seconds, []
    while len(got) < count and time.monotonic() < end:
        if not select.select([fd], [], [], 0.05)[0]:
            continue
        packet = os.read(fd, 4096)
        if packet[0] == 0x45 and packet[9] == socket.IPPROTO_UDP:
            got.append(packet[28:])
    return got


udp_case("tun", ("10.83.0.2", 7000), tun, receive=from_tun)
child = Child(tun=tun)
packet = ("struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20, 0, 0, 64, 253, 0,"
          "socket.inet_aton('10.83.0.2'), socket.inet_aton('10.83.0.1'))")
child.do(f"os.write(tun, {packet})")
entry = child.last()
check("errno" not in entry and entry["end"] - entry["start"] < 2,
      "tun: a clean write does not wait", entry)
child.do("taint()")
child.do(f"os.write(tun, {packet})", sleeps=0.5)
committed = commit()
entry = child.last()
check("errno" not in entry and entry["end"] >= committed,
      "tun: a dependent write waits", entry)
child.end()
os.close(tun)

# --- conntrack and NAT -----------------------------------------------------
nft(f"""table ip t {{
    chain out {{ type filter hook output priority 0; ct state invalid drop; }}
    chain nat {{ type nat hook output priority -100;
                ip daddr 10.99.0.1 dnat to {OUT4};
                ip daddr {IN4} tcp dport 7005 dnat to {OUT4}:7000;
                ip daddr {IN4} udp dport 7005 dnat to {OUT4}:7000; }}
    chain post {{ type nat hook postrouting priority 100;
                 oifname vin masquerade; }}
}}""")
ip(f"route add 10.99.0.1 via {OUT4}")
both("conntrack and masquerade", OUT4)
nft("""table ip6 t {
    chain post { type nat hook postrouting priority 100;
                 oifname vin masquerade; }
}""")
both("conntrack and masquerade, IPv6", OUT6)
nft("delete table ip6 t")
out = bound("outside", OUT4)
udp_case("DNAT", ("10.99.0.1", 7000), out)
udp_case("DNAT of a local address", (IN4, 7005), out)
out.close()
tcp_case("DNAT", ("10.99.0.1", 7000), (OUT4, 7000))
tcp_case("DNAT of a local address", (IN4, 7005), (OUT4, 7000))
ip("route del 10.99.0.1")
nft("delete table ip t")

# --- rules: drop, dup ------------------------------------------------------
nft("""table ip t {
    chain out { type filter hook output priority 0; udp dport 7003 drop; }
}""")
child = Child(s=make("", socket.SOCK_DGRAM), addr=(OUT4, 7003))
child.do("s.sendto(b'x', addr)")
clean = child.last()
child.do("taint()")
child.do("s.sendto(b'x', addr)")
commit()
entry = child.last()
check(clean.get("errno") == entry.get("errno") == 1,
      "drop: EPERM, dependent or not", (clean, entry))
child.end()
nft("delete table ip t")

ip(f"neigh add {NET4}.9 lladdr 02:00:00:00:00:09 dev vin")
nft(f"""table ip t {{
    chain out {{ type filter hook output priority 0;
                udp dport {{ 7010, 7011 }} dup to {NET4}.9 device "vin"; }}
}}""")
for name, addr in (("dup of a packet to the outside", (OUT4, 7010)),
                   ("dup of a packet on lo", ("127.0.0.1", 7011))):
    child = Child(s=make("", socket.SOCK_DGRAM), addr=addr)
    t0 = time.monotonic()
    child.do("s.sendto(b'x', addr)")
    count = 1 + (addr[0] == OUT4)
    got = soon_seen(t0, count=count, proto=17, port=addr[1])
    check(len(got) == count, f"{name}: goes without a dependency", len(got))
    child.do("taint()")
    t0 = time.monotonic()
    child.do("s.sendto(b'x', addr)")
    time.sleep(0.6)
    check(not seen(t0, proto=17, port=addr[1]), f"{name}: held")
    commit()
    got = soon_seen(t0, count=count, proto=17, port=addr[1])
    check(len(got) == count, f"{name}: out after the commit", len(got))
    child.end()
nft("delete table ip t")

# --- queue: a program sees the packet before we hold it ---------------------
nft("""table ip t {
    chain out { type filter hook output priority 0; udp dport 7020 queue num 7; }
}""")
QUEUE = '''
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
n.bind((0, 0))
def message(kind, attributes):
    body = struct.pack("!BBH", 0, 0, 7)
    for number, value in attributes:
        body += struct.pack("HH", 4 + len(value), number) + value
        body += bytes(-len(value) % 4)
    n.send(struct.pack("IHHII", 16 + len(body), 3 << 8 | kind, 1, 0, 0) + body)
message(2, [(1, struct.pack("!BBH", 1, 0, 2))])
message(2, [(2, struct.pack("!IB", 0xffff, 2))])
def next_packet():
    data, id = n.recv(65536), None
    while not id:
        if struct.unpack("IH", data[:6])[1] == 3 << 8:
            at = 20
            while at < len(data):
                length, number = struct.unpack("HH", data[at:at + 4])
                if number & 0x7fff == 1:
                    id = data[at + 4:at + 8]
                at += length + 3 & ~3
        data = data if id else n.recv(65536)
    report.sendto(b"seen it", out)
    message(1, [(2, struct.pack("!I", 1) + id)])
'''
out = bound("outside", OUT4, 7020)
reports = udp_outside()
reader = Child(report=make("", socket.SOCK_DGRAM), out=reports.getsockname())
reader.do(QUEUE)
sender = Child(s=make("", socket.SOCK_DGRAM), addr=(OUT4, 7020))
reader.do("next_packet()", sleeps=0.3)
sender.do("s.sendto(b'clean', addr)")
check(datagrams(reports, 1) == [b"seen it"], "queue: a clean packet is told of")
check(datagrams(out, 1) == [b"clean"], "queue: and goes")
reader.do("next_packet()", sleeps=0.3)
sender.do("taint()")
sender.do("s.sendto(b'held', addr)")
got = datagrams(reports, 1, 0.6)
check(got == [], "queue: who has seen the packet is held", got)
commit()
check(datagrams(reports, 1) == [b"seen it"], "queue: out after the commit")
check(datagrams(out, 1) == [b"held"], "queue: the packet, too")
for child in (reader, sender):
    child.end()
out.close()
nft("delete table ip t")

# --- tc on the loopback device ---------------------------------------------
run("tc", "qdisc", "add", "dev", "lo", "clsact")
for where in ("egress", "ingress"):
    run("tc", "filter", "add", "dev", "lo", where, "matchall", "action",
        "mirred", "egress", "mirror", "dev", "vin")
    for kind in ("UDP", "TCP"):
        name = f"mirror of lo, {where}, {kind}"
        if kind == "UDP":
            local = bound("", "127.0.0.1", 7030)
            s = make("", socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", 7030))
            peer = local
        else:
            local = make("", socket.SOCK_STREAM)
            local.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            local.bind(("127.0.0.1", 7030))
            local.listen()
            s = socket.create_connection(("127.0.0.1", 7030))
            peer, _ = local.accept()
        child = Child(s=s)
        s.close()
        t0 = time.monotonic()
        child.do("s.send(b'clean')")
        check(soon_seen(t0, port=7030, data=b"clean") != [],
              f"{name}: goes without a dependency")
        check(datagrams(peer, 1) == [b"clean"], f"{name}: to both ends")
        child.do("taint()")
        child.do("s.send(b'held')")
        time.sleep(0.6)
        check(not seen(t0, port=7030, data=b"held"), f"{name}: held")
        commit()
        check(soon_seen(t0, port=7030, data=b"held") != [],
              f"{name}: out after the commit")
        check(datagrams(peer, 1) == [b"held"], f"{name}: to both ends")
        child.end()
        local.close()
        peer.close()
    run("tc", "filter", "del", "dev", "lo", where)
run("tc", "qdisc", "del", "dev", "lo", "clsact")

check(held("tcp leaks_stopped") == 0, "the safety net had nothing to do",
      held("tcp leaks_stopped"))
commit()
check(soon(lambda: held("tcp sockets") == 0 and held("datagram packets") == 0),
      "nothing is held any more")
done()
