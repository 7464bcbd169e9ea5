"""A deadline that is missed is told once, whatever step shows it first, and is seen in the status."""

from __future__ import annotations

import queue
from datetime import datetime, timedelta, timezone

import chores
import pytest
from harness import WAIT, lines, open_gate

from ostinato import ConfigError
from ostinato.deadlines import missed, missed_during, missed_first_at
from ostinato.model import Attempt, Event, Job, Row

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
SOON = timedelta(milliseconds=150)


def row(state="running", attempt=1, deadline: int | None = 100, **fields) -> Row:
    return Row(job=Job(task="t", deadline=deadline), state=state, priority=0, attempt=attempt, **fields)


def ended(started: int, at: int) -> Attempt:
    return Attempt(job_id="", number=1, executor_id="", outcome="failure", started_at=started, ended_at=at)


@pytest.mark.parametrize(
    ("one", "now", "late"),
    [
        (row("ready"), 100, False),
        (row("ready"), 101, True),
        (row("running"), 101, True),
        (row("succeeded", ended_at=100), 999, False),
        (row("failed", ended_at=101), 0, True),
        (row("cancelled", deadline=None, ended_at=101), 999, False),
    ],
)
def test_a_deadline_is_missed_by_what_had_not_ended(one, now, late):
    assert missed(one, now) is late


def test_each_miss_has_one_first_sign():
    assert missed_first_at(row(), 101, list)
    assert not missed_first_at(row(), 100, list)
    assert not missed_first_at(row(deadline=None), 101, list)
    assert missed_first_at(row(attempt=2), 101, lambda: [ended(50, 100)])
    assert not missed_first_at(row(attempt=2), 120, lambda: [ended(50, 101)])
    assert not missed_first_at(row("cancelled", attempt=1), 120, lambda: [ended(101, 110)])
    assert missed_during(row(started_at=100), ended(100, 101))
    assert not missed_during(row(started_at=101), ended(101, 102))
    assert not missed_during(row(started_at=50), ended(50, 100))


@pytest.fixture
def heard(make_executor, url):
    executor = make_executor(url, slots=1)
    events: queue.Queue[Event] = queue.Queue()
    executor.on("*", lambda event: events.put(event) if event.kind != "idle" else None)
    return executor, events


def story(executor, events) -> list[tuple[str, int | None]]:
    """What was told until all had ended."""
    assert executor.wait(WAIT)
    executor.stop()
    told = []
    while not events.empty():
        event = events.get()
        told.append((event.kind, event.attempt))
    return [one for one in told if one[0] != "log_uploaded"]


def test_a_start_after_the_deadline_tells_once_for_all_attempts(heard):
    executor, events = heard
    handle = executor.post(chores.fail.job(), runner="thread", max_attempts=3, backoff=0, deadline=PAST)
    assert handle.status().missed
    assert handle.status().deadline == PAST
    executor.start()
    told = story(executor, events)
    assert [attempt for kind, attempt in told if kind == "deadline_missed"] == [1]
    assert told[:2] == [("start", 1), ("deadline_missed", 1)]


def test_an_attempt_that_was_under_way_then_tells_at_its_end(heard, fifo):
    executor, events = heard
    executor.start()
    started, gate = fifo(), fifo()
    job = chores.gate_and_fail.job(str(started), str(gate))
    handle = executor.post(job, runner="thread", max_attempts=2, backoff=0, deadline=SOON)
    started.line()
    assert not handle.status().missed
    assert not handle.wait(SOON.total_seconds())
    open_gate(str(gate))
    started.line()
    open_gate(str(gate))
    told = story(executor, events)  # the second start may be told before the end that led to it
    assert sorted(told) == [("deadline_missed", 1), ("fail", 2), ("retry", 1), ("start", 1), ("start", 2)]
    assert handle.status().missed


def test_who_is_in_time_hears_nothing(heard):
    executor, events = heard
    executor.start()
    handle = executor.post(chores.add.job(1), runner="thread", deadline="1h")
    assert [kind for kind, _ in story(executor, events)] == ["start", "success"]
    assert not handle.status().missed


def test_an_expiry_or_a_cancel_after_the_deadline_tells_too(heard):
    executor, events = heard
    executor.post(chores.add.job(1), expires=timedelta(milliseconds=1), deadline=PAST)
    cancelled = executor.post(chores.add.job(1), queue="nobody", deadline=PAST)
    in_time = executor.post(chores.add.job(1), queue="nobody", deadline="1h")
    executor.post(chores.add.job(1), delay=0.005).wait(0.01)  # the expiry has passed
    executor.start()
    assert cancelled.cancel()
    assert in_time.cancel()
    kinds = sorted(kind for kind, _ in story(executor, events))
    assert kinds == sorted([*["deadline_missed"] * 2, *["cancel"] * 2, "expire", "start", "success"])


def test_the_lead_decides_when_it_goes_first(make_executor, url, ledger):
    executor = make_executor(url, slots=1, deadline_lead="1h")
    for name, options in {
        "normal": {},
        "by setting": {"deadline": timedelta(minutes=30)},
        "not yet": {"deadline": timedelta(minutes=90)},
        "by option": {"deadline": timedelta(minutes=90), "deadline_lead": "2h"},
    }.items():
        executor.post(chores.write.job(str(ledger), name), runner="thread", **options)
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger) == ["by setting", "by option", "normal", "not yet"]


def test_followers_have_the_lead_and_the_age_of_their_executor(make_executor, url, ledger):
    executor = make_executor(url, ageing="10m", deadline_lead="1h").start()
    parent = executor.post(chores.post_then.job("succeed", str(ledger)))
    parent.result(WAIT)
    assert executor.wait(WAIT)
    children = [one.id for one in executor.jobs(task="chores.write")]
    from ostinato.storage import JobQuery

    for found in executor._store.find(JobQuery(ids=tuple(children))).rows:
        assert 599e6 <= found.job.promote_at - found.posted_at <= 600e6 + 1e6


@pytest.mark.parametrize("wrong", [-1, "soon"])
def test_a_wrong_lead_is_refused(make_executor, wrong):
    with pytest.raises(ConfigError, match="deadline_lead"):
        make_executor(deadline_lead=wrong)
