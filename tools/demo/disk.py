# SPDX-License-Identifier: GPL-2.0
"""A disk that can lose power: nbdkit with a plugin, volatile.c or another."""

import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "demo")
PLUGIN = os.path.join(BUILD, "volatile.so")


class Disk:
    """Serves the file `medium` as a disk; `options` are the plugin's.

        with Disk(medium, flush_us=8333) as disk:
            ... QEMU: -drive format=raw,file={disk.uri} ...
            disk.cut_power()

    What was not flushed is gone after cut_power() (and after the `with`: there
    is no other way to switch it off). The medium then is a file like any other.
    """

    def __init__(self, medium, plugin=PLUGIN, **options):
        # Not below build/: a socket's path is limited to 107 bytes.
        self.dir = tempfile.mkdtemp(prefix="xsync-disk-")
        self.socket = os.path.join(self.dir, "sock")
        self.uri = f"nbd+unix:///?socket={self.socket}"
        ready = os.path.join(self.dir, "pid")
        self.server = subprocess.Popen(
            ["nbdkit", "--foreground", "--exit-with-parent",
             "--unix", self.socket, "--pidfile", ready, plugin, medium,
             *(f"{key.replace('_', '-')}={value}"
               for key, value in options.items())],
            stdin=subprocess.DEVNULL)
        while not os.path.exists(ready):
            if self.server.poll() is not None:
                raise RuntimeError("nbdkit didn't start")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.cut_power()
        shutil.rmtree(self.dir)

    def cut_power(self):
        self.server.kill()
        self.server.wait()


# --- does the disk do what it says? ----------------------------------------

READ, WRITE, FLUSH = 0, 1, 3
FUA = 1
BLOCK = 4096


class Client:
    """As much of an NBD client as check() needs."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        magic, _, _ = struct.unpack(">8s8sH", self.receive(18))
        assert magic == b"NBDMAGIC"
        # Fixed newstyle, no padding; then the default export.
        self.sock.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        self.receive(10)

    def receive(self, size):
        return self.sock.recv(size, socket.MSG_WAITALL) if size else b""

    def request(self, kind, block=0, data=b"", flags=0, reply=0):
        length = len(data) or reply
        self.sock.sendall(struct.pack(">IHHQQI", 0x25609513, flags, kind, 0,
                                      block * BLOCK, length) + data)
        _, error, _ = struct.unpack(">IIQ", self.receive(16))
        assert error == 0, os.strerror(error)
        return self.receive(reply)


def check(flush_us):
    """Cut a disk's power and compare; returns a FLUSH's time in ms."""
    count = 64
    old, new = b"o" * BLOCK, b"n" * BLOCK
    with tempfile.NamedTemporaryFile(dir=BUILD) as medium:
        medium.truncate(3 * count * BLOCK)
        with Disk(medium.name, flush_us=flush_us) as disk:
            client = Client(disk.socket)
            for block in range(3 * count):
                client.request(WRITE, block, old)
            start = time.monotonic()
            client.request(FLUSH)
            took = time.monotonic() - start
            # 1st third: FUA; 2nd: not flushed; 3rd: left as it was.
            for block in random.sample(range(count), count):
                client.request(WRITE, block, new, flags=FUA)
                client.request(WRITE, count + block, new)
            for block in range(2 * count):
                if client.request(READ, block, reply=BLOCK) != new:
                    raise RuntimeError("disk: a read misses the last write")
            disk.cut_power()
        blocks = [medium.read(BLOCK) for _ in range(3 * count)]
    if blocks[2 * count:] != [old] * count:
        raise RuntimeError("disk: a cut lost what was flushed")
    if blocks[:count] != [new] * count:
        raise RuntimeError("disk: a cut lost what was written with FUA")
    if set(blocks[count:2 * count]) != {old, new}:
        raise RuntimeError("disk: a cut lost all or nothing of what was not "
                           "flushed, not some of it")
    if took * 1e6 < flush_us:
        raise RuntimeError(f"disk: a FLUSH took {took * 1e6:.0f} us only")
    return took * 1e3


if __name__ == "__main__":
    print(f"disk: a FLUSH takes {check(8333):.1f} ms, "
          "and a power cut loses only what was not flushed")
