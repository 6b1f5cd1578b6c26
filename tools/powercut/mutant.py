# SPDX-License-Identifier: GPL-2.0
"""Modules that are wrong on purpose: a power cut has to show it."""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(REPO, "build", "powercut")

# By name: the file, what is there exactly once, and what to put in its place.
MUTANTS = {
    "no pipe": ("speculator/flow/pipe.c", "\t&hook_pipe_read,\n", ""),
    "no unix socket": ("speculator/flow/unix.c",
                       "\t&hook_unix_stream_recvmsg,\n", ""),
    "no loopback": ("speculator/flow/inet.c", "\t&hook_inet_recvmsg,\n", ""),
    "no shared memory": ("speculator/flow/memory.c",
                         "\t&hook_mmap_region,\n", ""),
    # Before the commit record is written.
    "early release": ("xsync/journal.c", '"jbd2_end_commit", probe_end_commit',
                      '"jbd2_commit_logging", probe_end_commit'),
}

# The workload that has to notice.
SEEN_BY = {
    "no pipe": "pipe",
    "no unix socket": "unix",
    "no loopback": "tcp",
    "no shared memory": "shm",
    "early release": "append",
}


def directory(name):
    return os.path.join(BUILD, "mutant-" + name.replace(" ", "-"))


def make(name):
    """Build the modules with one thing wrong."""
    file, old, new = MUTANTS[name]
    target = directory(name)
    shutil.rmtree(target, ignore_errors=True)
    for part in ("speculator", "xsync", "compat", "include"):
        shutil.copytree(os.path.join(REPO, part), os.path.join(target, part))
    with open(os.path.join(target, "Kbuild"), "w") as kbuild:
        kbuild.write("obj-m += speculator/ xsync/\n")
    path = os.path.join(target, file)
    with open(path) as source:
        text = source.read()
    if text.count(old) != 1:
        raise RuntimeError(f"{file}: not once: {old!r}")
    with open(path, "w") as source:
        source.write(text.replace(old, new))
    kver = subprocess.run([os.path.join(REPO, "tools", "kver")], check=True,
                          capture_output=True, text=True).stdout.strip()
    # Without warnings: what the hook needs is still there.
    subprocess.run(["make", "-s", "-C", f"/lib/modules/{kver}/build",
                    f"M={target}", "KCFLAGS=-w", "modules"],
                   check=True, stdout=subprocess.DEVNULL)
