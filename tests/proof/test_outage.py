"""A store outage is ridden out by every loop of an executor: one warning when it begins and one when
it ends, no stuck loop, nothing lost."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proof_tasks import effective, follow, go_on, note, wait_for
from s3_servers import wait_until

from ostinato import StoreUnavailable, TaskExecutor, host
from ostinato.errors import StoreError
from ostinato.model import SECOND
from ostinato.plugins import open_store
from ostinato.storage import Store, Want
from ostinato.testing.faulty_store import behind, faulty
from ostinato.testing.samples import info

WAIT = 20.0


class Switch:
    """A fault that can be turned on and off, for some verbs, or for all but asking for the time."""

    def __init__(self) -> None:
        self.down: frozenset[str] = frozenset()
        self.swallows: frozenset[str] = frozenset()
        self.refused: list[str] = []

    def off(self, *verbs: str) -> None:
        self.down = frozenset(verbs or ("every",))

    def on(self) -> None:
        self.down = self.swallows = frozenset()

    def __call__(self, verb: str, call: Any) -> Any:
        if verb in self.down or ("every" in self.down and verb != "now"):
            self.refused.append(verb)
            raise StoreUnavailable(f"down, says the test ({verb})")
        answer = call()
        if verb in self.swallows:
            self.refused.append(verb)
            raise StoreUnavailable(f"its answer was swallowed ({verb})")
        return answer

    def has_refused(self, verb: str, times: int = 3) -> bool:
        return self.refused.count(verb) >= times


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The store itself, which is not behind the fault."""
    one = open_store(url)
    one.open()
    yield one
    one.close()


@pytest.fixture
def executor(url: str, store: Store, switch: Switch, tmp_path: Path) -> Iterator[TaskExecutor]:
    with faulty(switch):
        one = TaskExecutor(
            url, slots=2, lease=30, poll=0.2, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool"
        )  # fmt: skip
    yield one
    switch.on()
    one.stop(0)
    one.close()


@pytest.fixture
def poster(url: str, tmp_path: Path) -> Iterator[TaskExecutor]:
    """Posts by a way of its own, which works."""
    one = TaskExecutor(url, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    yield one
    one.close()


def said(caplog: pytest.LogCaptureFixture, loop: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.getMessage().startswith(f"{loop}: the store")]


def test_claims_go_on_after_an_outage(executor, poster, switch, caplog, tmp_path):
    executor.start()
    switch.off()
    wait_until(lambda: switch.has_refused("claim", 1))  # one that was let in before is over now
    late = poster.post(note.job(f"{tmp_path}/ledger", "late"))
    wait_until(lambda: switch.has_refused("claim"))
    assert late.status().attempt == 0
    switch.on()
    assert late.wait(WAIT)
    wait_until(lambda: len(said(caplog, "claim")) == 2)
    began, ended = said(caplog, "claim")
    assert "does not answer, trying again until it does: down, says the test (claim)" in began
    assert "answers again, after" in ended


def test_a_store_that_does_not_tell_the_time_ends_no_loop(executor, poster, switch, tmp_path):
    """The dispatcher asks for it when a scheduled job is near, the settler with every batch."""
    executor.start()
    fifo = gate(tmp_path)
    running = executor.post(wait_for.job(fifo))
    soon = executor.post(note.job(f"{tmp_path}/ledger", "soon"), delay=0.2)
    wait_until(lambda: running.status().attempt)
    switch.off("now")
    open_gate(fifo)
    wait_until(lambda: switch.has_refused("now"))
    switch.on()
    assert running.wait(WAIT)
    assert soon.wait(WAIT)
    assert [one.outcome for one in running.status().attempts] == ["success"]


def test_an_outcome_waits_until_the_store_takes_it(executor, poster, switch, caplog, tmp_path):
    fifo = gate(tmp_path)
    executor.start()
    job = executor.post(wait_for.job(fifo))
    wait_until(lambda: job.status().attempt)
    switch.off()
    open_gate(fifo)
    wait_until(lambda: switch.has_refused("finish"))
    assert poster.job(job.id).status().state == "running"
    switch.on()
    assert job.wait(WAIT)
    assert [one.outcome for one in job.status().attempts] == ["success"]
    wait_until(lambda: len(said(caplog, "finish")) == 2)  # it is said after the store has taken it


@pytest.mark.parametrize("verb", ["finish", "note", "renew"])
def test_an_answer_that_is_swallowed_makes_nothing_happen_twice(executor, switch, tmp_path, verb):
    executor.start()
    ledger = tmp_path / "ledger"
    switch.swallows = frozenset({verb})
    job = executor.post(follow.job(str(ledger)))
    if verb == "renew":
        executor.post(note.job(str(ledger), "other")).cancel()
        wait_until(lambda: job.status().is_final)
    else:
        wait_until(lambda: switch.has_refused(verb, 2))
    switch.on()
    assert job.wait(WAIT)
    assert executor.wait(WAIT)
    lines = [line for line in ledger.read_text().splitlines() if line != "other"]
    assert sorted(lines) == ["first", "followed"]
    assert len([one for one in executor.jobs() if one.status().tags == ("follow-up",)]) == 1


def test_leases_are_kept_over_an_outage_that_is_shorter(executor, poster, switch, caplog, tmp_path):
    fifo = gate(tmp_path)
    executor.start()
    job = executor.post(wait_for.job(fifo))
    wait_until(lambda: job.status().attempt)
    switch.off()
    executor._engine._keeper.hurry()  # else it would be ten seconds to the next sign of life
    wait_until(lambda: switch.has_refused("renew", 1))
    switch.on()
    wait_until(lambda: len(said(caplog, "renew")) == 2)
    open_gate(fifo)
    assert job.wait(WAIT)
    assert [one.outcome for one in job.status().attempts] == ["success"]


def test_a_cancel_that_could_not_be_heard_is_heard_when_the_store_is_back(executor, switch):
    """And not only at the next sign of life, which is ten seconds away."""
    executor.start()
    job = executor.post(go_on.job())
    wait_until(lambda: job.status().attempt)
    switch.off("renew")
    assert job.cancel()
    wait_until(lambda: switch.has_refused("renew", 1))
    switch.on()
    wait_until(lambda: job.status().state == "cancelled", 5)


def test_rescue_goes_on_after_an_outage(executor, url, store, switch, tmp_path):
    """Of a run whose executor has vanished while nobody could look."""
    executor.start()
    switch.off()
    lost = TaskExecutor(url)
    here = {"host": host.HOST, "pid": os.getpid(), "process": host.started(os.getpid())}
    store.renew(info("00000000000000000000000009", spool=f"{tmp_path}/spool", **here), [], 60 * SECOND)
    job = lost.post(note.job("/dev/null", "x"))
    want = Want(tasks={"proof_tasks.note": 1}, slots=1, capacity=1, count=1, lease=1)
    assert store.claim("00000000000000000000000009", want).rows
    executor._engine._keeper._rescue_at = 0.0
    executor._engine._keeper.hurry()
    wait_until(lambda: switch.has_refused("renew", 1))
    switch.on()
    assert job.wait(WAIT)
    wait_until(lambda: [one.outcome for one in job.status().attempts] == ["lost", "success"])
    wait_until(lambda: all(one.log is not None for one in job.status().attempts))
    lost.close()


def test_the_place_of_a_log_is_recorded_after_an_outage(executor, switch, tmp_path):
    executor.start()
    switch.off("note")
    job = executor.post(note.job(f"{tmp_path}/ledger", "x", aloud=True))
    assert job.wait(WAIT)
    wait_until(lambda: switch.has_refused("note", 1))
    assert job.status().attempts[0].log is None
    switch.on()
    wait_until(lambda: job.status().attempts[0].log)
    assert "x" in job.logs()


def test_who_waits_for_a_job_waits_through_an_outage(executor, poster, switch, caplog, tmp_path):
    fifo = gate(tmp_path)
    poster.start()
    job = executor.post(wait_for.job(fifo))
    wait_until(lambda: job.status().attempt)
    switch.off()
    with pytest.raises(StoreUnavailable):
        job.status()
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(job.wait(WAIT)))
    thread.start()
    wait_until(lambda: said(caplog, "follow"))
    open_gate(fifo)
    assert poster.job(job.id).wait(WAIT)
    switch.on()
    thread.join(WAIT)
    assert answers == [True]
    assert job.result() == "opened"
    poster.stop(0)


def test_to_post_says_at_once_that_the_store_is_away(executor, switch, tmp_path):
    executor.start()
    switch.off()
    with pytest.raises(StoreUnavailable, match="down, says the test"):
        executor.post(note.job(f"{tmp_path}/ledger", "x"))


def test_a_stop_during_an_outage_ends_in_bounded_time(url, switch, tmp_path, caplog):
    with faulty(switch):
        executor = TaskExecutor(url, slots=1, lease=0.5, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    executor.start()
    fifo = gate(tmp_path)
    job = executor.post(wait_for.job(fifo))
    wait_until(lambda: job.status().attempt)
    switch.off()
    stopper = threading.Thread(target=executor.stop, args=(0,))
    stopper.start()
    stopper.join(WAIT)
    assert not stopper.is_alive()
    assert any("these jobs will be run again" in one.getMessage() for one in caplog.records)
    switch.on()
    executor.close()


def test_what_a_claim_brought_too_late_is_handed_back_and_not_begun(url, tmp_path):
    """Others may have it by then: the lease was over before the answer came."""
    late = threading.Event()

    def dawdle(verb: str, call: Any) -> Any:
        answer = call()
        if verb == "claim" and answer.rows and not late.is_set():
            late.set()
            threading.Event().wait(0.7)
        return answer

    with faulty(dawdle):
        executor = TaskExecutor(url, slots=1, lease=0.5, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    job = executor.post(effective.job(f"{tmp_path}/effects", 0))
    with executor:
        assert job.wait(WAIT)
    assert late.is_set()
    outcomes = [one.outcome for one in job.status().attempts]
    assert outcomes[0] in ("interrupted", "lost")
    assert outcomes[1:] == ["success"]
    assert b'"attempt":1,' not in (tmp_path / "effects").read_bytes()
    executor.close()


def test_pauses_grow_and_are_jittered() -> None:
    from ostinato.patience import Patience

    logging.getLogger("ostinato.store").disabled = True
    try:
        runs = []
        for _ in range(20):
            patience = Patience("test")
            runs.append([patience.failed(StoreError("x")) for _ in range(10)])
    finally:
        logging.getLogger("ostinato.store").disabled = False
    assert all(0.1 <= run[0] <= 0.2 and 5 <= run[-1] <= 10 for run in runs)
    assert len({run[3] for run in runs}) > 10


def test_an_executor_whose_store_never_calls_is_not_idle_while_follow_ups_wait(url, tmp_path):
    """What wakes is only an accelerator: that there is more to do must be known without."""

    class Deaf:
        def wait(self, timeout: float) -> frozenset[Any]:
            self.woken.wait(timeout)
            self.woken.clear()
            return frozenset()

        def __init__(self) -> None:
            self.woken = threading.Event()

        def wake(self) -> None:
            self.woken.set()

        close = wake

    store = behind(open_store(url), lambda verb, call: call())
    store.listen = lambda channels: Deaf()  # type: ignore[method-assign]
    executor = TaskExecutor(url, slots=1, poll=60, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    executor._store = executor._endings._store = store
    with executor:
        executor.post(follow.job(str(tmp_path / "ledger")), runner="thread")
        assert executor.wait(WAIT)
        assert (tmp_path / "ledger").read_text().split() == ["first", "followed"]
    executor.close()


def gate(tmp_path: Path) -> str:
    path = f"{tmp_path}/gate"
    os.mkfifo(path)
    return path


def open_gate(path: str) -> None:
    with open(path, "w") as file:
        file.write("\n")
