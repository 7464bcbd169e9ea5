"""Whether the code at hand fits the records of flows that are under way: asked before it is released.

The code of each is run against its record, as its next attempt would, but nothing is kept of it: decisions
are recorded in memory only, and a step that would be called now ends what can be told of its line of code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar

from msgspec import Struct

from ostinato import current, replay
from ostinato.errors import FlowError, JobNotFound, StoreUnavailable
from ostinato.model import Job, Row, Step
from ostinato.records import Records
from ostinato.search import rows
from ostinato.storage import JobQuery, Store
from ostinato.task import registry
from ostinato.wire import Order

P = ParamSpec("P")
R = TypeVar("R")


class Fit(Struct, frozen=True, kw_only=True):
    """Whether one flow fits.

    ``verdict``: it ``fits``; it has ``changed``, so that it would be parked; it ``fails``, though it waits now; its
    task is ``unknown`` here. ``text`` says what it would do next, or why it does not fit.
    """

    id: str
    task: str
    verdict: Literal["fits", "changed", "fails", "unknown"]
    text: str = ""

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against it."""
        return self.verdict in ("fits", "unknown")


def check(store: Store, job_ids: Sequence[str] = ()) -> list[Fit]:
    """Check the flows named, or all that wait for something or are parked. Raises JobNotFound, StoreUnavailable."""
    records = Records(store)
    with redirect_stdout(sys.stderr):  # what the code of flows prints
        return [_fit(records, row) for row in _flows(store, job_ids)]


def _flows(store: Store, job_ids: Sequence[str]) -> Iterator[Row]:
    if job_ids:
        found = {row.job.id: row for row in rows(store, JobQuery(ids=tuple(job_ids)))}
        missing = [job_id for job_id in job_ids if job_id not in found]
        if missing:
            raise JobNotFound(f"There is no job {missing[0]} in this store.")
        yield from found.values()
        return
    for row in rows(store, JobQuery(states=("blocked", "waiting"))):
        if row.job.kind == "function" and row.attempt > 0:  # else it comes after others, and has not begun
            yield row


def _fit(records: Records, row: Row) -> Fit:
    task = registry.get(row.job.task)
    if task is None or not task.is_flow:
        return Fit(id=row.job.id, task=row.job.task, verdict="unknown")
    verdict, text = _judge(row, lambda: _run(records, row, task))
    return Fit(id=row.job.id, task=row.job.task, verdict=verdict, text=text)


def _judge(row: Row, run: Callable[[], Any]) -> tuple[Literal["fits", "changed", "fails"], str]:
    try:
        run()
    except replay.Suspended as wait:
        if isinstance(wait.__cause__, StoreUnavailable):
            raise wait.__cause__ from None
        return "fits", wait.outcome.reason
    except FlowError as error:
        return "changed", str(error)
    except Exception as error:
        ends = f"it ends with {type(error).__name__}: {error}"
        return ("fails" if row.state in ("blocked", "waiting") else "fits"), ends
    return "fits", "it ends"


def _run(records: Records, row: Row, task: Any) -> Any:
    job = Rehearsal(_order(row), Deaf(records, row))
    args, kwargs = task.arguments(row.job.args, row.job.version)
    current.enter(job)
    try:
        return replay.run(job, task.function(*args, **kwargs))
    finally:
        current.enter(None)


def _order(row: Row) -> Order:
    """That of its next attempt."""
    job = row.job
    return Order(
        job_id=job.id,
        token=row.token,
        attempt=row.attempt + 1,
        task=job.task,
        args=job.args,
        version=job.version,
        queue=job.queue,
        tags=job.tags,
        schedule=job.schedule,
        tick=job.tick,
        checkpoint=row.checkpoint,
        steps=row.steps,
        max_payload=sys.maxsize,
    )


class Rehearsal(current.CurrentJob):
    """A job that is only run to see where its code leads."""

    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return super().step(name, _not_called)

    def record(self, key: str, text: str) -> None:
        self.recorded[key] = text


def _not_called() -> NoReturn:
    raise replay.Unforeseen


class Deaf:
    """`ostinato.current.Line` to a store that is only asked."""

    def __init__(self, records: Records, row: Row) -> None:
        self._records = records
        self._row = row

    def say(self, key: Literal["progress", "checkpoint"], value: str) -> None: ...

    def post(self, jobs: Sequence[Job]) -> list[str]:
        return [job.id for job in jobs]

    def record(self, name: str, value: str) -> None: ...

    def ask(self, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        return self._records.read(self._row, ids, cursor)
