"""The same work in several processes at once, on one store of SQL."""

from __future__ import annotations

import subprocess
import sys

from ostinato.model import Unique
from ostinato.storage import Ask, Store
from ostinato.testing.samples import job
from ostinato_sql.plugin import ostinato_store
from ostinato_sql.store import SqlStore

WORKERS = """
import os, sys
from ostinato.model import Unique
from ostinato.storage import JobQuery
from ostinato.testing.samples import claim, end, job
from ostinato_sql.plugin import ostinato_store
url, count = sys.argv[1], int(sys.argv[2])
{work}
said, go = [], os.pipe()
for n in range(count):
    said.append(os.pipe())
    if os.fork() == 0:
        store = ostinato_store(url)
        store.open()
        os.write(said[n][1], b"r")
        os.read(go[0], 1)
        for words in work(store, f"e{{n}}"):
            os.write(1, (" ".join(map(str, words)) + "\\n").encode())
        os._exit(0)
for ends in said:
    os.read(ends[0], 1)
os.write(go[1], b"g" * count)
sys.exit(max(os.wait()[1] for _ in range(count)))
"""


def in_processes(work: str, count: int, url: str) -> list[list[str]]:
    """The lines of words that ``work(store, name)`` yields in processes that are let go together."""
    script = WORKERS.format(work=work)
    ran = subprocess.run(
        [sys.executable, "-c", script, url, str(count)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return [line.split() for line in ran.stdout.splitlines()]


DRAIN = """
def work(store, name):
    while rows := claim(store, name, count=3):
        yield from ((row.job.id, row.token) for row in rows)
        running = store.find(JobQuery(states=("running",), limit=1000)).rows
        yield "most", sum(dict(row.job.holds).get("gpu", 0) for row in running)
        assert all(store.finish([end(row) for row in rows]))
"""


TWINS = """
def work(store, name):
    for n in range(20):
        (posted,) = store.post([job(f"{name}-{n}", unique=Unique(f"k{n}"))])
        yield n, posted.id, posted.created
"""


def opened(url: str) -> SqlStore:
    store = ostinato_store(url)
    assert isinstance(store, SqlStore)
    store.open()
    return store


def used_before(store: Store) -> None:
    """Every other key of the twins was held before, by a job that has ended."""
    former = [job(f"former-{n}", unique=Unique(f"k{n}")) for n in range(0, 20, 2)]
    store.post(former)
    store.change([one.id for one in former], Ask(kind="cancel"))
