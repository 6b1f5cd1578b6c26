#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240
"""TCP: exactly the dependent bytes are held, FIN is one of them, no RST leaks."""

import socket
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

TCP_KEEP = ((socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1),
            (socket.TCP_KEEPIDLE, socket.IPPROTO_TCP, 1),
            (socket.TCP_KEEPINTVL, socket.IPPROTO_TCP, 1))

setup()
sniffer_start()


class Case:
    """A connection whose inner end is in a child."""

    def __init__(self, name, rcvbuf=None, **more):
        self.name = name
        self.inner, self.outer, self.port = connected(rcvbuf=rcvbuf)
        self.child = Child(s=self.inner, fd=self.inner.fileno(), **more)
        self.inner.close()      # the child's is the last one
        self.t0 = time.monotonic()

    def check(self, good, text, detail=""):
        return check(good, f"{self.name}: {text}", detail)

    def taint(self):
        self.child.do("taint()")
        self.t0 = time.monotonic()

    def silent(self, seconds, text="nothing leaves before the commit"):
        time.sleep(seconds)
        bad = [f for f in seen(self.t0, port=self.port)
               if f.data or set("FR") & set(f.flags)]
        return self.check(not bad, text, [(f.flags, f.data[:20]) for f in bad])

    def flags(self, flag):
        return seen(self.t0, port=self.port, flag=flag)

    def soon(self, flag):
        return bool(soon_seen(self.t0, port=self.port, flag=flag))

    def close(self):
        commit()
        self.child.end()
        self.outer.close()


# --- two sequences, two marks ----------------------------------------------
c = Case("two commits")
c.taint()
with open(f"{SOURCE}/state") as file:
    first = int(file.read().split()[0].split("=")[1])
c.child.do("s.sendall(b'first')")
c.taint()
c.child.do("s.sendall(b'second')")
c.check(held("tcp marks") == 2, "two marks", held("tcp marks"))
c.silent(0.3)
commit(first)
c.check(receive(c.outer, 99, 1) == b"first",
        "the first commit lets the first go alone")
commit()
c.check(receive(c.outer, 6) == b"second", "the second the second")
c.close()

# --- clean bytes before the mark -------------------------------------------
c = Case("clean bytes first", rcvbuf=4096)
c.child.do("s.setblocking(False)\n"
           "result = 0\n"
           "try:\n"
           "  while True: result += s.send(b'c' * 5000)\n"
           "except BlockingIOError: pass\n")
clean = c.child.last()["result"]
c.taint()
# Behind a full buffer; the peer's reading makes room.
c.child.do("s.setblocking(True); s.sendall(b'HELD' * 10)",
           sleeps=0.1)
got = receive(c.outer, clean, 20)
c.check(got == b"c" * clean, f"all {clean} bytes went, through a small window",
        len(got))
c.check(receive(c.outer, 1, 1) == b"", "but no held byte")
commit()
c.check(receive(c.outer, 40) == b"HELD" * 10, "that one after the commit")
c.close()

# --- FIN behind clean bytes that are queued --------------------------------
# With a large buffer the window opens for several segments at once, of which
# the last would take the FIN along.
for how, rcvbuf in (("s.shutdown(1)", 4096), ("s.shutdown(1)", 100000),
                    ("s.close()", 100000)):
    c = Case(f"{how} behind clean bytes ({rcvbuf})", rcvbuf=rcvbuf)
    c.child.do("s.setblocking(False)\n"
               "result = 0\n"
               "try:\n"
               "  while True: result += s.send(b'c' * 5000)\n"
               "except BlockingIOError: pass\n")
    clean = c.child.last()["result"]
    c.taint()
    c.child.do(how)
    got = receive(c.outer, clean, 20)
    # The last bytes may stay with the FIN: at most a segment.
    c.check(clean - 1460 <= len(got), "the clean bytes went",
            (clean, len(got)))
    c.check(not c.flags("F") and not c.flags("R"), "without the FIN")
    commit()
    got += receive(c.outer, clean - len(got))
    c.check(len(got) == clean, "all of them after the commit", len(got))
    c.outer.settimeout(2)
    c.check(c.outer.recv(1) == b"" and c.soon("F"), "and the FIN")
    c.close()

# --- FIN alone and behind held bytes ---------------------------------------
for how, text in (("s.shutdown(1)", b""), ("s.shutdown(1)", b"data"),
                  ("s.close()", b""), ("s.close()", b"data")):
    c = Case(f"{how} after {len(text)} held bytes")
    c.taint()
    c.child.do(f"s.sendall({text!r}) if {text!r} else None; {how}", sleeps=0)
    c.silent(0.7)
    commit()
    c.check(receive(c.outer, 99) == text and c.soon("F"),
            "bytes and FIN after the commit")
    entry = c.child.last()
    c.check(entry["end"] - entry["start"] < 0.5, "it did not wait")
    c.close()

for signal, text in (("", "exit"), ("os.kill(os.getpid(), 9)", "SIGKILL")):
    inner, outer, port = connected()
    child = Child(nursed=True, s=inner)
    inner.close()
    child.do("taint()")
    t0 = time.monotonic()
    child.do(f"s.sendall(b'last words'); {signal}", sleeps=0.5)
    if not signal:
        child.leave()
    time.sleep(0.7)
    check(not with_data(t0, port=port) and not seen(t0, port=port, flag="F")
          and not seen(t0, port=port, flag="R"),
          f"{text}: bytes and FIN are held")
    commit()
    check(receive(outer, 99) == b"last words" and
          soon_seen(t0, port=port, flag="F") != [], f"{text}: out after the commit")
    outer.close()
    child.end()

# --- an answer to data for a closed socket ---------------------------------
c = Case("data for a socket whose FIN is held")
c.taint()
c.child.do("s.close()")
c.outer.sendall(b"are you there?")
c.silent(1)
commit()
c.check(c.soon("F"), "FIN after the commit")
c.close()

# --- RST -------------------------------------------------------------------
for name, code in (("unread data", "s.close()"),
                   ("linger 0", "s.setsockopt(1, 13, struct.pack('ii', 1, 0));"
                    "s.close()")):
    c = Case(f"close with {name}")
    c.outer.sendall(b"unread")
    time.sleep(0.2)
    if name == "linger 0":
        c.child.do("s.recv(100)")
    c.taint()
    c.child.do(code, sleeps=0)
    c.silent(0.5)
    commit()
    c.check(c.soon("R"), "RST after the commit")
    c.close()

# --- other ways to send ----------------------------------------------------
ways = {
    "sendfile": "f = open('/etc/passwd', 'rb'); f.seek(0)\n"
                "os.sendfile(fd, f.fileno(), 0, 100)",
    "splice": "r, w = os.pipe(); os.write(w, b'x' * 100)\n"
              "os.splice(r, fd, 100)",
    "writev": "os.writev(fd, [b'x' * 50, b'y' * 50])",
    "MSG_ZEROCOPY": "s.setsockopt(1, 60, 1)\n"
                    "buf = b'z' * 100; s.send(buf, 0x4000000)",
    "MSG_MORE": "s.send(b'x' * 50, 0x8000); s.send(b'y' * 50)",
    "uncork": "s.setsockopt(6, 3, 1); s.send(b'x' * 100)\n"
              "s.setsockopt(6, 3, 0)",
    "MSG_OOB": "s.send(b'x' * 99); s.send(b'!', 1)",
}
for name, code in ways.items():
    c = Case(name)
    c.child.do(code)
    before = receive(c.outer, 100, 1)
    c.check(len(before) >= 99, "goes without a dependency", len(before))
    if name == "sendfile":
        # It read a file; that may be all that makes it wait.
        c.check("errno" not in c.child.last(), "worked")
    c.taint()
    c.child.do(code, sleeps=0)
    c.silent(0.5)
    commit()
    c.check(len(receive(c.outer, 100, 2)) >= 99, "out after the commit")
    c.close()

# --- corked clean bytes ----------------------------------------------------
c = Case("dirty uncork of clean bytes")
c.child.do("s.setsockopt(6, 3, 1); s.send(b'clean')")
c.taint()
c.child.do("s.send(b'dirty'); s.setsockopt(6, 3, 0)")
c.check(receive(c.outer, 99, 1) == b"clean", "only the clean ones go")
commit()
c.check(receive(c.outer, 5) == b"dirty", "the rest after the commit")
c.close()

# --- others are not held ---------------------------------------------------
c = Case("while another holds")
other = Case("clean process")
c.taint()
c.child.do("s.sendall(b'held')")
other.child.do("s.sendall(b'free')")
other.check(receive(other.outer, 4, 1) == b"free", "is not held")
# --- pure ACKs -------------------------------------------------------------
rexmit = netstat("TcpRetransSegs", "TCPTimeouts", "TCPKeepAlive")
c.outer.sendall(b"q" * 3000)
c.child.do("result = 0\nwhile result < 3000: result += len(s.recv(3000))")
c.check(soon_seen(c.t0, port=c.port, flags="A") != [],
        "what arrives is acknowledged")
c.silent(0)
commit()
c.check(receive(c.outer, 4) == b"held", "and the answer comes")
c.check(c.child.last()["result"] == 3000, "and the data was received")
c.close()
other.close()

# --- timers of a held socket -----------------------------------------------
c = Case("timers", rcvbuf=4096)
for option, level, value in TCP_KEEP:
    c.child.do(f"s.setsockopt({level}, {option}, {value})")
c.taint()
stats = netstat("TcpRetransSegs", "TCPTimeouts", "TCPLossProbes")
c.child.do("s.sendall(b'held')")
c.silent(4, "no timer sends a held byte in four seconds")
c.check(netstat("TcpRetransSegs", "TCPTimeouts", "TCPLossProbes") == stats,
        "nor does one fire", stats)
commit()
c.check(receive(c.outer, 4) == b"held", "out after the commit")
c.close()

c = Case("held behind a closed window", rcvbuf=4096)
c.child.do("s.setblocking(False)\n"
           "result = 0\n"
           "s.setsockopt(1, 7, 100000)\n"
           "try:\n"
           "  while True: result += s.send(b'c' * 1000)\n"
           "except BlockingIOError: pass\n")
clean = c.child.last()["result"]
c.taint()
c.child.do("s.shutdown(1)")
time.sleep(3)
c.check(not c.flags("F"), "the probes of the window do not show the FIN")
got = receive(c.outer, clean, 20)
c.check(clean - 1460 <= len(got) and not c.flags("F"),
        "nor does the window's opening", (clean, len(got)))
commit()
c.check(len(got + receive(c.outer, clean - len(got))) == clean,
        "all arrives after the commit")
c.close()

# --- back-pressure ---------------------------------------------------------
c = Case("send buffer")
c.child.do("s.setsockopt(1, 7, 50000)")
c.taint()
c.child.do("s.setblocking(False)\n"
           "result = 0\n"
           "try:\n"
           "  while True: result += s.send(b'h' * 1000)\n"
           "except BlockingIOError: pass\n")
c.child.do("s.setblocking(True); s.sendall(b'h' * 100000); "
           "result = 100000", sleeps=0.3)
c.silent(1, "full, and nothing leaves")
committed = commit()
got = receive(c.outer, 10 << 20, 2)
log = c.child.answer()
c.check(len(got) == log[-1]["result"] + log[-2]["result"],
        "a blocked writer goes on after the commit",
        (len(got), log[-2:]))
c.check(log[-1]["end"] > committed - 0.1, "and not before")
c.check(log[-2]["result"] <= 200000, "no more than it asked for is held",
        log[-2]["result"])
c.close()

# A large answer must not take a commit per buffer of the initial size.
c = Case("send buffer of TCP's own size")
c.taint()
c.child.do("s.setblocking(False)\n"
           "result = 0\n"
           "try:\n"
           "  while result < 8 << 20: result += s.send(b'h' * 10000)\n"
           "except BlockingIOError: pass\n")
size = c.child.last()["result"]
c.check(1 << 20 <= size < 8 << 20, "grows while it is held, but not for ever",
        size)
c.silent(0.3)
commit()
c.check(len(receive(c.outer, size, 5)) == size, "all of it after one commit")
c.close()

# --- connect, listen -------------------------------------------------------
server = tcp_outside()
for mode in ("blocking", "non-blocking"):
    child = Child(addr=server.getsockname())
    child.do("s = socket.socket()\n"
             f"s.setblocking({mode == 'blocking'})\ntaint()")
    t0 = time.monotonic()
    child.do("s.connect(addr)", sleeps=0.7)
    check(not seen(t0, proto=6, flag="S"), f"{mode} connect() sends no SYN")
    committed = commit()
    peer, _ = server.accept()
    entry = child.last()
    check(entry["end"] >= committed, f"{mode} connect() goes on after")
    peer.close()
    child.end()
server.close()

child = Child()
child.do("l = socket.socket(); l.bind(('', 0)); l.listen()")
child.do("port = l.getsockname()[1]; taint()\n"
         "s = socket.create_connection(('127.0.0.1', port))\nresult = port")
child.do(f"s2 = socket.create_connection(('{IN4}', port))")
committed = commit()
log = child.answer()
check("errno" not in log[-1] and log[-1]["end"] < committed and
      log[-2]["end"] < committed,
      "connect() to an address of this machine does not wait", log)
child.do("l2 = socket.socket(); taint()\nl2.bind(('', 0))", sleeps=0.5)
committed = commit()
check(child.last()["end"] >= committed, "bind() waits")
child.end()

check(held("tcp leaks_stopped") == 0, "the safety net had nothing to do",
      held("tcp leaks_stopped"))
# --- disconnected, and connected to somebody else --------------------------
# By a process that is clean, while another's bytes are held in the socket. The
# marks of the old connection mean nothing in the new one, which may begin with
# any sequence number: so there is none before they are durable.
run("ip", "-n", "outside", "addr", "add", f"{NET4}.3/24", "dev", "vout")
with outside():
    server = socket.socket()
    server.bind((f"{NET4}.3", 0))
    server.listen(16)
    server.settimeout(10)
inner, outer = connected()[:2]
child = Child(s=inner)
other = Child(s=inner, addr=server.getsockname())
inner.close()
child.do("taint()")
t0 = time.monotonic()
child.do("s.send(b'old')")
other.do("import ctypes\n"
         "ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)\n"
         "s.connect(addr)", sleeps=0)
soon(lambda: held("tcp leaks_stopped"), 10)
time.sleep(0.5)
check(not [f for f in seen(t0, proto=6) if set(f.flags) & set("SFR") or f.data],
      "a disconnected socket: neither RST nor SYN before the commit")
check(held("tcp leaks_stopped") > 0, "its SYN is dropped, and counted",
      held("tcp leaks_stopped"))
commit()
peer, _ = server.accept()
other.do("s.send(b'clean')")
check(receive(peer, 5) == b"clean", "connected anew after it")
check(bool(soon_seen(t0, proto=6, flag="R")), "the old peer has got its RST")
child.do("taint()")
t0 = time.monotonic()
child.do("s.send(b'new')")
time.sleep(0.5)
check(not with_data(t0, proto=6), "what is dependent is held there")
commit()
check(receive(peer, 3) == b"new", "and goes")
check(not [f for f in all_frames() if f.data and b"old" in f.data],
      "what had not been sent is never seen")
peer.close()
for c in (child, other):
    c.end()
server.close()

commit()
check(soon(lambda: held("tcp sockets") == 0), "nothing is held any more")
done()
