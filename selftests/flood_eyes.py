#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=120
"""What an unprivileged user can see of us or set: nothing.

Files of debugfs and tracefs, parameters, and what they print: no kernel address
is in it, also for root. Parameters take what makes sense and say why not. The
negative control is what an address looks like in /proc/kallsyms.
"""

import re
import stat
import sys
import time

sys.dont_write_bytecode = True
from netlib import *                                        # noqa: E402

NOBODY = 65534
DEBUG = "/sys/kernel/debug"
TRACE = "/sys/kernel/tracing"
PARAMETERS = "/sys/module/speculator/parameters"
ADDRESS = re.compile(r"\b(0x)?ffff[0-9a-f]{12}\b")


def as_nobody(path, flags):
    """What opening @path says to an unprivileged process."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            os.close(os.open(path, flags))
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def files_below(*folders):
    return [os.path.join(at, name) for folder in folders
            for at, _, names in os.walk(folder) for name in names]


def opened(paths, flags):
    """Those that an unprivileged process is not kept from."""
    return [path for path in paths if as_nobody(path, flags) != 13]


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path, errors="replace") as file:
        return file.read()


run("modprobe", "-a", "loop", "ext4")
setup()
lib("load_modules xsync")
with open("/tmp/eyes.img", "wb") as file:
    file.truncate(64 << 20)
run("mkfs.ext4", "-q", "-F", "-J", "size=16", "/tmp/eyes.img")
os.makedirs("/mnt/eyes", exist_ok=True)
run("mount", "-o", "loop,xsync", "/tmp/eyes.img", "/mnt/eyes")
os.makedirs(TRACE, exist_ok=True)
traced = not os.path.exists(f"{TRACE}/events")
if traced:
    run("mount", "-t", "tracefs", "none", TRACE)

# --- files -----------------------------------------------------------------------
# As if somebody had opened the folders to all: our own modes must do.
run("mount", "-o", "remount,mode=755", DEBUG)
run("mount", "-o", "remount,mode=755", TRACE)
ours = files_below(f"{DEBUG}/speculator", f"{DEBUG}/xsync", SOURCE)
check(len(ours) >= 15 and any("/xsync/" in path for path in ours),
      "debugfs has files of ours", ours)
loose = [path for path in ours if stat.S_IMODE(os.stat(path).st_mode) & 0o177]
check(not loose, "they are for root alone, by their modes", loose)
check(not opened(ours, os.O_RDONLY) and not opened(ours, os.O_WRONLY),
      "and nobody else can open one", opened(ours, os.O_RDONLY))
events = [path for path in files_below(f"{TRACE}/events/speculator",
                                       f"{TRACE}/events/xsync")]
check(len(events) > 40 and not opened(events, os.O_RDONLY),
      "tracepoints neither", opened(events, os.O_RDONLY)[:3])
check(as_nobody("/proc/self/status", os.O_RDONLY) == 0, "though it can open others")

# --- what they say -----------------------------------------------------------------
check(ADDRESS.search(read("/proc/kallsyms")), "an address would be recognised")
for group in ("speculator", "xsync"):
    write(f"{TRACE}/events/{group}/enable", "1")
child = Child(addr=udp_outside().getsockname())
# The last line waits for the commit: two sources have no order.
child.do("""
r, w = os.pipe()
if os.fork() == 0:
    os.read(r, 1)
    os._exit(0)
taint()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'x', addr)
os.write(w, b'x')
os.wait()
open('/mnt/eyes/file', 'w').write('x')
""", sleeps=1)
text = {path: read(path) for path in ours if os.access(path, os.R_OK)
        and stat.S_IMODE(os.stat(path).st_mode) & 0o400
        and os.path.basename(path) not in ("taint", "wait")}
commit()
time.sleep(2)
for group in ("speculator", "xsync"):
    write(f"{TRACE}/events/{group}/enable", "0")
trace = read(f"{TRACE}/trace")
seen_events = set(re.findall(r": (taint|modify|put|take|hold|release|wait|"
                             r"commit_request|committed): ", trace))
check(seen_events >= {"taint", "modify", "put", "take", "hold", "release",
                      "committed"}, "the trace has events of ours", seen_events)
check(not ADDRESS.search(trace), "and no address in it",
      ADDRESS.search(trace) and ADDRESS.search(trace)[0])
bad = [path for path, says in text.items() if ADDRESS.search(says)]
check(len(text) >= 10 and not bad, "no file of debugfs has one", bad)
child.answer()
child.end()

# --- parameters ----------------------------------------------------------------------
log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)


def told():
    """What the log says, from where it was read last."""
    text = ""
    while True:
        try:
            text += os.read(log, 8192).decode(errors="replace")
        except BlockingIOError:
            return text
        except BrokenPipeError:
            pass


total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
GARBAGE = ["-1", "", "x", "1e6", "65536x", "99999999999999999999999", "0x",
           "9223372036854775808", str(total)]
CASES = {
    "held_limit": (GARBAGE + ["0", "4095"], ["4096", "0x100000\n", "67108864"]),
    "tty_limit": (GARBAGE + ["0", "4095"], ["4096", "0x100000\n", "262144"]),
    "max_objects": (GARBAGE, ["0", "0x10000\n", "262144"]),
}
check(set(os.listdir(PARAMETERS)) == set(CASES), "all parameters are known",
      os.listdir(PARAMETERS))
for name, (wrong, right) in CASES.items():
    path = f"{PARAMETERS}/{name}"
    before = read(path)
    taken = []
    told()
    for value in wrong:
        try:
            write(path, value)
            if value:
                taken.append(value)
        except OSError as error:
            if error.errno != 22:
                taken.append((value, error.errno))
    check(not taken and read(path) == before,
          f"{name}: garbage is refused, and changes nothing", (taken, read(path)))
    messages = told().count(f"speculator: {name}=")
    check(messages >= len(wrong) - 1, "each time with a message", messages)
    kept = []
    for value in right:
        write(path, value)
        kept.append(int(read(path)) == int(value, 0))
    check(all(kept), "what makes sense is taken", kept)
    check(as_nobody(path, os.O_WRONLY) == 13, "from root alone")

run("mount", "-o", "remount,mode=700", DEBUG)
run("mount", "-o", "remount,mode=700", TRACE)
if traced:
    run("umount", TRACE)
os.close(log)
run("umount", "/mnt/eyes")
os.unlink("/tmp/eyes.img")
lib("unload_modules")
for setting in ("held_limit=1", "tty_limit=-5", "max_objects=many"):
    failed = subprocess.run(["insmod", f"{HERE}/../speculator/speculator.ko",
                             setting], capture_output=True).returncode
    check(failed, f"a module is not loaded with {setting}")
done(failed=True)               # there is nothing to commit any more
