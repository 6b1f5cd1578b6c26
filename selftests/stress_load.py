#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The loads of stress.sh: stress_load.py DIR KIND...

Runs one process per KIND (see the functions load_*) until SIGTERM; then prints
"KIND ROUNDS" for each. Exit status: 1 if one of them did nothing, died or
doesn't end within END_BOUND.

DIR is a directory on an external-synchrony mount, which may come and go: loads
write to it, and so become dependent, while the file GO is there, and go on
without while it isn't. They hold nothing open for long after GO is removed.
"""

import errno
import mmap
import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import time
import tty

GO = "/run/stress-go"
END_BOUND = 120         # seconds
# After each round: all loads together must leave the processor some time, or
# modules and mounts make no progress on an emulated one.
PAUSE = 0.02
TESTSOURCE = "/sys/kernel/debug/speculator-test/0/taint"
# What happens to a load when its file system or its peer goes away.
EXPECTED = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EROFS,
            errno.ENODEV, errno.EIO, errno.ENOSPC, errno.ENOTEMPTY,
            errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED,
            errno.ENOBUFS, errno.ENOTCONN, errno.ETIMEDOUT, errno.ESTALE)


def depend(top):
    """The caller depends on a commit afterwards, if there is any mount."""
    if not os.path.exists(GO):
        return
    try:
        with open(f"{top}/event", "a") as file:
            file.write(f"{os.getpid()}\n")
        if os.path.getsize(f"{top}/event") > 1 << 16:
            os.truncate(f"{top}/event", 0)
    except OSError as error:
        if error.errno not in EXPECTED:
            raise
    try:
        # Unbuffered: one read, one taint.
        with open(TESTSOURCE, "rb", buffering=0) as file:
            file.read(16)
    except OSError as error:
        if error.errno not in EXPECTED:
            raise


# Each load is a generator: one round of work per step.

def load_files(top):
    """Every way to modify and to look at a file system."""
    own = f"{top}/files-{os.getpid()}"
    a, b = f"{own}/a", f"{own}/b"
    i = 0
    while True:
        i += 1
        if not os.path.exists(GO):
            time.sleep(0.05)
            continue
        os.makedirs(own, exist_ok=True)
        fd = os.open(a, os.O_RDWR | os.O_CREAT
                     | (os.O_SYNC if i % 3 == 0 else 0))
        try:
            os.pwrite(fd, bytes(random.randrange(1, 20000)),
                      random.randrange(1 << 18))
            os.fsync(fd)
            os.posix_fallocate(fd, 0, 1 << 16)
            with mmap.mmap(fd, 1 << 16) as memory:
                memory[i % 60000] = i & 0xff
                memory.flush()
            os.fdatasync(fd)
            other = os.open(b, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            try:
                os.sendfile(other, fd, 0, 8192)
                os.copy_file_range(fd, other, 8192)
            finally:
                os.close(other)
            os.ftruncate(fd, random.randrange(1 << 18))
        finally:
            os.close(fd)
        os.setxattr(a, "user.round", b"%d" % i)
        os.chmod(a, 0o600 + i % 8)
        os.rename(a, f"{own}/c")
        os.link(f"{own}/c", a)
        os.symlink("c", f"{own}/s{i}")
        os.unlink(f"{own}/s{i}")
        os.mkdir(f"{own}/d")
        os.rmdir(f"{own}/d")
        os.stat(b)
        os.listdir(top)
        os.statvfs(top)
        if i % 20 == 0:
            os.sync()
        for name in a, b, f"{own}/c":
            os.unlink(name)
        yield


def load_readers(top):
    """Look at what others write."""
    while True:
        for path, _, names in os.walk(top if os.path.exists(GO) else "/run"):
            for name in names:
                if not os.path.isfile(os.path.join(path, name)):
                    continue        # not the FIFOs of /run
                try:
                    with open(os.path.join(path, name), "rb") as file:
                        file.read(65536)
                except OSError as error:
                    if error.errno not in EXPECTED:
                        raise
            os.path.exists(os.path.join(path, "no such file"))
        yield


def echo(read, write):
    """A child that sends back what it gets; returns its pid."""
    pid = os.fork()
    if not pid:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            while data := read():
                write(data)
        except OSError:
            pass
        finally:
            os._exit(0)
    return pid


def load_pipes(top):
    there, back = os.pipe(), os.pipe()
    pid = echo(lambda: os.read(there[0], 65536),
               lambda data: os.write(back[1], data))
    try:
        while True:
            depend(top)
            size = random.randrange(1, 4096)
            os.write(there[1], bytes(size))
            while size:
                size -= len(os.read(back[0], 65536))
            yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def load_splice(top):
    """splice, tee and a FIFO, by cat and tee of the shell's pipes."""
    while True:
        depend(top)
        subprocess.run("head -c 20000 /dev/zero | tee /dev/null | cat | wc -c",
                       shell=True, stdout=subprocess.DEVNULL, check=True)
        yield


def load_unix(top):
    """Stream, datagram and seqpacket, with descriptors passed."""
    kinds = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
    pairs = [socket.socketpair(socket.AF_UNIX, kind) for kind in kinds]
    pids = [echo(lambda b=b: b.recv(65536), b.sendall) for _, b in pairs]
    try:
        while True:
            depend(top)
            for a, _ in pairs:
                a.send(b"x" * random.randrange(1, 2000))
                a.recv(65536)
            a, b = socket.socketpair()
            with a, b:
                socket.send_fds(a, [b"fd"], [a.fileno()])
                for fd in socket.recv_fds(b, 10, 1)[1]:
                    os.close(fd)
            yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def load_tcp(top):
    """Connections over loopback, made and closed, and bulk."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        while True:
            depend(top)
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
            with client, peer:
                size = random.choice((1, 100, 50000))
                client.sendall(bytes(size))
                while size:
                    size -= len(peer.recv(65536))
                peer.sendall(b"done")
                client.recv(10)
            yield


def load_udp(top):
    """Datagrams over loopback, and to the outside."""
    outside = os.environ["XSYNC_OBS_HOST"], int(os.environ["XSYNC_OBS_UDP"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        while True:
            depend(top)
            client.sendto(b"loopback", server.getsockname())
            server.recv(100)
            client.sendto(b"stress", outside)
            yield


def load_outside(top):
    """TCP to the outside, with connections that are closed at once."""
    outside = os.environ["XSYNC_OBS_HOST"], int(os.environ["XSYNC_OBS_TCP"])

    while True:
        with socket.create_connection(outside, timeout=60) as out:
            for _ in range(random.randrange(10)):
                depend(top)
                out.sendall(b"stress\n" * random.randrange(1, 300))
                time.sleep(0.01)
        yield


def load_serial(top):
    while True:
        fd = os.open(os.environ["XSYNC_SERIAL2"], os.O_WRONLY | os.O_NOCTTY)
        try:
            for _ in range(20):
                depend(top)
                os.write(fd, b"stress stress stress stress\n")
                yield
        finally:
            os.close(fd)        # waits until all is out


def load_pty(top):
    while True:
        master, slave = pty.openpty()
        try:
            tty.setraw(slave)
            for _ in range(20):
                depend(top)
                size = random.randrange(1, 500)
                os.write(slave, b"s" * size)
                while size:
                    size -= len(os.read(master, 4096))
                os.write(master, b"m")
                os.read(slave, 1)
                yield
        finally:
            os.close(master)
            os.close(slave)


def load_processes(top):
    """fork, exec, signals, exit to the parent; and being killed anywhere."""
    def victim():
        a, b = socket.socketpair()
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            depend(top)
            a.send(b"x")
            b.recv(1)
            out.sendto(b"victim", (os.environ["XSYNC_OBS_HOST"],
                                   int(os.environ["XSYNC_OBS_UDP"])))

    while True:
        depend(top)
        subprocess.run(["true"], check=True)
        # Nobody else would end the victim.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if not pid:
            try:
                victim()
            finally:
                os._exit(0)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            time.sleep(random.random() / 10)
        finally:
            os.kill(pid, random.choice((signal.SIGUSR1, signal.SIGKILL)))
            os.waitpid(pid, 0)
        yield


def load_waiters(top):
    """What is neither passed on nor held, and so waits."""
    RTM_GETLINK = bytes.fromhex("14000000 12000103 01000000 00000000 00000000")

    while True:
        depend(top)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.bind((0, 0))
            netlink.send(RTM_GETLINK)
            netlink.recv(65536)
        depend(top)
        with open("/proc/self/comm", "w") as file:
            file.write("waiter")
        depend(top)
        with open("/dev/null", "w") as file:
            file.write("free")
        yield


def load_sleepers(top):
    """Asleep in calls that are wrapped, while modules come and go."""
    # No error is expected in here, so it is set up once.
    inside = [socket.socketpair() for _ in range(4)]
    fds = [os.pipe() for _ in range(4)]
    listener = socket.create_server(("127.0.0.1", 0))
    pids = []
    for read in ([b.recv for _, b in inside]
                 + [lambda n, r=r: os.read(r, n) for r, _ in fds]
                 + [lambda n: listener.accept() and b""]
                 + [lambda n: select.select([listener], [], []) and b""]):
        pids.append(echo(lambda read=read: read(1), lambda data: None))
    try:
        while True:
            depend(top)
            for (a, _), (_, w) in zip(inside, fds):
                a.send(b"x")
                os.write(w, b"x")
            time.sleep(0.5)
            yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


LOADS = {name[len("load_"):]: function
         for name, function in list(globals().items())
         if name.startswith("load_")}


class Stop(BaseException):
    """Raised by SIGTERM, wherever the load is."""


def stop(_signal, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stop


def run(kind, top, rounds, slot):
    """The process of one load; never returns."""
    status = 0
    # A load that ends by an expected error begins anew.
    try:
        signal.signal(signal.SIGTERM, stop)
        while True:
            load = LOADS[kind](top)
            try:
                for _ in load:
                    rounds[slot] += 1
                    time.sleep(PAUSE)
            except OSError as error:
                if error.errno not in EXPECTED and not isinstance(
                        error, TimeoutError):
                    raise
                time.sleep(0.02)
            finally:
                load.close()
    except Stop:
        pass
    except BaseException as error:      # pylint: disable=broad-except
        print(f"# {kind}: {error!r}", flush=True)
        status = 1
    finally:
        os._exit(status)


def show(pid):
    for name in "status", "wchan", "stack":
        try:
            with open(f"/proc/{pid}/{name}") as file:
                for line in file.read().splitlines()[:20]:
                    print(f"# {name}: {line}")
        except OSError:
            pass


def main():
    top, kinds = sys.argv[1], sys.argv[2:]
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    rounds = memoryview(shared).cast("Q")
    ending = False

    def end(_signal, _frame):
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, end)
    left = {}
    for slot, kind in enumerate(kinds):
        pid = os.fork()
        if not pid:
            run(kind, top, rounds, slot)
        left[pid] = kind
    failed = False

    def fail(why):
        nonlocal failed
        failed = True
        print(f"# {why}", flush=True)

    while not ending:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGTERM)
    bound = time.monotonic() + END_BOUND
    while left and time.monotonic() < bound:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            time.sleep(0.05)
            continue
        kind = left.pop(pid, None)
        if kind and status:
            fail(f"{kind} ended with status {status:#x}")
    for pid, kind in left.items():
        fail(f"{kind} (pid {pid}) does not end")
        show(pid)
        os.kill(pid, signal.SIGKILL)
    for slot, kind in enumerate(kinds):
        print(f"{kind} {rounds[slot]}")
        if not rounds[slot]:
            fail(f"{kind} did nothing")
    sys.stdout.flush()
    os._exit(failed)


if __name__ == "__main__":
    main()
