# SPDX-License-Identifier: GPL-2.0
"""What the files of each workload tell after a power cut.

A check gets the recovered directory and the number of the last step of which
the observer was told (0: of none). It returns what is wrong, as pairs:

  lost    the observer was told of a step that is not, or not wholly, there
  order   something is there, something made before it is not

A step in progress, of which nobody was told, may be there in part.
"""

import glob
import os
import re
import sqlite3
import subprocess

EVENT_SIZE = 128                # event.h
SLOTS, TARGETS, KEPT = 64, 3, 8     # writer.c
PAGE = 4096
POSTGRES_BLOCK = 8192
POSTGRES_BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), default="")


def event(number, text):
    return b"%012d %-114s\n" % (number, text.encode())


def number_of(data, text):
    """The number of a whole event, else None."""
    digits = data[:12]
    if digits.isdigit() and data == event(int(digits), text):
        return int(digits)
    return None


def read(*path):
    try:
        with open(os.path.join(*path), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def events(data, text):
    """The numbers of the events in `data`; None for what isn't one."""
    return [number_of(data[at:at + EVENT_SIZE], text)
            for at in range(0, len(data or b""), EVENT_SIZE)]


def compare(name, present, told):
    """`present`: the steps that are there, in any order."""
    present = set(present)
    last = max(present, default=0)
    missing = next((n for n in range(1, last + 2) if n not in present))
    if missing <= told:
        yield "lost", f"{name} {missing}, told of {told}"
    if missing < last:
        yield "order", f"{name} {missing} is missing, {last} is there"


def check_append(name, path, told):
    present = []
    for turn in range(2):
        present += events(read(path, f"{name}{turn}"), name)
    return compare(name, filter(None, present), told)


def check_republisher(name, path, told):
    text = "buy 100 shares of EXAMPLE at 42.00"
    counts = []
    for file in ("queue0", "queue1", "queue2", "journal"):
        found = set(filter(None, events(read(path, file), text)))
        yield from compare(f"{name} {file}", found, told)
        counts.append(len(found))
    if counts != sorted(counts, reverse=True) or counts[0] > counts[-1] + 1:
        yield "order", f"{name}: {counts} events in its files"


def latest(slot, count, step):
    """The last step up to `step` that has written to `slot` of `count`."""
    return max(step - (step - slot) % count, 0)


def compare_slots(name, values, told, may_be_torn):
    """`values`: the step that each slot is of, None where it is of none."""
    last = max((v for v in values if v is not None), default=0)
    for slot, value in enumerate(values):
        want = latest(slot, len(values), told)
        if want and (value is None or value < want):
            yield "lost", f"{name} {want} is {value}, told of {told}"
        want = latest(slot, len(values), last)
        torn = value is None and (
            not want or may_be_torn and slot == (last + 1) % len(values))
        if value != want and not torn:
            yield "order", f"{name} {want} is {value}, {last} is there"


def check_slots(name, path, told):
    data = read(path, name)
    if told or data is not None and len(data) == SLOTS * PAGE:
        data = (data or b"").ljust(SLOTS * PAGE, b"\0")
        values = [number_of(data[at:at + EVENT_SIZE], name)
                  for at in range(0, SLOTS * PAGE, PAGE)]
        # The first slots may not be there yet, when nobody was told.
        if told or any(values):
            yield from compare_slots(name, values, told, True)


def check_rename(name, path, told):
    values = []
    for target in range(TARGETS):
        data = read(path, f"{name}{target}")
        values.append(None if data is None else number_of(data, name))
        if data is not None and values[-1] is None:
            yield "order", f"{name}{target} was renamed, but not written"
    yield from compare_slots(name, values, told, False)


def check_create(name, path, told):
    whole = {}
    for file in os.listdir(path):
        if match := re.fullmatch(rf"{name}(\d+)", file):
            number = int(match[1])
            whole[number] = number_of(read(path, file), name) == number
    last = max(whole, default=0)
    for number in range(max(1, told - KEPT + 1, last - KEPT + 1), told + 1):
        if not whole.get(number):
            yield "lost", f"{name} {number}, told of {told}"
    for number in range(max(1, last - KEPT + 1), last):
        if not whole.get(number):
            yield "order", f"{name} {number} is missing, {last} is there"
    for number in whole:
        if number <= told - KEPT:
            yield "lost", f"{name}: unlink of {number}, told of {told}"
        if number < last - KEPT:
            yield "order", f"{name}: {number} is there, {last} as well"
    if last > KEPT and not whole[last] and last - KEPT not in whole:
        yield "order", f"{name}: {last - KEPT} is gone, {last} not written"


def compare_rows(name, count, last, told):
    if last < told:
        yield "lost", f"{name} {last + 1}, told of {told}"
    if count != last:
        yield "order", f"{name}: {count} rows, the last is {last}"


def check_sqlite(name, path, told):
    try:
        db = sqlite3.connect(os.path.join(path, f"{name}.db"))
        state = db.execute("pragma integrity_check").fetchone()[0]
        if state != "ok":
            yield "order", f"{name}: {state}"
        try:
            count, last = db.execute(
                "select count(*), coalesce(max(n), 0) from t").fetchone()
        except sqlite3.OperationalError:    # no such table
            count = last = 0
        yield from compare_rows(name, count, last, told)
        db.close()
    except sqlite3.DatabaseError as error:
        yield "order", f"{name}: {error}"


def postgres(data, sql):
    """Run `sql` in single-user mode, recovery first; returns the output."""
    done = subprocess.run(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
         os.path.join(POSTGRES_BIN, "postgres"), "--single", "-F", "-j",
         "-D", data, "-c", "log_min_messages=warning", "postgres"],
        input=sql, capture_output=True, text=True, cwd="/")
    return done.stdout + done.stderr


def cut_partial_blocks(data):
    """Take the half of a block away that a table may end with.

    PostgreSQL makes a table longer by one write() of two pages, which is not in
    its log; a commit may fall between the pages. The server looks at whole
    blocks only (mdnblocks), pg_checksums gives up.
    """
    for file in glob.glob(os.path.join(data, "base", "*", "[0-9]*")):
        size = os.path.getsize(file)
        if size % POSTGRES_BLOCK == PAGE:
            os.truncate(file, size - PAGE)


def check_postgres(name, path, told):
    """The tables of both clients are checked with the first one's."""
    data = os.path.join(path, "pgdata")
    table = f"t{name[-1]}"
    output = postgres(data, f"""
select 'rows ' || count(*) || ' ' || coalesce(max(n), 0) || ' ' ||
	count(*) filter (where text = 'row ' || n) from {table};

select bt_index_check('{table}_pkey', true);

""")
    rows = re.search(r'"rows (\d+) (\d+) (\d+)"', output)
    if not rows or re.search("ERROR|FATAL|PANIC", output):
        yield "order", f"{name}: {output[-500:]}"
        return
    count, last, right = map(int, rows.groups())
    yield from compare_rows(name, count, last, told)
    if right != count:
        yield "order", f"{name}: {count - right} wrong rows"
    cut_partial_blocks(data)
    sums = subprocess.run(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
         os.path.join(POSTGRES_BIN, "pg_checksums"), "--check", "-D", data],
        capture_output=True, text=True, cwd="/")
    if sums.returncode:
        yield "order", f"{name}: {sums.stdout[-300:]}{sums.stderr[-300:]}"


CHECKS = {
    "append": check_append, "overwrite": check_slots, "rename": check_rename,
    "create": check_create, "mmap": check_slots, "msync": check_slots,
    "pipe": check_append, "unix": check_append, "tcp": check_append,
    "shm": check_append, "republisher": check_republisher,
    "sqlite": check_sqlite, "sqlite-wal": check_sqlite,
    "postgres0": check_postgres, "postgres1": check_postgres,
}


def check(name, path, told):
    return list(CHECKS[name](name, path, told))
