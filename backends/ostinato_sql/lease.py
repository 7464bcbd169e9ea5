"""Runs in progress: signs of life, notes, and the rescue of runs whose executor is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, bindparam, delete, literal_column, or_, select, update

from ostinato.model import SECOND, ExecutorInfo, Fence, Row
from ostinato.storage import Note, Renewal, Rescue
from ostinato_sql.database import Database
from ostinato_sql.link import Link
from ostinato_sql.rows import SEQ, TOKEN, WHOLE, changed, to_rows
from ostinato_sql.statement import Keyed, Statement, at_most
from ostinato_sql.tables import attempts, executors, is_running, jobs, notes, steps

_DAY = 86_400 * SECOND


def _running(keys: Sequence[Any]) -> Select[Any]:
    found = select(jobs.c.id, jobs.c.token, jobs.c.seq, jobs.c.cancelling, jobs.c.stepped)
    return found.where(jobs.c.id.in_(keys), is_running).order_by(jobs.c.seq)


_HELD = Keyed(_running)
_LOCK = Keyed(lambda keys: _running(keys).with_for_update())
_LOCK_FREE = Keyed(lambda keys: _running(keys).with_for_update(skip_locked=True))
_EXTEND = Keyed(
    lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).ordered_values((jobs.c.lease_until, bindparam("until"))),
    "until",
)
_TAKE_OVER = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.token, jobs.c.token + literal_column("1")),
            (jobs.c.executor_id, bindparam("owner")),
            (jobs.c.lease_until, bindparam("until")),
        )
    ),
    "owner",
    "until",
)


_SIGN = Statement(lambda dialect: dialect.insert_or_replace(executors), *executors.c.keys())
_KNOWN = Statement(select(executors.c.id).where(executors.c.id == bindparam("whose")), "whose")
_GOODBYE = Statement(delete(executors).where(executors.c.id == bindparam("whose")), "whose")
_ALIVE = Statement(
    select(executors.c.info)
    .where(executors.c.id != bindparam("own"), executors.c.lease_until > bindparam("at"))
    .order_by(executors.c.id),
    "own",
    "at",
)
_owners = select(jobs.c.executor_id).where(is_running)
_silent = executors.c.lease_until < bindparam("since")
_SILENT = Statement(at_most(1, select(executors.c.id).where(_silent)), "since")
_FORGET_SILENT = Statement(delete(executors).where(_silent, executors.c.id.not_in(_owners)), "since")
_LISTED = Statement(
    select(executors.c.info)
    .where(or_(executors.c.lease_until >= bindparam("since"), executors.c.id.in_(_owners)))
    .order_by(executors.c.id),
    "since",
)
_NOTE = Statement(lambda dialect: dialect.insert_or_replace(notes), *notes.c.keys())
_STEP = Statement(lambda dialect: dialect.insert_new(steps), *steps.c.keys())
_STEPPED = Keyed(lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).values(stepped=literal_column("1")))
_ENDED = Statement(
    select(attempts.c.number)
    .join(jobs, jobs.c.seq == attempts.c.job)
    .where(jobs.c.id == bindparam("whose"), attempts.c.number == bindparam("which")),
    "whose",
    "which",
)
_NOTE_LOG = Statement(
    update(attempts)
    .where(
        attempts.c.job == select(jobs.c.seq).where(jobs.c.id == bindparam("whose")).scalar_subquery(),
        attempts.c.number == bindparam("which"),
    )
    .values(log=bindparam("url")),
    "url",
    "whose",
    "which",
)


class Held(NamedTuple):
    """What counts of a job that runs."""

    seq: int
    cancelling: int
    stepped: int


def _held(link: Link, ids: Sequence[str], how: Keyed) -> dict[Fence, Held]:
    """Those of the jobs that run, by their fences."""
    return {Fence(job_id, token): Held(*found) for job_id, token, *found in link.among(how, ids)}


def renew(link: Link, executor: ExecutorInfo, fences: Sequence[Fence], lease: int, now: int) -> Renewal:
    held = _held(link, [fence.job_id for fence in fences], _LOCK_FREE)
    if lease:
        link.run_among(_EXTEND, [held[fence].seq for fence in fences if fence in held], now + lease)
    # Those that are being written at this moment are not waited for: a finish that takes long must
    # not cost the other runs their leases. They are extended the next time, if they still run.
    held |= _held(link, [fence.job_id for fence in fences if fence not in held], _HELD)
    if lease:
        known = msgspec.structs.replace(executor, seen_at=now, lease_until=now + lease)
        link.run(_SIGN, known.id, known.lease_until, msgspec.json.encode(known).decode())
    else:
        link.run(_GOODBYE, executor.id)
    if link.first(_SILENT, now - _DAY):
        link.run(_FORGET_SILENT, now - _DAY)
    return Renewal(
        now=now,
        lost=[fence for fence in fences if fence not in held],
        cancelling=[fence for fence in fences if fence in held and held[fence].cancelling],
        peers=_decode(link.all(_ALIVE, executor.id, now)),
    )


def joins(link: Link, executor: ExecutorInfo, lease: int) -> bool:
    """Whether this will be the executor's first sign of life."""
    return lease > 0 and link.first(_KNOWN, executor.id) is None


def listed(link: Link, now: int) -> list[ExecutorInfo]:
    return _decode(link.all(_LISTED, now - _DAY))


def _decode(found: Sequence[tuple[Any, ...]]) -> list[ExecutorInfo]:
    return [msgspec.json.decode(info, type=ExecutorInfo) for (info,) in found]


def rescue(link: Link, database: Database, executor_id: str, want: Rescue, now: int) -> list[Row]:
    found = link.composed(_orphaned(want, now, *WHOLE).limit(want.count).with_for_update(skip_locked=True))
    until = now + want.lease
    link.run_among(_TAKE_OVER, [row[SEQ] for row in found], executor_id, until)
    # The rows tell the former owner: that is who lost them.
    taken = [changed(row, token=row[TOKEN] + 1, lease_until=until) for row in found]
    return to_rows(link, database.lanes, taken)


def orphans(link: Link, want: Rescue, now: int) -> bool:
    """Whether there is anything to rescue, without a writing transaction."""
    return bool(link.composed(_orphaned(want, now, jobs.c.seq).limit(1)))


def _orphaned(want: Rescue, now: int, *columns: Any) -> Select[Any]:
    orphaned = or_(jobs.c.lease_until <= now, jobs.c.executor_id.in_(want.dead))
    return select(*columns).where(is_running, orphaned).order_by(jobs.c.lease_until, jobs.c.seq)


def note(link: Link, told: Sequence[Note]) -> list[bool]:
    held = _held(link, [one.job_id for one in told if one.key != "log"], _LOCK)
    first = {run.seq for one in told if one.key == "step" and (run := held.get(Fence(one.job_id, one.token)))}
    link.run_among(_STEPPED, sorted(first - {run.seq for run in held.values() if run.stepped}))
    return [
        _note_log(link, one) if one.key == "log" else _note_run(link, held.get(Fence(one.job_id, one.token)), one)
        for one in told
    ]


def _note_log(link: Link, one: Note) -> bool:
    """Looked at first: an attempt that ends between the two would be said to be noted, and is not."""
    if link.first(_ENDED, one.job_id, one.attempt) is None:
        return False
    link.run(_NOTE_LOG, one.value, one.job_id, one.attempt)
    return True


def _note_run(link: Link, run: Held | None, one: Note) -> bool:
    if run is None:
        return False
    if one.key == "step":
        link.run(_STEP, run.seq, one.name, one.value)
    else:
        link.run(_NOTE, run.seq, one.key, one.value)
    return True
