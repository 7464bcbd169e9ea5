"""The tasks that the benchmarks run: they do nothing, or say when they did it."""

import time
from collections.abc import Generator

from ostinato import Job, task


@task
def noop() -> None:
    """In a process of its own."""


@task(runner="thread")
def noop_thread() -> None:
    """In a thread."""


@task
def stamp() -> int:
    """When it was run, in a process of its own."""
    return time.time_ns()


@task(runner="thread")
def stamp_thread() -> int:
    """When it was run, in a thread."""
    return time.time_ns()


@task(runner="thread")
def fan_out(jobs: int) -> Generator[list[Job], list[None], int]:
    """A flow of that many steps; how many have ended."""
    return len((yield [noop_thread.job() for _ in range(jobs)]))
