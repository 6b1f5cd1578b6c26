#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: own extra timeout=900 mem=1024 expect=".*(Aborting journal|I/O error|EXT4-fs error|Detected aborted journal).*"
"""The disk fails below a mount: for good, in parts, or altogether.

Laws: nothing is told that is not on the disk when it is mounted again, the log
names the device, everybody gets an error, umount works. Control: the same on a
plain mount, where more is told than survives.
"""

import struct
import sys

sys.dont_write_bytecode = True
from faultlib import *                                      # noqa: E402,F403

CHECKPOINT = 0x4004662b         # EXT4_IOC_CHECKPOINT
SHUTDOWN = 0x8004587d           # EXT4_IOC_SHUTDOWN
SECTORS = 64 << 11              # 64 MiB
ONLY = os.environ.get("FAULT", "")
log = Log()


def wanted(name):
    return ONLY in name


def command(path, number, value=0):
    """An ioctl of the file system; its error."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, number, struct.pack("I", value))
        return 0
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)


def sees(name, writer):
    """What the calls of the writer said after the fault, as a comment."""
    told, seen = writer.result()
    print(f"# {name}: told up to {told}, then "
          + ", ".join(f"{call} {os.strerror(e) if e else 'ok'}"
                      for call, e in seen.items()), flush=True)
    return seen


def compare(name, writer, device, plain=False):
    """Mount it as it is now, with the stock kernel's ext4, and look."""
    if not check(mount(device, "data=journal"), f"{name}: it can be mounted"):
        return
    kept = survived()
    quiet("umount", MNT)
    lost = early(writer, kept)
    heard = {ch: len(n) for ch, n in writer.heard().items()}
    print(f"# {name}: heard {heard}, on the disk {kept}", flush=True)
    if plain:
        check(lost, f"{name}: control: a plain mount tells what is not there")
    else:
        check(not lost, f"{name}: nothing was told that is not on the disk",
              lost)
    check(quiet("e2fsck", "-fy", device) <= 1, f"{name}: e2fsck repairs it")


def broken(name, device, kernel_name, inject, repair, *, plain=False,
           options="", fails=True, loses=True, seconds=2):
    """One fault: mount, tell, break, look, umount, repair, compare.

    fails: it is a failure of the journal; loses: that comes with a commit, so
    that the writer depends on what is lost for certain.
    """
    log.says("")
    log.text = ""
    check(mount(device, ("data=journal" if plain else "xsync") + options),
          f"{name}: mounted")
    writer = Writer()
    check(writer.go(), f"{name}: the outside hears the writer",
          writer.heard())
    inject()
    time.sleep(seconds)
    if fails and not plain:
        check(until(lambda: stat_of("state", kernel_name) == "failed", 30),
              f"{name}: the failure is noticed")
        check(log.says(f"{kernel_name}: the journal has failed"),
              f"{name}: the log names the device", log.text)
    writer.stop()
    check(writer.ended(), f"{name}: the writer comes to an end")
    check(umount(), f"{name}: umount")
    if loses and not plain:
        told = [ch for ch, n in writer.heard().items() if LAST in n]
        check(not told, f"{name}: nothing is told after the failure", told)
    seen = sees(name, writer)
    if fails and not plain:
        check(seen["fsync"] and seen["syncfs"] and seen["create"],
              f"{name}: fsync, syncfs and a creation fail", seen)
        check(not seen["sync"], f"{name}: sync returns")
    repair()
    compare(name, writer, device, plain)
    writer.close()
    return seen


# --- device mapper ---------------------------------------------------------

def on_mapper(name, kind, where=None, **more):
    """@kind of fault at @where: None, everywhere; or what finds the sectors."""
    if not wanted(name):
        return None
    mkfs(disk.device)
    table = disk.around(where(), kind) if where else kind
    return broken(name, disk.device, disk.kernel_name,
                  lambda: disk.lead(table), lambda: disk.lead("linear"), **more)


def the_journal():
    return ranges_of(disk.device, 8)


def unused():
    """Beyond the file system: only flushes come here."""
    return [(SECTORS, 2048)]


def home():
    """A new file system with a file for the writer: where its data belongs."""
    mkfs(disk.device)
    # The blocks have to be allocated, and in memory when they are written.
    mount(disk.device, "data=journal")
    with open(f"{MNT}/log", "wb") as file:
        file.write(b"-" * 65536)
    inode = os.stat(f"{MNT}/log").st_ino
    run("umount", MNT)
    return ranges_of(disk.device, inode)


def checkpoint_fails():
    """The journal can be written, the place where the data belongs cannot."""
    name = "checkpoint"
    if not wanted(name):
        return
    table = disk.around(home(), "error")

    def inject():
        disk.lead(table)
        # What is committed now goes home: who asks for that hears of it.
        time.sleep(1)
        command(MNT, CHECKPOINT)
    broken(name, disk.device, disk.kernel_name, inject,
           lambda: disk.lead("linear"), loses=False)


def checkpoint_of_umount(plain):
    """The same, but nobody asks before the file system goes."""
    name = "checkpoint of umount" + (", plain" if plain else "")
    if not wanted(name):
        return
    table = disk.around(home(), "error")
    mount(disk.device, "data=journal" if plain else "xsync")
    # The flusher would bring home what is 30 s old, on a slow machine too early.
    flusher = "/proc/sys/vm/dirty_writeback_centisecs"
    period = read_text(flusher)
    write_file(flusher, "0")
    writer = Writer(syncs=False)
    check(writer.go(20), f"{name}: the outside hears the writer")
    writer.stop()
    check(writer.ended(), f"{name}: the writer comes to an end")
    disk.lead(table)
    check(umount(), f"{name}: umount")
    write_file(flusher, period)
    disk.lead("linear")
    compare(name, writer, disk.device, plain)
    writer.close()


# --- a disk whose cache forgets --------------------------------------------

class Nbd:
    """tools/demo/volatile.c as a disk of this machine."""
    medium, fails, sock = "/tmp/medium", "/tmp/fails", "/tmp/nbd.sock"
    device = "/dev/nbd0"

    def __init__(self):
        run("truncate", "-s", "64M", self.medium)
        run("modprobe", "nbd")

    def on(self):
        self.server = subprocess.Popen(
            ["nbdkit", "--foreground", "--unix", self.sock,
             os.path.join(netlib.HERE, "../build/demo/volatile.so"),
             self.medium, "flush-us=0", "keep=0", f"fails={self.fails}"],
            stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists(self.sock), 10)
        return quiet("nbd-client", "-unix", self.sock, self.device) == 0

    def off(self):
        """As by a power cut; what was flushed is still there."""
        quiet("nbd-client", "-d", self.device)
        self.server.kill()
        self.server.wait()
        if os.path.exists(self.sock):
            os.unlink(self.sock)

    def flushes_fail(self, on):
        if on:
            with open(self.fails, "w"):
                pass
        else:
            os.unlink(self.fails)


def no_commits():
    """Has jbd2 committed nothing for three seconds?"""
    def info():
        with open("/proc/fs/jbd2/nbd0-8/info") as file:
            return file.readline()
    before = info()
    time.sleep(3)
    return info() == before


def lost_flush(plain):
    """A checkpoint whose flush fails, and the disk has forgotten the writes.

    jbd2 does not look at that flush. All had been committed and told before; so
    unless the journal keeps its copies it is lost afterwards.
    """
    name = "flush of a checkpoint" + (", plain" if plain else "")
    if not wanted(name):
        return
    nbd = Nbd()
    check(nbd.on(), f"{name}: the disk is there")
    mkfs(nbd.device)
    log.says("")
    log.text = ""
    mount(nbd.device, "data=journal,commit=1,noinit_itable" if plain
          else "xsync")
    # On a plain mount syncfs would bring all home, behind a flush that works.
    writer = Writer(syncs=False)
    check(writer.go(20), f"{name}: the outside hears the writer")
    writer.stop()
    check(writer.ended(), f"{name}: the writer ends")
    check(until(lambda: all(LAST in n for n in writer.heard().values()), 10),
          f"{name}: all is told")
    if plain:
        # It must not be a commit whose flush fails; xsync has done the last.
        until(no_commits)
    nbd.flushes_fail(True)
    status = command(MNT, CHECKPOINT)
    nbd.flushes_fail(False)
    print(f"# {name}: the checkpoint says {status}")
    if not plain:
        check(status, f"{name}: who asks for the checkpoint gets an error")
        check(log.says("nbd0: a flush has failed"),
              f"{name}: the log names the device", log.text)
    check(umount(), f"{name}: umount")
    nbd.off()
    check(nbd.on(), f"{name}: the disk is there again")
    compare(name, writer, nbd.device, plain)
    nbd.off()
    writer.close()
    os.unlink(nbd.medium)


# --- devices that go -------------------------------------------------------

def nbd_disconnected():
    name = "nbd disconnected"
    if not wanted(name):
        return
    nbd = Nbd()
    check(nbd.on(), f"{name}: the disk is there")
    mkfs(nbd.device)
    broken(name, nbd.device, "nbd0", nbd.off, nbd.on)
    nbd.off()
    os.unlink(nbd.medium)


def scsi_disk():
    """The name of the one that scsi_debug keeps in memory."""
    for name in os.listdir("/sys/block"):
        model = f"/sys/block/{name}/device/model"
        if os.path.exists(model) and "scsi_debug" in read_text(model):
            return name
    return None


def scsi_deleted():
    name = "scsi deleted"
    if not wanted(name):
        return
    run("modprobe", "sd_mod")       # there is no udevd to do it
    run("modprobe", "scsi_debug", "dev_size_mb=64", "delay=0")
    until(scsi_disk, 20)
    disk = f"/sys/block/{scsi_disk()}/device"
    kernel_name = scsi_disk()
    host = re.search(r"/(host\d+)/", os.path.realpath(disk))[1]
    mkfs(f"/dev/{kernel_name}")

    def again():
        write_file(f"/sys/class/scsi_host/{host}/scan", "- - -")
        until(scsi_disk, 20)
    broken(name, f"/dev/{kernel_name}", kernel_name,
           lambda: write_file(f"{disk}/delete", "1"), again)
    run("rmmod", "scsi_debug")


def taken_away():
    """A disk that works until it goes: what fsync has promised is synced."""
    name = "taken away"
    if not wanted(name):
        return
    device = scratch()
    pci = os.path.dirname(os.path.realpath(
        f"/sys/block/{os.path.basename(device)}/device"))
    mkfs(device)
    mount(device, "xsync,commit=300")
    writer = Actor(mnt=MNT)
    writer.do("""
fd = os.open(mnt + '/file', os.O_CREAT | os.O_WRONLY)
os.write(fd, b'promised')
os.fsync(fd)
os.close(fd)
""")
    # Not by the test, which is exempt: its syncs are real anyway.
    admin = Actor(path=f"{pci}/remove")
    admin.do("""
with open(path, 'w') as file:
    file.write('1')
""")
    check(not os.path.exists(device), f"{name}: the disk has gone")
    check(umount(), f"{name}: umount")
    write_file("/sys/bus/pci/rescan", "1")
    until(lambda: os.path.exists(device), 20)
    check(mount(scratch(), "data=journal"), f"{name}: it is there again")
    path = f"{MNT}/file"
    check(os.path.exists(path) and read_text(path) == "promised",
          f"{name}: what was promised is on it")
    run("umount", MNT)
    writer.end()
    admin.end()


# --- ext4's own ------------------------------------------------------------

def shutdown(flag, name):
    name = f"shutdown {name}"
    if not wanted(name):
        return
    mkfs(disk.device)
    broken(name, disk.device, disk.kernel_name,
           lambda: command(MNT, SHUTDOWN, flag), lambda: None,
           fails=bool(flag), loses=False)


def error_found(behaviour, fails):
    """ext4 finds the file system damaged: errors=."""
    name = f"errors={behaviour}"
    if not wanted(name):
        return

    def trigger():
        with open(f"/sys/fs/ext4/{disk.kernel_name}/trigger_fs_error",
                  "w") as file:
            file.write("1")
    mkfs(disk.device)
    seen = broken(name, disk.device, disk.kernel_name, trigger, lambda: None,
                  options=f",errors={behaviour}", fails=fails, loses=False)
    if not fails:
        check("write" not in seen and seen["fsync"] == 0,
              f"{name}: it goes on", seen)


# --- the journal on a device of its own -------------------------------------

def external(name, victim, kind, where=None):
    if not wanted(name):
        return
    jdev = Mapped(scratch(), 16 << 11, "faultj", 128 << 11)
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "journal_dev",
        jdev.device)
    mkfs(disk.device, journal=f"device={jdev.device}")
    bad = jdev if victim == "journal" else disk
    table = bad.around(where(), kind) if where else kind

    def inject():
        bad.lead(table)
        if victim != "journal":
            time.sleep(1)
            command(MNT, CHECKPOINT)
    broken(name, disk.device, disk.kernel_name, inject,
           lambda: bad.lead("linear"), loses=victim == "journal")
    jdev.remove()


setup()
disk = Mapped(scratch(), SECTORS + 2048)
on_mapper("all writes, plain", "flakey 0 3600", plain=True)
on_mapper("all", "error")
on_mapper("journal", "error", the_journal)
# It may be the flush of a checkpoint that is first: then nothing is lost.
on_mapper("flush", "flakey 0 3600", unused, loses=False)
on_mapper("now and then", "flakey 1 1", loses=False, seconds=4)
checkpoint_fails()
checkpoint_of_umount(plain=True)
checkpoint_of_umount(plain=False)
lost_flush(plain=True)
lost_flush(plain=False)
nbd_disconnected()
scsi_deleted()
for flag, name in ((0, "default"), (1, "logflush"), (2, "nologflush")):
    shutdown(flag, name)
error_found("continue", False)
error_found("remount-ro", True)
external("external journal", "journal", "error")
external("external journal: flush of the file system", "data",
         "flakey 0 3600", unused)
disk.remove()
taken_away()
finish()
