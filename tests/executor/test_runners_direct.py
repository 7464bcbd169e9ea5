"""Runners without an executor: what must hold whatever the order of the calls."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress

import chores
import pytest
from harness import WAIT

from ostinato.model import Job, Outcome, Policy, Row
from ostinato.records import Records
from ostinato.runners import Run, Runner, make_runner
from ostinato.task import registry
from ostinato.testing.threads import together
from ostinato.wire import Order
from ostinato_memory.store import MemoryStore

RUNNERS = ["subprocess", "pool", "thread", "asyncio"]
Ends = "queue.Queue[tuple[Run, Outcome]]"


@pytest.fixture(params=RUNNERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def runner(name: str) -> Iterator[Runner]:
    one = make_runner(name, slots=2, start_method="auto", check_log=lambda path: None)
    one.open()
    yield one
    one.close()


@pytest.fixture
def ends() -> Ends:
    return queue.Queue()


def run_of(job: Job, ends: Ends, task=None, kind: type[Run] = Run) -> Run:
    row = Row(job=job, state="running", priority=0, token=1, attempt=1)
    task = registry.get(job.task) if task is None else task
    order = Order(job_id="J", token=1, attempt=1, task=job.task, args=job.args, ref=task and task.ref, kind=job.kind)
    records = Records(MemoryStore())
    return kind(
        row, task, order, lambda *_: None, lambda jobs: [], lambda run, outcome: ends.put((run, outcome)), records
    )


def test_a_run_that_is_stopped_at_once_ends_at_once(name, runner, ends, tmp_path):
    for number in range(20):
        run = run_of(chores.write_later.job(str(tmp_path / f"{number}"), "ran"), ends)
        runner.run(run)
        runner.stop(run, "cancel", 60_000_000)
        ended, outcome = ends.get(timeout=WAIT)
        assert ended is run
        assert outcome.kind in ("cancelled", "success")
    assert ends.empty()


def test_a_run_that_was_stopped_before_it_came_is_not_run(name, runner, ends, ledger):
    stopped = run_of(chores.write_later.job(str(ledger), "stopped"), ends)
    runner.stop(stopped, "shutdown", 0)
    runner.run(stopped)
    assert ends.get(timeout=WAIT)[1].kind == "interrupted"
    runner.run(run_of(chores.write_later.job(str(ledger), "next"), ends))
    assert ends.get(timeout=WAIT)[1].kind == "success"
    assert ledger.read_text().split() == ["next"]
    assert ends.empty()


class WatchedRun(Run):
    """Whoever asks whether it has ended goes on only when somebody else has asked too, if anybody does."""

    def __init__(self, *values) -> None:
        self.both = threading.Barrier(2)
        self.has_ended = False
        super().__init__(*values)

    @property
    def ended(self) -> bool:
        seen = self.has_ended
        with suppress(threading.BrokenBarrierError):
            self.both.wait(1)
        return seen

    @ended.setter
    def ended(self, value: bool) -> None:
        self.has_ended = value


def test_of_two_threads_that_report_at_once_one_is_heard(ends):
    run = run_of(chores.add_later.job(1), ends, kind=WatchedRun)
    outcomes = [Outcome(kind="success"), Outcome(kind="timeout")]
    together(run.end, outcomes)
    assert ends.get_nowait()[1] in outcomes
    assert ends.empty()
    assert run.has_ended


@pytest.mark.parametrize("name", ["thread", "asyncio"], indirect=True)
def test_what_cannot_be_run_here_ends_all_the_same(name, runner, ends):
    runner.run(run_of(Job(task="nobody.knows", policy=Policy(runner=name)), ends))
    assert ends.get(timeout=WAIT)[1].kind == "unreadable"
    runner.run(run_of(chores.add_later.job(1), ends))
    assert ends.get(timeout=WAIT)[1].kind == "success"
