"""Executors on a Redis store, alone and as a cluster, in real processes."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import chores
import pytest
from harness import WAIT, Fifo, Host, lines
from redis_servers import new_namespace

from ostinato import JobCancelled, JobFailed, TaskExecutor
from ostinato.copying import Copied, copy
from ostinato.plugins import open_store

HOST = """
import sys
import chores
from ostinato import TaskExecutor

executor = TaskExecutor(sys.argv[1], slots=1, log_store=sys.argv[2], spool=sys.argv[3], lease=5)
executor.start()
print("started", flush=True)
executor.wait(100)
executor.stop(1)
"""


@pytest.fixture(params=["valkey", "valkey_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param)}?namespace={new_namespace()}"


def test_a_job_runs_end_to_end(make_executor: Any, url: str) -> None:
    with make_executor(url) as executor:
        handle = executor.post(chores.add.job(2, b=3))
        assert handle.result(WAIT) == 5
        with pytest.raises(JobFailed, match="boom"):
            executor.post(chores.fail.job()).result(WAIT)
        handles = executor.post([chores.add.job(n) for n in range(20)])
        assert [one.result(WAIT) for one in handles] == list(range(20))
        assert handle.status().attempts[0].outcome == "success"


def test_a_retry_waits_and_comes(make_executor: Any, url: str, ledger: Path) -> None:
    with make_executor(url) as executor:
        assert executor.post(chores.verdict.job("retry", str(ledger), 0.05), max_attempts=2).result(WAIT) == "done"
    assert lines(ledger) == ["1", "2"]


def test_a_post_from_elsewhere_is_heard(make_executor: Any, url: str) -> None:
    """By push: the next look without it would come too late."""
    poster = make_executor(url)
    with make_executor(url, poll=3600) as executor:
        assert executor.wait(WAIT)
        assert poster.post(chores.add.job(1)).result(WAIT) == 1


def test_a_running_job_is_cancelled_from_elsewhere(make_executor: Any, url: str, fifo: Any) -> None:
    """By push too: the next sign of life is far away."""
    told: Fifo = fifo()
    other = make_executor(url)
    with make_executor(url, lease=3600) as executor:
        handle = executor.post(chores.hang.job(str(told)))
        told.line()
        other.job(handle.id).cancel()
        with pytest.raises(JobCancelled):
            handle.result(WAIT)


def test_jobs_of_a_killed_executor_are_rescued(
    make_executor: Any, host: Any, tmp_path: Path, url: str, fifo: Any
) -> None:
    told: Fifo = fifo()
    poster: TaskExecutor = make_executor(url)
    handle = poster.post(chores.hang.job(str(told)), max_attempts=1)
    running: Host = host(HOST, url, tmp_path / "logs", tmp_path / "spool")
    first = int(told.line())
    os.kill(running.pid, signal.SIGKILL)
    with make_executor(url):
        assert int(told.line()) != first
        assert handle.status().attempts[0].outcome == "lost"
        handle.cancel()
        with pytest.raises(JobCancelled):
            handle.result(WAIT)


def test_jobs_move_from_a_file_to_redis_and_back(make_executor: Any, url: str, tmp_path: Path) -> None:
    """Each copy is compared with its source as it is made."""
    old, new = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
    with make_executor(old) as executor:
        executor.post(chores.add.job(1), tags=["t"]).result(WAIT)
        executor.post(chores.fail.job(), max_attempts=2, backoff=0).wait(WAIT)
        executor.post([chores.add.job(n) for n in range(600)], delay=3600)
        executor.stop()
    stores = [open_store(one) for one in (old, url, new)]
    for store in stores:
        store.open()
    for source, target in pairwise(stores):
        assert copy(source, target, lambda copied: None) == Copied(602, 0, 3)
    assert stores[2].count() == stores[0].count()
    for store in stores:
        store.close()
