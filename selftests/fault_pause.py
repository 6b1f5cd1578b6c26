#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: own extra timeout=1800 mem=1024 expect=".*(INFO: task .* blocked).*"
"""Faults that pass: a disk that stands still, no room, a freeze, a kill.

Laws: nothing is told before it is durable, and once the fault is over all that
was accepted is told, once and in order, by whomever it was written, dead or
alive. Control: a clean process tells at once meanwhile; before the end of the
fault what it holds up is not heard.
"""

import ctypes
import struct
import sys

sys.dont_write_bytecode = True
from faultlib import *                                      # noqa: E402,F403

FREEZE, THAW = 0xc0045877, 0xc0045878
ONLY = os.environ.get("FAULT", "")
SECONDS = int(os.environ.get("FAULT_SECONDS", "20"))    # a disk stands still
KILLS = int(os.environ.get("FAULT_KILLS", "4"))
CGROUPS = "/sys/fs/cgroup"
CGROUP = f"{CGROUPS}/fault/"
log = Log()


def wanted(name):
    if ONLY not in name:
        return False
    print(f"# --- {name}", flush=True)
    return True


def begin(name, *options, mount_options="", size="64M", **more):
    """A new file system and a writer that is under way."""
    mkfs(disk.device, *options, size=size)
    check(mount(disk.device, "xsync" + mount_options), f"{name}: mounted")
    writer = Writer(**more)
    check(writer.go(), f"{name}: the outside hears the writer",
          writer.heard())
    return writer


def end(name, writers, stop=True):
    """The fault is over: all comes out, and is on the disk."""
    for writer in writers:
        if stop:
            writer.stop()
            check(writer.ended(), f"{name}: the writer comes to an end")
    for writer in writers:
        check(writer.all_out(), f"{name}: all that was accepted is heard",
              (writer.accepted(), {c: len(n) for c, n in
                                   writer.heard().items()}))
        check(not writer.out_of_order(), f"{name}: once and in order",
              writer.out_of_order())
    check(umount(), f"{name}: umount")
    check(mount(disk.device, "data=journal"), f"{name}: mounted again")
    for writer in writers[:1]:
        kept = survived()
        check(not early(writer, kept), f"{name}: and is on the disk", kept)
        print(f"# {name}: accepted {writer.accepted()}, on the disk {kept}")
    run("umount", MNT)
    check(quiet("e2fsck", "-fn", disk.device) == 0,
          f"{name}: e2fsck finds nothing")
    for writer in writers:
        writer.close()


def counts(writer):
    return {name: len(numbers) for name, numbers in writer.heard().items()}


def silent(writer, seconds):
    """Nothing more is heard, but for what is on its way."""
    time.sleep(0.5)
    before = counts(writer)
    time.sleep(seconds)
    return counts(writer) == before


def clean_is_heard():
    """A process that has modified nothing."""
    ears = udp_outside()
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    child = Actor(u=out, to=ears.getsockname())
    out.close()
    child.do("u.sendto(b'clean', to)")
    ears.settimeout(2)
    try:
        return ears.recv(10) == b"clean"
    except socket.timeout:
        return False
    finally:
        child.end()
        ears.close()


def stands_still():
    name = "suspended"
    if not wanted(name):
        return
    write_file("/proc/sys/kernel/hung_task_timeout_secs",
               str(max(SECONDS // 3, 10)))
    log.says("")
    log.text = ""
    writer = begin(name)
    # Their transactions fill the journal of 4 MiB.
    others = [Writer(tty=False, tcp=n % 2, pause=0, fat=300000,
                     mnt=f"{MNT}/{n}") for n in range(4)]
    for n, other in enumerate(others):
        os.mkdir(f"{MNT}/{n}")
    for other in others:
        other.child.do("result = work()", sleeps=0)
    waiter = Actor(mnt=MNT)
    time.sleep(2)
    disk.suspend()
    waiter.do("""
os.close(os.open(mnt + '/waiter', os.O_CREAT | os.O_WRONLY))
with open('/proc/sys/vm/swappiness', 'w') as file:
    file.write('60')
""", sleeps=0)
    check(silent(writer, 3), f"{name}: nothing is heard meanwhile")
    check(clean_is_heard(), f"{name}: but a clean process is (control)")
    check(waiter.stage()[1] < waiter.orders,
          f"{name}: a call that waits waits", waiter.stage())
    time.sleep(max(SECONDS - 6, 0))
    before = counts(writer)
    said = set(re.findall(r"INFO: task (\S+):\d+ blocked", log.text)) \
        if log.says("blocked for more") else set()
    print(f"# {name}: hung tasks reported: {sorted(said)}")
    reports = re.split(r"INFO: task ", log.text)[1:]
    ours = [r[:1500] for r in reports if re.search(r"spec_wait|hold_piece", r)]
    check(not ours, f"{name}: no task is said to hang because of us", ours[:1])
    disk.resume()
    check(until(lambda: all(n > before[c] for c, n in counts(writer).items()),
                20), f"{name}: it goes on")
    check(until(lambda: waiter.stage()[1] == waiter.orders, 20),
          f"{name}: so does the call that waited")
    end(name, [writer] + others)
    waiter.end()
    write_file("/proc/sys/kernel/hung_task_timeout_secs", "120")


def no_room():
    name = "file system full"
    if not wanted(name):
        return
    writer = begin(name, "-m", "0", size="24M", fat=40000)
    # What others free it takes, too.
    filler = Actor(mnt=MNT)
    filler.do("""
fd = os.open(mnt + '/filler', os.O_CREAT | os.O_WRONLY)
size = 65536
while True:
    try:
        os.write(fd, bytes(size))
    except OSError:
        size = 4096
        time.sleep(0.01)
""", sleeps=0)
    check(writer.ended(), f"{name}: the writer comes to an end")
    check(writer.all_out(), f"{name}: all is heard")
    check(until(lambda: all(LAST in n for n in writer.heard().values()), 10),
          f"{name}: and the bad news, too")
    told, seen = writer.result()
    print(f"# {name}: told up to {told}, then {seen}")
    check(seen.get("write") == 28 and not seen["fsync"],
          f"{name}: the write said ENOSPC", seen)
    os.kill(filler.runner, signal.SIGKILL)
    end(name, [writer], stop=False)
    filler.end()


def limit(soft, hard):
    """What the user 1000 may have, in KiB. There need be no quota tools."""
    libc = ctypes.CDLL(None, use_errno=True)
    limits = struct.pack("8QI", hard, soft, 0, 0, 0, 0, 0, 0, 1)
    os.chmod(MNT, 0o777)
    set_quota = ctypes.c_int(-0x7ffff800)       # Q_SETQUOTA, USRQUOTA
    return not libc.quotactl(set_quota, disk.device.encode(), 1000, limits)


def quota():
    """The writer is a user with a limit."""
    name = "quota"
    if not wanted(name):
        return
    mkfs(disk.device, "-O", "quota")
    check(mount(disk.device, "xsync,usrquota"), f"{name}: mounted")
    check(limit(64, 64), f"{name}: the limit is set")
    writer = Writer(pause=0, fat=40000, before="os.setuid(1000)\n")
    check(writer.go(), f"{name}: the outside hears the writer")
    check(writer.ended(), f"{name}: the writer comes to an end")
    told, seen = writer.result()
    print(f"# {name}: told up to {told}, then {seen}")
    check(seen.get("write") == 122, f"{name}: the write said EDQUOT", seen)
    end(name, [writer], stop=False)


def quota_message(plain):
    """What the kernel says on the user's terminal when a quota is exceeded."""
    name = "message of a quota" + (", plain" if plain else "")
    if not wanted(name):
        return
    mkfs(disk.device, "-O", "quota")
    mount(disk.device, ("data=journal" if plain else "xsync") + ",usrquota")
    check(limit(16, 0), f"{name}: the limit is set")
    user = Actor(mnt=MNT, tty=os.environ["XSYNC_SERIAL2"])
    user.do("""
import fcntl
os.setsid()
fcntl.ioctl(os.open(tty, os.O_RDWR), 0x540e, 0)     # TIOCSCTTY
os.setuid(1000)
fd = os.open(mnt + '/file', os.O_CREAT | os.O_WRONLY)
os.write(fd, bytes(4096))
""")
    run("sync", "-f", MNT)

    def messages():
        with open(SERIAL, "rb") as file:
            return file.read().count(b"user block quota exceeded")
    before = messages()
    disk.suspend()
    user.do("os.write(fd, bytes(65536))", sleeps=2)
    check((messages() > before) == plain,
          f"{name}: seen before the commit on a plain mount only")
    disk.resume()
    check(until(lambda: messages() == before + 1, 10),
          f"{name}: and once afterwards", messages() - before)
    user.do("os.close(fd)")
    check(umount(), f"{name}: umount")
    user.end()


def frozen():
    name = "freeze"
    if not wanted(name):
        return
    writer = begin(name, pause=0)
    fd = os.open(MNT, os.O_RDONLY)
    start = time.monotonic()
    fcntl.ioctl(fd, FREEZE, 0)
    check(time.monotonic() - start < 20, f"{name}: it freezes soon")
    check(writer.all_out(5), f"{name}: all that was accepted is heard")
    before = counts(writer)
    check(silent(writer, 2) and clean_is_heard(),
          f"{name}: the writer waits, others don't")
    fcntl.ioctl(fd, THAW, 0)
    os.close(fd)
    check(until(lambda: counts(writer)["udp"] > before["udp"] + 5, 20),
          f"{name}: it goes on")
    # By one that depends on what is to be frozen.
    other = Actor(mnt=MNT)
    other.do(f"""
import fcntl
os.close(os.open(mnt + '/other', os.O_CREAT | os.O_WRONLY))
fd = os.open(mnt, os.O_RDONLY)
fcntl.ioctl(fd, {FREEZE}, 0)
time.sleep(0.5)
fcntl.ioctl(fd, {THAW}, 0)
os.close(fd)
""", sleeps=0)
    check(until(lambda: other.stage()[1] == other.orders, 20),
          f"{name}: a dependent process can freeze it, and thaw it")
    end(name, [writer])
    other.end()


def unmounted(flag):
    name = f"umount {flag}"
    if not wanted(name):
        return
    writer = begin(name)
    status = quiet("umount", flag, MNT)
    if flag == "-f":
        check(status, f"{name}: refused while files are open")
        end(name, [writer])
        return
    check(status == 0 and not os.path.ismount(MNT), f"{name}: unmounted")
    before = counts(writer)
    check(until(lambda: counts(writer)["tcp"] > before["tcp"] + 5, 20),
          f"{name}: the writer goes on with its open file", counts(writer))
    disk.suspend()
    check(silent(writer, 1), f"{name}: held as before")
    writer.kill()
    disk.resume()
    check(until(lambda: not os.path.exists(
        f"/sys/fs/ext4/{disk.kernel_name}"), 30),
        f"{name}: gone with the last open file")
    run("mount", "-t", "ext4", "-o", "xsync", disk.device, MNT)
    end(name, [writer], stop=False)


def killed(name, kill, suspended=True, **more):
    """Kill a writer with held output."""
    writer = begin(name, **more)
    time.sleep(0.3)
    if suspended:
        disk.suspend()
        check(silent(writer, 0.3), f"{name}: its output is held")
    kill(writer)
    if suspended:
        check(silent(writer, 0.5), f"{name}: its output is still held")
        disk.resume()
    # Not before: as on any ext4 it may sleep for the disk.
    check(until(writer.dead), f"{name}: it is dead")
    end(name, [writer], stop=False)


def kills():
    if not wanted("kill"):
        return
    for n in range(KILLS):
        killed(f"kill {n}", Writer.kill, suspended=n % 2)


def last_close():
    """The last who has a serial line open was killed, and does not wait for it.

    What he has written goes to the driver at the commit, in the moment in which
    he closes it: another close makes him wait until then. He is in no hurry, so
    that ours is first now and then.
    """
    name = "last close"
    if not wanted(name):
        return
    mkfs(disk.device)
    check(mount(disk.device), f"{name}: mounted")
    spinners = [Actor(), Actor()]
    for spinner in spinners:
        spinner.do("os.nice(8)\nwhile True: pass", sleeps=0)
    early, heard = [], []
    for n in range(6):
        mark = bytes([65 + n]) * 5

        def count():
            with open(SERIAL, "rb") as file:
                return file.read().count(mark) * len(mark)
        disk.suspend()
        writer = Actor(mark=mark * 700, path=f"{MNT}/{n}", ip=IN4,
                       tty=os.environ["XSYNC_SERIAL2"])
        writer.do("""
import signal
t = os.open(tty, os.O_WRONLY | os.O_NOCTTY)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
             socket.inet_aton('239.1.2.3') + socket.inet_aton(ip))
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
os.write(t, mark)
os.kill(os.getpid(), signal.SIGKILL)
""", sleeps=1)
        early.append(count())
        disk.resume()
        until(lambda: count() == 3500, 10)
        heard.append(count())
        writer.end()
    for spinner in spinners:
        os.kill(spinner.runner, signal.SIGKILL)
        spinner.end()
    check(not any(early), f"{name}: held until the commit", early)
    check(heard == [3500] * 6, f"{name}: nothing is lost", heard)
    check(umount(), f"{name}: umount")


JOIN = f"""
with open('{CGROUP}cgroup.procs', 'w') as file:
    file.write(str(os.getpid()))
"""


def oom_of_group(_):
    hog = Actor()
    hog.do(JOIN + "x = bytearray(200 << 20)", sleeps=1)
    hog.end()


def oom_of_all(_):
    write_file("/proc/sysrq-trigger", "f")


def ooms():
    if not wanted("oom"):
        return
    run("mount", "-t", "cgroup2", "none", CGROUPS)
    write_file(f"{CGROUPS}/cgroup.subtree_control", "+memory")
    os.mkdir(CGROUP)
    write_file(CGROUP + "memory.max", "30M")
    write_file(CGROUP + "memory.oom.group", "1")
    killed("oom of its group", oom_of_group, before=JOIN)
    killed("oom of the machine", oom_of_all, before="""
with open('/proc/self/oom_score_adj', 'w') as file:
    file.write('1000')
""")
    os.rmdir(CGROUP)
    run("umount", CGROUPS)


def resized():
    name = "resize2fs and e4defrag"
    if not wanted(name):
        return
    writer = begin(name, "-O", "resize_inode", size="24M", pause=0)
    check(quiet("timeout", "60", "resize2fs", disk.device, "64M") == 0,
          f"{name}: resized")
    status = subprocess.run(["timeout", "60", "e4defrag", MNT],
                            capture_output=True, text=True)
    check(status.returncode in (0, 1), f"{name}: defragmented", status)
    print(f"# {name}: e4defrag's exit status {status.returncode}")
    end(name, [writer])


setup()
disk = Mapped(scratch(), 64 << 11)
stands_still()
no_room()
quota()
quota_message(plain=True)
quota_message(plain=False)
frozen()
unmounted("-f")
unmounted("-l")
kills()
last_close()
ooms()
resized()
disk.remove()
finish()
