# SPDX-License-Identifier: GPL-2.0
"""What a disk's medium may hold after a power cut at some moment.

From the log of recorder.c: what a FLUSH that was answered before covers is on
the medium; of each other write all, nothing, or any of its sectors, in any
order.
"""

import mmap
import os
import random
import shutil
import struct
import tempfile

import disk

ENTRY = struct.Struct("=IIQQQ")             # struct entry
WRITE, WRITTEN, FLUSH, FLUSHED = range(4)   # enum kind
SECTOR = 512
EVER = 1 << 63                              # later than everything


class Write:
    def __init__(self, time, offset, data):
        self.time, self.offset, self.data = time, offset, data
        self.done = EVER                    # where in the log it was answered


class Log:
    """The events of a disk's life.

    writes   in the order of their begin
    flushes  (time of the answer, place of the begin in the log)
    """

    def __init__(self, path):
        self.writes, self.flushes = [], []
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self.map)
        open_requests = {}
        at = 0
        while at + ENTRY.size <= len(view):
            kind, length, number, time, offset = ENTRY.unpack_from(view, at)
            data = view[at + ENTRY.size:at + ENTRY.size + length]
            if len(data) < length:
                break                       # killed while it was writing this
            if kind == WRITE:
                write = Write(time, offset, data)
                self.writes.append(write)
                open_requests[number] = write
            elif kind == WRITTEN:
                open_requests.pop(number).done = at
            elif kind == FLUSH:
                open_requests[number] = at
            else:
                self.flushes.append((time, open_requests.pop(number)))
            at += ENTRY.size + length
        self.answered = sorted(
            (w for w in self.writes if w.done < EVER), key=lambda w: w.done)


class Replay:
    """Makes the media of one disk's power cuts, in the order of time."""

    def __init__(self, log, base, work):
        """`base`: the disk before the log, `work`: a file to keep state in."""
        self.log = log
        shutil.copyfile(base, work)         # keeps holes out of the way, too
        self.durable = os.open(work, os.O_RDWR)
        self.size = os.fstat(self.durable).st_size
        self.applied = 0                    # of log.answered

    def close(self):
        os.close(self.durable)

    def cut(self, time, image, offset, dice):
        """Write the medium of a cut at `time` to `image` at `offset`.

        `time` must not go back. Returns how many writes were uncertain.
        """
        covered = max((begin for answer, begin in self.log.flushes
                       if answer < time), default=0)
        answered = self.log.answered
        while (self.applied < len(answered)
               and answered[self.applied].done < covered):
            write = answered[self.applied]
            os.pwrite(self.durable, write.data, write.offset)
            self.applied += 1
        copy_data(self.durable, image, self.size, offset)

        uncertain = [w for w in self.log.writes
                     if w.done >= covered and w.time < time]
        keep = dice.choice([0, 0.1, 0.5, 0.9, 1])
        torn = dice.choice([0, 0.2])
        for write in uncertain:
            if dice.random() >= keep:
                continue
            tear = dice.random() < torn
            for start in range(0, len(write.data), SECTOR):
                if not tear or dice.random() < 0.5:
                    os.pwrite(image, write.data[start:start + SECTOR],
                              offset + write.offset + start)
        return len(uncertain)


def copy_data(source, target, size, offset):
    """All of `source` that is no hole, to `offset` in `target`."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError:                     # ENXIO: a hole up to the end
            return
        at = os.lseek(source, start, os.SEEK_HOLE)
        while start < at:
            start += os.copy_file_range(source, target, at - start,
                                        start, offset + start)


# --- do the disk and its media do what they say? ---------------------------

def check(recorder):
    """Three parts are written: one, a FLUSH, two, a FLUSH, three."""
    count = 64
    part = count * disk.BLOCK
    with tempfile.TemporaryDirectory() as directory:
        base, live, path, image = (os.path.join(directory, name) for name in
                                   ("base", "live", "log", "image"))
        with open(base, "wb") as file:
            file.truncate(3 * part)
        shutil.copyfile(base, live)
        with disk.Disk(live, recorder, log=path, flush_us=1000) as drive:
            client = disk.Client(drive.socket)
            for block in range(3 * count):
                client.request(disk.WRITE, block, b"n" * disk.BLOCK)
                if block in (count - 1, 2 * count - 1):
                    client.request(disk.FLUSH)
        log = Log(path)
        seen = [set(), set(), set()]
        # Just before the second FLUSH is answered.
        moment = log.flushes[1][0]
        for number in range(20):
            replay = Replay(log, base, os.path.join(directory, "durable"))
            with open(image, "wb+") as file:
                file.truncate(3 * part)
                replay.cut(moment, file.fileno(), 0, random.Random(number))
                for sectors in seen:
                    sectors.update(file.read(SECTOR) for _ in
                                   range(part // SECTOR))
            replay.close()
    old, new = bytes(SECTOR), b"n" * SECTOR
    if seen != [{new}, {old, new}, {old}]:
        raise RuntimeError("the media are not what a power cut leaves")
