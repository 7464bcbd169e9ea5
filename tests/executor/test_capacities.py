"""Limits, pauses and resources as an application sets them, on stores that need no server."""

from __future__ import annotations

import threading
from datetime import timedelta

import chores
import pytest
from harness import lines

from ostinato import ConfigError, Job, ResourceError, TaskExecutor
from ostinato.capacities import Capacities, rate_of
from ostinato.keys import Keys
from ostinato.model import SECOND, Policy
from ostinato.options import Placement, task_fields
from ostinato.storage import Entry, JobQuery, Rate, Want
from ostinato.testing.samples import claim, job, jobs, names
from ostinato.testing.threads import together


@pytest.fixture
def executor(url, make_executor):
    return make_executor(url)


def row(executor: TaskExecutor, job_id: str):
    return executor._store.find(JobQuery(ids=(job_id,))).rows[0]


def take(executor: TaskExecutor, count: int = 100) -> list[str]:
    """The ids of what an executor could start now."""
    want = Want(tasks={"chores.add": 1}, queues=("*",), slots=100, capacity=100, count=count)
    return names(executor._store.claim("e1", want).rows)


# options


def test_resources_and_keys_become_holds():
    fields = task_fields({"resources": {"gpu": 2, "disk": 1}, "per_key": 3})
    assert fields["holds"] == (("resource:disk", 1), ("resource:gpu", 2))
    assert fields["policy"] == Policy(per_key=3)
    of_task = Job(task="t", **fields)

    def posted(**options):
        return Placement(options, 0).apply(of_task, "id").holds

    assert posted() == of_task.holds
    assert posted(key="c7") == (*of_task.holds, ("key:c7", 1))
    assert posted(resources={"cpu": 1}) == (("resource:cpu", 1),)
    assert posted(resources={}, key="c7") == (("key:c7", 1),)
    assert Placement({"key": "c8"}, 0).apply(Job(task="t", holds=(("key:c7", 1),)), "id").holds == (("key:c8", 1),)
    assert Placement({"key": None}, 0).apply(Job(task="t", holds=(("key:c7", 1), ("own", 2))), "id").holds == (
        ("own", 2),
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resources": "gpu"}, "give units by name"),
        ({"resources": {"gpu": 0}}, r"resources\['gpu'\]=0"),
        ({"resources": {"gpu": True}}, "whole number"),
        ({"resources": {"a b": 1}}, "resource name 'a b'"),
        ({"resources": {7: 1}}, "resource name 7"),
        ({"key": "a b"}, "key name 'a b'"),
        ({"key": 7}, "key name 7"),
        ({"per_key": 0, "key": "k"}, "per_key=0"),
        ({"per_key": 2}, "give key="),
    ],
)
def test_wrong_options_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        Placement(options, 0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/1m", Rate(100, 60 * SECOND)),
        ("5/s", Rate(5, SECOND)),
        (" 7 / 90 ", Rate(7, 90 * SECOND)),
        ((3, timedelta(hours=1)), Rate(3, 3600 * SECOND)),
        ((3, 0.5), Rate(3, SECOND // 2)),
    ],
)
def test_rates_as_people_write_them(text, rate):
    assert rate_of(text) == rate


@pytest.mark.parametrize(
    "text", ["100", "x/1m", "0/1m", "5/0s", "5/soon", (0, 1), (True, 1), ("5", 1), (5,), 5, (5, -1)]
)
def test_wrong_rates_are_refused(text):
    with pytest.raises(ConfigError, match="rate="):
        rate_of(text)


# resources


def test_what_nobody_declared_is_refused(executor):
    executor.resource("gpus", 4)
    with pytest.raises(ResourceError, match=r"Did you mean 'gpus'\?.*executor.resource\('gpu', 1\)") as refused:
        executor.post([chores.add.job(1), chores.add.job(2)], resources={"gpu": 1})
    assert (refused.value.resource, refused.value.units, refused.value.declared) == ("gpu", 1, None)
    with pytest.raises(ResourceError, match="has 4 units, but the job needs 5") as refused:
        executor.post(chores.add.job(1), resources={"gpus": 5})
    assert refused.value.declared == 4
    assert list(executor.jobs()) == []
    executor.resource("gpus", 5)
    executor.post(chores.add.job(1), resources={"gpus": 5})


def test_what_was_declared_elsewhere_is_known(url, make_executor, executor):
    other = executor if url == "memory://" else make_executor(url)
    with pytest.raises(ResourceError):
        executor.post(chores.add.job(1), resources={"gpu": 1})
    other.resource("gpu", 1)
    executor.post(chores.add.job(1), resources={"gpu": 1})


def test_known_resources_cost_no_call(executor, monkeypatch):
    executor.resource("gpu", 2)
    executor.post(chores.add.job(1), resources={"gpu": 2})
    monkeypatch.setattr(executor._store, "limits", lambda: pytest.fail("asked again"))
    executor.post(chores.add.job(1), resources={"gpu": 1})
    executor.post(chores.add.job(1))


def test_resources_tell_who_holds_them(executor):
    executor.resource("gpu", 3)
    executor.resource("disk", 1)
    handle = executor.post(chores.add.job(1), resources={"gpu": 2})
    assert [(one.name, one.units, one.free, one.held) for one in executor.resources()] == [
        ("disk", 1, 1, {}),
        ("gpu", 3, 3, {}),
    ]
    assert take(executor) == [handle.id]
    disk, gpu = executor.resources()
    assert (gpu.free, gpu.held, gpu.in_service) == (1, {handle.id: 2}, True)
    assert disk.free == 1
    executor.resource("disk", None)
    assert [one.name for one in executor.resources()] == ["gpu"]
    with pytest.raises(ResourceError):
        executor.post(chores.add.job(1), resources={"disk": 1})


def test_a_resource_out_of_service_and_back(executor):
    executor.resource("gpu", 2)
    assert executor.pause(resource="gpu")
    assert not executor.pause(resource="gpu")
    one = executor.post(chores.add.job(1), resources={"gpu": 2})  # it will be back
    (gpu,) = executor.resources()
    assert (gpu.units, gpu.free, gpu.in_service) == (2, 0, False)
    assert gpu.paused is not None
    assert "process" in gpu.paused.by
    assert take(executor) == []
    assert executor.resume(resource="gpu")
    assert not executor.resume(resource="gpu")
    assert take(executor) == [one.id]


def test_units_that_change_while_it_is_out(executor):
    executor.resource("gpu", 1)
    executor.pause(resource="gpu")
    executor.resource("gpu", 2)
    two = executor.post(chores.add.job(1), resources={"gpu": 2})
    assert take(executor) == []
    executor.resume(resource="gpu")
    assert take(executor) == [two.id]
    executor.pause(resource="gpu")
    executor.resource("gpu", None)
    assert executor.resources() == []
    executor.resource("gpu", 1)
    assert executor.resources()[0].in_service


def test_wrong_resources_are_refused(executor):
    for units in (-1, True, 1.5, "2"):
        with pytest.raises(ConfigError, match="units="):
            executor.resource("gpu", units)
    with pytest.raises(ConfigError, match="resource name"):
        executor.resource("g p u", 1)
    for act in (executor.pause, executor.resume):
        with pytest.raises(ConfigError, match=r"There is no resource 'gpu'.*ostinato resources set gpu"):
            act(resource="gpu")


# limits and pauses


def test_a_queue_is_limited_paused_and_resumed(executor):
    executor.limit(queue="default", concurrency=1)
    first, second, third = executor.post([chores.add.job(1), chores.add.job(2), chores.add.job(3)])
    assert take(executor) == [first.id]
    assert take(executor) == []
    assert executor.pause(queue="default")
    executor.limit(queue="default", concurrency=2)  # holds from resume on
    assert take(executor) == []
    (limit,) = executor.limits()
    assert (limit.of, limit.name, limit.concurrency, limit.paused is not None) == ("queue", "default", 2, True)
    assert executor.resume(queue="default")
    assert take(executor) == [second.id]
    executor.limit(queue="default", concurrency=None)
    assert take(executor) == [third.id]
    assert executor.limits() == []


def test_pause_and_resume_of_what_has_no_limit(executor):
    assert executor.pause(task="chores.add")
    handle = executor.post(chores.add.job(1))
    assert take(executor) == []
    assert executor.resume(task="chores.add")
    assert not executor.resume(task="chores.add")
    assert take(executor) == [handle.id]
    assert executor.limits() == []


def test_a_pause_that_was_cut_off_is_completed(store):
    store.post([job("a")])
    paused = Capacities(store)
    paused.pause("queue:default")
    store.limit({"queue:default": None})  # as if its process had died between the two writes
    assert not Capacities(store).pause("queue:default")
    assert claim(store) == []


def test_a_rate_is_set_and_removed(executor):
    executor.limit(task="chores.add", rate="2/1h")
    handles = executor.post([chores.add.job(n) for n in range(4)])
    ids = [one.id for one in handles]
    assert take(executor) == ids[:2]
    assert take(executor) == []
    assert [(one.of, one.name, one.rate) for one in executor.limits()] == [
        ("task", "chores.add", Rate(2, 3600 * SECOND))
    ]
    executor.limit(task="chores.add", concurrency=3)  # leaves the rate
    assert take(executor) == []
    executor.limit(task="chores.add", rate=None)
    assert take(executor) == [ids[2]]
    executor.limit(task="chores.add", concurrency=None, rate=(9, timedelta(hours=1)))
    assert take(executor) == [ids[3]]
    assert [(one.concurrency, one.rate) for one in executor.limits()] == [(None, Rate(9, 3600 * SECOND))]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"queue": "a", "task": "b", "concurrency": 1}, "Name one thing"),
        ({"concurrency": 1}, "Name one thing: queue= or task= or key="),
        ({"queue": "a"}, "Say what bounds it"),
        ({"queue": "a", "concurrency": -1}, "concurrency=-1"),
        ({"queue": "a", "concurrency": True}, "concurrency=True"),
        ({"queue": "a*", "concurrency": 1}, "queue name"),
        ({"queue": "a", "concurrency": 1, "rate": "soon"}, "rate='soon'"),
    ],
)
def test_wrong_limits_are_refused_whole(executor, what, told):
    with pytest.raises(ConfigError, match=told):
        executor.limit(**what)
    assert executor.limits() == []


def test_several_who_pause_or_resume_at_once_leave_the_limit_as_it_was(store):
    store.limit({"queue:default": 3})
    for _ in range(10):
        assert sum(together(lambda one: one.pause("queue:default"), [Capacities(store) for _ in range(3)])) == 1
        assert store.limits() == {"queue:default": 0}
        assert sum(together(lambda one: one.resume("queue:default"), [Capacities(store) for _ in range(3)])) >= 1
        assert store.limits() == {"queue:default": 3}


# keys


def test_per_key_bounds_each_key(executor):
    first, second = executor.post([chores.add.job(1), chores.add.job(2)], key="c7", per_key=1)
    other = executor.post(chores.add.job(3), key="c8", per_key=1)
    free = executor.post(chores.add.job(4), key="c9")
    assert take(executor) == [first.id, other.id, free.id]
    assert take(executor) == []
    assert [(one.of, one.name, one.concurrency) for one in executor.limits()] == [("key", "c7", 1), ("key", "c8", 1)]
    executor.limit(key="c7", concurrency=2)
    assert take(executor) == [second.id]


def test_a_limit_that_was_set_by_hand_stays(store):
    Capacities(store).limit("key:c7", 0)
    keyed = job("a", holds=(("key:c7", 1),), policy=Policy(per_key=5))
    Keys(store).declare([keyed])
    assert store.limits() == {"key:c7": 0}
    Capacities(store).limit("key:c7", None)
    Keys(store).declare([keyed])
    assert store.limits() == {"key:c7": 5}


def test_only_a_new_key_costs_a_call(store, monkeypatch):
    keys = Keys(store)
    keyed = job("a", holds=(("key:c7", 1),), policy=Policy(per_key=1))
    keys.declare([keyed, keyed])
    monkeypatch.setattr(store, "limit", lambda *_: pytest.fail("set again"))
    monkeypatch.setattr(store, "entries", lambda *_: pytest.fail("asked again"))
    keys.declare([keyed, job("b"), job("c", policy=Policy(per_key=1))])


def test_jobs_of_schedules_are_checked_and_bound_their_keys(executor):
    with pytest.raises(ResourceError):
        executor.schedule("nightly", chores.add.job(1), every=1, resources={"gpu": 1})
    assert executor.schedules() == []
    done = threading.Event()
    executor.on("success", lambda event: done.set())
    executor.schedule("often", chores.add.job(1), every=1, key="c7", per_key=3)
    with executor:
        assert done.wait(20)
    assert [(one.name, one.concurrency) for one in executor.limits()] == [("c7", 3)]


@pytest.mark.parametrize("at_once", [True, False])
def test_follow_ups_bound_their_keys_too(executor, at_once):
    with executor:
        executor.post(chores.follow_keyed.job(at_once)).result(20)
        assert [(one.name, one.concurrency) for one in executor.limits()] == [("c7", 2)]


# with executors


def test_jobs_of_one_key_never_overlap(executor, ledger):
    with executor:
        handles = executor.post([chores.alone.job(str(ledger), n) for n in range(6)], key="c7")
        assert [one.result(20) for one in handles] == [None] * 6
    said = lines(ledger)
    assert len(said) == 12
    for begin, end in zip(said[::2], said[1::2], strict=True):
        assert end == begin.replace("begin", "end")


def test_entries_of_others_are_left_alone(store):
    store.keep([Entry("schedule", "nightly", "{}")])
    Capacities(store).pause("queue:default")
    Capacities(store).resume("queue:default")
    assert store.entries("schedule") == [Entry("schedule", "nightly", "{}", 1)]
    assert store.entries("paused") == []


def test_a_blocked_lane_holds_back_nobody(store):
    store.limit({"resource:gpu": 0})
    store.post([*jobs(3, holds=(("resource:gpu", 1),), priority=100), job("free")])
    assert names(claim(store)) == ["free"]
