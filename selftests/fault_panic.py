#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: host timeout=400
"""errors=panic: ext4 finds an error, and the machine is no more.

Law: what the host has heard by then is on the disk. Control: the same on a
plain mount, where the host has heard more.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from tap import REPO                                        # noqa: E402

MNT = "/mnt/panic"
PANICKED = 125          # exit status of vm: the machine died


def tell(kind):
    """A process of the guest: each number goes to a file, then to the host."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.create_connection((os.environ["XSYNC_OBS_HOST"],
                                    int(os.environ["XSYNC_OBS_TCP"])))
    tty = os.open(os.environ["XSYNC_SERIAL2"], os.O_WRONLY | os.O_NOCTTY)
    fd = os.open(f"{MNT}/log", os.O_WRONLY | os.O_CREAT)
    n = 0
    while True:
        n += 1
        os.pwrite(fd, b"%07d\n" % n, 8 * n - 8)
        text = b"%07d\n" % n
        udp.sendto(text, (os.environ["XSYNC_OBS_HOST"],
                          int(os.environ["XSYNC_OBS_UDP"])))
        tcp.sendall(text)
        os.write(tty, text)
        time.sleep(0.01)


def guest(kind):
    lib = f"{REPO}/selftests/lib.sh"
    device = subprocess.run(
        ["bash", "-c", f". {lib}; load_modules && scratch_disk disk0"],
        check=True, capture_output=True, text=True).stdout.strip()
    options = "xsync" if kind == "xsync" else "data=journal"
    os.makedirs(MNT)
    subprocess.run(["mount", "-t", "ext4", "-o",
                    f"{options},errors=panic,commit=60", device, MNT],
                   check=True)
    subprocess.run(["stty", "-F", os.environ["XSYNC_SERIAL2"], "raw"])
    if not os.fork():
        tell(kind)
    time.sleep(6)
    name = os.path.basename(device)
    with open(f"/sys/fs/ext4/{name}/trigger_fs_error", "w") as file:
        file.write("1")
    time.sleep(20)
    print("still there")


def numbers(text):
    return [int(n) for n in re.findall(r"\b(\d{7})\n", text)]


def trial(kind):
    """(vm's exit status, highest number by channel, how many on the disk)"""
    with tempfile.TemporaryDirectory(prefix="xsync-panic-") as work:
        image, seen = f"{work}/disk", f"{work}/seen"
        subprocess.run(["truncate", "-s", "64M", image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=16", image],
                       check=True)
        status = subprocess.run(
            [f"{REPO}/tools/vm/vm", "--disk", image, "--observe", seen,
             "--timeout", "150", "--", os.path.realpath(__file__), kind],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace")
        heard = {"udp": "", "tcp": "", "serial": ""}
        with open(seen) as file:
            for line in map(json.loads, file):
                if line["ch"] in heard:
                    heard[line["ch"]] += line["data"]
        # What a machine that starts up would do: replay the journal.
        repaired = subprocess.run(["e2fsck", "-fy", image],
                                  capture_output=True).returncode
        text = subprocess.run(["debugfs", "-R", "cat log", image],
                              capture_output=True, text=True).stdout
        found = numbers(text)
        kept = 0
        while kept < len(found) and found[kept] == kept + 1:
            kept += 1
        return (status.returncode, "panic forced" in status.stdout, repaired,
                {name: max(numbers(text), default=0)
                 for name, text in heard.items()}, kept)


def main():
    count = failed = 0

    def check(good, text, detail=""):
        nonlocal count, failed
        count += 1
        failed += not good
        print(f"{'' if good else 'not '}ok {count} {text}", flush=True)
        if not good:
            print(f"# {detail}", flush=True)

    for kind in ("plain", "xsync"):
        status, panic, repaired, heard, kept = trial(kind)
        print(f"# {kind}: heard {heard}, on the disk {kept}", flush=True)
        check(status == PANICKED and panic, f"{kind}: the machine panics",
              status)
        check(repaired <= 1, f"{kind}: e2fsck repairs the disk", repaired)
        check(all(n > 3 for n in heard.values()), f"{kind}: the host has heard",
              heard)
        early = {name: n for name, n in heard.items() if n > kept}
        if kind == "plain":
            check(early, "control: a plain mount told what is not there", kept)
        else:
            check(not early, "nothing was told that is not on the disk", early)
    print(f"1..{count}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        guest(sys.argv[1])
    else:
        main()
