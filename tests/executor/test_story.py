"""A job's events, followed from any process."""

from __future__ import annotations

import threading

import chores
import growing
from harness import WAIT, open_gate

from ostinato.model import Event


def test_all_that_happens_to_a_job_is_told_elsewhere_too(make_executor, tmp_path, fifo):
    url = f"sqlite:///{tmp_path}/jobs.db"
    gate = fifo()
    elsewhere = make_executor(url)
    job = elsewhere.post(growing.third_time_lucky.job(str(gate)))
    told: list[Event] = []
    running = threading.Event()

    def follow() -> None:
        for event in elsewhere.job(job.id).events():
            told.append(event)
            if event.kind == "start" and event.attempt == 3:
                running.set()

    follower = threading.Thread(target=follow)
    with make_executor(url) as executor:
        follower.start()
        assert running.wait(WAIT)
        open_gate(str(gate))
        follower.join(WAIT)
        pid = job.result(WAIT)
    kinds = [(event.kind, event.attempt) for event in told if event.kind != "progress"]
    assert kinds == [("start", 1), ("retry", 1), ("start", 2), ("retry", 2), ("start", 3), ("success", 3)]
    assert told[-1].result == pid
    assert {event.executor_id for event in told} == {(executor._engine and executor.id) or told[0].executor_id}
    assert [event.reason for event in told if event.kind == "retry"] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert all(event.error is not None for event in told if event.kind == "retry")
    assert [event.at for event in told if event.kind != "progress"] == sorted(
        event.at for event in told if event.kind != "progress"
    )
    assert next(event.progress for event in reversed(told) if event.kind == "progress") == (3, 3, "trying")


def test_a_story_that_is_over_is_told_from_the_beginning(executor):
    handle = executor.post(chores.fail.job("why"))
    handle.wait(WAIT)
    start, fail = handle.events()
    assert (start.kind, start.attempt, start.executor_id) == ("start", 1, executor.id)
    assert (fail.kind, fail.attempt, fail.reason, fail.task) == ("fail", 1, "ValueError: why", "chores.fail")


def test_a_job_that_never_ran_has_only_an_end(make_executor):
    executor = make_executor()
    handle = executor.post(chores.add.job(1))
    handle.cancel("not today")
    (cancel,) = handle.events()
    assert (cancel.kind, cancel.attempt, cancel.reason) == ("cancel", None, "not today")


def test_cancelling_a_job_that_waits_is_an_event_here(make_executor):
    executor = make_executor()
    heard: list[Event] = []
    got = threading.Event()
    executor.on("cancel", lambda event: (heard.append(event), got.set()))
    handle = executor.post(chores.add.job(1))
    handle.cancel("not today")
    handle.cancel("again")
    assert got.wait(WAIT)
    executor.close()
    assert [(event.job_id, event.task, event.reason) for event in heard] == [(handle.id, "chores.add", "not today")]
