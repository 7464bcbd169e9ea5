"""Cancels of jobs that do not run: no engine has a part in them, so that their news comes from here."""

from __future__ import annotations

from msgspec.structs import replace

from ostinato.deadlines import missed_first_at
from ostinato.events import Events
from ostinato.model import Event
from ostinato.storage import JobQuery, Store


def tell(events: Events, store: Store, job_id: str, executor_id: str) -> None:
    """Let the listeners of an executor hear that it cancelled this job. Raises StoreUnavailable."""
    if not (events.wants("cancel") or events.wants("deadline_missed")):
        return
    for row in store.find(JobQuery(ids=(job_id,))).rows:
        event = Event(
            kind="cancel",
            executor_id=executor_id,
            at=row.ended_at or 0,
            job_id=job_id,
            task=row.job.task,
            reason=row.reason,
        )
        if missed_first_at(row, row.ended_at, lambda: store.attempts([job_id])):
            events.emit(replace(event, kind="deadline_missed", reason=""))
        events.emit(event)
