"""A flow sleeps and waits for a person, while all executors and the server of the store are stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flow_tasks
import pytest
from members import Worker
from s3_servers import wait_until
from stores import Place, on_every_store

from ostinato import TaskExecutor

SLEEP = 0.5


@contextmanager
def worker(url: str) -> Iterator[Worker]:
    """An executor in another process, until it is killed."""
    one = Worker(url)
    try:
        yield one
    finally:
        one.kill()


@pytest.mark.timeout(120)
@on_every_store("sqlite", "postgres", "valkey")
def test_a_flow_goes_on_after_a_stop_of_everything(place: Place, tmp_path: Path) -> None:
    url, ledger = place.named("restarts"), tmp_path / "ledger"

    def client() -> TaskExecutor:
        return TaskExecutor(url, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")

    def restart() -> None:
        if place.stop is not None and place.start is not None:
            place.stop()
            place.start()

    here = client()
    with worker(url):
        handle = here.post(flow_tasks.publish.job(str(ledger), SLEEP))
        wait_until(lambda: handle.status().state == "blocked")
    here.close()
    restart()

    here = client()
    assert here.job(handle.id).status().state == "blocked"
    with worker(url):
        wait_until(lambda: list(here.jobs(state="waiting", task="ostinato.approval")))
        wait_until(lambda: here.job(handle.id).status().state == "blocked")
    here.close()
    restart()

    here = client()
    (asked,) = here.jobs(state="waiting", task="ostinato.approval")
    asked.approve("yes", by="kim")
    with worker(url):
        first, answer, last = here.job(handle.id).result(30)
    attempts = here.job(handle.id).status().attempts
    here.close()
    assert (answer, ledger.read_text()) == ("yes", "begun\n")
    assert [one.outcome for one in attempts] == ["suspended", "suspended", "success"]
    assert len({one.executor_id for one in attempts}) == 3
    assert first != last
    assert (attempts[1].started_at - attempts[0].started_at).total_seconds() >= SLEEP
