#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=120 expect="the journal has failed|TCP connections reset"
"""The source fails: nothing of what it lost is ever seen, nothing hangs."""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

setup()
sniffer_start()
out = udp_outside()

inner, outer, port = connected()
closed_in, closed_out, closed_port = connected()
idle_in, idle_out, idle_port = connected()
free_in, free_out, free_port = connected()
stuck_in, stuck_out, stuck_port = connected()
turned_in, turned_out, _ = connected()
# So many that some come behind it in the table, wherever it is.
crowd = [connected()[:2] for _ in range(20)]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
lost = Child(nursed=True, s=inner, c=closed_in, i=idle_in, u=udp,
             k=stuck_in, t=turned_in, addr=out.getsockname(),
             **{f"crowd{i}": s for i, (s, _) in enumerate(crowd)})
free = Child(s=free_in, t=turned_in)
for s in (inner, closed_in, idle_in, free_in, stuck_in, turned_in, udp,
          *(s for s, _ in crowd)):
    s.close()

log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
os.lseek(log, 0, os.SEEK_END)
lost.do("s.sendall(b'clean')")
check(receive(outer, 5) == b"clean", "clean bytes go")
# Later it would have to wait: what goes through such a descriptor is not tracked.
lost.do("""
import ctypes, fcntl, mmap, threading
faults = ctypes.CDLL(None).syscall(323, os.O_CLOEXEC)       # userfaultfd
page = mmap.mmap(-1, 4096)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
fcntl.ioctl(faults, 0xc018aa3f, struct.pack('QQQ', 0xaa, 0, 0))
fcntl.ioctl(faults, 0xc020aa00, struct.pack('QQQQ', at, 4096, 1, 0))
""")
lost.do("taint()")
t0 = time.monotonic()
lost.do("s.sendall(b'lost'); c.sendall(b'lost'); c.close()")
lost.do("for n in range(3): u.sendto(b'lost', addr)")
lost.do("k.sendall(b'lost'); t.sendall(b'lost')")
lost.do("for n in range(20): globals()[f'crowd{n}'].sendall(b'lost')")
check(held("datagram packets") == 3 and held("tcp sockets") == 24, "all held")
# Somebody else makes another thing of a socket in which something is held.
free.do("""
import ctypes
ctypes.CDLL(None).connect(t.fileno(), bytes(16), 16)        # AF_UNSPEC
t.listen()
result = t.getsockname()[1]
""")
turned_port = free.last()["result"]
# A thread that sleeps in a page fault has locked the socket it receives from.
stuck_out.sendall(b"clean")
lost.do("threading.Thread(target=lambda: k.recv_into(page), daemon=True).start()",
        sleeps=1)
with exempt():
    tasks = os.listdir(f"/proc/{lost.runner}/task")
check("handle_userfault" in [read_proc(f"/proc/{lost.runner}/task/{task}/wchan")
                             for task in tasks], "a socket is locked for long")
abort()
time.sleep(0.7)
bad = [f for f in seen(t0) if f.data and b"lost" in f.data]
check(bad == [], "nothing of it is ever sent", bad)
check(held("datagram packets") == 0 and held("tcp sockets") == 1,
      "only what is locked is held")


def is_reset(end):
    try:
        return f"got {end.recv(10)}"
    except ConnectionResetError:
        return True
    except socket.timeout:
        return "nothing"


for end, what in ((outer, "an open"), (closed_out, "a closed")):
    got = is_reset(end)
    check(got is True, f"{what} connection with held bytes is reset", got)
got = [is_reset(end) for _, end in crowd]
check(got == [True] * 20, "those behind a locked one are, too", got)
check(not seen(t0, port=port, flag="F") and
      not seen(t0, port=closed_port, flag="F"), "without a FIN")

# What the process does from now on.
# What it gets it tells by its name: an answer would make the test dependent.
lost.do("""
def attempt(f):
    try:
        f()
        return 0
    except OSError as error:
        return error.errno
answers = [attempt(lambda: s.send(b'later')),
           attempt(lambda: i.send(b'later')),
           attempt(lambda: u.sendto(b'later', addr)),
           attempt(lambda: os.sendfile(i.fileno(),
                                       os.open('/etc/passwd', 0), 0, 9)),
           attempt(lambda: i.shutdown(1)),
           attempt(lambda: socket.socket().connect(addr))]
import ctypes
ctypes.CDLL(None).prctl(15, ','.join(map(str, answers)).encode())
time.sleep(5)
""", sleeps=3)
answers = read_proc(f"/proc/{lost.runner}/comm").strip().split(",")
check(answers[0] in ("5", "104", "32") and answers[1:] == ["5"] * 5,
      "its calls fail with EIO", answers)
lost.do("i.close()")
time.sleep(0.5)
check(not [f for f in seen(t0) if f.data and b"later" in f.data],
      "nor is what it sends later")
check(not seen(t0, port=idle_port, flag="F"),
      "its other connection ends without a FIN")
free.do("s.sendall(b'free')")
check(receive(free_out, 4) == b"free", "others go on")
with outside(), socket.socket() as client:
    client.settimeout(3)
    got = client.connect_ex((IN4, turned_port))
check(got == 0, "a socket that listens since goes on listening", got)

# What was lost is no affair of those who get the memory of these sockets.
lost.do("for n in range(20): globals()[f'crowd{n}'].close()")
time.sleep(0.5)
server = tcp_outside()
server.listen(100)
free.do(f"""
new = [socket.socket() for n in range(60)]
for s in new:
    s.settimeout(2)
result = [s.connect_ex({server.getsockname()}) for s in new]
""")
got = free.last()["result"]
check(got == [0] * 60, "new connections of others are made", got)

lost.do("os.close(faults)")
got = is_reset(stuck_out)
check(got is True, "and that when it is let go", got)
check(soon(lambda: held("tcp sockets") == 0), "nothing is held any more")
kmsg = b""
try:
    while True:
        kmsg += os.read(log, 8192)
except BlockingIOError:
    pass
check(b" 22 TCP connections reset" in kmsg and b"4 packets dropped" in kmsg,
      "the log tells how much was lost", kmsg)

done(failed=True)
