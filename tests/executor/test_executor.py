"""`TaskExecutor` and its handles: posting, waiting, looking."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import chores
import pytest
from harness import WAIT, held, lines, open_gate
from s3_servers import wait_until

from ostinato import (
    ArgumentError,
    ConfigError,
    Job,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    PayloadError,
    TaskExecutor,
)
from ostinato.model import Event


@pytest.fixture
def executor(make_executor, url):
    return make_executor(url).start()


# posting


def test_jobs_posted_before_the_start_run_after_it(make_executor, url):
    executor = make_executor(url)
    handle = executor.post(chores.add.job(1, 2))
    assert handle.status().state == "ready"
    executor.start()
    assert handle.result(WAIT) == 3


def test_many_jobs_are_posted_all_or_none(make_executor, url):
    executor = make_executor(url, max_payload=100)
    assert executor.post([]) == []
    with pytest.raises(PayloadError, match="limit of 100"):
        executor.post([chores.add.job(1), chores.fail.job("x" * 200)])
    with pytest.raises(PayloadError, match="it is no job"):
        executor.post([chores.add.job(1), "add"])
    with pytest.raises(ConfigError):
        executor.post([chores.add.job(1)], pirority="high")
    with pytest.raises(ArgumentError):
        executor.post([chores.add.job(1), chores.add.job("x")])
    assert list(executor.jobs()) == []
    handles = executor.post(chores.add.job(number) for number in range(5))
    assert len({one.id for one in handles}) == 5
    assert {one.id for one in executor.jobs()} == {one.id for one in handles}


def test_every_thread_may_post(executor):
    results: queue.Queue[int] = queue.Queue()

    def post(number: int) -> None:
        results.put(executor.post(chores.add.job(number), runner="thread").result(WAIT))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT)
    assert sorted(results.queue) == list(range(20))


def test_a_higher_priority_goes_first_and_the_front_before_its_equals(make_executor, url, ledger):
    executor = make_executor(url, slots=1)

    def post(text, **options):
        executor.post(chores.write.job(str(ledger), text), runner="thread", **options)

    post("normal 1")
    post("low", priority="low")
    post("normal 2")
    post("high", priority="high")
    post("front", front=True)
    post("highest", priority=101)
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger) == ["highest", "high", "front", "normal 1", "normal 2", "low"]


def test_a_failing_job_sinks_behind_its_equals(make_executor, url, ledger):
    executor = make_executor(url, slots=1)
    failing = executor.post(chores.fail_as.job("OSError", str(ledger)), runner="thread", max_attempts=2, backoff=0)
    other = executor.post(chores.add.job(1), runner="thread", priority=-1)
    executor.start()
    assert failing.wait(WAIT)
    assert failing.status().priority == -1
    assert other.wait(WAIT)


def test_a_delayed_job_starts_at_its_time(executor):
    began = time.time()
    at = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    handles = [executor.post(chores.add.job(1), delay=0.5), executor.post(chores.add.job(2), run_at=at)]
    assert [one.status().state for one in handles] == ["scheduled"] * 2
    for one in handles:
        one.result(WAIT)
        started = one.status().started_at.timestamp()
        assert 0.499 <= started - began <= 2


def test_a_job_that_nobody_started_in_time_expires(make_executor, url, fifo):
    executor = make_executor(url, slots=1).start()
    heard: queue.Queue[Event] = queue.Queue()
    executor.on("expire", heard.put)
    _, gate = held(executor, fifo)
    handle = executor.post(chores.add.job(1), expires=timedelta(milliseconds=1))
    open_gate(gate)
    with pytest.raises(JobExpired, match=handle.id):
        handle.result(WAIT)
    assert heard.get(timeout=WAIT).job_id == handle.id


def test_a_job_near_its_deadline_goes_before_the_others(make_executor, url, ledger):
    executor = make_executor(url, slots=1)
    executor.post(chores.write.job(str(ledger), "high"), runner="thread", priority="high")
    executor.post(chores.write.job(str(ledger), "normal"), runner="thread")
    executor.post(chores.write.job(str(ledger), "urgent"), runner="thread", deadline=timedelta(seconds=30))
    executor.post(chores.write.job(str(ledger), "patient"), runner="thread", deadline=timedelta(days=1))
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger).index("urgent") < lines(ledger).index("normal") < lines(ledger).index("patient")


def test_a_queue_that_nobody_serves_waits_and_globs_serve_many(make_executor, url):
    first = make_executor(url, queues=["mail.*"]).start()
    handle = first.post(chores.add.job(1), queue="mail.bulk")
    other = first.post(chores.add.job(2), queue="images")
    assert handle.result(WAIT) == 1
    assert first.wait(WAIT)
    assert other.status().state == "ready"


def test_a_task_that_is_not_known_here_is_left_alone(executor):
    handle = executor.post(Job(task="not.known.here"))
    old = executor.post(Job(task="chores.add", version=99, args='{"a":1}'))
    assert executor.post(chores.add.job(1)).result(WAIT) == 1
    assert executor.wait(WAIT)
    assert handle.status().state == "ready"
    assert old.status().state == "ready"


# handles


def test_errors_of_results_say_which_job_how_often_and_why(executor):
    handle = executor.post(chores.fail.job("for a reason"), max_attempts=2, backoff=0)
    with pytest.raises(JobFailed) as caught:
        handle.result(WAIT)
    error = caught.value
    assert (error.job_id, error.attempts, error.reason) == (handle.id, 2, "ValueError: for a reason")
    assert "raise ValueError(message)" in error.traceback
    assert "failed after 2 attempts" in str(error)


def test_waiting_ends_at_its_timeout_and_the_job_goes_on(executor, fifo):
    handle, gate = held(executor, fifo)
    assert not handle.wait(0.01)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s; it is running"):
        handle.result(0.01)
    open_gate(gate)
    assert handle.result(WAIT) is None


def test_handles_can_be_awaited(executor):
    async def main() -> list[int]:
        handles = executor.post([chores.add.job(number) for number in range(5)])
        return await asyncio.gather(*handles)

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]

    async def failing() -> None:
        await executor.post(chores.fail.job())

    with pytest.raises(JobFailed, match="boom"):
        asyncio.run(failing())


def test_news_of_an_end_from_before_it_was_run_again_ends_no_wait(executor, fifo):
    handle, gate = held(executor, fifo)

    async def awaited() -> None:
        assert await handle is None

    with ThreadPoolExecutor() as threads:
        waits = [threads.submit(handle.result, WAIT), threads.submit(lambda: asyncio.run(awaited()))]
        wait_until(lambda: len(executor._endings._waiting.get(handle.id, ())) == len(waits))
        executor._endings.ended([handle.id])
        wait_until(lambda: len(executor._endings._waiting.get(handle.id, ())) == len(waits))
        open_gate(gate)
        for wait in waits:
            assert wait.result(WAIT) is None


def test_an_await_that_is_cancelled_leaves_the_job_alone(executor, fifo):
    handle, gate = held(executor, fifo)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(handle, 0.05)

    asyncio.run(main())
    open_gate(gate)
    assert handle.wait(WAIT)


def test_a_job_that_is_not_there_is_told(executor):
    for wrong in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "no id", "", 5, None):
        with pytest.raises(JobNotFound, match="There is no job"):
            executor.job(wrong)
    handle = executor.post(chores.add.job(1))
    assert executor.job(handle.id) == handle
    assert executor.job(handle.id).result(WAIT) == 1


def test_a_pending_job_is_cancelled_at_once(make_executor, url):
    executor = make_executor(url)
    handle = executor.post(chores.add.job(1), delay=100)
    assert handle.cancel("changed my mind")
    assert not handle.cancel()
    with pytest.raises(JobCancelled, match="changed my mind") as caught:
        handle.result(WAIT)
    assert caught.value.attempts == 0


def test_an_ended_job_can_be_run_again(executor, ledger):
    handle = executor.post(chores.write.job(str(ledger), "again"))
    handle.result(WAIT)
    assert handle.rerun()
    assert executor.wait(WAIT)
    assert handle.wait(WAIT)
    assert lines(ledger) == ["again", "again"]
    assert [one.number for one in handle.status().attempts] == [1, 2]


def test_status_tells_all(executor):
    handle = executor.post(chores.add.job(1, b=2), priority=7, tags=["x"])
    handle.result(WAIT)
    status = handle.status()
    assert (status.id, status.state, status.task, status.queue) == (handle.id, "succeeded", "chores.add", "default")
    assert (status.priority, status.attempt, status.tags, status.args) == (7, 1, ("x",), {"a": 1, "b": 2})
    assert status.posted_at <= status.started_at <= status.ended_at
    assert status.is_final
    assert status.attempts[0].executor_id == executor.id


# looking


def test_jobs_are_found_by_state_task_queue_and_tag_newest_first(make_executor, url):
    executor = make_executor(url)
    adds = executor.post([chores.add.job(n) for n in range(3)], queue="q", tags=["t"])
    fail = executor.post(chores.fail.job(), delay=100)
    assert list(executor.jobs()) == [fail, *adds[::-1]] or {*executor.jobs()} == {fail, *adds}
    assert set(executor.jobs(state="scheduled")) == {fail}
    assert set(executor.jobs(state=["scheduled", "ready"])) == {fail, *adds}
    assert set(executor.jobs(task="chores.add")) == set(executor.jobs(queue="q")) == set(executor.jobs(tag="t"))
    assert len(list(executor.jobs(limit=2))) == 2
    assert list(executor.jobs(limit=0)) == list(executor.jobs(task="other")) == []
    with pytest.raises(ConfigError, match="Did you mean 'running'"):
        executor.jobs(state="runing")


def test_pages_hold_every_job_once(make_executor, url):
    executor = make_executor(url)
    posted = executor.post([chores.add.job(n) for n in range(350)])
    found = list(executor.jobs())
    assert len(found) == 350
    assert set(found) == set(posted)
    assert len(list(executor.jobs(limit=250))) == 250


def test_executors_and_counts_are_seen_from_another(make_executor, url, tmp_path):
    url = url.replace("memory://", f"memory://{tmp_path.name}")
    one, two = make_executor(url, slots=3, name="one").start(), make_executor(url)
    (seen,) = two.executors()
    assert (seen.id, seen.name, seen.slots) == (one.id, "one", 3)
    two.post(chores.add.job(1)).result(WAIT)
    assert [(found.state, found.jobs) for found in two.count()] == [("succeeded", 1)]
    one.stop()
    assert two.executors() == []


# waiting


def test_wait_means_that_nothing_is_left_to_do(executor, fifo):
    assert executor.wait(WAIT)
    handle, gate = held(executor, fifo)
    executor.post(chores.add.job(1), delay=1000)
    assert not executor.wait(0.01)
    open_gate(gate)
    assert executor.wait(WAIT)
    assert handle.status().is_final


def test_wait_never_misses_that_all_has_ended(make_executor):
    executor = make_executor(poll=1000).start()
    began = time.monotonic()
    for _ in range(300):
        executor.post(chores.add.job(1), runner="thread")
        assert executor.wait(WAIT)
    assert time.monotonic() - began < WAIT


def test_idle_is_told_once_when_all_has_ended(executor):
    heard: queue.Queue[Event] = queue.Queue()
    executor.wait(WAIT)
    executor.on("idle", heard.put)
    handles = executor.post([chores.add.job(n) for n in range(10)])
    assert heard.get(timeout=WAIT).kind == "idle"
    assert all(one.status().is_final for one in handles)


# events


def test_each_kind_of_event_is_told_of_the_jobs_that_run_here(executor, ledger):
    heard: queue.Queue[Event] = queue.Queue()
    for kind in ("start", "success", "fail", "retry", "cancel"):
        executor.on(kind, heard.put)

    def of(handle, count: int) -> list[str]:
        events = [heard.get(timeout=WAIT) for _ in range(count)]
        assert {(event.job_id, event.executor_id) for event in events} == {(handle.id, executor.id)}
        return sorted(event.kind for event in events)  # each kind has a thread of its own

    assert of(executor.post(chores.add.job(1)), 2) == ["start", "success"]
    twice = executor.post(chores.fail.job(), max_attempts=2, backoff=0)
    assert of(twice, 4) == ["fail", "retry", "start", "start"]
    assert of(executor.post(chores.leave.job(100)), 2) == ["cancel", "start"]
    assert heard.empty()


# capacity


@pytest.mark.parametrize("runner", ["pool", "thread"])
def test_slots_are_never_exceeded(make_executor, url, ledger, runner):
    executor = make_executor(url, slots=3)
    costs = [1, 2, 3, 1, 1, 2, 3, 2, 1, 1] * 3
    for cost in costs:
        executor.post(chores.occupy.job(str(ledger), cost), slots=cost, runner=runner)
    executor.start()
    assert executor.wait(WAIT)
    busy, most = 0, 0
    changes = [int(line) for line in lines(ledger)]
    for change in changes:
        busy += change
        most = max(most, busy)
    assert len(changes) == 2 * len(costs)
    assert 2 <= most <= 3


def test_a_heavy_job_is_not_starved_by_light_ones_behind_it(make_executor, url, ledger):
    executor = make_executor(url, slots=2)
    executor.post(chores.write.job(str(ledger), "first"), runner="thread")
    executor.post(chores.write.job(str(ledger), "heavy"), runner="thread", slots=2)
    executor.post([chores.write.job(str(ledger), f"light {n}") for n in range(100)], runner="thread")
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger).index("heavy") < 10


def test_two_executors_share_the_work_and_run_each_job_once(make_executor, url, ledger, tmp_path):
    url = url.replace("memory://", f"memory://{tmp_path.name}")
    one, two = make_executor(url, slots=2).start(), make_executor(url, slots=2).start()
    handles = one.post([chores.write.job(str(ledger), f"{n}") for n in range(60)])
    for handle in handles:
        two.job(handle.id).result(WAIT)
    assert sorted(map(int, lines(ledger))) == list(range(60))
    assert {handle.status().attempts[0].executor_id for handle in handles} == {one.id, two.id}


# retention


def test_ended_jobs_are_forgotten_by_age_and_count(make_executor, url, monkeypatch):
    from ostinato import Keep, keeper

    monkeypatch.setattr(keeper, "CLEAN", 0.05)
    executor = make_executor(url, keep={"succeeded": Keep(count=2), "failed": Keep(age=0)}).start()
    good = executor.post([chores.add.job(n) for n in range(5)], runner="thread")
    bad = executor.post(chores.fail.job(), runner="thread")
    later = executor.post(chores.add.job(1), delay=1000)
    ends = time.monotonic() + WAIT
    while len(left := set(executor.jobs())) > 3:
        assert time.monotonic() < ends, left
        executor.wait(0.01)
    assert bad not in left
    assert later in left
    assert len(left & set(good)) == 2
    with pytest.raises(JobNotFound, match="retention"):
        bad.result(WAIT)


def test_an_executor_shows_no_password(tmp_path):
    from ostinato.plugins import masked

    assert masked("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert repr(TaskExecutor("memory://", log_store=str(tmp_path))) == "<TaskExecutor memory:// stopped>"
