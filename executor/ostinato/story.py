"""The story of one job, told as events from any process: what its record says has happened.

The events of `TaskExecutor.on` tell what an executor does, in its own process. These are read from
the store, so that they can be followed from elsewhere, and from the beginning at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ostinato.codec import decode
from ostinato.model import END_EVENTS, FINAL, Attempt, Event, EventKind, Row

Look = Callable[[], tuple[list[Attempt], Row]]
"""The ended attempts, and the job as it is a moment later."""


def tell(look: Look, pause: Callable[[], None], result: Callable[[Row], object]) -> Iterator[Event]:
    """What has happened and happens, in order, until the job has ended.

    ``start`` and then ``retry`` for each attempt, the last one's end is that of the job; ``progress``
    as far as it is seen.
    """
    teller = _Teller()
    while True:
        attempts, row = look()
        if row.state in FINAL and len(attempts) < row.attempt:  # the last one ended between the two looks
            attempts, row = look()
        yield from teller.news(attempts, row)
        if row.state in FINAL:
            yield teller.end(row, result(row))
            return
        pause()


class _Teller:
    """Knows what has been told already."""

    def __init__(self) -> None:
        self._started = 0
        self._ended = 0
        self._progress: str | None = None

    def news(self, attempts: list[Attempt], row: Row) -> Iterator[Event]:
        for one in attempts:
            if one.number <= self._ended:
                continue
            if one.number > self._started:
                yield self._start(row, one.number, one.executor_id, one.started_at)
            self._ended = one.number
            if row.state not in FINAL or one.number < row.attempt:
                yield _event(
                    "retry", row, one.number, one.executor_id, one.ended_at, error=one.error, reason=one.reason
                )
        if row.state == "running" and row.attempt > self._started:
            yield self._start(row, row.attempt, row.executor_id or "", row.started_at or 0)
        if row.progress is not None and row.progress != self._progress:
            self._progress = row.progress
            said = decode(row.progress)
            progress = (said["done"], said["total"], said["message"])
            yield _event("progress", row, row.attempt, row.executor_id or "", row.started_at or 0, progress=progress)

    def _start(self, row: Row, number: int, executor_id: str, at: int) -> Event:
        self._started = number
        return _event("start", row, number, executor_id, at)

    def end(self, row: Row, result: object) -> Event:
        return _event(
            END_EVENTS[row.state],
            row,
            row.attempt or None,
            row.executor_id or "",
            row.ended_at or 0,
            result=result,
            error=row.error,
            reason=row.reason,
        )


def _event(kind: EventKind, row: Row, attempt: int | None, executor_id: str, at: int, **fields: object) -> Event:
    return Event(
        kind=kind,
        executor_id=executor_id,
        at=at,
        job_id=row.job.id,
        task=row.job.task,
        attempt=attempt,
        **fields,  # type: ignore[arg-type]
    )
