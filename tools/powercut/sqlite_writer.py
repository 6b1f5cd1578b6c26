# SPDX-License-Identifier: GPL-2.0
"""sqlite_writer.py fsync|nosync NAME: one transaction after the other.

Works on NAME.db in the current directory, and prints the number of each
transaction that is done. With a name that ends in "wal", a write-ahead log.
"""

import sqlite3
import sys

sync, name = sys.argv[1:]
db = sqlite3.connect(f"{name}.db", isolation_level=None)
if name.endswith("wal"):
    db.execute("pragma journal_mode=wal")
# Not "full": that does not sync the directory when the commit removes the
# journal, and then loses transactions on stock ext4 with barriers.
db.execute(f"pragma synchronous={'extra' if sync == 'fsync' else 'off'}")
db.execute("create table t (n integer primary key, text)")
number = 0
while True:
    number += 1
    db.execute("begin")
    db.execute("insert into t values (?, ?)", (number, f"row {number}" * 20))
    db.execute("update t set text = text || '.' where n = ?", (number // 2,))
    db.execute("commit")
    print(number, flush=True)
