"""Jobs that only notify: who listens for `due` gets them, at least once, and acknowledges by returning."""

from __future__ import annotations

import queue
import threading
import time
from datetime import datetime, timedelta, timezone

import chores
import pytest
from harness import WAIT
from stores import on_empty_stores

from ostinato import Cancel, ConfigError, Job, JobCancelled, JobFailed, PayloadError, Retry, Snooze
from ostinato.model import DUE, Event
from ostinato.stranded import stranded

REMINDER = Job.event("reminder", {"id": 7})


@pytest.fixture
def executor(make_executor, url):
    return make_executor(url).start()


@pytest.fixture
def anywhere(make_executor, new_url):
    """An executor on a store of any kind."""
    return make_executor(new_url()).start()


def heard_by(executor, kind: str = "due") -> queue.Queue[Event]:
    events: queue.Queue[Event] = queue.Queue()
    executor.on(kind, events.put)
    return events


@on_empty_stores()
def test_the_listener_gets_name_and_data_and_the_job_succeeds(anywhere):
    events = heard_by(anywhere)
    handle = anywhere.post(REMINDER, delay=0.1)
    event = events.get(timeout=WAIT)
    assert (event.kind, event.reason, event.data) == ("due", "reminder", {"id": 7})
    assert (event.job_id, event.task, event.attempt, event.executor_id) == (handle.id, DUE, 1, anywhere.id)
    assert handle.result(WAIT) is None
    status = handle.status()
    assert (status.state, status.args) == ("succeeded", {"name": "reminder", "data": {"id": 7}})
    assert [(one.outcome, one.log) for one in status.attempts] == [("success", "")]
    assert status.started_at >= status.run_at


@pytest.mark.parametrize("data", [None, 0, "text 🦄", [1, [2]], {"a": {"b": None}}, 2**70])
def test_data_arrive_as_they_were(executor, data):
    events = heard_by(executor)
    executor.post(Job.event("x", data))
    assert events.get(timeout=WAIT).data == data


BAD = [object(), float("nan"), (1, 2), {1: 2}, datetime.now(timezone.utc), "\ud800"]


@pytest.mark.parametrize(("name", "data"), [("", None), ("x" * 201, None), (7, None), *(("x", bad) for bad in BAD)])
def test_what_would_arrive_otherwise_is_refused(name, data):
    with pytest.raises(PayloadError, match="Cannot make the event"):
        Job.event(name, data)


@pytest.mark.parametrize("runner", ["subprocess", "pool", "thread", "asyncio"])
def test_it_has_no_other_runner(executor, runner):
    with pytest.raises(ConfigError, match="leave it out"):
        executor.post(REMINDER, runner=runner)


def test_a_function_cannot_be_a_notice(executor):
    with pytest.raises(ConfigError, match="notice"):
        executor.post(chores.add.job(1), runner="notice")


@on_empty_stores()
def test_who_does_not_listen_for_it_leaves_it_alone(make_executor, new_url):
    url = new_url()
    everything = make_executor(url)
    other: queue.Queue[Event] = queue.Queue()
    everything.on("*", other.put)
    everything.start()
    handle = everything.post(REMINDER)
    assert everything.post(chores.add.job(1), runner="thread").result(WAIT) == 1
    assert handle.status().state == "ready"
    (left,) = stranded(everything.count(), everything.executors())
    assert "listens for events that are due" in left.why

    listening = make_executor(url, poll=3600)
    listening.start()
    events = heard_by(listening)  # from now on, not with the next poll
    assert events.get(timeout=WAIT).executor_id == listening.id
    handle.result(WAIT)
    assert "due" not in {other.get().kind for _ in range(other.qsize())}


def test_who_listens_for_all_hears_it_too_where_it_is_taken(executor):
    everything = heard_by(executor, "*")
    heard_by(executor)
    handle = executor.post(REMINDER)
    handle.result(WAIT)
    kinds = []
    while "success" not in kinds:
        kinds.append(everything.get(timeout=WAIT).kind)
    assert [kind for kind in kinds if kind in ("start", "due", "success")] == ["start", "due", "success"]


def test_it_is_not_taken_any_more_after_off(executor):
    events: queue.Queue[Event] = queue.Queue()
    executor.on("due", events.put)
    executor.post(REMINDER).result(WAIT)
    executor.off("due", events.put)
    handle = executor.post(REMINDER)
    assert executor.wait(WAIT)
    assert handle.status().state == "ready"


@on_empty_stores()
def test_once_takes_one_and_hands_back_the_others(anywhere):
    events: queue.Queue[Event] = queue.Queue()
    anywhere.once("due", events.put)
    handles = anywhere.post([REMINDER] * 4)
    heard = events.get(timeout=WAIT)
    anywhere.job(heard.job_id).wait(WAIT)
    assert anywhere.wait(WAIT)
    states = sorted(one.status().state for one in handles)
    assert states == ["ready", "ready", "ready", "succeeded"]
    anywhere.on("due", events.put)
    assert all(one.wait(WAIT) for one in handles)
    assert sum(len(one.status().attempts) for one in handles if one.status().state == "succeeded") >= 4


@on_empty_stores()
def test_a_listener_that_raises_is_asked_again(anywhere):
    attempts = []

    @anywhere.on("due")
    def listen(event):
        attempts.append(event.attempt)
        if event.attempt < 3:
            raise ValueError("not now")

    handle = anywhere.post(REMINDER, backoff=0)
    handle.result(WAIT)
    assert attempts == [1, 2, 3]
    assert [one.outcome for one in handle.status().attempts] == ["failure", "failure", "success"]
    assert "ValueError: not now" in handle.status().attempts[0].error


def test_it_fails_after_three_attempts_unless_the_post_says_otherwise(executor):
    @executor.on("due")
    def listen(event):
        raise ValueError("never")

    for count, options in ((3, {}), (1, {"max_attempts": 1})):
        with pytest.raises(JobFailed) as caught:
            executor.post(REMINDER, backoff=0, **options).result(WAIT)
        assert caught.value.attempts == count


@on_empty_stores()
def test_a_listener_may_give_a_verdict(anywhere):
    seen = []

    @anywhere.on("due")
    def listen(event):
        seen.append(event.attempt)
        if event.reason == "moot":
            raise Cancel("moot")
        if event.attempt < 3:
            raise (Snooze(0.01), Retry(after=0.01))[event.attempt - 1]

    with pytest.raises(JobCancelled):
        anywhere.post(Job.event("moot")).result(WAIT)
    handle = anywhere.post(REMINDER, max_attempts=2)
    handle.result(WAIT)
    assert [one.outcome for one in handle.status().attempts] == ["snooze", "retry", "success"]


def test_all_listeners_must_return(executor):
    go = threading.Event()
    first = heard_by(executor)
    executor.on("due", lambda event: go.wait(WAIT))
    handle = executor.post(REMINDER)
    first.get(timeout=WAIT)
    assert not handle.wait(0.05)
    go.set()
    assert handle.wait(WAIT)


def test_it_costs_a_slot_while_the_listener_runs_and_no_longer(make_executor, url):
    executor = make_executor(url, slots=1).start()
    go, begun = threading.Event(), threading.Event()

    @executor.on("due")
    def listen(event):
        begun.set()
        go.wait(WAIT)

    executor.post(REMINDER)
    assert begun.wait(WAIT)
    handle = executor.post(chores.add.job(1), runner="thread")
    assert not handle.wait(0.05)
    go.set()
    assert handle.result(WAIT) == 1


@pytest.mark.parametrize("how", ["timeout", "cancel", "stop"])
def test_a_listener_that_does_not_return_is_given_up(executor, how):
    go, begun = threading.Event(), threading.Event()

    @executor.on("due")
    def listen(event):
        begun.set()
        go.wait(WAIT)

    handle = executor.post(REMINDER, max_attempts=1, grace=0, **({"timeout": 0.05} if how == "timeout" else {}))
    assert begun.wait(WAIT)
    if how == "cancel":
        assert handle.cancel()
    if how == "stop":
        executor.stop(0)
        assert handle.status().state == "ready"
    else:
        assert handle.wait(WAIT)
        assert handle.status().state == {"timeout": "failed", "cancel": "cancelled"}[how]
    go.set()


def test_arguments_that_are_none_fail_at_once(executor):
    heard_by(executor)
    from msgspec.structs import replace

    handle = executor.post(replace(REMINDER, args='{"data":1}'))
    with pytest.raises(JobFailed):
        handle.result(WAIT)
    assert handle.status().attempts[0].outcome == "unreadable"


@on_empty_stores()
def test_options_of_jobs_hold_for_it(anywhere):
    events = heard_by(anywhere)
    at = datetime.now(timezone.utc) + timedelta(seconds=0.2)
    one = anywhere.post(REMINDER, run_at=at, unique="seven", tags=["t"], deadline=timedelta(hours=1))
    assert anywhere.post(REMINDER, unique="seven").id == one.id
    events.get(timeout=WAIT)
    assert time.time() >= at.timestamp()
    assert one.wait(WAIT)
    assert not one.status().missed
    assert events.empty()


def test_a_job_may_post_one(executor):
    events = heard_by(executor)
    parent = executor.post(chores.post_reminder.job())
    parent.result(WAIT)
    assert events.get(timeout=WAIT).reason == "from a job"
