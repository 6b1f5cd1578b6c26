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
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
lost = Child(nursed=True, s=inner, c=closed_in, i=idle_in, u=udp,
             addr=out.getsockname())
free = Child(s=free_in)
for s in (inner, closed_in, idle_in, free_in, udp):
    s.close()

log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
os.lseek(log, 0, os.SEEK_END)
lost.do("s.sendall(b'clean')")
check(receive(outer, 5) == b"clean", "clean bytes go")
lost.do("taint()")
t0 = time.monotonic()
lost.do("s.sendall(b'lost'); c.sendall(b'lost'); c.close()")
lost.do("for n in range(3): u.sendto(b'lost', addr)")
check(held("datagram packets") == 3 and held("tcp sockets") == 2, "all held")
abort()
time.sleep(0.7)
bad = [f for f in seen(t0) if f.data and b"lost" in f.data]
check(bad == [], "nothing of it is ever sent", bad)
check(held("datagram packets") == 0 and held("tcp sockets") == 0,
      "nothing is held any more")
for end, what in ((outer, "an open"), (closed_out, "a closed")):
    try:
        got = end.recv(10)
    except ConnectionResetError:
        got = "reset"
    check(got == "reset", f"{what} connection with held bytes is reset", got)
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

kmsg = b""
try:
    while True:
        kmsg += os.read(log, 8192)
except BlockingIOError:
    pass
check(b"2 TCP connections reset" in kmsg and b"3 packets dropped" in kmsg,
      "the log tells how much was lost", kmsg)

done(failed=True)
