"""Witnesses: each writes down what it sees of a run, into its own part of a history.

client = Client(executor, log)     posts and changes jobs, sets limits, and notes what was answered
with effect(path): ...             inside a task: what it does to the world
listen(executor, log)              what the executor tells
keep(store, log)                   what the store holds in the end
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ostinato import clock, host
from ostinato.book import Book
from ostinato.current import current_job
from ostinato.errors import StoreError
from ostinato.events import KINDS
from ostinato.model import Event, Job
from ostinato.storage import Ask, Changed, JobQuery, Record, Store
from ostinato.testing.history import Call, Effect, Heard, Kept, Log, Op, Planned

if TYPE_CHECKING:
    from ostinato.executor import TaskExecutor
    from ostinato.handle import JobHandle

T = TypeVar("T")
PAGE = 500


class Client:
    """Asks for things from outside, and notes every question before it is put, so that one that
    was cut off is known to have been put."""

    def __init__(self, executor: TaskExecutor, log: Log, name: str = "") -> None:
        self._executor = executor
        self._log = log
        self._name = name or f"pid {os.getpid()}"
        self._numbers = count(1)

    def post(self, jobs: Sequence[Job], **options: Any) -> list[JobHandle]:
        """As `TaskExecutor.post`, whose errors it passes on."""
        known = {"count": len(jobs)}

        def answer(handles: list[JobHandle]) -> dict[str, Any]:
            return {"jobs": tuple(handle.id for handle in handles), "created": (True,) * len(handles)}

        return self._ask("post", known, lambda: self._executor.post(list(jobs), **options), answer)

    def change(self, store: Store, ids: Sequence[str], ask: Ask) -> list[Changed]:
        """As `Store.change`, whose errors it passes on."""
        known = {"jobs": tuple(ids)}

        def answer(changed: list[Changed]) -> dict[str, Any]:
            return {"states": tuple(one.after for one in changed)}

        return self._ask(ask.kind, known, lambda: store.change(ids, ask), answer)

    def limit(self, store: Store, capacities: Mapping[str, int | None]) -> None:
        """As `Store.limit`, whose errors it passes on; 0 pauses."""
        self._ask("limit", {"limits": dict(capacities)}, lambda: store.limit(capacities), lambda _: {})

    def _ask(self, op: Op, known: dict[str, Any], call: Callable[[], T], answer: Callable[[T], dict[str, Any]]) -> T:
        number, began = next(self._numbers), clock.now()

        def write(outcome: Literal["asked", "ok", "failed", "unknown"], ended: int, **fields: Any) -> None:
            fields = {**known, **fields}
            self._log.write(
                Call(client=self._name, number=number, op=op, outcome=outcome, began=began, ended=ended, **fields)
            )

        write("asked", 0)
        try:
            got = call()
        except StoreError:
            write("unknown", clock.now())
            raise
        except Exception:
            write("failed", clock.now())
            raise
        write("ok", clock.now(), **answer(got))
        return got


@contextmanager
def effect(path: str) -> Iterator[Callable[[], None]]:
    """Inside a task: its attempt begins, and ends if nothing is raised. Gives a function that says
    that it goes on. Each sign is one line in the file, outside of any store. Jobs that it posts at once
    are not noted: let a `Client` post those."""
    log = Log(path)
    job = current_job()

    def sign(kind: Literal["begin", "alive", "end"]) -> None:
        posts = job.posts if kind == "end" else ()
        log.write(
            Effect(
                kind=kind,
                job=job.id,
                attempt=job.attempt,
                pid=os.getpid(),
                at=clock.now(),
                steady=clock.steady(),
                posts=tuple(one.id for one in posts if one.unique is None),
                perhaps=tuple(one.id for one in posts if one.unique is not None),
            )
        )

    try:
        sign("begin")
        yield lambda: sign("alive")
        sign("end")
    finally:
        log.close()


def listen(executor: TaskExecutor, log: Log) -> None:
    """Note what the executor tells about attempts."""

    def note(event: Event) -> None:
        if event.job_id is not None and event.attempt is not None:
            log.write(
                Heard(kind=event.kind, executor=event.executor_id, at=event.at, job=event.job_id, attempt=event.attempt)
            )

    for kind in sorted(KINDS - {"idle", "progress"}):
        executor.on(kind, note)


def keep(store: Store, log: Log) -> None:
    """Note all jobs and attempts of the store, and its schedules."""
    log.write(*(Planned(page.schedule, page.last) for page in Book(store).read().values()))
    cursor: str | None = None
    while True:
        page = store.find(JobQuery(limit=PAGE, cursor=cursor))
        attempts = store.attempts([row.job.id for row in page.rows])
        for row in page.rows:
            log.write(Kept(Record(row, tuple(one for one in attempts if one.job_id == row.job.id))))
        if page.next is None:
            return
        cursor = page.next


def still_registered(store: Store) -> list[str]:
    """Executors that have not said goodbye, and did not die: after the end there should be none."""
    now = store.now()
    return [f"executor {one.id}" for one in store.executors() if one.lease_until > now and not host.is_dead(one)]
