#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: own debug timeout=300 expect=".*"
"""The negative control of all tests on a debug kernel: what is wrong is reported.

A module does each kind of wrong thing on purpose (provoke). The lock validator
turns itself off at the first report of any kind, so its own comes first.
"""

import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tools", "vm"))
import reports                                              # noqa: E402

KMEMLEAK = "/sys/kernel/debug/kmemleak"
KINDS = {
    "-kasan": {"locks": "possible circular locking dependency",
               "slab": "KASAN: use-after-free",
               "vmalloc": "KASAN: vmalloc-out-of-bounds",
               "leak": "kmemleak: .* new suspected",
               "refcount": "refcount_t:",
               "timer": "ODEBUG: free active",
               "sleep": "sleeping function called from invalid context"},
    "-kcsan": {"race": "KCSAN: data-race",
               "refcount": "refcount_t:",
               "sleep": "sleeping function called from invalid context"},
    "-faults": {"leak": "kmemleak: .* new suspected",
                "refcount": "refcount_t:",
                "sleep": "sleeping function called from invalid context"},
}


def provoke(what):
    """The lines of the kernel's log that `what` has led to."""
    subprocess.run(["dmesg", "--clear"], check=True)
    subprocess.run(["insmod", f"{HERE}/provoke/provoke.ko", f"what={what}"],
                   stderr=subprocess.DEVNULL)
    if what == "leak":
        for _ in range(2):
            time.sleep(6)
            with open(KMEMLEAK, "w") as file:
                file.write("scan")
    return subprocess.run(["dmesg"], check=True, capture_output=True,
                          text=True).stdout.splitlines()


failed = 0
[kinds] = [of for name, of in KINDS.items() if os.uname().release.endswith(name)]
print(f"1..{len(kinds) + 1}")
found = reports.find(provoke("nothing"))
print("not ok" if found else "ok", "1 nothing: no report")
failed += bool(found)
for i, (what, message) in enumerate(kinds.items(), start=2):
    lines = provoke(what)
    good = any(reports.re.search(message, lines[j])
               for j in reports.find(lines))
    print("ok" if good else "not ok", i, what)
    if not good:
        print(*("# " + line for line in lines), sep="\n")
    failed += not good
if os.path.exists(KMEMLEAK):
    with open(KMEMLEAK, "w") as file:
        file.write("clear")
sys.exit(failed > 0)
