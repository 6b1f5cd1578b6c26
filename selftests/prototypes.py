#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: stock timeout=120
"""Every hook has the prototype of the function that it wraps; and what is copied
from the kernel's private headers is still so.

Nothing else would notice if it had not: hooks are placed by address, and on another
kernel a function may have other arguments. The kernel's types come from its BTF,
ours from the debugging information of our modules (pahole).
"""

import json
import os
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BTF = "/sys/kernel/btf"
ENTRY = "hook_entry_"
# Whose functions we wrap, apart from vmlinux.
MODULES = ["ext4", "jbd2", "unix", "ipv6", "vhost", "fuse", "nfs"]
# Which of ours are the beginning of a structure of the kernel's.
COPIES = {"xsync": ["ext4_io_submit"]}


class Types:
    """The types of one BTF file, printed so that two files can be compared."""

    def __init__(self, path, base=None):
        """`base`: those of the kernel, on which those of its modules build."""
        command = ["bpftool", "-j", "btf", "dump", "file", path]
        if base:
            command += ["--base-btf", base.path]
        dump = subprocess.run(command, check=True, capture_output=True)
        types = json.loads(dump.stdout)["types"]
        self.path = path
        self.by_id = dict(base.by_id) if base else {}
        self.by_id.update((t["id"], t) for t in types)
        self.functions = {t["name"]: t["type_id"] for t in types
                          if t["kind"] == "FUNC"}

    def show(self, number):
        """Sizes of numbers, names of structures; typedefs and const are gone."""
        t = self.by_id.get(number)
        kind = t["kind"] if t else "VOID"
        if kind in ("CONST", "VOLATILE", "RESTRICT", "TYPEDEF", "TYPE_TAG"):
            return self.show(t["type_id"])
        if kind in ("INT", "ENUM", "ENUM64"):
            return f"int{t['size']}"
        if kind == "PTR":
            return self.show(t["type_id"]) + "*"
        if kind == "ARRAY":
            return self.show(t["type_id"]) + "[]"
        if kind in ("STRUCT", "UNION", "FWD"):
            return t["name"]
        return kind.lower()

    def members(self, name):
        """Of a structure: the name, place and type of each; None: no such thing."""
        for t in self.by_id.values():
            if t["kind"] == "STRUCT" and t["name"] == name:
                return [(m["name"], m["bits_offset"], self.show(m["type_id"]))
                        for m in t["members"]]
        return None

    def prototype(self, name):
        t = self.by_id[self.functions[name]]
        return [self.show(t["ret_type_id"])] + [
            self.show(p["type_id"]) for p in t["params"]]


def same(ours, theirs):
    """A pointer to what we do not look into may be one to void with us, and what
    we return from where nothing is returned does not matter."""
    if theirs[0] == "void":
        ours[0] = "void"
    return len(ours) == len(theirs) and all(
        a == b or a.startswith("void*") and b.endswith("*")
        for a, b in zip(ours, theirs))


def main():
    # Some are built in on some kernels.
    subprocess.run(["modprobe", "-qa", *MODULES])
    vmlinux = Types(os.path.join(BTF, "vmlinux"))
    kernel = [vmlinux] + [Types(os.path.join(BTF, module), vmlinux)
                          for module in os.listdir(BTF) if module in MODULES]
    count = failed = 0
    for module in ("speculator", "xsync"):
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(["pahole", f"--btf_encode_detached={file.name}",
                            f"{REPO}/{module}/{module}.ko"], check=True)
            ours = Types(file.name)
        for name in COPIES.get(module, ()):
            want = ours.members(name)
            found = [types.members(name) for types in kernel]
            count += 1
            verdict = "ok"
            if not any(want and theirs and theirs[:len(want)] == want
                       for theirs in found):
                failed += 1
                verdict = "not ok"
                print(f"# ours {want}, the kernel's {found}")
            print(f"{verdict} {count} {module}: struct {name}", flush=True)
        for entry in sorted(ours.functions):
            if not entry.startswith(ENTRY):
                continue
            name = entry[len(ENTRY):]
            want = ours.prototype(entry)
            found = [types.prototype(name) for types in kernel
                     if name in types.functions]
            count += 1
            verdict, why = "ok", ""
            if not found:
                # BTF leaves out static functions of which there are several.
                why = " # SKIP not in the kernel's BTF"
            elif not any(same(want, types) for types in found):
                failed += 1
                verdict = "not ok"
                print(f"# ours {want}, the kernel's {found}")
            print(f"{verdict} {count} {module}: {name}{why}", flush=True)
    print(f"1..{count}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
