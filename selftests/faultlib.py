# SPDX-License-Identifier: GPL-2.0
"""For the tests of faults: a file system, who writes to it, and who hears.

The writer counts: each number is first in a file, then told to the outside by
UDP, by TCP and on the second serial line. So when the fault is over, what was
heard is compared with what is on the disk: a number that was heard and is not
there was told too early.

The test is an exempt task: whatever it looks at, it can go on and open the disk
again. Its actors are not.
"""

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from netlib import (HERE, IN4, OUT4, Child, check, connected, done, lib,  # noqa
                    network, outside, run, udp_outside)
import netlib
from tap import SLOWNESS, exempt

# There is no udevd in the guest: dmsetup has to make the nodes.
os.environ["DM_DISABLE_UDEV"] = "1"
MNT = "/mnt/fault"
ANCHOR = "/mnt/anchor"
IMAGE = "/tmp/anchor.img"
STATS = "/sys/kernel/debug/xsync"
SERIAL = os.environ.get("XSYNC_OBS_LOG", "") + ".serial"
LAST = 9999999  # told by a writer that has come to an end
BOUND = 60      # seconds for anything to come to an end, on a stock kernel


def quiet(*command, **more):
    """Run it; its exit status."""
    return subprocess.run(command, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, **more).returncode


def read_text(path):
    with open(path) as file:
        return file.read()


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)


class Actor(Child):
    """A child of the test, which is clean. Its nurse is exempt."""

    def __init__(self, **variables):
        super().__init__(nursed=True, **variables)

    def main(self, *rest):
        exempt(False)
        super().main(*rest)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout


def until(condition, seconds=BOUND):
    end = time.monotonic() + seconds * SLOWNESS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def setup():
    """The modules, the outside, and a mount that keeps the hooks in place."""
    sys.excepthook = crash
    exempt(True)
    netlib.read_proc = read_text        # it would end that
    run("modprobe", "-a", "dm_mod", "loop")
    lib("load_modules")
    network()
    run("stty", "-F", os.environ["XSYNC_SERIAL2"], "raw", "-echo")
    os.makedirs(MNT, exist_ok=True)
    os.makedirs(ANCHOR, exist_ok=True)
    run("truncate", "-s", "16M", IMAGE)
    run("mkfs.ext4", "-q", "-F", "-J", "size=4", IMAGE)
    run("mount", "-t", "ext4", "-o", "loop,xsync", IMAGE, ANCHOR)
    lib("faults_on")        # allocations, with FAULTS


def crash(*error):
    """A test that dies must let its children go, or the machine hangs."""
    import traceback
    traceback.print_exception(*error)
    print("not ok the test died", flush=True)
    os.system("dmsetup resume fault; umount -l " + MNT)
    os._exit(1)


def finish():
    run("umount", ANCHOR)
    os.unlink(IMAGE)
    done(failed=True)


# --- the disk --------------------------------------------------------------

def scratch(name="scratch0"):
    return output("bash", "-c",
                  f". {HERE}/lib.sh; scratch_disk {name}").strip()


class Mapped:
    """A device-mapper device over part of a disk, whose table can be changed.

    A table is a list of (start, length, kind) in sectors. Kinds: "linear";
    "error", all I/O fails; "flakey UP DOWN", writes fail for DOWN seconds after
    UP good ones, and so does a flush, of the whole device, for each piece.
    """

    def __init__(self, below, sectors, name="fault", offset=0):
        self.below, self.sectors = below, sectors
        self.name, self.offset = name, offset
        self.device = f"/dev/mapper/{name}"
        self.kernel_name = None
        quiet("dmsetup", "create", name, "--table", self.table("linear"))
        self.kernel_name = os.path.basename(os.path.realpath(self.device))
        if not self.kernel_name.startswith("dm-"):
            number = os.minor(os.stat(self.device).st_rdev)
            self.kernel_name = f"dm-{number}"

    def table(self, pieces):
        if isinstance(pieces, str):
            pieces = [(0, self.sectors, pieces)]
        lines = []
        for start, length, kind in pieces:
            words = kind.split()
            line = f"{start} {length} {words[0]}"
            if words[0] != "error":
                line += f" {self.below} {self.offset + start}"
            if words[0] == "flakey":
                line += f" {words[1]} {words[2]} 1 error_writes"
            lines.append(line)
        return "\n".join(lines)

    def lead(self, pieces):
        """From now on. What is under way meets the new table."""
        run("dmsetup", "load", self.name, "--table", self.table(pieces))
        self.suspend()
        self.resume()

    def suspend(self):
        run("dmsetup", "suspend", "--nolockfs", "--noflush", self.name)

    def resume(self):
        run("dmsetup", "resume", self.name)

    def around(self, ranges, kind):
        """A table with @kind where @ranges are, in sectors."""
        pieces, at = [], 0
        for start, length in sorted(ranges):
            if start > at:
                pieces.append((at, start - at, "linear"))
            pieces.append((start, length, kind))
            at = start + length
        if at < self.sectors:
            pieces.append((at, self.sectors - at, "linear"))
        return pieces

    def remove(self):
        run("dmsetup", "remove", "--retry", self.name)


def ranges_of(device, inode):
    """Where an inode's blocks are: [(sector, sectors)]."""
    blocks = [int(b) for b in output("debugfs", "-R", f"blocks <{inode}>",
                                     device).split()]
    size = int(re.search(r"Block size: +(\d+)",
                         output("dumpe2fs", "-h", device))[1]) // 512
    found = []
    for block in sorted(blocks):
        if found and found[-1][0] + found[-1][1] == block * size:
            found[-1][1] += size
        else:
            found.append([block * size, size])
    return [tuple(pair) for pair in found]


def mkfs(device, *options, journal="size=4", size="64M"):
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", journal, "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard", *options, device,
        size)


def mount(device, options="xsync", where=MNT):
    return quiet("mount", "-t", "ext4", "-o", options, device, where) == 0


def umount(where=MNT):
    """Within the bound, or it counts as stuck."""
    bound = str(BOUND * SLOWNESS)
    return until(lambda: quiet("timeout", bound, "umount", where) == 0, 10)


def stat_of(name, device):
    """A line of debugfs xsync/<device>/stat."""
    try:
        text = read_text(f"{STATS}/{device}/stat")
    except OSError:
        return None
    return re.search(rf"^{name}: (.*)$", text, re.MULTILINE)[1]


class Log:
    """The kernel's log since now."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.text = ""

    def says(self, regex):
        while True:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue
            self.text += record.partition(";")[2].partition("\n")[0] + "\n"
        return re.search(regex, self.text)


# --- who writes and tells --------------------------------------------------

# Executed in the child. It ends at the first modification that fails, or when
# it is told to, and tries what else there is.
WORK = r'''
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
# Not when it is dependent: who looks into /tmp then would depend on it.
note = os.open(notes, os.O_WRONLY)

def attempt(name, call):
    try:
        call()
        seen[name] = 0
    except OSError as error:
        seen[name] = error.errno

def syncfs():
    if libc.syncfs(fd):
        raise OSError(ctypes.get_errno(), "")

def modify(n):
    os.pwrite(fd, b"%07d\n" % n, 8 * n - 8)
    if n % 8 == 0:
        new = os.open("new", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            short = fat - os.write(new, bytes(fat))
            if short:
                os.write(new, bytes(short))     # which says why
        finally:
            os.close(new)
        os.rename("new", "old")
    if n % 16 == 0:
        os.fsync(fd)

def tell_all(n):
    text = b"%s%07d\n" % (row, n)
    if u:
        u.sendto(text, to)
    if s:
        s.sendall(text)
    if tty >= 0:
        os.write(tty, text)

def work():
    global fd, seen, told
    os.chdir(mnt)
    fd = os.open("log", os.O_RDWR | os.O_CREAT, 0o600)
    seen, told, n = {}, 0, 0
    while not os.path.exists(stop):
        n += 1
        try:
            modify(n)
        except OSError as error:
            seen["write"] = error.errno
            break
        try:
            tell_all(n)
            told = n
            os.pwrite(note, b"%07d" % n, 0)
        except OSError as error:
            seen["tell"] = error.errno
            break
        time.sleep(pause)
    attempt("fsync", lambda: os.fsync(fd))
    if syncs:
        attempt("syncfs", syncfs)
        attempt("sync", os.sync)
    attempt("create", lambda: os.close(os.open("late", os.O_WRONLY |
                                               os.O_CREAT)))
    if u:
        attempt("udp", lambda: u.sendto(row + b"9999999\n", to))
    if s:
        attempt("tcp", lambda: s.sendall(row + b"9999999\n"))
    if tty >= 0:
        attempt("tty", lambda: os.write(tty, row + b"9999999\n"))
    os.chdir("/")
    os.close(fd)
    return told, seen
'''


class Ears(threading.Thread):
    """What the outside hears: numbers, in the order in which they come."""

    def __init__(self, row):
        super().__init__(daemon=True)
        self.row = row.encode()
        self.udp, self.tcp = [], []
        self.inner, self.outer, _ = connected()
        self.port = udp_outside()
        self.port.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)   # RCVBUFFORCE
        self.to = self.port.getsockname()
        self.reset = False
        self.stopping = False
        self.start()

    def run(self):
        stream = b""
        listening = [self.port, self.outer]
        while not self.stopping:
            # Each gets its turn, however much the other hears.
            ready = select.select(listening, [], [], 0.05)[0]
            if self.port in ready:
                self.udp += self.numbers(self.port.recv(200))
            if self.outer not in ready:
                continue
            try:
                more = self.outer.recv(65536)
            except ConnectionError:
                self.reset, more = True, b""
            if not more:
                listening.remove(self.outer)
            stream += more
            self.tcp = self.numbers(stream)

    def numbers(self, text):
        return [int(n) for n in re.findall(self.row + rb"(\d{7})\n", text)]

    @property
    def serial(self):
        with open(SERIAL, "rb") as file:
            return self.numbers(file.read())

    def channels(self):
        return {"udp": self.udp, "tcp": self.tcp, "serial": self.serial}

    def close(self):
        self.stopping = True
        self.join()
        self.outer.close()
        self.port.close()


class Writer:
    """A child that modifies and tells until it cannot, or until stop()."""
    rows = 0

    def __init__(self, udp=True, tcp=True, tty=True, pause=0.01, fat=1,
                 syncs=True, before="", mnt=MNT):
        Writer.rows += 1
        # Serial output of the tests before is in the same log.
        self.row = f"<{os.getpid()}.{Writer.rows}>"
        self.ears = Ears(self.row)
        self.stop_file = f"/tmp/stop{self.row}"
        self.notes = f"/tmp/told{self.row}"
        with open(self.notes, "w") as file:
            file.write("0000000")
        os.chmod(self.notes, 0o666)         # whoever it will be
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line = os.open(os.environ["XSYNC_SERIAL2"], os.O_WRONLY | os.O_NOCTTY)
        self.child = Actor(
            mnt=mnt, row=self.row.encode(), stop=self.stop_file,
            notes=self.notes, fat=fat, pause=pause, syncs=syncs,
            u=out if udp else None, to=self.ears.to,
            s=self.ears.inner if tcp else None, tty=line if tty else -1)
        out.close()
        os.close(line)
        self.ears.inner.close()
        self.used = [name for name, on in
                     (("udp", udp), ("tcp", tcp), ("serial", tty)) if on]
        self.child.do(before + WORK)

    def heard(self):
        return {name: numbers for name, numbers in self.ears.channels().items()
                if name in self.used}

    def go(self, least=3):
        """Let it begin; until the outside has heard that."""
        self.child.do("result = work()", sleeps=0)
        return until(lambda: all(len(n) >= least
                                 for n in self.heard().values()), 30)

    def stop(self):
        with open(self.stop_file, "w"):
            pass

    def ended(self, seconds=BOUND):
        return until(lambda: self.child.stage()[1] >= self.child.orders,
                     seconds)

    def kill(self):
        os.kill(self.child.runner, signal.SIGKILL)

    def dead(self):
        try:
            return "zombie" in read_text(f"/proc/{self.child.runner}/status")
        except OSError:
            return True

    def accepted(self):
        """How far it got for certain, alive or not; once it is committed."""
        with open(self.notes) as file:
            return int(file.read())

    def out_of_order(self):
        """Channels on which not each number came once, in its place."""
        return {name: numbers[-3:] for name, numbers in self.heard().items()
                if (heard := [n for n in numbers if n != LAST])
                != list(range(1, len(heard) + 1))}

    def all_out(self, seconds=BOUND):
        """Until all that was accepted has been heard."""
        return until(lambda: all(max(numbers, default=0) >= self.accepted()
                                 for numbers in self.heard().values()),
                     seconds)

    def result(self):
        """(how far it got, what the calls said); once it is committed."""
        return self.child.last()["result"]

    def close(self):
        self.ears.close()
        for path in (self.stop_file, self.notes):
            if os.path.exists(path):
                os.unlink(path)
        self.child.end()


def survived(directory=MNT):
    """How many numbers are on the disk without a gap."""
    if not os.path.exists(f"{directory}/log"):
        return 0
    with open(f"{directory}/log", "rb") as file:
        text = file.read()
    n = 0
    while text[8 * n:8 * n + 8] == b"%07d\n" % (n + 1):
        n += 1
    return n


def early(writer, kept):
    """The highest number that was heard and is not on the disk, by channel."""
    highest = {name: max((n for n in numbers if n != LAST), default=0)
               for name, numbers in writer.heard().items()}
    return {name: n for name, n in highest.items() if n > kept}
