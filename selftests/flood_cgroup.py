#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=150
"""Memory and number of processes of a cgroup: who floods pays for it himself.

Law 3: what is held is memory of the writer's cgroup, and where that has no room
the writer waits, and is not killed for it. A fork bomb of dependent processes is
held by its cgroup as any other, and disturbs nobody. The negative control is the
same flood outside of the cgroup.
"""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

PARAMETERS = "/sys/module/speculator/parameters"
CGROUP = "/sys/fs/cgroup/flood"
MIB = 1 << 20
ROOM = 16 * MIB

setup()
os.makedirs("/sys/fs/cgroup", exist_ok=True)
run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")


def put(path, value):
    with open(path, "w") as file:
        file.write(str(value))


def cgroup(name, word=None):
    with open(f"{CGROUP}/{name}") as file:
        for line in file:
            if word is None:
                return int(line)
            key, value = line.split()
            if key == word:
                return int(value)
    raise KeyError(word)


def held_memory():
    with open("/sys/kernel/debug/speculator/limit") as file:
        return int(file.read().splitlines()[1].split()[0])


def emptied():
    """What has been let go leaves in its own time."""
    end = time.monotonic() + 20
    while held_memory() and time.monotonic() < end:
        time.sleep(0.1)
    return not held_memory()


def member(**variables):
    """A child in the cgroup; what it has already is not charged there."""
    child = Child(addr=addr, **variables)
    put(f"{CGROUP}/cgroup.procs", child.runner)
    return child


put("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids")
os.mkdir(CGROUP)
put(f"{PARAMETERS}/held_limit", 512 * MIB)
put(f"{PARAMETERS}/tty_limit", 128 * MIB)
put(f"{CGROUP}/memory.max", ROOM)
put(f"{CGROUP}/memory.swap.max", 0)
out = udp_outside()
addr = out.getsockname()

# --- packets -------------------------------------------------------------------
PACKETS = """
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(90)]
taint()
result = [0, 0]
for s in sockets:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    s.setblocking(False)
    try:
        while True:
            s.sendto(bytes(8000), addr)
            result[0] += 1
    except BlockingIOError:
        result[1] += 1
"""
child = Child(addr=addr)
child.do(PACKETS)
free = held_memory()
commit()
child.answer()
child.end()
emptied()
check(free > 2 * ROOM, "packets: without a cgroup they are many", free)
child = member()
child.do(PACKETS)
memory = held_memory()
current = cgroup("memory.current")
check(ROOM // 3 < memory < ROOM,
      "in a small cgroup no more than its memory is held", (memory, current))
check(current > memory * 0.9, "all of it is charged there", (memory, current))
child.do("sockets[0].setblocking(True)\n"
         "for n in range(200): sockets[0].sendto(bytes(8000), addr)", sleeps=1)
committed = commit()
log = child.answer()
check(log[0]["result"] and log[0]["result"][1] == 90,
      "who does not want to wait gets EAGAIN", log[0])
check("errno" not in log[1] and log[1]["end"] > committed,
      "who does waits, and goes on after the commit", log[1])
check(emptied() and cgroup("memory.current") < current - memory / 2,
      "nothing is charged after it", cgroup("memory.current"))

# What is left is not enough for what it does next, and would be without us. Ten
# sockets are 4 MB, and no more than 8 with what KASAN has not yet freed: a flood
# that came to the end of the room would itself wait there.
size = ROOM - cgroup("memory.current") - 2 * MIB
child.do(PACKETS.replace("90", "10"))
check(cgroup("memory.current") + size > ROOM + MIB,
      "what is held takes room from its writer", (cgroup("memory.current"), size))
child.do(f"x = b'x' * {size}; del x", sleeps=2)
waits = child.stage()[1] < child.orders
committed = commit()
log = child.answer()
check(waits and log[1]["end"] > committed,
      "who needs it waits for the commit", log[1])
check(cgroup("memory.events", "oom") and not cgroup("memory.events", "oom_kill"),
      "instead of being killed")
child.end()

# --- TCP -------------------------------------------------------------------------
server = tcp_outside()


def streams():
    count = 30
    code = ("sockets = [socket.create_connection(server) for _ in range(%d)]"
            % count)
    return code, count


def tcp_flood(child):
    """Returns the memory of TCP, of the whole machine."""
    code, count = streams()
    child.do(code)
    peers = [server.accept()[0] for _ in range(count)]
    child.do("""
taint()
for s in sockets:
    s.setblocking(False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    try:
        while True:
            s.send(bytes(100000))
    except BlockingIOError:
        pass
""")
    time.sleep(2.5)     # the kernel sums it up every two seconds
    memory = held_memory()
    charged = cgroup("memory.stat", "sock")
    commit()
    log = child.answer()
    child.end()
    for peer in peers:
        peer.close()
    return memory, charged, log


server.listen(100)
free, _, _ = tcp_flood(Child(server=server.getsockname()))
put(f"{CGROUP}/memory.max", free // 2)
memory, charged, log = tcp_flood(member(server=server.getsockname()))
put(f"{CGROUP}/memory.max", ROOM)
check(memory < free * 0.6, "TCP: the same", (memory, free))
check(charged > memory * 0.8, "all of it is charged to the cgroup",
      (memory, charged))
server.close()

# --- a terminal --------------------------------------------------------------------
TTY = """
import termios
t = os.open('/dev/tty20', os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
taint()
result = 0
try:
    while result < 36 << 20:
        result += os.write(t, b'x' * 65536)
except BlockingIOError:
    pass
"""
child = Child()
child.do(TTY)
free = held_memory()
child.do("termios.tcflush(t, termios.TCOFLUSH); os.close(t)")
commit()
child.answer()
child.end()
emptied()
check(free > 2 * ROOM, "a terminal: without a cgroup it is much", free)
child = member()
child.do(TTY)
memory = held_memory()
check(ROOM // 3 < memory < ROOM, "in a small cgroup no more than its memory",
      memory)
child.do("termios.tcflush(t, termios.TCOFLUSH)\n"
         "os.set_blocking(t, True)\n"
         "result = os.write(t, b'y' * 100)")
commit()
log = child.answer()
check(log[0]["result"] and "errno" not in log[0],
      "who does not want to wait gets EAGAIN", log)
check(log[1]["result"] == 100, "and can write again when there is room", log)
child.end()
check(cgroup("memory.events", "oom_kill") == 0, "nobody was killed for memory")

# --- a fork bomb ---------------------------------------------------------------------
put(f"{CGROUP}/memory.max", 512 * MIB)
put(f"{CGROUP}/pids.max", 100)
bomb = Child(nursed=True)
put(f"{CGROUP}/cgroup.procs", bomb.runner)
other = Child(addr=addr)
# A fork that is refused costs as much as another: who is full rests.
bomb.do("""
taint()
while True:
    try:
        os.fork()
    except BlockingIOError:
        time.sleep(10)
""", sleeps=0)
end = time.monotonic() + 30
while cgroup("pids.current") < 100 and time.monotonic() < end:
    time.sleep(0.1)
check(cgroup("pids.current") == 100, "a bomb of dependent processes",
      cgroup("pids.current"))
while datagrams(out, 1, 1):         # of the packets above
    pass
early, late = [], []
for n in range(5):
    other.do("taint(); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
             f"s.sendto(b'beside %d' % {n}, addr)")
    early += datagrams(out, 1, 0.2)
    t0 = commit()
    check(datagrams(out, 1, 20) == [b"beside %d" % n],
          "another process gets out beside it")
    late.append(time.monotonic() - t0)
check(not early, "after the commit", early)
check(max(late) < 5, f"and soon, {max(late):.2f} s at worst", late)
put(f"{CGROUP}/cgroup.kill", 1)


def killed():
    commit()
    return not cgroup("cgroup.events", "populated")


check(soon(killed, 10 * SLOWNESS), "and the bomb can be killed")
other.answer()
other.end()
bomb.end()

os.rmdir(CGROUP)
run("umount", "/sys/fs/cgroup")
out.close()
done()
