#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=120
"""Users who fill every held queue: limits hold, others keep working.

Law 3: what is held is bounded, and pushes back on its writer and on nobody
else. The negative control is a second process of the user who has filled his
share, and the same flood with a limit that is large.
"""

import resource
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

PARAMETERS = "/sys/module/speculator/parameters"
HOG, OTHER, THIRD = 1001, 1002, 1003
MIB = 1 << 20
PER_CPU = os.cpu_count() * MIB      # by which the kernel's count of TCP may err

setup()
# What a child opens it opens as its user, but debugfs is for root.
os.set_inheritable(taint_fd := os.open(f"{SOURCE}/taint", os.O_RDONLY), True)
out = udp_outside()
out.setsockopt(socket.SOL_SOCKET, 33, 64 * MIB)         # SO_RCVBUFFORCE
addr = out.getsockname()


def parameter(name, value):
    with open(f"{PARAMETERS}/{name}", "w") as file:
        file.write(str(value))


LIMIT = "/sys/kernel/debug/speculator/limit"


def limits():
    with open(LIMIT) as file:
        head, row = file.read().splitlines()
    return dict(zip(head.split(), map(int, row.split())))


def limit():
    """Memory held in all, and the most of it that is one user's."""
    values = limits()
    return values["held_memory"], values["most_of_a_user"]


def tcp_memory():
    """Bytes of all TCP buffers, as the kernel counts them."""
    for line in read_proc("/proc/net/sockstat").splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * resource.getpagesize()
    return 0


def user(uid, **variables):
    """A child that runs as @uid, and depends on something from now on."""
    child = Child(addr=addr, taint_fd=taint_fd, uid=uid, **variables)
    child.do("os.setgid(uid); os.setuid(uid); os.pread(taint_fd, 16, 0)")
    return child


FLOOD = """
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(%d)]
result = [0, 0]
for s in sockets:
    s.setblocking(False)
    try:
        while True:
            s.sendto(b'x' * 1000, addr)
            result[0] += 1
    except BlockingIOError:
        result[1] += 1
"""

# --- a user and his share ----------------------------------------------------
parameter("held_limit", 2 * MIB)
hog = user(HOG)
hog.do(FLOOD % 40)
total, most = limit()
check(MIB * 3 // 4 < total <= MIB + 4096,
      "packets: one user gets half of the limit", (total, most))
again = user(HOG)
again.do(FLOOD % 2)
other = user(OTHER)
other.do(FLOOD % 1)
third = user(THIRD, s=(conn := connected())[0])
third.do("s.setblocking(False); result = s.send(b'third' * 1000)")
total, _ = limit()
check(total <= 2 * MIB, "all of them together stay below the limit", total)
clean = Child(s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM), addr=addr)
clean.do("s.sendto(b'clean', addr)")
check(datagrams(out, 1, 1) == [b"clean"], "who depends on nothing is not held")
t0 = commit()
log = hog.last()["result"]
got = datagrams(out, log[0], 5)
check(log[1] == 40, "the first user is refused on each socket", log)
mine = again.last()["result"]
check(mine[0] == 0, "so is another process of his", mine)
theirs = other.last()["result"]
check(theirs[0] > 50, "a second user holds what fits his socket", theirs)
check(third.last()["result"] == 5000, "a third user's connection too")
check(receive(conn[1], 5000) == b"third" * 1000, "and its bytes come out")
time.sleep(0.5)
check(limit() == (0, 0), "nothing is charged after the commit", limit())
check(total <= limits()["held_peak"] <= 2 * MIB, "the peak is kept", limits())
with open(LIMIT, "w") as file:
    file.write("0")
check(limits()["held_peak"] == 0, "until something is written there", limits())
datagrams(out, 10000, 0.5)
for child in (hog, again, other, third, clean):
    child.end()

# --- TCP: buffers of one byte, and large ones --------------------------------
parameter("held_limit", 16 * MIB)
pairs = [connected(rcvbuf=4096) for _ in range(40)]
hog = user(HOG, **{f"s{n}": pair[0] for n, pair in enumerate(pairs)})
before = tcp_memory()
hog.do("""
result = 0
for s in [globals()[f's{n}'] for n in range(40)]:
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    try:
        while True:
            result += s.send(b'x', socket.MSG_EOR)
    except BlockingIOError:
        pass
""")
total, _ = limit()
memory = tcp_memory() - before
commit()
count = hog.last()["result"]
check(total > 400 * count and memory < 1.3 * total + PER_CPU,
      "TCP: a byte in a buffer of its own counts as the buffer",
      (count, total, memory))
check(memory < 8 * MIB + PER_CPU, "and the limit holds for them", memory)
time.sleep(0.5)
check(limit() == (0, 0),
      "a peer that does not read keeps nothing charged after the commit", limit())
hog.end()
for inner, outer, _ in pairs:
    inner.close()
    outer.close()


def writers(held_limit):
    """Twelve calls that write much; returns what they could queue."""
    parameter("held_limit", held_limit)
    pairs = [connected() for _ in range(12)]
    children = [user(HOG, s=pair[0]) for pair in pairs]
    before = tcp_memory()
    for child in children:
        child.do("s.sendall(bytes(2 << 20))", sleeps=0.05)
    time.sleep(2)
    memory = tcp_memory() - before
    readers = [threading.Thread(target=receive, args=(pair[1], 2 * MIB, 20))
               for pair in pairs]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 20
    while any(reader.is_alive() for reader in readers) and \
            time.monotonic() < end:
        commit()
        time.sleep(0.2)
    commit()
    logs = [child.last() for child in children]
    for child, pair in zip(children, pairs):
        child.end()
        pair[0].close()
        pair[1].close()
    return memory, logs


free, _ = writers(64 * MIB)
memory, logs = writers(2 * MIB)
check(free > 8 * MIB, "with a large limit twelve writers queue much", free)
check(memory < 2 * MIB + PER_CPU, "with a small one their send buffers do not grow",
      (memory, free))
check(not any("errno" in log for log in logs), "and all is written in the end",
      logs)

# --- one who keeps a socket busy ---------------------------------------------
# Its packets go behind the held ones and never end; others must get out.
parameter("held_limit", 64 * MIB)
busy = user(HOG)
busy.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(addr); s.send(b'held')\n"
        "import threading\n"
        "stop = time.monotonic() + 4\n"
        "def spin():\n"
        "    while time.monotonic() < stop:\n"
        "        s.send(b'more')\n"
        "for i in range(3): threading.Thread(target=spin).start()", sleeps=0.5)
others = [user(OTHER + n) for n in range(8)]
for n, child in enumerate(others):
    child.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
             f"s.sendto(b'other%d' % {n}, addr)")
t0 = commit()
want = {b"other%d" % n for n in range(8)}
end = time.monotonic() + 10
while want and time.monotonic() < end:
    want -= set(datagrams(out, 1, 1))
took = time.monotonic() - t0
check(not want, f"others get out beside a socket that is kept busy ({took:.2f} s)",
      want)
time.sleep(max(0, t0 + 5 - time.monotonic()))
commit()
datagrams(out, 1000000, 0.5)
for child in [busy, *others]:
    child.end()

out.close()
os.close(taint_fd)      # it keeps the source
done()
