"""A database in the workspace, in WAL mode, with a second connection in a second process."""

import json
import sqlite3
import subprocess
import sys

database = sqlite3.connect("shop.db", timeout=10)
mode = database.execute("pragma journal_mode=wal").fetchone()[0]
database.execute("create table item (id integer primary key, name text, price real)")
with database:
    database.executemany("insert into item (name, price) values (?, ?)", ((f"n{i}", i / 2) for i in range(5000)))
try:
    with database:
        database.execute("insert into item (name) values ('gone')")
        raise KeyError("rolled back")
except KeyError:
    pass

writer = """
import sqlite3
other = sqlite3.connect("shop.db", timeout=10)
with other:
    other.execute("update item set price = price + 1 where id <= 10")
print(other.execute("select count(*) from item").fetchone()[0])
"""
# The reader's snapshot is from before the other process writes.
database.execute("begin")
before = database.execute("select sum(price) from item").fetchone()[0]
counted = subprocess.run([sys.executable, "-c", writer], capture_output=True, text=True, check=True).stdout
during = database.execute("select sum(price) from item").fetchone()[0]
database.rollback()
after = database.execute("select sum(price) from item").fetchone()[0]
database.execute("create virtual table words using fts5(text)")
with database:
    database.execute("insert into words values ('a quick brown fox')")
found = database.execute("select count(*) from words where words match 'quick AND fox'").fetchone()[0]
memory = sqlite3.connect(":memory:")
database.backup(memory)

print(json.dumps({
    "mode": mode,
    "counted": int(counted),
    "sums": [before, during, after],
    "found": found,
    "copied": memory.execute("select count(*) from item").fetchone()[0],
    "sound": database.execute("pragma integrity_check").fetchone()[0],
}))
database.close()
