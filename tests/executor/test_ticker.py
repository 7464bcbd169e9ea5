"""Schedules become jobs: each tick once, whoever looks after it, and whatever was missed."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import chores
import pytest
from harness import WAIT
from msgspec.structs import replace

from ostinato import ConfigError, JobFailed, current_job, task
from ostinato.book import Book, job_for
from ostinato.errors import StoreUnavailable
from ostinato.ids import new_id
from ostinato.lifecycle import decide
from ostinato.model import SECOND, Job, Outcome, Rise
from ostinato.schedule import define
from ostinato.storage import Ask, JobQuery, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.faulty_store import behind
from ostinato.testing.samples import claim, finish, job
from ostinato.ticker import Ticker
from ostinato_memory.store import MemoryStore
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

MINUTE = 60 * SECOND


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_700_000_040 * SECOND)  # a full minute


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Any, clock: FakeClock) -> Any:
    one = (
        MemoryStore(clock) if request.param == "memory" else SqlStore(SqliteDialect(f"{tmp_path}/jobs.db", clock=clock))
    )
    one.open()
    yield one
    one.close()


def add(store: Store, name: str = "s", **rules: Any) -> None:
    Book(store).add(define(name, rules.pop("job", job("")), anchor=store.now(), **rules), replacing=False)


def posted(store: Store) -> list[Job]:
    return [row.job for row in store.find(JobQuery(oldest_first=True, limit=10_000)).rows]


def ticks(store: Store) -> list[int]:
    return [(one.tick or 0) // SECOND for one in posted(store)]


def run_all(store: Store) -> None:
    while rows := claim(store):
        for row in rows:
            finish(store, row)


# ticks


def test_an_interval_ticks_from_when_it_was_made(store, clock):
    add(store, every=10)
    ticker, begun = Ticker(store), clock.now // SECOND
    assert ticker._turn() == pytest.approx(10, abs=0.01)
    assert posted(store) == []
    clock.advance(10)
    ticker._turn()
    (one,) = posted(store)
    assert (one.schedule, one.tick, one.task, one.tags) == ("s", clock.now, "work", ("schedule:s",))
    assert ticker._turn() == pytest.approx(10, abs=0.01)
    run_all(store)
    clock.advance(25)
    ticker._turn()
    assert ticks(store) == [begun + 10, begun + 30]  # the latest of what was missed
    assert ticker._turn() == pytest.approx(5, abs=0.01)


def test_the_jobs_of_a_schedule_age_too(store, clock):
    add(store, every=10)
    ticker = Ticker(store, Rise(ageing=60 * SECOND))
    ticker._turn()
    clock.advance(10)
    ticker._turn()
    (one,) = posted(store)
    assert one.promote_at == clock.now + 60 * SECOND


@pytest.mark.parametrize(("catch_up", "most", "expected"), [("all", 100, 100), ("latest", 100, 1), ("none", 100, 0)])
def test_three_days_of_missed_minutes(store, clock, catch_up, most, expected):
    add(store, cron="* * * * *", catch_up=catch_up, max_backlog=most, overlap="queue")
    Ticker(store)._turn()
    clock.advance(3 * 86_400 + 30)
    newest = (clock.now - 30 * SECOND) // MINUTE
    ticker = Ticker(store)
    ticker._turn()
    assert [tick // 60 for tick in ticks(store)] == [newest - expected + 1 + n for n in range(expected)]
    order = []
    while rows := claim(store):  # one at a time, in their order
        (row,) = rows
        order.append(row.job.tick)
        finish(store, row)
    assert order == sorted(order)
    assert len(order) == expected
    clock.advance(30)
    ticker._turn()
    assert ticks(store)[-1] // 60 == newest + 1


def test_what_was_missed_while_nobody_ran_is_known_to_a_new_executor(store, clock):
    add(store, every=60)
    clock.advance(60)
    Ticker(store)._turn()
    run_all(store)
    clock.advance(600)
    Ticker(store)._turn()
    assert len(posted(store)) == 2


# chains


def test_what_follows_a_success_is_known_before_the_first_job_runs(store):
    """A job of the chain may end before the ticker's thread has had its first turn."""
    add(store, "first", cron="0 3 1 1 *")
    add(store, "then", after="first")
    ticker = Ticker(store)
    ticker.start()
    ticker.close()
    store.tick("first", store.now(), [job_for(Book(store).page("first").schedule, store.now(), new_id())])
    (row,) = claim(store)
    end = decide(row, Outcome(kind="success"), store.now())
    assert [one.schedule for one in ticker.followers(row, end)] == ["then"]


def test_when_a_schedule_last_succeeded_is_still_known_while_the_store_is_away(store):
    add(store, every=10)
    Book(store).completed("s", 7 * SECOND)
    away = False

    def fault(verb: str, call: Any) -> Any:
        if away:
            raise StoreUnavailable("away")
        return call()

    ticker = Ticker(behind(store, fault))
    ticker.start()
    ticker.close()
    Book(store).completed("s", 8 * SECOND)
    assert ticker.last_completed("s") == 8 * SECOND
    away = True
    assert ticker.last_completed("s") == 7 * SECOND
    assert ticker.last_completed("unheard of") is None


# overlap


def active_then_due(store, clock, overlap):
    add(store, every=10, overlap=overlap)
    ticker = Ticker(store)
    clock.advance(10)
    ticker._turn()
    (running,) = claim(store)
    clock.advance(10)
    ticker._turn()
    return running


def test_overlap_skip_leaves_the_next_one_out(store, clock):
    running = active_then_due(store, clock, "skip")
    assert len(posted(store)) == 1
    finish(store, running)
    clock.advance(10)
    Ticker(store)._turn()
    assert len(posted(store)) == 2


def test_overlap_queue_runs_it_afterwards(store, clock):
    running = active_then_due(store, clock, "queue")
    assert len(posted(store)) == 2
    assert claim(store) == []
    finish(store, running)
    assert len(claim(store)) == 1


def test_overlap_allow_runs_both(store, clock):
    active_then_due(store, clock, "allow")
    assert len(claim(store)) == 1


def test_overlap_cancel_previous_asks_it_to_end_and_waits(store, clock):
    running = active_then_due(store, clock, "cancel_previous")
    (row,) = store.find(JobQuery(ids=(running.job.id,))).rows
    assert row.cancelling
    assert "next run of schedule s" in row.reason
    assert claim(store) == []
    finish(store, running, "cancelled")
    assert len(claim(store)) == 1


# changes


def test_paused_ticks_are_not_made_up(make_executor):
    executor = make_executor()
    handle = executor.schedule("s", chores.add.job(1), every=1, catch_up="all")
    handle.pause()
    assert (handle.status().paused, handle.status().next) == (True, None)
    assert len(handle.next(3)) == 3
    handle.resume()
    assert handle.status().last is not None
    assert not handle.status().paused


def test_what_is_edited_or_removed_leaves_the_jobs_of_former_ticks_as_they_are(store, clock):
    add(store, every=10, overlap="queue")
    ticker, book = Ticker(store), Book(store)
    clock.advance(10)
    ticker._turn()
    book.change("s", lambda schedule: replace(schedule, job=job("", priority=7)))
    ticker.hurry()
    clock.advance(10)
    ticker._turn()
    book.remove("s")
    ticker.hurry()
    clock.advance(100)
    ticker._turn()
    assert [one.priority for one in posted(store)] == [0, 7]
    run_all(store)
    assert {row.state for row in store.find(JobQuery()).rows} == {"succeeded"}


def test_the_same_again_is_no_change_and_another_is_refused(make_executor):
    executor = make_executor()
    first = executor.schedule("s", chores.add.job(1), cron="0 3 * * *", timezone="Europe/Paris")
    assert executor.schedule("s", chores.add.job(1), cron="0 3 * * *", timezone="Europe/Paris") == first
    with pytest.raises(ConfigError, match="replace=True"):
        executor.schedule("s", chores.add.job(1), cron="0 4 * * *", timezone="Europe/Paris")
    executor.schedule("s", chores.add.job(2), cron="0 4 * * *", timezone="Europe/Paris", replace=True)
    assert first.status().trigger == "cron 0 4 * * *"
    assert [one.name for one in executor.schedules()] == ["s"]
    first.remove()
    assert executor.schedules() == []
    with pytest.raises(ConfigError, match="no schedule 's'"):
        first.status()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"cron": "61 * * * *"}, "61"),
        ({"every": 10, "timezone": "Europe/Pari"}, "Europe/Paris"),
        ({"every": 10, "delay": 5}, "schedule says when"),
        ({"after": "nobody"}, "nobody"),
        ({}, "triggers it"),
    ],
)
def test_a_bad_schedule_is_refused_at_once(make_executor, rules, said):
    executor = make_executor()
    with pytest.raises(ConfigError, match=said):
        executor.schedule("s", chores.add.job(1), **rules)
    assert executor.schedules() == []


def test_run_now_and_backfill(make_executor):
    executor = make_executor()
    handle = executor.schedule("s", chores.add.job(1), cron="0 * * * *", overlap="allow", tags=["mine"])
    begin = datetime(2026, 3, 1, tzinfo=timezone.utc)
    made = handle.backfill(begin, begin + timedelta(hours=4))
    assert [one.status().tick for one in made] == [begin + timedelta(hours=n) for n in range(5)]
    assert handle.backfill(begin + timedelta(hours=4), begin + timedelta(hours=5))[0] == made[-1]
    now = handle.run()
    assert now.status().tags == ("mine", "schedule:s")
    assert len(list(executor.jobs(tag="mine"))) == 7
    with pytest.raises(ConfigError, match="shorter"):
        handle.backfill(begin - timedelta(days=999), begin)
    with executor:
        assert now.result(WAIT) == 1


# whole executors


@task
def when() -> list[Any]:
    me = current_job()
    assert me.tick is not None
    return [me.schedule, me.tick.timestamp(), me.last_completed_at and me.last_completed_at.timestamp()]


def test_a_schedule_runs_in_an_executor_and_knows_its_times(make_executor, url):
    executor = make_executor(url)
    done: list[Any] = []
    twice = threading.Event()

    def listen(event: Any) -> None:
        done.append(event.result)
        if len(done) == 2:
            twice.set()

    executor.on("success", listen)
    with executor:
        executor.schedule("pulse", when.job(), every=1, runner="thread")
        assert twice.wait(WAIT)
    (_, first, before), (name, second, after) = done[:2]
    assert name == "pulse"
    assert second - first == pytest.approx(round(second - first))
    assert before is None
    assert first <= after <= second + 1


def test_a_schedule_made_by_another_process_is_heard_of(make_executor, tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    elsewhere, heard = make_executor(url), threading.Event()
    with make_executor(url) as executor:
        executor.on("success", lambda event: heard.set())
        executor.wait(WAIT)
        elsewhere.schedule("pulse", when.job(), every=1, runner="thread")
        assert heard.wait(WAIT)


def test_a_chain_follows_successes_only(make_executor, url):
    executor = make_executor(url)
    first = executor.schedule("first", chores.add.job(1), cron="0 3 1 1 *", runner="thread")
    executor.schedule("bad", chores.fail.job(), cron="0 3 1 1 *", runner="thread")
    executor.schedule("then", when.job(), after="first", runner="thread")
    executor.schedule("never", when.job(), after="bad", runner="thread")
    executor.schedule("last", when.job(), after="then", runner="thread")
    with executor:
        executor.wait(WAIT)
        origin = first.run()
        failing = next(one for one in executor.schedules() if one.name == "bad").run()
        with pytest.raises(JobFailed):
            failing.result(WAIT)
        assert executor.wait(WAIT)
    found = Counter(one.status().schedule for one in executor.jobs())
    assert found == {"first": 1, "bad": 1, "then": 1, "last": 1}
    tick = origin.status().tick
    assert {one.status().tick for one in executor.jobs(task=when.name)} == {tick}
    assert first.status().last_completed_at is not None
    with pytest.raises(ConfigError, match="then runs after it"):
        first.remove()


def test_a_follower_that_has_not_ended_is_not_doubled(make_executor):
    executor = make_executor()
    first = executor.schedule("first", chores.add.job(1), cron="0 3 1 1 *", runner="thread")
    executor.schedule("then", chores.add.job(2), after="first", queue="elsewhere")
    with executor:
        executor.wait(WAIT)
        for _ in range(2):
            first.run().result(WAIT)
    (waiting,) = executor.jobs(queue="elsewhere")
    executor._store.change([waiting.id], Ask(kind="cancel"))
    with executor:
        executor.wait(WAIT)
        first.run().result(WAIT)
    assert len(list(executor.jobs(queue="elsewhere"))) == 2
