# SPDX-License-Identifier: GPL-2.0
"""For the network tests: an outside, a clean observer, dependent children.

The test itself stays clean.  It owns the sockets of the outside (a namespace
behind a veth pair) and listens to all frames there.  What is dependent happens
in children, which do what they are told and answer only when asked, after the
commit: an answer would make the test dependent, too.

The journal is the test source: nothing is durable before commit().
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

from tap import SLOWNESS

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = "/sys/kernel/debug/speculator-test/0"
# The network has its own number: an earlier test's sockets, which live on in the
# kernel for a minute, have no way into it.
NET4 = f"10.77.{os.getpid() % 250 + 1}"
NET6 = f"fd77:{os.getpid() % 250 + 1}:"
IN4, OUT4 = f"{NET4}.1", f"{NET4}.2"
IN6, OUT6 = f"{NET6}:1", f"{NET6}:2"
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
results = failures = 0


# --- TAP -------------------------------------------------------------------

def check(good, text, detail=""):
    global results, failures
    results += 1
    failures += not good
    print(f"{'' if good else 'not '}ok {results} {text}", flush=True)
    if not good and detail != "":
        print(f"# {detail}", flush=True)
    return good


def done(failed=False):
    if not failed:
        commit()
    print(f"1..{results}", flush=True)
    teardown()
    sys.stdout.flush()
    os._exit(failures > 0)


def run(*command, **more):
    return subprocess.run(command, check=True, **more)


# --- the machine -----------------------------------------------------------

def lib(command):
    run("bash", "-c", f". {HERE}/lib.sh; {command}")


def crash(*error):
    """A test that dies must let its children go, or the machine hangs."""
    traceback.print_exception(*error)
    print("not ok the test died", flush=True)
    try:
        commit()
    except OSError:         # it has failed: the end of the source frees them
        lib("unload_modules")
    os._exit(1)


def setup():
    sys.excepthook = crash
    lib("load_modules speculator testsource")
    network()


def network():
    run("ip", "netns", "add", "outside")
    run("ip", "link", "add", "vin", "type", "veth", "peer", "name", "vout",
        "netns", "outside")
    for where, dev, ip4, ip6 in (([], "vin", IN4, IN6),
                                 (["-n", "outside"], "vout", OUT4, OUT6)):
        run("ip", *where, "addr", "add", f"{ip4}/24", "dev", dev)
        run("ip", *where, "addr", "add", f"{ip6}/64", "dev", dev, "nodad")
        run("ip", *where, "link", "set", dev, "up")
        run("ip", *where, "link", "set", "lo", "up")
    # Let both sides know their neighbours.
    for family, to in ((socket.AF_INET, OUT4), (socket.AF_INET6, OUT6)):
        inner = socket.socket(family, socket.SOCK_DGRAM)
        outer = udp_outside(family)
        inner.sendto(b"hello", outer.getsockname()[:2])
        outer.sendto(*outer.recvfrom(100))
        outer.close()
        inner.close()


def teardown():
    # First: this ends the quarantine of a failed source, and it must work with
    # children asleep in wrapped functions.
    lib("unload_modules")
    for child in list(Child.all):
        child.end()
    subprocess.run(["ip", "netns", "del", "outside"])
    subprocess.run(["ip", "link", "del", "vin"], stderr=subprocess.DEVNULL)


class outside:
    """with outside(): sockets made here live behind the veth pair.

    Or in another namespace, by its name.
    """

    def __init__(self, name="outside"):
        self.name = name

    def __enter__(self):
        self.old = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        new = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        assert libc.setns(new, CLONE_NEWNET) == 0
        os.close(new)

    def __exit__(self, *_):
        assert libc.setns(self.old, CLONE_NEWNET) == 0
        os.close(self.old)


def commit(upto="all"):
    """It is durable; returns when that began."""
    now = time.monotonic()
    with open(f"{SOURCE}/commit", "w") as file:
        file.write(str(upto))
    return now


def abort():
    with open(f"{SOURCE}/abort", "w") as file:
        file.write("1")


def soon(condition, seconds=1):
    """Is it true now, or before @seconds are over?"""
    end = time.monotonic() + seconds
    while not (is_true := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return is_true


def requested():
    """How often output asked for a commit."""
    with open(f"{SOURCE}/requested") as file:
        return int(file.read().split()[1])


@contextlib.contextmanager
def exempt():
    """Who looks at others takes over, but an exempt task does not."""
    libc.prctl(57, 1, 0, 0, 0)              # PR_SET_IO_FLUSHER
    try:
        yield
    finally:
        libc.prctl(57, 0, 0, 0, 0)


def read_proc(path):
    with exempt(), open(path) as file:
        return file.read()


def netstat(*names):
    """Counters of our side, by name."""
    values = {}
    for path in ("/proc/net/netstat", "/proc/net/snmp"):
        lines = read_proc(path).splitlines()
        for head, row in zip(lines[::2], lines[1::2]):
            proto = head.split(":")[0]
            prefix = "" if proto.endswith("Ext") else proto
            for key, value in zip(head.split()[1:], row.split()[1:]):
                values[prefix + key] = int(value)
    return {name: values[name] for name in names}


def held(what):
    """A number of debugfs "held": "tcp marks", "datagram packets", ..."""
    row, column = what.split()
    with open("/sys/kernel/debug/speculator/held") as file:
        for line in file:
            words = line.split()
            if words and words[0] == row and column in words:
                return int(words[words.index(column) + 1])
    raise KeyError(what)


# --- what leaves -----------------------------------------------------------

class Frame:
    def __init__(self, t, data, outgoing):
        self.t = t
        self.to_us = outgoing       # sent by the outside
        self.proto = self.sport = self.dport = self.flags = None
        self.data = b""
        ethertype = struct.unpack("!H", data[12:14])[0]
        ip = data[14:]
        if ethertype == 0x800:
            self.proto = ip[9]
            length = struct.unpack("!H", ip[2:4])[0]
            rest = ip[(ip[0] & 15) * 4:length]
        elif ethertype == 0x86dd:
            self.proto = ip[6]
            rest = ip[40:40 + struct.unpack("!H", ip[4:6])[0]]
        else:
            return
        self.data = rest
        if self.proto in (6, 17):
            self.sport, self.dport = struct.unpack("!HH", rest[:4])
            self.data = rest[8:]
        if self.proto == 6:
            bits = rest[13]
            self.flags = "".join(c for i, c in enumerate("FSRPAU")
                                 if bits >> i & 1)
            self.seq, self.ack = struct.unpack("!II", rest[4:12])
            self.data = rest[(rest[12] >> 4) * 4:]

    def __repr__(self):
        return (f"{self.t:.3f}: {self.proto} {self.sport}>{self.dport} "
                f"{self.flags} {self.data[:40]}")


frames = []
ROUNDING = 1e-6     # seconds: of the time of day, as a float
_sniffer = _offset = None


def clock_offset():
    """From the time of frames to ours; the best of some looks at both clocks."""
    looks = []
    for _ in range(20):
        begin, wall, end = time.monotonic(), time.time(), time.monotonic()
        looks.append((end - begin, end - wall))
    return min(looks)[1]


def sniffer_start():
    global _sniffer, _offset
    _offset = clock_offset()
    with outside():
        _sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                 socket.htons(3))
        _sniffer.bind(("vout", 3))
        _sniffer.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)    # RCVBUFFORCE
        _sniffer.setsockopt(socket.SOL_SOCKET, 35, 1)       # SO_TIMESTAMPNS
        _sniffer.setblocking(False)
    # A worker turns the stamps on. Until then a frame has the time of its
    # reading, which may be long after.
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outer = udp_outside()

    def stamped():
        inner.sendto(b"stamp", outer.getsockname())
        outer.recv(5)
        now = time.monotonic()
        time.sleep(0.01)
        return all_frames()[-1].t < now

    assert soon(stamped, 5), "frames get no time stamps"
    frames.clear()
    inner.close()
    outer.close()


def all_frames():
    """All that has passed so far; by a thread they would come late."""
    # What had no room would be taken for what has not left.
    _, dropped = struct.unpack("II", _sniffer.getsockopt(263, 6, 8))
    assert not dropped, f"{dropped} frames had no room"
    while True:
        try:
            data, extra, _, addr = _sniffer.recvmsg(70000, 100)
        except OSError:     # no more; or the device has gone: the test's end
            return frames
        # When it was sent, not when we got round to it. The clock of a debug
        # kernel counts ticks: both may be of the same one, and then it must not
        # seem to be earlier by what a float cannot tell.
        sec, nsec = struct.unpack("qq", extra[0][2])
        frames.append(Frame(sec + nsec / 1e9 + _offset + ROUNDING, data,
                            addr[2] == 4))


def seen(since, **want):
    """Frames from our side since a time; want: proto=, port=, flag="F"."""
    return [f for f in all_frames()
            if f.t >= since and not f.to_us
            and ("proto" not in want or f.proto == want["proto"])
            and ("port" not in want or want["port"] in (f.sport, f.dport))
            and ("flag" not in want or (f.flags and want["flag"] in f.flags))
            and ("flags" not in want or f.flags == want["flags"])
            and ("data" not in want or (f.data and want["data"] in f.data))]


def soon_seen(since, count=None, **want):
    """The same, but wait for the first; with @count, for one too many."""
    soon(lambda: len(seen(since, **want)) >= (count or 1))
    if count:
        time.sleep(0.2)
    return seen(since, **want)


def with_data(since, **want):
    return [f for f in seen(since, **want) if f.data]


# --- the dependent side ----------------------------------------------------

class Child:
    """A process that executes Python on demand, in our namespace.

    How far it is it tells by its name, which the test reads as an exempt task.
    answer() carries a dependency, so it must only be called after the commit.
    """
    all = []

    def __init__(self, nursed=False, **variables):
        go_r, self.go = os.pipe()
        self.back, back_w = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.go)
            os.close(self.back)
            for other in Child.all:
                other.close_pipes()
            # Or a close() by another child would not be the last one.
            mine = [id(value) for value in variables.values()]
            for thing in gc.get_objects():
                if isinstance(thing, socket.socket) and id(thing) not in mine:
                    thing.close()
            # An exit makes the parent dependent: let that be a nurse.
            if nursed and os.fork():
                os.closerange(3, 100)
                while True:
                    signal.pause()
            self.main(os.fdopen(go_r), back_w, variables)
        os.close(go_r)
        os.close(back_w)
        self.runner = json.loads(self.line())
        self.orders = 0
        Child.all.append(self)

    def close_pipes(self):
        if self.go >= 0:
            os.close(self.go)
            os.close(self.back)
        self.go = self.back = -1

    def main(self, orders, back, variables):
        names = dict(variables, os=os, socket=socket, time=time,
                     struct=struct, taint=self.taint)
        log = []
        number = 0
        os.write(back, f"{os.getpid()}\n".encode())
        for line in orders:
            order = json.loads(line)
            if order is None:
                os.write(back, json.dumps(log).encode() + b"\n")
                log = []
                continue
            number += 1
            self.tell(f"begun {number}")
            start = time.monotonic()
            try:
                names["result"] = None
                exec(order, names)
                entry = {"result": names["result"]}
            except OSError as error:
                entry = {"errno": error.errno, "result": None}
            except BaseException:
                traceback.print_exc()
                entry = {"result": None, "errno": -1}
            entry["start"], entry["end"] = start, time.monotonic()
            log.append(entry)
            self.tell(f"done {number}")
        os._exit(0)

    @staticmethod
    def tell(text):
        libc.prctl(15, text.encode())       # PR_SET_NAME

    def stage(self):
        """The number of the last order begun, and of the last one done."""
        try:
            word, _, number = read_proc(f"/proc/{self.runner}/comm") \
                .strip().partition(" ")
        except OSError:
            return self.orders, self.orders     # it has exited
        if word not in ("begun", "done"):
            return 0, 0
        return int(number), int(number) - (word == "begun")

    @staticmethod
    def taint():
        """From now on this process depends on something not durable."""
        fd = os.open(f"{SOURCE}/taint", os.O_RDONLY)
        os.pread(fd, 16, 0)
        os.close(fd)

    def do(self, code, sleeps=None):
        """Execute @code: until it is done, or for @sleeps seconds."""
        os.write(self.go, json.dumps(code).encode() + b"\n")
        self.orders += 1
        end = time.monotonic() + 20 * SLOWNESS
        while (self.stage()[sleeps is None] < self.orders and
               time.monotonic() < end):
            time.sleep(0.01)
        time.sleep(sleeps or 0)

    def line(self):
        text = b""
        while not text.endswith(b"\n"):
            more = os.read(self.back, 65536)
            assert more, "the child has died"
            text += more
        return text

    def answer(self):
        """What was done since the last answer: result, errno, start, end."""
        os.write(self.go, b"null\n")
        return json.loads(self.line())

    def last(self):
        return self.answer()[-1]

    def leave(self):
        """Let it exit; only for one that is nursed."""
        self.close_pipes()

    def end(self):
        """Only for one that is clean."""
        if self not in Child.all:
            return
        Child.all.remove(self)
        self.close_pipes()
        end = time.monotonic() + 1
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)


# --- sockets ---------------------------------------------------------------

def udp_outside(family=socket.AF_INET, port=0):
    with outside():
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind((OUT4 if family == socket.AF_INET else OUT6, port))
        s.settimeout(2)
    return s


def tcp_outside(family=socket.AF_INET, port=0, rcvbuf=None):
    with outside():
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.bind((OUT4 if family == socket.AF_INET else OUT6, port))
        s.listen(16)
        s.settimeout(5)
    return s


def connected(family=socket.AF_INET, rcvbuf=None):
    """A connection: our end (blocking), the outside's end, the outside's port."""
    server = tcp_outside(family, rcvbuf=rcvbuf)
    inner = socket.socket(family, socket.SOCK_STREAM)
    inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    inner.connect(server.getsockname()[:2])
    outer, _ = server.accept()
    outer.settimeout(3)
    server.close()
    return inner, outer, outer.getsockname()[1]


def receive(sock, size, seconds=3):
    """Up to @size bytes, as they come, until @seconds are over."""
    end, data = time.monotonic() + seconds, b""
    while len(data) < size and time.monotonic() < end:
        sock.settimeout(max(end - time.monotonic(), 0.01))
        try:
            more = sock.recv(size - len(data))
        except (socket.timeout, BlockingIOError):
            break
        if not more:
            break
        data += more
    return data


def datagrams(sock, count, seconds=3):
    """Up to @count packets, as they come, until @seconds are over."""
    end, got = time.monotonic() + seconds, []
    while len(got) < count:
        sock.settimeout(max(end - time.monotonic(), 0.01))
        try:
            got.append(sock.recv(65536))
        except (socket.timeout, BlockingIOError):
            break
    return got
