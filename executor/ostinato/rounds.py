"""What became of the newest round of a schedule.

A round that does not take place, because its predecessor in the chain did not succeed, leaves no job.
So it is not kept but seen: from the end of the predecessor's job, and from there being none after it.
Kept, it would be missed where a waiting predecessor is cancelled, which no executor follows up, and
would be wrong once the predecessor is re-run and succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from ostinato.book import Page, tag_of
from ostinato.model import FINAL, Row, State
from ostinato.storage import JobQuery, Store
from ostinato.units import moment

_UNMET = {"failed": "failed", "cancelled": "was cancelled", "expired": "expired"}


class Round(Struct, frozen=True, kw_only=True):
    """The ``state`` of the job of a round, since ``at``. ``job_id`` is None if the round is cancelled
    for the sake of a job of another schedule, which ``reason`` names."""

    state: State
    job_id: str | None
    tick: datetime | None
    at: datetime
    reason: str = ""


def newest(store: Store, pages: Mapping[str, Page], name: str, *, ended: bool = False) -> Round | None:
    """The newest round (of those that have ended) of a schedule; None: none is known."""
    row, schedule = _newest_job(store, name, ended), pages[name].schedule
    before = None if schedule.after is None else newest(store, pages, schedule.after, ended=True)
    since = moment(schedule.anchor if row is None else row.posted_at)
    if before is not None and before.state in _UNMET and before.at >= since:
        why = f"job {before.job_id} of schedule {schedule.after} {_UNMET[before.state]}"
        return Round(
            state="cancelled",
            job_id=None,
            tick=before.tick,
            at=before.at,
            reason=why if before.job_id else before.reason,
        )
    return None if row is None else _as_round(row)


def _newest_job(store: Store, name: str, ended: bool) -> Row | None:
    states: tuple[State, ...] = ("succeeded", "failed", "cancelled", "expired") if ended else ()
    return next(iter(store.find(JobQuery(tag=tag_of(name), states=states, limit=1)).rows), None)


def _as_round(row: Row) -> Round:
    at = row.ended_at or (row.started_at if row.state == "running" else None) or row.posted_at
    tick = None if row.job.tick is None else moment(row.job.tick)
    return Round(state=row.state, job_id=row.job.id, tick=tick, at=moment(at), reason=row.reason)


def unmet(pages: Mapping[str, Page], row: Row) -> list[str]:
    """The schedules of which a round is cancelled because this job has ended so."""
    if row.job.schedule is None or row.state not in FINAL or row.state == "succeeded":
        return []
    found = [row.job.schedule]
    for name in found:  # which grows
        found += [one for one, page in sorted(pages.items()) if page.schedule.after == name]
    return found[1:]
