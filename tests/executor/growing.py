"""Tasks that post others, and one that has changed its arguments."""

from __future__ import annotations

import os
from typing import Any

from chores import note

from ostinato import AlreadyPosted, Job, Unique, current_job, task


def split_name(args: dict[str, Any]) -> dict[str, Any]:
    first, _, last = args.pop("name").partition(" ")
    return {**args, "first": first, "last": last}


def add_greeting(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "greeting": "Hello"}


@task(version=3, upgrade={1: split_name, 2: add_greeting})
def greet(first: str, last: str, greeting: str) -> str:
    return f"{greeting}, {last}, {first}"


@task(version=2, upgrade={1: lambda args: ["no", "dict"]})  # type: ignore[dict-item, return-value]
def badly_upgraded(a: int = 0) -> int:
    return a


@task
def child_of(name: str = "") -> str:
    return name


@task
def post_then_fail(path: str, at_once: bool) -> None:
    posted = current_job().post(child_of.job("x"), at_once=at_once, tags=["follow-up"])
    note(path, posted.id)
    raise ValueError("after the post")


@task
def post_several_at_once() -> list[str]:
    return [job.id for job in current_job().post([child_of.job(str(n)) for n in range(3)], at_once=True)]


@task
def post_the_same_twice() -> list[str]:
    first = current_job().post(child_of.job(), at_once=True, unique="once")
    again = current_job().post(child_of.job(), at_once=True, unique="once")
    try:
        current_job().post(child_of.job(), at_once=True, unique=Unique("once", on_conflict="raise"))
    except AlreadyPosted as error:
        return [first.id, again.id, error.job_id, error.key]
    return []


@task
def post_with_a_late_conflict() -> None:
    current_job().post(child_of.job(), unique=Unique("k", on_conflict="raise"))


@task
def post_too_much() -> None:
    current_job().post(Job(task="growing.child_of", args='{"name":"' + "x" * 5_000_000 + '"}'), at_once=True)


@task(max_attempts=3, backoff=0)
def third_time_lucky(gate: str) -> int:
    me = current_job()
    me.progress(me.attempt, 3, "trying")
    if me.attempt < 3:
        raise ValueError(f"attempt {me.attempt}")
    with open(gate) as file:
        file.readline()
    return os.getpid()
