"""One SQLite file, many processes: no job twice, and everyone is woken."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DRAIN, LISTEN, all_together, heard, process

from ostinato.testing.samples import job, jobs, look
from ostinato_sql import wake
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

START = """
import sys
from ostinato_sql import wake
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

wake._LOOK = float(sys.argv[2])
store, words = SqlStore(SqliteDialect(sys.argv[1])), sys.argv[3:]
store.open()
"""
POST_ONE = """
from ostinato.testing.samples import jobs
store.post(jobs(1, words[0]))
store.close()
"""
NEVER = "3600"  # seconds between looks at the file: only a socket can be heard
SOON = "0.05"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "jobs.db")


@pytest.fixture
def store(path: str) -> Iterator[SqlStore]:
    store = SqlStore(SqliteDialect(path))
    store.open()
    yield store
    store.close()


def sockets(path: str) -> list[str]:
    return os.listdir(wake.wake_folder(path))


def test_processes_never_share_a_job(store: SqlStore, path: str) -> None:
    store.post(jobs(200))
    said = " ".join(all_together(START + DRAIN, *[(path, NEVER, name) for name in "pqr"])).split()
    wanted = [made.id for prefix in "jpqr" for made in jobs(200 if prefix == "j" else 50, prefix)]
    assert sorted(said) == sorted(wanted)


def test_processes_may_open_a_new_file_together(path: str) -> None:
    command = [sys.executable, "-c", START + POST_ONE, path, NEVER]
    running = [subprocess.Popen([*command, f"p{n}-"], stderr=subprocess.PIPE, text=True) for n in range(3)]
    assert [(one.communicate()[1], one.returncode) for one in running] == [("", 0)] * 3
    store = SqlStore(SqliteDialect(path))
    store.open()
    assert sum(count.jobs for count in store.count()) == 3
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs unix sockets")
def test_listener_of_another_process_is_woken(store: SqlStore, path: str) -> None:
    with process(START + LISTEN, path, NEVER, "ready") as running:
        store.post([job("a")])
        assert heard(running) == "ready"


def test_foreign_writer_is_noticed(store: SqlStore, path: str) -> None:
    store.post([job("a")])
    with process(START + LISTEN, path, SOON, "ended") as running:
        with sqlite3.connect(path) as foreign:
            foreign.execute("UPDATE ostinato_jobs SET state = 'cancelled', ended_at = 1")
        foreign.close()
        assert heard(running) == "ended"
    assert look(store, "a").state == "cancelled"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs unix sockets")
def test_socket_of_a_dead_process_is_removed(store: SqlStore, path: str) -> None:
    with process(START + LISTEN, path, NEVER, "ready") as running:
        assert len(sockets(path)) == 1
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert len(sockets(path)) == 1
        store.post([job("a")])
        assert sockets(path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs unix sockets")
def test_closed_listener_leaves_no_socket(store: SqlStore, path: str) -> None:
    first, second = (store.listen(frozenset(["ready"])) for _ in range(2))
    assert len(sockets(path)) == 2
    assert os.stat(wake.wake_folder(path)).st_mode & 0o777 == 0o700
    first.close()
    assert len(sockets(path)) == 1
    store.close()
    assert sockets(path) == []
    assert second.wait(100) == frozenset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs unix sockets")
def test_path_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    path = str(folder / "jobs.db")
    store = SqlStore(SqliteDialect(path))
    store.open()
    try:
        with process(START + LISTEN, path, NEVER, "ready") as running:
            store.post([job("a")])
            assert heard(running) == "ready"
    finally:
        store.close()
        assert not wake.wake_folder(path).startswith(str(folder))
        shutil.rmtree(wake.wake_folder(path))


def test_waiting_costs_next_to_nothing(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred looks at the file, which in earnest take a hundred seconds."""
    monkeypatch.setattr(wake, "_LOOK", 0.002)
    listener = store.listen(frozenset(["ready"]))
    before = time.process_time()
    assert listener.wait(0.2) == frozenset()
    assert time.process_time() - before < 0.1
    listener.close()
