"""Executors on a server's store: jobs posted here run there, and idle ones leave the server alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import mariadb_servers
import postgres_servers
import pytest

from ostinato import JobFailed, TaskExecutor
from ostinato.cli.main import run
from ostinato.model import Job
from ostinato_sql.database import Database


@pytest.fixture(params=["postgres18", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    empty = postgres_servers.emptied if request.param == "postgres18" else mariadb_servers.emptied
    return empty(request.getfixturevalue(request.param))


@pytest.fixture
def running(url: str) -> Iterator[TaskExecutor]:
    executor = TaskExecutor(url, slots=4)
    with executor:
        yield executor
    executor.close()


def test_posted_here_run_there(url: str, running: TaskExecutor) -> None:
    assert running.wait(20)
    poster = TaskExecutor(url)
    good, bad = poster.post([Job.command(["true"]), Job.command(["false"])])
    good.wait(20)
    assert good.status().state == "succeeded"
    with pytest.raises(JobFailed):
        bad.result(20)
    poster.close()


def test_doctor(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--url", url])
    said = capsys.readouterr().out
    assert "a posted job survives a crash of the process" in said
    assert "the store's differs by" in said


def test_idle_executor_leaves_the_server_alone(
    url: str, running: TaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than one call a second, whatever it wakes for; the looks of a store without push come on top."""
    assert running.wait(20)
    calls: list[str] = []
    for name in ("read", "write"):
        act = getattr(Database, name)
        spy = lambda *given, _act=act, _name=name, **more: (calls.append(_name), _act(*given, **more))[1]  # noqa: E731
        monkeypatch.setattr(Database, name, spy)
    never = threading.Event()
    never.wait(6)
    assert len(calls) < 6
    assert running.post(Job.command(["true"])).wait(20)
    assert calls
