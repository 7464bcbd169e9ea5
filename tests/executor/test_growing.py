"""Posting from inside a job, unique keys, versions of arguments: what grows over time."""

from __future__ import annotations

from datetime import timedelta

import growing
import pytest
from harness import WAIT, lines

from ostinato import AlreadyPosted, ConfigError, Job, JobFailed, TaskError, Unique
from ostinato.storage import JobQuery
from ostinato.task import Task

RUNNERS = ["subprocess", "pool", "thread"]


# posting inside a job


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_follow_up_of_a_failed_job_is_there_only_if_posted_at_once(executor, ledger, runner, at_once):
    handle = executor.post(growing.post_then_fail.job(str(ledger), at_once), runner=runner)
    with pytest.raises(JobFailed):
        handle.result(WAIT)
    (posted,) = lines(ledger)
    found = [one.id for one in executor.jobs(tag="follow-up") if one.id == posted]
    assert found == ([posted] if at_once else [])
    if at_once:
        assert executor.job(posted).result(WAIT) == "x"


@pytest.mark.parametrize("runner", RUNNERS)
def test_several_posted_at_once(executor, runner):
    ids = executor.post(growing.post_several_at_once.job(), runner=runner).result(WAIT)
    assert [executor.job(one).result(WAIT) for one in ids] == ["0", "1", "2"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_keys_of_jobs_posted_at_once(make_executor, runner):
    executor = make_executor(queues=["default"]).start()
    handle = executor.post(growing.post_the_same_twice.job(), runner=runner, slots=4)  # so that nothing runs beside it
    first, again, holder, key = handle.result(WAIT)
    assert first == again == holder
    assert key == "once"


def test_a_conflict_that_nobody_would_hear_of_is_refused(executor):
    with pytest.raises(JobFailed, match="at_once=True"):
        executor.post(growing.post_with_a_late_conflict.job()).result(WAIT)


def test_what_is_posted_at_once_is_checked(executor):
    with pytest.raises(JobFailed, match="over the limit"):
        executor.post(growing.post_too_much.job()).result(WAIT)


def test_a_store_that_refuses_tells_the_job(executor, monkeypatch):
    def refuse(jobs):
        raise OSError("no more jobs today")

    handle = executor.post(growing.post_several_at_once.job(), delay=timedelta(seconds=0.3))
    monkeypatch.setattr(executor._engine.dispatcher, "post", refuse)
    with pytest.raises(JobFailed, match="StoreUnavailable: no more jobs today"):
        handle.result(WAIT)


# unique keys


def test_a_key_makes_one_job(make_executor):
    executor = make_executor()
    first = executor.post(growing.child_of.job("a"), unique="k")
    assert executor.post(growing.child_of.job("b"), unique="k") == first
    assert executor.post(growing.child_of.job("c"), unique=Unique("k", on_conflict="replace")) == first
    with pytest.raises(AlreadyPosted, match=first.id) as caught:
        executor.post([growing.child_of.job("x"), growing.child_of.job("d")], unique=Unique("k", on_conflict="raise"))
    assert (caught.value.key, caught.value.job_id) == ("k", first.id)
    assert [job.id for job in executor.jobs()] == [first.id]
    with executor:
        assert first.result(WAIT) == "c"
        assert executor.post(growing.child_of.job("e"), unique="k").result(WAIT) == "e"


def test_a_period_may_be_given_in_any_form(make_executor):
    executor = make_executor()
    for n, period in enumerate((90, "90s", timedelta(minutes=1.5))):
        executor.post(growing.child_of.job(), unique=Unique(f"k{n}", period=period))
    rows = executor._store.find(JobQuery()).rows
    assert [row.job.unique and row.job.unique.period for row in rows] == [90.0, 90.0, 90.0]


@pytest.mark.parametrize(
    ("unique", "said"),
    [
        ("", "1 to 255"),
        ("x" * 256, "1 to 255"),
        ("a\0b", "without NUL"),
        (7, "give a key"),
        (Unique(7), "give text"),
        (Unique("k", until="done"), "until='done'"),
        (Unique("k", on_conflict="replaced"), "Did you mean 'replace'"),
        (Unique("k", period=-1), "period"),
        (Unique("k", period="soon"), "period"),
    ],
)
def test_bad_keys_are_refused_at_once(make_executor, unique, said):
    executor = make_executor()
    with pytest.raises(ConfigError, match=said):
        executor.post(growing.child_of.job(), unique=unique)
    assert list(executor.jobs()) == []


# versions


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("version", "args"),
    [
        (1, '{"name":"Ada Byron"}'),
        (2, '{"first":"Ada","last":"Byron"}'),
        (3, growing.greet.job("Ada", "Byron", "Hello").args),
    ],
)
def test_older_arguments_are_upgraded(executor, runner, version, args):
    job = Job(task="growing.greet", version=version, args=args)
    assert executor.post(job, runner=runner).result(WAIT) == "Hello, Byron, Ada"


def test_an_upgrade_that_gives_no_arguments_says_so(executor):
    with pytest.raises(JobFailed, match="from version 1 returned"):
        executor.post(Job(task="growing.badly_upgraded", args="{}")).result(WAIT)


def test_versions_without_an_upgrade_are_taken_as_they_are():
    one = Task(lambdaless, name="t", version=4, upgrade={2: lambda args: {**args, "b": 2}})
    assert one.arguments('{"a":1}', 1) == ([1, 2], {})
    assert one.arguments('{"a":1}', 3) == ([1], {})
    assert one.arguments('{"a":1}') == ([1], {})


def lambdaless(a: int, b: int = 0) -> int:
    return a + b


@pytest.mark.parametrize(
    "upgrade",
    [{0: dict}, {3: dict}, {"1": dict}, {1: "no function"}, [dict]],
    ids=["0", "own", "text", "value", "list"],
)
def test_bad_upgrades_are_refused_where_they_are_written(upgrade):
    with pytest.raises((ConfigError, TaskError)):
        Task(lambdaless, name="t", version=3, upgrade=upgrade)


def test_rerun_is_refused_while_another_holds_the_key(make_executor):
    executor = make_executor()
    first = executor.post(growing.child_of.job(), unique="k")
    first.cancel()
    second = executor.post(growing.child_of.job(), unique="k")
    assert second != first
    assert first.rerun() is False
    second.cancel()
    assert first.rerun() is True
