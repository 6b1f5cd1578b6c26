# SPDX-License-Identifier: GPL-2.0
"""Which lines of a kernel log say that something is wrong."""

import re

# Not the bare word "stall" or the like: the kernel prints its command line,
# which names the parameters.
REPORT = re.compile("|".join([
    r"WARNING:",
    r"\bBUG\b",
    r"\bOops\b",
    r"general protection",
    r"Kernel panic",
    r"stack segment:",
    r"double fault",
    r"Unable to handle",
    r"INFO: task .* blocked",
    r"soft lockup",
    r"hard LOCKUP",
    r"rcu.*(detected.*stall|kthread starved)",
    r"possible (circular|recursive) locking",
    r"possible irq lock inversion",
    r"(inconsistent|irq-safe) .*lock",
    r"suspicious RCU",
    r"KASAN:|KCSAN:|KFENCE:|UBSAN:",
    r"kmemleak: .* new suspected",
    r"sleeping function called from invalid context",
    r"scheduling while atomic",
    r"bad unlock balance",
    r"INFO: trying to register non-static key",
    r"turning off the locking correctness validator",
    r"refcount_t:",
    r"ODEBUG:",
    r"list_(add|del) (double add|corruption)",
    r"(Objects remaining|still has objects)",
    r"EXT4-fs error",
    r"Aborting journal|Detected aborted journal",
    r"I/O error",
]))

# The kernel has data races of its own, and knows: ours are in a module of ours.
STOCK = re.compile(r"BUG: KCSAN: "
                   r"(?!.*\[(speculator|xsync|testsource|provoke)\])")

STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\] ?(\[[ A-Z]*\d+\] ?)?")


def strip(line):
    """The message of a line of the log, without its time stamp."""
    return STAMP.sub("", line.rstrip())


def find(lines, expected=()):
    """The indices of the lines that report something wrong.

    A line is excused if a regex of `expected` matches its whole message.
    """
    return [i for i, line in enumerate(lines)
            if REPORT.search(line) and not STOCK.search(line)
            and not any(re.fullmatch(e, strip(line)) for e in expected)]


def with_context(lines, indices, before=3, after=30):
    """The lines around `indices`, the reporting ones marked by '>'."""
    marked = set(indices)
    shown = sorted({j for i in indices
                    for j in range(max(0, i - before),
                                   min(len(lines), i + after + 1))})
    out = []
    for previous, j in zip([None] + shown, shown):
        if previous is not None and j > previous + 1:
            out.append("  ...")
        out.append(("> " if j in marked else "  ") + lines[j].rstrip())
    return out
